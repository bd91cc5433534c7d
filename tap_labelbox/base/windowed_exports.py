"""Exports of projects, split by time as :mod:`tap_labelbox.exports.windows` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_labelbox.api.errors import LEFT_OUT
from tap_labelbox.base.export_group import ExportGroup
from tap_labelbox.exports.tasks import FailedExportError
from tap_labelbox.exports.windows import Window, halves, windows
from tap_labelbox.singer.state import context_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context

    from tap_labelbox.base.exported import ExportedStream
    from tap_labelbox.exports.prepare import Plan, Prepared

MAX_VAIN_HALVINGS = 3


class WindowedExports(ExportGroup):
    """Reads each project from one export, or from one for each window of time."""

    def __init__(self, leader: ExportedStream, streams: list[ExportedStream]) -> None:
        """Do nothing yet."""
        super().__init__(leader, streams)
        self._windows: dict[str, list[Window]] = {}
        """Those of each project whose exports have been planned."""
        self._planned: dict[str, int] = {}
        """How many exports have been, by project."""
        self._abandoned: set[str] = set()
        """Projects of which no more exports are wanted."""
        self._vain_halvings = 0
        """Projects that have failed down to a day, since the last half that was
        read: where it is not the size that Labelbox fails at, halves cost each project
        a dozen exports, and bring nothing."""

    # --- what is to be exported ------------------------------------------------

    def _plans_of(self, context: Context) -> Iterator[Plan]:
        """Yield what is to be exported of a project, oldest first."""
        project_id = str(context_id(context))
        plan = self._plan(context)
        self._windows[project_id] = split = self._split(context, plan)
        for number, window in enumerate(split):
            if project_id in self._abandoned:
                return
            self._planned[project_id] = number + 1
            if len(split) == 1:
                yield plan
            elif number == 0:
                yield self._plan_within(context, plan, window)
            else:
                # Only the one that is read is noted; others are found by their names.
                later = plan._replace(saved={}, fingerprint=None)
                yield self._plan_within(context, later, window)

    def _split(self, context: Context, plan: Plan) -> list[Window]:
        """Return the windows of a project; just one where it is not split."""
        project_id = str(context_id(context))
        until = self._workspace.started_at
        whole = Window(self._since(context), until)
        if not (self._is_splitting and self._is_resumable):
            return [whole]
        made_at = self._workspace.made_at(project_id)
        row_count = self._workspace.row_count(project_id)
        if plan.fingerprint is None or plan.saved.get("wanted") != plan.fingerprint:
            return windows(whole, made_at, row_count)
        # A window that an earlier run was cut off in, and those after it. If it went
        # up to that run's start, what is new since is left to the next one.
        reached = plan.saved["until"]
        if reached in self._earlier:
            return [whole]
        rest = windows(Window(reached, until), made_at, row_count)
        return [Window(whole.since, reached), *rest]

    @property
    def _is_splitting(self) -> bool:
        is_wanted = self.leader.config["export_windows"] == "auto"
        return is_wanted and not self.leader.is_test

    def _plan_within(self, context: Context, plan: Plan, window: Window) -> Plan:
        """Return the plan of a window of a project, by that of the whole project.

        The last window ends when the run began, whichever that is.
        """
        is_last = window.until == self._workspace.started_at
        return plan._replace(
            inputs=self._inputs_within(context, *window),
            earlier=[
                (run, self._inputs_within(context, window.since, end))
                for run, _ in plan.earlier
                if (end := run if is_last else window.until) > (window.since or "")
            ],
            until="" if is_last else window.until,
        )

    # --- reading ---------------------------------------------------------------

    def read(self, context: Context) -> None:
        """Read the data rows of a project that were active since the bookmarks.

        The bookmarks move after each window.
        """
        project_id = str(context_id(context))
        outcome, taken = self._next(project_id), 1
        split = self._windows[project_id]
        what = self._awaited(project_id)
        try:
            self._read_window(context, split[0], outcome, what)
            for number, window in enumerate(split[1:], 2):
                outcome, taken = self._next(project_id), number
                name = f"{what}, {number} of {len(split)}"
                self._read_window(context, window, outcome, name)
        except LEFT_OUT:
            self._abandoned.add(project_id)
            for _ in range(self._planned[project_id] - taken):
                self._next(project_id)
            raise

    def _read_window(
        self,
        context: Context,
        window: Window,
        outcome: Future[list[Prepared]],
        what: str,
    ) -> None:
        """Read a window of a project; its halves, where Labelbox fails at the whole."""
        project_id = str(context_id(context))
        try:
            exports = self._take(outcome, what)
        except FailedExportError as error:
            parts = halves(window, self._workspace.made_at(project_id))
            is_halving = self._is_splitting and self._vain_halvings < MAX_VAIN_HALVINGS
            self._vain_halvings += is_halving and not parts
            if not (is_halving and parts):
                raise
            self._workspace.progress.warn(
                "%s is exported in halves, up to %s and from then on: %s",
                self._subject(project_id),
                parts[0].until,
                error,
            )
            self._read_halves(context, parts, what)
            return
        if self._is_resumable and len(exports) == 1:
            # As the bookmarks are by now: who reads on must have the same.
            exports[0].progress["wanted"] = self._fingerprint(context)
        self._read_exports(context, exports)
        for stream in self.streams:
            stream.forget_since(context)

    def _read_halves(self, context: Context, parts: list[Window], what: str) -> None:
        plan = self._plan(context)._replace(saved={}, fingerprint=None)
        plans = (self._plan_within(context, plan, half) for half in parts)
        for half, outcome in zip(parts, self._prepare(plans), strict=True):
            self._read_window(context, half, outcome, what)
            self._vain_halvings = 0
