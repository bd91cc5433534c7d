"""Well-formed rows, decoded and made records in one go.

Nearly all rows hold what is expected and nothing else. msgspec decodes these into
structs that are declared beforehand, checks values on the way, and leaves what nobody
looks into as Raw. All other rows are decoded whole and populated value by value, by
:mod:`tap_labelbox.records.columns`. Where both ways can be gone, they lead to one
record.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from tap_labelbox.records import columns as kinds
from tap_labelbox.records.columns import Column
from tap_labelbox.records.json_text import decode_as
from tap_labelbox.records.timestamps import EARLIEST_TEXT, LATEST_TEXT
from tap_labelbox.records.values import as_timestamps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from msgspec import Struct

    from tap_labelbox.records.columns import Kind, Record, Sources

QUOTE, BRACE = b'"{'
NULL = Raw(b"null")


def wrapper(name: str, kind: Any) -> Any:
    """Return the struct of an object that has one member, no less and no more."""
    return msgspec.defstruct("Block", [(name, kind)], forbid_unknown_fields=True)


class ConversionError(Exception):
    """A value does not fit its column, after all."""


class StructColumns:
    """A struct with a field for each column of a block.

    Args:
        sources: The columns, by the names of the block.
        raw: Columns of text that are passed on as they are.
        more: Other fields, and their types.
        others: Whether there may be members of any other name.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        raw: frozenset[str] = frozenset(),
        more: Mapping[str, Any] | None = None,
        others: bool = False,
    ) -> None:
        """Declare it to msgspec."""
        fields: dict[str, Any] = dict(more or {})
        columns: dict[str, Column] = {}
        self._blocks: dict[str, StructColumns] = {}
        for name, source in sources.items():
            if isinstance(source, Column):
                fields[name] = Raw if source.name in raw else source.kind.struct
                columns[name] = source
            else:
                inner = StructColumns(source, raw=raw, others=others)
                self._blocks[name] = inner
                fields[name] = inner.type | None
                columns |= {f"{name}.{path}": c for path, c in inner.columns.items()}
        self.columns: dict[str, Column] = columns
        """By their dotted paths."""
        self.raw = raw
        self.type: type[Struct] = msgspec.defstruct(
            "Block",
            [(name, kind, None) for name, kind in fields.items()],
            forbid_unknown_fields=not others,
        )
        self._values = attrgetter(*columns)

    def values(self, struct: Any) -> tuple[Any, ...]:
        """Return the values of a struct of this type, in the order of its columns."""
        try:
            return self._values(struct)
        except AttributeError:  # it has no block where there might be one
            self.fill_missing(struct)
            return self._values(struct)

    def fill_missing(self, struct: Any) -> None:
        """Put an empty block wherever there is none."""
        for name, inner in self._blocks.items():
            if getattr(struct, name) is None:
                setattr(struct, name, inner.type())
            inner.fill_missing(getattr(struct, name))


class RecordBuilder:
    """Builds records from the values of some structs."""

    def __init__(self, *structs: StructColumns) -> None:
        """Note which columns have to be looked at."""
        columns = [column for s in structs for column in s.columns.values()]
        raw = frozenset().union(*(struct.raw for struct in structs))

        def of(*check_type: Kind) -> tuple[str, ...]:
            return tuple(c.name for c in columns if c.kind in check_type)

        self._columns = tuple(column.name for column in columns)
        self._timestamps = of(kinds.timestamp)
        self._strings_or_numbers = of(kinds.string_or_number)
        self._nones = tuple(
            (c.name, c.kind.none) for c in columns if c.kind.none is not None
        )
        self._lists = of(kinds.objects, kinds.tags)
        self._raw = dict.fromkeys(of(kinds.json), BRACE)
        self._raw |= dict.fromkeys(raw.intersection(self._columns), QUOTE)

    def record(self, values: Iterable[Any]) -> Record:
        """Return the record of the values of all structs.

        Raises:
            ConversionError: If they have to be checked one by one.
        """
        record: Record = dict(zip(self._columns, values, strict=True))
        for name in self._strings_or_numbers:
            if type(value := record[name]) is int:
                record[name] = str(value)
        for name, none in self._nones:
            if record[name] == none:
                record[name] = None
        if not as_timestamps(record, self._timestamps):
            raise ConversionError
        self._check_raw(record)
        return record

    def _check_raw(self, record: Record) -> None:
        for name in self._lists:
            for item in record[name] or ():
                if type(item) is Raw and memoryview(item)[0] != BRACE:
                    raise ConversionError
        for name, beginning in self._raw.items():
            value = record[name]
            if value == NULL:
                record[name] = None
            elif value is not None and memoryview(value)[0] != beginning:
                raise ConversionError


class PageDecoder:
    """Decodes a page that has nothing but well-formed rows to their records.

    Args:
        struct: A row.
        path: The names of the objects around the list of rows, the outermost first.
        key: The columns that no record is without.
        bookmark: The timestamp that no record is without.
    """

    def __init__(
        self, struct: StructColumns, *path: str, key: tuple[str, ...], bookmark: str
    ) -> None:
        """Declare the page to msgspec."""
        kind: Any = list[struct.type]  # type: ignore[name-defined]
        for name in reversed(path):
            kind = wrapper(name, kind)
        self._decoder = msgspec.json.Decoder(kind)
        self._rows = attrgetter(".".join(path))
        self._struct = struct
        self._builder = RecordBuilder(struct)
        self._key = key
        self._bookmark = bookmark

    def __call__(self, reply: bytes) -> list[Record] | None:
        """Return the records of a page; None if a row is not as expected."""
        page = decode_as(self._decoder, reply)
        if page is None:
            return None
        records = []
        try:
            for row in self._rows(page):
                record = self._builder.record(self._struct.values(row))
                timestamp = record[self._bookmark] or ""
                if not EARLIEST_TEXT <= timestamp <= LATEST_TEXT:
                    return None
                if not all(map(record.__getitem__, self._key)):
                    return None
                record["additional_columns"] = {}
                records.append(record)
        except ConversionError:
            return None
        return records
