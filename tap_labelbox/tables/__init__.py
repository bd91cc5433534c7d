"""Labelbox's tables in Python: Arrow for pandas, Polars and DuckDB, or dictionaries.

>>> from tap_labelbox import tables
>>> annotations = tables.read("annotations", project_ids=["ckx..."])

Settings are those of the tap, under the same names and checked the same way; the API
key may also be in the environment. Columns, their order and their types are those of
Parquet batch files. What goes wrong is raised. Nothing is written to standard output,
no signal is handled, and what there is to log goes to Python's ``logging``.

All but :func:`rows` need pyarrow, which ``tap-labelbox[parquet]`` brings.
"""

from tap_labelbox.api.errors import (
    AccessError,
    LabelboxError,
    SettingsError,
    TransientError,
)
from tap_labelbox.tables.coco import to_coco
from tap_labelbox.tables.reading import read, read_all, rows, scan, streams
from tap_labelbox.tables.run import IncompleteError
from tap_labelbox.tables.yolo import to_yolo

__all__ = [
    "AccessError",
    "IncompleteError",
    "LabelboxError",
    "SettingsError",
    "TransientError",
    "read",
    "read_all",
    "rows",
    "scan",
    "streams",
    "to_coco",
    "to_yolo",
]
