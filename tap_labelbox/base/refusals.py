"""Record what a stream cannot read, in as few lines of the log as possible."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tap_labelbox.api.errors import (
    LEFT_OUT,
    ForbiddenError,
    NotOfferedError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.base.workspace import MAX_NAMED_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_labelbox.api.errors import LabelboxError
    from tap_labelbox.base.workspace import Workspace

PROJECTS = "projects"


class Refusals:
    """Leaves out what a stream cannot read, and records it.

    Nothing is said of a parent before another could be read: where none can, for one
    reason, it is the stream that is refused, and one line says so.

    Args:
        stream: Its name.
        parents: The stream of what it is read by, such as projects.
        workspace: Records failures.
    """

    def __init__(self, stream: str, parents: str, workspace: Workspace) -> None:
        """Start with none."""
        self.is_offered = True
        """Whether there is more of the stream to be had, as far as is known."""
        self._stream, self._parents, self._workspace = stream, parents, workspace
        self.has_read = False
        """Whether some parent, or all of a table without any, could be read."""
        self._has_explained = False  # which rights the key has
        self._pending: dict[str, LabelboxError] = {}  # by parent, before one was read
        self._recorded = 0  # parents

    @contextmanager
    def leaving_out(self, parent_id: str = "") -> Iterator[None]:
        """Leave out a parent, or what is left of the stream, if it cannot be read.

        Raises:
            OutageError: If it seems that nothing can.
        """
        try:
            yield
        except LEFT_OUT as error:
            self._leave_out(error, parent_id)
        else:
            self.note_read()

    def _leave_out(self, error: LabelboxError, parent_id: str) -> None:
        if isinstance(error, NotOfferedError):
            self.is_offered = False
            why = f"{error} (deselect it if this persists)"
            self._workspace.record_failure(self._stream, why)
            return
        if not parent_id:
            self.is_offered = False
            self._workspace.record_failure(self._stream, self._explained(error))
        elif isinstance(error, TransientError) or self.has_read:
            self._record(parent_id, error)
        else:
            self._pending[parent_id] = error
        self._workspace.failures_in_a_row.count(error)

    def note_read(self) -> None:
        """Note that a parent, or a table without any, could be read."""
        self.has_read = True
        self._workspace.failures_in_a_row.end()
        self.record()

    def record(self) -> None:
        """Record what was refused, if that has not been done."""
        refused = dict(self._pending)
        self._pending.clear()
        reasons = {str(error) for error in refused.values()}
        if len(refused) > len(reasons) == 1 and not self.has_read:
            self.is_offered = False
            count = f"{len(refused)} {self._parents}, none could be read"
            why = f"{self._explained(next(iter(refused.values())))} ({count})"
            self._workspace.record_failure(self._stream, why)
            return
        for parent_id, error in refused.items():
            self._record(parent_id, error)

    def _record(self, parent_id: str, error: LabelboxError) -> None:
        self._recorded += 1
        what = f"{self._parents.removesuffix('s')} {parent_id}"
        if self._recorded > MAX_NAMED_SOURCES:
            what = f"more {self._parents}"  # which is recorded once
        is_gone = (
            self._parents == PROJECTS
            and isinstance(error, UnavailableError)
            and self._workspace.is_gone(parent_id)
        )
        what = f"{self._stream} of {what}"
        why = error if is_gone else self._explained(error)
        self._workspace.record_failure(what, why, is_gone=is_gone)

    def _explained(self, error: LabelboxError) -> str:
        """Return what an error says; once, of a missing right, also which there are."""
        if not isinstance(error, ForbiddenError) or self._has_explained:
            return str(error)
        self._has_explained = True
        rights = self._workspace.rights
        return f"{error} ({rights})" if rights else str(error)
