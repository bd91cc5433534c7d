"""Have exports made before their turn, or find those that an earlier run started.

A project needs one export, or several where a filter has many IDs. An export that an
earlier run was reading when it was cut off is read on from where it was; one that it
only started is found by its name.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from tap_labelbox.api.errors import (
    LimitError,
    NotOfferedError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.api.polling import poll
from tap_labelbox.exports.tasks import Export, export_name, started_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.api.client import Client

Input = dict[str, Any]
"""What an export is to hold, in the API's words."""


class Plan(NamedTuple):
    """The exports that a project needs, and what there may be of them."""

    project_id: str
    """Or that of a model run; empty for the catalog."""
    inputs: list[Input]
    """One for each export."""
    fingerprint: str | None
    """What an export has in common with one that is read on; None if none may be."""
    saved: dict[str, Any]
    """How far an earlier run has read an export; {} if none has."""
    earlier: list[tuple[str, list[Input]]]
    """When runs began that were cut off, and what they asked for; oldest first."""
    until: str = ""
    """Up to when activity is in the exports, if that is not when a run began."""
    title: str = ""
    """How a message begins that is about it; with "Project" by default."""

    @property
    def subject(self) -> str:
        """The beginning of messages about it."""
        return self.title or f"Project {self.project_id}"


class Prepared(NamedTuple):
    """An export that can be read."""

    export: Export
    progress: dict[str, Any]
    """How far it has been read, in the words of :data:`shared_state.FIELDS`."""


class ExportPreparer:
    """Starts exports, or finds them, and waits for them; on any number of threads.

    Args:
        client: Asks Labelbox.
        started_at: When the run began; its exports have no later activity.
        interval: Seconds between two questions about an export.
        timeout: Seconds to wait for room for an export, and again for its end.
        note: Takes a project and the progress of an export that was just started.
        warn: Logs a warning of a kind that can come any number of times.
        inform: Logs what is not worth a warning.
    """

    def __init__(
        self,
        client: Client,
        *,
        started_at: str,
        interval: float,
        timeout: float,
        note: Callable[[tuple[str, dict[str, Any]]], None],
        warn: Callable[..., None],
        inform: Callable[..., None],
    ) -> None:
        """Ask nothing yet."""
        self._client = client
        self._started_at = started_at
        self._interval, self._timeout = interval, timeout
        self._note, self._warn, self._inform = note, warn, inform
        self._asking = threading.Lock()
        self._together = True  # until Labelbox refuses what asks for all at once
        self._tasks: dict[str, str] | None = None  # of earlier runs, by name

    def prepare(self, plan: Plan) -> list[Prepared]:
        """Return a project's exports, when they can be read.

        If an earlier run was cut off while it read one or waited for it, and the same
        is asked for, that is read on from where it was; if Labelbox no longer has it,
        the project is exported anew.

        Raises:
            UnavailableError: If one fails, or takes too long.
        """
        earlier = plan.earlier
        if (
            plan.fingerprint is not None
            and plan.saved.get("wanted") == plan.fingerprint
        ):
            export = Export(self._client, plan.saved["task_id"])
            prepared = Prepared(export, plan.saved)
            if self._is_readable(plan, prepared):
                return [prepared]
            earlier = []
        exports: list[Prepared] = []
        for number, export_input in enumerate(plan.inputs):
            candidates = [(run, inputs[number]) for run, inputs in earlier]
            prepared = self._find(plan, candidates) or self._start(plan, export_input)
            exports.append(prepared)
        return exports

    def _find(self, plan: Plan, candidates: list[tuple[str, Input]]) -> Prepared | None:
        """Return what an earlier run has started, if it still can be read."""
        for run, export_input in reversed(candidates):
            name = export_name(export_input, run)
            if task_id := self._earlier_tasks().get(name):
                export = Export(self._client, task_id)
                prepared = Prepared(export, _progress(export, plan, run))
                if self._is_readable(plan, prepared):
                    return prepared
        return None

    def _is_readable(self, plan: Plan, prepared: Prepared) -> bool:
        """Wait for an export of an earlier run; return whether it can be read."""
        try:
            self._wait(prepared.export, prepared.progress["position"])
        except (UnavailableError, TransientError) as error:
            self._warn("%s is exported again: %s", plan.subject, error)
            return False
        return True

    def _earlier_tasks(self) -> dict[str, str]:
        """Return the tasks that earlier runs have started, by name; asks once."""
        with self._asking:
            if self._tasks is None:
                try:
                    self._tasks = started_tasks(self._client)
                except (UnavailableError, NotOfferedError, TransientError) as error:
                    self._inform("Exports of earlier runs are unknown: %s", error)
                    self._tasks = {}
            return self._tasks

    def _start(self, plan: Plan, export_input: Input) -> Prepared:
        """Start an export as soon as Labelbox has room for it, and wait for it."""
        name = export_name(export_input, self._started_at)
        refusal = ""
        waiting = "%s waits until Labelbox has room for its export: %s"

        def start() -> Export | None:
            nonlocal refusal
            try:
                return Export.start(self._client, export_input, name)
            except LimitError as error:  # others are running
                is_first, refusal = not refusal, str(error)
                if is_first:
                    self._warn(waiting, plan.subject, error)
                return None

        export = poll(
            start,
            # Runs that were refused together are not to return together.
            pause=lambda most: self._client.sleep(random.uniform(most / 2, most)),
            interval=self._interval,
            timeout=self._timeout,
            progress_message=lambda: waiting % (plan.subject, refusal),
            timeout_message=(
                f"Labelbox had no room for its export in {self._timeout:g} s: raise "
                "export_timeout"
            ),
        )
        prepared = Prepared(export, _progress(export, plan, self._started_at))
        if plan.fingerprint is not None:
            self._note((plan.project_id, prepared.progress))
        self._wait(export)
        return prepared

    def _wait(self, export: Export, start: int = 0) -> None:
        export.wait(interval=self._interval, timeout=self._timeout)
        is_together = export.open(start, together=self._together)
        self._together = self._together and is_together


def _progress(export: Export, plan: Plan, until: str) -> dict[str, Any]:
    """Return the progress of an export, by the run of this time, that was not read."""
    return {
        "task_id": export.task_id,
        "wanted": plan.fingerprint,
        "until": plan.until or until,
        "position": 0,
        "latest": "",
    }
