"""Rows that exist now, and rows marked as deleted: all of them, or none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import AccessError, IncompleteError
from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.streams import STREAMS
from tap_labelbox.tap import TapLabelbox
from tests.test_examples import QUERIES, loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

PRESENCE = ("data_row_presence", "label_presence")
TABLES = ("labels", "data_row_exports")
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


@pytest.fixture
def world() -> World:
    """Return three projects with a few labels each."""
    return World(seed=1, projects=3, labels_per_project=8)


def labels(world: World) -> set[tuple[str, str, str]]:
    """Return the keys of all labels."""
    return {
        (project.id, label.data_row.id, label.id)
        for project in world.projects
        for label in world.labels(project.id)
    }


def data_rows(world: World) -> set[tuple[str, str]]:
    """Return the keys of all data rows in projects."""
    return {(p.id, row.id) for p in world.projects for row in p.data_rows}


def keys(output: Output, stream: str) -> list[tuple[str, ...]]:
    """Return the keys of a stream's records."""
    (columns,) = (s.primary_keys for s in STREAMS if s.name == stream)
    return [tuple(r[c] for c in columns) for r in output.records(stream)]


def starts(run: Runner) -> list[dict[str, Any]]:
    """Return what was asked for by the exports that were started."""
    requests = run.sandbox.requests
    return [r.variables["input"] for r in requests if r.operation == "StartExport"]


@pytest.mark.parametrize(
    "streams", [PRESENCE, PRESENCE[:1], PRESENCE[1:]], ids=["both", "rows", "labels"]
)
def test_everything_that_is_there_is_reported(
    run: Runner, world: World, streams: tuple[str, ...]
) -> None:
    """Once, with one timestamp and the count of the stream, of one export a project."""
    output = run(*streams, now=NOW)

    assert output.error is None
    expected: dict[str, set[Any]] = {
        "data_row_presence": data_rows(world),
        "label_presence": labels(world),
    }
    for stream in PRESENCE:
        result = keys(output, stream)
        requested = expected[stream] if stream in streams else set()
        assert sorted(result) == sorted(requested)
        for record in output.records(stream):
            assert record["seen_at"] == timestamps.isoformat(NOW)
            assert record["record_count"] == len(result)
    assert len(starts(run)) == len(world.projects)


def test_exports_of_presence_have_no_details(run: Runner) -> None:
    """Nor any filter, not even for what an ordinary run would export."""
    run(*PRESENCE, export_filters={"workflow_status": "DONE"}, start_date="2030-01-01")

    assert starts(run)
    for asked in starts(run):
        assert {*asked["params"].values()} == {False}
        assert asked["filters"]["searchQuery"]["query"] == []


def test_they_are_off_by_default() -> None:
    """They cost another export of every project."""
    tap = TapLabelbox(config={"api_key": "x"})

    assert not [name for name in PRESENCE if tap.streams[name].selected]


def test_what_is_active_meanwhile_is_there(run: Runner, world: World) -> None:
    """A data row that changes after the run began has not been deleted."""
    row = world.projects[0].data_rows[0]
    row.last_activity_at = NOW + timedelta(seconds=30)

    assert (world.projects[0].id, row.id) in keys(
        run(*PRESENCE, clock=NOW), "data_row_presence"
    )


def test_files_tell_nothing_of_what_is_there(run: Runner, tmp_path: Any) -> None:
    """Nothing is asked, and nothing marked."""
    (tmp_path / "rows.ndjson").write_text("")

    output = run(*PRESENCE, export_files=[str(tmp_path / "rows.ndjson")])

    assert not [m for m in output.messages if m["type"] == "RECORD"]


# --- a run that leaves something out ------------------------------------------------


def refuse_second(run: Runner, status: int = 200, code: str = "BAD") -> None:
    """Make the second export fail."""
    seen: list[str] = []

    def before(request: Request) -> Reply | None:
        if request.operation != "StartExport":
            return None
        project = request.variables["input"]["filters"]["projectId"]
        if project not in seen:
            seen.append(project)
        if seen.index(project) != 1:
            return None
        error = {"message": "no", "extensions": {"code": code}}
        return Reply(status, {}, {"errors": [error], "data": None})

    run.sandbox.before = before


def broken_line(run: Runner) -> None:
    """Send a data row without its ID."""

    def after(request: Request, reply: Reply) -> Reply | None:
        if not request.path.startswith("/files/"):
            return None
        body = reply.body if isinstance(reply.body, bytes) else b""
        changed = body.replace(b'"data_row":{"id":', b'"data_row":{"no":', 1)
        return Reply(reply.status, dict(reply.headers), changed)

    run.sandbox.after = after


@pytest.mark.parametrize("fault", ["project", "line", "errors", "gone", "forbidden"])
def test_a_run_that_left_something_out_marks_nothing(
    serving: Callable[..., Runner], world: World, fault: str, caplog: Any
) -> None:
    """No record, no version: not even of the projects that could be read."""
    run = serving(world, unexportable=int(fault == "errors"))
    settings: dict[str, Any] = {
        "concurrency": 1,
        "emit_activate_version_messages": True,
    }
    match fault:
        case "project":
            refuse_second(run, code="INTERNAL_SERVER_ERROR")
        case "forbidden":
            refuse_second(run, code="AUTHORIZATION_ERROR")
        case "line":
            broken_line(run)
        case "gone":
            gone = [*(p.id for p in world.projects), "nowhere"]
            settings |= {"project_ids": gone, "on_missing": "warn"}

    output = run(*PRESENCE, **settings)

    kinds = {m["type"] for m in output.messages}
    assert not kinds & {"RECORD", "ACTIVATE_VERSION"}
    assert [m for m in caplog.messages if "nothing is written" in m]
    if fault in {"project", "forbidden", "line"}:
        assert isinstance(output.error, IncompleteError)


def test_a_run_that_ends_early_marks_nothing(run: Runner) -> None:
    """As one that is killed: records come after all projects have been read."""
    refuse_second(run, status=401, code="AUTHENTICATION_ERROR")

    output = run(*PRESENCE, concurrency=1)

    assert isinstance(output.error, AccessError)
    assert not [m for m in output.messages if m["type"] == "RECORD"]


def test_a_whole_run_is_activated(run: Runner, world: World) -> None:
    """After its last record; a target then deletes what is gone."""
    output = run(*PRESENCE, emit_activate_version_messages=True)

    for stream in PRESENCE:
        kinds = [m["type"] for m in output.messages if m.get("stream") == stream]
        assert kinds[0] == "SCHEMA"
        assert kinds[-1] == "ACTIVATE_VERSION"
        assert kinds.count("RECORD") == len(kinds) - 2
    assert len(keys(output, "label_presence")) == len(labels(world))


# --- the queries ---------------------------------------------------------------------


def marked(name: str, *outputs: Output) -> set[str]:
    """Return the IDs that a query finds to be deleted."""
    warehouse = loaded(*outputs, tables=(*TABLES, *PRESENCE))
    with warehouse:
        result = warehouse.execute(QUERIES[name].read_text("utf-8"))
        columns = [column[0] for column in result.description or ()]
        at = columns.index("id" if "id" in columns else "data_row_id")
        return {row[at] for row in result.fetchall()}


def delete_some(world: World) -> tuple[set[str], set[str]]:
    """Delete all labels of a project, one of another, and a data row."""
    first, second, third = world.projects
    gone = [*world.labels(first.id), world.labels(second.id)[0]]
    for label in gone:
        world.delete_label(label.id)
    row = next(row for row in third.data_rows if row.labels)
    third.data_rows.remove(row)
    return {*(x.id for x in gone), *(x.id for x in row.labels)}, {row.id}


def test_the_queries_find_what_was_deleted(run: Runner, world: World) -> None:
    """And nothing else, before and after."""
    before = run(*TABLES, *PRESENCE, now=NOW)
    gone_labels, gone_rows = delete_some(world)

    after = run(*PRESENCE, now=LATER)

    assert marked("deleted_labels", before) == set()
    assert marked("deleted_data_rows", before) == set()
    assert marked("deleted_labels", before, after) == gone_labels
    assert marked("deleted_data_rows", before, after) == gone_rows


def test_what_is_newer_than_the_presence_is_not_marked(
    run: Runner, world: World
) -> None:
    """A label that was loaded later, or that an export did not have yet."""
    presence = run(*PRESENCE, now=NOW)
    made = [NOW + timedelta(days=1), NOW - timedelta(seconds=20)]
    for created_at in made:
        world.add_label(world.projects[0].id, created_at)

    tables = run(*TABLES, now=LATER + timedelta(days=1))

    assert marked("deleted_labels", presence, tables) == set()
    assert marked("deleted_data_rows", presence, tables) == set()


@pytest.mark.parametrize("stream", PRESENCE)
@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_load_that_was_cut_off_marks_nothing(
    run: Runner, stream: str, share: float
) -> None:
    """Of either table, whatever it holds of the run."""
    before = run(*TABLES, *PRESENCE, now=NOW)
    after = run(*PRESENCE, now=LATER)
    records = [*after.records(stream)]
    kept = records[: int(len(records) * share)]
    others = [
        m for m in after.messages if m["type"] != "RECORD" or m["stream"] != stream
    ]
    lines = [{"type": "RECORD", "stream": stream, "record": r} for r in kept]
    after.text = "\n".join(map(json.dumps, [*others, *lines]))
    del after.messages

    assert marked("deleted_labels", before, after) == set()
    if stream == "data_row_presence":
        assert marked("deleted_data_rows", before, after) == set()


def test_a_presence_of_some_projects_marks_those_alone(
    run: Runner, world: World
) -> None:
    """Projects that were not asked about are not marked."""
    before = run(*TABLES, *PRESENCE, now=NOW)
    delete_some(world)
    second = world.projects[1].id

    after = run(*PRESENCE, now=LATER, project_ids=[second])

    result = marked("deleted_labels", before, after)
    records = {r["id"]: r["project_id"] for r in before.records("labels")}
    assert len(result) == 1
    assert {records[label] for label in result} == {second}
    assert marked("deleted_data_rows", before, after) == set()
