"""The reply to many questions in one request, taken apart.

Each question has aliases of its own (:meth:`Document.together`). The reply is taken
apart before it is decoded: each gets the bytes that it would have got alone, its own
errors included.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Raw

from tap_labelbox.records.json_text import decode, encode

if TYPE_CHECKING:
    from collections.abc import Collection

ALIAS = re.compile(r"p(\d+)_(\w+)")
NULL = Raw(b"null")


class _Reply(msgspec.Struct):
    """The parts of a reply that are looked at before it is taken apart."""

    data: dict[str, Raw] | None = None
    errors: Any = None
    message: Any = None


_decoder = msgspec.json.Decoder(_Reply)


class Separated(NamedTuple):
    """A reply to many questions, taken apart."""

    common: dict[str, Any] | None
    """What it says of none in particular, with the keys of a reply; None for nothing,
    where it has errors of some."""
    parts: list[bytes | None]
    """For each question the reply to it alone; None where there is nothing."""
    refused: Collection[int]
    """The numbers of the questions that have errors of their own."""


def separated(content: bytes, count: int) -> Separated:
    """Return the parts of a reply to so many questions.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        reply = _decoder.decode(content)
    except (ValueError, RecursionError):  # it may be JSON of a kind that we take
        reply = _decoded(content)
    errors: dict[int | None, list[Any]] = {}
    for error in reply.errors if isinstance(reply.errors, list) else [reply.errors]:
        if error:
            errors.setdefault(_number(error, count), []).append(error)
    of_all = errors.pop(None, [])
    common: dict[str, Any] | None = None
    if of_all or not errors:
        data = reply.data
        if data is not None:
            common = {"data": {name: raw != NULL or None for name, raw in data.items()}}
        common = (common or {}) | {"errors": of_all}
        if reply.message is not None:
            common["message"] = reply.message
    members: dict[int, list[bytes]] = {}
    for name, value in (reply.data or {}).items():
        if match := ALIAS.fullmatch(name):
            member = b'"%b":%b' % (match[2].encode(), value)
            members.setdefault(int(match[1]), []).append(member)
    parts = [_part(members.get(n), errors.get(n)) for n in range(count)]
    return Separated(common, parts, [n for n in errors if n is not None])


def _part(members: list[bytes] | None, errors: list[Any] | None) -> bytes | None:
    """Return the reply to one question."""
    if members is None and errors is None:
        return None
    data = b"null" if members is None else b"{%b}" % b",".join(members)
    return b'{"data":%b%b}' % (data, b',"errors":' + encode(errors) if errors else b"")


def _number(error: Any, count: int) -> int | None:
    """Return the question that an error is about; None if it does not say."""
    path = error.get("path") if isinstance(error, dict) else None
    first = path[0] if isinstance(path, list) and path else None
    match = ALIAS.fullmatch(first) if isinstance(first, str) else None
    number = int(match[1]) if match else count
    return number if number < count else None


def _decoded(content: bytes) -> _Reply:
    """Decode a reply that is not strict JSON: it has NaN, say."""
    body = decode(content)
    if not isinstance(body, dict):
        return _Reply(errors=None)
    data = body.get("data")
    if isinstance(data, dict):
        data = {name: Raw(encode(value)) for name, value in data.items()}
    else:
        data = None
    return _Reply(data, body.get("errors"), body.get("message"))
