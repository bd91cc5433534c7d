"""All data rows, in a project or not: one export, or one a dataset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.replies import error
from tap_labelbox.singer.state import malformed_bookmark
from tests.kills import Cut, run_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tap_labelbox.sandbox import Request
    from tap_labelbox.sandbox.world import DataRow
    from tests.runner import Runner, State

STREAM = "catalog_data_rows"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LOOKBACK = timedelta(seconds=60)  # by default


@pytest.fixture
def world() -> World:
    """Return a workspace of several datasets."""
    return World(projects=4, labels_per_project=6)


@pytest.fixture
def too_much(serving: Callable[..., Runner], world: World) -> Runner:
    """Run the tap against a server that cannot export the whole catalog."""
    largest = max(len(dataset.data_rows) for dataset in world.datasets)
    return serving(world, largest_catalog_export=largest)


def all_rows(world: World) -> list[DataRow]:
    """Return the data rows that the key may see."""
    return world.data_rows + world.deleted_project.data_rows


def ids(result: Iterable[dict[str, Any]]) -> list[str]:
    """Return the keys of records, in order."""
    return sorted(record["data_row_id"] for record in result)


def queries(run: Runner) -> list[list[dict[str, Any]]]:
    """Return the filters of the exports that were started, and forget them."""
    result = [
        request.variables["input"]["filters"]["searchQuery"]["query"]
        for request in run.sandbox.requests
        if request.operation == "StartCatalogExport"
    ]
    run.sandbox.requests.clear()
    return result


def bookmark(state: State) -> str:
    """Return the bookmark, which is one for all."""
    value: str = state["bookmarks"][STREAM]["replication_key_value"]
    return value


def latest(world: World) -> str:
    """Return the latest activity there is."""
    return timestamps.isoformat(max(row.last_activity_at for row in all_rows(world)))


# --- all at once ------------------------------------------------------------------


def test_every_data_row_is_a_record(run: Runner, world: World) -> None:
    """Once, also if no project has it; what it is in projects is elsewhere."""
    output = run(STREAM, now=NOW)

    assert output.error is None
    assert ids(output.records(STREAM)) == sorted(row.id for row in all_rows(world))
    assert len(queries(run)) == 1
    assert bookmark(output.state) == latest(world)
    assert "partitions" not in output.state["bookmarks"][STREAM]
    known = {row.id: row for row in all_rows(world)}
    for record in output.records(STREAM):
        row = known[record["data_row_id"]]
        assert record["additional_columns"] == {}
        assert record["external_id"] == row.external_id
        assert record["global_key"] == row.global_key
        assert record["dataset_id"] == row.dataset.id
        assert record["created_by_email"] == row.created_by.email
        assert len(record["attachments"]) == len(row.attachments)


def test_later_runs_read_what_was_active(run: Runner, world: World) -> None:
    """From a lookback before the bookmark on, up to when the run began."""
    first = run(STREAM, now=NOW)
    queries(run)
    label = world.add_label(world.projects[0].id, NOW + timedelta(hours=1))
    later = NOW + timedelta(hours=2)

    second = run(STREAM, now=later, state=first.state)

    since = datetime.fromisoformat(bookmark(first.state)) - LOOKBACK
    ((window,),) = queries(run)
    assert window["value"]["value"] == {
        "min": f"{since:%Y-%m-%d %H:%M:%S}",
        "max": f"{later:%Y-%m-%d %H:%M:%S}",
    }
    assert label.data_row.id in ids(second.records(STREAM))
    assert len(second.records(STREAM)) < len(first.records(STREAM))
    assert bookmark(second.state) == timestamps.isoformat(
        label.data_row.last_activity_at
    )


def test_what_the_catalog_can_be_filtered_by(run: Runner, world: World) -> None:
    """IDs and dates; not what only projects have."""
    row = world.data_rows[0]
    filters = {"data_row_ids": [row.id], "workflow_status": "DONE"}

    output = run(STREAM, now=NOW, export_filters=filters)

    assert output.error is None
    assert ids(output.records(STREAM)) == [row.id]


def test_it_is_apart_from_the_data_row_export(run: Runner, world: World) -> None:
    """Each reads its own exports, in whatever order, and has its own bookmarks."""
    both = run(STREAM, "data_row_exports", now=NOW)

    assert both.records("data_row_exports") != []
    assert ids(both.records(STREAM)) == sorted(row.id for row in all_rows(world))
    again = run(STREAM, "data_row_exports", now=NOW, state=both.state)
    assert again.error is None
    assert len(again.records(STREAM)) < len(both.records(STREAM))


def test_nothing_new_moves_nothing(run: Runner, world: World) -> None:
    """A bookmark is the activity of a row that was read."""
    first = run(STREAM, now=NOW)

    second = run(STREAM, now=NOW + timedelta(days=1), state=first.state)
    third = run(STREAM, now=NOW, state=second.state, start_date="2026-05-31T00:00:00Z")

    assert bookmark(second.state) == bookmark(third.state) == latest(world)


# --- killed -----------------------------------------------------------------------


@pytest.mark.parametrize("heard", [True, False])
def test_a_killed_run_is_gone_on_from(
    serving: Callable[..., Runner],
    world: World,
    heard: bool,  # noqa: FBT001
) -> None:
    """In the same export, from where it was."""
    run = serving(world, part_size=5000)
    whole = run_until(run, Cut(), STREAM, now=NOW)
    expected = {row.id for row in all_rows(world)}

    for cut in [
        *(Cut(requests=n, heard=heard) for n in range(1, whole.requests, 2)),
        *(Cut(lines=n, within=0.5) for n in range(2, 30, 5)),
    ]:
        part = run_until(run, cut, STREAM, now=NOW)
        state = part.states[-1] if part.states else None
        rest = run_until(run, Cut(), STREAM, now=NOW, state=state)
        assert rest.error is None
        lines = [*part.messages, *rest.messages]
        assert {
            m["record"]["data_row_id"] for m in lines if m["type"] == "RECORD"
        } == expected
        assert bookmark(rest.states[-1]) == latest(world)


def test_an_export_that_was_started_is_read(
    serving: Callable[..., Runner], world: World
) -> None:
    """Also where only its name tells of it."""
    run = serving(world, polls=3)
    part = run_until(run, Cut(requests=2), STREAM, now=NOW)
    assert len(queries(run)) == 1

    rest = run_until(run, Cut(), STREAM, now=NOW, state=part.states[-1])

    assert rest.error is None
    assert queries(run) == []


@pytest.mark.parametrize(
    "malformed",
    [
        {"export": {"task_id": 3}},
        {"export": {}},
        {"replication_key": "last_activity_at", "replication_key_value": "x"},
        {"partitions": [{"context": {"project_id": "p"}}]},
        {"unfinished_runs": [3, "x"]},
    ],
)
def test_a_malformed_state_is_read_or_refused(
    run: Runner, world: World, malformed: Any
) -> None:
    """With a message, or as if nothing had been read."""
    output = run(STREAM, now=NOW, state={"bookmarks": {STREAM: malformed}})

    if output.error:
        assert "--state" in str(output.error)
    else:
        assert ids(output.records(STREAM)) == sorted(row.id for row in all_rows(world))


def test_an_export_that_is_none_is_noticed() -> None:
    """Before anything is read."""
    assert malformed_bookmark({"bookmarks": {STREAM: {"export": 7}}}) == STREAM


# --- a dataset at a time ------------------------------------------------------------


def test_what_fails_at_once_is_read_by_dataset(
    too_much: Runner, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """With the same window, and the bookmark of all."""
    output = too_much(STREAM, now=NOW)

    assert output.error is None
    assert ids(output.records(STREAM)) == sorted(row.id for row in all_rows(world))
    whole, *parts = queries(too_much)
    assert [query[:-1] for query in parts] == [whole] * len(world.datasets)
    assert sorted(query[-1]["ids"][0] for query in parts) == sorted(
        dataset.id for dataset in world.datasets
    )
    assert {(q[-1]["type"], q[-1]["operator"]) for q in parts} == {("dataset", "is")}
    assert bookmark(output.state) == latest(world)
    assert len([m for m in caplog.messages if "dataset by dataset" in m]) == 1


def test_what_takes_too_long_is_read_by_dataset(run: Runner, world: World) -> None:
    """An export of all that is never ready is replaced by one for each dataset."""
    task_ids: list[str] = []

    def before(request: Request) -> Reply | None:
        task_id = request.variables.get("task_id")
        if request.operation != "ExportStatus" or task_id is None:
            return None
        task_ids.append(task_id)
        unready = {"status": "IN_PROGRESS", "completion_percentage": 3}
        is_whole = task_id == task_ids[0]
        return Reply(200, {}, {"data": {"task": unready}}) if is_whole else None

    run.sandbox.before = before
    output = run(STREAM, now=NOW, export_timeout=0.5)

    assert output.error is None
    assert ids(output.records(STREAM)) == sorted(row.id for row in all_rows(world))


def test_one_dataset_costs_itself(
    too_much: Runner, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """And the bookmark, which would pass over what it has."""
    failed = world.datasets[1]
    reply = Reply(200, {}, error("You may not", "AUTHORIZATION_ERROR"))

    def before(request: Request) -> Reply | None:
        asked = str(request.variables.get("input"))
        return reply if failed.id in asked else None

    too_much.sandbox.before = before
    output = too_much(STREAM, now=NOW)
    too_much.sandbox.before = None

    assert isinstance(output.error, IncompleteError)
    others = [row.id for row in all_rows(world) if row.dataset is not failed]
    assert ids(output.records(STREAM)) == sorted(others)
    assert "replication_key_value" not in output.state["bookmarks"][STREAM]
    assert [m for m in caplog.messages if f"{STREAM} of dataset {failed.id}" in m]
    again = too_much(STREAM, now=NOW, state=output.state)
    assert ids(again.records(STREAM)) == sorted(row.id for row in all_rows(world))


def test_a_refusal_is_not_asked_about_again(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that may not read the catalog may not read it by dataset either."""
    reply = Reply(200, {}, error("You may not", "AUTHORIZATION_ERROR"))
    run.sandbox.before = lambda request: (
        reply if request.operation == "StartCatalogExport" else None
    )

    output = run(STREAM, "users", now=NOW)

    assert isinstance(output.error, IncompleteError)
    assert output.records("users")
    assert len(queries(run)) == 1
    assert len([m for m in caplog.messages if "is left out" in m]) == 1


def test_a_killed_run_by_dataset_loses_nothing(too_much: Runner, world: World) -> None:
    """It begins again: nothing tells how far it was."""
    whole = run_until(too_much, Cut(), STREAM, now=NOW)
    expected = {row.id for row in all_rows(world)}

    for requests in range(5, whole.requests, 5):
        part = run_until(too_much, Cut(requests=requests), STREAM, now=NOW)
        rest = run_until(too_much, Cut(), STREAM, now=NOW, state=part.states[-1])
        lines = [*part.messages, *rest.messages]
        result = {m["record"]["data_row_id"] for m in lines if m["type"] == "RECORD"}
        assert result == expected
        assert bookmark(rest.states[-1]) == latest(world)
