"""What this tap does differently with the SDK's state, and why.

* The SDK finds a partition by going through all of them, for every record: with
  4,000 projects that takes longer than the labels. Here it is a look-up.
* The SDK moves a bookmark with every record. Here a stream moves its bookmarks
  itself, and only forwards, when a page or an export has been read to its end.
* The SDK leaves out a STATE that equals the one before it, though records went
  out in between; some targets keep only a STATE that is the very last message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.helpers import _state
from singer_sdk.streams._state import StreamStateManager

from tap_labelbox.errors import SettingsError

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context, TapState

    from tap_labelbox.output import MessageWriter


class ProjectState(StreamStateManager):
    """A bookmark for each project."""

    def __init__(self, **options: Any) -> None:
        """Index what the last run left."""
        super().__init__(**options)
        self._partitions: dict[str, dict[str, Any]] | None = None

    def get_context_state(self, context: Context | None) -> dict[str, Any]:
        """Give the writable state of a project, new if there is none."""
        if not context:
            return self.stream_state
        if self._partitions is None:
            listed = self.stream_state.setdefault("partitions", [])
            try:
                self._partitions = {p["context"]["project_id"]: p for p in listed}
            except (KeyError, TypeError):
                msg = f"--state has a partition of {self.stream_name} without project"
                raise SettingsError(msg) from None
        project_id = context["project_id"]
        if project_id not in self._partitions:
            self._partitions[project_id] = super().get_context_state(context)
        return self._partitions[project_id]

    def increment_state(self, *args: object, **options: object) -> None:
        """Do nothing: see :meth:`advance`."""

    def bookmark(self, context: Context, key: str) -> Any:
        """Give where the last run got to in a project."""
        state = self.get_context_state(context)
        if state.get("replication_key", key) != key:
            return None
        return state.get("replication_key_value")

    def advance(self, context: Context, key: str, value: str) -> None:
        """Move a project's bookmark forwards, never back."""
        state = self.get_context_state(context)
        if value > str(self.bookmark(context, key) or ""):
            state["replication_key"] = key
            state["replication_key_value"] = value
            self.is_flushed = False


class StateWriter(_state.StateWriter):
    """Leaves out a STATE only if it would repeat the very last message."""

    def __init__(self, message_writer: MessageWriter) -> None:
        """Look at what the tap's writer wrote last."""
        super().__init__(message_writer)
        self._writer = message_writer

    def write_state(self, state: TapState) -> None:
        """Write the state of all streams."""
        if not self._writer.ended_with_state:
            self._last_emitted_state = None
        super().write_state(state)


def odd_bookmark(state: dict[str, Any]) -> str | None:
    """Give the name of a stream whose bookmark cannot have come from here."""
    for name, bookmark in state.get("bookmarks", {}).items():
        partitions = isinstance(bookmark, dict) and bookmark.get("partitions", [])
        if not isinstance(partitions, list) or not all(map(_is_ours, partitions)):
            return str(name)
    return None


def _is_ours(partition: Any) -> bool:
    if not (isinstance(partition, dict) and isinstance(partition.get("context"), dict)):
        return False
    export = partition.get("export", {})
    return isinstance(export, dict) and all(
        isinstance(export.get(name, kind()), kind)
        for name, kind in (("position", int), ("latest", str), ("until", str))
    )
