"""Rows of the usual shape: decoded and laid out in one go.

Nearly all rows hold what is expected and nothing else. msgspec decodes these into
blocks that are declared beforehand, checks values on the way, and leaves what nobody
looks into as Raw. All other rows are decoded whole and laid out value by value, by
:mod:`tap_labelbox.records.columns`. Where both ways can be gone, they lead to one
record.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Raw

from tap_labelbox.records.columns import (
    LARGEST_INTEGER,
    as_boolean,
    as_id,
    as_ids,
    as_integer,
    as_number,
    as_object,
    as_objects,
    as_string_or_number,
    as_tags,
    as_text,
    as_texts,
    as_timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from msgspec import Struct

    from tap_labelbox.records.columns import Check, Columns, Record

INTEGER = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
ID = Annotated[str, Meta(min_length=1)]
TYPES: dict[Check, Any] = {
    as_boolean: bool | None,
    # Numbers are IDs as well, but rare: rows that have such are laid out one by one.
    as_id: ID | None,
    as_ids: list[ID] | None,
    as_integer: INTEGER | None,
    as_timestamp: str | None,
    as_number: INTEGER | float | None,
    as_object: Raw,
    as_objects: list[Raw] | None,
    as_tags: list[Raw] | None,
    as_text: str | None,
    as_texts: list[str] | None,
    as_string_or_number: str | INTEGER | None,
}
"""What passes a check, as it is; but moments, what is Raw, and numbers among texts have
to be looked at."""

QUOTE, BRACE = b'"{'
NULL = Raw(b"null")


def wrapper(name: str, kind: Any) -> Any:
    """Declare an object that has one member, no less and no more."""
    return msgspec.defstruct("Block", [(name, kind)], forbid_unknown_fields=True)


class ConversionError(Exception):
    """A value does not fit its column, after all."""


class StructColumns:
    """A block that holds what it is to hold.

    Args:
        columns: What the record is made of, by the names of the block.
        raw: Columns of text that are passed on as they are.
        more: Other members, and their types.
        others: Whether there may be members of any other name.
    """

    def __init__(
        self,
        columns: Columns,
        *,
        raw: frozenset[str] = frozenset(),
        more: Mapping[str, Any] | None = None,
        others: bool = False,
    ) -> None:
        """Declare it to msgspec."""
        fields: dict[str, Any] = dict(more or {})
        found: dict[str, tuple[str, Check]] = {}
        self._blocks: dict[str, StructColumns] = {}
        for name, column in columns.items():
            if isinstance(column, dict):
                inner = StructColumns(column, raw=raw, others=others)
                self._blocks[name] = inner
                fields[name] = inner.type | None
                found |= {f"{name}.{path}": c for path, c in inner.columns.items()}
            else:
                fields[name] = Raw if column[0] in raw else TYPES[column[1]]
                found[name] = column
        self.columns: dict[str, tuple[str, Check]] = found
        """By their dotted paths."""
        self.raw = raw
        self.type: type[Struct] = msgspec.defstruct(
            "Block",
            [(name, kind, None) for name, kind in fields.items()],
            forbid_unknown_fields=not others,
        )
        self._values = attrgetter(*found)

    def values(self, found: Any) -> tuple[Any, ...]:
        """Return the values of a block of this type, in the order of its columns."""
        try:
            return self._values(found)
        except AttributeError:  # it has no block where there might be one
            self.fill_missing(found)
            return self._values(found)

    def fill_missing(self, found: Any) -> None:
        """Put an empty block wherever there is none."""
        for name, inner in self._blocks.items():
            if getattr(found, name) is None:
                setattr(found, name, inner.type())
            inner.fill_missing(getattr(found, name))


class RecordBuilder:
    """Makes records of the values of some shapes."""

    def __init__(self, *structs: StructColumns) -> None:
        """See at which columns one has to look."""
        checks = {c: check for s in structs for c, check in s.columns.values()}
        raw = frozenset().union(*(struct.raw for struct in structs))

        def checked_by(wanted: Check) -> tuple[str, ...]:
            return tuple(c for c, check in checks.items() if check is wanted)

        self._columns = tuple(checks)
        self._timestamps = checked_by(as_timestamp)
        self._strings_or_numbers = checked_by(as_string_or_number)
        self._lists = checked_by(as_objects) + checked_by(as_tags)
        self._raw = dict.fromkeys(checked_by(as_object), BRACE)
        self._raw |= dict.fromkeys(raw & checks.keys(), QUOTE)

    def record(self, values: Iterable[Any]) -> Record:
        """Lay out the values of all shapes.

        Raises:
            ConversionError: If they have to be laid out one by one.
        """
        record: Record = dict(zip(self._columns, values, strict=True))
        for name in self._strings_or_numbers:
            if type(value := record[name]) is int:
                record[name] = str(value)
        for name in self._timestamps:
            if (timestamp := record[name]) is not None:
                record[name] = as_timestamp(timestamp)
                if record[name] is None:
                    raise ConversionError
        self._check_raw(record)
        return record

    def _check_raw(self, record: Record) -> None:
        for name in self._lists:
            for item in record[name] or ():
                if memoryview(item)[0] != BRACE:
                    raise ConversionError
        for name, beginning in self._raw.items():
            value = record[name]
            if value == NULL:
                record[name] = None
            elif value is not None and memoryview(value)[0] != beginning:
                raise ConversionError
