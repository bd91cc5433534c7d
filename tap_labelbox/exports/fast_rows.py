"""The fast path of data_row_exports: rows are decoded to its records.

It is for runs in which no other stream looks into rows. A row that is not as expected
is decoded whole, by :mod:`tap_labelbox.exports.rows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Raw

from tap_labelbox.exports.row_tables import (
    DATA_ROW,
    MEDIA,
    PROJECT,
)
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.records import json_text
from tap_labelbox.records.columns import ID
from tap_labelbox.records.structs import ConversionError, RecordBuilder, StructColumns

if TYPE_CHECKING:
    from tap_labelbox.exports.rows import DataRow
    from tap_labelbox.records.columns import Record

MEDIA_STRUCT = StructColumns(MEDIA, others=True)
MEDIA_DECODER = msgspec.json.Decoder(MEDIA_STRUCT.type)
PROJECT_STRUCT = StructColumns(PROJECT)
EMPTY_PROJECT = dict.fromkeys(c.name for c in PROJECT_STRUCT.columns.values())
ROW_STRUCT = StructColumns(
    DATA_ROW,
    more={"projects": dict[ID, PROJECT_STRUCT.type]},  # type: ignore[name-defined]
)
ROW_DECODER = msgspec.json.Decoder(ROW_STRUCT.type)
BUILDER = RecordBuilder(ROW_STRUCT, MEDIA_STRUCT, PROJECT_STRUCT)
EMPTY_OBJECT = Raw(b"{}")


class FastProjectRow(NamedTuple):
    """A row in one of its projects, as its record."""

    record: Record
    """The record of data_row_exports."""


class FastRow:
    """A data row as expected, of which nothing but its records is decoded."""

    def __init__(self, records: dict[str, Record]) -> None:
        """Keep a record for each project, one at least."""
        self.project_ids = records.keys()
        self._records = records
        self._any = next(iter(records.values()))
        self.last_activity_at: str | None = self._any["last_activity_at"]

    def in_project(self, project_id: str) -> FastProjectRow:
        """Return the row in a project, also in one that it does not name."""
        record = self._records.get(project_id)
        if record is None:
            record = self._any | EMPTY_PROJECT | {"project_id": project_id}
        return FastProjectRow(record)


def decode_fast_rows(lines: bytes) -> list[FastRow | DataRow]:
    """Return the data rows of some lines.

    Raises:
        MalformedError: If one of the lines is not a data row with an ID.
        ValueError: If one is no JSON.
    """
    if (rows := _expected_rows(lines)) is not None:
        return [*rows]
    texts = (line for line in lines.split(b"\n") if line.strip())
    return [row for line in texts for row in _expected_rows(line) or decode_rows(line)]


def _expected_rows(lines: bytes) -> list[FastRow] | None:
    """Return the rows of some lines; None if one is not as expected."""
    structs = json_text.decode_lines_as(ROW_DECODER, lines)
    rows = None if structs is None else [_row(struct) for struct in structs]
    return None if rows is None or None in rows else rows  # type: ignore[return-value]


def _row(struct: Any) -> FastRow | None:
    """Return a decoded row with its records; None if something does not fit."""
    # An ID that is none is a text without characters, which no struct takes.
    if struct.data_row is None or struct.data_row.id is None or not struct.projects:
        return None
    values = ROW_STRUCT.values(struct)
    records = {}
    try:
        media = MEDIA_STRUCT.values(
            MEDIA_DECODER.decode(struct.media_attributes or EMPTY_OBJECT)
        )
        for project_id, project in struct.projects.items():
            in_project = PROJECT_STRUCT.values(project)
            record = BUILDER.record((*values, *media, *in_project))
            record["project_id"] = project_id
            record["additional_columns"] = {}
            records[project_id] = record
    except (ConversionError, msgspec.ValidationError):
        return None
    return FastRow(records)
