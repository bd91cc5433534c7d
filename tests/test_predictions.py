"""Predictions of models: an annotation a record; a run is read when it was changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.base.export_group import MAX_EXPORTS_IN_FLIGHT
from tap_labelbox.exports.model_runs import (
    MODEL_RUN_PREDICTIONS,
    in_model_runs,
    prediction_records,
)
from tap_labelbox.exports.rows import DataRow
from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.models import experiments, groups, model_runs
from tap_labelbox.sandbox.replies import error
from tap_labelbox.streams.data_rows import AnnotationsStream
from tests.kills import Cut, run_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner, State

STREAM = "model_run_predictions"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LOOKBACK = timedelta(seconds=60)  # by default
ASKED = {"include_predictions": True, "include_model_run_details": True}


@pytest.fixture
def world() -> World:
    """Return a workspace that is quickly read."""
    return World(projects=2, labels_per_project=6)


def records(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of a data row."""
    return [
        record
        for part in in_model_runs(DataRow(row))
        for record in prediction_records(part)
    ]


def single(run: dict[str, Any], model: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the only record of a data row in one run."""
    experiment = (model or {}) | {"runs": {"u": run}}
    (record,) = records({"data_row": {"id": "r"}, "experiments": {"m": experiment}})
    return record


def predicted(*objects: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a run with one prediction."""
    return {"predictions": [{"id": "p", "annotations": {"objects": [*objects]}} | more]}


BOX: dict[str, Any] = {
    "feature_id": "f",
    "name": "car",
    "annotation_kind": "ImageBoundingBox",
}
BOX |= {"bounding_box": {"top": 1, "left": 2, "height": 3, "width": 4}}

# --- a data row unfolded --------------------------------------------------------


def test_an_annotation_has_the_columns_of_annotations() -> None:
    """All that there are, but for the IDs of what it is in."""
    columns = {*AnnotationsStream.schema["properties"]} - {"project_id", "label_id"}

    assert columns < {*MODEL_RUN_PREDICTIONS["properties"]}
    record = single(predicted(BOX, confidence=0.25))
    ids = {"model_id": "m", "model_run_id": "u", "data_row_id": "r"}
    ids |= {"prediction_id": "p", "annotation_id": "f"}
    assert record.items() >= (ids | {"box_top": 1, "name": "car", "depth": 0}).items()
    assert record.keys() == MODEL_RUN_PREDICTIONS["properties"].keys()


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (predicted(BOX | {"confidence": 0.5}), 0.5),
        (predicted(BOX, confidence="0.5"), 0.5),
        (predicted(BOX | {"confidence": 0.5}, confidence=0.1), 0.5),
        (predicted({"name": "q", "radio_answer": {"confidence": 0.5}}), 0.5),
        (predicted(BOX), None),
    ],
)
def test_confidence_stands_where_it_may(run: Any, expected: Any) -> None:
    """On the annotation, on its answer, or on the prediction."""
    assert single(run)["confidence"] == expected


def test_names_and_splits_are_taken() -> None:
    """Of the model, of the run, and of the row in it."""
    run = predicted(BOX, custom_metrics=[{"name": "IoU", "value": 1}])
    run |= {"name": "night", "data_split": "HOLDOUT", "run_data_row_id": 7}

    record = single(run, {"name": "cars"})

    expected: dict[str, Any] = {"model_name": "cars", "model_run_name": "night"}
    expected |= {"data_split": "HOLDOUT", "model_run_data_row_id": "7"}
    expected |= {"custom_metrics": [{"name": "IoU", "value": 1}]}
    assert record.items() >= expected.items()
    assert record["additional_columns"] == {}


def test_what_nobody_knows_is_kept() -> None:
    """By its path, wherever it stands."""
    run = predicted(BOX | {"a": 1}, b=2) | {"c": {"d": 3}, "data_split": [4]}

    record = single(run, {"e": 5})

    assert record["additional_columns"] == {
        "a": 1,
        "prediction.b": 2,
        "run.c": {"d": 3},
        "run.data_split": [4],
        "model.e": 5,
    }


@pytest.mark.parametrize("place", [("experiments", "runs"), ("models", "model_runs")])
@pytest.mark.parametrize("as_lists", [True, False])
def test_blocks_are_named_as_ever(place: tuple[str, str], *, as_lists: bool) -> None:
    """As today, or as until 2023; by ID, or with one."""
    outer, inner = place
    run: Any = {"u": predicted(BOX)}
    model: Any = {"m": {inner: run}}
    if as_lists:
        model = [{"id": "m", inner: [{"id": "u"} | run["u"]]}]

    (record,) = records({"data_row": {"id": "r"}, outer: model})

    assert (record["model_id"], record["model_run_id"]) == ("m", "u")
    assert record["additional_columns"] == {}


def test_relationships_are_records_here() -> None:
    """They have no table of their own, and are not lost."""
    related = {"feature_id": "g", "unidirectional_relationship": {"source": "f"}}
    annotations = {"objects": [BOX], "relationships": [related]}

    result = records(
        {
            "data_row": {"id": "r"},
            "experiments": {
                "m": {"runs": {"u": predicted(annotations=annotations)}},
            },
        }
    )

    assert [record["feature_id"] for record in result] == ["f", "g"]
    kept = result[1]["additional_columns"]
    assert kept == {"unidirectional_relationship": {"source": "f"}}


@pytest.mark.parametrize(
    "malformed",
    [None, [], {}, "x", 1, [None], [[]], {"u": None}, {"u": {"predictions": 3}}],
)
def test_nothing_is_too_malformed(malformed: Any) -> None:
    """A row that is no model, run or prediction ends nothing."""
    for row in (
        {"experiments": malformed},
        {"experiments": {"m": malformed}},
        {"experiments": {"m": {"runs": malformed}}},
        {"experiments": {"m": {"runs": {"u": {"predictions": malformed}}}}},
        {"experiments": {"m": {"runs": {"u": predicted(annotations=malformed)}}}},
    ):
        for record in records({"data_row": {"id": "r"}} | row):
            assert record["annotation_id"]
            assert record["prediction_id"]


def test_equal_ids_are_distinguished() -> None:
    """In one row, so that no prediction takes the place of another."""
    run = {"predictions": 2 * predicted(BOX)["predictions"]}

    result = records(
        {"data_row": {"id": "r"}, "experiments": {"m": {"runs": {"u": run}}}}
    )

    assert [record["prediction_id"] for record in result] == ["p", "p#2"]


# --- which runs are read --------------------------------------------------------


def exported(run: Runner) -> list[str]:
    """Return the runs that were exported, and forget it."""
    result = [
        request.variables["input"]["filters"]["modelRunId"]
        for request in run.sandbox.requests
        if request.operation == "StartModelRunExport"
    ]
    run.sandbox.requests.clear()
    return result


def bookmarks(state: State) -> dict[str, str]:
    """Return the bookmark of each run."""
    partitions = state["bookmarks"][STREAM]["partitions"]
    return {
        single["context"]["model_run_id"]: single["replication_key_value"]
        for single in partitions
    }


def keys(result: Iterable[dict[str, Any]]) -> set[tuple[str, ...]]:
    """Return the keys of records."""
    names = ("model_run_id", "data_row_id", "prediction_id", "annotation_id")
    return {tuple(record[name] for name in names) for record in result}


def test_every_prediction_is_read(run: Runner, world: World) -> None:
    """Of every run, as the server has it, also of one without data rows."""
    output = run(STREAM, now=NOW)

    expected = [
        record
        for item in model_runs(world)
        for group in groups(world, item)
        for record in records(
            {
                "data_row": {"id": group["dataRow"].id},
                "experiments": experiments(world, item, group, ASKED),
            }
        )
    ]
    assert output.error is None
    assert keys(output.records(STREAM)) == keys(expected)
    assert len(output.records(STREAM)) == len(expected) > 50
    by_id = {item["id"]: item for item in model_runs(world)}
    assert bookmarks(output.state) == {
        run_id: timestamps.isoformat(item["updatedAt"])
        for run_id, item in by_id.items()
    }


def test_only_changed_runs_are_read_again(run: Runner, world: World) -> None:
    """As wholes, and none where nothing was changed."""
    first = run(STREAM, now=NOW)
    assert len(exported(run)) == len(model_runs(world))

    second = run(STREAM, now=NOW, state=first.state)
    assert exported(run) == []

    changed = model_runs(world)[1]
    changed["updatedAt"] = NOW - timedelta(hours=1)
    third = run(STREAM, now=NOW, state=second.state)
    assert exported(run) == [changed["id"]]
    of_run = [r for r in first.records(STREAM) if r["model_run_id"] == changed["id"]]
    assert keys(third.records(STREAM)) == keys(of_run) != set()

    run(STREAM, now=NOW, state=third.state)
    assert exported(run) == []


def test_a_run_that_is_being_filled_is_read_again(run: Runner, world: World) -> None:
    """Some come within the export's last timestamp, or too late for its index."""
    changed = model_runs(world)[0]
    changed["updatedAt"] = NOW - timedelta(seconds=5)

    first = run(STREAM, now=NOW)
    exported(run)
    second = run(STREAM, now=NOW + 2 * LOOKBACK, state=first.state)
    assert exported(run) == [changed["id"]]

    run(STREAM, now=NOW + 3 * LOOKBACK, state=second.state)
    assert exported(run) == []


def test_a_run_changed_while_it_is_read_is_read_again(
    run: Runner, world: World
) -> None:
    """The bookmark is what the list said before."""
    changed = model_runs(world)[0]

    def before(request: Request) -> None:
        if request.operation == "StartModelRunExport":
            changed["updatedAt"] = NOW - timedelta(minutes=30)

    run.sandbox.before = before
    first = run(STREAM, now=NOW)
    run.sandbox.before = None
    exported(run)

    run(STREAM, now=NOW, state=first.state)
    assert exported(run) == [changed["id"]]


def test_a_run_that_does_not_say_when_is_read_each_time(
    run: Runner, world: World
) -> None:
    """Nothing says that it was not changed."""
    model_runs(world)[0]["updatedAt"] = None

    first = run(STREAM, now=NOW)
    exported(run)
    run(STREAM, now=NOW, state=first.state)

    assert exported(run) == [model_runs(world)[0]["id"]]


def test_start_date_is_for_runs_without_a_bookmark(run: Runner, world: World) -> None:
    """Those changed before are not read."""
    later = sorted(model_runs(world), key=lambda item: item["updatedAt"])[-2:]
    start = later[0]["updatedAt"].isoformat()

    run(STREAM, now=NOW, start_date=start)

    assert sorted(exported(run)) == sorted(item["id"] for item in later)


def test_a_full_table_is_read_whole(run: Runner, world: World) -> None:
    """Each time, and leaves no bookmarks."""
    catalog = run.tap().catalog_dict
    for stream in catalog["streams"]:
        is_chosen = stream["tap_stream_id"] == STREAM
        if is_chosen:
            stream["replication_method"] = "FULL_TABLE"
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = is_chosen
                entry["metadata"].pop("forced-replication-method", None)

    first = run(catalog=catalog, now=NOW)
    exported(run)
    run(catalog=catalog, now=NOW, state=first.state)

    assert len(exported(run)) == len(model_runs(world))


def test_runs_that_are_gone_leave_the_state(run: Runner, world: World) -> None:
    """They leave it if the list of runs is complete."""
    first = run(STREAM, now=NOW)
    world.models[1]["modelRuns"].pop()

    second = run(STREAM, now=NOW, state=first.state)

    assert bookmarks(second.state).keys() == {item["id"] for item in model_runs(world)}


def test_a_list_with_gaps_removes_nothing(run: Runner, world: World) -> None:
    """A model that cannot be read today may be there tomorrow."""
    first = run(STREAM, now=NOW)
    reply = Reply(200, {}, error("You may not", "AUTHORIZATION_ERROR"))
    run.sandbox.before = lambda r: (
        reply if r.variables.get("model_id") == world.models[1]["id"] else None
    )

    second = run(STREAM, now=NOW, state=first.state)

    assert bookmarks(second.state) == bookmarks(first.state)


# --- exports --------------------------------------------------------------------


def test_few_are_in_flight(serving: Callable[..., Runner]) -> None:
    """However many runs there are: others export as well."""
    world = World(projects=1, labels_per_project=2)
    (old,) = world.models[0]["modelRuns"]
    more = [old | {"id": f"run-{number}"} for number in range(25)]
    world.models[0]["modelRuns"] += more
    run = serving(world, polls=3)
    running: list[int] = []
    ready: set[str] = set()

    def before(request: Request) -> None:
        if request.operation == "StartModelRunExport":
            running.append(len(running) + 1 - len(ready))
        if request.operation == "ExportOpening":
            ready.add(request.variables["task_id"])

    run.sandbox.before = before
    output = run(STREAM, concurrency=20)

    assert output.error is None
    assert len(running) == len(model_runs(world))
    assert max(running) <= MAX_EXPORTS_IN_FLIGHT


def test_one_that_fails_costs_itself(
    run: Runner, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read again the next time, and the others are not."""
    failed = model_runs(world)[2]["id"]
    reply = Reply(200, {}, error("You may not", "AUTHORIZATION_ERROR"))
    run.sandbox.before = lambda r: (
        reply if failed in json.dumps(r.variables.get("input")) else None
    )
    first = run(STREAM, now=NOW)
    run.sandbox.before = None
    exported(run)

    assert isinstance(first.error, IncompleteError)
    assert [m for m in caplog.messages if f"model_run {failed} is left out" in m]
    run(STREAM, now=NOW, state=first.state)
    assert exported(run) == [failed]


def test_what_cannot_be_exported_is_counted(
    serving: Callable[..., Runner], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """There is a line of it, and no record elsewhere."""
    output = serving(world, unexportable=1)(STREAM)

    assert output.error is None
    assert any("1 data rows of model run" in message for message in caplog.messages)


@pytest.mark.parametrize("heard", [True, False])
def test_a_killed_run_is_gone_on_from(run: Runner, heard: bool) -> None:  # noqa: FBT001
    """Wherever it was cut off: no prediction is lost, and what was read stays read."""
    whole = run_until(run, Cut(), STREAM, now=NOW)
    expected = keys(m["record"] for m in whole.messages if m["type"] == "RECORD")
    last = whole.states[-1]

    for requests in range(3, whole.requests, 4):
        cut = Cut(requests=requests, heard=heard)
        part = run_until(run, cut, STREAM, now=NOW)
        state = part.states[-1] if part.states else None
        rest = run_until(run, Cut(), STREAM, now=NOW, state=state)
        assert rest.error is None
        lines = [*part.messages, *rest.messages]
        assert keys(m["record"] for m in lines if m["type"] == "RECORD") == expected
        assert bookmarks(rest.states[-1]) == bookmarks(last)


def test_an_export_that_was_started_is_found(run: Runner) -> None:
    """A run that was killed while it waited has not started it in vain."""
    run.sandbox.polls = 3
    part = run_until(run, Cut(requests=8), STREAM, now=NOW, concurrency=1)
    begun = exported(run)
    assert begun

    rest = run_until(run, Cut(), STREAM, now=NOW, state=part.states[-1])

    assert rest.error is None
    assert set(begun).isdisjoint(exported(run))


@pytest.mark.parametrize(
    "malformed",
    [
        {"partitions": [{"context": {"project_id": "p"}}]},
        {"partitions": [{"context": {"model_run_id": "gone"}, "read_at": 7}]},
        {"partitions": []},
        {"read_at": "nonsense"},
        {},
    ],
)
def test_a_malformed_state_is_read_or_refused(
    run: Runner, world: World, malformed: Any
) -> None:
    """With a message, or as if nothing had been read."""
    output: Output = run(STREAM, now=NOW, state={"bookmarks": {STREAM: malformed}})

    if output.error:
        assert "--state" in str(output.error)
    else:
        assert len(exported(run)) == len(model_runs(world))
