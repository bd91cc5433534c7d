"""Values as columns want them; what does not fit is None."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any, cast

from tap_labelbox.records import timestamps

Row = dict[str, Any]

LARGEST_INTEGER = 2**63 - 1  # what a warehouse takes
NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)


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


def as_number(value: Any) -> float | None:
    """Return a number, also if it is a string; none beyond all floats."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None


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


def as_timestamp(value: Any) -> str | None:
    """Return a timestamp in UTC."""
    return _timestamp(value) if isinstance(value, str) else None


@lru_cache(maxsize=1024)  # a row has some timestamps more than once
def _timestamp(text: str) -> str | None:
    # Python reads more as timestamps than people write: 20260131, 2026-W05.
    if text[10:11] not in {"T", " "}:
        return None
    try:
        return timestamps.normalize(text)
    except (ValueError, OverflowError):  # the latter near the year 1
        return None


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


def as_ids(value: Any) -> list[str] | None:
    """Return a list of IDs, each as a string."""
    ids = [as_id(item) for item in value] if isinstance(value, list) else [None]
    return None if None in ids else cast("list[str]", ids)


def snake_case(name: str) -> str:
    """Return a name that is in camel case as a column's."""
    return WORD_BREAK.sub("_", name).lower()
