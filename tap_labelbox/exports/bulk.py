"""Bulk exports: detect when one is ready, and stream it."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import UnavailableError
from tap_labelbox.records.json_extent import Extent
from tap_labelbox.records.json_text import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ITEM_BYTES = 256 * 1024 * 1024
QUICK_BYTES = 128 * 1024  # of items that are decoded together

BLANKS = re.compile(rb"[ \t\r\n]++")
# Anything but an array or object, up to what follows it.
SCALAR = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^][{}",\s]++(?=.)', re.DOTALL)
# What an item begins with: those of a file all begin with the same key.
BEGINNING = re.compile(rb'\{"[^"\\]*":')


def is_ready(export: dict[str, Any]) -> bool:
    """Return whether an export's file can be read.

    ``shouldPoll`` alone does not say: it was seen false beside an empty link.
    """
    return bool(export.get("download_url")) and not export.get("should_poll")


def array_items(
    chunks: Iterable[bytes], max_item_bytes: int = MAX_ITEM_BYTES
) -> Iterator[Any]:
    """Decode the items of one JSON array, each as soon as it has arrived.

    Args:
        chunks: The array, in pieces.
        max_item_bytes: The most of an item: the text is not held beyond it.

    Raises:
        UnavailableError: If the text is cut short or is not a JSON array, or if an
            item is too large.

    """
    text = _Text(chunks, max_item_bytes)
    text.pass_mark()
    text.expect("[")
    if text.peek() == "]":
        text.expect("]")
    else:
        yield from text.values()
        while text.expect(",]") == ",":
            yield from text.values()
    text.end()


class _Text:
    """A JSON text of which only what is still to be read is kept."""

    def __init__(self, chunks: Iterable[bytes], max_item_bytes: int) -> None:
        self._max_bytes = max_item_bytes
        self._chunks = iter(chunks)
        self._text = b""
        self._position = 0
        self._tried_to = 0  # where that ends which cannot be decoded together
        self._dropped = 0  # bytes before _text, for messages only

    def pass_mark(self) -> None:
        """Pass a byte order mark."""
        while len(self._text) < len(BOM_UTF8) and self._more():
            pass
        self._position = len(BOM_UTF8) if self._text.startswith(BOM_UTF8) else 0

    def peek(self) -> str:
        """Return the next character that is not white space; "" at the end."""
        while True:
            if blank := BLANKS.match(self._text, self._position):
                self._position = blank.end()
            if self._position < len(self._text) or not self._more():
                mark = self._text[self._position : self._position + 1]
                return mark.decode("ascii", "replace")

    def expect(self, marks: str) -> str:
        """Pass the next character, which has to be one of these."""
        mark = self.peek()
        if not mark or mark not in marks:
            raise self._broken(f"{mark or 'the end'} instead of {' or '.join(marks)}")
        self._position += 1
        return mark

    def values(self) -> Iterator[Any]:
        """Decode the next values, one at least, up to a comma or the end."""
        self.peek()
        yield from self._quick_values()
        yield self.value()

    def _quick_values(self) -> list[Any]:
        """Decode many objects at once, if they have arrived and another one follows.

        Where their text is cut is a guess. But what is cut within an object, or within
        a text, is no JSON when a bracket closes it.
        """
        start = self._position
        beginning = BEGINNING.match(self._text, start)
        if not beginning or start < self._tried_to:
            return []
        limit = start + QUICK_BYTES
        cut = self._text.rfind(b"}," + beginning[0], start, limit) + 1
        if not cut:
            return []
        try:
            values: list[Any] = decode(b"[%b]" % self._text[start:cut])
        except ValueError:
            self._tried_to = cut
            return []
        self._position = cut + 1
        return values

    def value(self) -> Any:
        """Decode the next value, reading on until all of it is there."""
        extent = Extent()
        try:
            while (size := self._size(extent)) is None:
                if not self._more():
                    raise self._broken("a value has no end")
            value = decode(self._text[self._position : self._position + size])
        except ValueError as error:
            raise self._broken(str(error)) from None
        self._position += size
        return value

    def _size(self, extent: Extent) -> int | None:
        """Return the bytes of the next value; None if more are needed."""
        mark = self.peek()
        if not mark or mark in "]},:":
            raise self._broken(f"{mark or 'the end'} instead of a value")
        if mark in "[{":
            return extent.size(self._text, self._position)
        scalar = SCALAR.match(self._text, self._position)
        return scalar.end() - self._position if scalar else None

    def end(self) -> None:
        """Make sure that nothing follows."""
        if mark := self.peek():
            raise self._broken(f"{mark} after its end")

    def _more(self) -> bool:
        """Read on by as much as is waiting already; False at the end.

        So a value is decoded from its start only as often as its size doubles.
        """
        waiting = [self._text[self._position :]]
        requested = len(waiting[0])
        if requested > self._max_bytes:
            raise self._broken("an item is too large: raise max_row_bytes")
        requested = min(requested, self._max_bytes - requested)
        self._dropped += self._position
        self._tried_to -= self._position
        self._text, self._position = waiting[0], 0
        for piece in self._chunks:
            waiting.append(piece)
            requested -= len(piece)
            if requested < 0:
                break
        self._text = b"".join(waiting)
        return len(waiting) > 1

    def _broken(self, reason: str) -> UnavailableError:
        at = self._dropped + self._position
        return UnavailableError(
            f"the export is not complete JSON: {reason} (byte {at})"
        )
