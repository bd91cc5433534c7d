"""The streams of the data row export; their columns are those of its tables."""

from __future__ import annotations

from tap_labelbox.base.export_group import CatalogExports
from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.exports import row_tables, rows


class DataRowExportsStream(ExportedStream):
    """Every data row of every project, whether it is labeled or not.

    Good for what waits where in the workflow, and for which records of the other
    streams are current. With its columns of JSON it is the export as it came.
    """

    name = "data_row_exports"
    primary_keys = ("project_id", "data_row_id")
    schema = row_tables.DATA_ROW_EXPORTS
    unfold = staticmethod(rows.data_row_records)
    takes_fast_rows = True


class ExportLabelsStream(ExportedStream):
    """Every label of every exported data row, with who, when and how good.

    Good for throughput, time spent, agreement with others and with benchmarks.
    """

    name = "export_labels"
    primary_keys = ("project_id", "data_row_id", "label_id")
    schema = row_tables.EXPORT_LABELS
    unfold = staticmethod(rows.label_records)


class AnnotationsStream(ExportedStream):
    """Every object and every answer, at any depth, frame by frame in a video.

    Good for what was drawn and answered: counts by class, sizes, training sets.
    """

    name = "annotations"
    primary_keys = ("project_id", "data_row_id", "label_id", "annotation_id")
    schema = row_tables.ANNOTATIONS
    unfold = staticmethod(rows.annotation_records)


class AnnotationRelationshipsStream(ExportedStream):
    """Every relationship between two annotations of a label.

    Good for what belongs to what, such as a rider to a bicycle.
    """

    name = "annotation_relationships"
    primary_keys = ("project_id", "data_row_id", "label_id", "relationship_id")
    schema = row_tables.ANNOTATION_RELATIONSHIPS
    unfold = staticmethod(rows.relationship_records)


class LabelReviewsStream(ExportedStream):
    """Every review of every label.

    Good for rates of approval, by labeler and by reviewer.
    """

    name = "label_reviews"
    primary_keys = ("project_id", "data_row_id", "label_id", "sequence")
    schema = row_tables.LABEL_REVIEWS
    unfold = staticmethod(rows.review_records)


class WorkflowHistoryStream(ExportedStream):
    """Every step of a data row through the workflow of a project.

    Good for the time spent in each step, and for what was sent back to rework.
    """

    name = "workflow_history"
    primary_keys = ("project_id", "data_row_id", "sequence")
    schema = row_tables.WORKFLOW_HISTORY
    unfold = staticmethod(rows.workflow_records)


class DataRowMetadataStream(ExportedStream):
    """Custom metadata of data rows, by type; each chosen option is a record.

    Good for any figure by site, camera, date or whatever is kept there.
    """

    name = "data_row_metadata"
    primary_keys = ("project_id", "data_row_id", "schema_id", "sequence")
    schema = row_tables.DATA_ROW_METADATA
    unfold = staticmethod(rows.metadata_records)


class DataRowAttachmentsStream(ExportedStream):
    """Everything that labelers were shown with a data row.

    Good for what else was on the screen when a label was made.
    """

    name = "data_row_attachments"
    primary_keys = ("project_id", "data_row_id", "sequence")
    schema = row_tables.DATA_ROW_ATTACHMENTS
    unfold = staticmethod(rows.attachment_records)


class CatalogDataRowsStream(ExportedStream):
    """Every data row that the key may see, in a project or not.

    Good for what is in no project yet, and for changes to data rows of long ago.
    """

    name = "catalog_data_rows"
    parents = ""
    exports = CatalogExports
    primary_keys = ("data_row_id",)
    selected_by_default = False
    schema = row_tables.CATALOG_DATA_ROWS
    parts, unfold = staticmethod(rows.as_it_is), staticmethod(rows.catalog_records)


class ExportErrorsStream(ExportedStream):
    """Every data row that Labelbox could not export, and why.

    Good for finding out what the other streams lack.
    """

    name = "export_errors"
    primary_keys = ("project_id", "task_id", "sequence")
    schema = row_tables.EXPORT_ERRORS
    unfold_error = staticmethod(rows.error_records)
    takes_fast_rows = True
