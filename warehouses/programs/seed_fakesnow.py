"""Fill a fakesnow server with what the tap writes: ``seed_fakesnow.py PORT``.

Messages come by standard input.

The tables have the types that target-snowflake makes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import snowflake.connector

TYPES = {
    "string": "varchar",
    "integer": "number(38, 0)",
    "number": "double",
    "boolean": "boolean",
    "object": "variant",
    "array": "variant",
}
FORMATS = {"date-time": "timestamp_ntz", "date": "date"}
ROWS_A_STATEMENT = 200
SCHEMA = "analytics"
"""That of the models too: asked what is in a schema, fakesnow lists the current one."""


def main() -> None:
    """Create the tables, and insert the rows."""
    connection = snowflake.connector.connect(
        user="user",
        password="password",  # noqa: S106  # the server takes any
        account="fakesnow",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        protocol="http",
        session_parameters={"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
    )
    cursor = connection.cursor()
    for statement in ("create database warehouse", "use database warehouse"):
        cursor.execute(statement)
    cursor.execute(f"create schema {SCHEMA}")
    schemas: dict[str, dict[str, Any]] = {}
    records: dict[str, list[dict[str, Any]]] = {}
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "SCHEMA":
            schemas[message["stream"]] = message["schema"]["properties"]
        elif message["type"] == "RECORD":
            records.setdefault(message["stream"], []).append(message["record"])
    for stream, properties in schemas.items():
        types = {name: kind(schema) for name, schema in properties.items()}
        columns = ", ".join(
            f'"{name.upper()}" {type_}' for name, type_ in types.items()
        )
        cursor.execute(f"create table {SCHEMA}.{stream} ({columns})")
        rows = [
            "(" + ", ".join(literal(row.get(n), types[n]) for n in types) + ")"
            for row in records.get(stream, [])
        ]
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            some = ", ".join(rows[start : start + ROWS_A_STATEMENT])
            names = ", ".join(f"column{n + 1}" for n in range(len(types)))
            chosen = ", ".join(
                f"parse_json({name})" if type_ == "variant" else f"{name}::{type_}"
                for name, type_ in zip(names.split(", "), types.values(), strict=True)
            )
            cursor.execute(
                f"insert into {SCHEMA}.{stream} select {chosen} from values {some}"
            )


def kind(schema: dict[str, Any]) -> str:
    """Return the type of a column."""
    name = next(type_ for type_ in schema["type"] if type_ != "null")
    return FORMATS.get(schema.get("format", ""), TYPES[name])


def literal(value: Any, type_: str) -> str:
    """Return a value as SQL."""
    if value is None:
        return "null"
    text = json.dumps(value) if type_ == "variant" else str(value)
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


if __name__ == "__main__":
    main()
