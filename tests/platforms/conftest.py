"""Fixtures for the tests of several platforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgres import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import Postgres


@pytest.fixture
def server() -> Iterator[Postgres]:
    """Return a Postgres to load into."""
    with postgres() as started:
        yield started
