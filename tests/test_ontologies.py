"""Ontologies, their features and shared schemas, as the tap reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.sandbox import Reply
from tap_labelbox.tap import TapLabelbox
from tests.test_tables import logged, selecting

if TYPE_CHECKING:
    from tap_labelbox.sandbox import World
    from tests.runner import Output, Runner

FEATURES = "ontology_features"
REST = "/api/v1/ontologies/"


def read_tree(run: Runner, world: World, tree: Any) -> Output:
    """Read features of the first ontology, which has this tree."""
    world.ontologies[:] = [world.ontologies[0] | {"normalized": tree}]
    return run(FEATURES)


def with_archived(run: Runner) -> dict[str, Any]:
    """Return a catalog that asks for is_archived."""
    columns = ("id", "ontology_id", "depth", "feature_schema_id", "is_archived")
    return selecting(run, *(f"{FEATURES}.{column}" for column in columns))


def archive_requests(run: Runner) -> int:
    """Return how often REST was asked."""
    return sum(REST in request.path for request in run.sandbox.requests)


def test_ontologies_and_features_are_asked_for_once(run: Runner) -> None:
    """One reply has both, a hundred ontologies at a time."""
    together = run("ontologies", FEATURES)

    assert [r.operation for r in run.sandbox.requests] == ["Ontologies"]
    for name in ("ontologies", FEATURES):
        assert run(name).records(name) == together.records(name)


def test_features_are_those_of_the_tree(run: Runner, world: World) -> None:
    """All of them, of all ontologies, with all that is said of them."""

    def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
        lists = [
            v for k, v in node.items() if isinstance(v, list) and k != "attributes"
        ]
        items = [i for items in lists for i in items if isinstance(i, dict)]
        return items + [deep for item in items for deep in walk(item)]

    records = run(FEATURES).records(FEATURES)

    for ontology in world.ontologies:
        result = [r for r in records if r["ontology_id"] == ontology["id"]]
        nodes = walk(ontology["normalized"])
        assert sorted(r["feature_schema_id"] for r in result) == sorted(
            node["featureSchemaId"] for node in nodes
        )
        assert len({r["id"] for r in result}) == len(result)
    spare = {r["path"]: r for r in records if r["ontology_id"] == ontology["id"]}
    option = spare["Wheel / size / 2"]
    assert (option["label"], option["value"], option["position"]) == ("2", "2", 2)
    assert spare["scale / 5"]["position"] == 4
    assert spare["Wheel / size"]["ui_mode"] == "hotkey"
    assert spare["scale"]["is_likert_scale"] is True
    assert spare["why"]["min_characters"] == 3
    assert spare["Thoughts"]["definition"]["variants"]
    assert spare["belongs to"]["kind"] == "relationship"
    assert spare["Top shelf"]["kind"] == "shelves"
    assert spare["Tür"]["attributes"] == [
        {"attributeName": "ocr", "attributeValue": "true"}
    ]


@pytest.mark.parametrize("form", [lambda tree: tree, json.dumps])
def test_a_tree_may_be_text(run: Runner, world: World, form: Any) -> None:
    """Of JSON; null and an empty one have no features."""
    tree = {"tools": [{"featureSchemaId": "f", "name": "n", "required": None}]}

    (record,) = read_tree(run, world, form(tree)).records(FEATURES)

    assert record["id"] == record["feature_schema_id"] == "f"
    assert record["additional_columns"] == {}
    assert run("ontologies").records("ontologies")[0]["normalized"] == tree


@pytest.mark.parametrize("tree", [None, {}, {"tools": None}, {"tools": []}])
def test_a_tree_may_have_nothing(run: Runner, world: World, tree: Any) -> None:
    """Then there is no feature, and nothing wrong."""
    output = read_tree(run, world, tree)

    assert output.error is None
    assert output.records(FEATURES) == []


@pytest.mark.parametrize(
    ("tree", "lines", "ids"),
    [
        ("Jane", 1, []),
        ([], 1, []),
        ({"tools": [None, "Jane", {"featureSchemaId": "f"}]}, 2, ["f"]),
        ({"tools": [{"featureSchemaId": "f", "options": ["Jane"]}]}, 1, ["f"]),
    ],
)
def test_what_is_no_feature_costs_itself(
    run: Runner, world: World, caplog: Any, tree: Any, lines: int, ids: list[str]
) -> None:
    """At any depth; no value gets into the log."""
    output = read_tree(run, world, tree)

    assert isinstance(output.error, IncompleteError)
    assert len(logged(caplog)) == lines
    assert "Jane" not in caplog.text
    assert output.ids(FEATURES) == ids


def test_what_does_not_fit_is_kept_beside(run: Runner, world: World) -> None:
    """Unknown members, and values of another type."""
    node: dict[str, Any] = {"featureSchemaId": "f", "tool": "edge", "novel": [1]}
    node |= {"required": "yes"} | {"color": {"r": 1}, "id": "own", "label": True}

    (record,) = read_tree(run, world, {"tools": [node]}).records(FEATURES)

    assert record["additional_columns"] == {
        "required": "yes",
        "novel": [1],
        "color": {"r": 1},
        "normalized.id": "own",
        "label": True,
    }


# --- archived ---------------------------------------------------------------------


def test_nothing_is_asked_of_rest_by_default(run: Runner) -> None:
    """The column is in the catalog, and not selected."""
    output = run(FEATURES)

    (stream,) = (
        s
        for s in TapLabelbox(config=run.config()).catalog_dict["streams"]
        if s["tap_stream_id"] == FEATURES
    )
    metadata = {tuple(m["breadcrumb"]): m["metadata"] for m in stream["metadata"]}
    assert "is_archived" in stream["schema"]["properties"]
    assert metadata["properties", "is_archived"]["selected-by-default"] is False
    assert "selected-by-default" not in metadata["properties", "color"]
    assert archive_requests(run) == 0
    assert "is_archived" not in output.records(FEATURES)[0]


def test_what_is_archived_is_asked_for_if_selected(run: Runner, world: World) -> None:
    """A request for each ontology; of the features at the root only."""
    output = run(catalog=with_archived(run))

    assert output.error is None
    assert archive_requests(run) == len(world.ontologies)
    values = {True: set[Any](), False: set[Any]()}
    for record in output.records(FEATURES):
        values[record["depth"] == 0].add(record["is_archived"])
    assert values[False] == {None}
    assert values[True] == {True, False, None}  # the last of a list REST has not


def test_features_have_it_where_ontologies_are_read_as_well(run: Runner) -> None:
    """Whichever of the two asked for the rows."""
    catalog = with_archived(run)
    by_itself = run(catalog=catalog).records(FEATURES)
    run.sandbox.requests.clear()
    for stream in catalog["streams"]:
        if stream["tap_stream_id"] == "ontologies":
            for entry in stream["metadata"]:
                entry["metadata"]["selected"] = True

    output = run(catalog=catalog)

    assert output.records(FEATURES) == by_itself
    assert [r.operation for r in run.sandbox.requests].count("Ontologies") == 1
    assert all("rest" not in str(r.keys()) for r in output.records("ontologies"))
    assert {str(r["additional_columns"]) for r in output.records("ontologies")} == {
        "{}"
    }


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_costs_the_column(run: Runner, caplog: Any, status: int) -> None:
    """All features are there, and the run ends well."""
    everything = run(FEATURES).ids(FEATURES)
    run.sandbox.before = lambda r: (
        Reply(status, {}, {"message": "no"}) if REST in r.path else None
    )

    output = run(catalog=with_archived(run))

    assert output.error is None
    assert output.ids(FEATURES) == everything
    assert {r["is_archived"] for r in output.records(FEATURES)} == {None}
    lines = [m for m in caplog.messages if "is_archived" in m and str(status) in m]
    assert len([m for m in lines if m.startswith("is_archived of")]) == 1


def test_what_a_tree_says_of_itself_counts_where_rest_says_nothing(
    run: Runner, world: World
) -> None:
    """Some have had ``archived`` in them."""
    node = {"featureSchemaId": "f", "archived": True}
    world.ontologies[:] = [world.ontologies[0] | {"normalized": {"others": [node]}}]

    output = run(catalog=with_archived(run))

    assert output.records(FEATURES)[0]["is_archived"] is True


# --- feature_schemas ------------------------------------------------------------------


def test_a_schema_has_the_id_of_the_feature(run: Runner, world: World) -> None:
    """Not that of its node, which GraphQL calls ``id``."""
    result = {
        r["id"]: (r["schema_node_id"], r["kind"], r["type"], r["name"])
        for r in run("feature_schemas", page_size=7).records("feature_schemas")
    }

    assert result == {
        node["featureSchemaId"]: (
            node["schemaNodeId"],
            "tool" if "tool" in node else "classification",
            node.get("tool") or node.get("type"),
            node["name"],
        )
        for ontology in world.ontologies
        for kind in ("tools", "classifications")
        for node in ontology["normalized"][kind]
    }


@pytest.mark.parametrize(
    ("tree", "kept"),
    [
        ({"featureSchemaId": "f", "tool": "line"}, ("f", "tool", "line")),
        ('{"featureSchemaId":"f","type":"text"}', ("f", "classification", "text")),
        ({"featureSchemaId": 12}, ("12", None, None)),
        ({"featureSchemaId": None, "tool": "novel"}, ("n", "tool", "novel")),
        (None, ("n", None, None)),
    ],
)
def test_a_schema_may_lack_anything(run: Runner, tree: Any, kept: Any) -> None:
    """Without an ID of its own it has that of its node: no row is lost."""
    row = {"id": "n", "name": None, "normalized": tree}
    page = {"data": {"schemas": {"rows": [row], "next": None}}}
    run.sandbox.before = lambda _: Reply(200, {}, page)

    output = run("feature_schemas")

    (record,) = output.records("feature_schemas")
    assert output.error is None
    assert (record["id"], record["kind"], record["type"]) == kept
    assert record["schema_node_id"] == "n"
    assert record["additional_columns"] == {}


def test_ids_are_known_without_the_column_of_the_tree(run: Runner) -> None:
    """The tree is asked for all the same."""
    everything = run("feature_schemas").ids("feature_schemas")
    catalog = selecting(run, "feature_schemas.id", "feature_schemas.type")

    records = run(catalog=catalog).records("feature_schemas")

    assert [record["id"] for record in records] == everything
    assert {tuple(record) for record in records} == {("id", "type")}
