"""Labelbox into a warehouse every night, by several runs at once: with Meltano.

``plan`` splits the projects of the account and the states that Meltano keeps, and
``sync`` is a ``meltano run`` for each part. README.md beside this file says what to
set.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk import Variable, dag, get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowFailException

SHARDS = 3
GIANT_ROWS = 100_000  # a project of more data rows is read by a run of its own
POOL = "labelbox"  # as many slots as runs may export at once
NEEDS_A_PERSON = {2, 78}  # exit codes of the tap: the command line, a setting
ENVIRONMENT = "prod"  # of the Meltano project
PLUGINS = ("extractors", "loaders", "mappers")

# A run that Airflow takes for dead may go on for as long as that took.
HEARTBEAT_SECONDS = conf.getint("scheduler", "task_instance_heartbeat_timeout")
PATIENT = {"retries": 3, "retry_delay": timedelta(seconds=2 * HEARTBEAT_SECONDS)}


def check(code: int | None) -> None:
    """Raise an error that Airflow does not retry if a person has to do something."""
    if code in NEEDS_A_PERSON:
        raise AirflowFailException(f"the tap ended with {code}: its last line says why")
    if code:
        raise AirflowException(f"it ended with {code}: the log says which part of it")


class Meltano:
    """Meltano in a system folder of its own: runs at once would share files in it.

    Args:
        scratch: That folder. Plugins are where they were installed; states are in the
            database.
    """

    def __init__(self, scratch: str) -> None:
        self.project = Path(Variable.get("labelbox_project"))
        self.installed = self.project / ".meltano"
        for name in PLUGINS:
            if (self.installed / name).exists():
                Path(scratch, name).symlink_to(self.installed / name)
        self.environment = os.environ | {
            "MELTANO_SYS_DIR_ROOT": scratch,
            "MELTANO_DATABASE_URI": Variable.get("labelbox_database"),
            "MELTANO_ENVIRONMENT": ENVIRONMENT,
            "NO_COLOR": "1",
        }

    def with_programs_of(self, extractor: str) -> dict[str, str]:
        """Return an environment in which the programs of a plugin are found first."""
        programs = self.installed / "extractors" / extractor / "venv" / "bin"
        return os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def ask(self, *words: str, stdin: str | None = None) -> str:
        """Return what a command prints.

        Raises:
            AirflowException: If it fails.
        """
        done = subprocess.run(
            ["meltano", *words],
            cwd=self.project,
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        check(done.returncode and 1)
        return done.stdout

    def run(self, *words: str, **variables: str) -> int | None:
        """Run a pipeline, and return the exit code of the tap; None if all is well."""
        code = None
        with subprocess.Popen(
            ["meltano", "--log-format", "json", "run", *words],
            cwd=self.project,
            env=self.environment | variables,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                for line in process.stderr:
                    entry = {"event": line.rstrip()}
                    if line.startswith("{"):
                        entry = json.loads(line)
                    print(entry.get("event"), flush=True)
                    if codes := entry.get("exit_codes"):
                        code = codes.get("extractors")
            except BaseException:
                process.terminate()
                raise
        return code or process.returncode


@dag(
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would read the same from the same states
    default_args=PATIENT,
)
def labelbox_meltano() -> None:
    """Read all projects, each part from where its state is."""

    @task
    def plan() -> list[dict[str, Any]]:
        target = Variable.get("labelbox_target")
        job = f"{ENVIRONMENT}:tap-labelbox-to-{target}"
        with TemporaryDirectory() as scratch, TemporaryDirectory() as states:
            meltano = Meltano(scratch)
            # The first command also migrates a new database. Runs that start at once
            # would all do so, and most of them fail.
            kept = json.loads(meltano.ask("state", "export"))
            before = {
                state_id: entry
                for state_id, entry in kept.items()
                if state_id == job or state_id.startswith(f"{job}:")
            }
            for number, entry in enumerate(before.values()):
                for kind in ("completed", "partial"):
                    if state := entry.get(kind):
                        path = Path(states, f"{number}-{kind}.json")
                        path.write_text(json.dumps(state))
            config = Path(scratch, "config.json")
            config.write_text(meltano.ask("invoke", "--dump=config", "tap-labelbox"))
            command = ["tap-labelbox-plan", "--config", str(config)]
            command += ["--shards", str(SHARDS), "--giant", str(GIANT_ROWS)]
            # What earlier parts have read goes to the parts that have their projects
            # now.
            command += ["--states", states, "--into", states]
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                env=meltano.with_programs_of("tap-labelbox"),
                check=False,
            )
            check(done.returncode)
            parts: list[dict[str, Any]] = json.loads(done.stdout)
            after = {}
            for part in parts:
                state = json.loads(Path(states, f"{part['name']}.json").read_text())
                # Meltano fails at a state without the part that is partial.
                entry = {"completed": {"singer_state": state}, "partial": {}}
                after[f"{job}:{part['name']}"] = entry
            meltano.ask("state", "import", stdin=json.dumps(after))
            for state_id in before.keys() - after.keys():  # theirs is in the new ones
                meltano.ask("state", "clear", "--force", state_id)
        return parts

    @task(pool=POOL, map_index_template="{{ name }}")
    def sync(part: dict[str, Any]) -> None:
        get_current_context()["name"] = part["name"]
        shard = json.dumps(part["settings"]["shard"])
        suffix = ("--state-id-suffix", part["name"])
        with TemporaryDirectory() as scratch:
            meltano = Meltano(scratch)
            plugins = ("tap-labelbox", Variable.get("labelbox_target"))
            check(meltano.run(*suffix, *plugins, TAP_LABELBOX_SHARD=shard))

    sync.expand(part=plan())


labelbox_meltano()
