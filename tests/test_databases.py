"""Every value of every stream arrives in DuckDB and in Postgres, and in its type.

What is loaded is made of the schemas (:mod:`tests.contract.loads`); the other
targets are in ``make test-warehouses``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.streams import STREAMS
from tests.contract.comparison import Comparison
from tests.contract.databases import DUCKDB, POSTGRES
from tests.contract.loads import expected, kind, loads, rows, schemas, written
from tests.contract.reading import read_duckdb, read_postgres
from tests.postgres import postgres
from tests.targets import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.contract.databases import Database
    from tests.contract.loads import Load
    from tests.contract.reading import Contents

SCHEMA = "labelbox"


def chosen() -> list[Load]:
    """Return all; changed rows with fewer columns; and changed ones with all columns.

    Changed rows in between, with all columns, would show nothing more.
    """
    everything, _, *others = loads()
    return [everything, *others]


def load_all(command: Path, folder: Path, **settings: Any) -> None:
    """Load what is chosen, one run after the other."""
    settings |= {"default_target_schema": SCHEMA, "folder": str(folder)}
    for part in chosen():
        assert load(command, written(part), **settings)[-1] == {"bookmarks": {}}


def check(database: Database, contents: Contents) -> None:
    """Compare all rows of all streams, value by value, and the types of columns."""
    assert contents.rows.keys() == schemas().keys()
    Comparison(expected(chosen(), merged=True), contents.rows, database.losses).check()
    made = defaultdict(set)
    for stream, types in contents.types.items():
        for name, schema in schemas()[stream]["properties"].items():
            made[kind(schema)].add(types[name])
    assert made == {name: {type_} for name, type_ in database.types.items()}


def test_every_value_arrives_in_duckdb(
    target: Callable[[str], Path], tmp_path: Path
) -> None:
    """After three runs; only what is empty is null."""
    duckdb = pytest.importorskip("duckdb", reason="duckdb 1.2.2 has no wheel here")
    file = str(tmp_path / "warehouse.duckdb")

    load_all(target("target-duckdb"), tmp_path, path=file)

    with duckdb.connect(file, read_only=True) as warehouse:
        check(DUCKDB, read_duckdb(warehouse, SCHEMA))


def test_every_value_arrives_in_postgres(
    target: Callable[[str], Path], tmp_path: Path
) -> None:
    """After three runs; only null in JSON is a null of JSON."""
    with postgres() as server:
        load_all(
            target("target-postgres"),
            tmp_path,
            sqlalchemy_url=server.url,
            use_copy=True,
        )

        check(POSTGRES, read_postgres(server, SCHEMA))


NARROWER = {"consensus_label_ids", "counts", "url"}
"""Columns with less than their type allows: IDs, counts, addresses without secrets."""


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: str(stream.name))
def test_it_has_what_the_tap_writes(stream: Any) -> None:
    """Each column every value that it takes, as it takes it, and null if it may be."""
    made = rows(stream.name, range(40))

    for column in stream.schema.columns:
        if column.name in NARROWER:
            continue
        values = [row[column.name] for row in made]
        assert column.required != (None in values)
        for value in values:
            assert value is None or column.kind.check(value) == value, column.name
