"""A large export is split by time: nothing is lost between windows, or by a kill."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.exports import windows as rules
from tap_labelbox.exports.windows import (
    MAX_WINDOWS,
    MIN_SPLIT_TIME,
    MIN_WINDOW_TIME,
    Window,
    halves,
    windows,
)
from tap_labelbox.records.timestamps import isoformat, parse
from tap_labelbox.sandbox import Reply, World

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request, Sandbox
    from tests.runner import Output, Runner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAYS = 200  # of activity, a data row a day
STREAM = "data_row_exports"
TIMES = st.integers(0, 250_000_000).map(
    lambda seconds: isoformat(NOW - timedelta(seconds=seconds))
)


@given(
    since=st.none() | TIMES,
    until=TIMES,
    made_at=st.just("") | TIMES,
    count=st.none() | st.integers(0, 10**8),
)
def test_windows_cover_all_time(
    since: str | None, until: str, made_at: str, count: int | None
) -> None:
    """Each begins where the one before ends, and the ends are those of the whole."""
    split = windows(Window(since, until), made_at, count)

    assert (split[0].since, split[-1].until) == (since, until)
    assert all(a.until == b.since for a, b in pairwise(split))
    assert len(split) <= 2 * MAX_WINDOWS
    for window in split[1:]:
        span = parse(window.until) - parse(str(window.since))
        assert span > MIN_WINDOW_TIME or (span == MIN_WINDOW_TIME and count)
    if len(split) > 1:
        assert parse(until) - Window(since, until).begins_at(made_at) >= MIN_SPLIT_TIME


def test_edges_do_not_depend_on_when_a_run_begins() -> None:
    """So the next run finds what was prepared for one that was cut off."""
    made_at = "2024-01-01T00:00:00.000Z"
    first, second = (
        windows(Window(since, until), made_at, 1_000_000)
        for since, until in (
            (None, "2026-06-01T12:00:00.000Z"),
            ("2025-03-01T00:00:00.000Z", "2026-06-02T09:30:00.000Z"),
        )
    )

    assert len(second) > 5
    assert {*second[1:-1]} <= {*first}


@given(since=st.none() | TIMES, until=TIMES, made_at=st.just("") | TIMES)
def test_halves_cover_a_window(since: str | None, until: str, made_at: str) -> None:
    """Down to a day, which is not halved."""
    window = Window(since, until)
    depth = 0
    while parts := halves(window, made_at):
        assert [parts[0].since, parts[-1].until] == [window.since, window.until]
        assert parts[0].until == parts[1].since
        window = parts[depth % 2]
        depth += 1
        assert depth < 20

    assert parse(window.until) - window.begins_at(made_at) <= MIN_WINDOW_TIME


@pytest.fixture
def giant(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a workspace with a project of 200 data rows, a day apart."""
    monkeypatch.setattr(rules, "MAX_WINDOW_ROWS", 40)
    world = World(projects=0)
    world.now = lambda: NOW
    project = world.add_project(media="IMAGE", era="2023")
    project.created_at = NOW - timedelta(days=DAYS + 1)
    for number in range(DAYS):
        made_at = NOW - timedelta(days=DAYS - number, hours=1)
        row = world.add_label(project.id, made_at).data_row
        row.last_activity_at = made_at
    return world


def started(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the spans of time of the exports that were started, in order."""
    asked = [
        r.variables["input"] for r in sandbox.requests if r.operation == "StartExport"
    ]
    conditions = [i["filters"]["searchQuery"]["query"][0]["value"] for i in asked]
    return [
        c["value"] if isinstance(c["value"], dict) else {"max": c["value"]}
        for c in conditions
    ]


def rows(*outputs: Output) -> list[str]:
    """Return the data rows that came, each as often as it did."""
    return [r["data_row_id"] for o in outputs for r in o.records(STREAM)]


def expected(world: World) -> list[str]:
    """Return all data rows."""
    return sorted(row.id for row in world.data_rows)


def bookmark(output: Output) -> str | None:
    """Return the bookmark of the only project."""
    (partition,) = output.state["bookmarks"][STREAM]["partitions"]
    value: str | None = partition.get("replication_key_value")
    return value


def test_a_first_load_is_split(giant: World, serving: Any) -> None:
    """Into windows that meet, and each row comes once; the next load is whole."""
    run: Runner = serving(giant)

    first = run(STREAM, now=NOW)

    spans = sorted(started(run.sandbox), key=lambda span: span["max"])
    assert len(spans) > 3
    assert all(a["max"] == b["min"] for a, b in pairwise(spans))
    assert "min" not in spans[0]
    assert sorted(rows(first)) == expected(giant)
    newest = max(row.last_activity_at for row in giant.data_rows)
    assert bookmark(first) == isoformat(newest)
    run.sandbox.requests.clear()
    run(STREAM, now=NOW, state=first.state)
    assert len(started(run.sandbox)) == 1


@pytest.mark.parametrize(
    "settings",
    [{"export_windows": "none"}, {"start_date": isoformat(NOW - timedelta(days=20))}],
    ids=str,
)
def test_what_is_not_split(giant: World, serving: Any, settings: Any) -> None:
    """If that is not wanted, or if it takes less than a month."""
    run: Runner = serving(giant)

    run(STREAM, now=NOW, **settings)

    assert len(started(run.sandbox)) == 1


def test_a_small_project_is_not_split(
    giant: World, serving: Any, monkeypatch: Any
) -> None:
    """However old it is."""
    monkeypatch.setattr(rules, "MAX_WINDOW_ROWS", 50_000)
    run: Runner = serving(giant)

    assert sorted(rows(run(STREAM, now=NOW))) == expected(giant)
    assert len(started(run.sandbox)) == 1


def fail_beyond(sandbox: Sandbox, most: int, how: str) -> None:
    """Make exports of more than `most` data rows fail."""

    def hook(request: Request, reply: Reply) -> Reply | None:
        if request.operation != "ExportStatus":
            return None
        tasks = sandbox._workspace.data_row_exports.tasks  # to see their sizes
        (task,) = (t for t in tasks if t.id == request.variables["task_id"])
        if len(task.data_rows) <= most:
            return None
        task.status = how
        body = json.loads(reply.content())
        body["data"]["task"]["status"] = how
        return Reply(200, {}, body)

    sandbox.after = hook


@pytest.mark.parametrize(
    ("how", "most"),
    [("FAILED", 10), ("FAILED", 150), ("IN_PROGRESS", 150)],
)
def test_an_export_that_labelbox_fails_at_is_halved(
    giant: World, serving: Any, monkeypatch: Any, how: str, most: int, caplog: Any
) -> None:
    """Or one that is not ready in time; until it can be read. No row is lost."""
    monkeypatch.setattr(rules, "MAX_WINDOW_ROWS", 50_000)
    run: Runner = serving(giant)
    fail_beyond(run.sandbox, most, how)

    output = run(STREAM, now=NOW, export_timeout=1 if how == "IN_PROGRESS" else 60)

    assert output.error is None
    assert {*rows(output)} == {*expected(giant)}
    assert any("is exported in halves" in text for text in caplog.messages)


def test_an_export_of_a_day_that_fails_leaves_its_project_out(
    giant: World, serving: Any
) -> None:
    """With the bookmark behind what was read before, from where the next run reads."""
    run: Runner = serving(giant)
    sandbox = run.sandbox
    lost = sorted(giant.data_rows, key=lambda row: row.last_activity_at)[100]

    def hook(request: Request, reply: Reply) -> Reply | None:
        if request.operation != "ExportStatus":
            return None
        tasks = sandbox._workspace.data_row_exports.tasks  # to see their rows
        (task,) = (t for t in tasks if t.id == request.variables["task_id"])
        if lost not in task.data_rows:
            return None
        body = json.loads(reply.content())
        body["data"]["task"]["status"] = "FAILED"
        return Reply(200, {}, body)

    sandbox.after = hook
    broken = run(STREAM, now=NOW)
    sandbox.after = None
    rest = run(STREAM, now=NOW, state=broken.state)

    assert isinstance(broken.error, IncompleteError)
    assert 90 < len({*rows(broken)}) <= 100
    assert rest.error is None
    assert {*rows(broken, rest)} == {*expected(giant)}
    assert len(rows(rest)) < 120


@pytest.mark.parametrize(
    ("status", "most_exports"), [("FAILED", 80), ("CANCELED", 8), ("PAUSED", 8)]
)
def test_exports_that_always_fail_are_soon_let_be(
    serving: Any, status: str, most_exports: int
) -> None:
    """Fewer data rows do not help there; eight projects cost no dozen exports each."""
    world = World(projects=8)
    world.now = lambda: NOW
    for project in world.projects:
        project.created_at = NOW - timedelta(days=1000)
    run: Runner = serving(world)

    def hook(request: Request, reply: Reply) -> Reply | None:
        if request.operation != "ExportStatus":
            return None
        tasks = run.sandbox._workspace.data_row_exports.tasks  # so that they end
        (task,) = (t for t in tasks if t.id == request.variables["task_id"])
        task.status = "FAILED"
        body = json.loads(reply.content())
        body["data"]["task"]["status"] = status
        return Reply(200, {}, body)

    run.sandbox.after = hook
    output = run(STREAM, now=NOW)

    assert isinstance(output.error, IncompleteError)
    assert len(started(run.sandbox)) <= most_exports


@pytest.mark.parametrize("behind", [0, 3], ids=["whole state", "stream by stream"])
def test_a_kill_costs_a_window_at_most(
    giant: World, serving: Any, monkeypatch: Any, behind: int
) -> None:
    """Whatever state a target has kept, the next run reads the rest, and not more.

    Some keep the bookmark of each stream by itself: of one an older one.
    """
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", float("inf"))
    run: Runner = serving(giant, part_size=20_000)
    streams = (STREAM, "export_labels")
    whole = run(*streams, now=NOW)
    seen: dict[str, set[str]] = {stream: set() for stream in streams}
    kept: list[tuple[dict[str, Any], dict[str, set[str]]]] = []
    for message in whole.messages:
        if message["type"] == "RECORD":
            seen[message["stream"]].add(message["record"]["data_row_id"])
        elif message["type"] == "STATE":
            kept.append((message["value"], {s: {*ids} for s, ids in seen.items()}))

    assert len(kept) > 20
    for number in range(4, len(kept), len(kept) // 6):
        (newer, rows_1), (older, rows_2) = kept[number], kept[number - behind]
        bookmarks = newer["bookmarks"] | {streams[1]: older["bookmarks"][streams[1]]}
        rest = run(
            *streams, now=NOW + timedelta(hours=1), state={"bookmarks": bookmarks}
        )

        assert rest.error is None
        assert rows_1[streams[0]] | {*rows(rest)} == {*expected(giant)}
        others = {r["data_row_id"] for r in rest.records(streams[1])}
        assert rows_2[streams[1]] | others == {*expected(giant)}
        if not behind:
            lacking = len(expected(giant)) - len(rows_1[STREAM])
            assert len(rows(rest)) <= lacking + 40  # a window


def test_exports_that_were_prepared_are_found_by_the_next_run(
    giant: World, serving: Any
) -> None:
    """Those of windows that the run before did not get to."""
    run: Runner = serving(giant)
    first = run(STREAM, now=NOW)
    begun = len(started(run.sandbox))
    state = next(s for s in first.states if "unfinished_runs" in json.dumps(s))
    run.sandbox.requests.clear()

    again = run(STREAM, now=NOW + timedelta(minutes=1), state=state)

    assert sorted(rows(again)) == expected(giant)
    assert len(started(run.sandbox)) <= 1 < begun


def test_rows_that_move_while_windows_are_read_come_with_the_next_run(
    giant: World, serving: Any
) -> None:
    """They have left their own window, and are in no other of this run."""
    run: Runner = serving(giant)
    moving = sorted(giant.data_rows, key=lambda row: row.last_activity_at)[5::20]

    def hook(request: Request) -> None:
        if request.operation == "StartExport":
            for row in moving:
                row.last_activity_at = NOW + timedelta(seconds=30)

    run.sandbox.before = hook
    first = run(STREAM, now=NOW)
    run.sandbox.before = None
    second = run(STREAM, now=NOW + timedelta(minutes=5), state=first.state)

    assert {*rows(first, second)} == {*expected(giant)}
    assert {row.id for row in moving} <= {*rows(second)}
