"""The projects that are read, as the settings choose them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError, SettingsError
from tap_labelbox.base.project_filter import ProjectFilter
from tap_labelbox.sandbox import Reply, World
from tests.runner import PRIMARY_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

ROWS: list[dict[str, Any]] = [
    {
        "id": "p1",
        "name": "Street scenes 🚦",
        "allowed_media_type": "IMAGE",
        "_resource_tags": [{"text": "Vision"}, {"text": None}, None],
    },
    {"id": "p2", "name": "STRASSEN München", "allowed_media_type": None},
    {"id": "p3", "name": None, "allowed_media_type": "VIDEO", "_resource_tags": None},
    {"id": "p4", "name": "a[1] *", "allowed_media_type": "image", "_resource_tags": 5},
]


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ({}, "p1 p2 p3 p4"),
        ({"project_ids": ["p1", "p3"]}, "p1 p3"),
        ({"exclude_project_ids": ["p1", "gone"]}, "p2 p3 p4"),
        ({"project_names": ["street*"]}, "p1"),
        ({"project_names": ["straßen mu\u0308nchen"]}, "p2"),  # ü as two characters
        ({"project_names": ["street"]}, ""),
        ({"project_names": ["*"]}, "p1 p2 p3 p4"),
        ({"project_names": ["a[[]1] [*]", "nothing"]}, "p4"),
        ({"project_tags": ["vision", "x"]}, "p1"),
        ({"project_tags": ["vis*"]}, ""),
        ({"media_types": ["Image"]}, "p1 p4"),
        ({"media_types": ["IMAGE", "VIDEO"]}, "p1 p3 p4"),
        ({"media_types": ["IMAGE"], "project_names": ["a*"]}, "p4"),
        ({"media_types": ["IMAGE"], "exclude_project_ids": ["p1"]}, "p4"),
        ({"project_ids": ["p1"], "exclude_project_ids": ["p1"]}, ""),
    ],
)
def test_a_project_has_to_match_one_item_of_each_setting(
    settings: dict[str, Any], taken: str
) -> None:
    """In any case, and however a letter is encoded."""
    choice = ProjectFilter(settings)

    assert [row["id"] for row in ROWS if choice.takes(row)] == taken.split()


@pytest.fixture
def world() -> World:
    """Return a workspace of some projects, of which some have labels of this month."""
    world = World(seed=1, projects=6)
    for project in world.projects:
        world.add_label(project.id)
    return world


def projects_of(output: Output) -> dict[str, set[str]]:
    """Return which projects each stream has records of."""
    result: dict[str, set[str]] = {}
    for message in output.messages:
        if message["type"] == "RECORD":
            record, stream = message["record"], message["stream"]
            project = record["id"] if stream == "projects" else record.get("project_id")
            if project:
                result.setdefault(stream, set()).add(project)
    return result


CHOICES: dict[str, Callable[[World], dict[str, Any]]] = {
    "excluded": lambda world: {
        "exclude_project_ids": [p.id for p in world.projects[1:]]
    },
    "by name": lambda world: {
        "project_names": [world.projects[0].name.upper()[:-3] + "*"]
    },
    "by tag and type": lambda world: {
        "project_tags": [world.projects[2].resource_tags[0]["text"]],
        "media_types": world.projects[2].media,
    },
}


def test_all_streams_read_the_projects_that_are_chosen(run: Runner) -> None:
    """The list of projects and reports as well."""
    everything = projects_of(run(*PRIMARY_KEYS))

    for choice, settings in CHOICES.items():
        output = run(*PRIMARY_KEYS, **settings(run.world))

        assert output.error is None
        result = projects_of(output)
        chosen = result["projects"]
        assert 0 < len(chosen) < len(everything["projects"])
        # Events of groups are read as a whole; projects that are gone may be asked for.
        for name in everything.keys() - {"user_group_audit_events"}:
            there = result.get(name, set()) & everything["projects"]
            assert there == chosen & everything[name], (choice, name)
        assert len(result) > 5


def test_only_what_is_looked_at_is_asked_for(run: Runner) -> None:
    """Tags in the list of projects, and only if the setting is there."""
    texts = {}
    for name, value in (("project_names", "*"), ("project_tags", "nothing, *")):
        settings: dict[str, Any] = {name: value}
        run("labels", **settings)
        texts[name] = [
            str(request.query)
            for request in run.sandbox.requests
            if request.operation == "ChosenProjects"
        ]
        run.sandbox.requests.clear()

    assert texts["project_names"]
    assert all("resourceTags" not in text for text in texts["project_names"])
    assert len(texts["project_tags"]) == len(texts["project_names"])
    assert all("resourceTags" in text for text in texts["project_tags"])
    assert all("allowedMediaType" not in text for text in texts["project_tags"])


def test_the_log_says_which_projects_are_read(
    serving: Callable[..., Runner], caplog: pytest.LogCaptureFixture
) -> None:
    """The first ten at INFO, and each of them at DEBUG."""
    caplog.set_level("DEBUG")
    world = World(projects=15, labels_per_project=0)
    last = world.projects[-1].id

    serving(world)("projects", exclude_project_ids=[last, "gone"])

    (logged,) = [r for r in caplog.records if r.message.startswith("Projects to read")]
    assert logged.levelname == "INFO"
    names = [project.name for project in world.projects]
    assert logged.message == (
        "Projects to read: 14 of the 15 that the API key sees: "
        f"{', '.join(names[:10])} and 4 more"
    )
    debug = [r for r in caplog.records if r.message.startswith("To be read: ")]
    assert {r.levelname for r in debug} == {"DEBUG"}
    assert [r.message for r in debug] == [
        f"To be read: project {p.name} ({p.id})" for p in world.projects[:14]
    ]
    assert "exclude_project_ids: 1 that the API key does not see: gone" in (
        caplog.messages
    )


@pytest.mark.parametrize(
    ("settings", "logged"),
    [
        ({"project_names": "nothing*"}, "project_names match none of the 6 projects"),
        (
            {"project_tags": ["x"], "media_types": ["SOUND"]},
            "correct or remove them (their media types: CONVERSATIONAL, IMAGE, TEXT",
        ),
    ],
)
def test_a_choice_of_nothing_is_an_error(
    run: Runner, settings: dict[str, Any], logged: str
) -> None:
    """In one line, before anything is written; the exit code is that of a setting."""
    done = run.command(**settings)

    assert done.returncode == 78
    (line,) = [line for line in done.stderr.splitlines() if "match none" in line]
    assert logged in line
    assert not done.stdout


def test_projects_that_are_gone_are_missing_as_ever(run: Runner) -> None:
    """Beside other settings: what is there decides about these."""
    world = run.world
    project_id = world.projects[0].id
    more: dict[str, Any] = {"project_names": ["*"]}

    output = run("labels", project_ids=[project_id, "gone"], **more)
    empty = run("labels", project_ids=["gone"], **more)
    none = run("labels", project_ids=[project_id], project_names=["-"])

    assert isinstance(output.error, IncompleteError)
    assert output.records("labels")
    assert isinstance(empty.error, IncompleteError)
    assert isinstance(none.error, SettingsError)


def test_a_server_that_tells_no_tags_is_an_error(
    serving: Callable[..., Runner], world: World
) -> None:
    """Instead of no project or all of them."""
    run = serving(world, forget=["Project.resourceTags"])

    output = run("labels", project_tags=["x"])

    assert isinstance(output.error, SettingsError)
    assert "project_tags cannot be used" in str(output.error)
    assert run("labels", project_names=["*"]).error is None


STREAMS = ("labels", "data_row_exports", "export_labels", "label_versions")


def test_bookmarks_of_other_projects_stay(run: Runner) -> None:
    """Of a finished run and of one that was cut off; a wider choice goes on there."""
    world = run.world
    chosen, *others = world.projects
    starts = 0

    def cut_off(request: Request) -> Reply | None:
        nonlocal starts
        starts += request.operation == "Labels"
        return Reply(status=401) if starts > 3 else None

    first = run(*STREAMS)
    run.sandbox.before = cut_off
    cut = run("labels")
    run.sandbox.before = None
    for state in (first.state, cut.state):
        narrow = run(*STREAMS, state=state, project_names=[chosen.name])

        kept = json.loads(json.dumps(narrow.state))["bookmarks"]
        for stream, bookmark in state["bookmarks"].items():
            before, after = (
                {p["context"]["project_id"]: p for p in b.get("partitions", ())}
                for b in (bookmark, kept[stream])
            )
            for project in others:
                assert after.get(project.id) == before.get(project.id)

        fresh = world.add_label(others[0].id)
        wide = run("labels", state=narrow.state)
        assert fresh.id in wide.ids("labels")
        if state is first.state:
            assert len(wide.ids("labels")) < len(first.ids("labels")) / 2


def test_the_choice_is_refused_beside_files(run: Runner) -> None:
    """They are read whole."""
    done = run.command(export_files=["x.ndjson"], media_types="IMAGE, VIDEO")

    assert done.returncode == 78
    assert "media_types has no effect with export_files" in done.stderr
