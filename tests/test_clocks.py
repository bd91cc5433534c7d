"""A machine whose clock is not that of Labelbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import World
from tests.kills import Cut, run_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner import Runner, State

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEADS = [timedelta(0), timedelta(minutes=2), timedelta(days=400), -timedelta(hours=3)]


@pytest.mark.parametrize("lead", LEADS, ids=str)
def test_a_label_listed_late_is_read_after_a_run_that_was_cut_off(
    serving: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch, lead: timedelta
) -> None:
    """It is read although that run had read on beyond it."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", 1e9)
    run = serving(World(projects=0))
    project = run.world.add_project(labels=30)
    late = run.world.add_label(project.id, START - 20 * SECOND, listed_after=40)
    run.world.add_label(project.id, START - 10 * SECOND)
    run.world.add_label(project.id, START - 5 * SECOND)

    whole = run_until(run, Cut(), "labels", now=START, clock=START + lead, page_size=2)
    read_in_part = [
        state
        for state in whole.states
        if "reading_until" in str(state) or state is whole.states[-1]
    ]
    assert late.id not in str(whole.messages)

    # So that the next run goes far beyond it.
    run.world.add_label(project.id, START + 100 * SECOND)
    for state in read_in_part[-4:]:
        clock = START + 120 * SECOND
        then = run("labels", state=state, now=clock, clock=clock + lead)
        later = START + timedelta(days=1)
        last = run("labels", state=then.state, now=later, clock=later + lead)
        assert late.id in then.ids("labels") + last.ids("labels")


@pytest.mark.parametrize("lead", LEADS, ids=str)
def test_what_happens_while_an_export_is_made_is_read_by_the_next_run(
    serving: Callable[..., Runner], lead: timedelta
) -> None:
    """Also where one of its data rows is written as it is ten minutes later."""
    run = serving(World(projects=1, labels_per_project=9))
    row, other, *_ = run.world.data_rows
    clock = START
    options: dict[str, Any] = {"concurrency": 1}
    if lead < timedelta(0):  # what is to be exported is to be in the window
        row.last_activity_at = START + 2 * lead
    state: State | None = None
    run.world.now = lambda: clock

    def later(request: Any) -> None:
        nonlocal clock
        if request.operation == "ExportStatus" and clock == START:
            other.last_activity_at = START + 30 * SECOND
            row.last_activity_at = clock = START + 600 * SECOND

    # The other row is in no export of this run.
    other.last_activity_at = START + timedelta(seconds=1) + max(lead, timedelta(0))
    run.sandbox.before = later
    tap_clock = START + lead
    first = run("data_row_exports", clock=tap_clock, **options)
    run.sandbox.before = None
    state = first.state
    clock = START + timedelta(days=1)
    second = run("data_row_exports", state=state, clock=clock + lead, **options)

    read = {
        (r["data_row_id"], r["last_activity_at"])
        for output in (first, second)
        for r in output.records("data_row_exports")
    }
    assert (other.id, timestamps.isoformat(START + 30 * SECOND)) in read


def test_a_clock_that_is_fast_is_reported(
    serving: Callable[..., Runner], caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with by how much."""
    run = serving(World(projects=2, labels_per_project=3))

    run(now=START, clock=START + timedelta(hours=2))

    logged = [m for m in caplog.messages if "clock is 7200 s ahead" in m]
    assert len(logged) == 1
