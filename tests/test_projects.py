"""The list of projects, in whichever order it comes, and while it moves."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request

ORDERS = ("createdAt_DESC", "createdAt_ASC", "name_ASC")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_a_list_that_moves_is_complete(
    serving: Any, order: str, width: int, seed: int
) -> None:
    """Projects are made and deleted between pages; all others are read, once."""
    chance = random.Random(seed)
    world = World(projects=40, labels_per_project=1)
    run = serving(world, projects_order=order)
    stay = {project.id for project in world.projects}
    pages = 0

    def happen(request: Request) -> None:
        nonlocal pages
        if request.operation not in {"Projects", "ProjectIds"}:
            return
        pages += 1
        if pages % 3 and pages < 40:
            if chance.random() < 0.7:
                gone = chance.choice(world.projects).id
                world.delete_project(gone)
                stay.discard(gone)
            if chance.random() < 0.7:
                world.add_project(f"New {pages}", labels=1)

    run.sandbox.before = happen
    output = run("projects", "labels", page_size=6, concurrency=width)
    run.sandbox.before = None

    assert stay <= set(output.ids("projects"))
    assert len(output.ids("projects")) == len(set(output.ids("projects")))
    assert stay <= {record["project_id"] for record in output.records("labels")}
    assert pages > 6


def test_the_list_is_asked_for_once(run: Any) -> None:
    """Whoever else needs the projects takes them from the stream that has read them."""
    output = run("projects", "labels", "task_queues")

    asked = [request.operation for request in run.sandbox.requests]
    assert (asked.count("Projects"), asked.count("ProjectIds")) == (1, 0)
    project_ids = {record["project_id"] for record in output.records("labels")}
    assert project_ids <= set(output.ids("projects"))
    assert project_ids


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_cannot_be_relied_on(serving: Any, order: str) -> None:
    """The API may not know it, may ignore it or obey it; it is not asked for."""
    world = World(projects=9, labels_per_project=1)
    every = [project.id for project in world.projects]
    for options in (
        {"forget": ["Query.projects.orderBy"]},
        {"forget": ["ProjectOrderBy.createdAt_ASC"]},
        {"ignore": ["Query.projects.orderBy"]},
        {},
    ):
        run = serving(world, projects_order=order, **options)
        output = run("projects", "labels", page_size=4)

        assert output.error is None
        assert sorted(output.ids("projects")) == sorted(every)
        # The projects that others go through: oldest first in any case.
        read = [record["project_id"] for record in output.records("labels")]
        assert read == every
        assert not [r for r in run.sandbox.requests if "projects(orderBy" in r.query]


def test_what_moves_last_activity_time_is_not_promised() -> None:
    """Labelbox sets it where nothing has been labeled as well."""
    world = World(projects=3, labels=0)

    assert all(project.last_activity_time for project in world.projects)
