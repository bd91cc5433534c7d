"""Draw which model of the dbt package is made of what: ``make docs``.

What refers to what is read from dbt's own manifest.
"""

from __future__ import annotations

import json
import subprocess
import sys
from html import escape
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "dbt" / "lineage.svg"
MANIFEST = ROOT / "dbt" / "target" / "manifest.json"

Parents = dict[str, list[str]]

STAGING, MARTS = "stg_labelbox__", "labelbox__"
BOX_WIDTH_PIXELS = 186
BOX_HEIGHT_PIXELS = 22
ROW_PIXELS = 30
COLUMN_PIXELS = 262
MARGIN_PIXELS = 16
HEAD_PIXELS = 34
SWEEPS = 24
"""How often the columns are sorted, to and fro, by where their neighbours are."""

STYLE = """
    text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
    .head { font-weight: 600; fill: #59636e }
    rect { fill: #f6f8fa; stroke: #d1d9e0 }
    .mart { fill: #ddf4ff; stroke: #54aeff }
    path { fill: none; stroke: #818b98; stroke-opacity: .45; stroke-width: 1.2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .head { fill: #9198a1 }
      rect { fill: #151b23; stroke: #3d444d }
      .mart { fill: #0c2d6b; stroke: #388bfd }
      path { stroke: #9198a1 }
    }
"""


def parents_of(manifest: Mapping[str, Any]) -> Parents:
    """Return what each model of the package is made of, but for those of staging.

    Args:
        manifest: That of dbt, as in ``manifest.json``.
    """
    return {
        name.rpartition(".")[2]: sorted(
            {parent.rpartition(".")[2] for parent in node["depends_on"]["nodes"]}
        )
        for name, node in sorted(manifest["nodes"].items())
        if name.startswith("model.labelbox.") and STAGING not in name
    }


def picture(parents: Parents) -> str:
    """Return the SVG of models, streams at the left and what is made of them beside."""
    columns, steps = arranged(parents)
    most = max(map(len, columns))
    places = {
        name: (MARGIN_PIXELS + number * COLUMN_PIXELS, top(row, len(column), most))
        for number, column in enumerate(columns)
        for row, name in enumerate(column)
    }
    width = 2 * MARGIN_PIXELS + (len(columns) - 1) * COLUMN_PIXELS + BOX_WIDTH_PIXELS
    height = HEAD_PIXELS + MARGIN_PIXELS + most * ROW_PIXELS
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "  <title>Which model is made of what</title>",
        f"  <style>{STYLE}  </style>",
    ]
    for number, head in ((0, "Streams, staged"), (len(columns) - 1, "Marts")):
        x = MARGIN_PIXELS + number * COLUMN_PIXELS
        drawn.append(
            f'  <text class="head" x="{x}" y="{HEAD_PIXELS - 10}">{head}</text>'
        )
    for name, made_of in steps.items():
        x, y = places[name]
        lines = [line(places[parent], (x, y)) for parent in made_of]
        drawn += [f'  <path d="{path}"/>' for path in lines]
        if is_lane(name):
            middle = y + BOX_HEIGHT_PIXELS / 2
            drawn.append(f'  <path d="M{x} {middle:g}h{BOX_WIDTH_PIXELS}"/>')
    size = f'width="{BOX_WIDTH_PIXELS}" height="{BOX_HEIGHT_PIXELS}"'
    for name, (x, y) in places.items():
        if not is_lane(name):
            kind = ' class="mart"' if name in parents and name.startswith(MARTS) else ""
            drawn += [
                f'  <rect{kind} x="{x}" y="{y:g}" {size} rx="5"/>',
                f'  <text x="{x + 8}" y="{y + 15:g}">{escape(label(name))}</text>',
            ]
    return "\n".join([*drawn, "</svg>", ""])


def label(name: str) -> str:
    """Return what is written in a model's box."""
    return name.removeprefix(STAGING)


def top(row: int, rows: int, most: int) -> float:
    """Return where a box begins; a column of few rows is spread out."""
    middle = (row + 0.5) * most / rows * ROW_PIXELS
    return HEAD_PIXELS + middle - BOX_HEIGHT_PIXELS / 2


def line(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return the path from a box to one of the next column."""
    x, y = start[0] + BOX_WIDTH_PIXELS, start[1] + BOX_HEIGHT_PIXELS / 2
    to_x, to_y = end[0], end[1] + BOX_HEIGHT_PIXELS / 2
    half = (x + to_x) / 2
    return f"M{x:g} {y:g}C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}"


def lane(name: str, column: int) -> str:
    """Return the name of the place in a column where lines to a model pass."""
    return f"{name} {column}"


def is_lane(name: str) -> bool:
    """Return whether a name is no model's."""
    return " " in name


def arranged(parents: Parents) -> tuple[list[list[str]], Parents]:
    """Return the names by column, and what each is drawn to be made of.

    A model is as far right as the way to it is long; one that nothing else is made of
    is in the last column. Lines that go over several columns have lanes between boxes.
    """
    inner = {name for made_of in parents.values() for name in made_of}
    last = max(depth(name, parents) for name in parents)
    place = {
        name: depth(name, parents) if name in inner else last
        for name in sorted({*parents, *inner})
    }
    steps: Parents = {}
    for name, made_of in parents.items():
        for parent in made_of:
            lanes = [lane(name, n) for n in range(place[parent] + 1, place[name])]
            for before, after in pairwise([parent, *lanes, name]):
                place.setdefault(after, place[before] + 1)
                if before not in steps.setdefault(after, []):
                    steps[after].append(before)
    columns: list[list[str]] = [[] for _ in range(last + 1)]
    for name, number in place.items():
        columns[number].append(name)
    untangle(columns, steps)
    return columns, steps


def untangle(columns: list[list[str]], steps: Parents) -> None:
    """Sort each column so that neighbours are near each other."""
    children: Parents = {}
    for name, made_of in steps.items():
        for parent in made_of:
            children.setdefault(parent, []).append(name)
    heights: dict[str, float] = {}

    def sort(column: list[str], near: Parents) -> None:
        column.sort(
            key=lambda name: (
                fmean(heights.get(other, 0) for other in near.get(name) or [name]),
                name,
            )
        )
        for row, name in enumerate(column):
            heights[name] = (row + 0.5) / len(column)

    for _ in range(SWEEPS):
        for column in columns:
            sort(column, steps)
        for column in reversed(columns):
            sort(column, children)


def depth(name: str, parents: Parents) -> int:
    """Return how many steps the longest way from a stream to a model has."""
    made_of = parents.get(name, ())
    return 1 + max(depth(parent, parents) for parent in made_of) if made_of else 0


def main() -> None:
    """Read the package with dbt, and draw it."""
    meltano = Path(sys.executable).with_name("meltano")
    subprocess.run([meltano, "invoke", "dbt-labelbox", "parse"], cwd=ROOT, check=True)
    PICTURE.write_text(picture(parents_of(json.loads(MANIFEST.read_text()))), "utf-8")


if __name__ == "__main__":
    main()
