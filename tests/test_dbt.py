"""The dbt package, built in real databases on what the tap loads there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tap_labelbox.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.dbt_runs import Built

DATABASES = ("duckdb", "postgres")


@pytest.mark.parametrize("database", DATABASES)
def test_staging_has_what_the_tap_wrote(
    built: Callable[[str], Built], database: str
) -> None:
    """Every record of every stream, value by value; JSON's null is null."""
    made = built(database)

    for stream in STREAMS:
        own = stream.primary_keys
        wanted = {tuple(r[k] for k in own): r for r in made.records[stream.name]}
        found = {
            tuple(r[k] for k in own): r
            for r in made.rows(f"stg_labelbox__{stream.name}")
        }
        assert found == wanted, stream.name
