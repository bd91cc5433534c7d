"""Projects: what is labeled, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk import typing as th

from tap_labelbox.streams.base import ADDITIONAL_COLUMNS, LabelboxStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record


class ProjectsStream(LabelboxStream):
    """Every project the API key may see; the whole table each time.

    Good for names, settings and how far each project is.
    """

    name = "projects"
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True, description="Project ID."),
        th.Property("name", th.StringType, description="Name of the project."),
        th.Property("description", th.StringType, description="Free text about it."),
        th.Property("created_at", th.DateTimeType, description="When it was made."),
        th.Property("updated_at", th.DateTimeType, description="Latest change to it."),
        th.Property(
            "setup_complete",
            th.DateTimeType,
            description="When its set-up was finished; null if it is not.",
        ),
        th.Property(
            "last_activity_time",
            th.DateTimeType,
            description="When something last happened in it, as Labelbox reckons. It "
            "is set soon after the project is made, also where there is no data row "
            "and no label, so it is not the time of the latest label; whether every "
            "change moves it is not known. Not the last_activity_at of data rows.",
        ),
        th.Property(
            "auto_audit_number_of_labels",
            th.IntegerType,
            description="Labels a data row gets for consensus.",
        ),
        th.Property(
            "auto_audit_percentage",
            th.NumberType,
            description="Share of the data rows that consensus covers, 0 to 1.",
        ),
        th.Property(
            "allowed_media_type",
            th.StringType,
            description="Kind of data rows, such as IMAGE, VIDEO or TEXT.",
        ),
        th.Property(
            "editor_task_type",
            th.StringType,
            description="Kind of labeling task, where the editor knows several.",
        ),
        th.Property(
            "upload_type", th.StringType, description="How its labels are brought in."
        ),
        th.Property(
            "data_row_count", th.IntegerType, description="Data rows in the project."
        ),
        th.Property(
            "model_setup_complete",
            th.BooleanType,
            description="Whether its models are set up; null if it uses none.",
        ),
        th.Property(
            "is_benchmark_enabled",
            th.BooleanType,
            description="Whether labels are compared with a benchmark.",
        ),
        th.Property(
            "is_consensus_enabled",
            th.BooleanType,
            description="Whether several people label the same data row.",
        ),
        th.Property(
            "label_count", th.IntegerType, description="Labels in the project."
        ),
        th.Property(
            "completed_data_row_count",
            th.IntegerType,
            description="Data rows that have gone through the whole workflow.",
        ),
        th.Property(
            "created_by_id", th.StringType, description="ID of the user who made it."
        ),
        th.Property(
            "organization_id", th.StringType, description="ID of the organization."
        ),
        th.Property(
            "ontology_id", th.StringType, description="ID of the project's ontology."
        ),
        ADDITIONAL_COLUMNS,
    ).to_dict()

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read all projects; there is no context."""
        del context
        for project in self.workspace.projects("projects"):
            yield self.record(project)
