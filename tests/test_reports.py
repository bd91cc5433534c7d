"""Reports by day, of the REST API."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tap_labelbox.api.errors import AccessError, IncompleteError
from tap_labelbox.sandbox import Reply, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

NAME = "workspace_labelers"
pytestmark = pytest.mark.usefixtures("whole_month")

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
TODAY = NOW.date()
DAY = timedelta(days=1)
HTML = {"Content-Type": "text/html"}


@pytest.fixture
def world() -> World:
    """Return a workspace in which somebody labels every day."""
    world = World(projects=2, labels_per_project=2)
    for number in range(40):
        for project in world.projects:
            world.add_label(project.id, NOW - number * DAY - timedelta(hours=1))
    return world


def inputs(request: Request) -> dict[str, str]:
    """Return the parameters of a request for a report."""
    query = parse_qs(urlsplit(request.path).query)
    return {name: values[0] for name, values in query.items()}


def days(run: Runner) -> list[str]:
    """Return the days whose first pages were asked for, and forget them."""
    reports = [r for r in run.sandbox.requests if "/performance/" in r.path]
    result = [inputs(r)["startDate"] for r in reports if inputs(r)["page"] == "1"]
    run.sandbox.requests.clear()
    return sorted(result)


def span(first: date, last: date = TODAY) -> list[str]:
    """Return the days from one to another, both included."""
    return [(first + n * DAY).isoformat() for n in range((last - first).days + 1)]


def bookmark(output: Output) -> Any:
    """Return the bookmark of the report."""
    return output.state["bookmarks"][NAME].get("replication_key_value")


def answering(*pages: Any) -> Callable[[Request], Reply | None]:
    """Return what answers the first requests for reports with these bodies."""
    left = list(pages)

    def answer(request: Request) -> Reply | None:
        if "/performance/" not in request.path or not left:
            return None
        page = left.pop(0)
        return page if isinstance(page, Reply) else Reply(200, {}, page)

    return answer


def row(user: str = "u", **figures: Any) -> dict[str, Any]:
    """Return a row of a report."""
    return {"projectId": "p", "userId": user, "labelsCreated": 1, **figures}


def test_a_first_run_goes_back_a_month(run: Runner, world: World) -> None:
    """One request a day; each labeler's labels of it are counted."""
    output = run(NAME, now=NOW)

    assert output.error is None
    assert days(run) == span(TODAY - 30 * DAY)
    assert bookmark(output) == "2026-06-10"
    counts = {
        (r["project_id"], r["date"]): r["labels_created"] + r["labels_skipped"]
        for r in output.records(NAME)
    }
    assert counts == {
        (project.id, day): 1
        for project in world.projects
        for day in span(TODAY - 30 * DAY)
    }


def test_the_last_days_are_read_again(run: Runner) -> None:
    """Three of them, up to the bookmark; and all that came since."""
    state = run(NAME, now=NOW).state
    days(run)

    again = run(NAME, state=state, now=NOW)
    assert days(run) == span(TODAY - 2 * DAY)
    later = run(NAME, state=again.state, now=NOW + 4 * DAY)

    assert days(run) == span(TODAY - 2 * DAY, TODAY + 4 * DAY)
    assert bookmark(later) == "2026-06-14"


def test_a_start_date_is_a_limit(run: Runner) -> None:
    """Its day is read whole."""
    output = run(NAME, now=NOW, start_date="2026-06-01T15:00:00Z")

    assert days(run) == span(date(2026, 6, 1))
    run(NAME, now=NOW, start_date="2026-06-09T00:00:00Z", state=output.state)
    assert days(run) == span(date(2026, 6, 9))


def test_no_other_projects_than_those_wanted_are_reported(
    run: Runner, world: World
) -> None:
    """Though the request has no such filter."""
    requested = world.projects[1].id

    output = run(NAME, now=NOW, project_ids=[requested])

    assert {r["project_id"] for r in output.records(NAME)} == {requested}
    assert bookmark(output) == "2026-06-10"


def test_a_whole_table_is_read_again_and_deletes_nothing(run: Runner) -> None:
    """There are days before the first one that is read."""
    state = run(NAME, now=NOW).state
    days(run)
    catalog = {
        "streams": [
            {
                "tap_stream_id": NAME,
                "replication_method": "FULL_TABLE",
                "schema": run.tap(NAME).streams[NAME].schema,
                "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
            }
        ]
    }

    output = run(
        catalog=catalog, state=state, now=NOW, emit_activate_version_messages=True
    )

    assert days(run) == span(TODAY - 30 * DAY)
    assert "ACTIVATE_VERSION" not in {m["type"] for m in output.messages}


def test_a_bookmark_in_the_future_is_reported(run: Runner, caplog: Any) -> None:
    """And nothing is lost: the last days are read."""
    state = {
        "bookmarks": {
            NAME: {"replication_key": "date", "replication_key_value": "2027-01-01"}
        }
    }

    output = run(NAME, state=state, now=NOW)

    assert "is in the future" in caplog.text
    assert days(run) == span(TODAY - 2 * DAY)
    assert len(output.records(NAME)) == 6


def test_days_have_pages(run: Runner) -> None:
    """As many as their rows need."""
    everything = run(NAME, now=NOW).records(NAME)
    run.sandbox.requests.clear()

    paged = run(NAME, now=NOW, page_size=2).records(NAME)
    assert paged == everything
    assert {
        inputs(r)["perPage"] for r in run.sandbox.requests if "page=" in r.path
    } == {"2"}


@pytest.mark.parametrize(
    "pages",
    [
        # One more row by the second page; then as it is.
        [
            {"data": [row("a")], "total": 2},
            {"data": [row("b")], "total": 3},
            {"data": [row("a"), row("b"), row("c")], "total": 3},
        ],
        # A row moved down, and hid another.
        [
            {"data": [row("a"), row("a")], "total": 2},
            {"data": [row("a"), row("b")], "total": 2},
        ],
        # The second page is gone.
        [
            {"data": [row("a")], "total": 2},
            {"data": [], "total": 2},
            {"data": [row("a")], "total": 1},
        ],
    ],
)
def test_a_day_that_changes_is_read_again(run: Runner, pages: list[Any]) -> None:
    """All its rows are of one reading."""
    run.sandbox.before = answering(*pages)
    start = f"{NOW:%Y-%m-%d}T00:00:00Z"

    output = run(NAME, now=NOW, start_date=start, concurrency=1)

    expected = [r["userId"] for r in pages[-1]["data"]]
    assert output.error is None
    assert [r["user_id"] for r in output.records(NAME)] == expected
    assert bookmark(output) == "2026-06-10"


def test_a_row_that_always_comes_twice_blocks_nothing(run: Runner) -> None:
    """It has one place in the warehouse."""
    page = {"data": [row("a"), row("a")], "total": 2}
    run.sandbox.before = answering(page, page)

    output = run(NAME, now=NOW, start_date="2026-06-10T00:00:00Z", concurrency=1)

    assert output.error is None
    assert {r["user_id"] for r in output.records(NAME)} == {"a"}


@pytest.mark.parametrize(
    "body",
    [
        {"data": [row("a")]},
        {"data": None, "total": 1},
        {"total": 0},
        {"data": [row("a")], "total": "many"},
        {},
    ],
)
def test_a_day_without_its_total_is_not_read(
    run: Runner, caplog: Any, body: dict[str, Any]
) -> None:
    """It is complete when Labelbox says so; the bookmark waits before it."""
    third = (TODAY - 28 * DAY).isoformat()

    def answer(request: Request) -> Reply | None:
        return Reply(200, {}, body) if f"startDate={third}" in request.path else None

    run.sandbox.before = answer
    output = run(NAME, now=NOW, concurrency=1)

    assert isinstance(output.error, IncompleteError)
    (line,) = [m for m in caplog.messages if "is left out" in m]
    assert line.startswith(f"{NAME} is left out: Labelbox answered without")
    assert bookmark(output) == (TODAY - 29 * DAY).isoformat()
    assert {r["date"] for r in output.records(NAME)} == set(
        span(TODAY - 30 * DAY, TODAY - 29 * DAY)
    )
    run.sandbox.before = None
    days(run)
    run(NAME, now=NOW, state=output.state)
    assert days(run) == span(TODAY - 31 * DAY)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            Reply(403, {}, {"message": "You may not", "details": []}),
            "HTTP 403: You may",
        ),
        (Reply(404, {}, {"message": ["Not", "found"]}), "HTTP 404"),
        (Reply(404, dict(HTML), "<h1>Not found</h1>"), "HTTP 404"),
        (Reply(400, {}, {"message": "No such parameter"}), "No such parameter"),
    ],
)
def test_a_refusal_costs_the_stream(
    run: Runner, caplog: Any, reply: Reply, reason: str
) -> None:
    """In one line; the rest is read."""
    run.sandbox.before = lambda r: reply if "/performance/" in r.path else None

    output = run(NAME, "labels", now=NOW)

    (line,) = [m for m in caplog.messages if "is left out" in m]
    assert line.startswith(f"{NAME} is left out: ")
    assert reason in line
    assert isinstance(output.error, IncompleteError)
    assert output.records("labels")
    assert bookmark(output) is None


def test_whoever_may_see_nothing_is_warned(serving: Any, caplog: Any) -> None:
    """As Labelbox puts it."""
    run = serving(World(), performance="forbidden")

    run(NAME)

    assert "HTTP 403: You may not view performance across the workspace" in caplog.text


@pytest.mark.parametrize(
    "fault",
    [
        Reply(429, {"Retry-After": "0.01"}, {"message": "Too many requests"}),
        Reply(503, dict(HTML), "<h1>503</h1>"),
        Reply(500, {}, {"message": "Internal server error"}),
        Reply(200, {"Content-Type": "application/json"}, '{"data": ['),
        Reply(200, {}, []),
        Reply(reset=True),
    ],
    ids=lambda reply: f"{reply.status} {str(reply.body)[:9]}",
)
def test_a_fault_that_passes_is_tried_again(
    run: Runner, fault: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same rules as everything."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    run.sandbox.before = answering(fault, fault)

    output = run(NAME, now=NOW, start_date="2026-06-10T00:00:00Z", retry_seconds=30)

    assert output.error is None
    assert len(output.records(NAME)) == 2


def test_the_key_is_sent_and_checked(run: Runner) -> None:
    """As everywhere."""
    run.sandbox.before = answering(Reply(401, {}, {"message": "Invalid key"}))

    output = run(NAME, now=NOW)

    assert isinstance(output.error, AccessError)
    report = next(r for r in run.sandbox.requests if "/performance/" in r.path)
    assert report.headers["authorization"] == f"Bearer {run.sandbox.api_key}"


def test_malformed_rows_cost_themselves(run: Runner, caplog: Any) -> None:
    """Rows without a key are named without their values, others come."""
    malformed = [None, "Jane", row(None, email="Jane"), {"userId": "u"}]  # type: ignore[arg-type]
    good = row("u", labelsCreated="7", newFigure=1, cachedAt="never")
    body = {"data": [*malformed, good], "total": 5, "cachedAt": "2026-06-10T01:00:00Z"}
    run.sandbox.before = answering(body)

    output = run(NAME, now=NOW, start_date="2026-06-10T00:00:00Z", concurrency=1)

    assert isinstance(output.error, IncompleteError)
    (record,) = output.records(NAME)
    assert record["labels_created"] == 7
    assert record["cached_at"] == "2026-06-10T01:00:00.000Z"
    assert record["date"] == "2026-06-10"
    assert record["additional_columns"] == {"new_figure": 1}
    assert "Jane" not in caplog.text


def test_labelbox_says_which_day_it_is(serving: Any, world: World) -> None:
    """A clock that is ahead asks for no day that has not come."""
    run = serving(world)
    world.now = lambda: NOW

    output = run(NAME, clock=NOW + 3 * DAY)

    assert days(run)[-1] == "2026-06-10"
    assert bookmark(output) == "2026-06-10"


def test_it_is_off_by_default(run: Runner) -> None:
    """The catalog says so, and a run without a catalog leaves it out."""
    entries = json.loads(run.tap().catalog_json_text)["streams"]
    by_default = {
        entry["tap_stream_id"]: next(
            m["metadata"].get("selected-by-default")
            for m in entry["metadata"]
            if m["breadcrumb"] == []
        )
        for entry in entries
    }

    assert by_default[NAME] is False
    assert by_default["performance_metrics"] is True
    off = {stream for stream, is_on in by_default.items() if not is_on}
    assert not off & {m.get("stream") for m in run().messages}


@pytest.mark.filterwarnings("ignore")
def test_the_report_is_that_of_the_client(run: Runner) -> None:
    """Row by row."""
    import labelbox  # type: ignore[import-untyped]  # noqa: PLC0415  # it warns

    logging.getLogger("labelbox").setLevel(logging.ERROR)
    output = run(NAME, now=NOW, start_date="2026-06-10T00:00:00Z")
    sandbox = run.sandbox
    client = labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )

    theirs = client.get_workspace_labeler_performance("2026-06-10", "2026-06-10")
    names = ("user_id", "project_id", "email", "labels_created", "member_total_time")

    assert [tuple(r[name] for name in names) for r in output.records(NAME)] == [
        tuple(getattr(r, name) for name in names) for r in theirs
    ]
