"""The tables that an exported data row becomes, column by column.

The records of each are made in :mod:`tap_labelbox.exports.rows`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from tap_labelbox.records.columns import (
    EMAIL,
    MAX_ID_PATH_BYTES,
    PEOPLE,
    Table,
    additional_columns,
    boolean,
    derived,
    email,
    id_path,
    identifier,
    identifiers,
    integer,
    json,
    key,
    number,
    objects,
    sources,
    string,
    string_or_number,
    tags,
    timestamp,
    within,
    word,
)

if TYPE_CHECKING:
    from tap_labelbox.records.columns import Column

# --- columns that several tables have ---------------------------------------------

(PROJECT_ID,) = derived(key("project_id", "ID of the project."))
DATA_ROW_ID = identifier(
    "data_row_id", "ID of the data row.", "data_row.id", required=True
)
LAST_ACTIVITY_AT = timestamp(
    "last_activity_at",
    "Latest activity on the data row; the bookmark is kept by this column. All "
    "records of a data row carry the same: those with an earlier one are gone "
    "from it.",
    "data_row.details.last_activity_at",
)
LABEL_ID = identifier("label_id", "ID of the label.", "id", required=True)
ROW_IDS = (PROJECT_ID, *derived(DATA_ROW_ID, LAST_ACTIVITY_AT))
LABEL_IDS = (*ROW_IDS, *derived(LABEL_ID))
ADDITIONAL_COLUMNS = additional_columns(
    "What has no column yet or does not fit its own, by its dotted path."
)


def sequence(description: str) -> Column:
    """Return the column of a number that is the last part of a key."""
    (column,) = derived(integer("sequence", description, required=True))
    return column


# --- data_row_exports ----------------------------------------------------------

# Paths that begin with "media" are those of the media_attributes, which are a column
# as well; with "project", those of the project that the row is read for.
DATA_ROW_EXPORTS = Table.of(
    PROJECT_ID,
    DATA_ROW_ID,
    LAST_ACTIVITY_AT,
    *within(
        "data_row",
        string_or_number("external_id", "The data row's own ID where it comes from."),
        string_or_number(
            "global_key", "The data row's own ID, unique in the organization."
        ),
        string(
            "row_data",
            "What is labeled: an address (which may expire), or the text or JSON "
            "itself; an address differs in each export.",
        ),
    ),
    *within(
        "data_row.details",
        identifier("dataset_id", "ID of the dataset."),
        string("dataset_name", "Name of the data row's dataset."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
        email(
            "created_by_email",
            "E-mail of who uploaded it.",
            "created_by",
            personal=EMAIL,
        ),
    ),
    *within(
        "media",
        word(
            "media_asset_type",
            "Kind of media, such as image or conversational.",
            "asset_type",
        ),
        word("media_mime_type", "MIME type of the file.", "mime_type"),
        integer("media_height", "Height in pixels.", "height"),
        integer("media_width", "Width in pixels.", "width"),
        string_or_number(
            "media_exif_rotation",
            "Orientation as the file's EXIF data has it.",
            "exif_rotation",
        ),
        number("media_frame_rate", "Frames a second of a video.", "frame_rate"),
        integer("media_frame_count", "Frames of a video.", "frame_count"),
        integer("media_page_count", "Pages of a document.", "page_count"),
        integer("media_message_count", "Messages of a conversation.", "message_count"),
        integer("media_content_length", "Size of the file in bytes.", "content_length"),
    ),
    json("media_attributes", "All that is known of the file, as exported."),
    *within(
        "project",
        string("project_name", "Name of the project.", "name"),
        tags(
            "project_tags",
            "Tags of the project, as exported; one that is only a text is an object "
            "that has it.",
        ),
    ),
    *within(
        "project.project_details",
        identifier("ontology_id", "ID of the ontology."),
        identifier("task_queue_id", "ID of the workflow step it is in.", "task_id"),
        string("task_queue_name", "Name of the workflow step it is in.", "task_name"),
        identifier("batch_id", "ID of the batch it was sent to the project in."),
        string("batch_name", "Name of the batch."),
        word("workflow_status", "TO_LABEL, IN_REVIEW, IN_REWORK or DONE."),
        integer("priority", "Place in the labeling queue; 1 comes first."),
        integer("consensus_expected_label_count", "Labels it is to get."),
        identifier("selected_label_id", "ID of the label that won the consensus."),
        objects(
            "workflow_history",
            "Its way through the workflow, newest first.",
            personal=PEOPLE,
            selected=False,
        ),
    ),
    *within(
        "project",
        objects(
            "labels",
            "Its labels in this project, as exported.",
            personal=PEOPLE,
            selected=False,
        ),
    ),
    objects(
        "attachments", "What labelers were shown with it, as exported.", selected=False
    ),
    objects("metadata_fields", "Its custom metadata, as exported.", selected=False),
    objects("embeddings", "Its embeddings, as exported."),
    ADDITIONAL_COLUMNS,
)
DATA_ROW: Any = {**DATA_ROW_EXPORTS.sources}
MEDIA, PROJECT = DATA_ROW.pop("media"), DATA_ROW.pop("project")


# --- catalog_data_rows ---------------------------------------------------------

OF_CATALOG = {
    *("data_row_id", "last_activity_at", "external_id", "global_key", "row_data"),
    *("dataset_id", "dataset_name", "created_by_email", "created_at", "updated_at"),
    *("media_attributes", "metadata_fields", "attachments", "additional_columns"),
}
# Selected all: data rows in no project have no rows in other tables.
CATALOG_DATA_ROWS = Table.of(
    *(
        replace(column, selected=True)
        for column in DATA_ROW_EXPORTS.columns
        if column.name in OF_CATALOG
    )
)


# --- export_labels, label_reviews ----------------------------------------------

EXPORT_LABELS = Table.of(
    *ROW_IDS,
    LABEL_ID,
    word("label_kind", "Default, Video and the like."),
    word("version", "Version of the notation."),
    *within(
        "label_details",
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
        timestamp("content_last_updated_at", "Latest change to its annotations."),
        email(
            "created_by_email", "E-mail of the labeler.", "created_by", personal=EMAIL
        ),
    ),
    *within(
        "performance_details",
        number(
            "seconds_to_create",
            "Seconds to create it: spent labeling; where there is a seconds_total, "
            "Labelbox gives that here as well, reviews and rework included.",
        ),
        number(
            "seconds_to_label",
            "Seconds spent labeling; nothing else, in exports from 2025 on.",
        ),
        number("seconds_to_review", "Seconds spent reviewing."),
        number(
            "seconds_to_rework", "Seconds spent on rework; in exports from 2025 on."
        ),
        number("seconds_total", "All these seconds; in exports from 2025 on."),
        boolean("is_skipped", "Whether the labeler skipped the data row.", "skipped"),
    ),
    *derived(
        boolean(
            "is_latest",
            "Whether it is the newest of its data row; null where no label says when "
            "it was made.",
        ),
        boolean(
            "is_selected",
            "Whether it won the consensus; null where the export names no winner.",
        ),
    ),
    *within(
        "performance_details",
        number(
            "benchmark_agreement",
            "Agreement with the benchmark label, 0 to 1; null where there is none.",
            "benchmark_score",
        ),
        identifier(
            "reference_label_id",
            "ID of the benchmark label: the one that it is measured against.",
            "benchmark_reference_label",
        ),
        number(
            "agreement",
            "Consensus with other labels of the data row, 0 to 1; null where there "
            "is none.",
            "consensus_score",
        ),
        integer("consensus_label_count", "Labels the consensus was formed of."),
        identifiers("consensus_label_ids", "IDs of these labels.", "consensus_labels"),
    ),
    *within(
        "label_details",
        objects("reviews", "Its reviews, as exported.", personal=PEOPLE),
    ),
    json("annotations", "Its annotations, as exported."),
    ADDITIONAL_COLUMNS,
)
TRUE_PERFORMANCE = "performance_details_v2"
EXPORT_LABELS.sources[TRUE_PERFORMANCE] = EXPORT_LABELS.sources["performance_details"]

LABEL_REVIEWS = Table.of(
    *LABEL_IDS,
    sequence("Number among the reviews of the label, the oldest being 1."),
    number("score", "1 approves, -1 rejects."),
    timestamp("created_at", "When it was given.", "reviewed_at"),
    email("created_by_email", "E-mail of the reviewer.", "reviewed_by", personal=EMAIL),
    ADDITIONAL_COLUMNS,
)


# --- workflow_history, data_row_metadata, data_row_attachments -------------------

WORKFLOW_HISTORY = Table.of(
    *ROW_IDS,
    sequence("Number among the steps of the data row, the oldest being 1."),
    word("action", "What was done: Move, Approve, Reject, Rework and so on."),
    timestamp("created_at", "When it was taken."),
    email("created_by_email", "E-mail of who took it.", "created_by", personal=EMAIL),
    identifier(
        "previous_task_queue_id",
        "ID of the workflow step it came from.",
        "previous_task_id",
    ),
    string(
        "previous_task_queue_name",
        "Name of the workflow step it came from.",
        "previous_task_name",
    ),
    identifier(
        "next_task_queue_id", "ID of the workflow step it went to.", "next_task_id"
    ),
    string(
        "next_task_queue_name",
        "Name of the workflow step it went to.",
        "next_task_name",
    ),
    ADDITIONAL_COLUMNS,
)

VALUE_NUMBER = number("value_number", "The value if it is a number.")
# Paths that begin with "option" are those of a chosen option.
DATA_ROW_METADATA = Table.of(
    *ROW_IDS,
    identifier(
        "schema_id",
        "ID of the metadata field; where it has none, its name.",
        required=True,
    ),
    sequence("Number among the values of the field, from 1."),
    string("schema_name", "Name of the metadata field."),
    word("schema_kind", "Type of the metadata field, where the export has it."),
    *derived(
        string("value_string", "The value if it is a text; timestamps are text too."),
        VALUE_NUMBER,
        timestamp("value_datetime", "The value if it is a timestamp."),
    ),
    *within(
        "option",
        identifier("option_id", "ID of the chosen option of the field.", "schema_id"),
        string("option_name", "Name of the chosen option of the field.", "schema_name"),
    ),
    ADDITIONAL_COLUMNS,
)
OPTION: Any = DATA_ROW_METADATA.sources.pop("option")

DATA_ROW_ATTACHMENTS = Table.of(
    *ROW_IDS,
    sequence("Number among the attachments of the data row, from 1."),
    word("type", "IMAGE, VIDEO, RAW_TEXT, HTML and the like."),
    string("name", "Its name."),
    string("value", "An address, which may expire, or the text itself."),
    ADDITIONAL_COLUMNS,
)

# --- export_errors -----------------------------------------------------------------

EXPORT_ERRORS = Table.of(
    PROJECT_ID,
    key("task_id", "ID of the export."),
    sequence("Number among the errors of the export, from 1."),
    identifier("data_row_id", "ID of the data row; null where the error names none."),
    string("message", "What went wrong."),
    json("error", "The error as Labelbox reports it."),
    timestamp(
        "last_activity_at",
        "Latest activity on the data row; null where the error does not say.",
    ),
    ADDITIONAL_COLUMNS,
)

FEATURE = (
    identifier("feature_id", "ID of the feature; the same in all frames of a video."),
    identifier("feature_schema_id", "ID of its class or question in the ontology."),
    string("name", "Name of its class or question."),
    string("value", "Name of its class or question, as a program would write it."),
)

# --- annotations ---------------------------------------------------------------

# Paths that begin with "answer" are those of an answer; with "geometry", those of what
# becomes the column of that name.
ANNOTATION = (
    *derived(
        id_path(
            "annotation_id",
            "Group, frame and the feature IDs on the way down, joined with a slash; "
            "where there is no feature ID, kind and name. What would have the ID of "
            "another ends with #2 and so on; one of more than "
            f"{MAX_ID_PATH_BYTES} bytes ends with its SHA-256.",
            required=True,
        ),
        id_path(
            "parent_annotation_id",
            "What it is nested in; null at the top. Of a segment without a record in "
            "its first frame, as in the first frame that has one.",
        ),
        string("path", "Names on the way down to its own, joined with a slash."),
        integer("depth", "How deep it is nested; 0 at the top."),
    ),
    *FEATURE,
    string(
        "annotation_kind",
        "Kind of annotation: ImageBoundingBox and the like for objects; Radio, "
        "Checklist or Text for answers; Segment for a segment of which no record "
        "says; for what is not known yet, its key.",
    ),
    *within(
        "answer",
        identifier(
            "answer_feature_id", "ID of the chosen option as a feature.", "feature_id"
        ),
        identifier(
            "answer_feature_schema_id",
            "ID of the chosen option in the ontology.",
            "feature_schema_id",
        ),
        string("answer_name", "Name of the chosen option.", "name"),
        string(
            "answer_value", "The chosen option, as a program would write it.", "value"
        ),
        string("answer_text", "What was written in answer.", "content"),
    ),
    *within(
        "geometry.bounding_box",
        number("box_top", "Upper edge of the bounding box.", "top"),
        number("box_left", "Left edge of the bounding box.", "left"),
        number("box_height", "Height of the bounding box.", "height"),
        number("box_width", "Width of the bounding box.", "width"),
    ),
    *within(
        "geometry.point",
        number("point_x", "Distance of the point from the left.", "x"),
        number("point_y", "Distance of the point from the top.", "y"),
    ),
    integer(
        "text_start",
        "First character of the marked text, counted from 0.",
        "geometry.location.start",
        "geometry.conversational_location.location.start",
    ),
    integer(
        "text_end",
        "Last character of the marked text.",
        "geometry.location.end",
        "geometry.conversational_location.location.end",
    ),
    string(
        "text_token",
        "The marked text, where the export has it.",
        "geometry.location.token",
        "geometry.conversational_location.location.token",
    ),
    integer("page_number", "Page of the document; the first of several."),
    identifier(
        "message_id",
        "Message of the conversation it is about.",
        "message_id",
        "geometry.conversational_location.message_id",
        "geometry.selected_message.message_id",
    ),
    *derived(
        string("group_name", "View of a DICOM study, such as Axial."),
        integer(
            "z_order",
            "Rank among the objects of the label that lie above each other: its "
            "place in the export's list of them, from 1.",
        ),
        integer("frame", "Frame it was seen in, or in which its segment begins."),
        integer(
            "frame_end",
            "Last frame of the segment that begins with this record's frame. Where a "
            "segment begins in a frame that is not exported, it has a record of its "
            "own, without geometry.",
        ),
        boolean(
            "is_key_frame",
            "Whether somebody drew it in this frame; null where the export does not "
            "say.",
        ),
    ),
    *within(
        "geometry.mask",
        string("mask_url", "Address of the mask; it wants the API key.", "url"),
    ),
    *derived(json("geometry", "All its geometry, as exported.")),
)
"""The columns of an annotation, whoever made it."""


class AnnotationTable(Table):
    """A table of annotations, which says where its columns come from."""

    answer: Any
    """The columns of an answer."""
    lists = frozenset({"objects", "classifications"})
    """Which lists of an export its records are made of."""

    @classmethod
    def of(cls, *columns: Column) -> Self:
        """Return the table of these columns."""
        table = super().of(*columns)
        table.answer = table.sources.pop("answer")
        del table.sources["geometry"]
        return table


ANNOTATIONS = AnnotationTable.of(*LABEL_IDS, *ANNOTATION, ADDITIONAL_COLUMNS)
MEASURES: Any = sources(ANNOTATION)["geometry"]


# --- annotation_relationships --------------------------------------------------

# Paths that begin with "relationship" are those of the block that says what relates.
ANNOTATION_RELATIONSHIPS = Table.of(
    *LABEL_IDS,
    *derived(
        identifier(
            "relationship_id",
            "Its feature ID; where there is none, of its ends.",
            required=True,
        )
    ),
    *FEATURE,
    string("annotation_kind", "Kind of annotation: as exported."),
    *within(
        "relationship",
        identifier(
            "source_feature_id", "Feature ID of the annotation it goes from.", "source"
        ),
        identifier(
            "target_feature_id", "Feature ID of the annotation it goes to.", "target"
        ),
        string("relationship_type", "Its type, such as unidirectional.", "type"),
    ),
    objects("classifications", "Questions answered about it, as exported."),
    ADDITIONAL_COLUMNS,
)
RELATED: Any = ANNOTATION_RELATIONSHIPS.sources.pop("relationship")
