"""Reading a list by skip and first without losing a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, count, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tap_labelbox.api.errors import ComplexityError, TooLargeError, UnavailableError
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.records.timestamps import just_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

Row = dict[str, Any]

INITIAL_IN_FLIGHT = 4  # pages asked for at once after a first full one
MAX_STALLED_PAGES = 10  # one after the other
MAX_RESTARTS = 1000  # of one list in all
MIN_PAGE_ROWS = 2  # rows a page


class Fetch(Protocol):
    """Ask for one page of rows made after a timestamp."""

    def __call__(
        self, after: str | None, skip: int, first: int
    ) -> Sequence[Row | Malformed]:
        """Return at most ``first`` rows, oldest first, each with id and created_at."""


class Page(NamedTuple):
    """Rows that had not been read before."""

    rows: list[Row]
    reached: str | None
    """Every row made before this timestamp has been read; None if that is not known."""


@dataclass
class Listing:
    """A list that is read page by page."""

    fetch: Fetch
    size: int
    """Rows a page, two at least: one would be nothing but overlap. Halved where a
    page is too much for Labelbox."""
    after: str | None = None
    """Rows made at or before this timestamp are not asked for."""
    ordered: Callable[[], bool] = lambda: True
    """Tells, after a page, whether it was asked for in order."""
    max_in_flight: int = 1
    """Pages that are asked for at once."""
    first_page: Future[Sequence[Row | Malformed]] | None = None
    """The first page, if it has been asked for already."""
    opening_size: int = 0
    """Rows at most that it was asked for with: others may have found that too much
    meanwhile, and made pages smaller."""
    made_at: Callable[[Row], str] = itemgetter("created_at")
    """Returns when a row was made, as text that sorts; "" if that is not known."""
    leave_out: Callable[[Malformed], object] = lambda _: None
    """Logs a malformed row; called once for each."""
    key: Callable[[Row], str] = itemgetter("id")
    """Returns what tells a row from all others."""

    def pages(self) -> Iterator[Page]:
        """Read a list to its end, which is a page that is not full.

        skip/first is no snapshot: a row deleted meanwhile moves all later ones up,
        past the reader. So each page begins with the last row of the page before.
        If that row is not there, something has moved, and reading starts again just
        before its timestamp. A page that ends among rows of one timestamp is overlapped
        by all of these, for nobody promises their order. (Where one timestamp has more
        rows than a page, there is nothing but the server's order to go by.)

        Labels have whole seconds, and many are made in one. So equal timestamps are
        the rule, and what a second start gives once more is known by its ids.

        That holds whichever of two pages was answered first, so pages are asked for
        ahead. An overlap that was too short once is longer from there on; otherwise
        each such page would have to be asked for again.

        A server that gives the rows in an order of its own, such as newest first, is
        read all the same; but until the pages have shown otherwise, or where
        ``ordered`` denies it, it is not known before the end up to where, and a second
        start is from the beginning. So is a third one, if the pages after a second one
        show that there is no order after all.

        Rows that are malformed have no timestamp, and an id perhaps, so no page begins
        with one of them, and they say nothing of the order. (Where a page has no
        others to begin the next one with, there is nothing but the server's order to
        go by.)

        Raises:
            UnavailableError: If the list moves faster than it can be read, or if
                the server gives the same page again and again.
        """
        start, skip, stride = self.after, 0, self.size - 1
        latest, seen = "", _Seen(self.key)
        order, budget = _Order(), _RetryBudget()
        size = self.opening_size  # of the page that is waited for, at most
        answers = self._requested(start, 0, stride)
        if self.first_page:
            answers = chain([self.first_page], self._requested(start, stride, stride))
        while True:
            try:
                page = next(answers).result()
            except (ComplexityError, TooLargeError) as error:
                self.size = smaller(self.size, size, error)
                size, stride = 0, self.size - 1
                answers = self._requested(start, skip, stride)
                continue
            sound = [row for row in page if not isinstance(row, Malformed)]
            malformed = [row for row in page if isinstance(row, Malformed)]
            ids = [self.key(row) for row in sound]
            timestamps = [self.made_at(row) for row in sound]
            order.observe(timestamps)
            trusted = order.rising and not order.falling and self.ordered()
            budget.observe(ids, [row.content for row in malformed], first=not skip)
            misled = start != self.after and not trusted
            if misled or not seen.overlap <= set(ids):
                budget.try_again()
                start = just_before(latest) if trusted else self.after
                skip, seen.overlap = 0, set()
                order.restart()
                answers = self._requested(start, skip, stride)
                continue
            for row in seen.fresh_malformed(malformed):
                self.leave_out(row)
            fresh = [row for row in sound if self.key(row) not in seen.known]
            budget.note_progress(len(fresh))
            latest = max([latest, *timestamps])
            ended = len(page) < self.size
            yield Page(fresh, (latest or None) if trusted or ended else None)
            if ended:
                return
            seen.observe(ids, timestamps, falling=order.falling)
            step = len(page) - seen.tail(page)
            if not step:  # there is nothing to begin the next page with
                seen.overlap, step = set(), stride
            if step < stride:
                skip, stride = skip + step, max(step, self.size * 3 // 4)
                answers = self._requested(start, skip, stride)
            else:
                skip += stride

    def _requested(
        self, start: str | None, skip: int, stride: int
    ) -> Iterator[Future[Sequence[Row | Malformed]]]:
        """Ask for pages from one on; none ahead before the first was a full one."""
        jobs = (partial(self.fetch, start, at, self.size) for at in count(skip, stride))
        return prefetch(
            jobs, self.max_in_flight, initial=INITIAL_IN_FLIGHT if skip else 1
        )


def smaller(size: int, asked: int, error: Exception) -> int:
    """Return the size of pages after one was too much for Labelbox.

    Args:
        size: Which they have now.
        asked: Which that page had, at most; if it was larger, enough may be done.
        error: What it was answered with.

    Raises:
        Exception: That error, if they cannot be smaller.
    """
    if asked > size:
        return size
    if size <= MIN_PAGE_ROWS:
        raise error
    return max(size // 2, MIN_PAGE_ROWS)


class _Seen:
    """What the pages so far have to do with the next one."""

    def __init__(self, key: Callable[[Row], str]) -> None:
        self._key = key
        self.overlap: set[str] = set()
        """What the next page has to hold."""
        self.known: set[str] = set()
        """What the next page may hold once more."""
        self._tied: set[str] = set()  # what was read of the latest timestamp
        self._recent: dict[str, str] = {}  # what a second start gives once more
        self._left_out: set[str] = set()  # the malformed rows of the latest page

    def observe(self, ids: list[str], timestamps: list[str], *, falling: bool) -> None:
        """Take note of the rows of a page that are not malformed."""
        if not ids:
            self.overlap = set()
            return
        # Those at the end only: without an order, equal ones may be anywhere.
        backwards = zip(reversed(ids), reversed(timestamps), strict=True)
        ties = {
            i for i, _ in takewhile(lambda row: row[1] == timestamps[-1], backwards)
        }
        if len(ties) == len(ids):
            self.overlap = {ids[-1]}
        else:
            self.overlap, self._tied = ties, set()
        self._tied |= ties
        if falling:  # a second start is from the beginning
            self._recent = {}
        else:
            begin = just_before(timestamps[-1])
            rows = chain(self._recent.items(), zip(ids, timestamps, strict=True))
            self._recent = {i: at for i, at in rows if at > begin}
        self.known = self._tied.union(ids, self._recent)

    def fresh_malformed(self, page: list[Malformed]) -> list[Malformed]:
        """Return those malformed rows of a page that the one before had not."""
        fresh = [row for row in page if row.key not in self._left_out]
        self._left_out = {row.key for row in page}
        return fresh

    def tail(self, page: Sequence[Row | Malformed]) -> int:
        """Return how many rows at the end of a page the next one begins with."""
        if not self._left_out:
            return len(self.overlap)
        backwards = takewhile(
            lambda row: isinstance(row, Malformed) or self._key(row) in self.overlap,
            reversed(page),
        )
        return sum(1 for _ in backwards)


class _Order:
    """What the pages have shown of the order of the rows."""

    falling = rising = False

    def __init__(self) -> None:
        self._before = ""  # when the first row of the page before was made

    def observe(self, timestamps: list[str]) -> None:
        """Take note of a page that follows the one before."""
        if not timestamps:
            return
        self.falling = (
            self.falling
            or not all(timestamps)
            or timestamps != sorted(timestamps)
            # Later ones alone: a row that is listed late moves the others down.
            or timestamps[-1] < self._before
        )
        first = self._before or timestamps[0]
        self.rising = self.rising or first < timestamps[-1]
        self._before = timestamps[0]

    def restart(self) -> None:
        """Take note that the next page does not follow the one before."""
        self._before = ""


class _RetryBudget:
    """How long a list that does not get on is asked again."""

    def __init__(self) -> None:
        self._restarts = self._stalled = self._repeated = 0
        self._before: tuple[list[str], list[int]] = ([], [])

    def observe(self, ids: list[str], malformed: list[int], *, first: bool) -> None:
        # A row listed late moves the others down, so once is no sign. Nor are pages
        # of nothing but nulls, of which a list may really have some.
        again = not first and (ids, malformed) == self._before
        self._repeated = self._repeated + 1 if again else 0
        self._before = (ids, malformed)
        if self._repeated > (MAX_STALLED_PAGES if ids else MAX_RESTARTS):
            raise UnavailableError("Labelbox gives the same page again and again")

    def try_again(self) -> None:
        self._restarts += 1
        self._stalled += 1
        if self._stalled > MAX_STALLED_PAGES or self._restarts > MAX_RESTARTS:
            raise UnavailableError(
                "the list moves faster than it can be read: try again later"
            )

    def note_progress(self, rows: int) -> None:
        if rows:
            self._stalled = 0
