"""What all streams of the data row export share: one pass over one export.

An export is started, waited for and read once for each project, whichever of its
streams are selected. The first of them to be synced reads it, and writes the
records of the others as well; when their turn comes, there is nothing left to do.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_labelbox.ahead import ahead
from tap_labelbox.annotations import (
    decoder,
    last_activity,
    project_ids,
)
from tap_labelbox.errors import LimitError, ServerError, UnavailableError
from tap_labelbox.exports import Export, file_rows, inputs
from tap_labelbox.json_text import decode_any_lines
from tap_labelbox.malformed import Malformed
from tap_labelbox.polling import poll
from tap_labelbox.streams.base import STATE_EVERY_RECORDS, ProjectStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from singer_sdk import metrics
    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.exports import Row

# Exports that Labelbox prepares at once; it allows an organization 20 in all.
MOST_EXPORTS = 10


class ExportedStream(ProjectStream):
    """Records made of the data rows of an export."""

    replication_key = "last_activity_at"
    inside: frozenset[str] | None = None
    """The heavy columns of a row that are looked into, not just passed on; None if
    the stream looks at no row, or at nothing but what is laid out."""
    _announced = False
    _activated = False
    _count = 0  # records that another stream wrote for this one
    _done = False  # another stream of the family has done the work of this one

    @cached_property
    def family(self) -> list[ExportedStream]:
        """The streams that are read together with this one, itself included."""
        # A test of one record is a test of each stream.
        alone = self.ABORT_AT_RECORD_COUNT is not None
        return [
            stream
            for stream in self._tap.streams.values()
            if isinstance(stream, ExportedStream)
            and (stream is self or (stream.selected and not alone))
        ]

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """Give a context for each project that is still to be read."""
        return [] if self._done else super().partitions

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read a project's export, or all files, for the whole family."""
        if self._done:
            return
        for stream in self.family:
            stream.announce(done=stream is not self)
        for path in self.config.get("export_files", ()):
            yield from self._file_records(Path(path))
        yield from super().get_records(context)

    def announce(self, *, done: bool) -> None:
        """Write what goes before the first record: the schema, and a version.

        Args:
            done: Whether another stream does all the rest.
        """
        self._write_schema_message()
        if not self.is_incremental and self.emit_activate_version_messages:
            self._stream_version = self._initialized_at // 1000
            self._write_activate_version_message(self._stream_version)
        self._done = done

    def write(self, record: Record) -> None:
        """Write a record that another stream has read."""
        self._write_record_message(record)
        self._count += 1

    def _file_records(self, path: Path) -> Iterator[Record]:
        """Read a file saved from Labelbox's app; its rows name their projects."""
        try:
            for row in file_rows(path, self._decoded):
                if isinstance(row, Malformed):
                    self.workspace.leave_out(str(path), row)
                    continue
                for project_id in project_ids(row) or ("",):
                    yield from self._unfolded(row, project_id)
        except UnavailableError as error:
            self.workspace.miss(str(path), error)

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read the data rows that were active since the bookmark.

        They come in no order, so the bookmark moves when all have been read.
        """
        state = self.state_manager.get_context_state(context)
        latest = ""
        for export in self._exports(context):
            progress = state["export"]
            try:
                yield from self._export_records(export, project_id, progress)
            except UnavailableError:
                del state["export"]  # the next run had better not read on here
                raise
            latest = max(latest, min(progress["latest"], progress["until"]))
            del state["export"]
        if latest:
            for stream in self.family:
                stream.advance(context, latest)

    def _export_records(
        self, export: Export, project_id: str, progress: dict[str, Any]
    ) -> Iterator[Record]:
        """Read an export from where it was left, and note down how far it is."""
        count = 0
        for position, rows in export.rows(
            start=progress["position"], decoded=self._decoded
        ):
            latest = progress["latest"]
            for row in rows:
                yield from self._unfolded(row, project_id)
                latest = max(latest, last_activity(row) or "")
            progress["position"], progress["latest"] = position, latest
            count += len(rows)
            if count >= STATE_EVERY_RECORDS:
                count = 0
                self.state_manager.is_flushed = False
                self._write_state_message()
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
                stream.unfold_error(error, project_id, export.task_id, count)
                for stream in self.family
            )
        if count:
            self.logger.warning(
                "Labelbox could not export %d data rows of project %s (task %s): the "
                "stream export_errors says why",
                count,
                project_id,
                export.task_id,
            )

    @cached_property
    def _decoded(self) -> Callable[[bytes], list[Any]]:
        inside = [s.inside for s in self.family if s.inside is not None]
        return decoder(frozenset().union(*inside) if inside else None)

    @staticmethod
    def unfold(row: Row, project_id: str) -> Iterator[Record]:
        """Make this stream's records of one data row in one project."""
        del row, project_id
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
        if self.family == [self]:
            return self.unfold(row, project_id)
        made = (stream.unfold(row, project_id) for stream in self.family)
        return self._written(made)

    def _leave_out(self, row: Malformed, project_id: str, source: str) -> None:
        self.workspace.leave_out(f"{source} {project_id}", row)
        if row.is_broken:
            self.workspace.unfinished.add(project_id)

    def advance(self, context: Context, moment: str) -> None:
        """Move the bookmark, unless a row came broken, which may be whole next time.

        No other place knows of it: the next run has to export its project again.
        """
        if context["project_id"] not in self.workspace.unfinished:
            super().advance(context, moment)

    def _written(self, made: Iterator[Iterator[Record]]) -> Iterator[Record]:
        """Give the records of one's own, and write those of the others."""
        for stream, records in zip(self.family, made, strict=True):
            if stream is self:
                yield from records
            else:
                for record in records:
                    stream.write(record)

    def _exports(self, context: Context) -> Iterator[Export]:
        """Give the exports of a project, each ready to be read."""
        state = self.state_manager.get_context_state(context)
        exports = next(self._prepared).result()
        for export in exports:
            saved = state.get("export")
            if not saved or saved["task_id"] != export.task_id:
                state["export"] = {
                    "task_id": export.task_id,
                    # One export of several is not read on.
                    "wanted": None if len(exports) > 1 else self._wanted(context),
                    "until": self.workspace.started_at,
                    "position": 0,
                    "latest": "",
                }
            yield export

    @cached_property
    def _prepared(self) -> Iterator[Future[list[Export]]]:
        """The exports of each project, which Labelbox prepares before their turn."""
        jobs = (
            partial(
                self._prepare,
                context["project_id"],
                dict(self.state_manager.get_context_state(context).get("export", {})),
                self._wanted(context),
                self._inputs(context),
            )
            for context in self.partitions
        )
        width = min(self.width, MOST_EXPORTS)
        return ahead(jobs, width, at_first=width)

    def _prepare(
        self,
        project_id: str,
        saved: dict[str, Any],
        wanted: str | None,
        needed: list[dict[str, Any]],
    ) -> list[Export]:
        """Let Labelbox make a project's exports, and wait for them.

        If an earlier run was killed while it read one, and the same is wanted, that
        is read on from where it was; if Labelbox no longer has it, the project is
        exported anew.
        """
        if wanted is not None and saved.get("wanted") == wanted:
            export = Export(self.client, saved["task_id"])
            try:
                self._wait(export, saved["position"])
            except (UnavailableError, ServerError) as error:
                self.logger.info("Project %s is exported anew: %s", project_id, error)
            else:
                return [export]
        exports = []
        for each in needed:
            exports.append(self._start(each))
            self._wait(exports[-1])
        return exports

    def _start(self, wanted: dict[str, Any]) -> Export:
        """Start an export, as soon as Labelbox has room for one more.

        Raises:
            UnavailableError: If it never has.
        """
        timeout = self.config["export_timeout"]
        refusal = ""

        def waiting() -> str:
            project_id = wanted["filters"]["projectId"]
            return (
                f"Project {project_id} waits until Labelbox has room for its export: "
                f"{refusal}"
            )

        def started() -> Export | None:
            nonlocal refusal
            try:
                return Export.start(self.client, wanted)
            except LimitError as error:  # others are running
                told, refusal = bool(refusal), str(error)
                if not told:
                    self.logger.warning(waiting())
                return None

        return poll(
            started,
            pause=self.client.sleep,
            interval=self.config["export_poll_interval"],
            timeout=timeout,
            waiting=waiting,
            late=f"Labelbox had no room for its export in {timeout:g} s: raise "
            "export_timeout",
        )

    def _wait(self, export: Export, start: int = 0) -> None:
        export.wait(
            interval=self.config["export_poll_interval"],
            timeout=self.config["export_timeout"],
        )
        export.open(start)

    def _inputs(self, context: Context) -> list[dict[str, Any]]:
        """Say which exports a project needs, in the API's words."""
        since = [stream.since(context) for stream in self.family]
        return inputs(
            context["project_id"],
            self.config["export_filters"],
            self.config["export_include"],
            since=None if None in since else min(filter(None, since)),
            until=self.workspace.started_at,
        )

    def _wanted(self, context: Context) -> str | None:
        """Give what an export must have in common with one that is read on.

        None where a target deletes what it got of an earlier run.
        """
        if not all(stream.is_incremental for stream in self.family):
            return None
        settings = {
            "since": {stream.name: stream.since(context) for stream in self.family},
            "filters": self.config["export_filters"],
            "include": self.config["export_include"],
        }
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def get_record_counter(self, **options: Any) -> metrics.Counter:
        """Count the records that another stream wrote for this one as well."""
        counter = super().get_record_counter(**options)
        counter.increment(self._count)
        return counter

    def _write_activate_version_message(self, full_table_version: int) -> None:
        """Write the version once, before the first record of it."""
        if not self._activated:
            super()._write_activate_version_message(full_table_version)
        self._activated = True

    def _write_schema_message(self) -> None:
        """Write the schema once, though two may have reason to."""
        if not self._announced:
            super()._write_schema_message()
        self._announced = True
