"""The warehouse that the dbt models are in: DuckDB or Postgres, read only."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

PARAMETER = re.compile(r"(?<!:):([a-z_]+)")  # and not the end of a cast
EXTRA = "pip install 'tap-labelbox[report]'"

Row = dict[str, Any]


class WarehouseError(Exception):
    """Raised for what a user can mend; it says how."""


class QueryError(Exception):
    """A query that the warehouse refuses: a model, or a column, that is not there."""


class Warehouse:
    """Answers queries.

    Args:
        address: ``duckdb:///folder/file.duckdb`` or ``postgresql://host/database``.
        schema: Where the models are.
        staging_schema: Where the staging models are.

    Raises:
        WarehouseError: If it cannot be opened.
    """

    def __init__(self, address: str, schema: str, staging_schema: str) -> None:
        """Connect."""
        self.schemas = {"marts": schema, "staging": staging_schema}
        scheme, _, rest = address.partition("://")
        scheme = scheme.partition("+")[0]  # SQLAlchemy names a driver behind it
        if scheme not in ("duckdb", "postgres", "postgresql"):
            raise WarehouseError(
                "--warehouse is neither duckdb:///file.duckdb nor "
                "postgresql://user@host/database"
            )
        is_duckdb = scheme == "duckdb"
        try:
            self._driver = _duckdb() if is_duckdb else _psycopg()
            self._mark = r"$\1" if is_duckdb else r"%(\1)s"
            if is_duckdb:
                # As in SQLAlchemy: three slashes are relative, four are not.
                path = unquote(rest.removeprefix("/"))
                self._connection = self._driver.connect(path, read_only=True)
            else:
                self._connection = self._driver.connect(f"postgresql://{rest}")
        except ImportError as error:
            raise WarehouseError(f"{error.name} is not installed: {EXTRA}") from None
        except self._driver.Error as error:
            raise WarehouseError(f"--warehouse cannot be opened: {error}") from None

    def query(self, text: str, values: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a query.

        Args:
            text: With ``:name`` for values, and ``{marts}`` and ``{staging}`` for the
                schemas.
            values: By these names; others are not looked at.

        Raises:
            QueryError: If the warehouse refuses it.
        """
        schemas = {name: _quoted(schema) for name, schema in self.schemas.items()}
        text = text.format_map(schemas)
        used = {name: values[name] for name in PARAMETER.findall(text)}
        cursor = self._connection.cursor()
        try:
            result = cursor.execute(PARAMETER.sub(self._mark, text), used)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        except self._driver.Error as error:
            with suppress(self._driver.Error):  # DuckDB has begun no transaction
                self._connection.rollback()
            raise QueryError(str(error).strip().split("\n")[0]) from None
        finally:
            cursor.close()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def _duckdb() -> Any:
    import duckdb  # noqa: PLC0415  # only one of them has to be there

    return duckdb


def _psycopg() -> Any:
    import psycopg  # noqa: PLC0415

    return psycopg


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
