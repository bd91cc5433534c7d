"""ACTIVATE_VERSION: a target deletes what is gone, and nothing that was left out."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tap_labelbox.sandbox import Reply, World
from tap_labelbox.streams import STREAMS
from tap_labelbox.tap import TapLabelbox
from tests.postgres import postgres
from tests.runner import PRIMARY_KEYS
from tests.targets import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EXPORTED = ("annotations", "data_row_exports", "export_labels")
ALL = ("projects", "labels", "bulk_export", *EXPORTED)


def full_tables(run: Runner, *streams: str) -> dict[str, Any]:
    """Return a catalog that has some streams only, as whole tables."""
    catalog: dict[str, Any] = json.loads(
        TapLabelbox(config=run.config()).catalog_json_text
    )
    for stream in catalog["streams"]:
        root = next(m for m in stream["metadata"] if m["breadcrumb"] == [])
        root["metadata"]["selected"] = stream["tap_stream_id"] in streams
        root["metadata"]["replication-method"] = "FULL_TABLE"
    return catalog


def read(run: Runner, *streams: str, **settings: Any) -> Output:
    """Run some streams as whole tables with versions."""
    return run(
        catalog=full_tables(run, *streams),
        emit_activate_version_messages=True,
        now=NOW,
        **settings,
    )


def activated(output: Output) -> list[str]:
    """Return the streams that were activated, in the order of the messages."""
    kind = "ACTIVATE_VERSION"
    return [m["stream"] for m in output.messages if m["type"] == kind]


class HardDelete:
    """A target with ``hard_delete``: it deletes rows of other versions."""

    def __init__(self) -> None:
        """Have no rows."""
        self.rows: dict[tuple[Any, ...], int] = {}

    def load(self, output: Output, version: int) -> None:
        """Load all messages, as if the run had that version, not the clock's."""
        for message in output.messages:
            stream = message.get("stream")
            if message["type"] == "RECORD":
                assert isinstance(message["version"], int)
                values = [message["record"][k] for k in PRIMARY_KEYS[str(stream)]]
                self.rows[(stream, *values)] = version
            if message["type"] == "ACTIVATE_VERSION":
                gone = [
                    key
                    for key, of in self.rows.items()
                    if key[0] == stream and of != version
                ]
                for key in gone:
                    del self.rows[key]

    def count(self, stream: str) -> int:
        """Return how many rows a table has."""
        return sum(key[0] == stream for key in self.rows)


def test_the_version_follows_the_last_record(run: Runner) -> None:
    """Of every stream; all records bear it; the first message is the given STATE."""
    output = read(run, *ALL)

    assert output.error is None
    assert sorted(activated(output)) == sorted(ALL)
    kinds = [m["type"] for m in output.messages]
    assert set(kinds[: kinds.index("STATE")]) == {"SCHEMA"}
    assert output.states[0] == {"bookmarks": {}}
    assert kinds[-1] == "STATE"
    for stream in ALL:
        ours = [m for m in output.messages if m.get("stream") == stream]
        assert [m["type"] for m in ours[-2:]] == ["RECORD", "ACTIVATE_VERSION"]
        assert {m["type"] for m in ours[1:-1]} == {"RECORD"}
        assert len({m["version"] for m in ours[1:]}) == 1


@pytest.mark.parametrize("maps", [{}, {"*": {"a": "'b'"}}])
def test_streams_of_one_pass_are_activated_after_it(run: Runner, maps: Any) -> None:
    """A record of one of them may come after the last of another."""
    output = read(run, *EXPORTED, stream_maps=maps)

    kinds = [m["type"] for m in output.messages]
    last_record = max(n for n, kind in enumerate(kinds) if kind == "RECORD")
    assert kinds.index("ACTIVATE_VERSION") > last_record
    assert sorted(activated(output)) == sorted(EXPORTED)


def test_what_is_gone_is_deleted(run: Runner, world: World) -> None:
    """That is what it is for."""
    target = HardDelete()
    target.load(read(run, "projects", "labels"), 1)
    gone = world.projects[0]
    count = len(world.labels(gone.id))
    before = target.count("labels")

    world.delete_project(gone.id)
    target.load(read(run, "projects", "labels"), 2)

    assert count
    assert target.count("labels") == before - count
    assert target.count("projects") == len(world.projects)


def test_a_real_target_deletes_what_is_gone_and_nothing_else(
    run: Runner, world: World, target: Callable[[str], Path], tmp_path: Path
) -> None:
    """With its setting hard_delete, which deletes all rows of earlier versions."""
    command = target("target-postgres")
    gone, forbidden_one, *_ = (p for p in world.projects if world.labels(p.id))
    counts = []
    with postgres() as server:
        settings = {
            "folder": str(tmp_path),
            "sqlalchemy_url": server.url,
            "default_target_schema": "labelbox",
            "hard_delete": True,
        }

        def load_run() -> None:
            started_at = int(time.time())
            load(command, read(run, "projects", "labels").text, **settings)
            query = "select count(*) from labelbox."
            counts.append(
                tuple(
                    server.rows(query + table)[0]["count"]
                    for table in ("projects", "labels")
                )
            )
            while int(time.time()) == started_at:  # versions are seconds
                time.sleep(0.05)

        load_run()
        run.sandbox.before = forbidden(forbidden_one.id)
        load_run()
        run.sandbox.before = lambda r: Reply(503, {}, b"") if r.path else None
        load_run()
        run.sandbox.before = None
        labels = len(world.labels(gone.id))
        world.delete_project(gone.id)
        load_run()

    first, second, third, last = counts
    assert first == second == third
    assert last == (first[0] - 1, first[1] - labels)


def forbidden(project_id: str) -> Callable[[Request], Reply | None]:
    """Return what forbids all that concerns one project."""
    error = {"message": "no", "extensions": {"code": "FORBIDDEN"}}
    body = json.dumps({"errors": [error], "data": None}).encode()

    def answer(request: Request) -> Reply | None:
        entries = request.operation in {"Projects", "ProjectIds"}
        there = project_id in json.dumps(request.variables or {})
        return Reply(200, {}, body) if there and not entries else None

    return answer


@pytest.mark.parametrize("stream", ["labels", "bulk_export", *EXPORTED])
def test_a_project_that_is_left_out_keeps_its_rows(
    run: Runner, world: World, stream: str
) -> None:
    """The stream it is left out of has no version; the others have."""
    target = HardDelete()
    target.load(read(run, "projects", stream), 1)
    before = target.count(stream)

    run.sandbox.before = forbidden(world.projects[0].id)
    output = read(run, "projects", stream)
    target.load(output, 2)

    assert output.error is not None
    assert activated(output) == ["projects"]
    assert target.count(stream) == before > 0


@pytest.mark.parametrize("stream", ALL)
def test_a_failed_run_keeps_the_rows(run: Runner, stream: str) -> None:
    """Labelbox is down."""
    target = HardDelete()
    target.load(read(run, stream), 1)
    before = target.count(stream)

    run.sandbox.before = lambda _: Reply(503, {}, b"")
    output = read(run, stream)
    target.load(output, 2)

    assert output.error is not None
    assert activated(output) == []
    assert target.count(stream) == before > 0


def test_a_run_that_fails_on_its_way_keeps_the_rows(run: Runner) -> None:
    """After the first page."""

    def down(request: Request) -> Reply | None:
        later = request.operation == "Labels" and request.variables["skip"] > 0
        return Reply(401, {}, b"{}") if later else None

    run.sandbox.before = down
    output = read(run, "projects", "labels", page_size=20, concurrency=1)

    assert output.error is not None
    assert output.records("labels")
    assert activated(output) == ["projects"]


def test_a_run_that_is_stopped_keeps_the_rows(serving: Callable[..., Runner]) -> None:
    """In the middle of a stream."""
    run = serving(World(projects=4, labels_per_project=3), latency=0.5)
    assert run.folder
    catalog = run.folder / "catalog.json"
    catalog.write_text(json.dumps(full_tables(run, "labels")))

    done = run.command(
        "--catalog",
        str(catalog),
        emit_activate_version_messages=True,
        concurrency=1,
        projects_per_request=1,
        max_run_seconds=1.2,
    )

    assert done.returncode == 75
    assert "ACTIVATE_VERSION" not in done.stdout


def without_an_id(operation: str, world: World) -> Callable[[Request], Reply | None]:
    """Return what answers a list of projects, the first of which has no ID."""

    def answer(request: Request) -> Reply | None:
        if request.operation != operation:
            return None
        at = "2020-01-01T00:00:00Z"
        rows = [{"id": project.id, "created_at": at} for project in world.projects]
        rows[0]["id"] = ""
        data = {"projects": rows[request.variables["skip"] :]}
        return Reply(200, {}, json.dumps({"data": data}).encode())

    return answer


def test_a_malformed_row_keeps_the_rows(run: Runner) -> None:
    """It is left out, and may be one that the target has."""
    run.sandbox.before = without_an_id("Projects", run.world)

    output = read(run, "projects", "labels")

    assert output.error is not None
    assert activated(output) == ["labels"]


def test_a_project_missing_in_the_list_keeps_the_rows(run: Runner) -> None:
    """All streams by project lack its rows, though only one of them notices."""
    run.sandbox.before = without_an_id("ProjectIds", run.world)

    output = read(run, *(name for name in ALL if name != "projects"))

    assert output.error is not None
    assert output.records("labels")
    assert output.records("annotations")
    assert activated(output) == []


def test_a_wanted_project_that_is_not_there_keeps_the_rows(
    run: Runner, world: World
) -> None:
    """The key may have lost its right to see it."""
    expected = [world.projects[0].id, world.forbidden_project.id]

    output = read(run, *ALL, project_ids=expected)

    assert output.error is not None
    assert output.records("labels")
    assert activated(output) == []


def test_a_key_that_sees_nothing_keeps_the_rows(run: Runner) -> None:
    """An empty list of projects is no error."""
    body = json.dumps({"data": {"projects": []}}).encode()
    run.sandbox.before = lambda request: (
        Reply(200, {}, body)
        if request.operation in {"Projects", "ProjectIds"}
        else None
    )

    assert activated(read(run, *ALL)) == []


def test_what_labelbox_could_not_export_keeps_the_rows(run: Runner) -> None:
    """These data rows are not in the export, and still there."""
    run.sandbox.unexportable = 1

    output = read(run, *EXPORTED)

    assert output.error is None
    assert output.records("annotations")
    assert activated(output) == []


def test_a_stream_that_is_not_offered_keeps_the_rows(
    serving: Callable[..., Runner], world: World
) -> None:
    """The run ends well without it."""
    run = serving(world, exports_v1="retired")

    output = read(run, "projects", "bulk_export")

    assert activated(output) == ["projects"]


def incremental(stream: Any) -> bool:
    """Return whether a stream has a bookmark."""
    return isinstance(stream.replication_key, str)


def test_an_incremental_stream_has_no_version(run: Runner) -> None:
    """It has only what is new."""
    output = run(emit_activate_version_messages=True)

    whole = {
        stream.name
        for stream in STREAMS
        if not incremental(stream) and stream.selected_by_default
    }
    assert "projects" in whole
    assert set(activated(output)) == whole
    with_version = {m["stream"] for m in output.messages if "version" in m}
    assert with_version == whole


def test_a_test_activates_nothing(run: Runner) -> None:
    """It reads one record of each stream."""
    done = run.command("--test", emit_activate_version_messages=True)

    assert done.returncode == 0
    assert "ACTIVATE_VERSION" not in done.stdout


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {
                "batch_config": {
                    "encoding": {"format": "jsonl"},
                    "storage": {"root": "files"},
                }
            },
            "emit_activate_version_messages and batch_config: remove one",
        ),
        (
            {"export_files": ["rows.ndjson"]},
            "emit_activate_version_messages and export_files: remove one",
        ),
        (
            {
                "stream_maps": {
                    "labels": {"__alias__": "'all'"},
                    "projects": {"__alias__": "'all'"},
                }
            },
            "stream_maps write labels and projects to one table, all: remove",
        ),
    ],
)
def test_what_versions_cannot_go_with(run: Runner, settings: Any, reason: str) -> None:
    """A target would delete rows that are there."""
    with pytest.raises(ConfigValidationError, match=reason):
        run(emit_activate_version_messages=True, **settings)

    assert run.sandbox.requests == []
