"""The contents of a made-up workspace."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tap_labelbox.sandbox import ANCHOR, World


def shape(world: World) -> list[list[tuple[str, str]]]:
    """Return all that labels say, project by project."""
    return [[(x.id, x.label) for x in p.labels] for p in world.projects]


def test_the_same_seed_gives_the_same_world() -> None:
    """To the last character."""
    assert shape(World(seed=5)) == shape(World(seed=5))


def test_another_seed_gives_another_world() -> None:
    """No label is in both."""
    assert shape(World(seed=5)) != shape(World(seed=6))


def test_projects_differ_in_size() -> None:
    """One is empty, and one takes three pages."""
    counts = [len(project.labels) for project in World().projects]

    assert sum(counts) == 250
    assert counts[0] > 200
    assert counts[1] == 0


@pytest.mark.parametrize(
    ("projects", "labels"), [(0, 0), (1, 0), (1, 7), (2, 1), (9, 5)]
)
def test_all_labels_are_shared_out(projects: int, labels: int) -> None:
    """However few there are."""
    world = World(projects=projects, labels=labels)

    assert len(world.projects) == projects
    assert sum(len(p.labels) for p in world.projects) == labels


def test_projects_can_be_of_one_size() -> None:
    """Many small ones, for example."""
    world = World(projects=50, labels_per_project=20)

    assert {len(project.labels) for project in world.projects} == {20}


def calls(labels: int) -> int:
    """Count the functions that are called to make a world, C's included."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        World(projects=1, labels=labels)
    finally:
        sys.setprofile(None)
    return count


def test_a_large_world_is_made_in_proportion() -> None:
    """Twice the labels are about twice the work."""
    few, many = calls(1_000), calls(2_000)

    assert 1.5 * few < many < 2.5 * few


def test_labels_were_made_before_the_anchor() -> None:
    """Whatever the clock says today."""
    assert all(x.created_at < ANCHOR for p in World().projects for x in p.labels)


def test_pages_end_among_labels_of_one_timestamp() -> None:
    """The hundredth label and the one after it, for example."""
    timestamps = [label.created_at for label in World().projects[0].labels]

    assert timestamps[99] == timestamps[100]
    assert timestamps[199] == timestamps[200]
    assert all(timestamp.microsecond == 0 for timestamp in timestamps)
    assert len(timestamps) / 2 < len(set(timestamps)) < len(timestamps) * 0.8


def test_labels_may_have_milliseconds() -> None:
    """Then pages end among labels of one timestamp as well, but few are of one."""
    timestamps = [x.created_at for x in World(whole_seconds=False).projects[0].labels]

    assert any(timestamp.microsecond for timestamp in timestamps)
    assert timestamps[99] == timestamps[100]
    assert len(set(timestamps)) > 150


def test_every_shape_of_annotations_occurs() -> None:
    """Lists of frames, objects, classes with geometry, Skip and nothing at all."""
    texts = [x.label for p in World(projects=13, labels=900).projects for x in p.labels]

    for beginning in ('[{"frameNumber"', '{"objects"', "Skip", "{}"):
        assert any(text.startswith(beginning) for text in texts)
    for part in ("MULTIPOLYGON", '"geometry"', '"answers"', '"bbox"', '"location"'):
        assert any(part in text for text in texts)


def test_rows_hold_what_breaks_careless_readers() -> None:
    """Line separators, emoji, quotes and tabs; and some have no names at all."""
    names = [row.external_id for row in World().data_rows]

    assert None in names
    for malformed in ("\u2028", "📷", '"', "\t"):
        assert any(malformed in (name or "") for name in names)


def test_a_label_is_added_in_its_place() -> None:
    """Labels stay sorted by creation, and by id within a timestamp."""
    world = World()
    project = world.projects[0]
    timestamp = project.labels[50].created_at

    added = world.add_label(project.id, timestamp, text="{}", agreement=0.25)

    assert added in world.labels(project.id)
    assert added.label == "{}"
    order = [(label.created_at, label.id) for label in world.labels(project.id)]
    assert all(single < other for single, other in pairwise(order))


@pytest.mark.parametrize(("whole_seconds", "kept"), [(True, 0), (False, 123000)])
def test_a_label_is_made_now_by_default(*, whole_seconds: bool, kept: int) -> None:
    """To the second, as Labelbox keeps it, or to the millisecond."""
    world = World(whole_seconds=whole_seconds)
    world.now = lambda: datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

    label = world.add_label(world.projects[1].id)

    assert label.created_at == datetime(2026, 3, 1, 12, 0, 0, kept, tzinfo=UTC)


def test_adding_and_deleting_a_label_are_activity() -> None:
    """Of its data row and of its project."""
    world = World()
    label = world.projects[0].labels[0]
    later = ANCHOR + timedelta(days=3)
    world.now = lambda: later

    world.delete_label(label.id)

    assert world.label(label.id) is None
    assert label.data_row.last_activity_at == later
    assert label.project.last_activity_time == later


def test_a_project_can_be_added_and_deleted() -> None:
    """A deleted one is listed no more."""
    world = World()

    project = world.add_project("New", labels=3)
    assert project in world.projects

    world.delete_project(project.id)
    assert project not in world.projects
