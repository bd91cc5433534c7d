"""What several runs see is what one full run sees."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_labelbox.sandbox import World, serve
from tests.runner import Runner

START = datetime(2026, 6, 1, 12, tzinfo=UTC)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), page_size=st.integers(2, 9))
def test_several_runs_see_what_one_full_run_sees(seed: int, page_size: int) -> None:
    """For any cut between them: ties, late labels and deletions, also meanwhile.

    The last run comes late enough for every label to be listed.
    """
    chance = random.Random(seed)
    world = World(projects=2, labels=0)
    projects = [project.id for project in world.projects]
    clock = START

    def happen() -> None:
        """Make labels, some of one moment, some listed late; delete some."""
        for _ in range(chance.randrange(8)):
            moment = clock - timedelta(milliseconds=chance.randrange(4) * 700)
            world.add_label(
                chance.choice(projects), moment, listed_after=chance.choice([0, 0, 9])
            )
        for project_id in projects:
            for label in world.labels(project_id):
                if chance.random() < 0.05:
                    world.delete_label(label.id)

    with serve(world) as sandbox:
        run = Runner(sandbox, world)
        state: Any = None
        seen: set[str] = set()
        for _ in range(chance.randrange(2, 5)):
            for _ in range(3):
                clock += timedelta(seconds=chance.choice([0, 1, 5, 60]))
                happen()
            sandbox.before = lambda r: happen() if r.operation == "Labels" else None
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
    monkeypatch.setattr("tap_labelbox.state.FIRST_RUN_SHARE", inf)
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
