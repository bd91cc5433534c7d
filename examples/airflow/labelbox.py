"""Labelbox into a warehouse every night, by several runs at once: any Singer target.

``plan`` splits the projects of the account, and ``sync`` reads and loads each part with
a state of its own. README.md beside this file says what to set.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from airflow.sdk import Variable, dag, get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException

SHARDS = 3
GIANT_ROWS = 100_000  # a project of more data rows is read by a run of its own
POOL = "labelbox"  # as many slots as runs may export at once
NEEDS_A_PERSON = {2, 78}  # exit codes of the tap: the command line, a setting

# A run that Airflow takes for dead may go on for as long as that took.
HEARTBEAT_SECONDS = conf.getint("scheduler", "task_instance_heartbeat_timeout")
PATIENT = {"retries": 3, "retry_delay": timedelta(seconds=2 * HEARTBEAT_SECONDS)}


def settings(folder: Path) -> list[str]:
    """Return options: the settings in a file, if there is one, and in variables."""
    file = folder / "config.json"
    return [*(["--config", str(file)] if file.exists() else []), "--config", "ENV"]


def environment() -> dict[str, str]:
    """Return what the tap finds around it: the API key is on no command line."""
    return os.environ | {"LABELBOX_API_KEY": Variable.get("labelbox_api_key")}


def check(tap: int, target: int = 0) -> None:
    """Raise an error that Airflow does not retry if a person has to do something."""
    if tap in NEEDS_A_PERSON:
        raise AirflowFailException(f"the tap ended with {tap}: its last line says why")
    if tap or target:
        raise AirflowException(f"the tap ended with {tap}, the target with {target}")


def keep(state: str, path: Path) -> None:
    """Write a state as a whole or not at all, whatever else is killed."""
    beside = path.with_name(f".{path.stem}-{uuid4().hex}.new")
    beside.write_text(state)
    beside.replace(path)


@dag(
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would read the same from the same states
    default_args=PATIENT,
)
def labelbox() -> None:
    """Read all projects, each part from where its state is."""

    @task
    def plan() -> list[dict[str, Any]]:
        folder = Path(Variable.get("labelbox_folder"))
        states = str(folder / "states")
        command = ["tap-labelbox-plan", *settings(folder)]
        command += ["--shards", str(SHARDS), "--giant", str(GIANT_ROWS)]
        # What earlier parts have read goes to the parts that have their projects now.
        command += ["--states", states, "--into", states]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, env=environment(), check=False
        )
        check(done.returncode)
        parts: list[dict[str, Any]] = json.loads(done.stdout)
        return parts

    @task(pool=POOL, map_index_template="{{ name }}")
    def sync(part: dict[str, Any]) -> None:
        get_current_context()["name"] = part["name"]
        folder = Path(Variable.get("labelbox_folder"))
        state = folder / "states" / f"{part['name']}.json"
        catalog = folder / "catalog.json"
        with TemporaryDirectory() as scratch:
            own = Path(scratch, "part.json")
            own.write_text(json.dumps(part["settings"]))
            command = ["tap-labelbox", *settings(folder), "--config", str(own)]
            command += ["--catalog", str(catalog)] if catalog.exists() else []
            with (
                subprocess.Popen(
                    [*command, "--state", str(state)],
                    stdout=subprocess.PIPE,
                    env=environment(),
                ) as tap,
                subprocess.Popen(
                    shlex.split(Variable.get("labelbox_target")),
                    stdin=tap.stdout,
                    stdout=subprocess.PIPE,
                    text=True,
                ) as target,
            ):
                tap.stdout.close()  # the tap has to learn that the target is gone
                try:
                    for line in target.stdout:
                        keep(line, state)
                except BaseException:
                    tap.terminate()  # it ends with a state, and the target with it
                    raise
            check(tap.returncode, target.returncode)

    sync.expand(part=plan())


labelbox()
