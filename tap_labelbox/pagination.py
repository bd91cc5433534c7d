"""Reading a list by skip and first without losing a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tap_labelbox.ahead import ahead
from tap_labelbox.errors import ComplexityError, UnavailableError
from tap_labelbox.moments import just_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

Row = dict[str, Any]

AT_FIRST = 4  # pages asked for at once after a first full one
FRUITLESS = 10  # one after the other
RESTARTS = 1000  # of one list in all
SMALLEST = 2  # rows a page


class Fetch(Protocol):
    """Ask for one page of rows made after a moment."""

    def __call__(self, after: str | None, skip: int, first: int) -> list[Row]:
        """Give at most ``first`` rows, oldest first, each with id and created_at."""


class Page(NamedTuple):
    """Rows that had not been read before."""

    rows: list[Row]
    reached: str | None
    """Every row made before this moment has been read; None if that is not known."""


@dataclass
class Listing:
    """A list that is read page by page."""

    fetch: Fetch
    size: int
    """Rows a page, two at least: one would be nothing but overlap. Halved where a
    page is too much for Labelbox."""
    after: str | None = None
    """Rows made at or before this moment are not asked for."""
    ordered: Callable[[], bool] = lambda: True
    """Tells, after a page, whether it was asked for in order."""
    width: int = 1
    """Pages that are asked for at once."""
    opening: Future[list[Row]] | None = None
    """The first page, if it has been asked for already."""

    def pages(self) -> Iterator[Page]:
        """Read a list to its end, which is a page that is not full.

        skip/first is no snapshot: a row deleted meanwhile moves all later ones up,
        past the reader. So each page begins with the last row of the page before.
        If that row is not there, something has moved, and reading starts again just
        before its moment. A page that ends among rows of one moment is overlapped
        by all of these, for nobody promises their order. (Where one moment has more
        rows than a page, there is nothing but the server's order to go by.)

        That holds whichever of two pages was answered first, so pages are asked for
        ahead. An overlap that was too short once is longer from there on; otherwise
        each such page would have to be asked for again.

        A server that gives the rows in an order of its own is read all the same;
        but until the pages have shown otherwise, or where ``ordered`` denies it, it
        is not known before the end up to where, and a second start is from the
        beginning.

        Raises:
            UnavailableError: If the list moves faster than it can be read, or if
                the server gives the same page again and again.
        """
        start, skip, stride = self.after, 0, self.size - 1
        overlap: set[str] = set()  # what the next page has to hold
        known: set[str] = set()  # what the next page may hold once more
        tied: set[str] = set()  # what was read of the latest moment
        latest = ""
        order, patience = _Order(), _Patience()
        answers = self._asked(start, 0, stride)
        if self.opening:
            answers = chain([self.opening], self._asked(start, stride, stride))
        while True:
            try:
                page = next(answers).result()
            except ComplexityError:
                if self.size <= SMALLEST:
                    raise
                stride = self._halve()
                answers = self._asked(start, skip, stride)
                continue
            ids = [row["id"] for row in page]
            moments = [row.get("created_at") or "" for row in page]
            order.see(moments)
            trusted = order.rising and not order.falling and self.ordered()
            patience.see(ids, first=not skip)
            if not overlap <= set(ids):
                patience.try_again()
                start = just_before(latest) if trusted else self.after
                skip, overlap = 0, set()
                answers = self._asked(start, skip, stride)
                continue
            fresh = [row for row in page if row["id"] not in known]
            patience.gain(len(fresh))
            latest = max([latest, *moments])
            ended = len(page) < self.size
            yield Page(fresh, (latest or None) if trusted or ended else None)
            if ended:
                return
            ties = {i for i, at in zip(ids, moments, strict=True) if at == moments[-1]}
            if len(ties) == len(page) or order.falling:
                overlap = {ids[-1]}
            else:
                overlap, tied = ties, set()
            tied |= ties
            known = tied.union(ids)
            step = len(page) - len(overlap)
            if step < stride:
                skip, stride = skip + step, max(step, self.size * 3 // 4)
                answers = self._asked(start, skip, stride)
            else:
                skip += stride

    def _asked(
        self, start: str | None, skip: int, stride: int
    ) -> Iterator[Future[list[Row]]]:
        """Ask for pages from one on; none ahead before the first was a full one."""
        jobs = (partial(self.fetch, start, at, self.size) for at in count(skip, stride))
        return ahead(jobs, self.width, at_first=AT_FIRST if skip else 1)

    def _halve(self) -> int:
        """Ask for less from now on; give the stride."""
        self.size = max(self.size // 2, SMALLEST)
        return self.size - 1


class _Order:
    """What the pages have shown of the order of the rows."""

    falling = rising = False

    def see(self, moments: list[str]) -> None:
        self.falling = self.falling or not all(moments) or moments != sorted(moments)
        self.rising = self.rising or (bool(moments) and moments[0] < moments[-1])


class _Patience:
    """How long a list that does not get on is asked again."""

    def __init__(self) -> None:
        self._restarts = self._fruitless = self._repeated = 0
        self._before: list[str] = []

    def see(self, ids: list[str], *, first: bool) -> None:
        # A row listed late moves the others down, so once is no sign.
        again = not first and ids == self._before
        self._repeated = self._repeated + 1 if again else 0
        self._before = ids
        if self._repeated > FRUITLESS:
            raise UnavailableError("Labelbox gives the same page again and again")

    def try_again(self) -> None:
        self._restarts += 1
        self._fruitless += 1
        if self._fruitless > FRUITLESS or self._restarts > RESTARTS:
            raise UnavailableError(
                "the list moves faster than it can be read: try again later"
            )

    def gain(self, rows: int) -> None:
        if rows:
            self._fruitless = 0
