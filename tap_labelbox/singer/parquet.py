"""Records as Parquet: columns of the types that the stream's schema gives them.

Needs pyarrow, which the extra ``tap-labelbox[parquet]`` brings.

Objects and lists have one type in JSON, and another one in each record. Parquet
wants one for all, so they are columns of JSON text, and the SCHEMA message says so:
a target that reads the text of an object into a column for objects would store a
text within JSON. Timestamps are UTC, in microseconds, which is all that targets keep.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
from msgspec import Raw
from pyarrow import parquet

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.records import timestamps
from tap_labelbox.records.json_text import decode, encode_shallow
from tap_labelbox.records.malformed import kind as kind_of
from tap_labelbox.records.malformed import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Bytes of JSON that become a row group; as Python objects they take several times as
# much memory as in one.
GROUP_BYTES = 4 * 1024 * 1024
SCALAR_BYTES = 8  # near enough

Kind: TypeAlias = "tuple[pa.DataType, Callable[[Any], Any]]"
"""A column's type, and what turns a value, other than null, into it."""

NULL = b"null"
TEXT = {"type": ["string", "null"]}


def _json(value: Any) -> bytes | None:
    if value is None:
        return None
    text = bytes(value) if type(value) is Raw else encode_shallow(value)
    return None if text == NULL else text


def _kept(kind: Kind, value: Any) -> Any:
    """Return what is kept of a value: not Raw, which would keep a whole reply."""
    if kind is JSON:
        return _json(value)
    return decode(bytes(value)) if type(value) is Raw else value


# pyarrow itself would cut 1.5 down to 1 where integers are wanted, take True for 1.0,
# and refuse integers that no float equals.


def _integer(value: Any) -> int:
    return int(value) if _number(value).is_integer() else index(value)


def _number(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError
    return float(value)


def _as_it_is(value: Any) -> Any:
    return value


JSON = (pa.string(), _as_it_is)  # made text as soon as it comes: see Columns.add
TYPES: dict[str, Kind] = {
    "boolean": (pa.bool_(), _as_it_is),
    "integer": (pa.int64(), _integer),
    "number": (pa.float64(), _number),
    "string": (pa.string(), _as_it_is),
    "date-time": (pa.timestamp("us", "UTC"), timestamps.parse),
}


def _type(schema: Mapping[str, Any]) -> Kind:
    supplied = schema.get("type", ())
    names = {supplied} if isinstance(supplied, str) else set(supplied)
    names.discard("null")
    if names == {"integer", "number"}:
        names = {"number"}
    if names == {"string"} and schema.get("format") == "date-time":
        names = {"date-time"}
    return TYPES.get(names.pop(), JSON) if len(names) == 1 else JSON


class Columns:
    """The records of one file, or one table, by column."""

    suffixes: ClassVar = {"gzip": ".parquet", "none": ".parquet"}
    remedy = "set batch_config.encoding.format to jsonl"
    """What to do about a value that is not of its column's type."""

    def __init__(self, stream: str, schema: Mapping[str, Any]) -> None:
        self._stream = stream
        self._types = {name: _type(s) for name, s in schema["properties"].items()}
        self.arrow_schema = pa.schema(
            [(name, kind) for name, (kind, _) in self._types.items()]
        )
        self._groups: list[pa.RecordBatch] = []
        self._rows: list[list[Any]] = []
        self._size = 0

    def add(self, record: Mapping[str, Any]) -> int:
        """Add a row.

        Raises:
            SettingsError: If it has a column more than the schema, or a value that is
                not of its column's type.
        """
        if more := record.keys() - self._types.keys():
            msg = (
                f"{self._stream} has columns that its SCHEMA lacks, which no parquet "
                f"file can hold: {shortened(min(more))}"
            )
            raise SettingsError(msg)
        row = [_kept(kind, record.get(name)) for name, kind in self._types.items()]
        size = sum(len(v) if isinstance(v, str | bytes) else SCALAR_BYTES for v in row)
        self._rows.append(row)
        self._size += size
        if self._size > GROUP_BYTES:
            self._groups, self._rows = [*self._groups, self._group()], []
            self._size = 0
        return size

    def compressed(self, compression: str) -> bytes:
        """Return the file, row group by row group."""
        written = pa.BufferOutputStream()
        with parquet.ParquetWriter(
            written, self.arrow_schema, compression=compression
        ) as writer:
            for group in (*self._groups, self._group()):
                writer.write_batch(group)
        content: bytes = written.getvalue().to_pybytes()
        return content

    def take_full(self) -> list[pa.RecordBatch]:
        """Return the row groups that are full, and let go of them."""
        groups, self._groups = self._groups, []
        return groups

    def take_rest(self) -> list[pa.RecordBatch]:
        """Return all that is left, and let go of it; nothing if there is none."""
        rows = [self._group()] if self._rows else []
        self._rows, self._size = [], 0
        return [*self.take_full(), *rows]

    @staticmethod
    def schema(schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of what is in the file: JSON is text there."""
        columns = {
            name: TEXT if _type(column) is JSON else column
            for name, column in schema["properties"].items()
        }
        return {**schema, "properties": columns}

    def _group(self) -> pa.RecordBatch:
        """Turn the rows into columns."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._types)
        arrays = list(map(self._array, self._types, columns))
        return pa.record_batch(arrays, schema=self.arrow_schema)

    def _array(self, name: str, values: Sequence[Any]) -> pa.Array:
        kind, fitting = self._types[name]
        fitted: list[Any] = []
        value: Any = None
        try:
            for value in values:
                fitted.append(None if value is None else fitting(value))
            return pa.array(fitted, kind)
        except (TypeError, ValueError, OverflowError):
            # Not what the error says, which quotes the value.
            others = f" ({kind_of(value)})" if len(fitted) < len(values) else ""
            msg = f"{self._stream}.{name} has a value that is not {kind}{others}"
            raise SettingsError(f"{msg}; {self.remedy}") from None
