"""State: one bookmark a project, at a cost that does not explode."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.singerlib import StateMessage

from tap_labelbox.sandbox import Reply, World
from tap_labelbox.singer.state import (
    FIRST_RUN_MAX_AGE_SECONDS,
    LATER_RUN_MAX_AGE_SECONDS,
    ProjectState,
    StateWriter,
    is_flatter,
    last_turn,
    malformed_bookmark,
)
from tap_labelbox.singer.writer import MessageWriter

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request
    from tests.clock import Clock
    from tests.runner import Runner


def test_the_last_message_is_a_state(run: Runner) -> None:
    """Some targets keep a STATE only if nothing comes after it."""
    first = run()
    second = run(state=first.state)
    third = run("projects", state=first.state)

    for output in (first, second, third):
        assert output.messages[-1]["type"] == "STATE"
    bookmarks = first.state["bookmarks"]
    logged = {name: bookmark for name, bookmark in bookmarks.items() if bookmark}
    assert third.state == {"bookmarks": logged | {"projects": {}}}


def test_no_state_repeats_the_message_before(run: Runner) -> None:
    """Once is enough."""
    messages = run().messages

    for single, other in pairwise(messages):
        assert single != other


def test_state_stays_small_beside_the_records(serving: Any) -> None:
    """A STATE names every project, so it is rarer the more there are."""
    output = serving(World(projects=300, labels_per_project=10))("labels")

    lines = output.text.splitlines(keepends=True)
    states = [line for line in lines if line.startswith('{"type":"STATE"')]
    assert len(output.records("labels")) == 3000
    assert len(states) > 10
    assert sum(map(len, states)) < len(output.text) / 5
    assert len(output.state["bookmarks"]["labels"]["partitions"]) == 300


def test_a_failed_run_says_how_far_it_came(run: Runner, world: World) -> None:
    """Rows that have been read need not be read again."""
    project_id = world.projects[0].id

    def refuse(request: Request) -> Reply | None:
        if request.operation == "Labels" and request.variables["skip"] > 0:
            error = {"message": "x", "extensions": {"code": "AUTHENTICATION_ERROR"}}
            return Reply(401, {}, json.dumps({"errors": [error]}).encode())
        return None

    run.sandbox.before = refuse
    output = run("labels", page_size=20)
    run.sandbox.before = None
    rest = run("labels", state=output.state)

    first = output.ids("labels")
    assert output.error is not None
    assert len(first) == 20
    assert {x.id for x in world.labels(project_id)} <= {*first, *rest.ids("labels")}
    assert len(rest.ids("labels")) < sum(
        len(world.labels(p.id)) for p in world.projects
    )


def test_a_bookmark_never_goes_back() -> None:
    """A label that was read again is older than the bookmark."""
    state = ProjectState(stream_name="labels", tap_name="tap-labelbox", tap_state={})
    state.advance("p1", "created_at", "2026-01-02T00:00:00.000Z")
    state.advance("p1", "created_at", "2026-01-01T00:00:00.000Z")

    assert state.bookmark("p1", "created_at") == "2026-01-02T00:00:00.000Z"


# One timestamp, as people and targets write it.
FORMS = [
    "2026-01-02T00:00:00.000Z",
    "2026-01-02T00:00:00Z",
    "2026-01-02T00:00:00+00:00",
    "2026-01-02T00:00:00.000000Z",
    "2026-01-02 00:00:00",
    "2026-01-02T02:00:00+02:00",
    "2026-01-01T19:00:00.000-05:00",
    "2026-01-02",
    "20260102T000000Z",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_bookmark_in_any_form_is_one_timestamp(form: str) -> None:
    """As text, ``...00Z`` is later than ``...00.500Z``."""
    partition = {"context": {"project_id": "p1"}, "replication_key_value": form}
    inputs = {"bookmarks": {"labels": {"partitions": [partition]}}}
    state = ProjectState(
        stream_name="labels", tap_name="tap-labelbox", tap_state=deepcopy(inputs)
    )

    assert state.bookmark("p1", "created_at") == FORMS[0]
    for earlier in ("2026-01-01T23:59:59.999Z", FORMS[0]):
        state.advance("p1", "created_at", earlier)
        assert state.bookmark("p1", "created_at") == FORMS[0]
    assert state.tap_state == inputs  # what was given goes out as it was given
    state.advance("p1", "created_at", "2026-01-02T00:00:00.001Z")
    assert state.bookmark("p1", "created_at") == "2026-01-02T00:00:00.001Z"


@pytest.mark.parametrize("form", FORMS)
def test_a_turn_in_any_form_is_one_timestamp(form: str) -> None:
    """Whichever of the two it is, and whose."""
    for key in ("read_at", "failed_at"):
        partition = {"context": {"project_id": "p1"}, key: form}
        bookmark = {"partitions": [partition]}
        state = ProjectState(
            stream_name="labels",
            tap_name="tap-labelbox",
            tap_state={"bookmarks": {"labels": bookmark}},
        )
        assert state.turn("p1") == last_turn(bookmark) == FORMS[0]
    assert last_turn({"read_at": form}) == FORMS[0]
    assert last_turn({"read_at": 5, "partitions": []}) == ""


@pytest.mark.parametrize("form", FORMS)
def test_a_run_reads_on_from_a_bookmark_in_any_form(serving: Any, form: str) -> None:
    """The same labels and data rows, and the same bookmark afterwards."""
    world = World(projects=1, labels=0)
    (project,) = world.projects
    at = datetime(2026, 1, 2, tzinfo=UTC)
    hours = [world.add_label(project.id, at + timedelta(hours=n)) for n in (-1, 0, 1)]
    run = serving(world)
    now = at + timedelta(hours=2)
    streams = ("labels", "data_row_exports", "export_labels")
    state = run(*streams, now=now).state
    for stream in streams:
        (partition,) = state["bookmarks"][stream]["partitions"]
        partition["replication_key_value"] = form
    inputs = deepcopy(state)

    output = run(*streams, state=state, now=now)

    assert output.error is None
    assert output.states[0] == inputs
    assert output.ids("labels") == [label.id for label in hours[1:]]
    result = {r["label_id"] for r in output.records("export_labels")}
    assert {label.id for label in hours[1:]} == result
    (partition,) = output.state["bookmarks"]["labels"]["partitions"]
    assert partition["replication_key_value"] == "2026-01-02T01:00:00.000Z"


def test_projects_that_are_gone_leave_the_state(run: Runner, world: World) -> None:
    """Else it would grow for ever; those that are only not asked for stay."""
    first = run("labels", "annotations")
    gone, kept = world.projects[0].id, world.projects[2].id
    world.delete_project(gone)

    second = run("labels", state=first.state, project_ids=[world.projects[0].id])

    def projects(stream: str) -> set[str]:
        partitions = second.state["bookmarks"][stream]["partitions"]
        return {partition["context"]["project_id"] for partition in partitions}

    for stream in ("labels", "annotations"):
        assert gone not in projects(stream)
        assert kept in projects(stream)


def test_an_empty_list_of_projects_keeps_the_state(run: Runner, world: World) -> None:
    """A key that sees none may see them again tomorrow."""
    first = run("labels")
    for project in list(world.projects):
        world.delete_project(project.id)

    second = run("labels", state=first.state)

    assert second.state == first.state


def test_a_bookmark_in_the_future_is_reported(
    run: Runner, world: World, caplog: Any
) -> None:
    """And what to do about it."""
    project_id = world.projects[0].id
    partition = {
        "context": {"project_id": project_id},
        "replication_key": "created_at",
        "replication_key_value": "2199-01-01T00:00:00.000Z",
    }

    run("labels", state={"bookmarks": {"labels": {"partitions": [partition]}}})

    (logged,) = {m for m in caplog.messages if "is in the future" in m}
    assert project_id in logged
    assert "check this machine's clock" in logged
    assert "run once without state" in logged


# --- what needs no run ------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_first_run", "seconds"),
    [(True, FIRST_RUN_MAX_AGE_SECONDS), (False, LATER_RUN_MAX_AGE_SECONDS)],
)
def test_a_state_is_due_after_some_time(
    clock: Clock, capsys: Any, is_first_run: Any, seconds: float
) -> None:
    """However little was written; not before, unless its bytes are few beside it."""
    writer = StateWriter(MessageWriter(), is_first_run=is_first_run)
    assert writer.is_due()  # nothing was written yet, and it has no bytes
    writer._last_bytes = 1000

    assert not writer.is_due()
    clock.pass_by(seconds)
    assert not writer.is_due()
    clock.pass_by(1)
    assert writer.is_due()
    assert capsys.readouterr().out == ""


def test_a_state_is_written_as_the_sdk_would_write_it() -> None:
    """But without being copied first; nulls within it stay."""
    message = StateMessage({"bookmarks": {"labels": {"partitions": [], "turn": None}}})

    line = MessageWriter().format_message(message)

    assert json.loads(line) == message.to_dict()
    assert line.startswith(b'{"type":"STATE","value":{"bookmarks"')


@pytest.mark.parametrize(
    ("bookmark", "is_malformed"),
    [
        ({}, False),
        ({"replication_key_value": "x"}, False),
        ({"partitions": []}, False),
        ({"partitions": [{"context": {}}]}, False),
        ({"partitions": [{"context": {}, "export": {}}]}, False),
        (5, True),
        (None, True),
        ([], True),
        ({"partitions": {}}, True),
        ({"partitions": None}, True),
        ({"partitions": [5]}, True),
        ({"partitions": [{}]}, True),
        ({"partitions": [{"context": "x"}]}, True),
        ({"partitions": [{"context": {}}, {"context": {}, "export": 5}]}, True),
    ],
)
def test_a_bookmark_that_cannot_be_ours_is_named(
    bookmark: Any, *, is_malformed: bool
) -> None:
    """By the name of its stream, among those that can."""
    state = {"bookmarks": {"one": {}, "other": bookmark, "third": {}}}

    assert malformed_bookmark(state) == ("other" if is_malformed else None)
    assert malformed_bookmark({}) is None


@pytest.mark.parametrize(
    ("value", "depth", "expected"),
    [
        (5, 0, True),
        ([], 0, False),
        ([], 1, True),
        ([[]], 1, False),
        ({"a": [5]}, 2, True),
        ({"a": [{}]}, 2, False),
    ],
)
def test_levels_are_counted(value: Any, depth: int, *, expected: bool) -> None:
    """Of lists and objects."""
    assert is_flatter(value, depth) is expected


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_the_lookback_brings_back_nothing_before_start_date(
    run: Runner, world: World, hours: int
) -> None:
    """Unless the bookmark is before it: somebody has read on from there."""
    bookmark = "2026-01-31T12:00:00.000Z"
    start = datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(hours=hours)
    context = {"project_id": world.projects[0].id}
    partition = {"context": context, "replication_key": "created_at"}
    partition["replication_key_value"] = bookmark
    tap = run.tap(
        state={"bookmarks": {"labels": {"partitions": [partition]}}},
        start_date=start.isoformat(),
        lookback_seconds=60,
    )
    stream: Any = tap.streams["labels"]

    since = stream.since(context)

    looked_back = "2026-01-31T11:59:00.000Z"
    assert since == (bookmark if hours == 0 else looked_back)
