"""The annotations of an exported data row: a walk through them, and their tables.

How an annotation gets its ``annotation_id``: by the feature IDs on the way down,
joined with ``/``, after the group and the frame if there are any. Of the answers of
a checklist each adds its own; a radio or text answer is known by its question, so
that a changed answer keeps its record. Where there is no feature ID, kind, name and
message stand in for it; what would have the ID of another gets ``#2``, ``#3`` etc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tap_labelbox.exports.rows import (
    ADDITIONAL_COLUMNS,
    LABEL_IDS,
    UniqueIds,
    block,
    items,
)
from tap_labelbox.records.columns import (
    MAX_ID_PATH_BYTES,
    Table,
    boolean,
    derived,
    id_path,
    identifier,
    integer,
    json,
    number,
    objects,
    sources,
    string,
    within,
)
from tap_labelbox.records.values import (
    as_integer,
    as_key,
    as_objects,
    as_string,
    populate,
    shortened_id,
    to_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_labelbox.exports.rows import ProjectRow
    from tap_labelbox.records.columns import Column, Record, Row

MAX_ANSWER_DEPTH = 50  # levels of nested answers; what is below stays JSON

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
        "tells; for what is not known yet, its key.",
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
            "tell.",
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
    """A table of annotations, which tells where its columns come from."""

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
RELATIONSHIP_ENDING = "relationship"


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
