"""Run target-snowflake on fakesnow, which is Snowflake's SQL on DuckDB.

fakesnow has no stages and no file formats. So a stage is a table here, with a VARIANT
for each line of a file, and a MERGE deletes and inserts. Tables, columns and the casts
of every value are what the target itself asks for. A first argument ``--read FOLDER``
prints what is there instead.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import fakesnow
import snowflake.connector
from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Callable

DATABASE, SCHEMA = "WAREHOUSE", "LABELBOX"
STAGED, CAST = f"{DATABASE}.{SCHEMA}.STAGED", f"{DATABASE}.{SCHEMA}.CAST_LINES"


def read(folder: str) -> None:
    """Print the types and rows of each table, a line each."""
    with fakesnow.patch(db_path=folder):
        connection = snowflake.connector.connect(database=DATABASE, schema=SCHEMA)
        cursor = connection.cursor()
        cursor.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            f"where table_schema = '{SCHEMA}'"
        )
        tables: dict[str, dict[str, str]] = {}
        for table, column, kind in cursor.fetchall():
            tables.setdefault(table, {})[column] = kind
        for table, columns in tables.items():
            cursor.execute(f'select * from {SCHEMA}."{table}"')
            names = [field[0].lower() for field in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            types = {name.lower(): kind for name, kind in columns.items()}
            line = {"table": table.lower(), "types": types, "rows": rows}
            print(json.dumps(line, default=str))


class Stage:
    """Replacements for the methods of the target's connector that need a stage."""

    def __init__(self) -> None:
        self.files: dict[str, list[str]] = {}

    def put(self, connector: Any, sync_id: str, files: list[str]) -> None:
        """Keep the files."""
        del connector
        self.files[sync_id] = [unquote(urlparse(str(file)).path) for file in files]

    def merge(
        self,
        connector: Any,
        full_table_name: Any,
        schema: dict[str, Any],
        sync_id: str,
        file_format: str,
        key_properties: list[str],
    ) -> int:
        """Delete rows that come again, and insert all, cast as the target wants."""
        del file_format
        chosen = connector._get_column_selections(schema)
        names = [column["clean_alias"] for column in chosen]
        values = ", ".join(
            f"line:{column['clean_property_name']}::{column['sql_type']} "
            f"as {column['clean_alias']}"
            for column in chosen
        )
        keys = [connector.format_identifier(k, safe=True) for k in key_properties]
        same = " and ".join(f"d.{key} = s.{key}" for key in keys)
        update = ", ".join(f"{name} = s.{name}" for name in names)
        table, columns = full_table_name, ", ".join(names)
        count = 0
        last = (
            f"select * from {CAST} qualify row_number() over "
            f"(partition by {', '.join(keys)} order by place desc) = 1"
        )
        with connector._connect() as connection, connection.begin():
            execute = connection.execute
            execute(text(f"create or replace table {STAGED} (place int, line variant)"))
            for path in self.files.pop(sync_id):
                with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
                    for count, line in enumerate(lines, count + 1):  # noqa: B020
                        execute(
                            text(
                                f"insert into {STAGED} select :place, parse_json(:line)"
                            ),
                            {"place": count, "line": line},
                        )
            create = f"create or replace table {CAST} as select {values}, place"
            execute(text(f"{create} from {STAGED}"))
            execute(text(f"update {table} d set {update} from ({last}) s where {same}"))
            existing = f"select 1 from {table} d where {same}"
            new = f"select {columns} from ({last}) s where not exists ({existing})"
            execute(text(f"insert into {table} ({columns}) {new}"))
            execute(text(f"drop table {STAGED}"))
            execute(text(f"drop table {CAST}"))
        return count


def method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a class takes for a method of its own."""
    return lambda *args, **kwargs: function(*args, **kwargs)  # noqa: PLW0108


def run() -> None:
    """Run the target with its own arguments."""
    from target_snowflake.connector import SnowflakeConnector
    from target_snowflake.target import TargetSnowflake

    stage = Stage()
    folder = os.environ["FAKESNOW_FOLDER"]

    def do_nothing(*_: Any, **__: Any) -> None:
        """Do without file formats."""

    SnowflakeConnector.put_batches_to_stage = method(stage.put)
    SnowflakeConnector.merge_from_stage = method(stage.merge)
    for name in ("create_file_format", "drop_file_format", "remove_staged_files"):
        setattr(SnowflakeConnector, name, do_nothing)
    with fakesnow.patch(db_path=folder):
        snowflake.connector.connect(database=DATABASE, schema=SCHEMA).close()
        TargetSnowflake.max_parallelism = 1
        TargetSnowflake.cli()


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        read(sys.argv[2])
    else:
        run()
