"""Bulk exports: tell when one is ready, and read it without holding it."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from tap_labelbox.api.errors import UnavailableError
from tap_labelbox.records.json_text import NUMBERS, decode, end_of, sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# How far before the end of what has arrived JSON's decoder may stumble for the
# only reason that the rest is missing: a literal or an escape is no longer.
MAX_CUT_CHARACTERS = 16

MAX_ITEM_BYTES = 256 * 1024 * 1024

WHITE_SPACE = re.compile(r"[ \t\r\n]+")
ENDS = tuple(",] \t\r\n")  # what may follow an item
DECODER = json.JSONDecoder(**NUMBERS)
QUICK_DECODER = msgspec.json.Decoder(list[dict[str, Any]])
QUICK_CHARACTERS = 128 * 1024  # of items that are decoded together
# What an item begins with: those of a file all begin with the same key.
BEGINNING = re.compile(r'\{"[^"\\]*":')
# Escapes of what no database stores begin like this.
INVALID_CHARACTERS = ("\\u0000", "\\ud", "\\uD")


def is_ready(export: dict[str, Any]) -> bool:
    """Return whether an export's file can be read.

    ``shouldPoll`` alone does not tell: it was seen false beside an empty link.
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
        UnavailableError: If the text is cut short or is no JSON array, or if an
            item is too large.

    """
    text = _Text(chunks, max_item_bytes)
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
        self._max_characters = max_item_bytes  # a character is a byte at least
        self._chunks = codecs.iterdecode(chunks, "utf-8-sig")
        self._text = ""
        self._position = 0
        self._tried_to = 0  # where that ends which cannot be decoded together
        self._dropped = 0  # characters before _text, for messages only

    def peek(self) -> str:
        """Return the next character that is no white space; "" at the end."""
        while True:
            if blank := WHITE_SPACE.match(self._text, self._position):
                self._position = blank.end()
            if self._position < len(self._text) or not self._more():
                return self._text[self._position : self._position + 1]

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
        limit = start + QUICK_CHARACTERS
        cut = self._text.rfind("}," + beginning[0], start, limit) + 1
        text = self._text[start:cut]
        if not cut or any(mark in text for mark in INVALID_CHARACTERS):
            return []
        try:
            values = QUICK_DECODER.decode(f"[{text}]")
        except (ValueError, RecursionError):  # of what is no JSON, Python takes some
            self._tried_to = cut
            return []
        self._position = cut + 1
        return values

    def value(self) -> Any:
        """Decode the next value, reading on until all of it is there."""
        self.peek()
        while True:
            problem = ""
            try:
                value, end = DECODER.raw_decode(self._text, self._position)
                if any(
                    self._text.find(u, self._position, end) >= 0
                    for u in INVALID_CHARACTERS
                ):
                    value = sanitize(value)
            except ValueError as error:  # of a number too long, it has no position
                problem = getattr(error, "msg", str(error))
                cut = problem.startswith("Unterminated string")
                if (
                    not cut
                    and getattr(error, "pos", 0) < len(self._text) - MAX_CUT_CHARACTERS
                ):
                    raise self._broken(problem) from None
            except RecursionError:
                problem = "an array or object has no end"
                if (end_here := end_of(self._text, self._position)) is not None:
                    return self._deep(end_here)
            else:
                # A number may go on in what has not arrived; all else has an end.
                open_ended = isinstance(value, int | float)
                if not (open_ended and self._text[end : end + 1] not in ENDS):
                    self._position = end
                    return value
            if not self._more():
                raise self._broken(problem or "a number has no end")

    def _deep(self, end: int) -> Any:
        """Decode the next value, which is nested too deeply for Python's decoder."""
        try:
            value = decode(self._text[self._position : end].encode())
        except ValueError as error:
            raise self._broken(str(error)) from None
        self._position = end
        return value

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
        if requested > self._max_characters:
            raise self._broken("an item is too large: raise max_row_bytes")
        requested = min(requested, self._max_characters - requested)
        self._dropped += self._position
        self._tried_to -= self._position
        self._text, self._position = waiting[0], 0
        try:
            for piece in self._chunks:
                waiting.append(piece)
                requested -= len(piece)
                if requested < 0:
                    break
        except UnicodeDecodeError as error:
            raise self._broken(error.reason) from None
        self._text = "".join(waiting)
        return len(waiting) > 1

    def _broken(self, reason: str) -> UnavailableError:
        at = self._dropped + self._position
        return UnavailableError(
            f"the export is no whole JSON: {reason} (character {at})"
        )
