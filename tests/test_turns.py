"""A run that cannot finish still reaches everything, sooner or later."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError, OutageError
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.replies import error
from tests.runner import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Request, Sandbox
    from tests.runner import Runner, State

STREAMS = ("labels", "bulk_export", "data_row_exports", "annotations", "projects")
FAULTS = {
    "502": Reply(502, {"Content-Type": "text/html"}, "<h1>502</h1>"),
    "reset": Reply(reset=True),
    "crash": Reply(200, {}, error("x", "INTERNAL_SERVER_ERROR")),
    "429": Reply(429, {}, {"message": "Too many requests"}),
}


@dataclass
class Breaking:
    """Lets all requests of some projects fail, for as long as they are tried."""

    reply: Reply
    projects: set[str]
    operation: str
    _tasks: set[str] = field(default_factory=set)
    """Of these projects."""

    def __call__(self, request: Request) -> Reply | None:
        """Answer a request."""
        return self.reply if self._meets(request) else None

    def _meets(self, request: Request) -> bool:
        text = json.dumps(request.variables)
        by_name = any(project_id in text for project_id in self.projects)
        return by_name and request.operation == self.operation


def project_ids(output: Output, stream: str) -> set[str]:
    """Return the projects of which a stream has records."""
    return {record["project_id"] for record in output.records(stream)}


def data_row_ids(output: Output) -> list[str]:
    """Return the data rows that were read."""
    return sorted(r["data_row_id"] for r in output.records("data_row_exports"))


def started(sandbox: Sandbox) -> int:
    """Count the exports that were started."""
    return sum(r.operation == "StartExport" for r in sandbox.requests)


@pytest.mark.parametrize("operation", ["Labels", "StartExport", "ExportLabels"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_of_one_project_costs_no_other(
    serving: Any, fault: str, operation: str
) -> None:
    """It is named, and left out after retry_seconds."""
    run = serving(World(projects=4, labels_per_project=3))
    whole = run(*STREAMS)
    broken = run.world.projects[1].id
    run.sandbox.before = Breaking(FAULTS[fault], {broken}, operation)

    output = run(*STREAMS, retry_seconds=0.2)

    lacking = {"Labels": ("labels",), "ExportLabels": ("bulk_export",)}
    exported = ("data_row_exports", "annotations")
    for stream in STREAMS[:-1]:
        less = {broken} if stream in lacking.get(operation, exported) else set()
        assert project_ids(output, stream) == project_ids(whole, stream) - less
    assert len(output.records("projects")) == 4
    assert isinstance(output.error, IncompleteError)
    assert broken in str(output.error)


@pytest.mark.parametrize("place", ["ExportStatus", "ExportHeader", "ExportPart", "/"])
def test_a_lasting_fault_of_one_export_costs_no_other(serving: Any, place: str) -> None:
    """Wherever between its start and its last byte."""
    run = serving(World(projects=4, labels_per_project=3), polls=0)
    whole = run("data_row_exports", concurrency=1)
    broken = whole.records("data_row_exports")[0]["project_id"]
    doomed: list[str] = []

    def before(request: Request) -> Reply | None:
        if request.operation == "ExportStatus" and not doomed:
            doomed.append(request.variables["task_id"])
        # What asks for all that an export begins with is no loss.
        here = request.operation in {place, "ExportOpening"}
        at = here or (place == "/" and request.method == "GET")
        mine = doomed and doomed[0] in json.dumps([request.variables, request.path])
        return FAULTS["502"] if at and mine else None

    run.sandbox.before = before
    output = run("data_row_exports", retry_seconds=0.2, concurrency=1)

    result = project_ids(output, "data_row_exports")
    assert result == project_ids(whole, "data_row_exports") - {broken}
    assert isinstance(output.error, IncompleteError)


@pytest.mark.parametrize("stream", ["labels", "bulk_export", "data_row_exports"])
def test_when_labelbox_is_down_the_run_ends(serving: Any, stream: str) -> None:
    """It does not try a thousand projects for a quarter of an hour each."""
    run = serving(World(projects=30, labels_per_project=1))
    places = {"labels": "Labels", "bulk_export": "ExportLabels"}
    everybody = {project.id for project in run.world.projects}
    place = places.get(stream, "StartExport")
    run.sandbox.before = Breaking(FAULTS["crash"], everybody, place)

    output = run(stream, retry_seconds=0, concurrency=1, export_scope="project")

    assert isinstance(output.error, OutageError)
    together = stream == "labels"  # which is asked for many projects at first
    asked = sum(r.operation == place for r in run.sandbox.requests)
    assert asked == 5 + together
    assert "start the run again later" in str(output.error)


def test_broken_projects_do_not_keep_the_others_from_being_read(serving: Any) -> None:
    """Enough of them to end each run: so the next one begins with others."""
    run = serving(World(projects=12, labels_per_project=2))
    oldest = [project.id for project in run.world.projects]
    whole = project_ids(run("labels"), "labels")
    broken = set(oldest[2:8])
    run.sandbox.before = Breaking(FAULTS["502"], broken, "Labels")
    result: set[str] = set()
    state = None

    for _ in range(3):
        output = run("labels", retry_seconds=0, concurrency=1, state=state)
        result |= project_ids(output, "labels")
        state = output.state

    assert result == whole - broken


def test_some_failures_are_no_outage(serving: Any) -> None:
    """As long as Labelbox answers in between."""
    run = serving(World(projects=14, labels_per_project=2))
    broken = {project.id for project in run.world.projects[::2]}
    whole = project_ids(run("labels"), "labels")
    run.sandbox.before = Breaking(FAULTS["502"], broken, "Labels")

    output = run("labels", retry_seconds=0)

    assert len(broken) == 7
    assert isinstance(output.error, IncompleteError)
    assert project_ids(output, "labels") == whole - broken


def cut_after(output: Output, projects: int, *streams: str) -> Output:
    """Return what a run had written when it had read so many projects."""
    seen: set[str] = set()
    lines = [f"{line}\n" for line in output.text.split("\n")]  # not at U+2028
    for number, message in enumerate(output.messages):
        if message["type"] == "RECORD" and message["stream"] in streams:
            seen.add(message["record"]["project_id"])
        if len(seen) > projects:
            return Output("".join(lines[: number + 1]))
    return output


@pytest.mark.parametrize("stream", ["labels", "bulk_export", "data_row_exports"])
def test_runs_that_are_cut_off_get_round(
    serving: Any, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each begins where the last one ended."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    monkeypatch.setattr("tap_labelbox.singer.state.LATER_RUN_SHARE", inf)
    run = serving(World(projects=15, labels_per_project=2))
    whole = project_ids(run(stream), stream)
    result: set[str] = set()
    state: State | None = None
    runs = 0

    while result != whole:
        # A lookback of nothing: what was read does not come again.
        output = cut_after(run(stream, state=state), 4, stream)
        result |= project_ids(output, stream)
        state = output.states[-1]
        runs += 1
        assert runs < 8

    assert runs <= len(whole) / 4 + 1


def test_streams_take_turns(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export does not use up every night alone."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    run = serving(World(projects=4, labels_per_project=2))
    streams = ("data_row_exports", "annotations", "labels", "bulk_export")
    orders = []
    state = None

    for _ in range(4):
        output = run(*streams, state=state)
        first = next(m["stream"] for m in output.messages if m["type"] == "RECORD")
        orders.append(first)
        cut = cut_after(output, 1, first)
        state = cut.states[-1]

    exported = {"data_row_exports", "annotations"}
    assert len(exported & set(orders[:3])) == 1
    assert {"labels", "bulk_export"} <= set(orders[:3])


@pytest.mark.parametrize("stream", ["labels", "bulk_export", "data_row_exports"])
def test_a_project_that_is_waited_for_in_vain_holds_no_other_back(
    serving: Any, stream: str
) -> None:
    """Nor a stream: a run that is cut off meanwhile has begun with both."""
    run = serving(World(projects=4, labels_per_project=3))
    other = "labels" if stream != "labels" else "bulk_export"
    waiting = run(stream)
    first, *rest = dict.fromkeys(r["project_id"] for r in waiting.records(stream))
    before = [*before_a_record(waiting.messages)]
    state = [m["value"] for m in before if m["type"] == "STATE"][-1]
    assert state["bookmarks"][stream]

    output = run(stream, other, state=state)

    records = [m for m in output.messages if m["type"] == "RECORD"]
    assert records[0]["stream"] == other
    result = dict.fromkeys(r["project_id"] for r in output.records(stream))
    assert [*result] == [*rest, first]
    assert "tried_at" not in json.dumps(output.state)


@pytest.mark.parametrize("stream", ["labels", "data_row_exports"])
def test_a_project_that_gets_on_is_gone_on_with(
    serving: Any, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its export is gone, and whatever comes after it."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    monkeypatch.setattr("tap_labelbox.exports.tasks.PIECE_BYTES", 500)
    run = serving(World(projects=3, labels_per_project=9), part_size=3_000)
    whole = run(stream, page_size=3)
    first = whole.records(stream)[0]["project_id"]
    cut = [*before_a_record(whole.messages, count=6)]
    state = [m["value"] for m in cut if m["type"] == "STATE"][-1]
    assert "tried_at" not in json.dumps(state)

    output = run(stream, state=state)

    assert output.records(stream)[0]["project_id"] == first


def before_a_record(
    messages: list[dict[str, Any]], count: int = 1
) -> Iterator[dict[str, Any]]:
    """Yield the messages before the first record, or before another one."""
    for message in messages:
        count -= message["type"] == "RECORD"
        if not count:
            return
        yield message


# --- exports of runs that were cut off ------------------------------------------


def test_an_export_that_was_started_is_found_by_its_name(serving: Any) -> None:
    """However soon after its start a run is killed."""
    run = serving(World(projects=3, labels_per_project=3))
    whole = run("data_row_exports", "annotations")
    count = started(run.sandbox)
    begun = next(s for s in whole.states if "unfinished_runs" in json.dumps(s))
    assert '"task_id"' not in json.dumps(begun)

    output = run("data_row_exports", "annotations", state=begun)

    assert started(run.sandbox) == count == 3
    assert len(output.records("annotations")) == len(whole.records("annotations"))


def test_an_export_of_a_finished_run_is_not_read_again(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one of a project that was read to its end by a run that was cut off."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    run = serving(World(projects=3, labels_per_project=3))
    whole = run("data_row_exports")
    cut = cut_after(whole, 1, "data_row_exports")

    options = {"export_scope": "project"}
    run("data_row_exports", state=whole.state, **options)
    assert started(run.sandbox) == 6
    run("data_row_exports", state=cut.states[-1], **options)
    assert started(run.sandbox) == 7


@pytest.mark.parametrize("known", [True, False], ids=["names", "no names"])
def test_an_export_that_was_not_ready_is_picked_up(serving: Any, known: Any) -> None:
    """By its name, or where Labelbox lists no tasks, by the state alone."""
    run = serving(World(projects=3, labels_per_project=3), polls=10**9)
    cut = stopped_while_waiting(run, "annotations", exports=3)
    assert started(run.sandbox) == 3
    run.sandbox.polls = 0
    if not known:
        empty = {"data": {"user": {"id": "u", "tasks": []}}}
        run.sandbox.before = lambda r: (
            Reply(200, {}, empty) if r.operation == "Tasks" else None
        )

    output = run("annotations", state=cut.state)

    assert output.error is None
    assert started(run.sandbox) == 3
    count = len(output.records("annotations"))
    assert count == len(run("annotations").records("annotations")) > 0


def stopped_while_waiting(run: Runner, stream: str, exports: int) -> Output:
    """Run the tap until it waits for so many exports, and stop it then."""
    assert run.folder
    config = run.folder / "config.json"
    config.write_text(json.dumps(run.config()))
    arguments = ("--config", str(config), "--catalog", select(run, stream))
    with subprocess.Popen(
        [sys.executable, "-m", "tap_labelbox", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        asked_about: set[str] = set()
        while len(asked_about) < exports:
            assert process.poll() is None
            time.sleep(0.01)
            asked_about = {
                request.variables["task_id"]
                for request in [*run.sandbox.requests]
                if request.operation == "ExportStatus"
            }
        process.terminate()
        output, _ = process.communicate()
    return Output(output)


def select(run: Runner, *streams: str) -> str:
    """Write a catalog that selects some streams; give its path."""
    from tap_labelbox.tap import TapLabelbox  # noqa: PLC0415  # only here

    catalog = TapLabelbox(config=run.config()).catalog_dict
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            if not item["breadcrumb"]:
                item["metadata"]["selected"] = entry["tap_stream_id"] in streams
    assert run.folder
    path = run.folder / "catalog.json"
    path.write_text(json.dumps(catalog))
    return str(path)


@pytest.mark.parametrize("beyond", [0, 1, 10**9])
def test_at_a_position_beyond_the_end_the_export_is_made_anew(
    serving: Any, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    """The state may be of another export, or have been edited.

    At its very end too: with no more records, some targets never confirm a state.
    """
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    run = serving(World(projects=1, labels_per_project=9))
    whole = run("data_row_exports")
    *_, state = [s for s in whole.states if '"position"' in json.dumps(s)]
    (partition,) = state["bookmarks"]["data_row_exports"]["partitions"]
    partition["export"]["position"] += beyond

    output = run("data_row_exports", state=state)

    assert output.error is None
    assert data_row_ids(output) == data_row_ids(whole)


CODES: dict[str, Callable[[str], Reply]] = {
    "API_LIMIT": lambda text: Reply(200, {}, error(text, "API_LIMIT")),
    "not allowed": lambda text: Reply(200, {}, error(text, "OPERATION_NOT_ALLOWED")),
    "conflict": lambda text: Reply(409, {}, error(text, "RESOURCE_CONFLICT")),
    "malformed": lambda text: Reply(200, {}, error(text, "MALFORMED_REQUEST")),
    "bad input": lambda text: Reply(200, {}, error(text, "BAD_USER_INPUT")),
    "none": lambda text: Reply(200, {}, {"errors": [{"message": text}]}),
    "422": lambda text: Reply(422, {}, {"message": text}),
    "400": lambda text: Reply(400, {}, {"message": text}),
    "426": lambda text: Reply(426, {}, {"message": text}),
    "426 within": lambda text: Reply(
        200,
        {},
        {
            "errors": [
                {
                    "message": text,
                    "extensions": {
                        "code": "INTERNAL_SERVER_ERROR",
                        "exception": {"status": 426},
                    },
                }
            ]
        },
    ),
}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "text",
    [
        "Too many exports are running, try again later",
        "You have reached the maximum number of concurrent export tasks",
        "Export limit exceeded for this organization",
        "20 exports are already in progress",
    ],
)
def test_too_many_exports_are_waited_for(serving: Any, code: str, text: str) -> None:
    """Whatever the code, which nobody knows; the message says it."""
    run = serving(World(projects=2, labels_per_project=2))
    refused = iter([True, True])

    def refuse(request: Request) -> Reply | None:
        if request.operation == "StartExport" and next(refused, False):
            return CODES[code](text)
        return None

    run.sandbox.before = refuse
    output = run("data_row_exports")

    assert output.error is None
    assert len(project_ids(output, "data_row_exports")) == 2


@pytest.mark.parametrize("code", ["conflict", "malformed", "not allowed"])
def test_another_refusal_is_not_waited_for(serving: Any, code: str) -> None:
    """Else each project would take export_timeout."""
    run = serving(World(projects=2, labels_per_project=2))
    run.sandbox.before = lambda r: (
        CODES[code]("This filter is not supported")
        if r.operation == "StartExport"
        else None
    )

    output = run("data_row_exports", concurrency=1)

    assert isinstance(output.error, IncompleteError)
    assert started(run.sandbox) <= 2


# --- the first STATE ------------------------------------------------------------


@pytest.mark.parametrize("streams", [("projects",), ("labels",), STREAMS])
def test_the_first_state_is_the_one_given(serving: Any, streams: Any) -> None:
    """After the first SCHEMA and before all else: targets take it for their base."""
    run = serving(World(projects=3, labels_per_project=5))
    first = run(*streams)
    variant: State = {"bookmarks": {**first.state["bookmarks"], "gone": {"a": 1}}}

    states: list[State | None] = [None, {}, {"bookmarks": {}}, variant, *first.states]
    for inputs in states:
        output = run(*streams, state=inputs)
        kinds = [message["type"] for message in output.messages]
        assert output.states[0] == (inputs or {"bookmarks": {}})
        assert set(kinds[: kinds.index("STATE")]) == {"SCHEMA"}


def test_a_first_state_precedes_batch_files(run: Runner, tmp_path: Any) -> None:
    """A BATCH message is one of all that has to come later."""
    output = run(
        "projects",
        "labels",
        batch_config={
            "encoding": {"format": "jsonl"},
            "storage": {"root": str(tmp_path / "files")},
        },
    )

    kinds = [message["type"] for message in output.messages]
    assert kinds[:2] == ["SCHEMA", "STATE"]
    assert output.states[0] == {"bookmarks": {}}


# --- the end of a run -------------------------------------------------------------


def test_a_run_has_a_time_limit(serving: Any) -> None:
    """It ends with its state, and with the exit code that says: try again."""
    run = serving(World(projects=4, labels_per_project=3), latency=0.5)

    done = run.command(max_run_seconds=4)

    output = Output(done.stdout)
    assert done.returncode == 75
    assert output.messages[-1]["type"] == "STATE"
    assert "Interrupted: the next run resumes from this state" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_within_its_limit_is_not_stopped(serving: Any) -> None:
    """Nor is the process later."""
    run = serving(World(projects=1, labels_per_project=1))

    done = run.command(max_run_seconds=10_000)

    assert done.returncode == 0
    assert signal.getsignal(signal.SIGTERM) is not None
