"""The official client, which knows nothing of this project, reads the sandbox."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Sandbox

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types
    from labelbox.schema.user_group import (  # type: ignore[import-untyped]  # the same
        UserGroup,
    )
    from lbox import exceptions  # type: ignore[import-untyped]  # the same

pytestmark = pytest.mark.filterwarnings("ignore")

EVERYTHING = {
    "attachments": True,
    "metadata_fields": True,
    "embeddings": True,
    "data_row_details": True,
    "project_details": True,
    "label_details": True,
    "performance_details": True,
    "interpolated_frames": True,
}


@pytest.fixture
def world() -> World:
    """Return a workspace with a project of every media type."""
    return World(projects=13, labels=500)


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """Serve it with exports that need no waiting, in many parts."""
    return start(polls=0, part_size=20_000, cut_parts=True)


@pytest.fixture
def client(sandbox: Sandbox) -> Any:
    """Return the client, given nothing but addresses and key."""
    logging.getLogger("labelbox").setLevel(logging.ERROR)
    return labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )


@pytest.fixture
def project(client: Any, world: World) -> Any:
    """Return the largest project."""
    return client.get_project(world.projects[0].id)


def rows(exported: Any) -> list[dict[str, Any]]:
    """Wait for an export and read it."""
    exported.wait_till_done()
    if not exported.has_result():
        return []
    return [row.json for row in exported.get_buffered_stream()]


def test_it_lists_the_projects(client: Any, world: World) -> None:
    """All but the forbidden and the deleted one, newest first, with their fields."""
    newest_first = world.projects[::-1]
    seen = [
        (p.uid, p.name, p.created_at, p.media_type.value) for p in client.get_projects()
    ]

    assert seen[-2:] == [
        (p.id, p.name, p.created_at, p.media) for p in newest_first[-2:]
    ]
    assert [uid for uid, *_ in seen] == [p.id for p in newest_first]


def test_it_reads_the_labels_of_a_project(project: Any, world: World) -> None:
    """Page by page, each with its fields."""
    seen = {
        label.uid: (
            label.label,
            label.created_at,
            label.updated_at,
            label.seconds_to_label,
            label.agreement,
            label.is_benchmark_reference,
        )
        for label in project.labels()
    }

    assert seen == {
        label.id: (
            label.label,
            label.created_at,
            label.updated_at,
            label.seconds_to_label,
            label.agreement,
            label.is_benchmark_reference,
        )
        for label in world.labels(project.uid)
    }


def test_it_reads_what_a_label_is_related_to(project: Any, world: World) -> None:
    """Data row, creator and reviews are those of the world."""
    for label, _ in zip(project.labels(), range(8), strict=False):
        made = world.label(label.uid)

        assert made is not None
        data_row = label.data_row()
        assert data_row.uid == made.data_row.id
        assert data_row.row_data == made.data_row.row_data
        assert data_row.external_id == made.data_row.external_id
        assert data_row.global_key == made.data_row.global_key
        assert label.created_by().email == made.created_by.email
        reviews = [(review.uid, review.score) for review in label.reviews()]
        assert reviews == [(r["id"], r["score"]) for r in made.reviews]


def test_it_lists_datasets_and_their_data_rows(client: Any, world: World) -> None:
    """Newest first, over several pages of a cursor."""
    datasets = list(client.get_datasets())

    assert [d.uid for d in datasets] == [d.id for d in world.datasets]
    seen = [row.uid for row in datasets[0].data_rows()]
    assert seen == [row.id for row in reversed(world.datasets[0].data_rows)]


def test_it_lists_the_users(client: Any, world: World) -> None:
    """By both ways."""
    expected = {(user.id, user.email) for user in world.users}

    assert {(u.uid, u.email) for u in client.get_users()} == expected
    assert {(u.uid, u.email) for u in client.get_organization().users()} == expected


def test_it_lists_ontologies(client: Any, world: World) -> None:
    """Tools and questions can be parsed, too."""
    ontologies = list(client.get_ontologies(""))

    assert [o.uid for o in ontologies] == [o["id"] for o in world.ontologies]
    for ontology, made in zip(ontologies, world.ontologies, strict=True):
        tools = [tool.name for tool in ontology.tools()]
        assert tools == [tool["name"] for tool in made["normalized"]["tools"]]
        questions = [single.instructions for single in ontology.classifications()]
        logged = made["normalized"]["classifications"]
        assert questions == [single["instructions"] for single in logged]


def test_it_reads_what_is_behind_the_experimental_address(
    project: Any, world: World
) -> None:
    """Batches, task queues, overview and issues are asked for at /_gql."""
    made = world.projects[0]
    overview = project.get_overview()

    assert [b.uid for b in project.batches()] == [b["id"] for b in made.batches]
    assert sum(batch.size for batch in project.batches()) == len(made.data_rows)
    assert [q.uid for q in project.task_queues()] == [q["id"] for q in made.task_queues]
    assert overview.total_data_rows == len(made.data_rows)
    assert overview.done == made.completed_data_row_count
    assert overview.issues == len(made.issues)
    assert [i.id for i in project.get_issues()] == [i["id"] for i in made.issues]


@pytest.mark.parametrize(
    "read",
    [
        lambda client: client.get_data_row_metadata_ontology().fields,
        lambda client: client.get_models(),
        lambda client: client.get_roles(),
        lambda client: client.get_catalog_slices(),
        lambda client: client.get_embeddings(),
        lambda client: client.get_organization().get_resource_tags(),
        lambda client: client.get_organization().get_iam_integrations(),
        lambda client: client.get_organization().webhooks(),
        lambda client: UserGroup(client).get_user_groups(client),
    ],
    ids=[
        "metadata",
        "models",
        "roles",
        "slices",
        "embeddings",
        "tags",
        "integrations",
        "webhooks",
        "groups",
    ],
)
def test_it_reads_the_rest(client: Any, read: Callable[[Any], Any]) -> None:
    """Lists that need no more than to be there."""
    assert list(read(client))


@pytest.mark.parametrize("read", ["members", "labeler_performance", "label_versions"])
def test_it_reads_the_rest_of_a_project(project: Any, read: str) -> None:
    """Lists that need no more than to be there."""
    assert list(getattr(project, read)())


@pytest.mark.parametrize("number", range(13))
def test_it_exports_every_media_type(client: Any, world: World, number: int) -> None:
    """Each data row once, with its labels, over parts cut anywhere."""
    made = world.projects[number]

    exported = rows(client.get_project(made.id).export(params=EVERYTHING))

    assert {
        row["data_row"]["id"]: {x["id"] for x in row["projects"][made.id]["labels"]}
        for row in exported
    } == {row.id: {label.id for label in row.labels} for row in made.data_rows}
    assert len(exported) == len(made.data_rows)


def test_it_exports_a_dataset(client: Any, world: World) -> None:
    """By way of the catalog."""
    made = world.datasets[0]

    exported = rows(client.get_dataset(made.id).export(params=EVERYTHING))

    assert {r["data_row"]["id"] for r in exported} == {r.id for r in made.data_rows}


Exported = dict[tuple[str, str], set[str]]


def labels_by_row(exported: list[dict[str, Any]]) -> Exported:
    """Return the labels of each data row in each project that an export names."""
    return {
        (row["data_row"]["id"], project_id): {x["id"] for x in project["labels"]}
        for row in exported
        for project_id, project in row["projects"].items()
    }


def test_it_exports_the_catalog(client: Any, sandbox: Sandbox, world: World) -> None:
    """With the labels of all projects, of some, or of none; and all rows each time.

    What it has of all of them is what the tap makes of one export for all.
    """
    read = [project for project in world.projects if not project.forbidden]
    world.add_to_project(read[0].data_rows[0], read[1].id)
    chosen = [project.id for project in read[:2]]
    catalog = client.get_catalog()

    def export(**params: Any) -> list[dict[str, Any]]:
        return rows(catalog.export(params=params))

    whole, some, none = export(all_projects=True), export(project_ids=chosen), export()

    every = {row.id for row in world.catalog}
    assert [{r["data_row"]["id"] for r in x} for x in (whole, some, none)] == [
        every
    ] * 3
    labels = labels_by_row(whole)
    assert labels_by_row(some) == {
        key: ids for key, ids in labels.items() if key[1] in chosen
    }
    assert labels_by_row(none) == {}
    output = Runner(sandbox, world)(
        *("data_row_exports", "export_labels"), export_scope="workspace"
    )
    ours: Exported = {
        (record["data_row_id"], record["project_id"]): set()
        for record in output.records("data_row_exports")
    }
    for record in output.records("export_labels"):
        ours[record["data_row_id"], record["project_id"]].add(record["label_id"])
    assert ours == labels


def test_it_takes_thirty_projects_at_most(client: Any) -> None:
    """For more, the sandbox refuses what Labelbox's client does not send."""
    with pytest.raises(ValueError, match="30"):
        client.get_catalog().export(params={"project_ids": ["ckx"] * 31})


def test_its_filters_are_parsed(project: Any, world: World) -> None:
    """A span of time and a step of the workflow at once."""
    made = [
        row.id
        for row in world.projects[0].data_rows
        if row.status == "DONE" and f"{row.last_activity_at:%Y-%m-%d}" >= "2025-03-01"
    ]
    filters = {
        "last_activity_at": ["2025-03-01", None],
        "workflow_status": "Done",
    }

    exported = rows(project.export(filters=filters))

    assert made
    assert sorted(r["data_row"]["id"] for r in exported) == sorted(made)


def test_another_key_is_refused(sandbox: Sandbox) -> None:
    """With the error that the client knows."""
    client = labelbox.Client(api_key="another", endpoint=sandbox.url)

    with pytest.raises(exceptions.AuthenticationError):
        list(client.get_projects())


def test_an_unknown_id_is_not_found(client: Any) -> None:
    """With the error that the client knows."""
    with pytest.raises(exceptions.ResourceNotFoundError):
        client.get_project("c" * 25)


def test_the_forbidden_project_is_refused(client: Any, world: World) -> None:
    """With the error that the client knows."""
    with pytest.raises(exceptions.AuthorizationError):
        client.get_project(world.forbidden_project.id)


def test_lists_of_lists_of_lists_of_lists_are_refused(client: Any) -> None:
    """With the error that the client knows."""
    with pytest.raises(exceptions.ValidationFailedError):
        client.execute("{ projects { datasets { dataRows { labels { id } } } } }")
