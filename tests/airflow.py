"""Airflow in a folder of its own, with the DAGs of the example, and what they load."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.runner import PRIMARY_KEYS, SNAPSHOTS, catalog_of, whole_catalog
from tests.targets import load

if TYPE_CHECKING:
    from tests.postgres import Postgres
    from tests.runner import Runner

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "airflow"
PROGRAMS = ROOT / ".cache" / "platforms" / "airflow" / "bin"
OWN_PROGRAMS = Path(sys.executable).parent
TIMEOUT_SECONDS = 600.0
# Of a run, and not of the row that it has seen.
RUN_COLUMNS = {"seen_at", "record_count"}
SIGNATURE = re.compile(r'(https?://[^"?]*)\?[^"]*')
"""Of an address, which each run gets another one of."""


class Airflow:
    """An Airflow that a user has set up as the example's README says.

    Args:
        folder: Where all of it is.
        variables: Those that the README names, and any other of the environment.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        dags = folder / "dags"
        dags.mkdir()
        for file in EXAMPLE.glob("*.py"):
            shutil.copy(file, dags)
        path = [str(OWN_PROGRAMS), str(PROGRAMS), os.environ["PATH"]]
        self.environment = os.environ | {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "NO_PROXY": "*",
            "PATH": os.pathsep.join(path),
            **variables,
        }

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Airflow's."""
        return subprocess.run(
            [PROGRAMS / "airflow", *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )

    def checked(self, *words: str) -> str:
        """Return what a command prints that has to succeed."""
        done = self(*words)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout

    def test(self, dag: str) -> set[str]:
        """Run a DAG as ``airflow dags test`` does, until a task is to be tried again.

        Returns:
            The states of its tasks.
        """
        log = self.folder / f"{dag}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [PROGRAMS / "airflow", "dags", "test", dag],
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )
            deadline = time.monotonic() + TIMEOUT_SECONDS
            with process:
                while process.poll() is None and "up_for_retry" not in self.states():
                    if time.monotonic() > deadline:
                        raise TimeoutError(log.read_text()[-5000:])
                    time.sleep(1)
                process.kill()
        return self.states()

    def states(self) -> set[str]:
        """Return the states of all tasks of the last run that have one."""
        database = self.folder / "airflow" / "airflow.db"
        query = """
            select state from task_instance where state is not null and run_id = (
                select run_id from dag_run order by id desc limit 1
            )
        """
        with closing(sqlite3.connect(database)) as connection:
            return {state for (state,) in connection.execute(query)}

    def log(self, dag: str) -> str:
        """Return the last characters of what the last run of a DAG has logged."""
        return (self.folder / f"{dag}.log").read_text()[-5000:]


def comparable() -> set[str]:
    """Return the streams that are read by default and have the same rows each time."""
    return {
        entry["tap_stream_id"]
        for entry in whole_catalog()["streams"]
        for part in entry["metadata"]
        if not part["breadcrumb"] and part["metadata"]["selected"]
    } - {*SNAPSHOTS, "tasks"}


def load_unsharded(
    run: Runner, server: Postgres, target: Path, streams: set[str], schema: str
) -> None:
    """Load what one run reads."""
    assert run.folder
    output = run(catalog=catalog_of(streams))
    assert output.error is None
    settings = target_settings(server, schema)
    load(target, output.text, folder=run.folder, **settings)


def target_settings(server: Postgres, schema: str) -> dict[str, Any]:
    """Return the settings of target-postgres."""
    return {"sqlalchemy_url": server.url, "default_target_schema": schema}


def tables_of(server: Postgres, schema: str) -> dict[str, list[str]]:
    """Return every table of a schema as sorted rows of JSON, without what a run adds.

    Raises:
        AssertionError: If a key comes twice.
    """
    query = "select table_schema, table_name from information_schema.tables"
    tables = [row for row in server.rows(query) if row["table_schema"] == schema]
    result = {}
    for name in sorted(row["table_name"] for row in tables):
        rows = server.rows(f'select * from {schema}."{name}"')  # noqa: S608
        keys = {tuple(str(row[key]) for key in PRIMARY_KEYS[name]) for row in rows}
        assert len(keys) == len(rows), f"{name} has a key twice"
        own = ({k: v for k, v in row.items() if not is_of_a_run(k)} for row in rows)
        result[name] = sorted(
            SIGNATURE.sub(r"\1", json.dumps(row, sort_keys=True)) for row in own
        )
    return result


def assert_equal_tables(server: Postgres, schema: str, expected: str) -> int:
    """Compare every table of two schemas, and return how many rows there are.

    Raises:
        AssertionError: If a table, a row or a value differs; with some that do.
    """
    own, other = (tables_of(server, name) for name in (schema, expected))
    assert own.keys() == other.keys()
    for name, rows in other.items():
        lacking, excess = (
            sorted((Counter(left) - Counter(right)).elements())[:2]
            for left, right in ((rows, own[name]), (own[name], rows))
        )
        assert not lacking + excess, f"{name} lacks {lacking}, and has {excess}"
    return sum(map(len, other.values()))


def is_of_a_run(column: str) -> bool:
    """Return whether a column is of the run that has loaded it."""
    return column.startswith("_sdc_") or column in RUN_COLUMNS
