"""The tap's output, loaded by real targets and read back."""

from __future__ import annotations

import csv
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox import moments

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import World
    from tests.runner import Runner

duckdb = pytest.importorskip("duckdb", reason="duckdb 1.2.2 has no wheel here")


def load(command: Path, output: str, **settings: Any) -> list[Any]:
    """Load what the tap wrote; give the states that the target confirms."""
    config = Path(settings.pop("folder")) / "target.json"
    config.write_text(json.dumps(settings))
    done = subprocess.run(
        [command, "--config", config],
        input=output,
        capture_output=True,
        text=True,
        check=False,
        cwd=config.parent,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


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
        "batch_size": 100,
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
    made = {row["id"]: moments.normal(row["created_at"]) for row in rows("labels")}
    records = run("labels", "annotations")
    assert made == {row["id"]: row["created_at"] for row in records.records("labels")}
    annotations = records.records("annotations")
    assert sorted(row["annotation_id"] for row in rows("annotations")) == sorted(
        row["annotation_id"] for row in annotations
    )
