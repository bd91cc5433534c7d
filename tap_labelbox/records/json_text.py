"""JSON as Labelbox sends it: decoded, or passed on as the bytes that it is.

Most of what Labelbox sends is annotations that nobody here looks into. They are
passed on as :class:`msgspec.Raw`: text that is known to be JSON, but not decoded.

A message ends at its line feed, and some targets take a CR for one. JSON allows both
between its tokens, so a text that has them there is decoded whole. U+0085,
U+2028 and U+2029 may stand in a string of JSON, and do so in a message: they end a line
for ``str.splitlines``, but not for a file that Python reads, nor in NDJSON. Other line
breaks, such as VT and FF, are no JSON unless they are escaped.
"""

from __future__ import annotations

import json
import logging
import math
import re
from codecs import utf_8_decode
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Raw

from tap_labelbox.records.malformed import MalformedError, kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Decoded = TypeVar("Decoded")

MAX_DIGITS = 4000  # of a whole number; Python reads few more
PIECE_BYTES = 32 * 1024
MAX_DEPTH = 100
"""Levels of a text that is nested too deeply to be decoded. What is below them is
kept as JSON text: targets and databases can be expected to read so many."""
MAX_WARNINGS = 10  # of one kind in a run

LOGGER = logging.getLogger("tap-labelbox")

encoder = msgspec.json.Encoder(decimal_format="number")

OBJECT_OR_END = (b"{", b"")

_ANYTHING = msgspec.json.Decoder()

# No database stores these: half of a surrogate pair is no character, and
# PostgreSQL has no NUL.
INVALID_CHARACTERS = re.compile("[\0\ud800-\udfff]")
NUL = re.compile(rb"\\u0000")  # so it is found twice as fast as by `in`

# A string, or where an array or object begins or ends. A string without an end goes
# to the end of the text, which keeps this linear.
MARKS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
OPENERS, CLOSING = b"[{", b"]}"


def decode(text: bytes) -> Any:
    """Decode a JSON text.

    What Python's decoder takes although it is no JSON is kept as text: NaN, the
    infinities, and numbers beyond all floats. So is what is nested too deeply.
    Characters that no database stores become U+FFFD, which is logged.

    Raises:
        ValueError: If it is no JSON.
    """
    if not NUL.search(text):
        try:
            return _ANYTHING.decode(text)
        except (ValueError, RecursionError):
            pass  # Python's decoder takes a little more
    try:
        return sanitize(json.loads(text, **NUMBERS))
    except RecursionError:
        pass
    value = sanitize(json.loads(shallow(text), **NUMBERS))
    _warn("JSON nested too deeply is kept as text from level %d on", MAX_DEPTH)
    return value


def encode(value: Any) -> bytes:
    """Encode a value, however deeply it is nested.

    All of it is one JSON text; :func:`shallow` makes it one that others can read.
    """
    try:
        return encoder.encode(value)
    except RecursionError:
        return b"".join(_encoded(value))


def encode_shallow(value: Any) -> bytes:
    """Encode a value; what is nested too deeply for that is text in it."""
    try:
        return encoder.encode(value)
    except RecursionError:
        return shallow(encode(value))


def shallow(text: bytes) -> bytes:
    """Replace what is nested below :data:`MAX_DEPTH` levels by its JSON text.

    In one pass over the text, and with no recursion: it may be a million levels deep.

    Raises:
        ValueError: If what is replaced is no JSON, or has no end.
    """
    pieces: list[bytes] = []
    done, depth = 0, 0
    for mark in MARKS.finditer(text):
        byte = text[mark.start()]
        if byte in OPENERS:
            depth += 1
            if depth == MAX_DEPTH + 1:
                pieces.append(text[done : mark.start()])
                done = mark.start()
        elif byte in CLOSING:
            if depth == MAX_DEPTH + 1:
                inner = text[done : mark.end()]
                _check(inner)
                pieces.append(encoder.encode(inner.decode()))
                done = mark.end()
            depth -= 1
    if depth:
        raise ValueError("an array or object has no end")
    pieces.append(text[done:])
    return b"".join(pieces)


def _check(text: bytes) -> None:
    """Raise ValueError if an array or object, nested to any depth, is no JSON.

    Some levels at once, from the inside out: those that have been checked are a 0 in
    what is around them.
    """
    bands: list[list[bytes]] = []
    done, depth = 0, 0
    for mark in MARKS.finditer(text):
        byte = text[mark.start()]
        if byte in OPENERS:
            if depth % MAX_DEPTH == 0:
                if bands:
                    bands[-1].append(text[done : mark.start()])
                bands.append([])
                done = mark.start()
            depth += 1
        elif byte in CLOSING:
            depth -= 1
            if depth % MAX_DEPTH == 0:
                json.loads(b"".join([*bands.pop(), text[done : mark.end()]]), **NUMBERS)
                done = mark.end()
                if bands:
                    bands[-1].append(b"0")


def _encoded(value: Any) -> Iterator[bytes]:
    """Encode a value part by part, with a stack of its own."""
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        match item:
            case _Text():
                yield item
            case list() | tuple():
                parts: list[Any] = [_Text(b"[")]
                for number, inner in enumerate(item):
                    parts += [_Text(b","), inner] if number else [inner]
                pending += reversed([*parts, _Text(b"]")])
            case dict():
                parts = [_Text(b"{")]
                for number, (key, inner) in enumerate(item.items()):
                    name = encoder.encode(key) + b":"
                    parts += [_Text(b"," + name if number else name), inner]
                pending += reversed([*parts, _Text(b"}")])
            case _:
                yield encoder.encode(item)


class _Text(bytes):
    """Text that is encoded already."""


def decode_any_lines(text: bytes) -> list[Any]:
    """Decode lines, each a JSON text, or blank.

    Raises:
        ValueError: If one is neither.
    """
    lines: list[Any] | None = decode_lines_as(_ANYTHING, text)
    if lines is not None:
        return lines
    return [decode(line) for line in text.split(b"\n") if line.strip()]


def decode_lines(text: bytes) -> list[dict[str, Any]]:
    """Decode lines, each an object, or blank.

    Raises:
        MalformedError: If one is something else.
        ValueError: If one is no JSON.
    """
    lines = decode_any_lines(text)
    for line in lines:
        if type(line) is not dict:
            msg = f"it is {kind(line)}, not an object"
            raise MalformedError(msg)
    return lines


def decode_as(decoder: msgspec.json.Decoder[Decoded], text: bytes) -> Decoded | None:
    """Decode a text to a struct that leaves parts of it Raw.

    Returns:
        The struct; None if the text is not of its form, is no UTF-8, or has a NUL or
        a line break: msgspec looks for none of these in what is Raw.
    """
    text = text.rstrip(b" \r\n")
    is_one_line = b"\n" not in text and b"\r" not in text
    return _decode(decoder.decode, text) if is_one_line else None


def decode_lines_as(
    decoder: msgspec.json.Decoder[Decoded], text: bytes
) -> list[Decoded] | None:
    """Decode many lines as :func:`decode_as` does one.

    Returns:
        A struct a line; None where :func:`decode_as` returns that for any of them, and
        if a line has two texts, or none, or a part of one, or is no object.
    """
    result = None if b"\r" in text else _decode(decoder.decode_lines, text)
    # The decoder looks for white space between texts, and not even for that.
    return result if result is None or len(result) == _count_objects(text) else None


def _count_objects(text: bytes) -> int:
    """Return the number of lines of valid JSON if each is an object; -1 if not.

    A line feed between these two braces is not inside an object. One find after the
    other takes a tenth of the time that count() takes.
    """
    count, end = 0, text.find(b"\n")
    while end >= 0:
        count += 1
        if text[end - 1 : end] != b"}" or text[end + 1 : end + 2] not in OBJECT_OR_END:
            return -1
        end = text.find(b"\n", end + 1)
    return count + (not text.endswith(b"\n"))


def _decode(decode: Callable[[bytes], Decoded], text: bytes) -> Decoded | None:
    if NUL.search(text) or not _is_utf8(text):
        return None
    try:
        return decode(text)
    except (ValueError, RecursionError):
        return None


def decode_raw(value: Any) -> Any:
    """Decode all that is Raw in a value, and nothing to more than MAX_DEPTH levels.

    What is done with the result may need many times as much of Python's stack.
    """
    text = bytes(value) if type(value) is Raw else encode(value)
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH:
        text = shallow(text)
    return decode(text)


def sanitize(value: Any) -> Any:
    """Replace characters that no database stores by U+FFFD, and log that."""
    count = 0

    def cleaned(value: Any) -> Any:
        nonlocal count
        match value:
            case str():
                text, replaced = INVALID_CHARACTERS.subn("\ufffd", value)
                count += replaced
                return text
            case list():
                return [cleaned(item) for item in value]
            case dict():
                return {cleaned(key): cleaned(item) for key, item in value.items()}
        return value

    value = cleaned(value)
    if count:
        _warn(
            "%d characters that no database stores (NUL, or half of a surrogate "
            "pair) became U+FFFD",
            count,
        )
    return value


def _warn(message: str, *values: object) -> None:
    """Log a warning, unless there have been many of its kind."""
    count = _warnings[message] = _warnings.get(message, 0) + 1
    if count <= MAX_WARNINGS:
        more = " (no more of these are logged)" if count == MAX_WARNINGS else ""
        LOGGER.warning("%s%s", message % values, more)


_warnings: dict[str, int] = {}


def begin_run() -> None:
    """Log warnings anew, as many as a run may have."""
    _warnings.clear()


def _number(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _whole_number(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text


NUMBERS: dict[str, Any] = {
    "parse_constant": str,
    "parse_float": _number,
    "parse_int": _whole_number,
}
"""Options of Python's decoder that keep as text what is no number to others: NaN, the
infinities, and what is beyond all floats."""


def _is_utf8(text: bytes) -> bool:
    # In pieces: as characters, the whole may take four times as much memory.
    left = memoryview(text)
    try:
        while left:
            _, used = utf_8_decode(
                left[:PIECE_BYTES], "strict", len(left) <= PIECE_BYTES
            )
            left = left[used:]
    except UnicodeDecodeError:
        return False
    return True
