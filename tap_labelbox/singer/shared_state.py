"""The bookmarks of streams that are read in one pass.

Nine streams are made of one export. Each has bookmarks of its own, because a target
may keep those of one stream and lose the records of another (see
:mod:`tap_labelbox.singer.state`). So each stream of the group carries, by project,
how far the export has been read, and a run resumes at the lowest of these positions.

A stream that has no records is never written by such a target, so its bookmark never
comes back. Therefore each stream also names the ones that had no records so far: what
it has read, these have read as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.records import timestamps
from tap_labelbox.singer.state import RUNS, unfinished_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_labelbox.singer.state import ProjectState

EXPORT = "export"
WITHOUT_RECORDS = "without_records"
MAX_RUNS = 5  # unfinished ones whose exports are looked for

FIELDS = {"task_id": str, "wanted": str, "until": str, "position": int, "latest": str}
"""What the position of an export is made of, and the types of that.

Its task; what it was to hold; the timestamp up to which activity is in it; the byte up
to which all streams have their records; the latest activity of the rows before that.
"""
LATEST_BY_PROJECT = "latest_by_project"
"""The same of each project, in the position of an export that holds many."""


class SharedState:
    """The states of a group of streams, read and moved together.

    Args:
        states: By the names of the streams, at least one.
        key: The replication key of all of them.
    """

    def __init__(self, states: Mapping[str, ProjectState], key: str) -> None:
        """Reconcile the bookmarks that a target has kept with those it has lost."""
        self._states = dict(states)
        self._key = key
        shown = {name: self._streams_named_by(name) for name in self._states}
        # All as they were kept: who is moved by another vouches for nobody with that.
        kept = {name: self._bookmarks(name) for name in self._states}
        marks = {name: self._marks(name) for name in self._states}
        for voucher, names in shown.items():
            for name in names:
                for project_id, bookmark in kept[voucher].items():
                    self._states[name].advance(project_id, key, bookmark)
                for project_id, mark in marks[voucher].items():
                    self._states[name].mark_read_up_to(project_id, mark)
        for project_id in self._exported_projects():
            self._join_exports(project_id, shown)
        self._without_records = self._states.keys() - self._lagging()
        self._write_names()

    @property
    def first(self) -> ProjectState:
        """The state that keeps what has to be kept once."""
        return next(iter(self._states.values()))

    def begin(self, started_at: str) -> list[str]:
        """Note that a run begins; return when those began that no run has finished."""
        earlier = unfinished_runs(self.first.stream_state)
        self.first.stream_state[RUNS] = [*earlier, started_at][-MAX_RUNS:]
        return earlier

    def finish(self, started_at: str, project_ids: Iterable[str]) -> None:
        """Note that these projects have had their turn in the run that began then."""
        self.first.stream_state.pop(RUNS, None)
        self.first.mark_all_read(started_at, project_ids)

    def forget_names(self) -> None:
        """Remove what helps only the run after one that was cut off."""
        for state in self._states.values():
            state.stream_state.pop(WITHOUT_RECORDS, None)

    def has_records(self, name: str) -> None:
        """Note, before it is written, that a stream has its first record."""
        self._without_records.discard(name)
        self._write_names()

    # --- exports -------------------------------------------------------------

    def export(self, project_id: str) -> dict[str, Any]:
        """Return how far the export of a project has been read; {} if none has."""
        result: dict[str, Any] = self.first.partition(project_id).get(EXPORT, {})
        return result

    def start(self, project_id: str, export: dict[str, Any]) -> None:
        """Note which export is read for a project, to be kept up to date meanwhile."""
        for state in self._states.values():
            # One object for all, so that no stream can be ahead of another.
            state.writable(project_id)[EXPORT] = export

    def drop(self, project_id: str) -> None:
        """Note that a project's export has been read, or cannot be."""
        for state in self._states.values():
            if EXPORT in state.partition(project_id):
                del state.writable(project_id)[EXPORT]

    # --- what a target has kept ------------------------------------------------

    def _streams_named_by(self, name: str) -> set[str]:
        """Return the streams that had no records when a stream's bookmark was kept."""
        names = self._states[name].stream_state.get(WITHOUT_RECORDS)
        if not isinstance(names, list):
            return set()
        return {other for other in self._states if other in names} - {name}

    def _bookmarks(self, name: str) -> dict[str, str]:
        state = self._states[name]
        bookmarks = {p: state.bookmark(p, self._key) for p in state.project_ids}
        return {p: at for p, at in bookmarks.items() if isinstance(at, str)}

    def _marks(self, name: str) -> dict[str, str]:
        state = self._states[name]
        marks = {p: state.read_up_to(p) for p in state.project_ids}
        return {p: at for p, at in marks.items() if at}

    def _exported_projects(self) -> set[str]:
        return {
            project_id
            for state in self._states.values()
            for project_id in ("", *state.project_ids)
            if EXPORT in state.partition(project_id)
        }

    def _join_exports(
        self, project_id: str, names_by_stream: dict[str, set[str]]
    ) -> None:
        """Go back to where all streams have their records; drop what is unclear."""
        exports = {
            name: export
            for name, state in self._states.items()
            if (export := state.partition(project_id).get(EXPORT)) is not None
        }
        self.drop(project_id)
        if not all(map(_is_whole, exports.values())):
            return
        if len({export["task_id"] for export in exports.values()}) > 1:
            return
        lowest = min(exports.values(), key=lambda export: export["position"])
        vouched_for = set().union(*(names_by_stream[name] for name in exports))
        if self._states.keys() - exports.keys() - vouched_for:
            # One has none of its records yet: the same export, from its beginning.
            lowest = lowest | {"position": 0, "latest": "", LATEST_BY_PROJECT: {}}
        result = {name: lowest[name] for name in FIELDS} | {
            n: timestamps.normalize_or_empty(lowest[n]) for n in ("until", "latest")
        }
        if not project_id:
            latest = lowest.get(LATEST_BY_PROJECT, {})
            result[LATEST_BY_PROJECT] = {
                p: timestamps.normalize_or_empty(at) for p, at in latest.items()
            }
        self.start(project_id, result)

    def _lagging(self) -> set[str]:
        """Return the streams for which the bookmark of another says too much."""
        result: set[str] = set()
        for find in (self._bookmarks, self._marks):
            by_stream = {name: find(name) for name in self._states}
            newest: dict[str, str] = {}
            for by_project in by_stream.values():
                for project_id, timestamp in by_project.items():
                    newest[project_id] = max(newest.get(project_id, ""), timestamp)
            result |= {n for n, by_project in by_stream.items() if by_project != newest}
        return result

    def _write_names(self) -> None:
        names = sorted(self._without_records)
        for state in self._states.values():
            state.stream_state[WITHOUT_RECORDS] = names


def _is_whole(export: Any) -> bool:
    return (
        isinstance(export, dict)
        and all(
            isinstance(export.get(name), kind)
            and not isinstance(export.get(name), bool)
            for name, kind in FIELDS.items()
        )
        and export["position"] >= 0
        and isinstance(export.get(LATEST_BY_PROJECT, {}), dict)
        and timestamps.is_timestamp(export["until"])
    )
