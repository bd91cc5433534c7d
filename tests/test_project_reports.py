"""Reports by project, series of metrics, and the address they come from."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tap_labelbox.api.errors import AccessError, IncompleteError, OutageError
from tap_labelbox.sandbox import Reply, World, serve
from tap_labelbox.streams.reports import days_between, spans
from tests.test_cli import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

pytestmark = pytest.mark.usefixtures("whole_month")

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
BY_PROJECT = ("project_labelers", "project_reviewers", "project_metric_series")
SINCE = "2026-06-01T00:00:00Z"
NOT_FOUND = Reply(404, {}, {"message": "Project not found", "details": []})


@pytest.fixture
def world() -> World:
    """Return a workspace in which somebody labels every day."""
    world = World(projects=3, labels_per_project=2)
    for number in range(40):
        for project in world.projects:
            for hour in range(3):
                at = NOW - number * DAY - timedelta(hours=1 + hour)
                world.add_label(project.id, at)
    return world


def asked(run: Runner) -> list[tuple[str, str, str]]:
    """Return path, first and last day of each report asked for, and forget them."""
    result = []
    for request in run.sandbox.requests:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if "startDate" in query and query.get("page", ["1"]) == ["1"]:
            days = query["startDate"][0], query["endDate"][0]
            result.append((parts.path.partition("/performance/")[2], *days))
    run.sandbox.requests.clear()
    return result


def days_of(run: Runner) -> dict[str, list[str]]:
    """Return the days asked for of each project, and forget them."""
    result: dict[str, list[str]] = {}
    for path, first, last in asked(run):
        assert first == last
        result.setdefault(path.split("/")[1], []).append(first)
    return {project_id: sorted(days) for project_id, days in result.items()}


def span(first: Any, last: Any = TODAY) -> list[str]:
    """Return the days from one to another, both included."""
    return days_between(first.isoformat(), last.isoformat())


def bookmarks(output: Output, stream: str) -> dict[str, str]:
    """Return up to where each project has been read."""
    partitions = output.state["bookmarks"][stream].get("partitions", [])
    return {
        partition["context"]["project_id"]: partition["replication_key_value"]
        for partition in partitions
        if "replication_key_value" in partition
    }


def hiding(project_ids: Collection[str], reply: Reply = NOT_FOUND) -> Any:
    """Return what refuses reports on some projects."""

    def answer(request: Request) -> Reply | None:
        return reply if any(p in request.path for p in project_ids) else None

    return answer


def logged(caplog: Any) -> list[str]:
    """Return what was said to be left out."""
    return [m for m in caplog.messages if "is left out" in m]


# --- days, by project ------------------------------------------------------------


@pytest.mark.parametrize("name", ["project_labelers", "project_reviewers"])
def test_each_project_has_a_bookmark(run: Runner, world: World, name: str) -> None:
    """A month at first, then the last days again and what is new."""
    projects = {p.id for p in world.projects}

    first = run(name, now=NOW)
    assert first.error is None
    assert days_of(run) == dict.fromkeys(projects, span(TODAY - 30 * DAY))
    assert bookmarks(first, name) == dict.fromkeys(projects, "2026-06-10")
    assert {r["project_id"] for r in first.records(name)} == projects

    second = run(name, now=NOW + DAY, state=first.state)
    days = span(TODAY - 2 * DAY, TODAY + DAY)
    assert days_of(run) == dict.fromkeys(projects, days)
    assert bookmarks(second, name) == dict.fromkeys(projects, "2026-06-11")


def test_labelers_of_projects_are_those_of_the_workspace(
    run: Runner, world: World
) -> None:
    """In all figures that both have, of the projects that both have."""
    output = run("project_labelers", "workspace_labelers", now=NOW)
    known = {p.id for p in world.projects}

    own = output.records("project_labelers")
    shared = own[0].keys() & output.records("workspace_labelers")[0].keys()
    assert len(shared) > 20
    all_of_them = [
        r for r in output.records("workspace_labelers") if r["project_id"] in known
    ]
    assert sorted(map(repr, all_of_them_in(own, shared))) == sorted(
        map(repr, all_of_them_in(all_of_them, shared))
    )


def all_of_them_in(records: list[Any], columns: Collection[str]) -> list[Any]:
    """Return records with some of their columns."""
    return [{name: record[name] for name in sorted(columns)} for record in records]


def test_a_project_that_fails_is_read_again(
    run: Runner, world: World, caplog: Any
) -> None:
    """From the day that failed; the others have gone on."""
    (broken, *others) = [p.id for p in world.projects]
    third = "2026-06-03"
    run.sandbox.before = lambda r: (
        Reply(400, {}, {"message": "Nothing of that day"})
        if broken in r.path and f"startDate={third}" in r.path
        else None
    )

    first = run("project_labelers", now=NOW, start_date=SINCE)

    assert isinstance(first.error, IncompleteError)
    (line,) = logged(caplog)
    assert line.startswith(f"project_labelers of project {broken} is left out: ")
    assert bookmarks(first, "project_labelers") == {
        broken: "2026-06-02",
        **dict.fromkeys(others, "2026-06-10"),
    }
    run.sandbox.before = None
    days_of(run)
    second = run("project_labelers", now=NOW, start_date=SINCE, state=first.state)
    assert second.error is None
    assert days_of(run) == {
        broken: span(TODAY.replace(day=1)),
        **dict.fromkeys(others, span(TODAY - 2 * DAY)),
    }


def test_a_new_project_is_read_from_its_own_first_day(
    run: Runner, world: World
) -> None:
    """Not from before it was made, nor from where the others are."""
    state = run("project_labelers", now=NOW, start_date="2020-01-01").state
    oldest = min(p.created_at for p in world.projects).date().isoformat()
    assert min(min(days) for days in days_of(run).values()) == oldest
    world.now = lambda: NOW + 5 * DAY
    new = world.add_project("New")
    old = world.projects[0].id

    run(
        *("project_labelers",),
        now=NOW + 20 * DAY,
        start_date="2020-01-01",
        state=state,
    )

    result = days_of(run)
    assert result[new.id] == span(new.created_at.date(), TODAY + 20 * DAY)
    assert result[old] == span(TODAY - 2 * DAY, TODAY + 20 * DAY)


def test_a_project_that_comes_into_sight_is_read_whole(
    run: Runner, world: World
) -> None:
    """A month of it, though the others have been read."""
    hidden = world.projects[1]
    hidden.forbidden = True
    state = run("project_labelers", now=NOW).state
    days_of(run)
    hidden.forbidden = False

    run("project_labelers", now=NOW, state=state)

    assert days_of(run)[hidden.id] == span(TODAY - 30 * DAY)


@pytest.mark.parametrize("name", BY_PROJECT)
def test_a_hidden_project_costs_itself(
    serving: Callable[..., Runner], world: World, caplog: Any, name: str
) -> None:
    """One line and one request; all others are read."""
    hidden, *others = [p.id for p in world.projects]
    run = serving(world, hidden_performance={hidden})

    output = run(name, now=NOW, start_date=SINCE)

    assert isinstance(output.error, IncompleteError)
    (line,) = logged(caplog)
    assert line.startswith(f"{name} of project {hidden} is left out: ")
    assert "HTTP 404: Project not found" in line
    paths = Counter(path.split("/")[1] for path, *_ in asked(run))
    assert paths[hidden] == 1
    assert {r["project_id"] for r in output.records(name)} == {*others}
    assert bookmarks(output, name).keys() == {*others}


@pytest.mark.parametrize("name", BY_PROJECT)
def test_a_key_that_sees_no_project_is_one_line(
    serving: Callable[..., Runner], world: World, caplog: Any, name: str
) -> None:
    """However many projects there are, and a request each."""
    run = serving(world, performance="forbidden")

    output = run(name, "users", now=NOW)

    assert isinstance(output.error, IncompleteError)
    (line,) = logged(caplog)
    assert line.startswith(f"{name} is left out: ")
    assert line.endswith("(3 projects, none could be read)")
    assert len(asked(run)) == 3
    assert output.records("users")


def test_faults_of_many_projects_end_the_run(
    serving: Callable[..., Runner], clock: Any
) -> None:
    """Labelbox is down then."""
    del clock
    run = serving(World(projects=8))
    run.sandbox.before = lambda r: (
        Reply(503, {}, {}) if "/performance/" in r.path else None
    )

    output = run("project_labelers", now=NOW, retry_seconds=0)

    assert isinstance(output.error, OutageError)


def test_each_project_has_its_own_values(run: Runner, world: World) -> None:
    """Also where the first one failed before it was asked for."""
    failures = [Reply(503, {}, {})]
    run.sandbox.before = lambda r: (
        failures.pop() if r.path.endswith("/metrics") and failures else None
    )

    name = "project_metric_series"
    output = run(name, now=NOW, retry_seconds=0, start_date="2026-06-10")

    first, *others = [p.id for p in sorted(world.projects, key=lambda p: p.created_at)]
    assert isinstance(output.error, IncompleteError)
    assert {r["project_id"] for r in output.records(name)} == {*others}
    assert bookmarks(output, name) == dict.fromkeys(others, "2026-06-10")
    assert first not in bookmarks(output, name)


def test_what_a_run_that_was_cut_off_has_read_counts(run: Runner, world: World) -> None:
    """The next one goes on in the middle of a project."""
    first, second, third = (
        p.id for p in sorted(world.projects, key=lambda p: p.created_at)
    )
    run.sandbox.before = lambda r: (
        Reply(401, {}, {"message": "Revoked"})
        if second in r.path and "startDate=2026-06-05" in r.path
        else None
    )

    # One after the other, so that nothing is in flight when it ends.
    broken = run("project_labelers", now=NOW, start_date=SINCE, concurrency=1)

    assert isinstance(broken.error, AccessError)
    assert bookmarks(broken, "project_labelers") == {
        first: "2026-06-10",
        second: "2026-06-04",
    }
    run.sandbox.before = None
    days_of(run)
    run("project_labelers", now=NOW, start_date=SINCE, state=broken.state)
    assert days_of(run) == {
        first: span(TODAY - 2 * DAY),
        second: span(TODAY - 8 * DAY),
        third: span(TODAY - 9 * DAY),
    }


def test_ids_cannot_change_the_path(run: Runner, world: World) -> None:
    """Whatever they are made of."""
    malformed = world.projects[0]
    world._projects["a/b?c#d e"] = world._projects.pop(malformed.id)
    malformed.id = "a/b?c#d e"

    output = run("project_labelers", now=NOW, project_ids=[malformed.id])

    assert output.error is None
    assert {r["project_id"] for r in output.records("project_labelers")} == {
        malformed.id
    }
    paths = {urlsplit(r.path).path for r in run.sandbox.requests}
    assert [unquote(p) for p in paths if "labelers" in p] == [
        f"/api/v1/performance/projects/{malformed.id}/labelers"
    ]


# --- series ------------------------------------------------------------------------


def test_a_year_is_one_request_a_metric(run: Runner) -> None:
    """Of values a day; ranges of scores are asked a day at a time."""
    start = NOW - 400 * DAY

    output = run("workspace_metric_series", now=NOW, start_date=start.isoformat())

    assert output.error is None
    result = asked(run)
    created = [days for path, *days in result if path.endswith("labels_created")]
    assert sorted(created) == [
        [start.date().isoformat(), (start + 365 * DAY).date().isoformat()],
        [(start + 366 * DAY).date().isoformat(), TODAY.isoformat()],
    ]
    scores = [days for path, *days in result if path.endswith("consensus_distribution")]
    assert sorted(scores) == [[day, day] for day in span(start.date())]
    records = output.records("workspace_metric_series")
    keys = {(r["metric"], r["date"], r["bucket"]) for r in records}
    assert len(keys) == len(records) == 401 * (5 + 2 * 10)


def test_series_add_up_to_the_tables(run: Runner) -> None:
    """Of labels that were created; and projects to the workspace."""
    output = run(
        *("project_metric_series", "workspace_metric_series", "project_labelers"),
        now=NOW,
    )

    def sums(stream: str, column: str) -> Counter[str]:
        return Counter(
            {
                day: sum(
                    r[column]
                    for r in output.records(stream)
                    if r["date"] == day
                    and r.get("metric", "labels_created") == "labels_created"
                )
                for day in span(TODAY - 30 * DAY)
            }
        )

    assert sums("project_labelers", "labels_created").total() > 100
    by_project = sums("project_metric_series", "value")
    assert by_project == sums("project_labelers", "labels_created")
    assert by_project == sums("workspace_metric_series", "value")


def test_the_list_of_metrics_is_asked_for_once(run: Runner) -> None:
    """By all streams that need it."""
    run(
        *("performance_metrics", "workspace_metric_series", "project_metric_series"),
        now=NOW,
        start_date="2026-06-10",
    )

    paths = [r.path for r in run.sandbox.requests]
    assert len([p for p in paths if p.endswith("/performance/metrics")]) == 1


def test_series_without_a_list_of_metrics_are_refused_once(
    run: Runner, caplog: Any
) -> None:
    """However many projects there are."""
    run.sandbox.before = lambda r: (
        NOT_FOUND if r.path.endswith("/performance/metrics") else None
    )

    output = run("project_metric_series", now=NOW)

    assert isinstance(output.error, IncompleteError)
    (line,) = logged(caplog)
    assert "project_metric_series is left out: the list of metrics cannot be" in line
    paths = [r.path for r in run.sandbox.requests]
    assert len([p for p in paths if "/performance/" in p]) == 1


def series(**values: Any) -> Any:
    """Return what answers one metric with these values, and has no other."""
    metrics = [{"name": "m", "buckets": values.pop("kind", "time")}]

    def answer(request: Request) -> Reply | None:
        if request.path.endswith("/performance/metrics"):
            return Reply(200, {}, {"data": metrics})
        return Reply(200, {}, values) if "/performance/" in request.path else None

    return answer


def test_malformed_values_cost_themselves(run: Runner, caplog: Any) -> None:
    """Numbers as text come, and what is new is kept."""
    run.sandbox.before = series(
        metric="m",
        unit=None,
        bucketType="time",
        generatedAt="2026-06-10T01:00:00+01:00",
        mood="fine",
        buckets=[
            None,
            {"start": None, "value": 1},
            {"start": "2026-06-10", "value": 2},
            {"start": "2026-06-10T02:00:00+02:00", "value": "3", "modes": None},
            {"start": "2026-06-09T00:00:00Z", "modes": {"creating": 4, "resting": 5}},
        ],
    )

    output = run("workspace_metric_series", now=NOW, start_date="2026-06-09")

    assert isinstance(output.error, IncompleteError)
    assert len(logged(caplog)) == 3
    last, first = output.records("workspace_metric_series")
    assert (last["date"], last["value"], last["bucket"]) == ("2026-06-10", 3, 0)
    assert last["generated_at"] == "2026-06-10T00:00:00.000Z"
    assert last["additional_columns"] == {"mood": "fine"}
    assert (first["date"], first["seconds_creating"]) == ("2026-06-09", 4)
    assert first["additional_columns"] == {"mood": "fine", "modes.resting": 5} or (
        first["additional_columns"] == {"mood": "fine", "modes_resting": 5}
    )


@pytest.mark.parametrize("kind", ["score", "novel", None])
def test_ranges_are_numbered_from_the_lowest(run: Runner, kind: str | None) -> None:
    """In whatever order they come; what kind is unknown is asked a day at a time."""
    ranges = [{"rangeStart": n / 10, "value": n} for n in (3, 1, 9)]
    run.sandbox.before = series(kind=kind, bucketType=kind, buckets=ranges)

    output = run("workspace_metric_series", now=NOW, start_date="2026-06-09")

    assert [
        (r["date"], r["bucket"], r["value"])
        for r in output.records("workspace_metric_series")
    ] == [
        (f"2026-06-{d}", n, v)
        for d in ("09", "10")
        for n, v in ((1, 1), (2, 3), (3, 9))
    ]


@pytest.mark.parametrize("body", [{}, {"buckets": None}, {"buckets": {}}])
def test_a_series_without_values_is_not_read(
    run: Runner, caplog: Any, body: Any
) -> None:
    """Its bookmark waits."""
    run.sandbox.before = series(**body)

    output = run("workspace_metric_series", now=NOW, start_date="2026-06-09")

    (line,) = logged(caplog)
    assert "Labelbox answered without buckets" in line
    assert "replication_key_value" not in output.state["bookmarks"].get(
        "workspace_metric_series", {}
    )


def test_metrics_without_a_name_are_left_out(run: Runner, caplog: Any) -> None:
    """Of their list, and of the series."""
    good = {"name": "labels_created", "buckets": "time"}
    metrics = [None, {"name": None}, {"name": ""}, good]
    run.sandbox.before = lambda r: (
        Reply(200, {}, {"data": metrics})
        if r.path.endswith("/performance/metrics")
        else None
    )
    names = ("performance_metrics", "workspace_metric_series")

    output = run(*names, now=NOW, start_date="2026-06-10")

    assert isinstance(output.error, IncompleteError)
    assert len(logged(caplog)) == 6
    assert [r["name"] for r in output.records(names[0])] == ["labels_created"]
    assert {r["metric"] for r in output.records(names[1])} == {"labels_created"}


def test_metrics_are_a_whole_table(run: Runner) -> None:
    """A target may delete those that are gone."""
    output = run("performance_metrics", emit_activate_version_messages=True)

    assert "ACTIVATE_VERSION" in {m["type"] for m in output.messages}


# --- the address -------------------------------------------------------------------


def test_the_rest_api_may_be_elsewhere(run: Runner, world: World) -> None:
    """And GraphQL stays where it is."""
    with serve(world) as other:
        output = run("performance_metrics", "users", rest_url=f"{other.rest_url}/")

    assert output.error is None
    assert output.records("performance_metrics")
    assert {urlsplit(r.path).path for r in other.requests} == {
        "/api/v1/performance/metrics"
    }
    assert {r.path for r in run.sandbox.requests} == {"/graphql"}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("labelbox.com/api/v1", "rest_url must be a web address, such as https://"),
        ("https://host/api?key=1", "rest_url must be a web address"),
        ("https://me:secret@host/api", "rest_url must be a web address"),
        ("http://host/api/v1", "rest_url is http:// of another machine (host)"),
    ],
)
def test_other_addresses_are_refused(tmp_path: Path, address: str, reason: str) -> None:
    """Above all those that would show the key to somebody."""
    (line,) = refused(tmp_path, rest_url=address)

    assert line.startswith(reason)
    assert "secret" not in line


@pytest.mark.parametrize(
    "address", ["https://host", "https://host/", "http://[::1]:8/v"]
)
def test_addresses_need_no_path(address: str) -> None:
    """And may be plain on this machine."""
    from tap_labelbox.tap import TapLabelbox  # noqa: PLC0415

    tap = TapLabelbox(config={"api_key": "x", "rest_url": address})

    assert tap.config["rest_url"] == address


# --- spans ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "most", "expected"),
    [
        ([], 5, []),
        (["2026-01-31"], 5, [("2026-01-31", "2026-01-31")]),
        (span(TODAY, TODAY + 4 * DAY), 5, [("2026-06-10", "2026-06-14")]),
        (
            span(TODAY, TODAY + 5 * DAY),
            5,
            [("2026-06-10", "2026-06-14"), ("2026-06-15", "2026-06-15")],
        ),
        (
            ["2026-01-01", "2026-01-31", "2026-02-01"],
            5,
            [("2026-01-01", "2026-01-01"), ("2026-01-31", "2026-02-01")],
        ),
        (["2026-01-01", "2026-01-02"], 1, [("2026-01-01",) * 2, ("2026-01-02",) * 2]),
    ],
)
def test_spans_hold_all_days(days: Any, most: int, expected: Any) -> None:
    """And none that is not asked for."""
    assert spans(days, most) == expected
