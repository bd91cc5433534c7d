"""The data row export: filters, parts, limits, outcomes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tap_labelbox.sandbox import ANCHOR, World
from tap_labelbox.sandbox.rows import row as row_of
from tap_labelbox.sandbox.schema import snake

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import DataRow, Sandbox

START = """mutation Start($input: ExportDataRowsInProjectInput!) {
  exportDataRowsInProject(input: $input) { taskId isStreamable }
}"""
STATUS = """query Status($id: ID!) {
  task(where: {id: $id}) {
    status
    result: exportMetadataHeader(streamType: RESULT) { totalSize totalLines }
    errors: exportMetadataHeader(streamType: ERRORS) { totalSize totalLines }
  }
}"""
PART = """query Part($id: ID!, $stream: TaskStreamType!, $offset: UInt64!) {
  task(where: {id: $id}) {
    exportFileFromOffset(streamType: $stream, offset: $offset) {
      offsets { start end }
      lines { start end }
      file
    }
  }
}"""
DETAILS = {
    "includeDataRowDetails": True,
    "includeProjectDetails": True,
    "includeLabelDetails": True,
    "includePerformanceDetails": True,
}


class Exports:
    """Starts, asks and reads exports of the first project."""

    def __init__(self, ask: Callable[..., Any], project_id: str) -> None:
        self.ask = ask
        self.project_id = project_id

    def start(self, *query: dict[str, Any], **params: Any) -> str:
        """Return the id of a new task."""
        search = {"scope": None, "query": list(query)}
        filters = {"projectId": self.project_id, "searchQuery": search}
        data = self.ask(START, input={"filters": filters, "params": params})
        return str(data["exportDataRowsInProject"]["taskId"])

    def status(self, task: str) -> dict[str, Any]:
        """Return its status; COMPLETE comes before there are headers."""
        self.ask(STATUS, id=task)
        status: dict[str, Any] = self.ask(STATUS, id=task)["task"]
        return status

    def parts(self, task: str, stream: str = "RESULT") -> list[bytes]:
        """Read the parts of a stream."""
        self.status(task)
        parts: list[bytes] = []
        while part := self.ask(
            PART, id=task, stream=stream, offset=str(sum(map(len, parts)))
        )["task"]["exportFileFromOffset"]:
            parts.append(requests.get(part["file"], timeout=10).content)
            start, end = int(part["offsets"]["start"]), int(part["offsets"]["end"])
            assert end - start + 1 == len(parts[-1])
        return parts

    def rows(self, task: str, stream: str = "RESULT") -> list[dict[str, Any]]:
        """Read the rows of a stream."""
        whole = b"".join(self.parts(task, stream))
        return [json.loads(line) for line in whole.split(b"\n") if line]

    def ids(self, *query: dict[str, Any]) -> set[str]:
        """Export, and give the ids of the data rows."""
        return {row["data_row"]["id"] for row in self.rows(self.start(*query))}


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """Serve exports that are ready when asked for the first time."""
    return start(polls=0)


@pytest.fixture
def exports(ask: Callable[..., Any], world: World) -> Exports:
    """Return the exports of the first project."""
    return Exports(ask, world.projects[0].id)


def chosen(world: World, met: Callable[[DataRow], bool]) -> set[str]:
    """Return the ids of the data rows that meet a condition; some do."""
    ids = {row.id for row in world.projects[0].data_rows if met(row)}
    assert 0 < len(ids) < len(world.projects[0].data_rows)
    return ids


def between(kind: str, low: str, high: str, zone: str = "UTC") -> dict[str, Any]:
    """Write a filter by time."""
    value = {
        "operator": "BETWEEN",
        "timezone": zone,
        "value": {"min": low, "max": high},
    }
    return {"type": kind, "value": value}


def test_an_export_takes_its_time(sandbox: Sandbox, exports: Exports) -> None:
    """And gives no header before."""
    sandbox.polls = 2
    task = exports.start()

    unready = exports.status(task)
    assert unready == {"status": "IN_PROGRESS", "result": None, "errors": None}

    ready = exports.status(task)
    assert ready["status"] == "COMPLETE"
    assert int(ready["result"]["totalLines"]) > 200


@pytest.mark.parametrize("outcome", ["FAILED", "CANCELED"])
def test_an_export_may_come_to_nothing(
    sandbox: Sandbox, exports: Exports, outcome: Any
) -> None:
    """With no stream to read."""
    sandbox.export_outcome = outcome

    status = exports.status(exports.start())

    assert status == {"status": outcome, "result": None, "errors": None}


def test_an_export_of_nothing_has_no_header(exports: Exports) -> None:
    """It is complete all the same."""
    task = exports.start({"type": "data_row_id", "operator": "is", "ids": ["x"]})

    status = exports.status(task)
    assert status == {"status": "COMPLETE", "result": None, "errors": None}


def test_parts_end_at_lines(sandbox: Sandbox, exports: Exports) -> None:
    """Unless they are to be cut anywhere."""
    sandbox.part_size = 5000

    parts = exports.parts(exports.start())

    assert len(parts) > 10
    assert all(part.endswith(b"\n") for part in parts)


def test_parts_may_be_cut_inside_a_character(
    sandbox: Sandbox, exports: Exports
) -> None:
    """Joined they are whole again."""
    sandbox.part_size, sandbox.cut_parts = 3000, True

    parts = exports.parts(exports.start())

    assert any(0x80 <= part[0] < 0xC0 for part in parts)
    assert len(b"".join(parts).decode().split("\n")) > 200


def test_a_part_can_be_asked_for_again(
    exports: Exports, ask: Callable[..., Any], world: World
) -> None:
    """Its link is good from then on."""
    task = exports.start()
    exports.status(task)
    first = ask(PART, id=task, stream="RESULT", offset="0")
    world.now = lambda: datetime.now(UTC) + timedelta(days=3)

    again = ask(PART, id=task, stream="RESULT", offset="7")

    links = [x["task"]["exportFileFromOffset"]["file"] for x in (first, again)]
    statuses = [requests.get(link, timeout=10).status_code for link in links]
    assert statuses == [403, 200]


def test_rows_have_no_order(exports: Exports, world: World) -> None:
    """Nobody should rely on one."""
    ids = [row["data_row"]["id"] for row in exports.rows(exports.start())]
    made = [row.id for row in world.projects[0].data_rows]

    assert sorted(ids) == sorted(made)
    assert ids != made


def test_some_rows_may_fail(sandbox: Sandbox, exports: Exports) -> None:
    """They are in the other stream."""
    sandbox.unexportable = 3
    task = exports.start()

    failed = {row["data_row"]["id"] for row in exports.rows(task, "ERRORS")}
    assert len(failed) == 3
    assert not failed & {row["data_row"]["id"] for row in exports.rows(task)}


def test_parts_that_were_not_asked_for_are_left_out(
    exports: Exports, world: World
) -> None:
    """They are not even null."""
    row = exports.rows(exports.start())[0]

    assert set(row) == {"data_row", "media_attributes", "projects"}
    assert "details" not in row["data_row"]
    assert set(row["projects"][world.projects[0].id]) == {
        "name",
        "labels",
        "project_tags",
    }


def test_details_are_those_of_the_world(exports: Exports, world: World) -> None:
    """Timestamps are written as this export does it; the workflow latest first."""
    for row in exports.rows(exports.start(**DETAILS)):
        made = world.data_row(row["data_row"]["id"])
        assert made is not None
        inputs = row["projects"][made.project.id]
        details = inputs["project_details"]
        timestamps = [step["created_at"] for step in details["workflow_history"]]

        assert row["data_row"]["details"]["last_activity_at"] == (
            made.last_activity_at.isoformat(timespec="milliseconds")
        )
        assert details["workflow_status"] == made.status
        assert timestamps == sorted(timestamps, reverse=True)
        assert [
            (x["id"], x["label_details"]["created_by"]) for x in inputs["labels"]
        ] == [(label.id, label.created_by.email) for label in made.labels]


def test_rows_by_activity(exports: Exports, world: World) -> None:
    """Both ends are included, and a date is its first timestamp."""
    low, high = datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)

    ids = exports.ids(
        between("data_row_last_activity_at", "2025-02-01", "2025-04-01 00:00:00")
    )

    assert ids == chosen(world, lambda row: low <= row.last_activity_at <= high)


def test_a_time_zone_moves_the_bounds(exports: Exports, world: World) -> None:
    """Text without an offset is in the zone that is given."""
    timestamp = datetime(2026, 2, 1, 23, 30, tzinfo=UTC)
    label = world.add_label(world.projects[0].id, timestamp)

    for zone, actual in (("UTC", False), ("Europe/Berlin", True)):
        ids = exports.ids(between("labeled_at", "2026-02-02", "2026-02-03", zone))
        assert (label.data_row.id in ids) is actual


def test_a_deleted_label_is_activity(exports: Exports, world: World) -> None:
    """Its row is exported without it; no other trace is left."""
    label = world.projects[0].labels[0]
    world.now = lambda: ANCHOR + timedelta(days=9)
    world.delete_label(label.id)

    rows = exports.rows(
        exports.start(between("data_row_last_activity_at", "2026-01-10", "2026-01-11"))
    )

    assert [row["data_row"]["id"] for row in rows] == [label.data_row.id]
    assert rows[0]["projects"][label.project.id]["labels"] == []


@pytest.mark.parametrize(
    ("element", "met"),
    [
        ({"type": "task_queue_not_exist"}, lambda row: row.status == "TO_LABEL"),
        (
            {"type": "task_queue_status", "status": "InRework"},
            lambda row: row.status == "IN_REWORK",
        ),
        (
            {"type": "global_key", "operator": "is", "ids": ["row-1", "row-2"]},
            lambda row: row.global_key in {"row-1", "row-2"},
        ),
    ],
)
def test_other_filters(
    exports: Exports,
    world: World,
    element: dict[str, Any],
    met: Callable[[DataRow], bool],
) -> None:
    """By step of the workflow, and by key."""
    assert exports.ids(element) == chosen(world, met)


def test_a_filter_by_batch(exports: Exports, world: World) -> None:
    """Batches have UUIDs."""
    batch = world.projects[0].batches[0]["id"]

    ids = exports.ids({"type": "batch", "operator": "is", "ids": [batch]})

    assert ids == chosen(world, lambda row: row.batch["id"] == batch)


def test_ten_exports_run_at_once(
    sandbox: Sandbox, post: Callable[..., requests.Response], world: World
) -> None:
    """The eleventh of a project is refused until one is done."""
    sandbox.polls = 1
    filters = {"projectId": world.projects[0].id}
    replies = [
        post(sandbox, START, input={"filters": filters}).json() for _ in range(11)
    ]

    assert all("errors" not in reply for reply in replies[:10])
    assert replies[10]["errors"][0]["extensions"]["code"] == "API_LIMIT"

    task = replies[0]["data"]["exportDataRowsInProject"]["taskId"]
    for _ in range(2):
        post(sandbox, STATUS, id=task)
    assert "errors" not in post(sandbox, START, input={"filters": filters}).json()


# --- the shape of rows -----------------------------------------------------------

SHAPES = Path(__file__).parent.parent / "shapes"
ID = re.compile(r"c[a-z0-9]{24}|\d+")
EVERYTHING = {snake(name): expected for name, expected in DETAILS.items()}
EVERYTHING |= {"include_attachments": True, "include_metadata": True}


def shape(value: Any, at: str = "") -> set[str]:
    """Return the path and the kind of each value, whatever the ids and the frames.

    Questions have one shape, wherever they are asked.
    """
    if at.endswith(".classifications[]"):
        return {at} | shape(value, "question")
    match value:
        case dict():
            keys = ((ID.sub("*", key), inner) for key, inner in value.items())
            return set().union(*(shape(inner, f"{at}.{key}") for key, inner in keys))
        case list():
            return set().union(*(shape(inner, f"{at}[]") for inner in value))
        case bool() | str():
            return {f"{at}: {type(value).__name__}"}
    return {f"{at}: number"}


@pytest.fixture(scope="module")
def written() -> set[str]:
    """Return the shape of all rows of a workspace."""
    world = World(projects=8, labels=300)
    return shape([row_of(r, EVERYTHING, world.now(), None) for r in world.data_rows])


@pytest.mark.parametrize("file", sorted(SHAPES.glob("2025-*")), ids=lambda f: f.stem)
def test_rows_have_the_shape_of_real_ones(written: set[str], file: Path) -> None:
    """As Labelbox wrote them in 2025."""
    lines = file.read_text("utf-8").splitlines()

    real = shape([json.loads(line) for line in lines])

    assert len(real) > 10
    assert real - written == set()


def test_some_rows_repeat_relationships(written: set[str]) -> None:
    """Among the objects, as in 2023."""
    ends = "unidirectional_relationship.source: str"

    for block in ("objects", "relationships"):
        assert f"[].projects.*.labels[].annotations.{block}[].{ends}" in written


def test_a_document_is_labeled_twice() -> None:
    """And one label is selected."""
    world = World(projects=8, labels_per_project=30)
    (project,) = [p for p in world.projects if p.media == "PDF"]

    twice = [
        written["projects"][project.id]
        for written in (row_of(r, EVERYTHING, ANCHOR, None) for r in project.data_rows)
        if len(written["projects"][project.id]["labels"]) > 1
    ]

    assert twice
    for in_project in twice:
        details = in_project["project_details"]
        assert details["consensus_expected_label_count"] == 2
        assert details["selected_label_id"] in {x["id"] for x in in_project["labels"]}


@pytest.mark.parametrize("interpolated", [True, False])
def test_segments_may_begin_where_no_frame_is(*, interpolated: bool) -> None:
    """Those of masks, of which not all are exported."""
    world = World(projects=4, labels=300)
    (project,) = [p for p in world.projects if p.media == "VIDEO"]
    params = EVERYTHING | {"include_interpolated_frames": interpolated}
    begun, actual = set(), set()
    for data_row in project.data_rows:
        exported = row_of(data_row, params, ANCHOR, None)
        for label in exported["projects"][project.id]["labels"]:
            annotations = label["annotations"]
            actual |= annotations["frames"].keys()
            for ranges in annotations["segments"].values():
                begun |= {str(first) for first, _ in ranges}

    assert begun - actual == (set() if interpolated else {"5"})


def test_an_export_may_be_behind(
    sandbox: Sandbox, exports: Exports, world: World
) -> None:
    """It holds what there was some seconds ago, and is complete all the same."""
    now = ANCHOR + timedelta(days=3)
    world.now = lambda: now
    project = world.projects[0]
    old = project.labels[0].data_row
    was_active, labels = old.last_activity_at, {label.id for label in old.labels}
    at = now - timedelta(seconds=20)
    world.add_label(project.id, at, data_row=old, updated_at=at)
    new = world.add_label(project.id, at, updated_at=at).data_row
    new.created_at = at
    since = between("data_row_last_activity_at", "2026-01-03", "2027-01-01")

    sandbox.export_lag = 30
    assert exports.ids(since) == set()
    rows = {r["data_row"]["id"]: r for r in exports.rows(exports.start(**DETAILS))}
    assert new.id not in rows
    logged = rows[old.id]["data_row"]["details"]["last_activity_at"]
    assert logged == was_active.isoformat(timespec="milliseconds")
    exported = rows[old.id]["projects"][project.id]["labels"]
    assert {label["id"] for label in exported} == labels

    sandbox.export_lag = 10
    assert exports.ids(since) == {old.id, new.id}

    sandbox.export_lag, sandbox.lagging = 30, 0.0
    assert exports.ids(since) == {old.id, new.id}
