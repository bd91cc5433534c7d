"""Moments as text: UTC, milliseconds, ``2026-01-31T09:30:00.000Z``.

Timestamps are compared as text, so all of them have one form, whoever wrote them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UTC_FORM = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})(?:Z|\+00:00)", re.ASCII)
SECOND = timedelta(seconds=1)
# A day from the ends of the calendar, so that any zone and any filter has room.
FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST = datetime(9999, 12, 30, tzinfo=UTC)


def parse(text: str) -> datetime:
    """Read an ISO 8601 moment; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def write(moment: datetime) -> str:
    """Give the one form that bookmarks and filters have."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def normal(text: str) -> str:
    """Bring any ISO 8601 moment into the one form."""
    moment = parse(text)
    # Nearly all are like this, and writing one takes five times as long.
    return f"{match[1]}Z" if (match := UTC_FORM.fullmatch(text)) else write(moment)


def is_moment(text: str) -> bool:
    """Tell whether a text can be read as a moment."""
    try:
        return FIRST <= parse(text) <= LAST
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        return False


def shift(text: str, by: timedelta) -> str:
    """Give the moment so much later, or earlier."""
    return write(parse(text) + by)


def normal_or_empty(value: object) -> str:
    """Return a timestamp in the one form, or "" for what is none.

    Args:
        value: What stands in a state, which anybody may have written.
    """
    return normal(value) if isinstance(value, str) and is_moment(value) else ""


def just_before(text: str) -> str:
    """Return a timestamp before this one, for a filter that excludes its bound.

    It is a whole second earlier. Labelbox keeps labels in whole seconds, so what was
    made in the second of this timestamp may bear its beginning; and a server that
    compares no more than seconds must not take both for the same.
    """
    return shift(text, -SECOND)


def whole_second(text: str) -> str:
    """Return the beginning of the second of a timestamp."""
    return write(parse(text).astimezone(UTC).replace(microsecond=0))
