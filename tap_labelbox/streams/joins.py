"""Joins between streams, and JSON columns whose content other streams have in rows.

A column has the same name in every stream, so a join is declared once, for all that
have its columns. The documents are written from it, and tests try it on records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Columns = tuple[str, ...]

ROW: Columns = ("project_id", "data_row_id")
LABEL: Columns = (*ROW, "label_id")
OPTION: Columns = ("schema_id", "option_id")
FEATURE: Columns = ("ontology_id", "parent_id")
RUN: Columns = ("model_run_id",)
PREDICTION: Columns = (*RUN, "data_row_id", "prediction_id")


OFF: Columns = ("workspace_labelers", "invite_projects", "user_group_audit_events")
"""Streams that also have rows of projects, users and roles that are gone."""
GONE_USERS: Columns = (
    *("project_labelers", "project_reviewers"),
    *("sign_in_events", "sign_in_sessions"),
)
"""Streams that also have rows of users that are gone, or of another organization."""


class Join(NamedTuple):
    """Columns that lead to another stream."""

    columns: Columns
    to: str
    to_columns: Columns
    streams: Columns = ()
    """The streams it holds for; by default all that have the columns."""
    besides: Columns = ()
    """Streams it does not hold for."""


JOINS = (
    Join(("project_id",), "projects", ("id",), besides=OFF),
    # What could not be exported is not there.
    Join(ROW, "data_row_exports", ROW, besides=("export_errors",)),
    Join(LABEL, "export_labels", LABEL),
    Join((*ROW, "id"), "export_labels", LABEL, streams=("bulk_export", "labels")),
    Join((*ROW, "selected_label_id"), "export_labels", LABEL),
    Join((*ROW, "reference_label_id"), "export_labels", LABEL),
    Join(("dataset_id",), "datasets", ("id",)),
    Join(("data_row_id",), "data_rows", ("id",), besides=("export_errors",)),
    Join(("slice_id",), "catalog_slices", ("id",)),
    Join(("schema_id",), "metadata_schema", ("id",)),
    Join(("metadata_schema_id",), "metadata_schema", ("id",)),
    Join(OPTION, "metadata_schema_options", ("metadata_schema_id", "id")),
    Join(("ontology_id",), "ontologies", ("id",)),
    Join(FEATURE, "ontology_features", ("ontology_id", "id")),
    Join(("label_id",), "labels", ("id",)),
    Join(("reference_label_id",), "labels", ("id",), streams=("benchmarks",)),
    Join(("created_by_id",), "users", ("id",)),
    Join(("resolved_by_id",), "users", ("id",)),
    Join(("user_id",), "users", ("id",), besides=(*OFF, *GONE_USERS)),
    Join(("user_group_id",), "user_groups", ("id",)),
    Join(("role_id",), "roles", ("id",), besides=OFF),
    Join(("invite_id",), "invites", ("id",)),
    Join(
        ("organization_id",), "organization", ("id",), streams=("projects", "webhooks")
    ),
    Join(("resource_tag_id",), "resource_tags", ("id",)),
    Join(("org_role_id",), "roles", ("id",)),
    Join(("stage_task_queue_id",), "task_queues", ("id",)),
    Join(("issue_id",), "issues", ("id",)),
    Join(("category_id",), "issue_categories", ("id",)),
    Join(("metric",), "performance_metrics", ("name",)),
    Join(
        ("model_id",),
        "models",
        ("id",),
        besides=("foundry_apps", "project_model_configs"),  # foundation models
    ),
    Join(RUN, "model_runs", ("id",)),
    Join((*RUN, "model_run_data_row_id"), "model_run_data_rows", (*RUN, "id")),
    Join(
        (*PREDICTION, "parent_annotation_id"),
        "model_run_predictions",
        (*PREDICTION, "annotation_id"),
    ),
    Join((*LABEL, "parent_annotation_id"), "annotations", (*LABEL, "annotation_id")),
    Join((*LABEL, "source_feature_id"), "annotations", (*LABEL, "feature_id")),
    Join((*LABEL, "target_feature_id"), "annotations", (*LABEL, "feature_id")),
)

IN_ROWS = {
    ("data_row_exports", "labels"): ("export_labels",),
    ("data_row_exports", "workflow_history"): ("workflow_history",),
    ("data_row_exports", "attachments"): ("data_row_attachments",),
    ("data_row_exports", "metadata_fields"): ("data_row_metadata",),
    ("export_labels", "reviews"): ("label_reviews",),
    ("export_labels", "annotations"): ("annotations", "annotation_relationships"),
}
"""Columns that hold as JSON what other streams have in rows."""


def joins_of(stream: Any) -> Iterator[Join]:
    """Yield the joins of a stream with others, or with other rows of its own."""
    columns = stream.schema["properties"].keys()
    for join in JOINS:
        itself = join.to == stream.name and join.columns == join.to_columns
        if (
            columns >= {*join.columns}
            and not itself
            and stream.name not in join.besides
            and (not join.streams or stream.name in join.streams)
        ):
            yield join
