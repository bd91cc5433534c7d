"""Reading the rows of a document to their end, in the way that the document says.

See :mod:`tap_labelbox.queries`: by offset, by cursor, or asked once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.api.errors import (
    ComplexityError,
    TooLargeError,
    UnavailableError,
    absent,
)
from tap_labelbox.api.pagination import Listing, smaller
from tap_labelbox.api.prefetch import Question
from tap_labelbox.records.json_text import encode
from tap_labelbox.records.malformed import Malformed, described, shortened
from tap_labelbox.records.values import as_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from tap_labelbox.api.documents import Document
    from tap_labelbox.api.pagination import Row

SIGNATURE = re.compile(rb"\?[^\"]*")


class Page(list["Row | Malformed"]):
    """The rows of one reply."""

    cursor: Any = None
    """What asks for the next page; none, or an empty one, follows the last."""


@dataclass
class Reader:
    """Reads a document, for one parent after the other.

    Args:
        ask: Runs the document with these variables, and returns its data.
        document: Returns the document as it is sent.
        key: The columns that identify a row among those of its parent.
        size: Rows a page; halved where a page is too much for Labelbox.
        leave_out: Logs a malformed row.
        max_in_flight: Pages that are asked for at once.
        may_be_null: Whether null stands for no rows, not for a reply that lacks them.
    """

    ask: Callable[..., dict[str, Any]]
    document: Callable[[], Document]
    key: tuple[str, ...]
    size: int
    leave_out: Callable[[Malformed], object]
    max_in_flight: int = 1
    may_be_null: bool = False

    def __post_init__(self) -> None:
        """Remember the size that first pages may have been asked for with."""
        self._largest = self.size
        self.cursor: Any = None
        """What asks for the page after the last one that was yielded."""

    def first_question(self, arguments: dict[str, Any]) -> Question[Page]:
        """Return what asks for the first page, with these variables of all pages.

        Those that are None, or not declared, are not sent.
        """
        return self._question(arguments, skip=0, first=self.size)

    def pages(
        self, arguments: dict[str, Any], first_page: Future[Page]
    ) -> Iterator[list[Row]]:
        """Yield the sound rows of each page; the first has been asked for already.

        Raises:
            UnavailableError: If the rows cannot be read to their end.
        """
        if "skip" not in self.document().declared:
            yield from self._by_cursor(arguments, first_page)
            return
        listing = Listing(
            lambda _, skip, first: self._page(arguments, skip=skip, first=first),
            self.size,
            # No order is promised, so each gap is mended from the beginning.
            ordered=lambda: False,
            max_in_flight=self.max_in_flight,
            first_page=cast("Future[Sequence[Row | Malformed]]", first_page),
            first_page_rows=self._largest,
            made_at=lambda _: "",
            leave_out=self.leave_out,
            key=self._key,
        )
        for page in listing.pages():
            self.size = listing.size
            yield page.rows

    def _by_cursor(
        self, arguments: dict[str, Any], first_page: Future[Page]
    ) -> Iterator[list[Row]]:
        """Yield the pages of a list with a cursor, or the only one there is."""
        declared = self.document().declared
        place: dict[str, Any] = {}
        cursors = set[bytes]()
        answer: Callable[[], Page] = first_page.result
        size = self._largest
        while True:
            try:
                page = answer()
            except (ComplexityError, TooLargeError) as error:
                if "first" not in declared:
                    raise
                self.size = smaller(self.size, size, error)
                size = 0
                answer = partial(self._page, arguments, **place, first=self.size)
                continue
            for row in page:
                if isinstance(row, Malformed):
                    self.leave_out(row)
            self.cursor = page.cursor
            yield [row for row in page if not isinstance(row, Malformed)]
            if not page.cursor or "after" not in declared:
                return
            if (cursor := encode(page.cursor)) in cursors:
                raise UnavailableError("Labelbox gives the same page again and again")
            cursors.add(cursor)
            place = {"after": page.cursor, "number": place.get("number", 0) + len(page)}
            answer = partial(self._page, arguments, **place, first=self.size)

    def _page(self, arguments: dict[str, Any], **place: Any) -> Page:
        """Ask for a page."""
        question = self._question(arguments, **place)
        return question.read(partial(self.ask, **question.variables))

    def _question(
        self, arguments: dict[str, Any], *, number: int = 0, **place: Any
    ) -> Question[Page]:
        """Return what asks for a page; its first row has this number, from 0."""
        declared = self.document().declared
        sent = {
            name: value
            for name, value in (arguments | place).items()
            if name in declared and value is not None
        }
        return Question(sent, partial(self._read, number + place.get("skip", 0)))

    def _read(self, number: int, answer: Callable[[], dict[str, Any]]) -> Page:
        """Return the page that an answer is."""
        data = answer()
        document = self.document()  # as it is after what the answer has changed
        rows = self._rows(data, max(document.list_count, 1))
        page = Page(_checked(r, self.key, at) for at, r in enumerate(rows, number + 1))
        if "after" in document.declared:
            if (block := next(holders(data, "next"), None)) is None:
                msg = "Labelbox answered without saying whether there is another page"
                raise UnavailableError(msg)
            page.cursor = block["next"]
        return page

    def _rows(self, data: dict[str, Any], list_count: int) -> list[Any]:
        """Return the items of the lists in a reply."""
        lists = [block["rows"] for block in holders(data, "rows")]
        lists = [[rows] if isinstance(rows, dict) else rows for rows in lists]
        lists += [None] * (list_count - len(lists))
        for rows in lists:
            if not isinstance(rows, list) and not (rows is None and self.may_be_null):
                lacking = next(
                    (n for n, value in data.items() if value is None), "rows"
                )
                raise absent(lacking)
        return [row for rows in lists for row in rows or ()]

    def _key(self, row: Row) -> str:
        """Return what identifies a row."""
        return "\n".join(str(as_id(_value(row, column))) for column in self.key)


def _value(row: Row, column: str) -> Any:
    """Return what a row has for a column, if need be on a relation."""
    for name, value in row.items():
        if name == column:
            return value
        if isinstance(value, dict) and column.startswith(f"{name}_"):
            return value.get(column.removeprefix(f"{name}_"))
    return None


def holders(data: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects in a reply that have a member of this name, but in no row."""
    if not isinstance(data, dict):
        return
    if name in data:
        yield data
        return
    for key, value in data.items():
        if key != "rows":
            yield from holders(value, name)


def rows(
    container: Any, field: str, after: str | None, skip: int
) -> list[Row | Malformed]:
    """Return a list of a reply; an absent list is not an empty one.

    Each item has an ID as text, or is Malformed. So many come before them, behind the
    timestamp after which the list begins.

    Raises:
        UnavailableError: If there is no list.
    """
    items = container.get(field) if isinstance(container, dict) else None
    if not isinstance(items, list):
        raise absent(field)
    result = [_checked(row, ("id",), n, after) for n, row in enumerate(items, skip + 1)]
    for row in result:
        if isinstance(row, dict):
            row["id"] = as_id(row["id"])
    return result


def _checked(
    row: Any, key: tuple[str, ...], number: int, after: str | None = None
) -> Row | Malformed:
    """Return an item of a list if it is an object with this key."""
    if not isinstance(row, dict):
        why = f"{described(row)}, not an object"
    elif lacking := [c for c in key if as_id(_value(row, c)) is None]:
        why = f"it has no {' and no '.join(lacking)} ({described(row)})"
    else:
        return row
    return malformed(row, after, number, why)


def malformed(row: Any, after: str | None, number: int, why: str) -> Malformed:
    """Return what stands for a malformed item of a list, which has such a number."""
    row_id = as_id(row.get("id")) if isinstance(row, dict) else None
    where = f"item {number}" + (f" (id {shortened(row_id)})" if row_id else "")
    if after:
        where += f", counted from {after},"
    # Signatures differ each time that the same row is read.
    content = hash(SIGNATURE.sub(b"", encode(row)))
    return Malformed(where, why, row_id or f"{after} {number}", content)
