"""The data row export: a task of Labelbox, waited for and read in parts.

Its result is NDJSON, stored as files of which each holds a range of bytes. A file
may end inside a line, and inside a character; so bytes are joined, and split at
line feeds only.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from datetime import UTC
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from tap_labelbox.api.errors import (
    NotOfferedError,
    UnavailableError,
    export_limit_error,
)
from tap_labelbox.api.pagination import Listing
from tap_labelbox.api.polling import poll
from tap_labelbox.api.reader import rows
from tap_labelbox.exports.parts import Part, PartReader
from tap_labelbox.records import timestamps
from tap_labelbox.records.json_text import decode_lines
from tap_labelbox.records.malformed import Malformed, MalformedError, shortened
from tap_labelbox.records.values import as_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tap_labelbox.api.client import Client

Row = dict[str, Any]

MAX_IDS_PER_FILTER = 2000  # in one filter
PAGE_ROWS = 100  # tasks asked for at a time
MAX_TASKS = 5000  # that are looked through
PIECE_BYTES = 64 * 1024  # of lines that are decoded together
NAME_PREFIX = "tap-labelbox "  # of our tasks
START_TIMEOUT_FACTOR = 5
"""How many times `request_timeout` Labelbox may take to start an export: it looks up
the IDs in the filters, or all data rows of the project, before it answers."""
MAX_LINE_ATTEMPTS = 5  # of lines that come broken in another way each time

# Our name of a filter, and the API's.
ID_FILTERS = {
    "batch_ids": "batch",
    "data_row_ids": "data_row_id",
    "global_keys": "global_key",
}
STATUS_FILTERS = {
    "TO_LABEL": {"type": "task_queue_not_exist"},
    "IN_REVIEW": {"type": "task_queue_status", "status": "InReview"},
    "IN_REWORK": {"type": "task_queue_status", "status": "InRework"},
    "DONE": {"type": "task_queue_status", "status": "Done"},
}
OPTIONAL_PARAMS = {
    "attachments": "includeAttachments",
    "embeddings": "includeEmbeddings",
    "interpolated_frames": "includeInterpolatedFrames",
    "metadata_fields": "includeMetadata",
    "performance_details": "includePerformanceDetails",
}
STARTS = {
    "projectId": ("start_export", "exportDataRowsInProject"),
    "modelRunId": ("start_model_run_export", "exportDataRowsInModelRun"),
    "searchQuery": ("start_catalog_export", "exportDataRowsInCatalog"),
}
"""By which document an export is started, and which field of its reply has the task.

The first of these filters that an export has says of what it is.
"""
# Filters that only the export of a project takes.
PROJECT_FILTERS = frozenset({"batch_ids", "workflow_status"})
# What an export of the catalog, and of a model run, can be asked for.
CATALOG_FILTERS = ("data_row_ids", "global_keys")
CATALOG_PARAMS = ("attachments", "metadata_fields")
MODEL_RUN_PARAMS = (
    "includeDataRowDetails",
    "includePredictions",
    "includeModelRunDetails",
)
# Without these there would be no bookmark, no workflow and no labeler.
PARAMS = (
    "includeDataRowDetails",
    "includeProjectDetails",
    "includeLabelDetails",
)


def inputs(
    project_id: str | None,
    filters: dict[str, Any],
    include: dict[str, bool],
    *,
    since: str | None,
    until: str,
) -> list[dict[str, Any]]:
    """Return the exports that a project needs: several where a filter has many ids.

    Args:
        project_id: The project; None for all of them in one export, which takes no
            filter of ``PROJECT_FILTERS``.
        filters: The setting ``export_filters``.
        include: The setting ``export_include``.
        since: Data rows active at or after this timestamp; all if None.
        until: Data rows active at or before this timestamp.

    Returns:
        The ``filters`` and ``params`` of each export.
    """
    query = _by_time(filters, since, until)
    if status := filters.get("workflow_status"):
        query.append(STATUS_FILTERS[status])
    params = dict.fromkeys(PARAMS, True)
    params |= {param: include[name] for name, param in OPTIONAL_PARAMS.items()}
    of: dict[str, Any] = {"projectId": project_id}
    if project_id is None:  # says whose labels come along, and narrows nothing
        of, params = {}, params | {"allProjects": True}
    return [
        {
            "filters": of
            | {"searchQuery": {"scope": None, "query": [*query, *by_ids]}},
            "params": params,
        }
        for by_ids in _by_ids(filters)
    ]


def catalog_inputs(
    filters: dict[str, Any],
    include: dict[str, bool],
    *,
    since: str | None,
    until: str,
    dataset_id: str | None = None,
) -> list[dict[str, Any]]:
    """Return the exports of all data rows; of its filters, the catalog takes some.

    Args:
        filters: As in :func:`inputs`.
        include: As in :func:`inputs`.
        since: As in :func:`inputs`.
        until: As in :func:`inputs`.
        dataset_id: The dataset of which data rows are wanted; all if None.
    """
    query = _by_time(filters, since, until)
    if dataset_id is not None:
        query.append({"type": "dataset", "operator": "is", "ids": [dataset_id]})
    params = {"includeDataRowDetails": True}
    params |= {OPTIONAL_PARAMS[name]: include[name] for name in CATALOG_PARAMS}
    taken = {name: filters.get(name) for name in CATALOG_FILTERS}
    return [
        {
            "filters": {"searchQuery": {"scope": None, "query": [*query, *by_ids]}},
            "params": params,
        }
        for by_ids in _by_ids(taken)
    ]


def model_run_inputs(model_run_id: str) -> list[dict[str, Any]]:
    """Return the export of a model run, which takes no filter."""
    params = dict.fromkeys(MODEL_RUN_PARAMS, True)
    return [{"filters": {"modelRunId": model_run_id}, "params": params}]


def _by_time(filters: dict[str, Any], since: str | None, until: str) -> list[Row]:
    """Return the filters by activity, and by when labels were made."""
    query: list[Row] = [_between("data_row_last_activity_at", since, until)]
    after, before = (filters.get(f"label_created_{end}") for end in ("after", "before"))
    if after or before:
        query.append(_between("labeled_at", after, before))
    return query


def _by_ids(filters: dict[str, Any]) -> list[list[Row]]:
    """Return the filters by IDs, of as many exports as these need."""
    slices: list[list[Row]] = [[]]
    for name, kind in ID_FILTERS.items():
        if ids := filters.get(name):
            parts = [
                ids[at : at + MAX_IDS_PER_FILTER]
                for at in range(0, len(ids), MAX_IDS_PER_FILTER)
            ]
            slices = [
                [*others, {"type": kind, "operator": "is", "ids": part}]
                for others in slices
                for part in parts
            ]
    return slices


def presence_input(project_id: str) -> dict[str, Any]:
    """Return an export of all that a project has, without any details.

    Not even of what was active by some timestamp: what changes meanwhile is there, too.
    """
    return {
        "filters": {
            "projectId": project_id,
            "searchQuery": {"scope": None, "query": []},
        },
        "params": dict.fromkeys([*PARAMS, *OPTIONAL_PARAMS.values()], False),
    }


def _between(kind: str, low: str | None, high: str | None) -> Row:
    """Return a filter by time, in whole seconds of UTC.

    The zone is named, for Labelbox would take that of the key's owner.
    """
    start, end = (at and _seconds(at) for at in (low, high))
    operator: str
    value: Any
    if start and end:
        operator, value = "BETWEEN", {"min": start, "max": end}
    elif start:
        operator, value = "GREATER_THAN_OR_EQUAL", start
    else:
        operator, value = "LESS_THAN_OR_EQUAL", end
    bounds = {"operator": operator, "timezone": "UTC", "value": value}
    return {"type": kind, "value": bounds}


def _seconds(text: str) -> str:
    return timestamps.parse(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


class FailedExportError(UnavailableError):
    """Labelbox did not bring an export to its end, or took too long.

    An export of fewer data rows may succeed.
    """


class OpenStream(NamedTuple):
    """One of the streams of an export, opened at a position."""

    size: int
    """In bytes."""
    lines: int
    chunks: Iterator[bytes]
    """From a position on."""


class Export:
    """One running or finished export.

    Args:
        client: Asks Labelbox.
        task_id: The task that makes the export.
    """

    def __init__(self, client: Client, task_id: str) -> None:
        """Remember the task; ask nothing yet."""
        self.task_id = task_id
        self.created_at: str | None = None
        """When it was started, by Labelbox's clock, as of :meth:`wait`; None if
        Labelbox does not say."""
        self._client = client
        self._open_streams: dict[tuple[str, int], OpenStream] = {}

    @classmethod
    def start(cls, client: Client, export_input: dict[str, Any], name: str) -> Export:
        """Start an export, and only one.

        Where it is not known whether Labelbox has begun, the export is looked for
        by its name among the tasks of the key before it is asked for again.

        Args:
            client: Asks Labelbox.
            export_input: ``filters`` and ``params``, as the API calls them.
            name: What to call it, of :func:`export_name`.
        """
        export_input = export_input | {
            "taskName": name,
            "isStreamableReady": True,
            "streamable": True,
        }

        filters = export_input["filters"]
        document, field = next(STARTS[of] for of in STARTS if of in filters)

        def begun() -> dict[str, Any] | None:
            task_id = _find(client, name)
            return None if task_id is None else {field: {"task_id": task_id}}

        data = client.execute_once(
            document,
            begun,
            export_limit_error,
            START_TIMEOUT_FACTOR,
            input=export_input,
        )
        if not (task := data.get(field)):
            msg = "Labelbox started no export and gave no error"
            raise UnavailableError(msg)
        with _parsing_reply():
            return cls(client, str(task["task_id"]))

    def wait(self, *, interval: float, timeout: float) -> None:
        """Wait until the export can be read.

        Args:
            interval: Seconds between two questions.
            timeout: Seconds after which to give up.

        Raises:
            FailedExportError: If it fails, or takes too long.
            UnavailableError: If it ends otherwise: somebody has canceled it.
        """
        task: dict[str, Any] = {}

        def complete() -> bool | None:
            task.update(self._task("export_status"))
            with _parsing_reply():
                status = task["status"]
            if status not in ("COMPLETE", "IN_PROGRESS", "QUEUED", None):
                msg = f"its export ended as {shortened(status)} (task {self.task_id})"
                has_failed = status == "FAILED"
                raise (FailedExportError if has_failed else UnavailableError)(msg)
            self.created_at = as_timestamp(task.get("created_at"))
            return True if status == "COMPLETE" else None

        late = (
            f"its export was not ready after {timeout:g} s (task "
            f"{self.task_id}): raise export_timeout"
        )
        poll(
            complete,
            pause=self._client.sleep,
            interval=interval,
            timeout=timeout,
            progress_message=lambda: (
                f"Waiting for an export (task {self.task_id}): {task['status']}, "
                f"{task.get('completion_percentage')} %"
            ),
            timeout_message=late,
            timeout_error=FailedExportError,
        )

    def open(self, start: int = 0, *, together: bool = True) -> bool:
        """Ask for all that :meth:`rows` begins with, before its turn.

        Args:
            start: As in :meth:`rows`.
            together: Whether to ask in one request.

        Returns:
            Whether that was possible.
        """
        reply = self._first_reply(start) if together else None
        known = reply or {}
        for stream, position in (("RESULT", start), ("ERRORS", 0)):
            header = (known[stream.lower()],) if reply else ()
            part = known.get("part") if stream == "RESULT" else None
            open_stream = self._open(stream, position, *header, part=part)
            self._open_streams[stream, position] = open_stream
        return reply is not None

    def has_errors(self) -> bool:
        """Return whether Labelbox could not export some data rows."""
        stream = ("ERRORS", 0)
        if stream not in self._open_streams:
            self._open_streams[stream] = self._open(*stream)
        return self._open_streams[stream].size > 0

    def _first_reply(self, start: int) -> dict[str, Any] | None:
        """Return both headers and the first part, if there is a reply with these."""
        data = self._client.execute_if_possible(
            "export_opening", task_id=self.task_id, offset=str(start)
        )
        task = (data or {}).get("task")
        whole = isinstance(task, dict) and {"result", "errors", "part"} <= task.keys()
        return task if whole else None

    def _open(
        self, stream: str, position: int, *headers: Any, part: Any = None
    ) -> OpenStream:
        """Begin to read a stream.

        Args:
            stream: RESULT or ERRORS.
            position: The byte to begin with.
            *headers: Its header, if that is known.
            part: The part that has this byte, if that is known.
        """
        if not headers:
            headers = (self._task("export_header", stream=stream).get("header"),)
        (header,) = headers
        if header is None:  # there is nothing in this stream
            header = {"total_size": 0, "total_lines": 0}
        with _parsing_reply():
            size, lines = int(header["total_size"]), int(header["total_lines"])
        # One that was read to its end brings no more records: a target that confirms a
        # state only with records would be sent here for ever.
        if 0 < position >= size:
            msg = f"its export has {size} bytes, none from {position} on"
            raise UnavailableError(msg)
        chunks = self._bytes(stream, position, size, part)
        chunks = chain([next(chunks, b"")], chunks)
        return OpenStream(size, lines, chunks)

    def rows(
        self,
        stream: str = "RESULT",
        start: int = 0,
        decoded: Callable[[bytes], list[Row]] = decode_lines,
    ) -> Iterator[tuple[int, list[Any]]]:
        """Decode the lines from a byte on.

        A line that is not a row is left out alone. If it is not JSON, it may have come
        broken: it is left out when it has come twice with the same bytes, and the
        byte to read on from stays before it.

        Args:
            stream: RESULT or ERRORS.
            start: Where a line begins; the end of some given before.
            decoded: Decodes some lines; raises MalformedError if one of them is no
                row, and another ValueError if one is no JSON.

        Yields:
            Some lines, of which each may be :class:`Malformed`, and the byte to read
            on from if these are all that are kept.

        Raises:
            UnavailableError: If the bytes or lines are not those that Labelbox
                declared.
        """
        handle = self._open_streams.pop((stream, start), None) or self._open(
            stream, start
        )
        size, lines, chunks = handle
        position, count = start, 0
        kept: int | None = None  # where the first line begins that came broken
        suspects: dict[int, int] = {}  # hashes of lines that did, by first byte
        tries = 0
        while position < size:
            for end, text in _whole_lines(chunks, position, self._client.max_row_bytes):
                if isinstance(text, int):
                    row = _too_long(count + 1, position, text, start)
                    position, count = end, count + 1
                    yield position if kept is None else kept, [row]
                    continue
                try:
                    rows = decoded(text)
                except ValueError:
                    result = _one_by_one(text, position, count, start, decoded)
                    rows = [row for _, row in result]
                    broken = {at: row.content for at, row in result if _is_broken(row)}
                    if not broken.items() <= suspects.items():
                        if (tries := tries + 1) == MAX_LINE_ATTEMPTS:
                            msg = f"its export is not JSON from byte {position} on"
                            raise UnavailableError(msg) from None
                        suspects |= broken
                        chunks = self._bytes(stream, position, size)
                        break
                    if broken and kept is None:
                        kept = min(broken)
                position, count, tries = end, count + len(rows), 0
                suspects = {at: line for at, line in suspects.items() if at >= end}
                yield position if kept is None else kept, rows
        if not start and count != lines:
            msg = f"its export has {count} lines, not {lines}"
            raise UnavailableError(msg)

    def _bytes(
        self, stream: str, position: int, size: int, part: Any = None
    ) -> Iterator[bytes]:
        """Return the bytes of all parts from a position on, each as declared.

        Args:
            stream: RESULT or ERRORS.
            position: The byte to begin with.
            size: Of the whole stream.
            part: The part that has this byte, if it has been asked for.
        """
        ask = partial(self._part, stream)
        return PartReader(self._client, ask, size).chunks(
            position, part and _parsed(part)
        )

    def _part(self, stream: str, position: int) -> Part:
        """Ask for the part that has a byte."""
        offset = str(position)
        data = self._task("export_part", stream=stream, offset=offset)
        return _parsed(data.get("part"))

    def _task(self, document: str, **variables: str) -> dict[str, Any]:
        data = self._client.execute(document, task_id=self.task_id, **variables)
        if not isinstance(task := data.get("task"), dict):
            msg = f"Labelbox no longer has its export (task {self.task_id})"
            raise UnavailableError(msg)
        return task


def _parsed(part: Any) -> Part:
    """Return a part as Labelbox describes it, with its last byte."""
    with _parsing_reply():
        first, last = (int(part["offsets"][end]) for end in ("start", "end"))
        return Part(first, last + 1, str(part["link"]))


@contextmanager
def _parsing_reply() -> Iterator[None]:
    """Raise an UnavailableError for what a reply lacks or has of another type."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        # Not what it says: that quotes the reply, but for the name of a key.
        reason = repr(error) if isinstance(error, KeyError) else type(error).__name__
        msg = f"Labelbox's reply about its export is malformed ({reason})"
        raise UnavailableError(msg) from None


def export_name(export_input: dict[str, Any], started_at: str) -> str:
    """Return the name of the task that makes an export.

    It follows from what is exported, so a later run can find the task by it.

    Args:
        export_input: ``filters`` and ``params``, as the API calls them.
        started_at: When the run began that starts it.
    """
    return NAME_PREFIX + fingerprint([export_input, started_at])


def fingerprint(settings: Any) -> str:
    """Return 16 hexadecimal digits that other settings have not."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def started_tasks(client: Client) -> dict[str, str]:
    """Return the tasks of this tap that the key has started, by name.

    Raises:
        UnavailableError: If Labelbox does not list them.
    """
    return {name: task for tasks in _task_pages(client) for name, task in tasks.items()}


def _find(client: Client, name: str) -> str | None:
    """Return the task of this name among those that the key has started.

    Raises:
        UnavailableError: If Labelbox does not list them.
    """
    try:
        return next((t[name] for t in _task_pages(client) if name in t), None)
    except (UnavailableError, NotOfferedError):
        msg = f"cannot tell whether Labelbox has started the export '{name}'"
        raise UnavailableError(msg) from None


def _task_pages(client: Client) -> Iterator[dict[str, str]]:
    """Yield the tasks of this tap, by name, a page at a time.

    Raises:
        UnavailableError: If Labelbox does not list them, or lists too many.
    """
    with _parsing_reply():
        user_id = client.execute("user")["user"]["id"]

        def page(skip: int, first: int) -> list[Row | Malformed]:
            data = client.execute("tasks", user_id=user_id, skip=skip, first=first)
            return rows(data["user"], "tasks", None, skip)

        listing = Listing(
            lambda _, skip, first: page(skip, first), PAGE_ROWS, made_at=lambda _: ""
        )
        for number, tasks in enumerate(listing.pages(), 1):
            yield {
                task["name"]: str(task["id"])
                for task in reversed(tasks.rows)
                if str(task["name"]).startswith(NAME_PREFIX)
            }
            if number * PAGE_ROWS >= MAX_TASKS:
                msg = f"Labelbox lists more than {MAX_TASKS} tasks"
                raise UnavailableError(msg)


def _whole_lines(
    chunks: Iterable[bytes], start: int, max_line_bytes: int
) -> Iterator[tuple[int, bytes | int]]:
    """Cut bytes at line feeds, but seldom.

    Yields:
        The byte after some lines, and these; or, of one line that is longer than
        ``max_line_bytes``, how many bytes it has. It is passed over, not held.
    """
    end = start
    pieces: list[bytes] = []  # of a line of which the end has not arrived
    held = 0  # bytes of it, also where they have been passed over
    for chunk in chunks:
        at = 0
        # In pieces that stay in the processor's cache until they have been written.
        while (
            cut := chunk.rfind(b"\n", at, at + PIECE_BYTES) + 1
            or chunk.find(b"\n", at) + 1
        ):
            if held > max_line_bytes:
                cut = chunk.find(b"\n", at) + 1
                result: Iterable[bytes | int] = [held + cut - at]
            else:
                text = b"".join([*pieces, chunk[at:cut]])
                result = _within(text, max_line_bytes)
            for item in result:
                end += item if isinstance(item, int) else len(item)
                yield end, item
            pieces, held, at = [], 0, cut
        held += len(chunk) - at
        pieces.append(chunk[at:])
        if held > max_line_bytes:
            pieces.clear()
    if held:
        yield end + held, held if held > max_line_bytes else b"".join(pieces)


def _one_by_one(
    text: bytes,
    position: int,
    number: int,
    start: int,
    decoded: Callable[[bytes], list[Row]],
) -> list[tuple[int, Any]]:
    """Decode lines of which some are not rows; return each with its first byte.

    Args:
        text: The lines.
        position: Of the first of them, in bytes.
        number: How many lines were read before.
        start: The byte at which these began.
        decoded: As in :meth:`Export.rows`.
    """
    rows: list[tuple[int, Any]] = []
    for line in text.split(b"\n"):
        number += 1
        if line.strip():
            try:
                rows += [(position, row) for row in decoded(line)]
            except ValueError as error:
                where = f"line {number} (byte {position})"
                if start:
                    where = f"line {number} after byte {start} (byte {position})"
                is_broken = not isinstance(error, MalformedError)
                why = f"it is not JSON: {error}" if is_broken else str(error)
                row = Malformed(where, why, "", hash(line), is_broken)
                rows.append((position, row))
        position += len(line) + 1
    return rows


def _is_broken(row: Any) -> bool:
    return isinstance(row, Malformed) and row.is_broken


def _within(text: bytes, max_line_bytes: int) -> Iterator[bytes | int]:
    """Yield whole lines as they are, but of those that are too long their size."""
    if len(text) <= max_line_bytes:
        yield text
        return
    for line in text.split(b"\n")[:-1]:
        size = len(line) + 1
        yield line + b"\n" if size <= max_line_bytes else size


def _too_long(number: int, position: int, size: int, start: int = 0) -> Malformed:
    """Return what takes the place of a line that is longer than the settings allow."""
    after = f" after byte {start}" if start else ""
    why = f"it has {size} bytes: raise max_row_bytes"
    return Malformed(f"line {number}{after} (byte {position})", why)
