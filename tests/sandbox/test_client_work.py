"""The tap reads the work in projects as the official client does."""

from __future__ import annotations

import json
import logging
import warnings
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World, serve
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from tests.runner import Record

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types
    from labelbox.schema.issue_position import (  # type: ignore[import-untyped]  # the same
        _deserialize_position,
    )
    from labelbox.schema.project import (  # type: ignore[import-untyped]  # the same
        ProjectOverview,
    )
    from labelbox.schema.review import (  # type: ignore[import-untyped]  # the same
        Review,
    )

UNREAD = {
    "issues": {"position"},
    "label_imports": {"created_by_id"},
    "mal_prediction_imports": {"created_by_id"},
}
"""Columns that the client has in a form of its own, or not at all."""

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    """Serve a project of every media type, with an empty one among them."""
    world = World(projects=13, labels=900)
    with serve(world) as sandbox:
        yield Runner(sandbox, world)


@pytest.fixture(scope="module")
def client(run: Runner) -> Any:
    """Return Labelbox's own client."""
    logging.getLogger("labelbox").setLevel(logging.ERROR)
    sandbox = run.sandbox
    return labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )


@pytest.fixture(scope="module")
def projects(run: Runner, client: Any) -> list[Any]:
    """Return the client's projects, in the order in which the tap reads them."""
    return [client.get_project(project.id) for project in run.world.projects]


def text(timestamp: datetime | None) -> str | None:
    """Return a timestamp as records have it; the client's may lack the zone."""
    if timestamp is None:
        return None
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    written = timestamp.astimezone(UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


def uid(item: Any) -> str | None:
    """Return the ID of an object of the client, if there is one."""
    return item.uid if item else None


def member(project: Any, row: Any) -> Record:
    """Return a member as a record."""
    return {
        "id": row.uid,
        "project_id": project.uid,
        "user_id": row.user().uid,
        "user_email": row.user().email,
        "role_id": row.role().uid,
        "role_name": row.role().name,
        "access_from": row.access_from,
    }


def batch(project: Any, row: Any) -> Record:
    """Return a batch as a record."""
    settings = row.consensus_settings_json  # its own name for them is of no use
    return {
        "id": row.uid,
        "project_id": project.uid,
        "name": row.name,
        "size": row.size,
        "consensus_settings": settings and json.loads(settings),
        "created_by_id": uid(row.user()),
        "created_at": text(row.created_at),
        "updated_at": text(row.updated_at),
    }


def workflow(project: Any, row: Any) -> Record:
    """Return a workflow as a record."""
    return {
        "project_id": project.uid,
        "config": row.config,
        "created_at": text(row.created_at),
        "updated_at": text(row.updated_at),
    }


def benchmark(project: Any, row: Any) -> Record:
    """Return a benchmark as a record."""
    return {
        "id": row.uid,
        "project_id": project.uid,
        "reference_label_id": row.reference_label().uid,
        "created_by_id": row.created_by().uid,
        "average_agreement": row.average_agreement,
        "completed_count": row.completed_count,
        "last_activity": text(row.last_activity),
        "created_at": text(row.created_at),
    }


def performance(project: Any, row: Any) -> Record:
    """Return a labeler's totals as a record."""
    return {
        "project_id": project.uid,
        "user_id": row.user.uid,
        "user_email": row.user.email,
        "count": row.count,
        "seconds_per_label": row.seconds_per_label,
        "total_time_labeling": row.total_time_labeling,
        "consensus": row.consensus,
        "average_benchmark_agreement": row.average_benchmark_agreement,
        "last_activity_time": text(row.last_activity_time),
    }


def override(project: Any, row: Any) -> Record:
    """Return a place in the queue as a record."""
    return {
        "id": row.uid,
        "project_id": project.uid,
        "data_row_id": row.data_row().uid,
        "priority": row.priority,
        "number_of_labels": row.number_of_labels,
    }


def issue(project: Any, row: Any) -> Record:
    """Return an issue as a record, but for its position."""
    return {
        "id": row.id,
        "project_id": project.uid,
        "friendly_id": row.friendly_id,
        "label_id": row.label_id,
        "data_row_id": row.data_row_id,
        "category_id": row.category_id,
        "content": row.content,
        "status": row.status.value,
        "created_by_id": uid(row.created_by),
        "resolved_by_id": uid(row.resolved_by),
        "created_at": text(row.created_at),
        "updated_at": text(row.updated_at),
        "resolved_at": text(row.resolved_at),
        "content_updated_at": text(row.content_updated_at),
        "latest_reply_at": text(row.latest_reply_at),
    }


def category(project: Any, row: Any) -> Record:
    """Return a category of issues as a record."""
    return {
        "id": row.id,
        "project_id": project.uid,
        "name": row.name,
        "description": row.description,
    }


def upload(project: Any, row: Any) -> Record:
    """Return an import as a record; whose it is, the client cannot ask."""
    return {
        "id": row.uid,
        "project_id": project.uid,
        "name": row.name,
        "state": row.state.value,
        "progress": row.progress,
    }


def workflows(project: Any) -> list[Any]:
    """Return a project's workflow; for one that has none, the client raises."""
    try:
        return [project.get_workflow()]
    except ValueError:
        return []


@pytest.mark.parametrize(
    ("stream", "read", "record"),
    [
        ("project_members", lambda project: project.members(), member),
        ("batches", lambda project: project.batches(), batch),
        ("workflows", workflows, workflow),
        ("benchmarks", lambda project: project.benchmarks(), benchmark),
        ("labeler_performance", lambda p: p.labeler_performance(), performance),
        (
            "labeling_parameter_overrides",
            lambda project: project.labeling_parameter_overrides(),
            override,
        ),
        ("issues", lambda project: project.get_issues(), issue),
        ("issue_categories", lambda project: project.get_issue_categories(), category),
        ("label_imports", lambda project: project.get_label_imports(), upload),
        ("mal_prediction_imports", lambda p: p.get_mal_prediction_imports(), upload),
    ],
)
def test_it_is_what_the_client_reads(
    run: Runner,
    projects: list[Any],
    stream: str,
    read: Callable[[Any], Any],
    record: Callable[[Any, Any], Record],
) -> None:
    """Project by project, row by row, column by column."""
    theirs = [record(project, row) for project in projects for row in read(project)]

    output = run(stream)

    assert output.error is None
    assert theirs
    ours = output.records(stream)
    left = {"additional_columns"} | UNREAD.get(stream, set())
    assert all(row.keys() - left == theirs[0].keys() for row in ours)
    assert [{k: v for k, v in row.items() if k not in left} for row in ours] == theirs


def test_positions_are_those_of_the_client(run: Runner, projects: list[Any]) -> None:
    """It makes objects of them, and none of a shape that it does not know."""
    ours = {row["id"]: row["position"] for row in run("issues").records("issues")}
    theirs = {
        issue.id: issue.position
        for project in projects
        for issue in project.get_issues()
    }

    assert {i: _deserialize_position(place) for i, place in ours.items()} == theirs
    assert {type(place) for place in ours.values()} == {dict, type(None)}
    assert len({type(place) for place in theirs.values()}) > 3


def test_comments_are_those_of_the_client(run: Runner, projects: list[Any]) -> None:
    """The client asks for the comments of each issue."""
    ours = [
        tuple(row.values())[:-1]
        for row in run("issue_comments").records("issue_comments")
    ]

    assert ours
    assert ours == [
        (
            comment.id,
            issue.id,
            project.uid,
            comment.content,
            uid(comment.created_by),
            text(comment.created_at),
            text(comment.updated_at),
        )
        for project in projects
        for issue in project.get_issues()
        for comment in issue.comments()
    ]


def test_reviews_are_those_of_the_client(run: Runner, projects: list[Any]) -> None:
    """The client asks label by label, and for the reviewer review by review."""
    ours = {
        (row["label_id"], row["id"], row["score"], row["created_at"], row["updated_at"])
        for row in run("reviews").records("reviews")
        if row["project_id"] == projects[4].uid
    }

    assert ours
    assert ours == {
        (
            label.uid,
            review.uid,
            review.score,
            text(review.created_at),
            text(review.updated_at),
        )
        for label in projects[4].labels()
        for review in label.reviews()
    }


def test_model_configs_are_those_of_the_client(
    run: Runner, projects: list[Any]
) -> None:
    """It knows their IDs."""
    ours = [
        (row["project_id"], row["id"], row["model_config_id"])
        for row in run("project_model_configs").records("project_model_configs")
    ]

    assert ours
    assert ours == [
        (project.uid, row.uid, row.model_config_id)
        for project in projects
        for row in project.project_model_configs()
    ]


def test_review_metrics_are_those_of_the_client(
    run: Runner, projects: list[Any]
) -> None:
    """It asks for one score after the other."""
    ours = {
        (row["project_id"], row["net_score"]): row["count"]
        for row in run("review_metrics").records("review_metrics")
    }

    assert ours == {
        (project.uid, score.name if score else "None"): project.review_metrics(score)
        for project in projects
        for score in (None, *Review.NetScore)
    }


def test_the_overview_is_that_of_the_client(run: Runner, projects: list[Any]) -> None:
    """With what it leaves out."""
    ours = run("project_overview").records("project_overview")
    names = ProjectOverview.model_fields

    assert [{name: row[name] for name in names} for row in ours] == [
        project.get_overview().model_dump() for project in projects
    ]
    assert [row["project_id"] for row in ours] == [project.uid for project in projects]
    assert {row["not_in_task_queue"] for row in ours} == {0}


def test_the_dashboard_is_that_of_the_client(run: Runner, client: Any) -> None:
    """It takes a status that it does not know for none, and 0 tasks for no number."""
    ours = run("labeling_service_dashboard").records("labeling_service_dashboard")
    theirs = [*client.get_labeling_service_dashboards()]

    assert [row["project_id"] for row in ours] == [row.id for row in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert our["name"] == their.name
        assert our["status"] in {their.status.value, "ON_HOLD"}
        assert our["created_by_id"] == their.created_by_id
        assert our["created_at"] == text(their.created_at)
        assert our["updated_at"] == text(their.updated_at)
        assert our["data_rows_count"] == their.data_rows_count
        assert our["tasks_completed_count"] == their.tasks_completed_count
        assert our["tasks_remaining_count"] == (their.tasks_remaining_count or 0)
        assert our["editor_task_type"] == (
            their.editor_task_type and their.editor_task_type.value
        )
        assert [tag["id"] for tag in our["tags"] or ()] == [
            tag.id for tag in their.tags or ()
        ]
