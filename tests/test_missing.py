"""Projects that are gone, as on_missing says: a failure, or a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.sandbox import Reply

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request, World
    from tests.runner import Runner

STREAMS = ("labels", "annotations", "bulk_export")
WARN: dict[str, Any] = {"on_missing": "warn"}


def gone(world: World) -> dict[str, str]:
    """Return projects that nobody, or not this key, may see."""
    return {
        "deleted": world.deleted_project.id,
        "unknown": "cunknown",
        "not for this key": world.forbidden_project.id,
    }


@pytest.mark.parametrize("kind", ["deleted", "unknown", "not for this key"])
def test_a_project_that_is_not_listed(
    run: Runner, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The others are read."""
    good, bad = run.world.projects[0].id, gone(run.world)[kind]
    settings: dict[str, Any] = {"project_ids": [good, bad]}

    failing = run(*STREAMS, **settings)
    caplog.clear()
    warned = run(*STREAMS, **settings | WARN)

    assert isinstance(failing.error, IncompleteError)
    assert warned.error is None
    assert warned.records("labels") == failing.records("labels")
    (logged,) = [r for r in caplog.records if bad in r.getMessage()]
    assert logged.levelname == "WARNING"
    assert "take it out of project_ids or give the key access" in logged.getMessage()


@pytest.mark.parametrize(
    "at", ["Labels", "StartExport", "ExportStatus", "ExportLabels"]
)
def test_a_project_that_is_deleted_while_it_is_read(
    run: Runner, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    """At each first question about it."""
    victim = run.world.projects[-1].id

    def delete(request: Request) -> None:
        if request.operation == at:
            run.world.delete_project(victim)

    run.sandbox.before = delete

    output = run(*STREAMS, **WARN)

    assert output.error is None
    assert f"project {victim} is left out" in caplog.text
    assert not [r for r in caplog.records if r.levelname == "ERROR"]
    assert {r["project_id"] for r in output.records("labels")} >= {
        p.id for p in run.world.projects if run.world.labels(p.id)
    }


def test_a_project_that_is_deleted_is_a_failure_by_default(run: Runner) -> None:
    """And nobody is asked whether it is gone."""
    victim = run.world.projects[-1].id
    run.sandbox.before = lambda _: run.world.delete_project(victim)

    output = run("labels", project_ids=[victim])

    assert isinstance(output.error, IncompleteError)
    assert "Project" not in [r.operation for r in run.sandbox.requests]


def refusal(code: str) -> Reply:
    """Return an error of GraphQL."""
    return Reply(200, {}, {"errors": [{"message": "no", "extensions": {"code": code}}]})


@pytest.mark.parametrize("asked", ["still there", "forbidden", "down"])
@pytest.mark.parametrize(
    "code", ["RESOURCE_NOT_FOUND", "FORBIDDEN", "MALFORMED_REQUEST"]
)
def test_a_project_that_is_there_and_fails_is_a_failure(
    run: Runner, code: str, asked: str
) -> None:
    """Something else of it was not found: a batch in a filter, for example."""
    replies = {"forbidden": refusal("FORBIDDEN"), "down": Reply(503)}

    def fail(request: Request) -> Reply | None:
        if request.operation == "Project":
            return replies.get(asked)
        return refusal(code) if request.operation == "Labels" else None

    run.sandbox.before = fail

    output = run("labels", retry_seconds=0, **WARN)

    assert isinstance(output.error, IncompleteError)


def test_what_fails_in_passing_is_a_failure(run: Runner) -> None:
    """However it is set."""
    victim = run.world.projects[-1].id

    def fail(request: Request) -> Reply | None:
        return Reply(503) if victim in str(request.variables) else None

    run.sandbox.before = fail

    assert isinstance(run("labels", **WARN).error, IncompleteError)


def test_a_table_with_a_gap_deletes_nothing(run: Runner) -> None:
    """A key may have lost its rights for a night."""
    good = run.world.projects[0].id
    settings: dict[str, Any] = {"project_ids": [good, "cunknown"]}

    output = run("projects", emit_activate_version_messages=True, **settings | WARN)

    assert output.error is None
    assert "ACTIVATE_VERSION" not in {m["type"] for m in output.messages}
