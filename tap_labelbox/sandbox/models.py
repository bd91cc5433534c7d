"""Models, the apps that ran some of them, and what was predicted in their runs.

Nothing of this is kept: data rows and predictions of a run follow from its ID.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tap_labelbox.sandbox import notation

if TYPE_CHECKING:
    from datetime import datetime

    from tap_labelbox.sandbox.world import DataRow, World

Row = dict[str, Any]

FIRST_RUN_ROWS = 20
OTHER_RUN_ROWS = 130  # more than fit one page
# One that the client does not know is left to other objects: it would raise.
SPLITS = ("TRAINING", "VALIDATION", "TEST", "UNASSIGNED")


def add_models(world: World, began: datetime) -> None:
    """Add models to the one that there is, and an app that ran one of them."""
    chance = Random(f"models of {world.organization['id']}")

    def uuid() -> str:
        return str(UUID(int=chance.getrandbits(128), version=4))

    birds: Row = {"id": uuid(), "name": "Vögel 🐦", "ontologyId": None}
    birds["ontologyId"] = world.ontologies[0]["id"] if world.ontologies else None
    owner = world.users[1].id
    app: Row = {
        "id": uuid(),
        "modelId": uuid(),
        "name": "Vögel & Co",
        "createdBy": owner,
    }
    app |= {"description": None, "inferenceParams": {"confidence": 0.5, "λ": None}}
    app |= {"classToSchemaId": {"bird": uuid()}, "ontologyId": birds["ontologyId"]}
    world.foundry_apps = [app]
    details: tuple[Row, ...] = (
        {"name": "baseline", "createdBy": owner, "trainingMetadata": {"größe": "ß"}},
        {"name": "by an app", "createdBy": owner, "modelAppId": app["id"]},
        {"name": None, "createdBy": None, "modelAppId": app["id"]},
        {"name": "its app is gone", "createdBy": owner, "modelAppId": uuid()},
        {"name": "Nothing in it yet", "createdBy": owner, "trainingMetadata": {}},
    )
    birds["modelRuns"] = [
        {"id": uuid(), "modelId": birds["id"]}
        | detail
        | {
            "createdAt": began + number * timedelta(days=1),
            "updatedAt": began + number * timedelta(days=2),
        }
        for number, detail in enumerate(details)
    ]
    empty: Row = {"id": uuid(), "name": None, "ontologyId": None, "modelRuns": []}
    world.models += [birds, empty]


def model_runs(world: World) -> list[Row]:
    """Return the runs of all models."""
    return [run for model in world.models for run in model["modelRuns"]]


def run_info(world: World, run: Row) -> Row | None:
    """Return what a run of an app cost; None for any other."""
    if not run.get("modelAppId"):
        return None
    status = "COMPLETED" if run["name"] else "COOLING_DOWN"
    count = len(groups(world, run))
    return {"cost": round(0.01 * count, 2), "status": status, "totalDataRows": count}


def groups(world: World, run: Row) -> list[Row]:
    """Return the data rows of a run, each with its place in it."""
    number = model_runs(world).index(run)
    rows = world.data_rows[:FIRST_RUN_ROWS]
    if number:
        # Of all projects, and with that of all kinds of media.
        rows = world.data_rows[number :: number + 1][:OTHER_RUN_ROWS]
    if run["name"] == "Nothing in it yet":
        rows = []
    return [_group(run, row, place) for place, row in enumerate(rows)]


def _group(run: Row, row: DataRow, place: int) -> Row:
    chance = Random(f"{run['id']} {row.id}")
    return {
        "id": str(UUID(int=chance.getrandbits(128), version=4)),
        "modelRunId": run["id"],
        "labelId": row.labels[0].id if row.labels else None,
        "dataSplit": SPLITS[place % len(SPLITS)],
        "dataRow": row,
    }


def experiments(world: World, run: Row, group: Row, params: Row) -> Row:
    """Return what an export of a run says of one of its data rows."""
    model = next(m for m in world.models if run in m["modelRuns"])
    row: DataRow = group["dataRow"]
    written: Row = {"name": run["name"]}
    if params.get("include_model_run_details"):
        written["run_data_row_id"] = group["id"]
        written["data_split"] = group["dataSplit"]
    written["labels"] = [
        {"label_kind": "Default", "version": "1.0.0", "id": label.id}
        | {"annotations": notation.new(label, interpolated=False)}
        for label in row.labels[:1]
    ]
    if params.get("include_predictions"):
        written["predictions"] = [*_predictions(group)]
    return {model["id"]: {"name": model["name"], "runs": {run["id"]: written}}}


def _predictions(group: Row) -> list[Row]:
    """Return what was predicted for a data row: nothing, where nobody labeled it."""
    chance, predictions = Random(group["id"]), []
    for label in group["dataRow"].labels[:1]:
        own_id = str(UUID(int=chance.getrandbits(128), version=4))
        annotations = notation.new(replace(label, id=own_id), interpolated=False)
        for kind in ("objects", "classifications"):
            for annotation in annotations.get(kind, ()):
                annotation["confidence"] = round(chance.random(), 4)
                if chance.random() < 0.5:
                    metric = {"name": "IoU", "value": round(chance.random(), 4)}
                    annotation["custom_metrics"] = [metric]
        predictions.append(
            {"id": own_id, "label_kind": "Default", "version": "1.0.0"}
            | {"annotations": annotations}
        )
    return predictions
