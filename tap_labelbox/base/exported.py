"""Streams of data row exports: tables that their group reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.base.export_group import REPLICATION_KEY
from tap_labelbox.base.project_exports import ProjectExports
from tap_labelbox.singer.metrics import SyncTimer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_sdk import metrics
    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.base.export_group import ExportGroup
    from tap_labelbox.singer.state import ProjectState


class ExportedStream(ProjectStream):
    """Records made of the data rows of an export."""

    replication_key = REPLICATION_KEY
    exports: type[ExportGroup] = ProjectExports
    """The exports that it is made of."""

    @staticmethod
    def unfold_error(
        error: Any, project_id: str, task_id: str, sequence: int
    ) -> Iterable[Record]:
        """Return the stream's records of what Labelbox could not export."""
        del error, project_id, task_id, sequence
        return ()

    @property
    def parent_key(self) -> str:
        """The name of the ID of a parent, which no document says; "" for none."""
        return self.parents and f"{self.parents.removesuffix('s')}_id"

    @property
    def log_name(self) -> str:
        """The name of the pass in the log."""
        return self.exports.log_name

    @property
    def group(self) -> ExportGroup:
        """The selected streams of the export, which are read together."""
        groups = self.workspace.export_groups
        if self.exports not in groups:
            streams = [
                stream
                for stream in self._of_the_pass
                if stream.selected and stream.is_test == self.is_test
            ]
            groups[self.exports] = self.exports(self, streams)
        return groups[self.exports]

    @property
    def _leads(self) -> bool:
        """True if the group reads through this stream, which is synced first."""
        return self.group.leader is self

    # --- the turn of the stream ------------------------------------------------

    @property
    def pass_streams(self) -> list[ExportedStream]:
        """The whole group in the turn of the leader, and nothing in others."""
        return self.group.streams if self._leads else []

    def get_sync_timer(self) -> metrics.Timer:
        """Measure how long the pass takes, whichever stream leads it."""
        group_pass = self.workspace.progress.passes[self.log_name]
        return SyncTimer(self.name, group_pass.seconds)

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """Return a context for each project that is still to be read."""
        return super().partitions if self._leads else []

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read a project's export, or all files; the group writes the records."""
        if self._leads:
            self.group.begin()
            yield from super().get_records(context)

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read a project's export; the group writes the records."""
        del project_id
        self.group.read(context)
        return iter(())

    def is_due(self, parent_id: str) -> bool:
        """Return whether the export of a parent may hold something new."""
        return self.group.is_due(parent_id)

    def in_turn(self, parent_ids: Iterable[str]) -> list[str]:
        """Return parents in the order in which the group reads them."""
        return self.group.in_turn(parent_ids)

    # --- state -----------------------------------------------------------------

    @property
    def turn_state(self) -> ProjectState:
        """The state that keeps when each project had its turn."""
        return self.group.state.first

    def note_first_record(self) -> None:
        """Note that this is no longer a stream without records."""
        super().note_first_record()
        self.group.state.has_records(self.name)

    def finish(self) -> None:
        """Note that all projects have had their turn."""
        self.group.state.finish(self.workspace.started_at, self._turns)

    def settle(self) -> None:
        """Note the exports that have been started meanwhile."""
        self.group.settle()

    def end_run(self) -> None:
        """Forget what only a run that is cut off leaves to the next one."""
        super().end_run()
        self.group.state.forget_names()
