"""Presence of labels and data rows: what was deleted is not among them."""

from __future__ import annotations

import json
import weakref
from functools import cached_property
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.base.export_group import prepared
from tap_labelbox.exports.prepare import Plan
from tap_labelbox.exports.row_tables import (
    DATA_ROW_ID,
    LABEL_ID,
    PROJECT_ID,
)
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.exports.tasks import presence_input
from tap_labelbox.records.columns import derived, integer, table, timestamp
from tap_labelbox.records.json_text import decode_any_lines
from tap_labelbox.records.malformed import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.exports.prepare import Prepared
    from tap_labelbox.exports.rows import ProjectRow

MAX_SPOOLED_BYTES = 16 * 1024 * 1024  # in memory; more go to a file

SEEN = (
    timestamp(
        "seen_at",
        "When the run began that found it there; the same in all records of a run.",
        required=True,
    ),
    integer(
        "record_count",
        "Records of the stream in that run: where fewer have its seen_at, they have "
        "been seen again since, or not all of them are loaded.",
        required=True,
    ),
)


class PresenceStream(ProjectStream):
    """A table of what all projects have, all of it or nothing.

    One export of each project, without any details, is read for all such streams.
    Records are written when all projects have been read, and only if nothing was left
    out: what lacks in a part would look as if it had been deleted.
    """

    selected_by_default = False
    log_name = "presence export"

    @staticmethod
    def unfold(row: ProjectRow) -> Iterable[Record]:
        """Return the IDs of each of the stream's records of a data row."""
        raise NotImplementedError

    # --- the turn of the stream ------------------------------------------------

    @property
    def pass_streams(self) -> list[PresenceStream]:
        """All selected streams in the turn of the first, and nothing in others."""
        if self.is_test:
            return [self]
        streams = [stream for stream in self._of_the_pass if stream.selected]
        return streams if streams[:1] == [self] else []

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """Return a context for each project in the turn of the first stream."""
        return super().partitions if self.pass_streams and not self.is_test else []

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read a project; in a test, use what its only export has brought."""
        if not self.is_test:
            yield from super().get_records(context)
            return
        for row in self.workspace.sample_rows:
            for ids in self.unfold(row):
                self.keep(ids)
        yield from self.kept_records()

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read a project's export, and keep what it has until all have been read."""
        del context
        prepared = next(self._prepared)
        name = self.workspace.project_name(project_id)
        with self.workspace.progress.waiting(f"the export of {name}"):
            ((export, _),) = prepared.result()
        streams = self.pass_streams
        decode: Callable[[bytes], list[Any]] = decode_rows
        for _, rows in export.rows(decoded=decode):
            for row in rows:
                if isinstance(row, Malformed):
                    self.workspace.leave_out(
                        f"{self.name} of project {project_id}", row
                    )
                    continue
                for stream in streams:
                    for ids in stream.unfold(row.in_project(project_id)):
                        stream.keep(ids)
        errors = (e for _, e in export.rows("ERRORS", decoded=decode_any_lines))
        if count := sum(map(len, errors)):
            self.workspace.note_gap(
                f"{count} data rows of project {project_id}",
                f"Labelbox could not export them (task {export.task_id})",
            )
        return iter(())

    def finish(self) -> None:
        """Write the records of all projects, unless something was left out."""
        super().finish()
        whole = self.workspace.gaps == self._first_gaps
        if not (whole and self.workspace.knows_all_projects):
            self.logger.warning(
                "%s: nothing is written, because something was left out, and would "
                "look as if it had been deleted",
                " and ".join(stream.name for stream in self.pass_streams),
            )
            return
        for stream in self.pass_streams:
            stream.write_header()
            stream.write_records(stream.kept_records())

    # --- records ---------------------------------------------------------------

    def keep(self, ids: Record) -> None:
        """Keep the key of a record until all have been read."""
        key = {name: ids[name] for name in self.primary_keys}
        self._kept.write(json.dumps(key).encode() + b"\n")
        self._count += 1

    def kept_records(self) -> Iterator[Record]:
        """Yield the records of what was kept."""
        seen = {
            "seen_at": self.workspace.started_at,
            "record_count": self._count,
            "additional_columns": {},
        }
        self._kept.seek(0)
        for line in self._kept:
            yield json.loads(line) | seen

    _count = 0

    @cached_property
    def _kept(self) -> IO[bytes]:
        file = cast("IO[bytes]", SpooledTemporaryFile(MAX_SPOOLED_BYTES))  # noqa: SIM115
        weakref.finalize(self, file.close)  # also of a run that is cut off
        return file

    @cached_property
    def _first_gaps(self) -> int:
        """The gaps of the run before the first project was read."""
        return self.workspace.gaps

    @cached_property
    def _prepared(self) -> Iterator[Future[list[Prepared]]]:
        """The exports of all projects, which Labelbox prepares before their turn."""
        _ = self._first_gaps
        project_ids = (context["project_id"] for context in self.partitions)
        plans = (Plan(p, [presence_input(p)], None, {}, []) for p in project_ids)
        # None is read on: it would be of another time.
        return prepared(self, plans, note=lambda _: None)


class DataRowPresenceStream(PresenceStream):
    """Every data row that every project has now; nothing of it but its ID.

    Good for data rows that have been deleted since they were loaded.
    """

    name = "data_row_presence"
    primary_keys = ("project_id", "data_row_id")
    schema = table(*derived(PROJECT_ID, DATA_ROW_ID, *SEEN))

    @staticmethod
    def unfold(row: ProjectRow) -> Iterable[Record]:
        """Return the IDs of the one record of a data row."""
        return [row.ids]


class LabelPresenceStream(PresenceStream):
    """Every label that every project has now; nothing of it but its ID.

    Good for labels that have been deleted since they were loaded.
    """

    name = "label_presence"
    primary_keys = ("project_id", "data_row_id", "label_id")
    schema = table(*derived(PROJECT_ID, DATA_ROW_ID, LABEL_ID, *SEEN))

    @staticmethod
    def unfold(row: ProjectRow) -> Iterable[Record]:
        """Return the IDs of the record of each label."""
        return [ids for ids, _ in row.labels]
