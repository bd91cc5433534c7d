"""The streams of the data row export: what each is called and which columns it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from tap_labelbox.exports.unfold import (
    annotation_records,
    attachment_records,
    data_row_records,
    label_records,
    metadata_records,
    relationship_records,
    review_records,
    workflow_records,
)
from tap_labelbox.records.columns import as_id
from tap_labelbox.streams.exported import ExportedStream
from tap_labelbox.streams.schema import boolean as _boolean
from tap_labelbox.streams.schema import integer as _integer
from tap_labelbox.streams.schema import json as _object
from tap_labelbox.streams.schema import key as _key
from tap_labelbox.streams.schema import number as _number
from tap_labelbox.streams.schema import objects as _objects
from tap_labelbox.streams.schema import text as _text
from tap_labelbox.streams.schema import texts as _texts
from tap_labelbox.streams.schema import timestamp as _timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_labelbox.records.columns import Record


def _sequence(description: str) -> th.Property[Any]:
    return th.Property(
        "sequence", th.IntegerType, required=True, description=description
    )


# The columns that every table begins or ends with.
ROW = (
    _key("project_id", "ID of the project."),
    _key("data_row_id", "ID of the data row."),
    _timestamp(
        "last_activity_at",
        "Latest activity on the data row; the bookmark is kept by this column. All "
        "records of a data row carry the same: those with an earlier one are gone "
        "from it.",
    ),
)
LABEL = (*ROW, _key("label_id", "ID of the label."))
REST = _object(
    "additional_columns",
    "What has no column yet or does not fit its own, by its dotted path.",
)
LABELS = frozenset({"labels"})
ANNOTATIONS = LABELS | {"annotations"}
FEATURE = (
    _text("feature_id", "ID of the feature; the same in all frames of a video."),
    _text("feature_schema_id", "ID of its class or question in the ontology."),
    _text("name", "Name of its class or question."),
    _text("value", "Name of its class or question, as a program would write it."),
)


class DataRowExportsStream(ExportedStream):
    """Every data row of every project, whether it is labeled or not.

    Good for what waits where in the workflow, and for which records of the other
    streams are current. With its columns of JSON it is the export as it came.
    """

    name = "data_row_exports"
    primary_keys = ("project_id", "data_row_id")
    unfold = staticmethod(data_row_records)
    schema = th.PropertiesList(
        *ROW,
        _text("external_id", "The data row's own ID where it comes from."),
        _text("global_key", "The data row's own ID, unique in the organization."),
        _text(
            "row_data",
            "What is labeled: an address (which may expire), or the text or JSON "
            "itself; an address differs in each export.",
        ),
        _text("dataset_id", "ID of the data row's dataset."),
        _text("dataset_name", "Name of the data row's dataset."),
        _timestamp("created_at", "When it was made."),
        _timestamp("updated_at", "Latest change to it."),
        _text("created_by_email", "E-mail of who uploaded it."),
        _text("media_asset_type", "Kind of media, such as image or conversational."),
        _text("media_mime_type", "MIME type of the file."),
        _integer("media_height", "Height in pixels."),
        _integer("media_width", "Width in pixels."),
        _text("media_exif_rotation", "Orientation as the file's EXIF data has it."),
        _number("media_frame_rate", "Frames a second of a video."),
        _integer("media_frame_count", "Frames of a video."),
        _integer("media_page_count", "Pages of a document."),
        _integer("media_message_count", "Messages of a conversation."),
        _integer("media_content_length", "Size of the file in bytes."),
        _object("media_attributes", "All that is known of the file, as exported."),
        _text("project_name", "Name of the project."),
        _objects(
            "project_tags",
            "Tags of the project, as exported; one that is only a text is an object "
            "that has it.",
        ),
        _text("ontology_id", "ID of the project's ontology."),
        _text("task_queue_id", "ID of the workflow step it is in."),
        _text("task_queue_name", "Name of the workflow step it is in."),
        _text("batch_id", "ID of the batch it was sent to the project in."),
        _text("batch_name", "Name of the batch."),
        _text("workflow_status", "TO_LABEL, IN_REVIEW, IN_REWORK or DONE."),
        _integer("priority", "Place in the labeling queue; 1 comes first."),
        _integer("consensus_expected_label_count", "Labels it is to get."),
        _text("selected_label_id", "ID of the label that won the consensus."),
        _objects(
            "workflow_history",
            "Its way through the workflow, newest first, with e-mails.",
        ),
        _objects("labels", "Its labels in this project, as exported, with e-mails."),
        _objects("attachments", "What labelers were shown with it, as exported."),
        _objects("metadata_fields", "Its custom metadata, as exported."),
        _objects("embeddings", "Its embeddings, as exported."),
        REST,
    ).to_dict()


class ExportLabelsStream(ExportedStream):
    """Every label of every exported data row, with who, when and how good.

    Good for throughput, time spent, agreement with others and with benchmarks.
    """

    name = "export_labels"
    primary_keys = ("project_id", "data_row_id", "label_id")
    unfold = staticmethod(label_records)
    decoded_columns = LABELS
    schema = th.PropertiesList(
        *LABEL,
        _text("label_kind", "Default, Video and the like."),
        _text("version", "Version of the notation."),
        _timestamp("created_at", "When it was made."),
        _timestamp("updated_at", "Latest change to it."),
        _timestamp("content_last_updated_at", "Latest change to its annotations."),
        _text("created_by_email", "E-mail of the labeler."),
        _number(
            "seconds_to_create",
            "Seconds to create it: spent labeling; where there is a seconds_total, "
            "Labelbox gives that here as well, reviews and rework included.",
        ),
        _number(
            "seconds_to_label",
            "Seconds spent labeling; nothing else, in exports from 2025 on.",
        ),
        _number("seconds_to_review", "Seconds spent reviewing."),
        _number(
            "seconds_to_rework", "Seconds spent on rework; in exports from 2025 on."
        ),
        _number("seconds_total", "All these seconds; in exports from 2025 on."),
        _boolean("is_skipped", "Whether the labeler skipped the data row."),
        _boolean(
            "is_latest",
            "Whether it is the newest of its data row; null where no label says when "
            "it was made.",
        ),
        _boolean(
            "is_selected",
            "Whether it won the consensus; null where the export names no winner.",
        ),
        _number(
            "benchmark_agreement",
            "Agreement with the benchmark label, 0 to 1; null where there is none.",
        ),
        _text(
            "reference_label_id",
            "ID of the benchmark label that it is measured against.",
        ),
        _number(
            "agreement",
            "Consensus with other labels of the data row, 0 to 1; null where there is "
            "none.",
        ),
        _integer("consensus_label_count", "Labels the consensus was formed of."),
        _texts("consensus_label_ids", "IDs of these labels."),
        _objects("reviews", "Its reviews, as exported, with e-mails."),
        _object("annotations", "Its annotations, as exported."),
        REST,
    ).to_dict()


class AnnotationsStream(ExportedStream):
    """Every object and every answer, at any depth, frame by frame in a video.

    Good for what was drawn and answered: counts by class, sizes, training sets.
    """

    name = "annotations"
    primary_keys = ("project_id", "data_row_id", "label_id", "annotation_id")
    unfold = staticmethod(annotation_records)
    decoded_columns = ANNOTATIONS
    schema = th.PropertiesList(
        *LABEL,
        _key(
            "annotation_id",
            "Group, frame and the feature IDs on the way down, joined with a slash; "
            "where there is no feature ID, kind and name. What would have the ID of "
            "another ends with #2 and so on.",
        ),
        _text(
            "parent_annotation_id",
            "What it is nested in; null at the top. Of a segment without a record in "
            "its first frame, as in the first frame that has one.",
        ),
        _text("path", "Names on the way down to its own, joined with a slash."),
        _integer("depth", "How deep it is nested; 0 at the top."),
        *FEATURE,
        _text(
            "annotation_kind",
            "Kind of annotation: ImageBoundingBox and the like for objects; Radio, "
            "Checklist or Text for answers; Segment for a segment of which no record "
            "tells; for what is not known yet, its key.",
        ),
        _text("answer_feature_id", "ID of the chosen option as a feature."),
        _text("answer_feature_schema_id", "ID of the chosen option in the ontology."),
        _text("answer_name", "Name of the chosen option."),
        _text("answer_value", "The chosen option, as a program would write it."),
        _text("answer_text", "What was written in answer."),
        _number("box_top", "Upper edge of the bounding box."),
        _number("box_left", "Left edge of the bounding box."),
        _number("box_height", "Height of the bounding box."),
        _number("box_width", "Width of the bounding box."),
        _number("point_x", "Distance of the point from the left."),
        _number("point_y", "Distance of the point from the top."),
        _integer("text_start", "First character of the marked text, counted from 0."),
        _integer("text_end", "Last character of the marked text."),
        _text("text_token", "The marked text, where the export has it."),
        _integer("page_number", "Page of the document; the first of several."),
        _text("message_id", "Message of the conversation it is about."),
        _text("group_name", "View of a DICOM study, such as Axial."),
        _integer(
            "z_order",
            "Rank among the objects of the label that lie above each other: its place "
            "in the export's list of them, from 1.",
        ),
        _integer("frame", "Frame it was seen in, or in which its segment begins."),
        _integer(
            "frame_end",
            "Last frame of the segment that begins with this record's frame. Where a "
            "segment begins in a frame that is not exported, it has a record of its "
            "own, without geometry.",
        ),
        _boolean(
            "is_key_frame",
            "Whether somebody drew it in this frame; null where the export does not "
            "tell.",
        ),
        _text("mask_url", "Address of the mask; it wants the API key."),
        _object("geometry", "All its geometry, as exported."),
        REST,
    ).to_dict()


class AnnotationRelationshipsStream(ExportedStream):
    """Every relationship between two annotations of a label.

    Good for what belongs to what, such as a rider to a bicycle.
    """

    name = "annotation_relationships"
    primary_keys = ("project_id", "data_row_id", "label_id", "relationship_id")
    unfold = staticmethod(relationship_records)
    decoded_columns = ANNOTATIONS
    schema = th.PropertiesList(
        *LABEL,
        _key("relationship_id", "Its feature ID; where there is none, of its ends."),
        *FEATURE,
        _text("annotation_kind", "Kind of annotation: as exported."),
        _text("source_feature_id", "Feature ID of the annotation it goes from."),
        _text("target_feature_id", "Feature ID of the annotation it goes to."),
        _text("relationship_type", "Its type, such as unidirectional."),
        _objects("classifications", "Questions answered about it, as exported."),
        REST,
    ).to_dict()


class LabelReviewsStream(ExportedStream):
    """Every review of every label.

    Good for rates of approval, by labeler and by reviewer.
    """

    name = "label_reviews"
    primary_keys = ("project_id", "data_row_id", "label_id", "sequence")
    unfold = staticmethod(review_records)
    decoded_columns = LABELS
    schema = th.PropertiesList(
        *LABEL,
        _sequence("Number among the reviews of the label, the oldest being 1."),
        _number("score", "1 approves, -1 rejects."),
        _timestamp("created_at", "When it was given."),
        _text("created_by_email", "E-mail of the reviewer."),
        REST,
    ).to_dict()


class WorkflowHistoryStream(ExportedStream):
    """Every step of a data row through the workflow of a project.

    Good for the time spent in each step, and for what was sent back to rework.
    """

    name = "workflow_history"
    primary_keys = ("project_id", "data_row_id", "sequence")
    unfold = staticmethod(workflow_records)
    decoded_columns = frozenset()
    schema = th.PropertiesList(
        *ROW,
        _sequence("Number among the steps of the data row, the oldest being 1."),
        _text("action", "What was done: Move, Approve, Reject, Rework and so on."),
        _timestamp("created_at", "When it was taken."),
        _text("created_by_email", "E-mail of who took it."),
        _text("previous_task_queue_id", "ID of the workflow step it came from."),
        _text("previous_task_queue_name", "Name of the workflow step it came from."),
        _text("next_task_queue_id", "ID of the workflow step it went to."),
        _text("next_task_queue_name", "Name of the workflow step it went to."),
        REST,
    ).to_dict()


class DataRowMetadataStream(ExportedStream):
    """Custom metadata of data rows, by type; each chosen option is a record.

    Good for any figure by site, camera, date or whatever is kept there.
    """

    name = "data_row_metadata"
    primary_keys = ("project_id", "data_row_id", "schema_id", "sequence")
    unfold = staticmethod(metadata_records)
    decoded_columns = frozenset({"metadata_fields"})
    schema = th.PropertiesList(
        *ROW,
        _key(
            "schema_id",
            "ID of the metadata field; where it has none, its name.",
        ),
        _sequence("Number among the values of the field, from 1."),
        _text("schema_name", "Name of the metadata field."),
        _text("schema_kind", "Type of the metadata field, where the export has it."),
        _text("value_string", "The value if it is a text; timestamps are text too."),
        _number("value_number", "The value if it is a number."),
        _timestamp("value_datetime", "The value if it is a timestamp."),
        _text("option_id", "ID of the chosen option of the field."),
        _text("option_name", "Name of the chosen option of the field."),
        REST,
    ).to_dict()


class DataRowAttachmentsStream(ExportedStream):
    """What labelers were shown with a data row.

    Good for what else was on the screen when a label was made.
    """

    name = "data_row_attachments"
    primary_keys = ("project_id", "data_row_id", "sequence")
    unfold = staticmethod(attachment_records)
    decoded_columns = frozenset({"attachments"})
    schema = th.PropertiesList(
        *ROW,
        _sequence("Number among the attachments of the data row, from 1."),
        _text("type", "IMAGE, VIDEO, RAW_TEXT, HTML and the like."),
        _text("name", "Its name."),
        _text("value", "An address, which may expire, or the text itself."),
        REST,
    ).to_dict()


class ExportErrorsStream(ExportedStream):
    """What Labelbox could not export, and why.

    Good for finding out what the other streams lack.
    """

    name = "export_errors"
    primary_keys = ("project_id", "task_id", "sequence")
    schema = th.PropertiesList(
        _key("project_id", "ID of the project."),
        _key("task_id", "ID of the export."),
        _sequence("Number among the errors of the export, from 1."),
        _text("data_row_id", "ID of the data row; null where the error names none."),
        _text("message", "What went wrong."),
        _object("error", "The error as Labelbox tells it."),
        _timestamp(
            "last_activity_at",
            "Latest activity on the data row; null where the error does not tell.",
        ),
    ).to_dict()

    @staticmethod
    def unfold_error(
        error: Any, project_id: str, task_id: str, sequence: int
    ) -> Iterator[Record]:
        """Return the record of one line; its shape is not documented."""
        error = error if isinstance(error, dict) else {"error": error}
        data_row, message = error.get("data_row"), error.get("error")
        data_row_id = as_id(data_row.get("id")) if isinstance(data_row, dict) else None
        yield {
            "project_id": project_id,
            "task_id": task_id,
            "sequence": sequence,
            "data_row_id": data_row_id,
            "message": message if isinstance(message, str) else None,
            "error": error,
            "last_activity_at": None,
        }
