"""The bulk export, and files behind signed links."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tap_labelbox.sandbox import ANCHOR, World
from tap_labelbox.sandbox.bulk import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Sandbox

EXPORT = """mutation Export($id: ID!) {
  exportLabels(data: {projectId: $id}) { downloadUrl createdAt shouldPoll }
}"""


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """Serve exports that are ready at once."""
    return start(polls=0, link_seconds=60)


@pytest.fixture
def export(ask: Callable[..., Any], world: World) -> Callable[..., dict[str, Any]]:
    """Return what asks for the export of a project, the first by default."""
    return lambda number=0: ask(EXPORT, id=world.projects[number].id)["exportLabels"]


def test_an_export_takes_its_time(
    sandbox: Sandbox, export: Callable[..., dict[str, Any]]
) -> None:
    """As often as the knob says there is no link yet."""
    sandbox.polls = 2

    waiting = {"downloadUrl": None, "createdAt": None, "shouldPoll": True}
    assert [export(), export()] == [waiting, waiting]
    ready = export()
    assert ready["shouldPoll"] is False
    assert ready["downloadUrl"]
    assert ready["createdAt"]


def test_a_file_is_made_every_thirty_minutes(
    export: Callable[..., dict[str, Any]], world: World
) -> None:
    """Until then it is the same file with the same date, whatever happens."""
    world.now = lambda: ANCHOR
    first = export()
    world.add_label(world.projects[0].id)

    world.now = lambda: ANCHOR + timedelta(minutes=29, seconds=59)
    assert export() == first

    world.now = lambda: ANCHOR + timedelta(minutes=30)
    second = export()
    assert second["createdAt"] == "2026-01-01T00:30:00.000Z"
    assert second["downloadUrl"] != first["downloadUrl"]


def test_a_file_holds_the_labels_listed_by_then(
    export: Callable[..., dict[str, Any]], world: World
) -> None:
    """Not one that lists do not hold yet either."""
    world.add_label(world.projects[0].id, listed_after=3600)

    rows = requests.get(export()["downloadUrl"], timeout=10).json()

    assert [row["ID"] for row in rows] == [
        label.id for label in world.labels(world.projects[0].id)[:-1]
    ]


def test_an_empty_project_gives_an_empty_list(
    export: Callable[..., dict[str, Any]],
) -> None:
    """Still it is JSON."""
    assert requests.get(export(1)["downloadUrl"], timeout=10).content == b"[]"


def test_every_column_there_ever_was_occurs() -> None:
    """In one project or another, with the types of its time."""
    world = World(projects=13, labels=900)
    records = [record(x, ANCHOR) for p in world.projects for x in p.labels]

    assert {column for record in records for column in record} == {
        "ID",
        "DataRow ID",
        "Labeled Data",
        "Label",
        "Masks",
        "Created By",
        "Project Name",
        "Created At",
        "Updated At",
        "Seconds to Label",
        "Seconds to Review",
        "Seconds to Create",
        "External ID",
        "Global Key",
        "Agreement",
        "Benchmark Agreement",
        "Benchmark ID",
        "Benchmark Reference ID",
        "Dataset Name",
        "Reviews",
        "View Label",
        "Has Open Issues",
        "Skipped",
        "DataRow Metadata",
        "Media Attributes",
        "Data Split",
        "media_type",
    }
    assert {type(record["Seconds to Label"]) for record in records} == {str, float}
    assert {type(record["Label"]) for record in records} == {str, dict, list}


def test_it_may_be_retired(
    start: Callable[..., Sandbox], post: Callable[..., requests.Response]
) -> None:
    """Then the API does not know it."""
    reply = post(start(exports_v1="retired"), EXPORT, id="any")

    assert reply.status_code == 400
    (error,) = reply.json()["errors"]
    assert error["message"] == 'Cannot query field "exportLabels" on type "Mutation".'
    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


def test_it_may_be_forbidden(
    start: Callable[..., Sandbox], post: Callable[..., requests.Response], world: World
) -> None:
    """Then the plan does not include it."""
    reply = post(start(exports_v1="forbidden"), EXPORT, id=world.projects[0].id)

    (error,) = reply.json()["errors"]
    assert error["extensions"]["code"] == "OPERATION_NOT_ALLOWED"


def test_a_link_needs_no_key(export: Callable[..., dict[str, Any]]) -> None:
    """And comes with its length, unpacked."""
    reply = requests.get(export()["downloadUrl"], timeout=10)

    assert reply.status_code == 200
    assert int(reply.headers["Content-Length"]) == len(reply.content)


def test_a_key_on_a_link_is_refused(
    sandbox: Sandbox, export: Callable[..., dict[str, Any]]
) -> None:
    """Strangers should not get it."""
    reply = requests.get(
        export()["downloadUrl"],
        headers={"Authorization": f"Bearer {sandbox.api_key}"},
        timeout=10,
    )

    assert reply.status_code == 400
    assert sandbox.requests[-1].headers["authorization"]


def test_a_link_expires(export: Callable[..., dict[str, Any]], world: World) -> None:
    """After the seconds of the knob."""
    world.now = lambda: ANCHOR
    url = export()["downloadUrl"]

    world.now = lambda: ANCHOR + timedelta(seconds=59)
    assert requests.get(url, timeout=10).status_code == 200

    world.now = lambda: ANCHOR + timedelta(seconds=60)
    assert requests.get(url, timeout=10).status_code == 403


def test_a_forged_link_is_refused(export: Callable[..., dict[str, Any]]) -> None:
    """One that would live longer, for example."""
    url = export()["downloadUrl"].replace("Expires=", "Expires=9")

    assert requests.get(url, timeout=10).status_code == 403


def test_a_range_can_be_read(export: Callable[..., dict[str, Any]]) -> None:
    """To go on where a download broke off."""
    url = export()["downloadUrl"]
    whole = requests.get(url, timeout=10).content

    part = requests.get(url, headers={"Range": "bytes=100-"}, timeout=10)

    assert part.status_code == 206
    assert part.content == whole[100:]
    assert part.headers["Content-Range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"


def test_a_range_beyond_the_end_is_refused(
    export: Callable[..., dict[str, Any]],
) -> None:
    """There is nothing to go on with."""
    headers = {"Range": "bytes=99999999-"}

    assert (
        requests.get(export()["downloadUrl"], headers=headers, timeout=10).status_code
        == 416
    )
