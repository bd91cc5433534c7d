"""HTTP: where requests come in, are noted down, and are answered."""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_labelbox.sandbox import catalog
from tap_labelbox.sandbox.bulk import BulkExports
from tap_labelbox.sandbox.files import Files
from tap_labelbox.sandbox.knobs import Knobs
from tap_labelbox.sandbox.performance import Performance
from tap_labelbox.sandbox.replies import HTML, Reply, Request, error, faults
from tap_labelbox.sandbox.resolvers import RESOLVERS, Workspace
from tap_labelbox.sandbox.schema import TOO_COMPLEX, Schema
from tap_labelbox.sandbox.tasks import DataRowExports
from tap_labelbox.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox.tasks import Task

API_KEY = "sandbox-key-that-opens-nothing"
OPERATION = re.compile(r"^\s*(?:query|mutation)\s+(\w+)", re.MULTILINE)
MIN_PACKED_BYTES = 1000  # of a reply
# What only one of the two endpoints knows; the rest of a project is known to both.
ONLY_EXPERIMENTAL = (
    "Query.issue",
    "Project.batches",
    "Project.issues",
    "Project.taskQueues",
    "Project.workstreamStateCounts",
)
NOT_EXPERIMENTAL = (
    *(
        f"Query.{field.partition('.')[2]}"
        for field in RESOLVERS
        if field[:6] == "Query."
    ),
    "Project.benchmarks",
    "Project.datasets",
    "Project.issueCategories",
    "Project.issueExportUrl",
    "Project.labelerPerformance",
    "Project.labelingParameterOverrides",
    "Project.labels",
    "Project.members",
    "Project.projectModelConfigs",
    "Project.reviewMetrics",
    "Project.webhooks",
)
GRAPHQL_PATHS = {
    "/graphql": ONLY_EXPERIMENTAL,
    "/_gql": tuple(
        f for f in NOT_EXPERIMENTAL if f not in {"Query.project", "Query.issue"}
    ),
}


@dataclass(kw_only=True)
class Sandbox(Knobs):
    """A Labelbox of one's own: what it holds, what it was asked, how it behaves."""

    world: World
    api_key: str = API_KEY
    root: str = ""
    """The address without a path."""
    requests: list[Request] = field(default_factory=list)
    """Every request so far, files included, oldest first."""
    before: Callable[[Request], Reply | None] | None = None
    """Called before each request is answered. What it gives is sent instead; and it
    may change the world."""
    after: Callable[[Request, Reply], Reply | None] | None = None
    """Called when a request has been answered. What it gives is sent instead: what
    was asked for is done all the same."""

    def __post_init__(self) -> None:
        """Build what answers requests."""
        self._files = Files(self, self.world)
        self._workspace = Workspace(
            world=self.world,
            bulk_exports=BulkExports(self.world, self, self._files),
            data_row_exports=DataRowExports(self.world, self, self._files),
            knobs=self,
        )
        retired = ["Mutation.exportLabels"] if self.exports_v1 == "retired" else []
        self._performance = Performance(self.world, self)
        self._schemas = {
            path: _schema(
                (*self.forget, *retired),
                tuple(self.ignore),
                tuple(self.refuse),
                without,
            )
            for path, without in GRAPHQL_PATHS.items()
        }
        self._chance = Random(self.seed)

    @property
    def tasks(self) -> list[Task]:
        """Return every data row export so far, oldest first."""
        return self._workspace.data_row_exports.tasks

    @property
    def url(self) -> str:
        """Return the GraphQL address."""
        return f"{self.root}/graphql"

    @property
    def rest_url(self) -> str:
        """Return the REST address."""
        return f"{self.root}/api/v1"

    def at(self, root: str) -> None:
        """Return where the sandbox can be reached."""
        self.root = self._files.root = root

    def answer(self, request: Request, body: bytes) -> Reply:
        """Note a request down and answer it."""
        self.requests.append(request)
        time.sleep(self.latency)
        if self.before and (reply := self.before(request)):
            return reply
        if self._chance.random() >= self.faults:
            reply = self._answer(request, body)
            return (self.after and self.after(request, reply)) or reply
        graphql = urlsplit(request.path).path in GRAPHQL_PATHS
        if fault := self._chance.choice(list(faults(graphql=graphql).values())):
            return fault
        reply = self._answer(request, body)
        return replace(reply, cut=len(reply.content()) // 3)

    def _answer(self, request: Request, body: bytes) -> Reply:
        path = urlsplit(request.path).path
        if path.startswith("/files/"):
            return self._files.get(request.path, request.headers)
        is_rest = path.startswith(("/api/v1", *catalog.PATHS))
        if path not in GRAPHQL_PATHS and not is_rest:
            return Reply(404, dict(HTML), "<html><h1>404 Not Found</h1></html>")
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return Reply(401, {}, error("Invalid API key", "AUTHENTICATION_ERROR"))
        if path not in GRAPHQL_PATHS:
            with self.world.lock:
                is_catalog = path.startswith(catalog.PATHS)
                return (
                    catalog.get(self.world, path)
                    if is_catalog
                    else self._performance.get(request.path)
                )
        if request.method != "POST" or request.query is None:
            text = f"a POST of JSON with a query is expected, not {body[:80]!r}"
            return Reply(400, {}, error(text, "MALFORMED_REQUEST"))
        return self._data(self._schemas[path], request.query, request)

    def _data(self, schema: Schema, query: str, request: Request) -> Reply:
        first = request.variables.get("first")
        if isinstance(first, int) and first > self.most_rows:
            return Reply(400, {}, error(TOO_COMPLEX, "GRAPHQL_VALIDATION_FAILED"))
        with self.world.lock:
            return schema.answer(
                query,
                request.variables,
                request.operation,
                self._workspace,
                most_fields=self.most_fields,
            )


@lru_cache(maxsize=8)
def _schema(
    forget: tuple[str, ...],
    ignore: tuple[str, ...],
    refuse: tuple[str, ...],
    without: tuple[str, ...],
) -> Schema:
    """Build a schema once: it keeps nothing but documents."""
    return Schema(RESOLVERS, forget, ignore, refuse, without)


@contextmanager
def serve(
    world: World | None = None, *, port: int = 0, **knobs: Any
) -> Iterator[Sandbox]:
    """Serve a workspace on this machine until the block ends.

    Args:
        world: The workspace; `World()` by default.
        port: A free one by default.
        **knobs: Attributes of `Knobs`.
    """
    sandbox = Sandbox(world=world or World(), **knobs)
    server = _Server(("127.0.0.1", port), sandbox)
    sandbox.at(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.run, name="sandbox", daemon=True)
    thread.start()
    try:
        yield sandbox
    finally:
        server.stop()
        thread.join(timeout=1)


class _Server(ThreadingHTTPServer):
    """A server that ends when it is told to, whoever still holds a connection."""

    daemon_threads = True
    request_queue_size = 128
    timeout = 0.02  # seconds after which `run` looks whether to stop

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def run(self) -> None:
        # Not serve_forever: its shutdown() would wait for ever for a thread that
        # the interpreter has ended already.
        while not self._stopping.is_set():
            self.handle_request()
        self.server_close()

    def stop(self) -> None:
        self._stopping.set()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that go away, but print other errors."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "sandbox"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one piece

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._reply(_request(self, body), body)

    def do_GET(self) -> None:
        self._reply(_request(self, b""), b"")

    def _reply(self, request: Request, body: bytes) -> None:
        reply = self.server.sandbox.answer(request, body)
        time.sleep(reply.delay)
        if reply.reset:
            self._reset()
            return
        content, headers = reply.content(), reply.all_headers()
        packed = (
            "gzip" in (self.headers.get("Accept-Encoding") or "")
            and not request.path.startswith("/files/")
            and reply.cut is None  # so many bytes of it might be all of it
        )
        if packed and len(content) > MIN_PACKED_BYTES:
            content = gzip.compress(content, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if reply.cut is None else content[: reply.cut])
        self.wfile.flush()
        time.sleep(reply.hang)
        self.close_connection = self.close_connection or reply.cut is not None

    def _reset(self) -> None:
        """Close the connection, such that nothing but a reset is sent."""
        at_once = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        # By its number: closed by the server, it would say goodbye first.
        socket.close(self.connection.detach())
        self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the time as the workspace has it."""
        if timestamp is None:
            timestamp = self.server.sandbox.world.now().timestamp()
        return super().date_time_string(timestamp)

    def log_message(self, *_: Any) -> None:
        """Log nothing: `Sandbox.requests` has it."""


def _request(handler: _Handler, body: bytes) -> Request:
    request: Any = None
    with suppress(ValueError):
        request = json.loads(body)
    request = request if isinstance(request, dict) else {}
    text = request.get("query")
    name = OPERATION.search(text) if isinstance(text, str) else None
    return Request(
        method=handler.command,
        path=handler.path,
        headers=handler.headers,  # type: ignore[arg-type]  # as good as a mapping
        query=text if isinstance(text, str) else None,
        variables=request.get("variables") or {},
        operation=request.get("operationName") or (name[1] if name else None),
    )
