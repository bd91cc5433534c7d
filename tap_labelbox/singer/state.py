"""The state: where this tap differs from the SDK, and why.

Three rules hold for every STATE message, whatever target stands behind:

1. A stream's bookmark claims no more than that stream's own records already
   written. A target may write the records of one stream to its warehouse, keep that
   stream's bookmark alone, and die: so nothing that one stream has to know stands in
   the bookmark of another only.
2. The first message after the first SCHEMA is a STATE equal to the state that the run
   was given. Many targets take the first STATE they see for what was there before.
3. At every later STATE, all records up to each bookmark have been written.

And four things are done in a way of our own:

* The SDK finds a partition by going through all of them, for every record: with
  4,000 projects that takes longer than the labels. Here it is a look-up.
* The SDK moves a bookmark with every record. Here a stream moves its bookmarks
  itself, and only forwards, when a page or an export has been read to its end.
* The SDK writes a STATE every so many records. A STATE names every project, so with
  many projects it would be most of the output. Here it is written as often as the
  records written meanwhile allow.
* The SDK leaves out a STATE that equals the one before it, though records went
  out in between; some targets keep only a STATE that is the very last message.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers import _state
from singer_sdk.singerlib import StateMessage
from singer_sdk.streams._state import StreamStateManager

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.records import timestamps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from singer_sdk.helpers.types import Context, TapState

    from tap_labelbox.singer.writer import MessageWriter

# How many bytes of STATE are written, at most, for each byte of the other messages. A
# run that goes on after others may write more: when it is cut off, less is read twice.
FIRST_RUN_SHARE = 0.08
LATER_RUN_SHARE = 1.0
# After so long, a STATE is worth its bytes in any case; but after longer if it has more
# of them than pass in that time. So what all of them take grows with the records and
# the time of a run, not with the number of projects times the number of turns.
FIRST_RUN_MAX_AGE_SECONDS = 300.0
LATER_RUN_MAX_AGE_SECONDS = 30.0
MAX_BYTES_PER_SECOND = 100_000.0

# When the runs began that last read a project to its end, and last failed to. They
# stand in its partition while a stream is being read, then once for the whole stream.
READ_AT = "read_at"
FAILED_AT = "failed_at"
# When the run began that began with a project and has brought nothing of it so far.
TRIED_AT = "tried_at"
# The runs that were cut off since the last finished one, by when they began.
RUNS = "unfinished_runs"
# Up to where a project is being read that has been read in part.
READING_UNTIL = "reading_until"
# Up to when all activity in a project has been read, whether there was any or not. A
# bookmark is that of the last row; of a project in which nothing happens it may be old.
READ_UP_TO = "read_up_to"
# What is left of a list that is read from its newest row down: all before a row, and
# the newest one, up to which everything is read once that is.
REST = "rest"
PROJECT_ID = "project_id"


class ProjectState(StreamStateManager):
    """A bookmark for each project, or whatever else a stream is read by.

    Args:
        parent_key: What the ID of a project is called in a context.
        **options: Of the SDK.
    """

    def __init__(self, *, parent_key: str = PROJECT_ID, **options: Any) -> None:
        super().__init__(**options)
        self._parent_key = parent_key
        self._partitions: dict[str, dict[str, Any]] | None = None

    def partition(self, project_id: str | None) -> dict[str, Any]:
        """Return what is known of a project, to be read only; {} if nothing is.

        Where a stream has one bookmark for all projects, these are None, or empty.
        """
        if not project_id:
            return self.stream_state
        return self._by_project.get(project_id, {})

    def get_context_state(self, context: Context | None) -> dict[str, Any]:
        """Return the state of a project; what the SDK adds to a new one is not kept."""
        return self.partition(context_id(context))

    def writable(self, project_id: str | None) -> dict[str, Any]:
        """Return the state of a project, which from now on is part of every STATE."""
        if not project_id:
            return self.stream_state
        if project_id not in self._by_project:
            partition: dict[str, Any] = {"context": {self._parent_key: project_id}}
            self._by_project[project_id] = partition
            self.stream_state.setdefault("partitions", []).append(partition)
        return self._by_project[project_id]

    @property
    def project_ids(self) -> Collection[str]:
        """The projects of which anything is known."""
        return self._by_project.keys()

    @property
    def _by_project(self) -> dict[str, dict[str, Any]]:
        if self._partitions is None:
            by_project: dict[str, dict[str, Any]] = {}
            for partition in self.stream_state.get("partitions", []):
                context = partition.get("context")
                # Those of projects say nothing of anything else, which is read anew.
                if self._parent_key not in {PROJECT_ID, *(context or ())}:
                    continue
                is_ours = isinstance(context, dict)
                project_id = context.get(self._parent_key) if is_ours else None
                stream, what = self.stream_name, singular(self._parent_key)
                if not isinstance(project_id, str):
                    msg = f"--state has a partition of {stream} without {what}"
                    raise SettingsError(msg)
                if project_id in by_project:  # whoever merges states must choose
                    msg = (
                        f"--state has two bookmarks of {stream} for {what} "
                        f"{project_id}: remove one of them"
                    )
                    raise SettingsError(msg)
                by_project[project_id] = partition
            self._partitions = by_project
        return self._partitions

    def increment_state(self, *args: object, **options: object) -> None:
        """Do nothing: see :meth:`advance`."""

    def write_starting_replication_value(
        self, *args: object, **options: object
    ) -> None:
        """Do nothing: a stream reads its bookmark itself."""

    def bookmark(self, project_id: str | None, key: str) -> Any:
        """Return where the last run got to in a project.

        A timestamp comes in the one form in which timestamps can be compared, in
        whichever it was given; anything else as it is.
        """
        state = self.partition(project_id)
        if state.get("replication_key", key) != key:
            return None
        value = state.get("replication_key_value")
        return timestamps.normalize_or_empty(value) or value

    def advance(self, project_id: str | None, key: str, value: str) -> None:
        """Move a project's bookmark forwards, never back."""
        if value > str(self.bookmark(project_id, key) or ""):
            state = self.writable(project_id)
            state["replication_key"] = key
            state["replication_key_value"] = value

    def read_up_to(self, project_id: str | None) -> str | None:
        """Return up to when all of a project has been read; None if nobody has said."""
        noted = self.partition(project_id).get(READ_UP_TO)
        return timestamps.normalize_or_empty(noted) or None

    def mark_read_up_to(self, project_id: str | None, timestamp: str) -> None:
        """Note up to when all of a project has been read; never go back."""
        if timestamp > (self.read_up_to(project_id) or ""):
            self.writable(project_id)[READ_UP_TO] = timestamp

    def rest(self) -> tuple[str, str] | None:
        """Return what :meth:`mark_rest` has noted; None if there is nothing of it."""
        noted = self.stream_state.get(REST)
        if not isinstance(noted, dict):
            return None
        before, newest = (
            timestamps.normalize_or_empty(noted.get(name))
            for name in ("before", "newest")
        )
        return (before, newest) if before and newest else None

    def mark_rest(self, before: str, newest: str) -> None:
        """Note that a list has been read from its newest row down to before another."""
        self.stream_state[REST] = {"before": before, "newest": newest}

    def mark_no_rest(self) -> None:
        """Note that a list has been read to its end."""
        self.stream_state.pop(REST, None)

    # Runs that are cut off get round all projects in turn: whichever was read, or
    # tried in vain, longest ago comes first.

    def turn(self, project_id: str) -> str:
        """Return when a project was last read or tried; "" if it never was."""
        tried_at = self.partition(project_id).get(TRIED_AT) or ""
        return max(self.last_end(project_id), str(tried_at))

    def last_end(self, project_id: str) -> str:
        """Return when a project was last read to its end, or left out; "" if never."""
        state = self.partition(project_id)
        read_at = state.get(READ_AT) or self.stream_state.get(READ_AT)
        return max(map(timestamps.normalize_or_empty, (read_at, state.get(FAILED_AT))))

    def mark_tried(self, project_id: str, started_at: str) -> None:
        """Note that the run that began then begins with a project.

        If it is cut off before the project gets on, others come first: or else one
        that is waited for in vain is all that any run does.
        """
        self.writable(project_id)[TRIED_AT] = started_at

    def is_suspect(self, project_id: str, started_at: str) -> bool:
        """Return whether a run before the one that began then was cut off at a project.

        That is, before the project got on: it may have been waited for in vain.
        """
        return self.partition(project_id).get(TRIED_AT) not in (None, started_at)

    def mark_progress(self, project_id: str) -> None:
        """Note that the next run can go on in a project from where this one is."""
        if TRIED_AT in self.partition(project_id):
            del self.writable(project_id)[TRIED_AT]

    def mark_read(self, project_id: str, started_at: str) -> None:
        """Note that a project has been read to its end, by the run begun then."""
        state = self.writable(project_id)
        state.pop(FAILED_AT, None)
        state.pop(TRIED_AT, None)
        state.pop(READING_UNTIL, None)
        state[READ_AT] = started_at

    def mark_failed(self, project_id: str, started_at: str) -> None:
        """Note that a project could not be read by the run that began then."""
        state = self.writable(project_id)
        state.pop(TRIED_AT, None)
        state[FAILED_AT] = started_at

    def mark_all_read(self, started_at: str, project_ids: Iterable[str]) -> None:
        """Note that all projects to be read have had their turn, in fewer words.

        The others keep what is known of them.
        """
        self.stream_state[READ_AT] = started_at
        for project_id in project_ids:
            self.partition(project_id).pop(READ_AT, None)

    def remove_blank(self) -> None:
        """Remove the partitions that say nothing, and put the others in order."""
        known = {p: state for p, state in self._by_project.items() if len(state) > 1}
        if "partitions" in self.stream_state:
            self._partitions = dict(sorted(known.items()))
            self.stream_state["partitions"] = list(self._partitions.values())


def context_id(context: Context | None) -> str | None:
    """Return the ID of what a context is about; None where there is no context."""
    return next(iter(context.values())) if context else None


def singular(key: str) -> str:
    """Return what a column of IDs is about, in words."""
    return key.removesuffix("_id").replace("_", " ")


def unfinished_runs(bookmark: dict[str, Any]) -> list[str]:
    """Return when the runs began that were cut off since the last finished one."""
    runs = bookmark.get(RUNS)
    times = map(timestamps.normalize_or_empty, runs if isinstance(runs, list) else ())
    return [at for at in times if at]


def last_turn(bookmark: Any) -> str:
    """Return when a stream was last read from, by its bookmark; "" if it never was."""
    if not isinstance(bookmark, dict):
        return ""
    times: list[Any] = [*unfinished_runs(bookmark)]
    for partition in (bookmark, *bookmark.get("partitions", [])):
        export = partition.get("export", {})
        names = (READ_AT, FAILED_AT, TRIED_AT, READING_UNTIL)
        times += [partition.get(name) for name in names]
        times.append(export.get("until"))
    return max(map(timestamps.normalize_or_empty, times), default="")


def bookmarks(state: TapState, streams: Iterable[str]) -> list[str]:
    """Return the timestamps up to which streams were read by earlier runs."""
    known = state.get("bookmarks", {})
    partitions = (
        p for name in streams for p in known.get(name, {}).get("partitions", [])
    )
    values = (partition.get("replication_key_value") for partition in partitions)
    return [value for value in map(timestamps.normalize_or_empty, values) if value]


def prune(state: TapState, ids: Iterable[str], parent_key: str = PROJECT_ID) -> int:
    """Remove the partitions of projects, or other parents, that are no longer there.

    Args:
        state: The state of the tap.
        ids: All that there are.
        parent_key: What their IDs are called in a context.

    Returns:
        How many partitions were removed.
    """
    known = {*ids, str(None)}  # the latter of what is by something else
    removed = 0
    for bookmark in state.get("bookmarks", {}).values():
        if partitions := bookmark.get("partitions"):
            bookmark["partitions"] = [
                partition
                for partition in partitions
                if str((partition.get("context") or {}).get(parent_key)) in known
            ]
            removed += len(partitions) - len(bookmark["partitions"])
    return removed


class StateWriter(_state.StateWriter):
    """Writes STATE messages, and decides when one is worth its bytes.

    Args:
        message_writer: Writes all messages of the run.
        is_first_run: Whether the run was given no state.
    """

    def __init__(self, message_writer: MessageWriter, *, is_first_run: bool) -> None:
        super().__init__(message_writer)
        self._writer = message_writer
        self._share = FIRST_RUN_SHARE if is_first_run else LATER_RUN_SHARE
        self._max_age_seconds = (
            FIRST_RUN_MAX_AGE_SECONDS if is_first_run else LATER_RUN_MAX_AGE_SECONDS
        )
        self._last_bytes = self._written_bytes = 0  # of STATE messages
        self._written_at = time.monotonic()

    def write_state(self, state: TapState) -> None:
        """Write the state of all streams, unless it repeats the very last message."""
        if not self._writer.has_begun:  # the SDK's first one would precede all SCHEMAs
            return
        message = StateMessage(state)
        # Encoded twice only where it may well be the same.
        if not (
            self._writer.ended_with_state
            and self._writer.format_message(message) == self._writer.last_line
        ):
            self._writer.write_message(message)
            self._last_bytes = len(self._writer.last_line)
            self._written_bytes += self._last_bytes
        self._written_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether enough was written, or time has passed, since the last one.

        A STATE is taken to be about as long as the one before it.
        """
        size = self._written_bytes + self._last_bytes
        others = self._writer.written_bytes - self._written_bytes
        max_age = max(self._max_age_seconds, self._last_bytes / MAX_BYTES_PER_SECOND)
        return (
            size <= self._share * others
            or time.monotonic() - self._written_at > max_age
        )


def malformed_bookmark(state: dict[str, Any]) -> str | None:
    """Return the name of a stream whose bookmark cannot have come from here."""
    for name, bookmark in state.get("bookmarks", {}).items():
        if not isinstance(bookmark, dict):
            return str(name)
        partitions = bookmark.get("partitions", [])
        whole = isinstance(bookmark.get("export", {}), dict)
        if not (
            whole and isinstance(partitions, list) and all(map(_is_ours, partitions))
        ):
            return str(name)
    return None


def is_flatter(value: Any, depth: int) -> bool:
    """Return whether a value has fewer levels than so many."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(is_flatter(item, depth - 1) for item in inner)


def _is_ours(partition: Any) -> bool:
    if not (isinstance(partition, dict) and isinstance(partition.get("context"), dict)):
        return False
    return isinstance(partition.get("export", {}), dict)
