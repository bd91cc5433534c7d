"""The official client reads the same reports as the tap, object by object."""

from __future__ import annotations

import logging
import warnings
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import World
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tap_labelbox.sandbox import Sandbox

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("whole_month"),
]

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
FIRST = TODAY - 30 * DAY
MONTH = [FIRST + n * DAY for n in range(31)]
ASKED = {"additional_columns", "cached_at", "date"}
"""Columns that the client has elsewhere than in its rows."""


@pytest.fixture
def world() -> World:
    """Return a workspace in which somebody labels every day, and some are reviewed."""
    world = World(projects=2, labels_per_project=2)
    for number in range(40):
        for project in world.projects:
            for hour in range(4):
                at = NOW - number * DAY - timedelta(hours=1 + hour)
                world.add_label(project.id, at)
    return world


@pytest.fixture
def read(sandbox: Sandbox, world: World) -> Callable[[str], list[dict[str, Any]]]:
    """Return what reads a stream with the tap, with pages that are not full."""
    run = Runner(sandbox, world)

    def read(stream: str) -> list[dict[str, Any]]:
        output = run(stream, now=NOW, page_size=7)
        assert output.error is None
        records = output.records(stream)
        assert not any(r["additional_columns"] for r in records)
        return records

    return read


@pytest.fixture
def client(sandbox: Sandbox, world: World) -> Any:
    """Return the client, given nothing but addresses and key."""
    world.now = lambda: NOW
    logging.getLogger("labelbox").setLevel(logging.ERROR)
    return labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )


def plain(value: Any) -> Any:
    """Return a value of the client's as a column has it."""
    if isinstance(value, datetime):
        return timestamps.isoformat(value)
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def fields(row: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return what the client has in these columns."""
    return {name: plain(getattr(row, name)) for name in names}


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a record without what the client has elsewhere."""
    return {k: v for k, v in record.items() if k not in {*ASKED, *names}}


def test_metrics(read: Any, client: Any) -> None:
    """With a unit and a category that nobody knows."""
    records = read("performance_metrics")

    theirs = client.get_performance_metrics()
    assert records
    assert [without(r) for r in records] == [
        fields(t, without(records[0])) for t in theirs
    ]


@pytest.mark.parametrize("kind", ["labeler", "reviewer"])
def test_people_of_projects(read: Any, client: Any, world: World, kind: str) -> None:
    """Each day of each, in every field."""
    records = read(f"project_{kind}s")

    assert records
    columns = without(records[0])
    theirs = []
    for project_id in [p.id for p in world.projects]:
        project = client.get_project(project_id)
        for day in MONTH:
            table = getattr(project, f"get_{kind}_performance")(day, day)
            own = {"date": day.isoformat(), "cached_at": plain(table.cached_at)}
            theirs += [fields(row, columns) | own for row in table]
    key = ("project_id", "date", "user_id")
    ours = [without(r) | {k: r[k] for k in ("date", "cached_at")} for r in records]
    assert in_order(ours, key) == in_order(theirs, key)


def in_order(rows: list[dict[str, Any]], key: Iterable[str]) -> list[dict[str, Any]]:
    """Return rows by their key."""
    return sorted(rows, key=lambda row: [row[name] for name in key])


@pytest.mark.parametrize("of", ["project", "workspace"])
def test_series(read: Any, client: Any, world: World, of: str) -> None:
    """Each value of each day, and each range of scores."""
    records = read(f"{of}_metric_series")

    sources: dict[str, Any] = {"": client.get_workspace_performance_metric}
    if of == "project":
        sources = {
            p.id: client.get_project(p.id).get_performance_metric
            for p in world.projects
        }
    theirs = []
    for project_id, get in sources.items():
        for metric in client.get_performance_metrics():
            spans = [(FIRST, TODAY)]
            if metric.buckets == "score":
                spans = [(day, day) for day in MONTH]
            for first, last in spans:
                series = get(metric.name, first, last)
                shared = {
                    "metric": metric.name,
                    "unit": series.unit,
                    "generated_at": plain(series.generated_at),
                }
                if project_id:
                    shared["project_id"] = series.project_id
                else:
                    shared["organization_id"] = series.organization_id
                for number, bucket in enumerate(series.buckets, 1):
                    theirs.append(shared | in_columns(bucket, number, last))
    key = ["project_id"] * (of == "project") + ["metric", "date", "bucket"]
    ours = [{k: v for k, v in r.items() if k != "additional_columns"} for r in records]
    assert {r["bucket"] for r in ours} == {*range(11)}
    assert in_order(ours, key) == in_order(theirs, key)


def in_columns(bucket: Any, number: int, asked: date) -> dict[str, Any]:
    """Return what a value of the client's is in columns."""
    modes = getattr(bucket, "modes", None)
    start = getattr(bucket, "start", None)
    names = ("value", "numerator", "denominator", "range_start", "range_end")
    kinds = ("creating", "reviewing", "reworking")
    return {
        "date": plain(start)[:10] if start else asked.isoformat(),
        "bucket": 0 if start else number,
        **{name: getattr(bucket, name, None) for name in names},
        **{f"seconds_{kind}": getattr(modes, kind, None) for kind in kinds},
    }


@pytest.mark.parametrize("kind", ["events", "sessions"])
def test_sign_ins(read: Any, client: Any, kind: str) -> None:
    """In their order, in every field, over many pages."""
    records = read(f"sign_in_{kind}")

    theirs = getattr(client, f"get_sign_in_{kind}")(FIRST, TODAY, page_size=50)
    assert len(records) > 200
    assert [without(r) for r in records] == [
        fields(row, without(records[0])) for row in theirs
    ]
