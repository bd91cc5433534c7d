"""The programs of docs/orchestrators.md, run by Dagster and Prefect into Postgres."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.platforms.programs import CACHE, output_of, recipes
from tests.runner import PRIMARY_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.postgres import Postgres
    from tests.runner import Runner

PROGRAMS = CACHE / "orchestrators" / "bin"
RECIPES = recipes("orchestrators.md")
STREAMS = ("projects", "annotations")
A_WHILE = timedelta(minutes=3)
FINISHED = r"Finished after .*: ([\d,]+) records"
MATERIALIZED = f"""
import dagster, json
instance = dagster.DagsterInstance.get()
counts = {{}}
for name in {STREAMS}:
    key = dagster.AssetKey(["labelbox", name])
    event = instance.get_latest_materialization_event(key)
    counts[name] = event.asset_materialization.metadata["records"].value
print(json.dumps(counts))
"""


@pytest.fixture
def start(
    run: Runner, server: Postgres, target: Callable[[str], Path], tmp_path: Path
) -> Callable[..., str]:
    """Return what runs a command where the recipes and their settings are."""
    for package, name in (("dagster", "assets.py"), ("prefect", "flow.py")):
        imports = re.compile(f"^(import|from) {package}", re.MULTILINE)
        (recipe,) = filter(imports.search, RECIPES)
        (tmp_path / name).write_text(recipe)
    (tmp_path / "config.json").write_text(json.dumps(run.config()))
    (tmp_path / "target.json").write_text(
        json.dumps({"sqlalchemy_url": server.url, "default_target_schema": "labelbox"})
    )
    (tmp_path / "state.jsonl").touch()
    folders = (PROGRAMS, Path(sys.executable).parent, target("target-postgres").parent)
    home = {
        "DAGSTER_HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
    }
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    def started(*command: str) -> str:
        output, log = output_of(*command, folder=tmp_path, **home)
        (tmp_path / "log").write_text(output + log)
        return output

    return started


def keys(server: Postgres, stream: str) -> list[Any]:
    """Return the keys of a table, in order."""
    columns = PRIMARY_KEYS[stream]
    query = f"select {', '.join(columns)} from labelbox.{stream}"  # noqa: S608
    return sorted([row[column] for column in columns] for row in server.rows(query))


def expected(run: Runner, stream: str) -> list[Any]:
    """Return the keys of the records of a run, in order."""
    rows = run(stream).records(stream)
    return sorted([row[column] for column in PRIMARY_KEYS[stream]] for row in rows)


def test_dagster_has_an_asset_a_stream(
    run: Runner, server: Postgres, start: Callable[..., str], tmp_path: Path
) -> None:
    """Those that are chosen are read by one run; the next one goes on from there."""
    chosen = " or ".join(f'key:"labelbox/{name}"' for name in STREAMS)
    command = ("dagster", "asset", "materialize", "-f", "assets.py", "--select", chosen)
    assets = start("dagster", "asset", "list", "-f", "assets.py")
    totals = []
    for created_at in (datetime(2025, 1, 1, tzinfo=UTC), datetime.now(UTC) - A_WHILE):
        run.world.add_label(run.world.projects[0].id, created_at)
        start(*command)
        log = (tmp_path / "log").read_text()
        totals.append(int(re.findall(FINISHED, log)[0]))

    assert {f"labelbox/{name}" for name in PRIMARY_KEYS} <= {*assets.split()}
    assert totals[1] < totals[0] / 10
    rows = json.loads(start("python", "-c", MATERIALIZED))
    assert rows["projects"] == len(run.world.projects)
    assert 0 < rows["annotations"] < 100
    for name in STREAMS:
        assert keys(server, name) == expected(run, name)


def test_prefect_has_a_task_a_part(
    run: Runner, server: Postgres, start: Callable[..., str], tmp_path: Path
) -> None:
    """Together they load what one run reads; each keeps its state."""
    start("python", "flow.py")
    run.world.add_label(run.world.projects[0].id, datetime.now(UTC) - A_WHILE)
    start("python", "flow.py")

    assert len([*(tmp_path / "states").glob("b003-*.json")]) == 3
    for name in STREAMS:
        assert keys(server, name) == expected(run, name)
