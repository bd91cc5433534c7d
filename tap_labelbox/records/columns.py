"""Columns, each declared once: its name, type, description and where it comes from.

All else follows from that: the JSON schema of a table, the check of a value, the
struct that msgspec decodes (:mod:`tap_labelbox.records.structs`), and the record of a
row. What fits no column is never dropped: it is put aside, for
``additional_columns``.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, cast

from msgspec import Meta, Raw

from tap_labelbox.records import timestamps
from tap_labelbox.redact import MASK, bare_address

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
LARGEST_INTEGER = 2**63 - 1  # what a warehouse takes
MAX_EXACT_INTEGER = 2**53  # beyond, not every whole number is a float
MAX_ID_BYTES = 160  # Labelbox's own have 25 or 36
MAX_ID_PATH_BYTES = 288  # with three other IDs, what MySQL takes for a key
MAX_WORD_BYTES = 255
MAX_EMAIL_BYTES = 320
MAX_CHARACTER_BYTES = 4  # of UTF-8
FEW_ID_CHARACTERS = MAX_ID_BYTES // MAX_CHARACTER_BYTES
NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
WHOLE_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)

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


# --- values: what does not fit is None ----------------------------------------


def as_string(value: Any) -> str | None:
    """Return a string."""
    return value if isinstance(value, str) else None


def as_string_or_number(value: Any) -> str | None:
    """Return a string, or a number as one: exports give now one, now the other."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else as_string(value)


def as_id(value: Any) -> str | None:
    """Return an ID as a string, also if it is a number; an empty one is none."""
    if type(value) is str:
        return value or None
    return as_string_or_number(value)


def as_key(value: Any) -> str | None:
    """Return an ID as its columns have it, in each table the same."""
    own_id = as_id(value)
    if own_id is None or len(own_id) <= FEW_ID_CHARACTERS:
        return own_id
    return shortened_id(own_id)


def has_at_most(text: str, max_bytes: int) -> bool:
    """Return whether a text has no more bytes, in UTF-8.

    Some databases count the characters of a column by its bytes.
    """
    few = len(text) * MAX_CHARACTER_BYTES <= max_bytes
    return few or len(text.encode(errors="surrogatepass")) <= max_bytes


def shortened_id(text: str, max_bytes: int = MAX_ID_BYTES) -> str:
    """Return an ID; of one that is too long, its beginning and its SHA-256.

    So no row is left out for its key, and tables join by it: the same ID becomes the
    same in every table and run, and another one another.
    """
    if has_at_most(text, max_bytes):
        return text
    encoded = text.encode(errors="surrogatepass")
    digest = hashlib.sha256(encoded).hexdigest()
    return f"{encoded[: max_bytes - len(digest) - 1].decode(errors='ignore')}~{digest}"


def as_number(value: Any) -> float | None:
    """Return a number, also if it is a string; none beyond all floats.

    Some targets take no whole numbers that are no float: these become the next one.
    """
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if abs(value) > sys.float_info.max:
        return None
    return value if abs(value) <= MAX_EXACT_INTEGER else float(value)


def digits(value: Any) -> str | None:
    """Return the digits of a whole number that is no float; None of any other value."""
    return str(value) if type(value) is int and as_number(value) != value else None


def as_integer(value: Any) -> int | None:
    """Return an integer that a warehouse can store, also if it is a string."""
    if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= LARGEST_INTEGER else None


def as_boolean(value: Any) -> bool | None:
    """Return true or false."""
    return value if isinstance(value, bool) else None


def as_day(value: Any) -> str | None:
    """Return a date without a time."""
    fits = (
        isinstance(value, str)
        and DAY.fullmatch(value)
        and timestamps.is_timestamp(value)
    )
    return value if fits else None


def as_object(value: Any) -> Row | None:
    """Return an object."""
    return value if isinstance(value, dict) else None


def as_object_of_pairs(name: str, content: str, value: Any) -> Row | None:
    """Return a list of names with what each has as one object."""
    items = as_objects(value) or []
    result = {as_id(item.get(name)): item.get(content) for item in items}
    # Nothing of the list may get lost.
    fits = isinstance(value, list) and len(result) == len(value) and None not in result
    return cast("Row", result) if fits else None


def as_objects(value: Any) -> list[Row] | None:
    """Return a list of objects."""
    fits = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return value if fits else None


def as_strings(value: Any) -> list[str] | None:
    """Return a list of strings."""
    fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if fits else None


def as_tags(value: Any) -> list[Row] | None:
    """Return a list of tags as objects; one that is a string has only its text."""
    tags = value if isinstance(value, list) else [None]
    tags = [{"text": tag} if isinstance(tag, str) else tag for tag in tags]
    return as_objects(tags)


def as_address(value: Any) -> str | None:
    """Return an address without what may be secret in it."""
    return bare_address(value) if isinstance(value, str) else None


def as_epoch(value: Any) -> str | None:
    """Return the timestamp of so many seconds since 1970, also if they are a string."""
    seconds = as_number(value)
    if seconds is None:
        return timestamps.as_timestamp(value)
    try:
        return timestamps.isoformat(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):  # beyond the calendar
        return None


def as_ids(value: Any) -> list[str] | None:
    """Return a list of IDs, each as a string."""
    ids = [as_id(item) for item in value] if isinstance(value, list) else [None]
    return None if None in ids else cast("list[str]", ids)


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
timestamp = Kind(
    {"type": "string", "format": "date-time"}, timestamps.as_timestamp, str | None
)
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

    def check(value: Any) -> str | None:
        text: str | None = kind.check(value)
        if text is None or len(text) <= few or has_at_most(text, max_bytes):
            return text
        return None

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
        """Return a copy of the schema.

        The SDK makes several of each stream's when it starts, and ``copy.deepcopy``
        takes five times as long: it looks for parts that are used twice.
        """
        del memo
        return {name: _copied(part) for name, part in self.items()}

    def record(self, item: Any, ids: Record) -> Record:
        """Return the record of one item of a list.

        Args:
            item: The item; what is no object is put aside.
            ids: Columns that are not of the item.
        """
        unmapped: Row = {}
        record = self.blank.copy()
        record["additional_columns"] = unmapped
        if isinstance(item, dict):
            populate(record, unmapped, self.sources, item, "")
        else:
            unmapped["item"] = item
        record |= ids
        return record


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


def _copied(part: Any) -> Any:
    """Return a copy of a part of a schema."""
    if isinstance(part, dict):
        return {name: _copied(item) for name, item in part.items()}
    return [_copied(item) for item in part] if isinstance(part, list) else part


def populate(
    record: Record, unmapped: Row, sources: Sources, block: Row, path: str
) -> None:
    """Fill a record with the values of a block, and put aside what does not fit.

    Args:
        record: What to fill; a column that has a value keeps it. The same value
            once more is no other.
        unmapped: Where to put what fits no column, by its dotted path.
        sources: The block's columns.
        block: The values.
        path: The path of the block, with a dot at its end.
    """
    for key, value in block.items():
        if value is None:
            continue
        if type(column := sources.get(key)) is Column:
            store(record, unmapped, column, value, path + key)
        elif column is not None and isinstance(value, dict):
            populate(record, unmapped, column, value, f"{path}{key}.")  # type: ignore[arg-type]
        else:
            unmapped[path + key] = value


def store(record: Record, unmapped: Row, column: Column, value: Any, path: str) -> None:
    """Fill a column with a value, and put aside by its path what does not fit.

    A column that has a value keeps it; the same value once more is no other. Of a value
    that the column cannot have whole, it has what it can, and all is put aside.
    """
    name, kind = column.name, column.kind
    if (converted := kind.check(value)) is not None:
        if converted == kind.none:
            return
        if record[name] is None:
            record[name] = converted
            if converted is value or kind.left_over is None:
                return
            if (rest := kind.left_over(value)) is None:
                return
            value = rest
        elif record[name] == value:
            return
    unmapped[path] = kind.put_aside(value)
