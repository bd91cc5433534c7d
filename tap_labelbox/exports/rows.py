"""One exported data row, unfolded into the records of flat tables.

There is a function for each table of :mod:`tap_labelbox.exports.row_tables`; it takes a
row in one of its projects. Nothing is dropped and nothing raises: what does not fit
its column, and what nobody knows yet, is kept in ``additional_columns``.

How an annotation gets its ``annotation_id``: by the feature IDs on the way down,
joined with ``/``, after the group and the frame if there are any. Of the answers of
a checklist each adds its own; a radio or text answer is known by its question, so
that a changed answer keeps its record. Where there is no feature ID, kind, name and
message stand in for it; what would have the ID of another gets ``#2``, ``#3`` etc.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_labelbox.exports.row_tables import (
    ANNOTATION_RELATIONSHIPS,
    ANNOTATIONS,
    CATALOG_DATA_ROWS,
    DATA_ROW,
    DATA_ROW_ATTACHMENTS,
    DATA_ROW_EXPORTS,
    DATA_ROW_METADATA,
    EXPORT_LABELS,
    LABEL_REVIEWS,
    MEASURES,
    MEDIA,
    OPTION,
    PROJECT,
    RELATED,
    TRUE_PERFORMANCE,
    VALUE_NUMBER,
    WORKFLOW_HISTORY,
)
from tap_labelbox.records import json_text
from tap_labelbox.records.columns import MAX_ID_PATH_BYTES
from tap_labelbox.records.malformed import MalformedError, described
from tap_labelbox.records.values import (
    MAX_ID_BYTES,
    as_id,
    as_integer,
    as_key,
    as_objects,
    as_string,
    as_timestamp,
    populate,
    shortened_id,
    store,
    to_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_labelbox.exports.row_tables import AnnotationTable
    from tap_labelbox.records.columns import Record, Row

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


# --- data rows and their labels -------------------------------------------------


def data_row_records(row: ProjectRow) -> Iterator[Record]:
    """Yield the one record of a data row in a project."""
    yield row.record


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


# --- what else a data row has ------------------------------------------------------


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


# --- annotations -----------------------------------------------------------------

MAX_ANSWER_DEPTH = 50  # levels of nested answers; what is below stays JSON

ANSWER_KINDS = {
    "radio_answer": "Radio",
    "checklist_answers": "Checklist",
    "text_answer": "Text",
}
ANSWER_ENDINGS = ("answer", "answers")

GEOMETRIES = frozenset(MEASURES) | {
    "polygon",
    "line",
    "composite_mask",
    "page_dimensions",
    "geojson",
    "geometry",
    "selected_messages",
    "ranked_messages",
}
EMPTY: tuple[Any, ...] = (None, [], {})
RELATIONSHIPS = "relationships"
MARKS = ("segments", "key_frame_feature_map")  # columns of the records of frames
# What a part of the annotations consists of, by the column that names each.
PARTS = {
    ("annotations", "groups"): "group_name",
    ("annotations", "frames"): "frame",
    ("annotations", "timestamp"): "frame",
    ("group_name", "frames"): "frame",
    ("group_name", "timestamp"): "frame",
}
Z_ORDER = "z_order"  # of a label: feature ids
# What a segment has from the other records of its feature, or of its answer.
OF_FEATURE = (
    *("feature_id", "feature_schema_id", "name", "value", "annotation_kind"),
    *("parent_annotation_id", "path", "depth"),
)
OF_ANSWER = (
    *OF_FEATURE,
    *("answer_feature_id", "answer_feature_schema_id", "answer_name", "answer_value"),
)


def annotation_records(row: ProjectRow) -> Iterator[Record]:
    """Yield a record for each object and for each answer, at any depth.

    A video or DICOM feature has one in each frame the export holds. A segment is
    the ``frame_end`` of the record at its first frame; one that begins where its
    feature has no record is a record of its own. Key frames and segments are those
    of an object, of a question or of a chosen option.

    Relationships have a table of their own, also those that stand among the objects.
    """
    for ids, label in row.labels:
        if isinstance(label, dict) and label.get("annotations") is not None:
            yield from records_of(ANNOTATIONS, ids, label)


def records_of(table: AnnotationTable, ids: Record, label: Row) -> Iterator[Record]:
    """Yield the records of the annotations of a label, or of what is like one."""
    yield from _Walk(table, ids, label.get(Z_ORDER)).through(label["annotations"])


Mark = tuple[str, str | None]
"""What is marked: the id of a feature or of a chosen option, and a DICOM group."""

Known = tuple[tuple[bool, int, str], "Record"]
"""The place of a record, and some of its columns."""


def _place(known: Known) -> tuple[bool, int, str]:
    return known[0]


class _Walk:
    """A walk through the annotations of one label.

    Passed on as ``place`` are the columns of where an annotation is; the
    ``annotation_id`` in it is that of what the annotation is part of.
    """

    def __init__(self, table: AnnotationTable, label_ids: Record, z_order: Any) -> None:
        self._table = table
        # Relationships, which have a table of their own then.
        self._are_apart = RELATIONSHIPS not in table.lists
        self._top: Record = label_ids | {
            "annotation_id": "",
            "parent_annotation_id": None,
            "path": None,
            "depth": 0,
            "group_name": None,
            "frame": None,
        }
        self._ids = UniqueIds(MAX_ID_PATH_BYTES)
        ranked = z_order if isinstance(z_order, list) else []
        self._ranks: dict[str, int] = {}
        for rank, feature in enumerate(ranked, 1):
            if own := as_key(feature):
                self._ranks.setdefault(own, rank)
        self._key_frames: dict[Mark, set[str]] = {}
        self._segments: dict[Mark, dict[int, int]] = {}
        self._met: set[tuple[Mark, int]] = set()  # segments that met a record
        self._known: dict[Mark, Known] = {}  # of what has segments

    def through(self, annotations: Any) -> Iterator[Record]:
        """Yield the records of all there is."""
        for feature, group, frames in _marks(annotations, "key_frame_feature_map"):
            marked = frames
            if isinstance(frames, dict):
                marked = [frame for frame, is_key in frames.items() if is_key is True]
            if isinstance(marked, list):
                self._key_frames[shortened_id(feature), group] = set(map(str, marked))
        for outer, inner, ranges in _marks(annotations, "segments"):
            feature, group = (outer, None) if inner is None else (inner, outer)
            segments = _segments(ranges)
            if segments is not None:
                self._segments[shortened_id(feature), group] = segments
            else:
                here = self._top | {"group_name": group}
                yield from self._unknown("segments", {feature: ranges}, here)
        if isinstance(annotations, dict):
            annotations = {
                key: value
                for key, value in annotations.items()
                if not (key in MARKS and isinstance(value, dict))
                and not (key == RELATIONSHIPS and self._are_apart)
            }
        yield from self._content("annotations", annotations, self._top)
        yield from self._unmet()

    def _content(self, name: str, content: Any, place: Record) -> Iterator[Record]:
        """Yield the records of all annotations, of a group, or of a frame."""
        if not isinstance(content, dict):
            yield from self._unknown(name, content, place)
            return
        for key, value in content.items():
            part = PARTS.get((name, key))
            if key in self._table.lists:
                for feature, item in items(value):
                    is_apart = self._are_apart and place is self._top
                    if not (is_apart and _relations(item)):
                        yield from self._annotation(item, feature, place)
            elif part and isinstance(value, dict):
                for number, inner in value.items():
                    here = place | {
                        "annotation_id": _joined("/", place["annotation_id"], number),
                        part: _frame(number) if part == "frame" else number,
                    }
                    yield from self._content(part, inner, here)
            elif key != "name" or value != place["group_name"]:
                yield from self._unknown(key, value, place)

    def _annotation(self, item: Any, key: str, place: Record) -> Iterator[Record]:
        """Yield the records of an object or a question, and of what is nested in it."""
        record = to_record(self._table, item, place)
        unmapped = record["additional_columns"]
        if record["feature_id"] is None:
            record["feature_id"] = as_key(key)
        record["path"] = _joined(" / ", place["path"], record["name"]) or None
        if self._ranks:
            record["z_order"] = self._ranks.get(record["feature_id"])
        if geometry := {
            name: unmapped.pop(name) for name in [*unmapped] if name in GEOMETRIES
        }:
            record["geometry"] = geometry
            _measure(record, geometry)
        nested = unmapped.pop("classifications", None)
        answers = _answers(unmapped)
        if not answers:
            record["annotation_id"] = self._ids.assign(_known_by(record, place))
            self._mark(record)
            yield record
            if nested not in EMPTY:
                yield from self._nested(nested, record)
        for name, answer, one_of_several in answers:
            answered, within = self._answered(record, name, answer)
            requested = _known_by(answered, place)
            if one_of_several:
                option = answered["answer_feature_id"] or answered["answer_name"]
                requested = _joined("/", requested, option or "unnamed")
            answered["annotation_id"] = self._ids.assign(requested)
            self._mark(answered)
            yield answered
            for inner in (within, nested):
                if inner not in EMPTY:
                    yield from self._nested(inner, answered)
            nested = None  # in the first record's care

    def _answered(self, record: Record, name: str, answer: Any) -> tuple[Record, Any]:
        """Return the record of a question with an answer, and what is within it."""
        unmapped = {**record["additional_columns"]}
        answered = record.copy()
        answered["additional_columns"] = unmapped
        if record["annotation_kind"] is None:
            kind = ANSWER_KINDS.get(name.removeprefix("conversational_"), name)
            answered["annotation_kind"] = kind
        if isinstance(answer, dict):
            populate(answered, unmapped, self._table.answer, answer, f"{name}.")
        elif answer is not None:
            unmapped[name] = answer
        return answered, unmapped.pop(f"{name}.classifications", None)

    def _nested(self, nested: Any, record: Record) -> Iterator[Record]:
        """Yield the records of the questions within an object or an answer."""
        place = {column: record[column] for column in self._top}
        place["parent_annotation_id"] = record["annotation_id"]
        place["path"] = _joined(" / ", record["path"], record["answer_name"]) or None
        place["depth"] += 1
        if place["depth"] > MAX_ANSWER_DEPTH:
            yield from self._unknown("classifications", nested, place)
            return
        for feature, item in items(nested):
            yield from self._annotation(item, feature, place)

    def _mark(self, record: Record) -> None:
        """Set whether it is a key frame, and the end of its segment.

        What is marked of a chosen option comes before what is of its question.
        """
        if not (self._segments or self._key_frames):
            return
        frame, group = record["frame"], record["group_name"]
        for feature, columns in (
            (record["answer_feature_id"], OF_ANSWER),
            (record["feature_id"], OF_FEATURE),
        ):
            mark = feature, group
            if frame is not None and record["is_key_frame"] is None:
                key_frames = self._key_frames.get(mark)
                if key_frames is not None:
                    record["is_key_frame"] = str(frame) in key_frames
            if (segments := self._segments.get(mark)) is None:
                continue
            self._know(mark, record, columns)
            if (end := segments.get(frame)) is not None:
                if record["frame_end"] is None:
                    record["frame_end"] = end
                if record["frame_end"] == end:
                    self._met.add((mark, frame))

    def _know(self, mark: Mark, record: Record, columns: Iterable[str]) -> None:
        """Remember the columns of a feature, from the first frame that it is in."""
        place = record["frame"] is None, record["frame"] or 0, record["annotation_id"]
        known = self._known.get(mark)
        if known is None or place < known[0]:
            self._known[mark] = place, {column: record[column] for column in columns}

    def _unmet(self) -> Iterator[Record]:
        """Yield a record for each segment that begins where nothing is."""
        anywhere: dict[str, Known] = {}  # where its own group has no record of it
        for (feature, _), known in self._known.items():
            anywhere[feature] = min(known, anywhere.get(feature, known), key=_place)
        for mark, segments in self._segments.items():
            columns = self._known.get(mark, anywhere.get(mark[0]))
            for start, end in segments.items():
                if (mark, start) not in self._met:
                    yield self._segment(mark, start, end, columns[1] if columns else {})

    def _segment(self, mark: Mark, start: int, end: int, known: Record) -> Record:
        """Return the record of a segment, with what is known of its feature."""
        feature, group = mark
        key_frames = self._key_frames.get(mark)
        return {
            **self._table.blank,
            **self._top,
            "feature_id": as_key(feature),
            **known,
            "annotation_kind": known.get("annotation_kind") or "Segment",
            "annotation_id": self._ids.assign(
                _joined("/", group, feature, f"{start}-{end}")
            ),
            "z_order": self._ranks.get(feature),
            "group_name": group,
            "frame": start,
            "frame_end": end,
            "is_key_frame": None if key_frames is None else str(start) in key_frames,
            "additional_columns": {},
        }

    def _unknown(self, kind: str, value: Any, place: Record) -> Iterator[Record]:
        """Yield a record of what is not known, unless it is empty."""
        if value in EMPTY:
            return
        requested = _joined("/", place["annotation_id"], kind)
        yield {
            **self._table.blank,
            **place,
            "annotation_id": self._ids.assign(requested),
            "annotation_kind": kind,
            "additional_columns": {kind: value},
        }


def _known_by(record: Record, place: Record) -> str:
    """Return the id an annotation is to have."""
    own = record["feature_id"]
    if not own:
        kind, name = record["annotation_kind"], record["name"]
        own = _joined(":", kind, name or "unnamed", record["message_id"])
    return _joined("/", place["annotation_id"], own)


def _joined(separator: str, first: str | None, *rest: str | None) -> str:
    joined = first or ""
    for part in rest:
        if part:
            joined = f"{joined}{separator}{part}" if joined else part
    return joined


def _frame(key: str) -> int | None:
    # No frame has more digits, and Python reads no number with very many.
    return int(key) if key.isdecimal() and len(key) <= len("999999999") else None


def _marks(annotations: Any, name: str) -> Iterator[tuple[str, str | None, Any]]:
    """Return what a block holds, below one or two levels of keys."""
    for key, value in block(annotations, name).items():
        inner = value.values() if isinstance(value, dict) else ()
        if any(isinstance(marks, dict | list) for marks in inner):
            marked = [(key, inner_key, marks) for inner_key, marks in value.items()]
        else:
            marked = [(key, None, value)]
        yield from (mark for mark in marked if mark[2] not in EMPTY)


def _segments(ranges: Any) -> dict[int, int] | None:
    """Return ranges of frames by their first; None if they are anything else."""
    segments: dict[int, int] = {}
    for item in ranges if isinstance(ranges, list) else [None]:
        match item:
            case [first, last]:
                start, end = as_integer(first), as_integer(last)
                if start is None or end is None or start in segments:
                    return None
                segments[start] = end
            case _:
                return None
    return segments


def _answers(unmapped: Row) -> list[tuple[str, Any, bool]]:
    """Pop the answers: the key of each, itself, and whether it is of a list."""
    answers: list[tuple[str, Any, bool]] = []
    for name in [name for name in unmapped if name.endswith(ANSWER_ENDINGS)]:
        value = unmapped.pop(name)
        if isinstance(value, list):
            options = [(name, option, True) for _, option in items(value)]
            answers += options or [(name, {}, False)]
        else:
            answers.append((name, value, False))
    return answers


def _measure(record: Record, geometry: Row) -> None:
    """Fill the columns of numbers from a geometry."""
    populate(record, {}, MEASURES, geometry, "")
    groups = as_objects(block(geometry, "location").get("groups"))
    if groups:  # of tokens on the pages of a document
        texts = [text for group in groups if (text := as_string(group.get("text")))]
        record["text_token"] = record["text_token"] or " ".join(texts) or None
        if record["page_number"] is None:
            record["page_number"] = as_integer(groups[0].get("page_number"))


RELATIONSHIP_ENDING = "relationship"


# --- relationships -----------------------------------------------------------------


def relationship_records(row: ProjectRow) -> Iterator[Record]:
    """Yield a record for each relationship between two annotations.

    Exports of 2023 repeat them among the objects. There is one record for both; what
    a repetition says otherwise is put aside.
    """
    for label_ids, label in row.labels:
        annotations, ids = block(label, "annotations"), UniqueIds()
        records: list[Record] = []
        unrepeated: dict[tuple[str, Any, Any], list[Record]] = {}
        for key, item in items(annotations.get(RELATIONSHIPS)):
            own, record = _relationship(item, key)
            unrepeated.setdefault(_ends(own, record), []).append(record)
            record |= label_ids | {"relationship_id": ids.assign(own)}
            records.append(record)
        for key, item in items(annotations.get("objects")):
            if _relations(item):
                own, record = _relationship(item, key)
                if same := unrepeated.get(_ends(own, record)):
                    _merge(same.pop(0), record)
                else:
                    record |= label_ids | {"relationship_id": ids.assign(own)}
                    records.append(record)
        yield from records


def _relations(item: Any) -> list[str]:
    """Return the keys under which an object is a relationship, and nothing drawn."""
    if not isinstance(item, dict) or not GEOMETRIES.isdisjoint(item):
        return []
    return [
        name
        for name, value in item.items()
        if name.endswith(RELATIONSHIP_ENDING) and isinstance(value, dict)
    ]


def _relationship(item: Any, key: str) -> tuple[str, Record]:
    """Return what a relationship is known by, and its record without IDs."""
    record = to_record(ANNOTATION_RELATIONSHIPS, item, {})
    unmapped = record["additional_columns"]
    for name in [name for name in unmapped if name.endswith(RELATIONSHIP_ENDING)]:
        if isinstance(unmapped[name], dict):
            populate(record, unmapped, RELATED, unmapped.pop(name), f"{name}.")
            if record["relationship_type"] is None:
                kind = name.removesuffix(RELATIONSHIP_ENDING).rstrip("_")
                record["relationship_type"] = kind or None
    if record["feature_id"] is None:
        record["feature_id"] = as_key(key)
    _, *ends = _ends("", record)
    own = record["feature_id"] or _joined(">", *ends) or record["name"]
    return own or "unnamed", record


def _ends(own: str, record: Record) -> tuple[str, Any, Any]:
    return own, record["source_feature_id"], record["target_feature_id"]


def _merge(record: Record, repeated: Record) -> None:
    """Add to a relationship what its repetition has beyond it, mostly nothing."""
    unmapped, others = record["additional_columns"], repeated.pop("additional_columns")
    for values, more in ((record, repeated), (unmapped, others)):
        for name, value in more.items():
            if values.get(name) is None:
                values[name] = value
            elif value is not None and value != values[name]:
                unmapped[f"objects.{name}"] = value
