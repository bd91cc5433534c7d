"""The tap's output, loaded by real targets and read back."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_labelbox.records import timestamps
from tap_labelbox.tap import TapLabelbox
from tests.runner import PRIMARY_KEYS, read_files
from tests.targets import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import World
    from tests.runner import Runner

duckdb = pytest.importorskip("duckdb", reason="duckdb 1.2.2 has no wheel here")

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "running.md").read_text("utf-8")


def test_duckdb_holds_what_the_sandbox_holds(
    run: Runner, world: World, target: Callable[[str], Path], tmp_path: Path
) -> None:
    """After two runs: every row once, its text as it was, in the right types."""
    file = tmp_path / "warehouse.duckdb"
    settings = {"folder": str(tmp_path), "path": str(file)}
    settings |= {"default_target_schema": "labelbox"}
    command = target("target-duckdb")

    first = run()
    load(command, first.text, **settings)
    world.add_label(world.projects[0].id)
    second = run(state=first.state)
    load(command, second.text, **settings)

    with duckdb.connect(str(file), read_only=True) as warehouse:

        def rows(query: str) -> list[Any]:
            return list(warehouse.execute(query).fetchall())

        labels = [label for p in world.projects for label in world.labels(p.id)]
        assert sorted(rows("select id, project_id, label from labelbox.labels")) == (
            sorted((label.id, label.project.id, label.label) for label in labels)
        )
        assert sorted(rows("select id, name from labelbox.projects")) == sorted(
            (project.id, project.name) for project in world.projects
        )
        sent = {r["id"]: json.loads(r["label"]) for r in first.records("bulk_export")}
        assert {
            label_id: json.loads(label)
            for label_id, label in rows("select id, label from labelbox.bulk_export")
        } == sent
        types = dict(
            rows(
                "select column_name, data_type from information_schema.columns "
                "where table_name = 'labels'"
            )
        )
        assert types["seconds_to_label"] == "DOUBLE"
        assert types["created_at"] == "TIMESTAMP"
        assert types["is_skipped"] == "BOOLEAN"
        made = rows(
            "select table_name, column_name, data_type from information_schema.columns"
        )
        assert {kind for table, column, kind in made if is_integer(table, column)} == {
            "BIGINT"
        }
        for name, key in PRIMARY_KEYS.items():
            sent_keys = {
                tuple(record[column] for column in key)
                for output in (first, second)
                for record in output.records(name)
            }
            if sent_keys:
                ((count,),) = rows(f"select count(*) from labelbox.{name}")  # noqa: S608
                assert count == len(sent_keys), name


def is_integer(stream: str, column: str) -> bool:
    """Return whether a column of a stream is one of integers."""
    tap = TapLabelbox(config={"api_key": "x"})
    schema = tap.streams[stream].schema["properties"].get(column, {})
    return "integer" in schema.get("type", ())


def test_each_run_has_csv_files_of_its_own(
    run: Runner, target: Callable[[str], Path], tmp_path: Path
) -> None:
    """As meltano.yml names them, by the second, of which a load takes more than one."""
    meltano = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    settings = {
        setting["name"]: setting["value"]
        for loader in meltano["plugins"]["loaders"]
        if loader["name"] == "target-csv"
        for setting in loader["settings"]
    }
    settings |= {"output_path": str(tmp_path), "folder": str(tmp_path)}
    command = target("target-csv")

    first = run("projects", "labels")
    load(command, first.text, **settings)
    second = run("projects", "labels", state=first.state)
    load(command, second.text, **settings)

    result = [*tmp_path.glob("labels-*.csv")]
    lines = 0
    for path in result:
        with path.open(encoding="utf-8", newline="") as file:
            lines += len([*csv.DictReader(file)])
    assert len(result) == 2
    sent = first.records("labels") + second.records("labels")
    assert lines == len(sent)


def test_a_target_that_keeps_only_the_last_state_has_it(
    run: Runner, target: Callable[[str], Path], tmp_path: Path
) -> None:
    """target-jsonl forgets a STATE when a RECORD follows it."""
    output = run()

    states = load(
        target("target-jsonl"),
        output.text,
        folder=str(tmp_path),
        destination_path=str(tmp_path),
        do_timestamp_file=False,
    )

    assert states == [output.state]
    written = (tmp_path / "labels.jsonl").read_text("utf-8").split("\n")
    assert len([line for line in written if line]) == len(output.ids("labels"))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_target_loads_batch_files(
    run: Runner, world: World, target: Callable[[str], Path], tmp_path: Path, form: str
) -> None:
    """Several of a stream, each row once, its text as it was."""
    batch_config = {
        "encoding": {"format": form, "compression": "gzip"},
        "storage": {"root": str(tmp_path / "batch files")},
        "batch_size": 40,
    }
    output = run(batch_config=batch_config)
    kinds = Counter(m["type"] for m in output.messages if m.get("stream") == "labels")
    assert kinds["BATCH"] > 1

    states = load(
        target("target-csv"),
        output.text,
        folder=str(tmp_path),
        output_path=str(tmp_path),
    )

    def rows(stream: str) -> list[dict[str, str]]:
        with (tmp_path / f"{stream}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    assert states[-1] == output.state
    labels = [label for p in world.projects for label in world.labels(p.id)]
    assert sorted((row["id"], row["label"]) for row in rows("labels")) == sorted(
        (label.id, label.label) for label in labels
    )
    made = {
        row["id"]: timestamps.normalize(row["created_at"]) for row in rows("labels")
    }
    records = run("labels", "annotations")
    assert made == {row["id"]: row["created_at"] for row in records.records("labels")}
    annotations = records.records("annotations")
    assert sorted(row["annotation_id"] for row in rows("annotations")) == sorted(
        row["annotation_id"] for row in annotations
    )


def loaded(tables: dict[str, dict[str, Any]], folder: Path) -> Any:
    """Make tables of records, each with the columns of its stream."""
    warehouse = duckdb.connect()
    for name, records in tables.items():
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(r) + "\n" for r in records.values()))
        schema = TapLabelbox(config={"api_key": "x"}).streams[name].schema
        columns = {
            column: "TIMESTAMPTZ" if kind.get("format") == "date-time" else "VARCHAR"
            for column, kind in schema["properties"].items()
        }
        rows = duckdb.read_json(str(file), columns=columns, connection=warehouse)
        rows.create(name)
    return warehouse


def box(feature_id: str) -> dict[str, Any]:
    """Make an object."""
    return {"feature_id": feature_id, "annotation_kind": "ImagePoint"}


def saved(data_row_id: str, last_activity_at: str | None, *objects: str) -> str:
    """Write a saved row with one label; without details it does not say when."""
    data_row: dict[str, Any] = {"id": data_row_id}
    if last_activity_at:
        data_row["details"] = {"last_activity_at": last_activity_at}
    label = {"id": "L", "annotations": {"objects": [*map(box, objects)]}}
    row = {"data_row": data_row, "projects": {"P": {"labels": [label]}}}
    return json.dumps(row) + "\n"


def test_the_query_that_is_shown_gives_what_is_current(tmp_path: Path) -> None:
    """Of rows with and without details, after two exports into one warehouse."""
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    first, second = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    exports = (
        saved("dated", first, "kept", "deleted") + saved("undated", None, "a", "b"),
        saved("dated", second, "kept", "new") + saved("undated", None, "a", "b"),
    )
    tables: dict[str, dict[str, Any]] = {"annotations": {}, "data_row_exports": {}}
    for number, export in enumerate(exports):
        file = tmp_path / f"{number}.ndjson"
        file.write_text(export)
        output = read_files(file)
        for name, records in tables.items():
            for record in output.records(name):
                key = str([record[column] for column in PRIMARY_KEYS[name]])
                records[key] = record

    with loaded(tables, tmp_path) as warehouse:
        result = warehouse.execute(query).fetchall()
        names = [column[0] for column in warehouse.description]

    assert len(tables["annotations"]) == 5
    at = [names.index(name) for name in ("data_row_id", "feature_id")]
    assert {tuple(row[n] for n in at) for row in result} == {
        ("dated", "kept"),
        ("dated", "new"),
        ("undated", "a"),
        ("undated", "b"),
    }
