"""Reading a list by skip and first without losing a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tap_labelbox.errors import UnavailableError
from tap_labelbox.moments import just_before

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]

FRUITLESS_RESTARTS = 10


class Fetch(Protocol):
    """Ask for one page of rows made after a moment."""

    def __call__(self, after: str | None, skip: int, first: int) -> list[Row]:
        """Give at most ``first`` rows, oldest first, each with id and created_at."""


class Page(NamedTuple):
    """Rows that had not been read before."""

    rows: list[Row]
    reached: str | None
    """Every row made before this moment has been read; None if that is not known."""


def pages(fetch: Fetch, size: int, after: str | None = None) -> Iterator[Page]:
    """Read a list to its end, which is a page that is not full.

    skip/first is no snapshot: a row deleted meanwhile moves all later ones up,
    past the reader. So each page begins with the last row of the page before.
    If that row is not there, something has moved, and reading starts again just
    before its moment. A page that ends among rows of one moment is overlapped by
    all of these, for nobody promises their order.

    A server that gives the rows in an order of its own is read all the same; but
    then it is not known before the end up to where, and a second start is from
    the beginning.

    Args:
        fetch: Asks for a page.
        size: Rows a page, at most; two at least are asked for.
        after: Rows made at or before this moment are not asked for.

    Raises:
        UnavailableError: If the list moves faster than it can be read.

    """
    first = max(size, 2)  # one row would be nothing but overlap
    start, skip = after, 0
    overlap: set[str] = set()  # what the next page has to hold
    tied: set[str] = set()  # what was read of the latest moment
    latest = ""
    ordered = True
    fruitless = 0
    while True:
        page = fetch(start, skip, first)
        moments = [row.get("created_at") or "" for row in page]
        ordered = ordered and all(moments) and moments == sorted(moments)
        if not overlap <= {row["id"] for row in page}:
            fruitless += 1
            if fruitless > FRUITLESS_RESTARTS:
                msg = "the list moves faster than it can be read: try again later"
                raise UnavailableError(msg)
            start, skip = just_before(latest) if ordered else after, 0
            overlap = set()
            continue
        fresh = [row for row in page if row["id"] not in tied]
        if fresh:
            fruitless = 0
        latest = max([latest, *moments])
        ended = len(page) < first
        yield Page(fresh, (latest or None) if ordered or ended else None)
        if ended:
            return
        last = page[-1]
        ties = [r for r, at in zip(page, moments, strict=True) if at == moments[-1]]
        if len(ties) == len(page) or not ordered:
            overlap = {last["id"]}  # more of one moment than a page holds
        else:
            overlap = {row["id"] for row in ties}
            tied = set()
        tied |= {row["id"] for row in ties}
        skip += len(page) - len(overlap)
