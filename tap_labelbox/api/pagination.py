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
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

Row = dict[str, Any]

INITIAL_IN_FLIGHT = 4  # pages asked for at once after a first full one
MAX_STALLED_PAGES = 10  # one after the other
MAX_RESTARTS = 1000  # of one list in all
MIN_PAGE_ROWS = 2  # rows a page
SEAMS_TOGETHER = 20  # timestamps that are asked for at once
SEAM_MARGIN_ROWS = 8  # asked for beyond those of one timestamp that are known


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
    opening_size: int = 0
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

        Labels have whole seconds, and many are made in one. So equal timestamps are
        the rule, and what a restart brings again is known by its ids.

        That holds whichever of two pages was answered first, so pages are prefetched.
        An overlap that was too short once is longer from there on; otherwise each such
        page would have to be asked for again. Where several pages can be asked for in
        one request, those in flight are kept instead: of the timestamp at such a seam
        all rows are asked for once more, with those of other seams, and what neither
        page had is given then.

        A server that gives the rows in an order of its own, such as newest first, is
        read all the same; but until the pages have shown otherwise, or where
        ``ordered`` denies it, it is not known before the end up to where, and a
        restart is from the beginning. So is a third start, if the pages after a second
        one show that there is no order after all.

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
            if not walk.fits(page):
                walk.restart()
                continue
            is_last = len(page) < self.size
            yield walk.read(page, is_last=is_last)
            if walk.has_seams_to_read(is_last=is_last):
                lacking = walk.rows_at_seams()
                if lacking is None:
                    walk.restart()
                    continue
                yield Page(lacking, walk.reached(is_last=is_last))
            if is_last:
                return
            walk.advance(page)


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
        self._stride = listing.size - 1  # rows from one page to the next
        self._latest = ""  # timestamp that was read
        self._answers: Iterator[Future[Sequence[Row | Malformed]]]
        self._seen = _Seen(listing.key)
        self._order = _Order()
        self._budget = _RetryBudget()
        self._seams: dict[str, set[str]] = {}
        """Timestamps at which a page ended and the next one began, of which either may
        lack rows; and the IDs of those that they had."""
        # Rows that the next page was asked for with, at most.
        self._asked_size = listing.opening_size
        self._is_short = False
        """True if the next page begins behind the first row of the overlap. If it has
        all of these, they have changed places, with rows that no page has had."""
        if listing.first_page:
            self._request(self._stride)
            self._answers = chain([listing.first_page], self._answers)
            self._skip = 0
        else:
            self._request(0)

    def _request(self, skip: int) -> None:
        """Request pages from one on; none is prefetched before the first was full."""
        self._skip = skip
        fetch, start, size = self._listing.fetch, self._start, self._listing.size
        jobs = (partial(fetch, start, at, size) for at in count(skip, self._stride))
        initial = INITIAL_IN_FLIGHT if skip else 1
        self._answers = prefetch(jobs, self._listing.max_in_flight, initial=initial)

    def next_page(self) -> _Rows:
        """Wait for the next page."""
        return _Rows(next(self._answers).result(), self._listing)

    def shrink(self, error: Exception) -> None:
        """Ask for the next page, and all others, with fewer rows.

        Raises:
            Exception: That error, if there cannot be fewer.
        """
        self._listing.size = smaller(self._listing.size, self._asked_size, error)
        self._asked_size, self._stride = 0, self._listing.size - 1
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
        is_misled = self._start != self._listing.after and not self._is_ordered
        if is_misled:
            return False
        has_overlap = self._seen.overlap <= set(page.ids)
        return (has_overlap and not self._is_short) or self._is_seam(page)

    def _is_seam(self, page: _Rows) -> bool:
        """Note where a page begins among the rows with which the last one ended.

        Returns:
            Whether it does, so that nothing but rows of that timestamp may be missing.
        """
        if not self._may_have_seams or page.malformed:
            return False
        if not page.timestamps or page.timestamps[0] != self._latest:
            return False
        self._seams.setdefault(self._latest, set()).update(self._seen.overlap)
        return True

    @property
    def _may_have_seams(self) -> bool:
        """True if a page may begin among the rows with which the last one ended."""
        listing = self._listing
        return (
            listing.fetch_all is not None
            and listing.max_in_flight > 1
            and self._is_ordered
            and self._seen.is_well_formed
            and len(self._seen.overlap) <= listing.size // 2
        )

    def has_seams_to_read(self, *, is_last: bool) -> bool:
        """Return whether there are seams to ask for: enough of them, or the last."""
        return len(self._seams) >= (1 if is_last else SEAMS_TOGETHER)

    def rows_at_seams(self) -> list[Row] | None:
        """Return the rows that pages lack of the timestamps at their seams.

        None if the server does not list rows by when they were made.
        """
        listing, seams = self._listing, self._seams
        asks: list[Ask] = [
            (just_before(at), 0, min(len(ids) + SEAM_MARGIN_ROWS, listing.size))
            for at, ids in seams.items()
        ]
        result: list[Row] = []
        self._seams = {}
        replies = listing.fetch_all(asks) if listing.fetch_all else ()
        for at, ask, rows in zip(seams, asks, replies, strict=True):
            page = _Rows(rows, listing)
            if any(timestamp < at for timestamp in page.timestamps):
                listing.fetch_all = None
                return None
            page = self._whole_seam(at, ask, page)
            for row in page.malformed:
                listing.leave_out(row)
            own = zip(page.ids, page.sound, page.timestamps, strict=True)
            result += (r for i, r, t in own if t == at and i not in seams[at])
        return result

    def _whole_seam(self, at: str, ask: Ask, page: _Rows) -> _Rows:
        """Return a page with all rows of a timestamp, which may need more pages."""
        rows, (after, _, first) = list(page.rows), ask
        new = {*page.ids}
        while new and len(page) >= first and page.timestamps[-1] == at:
            first = self._listing.size
            page = _Rows(
                self._listing.fetch(after, len(rows) - 1, first), self._listing
            )
            known = {*_Rows(rows, self._listing).ids}
            new = {*page.ids} - known
            rows += [r for r in page.sound if self._listing.key(r) not in known]
        return _Rows(rows, self._listing)

    def restart(self) -> None:
        """Go back to where all rows have been read; to the start if that is unknown.

        Raises:
            UnavailableError: If that has been done too often.
        """
        self._budget.try_again()
        is_ordered = self._is_ordered
        self._start = just_before(self._latest) if is_ordered else self._listing.after
        self._seen.overlap, self._is_short = set(), False
        self._order.restart()
        self._request(0)

    def read(self, page: _Rows, *, is_last: bool) -> Page:
        """Return the rows of a page that have not been read before."""
        for row in self._seen.new_malformed(page.malformed):
            self._listing.leave_out(row)
        known = self._seen.ids
        new = [r for i, r in zip(page.ids, page.sound, strict=True) if i not in known]
        self._budget.note_progress(len(new))
        self._latest = max([self._latest, *page.timestamps])
        for i, at in zip(page.ids, page.timestamps, strict=True):
            if at in self._seams:
                self._seams[at].add(i)
        return Page(new, self.reached(is_last=is_last))

    def reached(self, *, is_last: bool) -> str | None:
        """Return the timestamp before which every row has been read, if it is known."""
        if is_last or self._is_ordered:
            return min([self._latest, *self._seams]) or None
        return None

    def advance(self, page: _Rows) -> None:
        """Go on to the next page, which begins with the last rows of this one."""
        self._seen.observe(page.ids, page.timestamps, falls=self._order.falls)
        step = len(page) - self._seen.overlapping(page.rows)
        if not step:  # there is nothing to begin the next page with
            self._seen.overlap, step = set(), self._stride
        self._is_short = step < self._stride and self._may_have_seams
        if step < self._stride and not self._is_short:
            self._stride = max(step, self._listing.size * 3 // 4)
            self._request(self._skip + step)
        else:
            self._skip += self._stride


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
        self._latest: set[str] = set()  # IDs of the rows of the latest timestamp
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
            self.overlap, self._latest = last, set()
        self._latest |= last
        if falls:  # a restart is from the beginning
            self._recent = {}
        else:
            begin = just_before(timestamps[-1])
            rows = chain(self._recent.items(), zip(ids, timestamps, strict=True))
            self._recent = {i: at for i, at in rows if at > begin}
        self.ids = self._latest.union(ids, self._recent)

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
