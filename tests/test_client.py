"""Failures, and what the client makes of each: every row of the table, over HTTP."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from ipaddress import ip_address
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from urllib3.exceptions import NewConnectionError

from tap_labelbox.api import errors
from tap_labelbox.api.client import Client
from tap_labelbox.sandbox import Reply
from tests.clock import Clock

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tap_labelbox.api.rate_limiter import RateLimiter
    from tap_labelbox.sandbox import Request, Sandbox

HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
PAGE = {"where": {}, "skip": 0, "first": 10}


@pytest.fixture
def connect(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Client]:
    """Return what makes a client of the sandbox, quick to try again."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)

    def make(api_url: str = "", **options: Any) -> Client:
        settings = {"timeout": 5, "retry_seconds": 5} | options
        logger = logging.getLogger("tap-labelbox")
        return Client(
            api_url or sandbox.url, sandbox.api_key, logger=logger, **settings
        )

    return make


def ask(client: Client) -> dict[str, Any]:
    """Ask for a page of projects."""
    data: dict[str, Any] = client.execute("project_ids", **PAGE)
    return data


def graphql(code: str | None, message: str = "no", **exception: Any) -> dict[str, Any]:
    """Return a GraphQL error as Labelbox words it."""
    extensions = {"code": code} if code else {}
    extensions |= {"exception": exception} if exception else {}  # type: ignore[dict-item]
    return {"errors": [{"message": message, "extensions": extensions}], "data": None}


def crash(status: Any) -> Reply:
    """Return an error of which the true status is inside."""
    return Reply(200, {}, graphql("INTERNAL_SERVER_ERROR", status=status))


def logged(code: str, status: int = 200) -> Reply:
    """Return an error that has a code."""
    return Reply(status, {}, graphql(code))


def http(status: int) -> Reply:
    """Return JSON that is no GraphQL."""
    return Reply(status, {}, {"message": "no"})


def within(code: Any, *path: str, name: str = "code") -> dict[str, Any]:
    """Return a crash with a code or status at a place in its extensions."""
    block: dict[str, Any] = {name: code}
    for part in reversed(path):
        block = {part: [block] if part.endswith("s") else block}
    extensions = {"code": CRASH} | (
        {"x": block} if name == "code" and not path else block
    )
    return {"errors": [{"message": "no", "extensions": extensions}], "data": None}


def several(*codes: str | None) -> dict[str, Any]:
    """Return several errors, with some data."""
    result = [error for code in codes for error in graphql(code)["errors"]]
    return {"errors": result, "data": PART}


ACCESS, CRASH, LOST = errors.AccessError, "INTERNAL_SERVER_ERROR", "RESOURCE_NOT_FOUND"
PART = {"projects": [{"id": "c1", "created_at": "2026-01-01T00:00:00.000Z"}]}
WITHIN = (
    ("exception",),
    ("exception", "extensions"),
    ("exception", "response", "errors", "extensions"),
    ("originalError",),
    (),
)
EXCEEDED = {"message": "You have exceeded the limit of requests per minute"}

# What is answered, by the row of the table that decides it, and what it has to be.
REPLIES: list[tuple[str, Reply, type[errors.LabelboxError]]] = [
    ("AUTHENTICATION_ERROR", logged("AUTHENTICATION_ERROR", 401), errors.AccessError),
    ("AUTHENTICATION_ERROR", logged("AUTHENTICATION_ERROR"), errors.AccessError),
    ("UNAUTHENTICATED", logged("UNAUTHENTICATED"), errors.AccessError),
    ("AUTHORIZATION_ERROR", logged("AUTHORIZATION_ERROR"), errors.ForbiddenError),
    ("FORBIDDEN", logged("FORBIDDEN"), errors.ForbiddenError),
    ("RESOURCE_NOT_FOUND", logged("RESOURCE_NOT_FOUND"), errors.NotFoundError),
    ("RESOURCE_CONFLICT", logged("RESOURCE_CONFLICT"), errors.UnavailableError),
    ("MALFORMED_REQUEST", logged("MALFORMED_REQUEST"), errors.UnavailableError),
    (
        "GRAPHQL_VALIDATION_FAILED",
        logged("GRAPHQL_VALIDATION_FAILED", 400),
        errors.QueryError,
    ),
    (
        "GRAPHQL_VALIDATION_FAILED",
        Reply(200, {}, graphql(None, 'Cannot query field "projects" on type "Query".')),
        errors.QueryError,
    ),
    ("GRAPHQL_PARSE_FAILED", logged("GRAPHQL_PARSE_FAILED", 400), errors.QueryError),
    ("BAD_USER_INPUT", logged("BAD_USER_INPUT"), errors.QueryError),
    ("OPERATION_NOT_ALLOWED", logged("OPERATION_NOT_ALLOWED"), errors.NotOfferedError),
    ("API_LIMIT", logged("API_LIMIT"), errors.LimitError),
    ("RATE_LIMIT", logged("RATE_LIMIT"), errors.RateLimitError),
    (
        "RATE_LIMIT",
        Reply(200, {}, graphql("SOMETHING_NEW", EXCEEDED["message"])),
        errors.RateLimitError,
    ),
    ("TIMEOUT", logged("TIMEOUT"), errors.ServerError),
    (
        "Query complexity limit exceeded",
        Reply(
            400,
            {},
            graphql("GRAPHQL_VALIDATION_FAILED", "Query complexity limit exceeded"),
        ),
        errors.ComplexityError,
    ),
    ("status 401", crash(401), errors.AccessError),
    ("status 408", crash(408), errors.ServerError),
    ("status 426", crash(426), errors.NotOfferedError),
    ("status 429", crash(429), errors.RateLimitError),
    ("status 429", logged("SOMETHING_NEW", 429), errors.RateLimitError),
    ("status 5xx", crash(500), errors.ServerError),
    ("status 5xx", crash("503"), errors.ServerError),
    ("status 5xx", logged("INTERNAL_SERVER_ERROR"), errors.ServerError),
    ("status 5xx", logged("SOMETHING_NEW", 500), errors.ServerError),
    ("status", crash(400), errors.UnavailableError),
    ("status", crash(403), errors.UnavailableError),
    ("status", crash(422), errors.UnavailableError),
    ("status", logged("SOMETHING_NEW"), errors.UnavailableError),
    ("status", Reply(200, {}, {"errors": "broken"}), errors.UnavailableError),
    ("status", Reply(200, {}, {"errors": ["broken"]}), errors.UnavailableError),
    (
        "status",
        Reply(200, {}, {"errors": [{"extensions": {"exception": "boom"}}]}),
        errors.UnavailableError,
    ),
    (
        "status",
        Reply(200, {}, {"errors": [{"message": "x"}], "data": {"projects": []}}),
        errors.UnavailableError,
    ),
    ("You have exceeded", Reply(200, {}, EXCEEDED), errors.RateLimitError),
    ("You have exceeded", Reply(429, {}, EXCEEDED), errors.RateLimitError),
    ("HTTP 401", http(401), errors.AccessError),
    ("HTTP 403", http(403), errors.AccessError),
    ("HTTP 404", http(404), errors.NotOfferedError),
    ("HTTP 408", http(408), errors.TransientError),
    ("HTTP 410", http(410), errors.NotOfferedError),
    ("HTTP 426", http(426), errors.NotOfferedError),
    ("HTTP 429", http(429), errors.RateLimitError),
    ("HTTP 429", Reply(429, HTML, b"slow down"), errors.RateLimitError),
    *(
        ("HTTP 5xx", Reply(status, HTML, b"<h1>upstream</h1>"), errors.TransientError)
        for status in (500, 501, 502, 503, 504, 520, 521, 522, 523, 524)
    ),
    ("HTTP 5xx", http(503), errors.TransientError),
    ("HTTP 5xx", logged("SOMETHING_NEW", 502), errors.TransientError),
    ("HTTP", http(400), errors.RefusedError),
    ("HTTP", http(418), errors.RefusedError),
    ("empty", Reply(200, JSON, b""), errors.TransientError),
    ("empty", Reply(200, {}, b""), errors.TransientError),
    ("cut", Reply(200, JSON, b'{"data": {"proj'), errors.TransientError),
    ("page", Reply(200, HTML, b"<html>Log in</html>"), errors.AddressError),
    ("page", Reply(200, {"Content-Type": "text/plain"}, b"OK"), errors.AddressError),
    ("page", Reply(404, HTML, b"<html>none</html>"), errors.AddressError),
    ("page", Reply(302, {"Location": "https://example.com"}, b""), errors.AddressError),
    # The true code may be anywhere within the error, and so may the true status.
    *(
        (code, Reply(200, {}, within(code, *path)), kind)
        for code, kind in (
            ("AUTHENTICATION_ERROR", errors.AccessError),
            ("AUTHORIZATION_ERROR", errors.ForbiddenError),
            ("RESOURCE_NOT_FOUND", errors.NotFoundError),
            ("OPERATION_NOT_ALLOWED", errors.NotOfferedError),
            ("MALFORMED_REQUEST", errors.UnavailableError),
        )
        for path in WITHIN
    ),
    ("UNAUTHENTICATED", Reply(200, {}, within("unauthenticated", "exception")), ACCESS),
    ("UNAUTHENTICATED", Reply(500, {}, within("UNAUTHENTICATED", "exception")), ACCESS),
    ("status 401", Reply(200, {}, within(401, "exception", "response")), ACCESS),
    ("status 401", Reply(200, {}, within("401", "exception")), ACCESS),
    *(
        ("status 401", Reply(200, {}, within(status, *path, name=name)), ACCESS)
        for status in (401, "401", 401.0, "401 Unauthorized", "HTTP 401")
        for path in (("exception",), ("exception", "response"), ("http",), ())
        for name in ("status", "statusCode", "httpStatus")
    ),
    (
        "status 5xx",
        Reply(200, {}, within("ECONNRESET", "exception")),
        errors.ServerError,
    ),
    ("status 5xx", Reply(200, {}, within(200, name="status")), errors.ServerError),
    ("status 5xx", Reply(200, {}, within("page", "exception")), errors.ServerError),
    # Several errors: one that cannot pass counts, however many could.
    *(
        (row, Reply(200, {}, several(*order)), kind)
        for row, codes, kind in (
            ("AUTHENTICATION_ERROR", (CRASH, "AUTHENTICATION_ERROR"), ACCESS),
            ("AUTHENTICATION_ERROR", (LOST, CRASH, "AUTHENTICATION_ERROR"), ACCESS),
            (LOST, (CRASH, LOST), errors.NotFoundError),
            (LOST, (LOST, "GRAPHQL_VALIDATION_FAILED"), errors.NotFoundError),
            ("status 5xx", (CRASH, "GRAPHQL_VALIDATION_FAILED"), errors.ServerError),
            ("status 5xx", (CRASH, None), errors.ServerError),
        )
        for order in (codes, codes[::-1])
    ),
    # JSON that is no GraphQL may say in itself what HTTP does not.
    ("HTTP 401", Reply(200, {}, {"message": "no", "statusCode": 401}), ACCESS),
    ("UNAUTHENTICATED", Reply(400, {}, {"error": {"code": "UNAUTHENTICATED"}}), ACCESS),
    ("HTTP", Reply(200, {}, {"message": "no"}), errors.RefusedError),
    ("HTTP", Reply(200, {}, {"message": "no", "data": None}), errors.RefusedError),
    ("HTTP", Reply(200, {}, {"message": "no", "data": {}}), errors.RefusedError),
    (
        "HTTP",
        Reply(200, {}, {"message": "no", "data": {"projects": None}}),
        errors.RefusedError,
    ),
    ("HTTP", Reply(400, {}, {"message": "no", "data": PART}), errors.RefusedError),
    *(
        (
            "You have exceeded",
            Reply(200, {}, {"message": text, "data": PART}),
            errors.RateLimitError,
        )
        for text in (EXCEEDED["message"], " you have exceeded it")
    ),
    ("no data", Reply(200, {}, {"data": None}), errors.ServerError),
    ("no data", Reply(200, {}, {}), errors.ServerError),
    ("no data", Reply(200, {}, []), errors.ServerError),
]
MAX_LINK_ATTEMPTS: list[tuple[str, Reply, type[errors.LabelboxError]]] = [
    ("link 408", Reply(408), errors.TransientError),
    ("link 429", Reply(429), errors.TransientError),
    ("link 4xx", Reply(400), errors.ExpiredLinkError),
    ("link 4xx", Reply(403), errors.ExpiredLinkError),
    ("link 4xx", Reply(404), errors.ExpiredLinkError),
    ("link 416", Reply(416), errors.ExpiredLinkError),
    ("link", Reply(500), errors.TransientError),
    ("link", Reply(503), errors.TransientError),
    ("link", Reply(204), errors.TransientError),
    ("link", Reply(304), errors.TransientError),
]


PAGE_404 = Reply(404, {"Content-Type": "text/html"}, "<h1>404</h1>")
REPORTS: list[tuple[str, Reply, type[errors.LabelboxError]]] = [
    ("REST 401", http(401), errors.AccessError),
    ("REST 408", http(408), errors.TransientError),
    ("REST 429", http(429), errors.RateLimitError),
    ("REST 5xx", http(500), errors.TransientError),
    ("REST 5xx", http(503), errors.TransientError),
    ("REST", http(400), errors.UnavailableError),
    ("REST 403", http(403), errors.ForbiddenError),
    ("REST", http(404), errors.UnavailableError),
    ("REST", PAGE_404, errors.UnavailableError),
    ("page", Reply(302, {"Location": "/login"}), errors.AddressError),
    ("cut", Reply(200, {}, ["no"]), errors.TransientError),
    ("cut", Reply(200, {}, '{"data": ['), errors.TransientError),
]


@pytest.mark.parametrize(("row", "reply", "kind"), REPORTS)
def test_each_report_is_decided_by_the_table(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    row: str,
    reply: Reply,
    kind: type[errors.LabelboxError],
) -> None:
    """By its HTTP status alone; what may pass is asked again, nothing else."""
    sandbox.before = lambda _: reply

    with pytest.raises(errors.LabelboxError) as raised:
        connect(retry_seconds=0).get("/performance/metrics")

    assert raised.type is kind is errors.TABLE[row]
    assert "\n" not in str(raised.value)
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(("row", "reply", "kind"), REPLIES)
def test_each_reply_is_decided_by_the_table(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    row: str,
    reply: Reply,
    kind: type[errors.LabelboxError],
) -> None:
    """Exactly this kind, in one line; what may pass is asked again, nothing else."""
    replies = iter([reply])
    sandbox.before = lambda _: next(replies, reply)

    with pytest.raises(errors.LabelboxError) as raised:
        ask(connect(retry_seconds=0))

    assert raised.type is kind is errors.TABLE[row]
    assert "\n" not in str(raised.value)
    assert len(sandbox.requests) == 1

    replies = iter([reply])
    sandbox.before = lambda _: next(replies, None)
    if issubclass(kind, errors.TransientError):
        assert ask(connect())["projects"]
        assert len(sandbox.requests) == 3
    else:
        with pytest.raises(kind):
            ask(connect())
        assert len(sandbox.requests) == 2


@pytest.mark.parametrize(("row", "reply", "kind"), MAX_LINK_ATTEMPTS)
def test_each_answer_to_a_download_is_decided_by_the_table(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    row: str,
    reply: Reply,
    kind: type[errors.LabelboxError],
) -> None:
    """Passing failures are asked again; the rest need a new link."""
    replies = iter([reply])
    sandbox.before = lambda _: next(replies, Reply(200, {}, b"rows"))

    def read() -> bytes:
        return b"".join(connect().downloads.read(f"{sandbox.root}/files/x"))

    assert errors.TABLE[row] is kind
    if issubclass(kind, errors.TransientError):
        assert read() == b"rows"
        assert len(sandbox.requests) == 2
    else:
        with pytest.raises(kind):
            read()
        assert len(sandbox.requests) == 1


# --- no answer ---------------------------------------------------------------


@pytest.fixture
def peer() -> Iterator[Callable[..., int]]:
    """Return what listens on a port, and does something with each connection."""
    with ExitStack() as stack:

        def start(act: Callable[[socket.socket], object]) -> int:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                while True:
                    try:
                        connection, _ = listening.accept()
                    except OSError:
                        return
                    with connection, suppress(OSError):
                        act(connection)

            threading.Thread(target=serve, daemon=True).start()
            # A socket that is only closed would leave the thread in accept().
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
            return int(listening.getsockname()[1])

        yield start


def reset(connection: socket.socket) -> None:
    """Read a request and break the connection off."""
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(connection: socket.socket) -> None:
    """Read a request and say nothing."""
    connection.recv(65536)


def refuse_tunnel(connection: socket.socket) -> None:
    """Serve as a proxy that wants a password."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def failed(
    client: Client, kind: type[errors.LabelboxError], row: type[Exception]
) -> str:
    """Return what is said of a request that fails in this way."""
    with pytest.raises(errors.LabelboxError) as raised:
        ask(client)
    assert raised.type is kind
    assert type(raised.value.__cause__ or raised.value) is errors.TABLE[row]
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("act", [reset, hang_up])
def test_a_connection_that_breaks(
    connect: Callable[..., Client], peer: Callable[..., int], act: Any
) -> None:
    """It is tried again; the host is named."""
    port = peer(act)
    client = connect(f"http://127.0.0.1:{port}/graphql", retry_seconds=0.1)

    detail = failed(client, errors.TransientError, requests.ConnectionError)

    assert f"127.0.0.1:{port}: " in detail
    assert "tries" in detail


def test_a_port_at_which_nobody_listens(connect: Callable[..., Client]) -> None:
    """It is tried again: somebody may come."""
    client = connect(f"http://127.0.0.1:{free_port()}/graphql", retry_seconds=0.1)

    detail = failed(client, errors.AddressError, ConnectionRefusedError)

    assert "refused" in detail
    assert "tries" in detail
    assert detail.endswith("api_url is probably wrong")


def test_a_name_that_is_not_found(connect: Callable[..., Client]) -> None:
    """It is tried again, because this often passes; the name is logged."""
    client = connect("http://labelbox.invalid/graphql", retry_seconds=0.1)

    detail = failed(client, errors.AddressError, socket.gaierror)

    assert detail.startswith("labelbox.invalid: the name has no address")
    assert "tries" in detail


def test_an_address_that_is_none(connect: Callable[..., Client]) -> None:
    """It is not tried again."""
    client = connect("http://*.invalid/graphql")

    assert "tries" not in failed(client, errors.SettingsError, OSError)


def test_an_answer_that_does_not_come(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """Once in a while is no harm."""
    replies = iter([Reply(200, {}, {}, delay=0.5)] * 2)
    sandbox.before = lambda _: next(replies, None)

    detail = failed(
        connect(timeout=0.2, retry_seconds=0), errors.TransientError, requests.Timeout
    )
    assert "raise request_timeout if this persists" in detail
    assert ask(connect(timeout=0.2, retry_seconds=60))["projects"]


def test_a_connection_that_does_not_come_about(
    connect: Callable[..., Client],
) -> None:
    """A full queue of connections lets nobody in: it is tried again."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(address)
        client = connect(
            f"http://127.0.0.1:{address[1]}/graphql", timeout=0.2, retry_seconds=0.1
        )

        failed(client, errors.AddressError, requests.ConnectTimeout)


@pytest.mark.parametrize(
    ("reply", "row"),
    [
        (
            Reply(200, JSON, b'{"data": {"projects": []}}', cut=9),
            requests.exceptions.ChunkedEncodingError,
        ),
        (
            Reply(200, JSON | {"Content-Encoding": "gzip"}, b"no gzip"),
            requests.exceptions.ContentDecodingError,
        ),
        (
            Reply(200, JSON, b'{"data": {"projects": []}}', cut=9, hang=0.5),
            requests.ConnectionError,
        ),
    ],
    ids=["cut", "garbled", "stalled"],
)
def test_a_reply_that_does_not_come_whole(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    reply: Reply,
    row: type[Exception],
) -> None:
    """It is never taken for a whole one."""
    sandbox.before = lambda _: reply

    failed(connect(timeout=0.2, retry_seconds=0), errors.TransientError, row)

    replies = iter([reply])
    sandbox.before = lambda _: next(replies, None)
    assert ask(connect(timeout=0.2))["projects"]


@pytest.mark.parametrize("act", [refuse_tunnel, None], ids=["password", "absent"])
def test_a_proxy_that_fails_is_named(
    connect: Callable[..., Client],
    peer: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    act: Any,
) -> None:
    """As the proxy, not as Labelbox, and without its password."""
    port = peer(act) if act else free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{port}")
    client = connect("https://labelbox.invalid/graphql", retry_seconds=0.1)

    detail = failed(client, errors.UnsentError, requests.exceptions.ProxyError)

    assert f"the proxy 127.0.0.1:{port} on the way to labelbox.invalid" in detail
    assert "check HTTPS_PROXY" in detail
    assert "secret" not in detail


def test_a_proxy_on_the_way_is_named(
    connect: Callable[..., Client],
    peer: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Either of the two may have broken the connection."""
    port = peer(hang_up)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    client = connect("https://labelbox.invalid/graphql", retry_seconds=0)

    detail = failed(client, errors.TransientError, requests.ConnectionError)

    assert detail.startswith(f"labelbox.invalid through the proxy 127.0.0.1:{port}: ")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Write a certificate for 127.0.0.1 that nobody has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sandbox")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(private + made.public_bytes(pem))
    return file


def test_a_certificate_that_is_not_trusted(
    connect: Callable[..., Client],
    peer: Callable[..., int],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stops the run at once; what the line says to do is of help."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    body = b'{"data": {"projects": []}}'

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as safe:
            safe.recv(65536)
            safe.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n" + body)

    address = f"https://127.0.0.1:{peer(answer)}/graphql"

    detail = failed(connect(address), errors.AddressError, ssl.SSLCertVerificationError)

    assert "its certificate is not trusted (self-signed certificate)" in detail
    assert "set REQUESTS_CA_BUNDLE" in detail
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert ask(connect(address)) == {"projects": []}


def test_every_row_of_the_table_has_a_test() -> None:
    """Those above; network faults are named in their tests."""
    network = {
        ssl.SSLCertVerificationError,
        requests.exceptions.ProxyError,
        socket.gaierror,
        ConnectionRefusedError,
        requests.ConnectTimeout,
        NewConnectionError,
        ssl.SSLError,
        requests.Timeout,
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.exceptions.InvalidHeader,
        OSError,
        Exception,
    }

    assert {
        row for row, *_ in chain(REPLIES, MAX_LINK_ATTEMPTS, REPORTS)
    } | network == set(errors.TABLE)


# --- waiting -----------------------------------------------------------------


def test_a_page_from_an_address_that_was_right_is_a_passing_fault(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """A proxy's notice in the middle of a run does not end it."""
    client = connect()
    ask(client)
    notice = Reply(200, HTML, b"<html>Back in a minute</html>")
    replies = iter([notice, Reply(302, {"Location": "https://example.com"})])
    sandbox.before = lambda _: next(replies, None)

    assert ask(client)["projects"]


def test_it_is_given_up_when_its_time_is_over(
    sandbox: Sandbox, connect: Callable[..., Client], caplog: Any, clock: Clock
) -> None:
    """The time is counted, not the tries; each wait is a line with the operation."""
    caplog.set_level(logging.DEBUG)
    began = clock.now

    def refuse(_: Request) -> Reply:
        clock.pass_by(0.05)
        return Reply(503)

    sandbox.before = refuse

    with pytest.raises(errors.TransientError, match=r"given up after \d+ tries") as up:
        ask(connect(retry_seconds=0.4))

    # The first failure is when the time begins.
    assert began + 0.45 <= clock.now < began + 0.55
    tries = len(sandbox.requests)
    assert tries > 1
    assert f"given up after {tries} tries" in str(up.value)
    waits = [m for m in caplog.messages if m.startswith("project_ids: Labelbox ans")]
    assert len(waits) == tries - 1


def test_a_wish_to_wait_that_is_too_long_is_not_waited_for(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """Sooner it would only be refused again."""
    sandbox.before = lambda _: Reply(429, {"Retry-After": "60"})

    with pytest.raises(errors.RateLimitError, match="given up after 1 try"):
        ask(connect(retry_seconds=30))

    assert len(sandbox.requests) == 1


def in_seconds(seconds: float) -> str:
    """Return a timestamp as HTTP writes it, in whole seconds."""
    timestamp = datetime.now(UTC) + timedelta(seconds=seconds)
    return format_datetime(timestamp, usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_waited_for(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    caplog: Any,
    clock: Clock,
    status: int,
) -> None:
    """As long as it says, and the log says the same."""
    replies = iter([Reply(status, {"Retry-After": "0.4"})])
    sandbox.before = lambda _: next(replies, None)

    ask(connect())

    assert sum(clock.waits) == pytest.approx(0.4)
    assert [m for m in caplog.messages if "trying again in 0.4 s" in m]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        (lambda: "4.5", 4.5),
        # Give or take what the way takes.
        (lambda: in_seconds(300), pytest.approx(270, abs=31)),
        (lambda: "-3", 0),
        (lambda: "soon", 0),
        (lambda: "nan", 0),
        (lambda: in_seconds(-3600), 0),
        (lambda: "Wed, 21 Oct 2015 07:28:00", 0),
    ],
    ids=["seconds", "date", "negative", "words", "nan", "past", "zoneless"],
)
def test_retry_after_is_parsed(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    status: int,
    wish: Callable[[], str],
    seconds: Any,
) -> None:
    """As seconds and as a date; what makes no sense is no wait."""
    sandbox.before = lambda _: Reply(status, {"Retry-After": wish()})

    with pytest.raises(errors.TransientError) as raised:
        ask(connect(retry_seconds=0))

    assert raised.value.retry_after == seconds


@pytest.mark.parametrize("headers", [{"Retry-After": "0.4"}, {}])
def test_a_limit_slows_all_threads(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    headers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    """Whichever of them has to wait, none asks before."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.4)
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    clock = Clock()
    clock.install(monkeypatch)
    wait = clock.sleep
    both = threading.Barrier(2)

    def wait_together(limiter: RateLimiter, seconds: float) -> None:
        both.wait(timeout=60)  # broken if the other does not wait
        wait(limiter, seconds)

    monkeypatch.setattr(clock, "sleep", wait_together)
    replies = chain([None] * 9, [Reply(429, headers, EXCEEDED)], repeat(None))
    sandbox.before = lambda _: next(replies)
    client = connect()
    ask(client)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: ask(client), range(40)))

    assert clock.waits == [pytest.approx(0.4)] * 2
    assert len(sandbox.requests) == 42
    assert [m for m in caplog.messages if m.endswith("(all requests wait)")]


def test_requests_can_be_rationed(
    sandbox: Sandbox, connect: Callable[..., Client], clock: Clock
) -> None:
    """For all threads together, also where replies are slow."""
    began = clock.now
    sandbox.before = lambda _: clock.pass_by(0.06)
    client = connect(requests_per_minute=600, concurrency=2)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: ask(client), range(8)))

    assert len(sandbox.requests) == 8
    assert clock.now >= began + 0.7
    assert clock.waits


@pytest.mark.parametrize("code", [[], {"a": 1}, "500", 429, "9" * 5000])
def test_a_malformed_code_is_decided_as_well(
    sandbox: Sandbox, connect: Callable[..., Client], code: Any
) -> None:
    """One that is a status, by that."""
    inner = {"status": "9" * 5000}
    result = [{"message": "no", "extensions": {"code": code, "exception": inner}}]
    sandbox.before = lambda _: Reply(200, {}, {"errors": result})

    with pytest.raises(errors.LabelboxError) as raised:
        ask(connect(retry_seconds=0))

    kinds = {"500": errors.ServerError, "429": errors.RateLimitError}
    assert raised.type is kinds.get(str(code), errors.UnavailableError)


@pytest.mark.parametrize("message", ["success", "", None, ["a", "list"], 5])
def test_a_message_beside_data_is_no_error(
    sandbox: Sandbox, connect: Callable[..., Client], message: Any
) -> None:
    """Data is data, whatever is said of it."""
    sandbox.before = lambda _: Reply(200, {}, {"message": message, "data": PART})

    assert ask(connect()) == PART
    assert len(sandbox.requests) == 1


REASON = "Export is not supported for projects with custom editors"
PRIVATE = {
    "projectIds": ["cprivateprivateprivatepriv"],
    "row_data": "private text of a row",
    "data": {"error": "private text of a row"},
    "dataRow": {"message": "private text of a row"},
    "labels": [{"reason": "private text of a row"}],
    "externalId": "private file.png",
    "input": {"details": "private text of a row"},
    "stacktrace": ["at private (private.js:5)"],
}


@pytest.mark.parametrize("message", [None, "", "Malformed request"])
@pytest.mark.parametrize(
    "held",
    [
        {"errors": [{"error": REASON} | PRIVATE]},
        {"errors": [REASON]},
        {"errors": {"anything": REASON}},
        {"details": [{"message": REASON, "parameter": "x"}]},
        {"reason": REASON},
        {"whatever": {"it": [{"is": REASON}]}},
        {"extensions": {"exception": {"message": REASON, "status": 400} | PRIVATE}},
        {"extensions": {"exception": {"response": {"errors": [{"error": REASON}]}}}},
    ],
)
def test_the_reason_of_a_refusal_is_reported(
    sandbox: Sandbox, connect: Callable[..., Client], held: dict[str, Any], message: Any
) -> None:
    """Under whatever key it stands; but nothing that is a part of a row."""
    extensions = {"code": "MALFORMED_REQUEST"} | held.get("extensions", {})
    result = {"message": message} | held | PRIVATE | {"extensions": extensions}
    sandbox.before = lambda _: Reply(200, {}, {"errors": [result]})

    with pytest.raises(errors.UnavailableError) as raised:
        ask(connect())

    logged = f"{message} ({REASON})" if message else REASON
    assert str(raised.value) == f"Labelbox answered MALFORMED_REQUEST: {logged}"


def test_a_reason_is_short_and_holds_no_secret(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """It is one line, however much there is of it."""
    texts = [f"reason {n}\nof token=abcdefgh12345678 {'x' * 9000}" for n in range(999)]
    texts.append(f"of {sandbox.api_key}")
    result = {"message": None, "errors": [{"error": text} for text in reversed(texts)]}
    deep: Any = "at the bottom"
    for _ in range(200):
        deep = {"errors": [deep]}
    sandbox.before = lambda _: Reply(200, {}, {"errors": [result | {"cause": deep}]})

    with pytest.raises(errors.UnavailableError) as raised:
        ask(connect())

    logged = str(raised.value)
    assert "reason 998 of token=***" in logged
    assert len(logged) < 2000
    assert "\n" not in logged
    assert "abcdefgh" not in logged
    assert sandbox.api_key not in logged


@pytest.mark.parametrize("code", ["AUTHENTICATION_ERROR", "UNAUTHENTICATED"])
def test_a_wrong_key_is_reported_at_once_by_an_old_server(
    sandbox: Sandbox, connect: Callable[..., Client], code: str
) -> None:
    """Its code is inside what looks like a crash, which would be tried again."""
    result = within(code, "exception")
    sandbox.before = lambda _: Reply(200, {}, result)

    with pytest.raises(errors.AccessError, match="set api_key"):
        ask(connect(retry_seconds=900))

    assert len(sandbox.requests) == 1


def test_a_server_that_does_not_know_what_is_not_asked_for(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """It is not asked for ever."""
    words = 'Unknown argument "orderBy" on field "Query.projects".'
    sandbox.before = lambda _: Reply(400, {}, graphql(None, words))

    with pytest.raises(errors.QueryError):
        ask(connect())

    assert len(sandbox.requests) == 2


def test_a_password_in_an_address_is_shown_to_nobody() -> None:
    """Whoever put it there."""
    assert str(errors.LabelboxError("at http://me:pw@a.example/x")) == (
        "at http://***@a.example/x"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_no_file_left_is_reported_at_once(
    connect: Callable[..., Client],
) -> None:
    """It will not be otherwise in a while; what is open is none of the client's."""
    client = connect(retry_seconds=3600)
    client.document("project_ids")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.dup(sys.__stderr__.fileno()))  # type: ignore[union-attr]
        with pytest.raises(errors.LabelboxError, match="Too few files") as raised:
            ask(client)
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert not isinstance(raised.value, errors.TransientError)
    assert ask(client)["projects"]


# --- stopping ----------------------------------------------------------------


def test_closing_ends_every_wait(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """Of tries, of turns, of polls and of downloads; nothing is sent any more."""
    sandbox.before = lambda r: (
        Reply(503, {"Retry-After": "500"}) if "/file" in r.path else Reply(429, {})
    )
    client = connect(retry_seconds=600, requests_per_minute=1)
    waits: list[Callable[[], object]] = [
        lambda: ask(client),
        lambda: ask(client),
        lambda: client.sleep(500),
        lambda: list(client.downloads.read(f"{sandbox.root}/files/x")),
    ]
    with ThreadPoolExecutor(len(waits)) as pool:
        waiting = [pool.submit(wait) for wait in waits]
        while len(sandbox.requests) < 2:
            time.sleep(0.01)
        client.close()
        client.close()
        ends = [future.exception(timeout=50) for future in waiting]
    sent = len(sandbox.requests)
    for wait in waits:
        with pytest.raises(errors.StoppedError):
            wait()

    assert {type(end) for end in ends} == {errors.StoppedError}
    assert len(sandbox.requests) == sent


# --- threads -----------------------------------------------------------------


def test_threads_drop_a_field_once(
    serving: Any, world: Any, connect: Callable[..., Client], caplog: Any
) -> None:
    """And all of them get their rows."""
    run = serving(world, forget=["Label.type", "Label.agreement"], latency=0.05)
    client = connect(run.sandbox.url, concurrency=32)
    project_id = world.projects[0].id

    def labels(_: int) -> list[Any]:
        result = client.execute("labels", project_id=project_id, **PAGE)
        rows: list[Any] = result["project"]["labels"]
        return rows

    with ThreadPoolExecutor(32) as pool:
        result = list(pool.map(labels, range(64)))

    assert all(result)
    assert client.document("labels").columns == {"type", "agreement"}
    assert len([m for m in caplog.messages if "no longer knows" in m]) == 1


def test_a_connection_is_kept_for_each_thread(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """None is opened twice, also if all are idle in between."""
    client = connect(concurrency=24)
    together = threading.Barrier(24, timeout=10)

    def meet(_: Request) -> None:
        together.wait()

    sandbox.before = meet
    with ThreadPoolExecutor(24) as pool:
        for _ in range(4):
            list(pool.map(lambda _: ask(client), range(24)))

    adapter: Any = client._api.get_adapter(sandbox.url)
    (host,) = adapter.poolmanager.pools.keys()
    assert adapter.poolmanager.pools[host].num_connections == 24
    assert len(sandbox.requests) == 96


def test_a_page_that_is_too_complex(
    serving: Any, world: Any, connect: Callable[..., Client]
) -> None:
    """It is reported as such, and no field is dropped for it."""
    client = connect(serving(world, most_rows=9).sandbox.url)

    with pytest.raises(errors.ComplexityError, match="lower page_size"):
        ask(client)

    assert client.document("project_ids").columns == frozenset()
    assert client.execute("project_ids", **PAGE | {"first": 9})["projects"]


# --- downloads ---------------------------------------------------------------

FILE = bytes(range(256)) * 20


def ranged(start: int, end: int, size: str = "5120") -> Reply:
    """Return a part of the file, the end included."""
    span = {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Reply(206, span, FILE[start : end + 1])


@pytest.mark.parametrize(
    "replies",
    [
        [ranged(1000, 2999), ranged(3000, 5119)],
        [ranged(0, 999), ranged(1000, 5119)],
        [Reply(206, {}, b"rows"), ranged(1000, 5119)],
        [Reply(416, {"Content-Range": "bytes */5120"}), ranged(1000, 5119)],
        [ranged(1000, 5119, "*")],
        [Reply(200, {}, FILE, cut=3000), ranged(3000, 5119)],
        [Reply(200, {}, FILE, cut=500), Reply(200, {}, FILE)],
        [Reply(200, {}, FILE, cut=3000, hang=2), ranged(3000, 5119)],
        [Reply(302, {"Location": "/files/other"}), ranged(1000, 5119)],
    ],
    ids=[
        "less than asked",
        "other bytes",
        "unnamed bytes",
        "416 in the file",
        "size unknown",
        "whole file",
        "whole file twice",
        "stalled",
        "redirected",
    ],
)
def test_the_rest_of_a_file_arrives(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    replies: list[Reply],
) -> None:
    """Byte by byte, whatever way the server takes."""
    monkeypatch.setattr("tap_labelbox.api.downloads.CHUNK_BYTES", 100)
    left = iter(replies)
    sandbox.before = lambda _: next(left)

    link = f"{sandbox.root}/files/x"
    read = b"".join(connect(timeout=1).downloads.read(link, 1000))

    assert read == FILE[1000:]
    assert next(left, None) is None


@pytest.mark.parametrize(
    ("size", "kind"), [(1000, None), (999, errors.ExpiredLinkError)]
)
def test_a_range_beyond_the_end(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    size: int,
    kind: type[Exception] | None,
) -> None:
    """At the end nothing is missing; a shorter file is not the one that was read."""
    reply = Reply(416, {"Content-Range": f"bytes */{size}"})
    sandbox.before = lambda _: reply
    chunks = connect().downloads.read(f"{sandbox.root}/files/x", 1000)

    if kind:
        with pytest.raises(kind):
            list(chunks)
    else:
        assert list(chunks) == []


@pytest.mark.parametrize(
    "link",
    [
        "http://example.com/file?Signature=abc",
        "http://127.0.0.1.example.com/file",
        "gs://bucket/file",
        "file:///etc/passwd",
        "/file",
        "https://",
        "https://[",
        "",
    ],
)
def test_a_link_that_is_not_safe_is_not_opened(
    sandbox: Sandbox, connect: Callable[..., Client], link: str
) -> None:
    """Nor is one that leads to it; its signature is not logged."""
    sandbox.before = lambda _: Reply(302, {"Location": link})
    links = [link, f"{sandbox.root}/files/x"]

    for element in links if link not in {"", "/file"} else links[:1]:
        with pytest.raises(errors.UnavailableError) as raised:
            list(connect().downloads.read(element))
        assert "Signature=" not in str(raised.value)


def test_a_redirect_that_never_ends_is_given_up(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """After a few."""
    sandbox.before = lambda r: Reply(302, {"Location": r.path})

    with pytest.raises(errors.UnavailableError, match="redirects more than 5 times"):
        list(connect().downloads.read(f"{sandbox.root}/files/x"))


def test_nobody_is_signed_for_at_a_redirect(
    sandbox: Sandbox,
    connect: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Not with the key, nor with what is in ~/.netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    replies = iter([Reply(302, {"Location": "/files/y"})])
    sandbox.before = lambda _: next(replies, Reply(200, {}, b"rows"))

    assert list(connect().downloads.read(f"{sandbox.root}/files/x")) == [b"rows"]
    assert [r.headers.get("Authorization") for r in sandbox.requests] == [None, None]


# --- what must not be done twice ---------------------------------------------


@pytest.mark.parametrize(
    ("reply", "times"),
    [
        (Reply(503), 1),
        (Reply(200, JSON, b"{}", cut=1), 1),
        (Reply(429), 0),
        (None, 0),
    ],
    ids=["crash", "cut", "too many requests", "refused"],
)
def test_what_may_have_been_heard_is_looked_for(
    sandbox: Sandbox, connect: Callable[..., Client], reply: Reply | None, times: int
) -> None:
    """Before it is asked for again, and only then; what is found is the answer."""
    sandbox.before = lambda _: reply
    client = connect(
        sandbox.url if reply else f"http://127.0.0.1:{free_port()}/graphql",
        retry_seconds=0.1,
    )
    looks: list[None] = []

    def done() -> dict[str, Any]:
        looks.append(None)
        return {"found": True}

    if times:
        assert client.execute_once("project_ids", done, **PAGE) == {"found": True}
        assert len(sandbox.requests) == 1
    else:
        with pytest.raises(errors.LabelboxError, match="tries"):
            client.execute_once("project_ids", done, **PAGE)
    assert len(looks) == times


def test_room_for_one_more_is_not_asked_for_here(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """Whoever starts exports knows how long to wait for that."""
    sandbox.before = lambda _: logged("API_LIMIT")

    with pytest.raises(errors.LimitError):
        connect().execute_once("project_ids", lambda: None, **PAGE)

    assert len(sandbox.requests) == 1


# --- secrets -----------------------------------------------------------------


def constant(reply: Reply, _: Request) -> Reply:
    """Return this reply, whatever was asked."""
    return reply


def test_the_words_of_a_failure_hold_no_secret(
    sandbox: Sandbox, connect: Callable[..., Client]
) -> None:
    """Whatever a server says."""
    signed = f"{sandbox.api_key} may not read https://a.example/b?X-Amz-Signature=1 "
    for reply in (
        Reply(200, {}, graphql("SOMETHING_NEW", signed)),
        Reply(400, {}, {"message": signed}),
    ):
        sandbox.before = partial(constant, reply)
        with pytest.raises(errors.LabelboxError) as raised:
            ask(connect())
        assert "*** may not read https://a.example/b?***" in str(raised.value)
