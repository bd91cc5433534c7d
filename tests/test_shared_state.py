"""State that streams of a pass share, and the part that a target may have lost."""

from __future__ import annotations

from typing import Any

import pytest

from tap_labelbox.singer.shared_state import SharedState
from tap_labelbox.singer.state import ProjectState

KEY = "last_activity_at"
NAMES = ("rows", "annotations", "errors")
OLD, NEW = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"


def export(position: int, **other: Any) -> dict[str, Any]:
    """Return what is kept of an export."""
    fields = {"task_id": "t1", "wanted": "w", "until": NEW}
    return fields | {"position": position, "latest": OLD} | other


def bookmark(
    value: str | None = None,
    read: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the bookmark of a stream that has read one project."""
    partition: dict[str, Any] = {"context": {"project_id": "p"}}
    if value:
        partition |= {"replication_key": KEY, "replication_key_value": value}
    if read is not None:
        partition["export"] = read
    return {"partitions": [partition], "without_records": list(without)}


def states(**bookmarks: dict[str, Any]) -> dict[str, ProjectState]:
    """Return the states of all streams, as a run finds them."""
    state = {"bookmarks": bookmarks}
    return {
        name: ProjectState(stream_name=name, tap_name="tap", tap_state=state)
        for name in NAMES
    }


def test_a_run_resumes_at_the_lowest_position() -> None:
    """All streams have their records up to there."""
    result = states(
        rows=bookmark(read=export(300)),
        annotations=bookmark(read=export(200, latest="")),
        errors=bookmark(read=export(300)),
    )

    shared = SharedState(result, KEY)

    assert shared.export("p") == export(200, latest="")
    for state in result.values():
        assert state.partition("p")["export"] is shared.export("p")


def test_two_tasks_are_not_read_on() -> None:
    """One stream has rows of the one that another has not."""
    result = states(
        rows=bookmark(read=export(300)),
        annotations=bookmark(read=export(200, task_id="t2")),
        errors=bookmark(read=export(300)),
    )

    shared = SharedState(result, KEY)

    assert shared.export("p") == {}
    assert all("export" not in state.partition("p") for state in result.values())


def test_a_stream_without_records_holds_nobody_back() -> None:
    """A target never keeps its bookmark."""
    result = states(
        rows=bookmark(read=export(300), without=("errors",)),
        annotations=bookmark(read=export(200), without=("errors",)),
    )

    assert SharedState(result, KEY).export("p")["position"] == 200


def test_a_stream_that_nobody_names_has_nothing() -> None:
    """Its records were lost: the same export is read from its beginning."""
    result = states(
        rows=bookmark(read=export(300), without=("annotations",)),
        annotations=bookmark(),
    )

    assert SharedState(result, KEY).export("p") == export(0, latest="")


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"position": 5},
        export(-1),
        export(5) | {"position": "5"},
        export(5) | {"position": True},
        export(5) | {"task_id": None},
        export(5) | {"latest": 3},
        export(5) | {"until": "yesterday"},
        [],
        "x",
    ],
)
def test_what_cannot_be_an_export_is_dropped(broken: Any) -> None:
    """Then the project is exported anew."""
    shared = SharedState(states(rows=bookmark(read=broken)), KEY)

    assert shared.export("p") == {}


def test_a_stream_without_records_has_read_what_the_others_have() -> None:
    """As their bookmarks name it."""
    result = states(
        rows=bookmark(NEW, without=("errors",)),
        annotations=bookmark(OLD),
        errors=bookmark(OLD),
    )

    SharedState(result, KEY)

    assert result["errors"].bookmark("p", KEY) == NEW
    assert result["annotations"].bookmark("p", KEY) == OLD


def test_nobody_vouches_with_a_bookmark_that_another_has_moved() -> None:
    """A stream names others as of its own bookmark, not as of a later one."""
    result = states(
        rows=bookmark(NEW, without=("errors",)),
        errors=bookmark(OLD, without=("annotations",)),
        annotations=bookmark(),
    )

    SharedState(result, KEY)

    assert result["errors"].bookmark("p", KEY) == NEW
    assert result["annotations"].bookmark("p", KEY) == OLD


def test_a_stream_that_lags_behind_is_not_named() -> None:
    """Between the bookmarks it may well have records."""
    result = states(rows=bookmark(NEW), annotations=bookmark(OLD), errors=bookmark(NEW))

    SharedState(result, KEY)

    for state in result.values():
        assert state.stream_state["without_records"] == ["errors", "rows"]


def test_a_stream_is_named_until_its_first_record() -> None:
    """And no longer when the run is over."""
    result = states()
    shared = SharedState(result, KEY)

    shared.has_records("rows")
    by_name = [list(s.stream_state["without_records"]) for s in result.values()]
    shared.forget_names()

    assert by_name == [["annotations", "errors"]] * 3
    assert all("without_records" not in s.stream_state for s in result.values())


def test_runs_are_remembered_until_one_is_finished() -> None:
    """Their exports can be found by name."""
    result = states()
    shared = SharedState(result, KEY)

    days = [f"2026-01-0{day}T00:00:00.000Z" for day in range(1, 8)]
    runs = [shared.begin(day) for day in days]
    shared.finish(days[-1], ())

    assert runs[0] == []
    assert runs[2] == days[:2]
    assert runs[6] == days[1:6]
    assert shared.begin(NEW) == []


@pytest.mark.parametrize("malformed", [3, "x", [None, "soon"], {}])
def test_runs_that_are_none_are_no_error(malformed: Any) -> None:
    """A state may have been edited."""
    shared = SharedState(states(rows={"unfinished_runs": malformed}), KEY)

    assert shared.begin(NEW) == []


OTHER = "2026-01-02T01:00:00+01:00"  # NEW, as others write it


def test_bookmarks_of_two_forms_are_compared_as_timestamps() -> None:
    """As text, the one would lag behind the other."""
    result = states(
        rows=bookmark(OTHER, without=("errors",)),
        annotations=bookmark(NEW),
        errors=bookmark(OLD),
    )

    SharedState(result, KEY)

    for state in result.values():
        assert state.bookmark("p", KEY) == NEW
        assert state.stream_state["without_records"] == [
            "annotations",
            "errors",
            "rows",
        ]


def test_an_export_is_read_on_with_timestamps_of_one_form() -> None:
    """They are compared with those of its rows."""
    read = export(5, until=OTHER, latest="2026-01-01 00:00:00")
    result = states(rows=bookmark(read=read, without=("annotations", "errors")))

    assert SharedState(result, KEY).export("p") == export(5)


def test_runs_of_any_form_are_those_whose_exports_are_named() -> None:
    """The name of an export follows from the text of the timestamp."""
    shared = SharedState(states(rows={"unfinished_runs": [OTHER]}), KEY)

    assert shared.begin("2026-01-03T00:00:00.000Z") == [NEW]
