"""COCO: a file of JSON for each part of the split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_labelbox.files import write_whole
from tap_labelbox.tables.training import SPLITS, Shape, fetch_mask, gather

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from tap_labelbox.tables.training import Dataset, Drawn, Image, Report


def to_coco(
    folder: str | Path,
    *,
    split: str | Mapping[str, float] = "hash",
    model_run_id: str | None = None,
    file_name: str = "data_row_id",
    masks: bool = False,
    since: str | date | None = None,
    **settings: Any,
) -> Report:
    """Write what is drawn in labeled images as COCO: ``train.json`` and so on.

    Boxes and polygons become annotations; so do lines, with the box around them and
    their corners as ``line``. Masks stand beside them, under ``masks``, by address.

    Args:
        folder: Where to; it is made if it is not there.
        split: ``hash`` puts 80, 10 and 10 of 100 data rows into train, valid and test,
            the same ones each time; ``{"train": 3, "valid": 1}`` has other shares.
            ``metadata`` goes by the custom metadata field ``split``.
        model_run_id: The model run by whose data split it goes instead.
        file_name: The column of ``data_row_exports`` that names images.
        masks: Whether masks are fetched into ``masks``.
        since: As of :func:`read`.
        **settings: Of the tap.

    Returns:
        The report: how many images and objects were written, and what was left out.

    Raises:
        IncompleteError: If something could not be read; then nothing is written.
        LabelboxError: As :func:`read` does.
    """
    dataset = gather(
        split=split,
        model_run_id=model_run_id,
        file_name=file_name,
        since=since,
        settings=settings,
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for part in SPLITS:
        content = _content(dataset, dataset.of_split(part), folder, masks=masks)
        text = json.dumps(content, ensure_ascii=False)
        write_whole(folder / f"{part}.json", text.encode())
    return dataset.report


def _content(
    dataset: Dataset, images: list[Image], folder: Path, *, masks: bool
) -> dict[str, Any]:
    """Return what stands in a file."""
    ids = {name: number for number, name in enumerate(dataset.classes, 1)}
    annotations: list[dict[str, Any]] = []
    of_masks: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for drawn in image.objects:
            place = {"image_id": image_id, "category_id": ids[drawn.class_name]}
            if drawn.shape is Shape.MASK:
                mask = {**place, "url": drawn.mask_url}
                if masks and (name := fetch_mask(dataset, drawn, folder / "masks")):
                    mask["file_name"] = f"masks/{name}"
                of_masks.append(mask)
            else:
                number = len(annotations) + 1
                annotations.append({"id": number, **place, **_annotation(drawn)})
    return {
        "info": {"description": "Labelbox"},
        "licenses": [],
        "images": [
            {
                "id": number,
                "file_name": image.file_name,
                "width": image.width,
                "height": image.height,
                "coco_url": image.url,
                "data_row_id": image.data_row_id,
            }
            for number, image in enumerate(images, 1)
        ],
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for name, number in ids.items()
        ],
        "annotations": annotations,
        "masks": of_masks,
    }


def _annotation(drawn: Drawn) -> dict[str, Any]:
    corners = [coordinate for point in drawn.points for coordinate in point]
    is_line = drawn.shape is Shape.LINE
    result = {
        "bbox": [*drawn.box],
        "area": drawn.area,
        "iscrowd": 0,
        # A box as a polygon is what it is; a line has no inside.
        "segmentation": [] if is_line else [corners],
        "annotation_id": drawn.annotation_id,
    }
    return result | ({"line": corners} if is_line else {})
