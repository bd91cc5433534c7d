"""One export for what happened in many projects: it brings what one of each brings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import Reply, World, serve
from tap_labelbox.sandbox.replies import error
from tests.kills import Cut, run_until
from tests.runner import PRIMARY_KEYS, Output, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tap_labelbox.sandbox.world import Project

    State = dict[str, Any]

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
NIGHT = datetime(2026, 6, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
STREAMS = ("data_row_exports", "export_labels", "label_reviews")
ALL_STREAMS = (
    *(*STREAMS, "annotations", "annotation_relationships", "workflow_history"),
    *("data_row_metadata", "data_row_attachments", "export_errors"),
)
BY_PROJECT, TOGETHER = "StartExport", "StartCatalogExport"
SIGNATURE = re.compile(r"[?]Expires=[^\"\\]*")
Table = dict[tuple[str, ...], dict[str, Any]]


def count(run: Runner, operation: str) -> int:
    """Return how many requests there were of a kind."""
    return [request.operation for request in run.sandbox.requests].count(operation)


def load(table: Table, output: Output, *streams: str) -> None:
    """Bring records into a table as a warehouse does: the last one of a key counts."""
    for stream in streams:
        for record in output.records(stream):
            key = (stream, *(str(record[column]) for column in PRIMARY_KEYS[stream]))
            # Addresses in it are others in each export.
            table[key] = json.loads(SIGNATURE.sub("", json.dumps(record)))


def loaded(*outputs: Output, streams: tuple[str, ...] = STREAMS) -> Table:
    """Return the table of some runs."""
    table: Table = {}
    for output in outputs:
        load(table, output, *streams)
    return table


def current(table: Table) -> Table:
    """Return the records that were in the latest export of their data row."""
    at = {
        (r["project_id"], r["data_row_id"]): r["last_activity_at"]
        for (stream, *_), r in table.items()
        if stream == "data_row_exports"
    }
    return {
        key: r
        for key, r in table.items()
        if r["last_activity_at"] == at[r["project_id"], r["data_row_id"]]
    }


def bookmarks(state: State) -> dict[tuple[str, str], str]:
    """Return the bookmarks of all projects, by stream."""
    return {
        (name, partition["context"]["project_id"]): partition["replication_key_value"]
        for name, bookmark in state["bookmarks"].items()
        for partition in bookmark.get("partitions", [])
        if "replication_key_value" in partition
    }


def marks(state: State, stream: str = STREAMS[0]) -> dict[str, str]:
    """Return up to when each project has been read."""
    return {
        partition["context"]["project_id"]: partition["read_up_to"]
        for partition in state["bookmarks"][stream]["partitions"]
        if "read_up_to" in partition
    }


def older(state: State) -> State:
    """Return a state of before there were marks."""
    result: State = json.loads(json.dumps(state))
    for bookmark in result["bookmarks"].values():
        for partition in bookmark.get("partitions", []):
            partition.pop("read_up_to", None)
        bookmark["partitions"] = [
            p for p in bookmark.get("partitions", []) if len(p) > 1
        ]
    return result


# --- both scopes, night by night ----------------------------------------------------


@dataclass
class Scene:
    """A workspace in which something happens, read by one export and by many."""

    chance: Random
    run: Runner
    settings: dict[str, Any]
    locked: set[str] = field(default_factory=set)
    """Projects that are listed, but that the key may not read just now."""

    def __post_init__(self) -> None:
        self.run.sandbox.before = self.lock

    def lock(self, request: Request) -> Reply | None:
        """Return no reply; show locked projects to the list only."""
        is_list = request.operation == "ProjectIds"
        for project_id in self.locked:
            self.project(project_id).forbidden = not is_list
        return None

    def project(self, project_id: str) -> Project:
        """Return any project."""
        project = self.run.world.project(project_id)
        assert project
        return project

    def go_on(self, now: datetime) -> None:
        """Have a few things happen in the day before this."""
        world, chance = self.run.world, self.chance
        for project_id in self.locked:
            self.project(project_id).forbidden = False
        self.locked.clear()
        for _ in range(chance.randint(0, 4)):
            at = now - timedelta(seconds=chance.randint(1, 86_000))
            world.now = lambda at=at: at  # type: ignore[misc]
            happen = chance.choice(HAPPENINGS)
            happen(self, chance.choice(world.projects), at)

    def label(self, project: Project, at: datetime) -> None:
        """Have a data row labeled, a new one or one of the first."""
        row = self.chance.choice([None, *project.data_rows[:5]])
        self.run.world.add_label(project.id, at, data_row=row)

    def share(self, project: Project, _: datetime) -> None:
        """Have a data row of another project labeled in this one as well."""
        world = self.run.world
        if rows := [row for row in world.data_rows if project not in row.projects]:
            world.add_to_project(self.chance.choice(rows), project.id)

    def forget(self, project: Project, _: datetime) -> None:
        """Have a label deleted."""
        if project.labels:
            self.run.world.delete_label(self.chance.choice(project.labels).id)

    def begin(self, _: Project, at: datetime) -> None:
        """Have a project made, perhaps with something in it."""
        added = self.run.world.add_project(labels=0)
        for _label in range(self.chance.randint(0, 2)):
            self.run.world.add_label(added.id, at)

    def end(self, project: Project, _: datetime) -> None:
        """Have a project deleted, unless there are few."""
        if len(self.run.world.projects) > 3:
            self.run.world.delete_project(project.id)

    def forbid(self, project: Project, _: datetime) -> None:
        """Have a project that is listed, and cannot be read."""
        self.locked.add(project.id)

    def read(self, scope: str, state: State | None, now: datetime) -> Output:
        """Read it all in a scope."""
        return self.run(
            *STREAMS, state=state, now=now, export_scope=scope, **self.settings
        )


HAPPENINGS = (
    *(Scene.label, Scene.label, Scene.label, Scene.share),
    *(Scene.forget, Scene.begin, Scene.end, Scene.forbid),
)


@pytest.mark.parametrize("scope", ["auto", "workspace"])
@pytest.mark.parametrize("number", range(6))
def test_both_scopes_read_the_same(number: int, scope: str) -> None:
    """To the letter: records, keys and bookmarks, whatever happens between the nights.

    Rows in several projects and in none, projects that are not asked for, that appear,
    are deleted, or are forbidden for a night; states of before there were marks.
    """
    chance = Random(f"{number} {scope}")
    world = World(projects=5, labels_per_project=3, seed=number + 1)
    world.now = lambda: NIGHT
    world.add_project(labels=0)  # has nothing
    row = world.projects[1].data_rows[0]
    world.add_to_project(row, world.projects[2].id)
    settings: dict[str, Any] = {"lookback_seconds": chance.choice([0, 60, 3600])}
    if chance.random() < 0.4:
        settings["exclude_project_ids"] = [world.projects[0].id]
    if chance.random() < 0.3:
        settings["start_date"] = "2025-11-01T00:00:00Z"
    with serve(world, polls=0) as sandbox:
        scene = Scene(chance, Runner(sandbox, world), settings)
        separate: Table = {}
        together: Table = {}
        states: list[State | None] = [None, None]
        for night in range(5):
            now = NIGHT + night * DAY
            if night:
                scene.go_on(now)
            state = states[1]
            if state and chance.random() < 0.3:
                state = older(state)
            by_project = scene.read("project", states[0], now)
            at_once = scene.read(scope, state, now)
            # A failure is one of both.
            assert str(by_project.error) == str(at_once.error)
            load(separate, by_project, *STREAMS)
            load(together, at_once, *STREAMS)
            assert together == separate
            assert bookmarks(at_once.state) == bookmarks(by_project.state)
            states = [by_project.state, at_once.state]
        assert count(scene.run, TOGETHER) > 0


# --- what it costs --------------------------------------------------------------------


@pytest.fixture
def workspace(serving: Callable[..., Runner]) -> Runner:
    """Return what runs the tap against some projects."""
    return serving(World(projects=30, labels_per_project=1), polls=1)


def test_a_night_without_news_costs_few_requests(workspace: Runner) -> None:
    """The list, an export, whether it is ready, and whether all projects are there."""
    first = workspace(*ALL_STREAMS, now=NIGHT, export_scope="project")
    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (30, 0)
    workspace.sandbox.requests.clear()

    second = workspace(*ALL_STREAMS, now=NIGHT + DAY, state=first.state)

    assert second.error is None
    assert bookmarks(second.state) == bookmarks(first.state)
    assert [request.operation for request in workspace.sandbox.requests] == [
        *("ProjectIds", "StartCatalogExport", "ExportStatus", "ExportStatus"),
        *("ExportOpening", "Project"),
    ]
    assert str(workspace.sandbox.requests[-1].query).count("project(") == 30


def test_what_happened_costs_no_more(workspace: Runner) -> None:
    """Only the projects without a row are asked after."""
    first = workspace(*ALL_STREAMS, "labels", now=NIGHT)
    workspace.sandbox.requests.clear()
    changed = workspace.world.projects[::3]
    labels = [workspace.world.add_label(p.id, NIGHT + DAY / 2) for p in changed]

    second = workspace(*ALL_STREAMS, "labels", now=NIGHT + DAY, state=first.state)

    label_ids = {record["label_id"] for record in second.records("export_labels")}
    assert label_ids == {label.id for label in labels}
    asked = [r for r in workspace.sandbox.requests if r.path == "/graphql"]
    assert len(asked) <= 6 + 2  # of labels, 20 projects each


def test_a_night_costs_what_the_readme_says(serving: Callable[..., Runner]) -> None:
    """By the number of projects, for each kind of stream that may be selected."""
    projects = 240
    prices = [
        projects / int(share) + int(more or 0)
        for share, more in re.findall(r"\*P\* / (\d+)(?: \+ (\d+))?", README)
    ]
    run = serving(World(projects=projects, labels=0), polls=1)
    first = run("export_labels", "labels", now=NIGHT, export_scope="workspace")
    run.sandbox.requests.clear()

    second = run("export_labels", "labels", now=NIGHT + DAY, state=first.state)

    assert second.error is None
    lists, labels = count(run, "ProjectIds"), count(run, "Labels")
    exported = len(run.sandbox.requests) - lists - labels
    for price, taken in zip(prices, (lists, exported, labels), strict=True):
        assert price / 2 < taken <= price


def test_states_take_as_much_as_there_are_projects(
    serving: Callable[..., Runner],
) -> None:
    """Not as much as their number times that of their turns."""
    taken = []
    for projects in (10, 40):
        run = serving(World(projects=projects, labels_per_project=1), polls=0)
        first = run(*ALL_STREAMS, "labels", now=NIGHT)
        for scope in ("auto", "project"):
            output = run(
                *(*ALL_STREAMS, "labels"),
                now=NIGHT + DAY,
                state=first.state,
                export_scope=scope,
            )
            assert output.error is None
            lines = (line for line in output.text.split("\n") if '"STATE"' in line[:20])
            taken.append(sum(map(len, lines)))
    assert taken[2] < 6 * taken[0]
    assert taken[3] < 6 * taken[1]


# --- the first time -------------------------------------------------------------------


def test_small_projects_are_read_together_the_first_time(workspace: Runner) -> None:
    """With the same records and bookmarks; the next night finds its marks."""
    workspace.world.add_project(labels=0)  # has nothing

    first = workspace(*ALL_STREAMS, now=NIGHT)

    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (0, 1)
    assert len(workspace.sandbox.requests) < 10
    separate = workspace(*ALL_STREAMS, now=NIGHT, export_scope="project")
    assert loaded(first, streams=ALL_STREAMS) == loaded(separate, streams=ALL_STREAMS)
    assert bookmarks(first.state) == bookmarks(separate.state)
    assert marks(first.state) == marks(separate.state)
    workspace.sandbox.requests.clear()
    workspace(*ALL_STREAMS, now=NIGHT + DAY, state=first.state)
    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (0, 1)


def test_a_stream_that_is_new_is_read_together(workspace: Runner) -> None:
    """Though the others have read all projects; what is older they need not read."""
    first = workspace("label_reviews", now=NIGHT)
    workspace.sandbox.requests.clear()
    label = workspace.world.add_label(workspace.world.projects[3].id, NIGHT + DAY / 2)

    second = workspace(*STREAMS, now=NIGHT + DAY, state=first.state)

    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (0, 1)
    whole = workspace(*STREAMS, now=NIGHT + DAY, export_scope="project")
    assert loaded(first, second) == loaded(whole)
    assert label.id in {r["label_id"] for r in second.records("export_labels")}


@pytest.mark.parametrize("why", ["few", "large", "not said", "refused"])
def test_who_is_read_alone_the_first_time(
    serving: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Few projects, those of a large workspace, and where its size is not known."""
    projects = 19 if why == "few" else 20
    run = serving(World(projects=projects, labels_per_project=1), polls=0)
    if why == "large":
        rows = len(run.world.catalog) - 1
        limit = "tap_labelbox.base.project_exports.MAX_WINDOW_ROWS"
        monkeypatch.setattr(limit, rows)

    def fail(request: Request) -> Reply | None:
        is_size = request.operation == "DatasetIds"
        if is_size and why == "refused":
            return Reply(body=error("You have no access to datasets", "FORBIDDEN"))
        if is_size and why == "not said":
            row = {"id": "ckx", "created_at": None, "row_count": None}
            return Reply(body={"data": {"datasets": [row]}})
        return None

    run.sandbox.before = fail

    output = run(*STREAMS, now=NIGHT)

    assert output.error is None
    assert (count(run, BY_PROJECT), count(run, TOGETHER)) == (projects, 0)
    assert count(run, "DatasetIds") == (why != "few")


def test_wherever_a_first_load_is_cut_off_the_next_run_reads_the_rest(
    workspace: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same export, from where the last state is."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", 1e9)
    monkeypatch.setattr("tap_labelbox.exports.tasks.PIECE_BYTES", 500)
    whole = workspace(*STREAMS, now=NIGHT)
    lines = len(whole.messages)

    for at in range(4, lines, max(1, lines // 4)):
        part = run_until(workspace, Cut(lines=at), *STREAMS, now=NIGHT)
        workspace.sandbox.requests.clear()
        state = part.states[-1] if part.states else None
        rest = workspace(*STREAMS, now=NIGHT, state=state)
        assert rest.error is None
        assert count(workspace, BY_PROJECT) == 0
        kept = Output(part.output.decode().rpartition("\n")[0])
        assert loaded(kept, rest) == loaded(whole)
        assert bookmarks(rest.state) == bookmarks(whole.state)


# --- from when on -----------------------------------------------------------------


def test_a_quiet_project_does_not_drag_the_window_back(workspace: Runner) -> None:
    """The window begins at the time of the last export, less some minutes."""
    first = workspace(*STREAMS, now=NIGHT)
    workspace.sandbox.requests.clear()

    workspace(*STREAMS, now=NIGHT + DAY, state=first.state, lookback_seconds=60)

    (started,) = (r for r in workspace.sandbox.requests if r.operation == TOGETHER)
    ((window,), params) = (
        started.variables["input"]["filters"]["searchQuery"]["query"],
        started.variables["input"]["params"],
    )
    since = NIGHT - timedelta(minutes=5, seconds=60)
    assert window["value"]["value"]["min"] == f"{since:%Y-%m-%d %H:%M:%S}"
    assert params["allProjects"] is True
    assert params["includeLabelDetails"] is True


@pytest.mark.parametrize("hours", [-5, 0, 5])
@pytest.mark.parametrize("scope", ["auto", "workspace"])
def test_nothing_falls_between_two_exports(
    serving: Callable[..., Runner], hours: int, scope: str
) -> None:
    """Without any lookback, with an index that is behind, and a clock that is off."""
    run = serving(
        World(projects=4, labels_per_project=2), polls=0, export_lag=45, lagging=0.5
    )
    outputs: list[Output] = []
    now = NIGHT
    for night in range(5):
        now = NIGHT + night * timedelta(hours=7)
        for seconds in (1, 20, 50, 200, 4000):
            at = now - timedelta(seconds=seconds)
            run.world.now = lambda at=at: at  # type: ignore[misc]
            run.world.add_label(run.world.projects[seconds % 4].id, at)
        outputs.append(
            run(
                *STREAMS,
                state=outputs[-1].state if outputs else None,
                now=now,
                clock=now + timedelta(hours=hours),
                lookback_seconds=0,
                export_scope=scope,
            )
        )
        assert outputs[-1].error is None
    now += DAY  # when even a clock that is behind has got there
    outputs.append(
        run(
            *STREAMS,
            state=outputs[-1].state,
            now=now,
            lookback_seconds=0,
            export_scope=scope,
        )
    )
    whole = run(*STREAMS, now=now, export_scope="project")

    assert count(run, TOGETHER) > 0
    assert current(loaded(*outputs)) == current(loaded(whole))


def test_a_mark_is_no_later_than_the_server_says(
    serving: Callable[..., Runner],
) -> None:
    """Nor than what the export was asked for, if this machine's clock is behind."""
    run = serving(World(projects=3, labels_per_project=1), polls=0)
    behind = NIGHT - timedelta(hours=3)

    output = run(*STREAMS, now=NIGHT, clock=behind)

    expected = timestamps.isoformat(behind - timedelta(minutes=5))
    assert set(marks(output.state).values()) == {expected}
    after = run(*STREAMS, now=NIGHT + DAY, state=output.state)
    expected = timestamps.isoformat(NIGHT + DAY - timedelta(minutes=5))
    assert set(marks(after.state).values()) == {expected}


# --- who is exported with others ----------------------------------------------------


def test_a_new_project_is_exported_alone(workspace: Runner) -> None:
    """For the first time; then with the others, though nothing is in it."""
    first = workspace(*STREAMS, now=NIGHT)
    workspace.sandbox.requests.clear()
    workspace.world.add_project(labels=0)

    second = workspace(*STREAMS, now=NIGHT + DAY, state=first.state)
    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (1, 1)
    workspace(*STREAMS, now=NIGHT + 2 * DAY, state=second.state)
    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (1, 2)


@pytest.mark.parametrize(
    ("filters", "together"),
    [
        ({"workflow_status": "DONE"}, 0),
        ({"label_created_after": "2020-01-01"}, 1),
    ],
)
def test_filters_that_only_projects_know(
    workspace: Runner, filters: dict[str, Any], together: int
) -> None:
    """Are asked of projects."""
    settings: dict[str, Any] = {"now": NIGHT, "export_filters": filters}
    first = workspace(*STREAMS, export_scope="project", **settings)

    workspace(*STREAMS, state=first.state, **settings)

    assert count(workspace, TOGETHER) == together


def test_a_scope_can_be_chosen(workspace: Runner) -> None:
    """All from one export from the first run on, or each from its own for ever."""
    whole = workspace(*STREAMS, now=NIGHT, export_scope="workspace")
    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (0, 1)

    separate = workspace(*STREAMS, now=NIGHT, export_scope="project")
    workspace(*STREAMS, now=NIGHT, export_scope="project", state=separate.state)
    assert (count(workspace, BY_PROJECT), count(workspace, TOGETHER)) == (60, 1)
    assert loaded(whole) == loaded(separate)
    assert bookmarks(whole.state) == bookmarks(separate.state)


def test_a_project_that_is_forbidden_for_a_while(
    serving: Callable[..., Runner],
) -> None:
    """Its mark stays, and what happened in it comes once it may be read again."""
    run = serving(World(projects=4, labels_per_project=1), polls=0)
    first = run(*STREAMS, now=NIGHT)
    scene = Scene(Random(1), run, {})
    project = run.world.projects[1]
    label = run.world.add_label(project.id, NIGHT + DAY / 2)
    scene.locked.add(project.id)

    second = run(*STREAMS, now=NIGHT + DAY, state=first.state)

    assert isinstance(second.error, IncompleteError)
    assert project.id in str(second.error)
    assert marks(second.state)[project.id] == marks(first.state)[project.id]
    others = {at for p, at in marks(second.state).items() if p != project.id}
    assert others == {timestamps.isoformat(NIGHT + DAY - timedelta(minutes=5))}
    scene.locked.clear()
    project.forbidden = False
    third = run(*STREAMS, now=NIGHT + 2 * DAY, state=second.state)
    assert third.error is None
    assert label.id in {r["label_id"] for r in third.records("export_labels")}


def test_a_project_that_was_cut_off_is_read_on_alone(
    serving: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window goes back to where it was left, which is not where others are."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", 1e9)
    monkeypatch.setattr("tap_labelbox.exports.windows.MAX_WINDOW_ROWS", 1)
    run = serving(World(projects=3, labels_per_project=9), polls=0)
    whole = run(*STREAMS, now=NIGHT)
    assert count(run, BY_PROJECT) > 10
    cut = next(
        state
        for state in whole.states
        if bookmarks(state) and "task_id" not in json.dumps(state["bookmarks"])
    )
    assert "reading_until" in json.dumps(cut)
    assert "reading_until" not in json.dumps(whole.state)
    # Had all of them been cut off there, nobody would be ahead of them.
    state = json.loads(json.dumps(whole.state))
    for name, bookmark in state["bookmarks"].items():
        if "reading_until" in json.dumps(cut["bookmarks"].get(name)):
            for partition in bookmark["partitions"]:
                partition["reading_until"] = timestamps.isoformat(NIGHT)
    run.sandbox.requests.clear()

    rest = run(*STREAMS, now=NIGHT + DAY, state=state)

    assert rest.error is None
    assert count(run, TOGETHER) == 0 < count(run, BY_PROJECT)
    assert "reading_until" not in json.dumps(rest.state)


# --- where it cannot be had ---------------------------------------------------------


def is_of_catalog(run: Runner, request: Request) -> bool:
    """Return whether a request is about an export of many projects, or its file."""
    task_ids = {task.id for task in run.sandbox.tasks if task.kind == "Catalog"}
    asked = str(request.variables.get("task_id"))
    return asked in task_ids or any(task_id in request.path for task_id in task_ids)


def refused(_: Runner, request: Request) -> Reply | None:
    """Refuse exports of the catalog."""
    reply = Reply(200, {}, error("You may not", "AUTHORIZATION_ERROR"))
    return reply if request.operation == TOGETHER else None


def failed(run: Runner, _: Request) -> None:
    """Have them fail."""
    run.sandbox.largest_catalog_export = 0


def late(run: Runner, request: Request) -> Reply | None:
    """Have them made for ever."""
    if request.operation != "ExportStatus" or not is_of_catalog(run, request):
        return None
    return Reply(200, {}, {"data": {"task": {"status": "IN_PROGRESS"}}})


def unexportable(run: Runner, request: Request) -> None:
    """Have a data row in them that Labelbox cannot export."""
    run.sandbox.unexportable = int(is_of_catalog(run, request))


def spoiling(run: Runner, text: bytes, by: bytes) -> None:
    """Have another text in their files."""

    def after(request: Request, reply: Reply) -> Reply:
        is_file = request.path.startswith("/files/")
        if is_file and is_of_catalog(run, request):
            reply.body = reply.content().replace(text, by, 1)
        return reply

    run.sandbox.after = after


def malformed(run: Runner, _: Request) -> None:
    """Have a data row in them without an ID."""
    spoiling(run, b'{"data_row":{"id":', b'{"data_row":{"xx":')


def broken(run: Runner, _: Request) -> None:
    """Have a line in them that is no JSON."""
    spoiling(run, b'{"data_row":{"id":', b'{"data_row" {"id":')


def undated(run: Runner, _: Request) -> None:
    """Have a data row in them that does not say when it was active."""
    spoiling(run, b'"last_activity_at"', b'"last_activity_xx"')


@pytest.mark.parametrize(
    "spoil", [refused, failed, late, unexportable, malformed, broken, undated]
)
def test_where_it_cannot_be_had_projects_are_exported_one_by_one(
    serving: Callable[..., Runner],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Runner, Request], Reply | None],
) -> None:
    """With one warning; nothing is lost, and the bookmarks are the same."""
    run = serving(World(projects=4, labels_per_project=2), polls=0)
    first = run(*STREAMS, now=NIGHT)
    for project in run.world.projects:
        run.world.add_label(project.id, NIGHT + DAY / 2)
    now = NIGHT + DAY
    expected = run(*STREAMS, now=now, state=first.state, export_scope="project")
    run.sandbox.requests.clear()
    run.sandbox.before = lambda request: spoil(run, request)

    output = run(*STREAMS, now=now, state=first.state, export_timeout=0.3)

    assert output.error is None
    assert loaded(first, output) == loaded(first, expected)
    assert bookmarks(output.state) == bookmarks(expected.state)
    assert (count(run, TOGETHER), count(run, BY_PROJECT)) == (1, 4)
    assert len([m for m in caplog.messages if "one by one" in m]) == 1
    assert "latest_by_project" not in json.dumps(output.state)


def test_a_server_that_does_not_say_when_a_task_was_made(
    serving: Callable[..., Runner], caplog: pytest.LogCaptureFixture
) -> None:
    """Leaves no mark: projects in which much happened lately are still read at once."""
    run = serving(
        World(projects=4, labels_per_project=2), polls=0, forget=["Task.createdAt"]
    )
    outputs: list[Output] = []
    for night in range(3):
        now = NIGHT + night * DAY
        label = run.world.add_label(run.world.projects[night].id, now - DAY / 4)
        state = outputs[-1].state if outputs else None
        outputs.append(run(*STREAMS, now=now, state=state))
        assert outputs[-1].error is None
        label_ids = {r["label_id"] for r in outputs[-1].records("export_labels")}
        assert label.id in label_ids
    assert marks(outputs[-1].state) == {}
    assert len([m for m in caplog.messages if "createdAt" in m]) > 0


# --- runs that are cut off ----------------------------------------------------------


def test_an_export_of_many_is_in_the_state_as_soon_as_it_has_started(
    serving: Callable[..., Runner],
) -> None:
    """A run that is killed while it is made finds it there, and starts no other."""
    run = serving(World(projects=4, labels_per_project=2), polls=0)
    first = run(*STREAMS, now=NIGHT)
    label = run.world.add_label(run.world.projects[2].id, NIGHT + DAY / 2)
    run.sandbox.requests.clear()
    run.sandbox.polls = 10**9
    options: dict[str, Any] = {"now": NIGHT + DAY, "export_timeout": 60}
    cut = run_until(run, Cut(requests=8), *STREAMS, state=first.state, **options)
    assert "task_id" in json.dumps(cut.states[-1])
    run.sandbox.polls = 0

    output = run(*STREAMS, now=NIGHT + DAY, state=cut.states[-1])

    assert output.error is None
    assert (count(run, TOGETHER), count(run, BY_PROJECT)) == (1, 0)
    assert label.id in {r["label_id"] for r in output.records("export_labels")}
    assert "task_id" not in json.dumps(output.state)


def test_wherever_a_run_is_cut_off_the_next_one_reads_the_rest(
    serving: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the state that was written last; nothing is lost, bookmarks are right."""
    monkeypatch.setattr("tap_labelbox.singer.state.LATER_RUN_SHARE", 1e9)
    monkeypatch.setattr("tap_labelbox.exports.tasks.PIECE_BYTES", 500)
    run = serving(World(projects=4, labels_per_project=2), polls=0)
    first = run(*STREAMS, now=NIGHT)
    world = run.world
    for project in world.projects[:3]:
        for hour in (3, 9):
            world.add_label(project.id, NIGHT + timedelta(hours=hour))
    options: dict[str, Any] = {"now": NIGHT + DAY, "state": first.state}
    whole = run(*STREAMS, **options)
    lines = len(whole.messages)
    later = NIGHT + 2 * DAY
    expected = run(*STREAMS, now=later, state=whole.state)

    for at in range(4, lines, max(1, lines // 12)):
        part = run_until(run, Cut(lines=at), *STREAMS, **options)
        if not part.states:
            continue
        run.sandbox.requests.clear()
        rest = run(*STREAMS, now=NIGHT + DAY, state=part.states[-1])
        assert rest.error is None
        assert count(run, BY_PROJECT) == 0
        last = run(*STREAMS, now=later, state=rest.state)
        kept = Output(part.output.decode().rpartition("\n")[0])
        assert current(loaded(first, kept, rest, last)) == current(
            loaded(first, whole, expected)
        )
        assert bookmarks(last.state) == bookmarks(expected.state)


def test_what_a_run_had_begun_is_forgotten_where_it_is_not_wanted(
    serving: Callable[..., Runner],
) -> None:
    """A run by project leaves nothing of it in the state."""
    run = serving(World(projects=4, labels_per_project=2), polls=0)
    first = run(*STREAMS, now=NIGHT)
    run.sandbox.polls = 10**9
    cut = run_until(run, Cut(requests=8), *STREAMS, state=first.state, now=NIGHT + DAY)
    run.sandbox.polls = 0
    state = cut.states[-1]
    assert "latest_by_project" not in json.dumps(first.state)
    assert '"task_id"' in json.dumps(state)

    output = run(*STREAMS, state=state, now=NIGHT + DAY, export_scope="project")

    assert output.error is None
    assert '"task_id"' not in json.dumps(output.state)


def test_a_bookmark_in_the_future_keeps_no_other_back(
    serving: Callable[..., Runner], caplog: pytest.LogCaptureFixture
) -> None:
    """Its project is exported alone, with a warning, as ever."""
    run = serving(World(projects=4, labels_per_project=2), polls=0)
    first = run(*STREAMS, now=NIGHT)
    state = json.loads(json.dumps(first.state))
    for bookmark in state["bookmarks"].values():
        bookmark["partitions"][0]["replication_key_value"] = "2199-01-01T00:00:00.000Z"
    run.sandbox.requests.clear()

    output = run(*STREAMS, state=state, now=NIGHT + DAY)

    assert output.error is None
    assert (count(run, TOGETHER), count(run, BY_PROJECT)) == (1, 1)
    assert any("is in the future" in message for message in caplog.messages)
