"""Libraries that read the tables: pandas, Polars, dlt, pycocotools; and memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tap_labelbox.sandbox import World
from tests import figures
from tests.platforms.programs import CACHE, ROOT, output_of, recipes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runner import Runner

PYTHON = CACHE / "python" / "bin" / "python"
RECIPES = recipes("python.md")
CHOICE = 'settings = {"project_ids": ["ckx..."]}'
MAX_BYTES = 350_000_000
MAX_SCAN_BYTES = 260_000_000  # for a table of any size
# What happens to a data row that is labeled now may lie in the next minutes.
A_WHILE = timedelta(minutes=3)


def run_script(script: str, folder: Path) -> str:
    """Run a script in the environment of these packages, and return its output."""
    quiet = {"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": str(folder / "dlt")}
    output, _ = output_of(
        PYTHON, "-c", script, folder=folder, **quiet, PYTHONPATH=str(ROOT)
    )
    return output


@pytest.mark.parametrize("package", ["polars", "dlt"])
def test_recipes_run_twice(run: Runner, tmp_path: Path, package: str) -> None:
    """As the page has them, but for what they read."""
    (recipe,) = (r for r in RECIPES if f"import {package}\n" in r)
    script = recipe.replace(CHOICE, f"settings = {run.config()!r}")

    for _ in range(2):
        assert run_script(script, tmp_path)


def test_dlt_goes_on_from_its_state(run: Runner, tmp_path: Path) -> None:
    """After two runs with a change between, it has each key once."""
    (recipe,) = (r for r in RECIPES if "import dlt\n" in r)
    script = recipe.replace(CHOICE, f"settings = {run.config()!r}")
    run_script(script, tmp_path)
    run.world.add_label(run.world.projects[0].id, datetime.now(UTC) - A_WHILE)
    counted = """
with pipeline.sql_client() as client:
    for name in keys:
        distinct = f"count(distinct ({', '.join(keys[name])}))"
        query = f"select count(*), {distinct} from {name}"
        print("COUNT", name, *client.execute_sql(query)[0])
print("LOADED", pipeline.last_trace.last_normalize_info.row_counts["annotations"])
"""

    lines = run_script(script + counted, tmp_path).splitlines()

    counts = [line.split()[1:] for line in lines if line.startswith("COUNT")]
    assert {name for name, *_ in counts} == {"labels", "annotations"}
    for name, rows, keys in counts:
        assert int(rows) == int(keys) == len(run(name).records(name)), name
    (loaded,) = (int(x.split()[1]) for x in lines if x.startswith("LOADED"))
    assert 0 < loaded < 200


def test_pandas_and_polars_take_the_types(run: Runner, tmp_path: Path) -> None:
    """Timestamps are timestamps, numbers are numbers, in both."""
    script = f"""
from tap_labelbox import tables
import polars
table = tables.read("annotations", **{run.config()!r})
frame, other = table.to_pandas(), polars.from_arrow(table)
print(len(frame), len(other), frame["last_activity_at"].dtype,
      other["last_activity_at"].dtype, frame["box_left"].dtype, sep="|")
"""
    rows, others, pandas_type, polars_type, number = (
        run_script(script, tmp_path).strip().split("|")
    )

    assert int(rows) == int(others) == len(run("annotations").records("annotations"))
    assert pandas_type == "datetime64[us, UTC]"
    assert polars_type == "Datetime(time_unit='us', time_zone='UTC')"
    assert number == "float64"


def test_pycocotools_loads_what_is_written(run: Runner, tmp_path: Path) -> None:
    """It finds every annotation by image and class, and makes masks of polygons."""
    script = f"""
import json
from pycocotools.coco import COCO
from tap_labelbox import tables
tables.to_coco("coco", split={{"train": 1}}, **{run.config()!r})
content = json.load(open("coco/train.json"))
coco = COCO("coco/train.json")
ids = [i for image in coco.getImgIds() for i in coco.getAnnIds(imgIds=[image])]
assert sorted(ids) == [a["id"] for a in content["annotations"]]
checked = 0
for annotation in coco.loadAnns(ids):
    if annotation["segmentation"]:
        mask = coco.annToMask(annotation)
        image = coco.imgs[annotation["image_id"]]
        assert mask.shape == (image["height"], image["width"])
        left, top, width, height = annotation["bbox"]
        if left + width < image["width"] and top + height < image["height"]:
            assert abs(int(mask.sum()) - annotation["area"]) < 2 * (width + height + 2)
            checked += 1
print("CHECKED", checked)
"""
    *_, last = run_script(script, tmp_path).splitlines()

    assert int(last.split()[1]) > 20


def test_a_large_table_needs_little_more_than_itself(
    serving: Callable[..., Runner], tmp_path: Path
) -> None:
    """And a scan of it much less than that."""
    run = serving(World(seed=1, labels=20_000))
    script = f"""
import json
from tap_labelbox import tables
settings = {run.config()!r}
size = 0
TAKEN
# Not `getrusage`: that begins with what the process had before it was this one.
status = dict(line.split(":") for line in open("/proc/self/status"))
print(json.dumps([rows, size, int(status["VmHWM"].split()[0]) * 1024]))
"""
    scan = 'rows = sum(b.num_rows for b in tables.scan("annotations", **settings))'
    read = 'table = tables.read("annotations", **settings)\n'
    read += "rows, size = table.num_rows, table.nbytes"
    results: list[list[int]] = [
        json.loads(run_script(script.replace("TAKEN", code), tmp_path))
        for code in (scan, read)
    ]
    (scanned, _, least), (rows, size, peak) = results

    text = f"{rows:,} rows of {size / 1e6:.0f} MB: {peak / 1e6:.0f} MB at most"
    figures.count(f"{text}, {least / 1e6:.0f} MB batch by batch")
    assert rows == scanned > 100_000
    assert least < MAX_SCAN_BYTES
    assert peak < MAX_BYTES
