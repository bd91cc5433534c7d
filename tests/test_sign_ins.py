"""Sign-ins: cursors, the end of a complete list, and sessions that go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.streams.reports import MAX_OPEN_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

pytestmark = pytest.mark.usefixtures("whole_month")

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
EVENTS, SESSIONS = "sign_in_events", "sign_in_sessions"


def text(timestamp: datetime) -> str:
    """Return a timestamp as columns have it."""
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asked(run: Runner) -> list[tuple[str, str]]:
    """Return the periods that were asked for, and forget them."""
    result = []
    for request in run.sandbox.requests:
        query = parse_qs(urlsplit(request.path).query)
        if "startDate" in query and "cursor" not in query:
            result.append((query["startDate"][0], query["endDate"][0]))
    run.sandbox.requests.clear()
    return sorted(result)


def bookmark(output: Output, stream: str) -> Any:
    """Return up to when a stream has been read."""
    return output.state["bookmarks"][stream].get("replication_key_value")


def answering(*pages: dict[str, Any]) -> Callable[[Request], Reply | None]:
    """Return what answers the first requests for sign-ins with these bodies."""
    left = list(pages)

    def answer(request: Request) -> Reply | None:
        if "/sign-in-" not in request.path or not left:
            return None
        return Reply(200, {}, left.pop(0))

    return answer


# --- events ------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [2, 100])
def test_events_come_in_their_order(run: Runner, page_size: int) -> None:
    """Each once, whatever the size of a page, up to where the list is complete."""
    output = run(EVENTS, now=NOW, page_size=page_size, start_date="2026-06-08")

    records = output.records(EVENTS)
    times = [r["occurred_at"] for r in records]
    assert len(records) > 20
    assert times == sorted(times)
    assert len({r["event_id"] for r in records}) == len(records)
    assert {r["type"] for r in records} == {"SIGN_IN", "SIGN_OUT"}
    assert bookmark(output, EVENTS) == text(NOW - timedelta(minutes=5))


def test_months_are_asked_for_one_by_one(run: Runner) -> None:
    """Of 31 days at most."""
    run(EVENTS, SESSIONS, now=NOW, start_date="2026-04-01")

    periods = [
        ("2026-04-01", "2026-05-01"),
        ("2026-05-02", "2026-06-01"),
        ("2026-06-02", "2026-06-10"),
    ]
    assert asked(run) == sorted(periods * 2)


@pytest.mark.parametrize(
    ("minutes", "first_day"), [(30, "2026-06-09"), (66, "2026-06-10")]
)
def test_the_next_run_begins_an_hour_before(
    run: Runner, minutes: int, first_day: str
) -> None:
    """With the day that holds it."""
    midnight = NOW.replace(hour=0)
    state = run(EVENTS, now=midnight + timedelta(minutes=minutes)).state
    asked(run)

    run(EVENTS, now=NOW, state=state)

    assert asked(run) == [(first_day, "2026-06-10")]


def test_every_event_comes_in_some_run(run: Runner) -> None:
    """Night after night, as in one go."""
    state: Any = None
    result: dict[str, Any] = {}
    for number in range(10):
        output = run(
            EVENTS, now=NOW + number * DAY / 2, state=state, start_date="2026-06-09"
        )
        result |= {r["event_id"]: r for r in output.records(EVENTS)}
        state = output.state

    at_once = run(EVENTS, now=NOW + 4.5 * DAY, start_date="2026-06-09")
    everything = {r["event_id"]: r for r in at_once.records(EVENTS)}
    assert len(everything) > 50
    assert result == everything


@pytest.mark.parametrize("complete", [None, "", "yesterday", 7])
def test_a_list_of_unknown_end_moves_nothing(
    run: Runner, caplog: Any, complete: Any
) -> None:
    """Its records come, and come again."""
    page = {"data": [{"eventId": "e"}], "nextCursor": None, "completeThrough": complete}
    run.sandbox.before = answering(page)

    output = run(EVENTS, now=NOW)

    assert isinstance(output.error, IncompleteError)
    (line,) = [m for m in caplog.messages if "is left out" in m]
    assert "Labelbox answered without completeThrough" in line
    (record,) = output.records(EVENTS)
    assert {v for k, v in record.items() if k != "additional_columns"} == {"e", None}
    assert bookmark(output, EVENTS) is None


def test_a_cursor_that_comes_again_ends_the_stream(run: Runner, caplog: Any) -> None:
    """With what there was up to then."""
    page = {"data": [{"eventId": "e"}], "nextCursor": "again"}
    run.sandbox.before = answering(page, page, page)

    output = run(EVENTS, now=NOW)

    assert isinstance(output.error, IncompleteError)
    assert "gives the same page again and again" in caplog.text
    assert bookmark(output, EVENTS) is None


def test_an_empty_page_is_not_the_last(run: Runner) -> None:
    """Only one without a cursor is."""
    complete = {"completeThrough": "2026-06-10T11:00:00Z"}
    run.sandbox.before = answering(
        {"data": [], "nextCursor": "next"},
        {"data": [{"eventId": "e"}]} | complete,
    )

    output = run(EVENTS, now=NOW)

    assert output.error is None
    assert len(output.records(EVENTS)) == 1
    assert bookmark(output, EVENTS) == "2026-06-10T11:00:00.000Z"


def test_malformed_events_cost_themselves(run: Runner, caplog: Any) -> None:
    """And no value of them is logged."""
    rows = [None, "Jane", {"email": "Jane"}, {"eventId": "e", "mood": "fine"}]
    complete = {"completeThrough": "2026-06-10T11:00:00Z"}
    run.sandbox.before = answering({"data": rows} | complete)

    output = run(EVENTS, now=NOW)

    assert isinstance(output.error, IncompleteError)
    (record,) = output.records(EVENTS)
    assert record["additional_columns"] == {"mood": "fine"}
    assert "Jane" not in caplog.text


@pytest.mark.parametrize("stream", [EVENTS, SESSIONS])
def test_who_may_not_see_them_is_warned(
    serving: Callable[..., Runner], caplog: Any, stream: str
) -> None:
    """In one line; the rest is read."""
    run = serving(World(), performance="forbidden")

    output = run(stream, "users")

    assert isinstance(output.error, IncompleteError)
    (line,) = [m for m in caplog.messages if "is left out" in m]
    assert line.startswith(f"{stream} is left out: ")
    assert "HTTP 403: You may not view performance across the workspace" in line
    assert output.records("users")


# --- sessions ----------------------------------------------------------------------


def open_days(output: Output) -> list[str]:
    """Return the days that the next run is to read again."""
    days: list[str] = output.state["bookmarks"][SESSIONS]["open_days"]
    return days


def test_days_of_open_sessions_are_kept(run: Runner) -> None:
    """Those, and no others."""
    output = run(SESSIONS, now=NOW)

    still_open = {
        r["started_at"][:10] for r in output.records(SESSIONS) if r["status"] == "OPEN"
    }
    assert min(still_open) < "2026-06-03"
    assert open_days(output) == sorted(still_open)
    assert bookmark(output, SESSIONS) == text(NOW)


def test_the_last_days_and_those_are_read_again(run: Runner) -> None:
    """In as few requests as they need."""
    state = run(SESSIONS, now=NOW).state
    state["bookmarks"][SESSIONS]["open_days"] = [
        "2026-01-07",
        "2026-01-08",
        "2026-06-01",
    ]
    asked(run)

    run(SESSIONS, now=NOW + DAY, state=state)

    assert asked(run) == [
        ("2026-01-07", "2026-01-08"),
        ("2026-06-01", "2026-06-01"),
        ("2026-06-03", "2026-06-11"),
    ]


def test_every_session_comes_to_its_end(run: Runner) -> None:
    """Night after night, what is in the warehouse is what Labelbox has."""
    state: Any = None
    result: dict[str, Any] = {}
    for number in range(0, 60, 3):
        output = run(
            SESSIONS, now=NOW + number * DAY, state=state, start_date="2026-06-01"
        )
        result |= {r["session_id"]: r for r in output.records(SESSIONS)}
        state = output.state

    at_once = run(SESSIONS, now=NOW + 57 * DAY, start_date="2026-06-01")
    everything = {r["session_id"]: r for r in at_once.records(SESSIONS)}
    assert len(everything) > 200
    assert result == everything
    assert open_days(output) == open_days(at_once)


def test_a_run_that_ends_early_forgets_no_open_session(run: Runner) -> None:
    """The days that it has not read again stay."""
    state = run(SESSIONS, now=NOW).state
    days = ["2026-01-07", "2026-03-08"]
    state["bookmarks"][SESSIONS]["open_days"] = days
    run.sandbox.before = lambda r: (
        Reply(500, {}, {}) if "startDate=2026-03-08" in r.path else None
    )

    output = run(SESSIONS, now=NOW + DAY, state=state, retry_seconds=0)

    assert output.error
    assert set(open_days(output)) - {"2026-01-07"} == {"2026-03-08"}
    assert bookmark(output, SESSIONS) == text(NOW)


@pytest.mark.parametrize("kept", [None, "2026-01-07", [7, None, "x"], {}])
def test_a_state_that_somebody_wrote_breaks_nothing(run: Runner, kept: Any) -> None:
    """Anything but a date is ignored."""
    state = run(SESSIONS, now=NOW).state
    state["bookmarks"][SESSIONS]["open_days"] = kept
    asked(run)

    output = run(SESSIONS, now=NOW, state=state)

    assert output.error is None
    assert asked(run) == [("2026-06-03", "2026-06-10")]


def test_the_days_in_the_state_are_few(run: Runner, caplog: Any) -> None:
    """However long sessions stay open; a warning says which are left out."""
    rows = [
        {"sessionId": f"s{n}", "startedAt": text(NOW - n * DAY), "status": "OPEN"}
        for n in range(MAX_OPEN_DAYS + 30)
    ]
    run.sandbox.before = answering({"data": rows})

    output = run(SESSIONS, now=NOW, start_date="2026-06-01")

    assert len(open_days(output)) == MAX_OPEN_DAYS
    assert open_days(output)[-1] == "2026-06-10"
    assert "130 days with open sessions" in caplog.text


@pytest.mark.parametrize(
    ("session", "days"),
    [
        ({"status": "ENDED"}, []),
        (
            {"status": "SUSPENDED", "startedAt": "2026-06-08T23:30:00-01:00"},
            ["2026-06-09"],
        ),
        ({"status": "SUSPENDED", "endedAt": "2026-06-09T01:00:00Z"}, []),
        ({"status": None}, ["2026-06-08", "2026-06-09", "2026-06-10"]),
        ({"status": "OPEN"}, ["2026-06-08", "2026-06-09", "2026-06-10"]),
    ],
)
def test_what_may_still_change_is_read_again(
    run: Runner, session: dict[str, Any], days: list[str]
) -> None:
    """Whatever its status is called, and if need be all days that it may be of."""
    run.sandbox.before = answering({"data": [{"sessionId": "s"} | session]})

    output = run(SESSIONS, now=NOW, start_date="2026-06-08")

    assert output.error is None
    assert open_days(output) == days
