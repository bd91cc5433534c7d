"""Columns, in a line each."""

from __future__ import annotations

from typing import Any

from singer_sdk import typing as th

Column = th.Property[Any]

ANY_OBJECT = th.CustomType({"type": ["object", "null"], "additionalProperties": True})
"""The type of a column of objects that may have any parts.

Not :class:`singer_sdk.typing.ObjectType`, which lists the parts, none here: whoever
flattens it makes as many columns. Within arrays it has to be that one, as
target-snowflake looks for the list.
"""

ADDITIONAL_COLUMNS = th.Property(
    "additional_columns",
    ANY_OBJECT,
    description="What does not fit its column, by the column's name.",
)


def text(name: str, description: str) -> Column:
    """Return a column of text."""
    return th.Property(name, th.StringType, description=description)


def number(name: str, description: str) -> Column:
    """Return a column of numbers."""
    return th.Property(name, th.NumberType, description=description)


def integer(name: str, description: str) -> Column:
    """Return a column of whole numbers."""
    return th.Property(name, th.IntegerType, description=description)


def boolean(name: str, description: str) -> Column:
    """Return a column of true and false."""
    return th.Property(name, th.BooleanType, description=description)


def timestamp(name: str, description: str, *, required: bool = False) -> Column:
    """Return a column of timestamps, in UTC."""
    return th.Property(
        name, th.DateTimeType, required=required, description=description
    )


def day(name: str, description: str) -> Column:
    """Return a column of UTC days that every record has."""
    return th.Property(name, th.DateType, required=True, description=description)


def json(name: str, description: str) -> Column:
    """Return a column of objects that may have any parts."""
    return th.Property(name, ANY_OBJECT, description=description)


def objects(name: str, description: str) -> Column:
    """Return a column of lists of objects."""
    kind = th.ArrayType(th.ObjectType())
    return th.Property(name, kind, description=description)


def texts(name: str, description: str) -> Column:
    """Return a column of lists of texts."""
    return th.Property(name, th.ArrayType(th.StringType), description=description)


def key(name: str, description: str) -> Column:
    """Return a column of text that every record has."""
    return th.Property(name, th.StringType, required=True, description=description)


def table(*columns: Column) -> dict[str, Any]:
    """Return the schema of a table, with a column for what fits no other."""
    return th.PropertiesList(*columns, ADDITIONAL_COLUMNS).to_dict()
