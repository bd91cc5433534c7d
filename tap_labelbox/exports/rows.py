"""One exported data row, unfolded into the records of flat tables.

There is a table of columns and a function for each stream; the function takes a row in
one of its projects. Nothing is dropped and nothing raises: what does not fit its
column, and what nobody knows yet, is kept in ``additional_columns``. The records of
annotations are made in :mod:`tap_labelbox.exports.annotations`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_labelbox.records import json_text
from tap_labelbox.records.columns import (
    EMAIL,
    PEOPLE,
    Table,
    additional_columns,
    boolean,
    derived,
    email,
    identifier,
    identifiers,
    integer,
    json,
    key,
    number,
    objects,
    string,
    string_or_number,
    tags,
    timestamp,
    within,
    word,
)
from tap_labelbox.records.malformed import MalformedError, described
from tap_labelbox.records.values import (
    FEW_ID_CHARACTERS,
    MAX_ID_BYTES,
    as_id,
    as_key,
    as_timestamp,
    populate,
    shortened_id,
    store,
    to_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_labelbox.records.columns import (
        Column,
        Record,
        Row,
        Sources,
    )

# --- the parts of a row --------------------------------------------------------


class DataRow(dict[str, Any]):
    """A data row as it is in the export."""

    @property
    def project_ids(self) -> Iterable[str]:
        """The projects that it says it is in."""
        return block(self, "projects").keys()

    @cached_property
    def last_activity_at(self) -> str | None:
        """The timestamp at which something last happened to it."""
        details = block(block(self, "data_row"), "details")
        return as_timestamp(details.get("last_activity_at"))

    def in_project(self, project_id: str) -> ProjectRow:
        """Return the data row as one of its projects has it."""
        return ProjectRow(self, project_id)


class ProjectRow:
    """A data row in one of its projects, of which all its tables are made."""

    def __init__(self, row: DataRow, project_id: str) -> None:
        """Find the columns that every table has."""
        self.row = row
        self.project_id = project_id
        self.project = block(block(row, "projects"), project_id)
        self.details = block(self.project, "project_details")
        self.ids: Record = {
            "project_id": shortened_id(project_id),
            "data_row_id": data_row_id(row) or "",
            "last_activity_at": row.last_activity_at,
        }

    @cached_property
    def labels(self) -> list[tuple[Record, Any]]:
        """Its labels, each with the columns of IDs of its tables."""
        ids = UniqueIds()
        labels = []
        for name, label in items(self.project.get("labels")):
            own = as_id(label.get("id")) if isinstance(label, dict) else None
            label_id = ids.assign(own or name or "label")
            labels.append((self.ids | {"label_id": label_id}, label))
        return labels

    @property
    def record(self) -> Record:
        """The record of data_row_exports."""
        unmapped: Row = {}
        record = DATA_ROW_EXPORTS.blank.copy()
        record["additional_columns"] = unmapped
        populate(record, unmapped, DATA_ROW, self.row, "")
        populate(record, {}, MEDIA, record["media_attributes"] or {}, "")
        # The other projects of a row are read in turns of their own.
        project = unmapped.pop("projects", None)
        if isinstance(project, dict):
            project = project.get(self.project_id)
        if isinstance(project, dict):
            populate(record, unmapped, PROJECT, project, "project.")
        elif project is not None:
            unmapped["projects"] = project
        if self.ids["project_id"] != self.project_id:  # it was too long
            unmapped["project_id"] = self.project_id
        return record | self.ids


def in_projects(row: Any) -> Iterable[Any]:
    """Return a data row as each of its projects has it, or as none has it."""
    return [row.in_project(project_id) for project_id in row.project_ids or ("",)]


class UniqueIds:
    """IDs that were assigned in one row or label, to assign none twice.

    Args:
        max_bytes: The most that an ID may have; a longer one is shortened.
    """

    def __init__(self, max_bytes: int = MAX_ID_BYTES) -> None:
        """Begin with none."""
        self._max_bytes = max_bytes
        self._assigned: dict[str, int] = {}  # and the last number of each

    def assign(self, base_id: str) -> str:
        """Return an ID, with a number at its end if it was assigned before.

        An ID is passed over once at most, by the one that it is a numbered form of.
        So this stays linear, whatever IDs there are.
        """
        if len(base_id) > FEW_ID_CHARACTERS:
            base_id = shortened_id(base_id, self._max_bytes)
        if base_id not in self._assigned:
            self._assigned[base_id] = 1
            return base_id
        number = self._assigned[base_id] + 1
        while (numbered := self._numbered(base_id, number)) in self._assigned:
            number += 1
        self._assigned[base_id] = number
        self._assigned[numbered] = 1
        return numbered

    def _numbered(self, base_id: str, number: int) -> str:
        return shortened_id(f"{base_id}#{number}", self._max_bytes)


def decode_rows(lines: bytes) -> list[DataRow]:
    """Return the data rows of some lines.

    Raises:
        MalformedError: If one of the lines is no data row with an ID.
        ValueError: If one is no JSON.
    """
    return [identified(row) for row in json_text.decode_lines(lines)]


def identified(row: Row) -> DataRow:
    """Return a data row that has an ID, which its records need for a key.

    Raises:
        MalformedError: If it has none.
    """
    if not data_row_id(row):
        msg = f"it has no data_row.id ({described(row)})"
        raise MalformedError(msg)
    return DataRow(row)


def data_row_id(row: Row) -> str | None:
    """Return the ID of a data row; without one there is no record of it."""
    return as_key(block(row, "data_row").get("id"))


def block(outer: Any, name: str) -> Row:
    """Return the block within a block; an empty one if there is none."""
    inner = outer.get(name) if isinstance(outer, dict) else None
    return inner if isinstance(inner, dict) else {}


def items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of a list or of an object, each with its key in the latter.

    Lists within lists are taken apart, and what is no list is an item itself.
    """
    if isinstance(value, dict) and all(
        item is None or isinstance(item, dict) for item in value.values()
    ):
        yield from ((name, item) for name, item in value.items() if item is not None)
        return
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += reversed(item)
        elif item is not None:
            yield "", item


def numbered(records: list[Record]) -> Iterator[Record]:
    """Yield records oldest first, numbered from 1."""
    records.sort(key=lambda record: record["created_at"] or "")
    for sequence, record in enumerate(records, 1):
        yield record | {"sequence": sequence}


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


def data_row_records(row: ProjectRow) -> Iterator[Record]:
    """Yield the one record of a data row in a project."""
    yield row.record


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


def as_it_is(row: DataRow) -> Iterable[DataRow]:
    """Return a data row as the one thing that it is, whatever it is in."""
    return (row,)


def catalog_records(row: DataRow) -> Iterator[Record]:
    """Yield the one record of a data row, in a project or not."""
    record = to_record(CATALOG_DATA_ROWS, row, {})
    # What projects and model runs make of it, other exports hold.
    for others in ("projects", "experiments"):
        record["additional_columns"].pop(others, None)
    yield record | {"data_row_id": data_row_id(row)}


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


def label_records(row: ProjectRow) -> Iterator[Record]:
    """Yield a record for each label."""
    records = [
        to_record(EXPORT_LABELS, _true_first(label), ids) for ids, label in row.labels
    ]
    selected = as_key(row.details.get("selected_label_id"))
    dated = [r for r in records if r["created_at"] is not None]
    # The ID decides between labels of one timestamp: there is one latest.
    latest = max(dated, key=lambda r: (r["created_at"], r["label_id"]), default=None)
    for record in records:
        if latest is not None:
            record["is_latest"] = record is latest
        if selected is not None:
            record["is_selected"] = record["label_id"] == selected
        yield record


def _true_first(label: Any) -> Any:
    """Return a label in which the true seconds precede the others of their names.

    A column takes the first value; another one is put aside.
    """
    if isinstance(label, dict) and TRUE_PERFORMANCE in label:
        return {TRUE_PERFORMANCE: label[TRUE_PERFORMANCE]} | label
    return label


def review_records(row: ProjectRow) -> Iterator[Record]:
    """Yield a record for each review of each label, oldest first."""
    for ids, label in row.labels:
        reviews = items(block(label, "label_details").get("reviews"))
        yield from numbered(
            [to_record(LABEL_REVIEWS, item, ids) for _, item in reviews]
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


def workflow_records(row: ProjectRow) -> Iterator[Record]:
    """Yield a record for each step through the workflow, oldest first."""
    steps = [*items(row.details.get("workflow_history"))]
    # The export gives the newest first; steps of one timestamp keep that order.
    yield from numbered(
        [to_record(WORKFLOW_HISTORY, step, row.ids) for _, step in reversed(steps)]
    )


def metadata_records(row: ProjectRow) -> Iterator[Record]:
    """Yield a record for each metadata field, and for each chosen option of one."""
    counts: dict[str, int] = {}
    for _, field in items(row.row.get("metadata_fields")):
        field_record = to_record(DATA_ROW_METADATA, field, row.ids)
        known_by = field_record["schema_id"] or field_record["schema_name"]
        schema_id = field_record["schema_id"] = shortened_id(known_by or "unnamed")
        value = field_record["additional_columns"].pop("value", None)
        for _, item in [*items(value)] or [("", None)]:
            unmapped = {**field_record["additional_columns"]}
            record = {**field_record, "additional_columns": unmapped}
            _fill_value(record, unmapped, item)
            counts[schema_id] = counts.get(schema_id, 0) + 1
            yield record | {"sequence": counts[schema_id]}


def _fill_value(record: Record, unmapped: Row, value: Any) -> None:
    """Put a metadata value in the columns of its type."""
    if isinstance(value, dict):
        populate(record, unmapped, OPTION, value, "value.")
    elif "Enum" in (record["schema_kind"] or "") and as_id(value):
        store(record, unmapped, OPTION["schema_id"], value, "value")
    elif isinstance(value, str):
        record["value_string"] = value
        record["value_datetime"] = as_timestamp(value)
    elif value is not None:
        store(record, unmapped, VALUE_NUMBER, value, "value")


def attachment_records(row: ProjectRow) -> Iterator[Record]:
    """Yield a record for each attachment, in the export's order."""
    for sequence, (_, item) in enumerate(items(row.row.get("attachments")), 1):
        record = to_record(DATA_ROW_ATTACHMENTS, item, row.ids)
        yield record | {"sequence": sequence}


ROWS_IN_JSON: dict[str, Sources] = {
    "labels": {**EXPORT_LABELS.sources, "z_order": json("z_order", "")},
    "reviews": LABEL_REVIEWS.sources,
    "workflow_history": WORKFLOW_HISTORY.sources,
}
"""Lists of a data row whose items are rows of tables: where their columns come from."""

# --- export_errors -----------------------------------------------------------------

EXPORT_ERRORS = Table.of(
    PROJECT_ID,
    key("task_id", "ID of the export."),
    sequence("Number among the errors of the export, from 1."),
    identifier("data_row_id", "ID of the data row; null where the error names none."),
    string("message", "What went wrong."),
    json("error", "The error as Labelbox tells it."),
    timestamp(
        "last_activity_at",
        "Latest activity on the data row; null where the error does not tell.",
    ),
    ADDITIONAL_COLUMNS,
)


def error_records(
    error: Any, project_id: str, task_id: str, sequence: int
) -> Iterator[Record]:
    """Yield the record of one line of errors; its shape is not documented."""
    error = error if isinstance(error, dict) else {"error": error}
    message = error.get("error")
    yield {
        "project_id": shortened_id(project_id),
        "task_id": task_id,
        "sequence": sequence,
        "data_row_id": data_row_id(error),
        "message": message if isinstance(message, str) else None,
        "error": error,
        "last_activity_at": None,
        "additional_columns": {},
    }
