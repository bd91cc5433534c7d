"""The streams of the data row export: one pass over one export for all of them.

An export is started, waited for and read once for each project, whichever of its
streams are selected. The SDK syncs one stream after the other; so the first of them
leads, and through it the group reads all projects and writes the records of all its
streams. When the turn of the others comes, there is nothing left to do.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import cached_property, partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import UnavailableError
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.exports.fast_rows import decode_fast_rows
from tap_labelbox.exports.prepare import ExportPreparer, Plan
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.exports.saved import Item
from tap_labelbox.exports.tasks import inputs
from tap_labelbox.records.json_text import decode_any_lines
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.singer.shared_state import SharedState
from tap_labelbox.singer.state import PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context

    from tap_labelbox.exports.prepare import Prepared
    from tap_labelbox.exports.saved import SavedFile
    from tap_labelbox.exports.tasks import Export
    from tap_labelbox.streams.exported import ExportedStream

# Exports that Labelbox prepares at once; it allows an organization 20 in all.
MAX_EXPORTS_IN_FLIGHT = 10
REPLICATION_KEY = "last_activity_at"
MAX_TEST_ROWS = 100  # of an export, read for a test


class ExportGroup:
    """Reads exports for the streams that are made of them, and writes their records.

    Args:
        leader: The stream that is synced first: through it the group reads.
        streams: All that are selected, in the tap's order.
    """

    def __init__(self, leader: ExportedStream, streams: list[ExportedStream]) -> None:
        """Do nothing yet."""
        self.leader, self.streams = leader, streams
        self._workspace = leader.workspace
        self._started = SimpleQueue[tuple[str, dict[str, Any]] | None]()
        """Exports started on other threads, to be noted on this one."""
        self._has_begun = False
        self._has_warned_of_model_runs = False
        self._broken: set[str] = set()
        """Projects of which a row came broken; it may be whole next time."""

    # --- state -----------------------------------------------------------------

    @cached_property
    def state(self) -> SharedState:
        """The states of all streams; to be made after the state was pruned."""
        states = {stream.name: stream.state_manager for stream in self.streams}
        return SharedState(states, REPLICATION_KEY)

    def settle(self) -> None:
        """Note the exports that have been started meanwhile."""
        with suppress(Empty):
            while True:
                self._note(self._started.get_nowait())

    def _note(self, started: tuple[str, dict[str, Any]] | None) -> None:
        if started:
            self.state.start(*started)

    @property
    def _is_resumable(self) -> bool:
        """True if a later run may read on; not where a target deletes older rows."""
        return not self.leader.is_test and all(s.is_incremental for s in self.streams)

    # --- what is to be exported ------------------------------------------------

    @cached_property
    def _prepared(self) -> Iterator[Future[list[Prepared]]]:
        """The exports of each project, which Labelbox prepares before their turn."""
        config = self.leader.config
        preparer = ExportPreparer(
            self._workspace.client,
            started_at=self._workspace.started_at,
            interval=config["export_poll_interval"],
            timeout=config["export_timeout"],
            note=self._started.put,
            warn=self._workspace.progress.warn,
            inform=self.leader.logger.info,
        )
        jobs = (partial(preparer.prepare, plan) for plan in self._plans())
        max_in_flight = min(self.leader.max_in_flight, MAX_EXPORTS_IN_FLIGHT)
        return prefetch(jobs, max_in_flight, initial=max_in_flight)

    def _plans(self) -> Iterator[Plan]:
        """Yield what is to be exported of each project.

        A STATE that says so precedes all exports that are started. So the next run
        finds them by their names, however soon this one is killed.
        """
        earlier: list[str] = []  # when the runs began whose exports can be found
        if self._is_resumable:
            earlier = self.state.begin(self._workspace.started_at)
            self.leader.write_state()
        for context in self.leader.partitions:
            project_id = context[PROJECT_ID]
            saved = dict(self.state.export(project_id))
            if saved and self._is_outdated(context, saved["until"]):
                saved = {}
            needed = self._inputs(context, self._workspace.started_at)
            last_end = self.state.first.last_end(project_id)
            yield Plan(
                project_id,
                needed,
                # There is one position for a project, so one export of several is not
                # read on: whoever did would take it for all of them.
                self._fingerprint(context)
                if len(needed) == 1 and self._is_resumable
                else None,
                saved,
                [
                    (run, self._inputs(context, run))
                    for run in earlier
                    if last_end < run and not self._is_outdated(context, run)
                ],
            )

    def _is_outdated(self, context: Context, until: str) -> bool:
        """Return whether a stream has read beyond an export.

        Its rows may be older than those that this stream had: no other run would
        bring the newer ones again.
        """
        return any((stream.bookmark(context) or "") > until for stream in self.streams)

    def _inputs(self, context: Context, until: str) -> list[dict[str, Any]]:
        """Return which exports a project needs, in the API's words."""
        config = self.leader.config
        since = [stream.since(context) for stream in self.streams]
        filters = config["export_filters"]
        if self.leader.is_test:
            filters = filters | self._workspace.sample[context[PROJECT_ID]]
        return inputs(
            context[PROJECT_ID],
            filters,
            config["export_include"],
            since=None if None in since else min(filter(None, since)),
            until=until,
        )

    def _fingerprint(self, context: Context) -> str:
        """Return what an export must have in common with one that is read on."""
        config = self.leader.config
        settings = {
            "since": {stream.name: stream.since(context) for stream in self.streams},
            "filters": config["export_filters"],
            "include": config["export_include"],
        }
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # --- reading ---------------------------------------------------------------

    def begin(self) -> None:
        """Write the SCHEMA of each stream, and read saved files; twice is once."""
        if self._has_begun:
            return
        self._has_begun = True
        for stream in self.streams:
            stream.write_header()
        for file in self._workspace.saved_files:
            self._read_file(file)

    def _read_file(self, file: SavedFile) -> None:
        """Read a file saved from Labelbox's app; its rows name their projects."""
        try:
            for row in file.read(self._decode):
                if isinstance(row, Malformed):
                    self._workspace.leave_out(file.name, row)
                elif type(row) is not Item:  # which the stream bulk_export reads
                    for project_id in row.project_ids or ("",):
                        self._write(row, project_id)
            file.is_read = True
        except UnavailableError as error:
            self._workspace.record_failure(file.name, error)
            return
        streams = self.leader.tap.streams.values()
        for what in file.unread(
            data_rows=bool(self._row_streams),
            items=any(s.selected for s in streams if s.name == "bulk_export"),
        ):
            self.leader.logger.warning("%s: %s", file.name, what)

    def read_project(self, context: Context) -> None:
        """Read the data rows of a project that were active since the bookmarks.

        They come in no order, so the bookmarks move when all have been read.

        Raises:
            LabelboxError: If an export cannot be made, or not be read to its end.
        """
        project_id = context[PROJECT_ID]
        latest, until = "", self._workspace.started_at
        for export, progress in self._take(project_id):
            if progress["wanted"] is not None:
                self.state.start(project_id, progress)
            try:
                self._read(export, progress, project_id)
            except UnavailableError:
                self.state.drop(project_id)  # the next run had better not read on here
                raise
            latest = max(latest, progress["latest"])
            # Of several, some may be of an earlier run than others.
            until = min(until, progress["until"])
        latest = min(latest, until)
        # No other place knows of a broken row: its project has to be exported again.
        if latest and not self.leader.is_test and project_id not in self._broken:
            for stream in self.streams:
                stream.advance(context, latest)
        self.state.drop(project_id)

    def _take(self, project_id: str) -> list[Prepared]:
        """Wait for the exports of the project whose turn it is."""
        outcome = next(self._prepared)
        outcome.add_done_callback(lambda _: self._started.put(None))
        name = self._workspace.project_name(project_id)
        with self._workspace.progress.waiting(f"the export of {name}"):
            while not outcome.done():
                self._note(self._started.get())
                self.leader.checkpoint()
        self.settle()
        return outcome.result()

    def _read(self, export: Export, progress: dict[str, Any], project_id: str) -> None:
        """Read an export from where it was left, and note down how far it is."""
        count = 0
        for position, rows in export.rows(
            start=progress["position"], decoded=self._decode
        ):
            latest = progress["latest"]
            for row in rows:
                if type(row) is Malformed:
                    self._leave_out(row, project_id, "the export of project")
                    continue
                self._write(row, project_id)
                # What was active later than the export reaches comes again. If it
                # moved the bookmark to there, that would be to the clock, and past
                # what Labelbox had not yet brought into its index.
                active_at = row.last_activity_at or ""
                if latest < active_at <= progress["until"]:
                    latest = active_at
            # Only now: all records up to there have been written.
            progress["position"], progress["latest"] = position, latest
            if self.state.export(project_id) is progress:
                self.state.first.mark_progress(project_id)
            self.leader.checkpoint()
            count += len(rows)
            if self.leader.is_test and count >= MAX_TEST_ROWS:
                break
        self._read_errors(export, project_id)

    def _write(self, row: Any, project_id: str) -> None:
        """Write the records of a data row, stream by stream."""
        if isinstance(row, dict) and not self._has_warned_of_model_runs:
            self._warn_of_model_runs(row)
        in_project = row.in_project(project_id)
        if self.leader.is_test:
            self._workspace.sample_rows.append(in_project)
        for stream in self._row_streams:
            stream.write_records(stream.unfold(in_project))

    def _read_errors(self, export: Export, project_id: str) -> None:
        """Read what Labelbox could not export, which is a part of the result."""
        count = 0
        for _, errors in export.rows("ERRORS", decoded=decode_any_lines):
            for error in errors:
                if isinstance(error, Malformed):
                    source = "the errors of an export of project"
                    self._leave_out(error, project_id, source)
                    continue
                count += 1
                for stream in self.streams:
                    records = stream.unfold_error(
                        error, project_id, export.task_id, count
                    )
                    stream.write_records(records)
        if count:
            self._workspace.note_gap(
                f"{count} data rows of project {project_id}",
                f"Labelbox could not export them (task {export.task_id}): the stream "
                "export_errors says why",
            )

    @cached_property
    def _row_streams(self) -> list[ExportedStream]:
        """The streams of data rows."""
        return [stream for stream in self.streams if stream.has_rows]

    @cached_property
    def _decode(self) -> Callable[[bytes], list[Any]]:
        is_fast = all(stream.takes_fast_rows for stream in self.streams)
        return decode_fast_rows if is_fast else decode_rows

    def _leave_out(self, row: Malformed, project_id: str, source: str) -> None:
        self._workspace.leave_out(f"{source} {project_id}", row)
        if row.is_broken:
            self._broken.add(project_id)

    def _warn_of_model_runs(self, row: dict[str, Any]) -> None:
        """Warn once of what is exported from model runs: it has no streams."""
        if row.get("experiments"):
            self._has_warned_of_model_runs = True
            self.leader.logger.warning(
                "There are data rows of model runs: no stream reads their labels and "
                "predictions yet; data_row_exports keeps them whole in "
                "additional_columns, as experiments"
            )
