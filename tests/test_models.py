"""Models, their runs and the apps that ran them, as the API lists them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.sandbox import Reply, World, serve
from tap_labelbox.sandbox.models import groups, model_runs
from tap_labelbox.sandbox.replies import error
from tap_labelbox.tap import TapLabelbox
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Output

TABLES = ("models", "model_runs", "model_run_data_rows", "foundry_apps")


@pytest.fixture(scope="module")
def world() -> World:
    """Return a workspace that no test here changes."""
    return World(seed=1)


def asked(run: Runner, operation: str) -> list[Any]:
    """Return with what an operation was asked for."""
    sent = run.sandbox.requests
    return [r.variables for r in sent if r.operation == operation]


def asked_of(run: Runner, operation: str, variable: str) -> list[str]:
    """Return of what an operation was asked, be it of many in a request."""
    return [
        value
        for variables in asked(run, operation)
        for name, value in variables.items()
        if re.fullmatch(rf"(p\d+_)?{variable}", name)
    ]


def failing(operation: str, code: str, message: str) -> Callable[[Request], Any]:
    """Return what refuses an operation."""
    reply = Reply(200, {}, error(message, code))
    return lambda request: reply if request.operation == operation else None


def left_out(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said to be left out."""
    return [m for m in caplog.messages if "is left out" in m]


@pytest.mark.parametrize("page_size", [2, 3, 5, 100])
def test_each_is_read_once(run: Runner, world: World, page_size: int) -> None:
    """A last page may be full or not."""
    output = run(*TABLES, page_size=page_size)

    assert output.error is None
    assert output.ids("models") == [model["id"] for model in world.models]
    assert sorted(output.ids("model_runs")) == sorted(
        item["id"] for item in model_runs(world)
    )
    assert sorted(output.ids("model_run_data_rows")) == sorted(
        group["id"] for item in model_runs(world) for group in groups(world, item)
    )
    assert output.ids("foundry_apps") == [app["id"] for app in world.foundry_apps]


def test_a_list_is_asked_for_once(run: Runner, world: World) -> None:
    """However many streams are made of what hangs on it."""
    run(*TABLES, "model_run_predictions")

    assert len(asked(run, "Models")) == 1
    assert asked_of(run, "ModelRuns", "model_id") == [m["id"] for m in world.models]


@pytest.mark.parametrize("stream", TABLES[1:])
def test_a_stream_needs_no_other_to_be_selected(run: Runner, stream: str) -> None:
    """It asks for its parents itself, and for what it needs of them."""
    everything = run(*TABLES).records(stream)

    assert everything
    assert run(stream).records(stream) == everything


def test_deselected_columns_of_parents_are_known(run: Runner) -> None:
    """The app of a run leads to it, whether it has a column or not."""
    catalog = TapLabelbox(config=run.config()).catalog_dict
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            chosen = stream["tap_stream_id"] in ("model_runs", "foundry_apps")
            is_needed = "model_app_id" not in entry["breadcrumb"]
            entry["metadata"]["selected"] = chosen and is_needed

    output = run(catalog=catalog)

    assert output.records("foundry_apps")
    assert "model_app_id" not in output.records("model_runs")[0]


# --- what a run cost ------------------------------------------------------------


def test_only_runs_of_apps_are_asked_for_their_cost(run: Runner, world: World) -> None:
    """Others have none."""
    records = run("model_runs").records("model_runs")

    by_app = {item["id"] for item in model_runs(world) if item.get("modelAppId")}
    ids = asked_of(run, "ModelRunInfo", "model_run_id")
    assert sorted(ids) == sorted(by_app)
    assert len(asked(run, "ModelRunInfo")) == 1
    assert {r["id"] for r in records if r["cost"] is not None} == by_app
    assert {r["status"] for r in records} == {None, "COMPLETED", "COOLING_DOWN"}


def test_nothing_is_asked_for_columns_that_are_not_selected(run: Runner) -> None:
    """Each run would cost a request."""
    catalog = TapLabelbox(config=run.config()).catalog_dict
    off = {"cost", "status", "total_data_rows"}
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            is_on = off.isdisjoint(entry["breadcrumb"])
            entry["metadata"]["selected"] = (
                stream["tap_stream_id"] == "model_runs" and is_on
            )

    output = run(catalog=catalog)

    assert output.records("model_runs")
    assert asked(run, "ModelRunInfo") == []


@pytest.mark.parametrize(
    ("code", "message", "lines"),
    [
        ("AUTHORIZATION_ERROR", "You may not", 1),
        ("OPERATION_NOT_ALLOWED", "Not in this plan", 1),
        ("GRAPHQL_VALIDATION_FAILED", 'Cannot query field "x" on type "Query".', 1),
        ("RESOURCE_NOT_FOUND", "No info", 0),
        ("INTERNAL_SERVER_ERROR", "Info not found", 0),
    ],
)
def test_runs_come_without_what_is_refused(
    run: Runner,
    world: World,
    caplog: pytest.LogCaptureFixture,
    code: str,
    message: str,
    lines: int,
) -> None:
    """One line says so, unless there is just nothing to tell; all rows are there."""
    run.sandbox.before = failing("ModelRunInfo", code, message)

    output = run("model_runs")

    assert len(output.records("model_runs")) == len(model_runs(world))
    assert {r["cost"] for r in output.records("model_runs")} == {None}
    assert sum("model_runs, in part" in line for line in caplog.messages) == lines
    assert output.error is None


# --- apps -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("INTERNAL_SERVER_ERROR", "app not found"),
        ("GRAPHQL_VALIDATION_FAILED", "there is no such app"),
        ("RESOURCE_NOT_FOUND", "gone"),
    ],
)
def test_an_app_that_is_gone_is_none(
    run: Runner, world: World, code: str, message: str
) -> None:
    """It is asked for once, and nothing is wrong with that."""
    run.sandbox.before = failing("FoundryApps", code, message)

    output = run("foundry_apps", retry_seconds=60, projects_per_request=1)

    ids = (item.get("modelAppId") for item in model_runs(world))
    apps = {app_id for app_id in ids if app_id}
    assert output.error is None
    assert output.records("foundry_apps") == []
    assert sorted(v["model_app_id"] for v in asked(run, "FoundryApps")) == sorted(apps)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("INTERNAL_SERVER_ERROR", "app not found"),
        ("GRAPHQL_VALIDATION_FAILED", "there is no such app"),
        ("RESOURCE_NOT_FOUND", "gone"),
    ],
)
def test_others_in_the_request_are_read_where_an_app_is_gone(
    run: Runner, world: World, code: str, message: str
) -> None:
    """Its own error says so, and nothing is asked for again."""
    (app,) = world.foundry_apps

    def reply(request: Request) -> Reply | None:
        if request.operation != "FoundryApps":
            return None
        data: dict[str, Any] = {}
        errors = []
        for name, app_id in request.variables.items():
            field = name.replace("model_app_id", "rows")
            data[field] = {"id": app_id} if app_id == app["id"] else None
            if app_id != app["id"]:
                errors += error(message, code)["errors"]
                errors[-1]["path"] = [field]
        return Reply(200, {}, {"data": data, "errors": errors})

    run.sandbox.before = reply
    output = run("foundry_apps", retry_seconds=60)

    assert output.error is None
    assert output.ids("foundry_apps") == [app["id"]]
    app_ids = {item.get("modelAppId") for item in model_runs(world)} - {None}
    assert {*asked_of(run, "FoundryApps", "model_app_id")} == app_ids > {app["id"]}
    assert len(asked(run, "FoundryApps")) == 1


def test_an_unknown_field_is_no_app_that_is_gone(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that knows no apps is named."""
    message = 'Cannot query field "findModelFoundryApp" on type "Query".'
    run.sandbox.before = failing("FoundryApps", "GRAPHQL_VALIDATION_FAILED", message)

    output = run("foundry_apps")

    assert isinstance(output.error, IncompleteError)
    assert len(left_out(caplog)) == 1


# --- what may not be read -------------------------------------------------------


@pytest.mark.parametrize("code", ["AUTHORIZATION_ERROR", "OPERATION_NOT_ALLOWED"])
@pytest.mark.parametrize("operation", ["Models", "ModelRuns", "ModelRunDataRows"])
def test_what_may_not_be_read_costs_itself(
    run: Runner, caplog: pytest.LogCaptureFixture, operation: str, code: str
) -> None:
    """One line, and the rest of the run goes on."""
    run.sandbox.before = failing(operation, code, "You may not")

    output = run(*TABLES, "users")

    assert isinstance(output.error, IncompleteError)
    assert output.records("users")
    assert sum("You may not" in line for line in left_out(caplog)) == 1
    assert all(
        "You may not" in line or "for each of them" in line for line in left_out(caplog)
    )


def test_one_model_costs_itself(
    run: Runner, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The runs of others are read."""
    forbidden = world.models[0]
    reply = Reply(200, {}, error("You may not", "AUTHORIZATION_ERROR"))
    run.sandbox.before = lambda r: (
        reply if (r.variables or {}).get("model_id") == forbidden["id"] else None
    )

    output = run("model_runs", projects_per_request=1)

    assert {r["model_id"] for r in output.records("model_runs")} == {
        world.models[1]["id"]
    }
    (line,) = left_out(caplog)
    assert forbidden["id"] in line


# --- malformed values ---------------------------------------------------------


def malformed_run(**fields: Any) -> Output:
    """Read a world whose first run has some other values."""
    world = World(projects=1, labels_per_project=3)
    world.models[0]["modelRuns"][0] |= fields
    with serve(world) as sandbox:
        return Runner(sandbox, world)("model_runs")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"a": None}, {"a": None}),
        ('{"a": [1]}', {"a": [1]}),
        (None, None),
        ("no JSON", None),
        ([1], None),
    ],
)
def test_a_configuration_is_text_or_an_object(inputs: Any, expected: Any) -> None:
    """Any other value goes to additional_columns."""
    record = malformed_run(trainingMetadata=inputs).records("model_runs")[0]

    assert record["training_metadata"] == expected
    kept = record["additional_columns"].get("training_metadata")
    assert (kept or expected) == (inputs if expected is None else expected)


def test_all_but_the_key_may_be_null() -> None:
    """A run is a run without anything else."""
    names = ("name", "createdBy", "trainingMetadata", "createdAt", "updatedAt")

    output = malformed_run(**dict.fromkeys(names))

    assert output.error is None
    assert len(output.records("model_runs")) == 6
