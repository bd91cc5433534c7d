"""Values, as columns want them, and the records that they fill.

What does not fit its column is never dropped: it is put aside, for
``additional_columns``. Columns are declared in :mod:`tap_labelbox.records.columns`.
"""

from __future__ import annotations

import hashlib
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.records import timestamps
from tap_labelbox.redact import bare_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_labelbox.records.columns import Check, Column, Record, Row, Sources, Table

LARGEST_INTEGER = 2**63 - 1  # what a warehouse takes
MAX_EXACT_INTEGER = 2**53  # beyond, not every whole number is a float
MAX_ID_BYTES = 160  # Labelbox's own have 25 or 36
MAX_CHARACTER_BYTES = 4  # of UTF-8
NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)
WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

# --- checks: what does not fit is None ------------------------------------------


def as_string(value: Any) -> str | None:
    """Return a string."""
    return value if isinstance(value, str) else None


def as_string_or_number(value: Any) -> str | None:
    """Return a string, or a number as one: exports give now one, now the other."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else as_string(value)


def as_id(value: Any) -> str | None:
    """Return an ID as a string, also if it is a number; an empty one is none."""
    if type(value) is str:
        return value or None
    return as_string_or_number(value)


def as_key(value: Any) -> str | None:
    """Return an ID as its columns have it, in each table the same."""
    own_id = as_id(value)
    return None if own_id is None else shortened_id(own_id)


def has_at_most(text: str, max_bytes: int) -> bool:
    """Return whether a text has no more bytes, in UTF-8.

    Some databases count the characters of a column by its bytes.
    """
    few = len(text) * MAX_CHARACTER_BYTES <= max_bytes
    return few or len(text.encode(errors="surrogatepass")) <= max_bytes


def as_bounded(check: Check, max_bytes: int, value: Any) -> str | None:
    """Return a text that passes a check and has no more bytes, in UTF-8."""
    text: str | None = check(value)
    return None if text is None or not has_at_most(text, max_bytes) else text


def shortened_id(text: str, max_bytes: int = MAX_ID_BYTES) -> str:
    """Return an ID; of one that is too long, its beginning and its SHA-256.

    So no row is left out for its key, and tables join by it: the same ID becomes the
    same in every table and run, and another one another.
    """
    if has_at_most(text, max_bytes):
        return text
    encoded = text.encode(errors="surrogatepass")
    digest = hashlib.sha256(encoded).hexdigest()
    return f"{encoded[: max_bytes - len(digest) - 1].decode(errors='ignore')}~{digest}"


def as_number(value: Any) -> float | None:
    """Return a number, also if it is a string; none beyond all floats.

    Some targets accept no integers that no float equals: these become the nearest.
    """
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > sys.float_info.max:
        return None
    return value if abs(value) <= MAX_EXACT_INTEGER else float(value)


def digits(value: Any) -> str | None:
    """Return the digits of an integer that no float equals; None for other values."""
    return str(value) if type(value) is int and as_number(value) != value else None


def as_integer(value: Any) -> int | None:
    """Return an integer that a warehouse can store, also if it is a string."""
    if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= LARGEST_INTEGER else None


def as_boolean(value: Any) -> bool | None:
    """Return true or false."""
    return value if isinstance(value, bool) else None


def as_day(value: Any) -> str | None:
    """Return a date without a time."""
    fits = (
        isinstance(value, str)
        and DAY.fullmatch(value)
        and timestamps.is_timestamp(value)
    )
    return value if fits else None


def as_object(value: Any) -> Row | None:
    """Return an object."""
    return value if isinstance(value, dict) else None


def as_object_of_pairs(name: str, content: str, value: Any) -> Row | None:
    """Return a list of names with what each has as one object."""
    items = as_objects(value) or []
    result = {as_id(item.get(name)): item.get(content) for item in items}
    # Nothing of the list may get lost.
    fits = isinstance(value, list) and len(result) == len(value) and None not in result
    return cast("Row", result) if fits else None


def as_objects(value: Any) -> list[Row] | None:
    """Return a list of objects."""
    fits = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return value if fits else None


def as_strings(value: Any) -> list[str] | None:
    """Return a list of strings."""
    fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if fits else None


def as_tags(value: Any) -> list[Row] | None:
    """Return a list of tags as objects; one that is a string has only its text."""
    tags = value if isinstance(value, list) else [None]
    tags = [{"text": tag} if isinstance(tag, str) else tag for tag in tags]
    return as_objects(tags)


def as_address(value: Any) -> str | None:
    """Return an address without what may be secret in it."""
    return bare_address(value) if isinstance(value, str) else None


def as_epoch(value: Any) -> str | None:
    """Return the timestamp of so many seconds since 1970, also if they are a string."""
    seconds = as_number(value)
    if seconds is None:
        return as_timestamp(value)
    try:
        return timestamps.isoformat(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):  # beyond the calendar
        return None


def as_ids(value: Any) -> list[str] | None:
    """Return a list of IDs, each as a string."""
    ids = [as_id(item) for item in value] if isinstance(value, list) else [None]
    return None if None in ids else cast("list[str]", ids)


def as_timestamp(value: Any) -> str | None:
    """Return a timestamp in the one form that :mod:`.timestamps` describes."""
    return _timestamp(value) if isinstance(value, str) else None


@lru_cache(maxsize=1024)  # a row has some timestamps more than once
def _timestamp(text: str) -> str | None:
    # Python reads more as timestamps than people write: 20260131, 2026-W05.
    if text[10:11] not in {"T", " "}:
        return None
    try:
        # Nearly all are like this, and writing one takes five times as long.
        if match := timestamps.UTC_FORM.fullmatch(text):
            datetime.fromisoformat(text)
            return f"{match[1]}Z"
        return timestamps.normalize(text)
    except (ValueError, OverflowError):  # the latter near the year 1
        return None


def as_timestamps(record: Record, names: Iterable[str]) -> bool:
    """Put the one form in place of some timestamps of a record, where there are any.

    Returns:
        Whether all are timestamps, or null.
    """
    for name in names:
        if (text := record[name]) is not None:
            record[name] = result = _timestamp(text)
            if result is None:
                return False
    return True


# --- records --------------------------------------------------------------------


def to_record(table: Table, item: Any, ids: Record) -> Record:
    """Return the record of one item of a list.

    Args:
        table: What it is a record of.
        item: The item; anything but an object is put aside.
        ids: Columns that are not of the item.
    """
    unmapped: Row = {}
    record = table.blank.copy()
    record["additional_columns"] = unmapped
    if isinstance(item, dict):
        populate(record, unmapped, table.sources, item, "")
    else:
        unmapped["item"] = item
    record |= ids
    return record


def populate(
    record: Record, unmapped: Row, sources: Sources, block: Row, path: str
) -> None:
    """Fill a record with the values of a block, and put aside what does not fit.

    Args:
        record: What to fill; a column that has a value keeps it. The same value
            once more is not another.
        unmapped: Where to put what fits no column, by its dotted path.
        sources: The block's columns.
        block: The values.
        path: The path of the block, with a dot at its end.
    """
    for key, value in block.items():
        if value is None:
            continue
        if (source := sources.get(key)) is not None:
            if not isinstance(source, dict):
                store(record, unmapped, source, value, path + key)
                continue
            if isinstance(value, dict):
                populate(record, unmapped, source, value, f"{path}{key}.")
                continue
        unmapped[path + key] = value


def store(record: Record, unmapped: Row, column: Column, value: Any, path: str) -> None:
    """Fill a column with a value, and put aside by its path what does not fit.

    A column that has a value keeps it; the same value again does not count. Of a value
    that does not fit as a whole, the column has what fits, and all is put aside.
    """
    name, kind = column.name, column.kind
    if (converted := kind.check(value)) is not None:
        if converted == kind.none:
            return
        if record[name] is None:
            record[name] = converted
            if converted is value or kind.left_over is None:
                return
            if (rest := kind.left_over(value)) is None:
                return
            value = rest
        elif record[name] == value:
            return
    unmapped[path] = kind.put_aside(value)


def without(columns: frozenset[str], record: Record) -> Record:
    """Return a record without some columns."""
    return {name: value for name, value in record.items() if name not in columns}
