"""Reading a list by skip and first without losing a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tap_labelbox.errors import UnavailableError
from tap_labelbox.moments import just_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = dict[str, Any]

FRUITLESS = 10  # one after the other
RESTARTS = 1000  # of one list in all


class Fetch(Protocol):
    """Ask for one page of rows made after a moment."""

    def __call__(self, after: str | None, skip: int, first: int) -> list[Row]:
        """Give at most ``first`` rows, oldest first, each with id and created_at."""


class Page(NamedTuple):
    """Rows that had not been read before."""

    rows: list[Row]
    reached: str | None
    """Every row made before this moment has been read; None if that is not known."""


def pages(
    fetch: Fetch,
    size: int,
    after: str | None = None,
    ordered: Callable[[], bool] = lambda: True,
) -> Iterator[Page]:
    """Read a list to its end, which is a page that is not full.

    skip/first is no snapshot: a row deleted meanwhile moves all later ones up,
    past the reader. So each page begins with the last row of the page before.
    If that row is not there, something has moved, and reading starts again just
    before its moment. A page that ends among rows of one moment is overlapped by
    all of these, for nobody promises their order. (Where one moment has more rows
    than a page, there is nothing but the server's order to go by.)

    A server that gives the rows in an order of its own is read all the same; but
    until the pages have shown otherwise, or where ``ordered`` denies it, it is not
    known before the end up to where, and a second start is from the beginning.

    Args:
        fetch: Asks for a page.
        size: Rows a page, at most; two at least are asked for.
        after: Rows made at or before this moment are not asked for.
        ordered: Tells, after a page, whether it was asked for in order.

    Raises:
        UnavailableError: If the list moves faster than it can be read, or if the
            server gives the same page again and again.
    """
    first = max(size, 2)  # one row would be nothing but overlap
    start, skip = after, 0
    overlap: set[str] = set()  # what the next page has to hold
    tied: set[str] = set()  # what was read of the latest moment
    latest = ""
    falling = rising = False
    restarts = fruitless = repeated = 0
    before: list[str] = []
    while True:
        page = fetch(start, skip, first)
        ids = [row["id"] for row in page]
        moments = [row.get("created_at") or "" for row in page]
        falling = falling or not all(moments) or moments != sorted(moments)
        rising = rising or (bool(page) and moments[0] < moments[-1])
        trusted = rising and not falling and ordered()
        # A row listed late moves the others down, so once is no sign.
        repeated = repeated + 1 if skip and ids == before else 0
        if repeated > FRUITLESS:
            msg = "Labelbox gives the same page again and again"
            raise UnavailableError(msg)
        if not overlap <= set(ids):
            restarts, fruitless = restarts + 1, fruitless + 1
            if fruitless > FRUITLESS or restarts > RESTARTS:
                msg = "the list moves faster than it can be read: try again later"
                raise UnavailableError(msg)
            start, skip, overlap, before = after, 0, set(), []
            if trusted:
                start = just_before(latest)
            continue
        before = ids
        if fresh := [row for row in page if row["id"] not in tied]:
            fruitless = 0
        latest = max([latest, *moments])
        ended = len(page) < first
        yield Page(fresh, (latest or None) if trusted or ended else None)
        if ended:
            return
        ties = {i for i, at in zip(ids, moments, strict=True) if at == moments[-1]}
        if len(ties) == len(page) or falling:
            overlap = {ids[-1]}
        else:
            overlap, tied = ties, set()
        tied |= ties
        skip += len(page) - len(overlap)
