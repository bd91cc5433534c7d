"""JSON as Labelbox sends it: decoded, or passed on as the bytes that it is.

Most of what Labelbox sends is annotations that nobody here looks into. They are
passed on as :class:`msgspec.Raw`: text that is known to be JSON, but not decoded.
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

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")
Decoded = TypeVar("Decoded")

MOST_DIGITS = 4000  # of a whole number; Python reads few more
PIECE = 32 * 1024  # bytes

LOGGER = logging.getLogger("tap-labelbox")

encoder = msgspec.json.Encoder(decimal_format="number")

_ANYTHING = msgspec.json.Decoder()

# No database stores these: half of a surrogate pair is no character, and
# PostgreSQL has no NUL.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
NUL = re.compile(rb"\\u0000")  # so it is found twice as fast as by `in`


def decode(text: bytes) -> Any:
    """Decode a JSON text.

    What Python's decoder takes although it is no JSON is kept as text: NaN, the
    infinities, and numbers beyond all floats. Characters that no database stores
    become U+FFFD, which is logged.

    Raises:
        ValueError: If it is no JSON.
    """
    if not NUL.search(text):
        try:
            return _ANYTHING.decode(text)
        except (ValueError, RecursionError):
            pass  # Python's decoder takes a little more
    try:
        return storable(json.loads(text, **NUMBERS))
    except RecursionError as error:
        raise ValueError(str(error)) from None


def decode_object(text: bytes) -> dict[str, Any]:
    """Decode an object.

    Raises:
        ValueError: If it is none.
    """
    return _as_object(decode(text))


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
        ValueError: If one is neither.
    """
    return [_as_object(line) for line in decode_any_lines(text)]


def decode_as(decoder: msgspec.json.Decoder[Found], text: bytes) -> Found | None:
    """Decode a text in a shape that leaves parts of it Raw.

    None if it has another shape, or anything in it that is better looked at: what
    is Raw is known to be JSON, but not to be UTF-8, and may hold a NUL.
    """
    return _decode(decoder.decode, text)


def decode_lines_as(
    decoder: msgspec.json.Decoder[Found], text: bytes
) -> list[Found] | None:
    """Decode many lines as :meth:`decode_as` does one; None if any is unusual."""
    return _decode(decoder.decode_lines, text)


def _decode(decode: Callable[[bytes], Decoded], text: bytes) -> Decoded | None:
    if NUL.search(text) or not (text.isascii() or _is_utf8(text)):
        return None
    try:
        return decode(text)
    except (ValueError, RecursionError):
        return None


def whole(value: Any) -> Any:
    """Decode all that is Raw in a value."""
    return decode(bytes(value) if type(value) is Raw else encoder.encode(value))


def storable(value: Any) -> Any:
    """Replace what no database stores, and say so."""
    count = 0

    def cleaned(value: Any) -> Any:
        nonlocal count
        match value:
            case str():
                text, replaced = UNSTORABLE.subn("\ufffd", value)
                count += replaced
                return text
            case list():
                return [cleaned(item) for item in value]
            case dict():
                return {cleaned(key): cleaned(item) for key, item in value.items()}
        return value

    value = cleaned(value)
    if count:
        LOGGER.warning(
            "%d characters that no database stores (NUL, or half of a surrogate "
            "pair) became U+FFFD",
            count,
        )
    return value


def _as_object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError("this is no object")
    return value


def _number(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _whole_number(text: str) -> int | str:
    return int(text) if len(text) <= MOST_DIGITS else text


NUMBERS: dict[str, Any] = {
    "parse_constant": str,
    "parse_float": _number,
    "parse_int": _whole_number,
}
"""How Python's decoder has to take numbers: those that are none to others, NaN, the
infinities and what is beyond all floats, stay text."""


def _is_utf8(text: bytes) -> bool:
    # In pieces: as characters, the whole may take four times as much memory.
    left = memoryview(text)
    try:
        while left:
            _, used = utf_8_decode(left[:PIECE], "strict", len(left) <= PIECE)
            left = left[used:]
    except UnicodeDecodeError:
        return False
    return True
