"""COCO and YOLO, read back: what was drawn is there, and nothing else."""

from __future__ import annotations

import csv
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_labelbox import tables
from tap_labelbox.sandbox import Reply, notation
from tap_labelbox.tables import training

if TYPE_CHECKING:
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner

PARTS = ("train", "valid", "test")
PNG = b"\x89PNG\r\n\x1a\n"


def drawn(run: Runner) -> dict[str, Any]:
    """Return the records of a run that images are made of, by their own code here."""
    names = ("annotations", "export_labels", "data_row_exports", "ontology_features")
    output = run(*names)
    sizes = {
        row["data_row_id"]: (row["media_width"], row["media_height"])
        for row in output.records("data_row_exports")
        if row["media_asset_type"] == "image"
    }
    labels: dict[str, dict[str, Any]] = {}
    for label in output.records("export_labels"):
        row_id = label["data_row_id"]
        counts = label["is_selected"], label["is_latest"]
        if row_id in sizes and (row_id not in labels or counts > labels[row_id]["_"]):
            labels[row_id] = label | {"_": counts}
    used = {x["label_id"] for x in labels.values() if not x["is_skipped"]}
    objects = [
        row
        for row in output.records("annotations")
        if row["label_id"] in used and row["annotation_kind"] != "ImagePoint"
    ]
    return {
        "sizes": sizes,
        "images": {i for i, x in labels.items() if not x["is_skipped"]},
        "objects": [row for row in objects if row["geometry"]],
        "tools": output.records("ontology_features"),
    }


def test_coco_has_what_was_drawn(run: Runner, tmp_path: Path) -> None:
    """Every labeled image, every object, in the place where it was drawn."""
    expected = drawn(run)

    report = tables.to_coco(tmp_path / "coco", **run.config())

    files = {
        p: json.loads((tmp_path / "coco" / f"{p}.json").read_text()) for p in PARTS
    }
    images = [i for content in files.values() for i in content["images"]]
    assert {i["data_row_id"] for i in images} == expected["images"]
    for image in images:
        size = image["width"], image["height"]
        assert size == expected["sizes"][image["data_row_id"]]
    by_id = {
        x["annotation_id"]: (content, x)
        for content in files.values()
        for x in content["annotations"]
    }
    masks = [x["url"] for content in files.values() for x in content["masks"]]
    kinds = Counter(row["annotation_kind"] for row in expected["objects"])
    assert min(kinds.values()) > 20
    assert len(kinds) == 4
    assert len(by_id) + len(masks) == len(expected["objects"])
    for row in expected["objects"]:
        if row["mask_url"]:
            assert row["mask_url"] in masks
            continue
        content, annotation = by_id[row["annotation_id"]]
        classes = {x["id"]: x["name"] for x in content["categories"]}
        of = {x["id"]: x["data_row_id"] for x in content["images"]}
        assert classes[annotation["category_id"]] == row["name"]
        assert of[annotation["image_id"]] == row["data_row_id"]
        left, top, width, height = annotation["bbox"]
        if box := row["geometry"].get("bounding_box"):
            corners = [box[side] for side in ("left", "top", "width", "height")]
            assert annotation["bbox"] == corners
            assert annotation["area"] == box["width"] * box["height"]
        else:
            points = row["geometry"].get("polygon") or row["geometry"]["line"]
            assert min(p["x"] for p in points) == left
            assert max(p["y"] for p in points) == top + height
            assert width > 0
    assert sum(report.images.values()) == len(images)
    assert sum(report.objects.values()) == len(by_id) + len(masks)
    assert report.left_out["objects of kind ImagePoint"] > 20


def test_classes_are_those_of_the_ontology(run: Runner, tmp_path: Path) -> None:
    """In its order, whatever was drawn first, in every part."""
    project = run.world.projects[0]
    features = run("ontology_features").records("ontology_features")
    own = [f for f in features if f["ontology_id"] == project.ontology["id"]]
    tools = sorted((f for f in own if f["kind"] == "tool"), key=lambda f: f["order"])
    expected = [f["name"] for f in tools if f["type"] != "point"]

    tables.to_coco(tmp_path, **run.config(project_ids=[project.id]))

    for part in PARTS:
        content = json.loads((tmp_path / f"{part}.json").read_text())
        assert [c["name"] for c in content["categories"]] == expected


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_yolo_is_where_coco_is(run: Runner, tmp_path: Path, task: str) -> None:
    """As shares of the image, in its file, with the number of the class."""
    split = {"train": 1}
    tables.to_coco(tmp_path / "coco", split=split, **run.config())
    report = tables.to_yolo(tmp_path / "yolo", task=task, split=split, **run.config())

    coco = json.loads((tmp_path / "coco" / "train.json").read_text())
    data = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert data["names"] == {c["id"] - 1: c["name"] for c in coco["categories"]}
    assert (tmp_path / "yolo" / data["train"]).is_dir()
    labels = tmp_path / "yolo" / "labels" / "train"
    assert len([*labels.iterdir()]) == len(coco["images"])
    lines_left = 0
    for image in coco["images"]:
        name = image["file_name"].rpartition(".")[0]
        lines = (labels / f"{name}.txt").read_text().splitlines()
        own = [x for x in coco["annotations"] if x["image_id"] == image["id"]]
        if task == "segment":
            lines_left += sum("line" in x for x in own)
            own = [x for x in own if "line" not in x]
        assert len(lines) == len(own)
        for line, annotation in zip(lines, own, strict=True):
            number, *shares = line.split()
            assert int(number) == annotation["category_id"] - 1
            values = [float(share) for share in shares]
            left, top, width, height = annotation["bbox"]
            size = image["width"], image["height"]
            if task == "detect":
                x, y, w, h = values
                right, bottom = (x + w / 2) * size[0], (y + h / 2) * size[1]
            else:
                right, bottom = max(values[::2]) * size[0], max(values[1::2]) * size[1]
            assert right == pytest.approx(min(left + width, size[0]), abs=0.01)
            assert bottom == pytest.approx(min(top + height, size[1]), abs=0.01)
    assert report.left_out["objects without a polygon in their image"] == lines_left
    assert (lines_left > 0) == (task == "segment")
    with (tmp_path / "yolo" / "images.csv").open(newline="") as file:
        files = {row["file"] for row in csv.DictReader(file)}
    assert files == {image["file_name"] for image in coco["images"]}


def test_a_split_by_hash_stays(run: Runner, tmp_path: Path) -> None:
    """Each data row is in one part, and in the same when others come."""

    def parts() -> dict[str, str]:
        tables.to_coco(tmp_path, **run.config())
        return {
            image["data_row_id"]: part
            for part in PARTS
            for image in json.loads((tmp_path / f"{part}.json").read_text())["images"]
        }

    before = parts()
    run.world.add_label(run.world.projects[0].id)
    after = parts()

    assert before.items() <= after.items()
    counts = Counter(before.values())
    assert counts["train"] > counts["valid"] + counts["test"] > 10


def test_hashes_have_the_shares_that_are_wanted() -> None:
    """Of many data rows; a part without a share gets none."""
    shares = {"train": 3, "test": 1}
    counts = Counter(training.hashed_part(f"row {n}", shares) for n in range(4000))

    assert set(counts) == {"train", "test"}
    assert 2850 < counts["train"] < 3150


def test_a_split_by_metadata_is_that_of_the_data_rows(
    run: Runner, tmp_path: Path
) -> None:
    """What has none is left out, and counted."""
    metadata = run("data_row_metadata").records("data_row_metadata")
    expected = {
        row["data_row_id"]: row["option_name"]
        for row in metadata
        if row["schema_name"] == "split"
    }

    report = tables.to_coco(tmp_path, split="metadata", **run.config())

    for part in PARTS:
        for image in json.loads((tmp_path / f"{part}.json").read_text())["images"]:
            assert expected[image["data_row_id"]] == part
    assert sum(report.images.values()) > 20
    assert report.left_out["images in no part of the split"] > 20


def test_a_split_of_a_model_run_is_that_of_its_data_rows(
    run: Runner, tmp_path: Path
) -> None:
    """TRAINING, VALIDATION and TEST."""
    rows = run("model_run_data_rows").records("model_run_data_rows")
    (model_run_id, _), *_ = Counter(r["model_run_id"] for r in rows).most_common()
    names = {"TRAINING": "train", "VALIDATION": "valid", "TEST": "test"}
    expected = {
        row["data_row_id"]: names.get(row["data_split"])
        for row in rows
        if row["model_run_id"] == model_run_id
    }

    report = tables.to_coco(tmp_path, model_run_id=model_run_id, **run.config())

    images = [
        (image["data_row_id"], part)
        for part in PARTS
        for image in json.loads((tmp_path / f"{part}.json").read_text())["images"]
    ]
    assert len(images) == sum(report.images.values()) > 0
    assert all(expected[row_id] == part for row_id, part in images)


def test_masks_are_fetched_with_the_key(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where the API is; one that is gone is counted."""
    address = run.sandbox.url.removesuffix("/graphql")
    monkeypatch.setattr(notation, "API", address)
    asked: list[str] = []

    def answer(request: Request) -> Reply | None:
        if not request.path.endswith("/mask"):
            return None
        asked.append(request.path)
        if run.sandbox.api_key not in request.headers["authorization"]:
            return Reply(status=401)
        return Reply(status=404) if len(asked) == 1 else Reply(body=PNG)

    run.sandbox.before = answer

    report = tables.to_coco(tmp_path, masks=True, **run.config())

    masks = [
        mask
        for part in PARTS
        for mask in json.loads((tmp_path / f"{part}.json").read_text())["masks"]
    ]
    with_file = [mask for mask in masks if "file_name" in mask]
    assert len(masks) == len(asked) > 20
    assert len(with_file) == len(masks) - 1
    assert all((tmp_path / m["file_name"]).read_bytes() == PNG for m in with_file)
    (why,) = [w for w in report.left_out if w.startswith("masks that cannot")]
    assert report.left_out[why] == 1


def test_the_key_is_not_sent_elsewhere(run: Runner, tmp_path: Path) -> None:
    """A mask whose address is of another host is not fetched."""
    report = tables.to_yolo(tmp_path, masks=True, **run.config())

    assert not (tmp_path / "masks").exists()
    with (tmp_path / "masks.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    (why,) = [w for w in report.left_out if "the key is not sent" in w]
    assert report.left_out[why] == len(rows) > 20
    assert all(row["address"].startswith("https://") for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "random"}, "split must be hash, metadata"),
        ({"split": {"train": 1, "dev": 1}}, "split has no part dev"),
        ({"model_run_id": "no such"}, "model run no such has no data rows"),
        ({"file_name": "dataset_name"}, "two data rows are called"),
    ],
)
def test_wrong_arguments_are_refused(
    run: Runner, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    """In a line that says what to do, and nothing is written."""
    with pytest.raises(tables.SettingsError, match=message):
        tables.to_coco(tmp_path / "coco", **arguments, **run.config())

    assert not (tmp_path / "coco").exists()


def test_nothing_is_written_if_something_is_lacking(
    run: Runner, tmp_path: Path
) -> None:
    """A data set with a hole looks like one without."""
    settings = run.config(project_ids=[run.world.projects[0].id, "gone"])

    with pytest.raises(tables.IncompleteError, match="nothing is written"):
        tables.to_coco(tmp_path / "coco", **settings)

    assert not (tmp_path / "coco").exists()
