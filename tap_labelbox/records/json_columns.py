"""Columns of JSON that an API may give as text: not for rows decoded to structs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from tap_labelbox.records.columns import Kind, as_object, json
from tap_labelbox.records.json_text import decode

if TYPE_CHECKING:
    from tap_labelbox.records.columns import Row


def as_json_object(value: Any) -> Row | None:
    """Return an object, also if it is given as JSON text."""
    return as_object(_decoded(value))


def as_search(value: Any) -> Row | None:
    """Return a saved search; if it is nothing but its conditions, as its query."""
    value = _decoded(value)
    return {"query": value} if isinstance(value, list) else as_object(value)


def _decoded(value: Any) -> Any:
    """Return what a JSON text says; anything else as it is."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return decode(value.encode())
    return value


json_value = Kind(json.schema, as_json_object, Raw)
saved_search = Kind(json.schema, as_search, Raw)
