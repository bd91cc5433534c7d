"""Data rows on their way through a project: batches, steps, and counts of both."""

from __future__ import annotations

from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    identifier,
    integer,
    key,
    object_of_pairs,
    objects,
    table,
    text,
    timestamp,
    word,
)
from tap_labelbox.records.json_columns import json_or_text


class BatchesStream(LabelboxStream):
    """Every batch of data rows that was sent to a project.

    Good for when work came in, and how much.
    """

    name = "batches"
    path = "/_gql"
    schema = table(
        key("id", "Batch ID."),
        identifier("project_id", "ID of the project."),
        text("name", "Its name, unique in the project."),
        integer("size", "Data rows that were put into it."),
        json_or_text(
            "consensus_settings",
            "How many labels a data row gets, and for which share of them; null "
            "without consensus.",
        ),
        identifier("created_by_id", "ID of the user who made it, if Labelbox says so."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
    )


class TaskQueuesStream(LabelboxStream):
    """Every step of every project's workflow, with its backlog.

    Good for what waits where just now.
    """

    name = "task_queues"
    path = "/_gql"
    place = "order"
    schema = table(
        key("id", "Task queue ID."),
        identifier("project_id", "ID of the project."),
        text("name", "Name of the step."),
        text("description", "Free text."),
        word("queue_type", "Kind of step, such as MANUAL_REVIEW_QUEUE."),
        integer("data_row_count", "Data rows in the step now."),
        integer("order", "Place of the step in the workflow, from 0."),
    )


class WorkflowsStream(LabelboxStream):
    """The graph of every project's workflow: its steps, and what leads where.

    Good for instructions and conditions of steps.
    """

    name = "workflows"
    may_be_null = True
    primary_keys = ("project_id",)
    schema = table(
        key("project_id", "ID of the project."),
        json_or_text("config", "The nodes and edges of the graph."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
    )


class ProjectOverviewStream(LabelboxStream):
    """Data rows of every project, counted by state; each run adds a snapshot.

    Good for the backlog over time: nothing of what earlier runs wrote is replaced.
    """

    name = "project_overview"
    path = "/_gql"
    primary_keys = ("project_id", "snapshot_at")
    replication_key = snapshot_column = "snapshot_at"
    schema = table(
        key("project_id", "ID of the project."),
        timestamp(
            "snapshot_at",
            "When the run began; the same in all projects of a run.",
            required=True,
        ),
        integer("to_label", "Data rows that are not labeled yet.", "counts.Unlabeled"),
        integer("in_review", "Data rows in a step of review.", "counts.InReview"),
        integer("in_rework", "Data rows in a step of rework.", "counts.InRework"),
        integer("skipped", "Data rows that were skipped.", "counts.Skipped"),
        integer("done", "Data rows that are done.", "counts.Done"),
        integer("labeled", "Data rows with a label.", "counts.Labeled"),
        integer("total_data_rows", "Data rows in the project.", "counts.All"),
        integer("not_in_task_queue", "Data rows in no step.", "counts.NotInTaskQueue"),
        integer(
            "issues",
            "Issues, or data rows with issues: Labelbox says now one, now the other.",
            "issue.count",
        ),
        integer(
            "completed_data_row_count",
            "Data rows that have gone through the whole workflow.",
        ),
        object_of_pairs("state", "count")(
            "counts", "Data rows by state as Labelbox names it, new states included."
        ),
    )


class LabelingParameterOverridesStream(LabelboxStream):
    """Every queued data row's place in the queue: as many records as data rows.

    Good for what is labeled next.
    """

    name = "labeling_parameter_overrides"
    selected_by_default = False
    schema = table(
        key("id", "ID of the override."),
        identifier("project_id", "ID of the project."),
        identifier("data_row_id", "ID of the data row."),
        integer("priority", "Place in the labeling queue: 1 comes first."),
        integer("number_of_labels", "Labels that are wanted for the data row."),
    )


class LabelingServiceDashboardStream(LabelboxStream):
    """Every project as Labelbox's labeling service sees it, asked for or not.

    Good for how far an order is.
    """

    name = "labeling_service_dashboard"
    primary_keys = ("project_id",)
    schema = table(
        key("project_id", "ID of the project."),
        text("name", "Name of the project."),
        word(
            "status",
            "Its status: REQUESTED, SET_UP, CALIBRATION, ACCEPTED, PRODUCTION, "
            "COMPLETE, …; null where no labeling service was asked for.",
        ),
        identifier("created_by_id", "ID of the user who asked for the service."),
        timestamp("created_at", "When it was asked for."),
        timestamp("updated_at", "Latest change of its status."),
        integer("data_rows_count", "Data rows of the project."),
        integer("data_rows_done_count", "Data rows of it that are done."),
        integer("data_rows_in_review_count", "Data rows of it in review."),
        integer("data_rows_in_rework_count", "Data rows of it in rework."),
        integer("tasks_total_count", "Tasks: data rows that somebody began to label."),
        integer("tasks_completed_count", "Tasks that are done."),
        integer("tasks_remaining_count", "Tasks that are not done."),
        word("media_type", "Kind of data row, in lower case here: image."),
        word("editor_task_type", "Kind of labeling task."),
        objects("tags", "Its tags."),
    )
