"""One exported data row, unfolded into the records of flat tables."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.exports.fast_rows import decode_fast_rows
from tap_labelbox.exports.rows import (
    MAX_ANSWER_DEPTH,
    DataRow,
    data_row_records,
    decode_rows,
)
from tap_labelbox.records import json_text
from tap_labelbox.sandbox import World
from tap_labelbox.sandbox.rows import row as exported
from tap_labelbox.streams import data_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]

SHAPES = Path(__file__).parent / "shapes"
STREAMS = {
    str(stream.name): stream  # type: ignore[misc]  # the SDK sets it, too
    for stream in vars(data_rows).values()
    if isinstance(stream, type)
    and issubclass(stream, ExportedStream)
    and stream is not ExportedStream
    and stream.parents == "projects"
}
SCHEMAS: dict[str, Any] = {name: vars(s)["schema"] for name, s in STREAMS.items()}
VALIDATORS = {name: Draft7Validator(schema) for name, schema in SCHEMAS.items()}
KEY_COLUMNS: dict[str, Any] = {n: vars(s)["primary_keys"] for n, s in STREAMS.items()}
EVERYTHING = {
    "include_attachments": True,
    "include_data_row_details": True,
    "include_embeddings": True,
    "include_interpolated_frames": True,
    "include_label_details": True,
    "include_metadata": True,
    "include_performance_details": True,
    "include_project_details": True,
}
NOT_OBJECTS = {"Radio", "Checklist", "Text"}


def unfold(stream: str, row: Row, project_id: str = "P") -> list[Row]:
    """Return the records of a stream."""
    return list(STREAMS[stream].unfold(DataRow(row).in_project(project_id)))


def labeled(annotations: Any, **label: Any) -> Row:
    """Make a data row with one label."""
    label = {"id": "L", "annotations": annotations} | label
    return {
        "data_row": {"id": "R"},
        "projects": {"P": {"name": "one", "labels": [label]}},
    }


def annotated(**annotations: Any) -> list[Row]:
    """Return the records of the annotations of one label, without what is null."""
    return [
        {column: value for column, value in record.items() if value not in (None, {})}
        for record in unfold("annotations", labeled(annotations))
    ]


def drawn(kind: str, **more: Any) -> Row:
    """Make an object."""
    names = {"feature_id": "f", "feature_schema_id": "s", "name": "car", "value": "c"}
    return names | {"annotation_kind": kind, "classifications": []} | more


def asked(name: str, **more: Any) -> Row:
    """Make a classification."""
    return {"feature_id": f"f-{name}", "name": name, "value": name.lower()} | more


def option(name: str, *nested: Row) -> Row:
    """Make a chosen option."""
    return {"feature_id": f"o-{name}", "name": name, "classifications": [*nested]}


# --- objects -------------------------------------------------------------------


@pytest.mark.parametrize(
    "label", [{"id": "L"}, {"id": "L", "annotations": None}, "label", 5, ["label"]]
)
def test_a_label_without_annotations_has_none(label: Any) -> None:
    """Also one that is no object."""
    row = {
        "data_row": {"id": "R"},
        "projects": {"P": {"name": "one", "labels": [label]}},
    }

    assert unfold("annotations", row) == []
    assert unfold("annotation_relationships", row) == []


def test_an_object_says_what_it_is_and_where() -> None:
    """The ids go up to the project."""
    (record,) = annotated(objects=[drawn("ImagePolygon", polygon=[{"x": 1, "y": 2}])])

    assert record == {
        "project_id": "P",
        "data_row_id": "R",
        "label_id": "L",
        "annotation_id": "f",
        "path": "car",
        "depth": 0,
        "feature_id": "f",
        "feature_schema_id": "s",
        "name": "car",
        "value": "c",
        "annotation_kind": "ImagePolygon",
        "geometry": {"polygon": [{"x": 1, "y": 2}]},
    }


BOX = {"top": 4.0, "left": 3.5, "height": 2.0, "width": 1}
MASK = {"url": "https://masks.example/1"}
CHOSEN = {"message_id": "m2", "model_config_name": "a", "parent_message_id": "m1"}
RANKED = {"ranked_messages": [{"message_id": "m2", "order": 1}]}
TOKENS = {"groups": [{"id": "g", "page_number": 2, "tokens": ["t"], "text": "a word"}]}


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        (
            "ImageBoundingBox",
            {"bounding_box": BOX},
            {"box_top": 4.0, "box_left": 3.5, "box_height": 2.0, "box_width": 1},
        ),
        ("ImagePoint", {"point": {"x": 1.5, "y": 2}}, {"point_x": 1.5, "point_y": 2}),
        ("ImagePolyline", {"line": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}, {}),
        (
            "ImageSegmentationMask",
            {"mask": MASK, "composite_mask": MASK | {"color_rgb": [1, 2, 3]}},
            {"mask_url": MASK["url"]},
        ),
        (
            "TextEntity",
            {"location": {"start": 3, "end": 6, "token": "word"}},
            {"text_start": 3, "text_end": 6, "text_token": "word"},
        ),
        (
            "ConversationalTextEntity",
            {
                "conversational_location": {
                    "message_id": "m1",
                    "location": {"start": 0, "end": 8},
                }
            },
            {"message_id": "m1", "text_start": 0, "text_end": 8},
        ),
        (
            "DocumentEntityToken",
            {"location": TOKENS},
            {"page_number": 2, "text_token": "a word"},
        ),
        ("GeoPoint", {"geojson": {"type": "Point", "coordinates": [1, 2]}}, {}),
        (
            "MessageSingleSelection",
            {"selected_message": CHOSEN},
            {"message_id": "m2"},
        ),
        ("MessageMultiSelection", {"selected_messages": {"messages": [CHOSEN]}}, {}),
        ("MessageRanking", {"ranked_messages": RANKED}, {}),
    ],
)
def test_geometry_is_kept_whole_and_as_columns(
    kind: str, arguments: Row, expected: Row
) -> None:
    """Whatever the media type is."""
    (bare,) = annotated(objects=[drawn(kind)])
    (record,) = annotated(objects=[drawn(kind, **arguments)])

    assert record == bare | expected | {"geometry": arguments}


def test_a_box_in_a_document_has_its_page() -> None:
    """And the page's size with the geometry."""
    page = {"page_number": 7, "page_dimensions": {"height": 792.0, "width": 612.0}}
    box = drawn("DocumentBoundingBox", bounding_box=BOX, **page)

    (record,) = annotated(objects=[box])

    assert record["page_number"] == 7
    assert record["geometry"]["page_dimensions"] == page["page_dimensions"]


def test_an_unknown_kind_is_a_record_with_its_json() -> None:
    """Nobody has to change the tap for it first."""
    cuboid = drawn("PointCloudCuboid", cuboid={"center": [1, 2, 3]}, certainty=0.5)

    (record,) = annotated(objects=[cuboid])

    assert record["annotation_kind"] == "PointCloudCuboid"
    assert record["additional_columns"] == {
        "cuboid": {"center": [1, 2, 3]},
        "certainty": 0.5,
    }


def test_an_unknown_block_is_a_record_with_its_json() -> None:
    """Unless it is empty."""
    (record,) = annotated(objects=[], tracks=[{"feature_id": "t"}], scenes={})

    assert record["annotation_kind"] == record["annotation_id"] == "tracks"
    assert record["additional_columns"] == {"tracks": [{"feature_id": "t"}]}


# --- answers -------------------------------------------------------------------


@pytest.mark.parametrize("about", ["", "conversational_"])
def test_a_radio_answer_is_one_record(about: str) -> None:
    """Question and option share it."""
    scene = asked("Scene", **{f"{about}radio_answer": option("street")})

    (record,) = annotated(classifications=[scene])

    assert record["annotation_kind"] == "Radio"
    assert (record["name"], record["answer_name"]) == ("Scene", "street")
    assert (record["feature_id"], record["answer_feature_id"]) == (
        "f-Scene",
        "o-street",
    )


@pytest.mark.parametrize("about", ["", "conversational_"])
def test_a_checklist_is_a_record_for_each_chosen_option(about: str) -> None:
    """Each has an id of its own."""
    chosen = [option("fog"), option("rain")]
    weather = asked("Weather", **{f"{about}checklist_answers": chosen})

    records = annotated(classifications=[weather])

    assert [(r["annotation_kind"], r["answer_name"]) for r in records] == [
        ("Checklist", "fog"),
        ("Checklist", "rain"),
    ]
    assert [r["annotation_id"] for r in records] == [
        "f-Weather/o-fog",
        "f-Weather/o-rain",
    ]


@pytest.mark.parametrize("about", ["", "conversational_"])
def test_a_text_answer_is_one_record(about: str) -> None:
    """The text has a column."""
    note = asked("Note", message_id="m1", **{f"{about}text_answer": {"content": "so"}})

    (record,) = annotated(classifications=[note])

    assert record["annotation_kind"] == "Text"
    assert (record["answer_text"], record["message_id"]) == ("so", "m1")


@pytest.mark.parametrize("answers", [{}, {"checklist_answers": []}])
def test_a_question_without_an_answer_is_a_record(answers: Row) -> None:
    """It was asked."""
    (record,) = annotated(classifications=[asked("Weather", **answers)])

    assert record["name"] == "Weather"
    assert "answer_name" not in record


def test_a_checklist_without_answers_keeps_its_id() -> None:
    """That of its question, whatever is chosen later."""
    (unanswered,) = annotated(classifications=[asked("Color", checklist_answers=[])])
    answered = annotated(
        classifications=[asked("Color", checklist_answers=[option("red")])]
    )

    assert unanswered["annotation_id"] == "f-Color"
    assert [r["annotation_id"] for r in answered] == ["f-Color/o-red"]


def test_an_unknown_kind_of_answer_has_its_keys_name() -> None:
    """And its values, of which those with a column have it."""
    rating = asked("Rating", star_answer={"name": "four", "stars": 4})

    (record,) = annotated(classifications=[rating])

    assert (record["annotation_kind"], record["answer_name"]) == ("star_answer", "four")
    assert record["additional_columns"] == {"star_answer.stars": 4}


def test_answers_are_read_at_any_depth() -> None:
    """Each knows its parent, the way down and how far it is."""
    plate = asked("Plate", text_answer={"content": "B-AB 1"})
    parts = asked("Parts", checklist_answers=[option("front", plate), option("back")])
    kind = asked("Kind", radio_answer=option("truck", parts))

    records = annotated(objects=[drawn("ImagePoint", classifications=[kind])])

    assert [(r["depth"], r["path"]) for r in records] == [
        (0, "car"),
        (1, "car / Kind"),
        (2, "car / Kind / truck / Parts"),
        (3, "car / Kind / truck / Parts / front / Plate"),
        (2, "car / Kind / truck / Parts"),
    ]
    assert [r.get("parent_annotation_id") for r in records] == [
        None,
        "f",
        "f/f-Kind",
        "f/f-Kind/f-Parts/o-front",
        "f/f-Kind",
    ]


def test_lists_of_lists_are_taken_apart() -> None:
    """Some exports of 2021 nest classifications once too often."""
    nested = [[asked("Kind"), asked("Color")]]

    records = annotated(objects=[drawn("ImagePoint", classifications=nested)])

    assert [record["name"] for record in records] == ["car", "Kind", "Color"]


def test_what_is_nested_too_deep_stays_json() -> None:
    """Python would not follow for ever."""
    deep = asked("Question")
    for _ in range(400):
        deep = asked("Question", radio_answer=option("yes", deep))

    records = annotated(classifications=[deep])

    assert records[-1]["annotation_kind"] == "classifications"
    assert len(records) == MAX_ANSWER_DEPTH + 2


# --- video, DICOM, audio -------------------------------------------------------


def frames(**more: Any) -> list[Row]:
    """Return the records of a box in frames 2 and 5."""
    boxed = {"objects": {"b": {"name": "car", "bounding_box": BOX}}}
    return annotated(frames={"2": boxed, "5": boxed}, **more)


def test_an_object_has_a_record_in_each_frame() -> None:
    """Its feature id may be a key only."""
    records = frames()

    assert [(r["frame"], r["feature_id"]) for r in records] == [(2, "b"), (5, "b")]
    assert [record["annotation_id"] for record in records] == ["2/b", "5/b"]


def test_answers_in_a_frame_know_their_frame() -> None:
    """Those of the frame as those of its objects."""
    kind = asked("Kind", radio_answer=option("truck"))
    boxed = {"b": {"name": "car", "classifications": [kind]}}
    frame = {"objects": boxed, "classifications": [asked("Scene")]}

    records = annotated(frames={"13": frame}, classifications=[asked("Whole")])

    assert [(r["name"], r.get("frame")) for r in records] == [
        ("car", 13),
        ("Kind", 13),
        ("Scene", 13),
        ("Whole", None),
    ]


@pytest.mark.parametrize("marks", [{"2": True, "5": False}, {"2": True}, [2], ["2"]])
def test_key_frames_are_distinguished_from_others(marks: Any) -> None:
    """The map gives them as an object or as a list."""
    records = frames(key_frame_feature_map={"b": marks})

    assert [record["is_key_frame"] for record in records] == [True, False]


@pytest.mark.parametrize("marks", [{}, {"other": [2]}, None])
def test_without_a_map_nobody_knows_the_key_frames(marks: Any) -> None:
    """Null is neither yes nor no."""
    records = frames(key_frame_feature_map=marks)

    assert not any("is_key_frame" in record for record in records)


def test_a_segment_ends_the_record_it_begins_with() -> None:
    """No record is made up for frames that are there."""
    records = frames(segments={"b": [[2, 4], [5, 9]]})

    assert [(r["frame"], r["frame_end"]) for r in records] == [(2, 4), (5, 9)]


def test_a_segment_without_a_frame_is_a_record() -> None:
    """An export of key frames only may hold none of a feature."""
    records = annotated(frames={}, segments={"b": [[7, 13], [18, 19]]})

    assert [(r["feature_id"], r["frame"], r["frame_end"]) for r in records] == [
        ("b", 7, 13),
        ("b", 18, 19),
    ]
    assert [r["annotation_kind"] for r in records] == ["Segment"] * 2
    assert [r["annotation_id"] for r in records] == ["b/7-13", "b/18-19"]


def spotted(*options: str) -> Row:
    """Make a frame in which a checklist is answered."""
    chosen = [option(name) for name in options]
    return {"classifications": [asked("Seen", checklist_answers=chosen)]}


def test_answers_in_frames_are_marked_by_their_own_ids() -> None:
    """And by those of their question, where theirs are not marked."""
    records = annotated(
        frames={"1": spotted("tree", "bird", "cow"), "9": spotted("tree", "cow")},
        segments={"o-tree": [[1, 9]], "o-bird": [[1, 1]], "f-Seen": [[1, 12]]},
        key_frame_feature_map={"f-Seen": [9], "o-tree": [1], "o-bird": {"1": True}},
    )

    assert [
        (r["frame"], r["answer_name"], r.get("frame_end"), r["is_key_frame"])
        for r in records
    ] == [
        (1, "tree", 9, True),
        (1, "bird", 1, True),
        (1, "cow", 12, False),
        (9, "tree", None, False),
        (9, "cow", None, True),
    ]


def test_what_objects_are_asked_in_a_frame_is_marked_too() -> None:
    """At any depth; a radio answer by its option."""
    deep = asked("Deep", radio_answer=option("yes"))
    kind = asked("Kind", radio_answer=option("truck", deep))
    boxed = {"objects": {"b": {"name": "car", "classifications": [kind]}}}

    records = annotated(
        frames={"4": boxed},
        segments={"b": [[4, 9]], "o-truck": [[4, 6]], "o-yes": [[4, 5]]},
        key_frame_feature_map={"o-yes": [4]},
    )

    assert [(r["name"], r["frame_end"]) for r in records] == [
        ("car", 9),
        ("Kind", 6),
        ("Deep", 5),
    ]
    assert [r.get("is_key_frame") for r in records] == [None, None, True]


def test_a_segment_without_a_frame_has_what_other_records_tell() -> None:
    """But not what was drawn in their frames, nor another frame's answer."""
    kind = asked("Kind", radio_answer=option("truck"))
    drawn_in_9 = drawn("VideoBoundingBox", bounding_box=BOX, classifications=[kind])

    records = annotated(
        frames={"9": {"objects": {"f": drawn_in_9}}},
        segments={"f": [[7, 7], [9, 9]], "f-Kind": [[2, 3]], "o-truck": [[5, 5]]},
        key_frame_feature_map={"f": [7, 9], "f-Kind": [1], "o-truck": {"5": True}},
    )

    ids = {"project_id": "P", "data_row_id": "R", "label_id": "L"}
    question = {
        "feature_id": "f-Kind",
        "name": "Kind",
        "value": "kind",
        "annotation_kind": "Radio",
        "parent_annotation_id": "9/f",
        "path": "car / Kind",
        "depth": 1,
    }
    assert records[2:] == [
        ids
        | {
            "annotation_id": "f/7-7",
            "feature_id": "f",
            "feature_schema_id": "s",
            "name": "car",
            "value": "c",
            "annotation_kind": "VideoBoundingBox",
            "path": "car",
            "depth": 0,
            "frame": 7,
            "frame_end": 7,
            "is_key_frame": True,
        },
        ids
        | question
        | {
            "annotation_id": "f-Kind/2-3",
            "frame": 2,
            "frame_end": 3,
            "is_key_frame": False,
        },
        ids
        | question
        | {
            "annotation_id": "o-truck/5-5",
            "answer_feature_id": "o-truck",
            "answer_name": "truck",
            "frame": 5,
            "frame_end": 5,
            "is_key_frame": True,
        },
    ]


def test_a_segment_has_what_the_record_of_another_frame_or_view_tells() -> None:
    """Of the first frame, whichever comes first; of its own view, if there is one."""
    early, late = ({"objects": {"d": {"name": name}}} for name in ("early", "late"))
    groups = {
        "Axial": {"name": "Axial", "frames": {"8": late, "2": early}},
        "Coronal": {"name": "Coronal", "frames": {"9": late}},
    }
    segments = {view: {"d": [[1, 1]]} for view in ("Axial", "Coronal", "Sagittal")}

    *_, axial, coronal, sagittal = annotated(groups=groups, segments=segments)

    assert [r["name"] for r in (axial, coronal, sagittal)] == ["early", "late", "early"]
    assert sagittal["group_name"] == "Sagittal"
    assert sagittal["annotation_kind"] == "Segment"  # as none of them has a kind


def test_a_segment_of_an_answer_to_the_whole_video_has_its_name() -> None:
    """There is no frame of it at all."""
    whole = asked("Weather", radio_answer=option("rain"))

    answer, segment = annotated(
        frames={}, classifications=[whole], segments={"o-rain": [[1, 4]]}
    )

    assert (segment["name"], segment["answer_name"]) == ("Weather", "rain")
    assert (segment["frame"], segment["frame_end"]) == (1, 4)
    assert "frame_end" not in answer


def test_what_lies_above_what_is_a_rank() -> None:
    """Of objects, in any frame; of what is not in the list there is none."""
    above = drawn("ImagePoint", feature_id="a")
    below = drawn("ImagePoint", feature_id="b", classifications=[asked("Kind")])
    annotations = {"objects": [above, below, drawn("ImagePoint", feature_id="c")]}
    order = {"z_order": ["b", "gone", "a", "b", None]}

    records = unfold("annotations", labeled(annotations, **order))
    (label,) = unfold("export_labels", labeled(annotations, **order))

    assert [(r["feature_id"], r["z_order"]) for r in records] == [
        ("a", 3),
        ("b", 1),
        ("f-Kind", None),
        ("c", None),
    ]
    assert label["additional_columns"] == order


@pytest.mark.parametrize("z_order", [None, "a", {"a": 1}, [["a"]], 5])
def test_an_order_of_another_shape_is_no_rank(z_order: Any) -> None:
    """It stays with the label."""
    row = labeled({"objects": [drawn("ImagePoint", feature_id="a")]}, z_order=z_order)

    (record,) = unfold("annotations", row)
    (label,) = unfold("export_labels", row)

    assert record["z_order"] is None
    assert label["additional_columns"].get("z_order") == z_order


def test_an_annotation_of_dicom_has_its_view() -> None:
    """Segments and key frames are by view, too."""
    line = {"name": "bone", "annotation_kind": "DICOMPolyline", "line": []}
    axial = {"name": "Axial", "frames": {"1": {"objects": {"d": line}}}}

    (record,) = annotated(
        groups={"Axial": axial, "Coronal": {"name": "Coronal", "frames": {}}},
        segments={"Axial": {"d": [[1, 3]]}, "Coronal": {}},
        key_frame_feature_map={"d": {"Axial": {"1": True}, "Coronal": {}}},
    )

    assert (record["group_name"], record["frame"]) == ("Axial", 1)
    assert (record["frame_end"], record["is_key_frame"]) == (3, True)
    assert record["annotation_id"] == "Axial/1/d"


def test_the_name_of_a_group_is_its_key() -> None:
    """Only that: what says something else is a record."""
    same = annotated(groups={"Axial": {"name": "Axial"}})
    other = annotated(groups={"Axial": {"name": "other"}})
    unknown = annotated(groups={"Axial": {"view": "Axial"}})

    assert same == []
    for (record,), key, value in ((other, "name", "other"), (unknown, "view", "Axial")):
        assert record["annotation_kind"] == key
        assert record["additional_columns"] == {key: value}
        assert record["group_name"] == "Axial"


def test_audio_has_answers() -> None:
    """Its empty blocks are no records."""
    message = asked("Said", text_answer={"content": "hello"})

    (record,) = annotated(classifications=[message], segments={}, timestamp={})

    assert record["answer_text"] == "hello"


# --- what is not as it should be -----------------------------------------------


def test_what_is_no_object_is_kept_as_an_item() -> None:
    """A text where an object belongs, say; null is nothing."""
    (record,) = annotated(objects=["a box", None])

    assert record["additional_columns"] == {"item": "a box"}


def test_what_does_not_fit_its_column_is_kept_beside_it() -> None:
    """The others keep theirs, and a text that is a number is one."""
    malformed = drawn(
        "TextEntity", page_number="two", location={"start": "a", "end": "6"}
    )

    (record,) = annotated(objects=[malformed])

    assert record["additional_columns"] == {"page_number": "two"}
    assert record["geometry"] == {"location": {"start": "a", "end": "6"}}
    assert (record.get("text_start"), record["text_end"]) == (None, 6)


def test_annotations_that_are_no_object_are_a_record() -> None:
    """The label keeps them as well."""
    row = labeled("Skip")

    (annotation,) = unfold("annotations", row)
    (label,) = unfold("export_labels", row)

    assert annotation["additional_columns"] == {"annotations": "Skip"}
    assert label["additional_columns"] == {"annotations": "Skip"}


def test_annotations_without_feature_ids_are_known_by_kind_and_name() -> None:
    """One of the same name gets a number, and so does a repeated feature id."""
    nameless = [{"annotation_kind": "ImagePoint", "name": "car"}] * 2

    records = annotated(objects=[*nameless, drawn("ImagePoint"), drawn("ImagePoint")])

    assert [record["annotation_id"] for record in records] == [
        "ImagePoint:car",
        "ImagePoint:car#2",
        "f",
        "f#2",
    ]


# --- the other tables ----------------------------------------------------------


def test_a_data_row_without_a_project_is_a_record() -> None:
    """Absent blocks are null."""
    row = {"data_row": {"id": "R", "row_data": "text"}, "media_attributes": {}}

    (record,) = unfold("data_row_exports", row)

    present = {column: value for column, value in record.items() if value is not None}
    assert present == {
        "project_id": "P",
        "data_row_id": "R",
        "row_data": "text",
        "media_attributes": {},
        "additional_columns": {},
    }


def test_what_is_unknown_of_a_data_row_is_kept_by_its_path() -> None:
    """At each level of the row; of media_attributes all is kept anyway."""
    row = {
        "data_row": {"id": "R", "shape": "round", "details": {"size": 1}},
        "media_attributes": {"height": 3, "exif_rotation": 1, "smell": "none"},
        "projects": {"P": {"mood": "good", "project_details": {"priority": "high"}}},
        "experiments": {"M": {}},
    }

    (record,) = unfold("data_row_exports", row)

    assert record["additional_columns"] == {
        "data_row.shape": "round",
        "data_row.details.size": 1,
        "project.mood": "good",
        "project.project_details.priority": "high",
        "experiments": {"M": {}},
    }
    assert record["media_attributes"] == row["media_attributes"]
    assert (record["media_height"], record["media_exif_rotation"]) == (3, "1")


@pytest.mark.parametrize("decode", [decode_rows, decode_fast_rows])
@pytest.mark.parametrize("project", [{}, {"labels": None}, {"labels": []}])
def test_no_labels_are_no_labels_whoever_looks(decode: Any, project: Row) -> None:
    """Null stays null, and an empty list empty."""
    row = {"data_row": {"id": "R"}, "projects": {"P": project}}
    (decoded,) = decode(json.dumps(row).encode())

    (record,) = data_row_records(decoded.in_project("P"))

    assert record["labels"] == project.get("labels")


def test_every_record_carries_the_latest_activity() -> None:
    """In the one form that bookmarks have, so that old ones stand out."""
    row = rich_row()

    result = {
        record["last_activity_at"] for name in STREAMS for record in unfold(name, row)
    }

    assert result == {"2026-01-02T01:04:05.000Z"}


def labels(*created_at: str | None, **details: Any) -> list[Row]:
    """Return the records of labels made at these timestamps."""
    made = [
        {"id": f"L{n}", "label_details": {"created_at": at}}
        for n, at in enumerate(created_at)
    ]
    row = labeled({})
    row["projects"]["P"] = {"labels": made, "project_details": details}
    return unfold("export_labels", row)


def test_the_newest_label_is_the_latest() -> None:
    """By timestamp, whatever the offset; between equals the id decides."""
    early, late = "2026-01-01T11:00:00+02:00", "2026-01-01T10:00:00+00:00"

    assert [r["is_latest"] for r in labels(late, early)] == [True, False]
    assert [r["is_latest"] for r in labels(late, late)] == [False, True]
    assert [r["is_latest"] for r in labels(None, None)] == [None, None]


def test_the_selected_label_is_known_where_one_is_named() -> None:
    """Null is no answer."""
    unnamed, by_name = labels(None, None), labels(None, None, selected_label_id="L1")

    assert [record["is_selected"] for record in by_name] == [False, True]
    assert [record["is_selected"] for record in unnamed] == [None, None]


def test_how_good_a_label_is_has_columns() -> None:
    """And what is new of it is kept."""
    details = {"seconds_to_create": 7, "skipped": True, "consensus_score": 0.5, "x": 1}

    (record,) = unfold("export_labels", labeled({}, performance_details=details))

    assert (record["seconds_to_create"], record["agreement"]) == (7, 0.5)
    assert record["is_skipped"] is True
    assert record["additional_columns"] == {"performance_details.x": 1}


SHORT: Row = {"seconds_to_create": 40, "seconds_to_review": 10, "skipped": False}
TRUE: Row = {
    "seconds_to_label": 25,
    "seconds_to_review": 10,
    "seconds_to_rework": 5,
    "seconds_total": 40,
    "skipped": False,
}


@pytest.mark.parametrize("first", [0, 1])
def test_the_true_seconds_have_columns(first: int) -> None:
    """A value that both blocks have is there once; their order does not matter."""
    blocks = [("performance_details", SHORT), ("performance_details_v2", TRUE)]
    details = dict([blocks[first], blocks[1 - first]])

    (record,) = unfold("export_labels", labeled({}, **details))

    expected = SHORT | TRUE | {"is_skipped": False}
    del expected["skipped"]
    assert {column: record[column] for column in expected} == expected
    assert record["additional_columns"] == {}


@pytest.mark.parametrize("first", [0, 1])
def test_where_both_blocks_differ_both_are_kept(first: int) -> None:
    """The true one has the column; null is nothing, and what misfits takes none."""
    old = SHORT | {"seconds_to_review": 16, "consensus_score": 0.5}
    old |= {"benchmark_score": 1, "consensus_label_count": 2}
    true = TRUE | {"skipped": True, "consensus_score": None, "benchmark_score": "?"}
    true |= {"consensus_label_count": 2.0, "seconds_to_think": 3}
    blocks = [("performance_details", old), ("performance_details_v2", true)]
    details = dict([blocks[first], blocks[1 - first]])

    (record,) = unfold("export_labels", labeled({}, **details))

    assert (record["seconds_to_review"], record["is_skipped"]) == (10, True)
    assert (record["agreement"], record["benchmark_agreement"]) == (0.5, 1)
    assert record["consensus_label_count"] == 2
    assert record["additional_columns"] == {
        "performance_details.seconds_to_review": 16,
        "performance_details.skipped": False,
        "performance_details_v2.benchmark_score": "?",
        "performance_details_v2.seconds_to_think": 3,
    }


@pytest.mark.parametrize("decode", [decode_rows, decode_fast_rows])
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([{"id": "t", "text": "pilot"}], [{"id": "t", "text": "pilot"}]),
        (["pilot", {"id": "t"}], [{"text": "pilot"}, {"id": "t"}]),
        ([], []),
        (None, None),
    ],
)
def test_tags_are_objects(decode: Any, tags: Any, expected: Any) -> None:
    """One that is a text has no more than that."""
    row = labeled({})
    row["projects"]["P"]["project_tags"] = tags
    (decoded,) = decode(json.dumps(row).encode())

    (record,) = data_row_records(decoded.in_project("P"))

    assert json_text.decode_raw(record["project_tags"]) == expected
    assert record["additional_columns"] == {}


@pytest.mark.parametrize("tags", ["pilot", [1], [None], [["pilot"]]])
def test_what_is_no_tag_is_kept_beside(tags: Any) -> None:
    """As it came."""
    row = labeled({})
    row["projects"]["P"]["project_tags"] = tags

    (record,) = unfold("data_row_exports", row)

    assert record["project_tags"] is None
    assert record["additional_columns"] == {"project.project_tags": tags}


def related(feature_id: str | None, source: str, target: str, **more: Any) -> Row:
    """Make a relationship as exports of 2023 have it."""
    ends = {"source": source, "target": target}
    kind = "ImageUnidirectionalRelationship"
    item = drawn(kind, unidirectional_relationship=ends, feature_id=feature_id)
    return item | more


def test_relationships_among_the_objects_are_counted_once() -> None:
    """Repeated or not; they are no annotations."""
    repeated, nameless = related("r", "a", "b"), related(None, "a", "c")
    only_here = related("s", "b", "c")
    annotations = {
        "objects": [drawn("ImagePoint"), nameless, repeated, only_here],
        "relationships": [repeated, nameless],
    }

    records = unfold("annotation_relationships", labeled(annotations))

    assert [
        (r["relationship_id"], r["source_feature_id"], r["target_feature_id"])
        for r in records
    ] == [("r", "a", "b"), ("a>c", "a", "c"), ("s", "b", "c")]
    assert all(r["additional_columns"] == {} for r in records)
    assert [r["feature_id"] for r in annotated(**annotations)] == ["f"]


def test_what_a_repeated_relationship_says_otherwise_is_kept() -> None:
    """Values that the other lacks are added, values that differ are put aside."""
    short = related("r", "a", "b", value=None, certainty=0.5)
    other = related("r", "a", "b", name="near", certainty=0.25, far=4)

    (record,) = unfold(
        "annotation_relationships",
        labeled({"objects": [other], "relationships": [short]}),
    )

    assert (record["name"], record["value"]) == ("car", "c")
    assert record["additional_columns"] == {
        "certainty": 0.5,
        "far": 4,
        "objects.certainty": 0.25,
        "objects.name": "near",
    }


def test_relationships_may_be_an_object() -> None:
    """Then its keys are their IDs."""
    single = related(None, "a", "b")
    single.pop("feature_id", None)

    (record,) = unfold(
        "annotation_relationships", labeled({"relationships": {"key": single}})
    )

    assert record["relationship_id"] == record["feature_id"] == "key"


def test_relationships_that_share_an_id_are_not_one() -> None:
    """Each among the objects repeats one."""
    first, second = related("r", "a", "b"), related("r", "b", "c")

    records = unfold(
        "annotation_relationships",
        labeled({"objects": [second, first, first], "relationships": [first, second]}),
    )

    assert [r["relationship_id"] for r in records] == ["r", "r#2", "r#3"]
    assert [r["source_feature_id"] for r in records] == ["a", "b", "a"]


@pytest.mark.parametrize("group", [{}, {"frames": {"1": {}}}])
def test_what_is_drawn_is_an_annotation_though_it_relates(group: Row) -> None:
    """And so is what relates things in a frame."""
    both = related("r", "a", "b", bounding_box=BOX)
    frames = {"frames": {"3": {"objects": [related("s", "a", "b")]}}}

    records = annotated(objects=[both], **frames, groups=group)

    assert [r["feature_id"] for r in records] == ["r", "s"]


def test_a_relationship_has_both_ends() -> None:
    """Under any key that names a relationship."""
    related = [
        {
            "feature_id": "a",
            "unidirectional_relationship": {"source": "1", "target": "2"},
        },
        {"relationship": {"source": "1", "target": "3", "type": "near", "far": 4}},
    ]

    first, second = unfold(
        "annotation_relationships", labeled({"relationships": related})
    )

    assert (first["relationship_id"], second["relationship_id"]) == ("a", "1>3")
    assert (first["source_feature_id"], first["target_feature_id"]) == ("1", "2")
    assert first["relationship_type"] == "unidirectional"
    assert second["relationship_type"] == "near"
    assert second["additional_columns"] == {"relationship.far": 4}


def test_steps_are_numbered_from_the_oldest() -> None:
    """The export gives the newest first, also of one timestamp."""
    at = "2026-01-01T10:00:00.000+00:00"
    steps = [{"action": name, "created_at": at} for name in ("Approve", "Move")]
    row = labeled({})
    row["projects"]["P"]["project_details"] = {"workflow_history": steps}

    records = unfold("workflow_history", row)

    assert [(r["sequence"], r["action"]) for r in records] == [
        (1, "Move"),
        (2, "Approve"),
    ]


def test_reviews_are_numbered_from_the_oldest() -> None:
    """By when they were given."""
    arguments = [
        {"score": 1, "reviewed_at": "2026-01-02T00:00:00+00:00", "reviewed_by": "b"},
        {"score": -1, "reviewed_at": "2026-01-01T00:00:00+00:00", "reviewed_by": "a"},
    ]

    records = unfold("label_reviews", labeled({}, label_details={"reviews": arguments}))

    assert [(r["sequence"], r["score"], r["created_by_email"]) for r in records] == [
        (1, -1, "a"),
        (2, 1, "b"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("train", {"value_string": "train"}),
        (2.5, {"value_number": 2.5}),
        (
            "2026-01-31T10:30:00+01:00",
            {
                "value_string": "2026-01-31T10:30:00+01:00",
                "value_datetime": "2026-01-31T09:30:00.000Z",
            },
        ),
        ("20260131", {"value_string": "20260131"}),
        (True, {"additional_columns": {"value": True}}),
        (
            [{"schema_id": "o", "schema_name": "test"}],
            {"option_id": "o", "option_name": "test"},
        ),
        (None, {}),
    ],
)
def test_metadata_has_a_column_for_each_type(value: Any, expected: Row) -> None:
    """A type without a column keeps its value as it is."""
    field = {"schema_id": "S", "schema_name": "split", "value": value}

    (record,) = unfold("data_row_metadata", labeled({}) | {"metadata_fields": [field]})

    values = dict.fromkeys(
        ("value_string", "value_number", "value_datetime", "option_id", "option_name")
    )
    filled = values | {"additional_columns": {}} | expected
    assert {column: record[column] for column in filled} == filled
    assert (record["schema_id"], record["sequence"]) == ("S", 1)


def test_each_chosen_option_of_metadata_is_a_record() -> None:
    """An option may be its id only."""
    field = {"schema_id": "S", "schema_kind": "CustomMetadataEnum", "value": ["a", "b"]}

    records = unfold("data_row_metadata", labeled({}) | {"metadata_fields": [field]})

    assert [(r["sequence"], r["option_id"]) for r in records] == [(1, "a"), (2, "b")]


def test_attachments_are_numbered() -> None:
    """In the export's order."""
    arguments = [{"type": "IMAGE", "value": "u"}, {"type": "RAW_TEXT", "name": "hint"}]

    records = unfold("data_row_attachments", labeled({}) | {"attachments": arguments})

    assert [(r["sequence"], r["type"], r["value"], r["name"]) for r in records] == [
        (1, "IMAGE", "u", None),
        (2, "RAW_TEXT", None, "hint"),
    ]


# --- nothing is lost -----------------------------------------------------------


def shaped_rows() -> Iterator[Row]:
    """Read rows in the shape of real ones."""
    for path in sorted(SHAPES.glob("*.ndjson")):
        for line in path.read_text("utf-8").splitlines():
            yield json.loads(line)


def sandbox_rows() -> list[Row]:
    """Export all of a workspace that has all media types."""
    world = World(projects=16, labels=300)
    return [
        json.loads(json.dumps(exported(data_row, EVERYTHING, world.now(), None)))
        for project in world.projects
        for data_row in project.data_rows
    ]


def naive_count(row: Row, project_id: str) -> Counter[str]:
    """Count without any of the tap's code."""
    count = Counter({"data_row_exports": 1})
    count["data_row_metadata"] = len(row.get("metadata_fields", []))
    count["data_row_attachments"] = len(row.get("attachments", []))
    project = row.get("projects", {}).get(project_id, {})
    details = project.get("project_details", {})
    count["workflow_history"] = len(details.get("workflow_history", []))
    for label in project.get("labels", []):
        annotations = label["annotations"] or {}
        count["export_labels"] += 1
        count["label_reviews"] += len(label.get("label_details", {}).get("reviews", []))
        # Relationships may be repeated among the objects.
        objects = annotations.get("objects", [])
        related = [o for o in objects if "unidirectional_relationship" in o]
        count["annotation_relationships"] += len(
            {
                relationship["feature_id"]
                for relationship in annotations.get("relationships", []) + related
            }
        )
        count["objects"] += len(objects) - len(related)
        for part in (annotations, *annotations.get("groups", {}).values()):
            for frame in part.get("frames", {}).values():
                count["objects"] += len(frame["objects"])
        count["answers"] += naive_answers(annotations)
    return +count


def naive_answers(value: Any) -> int:
    """Count answers wherever they are."""
    if isinstance(value, list):
        return sum(map(naive_answers, value))
    if not isinstance(value, dict):
        return 0
    here = sum(
        len(inner) if key.endswith("checklist_answers") else 1
        for key, inner in value.items()
        if key.endswith(("radio_answer", "checklist_answers", "text_answer"))
    )
    return here + sum(map(naive_answers, value.values()))


def count_records(row: Row, project_id: str) -> Counter[str]:
    """Count the records of each table, annotations by what they are."""
    count: Counter[str] = Counter()
    for name in STREAMS:
        for record in unfold(name, row, project_id):
            if name != "annotations":
                count[name] += 1
            elif is_segment(record):
                pass
            elif record["annotation_kind"] not in NOT_OBJECTS:
                count["objects"] += 1
            else:
                count["answers"] += 1
    return count


def is_segment(record: Row) -> bool:
    """Return whether it is that of a segment without a record in its frame."""
    ending = f"/{record['frame']}-{record['frame_end']}"
    return bool(record["annotation_id"].endswith(ending))


def check(row: Row, project_id: str) -> None:
    """Count, validate and compare keys and values."""
    assert count_records(row, project_id) == naive_count(row, project_id)
    check_records(row, project_id)


def check_records(row: Row, project_id: str) -> None:
    """Assert that records fit their schema, have own keys, and hold all values."""
    for name, schema in SCHEMAS.items():
        records = unfold(name, row, project_id)
        for record in records:
            assert record.keys() == schema["properties"].keys()
            VALIDATORS[name].validate(record)
        keys = [tuple(record[key] for key in KEY_COLUMNS[name]) for record in records]
        assert len(set(keys)) == len(keys)
    written = leaves(
        [
            unfold(name, row, project_id)
            for name in ("annotations", "annotation_relationships")
        ]
    )
    for label in unfold("export_labels", row, project_id):
        annotations = label["annotations"] or {}
        # It marks the records of frames; what it marks besides is no annotation.
        rest = {k: v for k, v in annotations.items() if k != "key_frame_feature_map"}
        # A group has its key for a name, and may be empty.
        groups = annotations.get("groups")
        empty = set(groups) if isinstance(groups, dict) else set()
        assert leaves(rest) - empty <= written


def leaves(value: Any) -> set[Any]:
    """Return every text and number in a value."""
    result: set[Any] = set()
    pending = [value]
    while pending:
        match pending.pop():
            case list() as items:
                pending += items
            case dict() as block:
                pending += block.values()
            case bool() | None:
                pass
            case leaf:
                result.add(leaf)
    return result


def test_nothing_of_real_shapes_is_lost() -> None:
    """Each thing in them is a record, and each value is in one."""
    rows = list(shaped_rows())

    assert len(rows) > 10
    for row in rows:
        for project_id in row["projects"]:
            check(row, project_id)


def test_nothing_of_the_sandbox_is_lost() -> None:
    """It has rows of all media types."""
    for row in sandbox_rows():
        (project_id,) = row["projects"]
        check(row, project_id)


def rich_row() -> Row:
    """Make a row in which there is something at every place."""
    chosen = option("truck", asked("Note", text_answer={"content": "so"}))
    kind = asked("Kind", radio_answer=chosen, message_id="m1")
    fog = asked("Weather", checklist_answers=[option("fog"), option("rain")])
    box = drawn("ImageBoundingBox", bounding_box=BOX, classifications=[kind])
    word = {"message_id": "m1", "location": {"start": 1, "end": 2, "token": "word"}}
    frame = {"objects": {"f": box}, "classifications": [fog]}
    still = {
        "objects": [
            box,
            drawn("TextEntity", feature_id="t", location=TOKENS),
            drawn("Entity", feature_id="w", conversational_location=word),
        ],
        "classifications": [kind, fog],
        "relationships": [
            drawn("Relationship", relationship={"source": "f", "target": "t"})
        ],
    }
    moving = {
        "frames": {"2": frame, "5": frame},
        "segments": {"f": [[2, 3], [5, 9], [7, 7]], "g": [[1, 2]], "o-fog": [[3, 4]]},
        "key_frame_feature_map": {"f": {"2": True, "5": False}, "g": [1]},
        "groups": {"Axial": {"name": "Axial", "frames": {"1": frame}}},
        "timestamp": {},
    }
    when = "2026-01-02T03:04:05.000+02:00"
    details = {"created_at": when, "created_by": "a", "updated_at": when}
    review = {"score": 1, "reviewed_at": when, "reviewed_by": "b"}
    label = {
        "label_kind": "Default",
        "label_details": details | {"reviews": [review, review]},
        "performance_details": {"seconds_to_create": 1, "skipped": False},
        "performance_details_v2": {"seconds_to_label": 1, "skipped": False},
        "z_order": ["t", "f"],
    }
    return {
        "data_row": {"id": "R", "details": details | {"last_activity_at": when}},
        "media_attributes": {"height": 1, "frame_rate": 2.5, "exif_rotation": "1"},
        "attachments": [{"type": "IMAGE", "value": "u"}],
        "metadata_fields": [
            {"schema_id": "S", "value": [{"schema_id": "o", "schema_name": "test"}]},
            {"schema_id": "N", "value": 1},
        ],
        "projects": {
            "P": {
                "name": "one",
                "project_tags": [{"text": "a"}],
                "labels": [
                    label | {"id": "L1", "annotations": still},
                    label | {"id": "L2", "annotations": moving},
                ],
                "project_details": {
                    "priority": 5,
                    "selected_label_id": "L1",
                    "workflow_history": [{"action": "Move", "created_at": when}] * 2,
                },
            }
        },
    }


def keys_in(value: Any) -> set[str]:
    """Return every key in a value."""
    match value:
        case dict():
            return set(value).union(*map(keys_in, value.values()))
        case list():
            return set().union(*map(keys_in, value))
    return set()


KEYS = st.sampled_from(sorted(keys_in(rich_row()))) | st.text(max_size=3)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 9)
    | st.sampled_from([10**400, 1e300, "7", "0001-01-01T00:00:00+10:00"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=12,
)


@st.composite
def broken_rows(draw: st.DrawFn) -> Row:
    """Put anything at a few places of a row, or take away what was there."""
    row = copy.deepcopy(rich_row())
    for _ in range(draw(st.integers(1, 4))):
        block: Any = row
        while True:
            places = list(block) if isinstance(block, dict) else range(len(block))
            if not places:
                break
            place = draw(st.sampled_from(places))
            inner = block[place]
            if isinstance(inner, dict | list) and inner and draw(st.integers(0, 5)):
                block = inner
                continue
            if draw(st.booleans()):
                block[place] = draw(ANYTHING)
            else:
                del block[place]
            break
    return row


@given(row=broken_rows())
def test_rows_of_any_shape_are_read(row: Row) -> None:
    """Nothing raises, every record fits its schema, and every value is in one."""
    check_records(row, "P")


@given(annotations=ANYTHING)
def test_annotations_of_any_shape_are_read(annotations: Any) -> None:
    """Whatever Labelbox may think of."""
    check_records(labeled(annotations), "P")


@given(row=st.dictionaries(KEYS, ANYTHING, max_size=5))
def test_whatever_comes_is_one_data_row(row: Row) -> None:
    """Even if nothing is known of it."""
    check_records(row, "P")

    assert len(unfold("data_row_exports", row)) == 1


# --- ids -----------------------------------------------------------------------


def shuffled(value: Any, chance: random.Random) -> Any:
    """Put all lists of labels, objects and answers in another order."""
    if isinstance(value, dict):
        return {
            key: shuffled(inner, chance)
            for key, inner in chance.sample(list(value.items()), len(value))
        }
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [shuffled(item, chance) for item in chance.sample(value, len(value))]
    return value


def identities(row: Row, project_id: str) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return what each annotation is, by its id."""
    what = ("feature_id", "answer_feature_id", "parent_annotation_id", "path", "frame")
    return {
        (record["label_id"], record["annotation_id"]): tuple(record[c] for c in what)
        for record in unfold("annotations", row, project_id)
    }


@given(seed=st.integers(0, 2**32))
def test_annotations_keep_their_ids_in_another_order(seed: int) -> None:
    """So a later export brings them again, and not others beside them."""
    row = rich_row()

    moved = shuffled(row, random.Random(seed))

    assert identities(moved, "P") == identities(row, "P")


def test_a_changed_answer_keeps_its_id() -> None:
    """A radio or text answer is known by its question."""
    before = annotated(classifications=[asked("Kind", radio_answer=option("car"))])

    after = annotated(classifications=[asked("Kind", radio_answer=option("bus"))])

    assert before[0]["annotation_id"] == after[0]["annotation_id"]


@given(row=broken_rows())
def test_every_parent_is_there(row: Row) -> None:
    """And one level above."""
    records = unfold("annotations", row)
    depths = {(r["label_id"], r["annotation_id"]): r["depth"] for r in records}

    for record in records:
        parent = (record["label_id"], record["parent_annotation_id"])
        above = -1 if parent[1] is None else depths[parent]
        assert record["depth"] == above + 1


# --- schemas -------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_every_column_has_a_type_and_a_description(stream: str) -> None:
    """A catalog is read by people."""
    columns = SCHEMAS[stream]["properties"].values()

    assert all(column["description"].endswith(".") for column in columns)
    # With properties, even with none, flattening would drop the column.
    assert not any("properties" in c for c in columns if "object" in c["type"])


@pytest.mark.parametrize("stream", STREAMS)
def test_only_keys_are_required(stream: str) -> None:
    """Labelbox leaves out what it was not asked for."""
    assert set(SCHEMAS[stream]["required"]) == set(KEY_COLUMNS[stream])
