"""Reading by skip and first from a list that moves meanwhile."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_labelbox.errors import UnavailableError
from tap_labelbox.moments import just_before
from tap_labelbox.pagination import pages

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]


def moment(millisecond: int) -> str:
    """Give a moment of the test's one second."""
    return f"2026-01-01T00:00:00.{millisecond:03}Z"


def made(*milliseconds: int) -> list[Row]:
    """Give one row for each moment."""
    return [
        {"id": f"row-{n:04}", "created_at": moment(ms)}
        for n, ms in enumerate(milliseconds)
    ]


class Listing:
    """A list on a server; ``before`` happens to it before each page."""

    def __init__(
        self,
        rows: list[Row],
        before: Callable[[Listing], None] = lambda _: None,
        order: Callable[[Row], Any] = lambda row: (row["created_at"], row["id"]),
    ) -> None:
        """Start with these rows."""
        self.rows = rows
        self.before = before
        self.order = order
        self.asked: list[tuple[str | None, int, int]] = []

    def __call__(self, after: str | None, skip: int, first: int) -> list[Row]:
        """Answer a page as Labelbox does."""
        self.before(self)
        self.asked.append((after, skip, first))
        listed = [row for row in self.rows if row["created_at"] > (after or "")]
        return sorted(listed, key=self.order)[skip : skip + first]


def ids(listing: Listing, size: int, after: str | None = None) -> list[str]:
    """Read the whole list."""
    return [row["id"] for page, _ in pages(listing, size, after) for row in page]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
def test_a_list_at_rest_is_read_once_and_in_order(count: int) -> None:
    """Whatever the last page holds, no row is left out and none comes twice."""
    listing = Listing(made(*range(count)))

    assert ids(listing, 4) == [row["id"] for row in listing.rows]


def test_a_page_that_is_not_full_ends_the_list() -> None:
    """A project with few labels costs one request."""
    listing = Listing(made(1, 2, 3))

    assert len(ids(listing, 4)) == 3
    assert listing.asked == [(None, 0, 4)]


def test_each_page_begins_with_the_last_row_of_the_one_before() -> None:
    """One row a page is read twice, for the check."""
    listing = Listing(made(*range(7)))

    ids(listing, 4)

    assert listing.asked == [(None, 0, 4), (None, 3, 4), (None, 6, 4)]


def test_a_page_that_ends_among_ties_is_overlapped_by_all_of_them() -> None:
    """Nobody promises in which order rows of one moment come."""
    listing = Listing(made(0, 1, 5, 5, 5, 9))

    assert ids(listing, 4) == [row["id"] for row in listing.rows]
    assert listing.asked == [(None, 0, 4), (None, 2, 4), (None, 5, 4)]


def test_a_deleted_row_hides_no_other() -> None:
    """The rows after it move up, past the reader, who notices and goes back."""

    def delete_first(listing: Listing) -> None:
        if len(listing.asked) == 1:
            del listing.rows[0]

    listing = Listing(made(*range(9)), delete_first)
    every = [row["id"] for row in listing.rows]

    assert ids(listing, 4) == every
    assert listing.asked[2] == (just_before(moment(3)), 0, 4)


def test_more_rows_of_one_moment_than_a_page_holds_are_read() -> None:
    """Labels that were imported together may share a millisecond."""
    listing = Listing(made(*[5] * 23, 6))

    assert sorted(ids(listing, 4)) == [row["id"] for row in listing.rows]


def test_a_page_size_of_one_gets_on() -> None:
    """With nothing but overlap a page would bring nothing."""
    listing = Listing(made(1, 2, 2, 3))

    assert ids(listing, 1) == [row["id"] for row in listing.rows]


def test_a_list_in_another_order_is_read_but_not_trusted() -> None:
    """Up to where it has been read is known only at its end."""
    listing = Listing(made(*range(9)), order=lambda row: -int(row["id"][4:]))

    found = list(pages(listing, 4))

    assert {row["id"] for page, _ in found for row in page} == {
        row["id"] for row in listing.rows
    }
    assert [reached for _, reached in found] == [None, None, moment(8)]


def test_a_list_that_cannot_be_read_is_given_up() -> None:
    """Going back for ever would look like work."""

    def shallow(after: str | None, skip: int, first: int) -> list[Row]:
        return [] if skip else Listing(made(*[5] * 9))(after, skip, first)

    with pytest.raises(UnavailableError, match="moves faster"):
        list(pages(shallow, 4))


@given(
    made_at=st.lists(st.integers(0, 30), max_size=60),
    size=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    events=st.lists(st.sampled_from(["delete", "list late", "none"]), max_size=40),
)
def test_what_is_there_all_the_time_is_read(
    made_at: list[int], size: int, seed: int, events: list[str]
) -> None:
    """Deletions and late rows between pages cost no other row, and invent none.

    And each page's ``reached`` is true: all rows made before it were read by then.
    """
    chance = random.Random(seed)
    rows = made(*sorted(made_at))
    late = [row for row in rows if chance.random() < 0.2]
    listing = Listing([row for row in rows if row not in late])
    settled = {row["id"]: row for row in listing.rows}
    script = iter(events)

    def happen(listing: Listing) -> None:
        event = next(script, "none")
        if event == "delete" and listing.rows:
            row = listing.rows.pop(chance.randrange(len(listing.rows)))
            settled.pop(row["id"], None)
        elif event == "list late" and late:
            listing.rows.append(late.pop())

    listing.before = happen
    seen: set[str] = set()
    for page, reached in pages(listing, size):
        seen |= {row["id"] for row in page}
        due = {i for i, r in settled.items() if r["created_at"] < (reached or "")}
        assert due <= seen

    assert set(settled) <= seen <= {row["id"] for row in rows}


@given(
    made_at=st.lists(st.integers(0, 20), max_size=60),
    size=st.integers(4, 9),
    seed=st.integers(0, 2**32),
)
def test_ties_may_come_in_any_order_each_time(
    made_at: list[int], size: int, seed: int
) -> None:
    """As long as a page holds all rows of a moment, none of them is lost."""
    chance = random.Random(seed)
    kept = [ms for ms in set(made_at) for _ in range(min(made_at.count(ms), size - 1))]
    listing = Listing(
        made(*sorted(kept)), order=lambda row: (row["created_at"], chance.random())
    )

    assert sorted(ids(listing, size)) == [row["id"] for row in listing.rows]
