"""A data row in the model runs that an export has it in, and what was predicted there.

No real file of such an export was found. So what is known is taken where it is, and
all else is kept in ``additional_columns``, by its path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.exports.row_tables import (
    ADDITIONAL_COLUMNS,
    ANNOTATION,
    DATA_ROW_ID,
    LAST_ACTIVITY_AT,
    AnnotationTable,
)
from tap_labelbox.exports.rows import (
    Z_ORDER,
    UniqueIds,
    block,
    data_row_id,
    items,
    records_of,
)
from tap_labelbox.records.columns import (
    derived,
    identifier,
    key,
    number,
    objects,
    string,
    timestamp,
    within,
    word,
)
from tap_labelbox.records.values import (
    as_id,
    as_key,
    populate,
    shortened_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_labelbox.exports.rows import DataRow
    from tap_labelbox.records.columns import Record, Row

PLACES = (("experiments", "runs"), ("models", "model_runs"))
"""Where the models of a row are, and in one of them its runs; the last until 2023."""
OF_PREDICTION = ("confidence", "custom_metrics")  # and of its annotations
NO_EXTRAS = frozenset({"id", "annotations", Z_ORDER})
(RUN_ID,) = derived(key("model_run_id", "ID of the model run."))

# Paths that begin with "model", "run" or "prediction" are those of the blocks around
# annotations; with "answer", those of an answer.
MODEL_RUN_PREDICTIONS = AnnotationTable.of(
    *derived(identifier("model_id", "ID of the model.")),
    RUN_ID,
    *derived(
        DATA_ROW_ID,
        key("prediction_id", "ID of the prediction: a label that nobody made."),
    ),
    ANNOTATION[0],
    number(
        "confidence",
        "How sure the model was, 0 to 1: of the annotation or, where it has none, of "
        "the whole prediction.",
        *("confidence", "answer.confidence", "prediction.confidence"),
    ),
    objects(
        "custom_metrics",
        "Metrics uploaded with the annotation or, where it has none, with the whole "
        "prediction.",
        *("custom_metrics", "answer.custom_metrics", "prediction.custom_metrics"),
    ),
    *within(
        "run",
        word("data_split", "Part of a data split it belongs to, such as TRAINING."),
        identifier(
            "model_run_data_row_id",
            "ID of the data row in the model run.",
            *("run_data_row_id", "model_run_data_row_id", "id"),
        ),
        string("model_run_name", "Name of the model run.", "name"),
    ),
    *within("model", string("model_name", "Name of the model.", "name")),
    *derived(
        timestamp(
            "model_run_updated_at",
            "Latest change to the model run; null in saved files. The bookmark is kept "
            "by this column.",
        ),
        LAST_ACTIVITY_AT,
    ),
    *ANNOTATION[1:],
    ADDITIONAL_COLUMNS,
)
MODEL_RUN_PREDICTIONS.lists |= {"relationships"}
MODEL: Any
RUN: Any
PREDICTION: Any
MODEL, RUN, PREDICTION = (
    MODEL_RUN_PREDICTIONS.sources.pop(name) for name in ("model", "run", "prediction")
)


class ModelRunRow:
    """A data row in one of its model runs, of which its tables are made."""

    def __init__(
        self, row: DataRow, model: tuple[str, Row], run: tuple[str, Row]
    ) -> None:
        """Find the columns that every table has; model and run come with their IDs."""
        _, self.run = run
        self.unmapped: Row = {}
        self.ids: Record = dict.fromkeys(
            column.name for block in (MODEL, RUN) for column in block.values()
        )
        self.ids |= {
            "model_id": shortened_id(model[0]),
            "model_run_id": shortened_id(run[0]),
            "data_row_id": data_row_id(row),
            "last_activity_at": row.last_activity_at,
        }
        for name, sources, (own_id, values), apart in (
            ("model", MODEL, model, {names[1] for names in PLACES}),
            ("run", RUN, run, {"labels", "predictions"}),
        ):
            rest = {
                key: value
                for key, value in values.items()
                if key not in apart and (key, value) != ("id", own_id)
            }
            populate(self.ids, self.unmapped, sources, rest, f"{name}.")

    @property
    def label_ids(self) -> list[str]:
        """The labels that it has there."""
        labels = items(self.run.get("labels"))
        ids = (
            as_key(block({"": label}, "").get("id")) or shortened_id(name)
            for name, label in labels
        )
        return [label_id for label_id in ids if label_id]


def in_model_runs(row: DataRow) -> Iterator[ModelRunRow]:
    """Yield a data row as each of the model runs has it that it is in."""
    # One that is decoded no further than to its records is in no run.
    is_whole = isinstance(row, dict)
    for outer, inner in PLACES if is_whole else ():
        for model in _identified(row.get(outer)):
            for run in _identified(model[1].get(inner)):
                yield ModelRunRow(row, model, run)


def _identified(blocks: Any) -> Iterator[tuple[str, Row]]:
    """Yield blocks with the IDs under which they stand, or that they have."""
    for name, value in items(blocks):
        if isinstance(value, dict):
            yield name or as_id(value.get("id")) or "unnamed", value


def prediction_records(row: ModelRunRow) -> Iterator[Record]:
    """Yield a record for each annotation of each prediction."""
    ids = UniqueIds()
    for name, prediction in items(row.run.get("predictions")):
        values = prediction if isinstance(prediction, dict) else {}
        own = ids.assign(as_id(values.get("id")) or name or "prediction")
        of_all: Record = dict.fromkeys(OF_PREDICTION)
        unmapped = {**row.unmapped}
        rest = {k: v for k, v in values.items() if k not in NO_EXTRAS}
        populate(of_all, unmapped, PREDICTION, rest, "prediction.")
        annotated = values or {"annotations": prediction}
        if annotated.get("annotations") is None:
            continue
        for record in records_of(
            MODEL_RUN_PREDICTIONS, row.ids | {"prediction_id": own}, annotated
        ):
            for column, value in of_all.items():
                if record[column] is None:
                    record[column] = value
            record["additional_columns"] |= unmapped
            yield record


def run_data_row_records(row: ModelRunRow) -> Iterable[Record]:
    """Return the record of the data row in the run."""
    label_id, *others = [*row.label_ids, None]
    yield {
        "model_run_id": row.ids["model_run_id"],
        "id": row.ids["model_run_data_row_id"] or row.ids["data_row_id"],
        "data_row_id": row.ids["data_row_id"],
        "label_id": label_id,
        "data_split": row.ids["data_split"],
        "additional_columns": row.unmapped
        | ({"label_ids": others[:-1]} if others[:-1] else {}),
    }
