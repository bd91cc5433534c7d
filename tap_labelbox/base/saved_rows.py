"""The data rows of saved files, whichever export they are of, and their records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import UnavailableError
from tap_labelbox.base.export_group import row_decoder
from tap_labelbox.exports.model_runs import PLACES, in_model_runs
from tap_labelbox.exports.saved import Item
from tap_labelbox.records.malformed import Malformed

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable

    from tap_labelbox.base.stream import LabelboxStream
    from tap_labelbox.base.workspace import Workspace
    from tap_labelbox.exports.saved import SavedFile


class SavedRows:
    """Writes the records of saved files: of each row those of all streams.

    Args:
        workspace: Has the files, and records what cannot be read of them.
        streams: Those that are selected and made of data rows, in the tap's order.
        items_are_read: Whether there is one that reads items of the bulk export.
        logger: Logs what no stream reads.
    """

    def __init__(
        self,
        workspace: Workspace,
        streams: list[LabelboxStream],
        logger: logging.Logger | logging.LoggerAdapter[Any],
        *,
        items_are_read: bool,
    ) -> None:
        """Read nothing yet."""
        self._workspace, self._streams = workspace, streams
        self._items_are_read, self._logger = items_are_read, logger
        self._has_read = False
        # What each row is taken apart into, and for whom.
        self._made_of: dict[Callable[[Any], Iterable[Any]], list[LabelboxStream]] = {}
        for stream in streams:
            self._made_of.setdefault(type(stream).parts, []).append(stream)

    def read(self) -> None:
        """Write the records of all files, the newest last; twice is once."""
        if self._has_read:
            return
        self._has_read = True
        for file in self._workspace.saved_files:
            for stream in self._streams:
                stream.write_header()
            self._read_file(file)

    def _read_file(self, file: SavedFile) -> None:
        """Read a file saved from Labelbox's app; its rows name what they are in."""
        unread = of_runs = 0
        runs_are_read = in_model_runs in self._made_of
        made_of = [*self._made_of.items()]
        try:
            for row in file.read(row_decoder(self._streams)):
                if isinstance(row, Malformed):
                    self._workspace.leave_out(file.name, row)
                elif type(row) is not Item:  # which the stream bulk_export reads
                    is_read = False
                    for parts, streams in made_of:
                        for part in parts(row):
                            is_read = True
                            for stream in streams:
                                stream.write_records(stream.unfold(part))
                    unread += not is_read
                    if isinstance(row, dict) and not runs_are_read:
                        of_runs += any(row.get(outer) for outer, _ in PLACES)
            file.is_read = True
        except UnavailableError as error:
            self._workspace.record_failure(file.name, error)
            return
        for what in file.unread(
            data_rows=unread, of_runs=of_runs, items=self._items_are_read
        ):
            self._logger.warning("%s: %s", file.name, what)
