"""Columns, each declared once: its name, type, description and where it comes from.

All else follows from that: the JSON schema of a table, the check of a value, the
struct that msgspec decodes (:mod:`tap_labelbox.records.structs`), and the record of a
row. The checks of values are in :mod:`tap_labelbox.records.values`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from msgspec import Meta, Raw

from tap_labelbox.records.values import (
    LARGEST_INTEGER,
    MAX_CHARACTER_BYTES,
    MAX_EXACT_INTEGER,
    MAX_ID_BYTES,
    as_address,
    as_boolean,
    as_bounded,
    as_day,
    as_epoch,
    as_id,
    as_ids,
    as_integer,
    as_key,
    as_number,
    as_object,
    as_object_of_pairs,
    as_objects,
    as_string,
    as_string_or_number,
    as_strings,
    as_tags,
    as_timestamp,
    digits,
)
from tap_labelbox.redact import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = dict[str, Any]
Record = dict[str, Any]

Check = Callable[[Any], Any]
"""Returns a value as its column wants it; None if it does not fit."""

Sources: TypeAlias = "dict[str, Column | Sources]"
"""The columns of a block by the names of their values, and the blocks within it."""

Personal = Literal["email", "name", "picture", "people", "free text"]
"""What of people a column holds."""
EMAIL: Personal = "email"
NAME: Personal = "name"
PICTURE: Personal = "picture"
PEOPLE: Personal = "people"
"""JSON that says who did what."""
FREE_TEXT: Personal = "free text"
"""Text in which somebody may have written anything."""
HINT = "Personal data."
HINTS = {FREE_TEXT: "May hold personal data."}

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_ID_PATH_BYTES = 288  # with three other IDs, what MySQL takes for a key
MAX_WORD_BYTES = 255
MAX_EMAIL_BYTES = 320
WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

INTEGER = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
EXACT = Annotated[int, Meta(ge=-MAX_EXACT_INTEGER, le=MAX_EXACT_INTEGER)]
# So few characters fit, whatever they are; more are looked at one by one.
ID = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES // MAX_CHARACTER_BYTES)]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of columns; called, it declares a column of its type."""

    schema: dict[str, Any]
    """The JSON schema of a value."""
    check: Check
    struct: Any
    """What msgspec decodes a value to that passes the check; it stays as it is, but for
    timestamps, numbers for text, what stands for none, and what is Raw. None if each
    has to be converted."""
    none: Any = None
    """A value that says that there is none."""
    put_aside: Check = lambda value: value
    """Returns what stands in ``additional_columns`` for a value that does not fit."""
    left_over: Check | None = None
    """Returns what stands there for a value that does, but not whole; None if whole."""

    def __call__(
        self,
        name: str,
        description: str,
        *at: str,
        required: bool = False,
        personal: Personal | None = None,
        selected: bool = True,
    ) -> Column:
        """Declare a column.

        Args:
            name: The name of the column.
            description: Of the column, for the catalog.
            at: Where in a row its value may be, by dotted path; by its name, if
                nothing is said.
            required: Whether every record has a value.
            personal: The personal data it holds, if it does.
            selected: Whether it is selected by default.
        """
        paths = at or (name,)
        return Column(name, self, description, paths, required, personal, selected)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind
    description: str
    paths: tuple[str, ...]
    required: bool = False
    personal: Personal | None = None
    """What of people it holds; said here only: the description, the documents and
    :mod:`tap_labelbox.records.pseudonyms` follow."""
    selected: bool = True
    """Whether it is selected by default."""

    @property
    def is_replaced(self) -> bool:
        """True if whole values are personal data that a pseudonym can stand for."""
        return self.personal not in {None, PEOPLE, FREE_TEXT}

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the column."""
        kind = self.kind.schema["type"]
        types = [kind] if self.required else [kind, "null"]
        hint = f" {HINTS.get(self.personal, HINT)}" if self.personal else ""
        description = self.description + hint
        return {**self.kind.schema, "type": types, "description": description}


def snake_case(name: str) -> str:
    """Return a name that is in camel case as a column's."""
    return WORD_BREAK.sub("_", name).lower()


# --- types of columns ----------------------------------------------------------

text = Kind({"type": "string"}, as_string_or_number, str | None)
"""Text; where a number comes, that as text, but not in a struct: it is rare."""
string_or_number = Kind(text.schema, text.check, str | INTEGER | None)
"""Text where numbers are as frequent."""
string = Kind(text.schema, as_string, str | None)
"""Text, and nothing else."""
identifier = Kind(
    text.schema | {"maxLength": MAX_ID_BYTES},
    as_key,
    ID | None,
    left_over=lambda value: value if as_key(value) != as_id(value) else None,
)
"""IDs; one that is too long is shortened."""
number = Kind({"type": "number"}, as_number, EXACT | float | None, left_over=digits)
agreement = replace(number, none=-1)
"""Agreement of labels, 0 to 1; Labelbox has -1 where there is none."""
integer = Kind(
    {"type": "integer", "minimum": -LARGEST_INTEGER - 1, "maximum": LARGEST_INTEGER},
    as_integer,
    INTEGER | None,
)
boolean = Kind({"type": "boolean"}, as_boolean, bool | None)
timestamp = Kind({"type": "string", "format": "date-time"}, as_timestamp, str | None)
"""Timestamps, in UTC."""
epoch = Kind(timestamp.schema, as_epoch, None)
"""Timestamps that come as seconds since 1970."""
address = Kind(text.schema, as_address, None, put_aside=lambda _: MASK)
"""Addresses that may hold a password or a signature, which is left out."""
json = Kind({"type": "object", "additionalProperties": True}, as_object, Raw)
"""Objects that may have any members. An object that lists its members, of which there
would be none, becomes as many columns in the hands of whoever flattens it."""
texts = Kind(
    {"type": "array", "items": {"type": ["string"]}},
    as_strings,
    list[str] | None,
)
identifiers = Kind(texts.schema, as_ids, list[ID] | None)


def bounded(kind: Kind, max_bytes: int) -> Kind:
    """Return a type of texts without those that have more bytes, in UTF-8.

    Several databases make a column as wide as its bound, or guess where there is none.
    """
    few = max_bytes // MAX_CHARACTER_BYTES
    check = partial(as_bounded, kind.check, max_bytes)
    struct = Annotated[str, Meta(max_length=few)] | None
    return Kind(kind.schema | {"maxLength": max_bytes}, check, struct)


id_path = bounded(string, MAX_ID_PATH_BYTES)
"""IDs on the way down to something, joined with slashes."""
word = bounded(text, MAX_WORD_BYTES)
"""Names of kinds, states and the like, of which there are few."""
email = bounded(string, MAX_EMAIL_BYTES)
key = partial(identifier, required=True)
day = partial(
    Kind({"type": "string", "format": "date"}, as_day, str | None), required=True
)
"""UTC days."""


# Here the members are listed, for target-snowflake looks for that within arrays.
objects = Kind(
    {
        "type": "array",
        "items": {"type": "object", "properties": {}, "additionalProperties": True},
    },
    as_objects,
    list[Raw] | None,
)
"""Lists of objects that may have any members."""


def object_of_pairs(name: str, content: str) -> Kind:
    """Return the type of objects that come as lists of their members.

    Args:
        name: What each item of the list has the name of a member in.
        content: What it has the member itself in.
    """
    return Kind(json.schema, partial(as_object_of_pairs, name, content), None)


tags = Kind(objects.schema, as_tags, list[Raw] | None)


def within(block: str, *columns: Column) -> tuple[Column, ...]:
    """Return columns whose paths begin in a block of the row."""
    return tuple(
        replace(column, paths=tuple(f"{block}.{path}" for path in column.paths))
        for column in columns
    )


def derived(*columns: Column) -> tuple[Column, ...]:
    """Return columns that are not filled with what a row has by their names."""
    return tuple(replace(column, paths=()) for column in columns)


# --- tables --------------------------------------------------------------------


class Table(dict[str, Any]):
    """The JSON schema of a table, with the columns that it is made of.

    Copies that the SDK makes are schemas and no more.
    """

    columns: tuple[Column, ...]
    sources: Sources
    blank: Record

    @classmethod
    def of(cls, *columns: Column) -> Self:
        """Return the table of these columns."""
        properties = {column.name: column.schema for column in columns}
        required = [column.name for column in columns if column.required]
        table = cls(
            {
                "type": "object",
                "properties": properties,
                "required": required,
                "$schema": DIALECT,
            }
        )
        table.columns = columns
        table.sources = sources(columns)
        table.blank = dict.fromkeys(properties)
        return table

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        """Return a copy of the schema alone; columns cannot be copied."""
        return deepcopy(dict(self), memo)


def table(*columns: Column) -> Table:
    """Return a table of these columns, and one for what fits none of them."""
    return Table.of(
        *columns,
        additional_columns("What does not fit its column, by the column's name."),
    )


def additional_columns(description: str) -> Column:
    """Return the column for what fits no other."""
    (column,) = derived(json("additional_columns", description))
    return column


def sources(columns: Iterable[Column]) -> Sources:
    """Return the columns by where they come from."""
    tree: Sources = {}
    for column in columns:
        for path in column.paths:
            *blocks, name = path.split(".")
            inner: Any = tree
            for block in blocks:
                inner = inner.setdefault(block, {})
            inner[name] = column
    return tree
