"""Find the end of a JSON object or array, of which more and more arrives."""

from __future__ import annotations

import re

STRING_BEGINNING = re.compile(
    rb'"[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+'
)
NEXT_BRACKET = re.compile(
    rb'(?:[^][{}"]++|' + STRING_BEGINNING.pattern + rb'")*+(["\][{}])'
)
"""From outside of strings to the next bracket; or to a quote that begins a string of
which the end is missing."""

QUOTE, OPEN_BRACE, OPEN_BRACKET, CLOSE_BRACE, CLOSE_BRACKET = b'"{[}]'
BEFORE_INNER = {OPEN_BRACE: b":", OPEN_BRACKET: b"[,"}
"""What stands before an array or object, by what it is in."""
OPENED_BY = {CLOSE_BRACE: OPEN_BRACE, CLOSE_BRACKET: OPEN_BRACKET}


class BrokenError(ValueError):
    """A text turns out not to be JSON."""

    def __init__(self, why: str, at: int) -> None:
        """Note why, and at which byte of the object."""
        super().__init__(why)
        self.at = at


class Extent:
    """The extent of an object or array, as far as it is known.

    It looks at strings and brackets, and at what stands before these, so that it notes
    soon where the next row begins before this one has ended.
    """

    def __init__(self) -> None:
        self.seen = 0
        """Bytes that need not be looked at again."""
        self._open = bytearray()

    def size(self, text: bytes, start: int) -> int | None:
        """Return the bytes of what starts here; None if more are needed.

        Raises:
            BrokenError: If it is not JSON.
        """
        at = start + self.seen
        while result := NEXT_BRACKET.match(text, at):
            at = result.end()
            place, byte = at - 1, text[at - 1]
            if byte == QUOTE:
                beginning = STRING_BEGINNING.match(text, place)
                rest = beginning.end() if beginning else place
                if rest < len(text) and text[rest:] != b"\\":
                    why = "a string of it does not end on its line"
                    raise BrokenError(why, rest - start)
                self.seen = place - start
                return None
            if byte in OPENED_BY:
                if self._open.pop() != OPENED_BY[byte]:
                    raise BrokenError("its brackets do not match", place - start)
                if not self._open:
                    return at - start
            else:
                if self._open and not self._may_open(text, place):
                    why = "it does not end before the next begins"
                    raise BrokenError(why, place - start)
                self._open.append(byte)
            self.seen = at - start
        return None

    def _may_open(self, text: bytes, place: int) -> bool:
        place -= 1
        while text[place] in b" \t\r\n":
            place -= 1
        return text[place] in BEFORE_INNER[self._open[-1]]
