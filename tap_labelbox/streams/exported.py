"""What all streams of the data row export share: one pass over one export.

An export is started, waited for and read once for each project, whichever of its
streams are selected. The first of them to be synced reads it, and writes the
records of the others as well; when their turn comes, there is nothing left to do.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import nullcontext, suppress
from functools import cached_property, partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tap_labelbox.api.errors import (
    LimitError,
    NotOfferedError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.api.polling import poll
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.exports.fast_rows import decode_fast_rows
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.exports.saved import Item
from tap_labelbox.exports.tasks import Export, export_name, inputs, started_tasks
from tap_labelbox.records.json_text import decode_any_lines
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.singer.metrics import SyncTimer
from tap_labelbox.singer.shared_state import SharedState
from tap_labelbox.singer.state import PROJECT_ID
from tap_labelbox.streams.base import ProjectStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from singer_sdk import metrics
    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.exports.rows import ProjectRow
    from tap_labelbox.exports.saved import SavedFile
    from tap_labelbox.exports.tasks import Row
    from tap_labelbox.singer.state import ProjectState

# Exports that Labelbox prepares at once; it allows an organization 20 in all.
MAX_EXPORTS_IN_FLIGHT = 10
MAX_TEST_ROWS = 100  # of an export, read for a test
EXPORT = "data row export"  # as the log calls what is read together


class Run(NamedTuple):
    """The export of a project as one run asks for it."""

    started_at: str
    """Data rows active after the start of the run are not in it."""
    inputs: list[dict[str, Any]]
    """In the API's words; several where a filter has many ids."""


class Prepared(NamedTuple):
    """An export that can be read."""

    export: Export
    until: str
    position: int = 0
    latest: str = ""


class ExportedStream(ProjectStream):
    """Records made of the data rows of an export."""

    replication_key = "last_activity_at"
    takes_fast_rows = False
    """Whether it needs nothing of a row but the record of data_row_exports."""
    _headers_written = False
    _has_warned_of_model_runs = False
    _done = False  # another stream of the family has done the work of this one
    _group: SharedState | None = None
    _tasks: dict[str, str] | None = None
    _asking = threading.Lock()

    @cached_property
    def siblings(self) -> list[ExportedStream]:
        """The streams that are read together with this one, itself included."""
        return [
            stream
            for stream in self._tap.streams.values()
            if isinstance(stream, ExportedStream)
            and (stream is self or stream.selected)
            and stream.is_test == self.is_test
        ]

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """Return a context for each project that is still to be read."""
        return [] if self._done else super().partitions

    @property
    def read_together(self) -> list[str]:
        """The streams of the export, whether they are selected or not."""
        streams = self._tap.streams.items()
        return [name for name, s in streams if isinstance(s, ExportedStream)]

    @property
    def group(self) -> SharedState:
        """What the family remembers together."""
        if self._group is None:
            states = {stream.name: stream.state_manager for stream in self.siblings}
            group = SharedState(states, str(self.replication_key))
            for stream in self.siblings:
                stream._group = group  # noqa: SLF001  # one of its own kind
        return cast("SharedState", self._group)

    @property
    def turn_state(self) -> ProjectState:
        """The state that keeps when each project had its turn."""
        return self.group.first

    def finish(self) -> None:
        """Note that all projects have had their turn."""
        self.group.finish(self.workspace.started_at)

    def note_first_record(self) -> None:
        """Note that this is no longer a stream without records."""
        super().note_first_record()
        if self._group:
            self._group.has_records(self.name)

    def settle(self) -> None:
        """Note the exports that have been started meanwhile."""
        with suppress(Empty):
            while True:
                self._note(self._started.get_nowait())

    def end_run(self) -> None:
        """Forget what only a run that is cut off leaves to the next one."""
        super().end_run()
        if self._group:
            self._group.forget_names()

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read a project's export, or all files, for the whole family."""
        if self._done:
            return
        for stream in self.siblings:
            stream.write_headers(done=stream is not self)
        for file in self.workspace.saved_files:
            yield from self._file_records(file)
        yield from super().get_records(context)

    def write_headers(self, *, done: bool) -> None:
        """Write what goes before the first record: the schema.

        Args:
            done: Whether another stream does all the rest.
        """
        self._write_schema_message()
        if not self.is_incremental and self.emit_activate_version_messages:
            self._stream_version = self._initialized_at // 1000
        self._done = done

    def counted(self) -> AbstractContextManager[None]:
        """Count the requests and seconds of the pass, not of each stream in it."""
        if self._done:
            return nullcontext()
        return self.workspace.progress.reading(EXPORT, self.siblings)

    @property
    def has_enough(self) -> bool:
        """Whether a test has found a project with data rows."""
        return self.is_test and any(stream.has_records for stream in self.siblings)

    def conclude(self) -> None:
        """Do what is to be done after the last record of the pass, for the family."""
        if not self._done:
            for stream in self.siblings:
                stream.activate()

    def write(self, record: Record) -> None:
        """Write a record that another stream has read."""
        self._write_record_message(record)

    def _file_records(self, file: SavedFile) -> Iterator[Record]:
        """Read a file saved from Labelbox's app; its rows name their projects."""
        try:
            for row in file.read(self._decoded):
                if isinstance(row, Malformed):
                    self.workspace.leave_out(file.name, row)
                elif type(row) is not Item:  # which the stream bulk_export reads
                    for project_id in row.project_ids or ("",):
                        yield from self._unfolded(row, project_id)
            file.is_read = True
        except UnavailableError as error:
            self.workspace.record_failure(file.name, error)
            return
        streams = self._tap.streams.values()
        for what in file.unread(
            data_rows=any(s.unfold is not ExportedStream.unfold for s in self.siblings),
            items=any(s.selected for s in streams if s.name == "bulk_export"),
        ):
            self.logger.warning("%s: %s", file.name, what)

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read the data rows that were active since the bookmark.

        They come in no order, so the bookmark moves when all have been read.
        """
        latest, until = "", self.workspace.started_at
        for prepared, progress in self._exports(project_id, context):
            try:
                yield from self._export_records(prepared, project_id, progress)
            except UnavailableError:
                self.group.drop(project_id)  # the next run had better not read on here
                raise
            latest = max(latest, progress["latest"])
            # Of several, some may be of an earlier run than others.
            until = min(until, prepared.until)
        if (latest := min(latest, until)) and not self.is_test:
            for stream in self.siblings:
                stream.advance(context, latest)
        self.group.drop(project_id)

    def _export_records(
        self, prepared: Prepared, project_id: str, progress: dict[str, Any]
    ) -> Iterator[Record]:
        """Read an export from where it was left, and note down how far it is."""
        export = prepared.export
        count = 0
        for position, rows in export.rows(
            start=prepared.position, decoded=self._decoded
        ):
            latest = progress["latest"]
            for row in rows:
                yield from self._unfolded(row, project_id)
                # What was active later than the export reaches comes again. If it
                # moved the bookmark to there, that would be to the clock, and past
                # what Labelbox had not yet brought into its index.
                active_at = "" if type(row) is Malformed else row.last_activity_at or ""
                if latest < active_at <= prepared.until:
                    latest = active_at
            # Only now: whoever takes what was yielded has written it.
            progress["position"], progress["latest"] = position, latest
            if self.group.export(project_id) is progress:
                self.turn_state.mark_progress(project_id)
            self.checkpoint()
            count += len(rows)
            if self.is_test and count >= MAX_TEST_ROWS:
                break
        yield from self._errors(export, project_id)

    def _errors(self, export: Export, project_id: str) -> Iterator[Record]:
        """Read what Labelbox could not export, which is a part of the result."""
        lines = export.rows("ERRORS", decoded=decode_any_lines)
        count = 0
        for error in (one for _, some in lines for one in some):
            if isinstance(error, Malformed):
                self._leave_out(error, project_id, "the errors of an export of project")
                continue
            count += 1
            yield from self._written(
                s.some(s.unfold_error(error, project_id, export.task_id, count))
                for s in self.siblings
            )
        if count:
            self.workspace.note_gap(
                f"{count} data rows of project {project_id}",
                f"Labelbox could not export them (task {export.task_id}): the stream "
                "export_errors says why",
            )

    @cached_property
    def _decoded(self) -> Callable[[bytes], list[Any]]:
        is_fast = all(stream.takes_fast_rows for stream in self.siblings)
        return decode_fast_rows if is_fast else decode_rows

    @staticmethod
    def unfold(row: ProjectRow) -> Iterator[Record]:
        """Make this stream's records of one data row in one project."""
        del row
        return iter(())

    @staticmethod
    def unfold_error(
        error: Row, project_id: str, task_id: str, sequence: int
    ) -> Iterator[Record]:
        """Make this stream's records of what Labelbox could not export."""
        del error, project_id, task_id, sequence
        return iter(())

    def _unfolded(self, row: Any, project_id: str) -> Iterator[Record]:
        """Make the records of the whole family."""
        if type(row) is Malformed:
            self._leave_out(row, project_id, "the export of project")
            return iter(())
        if isinstance(row, dict) and not self._has_warned_of_model_runs:
            self._warn_of_model_runs(row)
        in_project = row.in_project(project_id)
        if self.is_test:
            return self._written(s.some(s.unfold(in_project)) for s in self.siblings)
        if self.siblings == [self]:
            return self.unfold(in_project)
        return self._written(stream.unfold(in_project) for stream in self.siblings)

    def some(self, records: Iterator[Record]) -> Iterator[Record]:
        """Return as many of some records as are wanted: in a test, few."""
        if self.ABORT_AT_RECORD_COUNT is None:
            return records
        return islice(records, max(0, self.ABORT_AT_RECORD_COUNT - self.record_count))

    def _warn_of_model_runs(self, row: Row) -> None:
        """Warn once of what is exported from model runs: it has no streams."""
        if row.get("experiments"):
            self._has_warned_of_model_runs = True
            self.logger.warning(
                "There are data rows of model runs: no stream reads their labels and "
                "predictions yet; data_row_exports keeps them whole in "
                "additional_columns, as experiments"
            )

    def _leave_out(self, row: Malformed, project_id: str, source: str) -> None:
        self.workspace.leave_out(f"{source} {project_id}", row)
        if row.is_broken:
            self.workspace.unfinished.add(project_id)

    def advance(self, context: Context | None, timestamp: str) -> None:
        """Move the bookmark, unless a row came broken, which may be whole next time.

        No other place knows of it: the next run has to export its project again.
        """
        if not context or context[PROJECT_ID] not in self.workspace.unfinished:
            super().advance(context, timestamp)

    def _written(self, made: Iterator[Iterator[Record]]) -> Iterator[Record]:
        """Return the records of one's own, and write those of the others."""
        for stream, records in zip(self.siblings, made, strict=True):
            if stream is self:
                yield from records
            else:
                for record in records:
                    stream.write(record)

    def _exports(
        self, project_id: str, context: Context
    ) -> Iterator[tuple[Prepared, dict[str, Any]]]:
        """Return the exports of a project, each ready to be read, and what is noted."""
        outcome = next(self._prepared)
        outcome.add_done_callback(lambda _: self._started.put(None))
        name = self.workspace.named(project_id)
        with self.workspace.progress.waiting(f"the export of {name}"):
            while not outcome.done():
                self._note(self._started.get())
                self.checkpoint()
        self.settle()
        exports = outcome.result()
        wanted = self._wanted(context)
        for prepared in exports:
            progress = {
                "task_id": prepared.export.task_id,
                "wanted": wanted,
                "until": prepared.until,
                "position": prepared.position,
                "latest": prepared.latest,
            }
            if wanted is not None:
                self.group.start(project_id, progress)
            yield prepared, progress

    @cached_property
    def _started(self) -> SimpleQueue[tuple[str, dict[str, Any]] | None]:
        """The exports that were started on other threads, to be noted on this one."""
        return SimpleQueue()

    def _note(self, started: tuple[str, dict[str, Any]] | None) -> None:
        if started:
            self.group.start(*started)

    @cached_property
    def _prepared(self) -> Iterator[Future[list[Prepared]]]:
        """The exports of each project, which Labelbox prepares before their turn."""
        contexts = self.partitions
        earlier = self._begin()
        jobs = (
            partial(
                self._prepare,
                context[PROJECT_ID],
                self._saved(context),
                self._wanted(context),
                self._run(context, self.workspace.started_at),
                [
                    self._run(context, started_at)
                    for started_at in earlier
                    if self.turn_state.last_end(context[PROJECT_ID]) < started_at
                    and not self._is_outdated(context, started_at)
                ],
            )
            for context in contexts
        )
        max_in_flight = min(self.max_in_flight, MAX_EXPORTS_IN_FLIGHT)
        return prefetch(jobs, max_in_flight, initial=max_in_flight)

    def _begin(self) -> list[str]:
        """Note that a run begins, in a STATE that precedes all exports it starts.

        So the next run finds them by their names, however soon this one is killed.

        Returns:
            When the runs began whose exports can be found.
        """
        if not self._resumable:
            return []
        earlier = self.group.begin(self.workspace.started_at)
        if not self.writer.has_open_files:
            self._tap.state_writer.write_state(self.tap_state)
        return earlier

    def _saved(self, context: Context) -> dict[str, Any]:
        """Return how far an export of an earlier run has been read; {} if none is."""
        saved = dict(self.group.export(context[PROJECT_ID]))
        return {} if saved and self._is_outdated(context, saved["until"]) else saved

    def _is_outdated(self, context: Context, until: str) -> bool:
        """Return whether a stream of the family has read beyond an export.

        Its rows may be older than those that this stream had: no other run would
        bring the newer ones again.
        """
        return any((stream.bookmark(context) or "") > until for stream in self.siblings)

    def _run(self, context: Context, started_at: str) -> Run:
        return Run(started_at, self._inputs(context, started_at))

    def _prepare(
        self,
        project_id: str,
        saved: dict[str, Any],
        wanted: str | None,
        this: Run,
        earlier: list[Run],
    ) -> list[Prepared]:
        """Let Labelbox make a project's exports, and wait for them.

        If an earlier run was cut off while it read one or waited for it, and the same
        is wanted, that is read on from where it was; if Labelbox no longer has it, the
        project is exported anew.
        """
        if wanted is not None and saved.get("wanted") == wanted:
            prepared = Prepared(
                Export(self.client, saved["task_id"]),
                *(saved[name] for name in ("until", "position", "latest")),
            )
            if self._is_readable(project_id, prepared):
                return [prepared]
            earlier = []
        exports = []
        for number, needed in enumerate(this.inputs):
            found = self._find(project_id, [(r, r.inputs[number]) for r in earlier])
            exports.append(found or self._begin_export(project_id, wanted, needed))
        return exports

    def _find(
        self, project_id: str, candidates: list[tuple[Run, dict[str, Any]]]
    ) -> Prepared | None:
        """Return what an earlier run has started, if it still can be read."""
        for run, wanted_input in reversed(candidates):
            name = export_name(wanted_input, run.started_at)
            if task_id := self._earlier_tasks().get(name):
                prepared = Prepared(Export(self.client, task_id), run.started_at)
                if self._is_readable(project_id, prepared):
                    return prepared
        return None

    def _is_readable(self, project_id: str, prepared: Prepared) -> bool:
        """Wait for an export of an earlier run; return whether it can be read."""
        try:
            self._wait(prepared.export, prepared.position)
        except (UnavailableError, TransientError) as error:
            self.workspace.progress.warn(
                "Project %s is exported anew: %s", project_id, error
            )
            return False
        return True

    def _earlier_tasks(self) -> dict[str, str]:
        """Return the tasks that earlier runs have started, by name; asks once."""
        with self._asking:
            if self._tasks is None:
                try:
                    self._tasks = started_tasks(self.client)
                except (UnavailableError, NotOfferedError, TransientError) as error:
                    self.logger.info("Exports of earlier runs are unknown: %s", error)
                    self._tasks = {}
            return self._tasks

    def _begin_export(
        self, project_id: str, wanted: str | None, wanted_input: dict[str, Any]
    ) -> Prepared:
        until = self.workspace.started_at
        export = self._start(wanted_input)
        if wanted is not None:
            note = {"task_id": export.task_id, "wanted": wanted, "until": until}
            self._started.put((project_id, note | {"position": 0, "latest": ""}))
        self._wait(export)
        return Prepared(export, until)

    def _start(self, wanted: dict[str, Any]) -> Export:
        """Start an export, as soon as Labelbox has room for one more.

        Raises:
            UnavailableError: If it never has.
        """
        timeout = self.config["export_timeout"]
        refusal = ""

        project_id = wanted["filters"]["projectId"]
        waiting = "Project %s waits until Labelbox has room for its export: %s"

        def started() -> Export | None:
            nonlocal refusal
            try:
                return Export.start(
                    self.client, wanted, export_name(wanted, self.workspace.started_at)
                )
            except LimitError as error:  # others are running
                told, refusal = bool(refusal), str(error)
                if not told:
                    self.workspace.progress.warn(waiting, project_id, error)
                return None

        return poll(
            started,
            pause=self.client.sleep,
            interval=self.config["export_poll_interval"],
            timeout=timeout,
            progress_message=lambda: waiting % (project_id, refusal),
            timeout_message=(
                f"Labelbox had no room for its export in {timeout:g} s: raise "
                "export_timeout"
            ),
        )

    def _wait(self, export: Export, start: int = 0) -> None:
        export.wait(
            interval=self.config["export_poll_interval"],
            timeout=self.config["export_timeout"],
        )
        export.open(start)

    def _inputs(self, context: Context, until: str) -> list[dict[str, Any]]:
        """Say which exports a project needs, in the API's words."""
        since = [stream.since(context) for stream in self.siblings]
        filters = self.config["export_filters"]
        if self.is_test:
            filters = filters | self.workspace.sample[context["project_id"]]
        return inputs(
            context["project_id"],
            filters,
            self.config["export_include"],
            since=None if None in since else min(filter(None, since)),
            until=until,
        )

    @property
    def _resumable(self) -> bool:
        """Whether a later run may read on; not where a target deletes older rows."""
        return not self.is_test and all(s.is_incremental for s in self.siblings)

    def _wanted(self, context: Context) -> str | None:
        """Return what an export must have in common with one that is read on, if any.

        There is one position for a project, so one export of several is not read on:
        whoever did would take it for all of them.
        """
        several = len(self._inputs(context, self.workspace.started_at)) > 1
        if several or not self._resumable:
            return None
        settings = {
            "since": {stream.name: stream.since(context) for stream in self.siblings},
            "filters": self.config["export_filters"],
            "include": self.config["export_include"],
        }
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def get_record_counter(self, **options: Any) -> metrics.Counter:
        """Count the records that another stream wrote for this one as well."""
        counter = super().get_record_counter(**options)
        counter.increment(self.record_count)
        return counter

    def get_sync_timer(self) -> metrics.Timer:
        """Measure how long the pass takes, whichever stream of the family does it."""
        passes = self.workspace.progress.passes
        return SyncTimer(self.name, passes[EXPORT].seconds if self._done else None)

    def _write_schema_message(self) -> None:
        """Write the schema once, though two may have reason to."""
        if not self._headers_written:
            super()._write_schema_message()
        self._headers_written = True
