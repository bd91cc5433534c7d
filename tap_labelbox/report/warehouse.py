"""The warehouse that the dbt models are in: DuckDB or Postgres, read only."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

PARAMETER = re.compile(r"(?<!:):([a-z_]+)")  # and not the end of a cast
EXTRA = "pip install 'tap-labelbox[report]'"

Row = dict[str, Any]


class WarehouseError(Exception):
    """What a user can mend: a sentence that says how."""


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
        scheme = urlsplit(address).scheme
        if scheme == "duckdb":
            self._driver, self._mark = _module("duckdb"), r"$\1"
            path = unquote(address.removeprefix("duckdb://"))
            # As in SQLAlchemy: three slashes are relative, four are not.
            arguments: tuple[Any, ...] = (path.removeprefix("/"), True)
        elif scheme in ("postgres", "postgresql"):
            self._driver, self._mark = _module("psycopg"), r"%(\1)s"
            arguments = (address,)
        else:
            msg = (
                "--warehouse is neither duckdb:///file.duckdb nor "
                "postgresql://user@host/database"
            )
            raise WarehouseError(msg)
        try:
            self._connection = self._driver.connect(*arguments)
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
            if rollback := getattr(self._connection, "rollback", None):
                rollback_if_open(rollback, self._driver.Error)
            raise QueryError(str(error).strip().split("\n")[0]) from None
        finally:
            cursor.close()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def rollback_if_open(rollback: Any, error: type[Exception]) -> None:
    """End the transaction that a refused query has broken, if there is one."""
    try:
        rollback()
    except error:  # DuckDB has none
        return


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise WarehouseError(f"{name} is not installed: {EXTRA}") from None


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
