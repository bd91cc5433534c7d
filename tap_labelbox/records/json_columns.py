"""Columns of JSON that an API may give as text: not for rows decoded to structs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tap_labelbox.records.columns import Kind, json
from tap_labelbox.records.json_text import decode
from tap_labelbox.records.values import as_object
from tap_labelbox.redact import mask_within

if TYPE_CHECKING:
    from tap_labelbox.records.columns import Row


def as_json_object(value: Any) -> Row | None:
    """Return an object, also if it is given as JSON text."""
    return as_object(_decoded(value))


def as_search(value: Any) -> Row | None:
    """Return a saved search; if it is nothing but its conditions, as its query."""
    value = _decoded(value)
    return {"query": value} if isinstance(value, list) else as_object(value)


def as_masked_object(value: Any) -> Row | None:
    """Return an object, also if it is JSON text, without what may be secret in it."""
    value = as_json_object(value)
    return None if value is None else mask_within(value)


def _decoded(value: Any) -> Any:
    """Return what a JSON text says; anything else as it is."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return decode(value.encode())
    return value


json_or_text = Kind(json.schema, as_json_object, None)
"""Objects that may come as JSON text."""
saved_search = Kind(json.schema, as_search, None)
"""The same of saved searches, which may be lists."""
masked_json = Kind(json.schema, as_masked_object, None, put_aside=mask_within)
"""The same of what may hold signed addresses or other secrets, which are masked."""
