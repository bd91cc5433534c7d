"""Datasets, data rows, slices, metadata and embeddings: what is special to each."""

from __future__ import annotations

import io
import re
import tracemalloc
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import (  # type: ignore[import-untyped]  # it has no types
    Draft202012Validator,
)
from singer_sdk.exceptions import ConfigValidationError

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.base.newest_first import READING
from tap_labelbox.sandbox import Dataset, Reply
from tap_labelbox.streams import datasets, ontologies
from tests.runner import PRIMARY_KEYS
from tests.test_tables import FORBIDDEN, logged, selecting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request, World
    from tests.runner import Output, Runner

DECLARED = (
    datasets.DatasetsStream,
    datasets.DataRowsStream,
    datasets.CatalogSlicesStream,
    datasets.CatalogSliceDataRowsStream,
    datasets.MetadataSchemaStream,
    datasets.MetadataSchemaOptionsStream,
    datasets.EmbeddingTypesStream,
    ontologies.OntologiesStream,
    ontologies.OntologyFeaturesStream,
    ontologies.FeatureSchemasStream,
)
NAMES = [stream.name for stream in DECLARED]
COUNT = "/vectors/_count"


# --- what all of them have in common ------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_records_fit_their_schema(run: Runner, name: str) -> None:
    """All of them, over several pages, and nothing is put aside."""
    output = run(name, page_size=2)

    schema = next(m["schema"] for m in output.messages if m["type"] == "SCHEMA")
    validator = Draft202012Validator(schema)
    assert output.error is None
    assert output.records(name)
    for record in output.records(name):
        validator.validate(record)
        assert record.keys() == schema["properties"].keys()
        assert record["additional_columns"] == {}


@pytest.mark.parametrize("name", NAMES)
def test_pages_may_be_of_any_size(run: Runner, name: str) -> None:
    """Each row comes once, also where the last page is full."""
    everything = run(name).records(name)
    keys = {tuple(row[key] for key in PRIMARY_KEYS[name]) for row in everything}

    assert len(keys) == len(everything)
    for size in (2, 3, 7):
        assert run(name, page_size=size).records(name) == everything


@pytest.fixture
def run(run: Runner) -> Runner:
    """Ask for each parent in a request of its own, which tests can tell apart."""
    run.settings["projects_per_request"] = 1
    return run


def nulled(reply: Reply) -> Reply:
    """Return a reply with null in all fields of its rows but IDs."""

    def rows(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key != "rows":
                    rows(inner)
                    continue
                for row in inner:
                    ids = {"id", "data_row_id"}
                    row |= dict.fromkeys(row.keys() - ids)  # noqa: PLW2901

    rows(reply.body["data"])
    return reply


@pytest.mark.parametrize("name", NAMES)
def test_all_but_the_key_may_be_null(run: Runner, name: str) -> None:
    """No row is lost."""
    everything = run(name).records(name)
    operations = {
        (stream.document or stream.name).title().replace("_", "")
        for stream in DECLARED
        if stream.name == name
    }
    run.sandbox.after = lambda request, reply: (
        nulled(reply) if request.operation in operations else None
    )

    output = run(name)

    assert output.error is None
    if name in {"ontology_features", "metadata_schema_options"}:
        assert output.records(name) == []
        return
    assert len(output.records(name)) == len(everything)
    parents = {"dataset_id", "schema_node_id"}
    for record in output.records(name):
        filled = {column for column, value in record.items() if value is not None}
        assert filled - parents == {*PRIMARY_KEYS[name], "additional_columns"}
        assert record["additional_columns"] == {}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AUTHORIZATION_ERROR", "You are not authorized"),
        ("OPERATION_NOT_ALLOWED", "deselect it"),
        ("GRAPHQL_VALIDATION_FAILED", "deselect it"),
    ],
)
def test_a_refusal_costs_the_stream(
    run: Runner, caplog: Any, name: str, code: str, reason: str
) -> None:
    """It has one line, however many datasets there are; the others are read."""
    document = next(s.document or s.name for s in DECLARED if s.name == name)
    operation = document.title().replace("_", "")
    body = {"errors": [{**FORBIDDEN["errors"][0], "extensions": {"code": code}}]}  # type: ignore[index]
    run.sandbox.before = lambda r: (
        Reply(200, {}, body | {"data": None}) if r.operation == operation else None
    )

    output = run(name, "roles")

    (line,) = logged(caplog)
    assert line.startswith(f"{name} is left out: ")
    assert reason in line
    assert isinstance(output.error, IncompleteError)
    assert not output.records(name)
    assert output.records("roles")


@pytest.mark.parametrize(
    ("name", "parent"),
    [("data_rows", "dataset_id"), ("catalog_slice_data_rows", "slice_id")],
)
def test_one_forbidden_parent_costs_itself(
    run: Runner, caplog: Any, name: str, parent: str
) -> None:
    """Whichever it is."""
    everything = run(name).records(name)
    forbidden = everything[-1][parent]
    run.sandbox.before = lambda r: (
        Reply(200, {}, FORBIDDEN) if r.variables.get(parent) == forbidden else None
    )

    output = run(name, projects_per_request=1)

    (line,) = logged(caplog)
    what = "dataset" if parent == "dataset_id" else "catalog_slice"
    assert line.startswith(f"{name} of {what} {forbidden} is left out: You")
    assert isinstance(output.error, IncompleteError)
    assert output.records(name) == [r for r in everything if r[parent] != forbidden]


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T09:30:00.123", "2026-01-31T09:30:00.123Z"),
        ("2026-01-31T11:30:00+02:00", "2026-01-31T09:30:00.000Z"),
        ("yesterday", None),
    ],
)
def test_timestamps_come_in_any_form(
    run: Runner, text: str, timestamp: str | None
) -> None:
    """A value that is no timestamp goes to additional_columns."""
    row = {"id": "d", "created_at": text}
    run.sandbox.before = lambda _: Reply(200, {}, {"data": {"rows": [row]}})

    (record,) = run("datasets").records("datasets")

    assert record["created_at"] == timestamp
    rest = {} if timestamp else {"created_at": text}
    assert record["additional_columns"] == rest


# --- data_rows: down to the bookmark --------------------------------------------------


def bookmarks(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a state knows of each dataset."""
    partitions = state["bookmarks"].get("data_rows", {}).get("partitions", [])
    return {p["context"]["dataset_id"]: p for p in partitions}


def asked(run: Runner) -> list[dict[str, Any]]:
    """Return the variables of the requests for data rows, and forget them."""
    inputs = [r.variables for r in run.sandbox.requests if r.operation == "DataRows"]
    run.sandbox.requests.clear()
    return inputs


def add_row(world: World, dataset: Dataset, made: datetime) -> str:
    """Upload a data row, and return its ID."""
    project = next(p for p in world.projects if p.dataset is dataset)
    label = world.add_label(project.id, made + timedelta(days=1))
    return label.data_row.id


def test_all_data_rows_are_read_newest_first(run: Runner, world: World) -> None:
    """The bookmark of each dataset is its newest row; an empty one has none."""
    output = run("data_rows")

    assert [(r["dataset_id"], r["id"]) for r in output.records("data_rows")] == [
        (dataset.id, row.id)
        for dataset in sorted(world.datasets, key=world.datasets.index)
        for row in reversed(dataset.data_rows)
    ]
    assert {
        dataset_id: partition["replication_key_value"]
        for dataset_id, partition in bookmarks(output.state).items()
    } == {
        dataset.id: f"{dataset.data_rows[-1].created_at:%Y-%m-%dT%H:%M:%S}.000Z"
        for dataset in world.datasets
        if dataset.data_rows
    }
    assert not any(READING in p for p in bookmarks(output.state).values())


def test_as_many_as_labelbox_gives_are_asked_for(run: Runner) -> None:
    """500, unless fewer are set."""
    run("data_rows")
    assert {variables["first"] for variables in asked(run)} == {500}

    run("data_rows", page_size=30)
    assert {variables["first"] for variables in asked(run)} == {30}


def test_rows_at_the_bookmark_come_again_and_older_ones_do_not(
    run: Runner, world: World
) -> None:
    """Those of one upload share a timestamp, and some may have come late."""
    dataset = world.datasets[0]
    first = run("data_rows", lookback_seconds=0)
    newest = dataset.data_rows[-1].created_at
    late = add_row(world, dataset, newest)
    later = add_row(world, dataset, newest + timedelta(seconds=1))
    asked(run)

    second = run(
        "data_rows",
        state=first.state,
        lookback_seconds=0,
        page_size=2,
        projects_per_request=1,
    )

    same = [row.id for row in dataset.data_rows if row.created_at == newest]
    of_dataset = [
        row["id"]
        for row in second.records("data_rows")
        if row["dataset_id"] == dataset.id
    ]
    assert {*of_dataset} == {*same, later}
    assert late in same
    pages = [v for v in asked(run) if v["dataset_id"] == dataset.id]
    assert len(pages) == len(of_dataset) // 2 + 1


def test_nothing_new_costs_a_request_for_each_dataset(
    run: Runner, world: World
) -> None:
    """However many rows there are."""
    state = run("data_rows").state
    asked(run)

    settings: dict[str, Any] = {"lookback_seconds": 0, "page_size": 100}
    run("data_rows", state=state, projects_per_request=1, **settings)

    assert len(asked(run)) == len(world.datasets)


def test_the_lookback_is_read_again(run: Runner, world: World) -> None:
    """As in all that has a bookmark."""
    dataset = world.datasets[0]
    state = run("data_rows").state
    newest = dataset.data_rows[-1].created_at
    late = add_row(world, dataset, newest - timedelta(seconds=50))
    too_late = add_row(world, dataset, newest - timedelta(seconds=70))

    result = run("data_rows", state=state, lookback_seconds=60).ids("data_rows")

    assert late in result
    assert too_late not in result


def test_a_new_dataset_is_read_from_its_beginning(run: Runner, world: World) -> None:
    """Though all its rows are older than the bookmarks of others."""
    state = run("data_rows").state
    old = world.datasets[0]
    new = Dataset("new", "New", None, old.created_at, old.created_by)
    new.data_rows = old.data_rows[:5]
    world.datasets.append(new)

    records = run("data_rows", state=state, lookback_seconds=0).records("data_rows")

    result = [row["id"] for row in records if row["dataset_id"] == "new"]
    assert result == [row.id for row in reversed(new.data_rows)]


def test_a_dataset_that_is_gone_leaves_the_state(run: Runner, world: World) -> None:
    """Its bookmark would stay for ever; nor does it matter to the others."""
    state = run("data_rows").state
    gone = world.datasets.pop(0)

    output = run("data_rows", state=state)

    assert output.error is None
    assert gone.id in bookmarks(state)
    assert bookmarks(output.state).keys() == bookmarks(state).keys() - {gone.id}


def test_start_date_limits_data_rows(run: Runner, world: World) -> None:
    """As it does all that has a bookmark."""
    output = run("data_rows", start_date="2025-06-01T00:00:00Z")

    assert {*output.ids("data_rows")} == {
        row.id
        for dataset in world.datasets
        for row in dataset.data_rows
        if row.created_at >= datetime(2025, 6, 1, tzinfo=UTC)
    }


def test_a_row_without_a_timestamp_comes_each_time(run: Runner, world: World) -> None:
    """It neither stops a read nor moves a bookmark."""
    dataset = world.datasets[0]
    state = run("data_rows", lookback_seconds=0).state

    def forget(request: Request, reply: Reply) -> Reply | None:
        if request.operation == "DataRows":
            for row in reply.body["data"]["data_rows"]["rows"][:1]:
                row["created_at"] = None
        return None

    run.sandbox.after = forget
    output = run("data_rows", state=state, lookback_seconds=0)

    assert output.error is None
    assert dataset.data_rows[-1].id in output.ids("data_rows")
    assert bookmarks(output.state) == bookmarks(state)


# --- data_rows: runs that are cut off -------------------------------------------------


@pytest.mark.parametrize("lookback_seconds", [0, 60])
@pytest.mark.parametrize("page_size", [2, 7, 30])
def test_a_run_may_be_cut_off_anywhere(
    run: Runner, world: World, page_size: int, lookback_seconds: int
) -> None:
    """Whichever STATE a target keeps, with the records before it nothing is missing."""
    everything = {row.id for dataset in world.datasets for row in dataset.data_rows}
    settings: dict[str, Any] = {"page_size": page_size}
    settings["lookback_seconds"] = lookback_seconds
    output = run("data_rows", concurrency=1, **settings)
    kept: set[str] = set()
    cuts: list[tuple[set[str], dict[str, Any]]] = []
    for message in output.messages:
        if message["type"] == "RECORD":
            kept.add(message["record"]["id"])
        elif message["type"] == "STATE":
            cuts.append(({*kept}, message["value"]))
    assert sum(bool(cut) for cut, _ in cuts) > 3
    new = add_row(world, world.datasets[0], world.datasets[0].data_rows[-1].created_at)

    for before, state in cuts[:: max(len(cuts) // 6, 1)]:
        after = run("data_rows", state=state, **settings)

        assert before | {*after.ids("data_rows")} >= everything | {new}
        assert not any(READING in p for p in bookmarks(after.state).values())


def cut_off(run: Runner, world: World) -> tuple[Output, str]:
    """Read all but the end of a dataset, and return what was written, and its ID."""
    dataset = world.datasets[0]
    pages = 0

    def fail(request: Request) -> Reply | None:
        nonlocal pages
        pages += request.variables.get("dataset_id") == dataset.id
        return Reply(503, {}, "down") if pages > 4 else None

    run.sandbox.before = fail
    settings: dict[str, Any] = {"page_size": 10, "projects_per_request": 1}
    output = run("data_rows", concurrency=1, retry_seconds=0, **settings)
    run.sandbox.before = None
    asked(run)
    return output, dataset.id


def test_the_next_run_goes_on_where_one_was_cut_off(run: Runner, world: World) -> None:
    """Then it reads what has come on top; a huge dataset need not fit into a run."""
    first, dataset_id = cut_off(run, world)
    dataset = world.datasets[0]
    partition = bookmarks(first.state)[dataset_id]
    new = add_row(world, dataset, dataset.data_rows[-1].created_at + timedelta(hours=1))

    settings: dict[str, Any] = {"page_size": 10, "projects_per_request": 1}
    second = run("data_rows", state=first.state, lookback_seconds=0, **settings)

    assert isinstance(first.error, IncompleteError)
    assert "replication_key_value" not in partition
    assert partition[READING]["cursor"] == first.ids("data_rows")[-1]
    inputs = [v for v in asked(run) if v["dataset_id"] == dataset_id]
    assert inputs[0]["after"] == first.ids("data_rows")[-1]
    result = [
        row["id"]
        for row in second.records("data_rows")
        if row["dataset_id"] == dataset_id
    ]
    assert new in result
    assert {*result} | {*first.ids("data_rows")} == {
        row.id for row in dataset.data_rows
    }
    newest = dataset.data_rows[-2].created_at
    assert {*result} & {*first.ids("data_rows")} == {
        row.id for row in dataset.data_rows[:-1] if row.created_at == newest
    }


@pytest.mark.parametrize("gone", ["refused", "empty"])
def test_a_cursor_that_is_gone_is_no_end(
    run: Runner, world: World, gone: str, caplog: Any
) -> None:
    """Its row was deleted since: then all is read from the top."""
    first, dataset_id = cut_off(run, world)
    caplog.clear()
    cursor = bookmarks(first.state)[dataset_id][READING]["cursor"]
    page = {"data": {"data_rows": {"rows": [], "page": {"next": None}}}}
    error = {"message": "Invalid cursor", "extensions": {"code": "BAD_USER_INPUT"}}
    refused = {"errors": [error], "data": None}
    run.sandbox.before = lambda r: (
        Reply(200, {}, page if gone == "empty" else refused)
        if r.variables.get("after") == cursor
        else None
    )

    second = run("data_rows", state=first.state, projects_per_request=1)

    assert second.error is None
    assert logged(caplog) == []
    assert {row["id"] for row in second.records("data_rows")} == {
        row.id for dataset in world.datasets for row in dataset.data_rows
    }
    assert READING not in bookmarks(second.state)[dataset_id]


@pytest.mark.parametrize("reading", [None, 3, {}, {"cursor": "c"}, {"until": "2026"}])
def test_a_state_may_have_anything_in_that_place(run: Runner, reading: Any) -> None:
    """A value that no run can have written is ignored."""
    state = run("data_rows", lookback_seconds=0).state
    for partition in bookmarks(state).values():
        partition[READING] = reading

    output = run("data_rows", state=state, lookback_seconds=0)

    assert output.error is None
    assert len(output.records("data_rows")) < 40


def test_bookmarks_only_move_forwards(run: Runner) -> None:
    """In no STATE of a run is one earlier than before."""
    output = run("data_rows", page_size=5)

    values: dict[str, list[str]] = {}
    for state in output.states:
        for dataset_id, partition in bookmarks(state).items():
            if value := partition.get("replication_key_value"):
                values.setdefault(dataset_id, []).append(value)
    assert values
    assert all(a <= b for result in values.values() for a, b in pairwise(result))


def test_a_bookmark_by_another_column_is_refused(run: Runner) -> None:
    """By the dataset's name."""
    partition = {"context": {"dataset_id": "d"}, "replication_key": "updated_at"}
    state = {"bookmarks": {"data_rows": {"partitions": [partition]}}}

    catalog = selecting(run, "data_rows.id", "data_rows.created_at")

    with pytest.raises(ConfigValidationError) as error:
        run(catalog=catalog, state=state)

    assert "data_rows for dataset d by updated_at" in str(error.value.errors)


# --- slices -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "kept"),
    [
        ({"query": [1], "scope": None}, {"query": [1], "scope": None}),
        ([{"type": "x"}], {"query": [{"type": "x"}]}),
        ([], {"query": []}),
        ('[{"type":"x"}]', {"query": [{"type": "x"}]}),
        ('{"query":[]}', {"query": []}),
        (None, None),
    ],
)
def test_a_saved_search_may_be_given_in_any_form(
    run: Runner, world: World, inputs: Any, kept: Any
) -> None:
    """An object, the conditions alone, or the text of either."""
    world.slices[0]["filter"] = inputs

    record = run("catalog_slices").records("catalog_slices")[0]

    assert record["filter"] == kept
    assert record["additional_columns"] == {}


def test_a_saved_search_that_is_none_is_kept_beside(run: Runner, world: World) -> None:
    """Nothing is dropped."""
    world.slices[0]["filter"] = "color = red"

    record = run("catalog_slices").records("catalog_slices")[0]

    assert record["filter"] is None
    assert record["additional_columns"] == {"filter": "color = red"}


# --- metadata -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [None, [], [{"id": "o"}, {"id": "p", "kind": "x"}]])
def test_a_field_may_have_options(run: Runner, world: World, options: Any) -> None:
    """In the order that they are listed in."""
    world.metadata_ontology = [
        {"id": "f", "name": "…", "kind": "CustomMetadataFuture", "options": options}
    ]

    output = run("metadata_schema", "metadata_schema_options")

    assert output.error is None
    assert output.records("metadata_schema")[0]["kind"] == "CustomMetadataFuture"
    assert [
        (row["metadata_schema_id"], row["id"], row["order"])
        for row in output.records("metadata_schema_options")
    ] == [("f", option["id"], n) for n, option in enumerate(options or ())]
    operations = [r.operation for r in run.sandbox.requests]
    assert operations == ["MetadataSchema"]


# --- embeddings ---------------------------------------------------------------------


def counts(run: Runner) -> list[str]:
    """Return the paths that vectors were counted at."""
    return [r.path for r in run.sandbox.requests if r.path.endswith(COUNT)]


def test_vectors_of_custom_embeddings_are_counted(run: Runner, world: World) -> None:
    """By REST; of the others nothing is asked."""
    world.embeddings.append({"id": "a/b c", "name": None, "dims": None, "custom": True})
    world.embeddings.append({"id": "n", "name": None, "dims": None, "custom": None})

    output = run("embedding_types")

    assert output.error is None
    assert [
        (row["id"], row["vector_count"] is not None)
        for row in output.records("embedding_types")
    ] == [(row["id"], bool(row["custom"])) for row in world.embeddings]
    assert sorted(counts(run)) == sorted(
        f"/adv/adv/v1/embeddings/{row_id}{COUNT}"
        for row_id in (world.embeddings[1]["id"], "a%2Fb%20c")
    )


@pytest.mark.parametrize(
    ("expected", "requests"),
    [
        (("embedding_types.id", "embedding_types.vector_count"), 1),
        (("embedding_types.id", "embedding_types.custom"), 0),
    ],
)
def test_vectors_are_counted_if_the_column_is_selected(
    run: Runner, expected: tuple[str, ...], requests: int
) -> None:
    """Whatever other columns are."""
    output = run(catalog=selecting(run, *expected))

    assert output.error is None
    assert len(counts(run)) == requests
    for record in output.records("embedding_types"):
        assert {f"embedding_types.{name}" for name in record} == {*expected}


@pytest.fixture
def many_embeddings(world: World) -> World:
    """Return the world with more custom embeddings."""
    world.embeddings += [
        {"id": f"e{number}", "name": "x", "dims": 3, "custom": True}
        for number in range(9)
    ]
    return world


@pytest.mark.usefixtures("many_embeddings")
@pytest.mark.parametrize("status", [403, 404])
def test_a_refused_count_costs_the_column(
    run: Runner, caplog: Any, status: int
) -> None:
    """One line says so, few requests are wasted, and the run ends well."""
    run.sandbox.before = lambda r: (
        Reply(status, {}, {"message": "Jane may not"}) if COUNT in r.path else None
    )

    output = run("embedding_types", concurrency=1, emit_activate_version_messages=True)

    lines = [m for m in caplog.messages if m.startswith("vector_count of")]
    assert output.error is None
    assert len(lines) == 1
    assert str(status) in lines[0]
    assert len(counts(run)) == 3
    assert len(output.records("embedding_types")) == 11
    assert {row["vector_count"] for row in output.records("embedding_types")} == {None}
    assert [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]


@pytest.mark.usefixtures("many_embeddings")
def test_one_count_that_is_not_found_costs_itself(run: Runner) -> None:
    """The others are asked for, however many are missing."""
    run.sandbox.before = lambda r: (
        Reply(404, {}, {"message": "?"})
        if re.search(rf"/e[0-7]{COUNT}", r.path)
        else None
    )

    output = run("embedding_types")

    counted = {r["id"]: r["vector_count"] for r in output.records("embedding_types")}
    assert output.error is None
    assert counted["e8"]
    assert counted["e3"] is None


@pytest.mark.parametrize(
    ("body", "count", "rest"),
    [
        ({"count": "12"}, 12, {}),
        ({"count": 0}, 0, {}),
        ({}, None, {}),
        ({"count": "many"}, None, {"vector_count": "many"}),
        ({"count": 1, "since": "x"}, 1, {"rest_since": "x"}),
    ],
)
def test_a_count_may_be_anything(
    run: Runner, body: Any, count: int | None, rest: dict[str, Any]
) -> None:
    """A value that does not fit goes to additional_columns."""
    run.sandbox.before = lambda r: Reply(200, {}, body) if COUNT in r.path else None

    record = run("embedding_types").records("embedding_types")[1]

    assert record["vector_count"] == count
    assert record["additional_columns"] == rest


def test_a_count_that_fails_in_passing_is_missed(run: Runner, caplog: Any) -> None:
    """Null would say that there is nothing; the row comes all the same."""
    run.sandbox.before = lambda r: Reply(503) if COUNT in r.path else None

    output = run("embedding_types", retry_seconds=0)

    assert isinstance(output.error, IncompleteError)
    assert len(output.records("embedding_types")) == 2
    assert any(m.startswith("vector_count of embedding_types") for m in logged(caplog))


def test_counts_are_in_flight_together(
    serving: Callable[..., Runner], many_embeddings: World
) -> None:
    """But no more than may be."""
    run = serving(many_embeddings, latency=0.02)

    output = run("embedding_types", concurrency=4)

    assert output.error is None
    assert [row["id"] for row in output.records("embedding_types")] == [
        row["id"] for row in many_embeddings.embeddings
    ]


# --- data_rows: a first load --------------------------------------------------------


def test_a_huge_dataset_is_read_in_bounded_memory(run: Runner, world: World) -> None:
    """Ten times as many rows take no more of it."""
    del world.datasets[1:]
    pages = 0

    def page(request: Request) -> Reply | None:
        if request.operation != "DataRows":
            return None
        number = int(request.variables.get("after") or 0)
        first = request.variables["first"]
        rows = [
            {"id": f"r{number + n}", "row_data": "x" * 1000}
            | {"created_at": "2025-01-01T00:00:00Z"}
            for n in range(first)
        ]
        following = str(number + first) if number + first < first * pages else None
        body = {"data_rows": {"rows": rows, "page": {"next": following}}}
        return Reply(200, {}, {"data": body})

    def peak_bytes(number: int) -> int:
        nonlocal pages
        pages = number
        tap = run.tap("data_rows")
        stream: Any = tap.streams["data_rows"]
        tracemalloc.start()
        with redirect_stdout(io.StringIO()):
            counts = [
                sum(1 for _ in stream.get_records(context))
                for context in stream.partitions
            ]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert counts == [500 * number]
        run.sandbox.requests.clear()
        return peak

    run.sandbox.before = page
    peak_bytes(2)  # what is made once

    assert peak_bytes(40) < 1.5 * peak_bytes(4)
