"""Read all tables of a database, as the comparison wants them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.contract.loads import schemas

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.loads import Rows
    from tests.postgres import Postgres

    Query = Callable[[str], list[dict[str, Any]]]

COLUMNS = """
    select column_name as name, data_type as type from information_schema.columns
    where table_schema = '{schema}' and table_name = '{table}'
"""


@dataclass
class Contents:
    """The contents of a warehouse."""

    rows: Rows = field(default_factory=dict)
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    """The type of each column, as the warehouse calls it, by table."""


def read_postgres(server: Postgres, schema: str) -> Contents:
    """Return what a schema of Postgres has; JSON as text, in which null can be seen."""

    def column(name: str, kind: str) -> str:
        if kind in {"jsonb", "json"}:
            return f'"{name}"::text'
        return f'to_jsonb("{name}")::text' if kind == "ARRAY" else f'"{name}"'

    return read(server.rows, schema, column)


def read_duckdb(connection: Any, schema: str) -> Contents:
    """Return what a schema of a DuckDB connection has."""

    def query(sql: str) -> list[dict[str, Any]]:
        cursor = connection.execute(sql)
        names = [name for name, *_ in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def column(name: str, kind: str) -> str:
        if kind == "TIMESTAMP WITH TIME ZONE":
            return (
                f'make_timestamp(epoch_us("{name}"))::varchar'  # without a zone's data
            )
        is_exact = kind in {"JSON", "TIMESTAMP", "DATE"}
        return f'"{name}"::varchar' if is_exact else f'"{name}"'

    return read(query, schema, column)


def read(query: Query, schema: str, column: Callable[[str, str], str]) -> Contents:
    """Return what a schema has, by SQL.

    Args:
        query: Runs a query, and returns its rows by column.
        schema: Where the tables are.
        column: Returns the SQL for a column, by its name and type.
    """
    contents = Contents()
    for table in schemas():
        columns = query(COLUMNS.format(schema=schema, table=table))
        if not columns:
            continue
        contents.types[table] = {row["name"]: row["type"] for row in columns}
        chosen = ", ".join(
            f'{column(name, kind)} as "{name}"'
            for name, kind in contents.types[table].items()
        )
        contents.rows[table] = query(f'select {chosen} from "{schema}"."{table}"')  # noqa: S608
    return contents
