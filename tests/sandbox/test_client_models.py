"""The official client and the tap read the same of models, runs and the catalog."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.records.values import as_timestamp
from tap_labelbox.sandbox import World
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Sandbox
    from tests.runner import Output

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types
    from labelbox.schema.foundry.foundry_client import (  # type: ignore[import-untyped]  # the same
        FoundryClient,
    )
    from lbox import exceptions  # type: ignore[import-untyped]  # the same

pytestmark = pytest.mark.filterwarnings("ignore")

STREAMS = (
    *("models", "model_runs", "model_run_data_rows", "foundry_apps"),
    *("model_run_predictions", "catalog_data_rows"),
)
EVERYTHING = {
    "attachments": True,
    "metadata_fields": True,
    "data_row_details": True,
    "predictions": True,
    "model_run_details": True,
}


@pytest.fixture
def world() -> World:
    """Return a workspace with several media types."""
    return World(projects=5, labels=150)


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """Serve it with exports that need no waiting, in many parts.

    These end at lines: the client cannot put together a character that was cut.
    """
    return start(polls=0, part_size=20_000)


@pytest.fixture
def client(sandbox: Sandbox) -> Any:
    """Return the client, given nothing but addresses and key."""
    logging.getLogger("labelbox").setLevel(logging.ERROR)
    return labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )


@pytest.fixture
def output(sandbox: Sandbox, world: World) -> Output:
    """Read all of it with the tap."""
    return Runner(sandbox, world)(*STREAMS, page_size=10)


def by_id(output: Output, stream: str, column: str = "id") -> dict[str, Any]:
    """Return the records of a stream by their IDs, each there once."""
    records = output.records(stream)
    result = {record[column]: record for record in records}
    assert len(result) == len(records)
    return result


def exported(task: Any) -> list[dict[str, Any]]:
    """Wait for an export and return its rows."""
    task.wait_till_done()
    if not task.has_result():
        return []
    return [row.json for row in task.get_buffered_stream()]


def test_models_and_runs(client: Any, output: Output) -> None:
    """Each has the same fields, and what it cost."""
    models = {model.uid: model for model in client.get_models()}
    runs = {r.uid: r for model in models.values() for r in model.model_runs()}

    assert by_id(output, "models") == {
        uid: {
            "id": uid,
            "name": model.name,
            "ontology_id": model.ontology_id,
            "additional_columns": {},
        }
        for uid, model in models.items()
    }
    read = by_id(output, "model_runs")
    assert read.keys() == runs.keys()
    for uid, single in runs.items():
        record = read[uid]
        assert record["name"] == single.name
        assert record["model_id"] == single.model_id
        assert record["created_by_id"] == single.created_by_id
        assert record["model_app_id"] == single.model_app_id
        assert record["training_metadata"] == single.training_metadata
        for name in ("created_at", "updated_at"):
            assert record[name] == as_timestamp(getattr(single, name).isoformat())
        assert record["cost"] == single.total_cost
        assert record["total_data_rows"] == single.total_data_rows


def test_data_rows_of_runs(client: Any, output: Output) -> None:
    """Each with its label and its split."""
    expected = {
        row.uid: {
            "model_run_id": row.model_run_id,
            "id": row.uid,
            "data_row_id": row.data_row().uid,
            "label_id": row.label_id,
            "data_split": row.data_split.value,
            "additional_columns": {},
        }
        for model in client.get_models()
        for single in model.model_runs()
        for row in single.model_run_data_rows()
    }

    assert len(expected) > 100
    assert by_id(output, "model_run_data_rows") == expected


def test_apps(client: Any, output: Output) -> None:
    """Those that are there; one that is gone is not found by either."""
    read = by_id(output, "foundry_apps")
    app_ids = {r["model_app_id"] for r in output.records("model_runs")} - {None}
    gone = []
    for app_id in app_ids:
        try:
            app = FoundryClient(client)._get_app(app_id)
        except exceptions.ResourceNotFoundError:
            gone.append(app_id)
            continue
        assert read[app_id] == {
            "id": app.id,
            "name": app.name,
            "description": app.description,
            "model_id": app.model_id,
            "ontology_id": app.ontology_id,
            "inference_params": app.inference_params,
            "class_to_schema_id": app.class_to_schema_id,
            "created_by_id": app.created_by,
            "additional_columns": {},
        }

    assert gone == [*app_ids - read.keys()]
    assert read


def test_predictions(client: Any, output: Output) -> None:
    """Every top one of every run, with how sure the model was."""
    expected: dict[tuple[str, ...], Any] = {}
    for model in client.get_models():
        for single in model.model_runs():
            for row in exported(single.export(params=EVERYTHING)):
                run = row["experiments"][model.uid]["runs"][single.uid]
                for prediction in run["predictions"]:
                    annotations = prediction["annotations"]
                    for kind in ("objects", "classifications"):
                        for annotation in annotations.get(kind, ()):
                            expected[
                                single.uid,
                                row["data_row"]["id"],
                                prediction["id"],
                                annotation["feature_id"],
                            ] = (
                                annotation["name"],
                                annotation["confidence"],
                                annotation.get("custom_metrics"),
                                run["data_split"],
                                run["run_data_row_id"],
                            )

    ids = ("model_run_id", "data_row_id", "prediction_id", "feature_id")
    values = ("name", "confidence", "custom_metrics", "data_split")
    assert len(expected) > 100
    assert {
        tuple(r[name] for name in ids): tuple(
            r[name] for name in (*values, "model_run_data_row_id")
        )
        for r in output.records("model_run_predictions")
        if r["depth"] == 0 and r["confidence"] is not None
    } == expected


def test_the_catalog(client: Any, output: Output) -> None:
    """Every data row, with its details, its attachments and its metadata."""
    rows = exported(client.get_catalog().export(params=EVERYTHING))
    read = by_id(output, "catalog_data_rows", "data_row_id")

    assert read.keys() == {row["data_row"]["id"] for row in rows}
    for row in rows:
        record, data_row = read[row["data_row"]["id"]], row["data_row"]
        for name in ("external_id", "global_key"):
            assert record[name] == data_row.get(name)
        # Signatures differ each time.
        address, _, _ = record["row_data"].partition("?")
        assert address == data_row["row_data"].partition("?")[0]
        for name in ("dataset_id", "dataset_name"):
            assert record[name] == data_row["details"][name]
        assert record["created_by_email"] == data_row["details"]["created_by"]
        for name in ("created_at", "updated_at", "last_activity_at"):
            assert record[name] == as_timestamp(data_row["details"][name])
        for name in ("attachments", "metadata_fields"):
            assert record[name] == row[name]
        assert record["media_attributes"].keys() == row["media_attributes"].keys()
        assert record["additional_columns"] == {}
