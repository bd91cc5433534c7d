"""Images with what was drawn on them, as those who train models want them.

They are gathered from streams of today's export, in one pass: which label of a data
row counts, its objects in pixels, the classes of the ontology in its order, and the
part of the split that a data row belongs to.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_labelbox.api.errors import ExpiredLinkError, SettingsError, UnavailableError
from tap_labelbox.files import write_whole
from tap_labelbox.tables.reading import Rows, prepare
from tap_labelbox.tables.run import IncompleteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date
    from pathlib import Path

    from tap_labelbox.api.client import Client

Point = tuple[float, float]
Row = dict[str, Any]

SPLITS = ("train", "valid", "test")
SHARES: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}
SPLIT_FIELD = "split"
"""The field of custom metadata that every organization has for this."""
IN_MODEL_RUNS = {"TRAINING": "train", "VALIDATION": "valid", "TEST": "test"}
DRAWING_TOOLS = ("rectangle", "polygon", "line", "raster-segmentation", "superpixel")
MIN_POLYGON_POINTS = 3
MIN_LINE_POINTS = 2
UNSAFE = re.compile(r"[^\w.-]+")  # in a file name
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/tiff": ".tif"}


class Shape(Enum):
    """The kinds of objects that there are formats for."""

    BOX = "box"
    POLYGON = "polygon"
    LINE = "line"
    MASK = "mask"


@dataclass
class Drawn:
    """An object in an image; lengths are pixels from its upper left corner."""

    annotation_id: str
    class_name: str
    shape: Shape
    points: list[Point] = field(default_factory=list)
    """The corners, in order; of a box all four; none of a mask."""
    mask_url: str | None = None
    """Of a mask, where it can be fetched with the API key."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The left and upper edge, the width and the height of what is around it."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)

    @property
    def area(self) -> float:
        """The area in square pixels; 0 of a line."""
        if self.shape is Shape.LINE:
            return 0.0
        following = [*self.points[1:], self.points[0]]
        pairs = zip(self.points, following, strict=True)
        return abs(sum(x * v - u * y for (x, y), (u, v) in pairs)) / 2


@dataclass
class Image:
    """A labeled image."""

    data_row_id: str
    file_name: str
    width: int
    height: int
    url: str
    split: str
    objects: list[Drawn] = field(default_factory=list)


@dataclass
class Report:
    """Counts of what was written to a folder, and of what was not."""

    images: Counter[str] = field(default_factory=Counter)
    """By part of the split."""
    objects: Counter[str] = field(default_factory=Counter)
    """By class."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many data rows and objects are not there, by the reason."""


@dataclass
class Dataset:
    """Labeled images, and the classes of what is drawn in them."""

    classes: list[str]
    images: list[Image]
    report: Report
    settings: dict[str, Any]
    """Of the tap."""

    @cached_property
    def client(self) -> Client:
        """Fetches masks: that of the run is closed with it."""
        return prepare(("projects",), Rows, None, None, self.settings).client

    def of_split(self, split: str) -> list[Image]:
        """Return the images of a part of the split."""
        return [image for image in self.images if image.split == split]


def gather(
    *,
    split: str | Mapping[str, float],
    model_run_id: str | None,
    file_name: str,
    since: str | date | None,
    settings: dict[str, Any],
) -> Dataset:
    """Read what is drawn in the labeled images of the projects, as to_coco says.

    Raises:
        SettingsError: If an argument cannot be used.
        IncompleteError: If something could not be read.
    """
    shares = split if isinstance(split, Mapping) else SHARES
    if unknown := shares.keys() - set(SPLITS):
        raise SettingsError(f"split has no part {min(unknown)}: {', '.join(SPLITS)}")
    if split not in ("hash", "metadata") and not isinstance(split, Mapping):
        raise SettingsError("split must be hash, metadata, or a share for each part")
    names = ["ontology_features", "data_row_exports", "export_labels", "annotations"]
    names += ["data_row_metadata"] * (split == "metadata")
    names += ["model_run_data_rows"] * (model_run_id is not None)
    run = prepare(tuple(names), Rows, since, None, settings)
    rows_of: dict[str, list[Row]] = {name: [] for name in names}
    try:
        for name, rows in run.batches():
            rows_of[name] += [_kept(row) for row in rows]
    except IncompleteError as error:
        raise IncompleteError(f"nothing is written: {error}", {}) from None
    report = Report()
    part_of: Callable[[str], str | None]
    if model_run_id is not None:
        splits = {
            row["data_row_id"]: IN_MODEL_RUNS.get(str(row["data_split"]), "")
            for row in rows_of["model_run_data_rows"]
            if row["model_run_id"] == model_run_id
        }
        if not splits:
            raise SettingsError(f"model run {model_run_id} has no data rows")
        part_of = splits.get
    elif split == "metadata":
        splits = {
            row["data_row_id"]: str(row["option_name"]).lower()
            for row in rows_of["data_row_metadata"]
            if str(row["schema_name"]).lower() == SPLIT_FIELD
        }
        part_of = splits.get
    else:
        part_of = partial(hashed_part, shares=shares)
    images = _images(rows_of, part_of, file_name, report)
    used = {row["ontology_id"] for row in rows_of["data_row_exports"]}
    tools = [row for row in rows_of["ontology_features"] if row["ontology_id"] in used]
    classes = _classes(tools, images)
    for image in images:
        report.objects.update(drawn.class_name for drawn in image.objects)
    return Dataset(classes, images, report, settings)


def hashed_part(row_id: str, shares: Mapping[str, float]) -> str:
    """Return the part of a split by the ID of a data row: the same in every run."""
    digest = hashlib.sha256(row_id.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values())
    for name in SPLITS:
        place -= shares.get(name, 0)
        if place < 0:
            return name
    return next(name for name in reversed(SPLITS) if shares.get(name))


COLUMNS_LEFT = ("annotations", "labels", "workflow_history", "embeddings")


def _kept(row: Row) -> Row:
    """Return a row without what is large and not needed here."""
    return {name: value for name, value in row.items() if name not in COLUMNS_LEFT}


def _images(
    rows_of: dict[str, list[Row]],
    part_of: Callable[[str], str | None],
    file_name: str,
    report: Report,
) -> list[Image]:
    """Return the labeled images; one that is in several projects comes once."""
    labels = _counting_labels(rows_of["export_labels"])
    images: dict[str, Image] = {}
    by_label: dict[str, Image] = {}
    taken: dict[str, str] = {}
    for row in rows_of["data_row_exports"]:
        row_id, part = row["data_row_id"], part_of(row["data_row_id"])
        label_id = labels.get((row["project_id"], row_id))
        if why := _unusable(row, label_id, part, file_name):
            report.left_out[why] += 1
            continue
        if row_id not in images:
            name = _file_name(row, file_name)
            if taken.setdefault(PurePosixPath(name).stem.lower(), row_id) != row_id:
                raise SettingsError(
                    f"two data rows are called {name}: set file_name to another "
                    "column, such as data_row_id"
                )
            size = int(row["media_width"]), int(row["media_height"])
            images[row_id] = Image(row_id, name, *size, str(row["row_data"]), str(part))
            report.images[str(part)] += 1
        by_label[str(label_id)] = images[row_id]
    for row in rows_of["annotations"]:
        if row["label_id"] in by_label and row["geometry"]:
            drawn = _drawn(row)
            if isinstance(drawn, str):
                report.left_out[drawn] += 1
            else:
                by_label[row["label_id"]].objects.append(drawn)
    return sorted(images.values(), key=lambda image: image.data_row_id)


def _unusable(row: Row, label_id: str | None, part: str | None, file_name: str) -> str:
    """Return why a data row is not taken; "" if it is."""
    if (kind := str(row["media_asset_type"]).lower()) != "image":
        return f"data rows of kind {kind}"
    if label_id is None:
        return "images without a label, or skipped"
    if not row["media_width"] or not row["media_height"]:
        return "images of unknown size"
    if part not in SPLITS:
        return "images in no part of the split"
    if not row.get(file_name):
        return f"images without {file_name}"
    return ""


def _counting_labels(labels: list[Row]) -> dict[tuple[str, str], str]:
    """Return the label that counts, by project and data row.

    It is the one that won the consensus, or else the newest; none if that was skipped.
    """

    def rank(label: Row) -> tuple[bool, bool, str]:
        return bool(label["is_selected"]), bool(label["is_latest"]), label["label_id"]

    best = {
        (label["project_id"], label["data_row_id"]): label
        for label in sorted(labels, key=rank)
    }
    return {
        place: label["label_id"]
        for place, label in best.items()
        if not label["is_skipped"]
    }


def _file_name(row: Row, column: str) -> str:
    name = UNSAFE.sub("_", str(row[column])).lstrip(".") or row["data_row_id"]
    suffix = PurePosixPath(urlsplit(str(row["row_data"])).path).suffix
    suffix = UNSAFE.sub("", suffix) or SUFFIXES.get(row["media_mime_type"] or "", "")
    return name if PurePosixPath(name).suffix else name + suffix


def _drawn(row: Row) -> Drawn | str:
    """Return an object, or why there is no place for it."""
    geometry = row["geometry"]
    box, polygon = geometry.get("bounding_box"), geometry.get("polygon")
    line, mask = geometry.get("line"), row["mask_url"]
    result = Drawn(row["annotation_id"], str(row["name"]), Shape.BOX)
    if isinstance(box, dict) and None not in (row["box_width"], row["box_height"]):
        left, top = row["box_left"] or 0.0, row["box_top"] or 0.0
        right, bottom = left + row["box_width"], top + row["box_height"]
        result.points = [(left, top), (right, top), (right, bottom), (left, bottom)]
        if not result.area:
            return "boxes without an area"
    elif isinstance(polygon, list):
        points = list(_points(polygon))
        closed = points[:-1] if points[:1] == points[-1:] else points
        result.shape, result.points = Shape.POLYGON, closed
        if len(closed) < MIN_POLYGON_POINTS or not result.area:
            return "polygons without an area"
    elif isinstance(line, list):
        result.shape, result.points = Shape.LINE, list(_points(line))
        if len(result.points) < MIN_LINE_POINTS:
            return "lines of less than two points"
    elif mask:
        result.shape, result.mask_url = Shape.MASK, str(mask)
    else:
        return f"objects of kind {row['annotation_kind']}"
    return result


def _points(values: list[Any]) -> Iterator[Point]:
    for value in values:
        if isinstance(value, dict):
            x, y = value.get("x"), value.get("y")
            if isinstance(x, int | float) and isinstance(y, int | float):
                yield float(x), float(y)


def _classes(features: list[Row], images: list[Image]) -> list[str]:
    """Return the classes in the order of the ontologies, each name once.

    What was drawn with a tool that is gone comes last.
    """
    tools = [
        row["name"]
        for row in sorted(features, key=lambda row: (row["ontology_id"], row["order"]))
        if row["kind"] == "tool" and row["type"] in DRAWING_TOOLS
    ]
    drawn = {obj.class_name for image in images for obj in image.objects}
    return list(dict.fromkeys(name for name in tools + sorted(drawn) if name))


def fetch_mask(dataset: Dataset, drawn: Drawn, folder: Path) -> str | None:
    """Fetch a mask into a folder, and return its name there; None if there is none.

    Raises:
        LabelboxError: If Labelbox cannot be asked.
    """
    name = UNSAFE.sub("_", drawn.annotation_id) + ".png"
    try:
        content = dataset.client.file(str(drawn.mask_url))
    except (UnavailableError, ExpiredLinkError) as error:
        dataset.report.left_out[f"masks that cannot be fetched ({error})"] += 1
        return None
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / name, content)
    return name
