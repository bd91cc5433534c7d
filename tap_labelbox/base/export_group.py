"""The streams of the data row export: one pass over one export for all of them.

An export is started, waited for and read once for each project, whichever of its
streams are selected. The SDK syncs one stream after the other; so the first of them
leads, and through it the group reads all projects and writes the records of all its
streams. When the turn of the others comes, there is nothing left to do.

Model runs are exported likewise, and so is the catalog, at once: what is different
with these is said in a class for each.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property, partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import LEFT_OUT, ServerError, UnavailableError
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.exports.fast_rows import decode_fast_rows
from tap_labelbox.exports.model_runs import in_model_runs
from tap_labelbox.exports.prepare import ExportPreparer, Plan
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.exports.tasks import (
    FailedExportError,
    catalog_inputs,
    fingerprint,
    inputs,
    model_run_inputs,
)
from tap_labelbox.records import timestamps
from tap_labelbox.records.json_text import decode_any_lines
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.records.values import as_timestamp
from tap_labelbox.singer.shared_state import SharedState
from tap_labelbox.singer.state import context_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context

    from tap_labelbox.base.exported import ExportedStream
    from tap_labelbox.base.stream import LabelboxStream
    from tap_labelbox.exports.prepare import Prepared
    from tap_labelbox.exports.tasks import Export

# Exports that Labelbox prepares at once; it allows an organization 20 in all.
MAX_EXPORTS_IN_FLIGHT = 10
REPLICATION_KEY = "last_activity_at"
MAX_TEST_ROWS = 100  # of an export, read for a test


def row_decoder(streams: Iterable[LabelboxStream]) -> Callable[[bytes], list[Any]]:
    """Return what decodes lines for these streams."""
    is_fast = all(stream.takes_fast_rows for stream in streams)
    return decode_fast_rows if is_fast else decode_rows


def prepared(
    stream: LabelboxStream,
    plans: Iterable[Plan],
    note: Callable[[tuple[str, dict[str, Any]]], None],
) -> Iterator[Future[list[Prepared]]]:
    """Have exports made for a stream, some at once, and yield their outcomes in order.

    What is started is noted as :class:`ExportPreparer` says.
    """
    workspace, config = stream.workspace, stream.config
    preparer = ExportPreparer(
        workspace.client,
        started_at=workspace.started_at,
        interval=config["export_poll_interval"],
        timeout=config["export_timeout"],
        note=note,
        warn=workspace.progress.warn,
        inform=stream.logger.info,
    )
    jobs = (partial(preparer.prepare, plan) for plan in plans)
    max_in_flight = min(stream.max_in_flight, MAX_EXPORTS_IN_FLIGHT)
    return prefetch(jobs, max_in_flight, initial=max_in_flight)


class ExportGroup:
    """Reads exports for the streams that are made of them, and writes their records.

    Args:
        leader: The stream that is synced first: through it the group reads.
        streams: All that are selected, in the tap's order.
    """

    log_name = "data row export"
    errors_hint = ": the stream export_errors says why"

    def __init__(self, leader: ExportedStream, streams: list[ExportedStream]) -> None:
        """Do nothing yet."""
        self.leader, self.streams = leader, streams
        self._workspace = leader.workspace
        self._started = SimpleQueue[tuple[str, dict[str, Any]] | None]()
        """Exports started on other threads, to be noted on this one."""
        self._has_begun = False
        self._broken: set[str] = set()
        """Projects of which a row came broken; it may be whole next time."""
        self._undated: set[str] = set()
        """Projects of which a row came without its latest activity."""

    # --- state -----------------------------------------------------------------

    @cached_property
    def state(self) -> SharedState:
        """The states of all streams; to be made after the state was pruned."""
        states = {stream.name: stream.state_manager for stream in self.streams}
        return SharedState(states, str(self.leader.replication_key))

    def settle(self) -> None:
        """Note the exports that have been started meanwhile."""
        with suppress(Empty):
            while True:
                self._note(self._started.get_nowait())

    def _note(self, started: tuple[str, dict[str, Any]] | None) -> None:
        if started:
            self.state.start(*started)

    def is_due(self, parent_id: str) -> bool:
        """Return whether an export may hold something new."""
        del parent_id
        return True

    def in_turn(self, parent_ids: Iterable[str]) -> list[str]:
        """Return parents in the order in which they are read: longest ago first."""
        return sorted(parent_ids, key=self.state.first.turn)

    @property
    def _is_resumable(self) -> bool:
        """True if a later run may read on; not where a target deletes older rows."""
        return not self._is_test and all(s.is_incremental for s in self.streams)

    # --- what is to be exported ------------------------------------------------

    @cached_property
    def _prepared(self) -> Iterator[Future[list[Prepared]]]:
        """The exports of each project, which Labelbox prepares before their turn."""
        return self._prepare(self._plans())

    def _prepare(self, plans: Iterable[Plan]) -> Iterator[Future[list[Prepared]]]:
        return prepared(self.leader, plans, self._started.put)

    @cached_property
    def _earlier(self) -> list[str]:
        """When the runs began whose exports can be found.

        A STATE that says so of this one precedes all exports that are started. So the
        next run finds them by their names, however soon this one is killed.
        """
        if not self._is_resumable:
            return []
        earlier = self.state.begin(self._workspace.started_at)
        self.leader.write_state()
        return earlier

    def _plans(self) -> Iterator[Plan]:
        """Yield what is to be exported of each project."""
        return map(self._plan, self.leader.partitions)

    def _plan(self, context: Context) -> Plan:
        """Return what is to be exported of a project."""
        project_id = str(context_id(context))
        earlier = self._earlier
        saved = dict(self.state.export(project_id))
        if saved and self._is_outdated(context, saved["until"]):
            saved = {}
        needed = self._inputs(context, self._workspace.started_at)
        last_end = self.state.first.last_end(project_id)
        return Plan(
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
            title=self._subject(project_id),
        )

    def _is_outdated(self, context: Context, until: str) -> bool:
        """Return whether a stream has read beyond an export.

        Its rows may be older than those that this stream had: no other run would
        bring the newer ones again.
        """
        return any((stream.bookmark(context) or "") > until for stream in self.streams)

    def _inputs(self, context: Context, until: str) -> list[dict[str, Any]]:
        """Return which exports a project needs, in the API's words."""
        return self._inputs_within(context, self._since(context), until)

    def _inputs_within(
        self, context: Context, since: str | None, until: str
    ) -> list[dict[str, Any]]:
        """Return which exports hold what a project has within a span of time."""
        config = self.leader.config
        project_id = str(context_id(context))
        filters = config["export_filters"]
        if self._is_test:
            filters = filters | self._workspace.sample[project_id]
        return inputs(
            project_id,
            filters,
            config["export_include"],
            since=since,
            until=until,
        )

    def _since(self, context: Context) -> str | None:
        """Return the timestamp from which on some stream needs data rows."""
        since = [stream.since(context) for stream in self.streams]
        return None if None in since else min(filter(None, since))

    # --- what is said of it ----------------------------------------------------

    def _subject(self, parent_id: str) -> str:
        """Return how messages about an export begin."""
        source = self._source(parent_id)
        return source[0].upper() + source[1:]

    def _source(self, parent_id: str) -> str:
        """Return of what an export is."""
        return f"project {parent_id}"

    def _awaited(self, parent_id: str) -> str:
        """Return what progress lines call it."""
        return self._workspace.project_name(parent_id)

    def _fingerprint(self, context: Context) -> str:
        """Return what an export must have in common with one that is read on."""
        config = self.leader.config
        return fingerprint(
            {
                "since": {s.name: s.since(context) for s in self.streams},
                "filters": config["export_filters"],
                "include": config["export_include"],
            }
        )

    # --- reading ---------------------------------------------------------------

    def begin(self) -> None:
        """Write the SCHEMA of each stream, and read saved files; twice is once."""
        if self._has_begun:
            return
        self._has_begun = True
        for stream in self.streams:
            stream.write_header()
        self.leader.read_files()

    def read(self, context: Context) -> None:
        """Read the data rows of a project that were active since the bookmarks.

        They come in no order, so the bookmarks move when all have been read.

        Raises:
            LabelboxError: If an export cannot be made, or not be read to its end.
        """
        project_id = str(context_id(context))
        exports = self._take(self._next(project_id), self._awaited(project_id))
        self._read_exports(context, exports)

    def _read_exports(self, context: Context, exports: list[Prepared]) -> None:
        """Read exports of a project to their end, and move the bookmarks."""
        project_id = str(context_id(context))
        latest = self._read_all(exports, project_id)
        # No other place knows of a broken row: its project has to be exported again.
        if not self._is_test and project_id not in self._broken:
            self._advance(context, latest, exports)
        self.state.drop(project_id)

    def _next(self, project_id: str) -> Future[list[Prepared]]:
        """Return the exports of the project whose turn it is."""
        del project_id
        return next(self._prepared)

    def _advance(
        self, context: Context, latest: str, exports: Iterable[Prepared]
    ) -> None:
        """Move the bookmarks of a project, of which these exports have been read."""
        del exports
        for stream in self.streams:
            if latest:
                stream.advance(context, latest)

    def _read_all(self, exports: Iterable[Prepared], project_id: str) -> str:
        """Read exports, and return up to which timestamp they hold all; "" for none."""
        latest, until = "", self._workspace.started_at
        for export, progress in exports:
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
        return self._latest(project_id, latest, until)

    def _latest(self, project_id: str, latest: str, until: str) -> str:
        """Return the bookmark by the latest row, and up to when the export goes."""
        del project_id
        return min(latest, until)

    def _take(self, outcome: Future[list[Prepared]], what: str) -> list[Prepared]:
        """Wait for the exports whose turn it is."""
        outcome.add_done_callback(lambda _: self._started.put(None))
        with self._workspace.progress.waiting(f"the export of {what}"):
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
                    self._leave_out(row, project_id, "the export of")
                    continue
                self._write(row, project_id)
                # What was active later than the export reaches comes again. If it
                # moved the bookmark to there, that would be to the clock, and past
                # what Labelbox had not yet brought into its index.
                active_at = row.last_activity_at or ""
                if latest < active_at <= progress["until"]:
                    latest = active_at
                elif not active_at:
                    self._undated.add(project_id)
            # Only now: all records up to there have been written.
            progress["position"], progress["latest"] = position, latest
            if self.state.export(project_id) is progress:
                self._mark_progress(project_id)
            self.leader.checkpoint()
            count += len(rows)
            if self._is_test and count >= MAX_TEST_ROWS:
                break
        self._read_errors(export, project_id)

    def _mark_progress(self, project_id: str) -> None:
        """Note that the next run can go on with an export from where this one is."""
        self.state.first.mark_progress(project_id)

    def _write(self, row: Any, project_id: str) -> None:
        """Write the records of a data row, in each project that it is read for."""
        for own_id in (project_id,) if project_id else self._read_for(row):
            in_project = row.in_project(own_id)
            if self._is_test:
                self._workspace.sample_rows.append(in_project)
            for stream in self._row_streams:
                stream.write_records(stream.unfold(in_project))

    def _read_for(self, row: Any) -> Iterable[str]:
        """Yield the projects that a data row is read for, if the export has many."""
        project_ids: Iterable[str] = row.project_ids
        return project_ids

    def _read_errors(self, export: Export, project_id: str) -> None:
        """Read what Labelbox could not export, which is a part of the result."""
        count = 0
        for _, errors in export.rows("ERRORS", decoded=decode_any_lines):
            for error in errors:
                if isinstance(error, Malformed):
                    source = "the errors of an export of"
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
                f"{count} data rows of {self._source(project_id)}",
                f"Labelbox could not export them (task {export.task_id})"
                f"{self.errors_hint}",
            )

    @cached_property
    def _is_test(self) -> bool:
        """True if a few records are enough."""
        return self.leader.is_test

    @cached_property
    def _row_streams(self) -> list[ExportedStream]:
        """The streams of data rows."""
        return [stream for stream in self.streams if stream.has_rows]

    @cached_property
    def _decode(self) -> Callable[[bytes], list[Any]]:
        return row_decoder(self.streams)

    def _leave_out(self, row: Malformed, project_id: str, source: str) -> None:
        self._workspace.leave_out(f"{source} {self._source(project_id)}", row)
        if row.is_broken:
            self._broken.add(project_id)


class ModelRunExports(ExportGroup):
    """Reads exports of model runs, of those that were changed since the last read.

    No other filter is known. What is uploaded while a run is exported, or not yet in
    Labelbox's index, may change it within the timestamp that it had before; so the
    bookmark stays as far behind the export as a lookback goes.
    """

    log_name = "model run export"
    errors_hint = ""
    _decode = staticmethod(decode_rows)

    def is_due(self, parent_id: str) -> bool:
        """Return whether a run was changed since it was exported."""
        bookmark = self.leader.bookmark({self.leader.parent_key: parent_id})
        since = bookmark or self.leader.config.get("start_date")
        if not since or not (changed_at := self._changed_at(parent_id)):
            return True
        since = timestamps.normalize(since)
        return changed_at > since if bookmark else changed_at >= since

    def _changed_at(self, model_run_id: str) -> str | None:
        return as_timestamp(self.leader.parent_rows[model_run_id].get("updated_at"))

    def _inputs(self, context: Context, until: str) -> list[dict[str, Any]]:
        """Return the export of a run."""
        del until
        return model_run_inputs(str(context_id(context)))

    def _latest(self, project_id: str, latest: str, until: str) -> str:
        """Return the latest change to a run that its export is certain to hold."""
        del latest
        held_until = timestamps.shift(until, -self.leader.lookback)
        return min(self._changed_at(project_id) or "", held_until)

    def _write(self, row: Any, project_id: str) -> None:
        """Write the predictions for a data row."""
        changed_at = {"model_run_updated_at": self._changed_at(project_id)}
        for in_run in in_model_runs(row):
            for stream in self._row_streams:
                records = stream.unfold(in_run)
                stream.write_records(record | changed_at for record in records)

    def _source(self, parent_id: str) -> str:
        return f"model run {parent_id}"

    _awaited = _source


class CatalogExports(ExportGroup):
    """Reads the export of all data rows; of each dataset where that is too much."""

    log_name = "catalog export"
    errors_hint = ""

    def read(self, context: Context) -> None:
        """Read the data rows that were active since the bookmark."""
        try:
            super().read(context)
        except (FailedExportError, ServerError) as error:
            self._workspace.progress.warn(
                "The catalog is exported dataset by dataset: %s", error
            )
            self._read_datasets(context)

    def _read_datasets(self, context: Context) -> None:
        """Read each dataset; one that cannot be read does not stop the others."""
        dataset_ids = [
            row["id"] for row in self._workspace.list_rows("dataset_ids", "datasets")
        ]
        until, latest, is_whole = self._workspace.started_at, "", True
        plans = (
            Plan(
                "",
                self._inputs_of(context, until, dataset_id),
                None,
                {},
                [],
                title=f"Dataset {dataset_id}",
            )
            for dataset_id in dataset_ids
        )
        for dataset_id, outcome in zip(dataset_ids, self._prepare(plans), strict=True):
            what = f"dataset {dataset_id}"
            try:
                exports = self._take(outcome, what)
                latest = max(latest, self._read_all(exports, ""))
            except LEFT_OUT as error:
                is_whole = False
                self._workspace.record_failure(f"{self.leader.name} of {what}", error)
                self._workspace.failures_in_a_row.count(error)
            else:
                self._workspace.failures_in_a_row.end()
        # There is one bookmark, so a dataset that is lacking keeps it where it is.
        if latest and is_whole and not self._broken:
            self.leader.advance(context, latest)

    def _inputs(self, context: Context, until: str) -> list[dict[str, Any]]:
        """Return the export of all data rows."""
        return self._inputs_of(context, until)

    def _inputs_of(
        self, context: Context, until: str, dataset_id: str | None = None
    ) -> list[dict[str, Any]]:
        config = self.leader.config
        filters = config["export_filters"]
        if self._is_test:
            samples = self._workspace.sample.values()
            filters = filters | next(filter(None, samples), {})
        return catalog_inputs(
            filters,
            config["export_include"],
            since=self._since(context),
            until=until,
            dataset_id=dataset_id,
        )

    def _write(self, row: Any, project_id: str) -> None:
        """Write the record of a data row."""
        del project_id
        for stream in self._row_streams:
            stream.write_records(stream.unfold(row))

    def _source(self, parent_id: str) -> str:
        del parent_id
        return "the catalog"

    _awaited = _source
