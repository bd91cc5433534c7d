"""Projects: what is labeled, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    boolean,
    identifier,
    integer,
    key,
    number,
    table,
    text,
    timestamp,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record


class ProjectsStream(LabelboxStream):
    """Every project the API key may see; the whole table each time.

    Good for names, settings and how far each project is.
    """

    name = "projects"
    schema = table(
        key("id", "Project ID."),
        text("name", "Name of the project."),
        text("description", "Free text about it."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
        timestamp("setup_complete", "When its set-up was finished; null if it is not."),
        timestamp(
            "last_activity_time",
            "Latest activity: when something last happened, as Labelbox reckons. It "
            "is set soon after the project is made, also where there is no data row "
            "and no label, so it is not the time of the latest label; whether every "
            "change moves it is not known. Not the last_activity_at of data rows.",
        ),
        integer("auto_audit_number_of_labels", "Labels a data row gets for consensus."),
        number(
            "auto_audit_percentage",
            "Share of the data rows that consensus covers, 0 to 1.",
        ),
        word("allowed_media_type", "Kind of data rows, such as IMAGE, VIDEO or TEXT."),
        word(
            "editor_task_type", "Kind of labeling task, where the editor knows several."
        ),
        word("upload_type", "How its labels are brought in."),
        integer("data_row_count", "Data rows in the project."),
        boolean(
            "model_setup_complete",
            "Whether its models are set up; null if it uses none.",
        ),
        boolean(
            "is_benchmark_enabled", "Whether labels are compared with a benchmark."
        ),
        boolean(
            "is_consensus_enabled", "Whether several people label the same data row."
        ),
        integer("label_count", "Labels in the project."),
        integer(
            "completed_data_row_count",
            "Data rows that have gone through the whole workflow.",
        ),
        identifier("created_by_id", "ID of the user who made it."),
        identifier("organization_id", "ID of the organization."),
        identifier("ontology_id", "ID of the ontology."),
    )

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Yield all projects; there is no context."""
        del context
        for project in self.workspace.projects("projects"):
            yield self.record(project)
