"""The fast path of data_row_exports, against the one that looks at each value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tap_labelbox.exports.fast_rows import FastRow, decode_fast_rows
from tap_labelbox.exports.rows import DataRow, decode_rows
from tap_labelbox.records.json_text import decode_raw
from tap_labelbox.records.malformed import MalformedError

DETAILS = {"last_activity_at": "2026-01-31T12:00:00.000Z", "dataset_id": "D"}
ROW: dict[str, Any] = {
    "data_row": {"id": "R", "global_key": 5, "details": DETAILS},
    "media_attributes": {"height": 3, "new": True},
    "projects": {"P": {"name": "one", "labels": [{"id": "L"}]}, "Q": {"name": "two"}},
}


def lines(*rows: Any) -> bytes:
    """Return them as an export has them."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("project_id", ["P", "Q", "unknown"])
def test_the_record_of_a_row_is_the_same_both_ways(project_id: str) -> None:
    """And the fast way is taken."""
    (fast,) = decode_fast_rows(lines(ROW))
    (slow,) = decode_rows(lines(ROW))

    assert isinstance(fast, FastRow)
    assert {*fast.project_ids} == {*slow.project_ids}
    assert fast.last_activity_at == slow.last_activity_at
    record = fast.in_project(project_id).record
    assert {n: decode_raw(v) for n, v in record.items()} == slow.in_project(
        project_id
    ).record


@pytest.mark.parametrize(
    "change",
    [
        {"new": 1},
        {"data_row": {"id": "R", "new": 1}},
        {"data_row": {"id": 7}},
        {"projects": {"P": {"new": 1}}},
        {"projects": {}},
        {"projects": None},
        {"data_row": {"id": "R", "details": {"last_activity_at": "soon"}}},
        {"embeddings": [5]},
        {"media_attributes": []},
        {"media_attributes": {"height": 2**63}},
    ],
    ids=str,
)
def test_a_row_that_is_not_as_expected_is_decoded_whole(change: Any) -> None:
    """It alone: those beside it are fast, and nothing of it is dropped."""
    result = decode_fast_rows(lines(ROW, ROW | change, ROW))

    assert [type(row) for row in result] == [FastRow, DataRow, FastRow]
    assert result[1] == ROW | change


@pytest.mark.parametrize(
    "change",
    [{"data_row": {}}, {"data_row": None}, {"data_row": {"id": ""}}, {"data_row": "R"}],
    ids=str,
)
def test_a_row_without_an_id_has_no_record(change: Any) -> None:
    """With a null for its key, it would be one of all such rows."""
    with pytest.raises(MalformedError, match="no data_row"):
        decode_fast_rows(lines(ROW | change))
