"""Reading by skip and first from a list that moves meanwhile."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_labelbox.api.errors import ComplexityError, TooLargeError, UnavailableError
from tap_labelbox.api.pagination import (
    MAX_STALLED_PAGES,
    MIN_PAGE_ROWS,
    SEAMS_TOGETHER,
    Listing,
    smaller,
)
from tap_labelbox.api.prefetch import fulfil
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.records.timestamps import isoformat, just_before, parse

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]


START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)
WAIT_SECONDS = 60.0
UNITS = st.sampled_from([SECOND, MILLISECOND])
ORDERS = st.sampled_from([1, -1])  # oldest first, newest first


def timestamp(number: int, unit: timedelta = SECOND) -> str:
    """Return one of the test's timestamps: whole seconds, as labels have them."""
    return isoformat(START + number * unit)


def made(*numbers: int, unit: timedelta = SECOND) -> list[Row]:
    """Return one row for each timestamp."""
    return [
        {"id": f"row-{n:05}", "created_at": timestamp(number, unit)}
        for n, number in enumerate(numbers)
    ]


def age(row: Row) -> float:
    """Return the seconds since the first timestamp, by which a server orders."""
    return (parse(row["created_at"]) - START).total_seconds()


class Server:
    """A list on a server; ``before`` happens to it before each page."""

    def __init__(
        self,
        rows: list[Row],
        before: Callable[[Server], None] = lambda _: None,
        order: Callable[[Row], Any] = lambda row: (row["created_at"], row["id"]),
    ) -> None:
        """Start with these rows."""
        self.rows = rows
        self.before = before
        self.order = order
        self.asked: list[tuple[str | None, int, int]] = []
        self.one_at_a_time = Lock()
        self.requests = 0  # for several pages

    def __call__(self, after: str | None, skip: int, first: int) -> list[Row]:
        """Answer a page as Labelbox does."""
        with self.one_at_a_time:
            self.before(self)
            self.asked.append((after, skip, first))
            entries = [row for row in self.rows if row["created_at"] > (after or "")]
            return sorted(entries, key=self.order)[skip : skip + first]

    def together(self, asks: list[tuple[str | None, int, int]]) -> list[list[Row]]:
        """Answer several pages, as in one request."""
        self.requests += 1
        return [self(*ask) for ask in asks]


def ids(
    server: Server, size: int, *, max_in_flight: int = 1, together: bool = False
) -> list[str]:
    """Read the whole list."""
    listing = Listing(
        server,
        size,
        max_in_flight=max_in_flight,
        fetch_all=server.together if together else None,
    )
    return [row["id"] for page, _ in listing.pages() for row in page]


@pytest.mark.parametrize("max_in_flight", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
def test_a_list_at_rest_is_read_once_and_in_order(
    count: int, max_in_flight: int
) -> None:
    """Whatever the last page holds, no row is left out and none comes twice."""
    server = Server(made(*range(count)))

    assert ids(server, 4, max_in_flight=max_in_flight) == [
        row["id"] for row in server.rows
    ]


def test_a_page_that_is_not_full_ends_the_list() -> None:
    """A project with few labels costs one request."""
    server = Server(made(1, 2, 3))

    assert len(ids(server, 4)) == 3
    assert server.asked == [(None, 0, 4)]


def test_each_page_begins_with_the_last_row_of_the_one_before() -> None:
    """One row a page is read twice, for the check."""
    server = Server(made(*range(7)))

    ids(server, 4)

    assert server.asked == [(None, 0, 4), (None, 3, 4), (None, 6, 4)]


def test_a_page_that_ends_among_ties_is_overlapped_by_all_of_them() -> None:
    """Nobody promises in which order rows of one timestamp come."""
    server = Server(made(0, 1, 5, 5, 5, 9))

    assert ids(server, 4) == [row["id"] for row in server.rows]
    assert server.asked == [(None, 0, 4), (None, 2, 4), (None, 5, 4)]


def test_a_deleted_row_hides_no_other() -> None:
    """The rows after it move up, past the reader, who notices and goes back."""

    def delete_first(server: Server) -> None:
        if len(server.asked) == 1:
            del server.rows[0]

    server = Server(made(*range(9)), delete_first)
    every = [row["id"] for row in server.rows]

    assert ids(server, 4) == every
    assert server.asked[2] == (just_before(timestamp(3)), 0, 4)


def test_more_rows_of_one_timestamp_than_a_page_holds_are_read() -> None:
    """Labels that were imported together may share a second."""
    server = Server(made(*[5] * 23, 6))

    assert sorted(ids(server, 4)) == [row["id"] for row in server.rows]


def test_a_list_in_another_order_is_read_but_not_trusted() -> None:
    """Up to where it has been read is known only at its end."""
    server = Server(made(*range(9)), order=lambda row: -int(row["id"][4:]))

    result = list(Listing(server, 4).pages())

    assert {row["id"] for page, _ in result for row in page} == {
        row["id"] for row in server.rows
    }
    assert [reached for _, reached in result] == [None, None, timestamp(8)]


def test_a_list_that_cannot_be_read_is_given_up() -> None:
    """Going back for ever would look like work."""
    starts = []

    def shallow(after: str | None, skip: int, first: int) -> list[Row]:
        if skip:
            return []
        starts.append(after)
        return Server(made(*[5] * 9))(after, skip, first)

    with pytest.raises(UnavailableError, match="moves faster"):
        list(Listing(shallow, 4).pages())
    assert len(starts) == 1 + MAX_STALLED_PAGES


def test_a_list_that_moves_is_read_as_long_as_there_is_progress() -> None:
    """However often reading has to start again."""

    def delete_first(server: Server) -> None:
        """Delete the first row of the first page, before the second."""
        if server.asked and not server.asked[-1][1]:
            after = server.asked[-1][0] or ""
            server.rows.remove(next(r for r in server.rows if r["created_at"] > after))

    server = Server(made(*range(120)), delete_first)
    every = {row["id"] for row in server.rows}

    assert set(ids(server, 4)) == every
    restarts = [after for after, skip, _ in server.asked[1:] if not skip]
    assert len(restarts) > 2 * MAX_STALLED_PAGES


def test_rows_out_of_order_are_noticed() -> None:
    """Also within a page that begins early and ends late: the bookmark stays."""
    order = [0, 2, 1, 3, 5, 4, 7, 6, 8]
    server = Server(made(*order), order=lambda row: int(row["id"][4:]))

    result = list(Listing(server, 4).pages())

    assert {row["id"] for page, _ in result for row in page} == {
        row["id"] for row in server.rows
    }
    assert [reached for _, reached in result[:-1]] == [None] * (len(result) - 1)


# --- pages that are too much ------------------------------------------------------


@pytest.mark.parametrize("error", [ComplexityError("no"), TooLargeError("no")])
@pytest.mark.parametrize("most", [2, 3, 7, 8])
@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_pages_that_are_too_much_are_halved(
    error: Exception, most: int, max_in_flight: int
) -> None:
    """Until Labelbox takes them, and no further; nothing is read twice for it."""
    server = Server(made(*range(40)))

    def refuse(after: str | None, skip: int, first: int) -> list[Row]:
        if first > most:
            assert not refused or first <= refused[-1]
            refused.append(first)
            raise error
        return server(after, skip, first)

    refused: list[int] = []
    listing = Listing(refuse, 16, max_in_flight=max_in_flight)

    assert [r["id"] for page, _ in listing.pages() for r in page] == [
        row["id"] for row in server.rows
    ]
    assert refused == [size for size in (16, 8, 4) if size > most]
    asked = [(None, skip, listing.size) for skip in range(0, 80, listing.size - 1)]
    read = [page for page in asked if page[1] < 40]
    assert {*read} <= {*server.asked} <= {*asked}
    assert max_in_flight > 1 or server.asked == read
    assert listing.size == max(size for size in (8, 4, 2) if size <= most)


def test_only_later_pages_may_be_too_much() -> None:
    """The smaller ones go on where the larger one was, each after the other."""
    server = Server(made(*range(60)))

    def refuse(after: str | None, skip: int, first: int) -> list[Row]:
        if skip and first > 4:
            raise ComplexityError("no")
        return server(after, skip, first)

    pages = Listing(refuse, 16, max_in_flight=3).pages()

    assert [r["id"] for page, _ in pages for r in page] == [
        row["id"] for row in server.rows
    ]
    assert {(first, (skip - 15) % 3) for _, skip, first in server.asked[1:]} == {(4, 0)}


def test_a_page_that_cannot_be_smaller_is_an_error() -> None:
    """Labelbox's own."""
    no = ComplexityError("no")

    def refuse(after: str | None, skip: int, first: int) -> list[Row]:
        assert (after, skip, first) not in asked
        asked.append((after, skip, first))
        raise no

    asked: list[tuple[str | None, int, int]] = []
    with pytest.raises(ComplexityError) as raised:
        list(Listing(refuse, 5).pages())

    assert raised.value is no
    assert asked == [(None, 0, 5), (None, 0, 2)]


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [(100, 100, 50), (5, 5, 2), (3, 3, 2), (3, 0, 2), (50, 100, 50), (2, 100, 2)],
)
def test_a_page_is_halved(size: int, asked: int, expected: int) -> None:
    """Unless others have made pages smaller since it was asked for."""
    assert smaller(size, asked, ComplexityError("no")) == expected


@pytest.mark.parametrize("asked", [0, MIN_PAGE_ROWS])
def test_two_rows_are_the_least(asked: int) -> None:
    """One would be nothing but overlap."""
    with pytest.raises(ComplexityError):
        smaller(MIN_PAGE_ROWS, asked, ComplexityError("no"))


@given(
    made_at=st.lists(st.integers(0, 30), max_size=60),
    size=st.integers(2, 9),
    mode=st.sampled_from([(n, together) for n in (1, 2, 8) for together in (0, 1)]),
    seed=st.integers(0, 2**32),
    events=st.lists(st.sampled_from(["delete", "list late", "none"]), max_size=40),
    unit=UNITS,
    order=ORDERS,
)
def test_what_is_there_all_the_time_is_read(
    made_at: list[int],
    size: int,
    mode: tuple[int, bool],
    seed: int,
    events: list[str],
    unit: timedelta,
    order: int,
) -> None:
    """Deletions and late rows between pages cost no other row, and invent none.

    Whether they come oldest first, as asked for, or newest first. And each page's
    ``reached`` is true: all rows made before it were read by then.
    With several pages asked for at once they are answered in any order, and the
    timestamps at which they meet are asked for once more.
    """
    chance = random.Random(seed)
    rows = made(*sorted(made_at), unit=unit)
    late = [row for row in rows if chance.random() < 0.2]
    server = Server(
        [row for row in rows if row not in late],
        order=lambda row: (order * age(row), row["id"]),
    )
    settled = {row["id"]: row for row in server.rows}
    script = iter(events)

    def happen(server: Server) -> None:
        event = next(script, "none")
        if event == "delete" and server.rows:
            row = server.rows.pop(chance.randrange(len(server.rows)))
            settled.pop(row["id"], None)
        elif event == "list late" and late:
            server.rows.append(late.pop())

    server.before = happen
    seen: set[str] = set()
    max_in_flight, is_together = mode
    fetch_all = server.together if is_together else None
    listing = Listing(server, size, max_in_flight=max_in_flight, fetch_all=fetch_all)
    for page, reached in listing.pages():
        seen |= {row["id"] for row in page}
        with server.one_at_a_time:
            due = {i for i, r in settled.items() if r["created_at"] < (reached or "")}
        assert due <= seen

    assert set(settled) <= seen <= {row["id"] for row in rows}


@given(
    made_at=st.lists(st.integers(0, 20), max_size=60),
    size=st.integers(4, 9),
    mode=st.sampled_from([(1, False), (1, True), (4, False), (4, True)]),
    seed=st.integers(0, 2**32),
    order=ORDERS,
)
def test_ties_may_come_in_any_order_each_time(
    made_at: list[int],
    size: int,
    mode: tuple[int, bool],
    seed: int,
    order: int,
) -> None:
    """As long as a page holds all rows of a timestamp, none of them is lost."""
    chance = random.Random(seed)
    kept = [ms for ms in set(made_at) for _ in range(min(made_at.count(ms), size - 1))]
    server = Server(
        made(*sorted(kept)), order=lambda row: (order * age(row), chance.random())
    )

    max_in_flight, is_together = mode
    result = ids(server, size, max_in_flight=max_in_flight, together=is_together)

    assert sorted(result) == [row["id"] for row in server.rows]


@given(
    made_at=st.lists(st.integers(0, 20), max_size=60),
    size=st.integers(3, 9),
    max_in_flight=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 2**32),
    events=st.lists(st.sampled_from(["delete", "list late", "none"]), max_size=40),
)
def test_ties_change_places_while_the_list_moves(
    made_at: list[int],
    size: int,
    max_in_flight: int,
    seed: int,
    events: list[str],
) -> None:
    """Both at once: an overlap may be whole, and yet hide a row that was its equal.

    As long as a page holds all rows of a timestamp, none is lost; and none comes twice,
    but where late rows have moved others down by more than what is remembered.
    """
    chance = random.Random(seed)
    kept = [at for at in set(made_at) for _ in range(min(made_at.count(at), size - 1))]
    rows = made(*sorted(kept))
    late = [row for row in rows if chance.random() < 0.2]
    server = Server([row for row in rows if row not in late])
    settled = {row["id"]: row for row in server.rows}
    script = iter(events)

    def happen(server: Server) -> None:
        event = next(script, "none")
        if event == "delete" and server.rows:
            row = server.rows.pop(chance.randrange(len(server.rows)))
            settled.pop(row["id"], None)
        elif event == "list late" and late:
            server.rows.append(late.pop())
        server.order = lambda row: (age(row), chance.random())

    server.before = happen
    seen: list[str] = []
    listing = Listing(
        server, size, max_in_flight=max_in_flight, fetch_all=server.together
    )
    for page, reached in listing.pages():
        seen += [row["id"] for row in page]
        with server.one_at_a_time:
            due = {i for i, r in settled.items() if r["created_at"] < (reached or "")}
        assert due <= {*seen}

    assert settled.keys() <= {*seen} <= {row["id"] for row in rows}
    assert "list late" in events or len(seen) == len({*seen})


def swapped() -> Server:
    """Return a list of which one row is behind its equals, and then before them."""
    server = Server(made(0, 0, 0, 1, 1, 1, 1, *range(2, 9)))
    server.order = lambda row: (
        age(row),
        (row["id"] == "row-00006") == (server.asked[-1][1] == 0),
    )
    return server


def test_ties_that_change_places_hide_no_row() -> None:
    """The next page begins within the overlap, and has all of it none the less."""
    server = swapped()

    result = ids(server, 6, max_in_flight=4, together=True)

    assert sorted(result) == [row["id"] for row in server.rows]


@pytest.mark.parametrize("bad", ["row-00006", "row-00008"], ids=["hidden", "beside"])
def test_a_malformed_row_at_a_seam_is_left_out_once(bad: str) -> None:
    """Also if neither of two pages has it, and if it is why they cannot be kept."""
    server = swapped()
    left_out: list[Malformed] = []

    def page(after: str | None, skip: int, first: int) -> list[Row | Malformed]:
        return [
            Malformed("", "", bad) if row["id"] == bad else row
            for row in server(after, skip, first)
        ]

    listing = Listing(
        page,
        6,
        leave_out=left_out.append,
        fetch_all=lambda asks: [page(*ask) for ask in asks],
    )

    result = sorted(row["id"] for rows, _ in listing.pages() for row in rows)
    assert result == [row["id"] for row in server.rows if row["id"] != bad]
    assert [row.key for row in left_out] == [bad]


def test_a_seam_that_cannot_be_asked_for_hides_no_row() -> None:
    """Where the server does not obey the filter, pages are read from before it."""
    server = swapped()

    def whole(asks: list[tuple[str | None, int, int]]) -> list[list[Row]]:
        return [server(None, skip, first) for _, skip, first in asks]

    listing = Listing(server, 6, max_in_flight=4, fetch_all=whole)

    result = {row["id"] for rows, _ in listing.pages() for row in rows}
    assert result == {row["id"] for row in server.rows}


def test_a_seam_that_is_answered_in_no_order_hides_no_row() -> None:
    """As when Labelbox no longer knows how to put labels in order."""
    server = swapped()

    def newest_first(asks: list[tuple[str | None, int, int]]) -> list[list[Row]]:
        server.order = lambda row: -age(row)
        return server.together(asks)

    listing = Listing(
        server,
        6,
        max_in_flight=4,
        fetch_all=newest_first,
        ordered=lambda: not server.requests,
    )

    result = {row["id"] for rows, _ in listing.pages() for row in rows}
    assert result == {row["id"] for row in server.rows}


def test_rows_of_a_second_that_fills_pages_may_go_away() -> None:
    """Then there is the server's order to go by."""

    def delete_three(server: Server) -> None:
        if len(server.asked) == 2:
            del server.rows[:3]

    server = Server(made(0, *[5] * 40, 6), delete_three)
    every = [row["id"] for row in server.rows]

    assert sorted(ids(server, 10, together=True)) == every


def test_late_rows_bring_none_again() -> None:
    """Pages then have the end of the page before the last once more."""

    def list_three(server: Server) -> None:
        if len(server.asked) == 2:
            server.rows += late

    server = Server(made(0, 1, 1, 2, 3, 4, 5, 6, 7, 8), list_three)
    every = [row["id"] for row in server.rows]
    late = [row | {"id": f"late {row['id']}"} for row in made(0, 0, 0)]

    assert ids(server, 4, together=True) == every


def test_seams_that_are_too_much_are_asked_for_with_fewer_rows() -> None:
    """As pages are."""
    server = Server(made(*(n // 4 for n in range(60))))
    asked: list[list[tuple[str | None, int, int]]] = []

    def together(asks: list[tuple[str | None, int, int]]) -> list[list[Row]]:
        asked.append(asks)
        if len(asked) == 1:
            raise ComplexityError("no")
        return server.together(asks)

    listing = Listing(server, 12, max_in_flight=4, fetch_all=together)

    assert [row["id"] for rows, _ in listing.pages() for row in rows] == [
        row["id"] for row in server.rows
    ]
    assert [max(first for _, _, first in asks) for asks in asked] == [8, 6]


def test_pages_go_on_while_seams_are_asked_for() -> None:
    """Their answer comes in its turn; up to then it is not said that they are read."""
    server = Server(made(*(n // 4 for n in range(1000))))
    has_gone_on, waited = Event(), list[bool]()

    def fetch(after: str | None, skip: int, first: int) -> list[Row]:
        if server.requests:
            has_gone_on.set()
        return server(after, skip, first)

    def together(asks: list[tuple[str | None, int, int]]) -> list[list[Row]]:
        server.requests += 1
        waited.append(has_gone_on.wait(WAIT_SECONDS))
        return [server(*ask) for ask in asks]

    listing = Listing(
        fetch,
        10,
        max_in_flight=4,
        first_page=fulfil(partial(server, None, 0, 10)),
        fetch_all=together,
    )
    pages = list(listing.pages())

    assert [row["id"] for page in pages for row in page.rows] == [
        row["id"] for row in server.rows
    ]
    assert waited[0]
    reached = [page.reached or "" for page in pages]
    first_seam, last = timestamp(2), timestamp(249)
    assert reached == sorted(reached)
    assert reached.count(first_seam) >= SEAMS_TOGETHER
    assert reached[-1] == last


@pytest.mark.parametrize(
    "burst", [0, 3, 40, 300], ids=["even", "uneven", "bursts", "imports"]
)
def test_ties_cost_few_requests(burst: int) -> None:
    """Of 20,000 rows in 200 pages, on average four to a second."""
    chance = random.Random(1)
    seconds: list[int] = []
    while len(seconds) < 20_000:
        count = 4 + chance.choice([-burst, burst]) if burst < 4 else 1
        if burst >= 4 and chance.random() < 3 / (burst - 1):
            count = burst
        seconds += [len(seconds)] * count
    server = Server(made(*seconds[:20_000]), order=lambda _: 0)

    result = ids(server, 100, max_in_flight=8, together=True)

    assert sorted(result) == [row["id"] for row in server.rows]
    by_itself = [ask for ask in server.asked if ask[0] is None]
    assert len(by_itself) + server.requests <= 220


def test_a_server_that_lists_from_the_beginning_is_asked_in_another_way() -> None:
    """If it does not obey the filter by which seams are asked for."""
    server = Server(made(*(n // 3 for n in range(100))))

    def whole(asks: list[tuple[str | None, int, int]]) -> list[list[Row]]:
        return [server(None, skip, first) for _, skip, first in asks]

    def page(after: str | None, skip: int, first: int) -> list[Row]:
        del after
        return server(None, skip, first)

    listing = Listing(page, 10, max_in_flight=4, fetch_all=whole)

    result = [row["id"] for rows, _ in listing.pages() for row in rows]
    assert {*result} == {row["id"] for row in server.rows}


def test_a_second_with_more_rows_than_were_expected_is_read() -> None:
    """With as many pages as it needs."""
    server = Server(made(*([0] * 8 + [1] * 60 + [2] * 30)))

    result = ids(server, 12, max_in_flight=4, together=True)

    assert sorted(result) == [row["id"] for row in server.rows]


def test_a_seam_with_more_rows_than_were_expected_is_read() -> None:
    """The next page has those that this one had, which so says nothing of others."""
    server = Server(made(*([0] * 30 + [1] * 40 + [2] * 30)))
    # Of the rows that share a second, the first ones are behind the others later.
    server.order = lambda row: (
        age(row),
        int(row["id"][4:]) < 42 and server.asked[-1][1] == 58,
    )

    result = ids(server, 60, max_in_flight=4, together=True)

    assert sorted(result) == [row["id"] for row in server.rows]


def test_what_a_second_start_brings_once_more_is_known() -> None:
    """It begins a whole second before what was read, also among milliseconds."""

    def delete_first(server: Server) -> None:
        if len(server.asked) == 3:
            del server.rows[0]

    server = Server(made(*range(0, 2600, 130), unit=MILLISECOND), delete_first)
    every = [row["id"] for row in server.rows]

    assert ids(server, 4) == every
    restarted = [after for after, skip, _ in server.asked if after and not skip]
    assert restarted == [just_before(timestamp(9 * 130, MILLISECOND))]


def test_an_order_that_ends_is_no_longer_trusted() -> None:
    """Rows that a second start has left out are read from the beginning."""
    # Two pages in order, of which a row goes away; then there is none any more.
    order = [10, 11, 12, 13, 14, 15, 16, 17, 30, 1, 2, 20, 21, 3]

    def delete_first(server: Server) -> None:
        if len(server.asked) == 2:
            del server.rows[0]

    server = Server(
        made(*order), delete_first, order=lambda row: order.index(int(age(row)))
    )
    every = {row["id"] for row in server.rows}

    result = list(Listing(server, 3).pages())

    assert {row["id"] for page, _ in result for row in page} == every
    assert any(after for after, *_ in server.asked)


def test_pages_of_one_second_each_show_their_order() -> None:
    """One with the next; those newest first are not trusted."""
    rising = made(*(second for second in range(4) for _ in range(5)))

    up = list(Listing(Server(rising), 3).pages())
    newest_first = Server(rising, order=lambda row: (-age(row), row["id"]))
    down = list(Listing(newest_first, 3).pages())

    for result in (up, down):
        read = {row["id"] for page, _ in result for row in page}
        assert read == {row["id"] for row in rising}
    assert up[3].reached == timestamp(1)
    assert [reached for _, reached in down[:-1]] == [None] * (len(down) - 1)
