"""Whatever a server answers, and what is made of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api import errors
from tap_labelbox.sandbox import Reply

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request, Sandbox, World
    from tests.runner import Runner


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.001)


def graphql(code: str | None = None, **exception: Any) -> dict[str, Any]:
    """Return a GraphQL error as Labelbox words it."""
    extensions = {"code": code} if code else {}
    extensions |= {"exception": exception} if exception else {}  # type: ignore[dict-item]
    return {"errors": [{"message": "no", "extensions": extensions}], "data": None}


def answer(body: Any) -> Reply:
    """Return a reply in JSON."""
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


@pytest.mark.parametrize(
    "failure", [graphql("INTERNAL_SERVER_ERROR"), {"data": None}, {}, []]
)
def test_a_project_at_which_labelbox_fails_does_not_stop_the_others(
    run: Runner, sandbox: Sandbox, world: World, failure: Any
) -> None:
    """It is named, and the exit code tells."""
    bad, *good = [project.id for project in world.projects]

    def fail(request: Request) -> Reply | None:
        expected = request.operation == "Labels"
        if expected and request.variables["project_id"] == bad:
            return answer(failure)
        return None

    sandbox.before = fail
    output = run("labels", projects_per_request=1)

    assert isinstance(output.error, errors.IncompleteError)
    assert bad in str(output.error)
    result = {record["project_id"] for record in output.records("labels")}
    assert result == {project_id for project_id in good if world.labels(project_id)}


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": None},
        {"created_at": "yesterday"},
        {"created_at": 5},
        {"id": None},
        {"id": [7]},
    ],
)
def test_a_label_without_id_or_timestamp_is_named(
    run: Runner, sandbox: Sandbox, world: World, change: dict[str, Any]
) -> None:
    """It leaves its project out, not the others, and never goes out itself."""
    bad = world.projects[0].id
    label = {"id": "c1", "created_at": "2026-01-01T00:00:00.000Z"} | change

    def fail(request: Request) -> Reply | None:
        expected = request.operation == "Labels"
        if expected and request.variables["project_id"] == bad:
            return answer({"data": {"project": {"labels": [label]}}})
        return None

    sandbox.before = fail
    output = run("labels", projects_per_request=1)

    assert isinstance(output.error, errors.IncompleteError)
    assert bad in str(output.error)
    others = sum(len(world.labels(p.id)) for p in world.projects[1:])
    assert len(output.records("labels")) == others


@pytest.mark.parametrize(
    "export",
    [
        None,
        {},
        {"should_poll": False, "download_url": "https://example.com"},
        {"should_poll": False, "download_url": "gs://bucket/file", "created_at": "x"},
        {
            "should_poll": False,
            "download_url": "gs://bucket/file",
            "created_at": "2026-01-01T00:00:00Z",
        },
    ],
)
def test_a_bulk_export_without_link_or_timestamp_leaves_its_project_out(
    run: Runner, sandbox: Sandbox, export: Any
) -> None:
    """The other streams go on."""
    sandbox.before = lambda r: (
        answer({"data": {"exportLabels": export}})
        if r.operation == "ExportLabels"
        else None
    )

    output = run("bulk_export", "labels", export_timeout=0.02)

    assert isinstance(output.error, errors.IncompleteError)
    assert output.records("labels")


def test_a_server_that_ignores_skip_is_given_up(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """The first page would come for ever."""
    page = [
        {"id": f"c{n}", "created_at": f"2026-01-01T00:00:00.{n:03}Z"} for n in range(10)
    ]
    sandbox.before = lambda r: (
        answer({"data": {"project": {"labels": page}}})
        if r.operation == "Labels"
        else None
    )

    output = run("labels", page_size=10, project_ids=[world.projects[0].id])

    assert isinstance(output.error, errors.IncompleteError)
    assert set(output.ids("labels")) == {label["id"] for label in page}


@pytest.mark.parametrize(
    "state",
    [
        {"bookmarks": {"labels": {"partitions": [{}]}}},
        {"bookmarks": {"labels": {"partitions": [{"context": None}]}}},
        {"bookmarks": {"labels": {"partitions": [{"context": {"id": "x"}}]}}},
    ],
)
def test_state_that_makes_no_sense_is_refused(run: Runner, state: Any) -> None:
    """In words."""
    output = run("labels", state=state)

    assert isinstance(output.error, errors.SettingsError)


@pytest.mark.parametrize("bookmark", [5, "yesterday", {}])
def test_a_bookmark_that_is_no_timestamp_is_refused(
    run: Runner, world: World, bookmark: Any
) -> None:
    """In words that name the project."""
    context = {"project_id": world.projects[0].id}
    partition = {
        "context": context,
        "replication_key": "created_at",
        "replication_key_value": bookmark,
    }

    output = run("labels", state={"bookmarks": {"labels": {"partitions": [partition]}}})

    assert isinstance(output.error, errors.SettingsError)
    assert context["project_id"] in str(output.error)
