"""YOLO: a text file for each image, and one that names classes and folders."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.files import write_whole
from tap_labelbox.tables.training import SPLITS, Shape, fetch_mask, gather

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from tap_labelbox.tables.training import Drawn, Image, Report

TASKS = ("detect", "segment")


def to_yolo(
    folder: str | Path,
    *,
    task: str = "detect",
    split: str | Mapping[str, float] = "hash",
    model_run_id: str | None = None,
    file_name: str = "data_row_id",
    masks: bool = False,
    since: str | date | None = None,
    **settings: Any,
) -> Report:
    """Write what is drawn in labeled images for YOLO, with its ``data.yaml``.

    The images themselves belong into ``images/train`` and so on; ``images.csv`` lists
    them with their addresses, and ``masks.csv`` the masks, which the format lacks.

    Args:
        folder: Where to; it is made if it is not there.
        task: ``detect`` writes the box around each box, polygon and line; ``segment``
            the polygon of each polygon and box, and no lines.
        split: As of :func:`to_coco`.
        model_run_id: As of :func:`to_coco`.
        file_name: As of :func:`to_coco`.
        masks: As of :func:`to_coco`.
        since: As of :func:`read`.
        **settings: Of the tap.

    Returns:
        The report, as of :func:`to_coco`.

    Raises:
        Exception: As :func:`to_coco` does.
    """
    if task not in TASKS:
        raise SettingsError(f"task must be one of {', '.join(TASKS)}")
    dataset = gather(
        split=split,
        model_run_id=model_run_id,
        file_name=file_name,
        since=since,
        settings=settings,
    )
    folder = Path(folder)
    numbers = {name: number for number, name in enumerate(dataset.classes)}
    left_out = dataset.report.left_out
    of_masks: list[tuple[str, ...]] = []
    for part in SPLITS:
        labels = folder / "labels" / part
        labels.mkdir(parents=True, exist_ok=True)
        (folder / "images" / part).mkdir(parents=True, exist_ok=True)
        for image in dataset.of_split(part):
            lines = []
            for drawn in image.objects:
                name = drawn.class_name
                if drawn.shape is Shape.MASK:
                    file = masks and fetch_mask(dataset, drawn, folder / "masks")
                    row = part, image.file_name, name, str(drawn.mask_url), file or ""
                    of_masks.append(row)
                elif numbers_of := _numbers(drawn, image, task):
                    lines.append(f"{numbers[name]} {' '.join(numbers_of)}\n")
                else:
                    left_out[f"objects without a {OUTLINES[task]} in their image"] += 1
            text = PurePosixPath(image.file_name).with_suffix(".txt").name
            write_whole(labels / text, "".join(lines).encode())
    addresses = ((i.split, i.file_name, i.url) for i in dataset.images)
    _write_table(folder / "images.csv", ("split", "file", "address"), addresses)
    columns = ("split", "file", "class", "address", "mask")
    _write_table(folder / "masks.csv", columns, of_masks)
    # JSON is YAML as well, whatever a class is called.
    names = "\n".join(
        f"  {number}: {json.dumps(name, ensure_ascii=False)}"
        for number, name in enumerate(dataset.classes)
    )
    parts = {"train": "train", "val": "valid", "test": "test"}
    paths = "".join(f"{key}: images/{part}\n" for key, part in parts.items())
    write_whole(folder / "data.yaml", f"{paths}names:\n{names}\n".encode())
    return dataset.report


OUTLINES = {"detect": "box", "segment": "polygon"}


def _numbers(drawn: Drawn, image: Image, task: str) -> list[str]:
    """Return coordinates as shares of the image, within it; [] if none are left."""
    points = [
        (
            min(max(x / image.width, 0.0), 1.0),
            min(max(y / image.height, 0.0), 1.0),
        )
        for x, y in drawn.points
    ]
    xs, ys = zip(*points, strict=True)
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    if task == "segment":
        if drawn.shape is Shape.LINE or not width or not height:
            return []
        values = [share for point in points for share in point]
    elif not width or not height:
        return []
    else:
        values = [min(xs) + width / 2, min(ys) + height / 2, width, height]
    return [f"{value:.6f}" for value in values]


def _write_table(
    path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> None:
    written = io.StringIO()
    csv.writer(written).writerows([columns, *rows])
    write_whole(path, written.getvalue().encode())
