"""Columns, and which values fit into them.

What fits no column is never dropped: it is put aside, for ``additional_columns``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from tap_labelbox.records import timestamps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Row = dict[str, Any]
Record = dict[str, Any]

Check = Callable[[Any], Any]
"""Gives a value as its column wants it; None if it does not fit."""

Columns: TypeAlias = "dict[str, tuple[str, Check] | Columns]"
"""By the names of a source: the column and its check, or the columns of a block."""

LARGEST_INTEGER = 2**63 - 1  # what a warehouse takes
NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)

# --- values --------------------------------------------------------------------


def as_text(value: Any) -> str | None:
    """Take a text."""
    return value if isinstance(value, str) else None


def as_string_or_number(value: Any) -> str | None:
    """Take numbers for text as well, where exports give now one, now the other."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else as_text(value)


def as_id(value: Any) -> str | None:
    """Return an ID as text, also if it is a number; an empty one is none."""
    if type(value) is str:
        return value or None
    return as_string_or_number(value)


def as_number(value: Any) -> float | None:
    """Take a number, or a text that is one; none beyond all floats."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None


def as_integer(value: Any) -> int | None:
    """Take a whole number that a warehouse can store, or a text that is one."""
    if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= LARGEST_INTEGER else None


def as_boolean(value: Any) -> bool | None:
    """Take true and false."""
    return value if isinstance(value, bool) else None


def as_timestamp(value: Any) -> str | None:
    """Take a moment, and give it in UTC."""
    return _timestamp(value) if isinstance(value, str) else None


@lru_cache(maxsize=1024)  # each table of a row has the row's moment
def _timestamp(text: str) -> str | None:
    # Python reads more as moments than people write: 20260131, 2026-W05.
    if text[10:11] not in {"T", " "}:
        return None
    try:
        return timestamps.normalize(text)
    except (ValueError, OverflowError):  # the latter near the year 1
        return None


def as_day(value: Any) -> str | None:
    """Take a day, without a time."""
    fits = (
        isinstance(value, str)
        and DAY.fullmatch(value)
        and timestamps.is_timestamp(value)
    )
    return value if fits else None


def as_object(value: Any) -> Row | None:
    """Take an object."""
    return value if isinstance(value, dict) else None


def as_objects(value: Any) -> list[Row] | None:
    """Take a list of objects."""
    fits = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return value if fits else None


def as_texts(value: Any) -> list[str] | None:
    """Take a list of texts."""
    fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if fits else None


def as_tags(value: Any) -> list[Row] | None:
    """Return a list of tags as objects; one that is a text has no more than that."""
    tags = value if isinstance(value, list) else [None]
    tags = [{"text": tag} if isinstance(tag, str) else tag for tag in tags]
    return as_objects(tags)


def as_ids(value: Any) -> list[str] | None:
    """Return a list of IDs, each as text."""
    ids = [as_id(item) for item in value] if isinstance(value, list) else [None]
    return None if None in ids else cast("list[str]", ids)


# --- columns -------------------------------------------------------------------


def snake_case(name: str) -> str:
    """Return the column of a name that is in camel case."""
    return WORD_BREAK.sub("_", name).lower()


def fields(check: Check, *names: str, prefix: str = "") -> Columns:
    """Name columns as the export names their values."""
    return {name: (prefix + name, check) for name in names}


def empty_record(*columns: Columns, more: Iterable[str] = ()) -> Record:
    """Return a record in which no column has a value yet."""
    record: Record = {}
    for column in (c for table in columns for c in table.values()):
        record |= (
            empty_record(column) if isinstance(column, dict) else {column[0]: None}
        )
    return record | dict.fromkeys(more)


def check_of(schema: dict[str, Any]) -> Check:
    """Return the check of a column by its JSON schema."""
    kind = schema["type"][0]
    if kind == "array":
        return as_texts if schema["items"]["type"][0] == "string" else as_objects
    if form := schema.get("format"):
        return as_day if form == "date" else as_timestamp
    return {
        "string": as_string_or_number,
        "number": as_number,
        "integer": as_integer,
        "boolean": as_boolean,
        "object": as_object,
    }[kind]


def columns_of(
    schema: dict[str, Any], relations: Iterable[str], short: Mapping[str, str]
) -> Columns:
    """Return the columns of a schema by the names of a source that has types.

    Args:
        schema: Of a stream.
        relations: Blocks of the source: ``created_by_id`` is ``id`` of ``created_by``.
        short: Columns that lack the name of their block, and that block.
    """
    columns: Columns = {}
    for name, column_schema in schema["properties"].items():
        check = check_of(column_schema)
        column = name, as_text if check is as_string_or_number else check
        prefixes = (r for r in relations if name.startswith(f"{r}_"))
        block = short.get(name) or next(prefixes, None)
        if block is None:
            columns[name] = column
        else:
            inner = {name.removeprefix(f"{block}_"): column}
            columns[block] = {**cast("Columns", columns.get(block, {})), **inner}
    return columns


def populate(
    record: Record, unmapped: Row, columns: Columns, block: Row, path: str
) -> None:
    """Lay the values of a block out in their columns, and put others aside.

    Args:
        record: What to fill; a column that has a value keeps it. The same value
            once more is no other.
        unmapped: Where to put what fits no column, by its dotted path.
        columns: The block's columns.
        block: The values.
        path: The path of the block, with a dot at its end.
    """
    for key, value in block.items():
        if value is None:
            continue
        if isinstance(column := columns.get(key), tuple):
            name, check = column
            if (converted := check(value)) is not None:
                if record[name] is None:
                    record[name] = converted
                    continue
                if record[name] == value:
                    continue
        elif column is not None and isinstance(value, dict):
            populate(record, unmapped, column, value, f"{path}{key}.")
            continue
        unmapped[path + key] = value


def to_record(empty_record: Record, columns: Columns, item: Any, ids: Record) -> Record:
    """Make the record of one item of a list."""
    unmapped: Row = {}
    record = {**empty_record, "additional_columns": unmapped}
    if isinstance(item, dict):
        populate(record, unmapped, columns, item, "")
    else:
        unmapped["item"] = item
    record |= ids
    return record
