"""States that a target has kept in part only, and those of older versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.base.refusals import PROJECTS
from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import World
from tap_labelbox.streams import STREAMS as STREAM_CLASSES
from tests import figures
from tests.kills import Cut, run_until
from tests.runner import PRIMARY_KEYS, SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner import Record, Runner, State

LATER = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = "last_activity_at"
EXPORTED = sorted(
    stream.name
    for stream in STREAM_CLASSES
    if issubclass(stream, ExportedStream) and stream.parents == PROJECTS
)
STREAMS = [*EXPORTED, "bulk_export", "labels", "projects"]
Keys = set[tuple[str, ...]]


def keys_of(messages: list[dict[str, Any]], *streams: str) -> Keys:
    """Return the keys of the records of some streams, or of all but snapshots."""

    def key(stream: str, record: Record) -> tuple[str, ...]:
        return (stream, *(str(record[column]) for column in PRIMARY_KEYS[stream]))

    return {
        key(message["stream"], message["record"])
        for message in messages
        if message["type"] == "RECORD"
        and message["stream"] not in SNAPSHOTS
        and (not streams or message["stream"] in streams)
    }


def bookmark(project_id: str, **text: Any) -> State:
    """Return what is kept of a stream with one project."""
    return {"partitions": [{"context": {"project_id": project_id}, **text}]}


def test_an_export_that_one_stream_alone_remembers_loses_nothing(
    serving: Callable[..., Runner],
) -> None:
    """Version 0.1.0 kept how far it was in the first of the streams only.

    What a target had of the others nobody knows: here it had nothing.
    """
    run = serving(World(projects=2, labels_per_project=30), part_size=10_000)
    every = keys_of(run_until(run, Cut()).messages)
    first, *others = EXPORTED
    tried = 0
    for at in range(100, len(every), 150):
        killed = run_until(run, Cut(at))
        for state in reversed(killed.states):
            partitions = state["bookmarks"].get(first, {}).get("partitions", [])
            if result := [p for p in partitions if p.get("export", {}).get("position")]:
                break
        else:
            continue
        (partition,) = result
        project_id = partition["context"]["project_id"]
        text = {"starting_replication_value": None, "export": partition["export"]}
        old = {"bookmarks": {name: bookmark(project_id) for name in others}}
        old["bookmarks"][first] = bookmark(project_id, **text)

        second = run_until(run, Cut(), state=old)

        assert second.error is None
        lost = every - keys_of(killed.messages, first) - keys_of(second.messages)
        figures.count("rows compared", len(every))
        figures.count("rows lost", len(lost))
        assert not lost
        tried += 1
    assert tried > 3


def test_the_state_of_an_older_run_is_gone_on_from(
    serving: Callable[..., Runner],
) -> None:
    """Version 0.1.0, after a whole run: what is new is read, and not all once more."""
    world = World(projects=2, labels_per_project=30)
    run = serving(world)
    whole = run(*STREAMS, now=LATER - timedelta(minutes=1))
    (labels_at, rows_at, files_at) = (
        {
            project.id: max(
                record[column]
                for record in whole.records(stream)
                if record["project_id"] == project.id
            )
            for project in world.projects
        }
        for stream, column in (
            ("labels", "created_at"),
            ("data_row_exports", KEY),
            ("bulk_export", "exported_at"),
        )
    )

    def kept(key: str, values: dict[str, str]) -> State:
        return {
            "partitions": [
                {
                    "context": {"project_id": project_id},
                    "replication_key": key,
                    "replication_key_value": value,
                }
                for project_id, value in values.items()
            ]
        }

    old: State = {"bookmarks": {name: kept(KEY, rows_at) for name in EXPORTED}}
    old["bookmarks"]["labels"] = kept("created_at", labels_at)
    old["bookmarks"]["bulk_export"] = kept("exported_at", files_at)
    old["bookmarks"]["projects"] = {}
    world.now = lambda: LATER
    new = world.add_label(world.projects[0].id, updated_at=LATER)

    second = run(*STREAMS, state=old, now=LATER + timedelta(minutes=1))

    assert second.error is None
    assert new.id in second.ids("labels")
    seen = {row["label_id"] for row in second.records("export_labels")}
    assert new.id in seen
    records = [m for m in second.messages if m["type"] == "RECORD"]
    assert len(records) < len(whole.messages) / 5


def test_an_export_that_is_older_than_what_a_stream_has_is_not_read(
    serving: Callable[..., Runner],
) -> None:
    """One stream was read alone since a run of both was cut off.

    Then the target keeps the newer bookmark of the other stream alone.
    """
    run = serving(World(projects=1, labels_per_project=9), polls=0)
    first, by_itself = "data_row_exports", "export_labels"
    row, other, *_ = (row for row in run.world.data_rows if row.labels)

    def at(minutes: int) -> datetime:
        return LATER + timedelta(minutes=minutes)

    whole = run(first, by_itself, now=at(0))
    row.last_activity_at = at(1)
    cut = run_until(run, Cut(), first, by_itself, now=at(2), state=whole.state)
    begun = next(state for state in cut.states if "unfinished_runs" in str(state))
    row.last_activity_at = at(10)
    other.last_activity_at = at(20)

    outputs = [run(by_itself, now=at(21), state=begun)]
    outputs.append(run(first, by_itself, now=at(30), state=outputs[-1].state))
    kept = outputs[-1].state
    newer = run(first, by_itself, now=at(40), state=kept).state["bookmarks"][first]
    state = {"bookmarks": kept["bookmarks"] | {first: newer}}
    outputs.append(run(first, by_itself, now=at(50), state=state))

    ours = [
        r for o in outputs for r in o.records(by_itself) if r["data_row_id"] == row.id
    ]
    assert ours[-1]["last_activity_at"] == timestamps.isoformat(at(10))
