"""The contract of warehouses: what it sends, and what it finds."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tap_labelbox.streams import STREAMS
from tests.contract.comparison import JSON_NULL, Comparison, Loss
from tests.contract.loads import expected, loads, rows, schemas, values

EMPTY = Loss("an empty text becomes null", ("text",), lambda v: None if v == "" else v)
SENT = {"labels": rows("labels", range(30))}


def test_every_value_is_in_the_first_load() -> None:
    """Of each column that is none of a key, and null if it may be."""
    first, *_ = loads()

    for stream in STREAMS:
        for name, schema in stream.schema["properties"].items():
            if name not in stream.primary_keys:
                sent = [row[name] for row in first.rows[stream.name]]
                assert all(value in sent for value in values(schema)), name


def test_what_a_load_leaves_out_is_kept_or_null() -> None:
    """In rows that come again; all else is as it came last."""
    _, _, fewer, _ = loads()
    kept = expected(loads()[:3], merged=True)["labels"]
    gone = expected(loads()[:3], merged=True, left_out="null")["labels"]
    again = {row["id"] for row in fewer.rows["labels"]}

    assert fewer.without["labels"]
    for row, other in zip(kept, gone, strict=True):
        missing = {*row} - {*other}
        assert missing in ({*fewer.without["labels"]}, set())
        assert bool(missing) <= (row["id"] in again)
    assert {*schemas()} == {*expected(loads()[:1], merged=True)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "other"}, "'other' instead of"),
        ({"seconds_to_label": "0.1"}, "'0.1' instead of"),
        ({"is_skipped": 1}, "1 instead of True"),
        ({"created_at": "2026-01-31 09:30:00"}, "instead of '2026-01-31T09:30:00.123"),
        ({"additional_columns": JSON_NULL}, "'JSON null' instead of"),
        ({"id": "another"}, "0 rows of"),
    ],
)
def test_any_other_value_is_found(change: dict[str, Any], message: str) -> None:
    """And named, with its column and key."""
    rows = copy.deepcopy(SENT)
    (row,) = (
        row
        for row in rows["labels"]
        if row["is_skipped"] is True and row["created_at"] == "2026-01-31T09:30:00.123Z"
    )
    row |= change

    with pytest.raises(AssertionError, match="1 values differ") as error:
        Comparison(SENT, rows).check()

    assert message in str(error.value)


@pytest.mark.parametrize("count", [29, 31])
def test_a_row_too_few_or_too_many_is_found(count: int) -> None:
    """Also one that is there twice."""
    rows = {"labels": (SENT["labels"] * 2)[:count]}

    with pytest.raises(AssertionError, match=f"{count} rows instead of 30"):
        Comparison(SENT, rows).check()


def test_a_loss_has_to_be_what_is_known() -> None:
    """No value more, and no value less: a warehouse that is better is found as well."""
    lossy = {
        "labels": [
            {name: None if value == "" else value for name, value in row.items()}
            for row in SENT["labels"]
        ]
    }

    Comparison(SENT, lossy, [EMPTY]).check()
    with pytest.raises(AssertionError, match="None instead of ''"):
        Comparison(SENT, lossy).check()
    with pytest.raises(AssertionError, match="'' instead of None"):
        Comparison(SENT, SENT, [EMPTY]).check()
    with pytest.raises(AssertionError, match="no longer lost: nothing of the kind"):
        Comparison(SENT, SENT, [Loss("nothing of the kind", ("day",), str)]).check()


def test_json_is_compared_as_json() -> None:
    """However it is written; a timestamp without an offset is UTC."""
    rows = copy.deepcopy(SENT)
    for row in rows["labels"]:
        row["created_at"] = row["created_at"].replace("T", " ").rstrip("Z")

    Comparison(SENT, rows).check()
