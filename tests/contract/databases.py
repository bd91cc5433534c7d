"""The databases that every run of the tests loads into, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.contract.comparison import JSON_NULL, Loss

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Database:
    """The types that a target gives columns, and the values that it does not keep."""

    types: Mapping[str, str]
    """What a column of each kind becomes."""
    losses: tuple[Loss, ...]


def null_for_empty(value: Any) -> Any:
    """Return null for an empty text."""
    return None if value == "" else value


def json_null_for_null(value: Any) -> Any:
    """Return what a null becomes that is JSON there."""
    return JSON_NULL if value is None else value


EMPTY_TEXTS = Loss("an empty text becomes null", ("text",), null_for_empty)

POSTGRES = Database(
    types={
        "text": "text",
        "integer": "bigint",
        "number": "numeric",
        "boolean": "boolean",
        "timestamp": "timestamp without time zone",
        "day": "date",
        "object": "jsonb",
        "array": "ARRAY",
    },
    losses=(
        Loss(
            "null in an object column is JSON `null`: ask `where geometry <> 'null'`, "
            "not `is not null`",
            ("object",),
            json_null_for_null,
            forms=("records", "jsonl"),
        ),
    ),
)
DUCKDB = Database(
    types={
        "text": "VARCHAR",
        "integer": "BIGINT",
        "number": "DOUBLE",
        "boolean": "BOOLEAN",
        "timestamp": "TIMESTAMP",
        "day": "VARCHAR",
        "object": "JSON",
        "array": "JSON",
    },
    losses=(EMPTY_TEXTS,),
)
