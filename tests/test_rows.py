"""The parts of an exported data row, and its IDs."""

from __future__ import annotations

from typing import Any

import pytest

from tap_labelbox.exports.rows import (
    DataRow,
    UniqueIds,
    block,
    decode_rows,
    items,
    numbered,
)
from tap_labelbox.records.malformed import MalformedError


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, []),
        ([], []),
        ({}, []),
        ([{"a": 1}, None, "b"], [("", {"a": 1}), ("", "b")]),
        ([[1, [2]], 3], [("", 1), ("", 2), ("", 3)]),
        ("a", [("", "a")]),
        ({"k": {"a": 1}, "l": None}, [("k", {"a": 1})]),
        ({"a": 1}, [("", {"a": 1})]),
        ({"k": {"a": 1}, "b": 2}, [("", {"k": {"a": 1}, "b": 2})]),
        ({"a": None, "b": "c"}, [("", {"a": None, "b": "c"})]),
    ],
)
def test_lists_may_be_objects(value: Any, result: Any) -> None:
    """Of objects alone: one of plain values is an item itself."""
    assert [*items(value)] == result


def test_a_block_is_an_object_or_empty() -> None:
    """Whatever stands in its place."""
    assert block({"a": {"b": 1}}, "a") == {"b": 1}
    for outer in ({"a": 5}, {"a": [1]}, {}, None, "a", ["a"]):
        assert block(outer, "a") == {}


def test_no_id_is_assigned_twice() -> None:
    """Nor one that somebody has already, with a number at its end."""
    ids = UniqueIds()

    assigned = [
        ids.assign(single) for single in ("a", "a#2", "a", "a", "b", "a#2", "a")
    ]

    assert assigned == ["a", "a#2", "a#3", "a#4", "b", "a#2#2", "a#5"]


def test_ids_are_assigned_in_linear_time() -> None:
    """Each number is tried once."""
    ids = UniqueIds()

    assigned = {ids.assign("a") for _ in range(20_000)}

    assert len(assigned) == 20_000
    assert f"a#{20_000}" in assigned


def test_records_are_numbered_from_the_oldest() -> None:
    """Records without a timestamp come first."""
    made = [{"created_at": at} for at in ("b", None, "a")]

    result = [(record["created_at"], record["sequence"]) for record in numbered(made)]

    assert result == [(None, 1), ("a", 2), ("b", 3)]


@pytest.mark.parametrize(
    "line", [b"{}", b'{"data_row": {"id": ""}}', b'{"data_row": "a"}', b"[1]", b"5"]
)
def test_a_row_without_an_id_is_malformed(line: bytes) -> None:
    """There is no record of it."""
    with pytest.raises(MalformedError):
        decode_rows(b'{"data_row": {"id": "a"}}\n' + line)


def test_a_row_knows_its_projects() -> None:
    """And when something last happened to it."""
    (row,) = decode_rows(
        b'{"data_row": {"id": 7, "details": {"last_activity_at": "2026-01-31 12:00"}},'
        b'"projects": {"P": {"name": "one"}}}'
    )

    assert [*row.project_ids] == ["P"]
    assert row.last_activity_at == "2026-01-31T12:00:00.000Z"
    for project_id, name in (("P", "one"), ("Q", None)):
        record = row.in_project(project_id).record
        assert record["project_id"] == project_id
        assert record["data_row_id"] == "7"
        assert record["project_name"] == name
    assert DataRow({"projects": 5}).project_ids == {}.keys()
