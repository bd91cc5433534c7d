"""Reading a list by skip and first without losing a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tap_labelbox.api.errors import ComplexityError, TooLargeError, UnavailableError
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.records.timestamps import just_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

Row = dict[str, Any]

INITIAL_IN_FLIGHT = 4  # pages asked for at once after a first full one
MAX_STALLED_PAGES = 10  # one after the other
MAX_RESTARTS = 1000  # of one list in all
MIN_PAGE_ROWS = 2  # rows a page
OVERLAP_ROWS = 2  # of pages that may meet at a seam: with one, each would
SEAMS_TOGETHER = 40  # timestamps that are asked for at once
SEAM_MARGIN_ROWS = 4  # asked for beyond those of one timestamp that are known


class Fetch(Protocol):
    """Ask for one page of rows made after a timestamp."""

    def __call__(
        self, after: str | None, skip: int, first: int
    ) -> Sequence[Row | Malformed]:
        """Return at most ``first`` rows, oldest first, each with id and created_at."""


Ask = tuple[str | None, int, int]
"""The arguments of a page: after, skip, first."""


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
    """Returns, after a page, whether it was asked for in order."""
    max_in_flight: int = 1
    """Pages that are asked for at once."""
    first_page: Future[Sequence[Row | Malformed]] | None = None
    """The first page, if it has been asked for already."""
    first_page_rows: int = 0
    """Rows at most that it was asked for with: others may have found that too much
    meanwhile, and made pages smaller."""
    made_at: Callable[[Row], str] = itemgetter("created_at")
    """Returns when a row was made, as text that sorts; "" if that is not known."""
    leave_out: Callable[[Malformed], object] = lambda _: None
    """Logs a malformed row; called once for each."""
    key: Callable[[Row], str] = itemgetter("id")
    """Returns what tells a row from all others."""
    fetch_all: Callable[[list[Ask]], Iterable[Sequence[Row | Malformed]]] | None = None
    """Asks for several short pages in one request, if that can be done."""

    def pages(self) -> Iterator[Page]:
        """Read a list to its end, which is a page that is not full.

        skip/first is no snapshot: a row deleted meanwhile moves all later ones up,
        past the reader. So each page begins with the last row of the page before.
        If that row is not there, something has moved, and reading starts again just
        before its timestamp. A page that ends among rows of one timestamp is overlapped
        by all of these, for nobody promises their order. (Where one timestamp has more
        rows than a page, there is nothing but the server's order to go by.)

        That holds whichever of two pages was answered first, so pages are prefetched.
        An overlap that was too short once is longer from there on; otherwise each such
        page would have to be asked for again.

        Labels have whole seconds, and many are made in one. Where several pages can be
        asked for in one request, those in flight are kept instead: a page has all rows
        between its first timestamp and its last one, but if it ends with the timestamp
        that the next one begins with, either may lack rows of it. All rows at such a
        seam are asked for once more, with those at other seams, while pages go on.

        A server that gives the rows in an order of its own, such as newest first, is
        read all the same; but until the pages have shown otherwise, or where
        ``ordered`` denies it, it is not known before the end up to where, and a
        restart is from the beginning. So is a third start, if the pages after a second
        one show that there is no order after all. What a restart brings again is known
        by its ids.

        Malformed rows have no timestamp, and an id perhaps, so no page begins with one
        of them, and they say nothing of the order. (Where a page has no others to
        begin the next one with, there is nothing but the server's order to go by.)

        Raises:
            UnavailableError: If the list moves faster than it can be read, or if
                the server gives the same page again and again.
        """
        walk = _Walk(self)
        while True:
            try:
                page = walk.next_page()
            except (ComplexityError, TooLargeError) as error:
                walk.shrink(error)
                continue
            if page is None or not walk.fits(page):
                walk.restart()
                continue
            is_last = len(page) < self.size
            yield walk.read(page, is_last=is_last)
            if not is_last:
                walk.advance(page)
            elif walk.seams:
                walk.finish()
            else:
                return


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


class _Walk:
    """The way through a list: the next page to ask for, and the rows that were read."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._start = listing.after  # rows made after this timestamp are listed
        self._skip = 0  # rows of these before the next page
        self._stride = self._longest_stride  # rows from one page to the next
        self._is_over = False  # all pages have been read, but perhaps not all seams
        self._latest = ""  # timestamp that was read
        self._answers: Iterator[Future[Any]]
        self._seen = _Seen(listing.key)
        self._order = _Order()
        self._budget = _RetryBudget()
        self.seams: dict[str, set[str]] = {}
        """Timestamps with which a page ended and the next one began, until all their
        rows have been read; and the IDs of those that these pages had."""
        self._in_flight = 0  # seams, the first ones
        self._lacking: list[Row] = []  # of seams, for the next page to bring along
        # Rows that the next page was asked for with, at most.
        self._asked_size = listing.first_page_rows
        if listing.first_page:
            self._request(self._stride)
            self._answers = chain([listing.first_page], self._answers)
            self._skip = 0
        else:
            self._request(0)

    @property
    def _can_have_seams(self) -> bool:
        """True if two pages that meet within a timestamp can be kept."""
        return self._listing.fetch_all is not None and self._listing.size > OVERLAP_ROWS

    @property
    def _longest_stride(self) -> int:
        return self._listing.size - (OVERLAP_ROWS if self._can_have_seams else 1)

    def _request(self, skip: int) -> None:
        """Request pages from one on; none is prefetched before the first was full."""
        self._skip, self._in_flight = skip, 0
        initial = INITIAL_IN_FLIGHT if skip else 1
        limit = self._listing.max_in_flight
        self._answers = prefetch(self._jobs(), limit, initial=initial)

    def _jobs(self) -> Iterator[Callable[[], Any]]:
        """Yield what asks for the pages, and for their seams in between."""
        if self._is_over:
            yield from (self._next_seams(), list)  # and an empty page
            return
        start, size = self._start, self._listing.size
        for skip in count(self._skip, self._stride):
            if len(self.seams) - self._in_flight >= SEAMS_TOGETHER:
                yield self._next_seams()
            yield partial(self._listing.fetch, start, skip, size)

    def _next_seams(self) -> Callable[[], Any]:
        """Return what asks for the seams that are not in flight."""
        new = [(at, len(ids)) for at, ids in self.seams.items()][self._in_flight :]
        self._in_flight = len(self.seams)
        return partial(_rows_at, self._listing, new)

    def next_page(self) -> _Rows | None:
        """Wait for the next page; None if the list has to be read in another way."""
        while isinstance(answer := next(self._answers).result(), dict | None):
            if answer is None or not self._is_ordered:
                self._listing.fetch_all = None
                return None
            self._settle(answer)
        return _Rows(answer, self._listing)

    def _settle(self, seams: dict[str, _Rows]) -> None:
        """Keep what the pages lacked at some seams for the next page."""
        for at, page in seams.items():
            known = self.seams.pop(at)
            for malformed in page.malformed:
                self._listing.leave_out(malformed)
            own = zip(page.ids, page.sound, page.timestamps, strict=True)
            new = {i: row for i, row, t in own if t == at and i not in known}
            self._lacking += new.values()
        self._in_flight -= len(seams)

    def shrink(self, error: Exception) -> None:
        """Ask for the next page, and all others, with fewer rows.

        Raises:
            Exception: That error, if there cannot be fewer.
        """
        self._listing.size = smaller(self._listing.size, self._asked_size, error)
        self._asked_size, self._stride = 0, self._longest_stride
        self._request(self._skip)

    @property
    def _is_ordered(self) -> bool:
        order = self._order
        return order.rises and not order.falls and self._listing.ordered()

    def fits(self, page: _Rows) -> bool:
        """Return whether no row is missing between the page before and this one."""
        self._order.observe(page.timestamps)
        contents = [row.content for row in page.malformed]
        self._budget.observe(page.ids, contents, is_first=not self._skip)
        if self._start != self._listing.after and not self._is_ordered:
            return False
        overlap = self._seen.overlap
        if not (overlap and self._may_have_seams):
            return overlap <= set(page.ids)
        if page.timestamps[:1] == [self._latest]:
            own = zip(page.ids, page.timestamps, strict=True)
            known = self._seen.latest.union(i for i, at in own if at == self._latest)
            if len(known) < self._listing.size:  # else no page would have them all
                if page.malformed:  # they would be logged twice
                    return False
                self.seams.setdefault(self._latest, set()).update(known)
                return True
        return not overlap.isdisjoint(page.ids)

    @property
    def _may_have_seams(self) -> bool:
        """True if the next page may begin among the rows with which the last ended."""
        is_sound = self._is_ordered and self._seen.is_well_formed
        return is_sound and self._can_have_seams

    def restart(self) -> None:
        """Go back to where all rows have been read; to the start if that is unknown.

        Raises:
            UnavailableError: If that has been done too often.
        """
        self._budget.try_again()
        is_ordered = self._is_ordered
        if not (is_ordered and self._listing.fetch_all):
            self._latest = min([self._latest, *self.seams])
            self.seams = {}
        self._start = just_before(self._latest) if is_ordered else self._listing.after
        self._seen.overlap, self._is_over = set(), False
        self._order.restart()
        self._request(0)

    def read(self, page: _Rows, *, is_last: bool) -> Page:
        """Return the rows of a page, and of seams, that have not been read before."""
        for row in self._seen.new_malformed(page.malformed):
            self._listing.leave_out(row)
        known = self._seen.ids
        new = [r for i, r in zip(page.ids, page.sound, strict=True) if i not in known]
        self._budget.note_progress(len(new))
        self._latest = max([self._latest, *page.timestamps])
        new, self._lacking = self._lacking + new, []
        is_known = is_last or self._is_ordered
        return Page(new, min([self._latest, *self.seams]) or None if is_known else None)

    def finish(self) -> None:
        """Go on to a page without rows, which brings along what seams are left."""
        self._seen.overlap, self._is_over = set(), True
        self._request(self._skip)

    def advance(self, page: _Rows) -> None:
        """Go on to the next page, which begins with the last rows of this one."""
        self._seen.observe(page.ids, page.timestamps, falls=self._order.falls)
        step = len(page) - self._seen.overlapping(page.rows)
        if not step:  # there is nothing to begin the next page with
            self._seen.overlap, step = set(), self._stride
        if step < self._stride and not self._may_have_seams:
            self._stride = max(step, self._listing.size * 3 // 4)
            self._request(self._skip + step)
        else:
            self._skip += self._stride


def _rows_at(listing: Listing, seams: list[tuple[str, int]]) -> dict[str, _Rows] | None:
    """Return all rows of some timestamps, of which so many are known.

    None if the server does not list rows by when they were made.
    """
    asks: list[Ask] = [
        (just_before(at), 0, min(known + SEAM_MARGIN_ROWS, listing.size))
        for at, known in seams
    ]
    result: dict[str, _Rows] = {}
    replies = listing.fetch_all(asks) if listing.fetch_all else ()
    for (at, _), (after, _, first), rows in zip(seams, asks, replies, strict=True):
        page = _Rows(_until(at, rows, listing), listing)
        if any(timestamp <= (after or "") for timestamp in page.timestamps):
            return None
        result[at] = page if len(page) < first else _all_until(at, listing)
    return result


def _until(
    at: str, rows: Iterable[Row | Malformed], listing: Listing
) -> list[Row | Malformed]:
    """Return the first rows, as far as they were not made after a timestamp."""

    def is_early(row: Row | Malformed) -> bool:
        return isinstance(row, Malformed) or listing.made_at(row) <= at

    return list(takewhile(is_early, rows))


def _all_until(at: str, listing: Listing) -> _Rows:
    """Return all rows of a timestamp that has more than were expected."""
    rows: list[Row | Malformed] = []
    pages = replace(
        listing,
        fetch=lambda *ask: _until(at, listing.fetch(*ask), listing),
        after=just_before(at),
        max_in_flight=1,
        first_page=None,
        first_page_rows=0,
        leave_out=rows.append,
        fetch_all=None,
    ).pages()
    rows += [row for page, _ in pages for row in page]
    return _Rows(rows, listing)


class _Rows:
    """The rows of a page, the malformed ones apart."""

    def __init__(self, rows: Sequence[Row | Malformed], listing: Listing) -> None:
        self.rows = rows
        self.sound = [row for row in rows if not isinstance(row, Malformed)]
        self.malformed = [row for row in rows if isinstance(row, Malformed)]
        self.ids = [listing.key(row) for row in self.sound]
        self.timestamps = [listing.made_at(row) for row in self.sound]

    def __len__(self) -> int:
        return len(self.rows)


class _Seen:
    """The rows of the pages so far that the next one may have again."""

    def __init__(self, key: Callable[[Row], str]) -> None:
        self._key = key
        self.overlap: set[str] = set()
        """IDs of the rows that the next page has to begin with."""
        self.ids: set[str] = set()
        """IDs of all rows that the next page may have again."""
        self.latest: set[str] = set()
        """IDs of the rows of the timestamp with which it ended."""
        self._recent: dict[str, str] = {}  # timestamps of what a restart brings again
        self._left_out: set[str] = set()  # keys of the malformed rows of the last page

    def observe(self, ids: list[str], timestamps: list[str], *, falls: bool) -> None:
        """Record the well-formed rows of a page."""
        if not ids:
            self.overlap = set()
            return
        # Those at the end only: without an order, equal ones may be anywhere.
        backwards = zip(reversed(ids), reversed(timestamps), strict=True)
        last = {i for i, _ in takewhile(lambda r: r[1] == timestamps[-1], backwards)}
        if len(last) == len(ids):
            self.overlap = {ids[-1]}
        else:
            self.overlap, self.latest = last, set()
        self.latest |= last
        if falls:  # a restart is from the beginning
            self._recent = {}
        else:
            begin = just_before(timestamps[0])
            rows = chain(self._recent.items(), zip(ids, timestamps, strict=True))
            self._recent = {i: at for i, at in rows if at > begin}
        self.ids = self.latest.union(ids, self._recent)

    def new_malformed(self, rows: list[Malformed]) -> list[Malformed]:
        """Return those malformed rows of a page that the one before had not."""
        new = [row for row in rows if row.key not in self._left_out]
        self._left_out = {row.key for row in rows}
        return new

    @property
    def is_well_formed(self) -> bool:
        """True if no row of the last page was malformed."""
        return not self._left_out

    def overlapping(self, page: Sequence[Row | Malformed]) -> int:
        """Return how many rows at the end of a page the next one begins with."""
        if not self._left_out:
            return len(self.overlap)
        backwards = takewhile(
            lambda row: isinstance(row, Malformed) or self._key(row) in self.overlap,
            reversed(page),
        )
        return sum(1 for _ in backwards)


class _Order:
    """The order of the rows, as far as the pages have shown it."""

    falls = rises = False

    def __init__(self) -> None:
        self._before = ""  # when the first row of the page before was made

    def observe(self, timestamps: list[str]) -> None:
        """Record a page that follows the one before."""
        if not timestamps:
            return
        self.falls = (
            self.falls
            or not all(timestamps)
            or timestamps != sorted(timestamps)
            # Later ones alone: a row that is listed late moves the others down.
            or timestamps[-1] < self._before
        )
        first = self._before or timestamps[0]
        self.rises = self.rises or first < timestamps[-1]
        self._before = timestamps[0]

    def restart(self) -> None:
        """Record that the next page does not follow the one before."""
        self._before = ""


class _RetryBudget:
    """Limits on how often a list that makes no progress is read again."""

    def __init__(self) -> None:
        self._restarts = self._stalled = self._repeated = 0
        self._before: tuple[list[str], list[int]] = ([], [])

    def observe(self, ids: list[str], malformed: list[int], *, is_first: bool) -> None:
        # A row listed late moves the others down, so once is no sign. Nor are pages
        # of nothing but nulls, of which a list may really have some.
        again = not is_first and (ids, malformed) == self._before
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
