"""The parts of an export, prefetched: in order, whole, and no more than fits."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise, repeat
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tap_labelbox.api.client import Client
from tap_labelbox.api.errors import TransientError, UnavailableError
from tap_labelbox.exports import parts
from tap_labelbox.exports.tasks import OPTIONAL_PARAMS, Export, inputs
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.files import RANGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request, Sandbox
    from tests.runner import Runner

Row = dict[str, Any]

WAIT_SECONDS = 60.0
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FILES = "/files/"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)


@pytest.fixture
def world() -> World:
    """Return a workspace with exports of many rows."""
    return World()


@pytest.fixture
def connect(sandbox: Sandbox) -> Callable[..., Client]:
    """Return what makes a client of the sandbox."""

    def make(concurrency: int = 6, **options: Any) -> Client:
        defaults = {"timeout": 5, "retry_seconds": 1, "concurrency": concurrency}
        logger = logging.getLogger("tap-labelbox")
        return Client(
            sandbox.url, sandbox.api_key, logger=logger, **(defaults | options)
        )

    return make


@pytest.fixture
def task_id(sandbox: Sandbox, world: World, connect: Callable[..., Client]) -> str:
    """Return a finished export of some ten parts of 13 KB."""
    sandbox.part_size, sandbox.cut_parts = 13_000, True
    include = dict.fromkeys(OPTIONAL_PARAMS, True)
    (export_input,) = inputs(
        world.projects[2].id, {}, include, since=None, until="2027-01-01T00:00:00.000Z"
    )
    export = Export.start(connect(), export_input, "tap-labelbox test")
    export.wait(interval=0.001, timeout=5)
    return export.task_id


def read(client: Client, task_id: str, start: int = 0) -> list[tuple[int, Row]]:
    """Read an export to its end: each row, and the byte up to which it was read."""
    export = Export(client, task_id)
    return [(at, row) for at, rows in export.rows(start=start) for row in rows]


def only_rows(rows: list[tuple[int, Row]]) -> list[Row]:
    """Return rows without what depends on how their bytes came."""
    return [row for _, row in rows]


def files(sandbox: Sandbox) -> list[Request]:
    """Return the requests for files."""
    return [r for r in sandbox.requests if r.path.startswith(FILES)]


def test_rows_are_those_of_one_connection(
    connect: Callable[..., Client], task_id: str
) -> None:
    """In the same order, from wherever it is read on."""
    serial = read(connect(concurrency=1), task_id)
    starts = [0, *dict.fromkeys(at for at, _ in serial)][:-1]

    assert len(starts) > 5
    for start in starts[::3]:
        parallel = read(connect(), task_id, start)
        assert only_rows(parallel) == [row for at, row in serial if at > start]
        assert parallel[-1][0] == serial[-1][0]


def test_several_parts_are_downloaded_at_once(
    sandbox: Sandbox, connect: Callable[..., Client], task_id: str
) -> None:
    """The second comes no sooner than the fourth has been asked for."""
    asked = threading.Event()
    names: list[str] = []

    def hook(request: Request) -> Reply | None:
        if request.path.startswith(FILES):
            names.append(request.path)
            if len(names) == 2:
                assert asked.wait(WAIT_SECONDS)
            elif len(names) == 4:
                asked.set()
        return None

    serial = only_rows(read(connect(concurrency=1), task_id))
    sandbox.before = hook

    assert only_rows(read(connect(), task_id)) == serial
    assert asked.is_set()


def test_each_part_is_asked_for_once(
    sandbox: Sandbox, connect: Callable[..., Client], task_id: str
) -> None:
    """And downloaded whole, without a range, once."""
    client = connect()
    sandbox.requests.clear()

    read(client, task_id)

    asked = Counter(
        r.variables["offset"] for r in sandbox.requests if r.operation == "ExportPart"
    )
    names = Counter(r.path.partition("?")[0] for r in files(sandbox))
    assert len(asked) == len(names) > 5
    assert {*asked.values(), *names.values()} == {1}
    assert not [r for r in files(sandbox) if r.headers.get("range")]


@pytest.mark.parametrize("size", [2000, 7000])
@pytest.mark.parametrize("concurrency", [1, 6])
def test_a_large_part_is_cut(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    task_id: str,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    concurrency: int,
) -> None:
    """Into ranges, which bring each byte once."""
    serial = only_rows(read(connect(concurrency=1), task_id))
    monkeypatch.setattr(parts, "SLICE_BYTES", size)
    client = connect(concurrency)
    sandbox.requests.clear()

    assert only_rows(read(client, task_id)) == serial
    ranges: dict[str, list[tuple[int, int]]] = {}
    for request in files(sandbox):
        match = RANGE.fullmatch(request.headers.get("range") or "")
        span = (int(match[1]), int(match[2] or -1)) if match else (0, -1)
        ranges.setdefault(request.path.partition("?")[0], []).append(span)
    for spans in ranges.values():
        spans.sort()
        assert all(b == e + 1 for (_, e), (b, _) in pairwise(spans))
        assert (spans[0][0], spans[-1][1]) == (0, -1)
    assert max(map(len, ranges.values())) > 1


@pytest.mark.parametrize("held", [64_000_000, 9000], ids=["fits", "never fits"])
def test_a_server_that_gives_whole_files_only(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    task_id: str,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
) -> None:
    """Is asked for slices no longer, once it is known; all rows come all the same."""
    serial = only_rows(read(connect(concurrency=1), task_id))
    monkeypatch.setattr(parts, "SLICE_BYTES", 4000)
    monkeypatch.setattr(parts, "MAX_HELD_BYTES", held)
    client = connect()
    names: list[str] = []

    def hook(request: Request) -> Reply | None:
        if not request.path.startswith(FILES) or "ours" in request.path:
            return None
        names.append(request.path.partition("?")[0])
        whole = requests.get(f"{sandbox.root}{request.path}&ours", timeout=10)
        return Reply(200, {}, whole.content)

    sandbox.before = hook

    assert only_rows(read(client, task_id)) == serial
    # Several of one part only where they were under way when the first reply came.
    assert len(names) <= len({*names}) + client.concurrency


@pytest.mark.parametrize(
    "reply",
    [
        Reply(403, {}, b"expired"),
        Reply(503, {}, b"busy"),
        Reply(429, {"Retry-After": "0"}, b"slow down"),
        Reply(200, {}, b""),
        Reply(200, {}, b'{"data_row": '),
        Reply(200, {}, b"x" * 100 + b"\n" + b"y" * 100),
        Reply(200, {}, b"{}\n" * 40_000),
    ],
    ids=["expired", "busy", "rate limit", "empty", "cut", "corrupt", "too long"],
)
@pytest.mark.parametrize("which", [2, 5])
@pytest.mark.parametrize("size", [8_000_000, 4000], ids=["parts", "slices"])
def test_a_part_that_comes_wrong_is_fetched_again(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    task_id: str,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    which: int,
    size: int,
) -> None:
    """All rows are there in the end, each once and in order."""
    serial = only_rows(read(connect(concurrency=1), task_id))
    monkeypatch.setattr(parts, "SLICE_BYTES", size)
    replies = chain(repeat(None, which), [reply], repeat(None))
    sandbox.before = lambda r: next(replies) if r.path.startswith(FILES) else None

    assert only_rows(read(connect(), task_id)) == serial


def test_every_third_reply_is_a_fault(
    sandbox: Sandbox, connect: Callable[..., Client], task_id: str
) -> None:
    """Of the questions for parts as well; that takes longer, and loses nothing."""
    serial = only_rows(read(connect(concurrency=1), task_id))
    turns = iter(range(10_000))
    sandbox.before = lambda _: Reply(503) if next(turns) % 3 == 2 else None

    assert only_rows(read(connect(), task_id)) == serial


def test_a_link_that_expires_while_it_waits_is_asked_for_anew(
    sandbox: Sandbox, world: World, connect: Callable[..., Client], task_id: str
) -> None:
    """As one does where its turn comes late."""
    serial = only_rows(read(connect(concurrency=1), task_id))
    sandbox.link_seconds = 10
    now = world.now()
    world.now = lambda: now

    def hook(request: Request) -> None:
        if len(files(sandbox)) >= late and request.path.startswith(FILES):
            world.now = lambda: now + timedelta(seconds=60)

    client = connect()
    sandbox.requests.clear()
    late = 3
    sandbox.before = hook

    assert only_rows(read(client, task_id)) == serial
    asked = [r for r in sandbox.requests if r.operation == "ExportPart"]
    assert len(asked) > len({r.variables["offset"] for r in asked})


def test_redirects_are_followed(
    sandbox: Sandbox, connect: Callable[..., Client], task_id: str
) -> None:
    """With the range."""
    serial = only_rows(read(connect(concurrency=1), task_id))

    def hook(request: Request) -> Reply | None:
        if not request.path.startswith(FILES) or "hop" in request.path:
            return None
        return Reply(307, {"Location": f"{request.path}&hop=1"})

    sandbox.before = hook

    assert only_rows(read(connect(), task_id)) == serial


@pytest.mark.parametrize("fault", [403, 503])
def test_what_comes_before_a_part_that_never_comes_is_read(
    sandbox: Sandbox, connect: Callable[..., Client], task_id: str, fault: int
) -> None:
    """Row by row, as over one connection; then its error is raised."""
    serial = only_rows(read(connect(concurrency=1), task_id))
    client = connect(retry_seconds=0)
    names = list(dict.fromkeys(r.path.partition("?")[0] for r in files(sandbox)))
    lost = names[len(names) // 2]
    sandbox.before = lambda r: Reply(fault) if r.path.startswith(lost) else None
    result: list[Row] = []
    reader = Export(client, task_id).rows()

    with pytest.raises((TransientError, UnavailableError)):
        result.extend(row for _, rows in reader for row in rows)

    assert result == serial[: len(result)]
    assert len(serial) / 3 < len(result) < len(serial)


@pytest.mark.parametrize("held", [30_000, 60_000])
@pytest.mark.parametrize("size", [4000, 8_000_000], ids=["slices", "parts"])
def test_what_is_held_is_bounded(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    task_id: str,
    monkeypatch: pytest.MonkeyPatch,
    held: int,
    size: int,
) -> None:
    """In bytes: what has been asked for, less what has been read."""
    monkeypatch.setattr(parts, "MAX_HELD_BYTES", held)
    monkeypatch.setattr(parts, "SLICE_BYTES", size)
    client = connect(concurrency=30)
    asked: list[int] = []
    excess: list[int] = []
    position = 0

    def hook(request: Request, reply: Reply) -> None:
        if request.path.startswith(FILES):
            asked.append(len(reply.content()))
            excess.append(sum(asked) - position)

    sandbox.after = hook
    for position, _ in Export(client, task_id).rows():  # noqa: B007  # see the hook
        # As slow as somebody who waits until nothing more is coming.
        _settle(asked)

    assert len(asked) > 5
    # Beside it there are a slice that is being read, and a line that is not whole.
    assert max(excess) <= held + max(asked) + 16_000
    assert max(excess) > held / 2


def _settle(items: list[Any]) -> None:
    """Wait until a list has stopped growing."""
    before = -1
    while before != len(items):
        before = len(items)
        time.sleep(0.02)


def test_threads_end_with_whoever_reads(
    connect: Callable[..., Client], task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though one of them is waiting for room."""
    monkeypatch.setattr(parts, "MAX_HELD_BYTES", 30_000)
    before = {*threading.enumerate()}
    reader = Export(connect(), task_id).rows()
    for _ in range(3):
        next(reader)
    del reader

    begun = [t for t in threading.enumerate() if t not in before | server_threads()]
    assert begun
    for thread in begun:
        thread.join(WAIT_SECONDS)
    assert not [thread for thread in begun if thread.is_alive()]


def server_threads() -> set[threading.Thread]:
    """Return the threads of the sandbox."""
    return {t for t in threading.enumerate() if "process_request" in t.name}


def test_a_run_that_breaks_in_a_part_is_read_on_there(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """With all rows of both runs, and no part before that asked for again."""
    sandbox.part_size = 13_000
    options: dict[str, Any] = {"project_ids": [world.projects[2].id], "now": NOW}
    whole = run("data_row_exports", **options)
    count = len(files(sandbox))
    sandbox.requests.clear()
    kept: set[str] = set()

    def hook(request: Request) -> Reply | None:
        name = request.path.partition("?")[0]
        if request.operation == "ExportPart" and len(kept) < count // 2:
            kept.add(request.variables["offset"])
        starts = {f"-{offset}.ndjson" for offset in ("0", *kept)}
        is_lost = name.startswith(FILES) and not name.endswith(tuple(starts))
        return Reply(503) if is_lost else None

    sandbox.before = hook
    broken = run("data_row_exports", retry_seconds=0, **options)
    sandbox.before = None
    sandbox.requests.clear()

    rest = run("data_row_exports", state=broken.state, **options)

    ids = [
        {r["data_row_id"] for r in output.records("data_row_exports")}
        for output in (whole, broken, rest)
    ]
    assert ids[0] == ids[1] | ids[2]
    assert ids[1]
    assert ids[2]
    assert rest.error is None
    # The one that was broken, and those after it.
    assert 0 < len(files(sandbox)) <= count - count // 2
