"""Tables join as the documents say, and tell twice what these say they do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World, serve
from tap_labelbox.streams import STREAMS
from tap_labelbox.streams.joins import IN_ROWS, JOINS, OFF, joins_of
from tests.few_days import add_reviewed_labels
from tests.runner import PRIMARY_KEYS, Output, Runner

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = {stream.name: {*stream.schema["properties"]} for stream in STREAMS}
PRESENCE = ("data_row_presence", "label_presence")
ALL = [(stream.name, join) for stream in STREAMS for join in joins_of(stream)]


@pytest.fixture(scope="module")
def output() -> Output:
    """Read a workspace in which everything happens."""
    world = World(projects=6, labels_per_project=80)
    add_reviewed_labels(world, world.projects[0].id, timedelta(days=2))
    with serve(world, unexportable=1) as sandbox:
        run = Runner(sandbox, world)
        output = run(*PRIMARY_KEYS.keys() - {*PRESENCE}, all_columns=True)
        sandbox.unexportable = 0  # presence is reported as a whole, or not
        return Output(output.text + run(*PRESENCE).text)


def values(record: dict[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    """Return what a record has in some columns."""
    return tuple(record[column] for column in columns)


@pytest.mark.parametrize(
    ("stream", "join"), ALL, ids=[f"{s}.{j.columns[-1]}-{j.to}" for s, j in ALL]
)
def test_a_join_finds_its_partner(output: Output, stream: str, join: Any) -> None:
    """Every record that says whom it belongs to, save for what was not exported."""
    failed = {record["data_row_id"] for record in output.records("export_errors")}
    there = {values(record, join.to_columns) for record in output.records(join.to)}
    leading = {
        values(record, join.columns)
        for record in output.records(stream)
        if join.to == "projects" or record.get("data_row_id") not in failed
    }
    leading = {single for single in leading if None not in single}

    assert leading
    assert leading <= there


def test_every_join_is_of_some_stream() -> None:
    """And names columns that are there."""
    assert {join for _, join in ALL} == {*JOINS}
    assert all({*join.to_columns} <= COLUMNS[join.to] for join in JOINS)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_what_belongs_to_a_project_leads_to_it(stream: Any) -> None:
    """By its project_id."""
    leads_to = {join.to for join in joins_of(stream)}

    has_project = "project_id" in COLUMNS[stream.name] and stream.name not in OFF
    assert has_project == ("projects" in leads_to)


@pytest.mark.parametrize(
    ("place", "rows"), IN_ROWS.items(), ids=[".".join(place) for place in IN_ROWS]
)
def test_what_a_column_holds_stands_in_rows(
    output: Output, place: tuple[str, str], rows: tuple[str, ...]
) -> None:
    """There is a row where it holds something, and nowhere else."""
    stream, column = place
    key = PRIMARY_KEYS[stream]
    records = output.records(stream)
    logged = {values(r, key) for r in records if holds_something(r[column])}
    again = {values(record, key) for name in rows for record in output.records(name)}

    assert logged
    assert logged == again


def holds_something(value: Any) -> bool:
    """Return whether there is anything inside of blocks and lists."""
    if isinstance(value, dict):
        return any(map(holds_something, value.values()))
    if isinstance(value, list):
        return any(map(holds_something, value))
    return value is not None
