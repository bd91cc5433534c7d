"""An ontology unfolded into features: which they are, and what they are called."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_labelbox.records import features

MADE = {"id", "parent_id", "kind", "depth", "order", "path", "name"}
"""What each feature has that its tree does not say."""


def unfold(**tree: Any) -> list[dict[str, Any]]:
    """Return the features of an ontology."""
    return list(features.unfold(tree))


def node(feature_id: str | None = None, **members: Any) -> dict[str, Any]:
    """Return a feature of a tree."""
    return {"featureSchemaId": feature_id, **members}


def ids(rows: list[dict[str, Any]]) -> list[str]:
    """Return the IDs of features."""
    return [row["id"] for row in rows]


# --- which they are, and where they hang ------------------------------------------


def test_everything_is_unfolded_top_down() -> None:
    """A tool's questions, their options, and the questions under these."""
    deep = node("q2", type="text", name="why", options=[])
    options = [node("o0", label="No"), node("o1", label="Yes", options=[deep])]
    question = node("q1", type="radio", name="ok", options=options)

    rows = unfold(
        tools=[node("t", tool="polygon", name="Car", classifications=[question])],
        classifications=[node("c", type="text", name="note")],
    )

    assert [
        (r["id"], r["parent_id"], r["kind"], r["depth"], r["order"], r["path"])
        for r in rows
    ] == [
        ("t", None, "tool", 0, 0, "Car"),
        ("t/q1", "t", "classification", 1, 0, "Car / ok"),
        ("t/q1/o0", "t/q1", "option", 2, 0, "Car / ok / No"),
        ("t/q1/o1", "t/q1", "option", 2, 1, "Car / ok / Yes"),
        ("t/q1/o1/q2", "t/q1/o1", "option", 3, 0, "Car / ok / Yes / why"),
        ("c", None, "classification", 0, 0, "note"),
    ]
    assert [row.get("type") for row in rows] == [
        *("polygon", "radio", None, None, "text", "text")
    ]


@pytest.mark.parametrize(
    ("tree", "kinds"),
    [
        ({}, []),
        ({"tools": None, "classifications": []}, []),
        ({"relationships": [node("r", tool="edge")]}, ["relationship"]),
        ({"shelfRows": [node("s"), node("t")]}, ["shelfRows", "shelfRows"]),
        # Just one, in place of a list of one.
        ({"tools": node("t")}, ["tool"]),
        # Nothing in it has features.
        ({"tags": ["a"], "count": 3, "definition": {"variants": [{"id": 1}]}}, []),
    ],
)
def test_lists_of_any_name_are_unfolded(tree: dict[str, Any], kinds: list[str]) -> None:
    """A kind is known by its list, or is the name of that."""
    assert [row["kind"] for row in unfold(**tree)] == kinds


def test_a_tool_may_have_an_unknown_list_and_no_classifications() -> None:
    """As step-reasoning has none; its definition is no list of features."""
    definition = {"variants": [{"id": 0, "name": "x", "actions": []}]}
    tool = node("t", tool="step-reasoning", name="t", definition=definition)

    rows = unfold(tools=[tool | {"ghosts": [node("g")], "shelf": ["a"], "none": []}])

    assert [(row["id"], row["kind"]) for row in rows] == [
        ("t", "tool"),
        ("t/g", "ghosts"),
    ]
    assert rows[0]["definition"] == definition
    assert rows[0]["shelf"] == ["a"]
    assert "none" not in rows[0]


def test_attributes_are_a_value() -> None:
    """A list of objects all the same."""
    attributes = [{"attributeName": "a", "attributeValue": "b"}]

    (row,) = unfold(tools=[node("t", attributes=attributes)])

    assert row["attributes"] == attributes


def test_what_is_no_object_is_passed_on() -> None:
    """For somebody to report it."""
    rows: list[Any] = unfold(tools=[None, "x", node("t", classifications=[7])])

    assert [r if not isinstance(r, dict) else r["id"] for r in rows] == [
        *(None, "x", "t", 7)
    ]
    assert rows[2]["order"] == 2


def test_a_tree_may_be_deeper_than_python_likes() -> None:
    """It is not recursive."""
    tree = node("n")
    for _ in range(3000):
        tree = node("n", options=[tree])

    rows = unfold(options=[tree])

    assert rows[-1]["depth"] == 3000
    assert len({*ids(rows)}) == 3001


# --- what they are called ------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"name": "n", "label": "l", "value": "v", "instructions": "i"}, "n"),
        ({"name": None, "label": "l", "value": "v"}, "l"),
        ({"name": "", "value": "v", "instructions": "i"}, "v"),
        ({"instructions": "i"}, "i"),
        ({"label": 0, "value": 1}, "0"),
        ({"label": 0.5}, "0.5"),
        ({"label": True, "value": "yes"}, "yes"),
        ({}, None),
    ],
)
def test_a_name_is_what_people_call_it(members: Any, name: str | None) -> None:
    """Numbers as text; of options the label comes first."""
    (row,) = unfold(classifications=[members])

    assert row["name"] == name
    assert row["path"] == name


def test_a_path_leaves_out_what_has_no_name() -> None:
    """Rather than say None."""
    child = node("c", name="c")

    rows = unfold(tools=[node("t", classifications=[child])])

    assert [row["path"] for row in rows] == [None, "c"]


@pytest.mark.parametrize(
    ("members", "own_id"),
    [
        ({"featureSchemaId": "f", "schemaNodeId": "n", "name": "x"}, "f"),
        ({"featureSchemaId": "", "schemaNodeId": "n", "name": "x"}, "n"),
        ({"schemaNodeId": 7}, "7"),
        ({"name": "x"}, "tool:x"),
        ({"label": 1}, "tool:1"),
        ({}, "tool:"),
    ],
)
def test_an_id_is_the_best_there_is(members: Any, own_id: str) -> None:
    """The feature schema's, the node's, or kind and name."""
    assert ids(unfold(tools=[members])) == [own_id]


def test_what_comes_twice_is_numbered() -> None:
    """Those that hang under it as well; what ends so already is no obstacle."""
    rows = unfold(
        tools=[
            node("t", classifications=[node("q")]),
            node("t", classifications=[node("q"), node("q")]),
            node("t#2"),
            node("t"),
        ]
    )

    assert ids(rows) == ["t", "t/q", "t#2", "t/q#2", "t/q#3", "t#2#2", "t#3"]
    assert [row["parent_id"] for row in rows] == [
        *(None, "t", None, "t#2", "t#2", None, None)
    ]


def test_the_order_of_lists_changes_no_id() -> None:
    """The same feature as tool and as relationship: JSON objects have no order."""
    tools, relationships = [node("x")], [node("x")]

    single = unfold(tools=tools, relationships=relationships)
    other = unfold(relationships=relationships, tools=tools)

    assert single == other


def test_what_is_called_like_a_column_is_kept_apart() -> None:
    """Nothing is overwritten, and nothing lost."""
    (row,) = unfold(tools=[node("t", tool="edge", type="x", id=3, kind="k", path=[1])])

    assert (row["type"], row["normalized.type"]) == ("edge", "x")
    assert (row["id"], row["normalized.id"]) == ("t", 3)
    assert (row["kind"], row["normalized.kind"]) == ("tool", "k")
    assert (row["path"], row["normalized.path"]) == (None, [1])


def test_each_has_what_it_is_given() -> None:
    """Such as the ontology that it is in."""
    (row,) = features.unfold({"tools": [node("t", ontologyId="z")]}, ontology_id="o")

    assert (row["ontology_id"], row["normalized.ontologyId"]) == ("o", "z")


# --- any tree ----------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a"])
LISTS = ("tools", "classifications", "options", "relationships", "others")
MEMBERS = st.dictionaries(
    st.sampled_from(["name", "label", "value", "tool", "type", "required", "id", "x"]),
    SCALARS,
    max_size=4,
)
NODES = st.recursive(
    st.builds(
        lambda members, feature_id: members | {"featureSchemaId": feature_id},
        MEMBERS,
        st.sampled_from([None, "f", "g", "f#2"]),
    ),
    lambda children: st.builds(
        lambda members, name, nodes: members | {name: nodes},
        MEMBERS,
        st.sampled_from(LISTS),
        st.lists(children, min_size=1, max_size=3),
    ),
    max_leaves=8,
)
TREES = st.dictionaries(st.sampled_from(LISTS), st.lists(NODES, max_size=3))


def walk(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all objects in lists, in any order."""
    inner = [item for key in LISTS for item in tree.get(key, ())]
    return inner + [deep for item in inner for deep in walk(item)]


@given(TREES)
def test_no_feature_is_lost_and_none_invented(tree: dict[str, Any]) -> None:
    """Each has all that its node says, under some name; the tree stays as it was."""
    before = copy.deepcopy(tree)
    rows = list(features.unfold(tree))

    nodes = walk(tree)
    assert tree == before
    assert len(rows) == len(nodes)
    unique = {row["id"] for row in rows}
    assert len(unique) == len(rows)
    assert {row["parent_id"] for row in rows} <= unique | {None}
    assert all((row["parent_id"] is None) == (row["depth"] == 0) for row in rows)
    kept = sorted(
        str(value)
        for row in rows
        for name, value in row.items()
        if name not in MADE and value not in (None, "")
    )
    names = [row["name"] for row in rows]
    logged = sorted(
        str(value)
        for single, name in zip(by_walk(tree), names, strict=True)
        for key, value in single.items()
        if key not in LISTS
        and value not in (None, "")
        and not (key == "name" and str(value) == name)
    )
    assert kept == logged


def by_walk(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all objects in lists, each before those within it."""
    return [
        single
        for key in LISTS
        for item in tree.get(key, ())
        for single in (item, *by_walk(item))
    ]


@given(TREES)
def test_ids_survive_new_names(tree: dict[str, Any]) -> None:
    """Features have IDs of their own."""

    def renamed(single: dict[str, Any], number: list[int]) -> dict[str, Any]:
        number[0] += 1
        own = {"featureSchemaId": f"f{number[0] % 3}"}
        inner = {
            k: [renamed(i, number) for i in single[k]] for k in LISTS if k in single
        }
        return single | own | inner

    def new_names(single: dict[str, Any]) -> dict[str, Any]:
        inner = {k: [new_names(i) for i in single[k]] for k in LISTS if k in single}
        return single | {"name": "new", "label": "new"} | inner

    tree = renamed(tree, [0])

    assert ids(list(features.unfold(tree))) == ids(
        list(features.unfold(new_names(tree)))
    )


@given(TREES)
def test_ids_survive_another_order(tree: dict[str, Any]) -> None:
    """All siblings the other way round: there are the same IDs."""

    def turned(single: dict[str, Any]) -> dict[str, Any]:
        inner = {k: [turned(i) for i in single[k]][::-1] for k in LISTS if k in single}
        # Not one that is the number of another.
        own_id = single.get("featureSchemaId")
        own = {"featureSchemaId": "h"} if own_id == "f#2" else {}
        return single | own | inner

    tree = turned(tree)

    before, after = features.unfold(tree), features.unfold(turned(tree))
    assert {*ids(list(before))} == {*ids(list(after))}


# --- what stands by itself, and what is archived ------------------------------------


@pytest.mark.parametrize(
    ("tree", "root"),
    [
        ({"featureSchemaId": "f", "tool": "line"}, ("f", "tool", "line")),
        ({"featureSchemaId": 5, "type": "text"}, ("5", "classification", "text")),
        ({"tool": None, "type": "text"}, (None, "classification", "text")),
        ({}, (None, None, None)),
    ],
)
def test_a_root_says_what_it_is(tree: Any, root: tuple[str | None, ...]) -> None:
    """By which of the keys it has."""
    assert tuple(features.root(tree).values()) == root


@pytest.mark.parametrize(
    "reply",
    [
        None,
        {},
        {"featureSchemaNodes": None},
        {"featureSchemaNodes": {"tools": None}},
        {"featureSchemaNodes": {"tools": [None, {}, {"featureSchemaId": "f"}]}},
    ],
)
def test_a_reply_may_say_nothing(reply: Any) -> None:
    """Then nothing is known to be archived."""
    assert features.archived(reply) == {}


def test_a_reply_says_what_is_archived() -> None:
    """In whichever list."""
    nodes = {
        "tools": [{"featureSchemaId": "t", "archived": True}],
        "relationships": [{"featureSchemaId": "r", "archived": False}],
    }

    assert features.archived({"featureSchemaNodes": nodes}) == {"t": True, "r": False}
