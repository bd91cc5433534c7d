"""Earlier and current versions of labels."""

from __future__ import annotations

from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.records.columns import (
    identifier,
    integer,
    key,
    table,
    text,
    timestamp,
    word,
)


class LabelVersionsStream(ProjectStream):
    """Every version of every label, as it was submitted, oldest first.

    Good for what reviews and rework have changed.
    """

    name = "label_versions"
    replication_key = "created_at"
    schema = table(
        key("id", "Version ID. A version never changes."),
        identifier("label_id", "ID of the label, which may have been deleted since."),
        identifier("data_row_id", "ID of the data row."),
        identifier("project_id", "ID of the project."),
        word(
            "action",
            "What was done: SUBMITTED, SAVED, APPROVED, REJECTED, REWORK_SUBMITTED or "
            "SENT_TO_REWORK.",
        ),
        timestamp(
            "created_at",
            "When it was recorded. The bookmark is kept by this column.",
            required=True,
        ),
        identifier("created_by_id", "ID of the labeler or reviewer who submitted it."),
        identifier(
            "stage_task_queue_id", "ID of the workflow step; null if it had none."
        ),
        text("stage_name", "Name of the step at that time."),
        word("stage_type", "Kind of step at that time."),
        integer("annotation_count", "Objects and top-level questions in it."),
        text(
            "label",
            "The annotations, as JSON text with the names of that time. The column "
            "that makes this stream large.",
        ),
    )
