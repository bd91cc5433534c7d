"""Exports in the shape of real ones, of 2018 to 2025: from files, and from the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.exports.fast_rows import FastRow, decode_fast_rows
from tap_labelbox.exports.rows import DataRow
from tap_labelbox.sandbox import World
from tests.runner import PRIMARY_KEYS, read_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.exports.fast_rows import FastProjectRow
    from tests.runner import Output, Runner

Row = dict[str, Any]

SHAPES = Path(__file__).parent / "shapes"
FILES = sorted(SHAPES.glob("*.ndjson"))
BULK_FILES = sorted(SHAPES.glob("v1_*.json"))


def read(*names: str) -> Output:
    """Read some of the files with all streams."""
    return read_files(*(SHAPES / name for name in names))


def columns(records: list[Row], *names: str) -> list[tuple[Any, ...]]:
    """Return some columns of records."""
    return [tuple(record[name] for name in names) for record in records]


def texts(value: Any) -> set[str]:
    """Return every text and number in a value, as text."""
    match value:
        case dict():
            return set().union(*map(texts, value.values()))
        case list():
            return set().union(*map(texts, value))
        case str():
            return {value}
        case bool() | None:
            return set()
    return {str(float(value))}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_value_of_a_file_is_in_some_record(file: Path) -> None:
    """And no two records of a stream have one key."""
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]

    output = read(file.name)

    records = [m for m in output.messages if m["type"] == "RECORD"]
    for name in {message["stream"] for message in records}:
        keys = columns(output.records(name), *PRIMARY_KEYS[name])
        assert len(set(keys)) == len(keys)
    assert len(output.records("data_row_exports")) == sum(
        len(row["projects"]) for row in rows
    )
    # Timestamps are written in UTC, which Z is short for.
    inputs = {text.replace("+00:00", "Z") for text in texts(rows)}
    result = texts([message["record"] for message in records])
    result |= {text.replace(".000Z", "Z") for text in result}
    result |= {text.replace("+00:00", "Z") for text in result}
    assert inputs - result == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_all_that_is_known_has_a_column(file: Path) -> None:
    """Only the order of objects is left over, which is that of labels."""
    output = read(file.name)

    for message in output.messages:
        left = message.get("record", {}).get("additional_columns")
        assert not left or left.keys() == {"z_order"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_shape_takes_the_fast_path(file: Path) -> None:
    """The slow one takes two to six times the CPU."""
    text = file.read_bytes()

    rows = decode_fast_rows(text)

    assert len(rows) == text.count(b"\n")
    assert all(isinstance(row, FastRow) for row in rows)


def test_what_is_unknown_takes_the_slow_path() -> None:
    """Else nothing would hold the test above to its word."""
    (row,) = [json.loads(line) for line in FILES[0].read_text("utf-8").splitlines()]
    (project,) = row["projects"].values()
    project["new"] = 1

    (decoded,) = decode_fast_rows(json.dumps(row).encode())

    assert isinstance(decoded, DataRow)


@pytest.fixture(scope="module")
def workspace() -> World:
    """Return a workspace of all media types."""
    return World(seed=2, projects=13, labels=260)


@pytest.fixture
def everything(serving: Callable[..., Runner], workspace: World) -> Runner:
    """Return what runs the tap against it."""
    return serving(workspace)


def test_what_labelbox_serves_takes_the_fast_path(
    everything: Runner, workspace: World, monkeypatch: Any
) -> None:
    """Through the API, every row of every media type."""
    fast: list[Any] = []
    in_project = FastRow.in_project

    def noted(row: FastRow, project_id: str) -> FastProjectRow:
        fast.append(project_id)
        return in_project(row, project_id)

    monkeypatch.setattr(FastRow, "in_project", noted)

    output = everything("data_row_exports")

    assert output.error is None
    assert len(output.records("data_row_exports")) == len(workspace.data_rows)
    assert len(fast) == len(workspace.data_rows)


def test_what_labelbox_serves_has_columns(everything: Runner, workspace: World) -> None:
    """Through the API: tags, seconds, ranks, relationships, and what is in frames."""
    output = everything()

    assert output.error is None
    rows = output.records("data_row_exports")
    tags = {p.id: [t["text"] for t in p.resource_tags] for p in workspace.projects}
    assert any(tags.values())
    assert all(
        [t["text"] for t in r["project_tags"]] == tags[r["project_id"]] for r in rows
    )
    assert not any(r["additional_columns"] for r in rows)
    labels = output.records("export_labels")
    for label in labels:
        parts = ("label", "review", "rework")
        total = sum(label[f"seconds_to_{part}"] for part in parts)
        assert label["seconds_total"] == label["seconds_to_create"] == total
        assert label["additional_columns"].keys() <= {"z_order"}
    check_annotations(output, workspace)
    check_relationships(output)


def test_a_skipped_label_of_2018_is_known(everything: Runner, workspace: World) -> None:
    """Through the API: by the word, as the file says no more of it."""
    of_2018 = {p.id for p in workspace.projects if p.era.startswith("2018")}

    output = everything("bulk_export")

    records = [r for r in output.records("bulk_export") if r["project_id"] in of_2018]
    assert {r["is_skipped"] for r in records if r["label"] == '"Skip"'} == {True}
    assert {r["is_skipped"] for r in records if r["label"] != '"Skip"'} == {None}


def check_annotations(output: Output, workspace: World) -> None:
    """Compare ranks and segments with what the exports say."""
    annotations = output.records("annotations")
    orders = {
        label["label_id"]: label["additional_columns"].get("z_order", [])
        for label in output.records("export_labels")
    }
    ranked = [a for a in annotations if a["z_order"] is not None]
    assert {a["label_id"] for a in ranked} == {key for key, z in orders.items() if z}
    for record in ranked:
        assert orders[record["label_id"]][record["z_order"] - 1] == record["feature_id"]
    (video,) = [p for p in workspace.projects if p.media == "VIDEO"]
    seen = [a for a in annotations if a["project_id"] == video.id]
    ended = [a for a in seen if a["frame_end"] is not None]
    kinds = {a["annotation_kind"] for a in ended}
    assert kinds >= {"VideoBoundingBox", "VideoSegmentationMask", "Radio"}
    assert "Segment" not in kinds
    # Each has what its feature is called, also where its frame was not exported.
    assert {a["frame"] for a in ended} == {3, 5, 7}
    assert all(a["name"] and a["feature_schema_id"] for a in ended)
    assert all(a["is_key_frame"] for a in ended)


def check_relationships(output: Output) -> None:
    """Assert that each is there once, and is no annotation."""
    result = columns(
        output.records("annotation_relationships"), "label_id", "feature_id"
    )
    assert result
    assert len(set(result)) == len(result)
    assert not set(result) & set(
        columns(output.records("annotations"), "label_id", "feature_id")
    )


def test_the_true_seconds_and_the_tags_of_2025() -> None:
    """Two labels of a PDF, compared."""
    output = read("2025-01_pdf_consensus_tags.ndjson")

    seconds = ("create", "label", "review", "rework")
    assert columns(
        output.records("export_labels"),
        *(f"seconds_to_{part}" for part in seconds),
        "seconds_total",
        "is_selected",
    ) == [(773, 767, 6, 0, 773, True), (514, 500, 10, 4, 514, False)]
    (row,) = output.records("data_row_exports")
    assert [tag["text"] for tag in row["project_tags"]] == ["second reading", "pilot"]
    assert columns(output.records("annotations"), "depth", "answer_name") == [
        (0, "No"),
        (0, "Yes"),
        (1, None),
    ]


def test_answers_in_the_frames_of_a_video_have_their_marks() -> None:
    """And nothing without a name stands beside them."""
    output = read("2025-03_video_answers_in_frames.ndjson")

    assert columns(
        output.records("annotations"),
        *("frame", "answer_name", "frame_end", "is_key_frame"),
    ) == [
        (1, "tree", 19, True),
        (1, "bird", 1, True),
        (19, "tree", None, True),
    ]


def test_segments_without_frames_have_their_class() -> None:
    """Of the only frame that was exported."""
    output = read("2025-03_video_masks_without_frames.ndjson")

    records = output.records("annotations")
    assert columns(records, "frame", "frame_end", "is_key_frame", "name") == [
        (frame, frame, True, "oak") for frame in (9, 7, 17, 3)
    ]
    assert len({record["feature_schema_id"] for record in records}) == 1
    assert {r["annotation_kind"] for r in records} == {"VideoSegmentationMask"}
    assert [record["geometry"] is None for record in records] == [False, *[True] * 3]


def test_relationships_of_2023_are_counted_once() -> None:
    """Though the data row is in two projects."""
    output = read("2023-10_two_projects_relationships_twice.ndjson")

    (relationship,) = output.records("annotation_relationships")
    kinds = [kind for (kind,) in columns(output.records("annotations"), "name")]
    assert relationship["name"] == "inside"
    assert kinds == ["region", "pose", "word", "Moss"]
    assert len(output.records("data_row_exports")) == 2


def test_the_order_of_objects_is_a_rank() -> None:
    """The answer about an object has none."""
    output = read("2025-06_z_order.ndjson")

    assert columns(output.records("annotations"), "name", "z_order") == [
        ("person", 2),
        ("gaze", None),
        ("dog", 1),
    ]


@pytest.mark.parametrize("file", BULK_FILES, ids=lambda file: file.stem)
def test_every_value_of_a_bulk_export_is_in_its_record(file: Path) -> None:
    """Whatever its era."""
    items = json.loads(file.read_text("utf-8"))

    records = read(file.name).records("bulk_export")

    assert [record["id"] for record in records] == [item["ID"] for item in items]
    for record, item in zip(records, items, strict=True):
        assert json.loads(record["label"]) == item.pop("Label")
        seconds = str(item.pop("Seconds to Label", ""))
        assert seconds in {"", str(record["seconds_to_label"])}
        assert record["has_open_issues"] == item.pop("Has Open Issues", None)
        for name in ("Agreement", "Benchmark Agreement"):
            if item.get(name) == -1:  # there is none
                del item[name]
                assert record[name.lower().replace(" ", "_")] is None
        assert texts(item) <= texts(record)


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("v1_2018-04_masks.json", [None, True]),
        ("v1_2018-09_geometries_skip_and_empty.json", [None, True, None]),
        ("v1_2021-06_video.json", [False]),
    ],
)
def test_the_word_skip_is_a_skipped_label(name: str, skipped: list[Any]) -> None:
    """The word counts if no column states it; an empty one states nothing."""
    records = read(name).records("bulk_export")

    assert [record["is_skipped"] for record in records] == skipped
