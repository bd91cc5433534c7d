"""Hostile and broken servers, links and texts: what each must not be able to do.

The servers are real sockets on this machine that send what they like. The one part
that is not real is the name service, in the tests that say so: whether an address is
public cannot be seen without one.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import threading
import time
import tracemalloc
import zlib
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.exceptions import ConfigValidationError
from urllib3.util import connection, parse_url

from tap_labelbox import redact
from tap_labelbox.api import errors
from tap_labelbox.api.client import Client
from tap_labelbox.api.links import Link, Reach, reach
from tap_labelbox.sandbox import Reply
from tap_labelbox.tap import TapLabelbox
from tests.runner import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Request, Sandbox, World
    from tests.runner import Runner

KEY = "lb-secret-KEY-0123456789"
PAGE = {"where": {}, "skip": 0, "first": 10}
DATA = b'{"data": {"projects": []}}'
JSON = b"Content-Type: application/json\r\n"
MB = 1024 * 1024


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a reply as it should be, but for what is given."""
    head = b"".join(line + b"\r\n" for line in headers) + JSON
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status,
        head,
        len(body),
        body,
    )


def chunked(body: bytes) -> bytes:
    """Return a reply whose body is given as it goes over the wire."""
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n%b" % (JSON, body)


def bare(head: bytes, body: bytes = DATA) -> bytes:
    """Return a reply whose head is given as it goes over the wire."""
    return b"%b\r\n%b\r\n%b" % (head, JSON, body)


OK = whole(DATA)
LENGTH = b"Content-Length: %d" % len(DATA)
GZIP = b"Content-Encoding: gzip"

# Broken in a way that may pass: asked for again, as often as the settings say.
BROKEN_REPLIES: dict[str, bytes] = {
    "nothing": b"",
    "line feeds": b"\n\n\n\n",
    "zeros": b"\0" * 1000,
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "FTP": b"220 ready\r\n",
    "no status": bare(b"HTTP/1.1"),
    "status in words": bare(b"HTTP/1.1 fine"),
    "status 0": bare(b"HTTP/1.1 000 none\r\n" + LENGTH),
    "status 99": bare(b"HTTP/1.1 099 none\r\n" + LENGTH),
    "status -1": bare(b"HTTP/1.1 -1 none\r\n" + LENGTH),
    "status 101": bare(b"HTTP/1.1 101 Switching Protocols"),
    "status 103": bare(b"HTTP/1.1 103 Early Hints"),
    "status 600": whole(DATA, status=b"600 odd"),
    "status 999": whole(DATA, status=b"999 go away"),
    "status 999 in words": whole(b"<html>", status=b"999 go away"),
    "status 1000": whole(DATA, status=b"1000 odd"),
    "status of 10,000 digits": whole(DATA, status=b"2" * 10_000),
    "a status line without end": b"HTTP/1.1 200 " + b"O" * 100_000,
    "a header without end": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
    "1,000 headers": whole(DATA, *[b"X-%d: 1" % i for i in range(1000)]),
    "lengths that differ": bare(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + LENGTH),
    "a list of lengths": whole(DATA, b"Content-Length: 5, 26"),
    "a length too long": bare(b"HTTP/1.1 200 OK\r\nContent-Length: 27"),
    "a length too short": bare(b"HTTP/1.1 200 OK\r\nContent-Length: 5"),
    "a length beyond all": bare(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30),
    "chunk of no size": chunked(b"zz\r\n" + DATA + b"\r\n0\r\n\r\n"),
    "chunk of size -1": chunked(b"-1\r\n" + DATA + b"\r\n0\r\n\r\n"),
    "chunk of size -5": chunked(b"-5\r\n" + DATA + b"\r\n0\r\n\r\n"),
    "chunk beyond all": chunked(b"f" * 200 + b"\r\n" + DATA),
    "chunk line without end": chunked(b"1a;" + b"a" * 100_000),
    "chunk cut": chunked(b"1a\r\n" + DATA[:9]),
    "no last chunk": chunked(b"1a\r\n" + DATA + b"\r\n"),
    "chunks of a byte with 60 KB of frame": chunked(
        b"".join(b"1;%b\r\n \r\n" % (b"x" * 60_000) for _ in range(60)) + b"0\r\n\r\n"
    ),
    "trailers without end": chunked(
        b"1a\r\n" + DATA + b"\r\n0\r\n" + b"A: a\r\n" * 400_000
    ),
    "100 Continue without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 200_000,
    "gzip that is none": whole(DATA, GZIP),
    "gzip cut": whole(gzip.compress(DATA)[:-9], GZIP),
    "gzip cut at its head": whole(gzip.compress(DATA)[:5], GZIP),
    "gzip with a wrong sum": whole(gzip.compress(DATA)[:-8] + b"\0" * 8, GZIP),
    "deflate that is none": whole(b"\xff" * 40, b"Content-Encoding: deflate"),
    "a compression nobody asked for": whole(b"\x8b\x0c", b"Content-Encoding: br"),
    "a body of zeros": whole(b"\0" * 5000),
}
# Whole, but not to be read: reported at once, in one line.
REFUSED_REPLIES: dict[str, bytes] = {
    "gzip of gzip": whole(
        gzip.compress(gzip.compress(DATA)), b"Content-Encoding: gzip, gzip"
    ),
    "deflate of gzip": whole(
        zlib.compress(gzip.compress(DATA)), b"Content-Encoding: gzip, deflate"
    ),
    "gzip five times over": whole(
        DATA, b"Content-Encoding: " + b"gzip, " * 4 + b"gzip"
    ),
    "a body too large": whole(b" " * (2 * MB) + DATA),
    "a body too large when decompressed": whole(gzip.compress(b" " * 90 * MB), GZIP),
    "chunks too large": chunked(b"200000\r\n" + b" " * 0x200000 + b"\r\n0\r\n\r\n"),
    "deflate without content": whole(
        # Empty blocks, of which each is five bytes, in gzip: nothing comes out.
        gzip.compress(b"\0\0\0\xff\xff" * (MB // 2)),
        GZIP,
    ),
}
# Rare, but valid.
UNCOMMON_REPLIES: dict[str, bytes] = {
    "one length twice": whole(DATA, LENGTH),
    "a negative length": bare(b"HTTP/1.1 200 OK\r\nContent-Length: -1"),
    "a length in words": bare(b"HTTP/1.1 200 OK\r\nContent-Length: some"),
    "a length of 5,000 digits": bare(
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"1" * 5000
    ),
    "a header without colon": whole(DATA, b"what is this"),
    "line feeds only": OK.replace(b"\r\n", b"\n"),
    "some 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK,
    "HTTP/1.0": OK.replace(b"1.1", b"1.0"),
    "gzip in capitals": whole(gzip.compress(DATA), b"Content-Encoding: GZip"),
    "gzip in members": whole(gzip.compress(DATA[:9]) + gzip.compress(DATA[9:]), GZIP),
    "gzip with padding": whole(gzip.compress(DATA) + b"\0" * 512, GZIP),
    "deflate": whole(zlib.compress(DATA), b"Content-Encoding: deflate"),
    "bare deflate": whole(zlib.compress(DATA, wbits=-15), b"Content-Encoding: deflate"),
    "identity": whole(DATA, b"Content-Encoding: identity"),
    "an encoding that is none": whole(DATA, b"Content-Encoding: aws-chunked, utf-8"),
    "small chunks": chunked(b"".join(b"1\r\n%c\r\n" % b for b in DATA) + b"0\r\n\r\n"),
    "chunks with extensions": chunked(b"1a;a=b\r\n" + DATA + b"\r\n0\r\nX: y\r\n\r\n"),
}


@pytest.fixture
def server() -> Iterator[Callable[..., int]]:
    """Return what serves connections as an act says, and the port of it."""
    with ExitStack() as stack:

        def start(act: Callable[[socket.socket], object]) -> int:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def attend(connection: socket.socket) -> None:
                with connection, suppress(OSError):
                    act(connection)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):  # no reset before all is read
                        pass

            def serve() -> None:
                with suppress(OSError):
                    while True:
                        connection, _ = listening.accept()
                        threading.Thread(
                            target=attend, args=(connection,), daemon=True
                        ).start()

            threading.Thread(target=serve, daemon=True).start()
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
            return int(listening.getsockname()[1])

        yield start


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)


CLIENTS: list[Client] = []
"""All that a test connects."""


@pytest.fixture(autouse=True)
def _clients() -> Iterator[None]:
    """Close the clients of a test."""
    yield
    while CLIENTS:
        CLIENTS.pop().close()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Return the sockets that clients connect, as they do so."""
    result: list[socket.socket] = []
    create = connection.create_connection

    def recorded(*args: Any, **options: Any) -> socket.socket:
        result.append(create(*args, **options))
        return result[-1]

    monkeypatch.setattr(connection, "create_connection", recorded)
    return result


def reply_with(texts: Iterator[bytes], connection: socket.socket) -> None:
    """Hear a request, and answer the next of some texts."""
    connection.recv(65536)
    connection.sendall(next(texts, OK))


def connect(port: int, **options: Any) -> Client:
    """Return a client of a server on this machine."""
    arguments = {"timeout": 20, "retry_seconds": 0, "max_reply_bytes": MB} | options
    url = arguments.pop("api_url", f"http://127.0.0.1:{port}/graphql")
    CLIENTS.append(
        Client(url, KEY, logger=logging.getLogger("tap-labelbox"), **arguments)
    )
    return CLIENTS[-1]


def ask(client: Client) -> Any:
    """Ask for a page of projects."""
    return client.execute("project_ids", **PAGE)


def reason(raised: pytest.ExceptionInfo[errors.LabelboxError]) -> str:
    """Return what an error says, which is one short line without secrets."""
    text = str(raised.value)
    assert "\n" not in text
    assert len(text) < 20_000
    assert KEY not in text
    return text


# --- broken replies ----------------------------------------------------------


@pytest.mark.parametrize("name", BROKEN_REPLIES)
def test_a_broken_reply_is_asked_for_again(
    server: Callable[..., int], name: str
) -> None:
    """If it stays broken, the error is one line."""
    bad = BROKEN_REPLIES[name]

    with pytest.raises(errors.TransientError) as raised:
        ask(connect(server(partial(reply_with, iter([bad])))))
    reason(raised)

    again = connect(server(partial(reply_with, iter([bad]))), retry_seconds=60)
    assert ask(again) == {"projects": []}


@pytest.mark.parametrize("name", REFUSED_REPLIES)
def test_a_reply_that_is_too_much_is_refused(
    server: Callable[..., int], name: str
) -> None:
    """At once, and without holding it."""
    port = server(partial(reply_with, iter([REFUSED_REPLIES[name]])))
    client = connect(port, retry_seconds=60)

    tracemalloc.start()
    try:
        with pytest.raises(errors.TooLargeError) as raised:
            ask(client)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    reason(raised)
    assert peak < 8 * MB


@pytest.mark.parametrize("name", UNCOMMON_REPLIES)
def test_a_malformed_reply_is_read(server: Callable[..., int], name: str) -> None:
    """As other clients read it."""
    assert ask(
        connect(server(partial(reply_with, iter([UNCOMMON_REPLIES[name]]))))
    ) == {"projects": []}


@pytest.mark.parametrize("name", [*BROKEN_REPLIES, *REFUSED_REPLIES])
def test_a_broken_download_is_no_traceback(
    server: Callable[..., int], name: str
) -> None:
    """It is asked for again, or its bytes are given as they came."""
    bad = (BROKEN_REPLIES | REFUSED_REPLIES)[name]
    port = server(partial(reply_with, iter([bad, bad])))
    client = connect(port)
    received = 0

    with suppress(errors.LabelboxError):
        for chunk in client.downloads.read(f"http://127.0.0.1:{port}/file"):
            received += len(chunk)
            assert len(chunk) <= MB

    assert received <= 90 * MB + len(DATA)


@pytest.mark.parametrize("name", [*BROKEN_REPLIES, *REFUSED_REPLIES, *UNCOMMON_REPLIES])
@pytest.mark.parametrize("is_download", [False, True], ids=["reply", "download"])
def test_a_closed_client_leaves_no_connection_open(
    server: Callable[..., int],
    connections: list[socket.socket],
    name: str,
    *,
    is_download: bool,
) -> None:
    """Whatever came, and although the error's traceback refers to what was open."""
    reply = (BROKEN_REPLIES | REFUSED_REPLIES | UNCOMMON_REPLIES)[name]
    port = server(partial(reply_with, iter([reply])))
    client = connect(port)
    raised: list[errors.LabelboxError] = []

    try:
        link = f"http://127.0.0.1:{port}/file"
        list(client.downloads.read(link) if is_download else ask(client))
    except errors.LabelboxError as error:
        raised.append(error)
    client.close()

    assert connections
    assert [item for item in connections if item.fileno() != -1] == []


def test_chunks_of_a_byte_are_not_held_one_by_one(server: Callable[..., int]) -> None:
    """Each object is forty times as large as what it holds."""
    body = DATA + b" " * 200_000
    reply = chunked(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
    client = connect(server(partial(reply_with, iter([reply]))))

    tracemalloc.start()
    try:
        assert ask(client) == {"projects": []}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20 * len(body)


def test_the_body_of_a_redirect_is_not_read(server: Callable[..., int]) -> None:
    """It may be without end; where the redirect leads is all that matters."""
    bomb = gzip.compress(b" " * 90 * MB)
    head = b"Location: /other\r\nContent-Encoding: gzip"
    replies = iter([whole(bomb, head, status=b"302 Found"), whole(b"rows")])
    port = server(partial(reply_with, replies))

    tracemalloc.start()
    try:
        read = b"".join(connect(port).downloads.read(f"http://127.0.0.1:{port}/file"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read == b"rows"
    assert peak < 8 * MB


def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(
    run: Runner, world: World
) -> None:
    """Until it is not: nothing is lost to the limit."""
    output = run("labels", max_reply_bytes=40_000)
    everything = run("labels")

    assert output.error is None
    assert output.ids("labels") == everything.ids("labels")
    assert len(output.ids("labels")) == sum(
        len(world.labels(project.id)) for project in world.projects
    )


def test_a_line_that_is_too_long_costs_itself(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named by line and byte, and never held; the others are read."""
    everything = run("data_row_exports")
    ids = {record["data_row_id"] for record in everything.records("data_row_exports")}
    limit, lines = 2000, 99
    while lines > 5:  # few enough to be named each
        limit = limit * 11 // 10
        caplog.clear()
        output = run("data_row_exports", max_row_bytes=limit)
        left = {record["data_row_id"] for record in output.records("data_row_exports")}
        lines = len(ids - left)

    assert lines > 0
    assert left < ids
    assert isinstance(output.error, errors.IncompleteError)
    by_name = [m for m in caplog.messages if "raise max_row_bytes" in m]
    assert len([m for m in by_name if re.search(r"line \d+ \(byte \d+\)", m)]) == lines


def test_an_endless_line_is_not_held() -> None:
    """Whatever its size, memory is that of a piece."""
    from tap_labelbox.exports.tasks import _whole_lines  # noqa: PLC0415

    def chunks() -> Iterator[bytes]:
        yield b'{"a": 1}\n{"b": "'
        for _ in range(300):
            yield b"x" * MB
        yield b'"}\n{"c": 2}\n'

    tracemalloc.start()
    try:
        actual = list(_whole_lines(chunks(), 10, 2 * MB))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    size = 300 * MB + len(b'{"b": ""}\n')
    assert actual == [
        (19, b'{"a": 1}\n'),
        (19 + size, size),
        (28 + size, b'{"c": 2}\n'),
    ]
    assert peak < 8 * MB


@given(
    text=st.lists(st.sampled_from([b"a", b"bb\n", b"\n", b"ccccc", b"d\n"])).map(
        b"".join
    ),
    size=st.integers(1, 9),
    limit=st.integers(1, 12),
)
def test_lines_are_cut_where_they_end(text: bytes, size: int, limit: int) -> None:
    """Those within the limit come whole, and of the others the size."""
    from tap_labelbox.exports.tasks import _whole_lines  # noqa: PLC0415

    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    position = 7
    lines: list[bytes | int] = []
    for end, actual in _whole_lines(pieces, 7, limit):
        got = [actual] if isinstance(actual, int) else actual.splitlines(keepends=True)
        lines += got
        position += actual if isinstance(actual, int) else len(actual)
        assert position == end

    expected = text.splitlines(keepends=True)
    assert lines == [len(text) if len(text) > limit else text for text in expected]


def test_an_item_of_a_bulk_export_without_end_is_not_held() -> None:
    """Its project is left out."""
    from tap_labelbox.exports.bulk import array_items  # noqa: PLC0415

    def chunks() -> Iterator[bytes]:
        yield b'[{"ID": "1"}, {"ID": "'
        while True:
            yield b"x" * MB

    items = array_items(chunks(), 4 * MB)

    assert next(items) == {"ID": "1"}
    with pytest.raises(errors.UnavailableError, match="raise max_row_bytes"):
        next(items)


# --- trickles ----------------------------------------------------------------


def trickle(start: bytes, again: bytes, connection: socket.socket) -> None:
    """Send a beginning, and then a little now and then, for ever."""
    connection.recv(65536)
    connection.sendall(start)
    for byte in iter(partial(next, _cycle(again)), None):
        connection.sendall(byte)
        time.sleep(0.005)


def _cycle(text: bytes) -> Iterator[bytes]:
    while True:
        for at in range(len(text)):
            yield text[at : at + 1]


TRICKLES: dict[str, tuple[bytes, bytes]] = {
    "status": (b"", b"H"),
    "header": (b"HTTP/1.1 200 OK\r\nA: ", b"a"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"A: a\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", b" "),
    "body to the end": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunk size": (chunked(b""), b"0"),
    "chunks": (chunked(b""), b"1\r\n \r\n"),
    "trailers": (chunked(b"1a\r\n" + DATA + b"\r\n0\r\n"), b"A: a\r\n"),
    "gzip": (whole(b"", GZIP).replace(b"Length: 0", b"Length: 999999"), b"\x1f"),
}


@pytest.mark.parametrize("name", TRICKLES)
@pytest.mark.parametrize("is_download", [False, True], ids=["reply", "download"])
def test_what_trickles_is_given_up(
    server: Callable[..., int], name: str, *, is_download: bool
) -> None:
    """Each byte comes long before the time-out, and no end of them."""
    port = server(partial(trickle, *TRICKLES[name]))
    client = connect(port, timeout=0.1)

    link = f"http://127.0.0.1:{port}/file"

    with pytest.raises(errors.TransientError) as raised:
        list(client.downloads.read(link) if is_download else ask(client))

    reason(raised)


def test_a_reply_that_never_ends_is_given_up_whatever_its_rate(
    server: Callable[..., int],
) -> None:
    """A page is read within a time, or not at all."""

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 2000)
            time.sleep(0.005)

    client = connect(server(flood), timeout=0.1, max_reply_bytes=10**12)

    with pytest.raises(errors.TransientError) as raised:
        ask(client)

    reason(raised)


def test_a_slow_download_goes_on(server: Callable[..., int]) -> None:
    """For longer than any reply of the API may take."""
    file = bytes(range(256)) * 1200

    def drip(connection: socket.socket) -> None:
        asked = re.search(rb"bytes=(\d+)-", connection.recv(65536))
        start = int(asked[1]) if asked else 0
        head = b"HTTP/1.1 206 -\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"
        connection.sendall(head % (start, len(file) - 1, len(file)))
        for at in range(start, len(file), 2560):
            connection.sendall(file[at : at + 2560])
            time.sleep(0.05)

    port = server(drip)
    # Six seconds at least, where a reply may take five. On a machine so slow that a
    # piece takes more than a time-out, the transfer breaks, and goes on.
    client = connect(port, timeout=0.1, retry_seconds=600)

    read = b"".join(client.downloads.read(f"http://127.0.0.1:{port}/file"))

    assert read == file


def test_a_trickle_ends_when_the_run_does(server: Callable[..., int]) -> None:
    """At its next byte."""
    port = server(partial(trickle, b"HTTP/1.1 200 OK\r\n\r\n", b" "))
    client = connect(port, timeout=60)
    ends: list[BaseException] = []

    def read() -> None:
        try:
            ask(client)
        except errors.LabelboxError as error:
            ends.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    time.sleep(0.1)
    client.close()
    reading.join(30)

    assert [type(end) for end in ends] == [errors.StoppedError]


# --- links -------------------------------------------------------------------

# No link from a public API may be any of these, nor may one redirect there.
BAD_LINKS = [
    "http://evil.test\\@127.0.0.1/x?Signature=abc",
    "https://evil.test\\@127.0.0.1/x",
    "https://files.test\\.evil.test/x",
    "https://files.test/a\\b",
    "https:\\\\files.test\\x",
    "http://files.test/x?Signature=abc",
    "http://127.0.0.1/x",
    "http://localhost/x",
    "http://[::1]/x",
    "https://127.0.0.1/x",
    "https://127.9.9.9/x",
    "https://localhost/x",
    "https://LOCALHOST/x",
    "https://[::1]/x",
    "https://[::]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://[::ffff:7f00:1]/x",
    "https://[::127.0.0.1]/x",
    "https://[64:ff9b::10.0.0.1]/x",
    "https://[2002:7f00:1::]/x",
    "https://[2002:a00:1::]/x",
    "https://[2001:0:4136:e378:8000:63bf:f5ff:fffe]/x",  # Teredo, of 10.0.0.1
    "https://[fe80::1]/x",
    "https://[fe80::1%25eth0]/x",
    "https://[fe80::1%eth0]/x",
    "https://[fc00::1]/x",
    "https://[fd00:ec2::254]/x",
    "https://[fec0::1]/x",
    "https://[ff02::1]/x",
    "https://[2001:db8::1]/x",
    "https://[::1/x",
    "https://::1/x",
    "https://[127.0.0.1]/x",
    "https://[v1.a]/x",
    "https://0.0.0.0/x",
    "https://0.1.2.3/x",
    "https://10.0.0.1/x",
    "https://100.64.0.1/x",
    "https://169.254.169.254/latest/meta-data/",
    "https://172.16.0.1/x",
    "https://192.168.0.1/x",
    "https://198.18.0.1/x",
    "https://192.0.2.1/x",
    "https://224.0.0.1/x",
    "https://240.0.0.1/x",
    "https://255.255.255.255/x",
    "https://2130706433/x",
    "https://017700000001/x",
    "https://0x7f000001/x",
    "https://0x7f.1/x",
    "https://0177.0.0.1/x",
    "https://127.1/x",
    "https://127.0.1/x",
    "https://127.0.0.1./x",
    "https://127.0.0.01/x",
    "https://127.0.0.0x1/x",
    "https://1.2.3.4.5/x",
    "https://256.1.1.1/x",
    "https://files.test./x",
    "https://localhost./x",
    "https://.files.test/x",
    "https://files..test/x",
    "https://%31%32%37.0.0.1/x",
    "https://files%2etest/x",
    "https://files.test%00.evil.test/x",
    "https://files.test%2f@127.0.0.1/x",
    "https://①②⑦.⓪.⓪.①/x",
    "https://\uff11\uff12\uff17.0.0.1/x",
    "https://127。0。0。1/x",
    "https://loc\uff41lhost/x",
    "https://münchen.test/x",
    "https://files.test@127.0.0.1/x",
    "https://me@files.test/x",
    "https://me:pw@files.test/x",
    "https://@files.test/x",
    "https://files.test:@127.0.0.1/x",
    "https://files.test:443@127.0.0.1/x",
    "https://files.test:0/x",
    "https://files.test:/x",
    "https://files.test:65536/x",
    "https://files.test:+443/x",
    "https://files.test:-1/x",
    "https://files.test:0443/x",
    "https://files.test:443:80/x",
    "https://files.test:٤٤٣/x",
    "https://files.test:4 43/x",
    "https://files .test/x",
    " https://files.test/x",
    "https://files.test/x\r\nX-Evil: 1",
    "https://files.test\r\n/x",
    "https://files.test\t/x",
    "ht\ntps://files.test/x",
    "https://files.test/\0",
    "\x00https://files.test/x",
    "https:files.test/x",
    "https:/files.test/x",
    "https:///files.test/x",
    "https://?files.test/x",
    "https://#files.test/x",
    "https://",
    "https",
    "",
    "file:///etc/passwd",
    "gs://bucket/file",
    "ftp://files.test/x",
    "gopher://127.0.0.1:6379/_",
    "javascript:alert(1)",
    "data:text/plain,rows",
    "https+unix://files.test/x",
    "https://files.test/" + "a" * 100_000,
    "https://" + "a" * 64 + ".test/x",
    "https://" + "a." * 200 + "test/x",
    "https://files.test/\ud800",
    # By name, as the name service of these tests says.
    "https://private.test/x",
    "https://loopback.test/x",
    "https://metadata.test/x",
    "https://mapped.test/x",
    "https://mixed.test/x",
    "https://multicast.test/x",
]
GOOD_LINKS = [
    "https://files.test/x?X-Goog-Signature=abc%2Bdef&b=c",
    "https://FILES.test/x",
    "https://files.test",
    "https://files.test?a=b",
    "https://files.test:8443/x#part",
    "https://my_bucket.s3.files.test/x",
    "https://xn--mnchen-3ya.test/x",
    "https://93.184.215.14/x",
    "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/x",
    "https://files.test/a b?c=d e",
    'https://files.test/ä/@/:/?q="<>{}|^`',
    "https://files.test/a//b/../c",
]

ADDRESSES = {
    "api.test": ["93.184.215.14"],
    "private-api.test": ["10.1.2.3"],
    "private.test": ["10.0.0.1"],
    "loopback.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "mapped.test": ["::ffff:10.0.0.1"],
    "mixed.test": ["93.184.215.14", "10.0.0.1"],
    "multicast.test": ["224.0.0.251"],
}


class Reached(Exception):  # noqa: N818  # it is no error: the test ends there
    """The tap would connect to a public address now."""


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Replace the name service, and raise before a public address is connected to."""
    real = socket.getaddrinfo
    known = dict(ADDRESSES)

    def actual(host: str, port: Any, *args: Any, **options: Any) -> Any:
        addresses = known.get(str(host))
        if addresses is None and str(host).endswith("test"):
            addresses = ["93.184.215.14"]
        return [
            answer
            for address in addresses or [host]
            for answer in real(address, port, *args, **options)
        ]

    def connected(address: Any, *_: Any, **__: Any) -> socket.socket:
        host = socket.getaddrinfo(*address)[0][4][0]
        if reach(str(host)) is Reach.PUBLIC:
            raise Reached(host)
        msg = f"the tap connects to {host}"
        raise AssertionError(msg)

    monkeypatch.setattr(socket, "getaddrinfo", actual)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connected)
    return known


def of_api(host: str, **options: Any) -> Client:
    """Return a client whose API is at a host."""
    return connect(0, api_url=f"https://{host}/graphql", **options)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("link", BAD_LINKS, ids=ascii)
def test_a_link_to_a_place_that_is_not_public_is_not_opened(link: str) -> None:
    """Nothing is connected to; the line has nothing of the link."""
    with pytest.raises(errors.UnavailableError) as raised:
        list(of_api("api.test").downloads.read(link))

    assert "abc" not in reason(raised)
    assert "pw" not in reason(raised)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("link", GOOD_LINKS, ids=ascii)
def test_a_link_to_a_public_place_is_opened(link: str) -> None:
    """Also if it has a rare form."""
    with pytest.raises(Reached):
        list(of_api("api.test").downloads.read(link))


@pytest.mark.usefixtures("names")
def test_a_private_network_may_be_opened_by_who_is_in_it() -> None:
    """A service of one's own, or a setting; never what only this machine reaches."""
    for client in (
        of_api("private-api.test"),
        of_api("10.9.9.9"),
        of_api("api.test", allow_private_links=True),
    ):
        for link in ("https://private.test/x", "https://10.0.0.1/x"):
            with pytest.raises(AssertionError, match="connects to 10"):
                list(client.downloads.read(link))
        with pytest.raises(Reached):
            list(client.downloads.read("https://files.test/x"))
        for link in (
            "https://loopback.test/x",
            "http://127.0.0.1/x",
            "http://10.0.0.1/x",
            "https://metadata.test/x",
            "https://169.254.169.254/x",
            "https://multicast.test/x",
        ):
            with pytest.raises(errors.UnavailableError):
                list(client.downloads.read(link))


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    "location",
    [link for link in BAD_LINKS if link.isprintable() and link.isascii() and link]
    + ["//evil.test\\@127.0.0.1/x", "/\\evil.test/x", "\\\\evil.test", "//[::1"],
)
def test_a_redirect_is_judged_as_a_link_is(
    location: str,
) -> None:
    """By the same parser, after it was joined to where it came from."""
    came_from = Link.parse("https://files.test/a/b?c")
    try:
        url = came_from.joined(location).url
    except ValueError:
        return
    try:
        list(of_api("api.test").downloads.read(url))
    except errors.UnavailableError:
        return
    except Reached:  # it was a path
        assert url.startswith("https://files.test/")


def test_a_name_that_leads_elsewhere_the_second_time(
    server: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address at the other end counts; nothing is sent to it."""
    heard: list[bytes] = []
    port = server(lambda connection: heard.append(connection.recv(65536)))
    real = socket.getaddrinfo
    answers = iter(["93.184.215.14", "93.184.215.14"])  # of the API, and of the link

    def actual(host: str, port: Any, *args: Any, **options: Any) -> Any:
        address = next(answers, "127.0.0.1") if str(host).endswith("test") else host
        return real(address, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", actual)

    with pytest.raises(errors.UnavailableError, match="loopback address") as raised:
        list(
            of_api("api.test").downloads.read(
                f"https://files.test:{port}/x?Signature=abc"
            )
        )

    assert next(answers, None) is None
    assert "abc" not in reason(raised)
    while not heard:
        time.sleep(0.01)
    assert heard == [b""]


LINK_TEXTS = st.text("https:/\\@[]%.:#?127x\t ").map("https://".__add__)


@given(link=st.one_of(st.sampled_from(GOOD_LINKS + BAD_LINKS), st.text(), LINK_TEXTS))
def test_all_parsers_read_a_link_that_passes_alike(link: str) -> None:
    """The judged link is the one that is opened."""
    try:
        actual = Link.parse(link)
    except ValueError:
        return

    prepared = requests.Request("GET", actual.url).prepare().url
    assert prepared
    for url in (actual.url, prepared):
        split, parsed = urlsplit(url), parse_url(url)
        assert split.hostname == (parsed.host or "").strip("[]") == actual.host
        assert split.port == parsed.port == actual.port
        assert split.scheme == parsed.scheme == actual.scheme
        assert parsed.auth is split.username is None
    assert actual.rest.isascii()
    assert actual.rest.startswith("/")
    assert Link.parse(actual.url) == actual


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.215.14", Reach.PUBLIC),
        ("2606:2800:21f::1", Reach.PUBLIC),
        ("::ffff:93.184.215.14", Reach.PUBLIC),
        ("64:ff9b::5db8:d70e", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("::ffff:192.168.1.1", Reach.PRIVATE),
        ("127.0.0.53", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("169.254.169.254", Reach.LINK_LOCAL),
        ("fe80::1%eth0", Reach.LINK_LOCAL),
        ("0.0.0.0", Reach.NOWHERE),  # noqa: S104  # it is judged, not bound
        ("::", Reach.NOWHERE),
        ("239.1.1.1", Reach.NOWHERE),
        ("ff0e::1", Reach.NOWHERE),
        ("255.255.255.255", Reach.NOWHERE),
    ],
)
def test_from_where_an_address_can_be_reached(address: str, expected: Reach) -> None:
    """As the registries of addresses have it."""
    assert reach(address) is expected


def test_this_machine_is_reached_without_a_proxy(
    server: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would see key and signature in the clear."""
    heard: list[bytes] = []
    proxy = server(lambda connection: heard.append(connection.recv(65536)))
    port = server(partial(reply_with, iter([OK, whole(b"rows")])))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
    client = connect(port)

    assert ask(client) == {"projects": []}
    assert b"".join(client.downloads.read(f"http://127.0.0.1:{port}/x")) == b"rows"
    assert heard == []


# --- secrets -----------------------------------------------------------------

SECRET = "SeCrEt0123456789abcdef"  # of somebody else: known by its place alone
SECRETS = [
    f"key {KEY} refused",
    f"key {KEY[:14]}",  # somebody cut it
    f"key {KEY[:9]}",
    f"{KEY}{KEY}",
    json.dumps({"token": KEY}),
    f"X-Goog-Signature={SECRET}&X-Goog-Date=1",
    f"x-goog-signature={SECRET}",
    f"X_GOOG_SIGNATURE={SECRET}",
    f"s.test/a?X-Goog-Signature={SECRET}",
    f"https://s.test/a?X-Goog-Signature={SECRET}",
    f"https://s.test/a b?X-Goog-Signature={SECRET} is gone",
    f"https://s.test/a?x={SECRET}",
    f"https://s.test/a#access_token={SECRET}",
    rf"https:\/\/s.test\/a?b=c\u0026X-Goog-Signature={SECRET}",
    rf"https:\/\/s.test\/a?X-Goog-Signature=ab\/{SECRET}==",
    rf"X-Goog-Signature\u003d{SECRET}",
    quote(f"https://s.test/a?X-Goog-Signature={SECRET}&b=c", safe=""),
    quote(quote(f"https://s.test/a?b=c&X-Goog-Signature={SECRET}", safe=""), safe=""),
    quote(f"X-Goog-Signature={SECRET}", safe=""),
    f"Sign%61ture={SECRET}",
    f"Signature={SECRET}&Expires=5&Key-Pair-Id={SECRET}&Policy={SECRET}",
    f"AWSAccessKeyId={SECRET}&Expires=5",
    f"X-Amz-Credential={SECRET}&X-Amz-Security-Token={SECRET}&X-Amz-Signature={SECRET}",
    f"sv=2020&sig={SECRET}",
    f"bewit={SECRET}",
    f"token={SECRET} password={SECRET} passwd={SECRET} pwd={SECRET}",
    f"client_secret={SECRET}&api-key={SECRET}&apikey={SECRET}&hmac={SECRET}",
    f"Signature = {SECRET}",
    f"Signature: {SECRET}",
    f'{{"Signature": "{SECRET}"}}',
    f'{{"Signature" : "{SECRET} {SECRET}"}}',
    f"{{'sig': '{SECRET}'}}",
    json.dumps({"message": json.dumps({"sig": SECRET})}),
    f"Authorization: Bearer {SECRET}",
    f"Proxy-Authorization: Basic {SECRET}",
    f"{{'Authorization': 'Bearer {SECRET}'}}",
    f"Set-Cookie: session={SECRET}",
    f"http://me:{SECRET}@proxy.test:3128",
    f"http://me:a/{SECRET}@proxy.test:3128",
    f"http://me:a?{SECRET}@proxy.test:3128",
    f"http://me:a#{SECRET}@proxy.test",
    f"http://me:a@{SECRET}@proxy.test",
    f"http://{SECRET}@proxy.test",
    rf"http:\/\/me:{SECRET}@proxy.test",
    quote(f"http://me:{SECRET}@proxy.test", safe=""),
    f"Cannot connect to proxy 'http://me:{SECRET}@proxy.test:3128'",
    f"sig={SECRET[:11]} {SECRET[11:]}==",
    f"[('X-Goog-Signature', '{SECRET}')]",
    f'["Signature","{SECRET}"]',
    f"<Signature>{SECRET}</Signature>",
    f"&amp;sig&#61;{SECRET}",
    rf"Signature\x3d{SECRET}",
    f"http://me:{SECRET} x@proxy.test",
    f"//me:{SECRET}@proxy.test",
    f"me:{SECRET}@proxy.test:3128",
    f"\uff53\uff49\uff47={SECRET}",
    f"no Bearer {SECRET}",
    f"url: /b/o?X-Goog-Signature={SECRET} (Caused by",
    "x" * 9_990 + f" http://me:{SECRET}@proxy.test",  # the cut is in the password
    "x" * 9_990 + f" https://s.test/a?b={SECRET}",
    "x" * 9_980 + f" X-Goog-Signature={SECRET}" + "y" * 9_000,
    "x" * 9_990 + f" {KEY} " + "y" * 9_000,
]
PLAIN = [
    "http://[::1]:8080/graphql: refused",
    "https://files.test:8443/x, https://files.test:8443.",
    "by someone@files.test",
    "https://api.labelbox.com/graphql redirects elsewhere: check api_url",
    "project p1 is left out: its export ended as FAILED (task t1)",
    "is it there? no",
    "Labelbox does not accept the API key (no): set api_key to one",
    "files.test:8443: the file ended at byte 1 of 2",
    'Cannot query field "token" on type "Label".',
]


def leaked(text: str) -> bool:
    """Return whether there is a secret, or half of one, in a text."""
    halves = (s[at : at + 8] for s in (SECRET, KEY) for at in range(len(s) - 7))
    return any(half in text for half in halves)


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    """Whichever was known first, as a proxy's password and the key."""
    redact.hide("inner-secret")
    redact.hide("lb-inner-secret-0123456789")

    assert redact.mask("key lb-inner-secret-0123456789 refused") == "key *** refused"


@pytest.mark.parametrize("text", SECRETS, ids=range(len(SECRETS)))
def test_a_secret_is_masked_wherever_it_is(
    caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """In message, arguments, exceptions and their causes, by any logger."""
    redact.hide(KEY)
    redact.install()
    caplog.set_level(logging.DEBUG)
    formatter = logging.Formatter("%(message)s")

    def fail() -> None:
        try:
            int(text)
        except ValueError as error:
            msg = f"again: {text}"
            raise LookupError(msg) from error

    def log() -> None:
        for name in ("tap-labelbox", "tap-labelbox.x", "urllib3.connectionpool", "any"):
            logger = logging.getLogger(name)
            for level in (logging.DEBUG, logging.INFO, logging.ERROR):
                logger.log(level, text)
                logger.log(level, "%s", text)
                logger.log(level, "%(a)r", {"a": [text]})
                logger.log(level, ValueError(text))
            try:
                fail()
            except LookupError:
                logger.exception("this failed: %s", text)
                logger.warning("so did this", exc_info=True, stack_info=True)

    # On a thread of its own, the stack is short whoever runs this from wherever.
    thread = threading.Thread(target=log)
    thread.start()
    thread.join()

    logged = [formatter.format(record) for record in caplog.records]
    assert any("Traceback" in line and "Stack (most" in line for line in logged)
    assert not [line for line in logged if leaked(line)]
    assert not leaked(str(errors.LabelboxError(text)))
    assert not leaked(str(errors.TransientError(text)))
    assert redact.mask(redact.mask(text)) == redact.mask(text)


@pytest.mark.parametrize("text", PLAIN)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    """Else nobody could tell what happened."""
    assert redact.mask(text) == text


def test_a_secret_of_a_letter_is_none() -> None:
    """Else no line could be read."""
    redact.hide("x")
    redact.hide("")

    assert redact.mask("https://files.test/x") == "https://files.test/x"


def test_a_record_without_secrets_keeps_its_arguments(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Formatters of logs look into them."""
    redact.install()
    point = {"a": 1}
    error = ValueError("no")

    logging.getLogger("any").warning("METRIC: %s", [point], exc_info=error)

    assert caplog.records[0].args == ([point],)
    assert caplog.records[0].exc_info
    assert caplog.records[0].exc_info[1] is error


@pytest.mark.parametrize(
    "part",
    [
        "x",
        "http://",
        "https://s?a=",
        "Cannot query field xx on type ",
        'Unknown argument "a" on field "',
        "X-Goog-Signature=",
        "%3D%26",
        "?",
        "@",
        '"',
        "\\",
        'sig="',
        " ",
        "\u003d",
        "Variable .$",
    ],
)
def test_a_message_of_megabytes_is_short_at_once(sandbox: Sandbox, part: str) -> None:
    """No pattern may take longer than the text is long: this would take hours."""
    message = (part * 3_000_000)[:3_000_000]
    reply = {"errors": [{"message": message, "extensions": {"code": part * 1000}}]}
    replies = iter([Reply(200, {}, reply), Reply(400, {}, {"message": message})])
    sandbox.before = lambda _: next(replies)
    client = connect(0, api_url=sandbox.url, timeout=60)

    for _ in range(2):
        with pytest.raises(errors.LabelboxError) as raised:
            ask(client)
        assert len(str(raised.value)) < 20_000


PROXIES = [
    "http://me:pazz/wurd@127.0.0.1:9",
    "http://me:pazz?wurd@127.0.0.1:9",
    "http://me:pazz#wurd@127.0.0.1:9",
    "http://me:pazz@wurd@127.0.0.1:9",
    "http://me:pazz%20wurd@127.0.0.1:9",
    "http://me:pazz wurd@127.0.0.1:9",
    "http://me:pazz%wurd@127.0.0.1:9",
    "http://me:pazz:wurd@127.0.0.1:9",
    "http://me:pazz\\wurd@127.0.0.1:9",
    "http://me:pazzwurd@",
    "http://me:pazzwurd@:9",
    "http://me:pazzwurd@127.0.0.1:none",
    "http://me:pazzwurd@127.0.0.1:99999",
    "http://[::1:pazzwurd",
    "http://me:pazzwurd@[::1",
    "me:pazzwurd@127.0.0.1:9",
    "http:/me:pazzwurd@127.0.0.1:9",
    "ht tp://me:pazzwurd@127.0.0.1:9",
    "foo://me:pazzwurd@127.0.0.1:9",
    "socks5h://me:pazzwurd@127.0.0.1:9",
    "http://päzzwurd:pazzwurd@127.0.0.1:9",
]


BAD_INPUTS = [
    *BROKEN_REPLIES,
    *REFUSED_REPLIES,
    *UNCOMMON_REPLIES,
    *TRICKLES,
    *BAD_LINKS,
    *SECRETS,
    *PROXIES,
]
"""What this file tries on the tap, for whoever counts it."""


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_password_of_a_proxy_is_shown_to_nobody(
    run: Runner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    proxy: str,
) -> None:
    """However it is written, at every level."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    output = run("projects", api_url="https://labelbox.invalid/graphql")

    assert isinstance(output.error, errors.LabelboxError)
    assert "proxy" in str(output.error)
    for text in (str(output.error), caplog.text):
        assert "pazz" not in text
        assert "wurd" not in text


@pytest.mark.parametrize("proxy", [PROXIES[0], PROXIES[13]])
def test_a_proxy_that_cannot_be_used_is_one_line(run: Runner, proxy: str) -> None:
    """For whoever runs the command."""
    assert run.folder
    config = run.folder / "config.json"
    config.write_text(json.dumps(run.config(api_url="https://a.invalid/graphql")))
    environment = {"HTTPS_PROXY": proxy, "TAP_LABELBOX_LOGLEVEL": "DEBUG"}

    ended = command("--config", str(config), environment=environment)

    assert ended.returncode == 78
    for secret in ("pazz", "wurd", "Traceback"):
        assert secret not in ended.stderr
    assert "percent-encode" in ended.stderr.strip().splitlines()[-1]


def test_what_a_server_echoes_is_masked(
    run: Runner, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """In every place of a reply that some message tells."""
    caplog.set_level(logging.DEBUG)
    key = sandbox.api_key
    secret = f"{key} https://s.test/a?X-Goog-Signature={SECRET}"

    def echo(request: Request) -> Reply | None:
        task = {"id": "t", "status": secret, "completion_percentage": secret}
        part = {"offsets": {"start": secret, "end": secret}, "link": secret}
        export = {"download_url": secret, "created_at": secret, "should_poll": False}
        header = {"total_size": secret, "total_lines": secret}
        data: dict[str, Any] = {
            "ExportStatus": {"task": task},
            "ExportOpening": {
                "task": task | {"result": header, "errors": header, "part": part}
            },
            "ExportPart": {"task": task | {"part": part}},
            "ExportLabels": {"exportLabels": export},
            "Labels": {"project": {"labels": [{"id": secret, "created_at": secret}]}},
        }
        actual = data.get(request.operation or "")
        return Reply(200, {"X": "y"}, {"data": actual}) if actual else None

    sandbox.before = echo
    output = run()

    assert isinstance(output.error, errors.IncompleteError)
    for text in (str(output.error), caplog.text):
        assert key not in text
        assert SECRET not in text


# --- settings and single requests --------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://api.labelbox.com/graphql",
        "http://localhost.evil.test/graphql",
        "http://10.0.0.1/graphql",
        "HTTP://example.com/graphql",
    ],
)
def test_the_key_does_not_travel_in_the_clear(run: Runner, url: str) -> None:
    """Unless somebody wants it to."""
    with pytest.raises(ConfigValidationError) as refused:
        TapLabelbox(config=run.config(api_url=url))

    (line,) = refused.value.errors
    assert "use https://, or set allow_plain_http" in line
    config = run.config(api_url=url, allow_plain_http=True)
    assert TapLabelbox(config=config).config["allow_plain_http"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test\\@api.labelbox.com/graphql",
        "https://me:password@api.labelbox.com/graphql",
        "https://api.labelbox.com/graphql?a=b",
        "https://api.labelbox.com/graphql#a",
        "https://api.labelbox.com./graphql",
        "https://api.labelbox.com:0/graphql",
        "https://[::1%25lo]/graphql",
        "https://2130706433/graphql",
        "https://api.labelbox.com/graphql\n",
        "https:///graphql",
        "ftp://api.labelbox.com/graphql",
    ],
)
def test_a_malformed_api_url_is_refused(run: Runner, url: str) -> None:
    """In one line, without a password that may be in it."""
    with pytest.raises(ConfigValidationError) as refused:
        TapLabelbox(config=run.config(api_url=url))

    (line,) = refused.value.errors
    assert "api_url must be a web address that ends in /graphql" in line
    assert "password" not in line


@pytest.mark.parametrize("status", [400, 413, 414, 418, 431, 451])
def test_a_refusal_in_the_middle_of_a_run_costs_one_project(
    run: Runner, sandbox: Sandbox, world: World, status: int
) -> None:
    """The address and the key are right, for they have been before."""
    bad, *good = [project.id for project in world.projects]

    def refuse(request: Request) -> Reply | None:
        is_bad = bad in request.variables.values()
        return Reply(status, {}, {"message": "no"}) if is_bad else None

    sandbox.before = refuse
    output = run("labels")

    assert isinstance(output.error, errors.IncompleteError)
    assert bad in str(output.error)
    actual = {record["project_id"] for record in output.records("labels")}
    assert actual == {project_id for project_id in good if world.labels(project_id)}


def test_a_refusal_at_the_beginning_of_a_run_ends_it(
    run: Runner, sandbox: Sandbox
) -> None:
    """For then all of it would be refused."""
    sandbox.before = lambda _: Reply(400, {}, {"message": "no"})

    assert isinstance(run("labels").error, errors.RefusedError)
