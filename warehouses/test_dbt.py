"""The dbt package on fakesnow, and compiled for warehouses that run nowhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tap_labelbox.sandbox import serve
from tests.dbt_runs import NOW, PACKAGE, Dbt, world
from tests.runner import Runner
from warehouses.environments import environment
from warehouses.places import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MODELS_AND_TESTS = 200
"""How many queries there are at least."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project that tests the package."""
    ignored = shutil.ignore_patterns("target", "logs", "dbt_packages")
    shutil.copytree(PACKAGE, tmp_path / "dbt", ignore=ignored)
    return tmp_path / "dbt" / "integration_tests"


@pytest.mark.parametrize(
    "warehouse", ["snowflake", "bigquery", "databricks", "redshift"]
)
def test_all_of_it_compiles(warehouse: str, project: Path, tmp_path: Path) -> None:
    """By the adapter of the warehouse, without one, to queries in its SQL."""
    programs = environment("dbt")
    with Dbt(programs / "dbt", tmp_path / "runs", {}, project, HERE) as dbt:
        dbt("deps").check()
        offline = ("--no-introspect", "--no-populate-cache")
        dbt("compile", "--target", warehouse, *offline).check()

    compiled = tmp_path / "runs" / "target" / "compiled"
    parsed = json.loads(run("parse_sql.py", warehouse, str(compiled)))

    assert parsed["wrong"] == {}
    assert parsed["files"] > MODELS_AND_TESTS


@pytest.fixture
def fakesnow(tmp_path: Path) -> Iterator[int]:
    """Return the port of a fakesnow that has what the tap writes."""
    made = world()
    with serve(made) as sandbox:
        output = Runner(sandbox, made)(now=NOW)
    assert output.error is None
    port = free_port()
    with (tmp_path / "fakesnow").open("wb") as log:
        command = [str(environment("dbt") / "fakesnow"), "-s", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(server, port)
        run("seed_fakesnow.py", str(port), text=output.text)
        yield port
    finally:
        server.terminate()
        server.wait()


def run(program: str, *arguments: str, text: str = "") -> str:
    """Run a program in the environment of dbt, and return what it prints."""
    command = [str(environment("dbt") / "python"), str(HERE / "programs" / program)]
    return subprocess.run(
        [*command, *arguments],
        input=text,
        text=True,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout


def test_all_of_it_builds_on_fakesnow(
    project: Path, fakesnow: int, tmp_path: Path
) -> None:
    """Every model and test but unit tests: they need temporary tables."""
    shutil.copy(HERE / "fakesnow.sql", project / "macros")
    places = {"labelbox_schema": "analytics", "labelbox_issues_identifier": "issues"}
    variables = json.dumps(places | {"labelbox__using_labels": True})
    environ = {"FAKESNOW_PORT": str(fakesnow), "LABELBOX_DBT_TARGET": "snowflake"}
    program = environment("dbt") / "dbt"
    with Dbt(program, tmp_path / "runs", environ, project, HERE) as dbt:
        dbt("deps").check()
        done = dbt("build", "--vars", variables, "--exclude-resource-type", "unit_test")
        log = dbt.log

    done.check()
    assert "No table" not in log
    assert len(done.nodes) > MODELS_AND_TESTS
