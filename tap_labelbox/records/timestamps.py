"""Timestamps as text: UTC, milliseconds, ``2026-01-31T09:30:00.000Z``.

Timestamps are compared as text, so all of them have one form, whoever wrote them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UTC_FORM = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})(?:Z|\+00:00)", re.ASCII)
SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)
"""What is one is the next timestamp after another."""
# A day from the ends of the calendar, so that any zone and any filter has room.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)


def parse(text: str) -> datetime:
    """Parse an ISO 8601 timestamp; without an offset it is UTC."""
    timestamp = datetime.fromisoformat(text)
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp


def isoformat(timestamp: datetime) -> str:
    """Return the one form that bookmarks and filters have."""
    text = timestamp.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def normalize(text: str) -> str:
    """Return any ISO 8601 timestamp in the one form."""
    return isoformat(parse(text))


EARLIEST_TEXT, LATEST_TEXT = isoformat(EARLIEST), isoformat(LATEST)


def is_timestamp(text: str) -> bool:
    """Return whether a text can be read as a timestamp."""
    try:
        return EARLIEST <= parse(text) <= LATEST
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        return False


def shift(text: str, by: timedelta) -> str:
    """Return the timestamp so much later, or earlier."""
    return isoformat(parse(text) + by)


def normalize_or_empty(value: object) -> str:
    """Return a timestamp in the one form, or "" for what is none.

    Args:
        value: What stands in a state, which anybody may have written.
    """
    return normalize(value) if isinstance(value, str) and is_timestamp(value) else ""


def just_before(text: str) -> str:
    """Return a timestamp before this one, for a filter that excludes its bound.

    It is a whole second earlier. Labelbox keeps labels in whole seconds, so what was
    made in the second of this timestamp may bear its beginning; and a server that
    compares no more than seconds must not take both for the same.
    """
    return shift(text, -SECOND)


def truncate_to_second(text: str) -> str:
    """Return the beginning of the second of a timestamp."""
    return isoformat(parse(text).astimezone(UTC).replace(microsecond=0))
