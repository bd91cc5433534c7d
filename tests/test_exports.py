"""The data row export: started, waited for, read in parts, and read on."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import labelbox  # type: ignore[import-untyped]  # it has no types
import pytest

from tap_labelbox.api.client import Client
from tap_labelbox.api.errors import IncompleteError, UnavailableError
from tap_labelbox.api.transport import Session
from tap_labelbox.exports import parts, tasks
from tap_labelbox.exports.tasks import START_TIMEOUT_FACTOR, Export, inputs
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.replies import error
from tap_labelbox.tap import TapLabelbox
from tests.runner import Runner, read_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_labelbox.sandbox import Request, Sandbox

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
STREAMS = ("data_row_exports", "export_labels", "annotations")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    """Return the tap's own client of the sandbox."""
    return Client(
        sandbox.url,
        sandbox.api_key,
        timeout=5,
        retry_seconds=1,
        logger=logging.getLogger("tap-labelbox"),
    )


def expected(project_id: str, **filters: Any) -> dict[str, Any]:
    """Return the arguments of an export of everything in a project."""
    include = {
        "attachments": True,
        "embeddings": True,
        "interpolated_frames": True,
        "metadata_fields": True,
        "performance_details": True,
    }
    until = "2027-01-01T00:00:00.000Z"
    (single,) = inputs(project_id, filters, include, since=None, until=until)
    return single


def read(client: Client, project_id: str) -> list[dict[str, Any]]:
    """Read the export of a project."""
    export = Export.start(client, expected(project_id), "tap-labelbox test")
    export.wait(interval=0.001, timeout=5)
    return [row for _, rows in export.rows() for row in rows]


def by_id(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Order rows by their data row, less the links, which differ each time."""
    return {
        row["data_row"]["id"]: re.sub(r"https?://[^\"]+", "link", json.dumps(row))
        for row in rows
    }


def data_row_ids(world: World) -> list[str]:
    """Return all data rows that the key may see, labeled or not."""
    return sorted(row.id for row in world.data_rows)


def started(sandbox: Sandbox) -> list[Request]:
    """Return the requests that asked for an export."""
    return [r for r in sandbox.requests if r.operation == "StartExport"]


def test_the_official_client_reads_the_same_rows(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    """Row by row, whatever the media type."""
    sandbox.part_size = 5000
    sandbox.polls = 0  # it would wait two seconds for each
    official = labelbox.Client(sandbox.api_key, endpoint=sandbox.url)
    params = {
        "attachments": True,
        "embeddings": True,
        "metadata_fields": True,
        "data_row_details": True,
        "project_details": True,
        "label_details": True,
        "performance_details": True,
        "interpolated_frames": True,
    }
    for project in world.projects:
        task = official.get_project(project.id).export(params=params)
        task.wait_till_done()
        stream = task.get_buffered_stream() if task.has_result() else ()
        theirs = [row.json for row in stream]

        ours = read(client, project.id)

        assert by_id(ours) == by_id(theirs)
        assert len(ours) == len(theirs) == len(project.data_rows)


@pytest.mark.parametrize("part_size", [50, 777, 10_000, 10_000_000])
def test_parts_may_end_anywhere(
    sandbox: Sandbox, world: World, client: Client, part_size: int
) -> None:
    """Inside a line, and inside a character."""
    sandbox.part_size, sandbox.cut_parts = part_size, True
    project = world.projects[2]

    rows = read(client, project.id)

    assert sorted(by_id(rows)) == sorted(row.id for row in project.data_rows)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(403, {}, b"expired"),
        Reply(503, {}, b"busy"),
        Reply(200, {}, b""),
        Reply(200, {}, b'{"data_row": '),
        Reply(200, {}, b"x" * 100 + b"\n" + b"y" * 100),
        Reply(200, {}, b"{}\n" * 40_000),
        Reply(200, {}, b"<html>" + b" " * 1_000_000),
    ],
    ids=["expired", "busy", "empty", "cut short", "corrupt", "too long", "page"],
)
def test_a_part_that_comes_wrong_is_fetched_again(
    sandbox: Sandbox, world: World, client: Client, reply: Reply
) -> None:
    """All rows are there in the end, each once."""
    replies = iter([None, reply])
    sandbox.part_size = 20_000

    def hook(request: Request) -> Reply | None:
        return next(replies, None) if request.path.startswith("/files/") else None

    sandbox.before = hook
    rows = read(client, world.projects[0].id)

    assert sorted(row["data_row"]["id"] for row in rows) == sorted(
        row.id for row in world.projects[0].data_rows
    )


@pytest.mark.parametrize("reply", [Reply(403), Reply(200, {}, b"{}\n" * 400_000)])
def test_a_part_that_never_comes_is_an_error(
    sandbox: Sandbox, world: World, client: Client, reply: Reply
) -> None:
    """After a few tries."""
    sandbox.before = lambda r: reply if r.path.startswith("/files/") else None

    with pytest.raises(UnavailableError, match="cannot be downloaded from byte"):
        read(client, world.projects[0].id)


def test_lines_are_counted(sandbox: Sandbox, world: World, client: Client) -> None:
    """An export with fewer lines than declared is not whole."""

    def lie(request: Request) -> Reply | None:
        if request.operation != "ExportHeader":
            return None
        header = {"total_size": "3", "total_lines": "2"}
        return Reply(
            200, {}, json.dumps({"data": {"task": {"header": header}}}).encode()
        )

    def hook(request: Request) -> Reply | None:
        if request.path.startswith("/files/"):
            return Reply(200, {}, b"{}\n")
        if request.operation == "ExportPart":
            part = {
                "offsets": {"start": "0", "end": "2"},
                "link": sandbox.root + "/files/x",
            }
            body = {"data": {"task": {"part": part}}}
            return Reply(200, {}, json.dumps(body).encode())
        return lie(request)

    sandbox.before = hook

    with pytest.raises(UnavailableError, match="has 1 lines, not 2"):
        read(client, world.projects[0].id)


@pytest.mark.parametrize("outcome", ["FAILED", "CANCELED"])
def test_an_export_that_fails_leaves_its_project_out(
    serving: Any, world: World, outcome: str
) -> None:
    """The message says how it ended, and which task it was."""
    output = serving(world, export_outcome=outcome)(*STREAMS)

    assert isinstance(output.error, IncompleteError)
    assert all(project.id in str(output.error) for project in world.projects)


def test_an_export_that_is_never_ready_leaves_its_project_out(
    serving: Any, world: World, caplog: Any
) -> None:
    """The log says what to change."""
    run = serving(world, polls=10_000)

    output = run(
        "data_row_exports", export_timeout=0.05, project_ids=[world.projects[0].id]
    )

    assert isinstance(output.error, IncompleteError)
    assert [m for m in caplog.messages if "raise export_timeout" in m]


@pytest.mark.parametrize(
    "forgotten",
    ["Task.status", "ExportMetadataHeader.totalSize", "ExportFile.offsets"],
)
def test_a_malformed_reply_leaves_its_project_out(serving: Any, forgotten: str) -> None:
    """Whatever Labelbox leaves out of it; other streams go on."""
    output = serving(World(projects=1, labels=5), forget=[forgotten])()

    assert isinstance(output.error, IncompleteError)
    assert output.records("labels")


def test_exports_that_are_not_part_of_the_plan_cost_no_other_stream(
    run: Runner, sandbox: Sandbox
) -> None:
    """They are named, once."""
    refused = error("not part of your plan", "OPERATION_NOT_ALLOWED")
    sandbox.before = lambda r: (
        Reply(200, {}, refused) if r.operation == "StartExport" else None
    )

    output = run("annotations", "labels", "projects")

    assert isinstance(output.error, IncompleteError)
    assert "annotations" in str(output.error)
    assert output.records("labels")
    assert output.records("projects")


def test_tasks_that_never_end_are_not_looked_through(
    run: Runner, sandbox: Sandbox, monkeypatch: Any
) -> None:
    """Some servers do not know skip."""
    monkeypatch.setattr("tap_labelbox.exports.tasks.MAX_TASKS", 300)
    tasks = [{"id": str(n), "name": "other"} for n in range(100)]

    def hook(request: Request) -> Reply | None:
        if request.operation == "StartExport":
            return Reply(504)
        if request.operation == "Tasks":
            return Reply(200, {}, {"data": {"user": {"tasks": tasks}}})
        return None

    sandbox.before = hook
    output = run("annotations", project_ids=[run.world.projects[0].id])

    assert isinstance(output.error, IncompleteError)
    asked = [r for r in sandbox.requests if r.operation == "Tasks"]
    assert len(asked) == 3


def test_a_data_row_without_id_is_named(run: Runner, tmp_path: Path) -> None:
    """There is no key to give it."""
    file = tmp_path / "export.ndjson"
    rows = [{"data_row": {"id": None}}, {"data_row": {"id": "d"}}]
    file.write_text("\n".join(map(json.dumps, rows)))

    output = run("data_row_exports", export_files=[str(file)])

    assert [r["data_row_id"] for r in output.records("data_row_exports")] == ["d"]
    assert isinstance(output.error, IncompleteError)
    assert "1 malformed row of" in str(output.error)


def test_a_long_wait_is_reported(
    run: Runner, sandbox: Sandbox, monkeypatch: Any, caplog: Any
) -> None:
    """Now and then, with how far Labelbox is."""
    monkeypatch.setattr("tap_labelbox.api.polling.LOG_EVERY_SECONDS", 0.0)
    caplog.set_level(logging.DEBUG)
    sandbox.polls = 2

    run("data_row_exports", "bulk_export")

    assert re.search(r"Waiting for an export \(task \w+\): IN_PROGRESS, 0", caplog.text)
    assert "Waiting for a bulk export" in caplog.text


def test_an_export_without_rows_is_no_error(run: Runner) -> None:
    """Labelbox has no header for it."""
    first = run(*STREAMS, now=NOW)

    second = run(*STREAMS, now=NOW, state=first.state, lookback_seconds=0)

    assert second.error is None
    assert len(second.records("data_row_exports")) < 30  # of the bookmark's timestamp
    assert second.state["bookmarks"] == first.state["bookmarks"]


def test_one_export_serves_all_streams(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """It is started and read once a project, whichever are selected."""
    output = run()

    begun = started(sandbox)
    assert len(begun) == len(world.projects)
    for stream in ("data_row_exports", "export_labels", "annotations"):
        assert output.records(stream)
    kinds = [(m["type"], m["stream"]) for m in output.messages if "stream" in m]
    schemas = [stream for kind, stream in kinds if kind == "SCHEMA"]
    assert len(schemas) == len(set(schemas))
    for stream in schemas:
        if ("RECORD", stream) in kinds:
            assert kinds.index(("SCHEMA", stream)) < kinds.index(("RECORD", stream))


def test_only_selected_streams_are_written(run: Runner, world: World) -> None:
    """One of them alone reads the export as well."""
    output = run("export_labels")

    assert {m["stream"] for m in output.messages if "stream" in m} == {"export_labels"}
    labels = [label.id for p in world.projects for label in world.labels(p.id)]
    assert sorted(r["label_id"] for r in output.records("export_labels")) == sorted(
        labels
    )


def test_every_data_row_comes_once(run: Runner, world: World) -> None:
    """Labeled or not."""
    records = run("data_row_exports").records("data_row_exports")

    assert sorted(record["data_row_id"] for record in records) == data_row_ids(world)


def test_a_second_run_reads_rows_that_were_active_since(
    run: Runner, world: World
) -> None:
    """A new label, and a deleted one, make a data row active."""
    first = run(*STREAMS, now=NOW)
    project = world.projects[0]
    world.now = lambda: NOW + timedelta(hours=1)
    new = world.add_label(project.id)
    gone = world.labels(project.id)[0]
    world.delete_label(gone.id)

    second = run(*STREAMS, now=NOW + timedelta(hours=2), state=first.state)

    active = {record["data_row_id"] for record in second.records("data_row_exports")}
    labels = {record["label_id"] for record in second.records("export_labels")}
    assert {new.data_row.id, gone.data_row.id} <= active
    assert len(active) < 30
    assert new.id in labels
    assert gone.id not in labels


def test_a_bookmark_moves_only_when_all_has_been_read(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """Rows come in no order, so a part of them says nothing."""
    sandbox.part_size = 2000
    downloads = iter(range(1000))

    def fail(request: Request) -> Reply | None:
        late = request.path.startswith("/files/") and next(downloads) > 3
        return Reply(403, {}, b"") if late else None

    sandbox.before = fail
    output = run(*STREAMS, now=NOW, project_ids=[world.projects[0].id])

    assert isinstance(output.error, IncompleteError)
    for stream in STREAMS:
        for partition in output.state["bookmarks"][stream].get("partitions", []):
            assert "replication_key_value" not in partition
            assert "export" not in partition  # a broken one is not read on


def test_after_a_broken_export_the_next_run_reads_everything(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """From a new export."""
    sandbox.before = lambda r: (
        Reply(403, {}, b"") if r.path.startswith("/files/") else None
    )
    broken = run("data_row_exports", now=NOW)
    sandbox.before = None

    output = run("data_row_exports", now=NOW, state=broken.state)

    result = [r["data_row_id"] for r in output.records("data_row_exports")]
    assert output.error is None
    assert sorted(result) == data_row_ids(world)


def test_a_killed_run_is_read_on(
    serving: Callable[..., Runner], monkeypatch: Any
) -> None:
    """From the byte that its last state names, of the same export."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    world = World(projects=1, labels=60)
    run = serving(world, part_size=10_000)
    sandbox = run.sandbox
    project = world.projects[0]
    whole = run(*STREAMS, now=NOW, project_ids=[project.id])
    every = {row.id for row in project.data_rows}
    exports = len([r for r in sandbox.requests if r.operation == "StartExport"])

    seen: set[str] = set()
    resumed = 0
    for message in whole.messages:
        if message["type"] == "RECORD" and message["stream"] == "data_row_exports":
            seen.add(message["record"]["data_row_id"])
        if message["type"] == "STATE" and '"position"' in json.dumps(message["value"]):
            rest = run(
                *STREAMS, now=NOW, project_ids=[project.id], state=message["value"]
            )
            ids = {r["data_row_id"] for r in rest.records("data_row_exports")}
            assert seen | ids == every
            assert rest.error is None
            resumed += 1

    assert resumed > 3
    # One that was read to its end, with no more to come, is made anew.
    begun = len([r for r in sandbox.requests if r.operation == "StartExport"])
    assert begun <= exports + 1


@pytest.mark.parametrize("changed", ["start_date", "replication method", "state"])
def test_a_killed_run_is_not_read_on_where_more_is_wanted(
    run: Runner, sandbox: Sandbox, world: World, monkeypatch: Any, changed: str
) -> None:
    """Another start, or a whole table: then all of it is exported anew."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    sandbox.part_size = 20_000
    project = world.projects[0]
    settings: dict[str, Any] = {"project_ids": [project.id]}
    rows = sorted(row.last_activity_at for row in project.data_rows)
    start_date = rows[len(rows) // 3].isoformat()
    begun = settings | ({"start_date": start_date} if changed == "start_date" else {})
    killed = run("data_row_exports", now=NOW, **begun)
    state = next(s for s in killed.states if '"position"' in json.dumps(s))
    catalog = None
    if changed == "replication method":
        catalog = TapLabelbox(config=run.config()).catalog_dict
        for stream in catalog["streams"]:
            stream["replication_method"] = "FULL_TABLE"
    if changed == "state":
        (partition,) = state["bookmarks"]["data_row_exports"]["partitions"]
        partition["replication_key"] = "last_activity_at"
        partition["replication_key_value"] = "2020-01-01T00:00:00.000Z"

    output = run("data_row_exports", now=NOW, state=state, catalog=catalog, **settings)

    assert output.error is None
    result = {r["data_row_id"] for r in output.records("data_row_exports")}
    assert result == {row.id for row in project.data_rows}


def test_an_export_at_which_labelbox_fails_is_started_anew(
    run: Runner, sandbox: Sandbox, world: World, monkeypatch: Any
) -> None:
    """Else each run would fail at it."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    project = world.projects[0]
    whole = run("data_row_exports", now=NOW, project_ids=[project.id])
    state = next(s for s in whole.states if '"position"' in json.dumps(s))
    (old,) = {task for r in sandbox.requests if (task := r.variables.get("task_id"))}
    crash = error("Something went wrong", "INTERNAL_SERVER_ERROR")
    sandbox.before = lambda r: (
        Reply(200, {}, crash) if r.variables.get("task_id") == old else None
    )

    output = run("data_row_exports", now=NOW, state=state, project_ids=[project.id])

    assert output.error is None
    assert len(output.records("data_row_exports")) == len(project.data_rows)


def test_an_export_that_is_gone_is_started_anew(
    run: Runner, world: World, monkeypatch: Any
) -> None:
    """The state of a killed run may be old."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    project = world.projects[0]
    whole = run(*STREAMS, now=NOW, project_ids=[project.id])
    state = next(s for s in whole.states if '"position"' in json.dumps(s))
    text = json.dumps(state)
    for message in (json.loads(text),):
        for partition in message["bookmarks"]["annotations"]["partitions"]:
            partition["export"]["task_id"] = "cgone"
        output = run(*STREAMS, now=NOW, project_ids=[project.id], state=message)

    assert output.error is None
    assert len(output.records("data_row_exports")) == len(project.data_rows)


def test_exports_are_started_before_their_turn(serving: Any) -> None:
    """Labelbox prepares the next ones while one is read; but not all at once."""
    run = serving(World(projects=12, labels_per_project=2), polls=3)
    running: list[int] = []

    def count(request: Request) -> None:
        if request.operation == "ExportOpening":
            begun = started(run.sandbox)
            read = {
                r.variables["task_id"]
                for r in run.sandbox.requests
                if r.operation == "ExportOpening"
            }
            running.append(len(begun) - len(read))

    run.sandbox.before = count
    output = run(*STREAMS, concurrency=4)

    assert output.error is None
    assert 1 < max(running) <= 4


def test_too_many_exports_are_a_reason_to_wait(serving: Any, caplog: Any) -> None:
    """Others run exports of the same project as well. It is logged, but once."""
    world = World(projects=1, labels=10)
    run = serving(world)
    limit = {"message": "too many", "extensions": {"code": "API_LIMIT"}}
    replies = iter([Reply(200, {}, json.dumps({"errors": [limit]}).encode())] * 3)
    run.sandbox.before = lambda r: (
        next(replies, None) if r.operation == "StartExport" else None
    )

    output = run(*STREAMS, retry_seconds=0)

    assert output.error is None
    assert len(output.records("data_row_exports")) == len(world.data_rows)
    (logged,) = [m for m in caplog.messages if "waits until Labelbox has room" in m]
    assert world.projects[0].id in logged

    run.sandbox.before = lambda r: (
        Reply(200, {}, error("too many", "API_LIMIT"))
        if r.operation == "StartExport"
        else None
    )
    output = run("labels", *STREAMS, retry_seconds=0, export_timeout=0.05)

    assert isinstance(output.error, IncompleteError)
    assert len(output.ids("labels")) == 10


@pytest.mark.parametrize(
    "broken",
    [
        Reply(200, {}, b"", cut=0),
        Reply(200, {"Content-Type": "application/json"}, b'{"data": {"exp', cut=9),
        Reply(200, {}, b"", delay=0.3 * START_TIMEOUT_FACTOR + 0.5),
        Reply(504, {}, b"<h1>Gateway Time-out</h1>"),
        Reply(200, {}, error("no", "INTERNAL_SERVER_ERROR")),
        Reply(200, {}, {"data": None}),
    ],
    ids=["closed", "cut", "timed out", "gateway", "crash", "no data"],
)
def test_an_export_that_has_begun_unheard_is_not_begun_again(
    run: Runner, sandbox: Sandbox, world: World, broken: Reply
) -> None:
    """It is found by its name among the tasks of the key."""
    project = world.projects[0]
    replies = iter([broken])
    sandbox.after = lambda request, _: (
        next(replies, None) if request.operation == "StartExport" else None
    )

    output = run(
        "data_row_exports",
        project_ids=[project.id],
        request_timeout=0.3,
        retry_seconds=10,
    )

    assert output.error is None
    assert len(started(sandbox)) == 1
    result = [r["data_row_id"] for r in output.records("data_row_exports")]
    assert sorted(result) == sorted(row.id for row in project.data_rows)


def test_an_export_has_more_time_to_begin_than_others_to_answer(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labelbox looks up what the filters name before it answers."""
    waits: dict[str, set[float]] = {}
    send = Session.send

    def note(self: Session, request: Any, **options: Any) -> Any:
        if request.body:
            operation = re.search(rb"(?:query|mutation) (\w+)", request.body)
            assert operation
            waits.setdefault(operation[1].decode(), set()).add(options["timeout"][1])
        return send(self, request, **options)

    monkeypatch.setattr(Session, "send", note)

    assert run("data_row_exports", request_timeout=20).error is None
    assert waits.pop("StartExport") == {20 * START_TIMEOUT_FACTOR}
    assert set().union(*waits.values()) == {20}


@pytest.mark.parametrize("status", [503, 429])
def test_an_export_that_has_not_begun_is_asked_for_again(
    run: Runner, sandbox: Sandbox, world: World, status: int
) -> None:
    """If Labelbox surely did nothing, it is not looked for."""
    project = world.projects[0]
    replies = iter([Reply(status)] * 2)
    sandbox.before = lambda request: (
        next(replies, None) if request.operation == "StartExport" else None
    )

    output = run("data_row_exports", project_ids=[project.id], retry_seconds=10)

    looked = [r for r in sandbox.requests if r.operation == "Tasks"]
    assert output.error is None
    assert len(started(sandbox)) == 3
    assert len({r.variables["input"]["taskName"] for r in started(sandbox)}) == 1
    assert len(looked) == (2 if status == 503 else 0)
    assert len(output.records("data_row_exports")) == len(project.data_rows)


def test_an_export_is_found_on_any_page(
    run: Runner, sandbox: Sandbox, world: World, monkeypatch: Any
) -> None:
    """A key may have started many."""
    monkeypatch.setattr("tap_labelbox.exports.tasks.PAGE_ROWS", 3)
    project = world.projects[0]
    for _ in range(7):
        run("data_row_exports", project_ids=[project.id])
    before = len(started(sandbox))
    replies = iter([Reply(504)])
    sandbox.after = lambda request, _: (
        next(replies, None) if request.operation == "StartExport" else None
    )

    output = run("data_row_exports", project_ids=[project.id], retry_seconds=10)

    assert output.error is None
    assert len(started(sandbox)) == before + 1
    looked = [r.variables for r in sandbox.requests if r.operation == "Tasks"]
    assert [variables["skip"] for variables in looked] == [0, 2, 4, 6]


@pytest.mark.parametrize("name", ["User.createdTasks", "Task.name"])
def test_where_tasks_are_not_listed_an_export_is_not_asked_for_again(
    serving: Any, world: World, name: str
) -> None:
    """The run says so, rather than to start a second one."""
    run = serving(world, forget=[name])
    run.sandbox.after = lambda request, _: (
        Reply(504) if request.operation == "StartExport" else None
    )

    output = run(
        "data_row_exports", project_ids=[world.projects[0].id], retry_seconds=10
    )

    assert output.error is not None
    assert len(started(run.sandbox)) == 1


def test_more_ids_than_a_filter_takes_are_several_exports(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """2,000 each."""
    ids = [*data_row_ids(world), *(f"cother{n}" for n in range(4100))]

    output = run(*STREAMS, export_filters={"data_row_ids": ids})

    result = [r["data_row_id"] for r in output.records("data_row_exports")]
    assert sorted(result) == data_row_ids(world)
    begun = started(sandbox)
    assert len(begun) == 3 * len(world.projects)


@pytest.mark.parametrize("status", ["TO_LABEL", "IN_REVIEW", "IN_REWORK", "DONE"])
def test_data_rows_can_be_chosen_by_status(
    run: Runner, world: World, status: str
) -> None:
    """As the workflow has it."""
    output = run("data_row_exports", export_filters={"workflow_status": status})

    result = sorted(r["data_row_id"] for r in output.records("data_row_exports"))
    assert result == sorted(row.id for row in world.data_rows if row.status == status)


def test_timestamps_are_sent_as_utc() -> None:
    """With the zone's name; a timestamp of another zone is converted."""
    (single,) = inputs(
        "p1",
        {"label_created_after": "2026-01-01T01:00:00+02:00"},
        dict.fromkeys(
            (
                "attachments",
                "embeddings",
                "interpolated_frames",
                "metadata_fields",
                "performance_details",
            ),
            False,
        ),
        since="2026-02-01T00:00:00.500Z",
        until="2026-03-01T00:00:00.999Z",
    )

    activity, labeled = single["filters"]["searchQuery"]["query"]
    assert activity["value"] == {
        "operator": "BETWEEN",
        "timezone": "UTC",
        "value": {"min": "2026-02-01 00:00:00", "max": "2026-03-01 00:00:00"},
    }
    assert labeled["value"] == {
        "operator": "GREATER_THAN_OR_EQUAL",
        "timezone": "UTC",
        "value": "2025-12-31 23:00:00",
    }


def test_what_could_not_be_exported_is_reported(
    serving: Any, world: World, caplog: Any
) -> None:
    """In a stream of its own, and in the log."""
    output = serving(world, unexportable=2)("export_errors", "data_row_exports")

    errors = output.records("export_errors")
    exported = {r["data_row_id"] for r in output.records("data_row_exports")}
    failed = {r["data_row_id"] for r in errors}
    assert exported | failed == set(data_row_ids(world))
    assert not exported & failed
    assert [m for m in caplog.messages if "could not export" in m]


def test_saved_files_are_read_without_a_key(
    sandbox: Sandbox, world: World, client: Client, tmp_path: Any
) -> None:
    """They give the records that Labelbox itself gives."""
    project = world.projects[0]
    file = tmp_path / "export.ndjson"
    lines = [json.dumps(row, ensure_ascii=False) for row in read(client, project.id)]
    file.write_text("\n".join(lines), "utf-8")
    (tmp_path / "bulk.json").write_text('[{"ID": "c1", "Label": "Skip"}]')
    online = Runner(sandbox, world)(*STREAMS, project_ids=[project.id])
    count = len(sandbox.requests)

    class Offline(Runner):
        def config(self, **settings: Any) -> dict[str, Any]:
            del settings
            return {"export_files": [str(file), str(tmp_path / "bulk.json")]}

    output = Offline(sandbox, world)()

    def rows(result: Any) -> list[str]:
        return sorted(json.dumps(record, sort_keys=True) for record in result)

    assert output.error is None
    assert len(sandbox.requests) == count
    assert len(rows(output.records("export_labels"))) == len(world.labels(project.id))
    assert {r["annotation_id"] for r in output.records("annotations")} == {
        r["annotation_id"] for r in online.records("annotations")
    }
    assert output.ids("bulk_export") == ["c1"]


def offline(path: Path, stream: str = "data_row_exports") -> list[Any]:
    """Return the records of a saved file."""
    return read_files(path).records(stream)


@pytest.mark.parametrize("projects", ["abc", 5, [{"id": "p"}], None])
def test_a_saved_row_with_malformed_projects_is_one_record(
    tmp_path: Path, projects: Any
) -> None:
    """It is kept beside."""
    file = tmp_path / "export.ndjson"
    file.write_text(json.dumps({"data_row": {"id": "d"}, "projects": projects}))

    (record,) = offline(file)

    assert record["project_id"] == ""
    assert record["additional_columns"].get("projects") == projects


def test_a_saved_file_is_recognized_by_its_beginning(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """A mark of the byte order is no part of it; what comes later tells nothing."""
    monkeypatch.setattr(
        "tap_labelbox.exports.saved.CHUNK_BYTES", 26
    )  # two lines begin pieces
    lines = b"\n".join(b'{"data_row": {"id": "d%d"}}' % n for n in range(4))
    file = tmp_path / "export.ndjson"
    file.write_bytes(b"\xef\xbb\xbf" + lines)
    broken = tmp_path / "broken.ndjson"
    broken.write_bytes(b'{"data_row": {"id": "d0"}}\n[]\n' + lines)
    bulk = tmp_path / "bulk.json"
    bulk.write_bytes(b'\xef\xbb\xbf [{"ID": "c1"}]')

    assert [record["data_row_id"] for record in offline(file)] == [
        "d0",
        "d1",
        "d2",
        "d3",
    ]
    assert offline(bulk) == []
    assert [record["id"] for record in offline(bulk, "bulk_export")] == ["c1"]
    with pytest.raises(IncompleteError):
        read_files(broken)


def test_only_what_is_current_can_be_kept(run: Runner, world: World) -> None:
    """Each child has its row's timestamp: older ones were not in its latest export."""
    first = run(*STREAMS, now=NOW)
    gone = world.labels(world.projects[0].id)[0]
    world.now = lambda: NOW + timedelta(hours=1)
    world.delete_label(gone.id)
    second = run(*STREAMS, now=NOW + timedelta(hours=2), state=first.state)

    rows: dict[str, str] = {}
    labels: dict[str, Any] = {}
    for output in (first, second):
        for record in output.records("data_row_exports"):
            rows[record["data_row_id"]] = record["last_activity_at"]
        for record in output.records("export_labels"):
            labels[record["label_id"]] = record
    current = {
        label_id
        for label_id, label in labels.items()
        if label["last_activity_at"] == rows[label["data_row_id"]]
    }

    assert gone.id in labels
    assert current == {x.id for p in world.projects for x in world.labels(p.id)}


def test_the_reason_why_an_export_is_refused_is_reported(
    run: Runner, world: World, caplog: Any
) -> None:
    """It stands in the error, not in its message; the other projects are read."""
    refused = world.projects[0].id
    reason = "Export is not supported for projects with custom editors"
    error = {
        "message": None,
        "extensions": {"code": "MALFORMED_REQUEST"},
        "errors": [{"error": reason, "projectIds": [refused]}],
    }

    def refuse(request: Request) -> Reply | None:
        if request.operation != "StartExport":
            return None
        expected = request.variables["input"]["filters"]["projectId"]
        reply = Reply(200, {}, {"errors": [error], "data": None})
        return reply if expected == refused else None

    run.sandbox.before = refuse
    output = run("data_row_exports")

    assert isinstance(output.error, IncompleteError)
    (logged,) = [m for m in caplog.messages if "is left out" in m]
    assert refused in logged
    assert logged.endswith(f"Labelbox answered MALFORMED_REQUEST: {reason}")
    read = {record["project_id"] for record in output.records("data_row_exports")}
    assert read == {p.id for p in world.projects if p.data_rows} - {refused}


def test_an_export_is_asked_for_as_one_that_can_be_read_in_parts(run: Runner) -> None:
    """The real API makes none without; the sandbox takes anything."""
    run("data_row_exports")

    started = [r for r in run.sandbox.requests if r.operation == "StartExport"]
    assert started
    for request in started:
        assert request.variables["input"]["isStreamableReady"] is True
        assert request.variables["input"]["streamable"] is True


def test_the_last_line_may_lack_its_line_feed() -> None:
    """It ends where the bytes end, and is read once."""
    result = [*tasks._whole_lines([b"a\nb", b"c\nd", b"e"], 5, 100)]

    assert result == [(7, b"a\n"), (10, b"bc\n"), (12, b"de")]


def test_a_part_that_does_not_come_is_asked_for_so_often(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """And no more: a link that has expired may be replaced by one that has not."""
    refused = {"files": 0}

    def refuse(request: Request) -> Reply | None:
        if not request.path.startswith("/files/"):
            return None
        refused["files"] += 1
        return Reply(403)

    run.sandbox.before = refuse
    project_id = run.world.projects[0].id

    output = run("data_row_exports", project_ids=[project_id])

    assert isinstance(output.error, IncompleteError)
    assert "cannot be downloaded from byte 0 on" in caplog.text
    assert refused["files"] == parts.MAX_PART_ATTEMPTS
