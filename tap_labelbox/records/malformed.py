"""Rows that cannot be read: logged by their place, without what they hold.

A row that nobody can load (without an ID, or not an object) costs itself and nothing
else. It is carried along in place of the row, so that whoever counts rows counts it
too, until somebody names it in the log: by its place, its ID and the names of its
keys. Its values never get there; they are other people's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MAX_NAMED_ROWS = 10
"""Rows of one source that are named; the others are counted."""
MAX_NAME_CHARACTERS = 60  # of an ID or a key in a message
MAX_NAMED_KEYS = 20
MAX_SOURCE_CHARACTERS = 300  # of a stream with its project, or of a path


@dataclass(frozen=True, slots=True)
class Malformed:
    """A row that is left out."""

    where: str
    """Its place in its source, such as ``item 7``."""
    why: str
    """What is wrong with it, without any of its values."""
    key: str = ""
    """Identifies it among the rows of a list, also where it is read twice."""
    content: int = 0
    """A hash of what it holds."""
    is_broken: bool = False
    """Whether it may have been damaged on its way, and be there another time."""


class MalformedError(ValueError):
    """A text is JSON, but not of a row that can be read; says so without values."""


def shortened(name: object, most: int = MAX_NAME_CHARACTERS) -> str:
    """Return an ID or a key as a message may have it: short, and on one line."""
    text = str(name)[: most + 1]
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else f"{text[:-4]}..."


def described(value: Any) -> str:
    """Return what a message may say of a value: its kind, or its keys' names."""
    if not isinstance(value, dict):
        return f"it is {kind(value)}"
    if not value:
        return "it is an empty object"
    return f"its keys: {first_of(value, MAX_NAMED_KEYS, shortened)}"


def first_of(
    names: Collection[Any], most: int, text_of: Callable[[Any], str] = str
) -> str:
    """Return the first names for a message, and how many more there are."""
    more = len(names) - most
    text = ", ".join(map(text_of, islice(names, most)))
    return f"{text} and {more} more" if more > 0 else text


def kind(value: Any) -> str:
    """Return what JSON calls a value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"
