"""Steps of the workflow of a project."""

from __future__ import annotations

from tap_labelbox.records.columns import (
    identifier,
    integer,
    key,
    table,
    text,
    word,
)
from tap_labelbox.streams.base import LabelboxStream


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
