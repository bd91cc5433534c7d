"""The example for Airflow, copied and set up as its README says, run for real."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_labelbox.sandbox import Reply, World
from tests import figures
from tests.airflow import (
    Airflow,
    assert_equal_tables,
    comparable,
    load_unsharded,
    target_settings,
)
from tests.runner import catalog_of
from tests.test_meltano import block

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.postgres import Postgres
    from tests.runner import Runner

MELTANO = "labelbox_meltano"
WITH_MELTANO = {"projects", "labels", "data_row_exports", "annotations", "users"}


@pytest.fixture
def world() -> World:
    """Return a workspace with more projects than shards."""
    return World(seed=5, projects=8, labels=120)


def change(world: World) -> None:
    """Label something in two projects, all of which is over when this returns."""
    for project in world.projects[:2]:
        world.add_label(project.id, datetime.now(UTC) - timedelta(minutes=2))


@pytest.fixture
def piped(
    run: Runner, server: Postgres, target: Callable[[str], Path], tmp_path: Path
) -> Airflow:
    """Return an Airflow whose DAG loads into the schema `piped`."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({k: v for k, v in run.config().items() if k != "api_key"})
    )
    (folder / "catalog.json").write_text(json.dumps(catalog_of(comparable())))
    settings = folder / "target.json"
    settings.write_text(json.dumps(target_settings(server, "piped")))
    program = target("target-postgres")
    airflow = Airflow(
        tmp_path,
        AIRFLOW_VAR_LABELBOX_API_KEY=run.sandbox.api_key,
        AIRFLOW_VAR_LABELBOX_FOLDER=str(folder),
        AIRFLOW_VAR_LABELBOX_TARGET=f"{program} --config {settings}",
    )
    airflow.checked("db", "migrate")
    return airflow


def test_the_piped_dag_loads_what_one_run_reads(
    piped: Airflow,
    run: Runner,
    server: Postgres,
    target: Callable[[str], Path],
) -> None:
    """Every table, night after night, of three shards."""
    load_unsharded(run, server, target("target-postgres"), comparable(), schema="whole")
    assert piped.test("labelbox") == {"success"}, piped.log("labelbox")

    assert_equal_tables(server, "piped", "whole")
    states = piped.folder / "shared" / "states"
    assert {path.name for path in states.iterdir()} == {
        f"b003-00{n}.json" for n in range(3)
    }
    asked = len(run.sandbox.requests)

    change(run.world)
    assert piped.test("labelbox") == {"success"}, piped.log("labelbox")

    again = len(run.sandbox.requests) - asked
    figures.count(f"Airflow: {asked} requests in two first runs, {again} in the second")
    load_unsharded(
        run, server, target("target-postgres"), comparable(), schema="whole_again"
    )
    assert_equal_tables(server, "piped", "whole_again")


def test_what_needs_a_person_is_not_tried_again(piped: Airflow) -> None:
    """A wrong key fails the task, which has tries left."""
    piped.environment["AIRFLOW_VAR_LABELBOX_API_KEY"] = "wrong"

    states = piped.test("labelbox")

    assert "failed" in states
    assert "up_for_retry" not in states
    assert "AirflowFailException" in piped.log("labelbox")


def test_what_may_pass_is_tried_again(piped: Airflow, run: Runner) -> None:
    """While Labelbox is down, the task waits for its next try."""
    run.sandbox.before = lambda _: Reply(503, {}, "down")

    assert "up_for_retry" in piped.test("labelbox")


def test_the_dag_with_meltano_loads_what_one_run_reads(
    run: Runner, server: Postgres, target: Callable[[str], Path], tmp_path: Path
) -> None:
    """Also when the number of shards changes: each state goes with its projects."""
    program = target("target-postgres")
    project = tmp_path / "meltano"
    project.mkdir()
    extractor = block() | {
        "config": run.config(),
        "select": [f"{name}.*" for name in sorted(WITH_MELTANO)],
    }
    loader = {
        "name": "target-postgres",
        "namespace": "target_postgres",
        "executable": str(program),
        "settings": [{"name": "sqlalchemy_url"}, {"name": "default_target_schema"}],
        "config": target_settings(server, "meltano"),
    }
    content = {
        "send_anonymous_usage_stats": False,
        "environments": [{"name": "prod"}],
        "plugins": {"extractors": [extractor], "loaders": [loader]},
    }
    (project / "meltano.yml").write_text(yaml.safe_dump(content))
    airflow = Airflow(
        tmp_path,
        AIRFLOW_VAR_LABELBOX_PROJECT=str(project),
        AIRFLOW_VAR_LABELBOX_DATABASE=server.url,
        AIRFLOW_VAR_LABELBOX_TARGET="target-postgres",
    )
    airflow.checked("db", "migrate")
    job = "prod:tap-labelbox-to-target-postgres"

    def states() -> dict[str, Any]:
        return {row["state_id"]: row for row in server.rows("select * from state")}

    assert airflow.test(MELTANO) == {"success"}, airflow.log(MELTANO)

    load_unsharded(run, server, program, WITH_MELTANO, schema="one_run")
    assert_equal_tables(server, "meltano", "one_run")
    assert set(states()) == {f"{job}:b003-00{n}" for n in range(3)}

    change(run.world)
    dag = tmp_path / "dags" / "labelbox_meltano.py"
    text = dag.read_text()
    assert "\nSHARDS = 3\n" in text
    dag.write_text(text.replace("\nSHARDS = 3\n", "\nSHARDS = 2\n"))
    exports = len(run.sandbox.tasks)
    assert airflow.test(MELTANO) == {"success"}, airflow.log(MELTANO)

    assert len(run.sandbox.tasks) - exports <= 2  # one for all, of each shard
    load_unsharded(run, server, program, WITH_MELTANO, schema="one_run_more")
    assert_equal_tables(server, "meltano", "one_run_more")
    assert set(states()) == {f"{job}:b002-00{n}" for n in range(2)}
    assert not (project / ".meltano" / "meltano.db").exists()
