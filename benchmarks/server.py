"""A sandbox that costs little: its own replies, made once and served again and again.

The sandbox takes 18 ms for a page of labels, so that beside it every client looks
quick. Here it is asked once for each document, about a pool of some hundred labels.
What is served are these, as often as a case wants, each time with ids of their own
and later timestamps. Exports are files, written beforehand. What is small and rare
(projects, tasks, links) the sandbox answers itself.

``GET /bench?latency=0.1&rate=25e6&labels=20&polls=1`` turns these knobs, returns what
was counted since the last time, and begins to count anew. ``changed=10`` has something
happen in the last ten projects; exports hold that, and nothing else, where none is
written.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import re
import time
from bisect import bisect_left, bisect_right
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from graphql import parse, print_ast

from tap_labelbox.sandbox import ANCHOR, Knobs, World, bulk, content, rows
from tap_labelbox.sandbox.bulk import BulkExports
from tap_labelbox.sandbox.files import RANGE, Files
from tap_labelbox.sandbox.resolvers import RESOLVERS, Workspace
from tap_labelbox.sandbox.schema import Schema
from tap_labelbox.sandbox.server import API_KEY
from tap_labelbox.sandbox.tasks import DataRowExports, _Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graphql import OperationDefinitionNode

    from tap_labelbox.sandbox import Project
    from tap_labelbox.sandbox.tasks import Task

Row = dict[str, Any]

POOL_ROWS = 400  # data rows of about 6 KB, with one or two labels of about 3 KB each
FIRST = datetime(2023, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=10)  # longer than a lookback, which so finds few labels
LABELS_PER_SECOND = 4  # that were made in the same one
PART_BYTES = 8_000_000  # of an export behind one link
PIECE_BYTES = 256 * 1024  # of a file that are sent at once where a rate is to be kept
MIN_PACKED_BYTES = 1000  # of a reply
LABELS = re.compile(r"\blabels\s*\(([^)]*)\)")
ARGUMENT = re.compile(r"(\w+):\s*([$\w]+)")
PREFIX = re.compile(r"\bp\d+_")  # of what the tap asks for in one document with others
EXPORTED = dict.fromkeys(
    (
        "include_attachments",
        "include_metadata",
        "include_data_row_details",
        "include_project_details",
        "include_label_details",
        "include_performance_details",
    ),
    True,
)


def workspace(projects: int = 1, filled: int = 0) -> World:
    """Make a workspace whose first project holds the pool.

    Args:
        projects: How many there are.
        filled: Data rows of each of the others, with a label each.
    """
    world = World(projects=0)
    world.now = lambda: ANCHOR
    for number in range(projects):
        project = world.add_project(media="IMAGE", era="2023")
        project.created_at = FIRST + number * STEP
    pool = world.projects[0]
    for number in range(POOL_ROWS):
        data_row = world.add_label(pool.id, FIRST).data_row
        if number % 2:
            world.add_label(pool.id, FIRST, data_row=data_row)
    for number, label in enumerate(pool.labels):
        label.created_at = label.updated_at = label.listed_at = made(number)
    for project in world.projects[1:]:
        for _ in range(filled):
            world.add_label(project.id, FIRST)
    return world


def made(number: int) -> datetime:
    """Return when a label was made: in a whole second, as some others were."""
    return FIRST + number // LABELS_PER_SECOND * STEP


class Repeated(NamedTuple):
    """A row as the sandbox writes it, and what may not be the same in another."""

    text: bytes
    id: str
    made: str | None = None

    def again(self, number: int, timestamp: str = "") -> bytes:
        """Return the row once more, with an id of its own."""
        text = self.text.replace(
            self.id.encode(), f"{self.id[:-9]}{number:09}".encode()
        )
        return (
            text.replace(self.made.encode(), timestamp.encode()) if self.made else text
        )


class Lists:
    """The labels of all projects, in the shape of whatever document asks for them.

    Args:
        world: See `workspace`.
        labels: How many each project has.
        ask: Returns the sandbox's data for a document and its variables.
    """

    def __init__(
        self, world: World, labels: int, ask: Callable[[str, Row], Row]
    ) -> None:
        self.labels = labels
        self._ask = ask
        self._pool = world.projects[0]
        self._places = {project.id: n for n, project in enumerate(world.projects)}
        self._shapes: dict[str, list[Repeated]] = {}
        self._parts: dict[str, list[tuple[str, str, str]]] = {}

    def pages(
        self, query: str, variables: Row
    ) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """Return each list that a document asks for: its alias, and its rows."""
        if query not in self._parts:
            self._parts[query] = list(_parts(query))
        for alias, prefix, part in self._parts[query]:
            own = {
                name.removeprefix(prefix): value
                for name, value in variables.items()
                if not PREFIX.match(name) or (prefix and name.startswith(prefix))
            }
            yield alias.encode(), self.page(part, own)

    def page(self, query: str, variables: Row) -> Iterator[bytes]:
        """Return the rows that a document with one list asks for.

        Raises:
            ValueError: If it asks for something that is not done here.
        """
        (arguments,) = LABELS.findall(query)
        arguments_of_list = {
            name: variables.get(value[1:]) if value.startswith("$") else value
            for name, value in ARGUMENT.findall(arguments)
        }
        where = arguments_of_list.get("where") or {}
        if "{" in arguments or not where.keys() <= {"createdAt_gt", "createdAt_lt"}:
            msg = f"this server has no such filter: {arguments} {where}"
            raise ValueError(msg)
        shape = LABELS.sub("labels", query)
        if shape not in self._shapes:
            self._shapes[shape] = list(self._pooled(query, variables))
        pool = self._shapes[shape]
        (place,) = (self._places[v] for v in variables.values() if self._is_project(v))
        every = range(self.labels)
        after, before = where.get("createdAt_gt"), where.get("createdAt_lt")
        low = bisect_right(every, _parsed(after), key=made) if after else 0
        high = bisect_left(every, _parsed(before), key=made) if before else len(every)
        chosen = every[low:high]
        if arguments_of_list.get("orderBy") != "createdAt_ASC":
            chosen = chosen[::-1]
        skip, first = (int(arguments_of_list[name] or 0) for name in ("skip", "first"))
        for number in chosen[skip : skip + first]:
            row = pool[number % len(pool)]
            if place == 0 and number < len(pool):
                yield row.text
            else:
                yield row.again(place * 1_000_000 + number, _formatted(made(number)))

    def _is_project(self, value: Any) -> bool:
        return isinstance(value, str) and value in self._places

    def _pooled(self, query: str, variables: Row) -> Iterator[Repeated]:
        """Ask the sandbox for every label of the pool, with the same document."""
        variables = {
            name: self._pool.id if self._is_project(value) else value
            for name, value in variables.items()
            if isinstance(value, str)
        }
        rows_by_id: dict[str, Row] = {}
        for skip in range(0, len(self._pool.labels), 100):
            page = {"skip": skip, "first": 100, "where": {}}
            for name, value in page.items():
                query = re.sub(rf"\b{name}: *\d+", f"{name}: {value}", query)
            data = self._ask(query, variables | page)
            if data.keys() != {"project"} or data["project"].keys() != {"labels"}:
                msg = f"this server has labels and nothing else: {query}"
                raise ValueError(msg)
            rows_by_id |= {row["id"]: row for row in data["project"]["labels"]}
        for label in self._pool.labels:
            text = content.compact(rows_by_id[label.id]).encode()
            yield Repeated(text, label.id, _formatted(label.created_at))


def _parts(query: str) -> Iterator[tuple[str, str, str]]:
    """Yield the parts of a document: alias and prefix, and what asks for it alone."""
    if not PREFIX.search(query):
        yield "project", "", query
        return
    operation = cast("OperationDefinitionNode", parse(query).definitions[0])
    declared = [print_ast(item) for item in operation.variable_definitions or ()]
    for node in operation.selection_set.selections:
        alias, _, text = print_ast(node).partition(": ")
        prefix = "".join(PREFIX.findall(alias))
        own = [d for d in declared if not PREFIX.search(d) or f"${prefix}" in d]
        text = f"query Labels({', '.join(own)}) {{ {text} }}"
        yield alias, prefix, text.replace(f"${prefix}", "$")


class Exports(DataRowExports):
    """Data row exports that are all the same one, if one is written beforehand."""

    parts: list[_Part]

    def _write(self, task: Task) -> None:
        if self.parts:
            task.streams["RESULT"] = self.parts
        else:
            super()._write(task)


class SharedBulkExport(BulkExports):
    """Bulk exports that are all the same one, written beforehand."""

    link: Callable[[], str]

    def ask(self, project: Project) -> Row:
        """Return the link to it."""
        del project
        url = self.link()
        return {"downloadUrl": url, "createdAt": ANCHOR, "shouldPoll": False}


@dataclass
class Counts:
    """Counts since they were last read."""

    requests: int = 0
    bytes: int = 0
    """Those of the bodies of replies."""
    first: float | None = None
    """When the first request came, on the clock that the machine's processes share."""


class Slice(NamedTuple):
    """A part of a file on disk."""

    path: Path
    start: int
    size: int


class Sizes(NamedTuple):
    """Sizes of the lists and exports that are served."""

    projects: int = 1
    labels: int = 0
    """In each project."""
    exported: int = 0
    """Data rows of an export."""
    bulk_exported: int = 0
    """Labels of a bulk export."""
    filled: int = 0
    """Data rows that exports have of each project but the first, if none is written."""


class Server:
    """Answers requests.

    Args:
        folder: Where to write exports.
        sizes: How much there is to read.
        packed: Whether replies are compressed for those who take that.
    """

    def __init__(self, folder: Path, sizes: Sizes, *, packed: bool = False) -> None:
        self.world = workspace(sizes.projects, sizes.filled)
        self.latency = 0.0
        self.rate = 0.0
        """Bytes of a file in a second, over each connection; 0 is no limit."""
        self.counts = Counts()
        self.lists = Lists(self.world, sizes.labels, self._ask)
        self._knobs = knobs = Knobs(polls=0)
        self.files = Files(knobs, self.world)
        self._packed = packed
        self._slices: dict[str, Slice] = {}
        self._replies: dict[tuple[str, str], bytes] = {}
        count = {"Project.labelCount": lambda *_: self.lists.labels}
        self._schema = Schema(RESOLVERS | count, ())
        exports = Exports(self.world, knobs, self.files)
        exports.parts = list(self._export(folder / "export.ndjson", sizes.exported))
        bulk_export = SharedBulkExport(self.world, knobs, self.files)
        bulk_export.link = lambda: self.files.link("bulk.json")
        self._bulk_export(folder / "bulk.json", sizes.bulk_exported)
        self._workspace = Workspace(self.world, bulk_export, exports)

    async def serve(self, on_start: Callable[[str], None]) -> None:
        """Answer for ever.

        Args:
            on_start: Is called with the address, as soon as there is one.
        """
        server = await asyncio.start_server(self._connection, "127.0.0.1")
        host, port = server.sockets[0].getsockname()
        self.files.root = f"http://{host}:{port}"
        on_start(self.files.root)
        await server.serve_forever()

    async def _connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # A client that goes away is no fault of the server.
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            open_still = True
            while open_still:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                path = first.split(" ")[1]
                pairs = (line.split(": ", 1) for line in lines if line)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                open_still = headers.get("connection", "").lower() != "close"
                if path.startswith("/bench"):
                    await _send(writer, self._turn(path))
                    continue
                self.counts.requests += 1
                if self.counts.first is None:
                    self.counts.first = time.monotonic()
                await asyncio.sleep(self.latency)
                if path.startswith("/files/"):
                    await self._file(writer, path, headers.get("range", ""))
                else:
                    await self._graphql(writer, body, headers)
        writer.close()

    def _turn(self, path: str) -> bytes:
        """Turn the knobs that are named, and return what was counted."""
        knobs = parse_qs(urlsplit(path).query)
        if "latency" in knobs:
            self.latency = float(knobs["latency"][0])
        if "rate" in knobs:
            self.rate = float(knobs["rate"][0])
        if "labels" in knobs:
            self.lists.labels = int(knobs["labels"][0])
            self._replies.clear()  # which hold the number
        if "polls" in knobs:
            self._knobs.polls = int(knobs["polls"][0])
        for project in self.world.projects[::-1][: int(knobs.get("changed", "0")[0])]:
            self.world.add_label(project.id, ANCHOR)
        counts, self.counts = self.counts, Counts()
        return json.dumps(asdict(counts)).encode()

    async def _graphql(
        self, writer: asyncio.StreamWriter, body: bytes, headers: dict[str, str]
    ) -> None:
        asked = json.loads(body)
        try:
            reply = self._reply(asked["query"], asked.get("variables") or {})
        except ValueError as error:
            reply = json.dumps({"errors": [{"message": str(error)}]}).encode()
        packed = self._packed and "gzip" in headers.get("accept-encoding", "")
        if packed and len(reply) > MIN_PACKED_BYTES:
            reply = gzip.compress(reply, compresslevel=1)
            await _send(writer, reply, "Content-Encoding: gzip")
        else:
            await _send(writer, reply)
        self.counts.bytes += len(reply)

    def _reply(self, query: str, variables: Row) -> bytes:
        if LABELS.search(query):
            pages = (
                b'"%b":{"labels":[%b]}' % (alias, b",".join(page))
                for alias, page in self.lists.pages(query, variables)
            )
            return b'{"data":{%b}}' % b",".join(pages)
        if "projects" not in query:  # tasks get on, but projects stay as they are
            return content.compact({"data": self._ask(query, variables)}).encode()
        key = (query, json.dumps(variables))
        if key not in self._replies:
            data = self._ask(query, variables)
            self._replies[key] = content.compact({"data": data}).encode()
        return self._replies[key]

    def _ask(self, query: str, variables: Row) -> Row:
        """Return the answer of the sandbox."""
        reply = self._schema.answer(query, variables, None, self._workspace)
        answer: Row = json.loads(reply.content())
        if "errors" in answer:
            raise ValueError(answer["errors"])
        data: Row = answer["data"]
        return data

    async def _file(
        self, writer: asyncio.StreamWriter, path: str, requested: str
    ) -> None:
        name = urlsplit(path).path.removeprefix("/files/")
        if name not in self._slices:
            content = self.files.get(path, {}).content()
            await _send(writer, content)
            self.counts.bytes += len(content)
            return
        whole = self._slices[name]
        start, end = 0, whole.size - 1
        status, more = "200 OK", []
        if match := RANGE.fullmatch(requested):
            start, end = int(match[1]), min(int(match[2] or end), end)
            status = "206 Partial Content"
            more = [f"Content-Range: bytes {start}-{end}/{whole.size}"]
        size = end - start + 1
        writer.write(_head(size, *more, status=status))
        await writer.drain()
        with whole.path.open("rb") as file:
            loop = asyncio.get_running_loop()
            piece_size = PIECE_BYTES if self.rate else size
            began = loop.time()
            for sent in range(0, size, piece_size):
                place, count = whole.start + start + sent, min(piece_size, size - sent)
                await loop.sendfile(writer.transport, file, place, count)
                if self.rate:
                    ends = began + (sent + count) / self.rate
                    await asyncio.sleep(max(0.0, ends - loop.time()))
        self.counts.bytes += size

    def _export(self, path: Path, count: int) -> Iterator[_Part]:
        """Write an export of the data rows of the first project, and cut it."""
        pool = [
            Repeated(
                content.compact(rows.row(row, EXPORTED, ANCHOR, None)).encode() + b"\n",
                row.id,
            )
            for row in self.world.projects[0].data_rows
        ]
        with path.open("wb") as file:
            start = first = 0
            for number in range(count):
                row = pool[number % POOL_ROWS]
                file.write(row.text if number < POOL_ROWS else row.again(number))
                end = file.tell()
                if end - start >= PART_BYTES or number == count - 1:
                    name = f"export-{start}.ndjson"
                    self._slices[name] = Slice(path, start, end - start)
                    yield _Part(name, start, end - 1, first, number)
                    start, first = end, number + 1

    def _bulk_export(self, path: Path, count: int) -> None:
        """Write a bulk export of the labels of the first project."""
        pool = [
            Repeated(content.compact(bulk.record(label, ANCHOR)).encode(), label.id)
            for label in self.world.projects[0].labels
        ]
        with path.open("wb") as file:
            for number in range(count):
                row = pool[number % len(pool)]
                file.write(b"," if number else b"[")
                file.write(row.text if number < len(pool) else row.again(number))
            file.write(b"]" if count else b"[]")
        self._slices[path.name] = Slice(path, 0, path.stat().st_size)


async def _send(writer: asyncio.StreamWriter, body: bytes, *headers: str) -> None:
    kind = "Content-Type: application/json; charset=utf-8"
    writer.write(_head(len(body), kind, *headers))
    writer.write(body)
    await writer.drain()


def _head(size: int, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def _parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _formatted(timestamp: datetime) -> str:
    """Return a timestamp as the API writes it."""
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main() -> None:
    """Serve until killed; print address, key and projects as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server")
    parser.add_argument("folder", type=Path)
    for name, default in Sizes()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--packed", action="store_true")
    arguments = vars(parser.parse_args())
    folder, packed = arguments.pop("folder"), arguments.pop("packed")
    server = Server(folder, Sizes(**arguments), packed=packed)
    project_ids = [project.id for project in server.world.projects]

    def print_address(root: str) -> None:
        settings = {"api_url": f"{root}/graphql", "api_key": API_KEY}
        print(json.dumps(settings | {"project_ids": project_ids}), flush=True)

    asyncio.run(server.serve(print_address))


if __name__ == "__main__":
    main()
