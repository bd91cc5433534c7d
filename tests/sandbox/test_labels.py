"""The list of labels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import ANCHOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Label, Sandbox, World

PAGE = """query Page(
  $id: ID!, $where: LabelWhereInput, $skip: Int, $first: PageSize, $order: LabelOrderBy
) {
  project(where: {id: $id}) {
    labels(where: $where, skip: $skip, first: $first, orderBy: $order) {
      id
      createdAt
    }
  }
}"""


@pytest.fixture
def page(ask: Callable[..., Any], world: World) -> Callable[..., list[str]]:
    """Return what lists ids of labels of the first project."""

    def read(**variables: Any) -> list[str]:
        data = ask(PAGE, id=world.projects[0].id, **variables)
        return [label["id"] for label in data["project"]["labels"]]

    return read


def ids(labels: list[Label]) -> list[str]:
    """Return ids."""
    return [label.id for label in labels]


def text(timestamp: datetime) -> str:
    """Write a timestamp as the API does."""
    return f"{timestamp:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def test_pages_make_up_the_whole(page: Callable[..., list[str]], world: World) -> None:
    """Oldest first, and by id among equals, wherever a page ends."""
    seen = [
        label
        for skip in range(0, 250, 25)
        for label in page(skip=skip, first=25, order="createdAt_ASC")
    ]

    assert seen == ids(world.labels(world.projects[0].id))


def test_the_newest_come_first_by_default(
    page: Callable[..., list[str]], world: World
) -> None:
    """And a hundred of them."""
    assert page() == ids(world.projects[0].labels)[::-1][:100]
    assert page(order="createdAt_DESC") == page()


def test_bounds_are_not_included(page: Callable[..., list[str]], world: World) -> None:
    """Neither the lower nor the upper one."""
    labels = world.projects[0].labels
    low, high = labels[10].created_at, labels[30].created_at

    seen = page(
        where={"createdAt_gt": text(low), "createdAt_lt": text(high)},
        order="createdAt_ASC",
    )

    assert seen == [x.id for x in labels if low < x.created_at < high]


def test_a_day_is_its_first_timestamp(
    page: Callable[..., list[str]], world: World
) -> None:
    """In UTC."""
    day = datetime(2025, 3, 1, tzinfo=UTC)

    seen = page(where={"createdAt_lt": "2025-03-01"}, order="createdAt_ASC")

    assert seen == [x.id for x in world.projects[0].labels if x.created_at < day][:100]


def test_filters_can_be_combined(page: Callable[..., list[str]], world: World) -> None:
    """Labeler, type and dataset."""
    project = world.projects[0]
    label = project.labels[3]
    where = {
        "createdBy": {"id": label.created_by.id},
        "type": {"id": label.type["id"]},
        "dataRow": {"dataset": {"id_in": [project.dataset.id]}},
    }

    seen = page(where=where, order="createdAt_ASC")

    assert (
        seen
        == [
            x.id
            for x in project.labels
            if x.created_by is label.created_by and x.type is label.type
        ][:100]
    )


def test_agreement_is_compared(page: Callable[..., list[str]], world: World) -> None:
    """Labels without any are left out."""
    project = world.projects[0]
    near = world.add_label(project.id, agreement=0.4)
    world.add_label(project.id, agreement=0.6)
    world.add_label(project.id, agreement=None)

    assert page(where={"agreement_gt": 0, "agreement_lt": 0.5}) == [near.id]


def test_a_label_is_listed_late(page: Callable[..., list[str]], world: World) -> None:
    """Made now, seen some seconds later, in its place."""
    now = ANCHOR + timedelta(days=1)
    world.now = lambda: now
    label = world.add_label(world.projects[0].id, listed_after=5)

    assert label.id not in page()

    world.now = lambda: now + timedelta(seconds=5)
    assert page()[0] == label.id


def test_a_deletion_between_pages_moves_the_rest(
    page: Callable[..., list[str]], sandbox: Sandbox, world: World
) -> None:
    """Paging is no snapshot: the row after it is never seen."""
    labels = world.labels(world.projects[0].id)
    first = page(first=10, order="createdAt_ASC")

    sandbox.before = lambda _: world.delete_label(labels[0].id)
    second = page(first=10, skip=10, order="createdAt_ASC")

    assert first + second == ids(labels)[:10] + ids(labels)[11:21]


def test_timestamps_have_milliseconds(ask: Callable[..., Any], world: World) -> None:
    """Also when there are none."""
    whole = datetime(2025, 12, 31, tzinfo=UTC)
    world.add_label(world.projects[0].id, whole)

    data = ask(PAGE, id=world.projects[0].id, first=1)

    made = data["project"]["labels"][0]["createdAt"]
    assert made == "2025-12-31T00:00:00.000Z"


def test_an_edited_label_has_a_version_for_each_time(ask: Any, world: World) -> None:
    """The oldest first; each stays as it was, and can be asked for by its ID."""
    project = world.projects[0]
    label = next(x for x in project.labels if not x.is_skipped)
    reviewer = world.reviewers[0]
    before = label.label
    asked = "id action label createdById"
    text = f"""query One($id: ID!, $label: ID!) {{
        labelVersions(where: {{projectId: $id, labelId: $label}}) {{
            nodes {{ {asked} }}
        }}
    }}"""

    approved = label.created_at + timedelta(hours=1)
    world.edit_label(label.id, reviewer, approved, action="APPROVED", is_changed=False)
    world.edit_label(label.id, reviewer, approved + timedelta(hours=1))
    versions = ask(text, id=project.id, label=label.id)["labelVersions"]["nodes"]

    assert [version["action"] for version in versions] == [
        *("SUBMITTED", "APPROVED", "REWORK_SUBMITTED")
    ]
    assert [version["label"] for version in versions] == [before, before, label.label]
    assert before != label.label
    assert [v["createdById"] for v in versions][1:] == [reviewer.id] * 2
    for version in versions:
        field = f"labelVersion(where: {{id: $id}}) {{ {asked} }}"
        answer = ask(f"query One($id: ID!) {{ {field} }}", id=version["id"])
        assert answer["labelVersion"] == version
