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

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from tap_labelbox import json_text, moments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Row = dict[str, Any]
Record = dict[str, Any]

Check = Callable[[Any], Any]
"""Gives a value as its column wants it; None if it does not fit."""

Columns: TypeAlias = "dict[str, tuple[str, Check] | Columns]"
"""By the export's own keys: the column and its check, or the columns of a block."""

LARGEST_INTEGER = 2**63 - 1  # what a warehouse takes
DEEPEST = 50  # levels of nested answers; what is below stays JSON

# --- values --------------------------------------------------------------------


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _written(value: Any) -> str | None:
    """Take numbers for text as well, where exports give now one, now the other."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else _text(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None


def _integer(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= LARGEST_INTEGER else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _moment(value: Any) -> str | None:
    # Python reads more as moments than people write: 20260131, 2026-W05.
    if not isinstance(value, str) or value[10:11] not in {"T", " "}:
        return None
    try:
        return _normal(value)
    except (ValueError, OverflowError):  # the latter near the year 1
        return None


@lru_cache(maxsize=1024)  # each table of a row has the row's moment
def _normal(text: str) -> str:
    return moments.normal(text)


def _object(value: Any) -> Row | None:
    return value if isinstance(value, dict) else None


def _objects(value: Any) -> list[Row] | None:
    fits = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return value if fits else None


def _texts(value: Any) -> list[str] | None:
    fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if fits else None


# --- columns -------------------------------------------------------------------


def _columns(check: Check, *names: str, prefix: str = "") -> Columns:
    """Name columns as the export names their values."""
    return {name: (prefix + name, check) for name in names}


def _nulls(*columns: Columns, more: Iterable[str] = ()) -> Record:
    """Give a record in which no column has a value yet."""
    record: Record = {}
    for column in (c for table in columns for c in table.values()):
        record |= _nulls(column) if isinstance(column, dict) else {column[0]: None}
    return record | dict.fromkeys(more)


def _fill(record: Record, left: Row, columns: Columns, block: Row, at: str) -> None:
    """Lay the values of a block out in their columns, and put others aside.

    Args:
        record: What to fill; a column that has a value keeps it.
        left: Where to put what fits no column, by its dotted path.
        columns: The block's columns.
        block: The values.
        at: The path of the block, with a dot at its end.
    """
    for key, value in block.items():
        if value is None:
            continue
        if isinstance(column := columns.get(key), tuple):
            name, check = column
            if record[name] is None and (fitting := check(value)) is not None:
                record[name] = fitting
                continue
        elif column is not None and isinstance(value, dict):
            _fill(record, left, column, value, f"{at}{key}.")
            continue
        left[at + key] = value


def _laid_out(nulls: Record, columns: Columns, item: Any, ids: Record) -> Record:
    """Make the record of one item of a list."""
    left: Row = {}
    record = {**nulls, "additional_columns": left}
    if isinstance(item, dict):
        _fill(record, left, columns, item, "")
    else:
        left["item"] = item
    record |= ids
    return record


# --- the parts of a row --------------------------------------------------------

HEAVY = frozenset({"attachments", "embeddings", "labels", "metadata_fields"})
"""Columns as they are in the export, and most of it."""


def decoder(inside: frozenset[str]) -> Callable[[bytes], Row]:
    """Give what decodes a row, but leaves most of it as Raw.

    That takes one pass over the text, for rows of the shape known today; others
    are decoded whole.

    Args:
        inside: What somebody has to look into, of :data:`HEAVY` and annotations.
    """
    if "annotations" in inside:
        return json_text.decode_object

    passed_on = list[dict[str, Raw]] | None
    shapes: dict[str, Any] = dict.fromkeys(HEAVY - inside, passed_on)
    if "labels" in inside:
        annotations = {"annotations": dict[str, Raw] | None}
        label = _shape(dict.fromkeys(LABEL, Any) | annotations)
        shapes["labels"] = list[label] | None  # type: ignore[valid-type]
    project = _shape({name: shapes.get(name, Any) for name in PROJECT})
    row = {name: shapes.get(name, Any) for name in DATA_ROW}
    row["projects"] = dict[str, project]  # type: ignore[valid-type]
    shape = msgspec.json.Decoder(_shape(row))

    def decoded(line: bytes) -> Row:
        found = json_text.decode_as(shape, line)
        if found is None:
            return json_text.decode_object(line)
        row = _given(found)
        row["projects"] = {key: _given(p) for key, p in row["projects"].items()}
        if "labels" in inside:
            for project in row["projects"].values():
                project["labels"] = [_given(p) for p in project["labels"] or ()]
        return row

    return decoded


def _shape(fields: dict[str, Any]) -> type[msgspec.Struct]:
    """Make the shape of a block that has no keys but these."""
    return msgspec.defstruct(
        "Block",
        [(name, shape, UNSET) for name, shape in fields.items()],
        forbid_unknown_fields=True,
    )


def _given(block: msgspec.Struct) -> Row:
    """Give the keys that a block has."""
    return {
        name: value
        for name in block.__struct_fields__
        if (value := getattr(block, name)) is not UNSET
    }


class _Ids:
    """Ids that were given in one row or label, to give none twice."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def give(self, wanted: str) -> str:
        """Give an id, with a number at its end if it was given before."""
        count = self._given[wanted] = self._given.get(wanted, 0) + 1
        return wanted if count == 1 else self.give(f"{wanted}#{count}")


def _inside(block: Any, key: str) -> Row:
    """Give the block within a block; an empty one if there is none."""
    inner = block.get(key) if isinstance(block, dict) else None
    return inner if isinstance(inner, dict) else {}


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Give the items of a list or of an object, each with its key in the latter.

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
    """Give the columns that every table has."""
    return {
        "project_id": project_id,
        "data_row_id": _written(_inside(row, "data_row").get("id")) or "",
        "last_activity_at": last_activity(row),
    }


def last_activity(row: Row) -> str | None:
    """Give the moment at which something last happened to a data row."""
    details = _inside(_inside(row, "data_row"), "details")
    return _moment(details.get("last_activity_at"))


def _labels(row: Row, project_id: str) -> Iterator[tuple[Record, Any]]:
    """Give the labels of a row, each with the columns of ids of its tables."""
    row_ids, ids = _row_ids(row, project_id), _Ids()
    project = _inside(_inside(row, "projects"), project_id)
    for key, label in _items(project.get("labels")):
        own = _written(label.get("id")) if isinstance(label, dict) else None
        yield row_ids | {"label_id": ids.give(own or key or "label")}, label


# --- data_row_exports ----------------------------------------------------------

DATA_ROW: Columns = {
    "data_row": {
        "id": ("data_row_id", _written),
        **_columns(_text, "external_id", "global_key", "row_data"),
        "details": {
            **_columns(_text, "dataset_id", "dataset_name", "created_by"),
            **_columns(_moment, "created_at", "updated_at", "last_activity_at"),
        },
    },
    **_columns(_object, "media_attributes"),
    **_columns(_objects, "attachments", "metadata_fields", "embeddings"),
}
MEDIA: Columns = {
    **_columns(_text, "asset_type", "mime_type", prefix="media_"),
    **_columns(_integer, "height", "width", "frame_count", prefix="media_"),
    **_columns(_integer, "page_count", "message_count", prefix="media_"),
    **_columns(_integer, "content_length", prefix="media_"),
    **_columns(_number, "frame_rate", prefix="media_"),
    **_columns(_written, "exif_rotation", prefix="media_"),
}
PROJECT: Columns = {
    "name": ("project_name", _text),
    "project_tags": ("project_tags", _texts),
    "labels": ("labels", _objects),
    "project_details": {
        **_columns(_text, "ontology_id", "task_id", "task_name"),
        **_columns(_text, "batch_id", "batch_name", "workflow_status"),
        **_columns(_integer, "priority", "consensus_expected_label_count"),
        **_columns(_text, "selected_label_id"),
        **_columns(_objects, "workflow_history"),
    },
}
DATA_ROW_NULLS = _nulls(DATA_ROW, MEDIA, PROJECT)


def data_row_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give the one record of a data row in a project."""
    left: Row = {}
    record = {**DATA_ROW_NULLS, "additional_columns": left}
    _fill(record, left, DATA_ROW, row, "")
    _fill(record, {}, MEDIA, record["media_attributes"] or {}, "")
    # The other projects of a row are read in turns of their own.
    project = left.pop("projects", None)
    if isinstance(project, dict):
        project = project.get(project_id)
    if isinstance(project, dict):
        _fill(record, left, PROJECT, project, "project.")
    elif project is not None:
        left["projects"] = project
    yield record | _row_ids(row, project_id)


# --- export_labels, label_reviews ----------------------------------------------

LABEL: Columns = {
    "id": ("label_id", _written),
    **_columns(_text, "label_kind", "version"),
    "label_details": {
        **_columns(_moment, "created_at", "updated_at", "content_last_updated_at"),
        **_columns(_text, "created_by"),
        **_columns(_objects, "reviews"),
    },
    "performance_details": {
        **_columns(_number, "seconds_to_create", "seconds_to_review"),
        "skipped": ("is_skipped", _flag),
        **_columns(_number, "benchmark_score", "consensus_score"),
        **_columns(_text, "benchmark_reference_label"),
        **_columns(_integer, "consensus_label_count"),
        **_columns(_texts, "consensus_labels"),
    },
    "annotations": ("annotations", _object),
}
LABEL_NULLS = _nulls(LABEL, more=("is_latest", "is_selected"))

REVIEW: Columns = {
    **_columns(_number, "score"),
    **_columns(_moment, "reviewed_at"),
    **_columns(_text, "reviewed_by"),
}
REVIEW_NULLS = _nulls(REVIEW)


def label_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give a record for each label."""
    records = [
        _laid_out(LABEL_NULLS, LABEL, label, ids)
        for ids, label in _labels(row, project_id)
    ]
    project = _inside(_inside(row, "projects"), project_id)
    selected = _text(_inside(project, "project_details").get("selected_label_id"))
    dated = [r for r in records if r["created_at"] is not None]
    # The id decides between labels of one moment: there is one latest.
    latest = max(dated, key=lambda r: (r["created_at"], r["label_id"]), default=None)
    for record in records:
        if latest is not None:
            record["is_latest"] = record is latest
        if selected is not None:
            record["is_selected"] = record["label_id"] == selected
        yield record


def review_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give a record for each review of each label, oldest first."""
    for ids, label in _labels(row, project_id):
        reviews = _items(_inside(label, "label_details").get("reviews"))
        records = [_laid_out(REVIEW_NULLS, REVIEW, item, ids) for _, item in reviews]
        yield from _numbered(records, "reviewed_at")


def _numbered(records: list[Record], when: str) -> Iterator[Record]:
    """Give records oldest first, and number them from 1."""
    records.sort(key=lambda record: record[when] or "")
    for sequence, record in enumerate(records, 1):
        yield record | {"sequence": sequence}


# --- annotations ---------------------------------------------------------------

FEATURE = _columns(_text, "feature_id", "feature_schema_id", "name", "value")
ANNOTATION: Columns = {
    **FEATURE,
    **_columns(_text, "annotation_kind", "message_id"),
    **_columns(_integer, "page_number"),
}
ANSWER: Columns = {
    **_columns(_text, *FEATURE, prefix="answer_"),
    "content": ("answer_text", _text),
}
ANSWER_KINDS = {
    "radio_answer": "Radio",
    "checklist_answers": "Checklist",
    "text_answer": "Text",
}
ANSWER_ENDINGS = ("answer", "answers")

SPAN: Columns = {
    **_columns(_integer, "start", "end", prefix="text_"),
    **_columns(_text, "token", prefix="text_"),
}
MEASURES: Columns = {
    "bounding_box": _columns(_number, "top", "left", "height", "width", prefix="box_"),
    "point": _columns(_number, "x", "y", prefix="point_"),
    "location": SPAN,
    "conversational_location": {"location": SPAN, **_columns(_text, "message_id")},
    "selected_message": _columns(_text, "message_id"),
    "mask": _columns(_text, "url", prefix="mask_"),
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
ANNOTATION_NULLS = _nulls(
    ANNOTATION, ANSWER, MEASURES, more=("frame_end", "is_key_frame", "geometry")
)


def annotation_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give a record for each object and for each answer, at any depth.

    A video or DICOM feature has one in each frame the export holds. A segment is
    the ``frame_end`` of the record at its first frame; one that begins where its
    feature has no record is a record of its own.
    """
    for ids, label in _labels(row, project_id):
        if isinstance(label, dict) and label.get("annotations") is not None:
            yield from _Walk(ids).through(label["annotations"])


class _Walk:
    """A walk through the annotations of one label.

    Passed on as ``place`` are the columns that tell where an annotation is; the
    ``annotation_id`` in it is that of what the annotation is part of.
    """

    def __init__(self, label_ids: Record) -> None:
        self._top: Record = label_ids | {
            "annotation_id": "",
            "parent_annotation_id": None,
            "path": None,
            "depth": 0,
            "group_name": None,
            "frame": None,
        }
        self._ids = _Ids()
        # By feature and, in DICOM, group:
        self._key_frames: dict[tuple[str, str | None], set[str]] = {}
        self._segments: dict[tuple[str, str | None], dict[int, int]] = {}

    def through(self, annotations: Any) -> Iterator[Record]:
        """Give the records of all there is."""
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
        for (feature, group), segments in self._segments.items():
            for start, end in segments.items():  # those that met no record
                yield self._segment(feature, group, start, end)

    def _content(self, name: str, content: Any, place: Record) -> Iterator[Record]:
        """Read the whole, a group, or a frame."""
        if not isinstance(content, dict):
            yield from self._unknown(name, content, place)
            return
        for key, value in content.items():
            part = PARTS.get((name, key))
            if key in {"objects", "classifications"}:
                for feature, item in _items(value):
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
        record = _laid_out(ANNOTATION_NULLS, ANNOTATION, item, place)
        left = record["additional_columns"]
        if record["feature_id"] is None:
            record["feature_id"] = key or None
        record["path"] = _joined(" / ", place["path"], record["name"]) or None
        if place["frame"] is not None:
            self._mark(record)
        if geometry := {name: left.pop(name) for name in [*left] if name in GEOMETRIES}:
            record["geometry"] = geometry
            _measure(record, geometry)
        nested = left.pop("classifications", None)
        answers = _answers(left)
        if not answers:
            record["annotation_id"] = self._ids.give(_known_by(record, place))
            yield record
            yield from self._nested(nested, record)
        for name, answer, one_of_several in answers:
            answered, within = _answered(record, name, answer)
            wanted = _known_by(answered, place)
            if one_of_several:
                option = answered["answer_feature_id"] or answered["answer_name"]
                wanted = _joined("/", wanted, option or "unnamed")
            answered["annotation_id"] = self._ids.give(wanted)
            yield answered
            for inner in (within, nested):
                yield from self._nested(inner, answered)
            nested = None  # in the first record's care

    def _nested(self, items: Any, record: Record) -> Iterator[Record]:
        """Read the classifications of an object or of an answer."""
        if items in EMPTY:
            return
        place = {column: record[column] for column in self._top} | {
            "parent_annotation_id": record["annotation_id"],
            "path": _joined(" / ", record["path"], record["answer_name"]) or None,
            "depth": record["depth"] + 1,
        }
        if place["depth"] > DEEPEST:
            yield from self._unknown("classifications", items, place)
            return
        for feature, item in _items(items):
            yield from self._annotation(item, feature, place)

    def _mark(self, record: Record) -> None:
        """Tell whether somebody drew it in its frame, and how far it goes on."""
        mark = (record["feature_id"], record["group_name"])
        if (key_frames := self._key_frames.get(mark)) is not None:
            record["is_key_frame"] = str(record["frame"]) in key_frames
        if segments := self._segments.get(mark):
            record["frame_end"] = segments.pop(record["frame"], None)

    def _segment(self, feature: str, group: str | None, start: int, end: int) -> Record:
        """Give the record of a segment that begins where nothing is."""
        wanted = _joined("/", group, feature, f"{start}-{end}")
        return {
            **ANNOTATION_NULLS,
            **self._top,
            "annotation_id": self._ids.give(wanted),
            "feature_id": feature,
            "annotation_kind": "Segment",
            "group_name": group,
            "frame": start,
            "frame_end": end,
            "additional_columns": {},
        }

    def _unknown(self, kind: str, value: Any, place: Record) -> Iterator[Record]:
        """Give a record to what nobody knows, unless it is empty."""
        if value in EMPTY:
            return
        wanted = _joined("/", place["annotation_id"], kind)
        yield {
            **ANNOTATION_NULLS,
            **place,
            "annotation_id": self._ids.give(wanted),
            "annotation_kind": kind,
            "additional_columns": {kind: value},
        }


def _known_by(record: Record, place: Record) -> str:
    """Give the id an annotation is to have."""
    own = record["feature_id"]
    if not own:
        kind, name = record["annotation_kind"], record["name"]
        own = _joined(":", kind, name or "unnamed", record["message_id"])
    return _joined("/", place["annotation_id"], own)


def _joined(separator: str, *parts: str | None) -> str:
    return separator.join(filter(None, parts))


def _frame(key: str) -> int | None:
    # No frame has more digits, and Python reads no number with very many.
    return int(key) if key.isdecimal() and len(key) <= len("999999999") else None


def _marks(annotations: Any, block: str) -> Iterator[tuple[str, str | None, Any]]:
    """Give what a block holds, below one or two levels of keys."""
    for key, value in _inside(annotations, block).items():
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
                start, end = _integer(first), _integer(last)
                if start is None or end is None or start in segments:
                    return None
                segments[start] = end
            case _:
                return None
    return segments


def _answers(left: Row) -> list[tuple[str, Any, bool]]:
    """Take the answers out: the key of each, itself, and whether it is of a list."""
    answers: list[tuple[str, Any, bool]] = []
    for name in [name for name in left if name.endswith(ANSWER_ENDINGS)]:
        value = left.pop(name)
        if isinstance(value, list):
            options = [(name, option, True) for _, option in _items(value)]
            answers += options or [(name, {}, False)]
        else:
            answers.append((name, value, False))
    return answers


def _answered(record: Record, name: str, answer: Any) -> tuple[Record, Any]:
    """Add an answer to its question; give the questions it raises, too."""
    left = {**record["additional_columns"]}
    answered = {**record, "additional_columns": left}
    if record["annotation_kind"] is None:
        kind = ANSWER_KINDS.get(name.removeprefix("conversational_"), name)
        answered["annotation_kind"] = kind
    if isinstance(answer, dict):
        _fill(answered, left, ANSWER, answer, f"{name}.")
    elif answer is not None:
        left[name] = answer
    return answered, left.pop(f"{name}.classifications", None)


def _measure(record: Record, geometry: Row) -> None:
    """Take the columns of numbers out of a geometry."""
    _fill(record, {}, MEASURES, geometry, "")
    groups = _objects(_inside(geometry, "location").get("groups"))
    if groups:  # of tokens on the pages of a document
        texts = [text for group in groups if (text := _text(group.get("text")))]
        record["text_token"] = record["text_token"] or " ".join(texts) or None
        if record["page_number"] is None:
            record["page_number"] = _integer(groups[0].get("page_number"))


# --- annotation_relationships --------------------------------------------------

RELATIONSHIP: Columns = {
    **FEATURE,
    **_columns(_text, "annotation_kind"),
    **_columns(_objects, "classifications"),
}
RELATED: Columns = {
    "source": ("source_feature_id", _text),
    "target": ("target_feature_id", _text),
    "type": ("relationship_type", _text),
}
RELATIONSHIP_NULLS = _nulls(RELATIONSHIP, RELATED)
RELATIONSHIP_ENDING = "relationship"


def relationship_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give a record for each relationship between two annotations."""
    for label_ids, label in _labels(row, project_id):
        ids = _Ids()
        for key, item in _items(_inside(label, "annotations").get("relationships")):
            record = _laid_out(RELATIONSHIP_NULLS, RELATIONSHIP, item, label_ids)
            left = record["additional_columns"]
            for name in [name for name in left if name.endswith(RELATIONSHIP_ENDING)]:
                if isinstance(left[name], dict):
                    _fill(record, left, RELATED, left.pop(name), f"{name}.")
                    if record["relationship_type"] is None:
                        kind = name.removesuffix(RELATIONSHIP_ENDING).rstrip("_")
                        record["relationship_type"] = kind or None
            if record["feature_id"] is None:
                record["feature_id"] = key or None
            ends = (record["source_feature_id"], record["target_feature_id"])
            own = record["feature_id"] or _joined(">", *ends) or record["name"]
            yield record | {"relationship_id": ids.give(own or "unnamed")}


# --- workflow_history, data_row_metadata, data_row_attachments -------------------

STEP: Columns = {
    **_columns(_text, "action", "created_by"),
    **_columns(_moment, "created_at"),
    **_columns(_text, "previous_task_id", "previous_task_name"),
    **_columns(_text, "next_task_id", "next_task_name"),
}
STEP_NULLS = _nulls(STEP)

METADATA = _columns(_text, "schema_id", "schema_name", "schema_kind")
OPTION: Columns = {
    "schema_id": ("option_id", _text),
    "schema_name": ("option_name", _text),
}
METADATA_NULLS = _nulls(
    METADATA, OPTION, more=("value_string", "value_number", "value_datetime")
)

ATTACHMENT = _columns(_text, "type", "name", "value")
ATTACHMENT_NULLS = _nulls(ATTACHMENT)


def workflow_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give a record for each step through the workflow, oldest first."""
    ids = _row_ids(row, project_id)
    project = _inside(_inside(row, "projects"), project_id)
    steps = [*_items(_inside(project, "project_details").get("workflow_history"))]
    # The export gives the newest first; steps of one moment keep that order.
    records = [_laid_out(STEP_NULLS, STEP, step, ids) for _, step in reversed(steps)]
    yield from _numbered(records, "created_at")


def metadata_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give a record for each metadata field, and for each chosen option of one."""
    ids = _row_ids(row, project_id)
    counts: dict[str, int] = {}
    for _, field in _items(row.get("metadata_fields")):
        field_record = _laid_out(METADATA_NULLS, METADATA, field, ids)
        schema_id = field_record["schema_id"] = field_record["schema_id"] or ""
        value = field_record["additional_columns"].pop("value", None)
        for _, one in [*_items(value)] or [("", None)]:
            left = {**field_record["additional_columns"]}
            record = {**field_record, "additional_columns": left}
            _fill_value(record, left, one)
            counts[schema_id] = counts.get(schema_id, 0) + 1
            yield record | {"sequence": counts[schema_id]}


def _fill_value(record: Record, left: Row, value: Any) -> None:
    """Put a metadata value in the columns of its type."""
    if isinstance(value, dict):
        _fill(record, left, OPTION, value, "value.")
    elif "Enum" in (record["schema_kind"] or "") and isinstance(value, str):
        record["option_id"] = value
    elif isinstance(value, str):
        record["value_string"] = value
        record["value_datetime"] = _moment(value)
    elif (number := _number(value)) is not None:
        record["value_number"] = number
    elif value is not None:
        left["value"] = value


def attachment_records(row: Row, project_id: str) -> Iterator[Record]:
    """Give a record for each attachment, in the export's order."""
    ids = _row_ids(row, project_id)
    for sequence, (_, item) in enumerate(_items(row.get("attachments")), 1):
        record = _laid_out(ATTACHMENT_NULLS, ATTACHMENT, item, ids)
        yield record | {"sequence": sequence}
