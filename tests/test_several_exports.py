"""Projects that need several exports, because a filter has many ids."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import Reply, World
from tests.kills import Cut, run_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.kills import Run
    from tests.runner import Runner

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
STREAM = "data_row_exports"
MAX_IDS_PER_FILTER = 5


@pytest.fixture(autouse=True)
def _few_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tap_labelbox.exports.tasks.MAX_IDS_PER_FILTER", MAX_IDS_PER_FILTER
    )


def activities(*runs: Run) -> set[tuple[str, str]]:
    """Return the data rows that were read, each as of when."""
    return {
        (m["record"]["data_row_id"], m["record"]["last_activity_at"])
        for run in runs
        for m in run.messages
        if m["type"] == "RECORD"
    }


def test_one_of_several_is_not_taken_for_all(serving: Callable[..., Runner]) -> None:
    """Wherever the run was cut off that has started them."""
    run = serving(World(projects=1, labels_per_project=9))
    ids = [row.id for row in run.world.data_rows]
    options: dict[str, Any] = {"now": START, "export_filters": {"data_row_ids": ids}}
    whole = run_until(run, Cut(), STREAM, **options)
    assert len(activities(whole)) == len(ids) > MAX_IDS_PER_FILTER

    for requests in range(1, whole.requests, 2):
        part = run_until(run, Cut(requests=requests), STREAM, **options)
        for state in part.states[-1:]:
            rest = run_until(run, Cut(), STREAM, state=state, **options)
            assert rest.error is None
            assert activities(part, rest) == activities(whole)


def test_the_oldest_of_several_says_up_to_when_all_was_read(
    serving: Callable[..., Runner],
) -> None:
    """One that an earlier run has started knows nothing of what came later."""
    run = serving(World(projects=1, labels_per_project=9), polls=0)
    (project,) = run.world.projects
    rows = project.data_rows[: 2 * MAX_IDS_PER_FILTER]
    ids, first, last = [row.id for row in rows], rows[0], rows[-1]
    options: dict[str, Any] = {"export_filters": {"data_row_ids": ids}}
    starts = 0

    def one_start(request: Request) -> Reply | None:
        nonlocal starts
        starts += request.operation == "StartExport"
        return Reply(502) if starts > 1 else None

    # Only the first of two is started.
    run.sandbox.before = one_start
    cut = run(STREAM, now=START, retry_seconds=0, concurrency=1, **options)
    run.sandbox.before = None
    state = next(s for s in cut.states if "unfinished_runs" in json.dumps(s))
    # Thereafter something happens in both: what is in the first is not in its export.
    first.last_activity_at = START + timedelta(minutes=5)
    last.last_activity_at = START + timedelta(minutes=20)

    second = run(STREAM, now=START + timedelta(minutes=30), state=state, **options)
    assert starts == 2
    later = START + timedelta(minutes=40)
    third = run(STREAM, now=later, state=second.state, **options)

    read = {
        (r["data_row_id"], r["last_activity_at"])
        for output in (second, third)
        for r in output.records(STREAM)
    }
    for row in (first, last):
        assert (row.id, timestamps.isoformat(row.last_activity_at)) in read
