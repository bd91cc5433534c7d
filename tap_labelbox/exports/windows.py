"""Windows of time, into which the export of a large project is split.

An export of millions of data rows takes Labelbox hours, and fails at times. So what a
large project has is exported by ``last_activity_at``, oldest first: each window has an
export and moves the bookmark, and Labelbox prepares the next ones while one is read.

Both ends of a window are within it, so that no row falls between two; one that is on
the edge is read twice. A row that becomes active while windows are read leaves its own,
and comes with the last one, or with the next run: no window reaches beyond the start of
the run, so neither does a bookmark.

The edges are days that are the same whenever a run begins. So a run after one that was
cut off finds the exports that were prepared for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from tap_labelbox.records.timestamps import isoformat, parse, truncate_to_second

MAX_WINDOW_ROWS = 50_000  # data rows of a window, if they are spread evenly
MAX_WINDOWS = 64  # of a project, about
MIN_SPLIT_TIME = timedelta(days=30)
"""The shortest time that is split at once: less is not a first load, and is split where
Labelbox fails at it."""
MIN_WINDOW_TIME = timedelta(days=1)
"""The shortest window: it is not halved."""
FIRST_ROW_AT = "2018-01-01T00:00:00.000Z"
"""The start of a project of which nobody says when it was made: Labelbox began in that
year."""


class Window(NamedTuple):
    """A span of time, both ends included."""

    since: str | None
    """Its first timestamp; None for all that there is."""
    until: str
    """Its last timestamp."""

    def begins_at(self, made_at: str) -> datetime:
        """Return when it begins, in a project that was made then."""
        return parse(self.since or made_at or FIRST_ROW_AT)


def windows(whole: Window, made_at: str, row_count: int | None) -> list[Window]:
    """Return the windows into which what is to be read of a project is split.

    Args:
        whole: What is to be read.
        made_at: When the project was made; "" if that is not known.
        row_count: How many data rows it has; None if that is not known.
    """
    begin, end = whole.begins_at(made_at), parse(whole.until)
    if row_count is None or end - begin < MIN_SPLIT_TIME:
        return [whole]
    age = max(end - Window(None, "").begins_at(made_at), end - begin)
    days = 1
    while (
        row_count * (timedelta(days=2 * days) / age) <= MAX_WINDOW_ROWS
        or (end - begin) / timedelta(days=days) > MAX_WINDOWS
    ):
        days *= 2
        if timedelta(days=days) > end - begin:
            return [whole]
    step = timedelta(days=days)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    edge = epoch + ((begin - epoch) // step + 1) * step
    edges: list[str] = []
    while edge + MIN_WINDOW_TIME < end:
        edges.append(isoformat(edge))
        edge += step
    starts = [whole.since, *edges]
    return [Window(*ends) for ends in zip(starts, [*edges, whole.until], strict=True)]


def halves(window: Window, made_at: str) -> list[Window]:
    """Return the two halves of a window of a project; none if it is a day or less."""
    begin, end = window.begins_at(made_at), parse(window.until)
    if end - begin <= MIN_WINDOW_TIME:
        return []
    middle = truncate_to_second(isoformat(begin + (end - begin) / 2))
    return [Window(window.since, middle), Window(middle, window.until)]
