"""Models, their runs, and what was predicted in these."""

from __future__ import annotations

from tap_labelbox.base.export_group import ModelRunExports
from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.exports.model_runs import (
    MODEL_RUN_PREDICTIONS,
    in_model_runs,
    prediction_records,
    run_data_row_records,
)
from tap_labelbox.records.columns import (
    identifier,
    integer,
    key,
    number,
    table,
    text,
    timestamp,
    word,
)
from tap_labelbox.records.json_columns import json_or_text


class ModelsStream(LabelboxStream):
    """Every model, which the app calls an experiment; the whole table each time.

    Good for names of the models that runs belong to.
    """

    name = "models"
    schema = table(
        key("id", "Model ID."),
        text("name", "Its name."),
        identifier("ontology_id", "ID of the ontology."),
    )


class ModelRunsStream(LabelboxStream):
    """Every run of every model; the whole table each time.

    Good for what was tried when and, where Labelbox's own models ran, for what it cost.
    """

    name = "model_runs"
    parents = ModelsStream.name
    details, details_of = "model_run_info", "model_app_id"
    needed = frozenset({"model_app_id", "updated_at"})
    schema = table(
        key("id", "ID of the model run."),
        identifier("model_id", "ID of the model."),
        text("name", "Its name."),
        identifier("created_by_id", "ID of who made it."),
        identifier("model_app_id", "ID of the app that made it; null where none did."),
        json_or_text("training_metadata", "Its configuration, in its own keys."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
        number("cost", "US dollars; null where no app made it, as are the next two."),
        word("status", "How far its app is with it."),
        integer("total_data_rows", "Data rows that the app predicted."),
    )


class ModelRunDataRowsStream(LabelboxStream):
    """Every data row of every model run; the whole table each time.

    Good for the data split, and for which label a prediction is compared with.
    """

    name = "model_run_data_rows"
    parents = ModelRunsStream.name
    primary_keys = ("model_run_id", "id")
    selected_by_default = False
    parts, unfold = staticmethod(in_model_runs), staticmethod(run_data_row_records)
    takes_fast_rows = True
    schema = table(
        key("model_run_id", "ID of the model run."),
        key(
            "id",
            "ID of the data row in the model run; where a saved file has none, that of "
            "the data row.",
        ),
        identifier("data_row_id", "ID of the data row."),
        identifier("label_id", "ID of the label; null where the run has none of it."),
        word("data_split", "Part of a data split it belongs to, such as TRAINING."),
    )


class ModelRunPredictionsStream(ExportedStream):
    """Every annotation that a model predicted, of runs changed since the last read.

    Good for how sure a model is, and for comparing what it saw with what people drew:
    the columns are those of annotations.
    """

    name = "model_run_predictions"
    parents = ModelRunsStream.name
    exports = ModelRunExports
    primary_keys = ("model_run_id", "data_row_id", "prediction_id", "annotation_id")
    replication_key = "model_run_updated_at"
    selected_by_default = False
    parts, unfold = staticmethod(in_model_runs), staticmethod(prediction_records)
    takes_fast_rows = True
    schema = MODEL_RUN_PREDICTIONS


class FoundryAppsStream(LabelboxStream):
    """Every app of Labelbox's Foundry that made a model run.

    Good for what a run was made with. Apps that made none cannot be found.
    """

    name = "foundry_apps"
    parents, parent_id_column = ModelRunsStream.name, "model_app_id"
    may_be_missing = True
    selected_by_default = False
    schema = table(
        key("id", "App ID."),
        text("name", "Its name."),
        text("description", "Free text."),
        identifier("model_id", "ID of the model: here of a foundation model."),
        identifier("ontology_id", "ID of the ontology."),
        json_or_text("inference_params", "Its settings."),
        json_or_text("class_to_schema_id", "Feature schemas by classes of the model."),
        identifier("created_by_id", "ID of who made it."),
    )
