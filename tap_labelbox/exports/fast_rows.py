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
    from collections.abc import Mapping

    from tap_labelbox.exports.rows import DataRow
    from tap_labelbox.records.columns import Record

MEDIA_STRUCT = StructColumns(MEDIA, others=True)
MEDIA_DECODER = msgspec.json.Decoder(MEDIA_STRUCT.type)
PROJECT_NULLS = dict.fromkeys(c.name for c in StructColumns(PROJECT).columns.values())
NOTHING = Raw(b"{}")


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
            record = self._any | PROJECT_NULLS | {"project_id": project_id}
        return FastProjectRow(record)


class FastDecoder:
    """Decodes data rows that are as expected.

    Args:
        types: What lists of JSON are decoded to, by their columns; Raw by default.
    """

    def __init__(self, types: Mapping[str, Any] | None = None) -> None:
        """Declare the row to msgspec."""
        self._project = StructColumns(PROJECT, types=types)
        self._struct = StructColumns(
            DATA_ROW,
            more={"projects": dict[ID, self._project.type]},  # type: ignore[name-defined]
        )
        self._builder = RecordBuilder(self._struct, MEDIA_STRUCT, self._project)
        self._decoder = msgspec.json.Decoder(self._struct.type)

    def rows(self, lines: bytes) -> list[FastRow] | None:
        """Return the rows of some lines; None if one is not as expected."""
        structs = json_text.decode_lines_as(self._decoder, lines)
        rows = None if structs is None else [self._row(struct) for struct in structs]
        return None if rows is None or None in rows else rows  # type: ignore[return-value]

    def _row(self, struct: Any) -> FastRow | None:
        """Return a decoded row with its records; None if something does not fit."""
        # An ID that is none is a text without characters, which no struct takes.
        if struct.data_row is None or struct.data_row.id is None or not struct.projects:
            return None
        values = self._struct.values(struct)
        records = {}
        try:
            media = MEDIA_STRUCT.values(
                MEDIA_DECODER.decode(struct.media_attributes or NOTHING)
            )
            for project_id, project in struct.projects.items():
                in_project = self._project.values(project)
                record = self._builder.record((*values, *media, *in_project))
                record["project_id"] = project_id
                record["additional_columns"] = {}
                records[project_id] = record
        except (ConversionError, msgspec.ValidationError):
            return None
        return FastRow(records)


PLAIN_DECODER = FastDecoder()


def decode_fast_rows(
    lines: bytes, decoder: FastDecoder = PLAIN_DECODER
) -> list[FastRow | DataRow]:
    """Return the data rows of some lines.

    Args:
        lines: The lines.
        decoder: Is tried before the usual one.

    Raises:
        MalformedError: If one of the lines is no data row with an ID.
        ValueError: If one is no JSON.
    """
    for tried in dict.fromkeys((decoder, PLAIN_DECODER)):
        if (rows := tried.rows(lines)) is not None:
            return [*rows]
    texts = (line for line in lines.split(b"\n") if line.strip())
    return [
        row for line in texts for row in PLAIN_DECODER.rows(line) or decode_rows(line)
    ]
