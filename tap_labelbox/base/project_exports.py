"""The exports of projects: one for many of them, and one of each where that is better.

An export costs the same few requests whether a project has changed or not. So what is
new is asked for at once: a single export of the catalog, with the labels of all
projects, holds whatever happened in any of them since a timestamp. What is read for the
first time is exported project by project, as is all that Labelbox does not export
together. Only many small projects are read together the first time as well, where the
whole workspace is no more than a large project: an export of the catalog holds all data
rows of the workspace, those of no project too.

**Where the window begins.** A bookmark is the activity of a project's last row, which
may be years old. So beside it there is a mark, up to when the project has been read:
the time at which Labelbox's clock saw the export started, or that up to which the
export was asked for if this is earlier, less ``MARGIN``. The next export of many begins
with the earliest of all marks. Nothing can fall between two of them:

* An export holds what was in Labelbox's index when it was started, or later. The index
  is some seconds behind, and the activity of a row is noted up to a second early.
  ``MARGIN`` is far more than both. So all activity before a mark was in the export, and
  all after it is in the window of the next one; what lies within the margin is read
  twice. ``lookback_seconds`` only widens that window, so it may well be 0.
* This machine's clock is not in it. If it is ahead, the mark is Labelbox's time. If it
  is behind, the export was not asked for what is newer than that, and the mark is
  earlier still.
* An export that is read on, by a run after the one that had started it, still is that
  of its own start: the mark is of then. It is read on only if it was to hold the same
  projects, from the same marks on. Their marks move together, when all of it was read.
* Not even a mark moves for what nobody has seen. A project without a row in the export
  may have been quiet; or it is gone, or the key may not read it any more. Labelbox is
  asked which, after the export. If it is not quiet, the mark stays, and the project is
  exported alone from there, once it can be.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import LEFT_OUT, NotOfferedError, UnavailableError
from tap_labelbox.api.prefetch import Question
from tap_labelbox.base.windowed_exports import WindowedExports
from tap_labelbox.exports.prepare import Plan
from tap_labelbox.exports.tasks import (
    PROJECT_FILTERS,
    FailedExportError,
    fingerprint,
    inputs,
)
from tap_labelbox.exports.windows import MAX_WINDOW_ROWS
from tap_labelbox.records import timestamps
from tap_labelbox.singer.shared_state import LATEST_BY_PROJECT
from tap_labelbox.singer.state import FAILED_AT, READING_UNTIL, context_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context

    from tap_labelbox.api.errors import LabelboxError
    from tap_labelbox.base.exported import ExportedStream
    from tap_labelbox.exports.prepare import Prepared
    from tap_labelbox.exports.tasks import Export
    from tap_labelbox.records.malformed import Malformed

MARGIN = timedelta(minutes=5)
"""What an export may be behind the time at which it was started, and far more."""

MAX_LAG = timedelta(days=1)
"""How far behind the others a project may be, to be exported with them: all of them are
exported from there on."""

MIN_FIRST_LOADS = 20
"""Projects that are read for the first time together: fewer are not worth the export of
what is in others as well."""

PROJECT_SHARE = 0.2
"""Of the question whether a project is there, where a page of a list has 1."""

ALL = ""
"""What stands for the ID of a project where an export holds many."""


class ProjectExports(WindowedExports):
    """Reads what happened in many projects from one export, and others one by one."""

    def __init__(self, leader: ExportedStream, streams: list[ExportedStream]) -> None:
        """Do nothing yet."""
        super().__init__(leader, streams)
        self._together: dict[str, str] = {}
        """The projects of the export of many, and from when on each is read; "" for
        all of it."""
        self._turn = ALL  # the project that has it
        self._until = ""
        self._latest_by_project: dict[str, str] = {}
        self._seen: set[str] = set()
        """Projects of which it had a row."""
        self._refused: dict[str, LabelboxError] = {}
        """Why there may be none of others."""

    # --- which projects are exported together ------------------------------------

    def in_turn(self, parent_ids: Iterable[str]) -> list[str]:
        """Return projects in the order in which they are read.

        Those that are exported together have their turn when the last of them has.
        """
        project_ids = super().in_turn(parent_ids)
        self._together = self._chosen(project_ids)
        if not self._together:
            self.state.drop(ALL)  # what a run had begun that was to read more at once
        turn = self.state.first.turn
        last = max(map(turn, self._together), default="")

        def order(project_id: str) -> tuple[str, bool]:
            is_alone = project_id not in self._together
            return turn(project_id) if is_alone else last, is_alone

        return sorted(project_ids, key=order)

    def _chosen(self, project_ids: list[str]) -> dict[str, str]:
        """Return the projects to be exported together, and from when on each is read.

        With ``auto``, those that have been read, and not long before the others, and
        many that never have been; but none that could not be read to its end the last
        time, or whose bookmark is in the future.
        """
        config = self.leader.config
        scope = config["export_scope"]
        is_narrowed = not PROJECT_FILTERS.isdisjoint(config["export_filters"])
        if scope == "project" or is_narrowed or self.leader.is_test:
            return {}
        if scope == "workspace":
            return self._as_started({p: self._start(p) or "" for p in project_ids})
        now = self._workspace.started_at
        at_rest = [p for p in project_ids if self._is_at_rest(p, now)]
        read = {p: self._start(p) for p in at_rest if self._was_read(p)}
        starts = {p: start for p, start in read.items() if start and start <= now}
        if starts:
            earliest = timestamps.shift(max(starts.values()), -MAX_LAG)
            starts = {p: start for p, start in starts.items() if start >= earliest}
        starts |= self._first_loads([p for p in at_rest if p not in read])
        starts = self._as_started(starts)
        return starts if len(starts) > 1 else {}

    def _is_at_rest(self, project_id: str, now: str) -> bool:
        """Return whether no run has left a project half read, or read to the future."""
        partition = self.state.first.partition(project_id)
        return (
            {FAILED_AT, READING_UNTIL}.isdisjoint(partition)
            and not self.state.export(project_id)  # which is to be read on
            and not self._is_outdated({self.leader.parent_key: project_id}, now)
        )

    def _was_read(self, project_id: str) -> bool:
        """Return whether every stream has read a project."""
        return all(self._read_up_to(stream, project_id) for stream in self.streams)

    def _first_loads(self, project_ids: list[str]) -> dict[str, str]:
        """Return as :meth:`_chosen` projects that some stream has never read.

        They are many, or none; and one export holds whatever there is.
        """
        if len(project_ids) < MIN_FIRST_LOADS:
            return {}
        row_count = self._workspace.data_row_count
        if row_count is None or row_count > MAX_WINDOW_ROWS:
            return {}
        return {p: self._start(p) or "" for p in project_ids}

    def _as_started(self, starts: dict[str, str]) -> dict[str, str]:
        """Return less projects if an export of these can be read on."""
        if not (saved := self.state.export(ALL)):
            return starts
        last_end = self.state.first.last_end
        rest = {p: at for p, at in starts.items() if last_end(p) < saved["until"]}
        return rest if self._fingerprint_of(rest) == saved["wanted"] else starts

    def _start(self, project_id: str) -> str | None:
        """Return from when on some stream needs a project; None for all of it."""
        starts = []
        for stream in self.streams:
            start = stream.since({stream.parent_key: project_id})
            if read_up_to := self._read_up_to(stream, project_id):
                start = stream.looked_back(read_up_to)
            starts.append(start)
        if None in starts:
            return None
        return timestamps.truncate_to_second(min(filter(None, starts)))

    def _read_up_to(self, stream: ExportedStream, project_id: str) -> str | None:
        """Return up to when a stream has read a project; None if it never has.

        Where nobody has noted that, the last row was in the index: what is much older
        was there as well.
        """
        if not stream.is_incremental:
            return None
        bookmark = stream.bookmark({stream.parent_key: project_id})
        known = (
            stream.state_manager.read_up_to(project_id),
            timestamps.shift(bookmark, -MARGIN) if bookmark else None,
        )
        return max(filter(None, known), default=None)

    # --- what is to be exported ------------------------------------------------

    def _plans(self) -> Iterator[Plan]:
        """Yield what is to be exported: together, in the turn of the first of these."""
        is_planned = False
        for context in self.leader.partitions:
            if context_id(context) not in self._together:
                yield from self._plans_of(context)
            elif not is_planned:
                is_planned = True
                yield self._plan_together()

    def _plan_together(self) -> Plan:
        """Return the export of what has happened in many projects."""
        earlier, is_outdated = self._earlier, self._is_any_outdated
        saved = dict(self.state.export(ALL))
        if saved and is_outdated(saved["until"]):
            saved = {}
        needed = self._inputs_together(self._workspace.started_at)
        is_read_on = len(needed) == 1 and self._is_resumable
        last_end = max(map(self.state.first.last_end, self._together))
        return Plan(
            ALL,
            needed,
            self._fingerprint_of(self._together) if is_read_on else None,
            saved,
            [
                (run, self._inputs_together(run))
                for run in earlier
                if last_end < run and not is_outdated(run)
            ],
            title=f"What happened in {self._awaited(ALL)}",
        )

    def _inputs_together(self, until: str) -> list[dict[str, Any]]:
        config = self.leader.config
        return inputs(
            None,
            config["export_filters"],
            config["export_include"],
            since=min(self._together.values()) or None,
            until=until,
        )

    def _is_any_outdated(self, until: str) -> bool:
        key = self.leader.parent_key
        return any(self._is_outdated({key: p}, until) for p in self._together)

    def _fingerprint_of(self, starts: dict[str, str]) -> str:
        config = self.leader.config
        return fingerprint(
            {
                "starts": starts,
                "streams": sorted(stream.name for stream in self.streams),
                "filters": config["export_filters"],
                "include": config["export_include"],
            }
        )

    def _note(self, started: tuple[str, dict[str, Any]] | None) -> None:
        super()._note(started)
        if started and started[0] == ALL:  # the next run would start another one
            self.leader.write_state()

    def _source(self, parent_id: str) -> str:
        return super()._source(parent_id) if parent_id else self._awaited(ALL)

    def _awaited(self, parent_id: str) -> str:
        if parent_id:
            return super()._awaited(parent_id)
        return f"{len(self._together):,} projects"

    # --- reading ---------------------------------------------------------------

    def read(self, context: Context) -> None:
        """Read what happened in a project; with the first of many, in all of these.

        Raises:
            LabelboxError: If an export cannot be made, or not be read to its end; if
                the project can no longer be read.
        """
        self._turn = project_id = str(context_id(context))
        if project_id not in self._together or not self._is_read_together:
            super().read(context)
        elif project_id in self._refused:
            raise self._refused[project_id]

    @cached_property
    def _is_read_together(self) -> bool:
        """True if the export of many could be read; it is when this is first asked."""
        try:
            self._read_together()
        except LEFT_OUT as error:
            self.state.drop(ALL)
            self._workspace.progress.warn(
                "Projects are exported one by one, not %s at once: %s (if this "
                "persists, set export_scope to project)",
                self._awaited(ALL),
                error,
            )
            return False
        return True

    def _next(self, project_id: str) -> Future[list[Prepared]]:
        return next(
            self._one_by_one if project_id in self._together else self._prepared
        )

    @cached_property
    def _one_by_one(self) -> Iterator[Future[list[Prepared]]]:
        """The exports of those that were to be exported together."""
        return self._prepare(
            plan
            for context in self.leader.partitions
            if context_id(context) in self._together
            for plan in self._plans_of(context)
        )

    def _read_together(self) -> None:
        """Read the export of many, and move the bookmarks of all at once."""
        exports = self._take(next(self._prepared), self._awaited(ALL))
        self._until = min(progress["until"] for _, progress in exports)
        if len(exports) == 1:
            # A part of how far it has been read, so that the next run knows it.
            ((_, progress),) = exports
            self._latest_by_project = progress.setdefault(LATEST_BY_PROJECT, {})
        self._read_all(exports, ALL)
        self._seen |= self._latest_by_project.keys()
        self._refused = self._refusals(p for p in self._together if p not in self._seen)
        for project_id in self._together.keys() - self._refused.keys():
            latest = self._latest_by_project.get(project_id, "")
            self._advance({self.leader.parent_key: project_id}, latest, exports)
        self.state.drop(ALL)

    def _read(self, export: Export, progress: dict[str, Any], project_id: str) -> None:
        if not project_id and export.has_errors():
            msg = "Labelbox could not export some data rows of unknown projects"
            raise FailedExportError(msg)
        super()._read(export, progress, project_id)

    def _mark_progress(self, project_id: str) -> None:
        super()._mark_progress(project_id or self._turn)

    def _leave_out(self, row: Malformed, project_id: str, source: str) -> None:
        if not project_id:  # which project has to be exported again, nobody knows
            msg = f"{row.where} of its export cannot be read ({row.why})"
            raise FailedExportError(msg)
        super()._leave_out(row, project_id, source)

    def _read_for(self, row: Any) -> Iterator[str]:
        """Yield the projects whose turn it is of those that a data row is in."""
        if not (active_at := row.last_activity_at):
            msg = "Labelbox omits its last_activity_at"
            raise FailedExportError(msg)
        latest = self._latest_by_project
        for own_id in row.project_ids:
            if own_id in self._together:
                self._seen.add(own_id)
                if active_at >= self._together[own_id]:
                    yield own_id
                    if latest.get(own_id, "") < active_at <= self._until:
                        latest[own_id] = active_at

    def _advance(
        self, context: Context, latest: str, exports: Iterable[Prepared]
    ) -> None:
        super()._advance(context, latest, exports)
        if (project_id := context_id(context)) not in self._together:
            # There may be more windows of it: until its turn is over, it is half read.
            state = self.state.first.writable(project_id)
            state[READING_UNTIL] = self._workspace.started_at
        times: list[str | None] = []
        for export, progress in exports:
            times += (export.created_at, progress["until"])
        # Where rows do not say when they were active, only a bookmark that stays where
        # it is brings them again.
        if project_id in self._undated or None in times:
            return
        read_up_to = timestamps.shift(min(filter(None, times)), -MARGIN)
        for stream in self.streams:
            stream.mark_read_up_to(context, read_up_to)

    def _refusals(self, project_ids: Iterable[str]) -> dict[str, LabelboxError]:
        """Return which projects cannot be read, and why: many in a request."""
        to_ask = list(project_ids)
        answers = self.leader.together("project", weight=PROJECT_SHARE).answers(
            Question({"project_id": project_id}, _check) for project_id in to_ask
        )
        result: dict[str, LabelboxError] = {}
        failures = self._workspace.failures_in_a_row
        for project_id, answer in zip(to_ask, answers, strict=True):
            try:
                answer.result()
            except NotOfferedError:  # so nobody can say
                raise
            except LEFT_OUT as error:
                result[project_id] = error
                failures.count(error)
            else:
                failures.end()
        failures.end()
        return result


def _check(answer: Callable[[], Any]) -> None:
    """Raise an error if there is no such project."""
    if answer().get("project") is None:
        msg = "Labelbox has no such project"
        raise UnavailableError(msg)
