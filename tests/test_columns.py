"""Columns: one declaration, from which schema, check, struct and record follow."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import pytest

from tap_labelbox.records import columns, json_columns, values
from tap_labelbox.records.columns import (
    Kind,
    Table,
    additional_columns,
    derived,
    identifier,
    integer,
    key,
    string,
    timestamp,
    within,
)
from tap_labelbox.records.json_text import decode_raw
from tap_labelbox.records.structs import RecordBuilder, StructColumns
from tap_labelbox.records.values import to_record

TABLE = Table.of(
    *derived(key("parent_id", "ID of the parent.")),
    identifier("id", "Its ID.", required=True),
    *within("details", string("name", "Its name."), timestamp("at", "When.", "made")),
    *within("details", integer("size", "Its size.")),
    additional_columns("What fits nowhere."),
)
ROW = {"id": "a", "details": {"name": "b", "made": "2026-01-31 09:30", "size": 3}}
RECORD = {
    "parent_id": "p",
    "id": "a",
    "name": "b",
    "at": "2026-01-31T09:30:00.000Z",
    "size": 3,
    "additional_columns": {},
}


def test_a_schema_has_all_columns_in_their_order() -> None:
    """With their descriptions, and null where no value is required."""
    assert list(TABLE["properties"]) == list(RECORD)
    assert TABLE["required"] == ["parent_id", "id"]
    assert TABLE["properties"]["id"] == {
        "type": ["string"],
        "maxLength": values.MAX_ID_BYTES,
        "description": "Its ID.",
    }
    assert TABLE["properties"]["at"] == {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When.",
    }


def test_a_record_has_each_value_in_its_column() -> None:
    """Wherever its paths say that it may be; what is derived is given."""
    assert to_record(TABLE, ROW, {"parent_id": "p"}) == RECORD


@pytest.mark.parametrize(
    ("row", "unmapped"),
    [
        ({"details": {"name": 5}}, {"details.name": 5}),
        ({"details": []}, {"details": []}),
        ({"parent_id": "q"}, {"parent_id": "q"}),
        ({"at": "2026-01-31T09:30"}, {"at": "2026-01-31T09:30"}),
        (["a"], {"item": ["a"]}),
    ],
)
def test_what_fits_no_column_is_put_aside(row: Any, unmapped: Any) -> None:
    """By its dotted path; a derived column is never filled from a row."""
    record = to_record(TABLE, row, {"parent_id": "p"})

    assert record["additional_columns"] == unmapped
    assert record["parent_id"] == "p"


def test_of_several_paths_the_first_value_counts() -> None:
    """Another one is put aside, the same once more is not."""
    table = Table.of(integer("size", "Its size.", "size", "details.size"))

    same = to_record(table, {"size": 4, "details": {"size": 4}}, {})
    other = to_record(table, {"size": 4, "details": {"size": 5}}, {})

    assert same == {"size": 4, "additional_columns": {}}
    assert other == {"size": 4, "additional_columns": {"details.size": 5}}


def test_a_struct_gives_what_the_checks_give() -> None:
    """Each column is found by its path, and has the same value."""
    struct = StructColumns(TABLE.sources)

    decoded = msgspec.json.decode(json.dumps(ROW), type=struct.type)
    record = RecordBuilder(struct).record(struct.values(decoded))

    checked = to_record(TABLE, ROW, {})
    paths = {column.name: path for path, column in struct.columns.items()}
    assert paths == {
        "id": "id",
        "name": "details.name",
        "at": "details.made",
        "size": "details.size",
    }
    assert all(record[name] == checked[name] for name in paths)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_735_689_600, "2025-01-01T00:00:00.000Z"),
        ("4102444800", "2100-01-01T00:00:00.000Z"),
        (4_102_444_800.25, "2100-01-01T00:00:00.250Z"),
        (-1, "1969-12-31T23:59:59.000Z"),
        ("2025-01-01T02:00:00+02:00", "2025-01-01T00:00:00.000Z"),
        (1_735_689_600_000_000, None),
        (2**63, None),
        (float("nan"), None),
        (True, None),
        ("", None),
        ("never", None),
        ([1], None),
    ],
)
def test_seconds_since_1970_are_a_timestamp(value: Any, expected: str | None) -> None:
    """As a number or as text; what is beyond the calendar is not."""
    assert columns.epoch.check(value) == expected


def test_what_is_put_aside_of_an_address_is_no_part_of_it() -> None:
    """Also where a table is filled item by item."""
    table = Table.of(columns.address("url", "…"), string("other", "…"))

    record = to_record(table, {"url": "S3CRET", "other": 5}, {})

    assert record["additional_columns"] == {"url": "***", "other": 5}


DECLARED = vars(columns) | vars(json_columns)
KINDS = [(n, k) for n, k in DECLARED.items() if isinstance(k, Kind)]
SAMPLES = ["", "x", "2026-01-31T09:30:00.000Z", 5, 2.5, True, {"a": 1}]
VALUES = [*SAMPLES, ["x"], [{"a": 1}], [], 2**63, [5], None]


@pytest.mark.parametrize("kind", [k for _, k in KINDS], ids=[n for n, _ in KINDS])
def test_what_a_struct_takes_passes_the_check(kind: Kind) -> None:
    """And is the same, as far as the struct decodes it."""
    table = Table.of(kind("value", "Any."), string("other", "None."))
    struct = StructColumns(table.sources)
    builder = RecordBuilder(struct)

    taken = 0
    for value in VALUES:
        text = json.dumps({"value": value}).encode()
        try:
            decoded = msgspec.json.decode(text, type=struct.type)
            record = builder.record(struct.values(decoded))
        except Exception:  # noqa: BLE001, S112  # either way of refusing it
            continue
        taken += value is not None
        expected = None if value is None else kind.check(value)
        assert decode_raw(record["value"]) == expected
        assert value is None or expected is not None
    assert taken or kind.struct is None


def test_copies_of_a_table_are_its_schema() -> None:
    """The SDK copies schemas, and makes dictionaries of dataclasses that have them."""

    @dataclass
    class Message:
        schema: Table

    assert type(copy.deepcopy(TABLE)) is dict
    assert copy.deepcopy(TABLE) == TABLE
    assert copy.deepcopy(TABLE)["required"] is not TABLE["required"]
    name = next(iter(TABLE["properties"]))
    assert copy.deepcopy(TABLE)["properties"][name] is not TABLE["properties"][name]
    assert asdict(Message(TABLE))["schema"] == TABLE
