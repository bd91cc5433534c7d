"""The notations of a label's annotations: the old one and today's.

`old` is what a bulk export and the GraphQL API give, in the notation of the
project's era; `new` is what a data row export gives.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tap_labelbox.sandbox import content

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox.content import Answer, Choice, ObjectAnnotation
    from tap_labelbox.sandbox.world import Label

Row = dict[str, Any]

API = "https://api.labelbox.com"
FRAMES = range(3, 8)  # the frames of a video in which an object is seen
KEY_FRAMES = (3, 7)  # those somebody drew; the others are interpolated
MASKED_FRAMES = (5, 3, 7)  # those with a mask, which nothing interpolates
MASK = "raster-segmentation"
REPEATED_EVERY_ROWS = 3  # relationships stand among the objects of one label in so many


def text(label: Label) -> str:
    """Return the old notation as text, which `Label.label` holds."""
    written = old(label)
    return written if isinstance(written, str) else content.compact(written)


# --- the old notations -------------------------------------------------------


def old(label: Label) -> Any:
    """Write annotations as the bulk export of the project's era does."""
    era, media = label.project.era, label.project.media
    if label.is_skipped:
        return _skipped(label)
    objects, answers = content.label_content(label)
    if era == "2018-02":
        return _rings(objects, as_points=label.data_row.number % 4 == 0)
    if era == "2018-06":
        return _rings(objects, as_points=False)
    if era == "2018-08":
        return _geometries(objects, answers)
    if media == "VIDEO":
        return [
            {
                "frameNumber": frame,
                "classifications": [],
                "objects": [
                    _old_object(label, obj, number, frame)
                    for number, obj in enumerate(objects)
                ],
            }
            for frame in FRAMES
        ]
    written: Row = {
        "objects": [_old_object(label, t, n, None) for n, t in enumerate(objects)],
        "classifications": [_old_answer(answer, label) for answer in answers],
    }
    if era == "2023":
        written["relationships"] = []
    return written


def _skipped(label: Label) -> Any:
    if label.project.era.startswith("2018"):
        return "Skip" if label.data_row.number % 2 else {}
    return {"objects": [], "classifications": []} if label.data_row.number % 2 else {}


def _rings(objects: list[ObjectAnnotation], *, as_points: bool) -> Row:
    """Write well-known text, or points, under the name of each class."""
    written: dict[str, list[ObjectAnnotation]] = {}
    for obj in objects:
        written.setdefault(obj.name, []).append(obj)
    if as_points:
        return {name: [t.corners[:-1] for t in same] for name, same in written.items()}
    return {
        name: f"MULTIPOLYGON ({', '.join(_ring(obj) for obj in same)})"
        for name, same in written.items()
    }


def _ring(obj: ObjectAnnotation) -> str:
    points = ", ".join("{x} {y}".format(**point) for point in obj.corners)
    return f"(({points}))"


def _geometries(objects: list[ObjectAnnotation], answers: list[Answer]) -> Row:
    written: Row = {}
    for obj in objects:
        geometry: Any = obj.corners[:-1]
        if obj.tool == "point":
            geometry = obj.corners[0]
        elif obj.tool == "line":
            geometry = f"POLYGON ({_ring(obj)[1:-1]})"
        drawn: Row = {"geometry": geometry}
        if obj.tool == "rectangle":
            drawn["color"] = obj.color
        written.setdefault(obj.name, []).append(drawn)
    for answer in answers:
        name = answer.name.lower().replace(" ", "_")
        written[name] = [c.name for c in answer.choices] or answer.text
    return written


def _old_object(
    label: Label, obj: ObjectAnnotation, number: int, frame: int | None
) -> Row:
    written: Row = _old_names(obj) | {"color": obj.color}
    if frame is not None:
        written["keyframe"] = frame in KEY_FRAMES
    match label.project.media, obj.tool:
        case "TEXT" | "CONVERSATIONAL", _:
            written["data"] = {"location": _span(obj)}
            written |= {"format": "text.location", "version": 1}
        case "PDF", _:
            written |= {"bbox": _box(obj, 0, int), "page": 1, "unit": "POINTS"}
        case "TMS_GEO", _:
            written["geometry"] = _geojson(obj)
        case _, "rectangle":
            written["bbox"] = _box(obj, frame or 0, int)
        case _, "polygon":
            written["polygon"] = obj.corners
        case _, "line":
            written["line"] = obj.corners[:3]
        case _, "point":
            written["point"] = obj.corners[0]
    written["instanceURI"] = f"{API}/masks/feature/{obj.feature_id}?token=made-up"
    if label.project.era != "2020" or number % 2 == 0:
        answers = [_old_answer(answer, label) for answer in obj.answers]
        # Some exports of 2021 hold a list of lists.
        nested = label.project.era == "2021" and number % 3 == 2
        written["classifications"] = [answers] if nested else answers
    return written


def _old_answer(answer: Answer, label: Label) -> Row:
    written = _old_names(answer)
    choices = [_old_choice(choice, label) for choice in answer.choices]
    if answer.kind == "text":
        written["answer"] = answer.text
    elif answer.kind == "checklist":
        written["answers"] = choices
    else:
        written["answer"] = choices if label.project.era == "2020" else choices[0]
    return written


def _old_choice(choice: Choice, label: Label) -> Row:
    written = _old_names(choice)
    if choice.answers:
        written["classifications"] = [_old_answer(a, label) for a in choice.answers]
    return written


def _old_names(item: ObjectAnnotation | Answer | Choice) -> Row:
    return {
        "featureId": item.feature_id,
        "schemaId": item.schema_id,
        "title": item.name,
        "value": item.name.lower().replace(" ", "_"),
    }


# --- today's notation --------------------------------------------------------


def new(label: Label, *, interpolated: bool) -> Row:
    """Write annotations as a data row export does.

    Args:
        label: Whose.
        interpolated: Whether to write the frames of a video nobody drew, too.
    """
    objects, answers = content.label_content(label)
    media = label.project.media
    about_message = media in {"CONVERSATIONAL", "LLM"}
    classifications = [
        _new_answer(answer, "message-0" if about_message and number else None)
        for number, answer in enumerate(answers)
    ]
    if media == "VIDEO":
        return _frames(label, objects, answers, interpolated=interpolated)
    if media == "AUDIO":
        return {"classifications": classifications, "segments": {}, "timestamp": {}}
    if media == "DICOM":
        return _slices(label, objects) | {"classifications": classifications}
    written = [_new_object(label, obj, 0) for obj in objects]
    relationships = _relationships(label, objects)
    repeated = relationships if label.data_row.number % REPEATED_EVERY_ROWS == 0 else []
    return {
        "objects": written + repeated,
        "classifications": classifications,
        "relationships": relationships,
    }


def _relationships(label: Label, objects: list[ObjectAnnotation]) -> list[Row]:
    media = label.project.media
    return [
        {
            "feature_id": source.feature_id[::-1],
            "feature_schema_id": source.schema_id[::-1],
            "name": "belongs to",
            "value": "belongs_to",
            "annotation_kind": f"{media.capitalize()}UnidirectionalRelationship",
            "classifications": [],
            "unidirectional_relationship": {
                "source": source.feature_id,
                "target": target.feature_id,
            },
        }
        for source, target in list(pairwise(objects))[:1]
        if media in {"IMAGE", "TEXT"}
    ]


def z_order(label: Label) -> list[str]:
    """Return the ids of the objects in an image, by what lies above what."""
    if label.project.media != "IMAGE":
        return []
    objects, _ = content.label_content(label)
    return [obj.feature_id for obj in reversed(objects)]


def _frames(
    label: Label,
    objects: list[ObjectAnnotation],
    answers: list[Answer],
    *,
    interpolated: bool,
) -> Row:
    """Write a video: objects and every second label's answers, frame by frame.

    What was answered is marked by the ids of the options that were chosen, key
    frames also by those of the questions.
    """
    in_frames = answers if label.data_row.number % 2 else []
    drawn = {t.feature_id: MASKED_FRAMES if t.tool == MASK else FRAMES for t in objects}
    frames: Row = {}
    for frame in FRAMES if interpolated else KEY_FRAMES:
        seen = {
            obj.feature_id: _new_object(label, obj, frame)
            for obj in objects
            if frame in drawn[obj.feature_id]
        }
        # Of answers, nothing is interpolated.
        answers_here = in_frames if frame in KEY_FRAMES else []
        if seen or answers_here:
            written = [_new_answer(answer) for answer in answers_here]
            frames[str(frame)] = {"objects": seen, "classifications": written}
    questions, options = _ids(in_frames)
    whole = [[FRAMES[0], FRAMES[-1]]]
    return {
        "frames": frames,
        "segments": {
            obj.feature_id: [[frame, frame] for frame in MASKED_FRAMES]
            if obj.tool == MASK
            else whole
            for obj in objects
        }
        | dict.fromkeys(options, whole),
        "key_frame_feature_map": {
            obj.feature_id: sorted(MASKED_FRAMES) if obj.tool == MASK else [*KEY_FRAMES]
            for obj in objects
        }
        | {item: [*KEY_FRAMES] for item in questions + options},
        "classifications": []
        if in_frames
        else [_new_answer(answer) for answer in answers],
    }


def _ids(answers: list[Answer]) -> tuple[list[str], list[str]]:
    """Return the ids of questions and of chosen options, at any depth."""
    questions, options = [answer.feature_id for answer in answers], []
    for choice in (choice for answer in answers for choice in answer.choices):
        nested = _ids(choice.answers)
        questions += nested[0]
        options += [choice.feature_id, *nested[1]]
    return questions, options


def _slices(label: Label, objects: list[ObjectAnnotation]) -> Row:
    planes = ("Axial", "Sagittal", "Coronal")
    drawn = {t.feature_id: _new_object(label, t, 0) for t in objects}
    frames = {"1": {"objects": drawn, "classifications": []}} if objects else {}
    return {
        "groups": {
            plane: {
                "name": plane,
                "classifications": [],
                "frames": frames if plane == "Axial" else {},
            }
            for plane in planes
        },
        "segments": {
            plane: {t.feature_id: [[1, 1]] for t in objects if plane == "Axial"}
            for plane in planes
        },
        "key_frame_feature_map": {
            t.feature_id: {p: {"1": True} if p == "Axial" else {} for p in planes}
            for t in objects
        },
    }


def _new_object(label: Label, obj: ObjectAnnotation, frame: int) -> Row:
    kind, geometry = DRAWN[label.project.media, obj.tool]
    answers = [_new_answer(answer) for answer in obj.answers]
    return _new_names(obj) | {
        "annotation_kind": kind,
        "classifications": answers if frame != KEY_FRAMES[-1] else [],
        **geometry(label, obj, frame),
    }


def _bounding_box(_: Label, obj: ObjectAnnotation, frame: int) -> Row:
    return {"bounding_box": _box(obj, frame, float)}


def _on_page(_: Label, obj: ObjectAnnotation, frame: int) -> Row:
    return {
        "page_number": 1,
        "bounding_box": _box(obj, frame, float),
        "page_dimensions": {"height": 792.0, "width": 612.0},
    }


def _tokens(_label: Label, obj: ObjectAnnotation, _frame: int) -> Row:
    tokens = [f"{obj.feature_id[:8]}-{number}" for number in range(2)]
    group = {"id": obj.feature_id, "page_number": 1, "tokens": tokens}
    return {"location": {"groups": [group | {"text": "1.250,00 €"}]}}


def _in_text(label: Label, obj: ObjectAnnotation, _: int) -> Row:
    span = _span(obj)
    token = label.data_row.row_data[span["start"] : span["end"] + 1]
    return {"location": span | {"token": token}}


def _in_message(_label: Label, obj: ObjectAnnotation, _frame: int) -> Row:
    place = {"message_id": "message-0", "location": _span(obj)}
    return {"conversational_location": place}


def _mask(label: Label, obj: ObjectAnnotation, frame: int) -> Row:
    place = f"/index/{frame}" if frame else ""
    url = f"{API}/api/v1/projects/{label.project.id}/annotations/{obj.feature_id}"
    composite = f"{API}/api/v1/tasks/{label.id}/masks/{label.id}/index/1"
    return {
        "mask": {"url": f"{url}{place}/mask"},
        "composite_mask": {"url": composite, "color_rgb": [20, 96, 255]},
    }


CHOSEN = {"message_id": "message-2", "model_config_name": "model A"}
PARENT = {"parent_message_id": "message-0"}

# The kind of an annotation and its geometry, by media type and tool.
DRAWN: dict[
    tuple[str, str], tuple[str, Callable[[Label, ObjectAnnotation, int], Row]]
] = {
    ("IMAGE", "rectangle"): ("ImageBoundingBox", _bounding_box),
    ("IMAGE", "polygon"): ("ImagePolygon", lambda _, t, _n: {"polygon": t.corners}),
    ("IMAGE", "line"): ("ImagePolyline", lambda _, t, _n: {"line": t.corners[:3]}),
    ("IMAGE", "point"): ("ImagePoint", lambda _, t, _n: {"point": t.corners[0]}),
    ("IMAGE", "raster-segmentation"): ("ImageSegmentationMask", _mask),
    ("VIDEO", "rectangle"): ("VideoBoundingBox", _bounding_box),
    ("VIDEO", "raster-segmentation"): ("VideoSegmentationMask", _mask),
    ("TEXT", "named-entity"): ("TextEntity", _in_text),
    ("CONVERSATIONAL", "named-entity"): ("ConversationalTextEntity", _in_message),
    ("PDF", "rectangle"): ("DocumentBoundingBox", _on_page),
    ("PDF", "named-entity"): ("DocumentEntityToken", _tokens),
    ("DICOM", "line"): ("DICOMPolyline", lambda _, t, _n: {"line": t.corners[:2]}),
    ("TMS_GEO", "polygon"): ("GeoPolygon", lambda _, t, _n: {"geojson": _geojson(t)}),
    ("TMS_GEO", "point"): ("GeoPoint", lambda _, t, _n: {"geojson": _geojson(t)}),
    ("LLM", "message-single-selection"): (
        "MessageSingleSelection",
        lambda *_: {"selected_message": CHOSEN | PARENT},
    ),
    ("LLM", "message-multi-selection"): (
        "MessageMultiSelection",
        lambda *_: {"selected_messages": {"messages": [CHOSEN]} | PARENT},
    ),
    ("LLM", "message-ranking"): (
        "MessageRanking",
        lambda *_: {
            "ranked_messages": {"ranked_messages": [CHOSEN | {"order": 1}]} | PARENT
        },
    ),
}


def _new_answer(answer: Answer, message: str | None = None) -> Row:
    written = _new_names(answer)
    about = "" if message is None else "conversational_"
    if message is not None:
        written["message_id"] = message
    choices = [
        _new_names(choice)
        | {"classifications": [_new_answer(nested) for nested in choice.answers]}
        for choice in answer.choices
    ]
    if answer.kind == "text":
        written[f"{about}text_answer"] = {"content": answer.text, "classifications": []}
    elif answer.kind == "checklist":
        written[f"{about}checklist_answers"] = choices
    else:
        written[f"{about}radio_answer"] = choices[0]
    return written


def _new_names(item: ObjectAnnotation | Answer | Choice) -> Row:
    return {
        "feature_id": item.feature_id,
        "feature_schema_id": item.schema_id,
        "name": item.name,
        "value": item.name.lower().replace(" ", "_"),
    }


def _span(obj: ObjectAnnotation) -> dict[str, int]:
    return {"start": obj.left % 20, "end": obj.left % 20 + 8}


def _box(obj: ObjectAnnotation, drift: int, number: type[int | float]) -> Row:
    return {
        "top": number(obj.top + 3 * drift),
        "left": number(obj.left + drift),
        "height": number(obj.height),
        "width": number(obj.width),
    }


def _geojson(obj: ObjectAnnotation) -> Row:
    ring = [[p["x"] / 100, p["y"] / 100] for p in obj.corners]
    if obj.tool == "point":
        return {"type": "Point", "coordinates": ring[0]}
    return {"type": "Polygon", "coordinates": [ring]}
