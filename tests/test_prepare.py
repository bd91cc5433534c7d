"""Exports that are made before their turn, without Singer: started, or found."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.client import Client
from tap_labelbox.exports.prepare import ExportPreparer, Plan
from tap_labelbox.exports.tasks import OPTIONAL_PARAMS, inputs
from tap_labelbox.sandbox import Reply
from tap_labelbox.sandbox.replies import error

if TYPE_CHECKING:
    from tap_labelbox.exports.prepare import Prepared
    from tap_labelbox.sandbox import Request, Sandbox, World
    from tests.clock import Clock

RUN, EARLIER_RUN = (
    "2026-06-02T00:00:00.000000+00:00",
    "2026-06-01T00:00:00.000000+00:00",
)


class Preparer(ExportPreparer):
    """Prepares exports of the sandbox, and keeps what it says of them."""

    def __init__(self, sandbox: Sandbox, started_at: str = RUN) -> None:
        """Note and log into lists."""
        self.noted: list[Any] = []
        self.warnings: list[str] = []
        super().__init__(
            Client(
                sandbox.url,
                sandbox.api_key,
                timeout=5,
                retry_seconds=0,
                logger=logging.getLogger("tap-labelbox"),
            ),
            started_at=started_at,
            interval=0.01,
            timeout=30,
            note=self.noted.append,
            warn=lambda text, *args: self.warnings.append(text % args),
            inform=lambda text, *args: self.warnings.append(text % args),
        )


@pytest.fixture(name="plan")
def _plan(world: World) -> Plan:
    project_id = world.projects[0].id
    return Plan(project_id, needed(project_id, RUN), "w", {}, [])


def needed(project_id: str, until: str) -> list[dict[str, Any]]:
    """Return what is asked for where everything of a project is wanted."""
    include = dict.fromkeys(OPTIONAL_PARAMS, True)
    return inputs(project_id, {}, include, since=None, until=until)


def started(sandbox: Sandbox) -> int:
    """Count the exports that were started."""
    return sum(r.operation == "StartExport" for r in sandbox.requests)


def rows(prepared: Prepared) -> int:
    """Count the rows of an export from where it is read on."""
    start = prepared.progress["position"]
    return sum(len(part) for _, part in prepared.export.rows(start=start))


def test_an_export_is_started_and_noted(
    sandbox: Sandbox, world: World, plan: Plan
) -> None:
    """Its progress is noted as it is kept, before it is waited for."""
    preparer = Preparer(sandbox)

    (prepared,) = preparer.prepare(plan)

    task_id = prepared.export.task_id
    fields = {"task_id": task_id, "wanted": "w", "until": RUN, "position": 0}
    assert prepared.progress == fields | {"latest": ""}
    assert preparer.noted == [(plan.project_id, prepared.progress)]
    assert preparer.noted[0][1] is prepared.progress
    assert rows(prepared) == len(world.projects[0].data_rows)


def test_one_that_cannot_be_read_on_is_not_noted(sandbox: Sandbox, plan: Plan) -> None:
    """Nor is an earlier one taken, though it may look the same."""
    preparer = Preparer(sandbox)
    (first,) = preparer.prepare(plan)

    (second,) = preparer.prepare(plan._replace(fingerprint=None, saved=first.progress))

    assert second.export.task_id != first.export.task_id
    assert len(preparer.noted) == 1


def test_an_export_is_read_on(sandbox: Sandbox, plan: Plan) -> None:
    """As it was left, without another being started."""
    (first,) = Preparer(sandbox).prepare(plan)
    saved = first.progress | {"latest": "x"}

    (again,) = Preparer(sandbox, "later").prepare(plan._replace(saved=saved))

    assert again.progress == saved
    assert again.export.task_id == first.export.task_id
    assert started(sandbox) == 1


@pytest.mark.parametrize("change", [{"wanted": "other"}, {"task_id": "gone"}])
def test_an_export_of_something_else_is_not_read_on(
    sandbox: Sandbox, plan: Plan, change: dict[str, str]
) -> None:
    """Or one that Labelbox no longer has, which is logged."""
    preparer = Preparer(sandbox)
    (first,) = preparer.prepare(plan)

    (second,) = preparer.prepare(plan._replace(saved=first.progress | change))

    assert second.export.task_id != change.get("task_id")
    assert second.progress["wanted"] == "w"
    assert len(preparer.warnings) == ("task_id" in change)


def test_an_export_that_was_only_started_is_found(sandbox: Sandbox, plan: Plan) -> None:
    """By its name; what comes after that run began is not in it."""
    asked = needed(plan.project_id, EARLIER_RUN)
    (first,) = Preparer(sandbox, EARLIER_RUN).prepare(plan._replace(inputs=asked))

    later = Preparer(sandbox)
    (result,) = later.prepare(plan._replace(earlier=[(EARLIER_RUN, asked)]))

    assert result.export.task_id == first.export.task_id
    assert result.progress["until"] == EARLIER_RUN
    assert later.noted == []
    assert started(sandbox) == 1


def test_earlier_exports_are_asked_for_once(
    sandbox: Sandbox, world: World, plan: Plan
) -> None:
    """Also where Labelbox refuses to list them; then all are made anew."""
    asked = needed(plan.project_id, EARLIER_RUN)
    other = world.projects[1].id

    def before(request: Request) -> Reply | None:
        is_list = request.operation == "Tasks"
        return Reply(200, {}, error("no", "FORBIDDEN")) if is_list else None

    sandbox.before = before
    preparer = Preparer(sandbox)
    for project_id in (plan.project_id, other):
        planned = Plan(
            project_id, needed(project_id, RUN), "w", {}, [(EARLIER_RUN, asked)]
        )
        assert preparer.prepare(planned)

    assert sum(r.operation == "Tasks" for r in sandbox.requests) == 1
    assert len(preparer.warnings) == 1
    assert started(sandbox) == 2


def test_runs_that_find_no_room_do_not_return_together(
    sandbox: Sandbox, plan: Plan, clock: Clock
) -> None:
    """Each waits for its own times, and never asks more often than it was told."""
    left: list[int] = []

    def before(request: Request) -> Reply | None:
        if request.operation != "StartExport" or not left:
            return None
        left.pop()
        return Reply(200, {}, error("too many", "API_LIMIT"))

    sandbox.before = before
    waits = []
    for _ in range(2):
        left[:] = range(5)
        clock.waits.clear()
        Preparer(sandbox).prepare(plan)
        waits.append(clock.waits[:5])

    assert waits[0] != waits[1]
    assert all(0.005 <= seconds <= 0.01 for own in waits for seconds in own)
