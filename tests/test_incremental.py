"""Several runs see what one full run sees."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import World, serve
from tests.runner import Output, Runner

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request

START = datetime(2026, 6, 1, 12, tzinfo=UTC)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    page_size=st.integers(2, 9),
    whole_seconds=st.booleans(),
    is_ordered=st.booleans(),
)
def test_several_runs_see_what_one_full_run_sees(
    seed: int, page_size: int, *, whole_seconds: bool, is_ordered: bool
) -> None:
    """For any cut between them: ties, late labels and deletions, also meanwhile.

    The last run comes late enough for every label to be listed.
    """
    chance = random.Random(seed)
    world = World(projects=2, labels=0, whole_seconds=whole_seconds)
    projects = [project.id for project in world.projects]
    clock = START

    def happen() -> None:
        """Make labels, some of one timestamp, some listed late; delete some."""
        for _ in range(chance.randrange(8)):
            timestamp = clock - timedelta(milliseconds=chance.randrange(4) * 700)
            world.add_label(
                chance.choice(projects),
                timestamp,
                listed_after=chance.choice([0, 0, 9]),
            )
        for project_id in projects:
            for label in world.labels(project_id):
                if chance.random() < 0.05:
                    world.delete_label(label.id)

    ignored = [] if is_ordered else ["Project.labels.orderBy"]
    with serve(world, ignore=ignored) as sandbox:
        run = Runner(sandbox, world)
        state: Any = None
        seen: set[str] = set()
        for _ in range(chance.randrange(2, 5)):
            for _ in range(3):
                clock += timedelta(seconds=chance.choice([0, 1, 5, 60]))
                happen()
            # Without an order, each deletion is a reason to begin from the beginning.
            share = 1 if is_ordered else 0.1
            sandbox.before = lambda r, share=share: (
                happen()
                if r.operation == "Labels" and chance.random() < share
                else None
            )
            output = run("labels", state=state, now=clock, page_size=page_size)
            sandbox.before = None
            assert output.error is None
            seen |= set(output.ids("labels"))
            state = output.state
        clock += timedelta(hours=1)
        seen |= set(run("labels", state=state, now=clock).ids("labels"))

        full = set(run("labels", now=clock).ids("labels"))

    assert full <= seen  # what was deleted since was there when it was read


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_jumps_loses_nothing(
    run: Runner, world: World, jump: timedelta
) -> None:
    """For one run it is a day ahead of Labelbox's, or behind."""
    streams = ("labels", "data_row_exports", "export_labels", "bulk_export")
    state, outputs = None, []
    for hour, clock in enumerate((None, START + timedelta(hours=1) + jump, None)):
        now = START + timedelta(hours=hour)
        world.now = lambda now=now: now  # type: ignore[misc]
        for project in world.projects:
            world.add_label(project.id, now - timedelta(minutes=5))
        outputs.append(run(*streams, state=state, now=now, clock=clock))
        assert outputs[-1].error is None
        state = outputs[-1].state

    every = {label.id for p in world.projects for label in world.labels(p.id)}
    for stream in ("labels", "bulk_export", "export_labels"):
        key = "label_id" if stream == "export_labels" else "id"
        seen = {r[key] for output in outputs for r in output.records(stream)}
        assert every <= seen, stream


def test_a_run_that_is_cut_short_loses_nothing(
    run: Runner, world: World, monkeypatch: Any
) -> None:
    """Whatever state was the last to go out, the next run reads on from there."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    whole = run("labels", page_size=10)
    every = {label.id for p in world.projects for label in world.labels(p.id)}

    seen: set[str] = set()
    for message in whole.messages:
        if message["type"] == "RECORD":
            seen.add(message["record"]["id"])
        elif message["type"] == "STATE":
            rest = run("labels", state=message["value"])
            assert seen | set(rest.ids("labels")) == every

    assert len(whole.states) > 5


EXPORTED = ("data_row_exports", "export_labels", "label_reviews")


def bookmarks(output: Output, stream: str) -> dict[str, str]:
    """Return the bookmark of each project that has one."""
    return {
        partition["context"]["project_id"]: partition["replication_key_value"]
        for partition in output.state["bookmarks"][stream].get("partitions", ())
        if "replication_key_value" in partition
    }


@pytest.mark.parametrize("lag", [0, 3, 30])
@pytest.mark.parametrize("lagging", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(2))
def test_two_nights_later_nothing_lacks(
    serving: Any, lag: float, lagging: float, seed: int
) -> None:
    """Exports are complete without the newest changes, of all data rows or of some.

    A target that keeps the last version of each data row has what one full export
    gives, two nights after the last change. No bookmark is later than the records.
    """
    chance = random.Random(seed)
    world = World(projects=2, labels=0)
    run = serving(world, export_lag=lag, lagging=lagging)
    kept: dict[str, Any] = {}
    labels: set[str] = set()
    state: Any = None
    for night in range(5):
        now = START + timedelta(days=night, milliseconds=chance.randrange(1000))
        for seconds in (7200, 90, 40, 20, 5, 2, 1, 0.4, 0) if night < 3 else ():
            at = now - timedelta(seconds=seconds)
            world.now = lambda at=at: at  # type: ignore[misc]
            for project in world.projects:
                row = chance.choice([*project.data_rows, None])
                whole = at.replace(microsecond=0)
                world.add_label(project.id, at, data_row=row, updated_at=whole)
                if chance.random() < 0.3:
                    world.delete_label(chance.choice(project.labels).id)
        output = run(*EXPORTED, state=state, now=now)
        assert output.error is None
        rows = output.records("data_row_exports")
        kept |= {row["data_row_id"]: row["last_activity_at"] for row in rows}
        labels |= {row["label_id"] for row in output.records("export_labels")}
        for stream in EXPORTED:
            before = bookmarks(Output(messages_of(state)), stream) if state else {}
            for project_id, bookmark in bookmarks(output, stream).items():
                read = [r["last_activity_at"] for r in rows if of(r, project_id)]
                assert bookmark in {*read, before.get(project_id)}
        state = output.state

    full = run(*EXPORTED, now=now)

    assert kept == {
        row["data_row_id"]: row["last_activity_at"]
        for row in full.records("data_row_exports")
    }
    assert {row["label_id"] for row in full.records("export_labels")} <= labels


def of(record: Any, project_id: str) -> bool:
    """Return whether a record is of a project."""
    return bool(record["project_id"] == project_id)


def messages_of(state: Any) -> str:
    """Return a run that wrote nothing but a state."""
    return json.dumps({"type": "STATE", "value": state})


def test_a_complete_export_of_nothing_moves_no_bookmark(serving: Any) -> None:
    """All there is was made some seconds ago: the next run reads it."""
    world = World(projects=1, labels=0)
    run = serving(world, export_lag=10)
    (project,) = world.projects
    label = world.add_label(project.id, START - timedelta(seconds=5))

    start = {"start_date": timestamps.isoformat(START - timedelta(hours=1))}
    first = run(*EXPORTED, now=START, **start)
    tomorrow = START + timedelta(days=1)
    second = run(*EXPORTED, now=tomorrow, state=first.state, **start)

    assert first.error is second.error is None
    assert first.records("data_row_exports") == []
    assert all(bookmarks(first, stream) == {} for stream in EXPORTED)
    assert [r["label_id"] for r in second.records("export_labels")] == [label.id]


def test_a_row_that_changes_while_it_is_exported_moves_no_bookmark_to_the_clock(
    run: Runner, world: World
) -> None:
    """It comes again; what Labelbox had not indexed by the start is read then."""
    project = world.projects[0]
    row = world.add_label(project.id, START - timedelta(hours=2)).data_row
    row.last_activity_at = START - timedelta(hours=1)
    row.labels[0].updated_at = row.last_activity_at

    def happen(request: Request) -> None:
        if request.operation == "ExportStatus":
            row.last_activity_at = START + timedelta(minutes=5)

    run.sandbox.before = happen
    output = run(*EXPORTED, now=START, project_ids=[project.id])

    result = {
        record["data_row_id"]: record["last_activity_at"]
        for record in output.records("data_row_exports")
    }
    assert result.pop(row.id) == timestamps.isoformat(START + timedelta(minutes=5))
    assert bookmarks(output, "data_row_exports")[project.id] == max(result.values())


@pytest.mark.parametrize(("lookback", "logged"), [(0, 1), (1, 1), (10, 0), (60, 0)])
def test_a_lookback_that_misses_what_is_listed_late_is_warned_about(
    run: Runner, caplog: Any, lookback: int, logged: int
) -> None:
    """Once, and with what to do."""
    run("labels", "data_row_exports", lookback_seconds=lookback)

    result = [m for m in caplog.messages if m.startswith("lookback_seconds is")]
    assert len(result) == logged
    assert all("set it to 10 or more" in message for message in result)
