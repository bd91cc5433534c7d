"""Every fault at every place: what arrives is what arrives without it.

`make test` runs a sample in which each fault and each place occurs; all of them are
run by `make test-faults`.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import threading
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
import urllib3.util.connection

from tap_labelbox.api.errors import LabelboxError
from tap_labelbox.api.pagination import OVERLAP_ROWS
from tap_labelbox.sandbox import Reply, World, serve
from tap_labelbox.sandbox.replies import HTML, error, faults
from tap_labelbox.sandbox.server import API_KEY
from tests import figures
from tests.runner import PRIMARY_KEYS, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Request, Sandbox
    from tests.runner import Output, Record

    Rows = dict[tuple[Any, ...], Record]

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PAGE, LABELS = 10, 25  # so a project has three pages, each with a row of the last one
PART_BYTES = 47_000  # bytes; an export has three of them
TIMEOUT_SECONDS = 0.15  # seconds

# --- faults ------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with a request."""

    reply: Callable[[Reply], Reply]
    """Gives what is answered instead."""
    done: bool = False
    """Whether what was asked for is done all the same."""
    passes: bool = True
    """Whether the run gets over it, if it happens once."""
    refuses: int = 0
    """How many connections are refused after it."""


def cut(reply: Reply) -> Reply:
    """Break off in the middle."""
    return replace(reply, cut=len(reply.content()) // 2)


def hang_up(reply: Reply) -> Reply:
    """Send a head and close the connection."""
    return replace(reply, cut=0)


def stall(reply: Reply) -> Reply:
    """Send half, and nothing more before the client has had enough."""
    return replace(cut(reply), hang=2 * TIMEOUT_SECONDS)


def instead(reply: Reply) -> Callable[[Reply], Reply]:
    """Answer this, whatever was asked."""
    return lambda _: reply


def body(change: Callable[[bytes], bytes]) -> Callable[[Reply], Reply]:
    """Send something else, as if that were it."""
    return lambda reply: replace(reply, body=change(reply.content()))


def garble(content: bytes) -> bytes:
    """Spoil what is in the middle."""
    middle = len(content) // 2
    return content[:middle] + b"\xff" * 9 + content[middle + 9 :]


def too_many_until(_: Reply) -> Reply:
    """Name a time up to which to wait, as HTTP writes it."""
    timestamp = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    return Reply(429, {"Retry-After": timestamp}, {"message": "Too many requests"})


# What servers should not say, but do: nobody is to read it in a log.
SECRET = f"{API_KEY} https://a.example/b?Signature=1"
A_PAGE = Reply(200, dict(HTML), f"<h1>Log in</h1>{SECRET}".ljust(2 * PART_BYTES))
RESET = instead(Reply(reset=True))
BREAKING = {
    "cut": Fault(cut, done=True),
    "no body": Fault(hang_up, done=True),
    "stalled": Fault(stall, done=True),
    "late": Fault(lambda reply: replace(reply, delay=2 * TIMEOUT_SECONDS), done=True),
    "reset, then refused": Fault(RESET, refuses=1),
    "page": Fault(instead(A_PAGE)),
}


def passing(*, graphql: bool) -> dict[str, Fault]:
    """Return the faults that the sandbox knows."""
    return BREAKING | {
        name: Fault(instead(reply))
        for name, reply in faults(graphql=graphql).items()
        if reply is not None
    }


def refusal(status: int, code: str, message: str = SECRET) -> Callable[[Reply], Reply]:
    """Answer with an error as GraphQL has it."""
    return instead(Reply(status, {}, error(message, code)))


API = passing(graphql=True) | {
    "HTTP 504, done": Fault(instead(Reply(504, dict(HTML), "<h1>504</h1>")), done=True),
    "text": Fault(instead(Reply(200, {"Content-Type": "text/plain"}, "no healthy"))),
    "redirect": Fault(instead(Reply(302, {"Location": "/login?Signature=1"}))),
    "too many, until a time": Fault(too_many_until),
    "unknown code": Fault(refusal(200, "ODD"), passes=False),
    "forbidden": Fault(refusal(403, "AUTHORIZATION_ERROR"), passes=False),
    "not found": Fault(refusal(200, "RESOURCE_NOT_FOUND"), passes=False),
    "wrong key": Fault(refusal(401, "AUTHENTICATION_ERROR"), passes=False),
}
TOO_COMPLEX = {
    "too complex": Fault(
        refusal(400, "GRAPHQL_VALIDATION_FAILED", "Query complexity limit exceeded")
    )
}
EXPORT_LIMIT = {"too many exports": Fault(refusal(200, "API_LIMIT"))}
FILES = passing(graphql=False) | {
    "expired": Fault(instead(Reply(403, {}, f"<Code>ExpiredToken</Code>{SECRET}"))),
    "gone": Fault(instead(Reply(404, {}, "<Code>NoSuchKey</Code>"))),
    "HTTP 429": Fault(instead(Reply(429, {"Retry-After": "1"}, "SlowDown"))),
    "empty": Fault(body(lambda _: b""), done=True),
    "short": Fault(body(lambda content: content[: len(content) // 2]), done=True),
    "garbled": Fault(body(lambda content: b"\xff" * len(content)), done=True),
    "garbled in the middle": Fault(body(garble), done=True),
    "too long": Fault(body(lambda content: content + content), done=True),
}

# --- places ------------------------------------------------------------------


@dataclass
class Place:
    """A place in a run at which a fault happens."""

    stream: str
    faults: dict[str, Fault]
    holds: Callable[[Request], bool]
    nth: int = 0
    """How many such requests go by before."""
    first_of_all: bool = False
    """Whether nothing has been answered before."""
    looked_for: bool = False
    """Whether what was done unheard is found, and not asked for again."""


def operation(name: str, **variables: Any) -> Callable[[Request], bool]:
    """Return a test for requests of an operation."""
    return lambda request: (
        request.operation == name and variables.items() <= request.variables.items()
    )


def part(number: int) -> Callable[[Request], bool]:
    """Return whether a request asks for the link to a part of an export's result."""
    return lambda request: (
        request.operation == "ExportPart"
        and request.variables["stream"] == "RESULT"
        and int(request.variables["offset"]) // PART_BYTES == number
    )


def part_file(number: int) -> Callable[[Request], bool]:
    """Return whether a request downloads a part of an export's result."""

    def holds(request: Request) -> bool:
        actual = re.search(r"-result-(\d+)\.ndjson", request.path)
        return bool(actual and int(actual[1]) // PART_BYTES == number)

    return holds


def a_file(request: Request) -> bool:
    """Return whether a request is a download."""
    return request.path.startswith("/files/")


LAST_PART_NUMBER = 2  # of the parts of an export; the test looks whether it is
PLACES = {
    "labels: first request": Place(
        "labels", API | TOO_COMPLEX, operation("ProjectIds"), first_of_all=True
    ),
    "labels: first page": Place(
        "labels", API | TOO_COMPLEX, operation("Labels", skip=0)
    ),
    "labels: middle page": Place(
        "labels", API | TOO_COMPLEX, operation("Labels", skip=PAGE - OVERLAP_ROWS)
    ),
    "labels: last page": Place(
        "labels", API | TOO_COMPLEX, operation("Labels", skip=2 * (PAGE - OVERLAP_ROWS))
    ),
    "bulk_export: first request": Place(
        "bulk_export", API, operation("ProjectIds"), first_of_all=True
    ),
    "bulk_export: start": Place("bulk_export", API, operation("ExportLabels")),
    "bulk_export: poll": Place("bulk_export", API, operation("ExportLabels"), nth=3),
    "bulk_export: download": Place("bulk_export", FILES, a_file),
    "data_row_exports: first request": Place(
        "data_row_exports", API, operation("ProjectIds"), first_of_all=True
    ),
    "data_row_exports: start": Place(
        "data_row_exports",
        API | EXPORT_LIMIT,
        operation("StartExport"),
        looked_for=True,
    ),
    "data_row_exports: poll": Place("data_row_exports", API, operation("ExportStatus")),
    "data_row_exports: headers and first part": Place(
        "data_row_exports",
        API,
        # The latter is asked where the former goes on failing.
        lambda request: request.operation in {"ExportOpening", "ExportHeader"},
    ),
    **{
        f"data_row_exports: {name} part": Place("data_row_exports", API, part(number))
        for name, number in (("middle", 1), ("last", LAST_PART_NUMBER))
    },
    **{
        f"data_row_exports: {name} download": Place(
            "data_row_exports", FILES, part_file(number)
        )
        for name, number in (("first", 0), ("middle", 1), ("last", LAST_PART_NUMBER))
    },
}
# What an address that has not answered yet is blamed for.
WRONG_ADDRESS = {"page", "text", "redirect"}

EVERY = [(place, fault) for place in PLACES for fault in PLACES[place].faults]


def sample() -> list[tuple[str, str]]:
    """Choose so that each place occurs, and each fault at one of its places."""
    turns, chosen = cycle(PLACES), []
    for fault in sorted({fault for _, fault in EVERY}):
        place = next(place for place in turns if fault in PLACES[place].faults)
        chosen.append((place, fault))
    met = {place for place, _ in chosen}
    return chosen + [(place, "cut") for place in PLACES if place not in met]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by a sample of the faults, or by all with --every-fault."""
    if "place_name" in metafunc.fixturenames:
        chosen = EVERY if metafunc.config.getoption("every_fault") else sample()
        metafunc.parametrize(("place_name", "fault_name"), chosen)


# --- runs --------------------------------------------------------------------


class Mishaps:
    """Lets a fault happen at its place, once or from then on."""

    def __init__(self, place: Place, fault: Fault, *, once: bool) -> None:
        """Wait for the place."""
        self.happened = 0
        self._place, self._fault, self._once = place, fault, once
        self._met = self._refusing = 0
        self._lock = threading.Lock()

    def before(self, request: Request) -> Reply | None:
        """Answer a request that is not heard."""
        return self._reply(request, Reply()) if not self._fault.done else None

    def after(self, request: Request, reply: Reply) -> Reply | None:
        """Answer a request that was heard in another way."""
        return self._reply(request, reply) if self._fault.done else None

    def refused(self) -> bool:
        """Return whether the next connection is refused."""
        with self._lock:
            refused = self._refusing > 0
            self._refusing -= refused
        return refused

    def _reply(self, request: Request, reply: Reply) -> Reply | None:
        with self._lock:
            if not self._place.holds(request):
                return None
            self._met += 1
            if self._met <= self._place.nth or (self._once and self.happened):
                return None
            self.happened += 1
            self._refusing += self._fault.refuses
        return self._fault.reply(reply)


@contextmanager
def served(**knobs: Any) -> Iterator[Runner]:
    """Serve a workspace, the same one each time."""
    # No two labels of one timestamp, so that it is known where each page begins.
    world = World(seed=1, projects=2, labels_per_project=LABELS, whole_seconds=False)
    world.now = lambda: NOW
    knobs = {"part_size": PART_BYTES, "cut_parts": True} | knobs
    with serve(world, **knobs) as sandbox:
        yield Runner(sandbox, world)


def read(run: Runner, stream: str, **settings: Any) -> Output:
    """Read a stream."""
    return run(stream, now=NOW, page_size=PAGE, **{"retry_seconds": 5} | settings)


def loaded(stream: str, *outputs: Output) -> Rows:
    """Return what a target has in its table: the latest record of each key."""
    rows = {key_of(stream, r): r for output in outputs for r in output.records(stream)}
    # Links are signed anew each time, and say where the sandbox is.
    text = re.sub(r'https?://[^\\"]+', "link", json.dumps([*rows.values()]))
    return dict(zip(rows, json.loads(text), strict=True))


def key_of(stream: str, record: Record) -> tuple[Any, ...]:
    """Return a record's key."""
    return tuple(record[column] for column in PRIMARY_KEYS[stream])


@cache
def undisturbed(stream: str) -> Rows:
    """Return what a run without faults brings."""
    with served() as run:
        output = read(run, stream)
    assert output.error is None
    return loaded(stream, output)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing long, whoever wishes it."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("tap_labelbox.api.errors.MAX_RETRY_AFTER_SECONDS", 0.05)


@pytest.mark.parametrize("stream", sorted({place.stream for place in PLACES.values()}))
def test_every_place_is_met(stream: str) -> None:
    """Without faults; and the last part of an export is its last."""
    with served() as run:
        assert read(run, stream).error is None
        requests = run.sandbox.requests
    for name, place in PLACES.items():
        if place.stream == stream:
            assert sum(map(place.holds, requests)) > place.nth, name
    assert not any(map(part(LAST_PART_NUMBER + 1), requests))


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("once", [True, False], ids=["once", "for good"])
def test_a_fault_costs_no_row(
    place_name: str,
    fault_name: str,
    once: bool,  # noqa: FBT001  # pytest gives it by name
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor brings one twice. What does not pass is logged, and read by the next run."""
    place = PLACES[place_name]
    fault = place.faults[fault_name]
    passes = (
        fault.passes
        and (once or (fault.done and place.looked_for))
        and not (place.first_of_all and fault_name in WRONG_ADDRESS)
    )
    mishaps = Mishaps(place, fault, once=once)
    refuse_connections(monkeypatch, mishaps.refused)
    caplog.set_level(logging.DEBUG)
    with served() as run:
        run.sandbox.before, run.sandbox.after = mishaps.before, mishaps.after
        wait = 5 if passes else 0.2
        budget = {"retry_seconds": wait, "export_timeout": wait}
        first = read(run, place.stream, request_timeout=TIMEOUT_SECONDS, **budget)
        run.sandbox.before = run.sandbox.after = None

        assert mishaps.happened
        figures.count("faults", mishaps.happened)
        assert_no_secret(run.sandbox, first, caplog)
        assert loaded(place.stream, first).items() <= undisturbed(place.stream).items()
        keys = [key_of(place.stream, r) for r in first.records(place.stream)]
        assert len(keys) == len(set(keys))
        if passes:
            assert first.error is None
            assert_nothing_lost(place.stream, first)
            return
        assert isinstance(first.error, LabelboxError)
        assert "\n" not in str(first.error)
        last = first.states[-1] if first.states else None
        second = read(run, place.stream, state=last)
    assert second.error is None
    assert_nothing_lost(place.stream, first, second)


def assert_nothing_lost(stream: str, *outputs: Output) -> None:
    """Compare what has arrived with what arrives without faults."""
    arrived, truth = loaded(stream, *outputs), undisturbed(stream)
    figures.count("rows compared", len(truth))
    figures.count("rows lost", len(truth.keys() - arrived.keys()))
    assert arrived == truth


def refuse_connections(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[[], bool]
) -> None:
    """Refuse connections of the tap, as a machine does where nobody listens."""
    connect = urllib3.util.connection.create_connection

    def create_connection(*settings: Any, **options: Any) -> Any:
        if refused():
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return connect(*settings, **options)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", create_connection)


def assert_no_secret(
    sandbox: Sandbox, output: Output, caplog: pytest.LogCaptureFixture
) -> None:
    """Look for keys and signatures in all but the records, at its most talkative."""
    logged = [caplog.text, *(str(vars(record)) for record in caplog.records)]
    logged += [str(m) for m in output.messages if m["type"] != "RECORD"]
    if output.error:
        logged += traceback.format_exception(output.error)
    text = "\n".join(logged)
    links = [r.path for r in sandbox.requests if "Signature=" in r.path]
    signatures = {link.partition("Signature=")[2] for link in links}
    for secret in (sandbox.api_key, "Signature=", *signatures):
        assert secret not in text


@pytest.mark.usefixtures("_impatient")
def test_many_faults_cost_no_row(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """One request in ten fails, and everything is there all the same."""
    whole = request.config.getoption("every_fault")
    projects, least = (50, 2000) if whole else (4, 150)
    streams = ("labels", "data_row_exports", "bulk_export")
    world = World(projects=projects, labels_per_project=200)
    world.now = lambda: NOW
    caplog.set_level(logging.DEBUG)
    with serve(world, faults=0.1, part_size=PART_BYTES, cut_parts=True) as sandbox:
        run = Runner(sandbox, world)
        output = run(*streams, now=NOW, page_size=PAGE, retry_seconds=60)
        asked = len(sandbox.requests)

    assert output.error is None
    assert asked >= least
    assert_no_secret(sandbox, output, caplog)
    every = Counter(label.id for p in world.projects for label in world.labels(p.id))
    assert Counter(output.ids("labels")) == every
    assert Counter(output.ids("bulk_export")) == every
    assert Counter(
        (r["project_id"], r["data_row_id"]) for r in output.records("data_row_exports")
    ) == Counter((row.project.id, row.id) for row in world.data_rows)
