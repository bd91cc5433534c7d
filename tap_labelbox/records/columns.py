"""Columns, each declared once: its name, type, description and where it comes from.

All else follows from that: the JSON schema of a table, the check of a value, the
struct that msgspec decodes (:mod:`tap_labelbox.records.structs`), and the record of a
row. What fits no column is never dropped: it is put aside, for
``additional_columns``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from msgspec import Meta, Raw

from tap_labelbox.records import values
from tap_labelbox.records.values import LARGEST_INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_labelbox.records.values import Row

Record = dict[str, Any]

Check = Callable[[Any], Any]
"""Returns a value as its column wants it; None if it does not fit."""

Sources: TypeAlias = "dict[str, Column | Sources]"
"""The columns of a block by the names of their values, and the blocks within it."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
INTEGER = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
ID = Annotated[str, Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of columns; called, it declares a column of its type."""

    schema: dict[str, Any]
    """The JSON schema of a value."""
    check: Check
    struct: Any
    """What msgspec decodes a value to that passes the check; it stays as it is, but for
    timestamps, numbers for text, and what is Raw."""

    def __call__(
        self, name: str, description: str, *at: str, required: bool = False
    ) -> Column:
        """Declare a column.

        Args:
            name: The name of the column.
            description: Of the column, for the catalog.
            at: Where in a row its value may be, by dotted path; by its name, if
                nothing is said.
            required: Whether every record has a value.
        """
        return Column(name, self, description, at or (name,), required)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind
    description: str
    paths: tuple[str, ...]
    required: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the column."""
        kind = self.kind.schema["type"]
        types = [kind] if self.required else [kind, "null"]
        return {**self.kind.schema, "type": types, "description": self.description}


# --- types of columns ----------------------------------------------------------

text = Kind({"type": "string"}, values.as_string_or_number, str | None)
"""Text; where a number comes, that as text, but not in a struct: it is rare."""
string_or_number = Kind(text.schema, text.check, str | INTEGER | None)
"""Text where numbers are as frequent."""
string = Kind(text.schema, values.as_string, str | None)
"""Text, and nothing else."""
identifier = Kind(text.schema, values.as_id, ID | None)
number = Kind({"type": "number"}, values.as_number, INTEGER | float | None)
integer = Kind({"type": "integer"}, values.as_integer, INTEGER | None)
boolean = Kind({"type": "boolean"}, values.as_boolean, bool | None)
timestamp = Kind(
    {"type": "string", "format": "date-time"}, values.as_timestamp, str | None
)
"""Timestamps, in UTC."""
json = Kind({"type": "object", "additionalProperties": True}, values.as_object, Raw)
"""Objects that may have any members. An object that lists its members, of which there
would be none, becomes as many columns in the hands of whoever flattens it."""
texts = Kind(
    {"type": "array", "items": {"type": ["string"]}},
    values.as_strings,
    list[str] | None,
)
identifiers = Kind(texts.schema, values.as_ids, list[ID] | None)

key = partial(text, required=True)
day = partial(
    Kind({"type": "string", "format": "date"}, values.as_day, str | None), required=True
)
"""UTC days."""


def _objects(*members: Column) -> dict[str, Any]:
    # Here the members are listed, for target-snowflake looks for that within arrays.
    properties = {member.name: member.schema for member in members}
    items = {"type": "object", "properties": properties, "additionalProperties": True}
    return {"type": "array", "items": items}


def objects_with(*members: Column) -> Kind:
    """Return the type of lists of objects that are known to have some members."""
    return Kind(_objects(*members), values.as_objects, list[Raw] | None)


objects = objects_with()
tags = Kind(objects.schema, values.as_tags, list[Raw] | None)


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
    def of(cls, *columns: Column) -> Table:
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
        """Return a copy of the schema."""
        return copy.deepcopy(dict(self), memo)

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
            name = column.name
            if (converted := column.kind.check(value)) is not None:
                if record[name] is None:
                    record[name] = converted
                    continue
                if record[name] == value:
                    continue
        elif column is not None and isinstance(value, dict):
            populate(record, unmapped, column, value, f"{path}{key}.")  # type: ignore[arg-type]
            continue
        unmapped[path + key] = value
