"""One exported data row, unfolded into the records of flat tables.

There is one function a stream; each takes a row and the project it was exported
from. Nothing is dropped and nothing raises: what does not fit its column, and what
nobody knows yet, is kept in ``additional_columns``.

How an annotation gets its ``annotation_id``: by the feature ids on the way down,
joined with ``/``, after the group and the frame if there are any. Of the answers of
a checklist each adds its own; a radio or text answer is known by its question, so
that a changed answer keeps its record. Where there is no feature id, kind, name and
message stand in for it; what would have the id of another gets ``#2``, ``#3`` etc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw

from tap_labelbox.records import json_text
from tap_labelbox.records.columns import (
    as_boolean,
    as_id,
    as_ids,
    as_integer,
    as_number,
    as_object,
    as_objects,
    as_string_or_number,
    as_tags,
    as_text,
    as_timestamp,
    empty_record,
    fields,
    populate,
    to_record,
)
from tap_labelbox.records.malformed import MalformedError, described
from tap_labelbox.records.structs import ConversionError, RecordBuilder, StructColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tap_labelbox.records.columns import Columns, Record, Row

MAX_ANSWER_DEPTH = 50  # levels of nested answers; what is below stays JSON

# --- the parts of a row --------------------------------------------------------

RAW_COLUMNS = frozenset({"attachments", "embeddings", "labels", "metadata_fields"})
"""Columns as they are in the export, and most of it."""


def decoder(decoded_columns: frozenset[str] | None) -> Callable[[bytes], list[Any]]:
    """Return what decodes the rows of some lines, but leaves most of them as Raw.

    That takes one pass over the text, for rows of the shape known today; others
    are decoded whole.

    What it gives raises a MalformedError if one of the lines is no data row with an
    ID, and another ValueError if one is no JSON.

    Args:
        decoded_columns: What has to be decoded, of :data:`RAW_COLUMNS` and annotations;
            None if only :func:`data_row_records` looks at rows at all.
    """
    struct: msgspec.json.Decoder[Any]
    understood: Callable[[Any], Any]
    if decoded_columns is None:
        struct, understood = FastRow.decoder, FastRow.of
    elif "annotations" in decoded_columns:
        return lambda text: [*map(_identified, json_text.decode_lines(text))]
    else:
        struct, understood = _lazy_decoder(decoded_columns)

    def decoded(text: bytes) -> list[Any]:
        found = json_text.decode_lines_as(struct, text)
        if found is not None:
            rows = [understood(row) for row in found]
            if None not in rows:
                return rows
        return [one(line) for line in text.split(b"\n") if line.strip()]

    def one(line: bytes) -> Any:
        found = json_text.decode_as(struct, line)
        row = None if found is None else understood(found)
        return _identified(json_text.decode_object(line)) if row is None else row

    return decoded


def _identified(row: Row) -> Row:
    """Return a data row that has an ID, which its records need for a key."""
    if not data_row_id(row):
        msg = f"it has no data_row.id ({described(row)})"
        raise MalformedError(msg)
    return row


def _lazy_decoder(
    decoded_columns: frozenset[str],
) -> tuple[msgspec.json.Decoder[Any], Callable[[Any], Any]]:
    """Return what decodes a row except for its heavy parts, and makes it a dict."""
    passed_on = list[dict[str, Raw]] | None
    shapes: dict[str, Any] = dict.fromkeys(RAW_COLUMNS - decoded_columns, passed_on)
    if "labels" in decoded_columns:
        annotations = {"annotations": dict[str, Raw] | None}
        label = _struct(dict.fromkeys((*LABEL, Z_ORDER), Any) | annotations)
        shapes["labels"] = list[label] | None  # type: ignore[valid-type]
    project = _struct({name: shapes.get(name, Any) for name in PROJECT})
    row = {name: shapes.get(name, Any) for name in DATA_ROW}
    row["projects"] = dict[str, project]  # type: ignore[valid-type]

    def understood(found: Any) -> Row:
        row = _identified(_present_fields(found))
        projects = row.get("projects", {}).items()
        row["projects"] = {key: _present_fields(project) for key, project in projects}
        if "labels" in decoded_columns:
            for project in row["projects"].values():
                if labels := project.get("labels"):
                    project["labels"] = [_present_fields(label) for label in labels]
        return row

    return msgspec.json.Decoder(_struct(row)), understood


def _struct(fields: dict[str, Any]) -> type[msgspec.Struct]:
    """Make the shape of a block that has no keys but these."""
    return msgspec.defstruct(
        "Block",
        [(name, struct, UNSET) for name, struct in fields.items()],
        forbid_unknown_fields=True,
    )


def _present_fields(block: msgspec.Struct) -> Row:
    """Return the keys that a block has."""
    return {
        name: value
        for name in block.__struct_fields__
        if (value := getattr(block, name)) is not UNSET
    }


class _Ids:
    """Ids that were given in one row or label, to give none twice."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}  # and the last number each was given with

    def assign(self, wanted: str) -> str:
        """Return an id, with a number at its end if it was given before.

        An id is passed over once at most, by the one that it is a numbered form of.
        So this stays linear, whatever ids there are.
        """
        if wanted not in self._given:
            self._given[wanted] = 1
            return wanted
        number = self._given[wanted] + 1
        while (given := f"{wanted}#{number}") in self._given:
            number += 1
        self._given[wanted] = number
        self._given[given] = 1
        return given


def _block(block: Any, key: str) -> Row:
    """Return the block within a block; an empty one if there is none."""
    inner = block.get(key) if isinstance(block, dict) else None
    return inner if isinstance(inner, dict) else {}


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Return the items of a list or of an object, each with its key in the latter.

    Lists within lists are taken apart, and what is no list is an item itself.
    """
    if isinstance(value, dict) and all(
        item is None or isinstance(item, dict) for item in value.values()
    ):
        yield from ((key, item) for key, item in value.items() if item is not None)
        return
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += reversed(item)
        elif item is not None:
            yield "", item


def _row_ids(row: Row, project_id: str) -> Record:
    """Return the columns that every table has."""
    return {
        "project_id": project_id,
        "data_row_id": data_row_id(row) or "",
        "last_activity_at": last_activity(row),
    }


def data_row_id(row: Row) -> str | None:
    """Return the id of a data row; without one there is no record of it."""
    return as_id(_block(row, "data_row").get("id"))


def last_activity(row: Row | FastRow) -> str | None:
    """Return the timestamp at which something last happened to a data row."""
    if isinstance(row, FastRow):
        return row.last_activity_at
    details = _block(_block(row, "data_row"), "details")
    return as_timestamp(details.get("last_activity_at"))


def project_ids(row: Row | FastRow) -> Iterable[str]:
    """Return the projects that a data row says it is in."""
    if isinstance(row, FastRow):
        return row.project_ids
    return _block(row, "projects").keys()


def _labels(row: Row, project_id: str) -> Iterator[tuple[Record, Any]]:
    """Return the labels of a row, each with the columns of ids of its tables."""
    row_ids, ids = _row_ids(row, project_id), _Ids()
    project = _block(_block(row, "projects"), project_id)
    for key, label in _items(project.get("labels")):
        own = as_id(label.get("id")) if isinstance(label, dict) else None
        yield row_ids | {"label_id": ids.assign(own or key or "label")}, label


# --- data_row_exports ----------------------------------------------------------

CREATED_BY: Columns = {"created_by": ("created_by_email", as_text)}
DATA_ROW: Columns = {
    "data_row": {
        "id": ("data_row_id", as_id),
        **fields(as_string_or_number, "external_id", "global_key"),
        **fields(as_text, "row_data"),
        "details": {
            **fields(as_id, "dataset_id"),
            **fields(as_text, "dataset_name"),
            **CREATED_BY,
            **fields(as_timestamp, "created_at", "updated_at", "last_activity_at"),
        },
    },
    **fields(as_object, "media_attributes"),
    **fields(as_objects, "attachments", "metadata_fields", "embeddings"),
}
MEDIA: Columns = {
    **fields(as_text, "asset_type", "mime_type", prefix="media_"),
    **fields(as_integer, "height", "width", "frame_count", prefix="media_"),
    **fields(as_integer, "page_count", "message_count", prefix="media_"),
    **fields(as_integer, "content_length", prefix="media_"),
    **fields(as_number, "frame_rate", prefix="media_"),
    **fields(as_string_or_number, "exif_rotation", prefix="media_"),
}
PROJECT: Columns = {
    "name": ("project_name", as_text),
    "project_tags": ("project_tags", as_tags),
    "labels": ("labels", as_objects),
    "project_details": {
        **fields(as_id, "ontology_id"),
        "task_id": ("task_queue_id", as_id),
        "task_name": ("task_queue_name", as_text),
        **fields(as_id, "batch_id"),
        **fields(as_text, "batch_name", "workflow_status"),
        **fields(as_integer, "priority", "consensus_expected_label_count"),
        **fields(as_id, "selected_label_id"),
        **fields(as_objects, "workflow_history"),
    },
}
PROJECT_NULLS = empty_record(PROJECT)
DATA_ROW_NULLS = empty_record(DATA_ROW, MEDIA, PROJECT)


NOTHING = Raw(b"{}")


class FastRow:
    """A data row without anything unusual, laid out as it is decoded."""

    _media, _project = StructColumns(MEDIA, others=True), StructColumns(PROJECT)
    _row = StructColumns(
        DATA_ROW,
        more={"projects": dict[str, _project.type]},  # type: ignore[name-defined]
    )
    _builder = RecordBuilder(_row, _media, _project)
    _media_decoder = msgspec.json.Decoder(_media.type)
    decoder = msgspec.json.Decoder(_row.type)

    def __init__(self, records: dict[str, Record]) -> None:
        """Keep a record for each project, one at least."""
        self.project_ids = records.keys()
        self._records = records
        self._any = next(iter(records.values()))

    @classmethod
    def of(cls, row: Any) -> FastRow | None:
        """Lay out what the decoder gave; None if something does not fit."""
        # An ID that is none is a text without characters, which has no such shape.
        if row.data_row is None or row.data_row.id is None or not row.projects:
            return None
        values = cls._row.values(row)
        records = {}
        try:
            media = cls._media.values(
                cls._media_decoder.decode(row.media_attributes or NOTHING)
            )
            for project_id, project in row.projects.items():
                in_project = cls._project.values(project)
                record = cls._builder.record((*values, *media, *in_project))
                record["project_id"] = project_id
                record["additional_columns"] = {}
                records[project_id] = record
        except (ConversionError, msgspec.ValidationError):
            return None
        return cls(records)

    @property
    def last_activity_at(self) -> str | None:
        """The timestamp at which something last happened to the row."""
        at: str | None = self._any["last_activity_at"]
        return at

    def record(self, project_id: str) -> Record:
        """Return the record of the row in a project."""
        if project_id in self._records:
            return self._records[project_id]
        return self._any | PROJECT_NULLS | {"project_id": project_id}


def data_row_records(row: Row | FastRow, project_id: str) -> Iterator[Record]:
    """Return the one record of a data row in a project."""
    if isinstance(row, FastRow):
        yield row.record(project_id)
        return
    unmapped: Row = {}
    record = {**DATA_ROW_NULLS, "additional_columns": unmapped}
    populate(record, unmapped, DATA_ROW, row, "")
    populate(record, {}, MEDIA, record["media_attributes"] or {}, "")
    # The other projects of a row are read in turns of their own.
    project = unmapped.pop("projects", None)
    if isinstance(project, dict):
        project = project.get(project_id)
    if isinstance(project, dict):
        populate(record, unmapped, PROJECT, project, "project.")
    elif project is not None:
        unmapped["projects"] = project
    yield record | _row_ids(row, project_id)


# --- export_labels, label_reviews ----------------------------------------------

PERFORMANCE: Columns = {
    **fields(as_number, "seconds_to_create", "seconds_to_label"),
    **fields(as_number, "seconds_to_review", "seconds_to_rework", "seconds_total"),
    "skipped": ("is_skipped", as_boolean),
    "benchmark_score": ("benchmark_agreement", as_number),
    "benchmark_reference_label": ("reference_label_id", as_id),
    "consensus_score": ("agreement", as_number),
    **fields(as_integer, "consensus_label_count"),
    "consensus_labels": ("consensus_label_ids", as_ids),
}
TRUE_PERFORMANCE = "performance_details_v2"
LABEL: Columns = {
    "id": ("label_id", as_id),
    **fields(as_text, "label_kind", "version"),
    "label_details": {
        **fields(as_timestamp, "created_at", "updated_at", "content_last_updated_at"),
        **CREATED_BY,
        **fields(as_objects, "reviews"),
    },
    TRUE_PERFORMANCE: PERFORMANCE,
    "performance_details": PERFORMANCE,
    "annotations": ("annotations", as_object),
}
LABEL_NULLS = empty_record(LABEL, more=("is_latest", "is_selected"))

REVIEW: Columns = {
    **fields(as_number, "score"),
    "reviewed_at": ("created_at", as_timestamp),
    "reviewed_by": ("created_by_email", as_text),
}
REVIEW_NULLS = empty_record(REVIEW)


def label_records(row: Row, project_id: str) -> Iterator[Record]:
    """Return a record for each label."""
    records = [
        to_record(LABEL_NULLS, LABEL, _true_first(label), ids)
        for ids, label in _labels(row, project_id)
    ]
    project = _block(_block(row, "projects"), project_id)
    selected = as_id(_block(project, "project_details").get("selected_label_id"))
    dated = [r for r in records if r["created_at"] is not None]
    # The id decides between labels of one timestamp: there is one latest.
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


def review_records(row: Row, project_id: str) -> Iterator[Record]:
    """Return a record for each review of each label, oldest first."""
    for ids, label in _labels(row, project_id):
        reviews = _items(_block(label, "label_details").get("reviews"))
        records = [to_record(REVIEW_NULLS, REVIEW, item, ids) for _, item in reviews]
        yield from _numbered(records)


def _numbered(records: list[Record]) -> Iterator[Record]:
    """Return records oldest first, and number them from 1."""
    records.sort(key=lambda record: record["created_at"] or "")
    for sequence, record in enumerate(records, 1):
        yield record | {"sequence": sequence}


# --- annotations ---------------------------------------------------------------

FEATURE: Columns = {
    **fields(as_id, "feature_id", "feature_schema_id"),
    **fields(as_text, "name", "value"),
}
ANNOTATION: Columns = {
    **FEATURE,
    **fields(as_text, "annotation_kind"),
    **fields(as_id, "message_id"),
    **fields(as_integer, "page_number"),
}
ANSWER: Columns = {
    **fields(as_id, "feature_id", "feature_schema_id", prefix="answer_"),
    **fields(as_text, "name", "value", prefix="answer_"),
    "content": ("answer_text", as_text),
}
ANSWER_KINDS = {
    "radio_answer": "Radio",
    "checklist_answers": "Checklist",
    "text_answer": "Text",
}
ANSWER_ENDINGS = ("answer", "answers")

SPAN: Columns = {
    **fields(as_integer, "start", "end", prefix="text_"),
    **fields(as_text, "token", prefix="text_"),
}
MEASURES: Columns = {
    "bounding_box": fields(as_number, "top", "left", "height", "width", prefix="box_"),
    "point": fields(as_number, "x", "y", prefix="point_"),
    "location": SPAN,
    "conversational_location": {"location": SPAN, **fields(as_id, "message_id")},
    "selected_message": fields(as_id, "message_id"),
    "mask": fields(as_text, "url", prefix="mask_"),
}
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
MARKS = ("segments", "key_frame_feature_map")  # told with the records of frames
# What a part of the annotations consists of, by the column that names each.
PARTS = {
    ("annotations", "groups"): "group_name",
    ("annotations", "frames"): "frame",
    ("annotations", "timestamp"): "frame",
    ("group_name", "frames"): "frame",
    ("group_name", "timestamp"): "frame",
}
ANNOTATION_NULLS = empty_record(
    ANNOTATION,
    ANSWER,
    MEASURES,
    more=("z_order", "frame_end", "is_key_frame", "geometry"),
)
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


def annotation_records(row: Row, project_id: str) -> Iterator[Record]:
    """Return a record for each object and for each answer, at any depth.

    A video or DICOM feature has one in each frame the export holds. A segment is
    the ``frame_end`` of the record at its first frame; one that begins where its
    feature has no record is a record of its own. Key frames and segments are those
    of an object, of a question or of a chosen option.

    Relationships have a table of their own, also those that stand among the objects.
    """
    for ids, label in _labels(row, project_id):
        if isinstance(label, dict) and label.get("annotations") is not None:
            walk = _Walk(ids, label.get(Z_ORDER))
            yield from walk.through(label["annotations"])


Mark = tuple[str, str | None]
"""What is marked: the id of a feature or of a chosen option, and a DICOM group."""

Known = tuple[tuple[bool, int, str], "Record"]
"""The place of a record, and some of its columns."""


def _place(known: Known) -> tuple[bool, int, str]:
    return known[0]


class _Walk:
    """A walk through the annotations of one label.

    Passed on as ``place`` are the columns that tell where an annotation is; the
    ``annotation_id`` in it is that of what the annotation is part of.
    """

    def __init__(self, label_ids: Record, z_order: Any) -> None:
        self._top: Record = label_ids | {
            "annotation_id": "",
            "parent_annotation_id": None,
            "path": None,
            "depth": 0,
            "group_name": None,
            "frame": None,
        }
        self._ids = _Ids()
        ranked = z_order if isinstance(z_order, list) else []
        self._ranks: dict[str, int] = {}
        for rank, feature in enumerate(ranked, 1):
            if own := as_id(feature):
                self._ranks.setdefault(own, rank)
        self._key_frames: dict[Mark, set[str]] = {}
        self._segments: dict[Mark, dict[int, int]] = {}
        self._met: set[tuple[Mark, int]] = set()  # segments that met a record
        self._known: dict[Mark, Known] = {}  # of what has segments

    def through(self, annotations: Any) -> Iterator[Record]:
        """Return the records of all there is."""
        for feature, group, frames in _marks(annotations, "key_frame_feature_map"):
            marked = frames
            if isinstance(frames, dict):
                marked = [frame for frame, is_key in frames.items() if is_key is True]
            if isinstance(marked, list):
                self._key_frames[feature, group] = set(map(str, marked))
        for outer, inner, ranges in _marks(annotations, "segments"):
            feature, group = (outer, None) if inner is None else (inner, outer)
            segments = _segments(ranges)
            if segments is not None:
                self._segments[feature, group] = segments
            else:
                here = self._top | {"group_name": group}
                yield from self._unknown("segments", {feature: ranges}, here)
        if isinstance(annotations, dict):
            annotations = {
                key: value
                for key, value in annotations.items()
                if not (key in MARKS and isinstance(value, dict))
                and key != "relationships"  # which have a table of their own
            }
        yield from self._content("annotations", annotations, self._top)
        yield from self._unmet()

    def _content(self, name: str, content: Any, place: Record) -> Iterator[Record]:
        """Read the whole, a group, or a frame."""
        if not isinstance(content, dict):
            yield from self._unknown(name, content, place)
            return
        for key, value in content.items():
            part = PARTS.get((name, key))
            if key in {"objects", "classifications"}:
                for feature, item in _items(value):
                    if place is not self._top or not _relations(item):
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
        """Read an object or a classification, and what is nested in it."""
        record = to_record(ANNOTATION_NULLS, ANNOTATION, item, place)
        unmapped = record["additional_columns"]
        if record["feature_id"] is None:
            record["feature_id"] = key or None
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
            answered, within = _answered(record, name, answer)
            wanted = _known_by(answered, place)
            if one_of_several:
                option = answered["answer_feature_id"] or answered["answer_name"]
                wanted = _joined("/", wanted, option or "unnamed")
            answered["annotation_id"] = self._ids.assign(wanted)
            self._mark(answered)
            yield answered
            for inner in (within, nested):
                if inner not in EMPTY:
                    yield from self._nested(inner, answered)
            nested = None  # in the first record's care

    def _nested(self, items: Any, record: Record) -> Iterator[Record]:
        """Read the classifications of an object or of an answer."""
        place = {column: record[column] for column in self._top}
        place["parent_annotation_id"] = record["annotation_id"]
        place["path"] = _joined(" / ", record["path"], record["answer_name"]) or None
        place["depth"] += 1
        if place["depth"] > MAX_ANSWER_DEPTH:
            yield from self._unknown("classifications", items, place)
            return
        for feature, item in _items(items):
            yield from self._annotation(item, feature, place)

    def _mark(self, record: Record) -> None:
        """Note whether somebody drew it in its frame, and how far it goes on.

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
        """Keep what is known of something, by the first frame that it is in."""
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
            told = self._known.get(mark, anywhere.get(mark[0]))
            for start, end in segments.items():
                if (mark, start) not in self._met:
                    yield self._segment(mark, start, end, told[1] if told else {})

    def _segment(self, mark: Mark, start: int, end: int, known: Record) -> Record:
        """Return the record of a segment, with what is known of its feature."""
        feature, group = mark
        key_frames = self._key_frames.get(mark)
        return {
            **ANNOTATION_NULLS,
            **self._top,
            "feature_id": feature,
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
        """Return a record to what nobody knows, unless it is empty."""
        if value in EMPTY:
            return
        wanted = _joined("/", place["annotation_id"], kind)
        yield {
            **ANNOTATION_NULLS,
            **place,
            "annotation_id": self._ids.assign(wanted),
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


def _marks(annotations: Any, block: str) -> Iterator[tuple[str, str | None, Any]]:
    """Return what a block holds, below one or two levels of keys."""
    for key, value in _block(annotations, block).items():
        inner = value.values() if isinstance(value, dict) else ()
        if any(isinstance(marks, dict | list) for marks in inner):
            marked = [(key, name, marks) for name, marks in value.items()]
        else:
            marked = [(key, None, value)]
        yield from (mark for mark in marked if mark[2] not in EMPTY)


def _segments(ranges: Any) -> dict[int, int] | None:
    """Read ranges of frames by their first; None if they are anything else."""
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
    """Take the answers out: the key of each, itself, and whether it is of a list."""
    answers: list[tuple[str, Any, bool]] = []
    for name in [name for name in unmapped if name.endswith(ANSWER_ENDINGS)]:
        value = unmapped.pop(name)
        if isinstance(value, list):
            options = [(name, option, True) for _, option in _items(value)]
            answers += options or [(name, {}, False)]
        else:
            answers.append((name, value, False))
    return answers


def _answered(record: Record, name: str, answer: Any) -> tuple[Record, Any]:
    """Add an answer to its question; give the questions it raises, too."""
    unmapped = {**record["additional_columns"]}
    answered = {**record, "additional_columns": unmapped}
    if record["annotation_kind"] is None:
        kind = ANSWER_KINDS.get(name.removeprefix("conversational_"), name)
        answered["annotation_kind"] = kind
    if isinstance(answer, dict):
        populate(answered, unmapped, ANSWER, answer, f"{name}.")
    elif answer is not None:
        unmapped[name] = answer
    return answered, unmapped.pop(f"{name}.classifications", None)


def _measure(record: Record, geometry: Row) -> None:
    """Take the columns of numbers out of a geometry."""
    populate(record, {}, MEASURES, geometry, "")
    groups = as_objects(_block(geometry, "location").get("groups"))
    if groups:  # of tokens on the pages of a document
        texts = [text for group in groups if (text := as_text(group.get("text")))]
        record["text_token"] = record["text_token"] or " ".join(texts) or None
        if record["page_number"] is None:
            record["page_number"] = as_integer(groups[0].get("page_number"))


# --- annotation_relationships --------------------------------------------------

RELATIONSHIP: Columns = {
    **FEATURE,
    **fields(as_text, "annotation_kind"),
    **fields(as_objects, "classifications"),
}
RELATED: Columns = {
    "source": ("source_feature_id", as_id),
    "target": ("target_feature_id", as_id),
    "type": ("relationship_type", as_text),
}
RELATIONSHIP_NULLS = empty_record(RELATIONSHIP, RELATED)
RELATIONSHIP_ENDING = "relationship"


def relationship_records(row: Row, project_id: str) -> Iterator[Record]:
    """Yield a record for each relationship between two annotations.

    Exports of 2023 repeat them among the objects. There is one record for both; what
    a repetition says otherwise is put aside.
    """
    for label_ids, label in _labels(row, project_id):
        annotations, ids = _block(label, "annotations"), _Ids()
        records: list[Record] = []
        unrepeated: dict[tuple[str, Any, Any], list[Record]] = {}
        for key, item in _items(annotations.get("relationships")):
            own, record = _relationship(item, key)
            unrepeated.setdefault(_ends(own, record), []).append(record)
            record |= label_ids | {"relationship_id": ids.assign(own)}
            records.append(record)
        for key, item in _items(annotations.get("objects")):
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
    record = to_record(RELATIONSHIP_NULLS, RELATIONSHIP, item, {})
    unmapped = record["additional_columns"]
    for name in [name for name in unmapped if name.endswith(RELATIONSHIP_ENDING)]:
        if isinstance(unmapped[name], dict):
            populate(record, unmapped, RELATED, unmapped.pop(name), f"{name}.")
            if record["relationship_type"] is None:
                kind = name.removesuffix(RELATIONSHIP_ENDING).rstrip("_")
                record["relationship_type"] = kind or None
    if record["feature_id"] is None:
        record["feature_id"] = key or None
    _, *ends = _ends("", record)
    own = record["feature_id"] or _joined(">", *ends) or record["name"]
    return own or "unnamed", record


def _ends(own: str, record: Record) -> tuple[str, Any, Any]:
    return own, record["source_feature_id"], record["target_feature_id"]


def _merge(record: Record, repeated: Record) -> None:
    """Add what an object says that repeats a relationship; mostly that is nothing."""
    unmapped, others = record["additional_columns"], repeated.pop("additional_columns")
    for values, more in ((record, repeated), (unmapped, others)):
        for name, value in more.items():
            if values.get(name) is None:
                values[name] = value
            elif value is not None and value != values[name]:
                unmapped[f"objects.{name}"] = value


# --- workflow_history, data_row_metadata, data_row_attachments -------------------

STEP: Columns = {
    **fields(as_text, "action"),
    **fields(as_timestamp, "created_at"),
    **CREATED_BY,
    "previous_task_id": ("previous_task_queue_id", as_id),
    "previous_task_name": ("previous_task_queue_name", as_text),
    "next_task_id": ("next_task_queue_id", as_id),
    "next_task_name": ("next_task_queue_name", as_text),
}
STEP_NULLS = empty_record(STEP)

METADATA: Columns = {
    **fields(as_id, "schema_id"),
    **fields(as_text, "schema_name", "schema_kind"),
}
OPTION: Columns = {
    "schema_id": ("option_id", as_id),
    "schema_name": ("option_name", as_text),
}
METADATA_NULLS = empty_record(
    METADATA, OPTION, more=("value_string", "value_number", "value_datetime")
)

ATTACHMENT = fields(as_text, "type", "name", "value")
ATTACHMENT_NULLS = empty_record(ATTACHMENT)


def workflow_records(row: Row, project_id: str) -> Iterator[Record]:
    """Return a record for each step through the workflow, oldest first."""
    ids = _row_ids(row, project_id)
    project = _block(_block(row, "projects"), project_id)
    steps = [*_items(_block(project, "project_details").get("workflow_history"))]
    # The export gives the newest first; steps of one timestamp keep that order.
    records = [to_record(STEP_NULLS, STEP, step, ids) for _, step in reversed(steps)]
    yield from _numbered(records)


def metadata_records(row: Row, project_id: str) -> Iterator[Record]:
    """Return a record for each metadata field, and for each chosen option of one."""
    ids = _row_ids(row, project_id)
    counts: dict[str, int] = {}
    for _, field in _items(row.get("metadata_fields")):
        field_record = to_record(METADATA_NULLS, METADATA, field, ids)
        known_by = field_record["schema_id"] or field_record["schema_name"]
        schema_id = field_record["schema_id"] = known_by or "unnamed"
        value = field_record["additional_columns"].pop("value", None)
        for _, one in [*_items(value)] or [("", None)]:
            unmapped = {**field_record["additional_columns"]}
            record = {**field_record, "additional_columns": unmapped}
            _fill_value(record, unmapped, one)
            counts[schema_id] = counts.get(schema_id, 0) + 1
            yield record | {"sequence": counts[schema_id]}


def _fill_value(record: Record, unmapped: Row, value: Any) -> None:
    """Put a metadata value in the columns of its type."""
    if isinstance(value, dict):
        populate(record, unmapped, OPTION, value, "value.")
    elif "Enum" in (record["schema_kind"] or "") and as_id(value):
        record["option_id"] = as_id(value)
    elif isinstance(value, str):
        record["value_string"] = value
        record["value_datetime"] = as_timestamp(value)
    elif (number := as_number(value)) is not None:
        record["value_number"] = number
    elif value is not None:
        unmapped["value"] = value


def attachment_records(row: Row, project_id: str) -> Iterator[Record]:
    """Return a record for each attachment, in the export's order."""
    ids = _row_ids(row, project_id)
    for sequence, (_, item) in enumerate(_items(row.get("attachments")), 1):
        record = to_record(ATTACHMENT_NULLS, ATTACHMENT, item, ids)
        yield record | {"sequence": sequence}
