"""State: one bookmark a project, at a cost that does not explode."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tap_labelbox.sandbox import Reply, World
from tap_labelbox.state import ProjectState

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request
    from tests.runner import Runner


def test_the_last_message_is_a_state(run: Runner) -> None:
    """Some targets keep a STATE only if nothing comes after it."""
    first = run()
    second = run(state=first.state)
    third = run("projects", state=first.state)

    for output in (first, second, third):
        assert output.messages[-1]["type"] == "STATE"
    assert third.state == first.state


def test_no_state_repeats_the_message_before(run: Runner) -> None:
    """Once is enough."""
    messages = run().messages

    for one, other in pairwise(messages):
        assert one != other


def test_state_stays_small_beside_the_records(serving: Any) -> None:
    """A STATE names every project, so it is rarer the more there are."""
    output = serving(World(projects=300, labels_per_project=10))("labels")

    lines = output.text.splitlines(keepends=True)
    states = [line for line in lines if line.startswith('{"type":"STATE"')]
    assert len(output.records("labels")) == 3000
    assert len(states) > 10
    assert sum(map(len, states)) < len(output.text) / 5
    assert len(output.state["bookmarks"]["labels"]["partitions"]) == 300


def test_a_failed_run_says_how_far_it_came(run: Runner, world: World) -> None:
    """What has been read need not be read again."""
    project_id = world.projects[0].id

    def refuse(request: Request) -> Reply | None:
        if request.operation == "Labels" and request.variables["skip"] > 0:
            error = {"message": "x", "extensions": {"code": "AUTHENTICATION_ERROR"}}
            return Reply(401, {}, json.dumps({"errors": [error]}).encode())
        return None

    run.sandbox.before = refuse
    output = run("labels", page_size=20)
    run.sandbox.before = None
    rest = run("labels", state=output.state)

    first = output.ids("labels")
    assert output.error is not None
    assert len(first) == 20
    assert {x.id for x in world.labels(project_id)} <= {*first, *rest.ids("labels")}
    assert len(rest.ids("labels")) < sum(
        len(world.labels(p.id)) for p in world.projects
    )


def test_a_bookmark_never_goes_back() -> None:
    """A label that was read again is older than the bookmark."""
    state = ProjectState(stream_name="labels", tap_name="tap-labelbox", tap_state={})
    state.advance("p1", "created_at", "2026-01-02T00:00:00.000Z")
    state.advance("p1", "created_at", "2026-01-01T00:00:00.000Z")

    assert state.bookmark("p1", "created_at") == "2026-01-02T00:00:00.000Z"


def test_projects_that_are_gone_leave_the_state(run: Runner, world: World) -> None:
    """Else it would grow for ever; those that are only not asked for stay."""
    first = run("labels", "annotations")
    gone, kept = world.projects[0].id, world.projects[2].id
    world.delete_project(gone)

    second = run("labels", state=first.state, project_ids=[world.projects[0].id])

    def projects(stream: str) -> set[str]:
        partitions = second.state["bookmarks"][stream]["partitions"]
        return {partition["context"]["project_id"] for partition in partitions}

    for stream in ("labels", "annotations"):
        assert gone not in projects(stream)
        assert kept in projects(stream)


def test_an_empty_list_of_projects_keeps_the_state(run: Runner, world: World) -> None:
    """A key that sees none may see them again tomorrow."""
    first = run("labels")
    for project in list(world.projects):
        world.delete_project(project.id)

    second = run("labels", state=first.state)

    assert second.state == first.state


def test_a_bookmark_in_the_future_is_told(
    run: Runner, world: World, caplog: Any
) -> None:
    """And what to do about it."""
    project_id = world.projects[0].id
    partition = {
        "context": {"project_id": project_id},
        "replication_key": "created_at",
        "replication_key_value": "2199-01-01T00:00:00.000Z",
    }

    run("labels", state={"bookmarks": {"labels": {"partitions": [partition]}}})

    (told,) = {m for m in caplog.messages if "lies in the future" in m}
    assert project_id in told
    assert "check this machine's clock" in told
    assert "run once without state" in told
