"""Real targets behind a pipe: tap, target or both are killed, again and again.

What is in the database at the end is what an undisturbed run brings. `make test` takes
one round with each target, `make test-faults` many; ``--seed`` says from which on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World
from tests import figures
from tests.postgres import postgres
from tests.runner import PRIMARY_KEYS, SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.postgres import Postgres
    from tests.runner import Output, Runner, State

    Keys = dict[str, set[tuple[Any, ...]]]

ALL_ROUNDS = 8  # rounds with each target
FEW_KILLS, MANY_KILLS = 1, 5  # of a round
LABELS = 40  # of each project
LATENCY_SECONDS = 0.01  # of a reply
SCHEMA = "labelbox"
BATCH_ROWS = 30
LOOK_SECONDS = 0.01
MAX_LOOKS = 30_000  # at a run that does not end


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by one round, or by all with --every-fault."""
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("seed")
        count = ALL_ROUNDS if metafunc.config.getoption("every_fault") else 1
        metafunc.parametrize("seed", range(first, first + count))


# --- targets and their databases ----------------------------------------------


class Warehouse(ABC):
    """A target, and what it has loaded."""

    def __init__(self, command: Path, folder: Path) -> None:
        """Have an empty database."""
        self.command = command
        self.folder = folder

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the target's configuration."""

    @abstractmethod
    def progress(self, states: int) -> int:
        """Return how far the target is: a number that grows with its work.

        Args:
            states: How many it has printed in this run.
        """

    @abstractmethod
    def most(self, whole: Output) -> int:
        """Return how far it is, more or less, when it has loaded all of a run."""

    @abstractmethod
    def keys(self, stream: str) -> list[tuple[Any, ...]]:
        """Return the key of each row of a table; none if there is no table."""

    @abstractmethod
    def mend(self) -> None:
        """Do what has to be done after the target was killed, if anything."""


class JsonLines(Warehouse):
    """Files of one JSON object a line."""

    @property
    def settings(self) -> dict[str, Any]:
        """A folder."""
        return {"destination_path": str(self.folder), "do_timestamp_file": False}

    def progress(self, states: int) -> int:
        """Count the bytes."""
        del states
        return sum(path.stat().st_size for path in self.folder.glob("*.jsonl"))

    def most(self, whole: Output) -> int:
        """Count the bytes of the messages, which are a bit more."""
        return len(whole.text)

    def keys(self, stream: str) -> list[tuple[Any, ...]]:
        """Read a file; the last line may be half of one."""
        path = self.folder / f"{stream}.jsonl"
        result = []
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            with suppress(ValueError):
                record = json.loads(line)
                result.append(tuple(record[key] for key in PRIMARY_KEYS[stream]))
        return list(dict.fromkeys(result))  # it appends what it gets again

    def mend(self) -> None:
        """End half a line, which the next one would be glued to."""
        for path in self.folder.glob("*.jsonl"):
            content = path.read_bytes()
            if content and not content.endswith(b"\n"):
                path.write_bytes(content + b"\n")


class DuckDb(Warehouse):
    """A file of DuckDB."""

    @property
    def settings(self) -> dict[str, Any]:
        """A file, written to very often."""
        return {
            "path": str(self.folder / "warehouse.duckdb"),
            "default_target_schema": SCHEMA,
            "batch_size_rows": BATCH_ROWS,
        }

    def progress(self, states: int) -> int:
        """Count states: there is one after each write."""
        return states

    def most(self, whole: Output) -> int:
        """Count what has to be written, in batches."""
        return len(whole.messages) // BATCH_ROWS

    def keys(self, stream: str) -> list[tuple[Any, ...]]:
        """Ask the database, which nobody has open."""
        duckdb = pytest.importorskip("duckdb", reason="duckdb 1.2.2 has no wheel here")
        with duckdb.connect(self.settings["path"], read_only=True) as database:
            tables = "select table_name from information_schema.tables"
            if (stream,) not in database.execute(tables).fetchall():
                return []
            columns = ", ".join(PRIMARY_KEYS[stream])
            query = f"select {columns} from {SCHEMA}.{stream}"  # noqa: S608
            return list(database.execute(query).fetchall())

    def mend(self) -> None:
        """Leave it to the database."""


class InPostgres(Warehouse):
    """A Postgres server."""

    def __init__(self, command: Path, folder: Path, server: Postgres) -> None:
        super().__init__(command, folder)
        self._server = server

    @property
    def settings(self) -> dict[str, Any]:
        """A server, written to very often."""
        return {
            "sqlalchemy_url": self._server.url,
            "default_target_schema": SCHEMA,
            "batch_size_rows": BATCH_ROWS,
        }

    def progress(self, states: int) -> int:
        """Count the rows: there is no state before the end of the input."""
        del states
        return len(self.keys("labels")) + len(self.keys("annotations"))

    def most(self, whole: Output) -> int:
        """Count the same rows."""
        return len(whole.records("labels")) + len(whole.records("annotations"))

    def keys(self, stream: str) -> list[tuple[Any, ...]]:
        """Ask the server."""
        tables = self._server.rows("select tablename from pg_tables")
        if {"tablename": stream} not in tables:
            return []
        columns = ", ".join(PRIMARY_KEYS[stream])
        query = f"select {columns} from {SCHEMA}.{stream}"  # noqa: S608
        return [tuple(row.values()) for row in self._server.rows(query)]

    def mend(self) -> None:
        """Leave it to the database."""


@pytest.fixture(params=["target-duckdb", "target-jsonl", "target-postgres"])
def warehouse(
    request: pytest.FixtureRequest, target: Callable[[str], Path], tmp_path: Path
) -> Iterator[Warehouse]:
    """Yield a target with an empty database."""
    command = target(request.param)
    folder = tmp_path / "warehouse"
    folder.mkdir()
    if request.param == "target-duckdb":
        yield DuckDb(command, folder)
    elif request.param == "target-jsonl":
        yield JsonLines(command, folder)
    else:
        with postgres() as server:
            yield InPostgres(command, folder, server)


# --- a pipe, and who is killed --------------------------------------------------


@dataclass
class Kill:
    """Processes to kill in a run, and how, as soon as either limit is reached."""

    victims: tuple[str, ...]
    by: signal.Signals
    requests: int
    """How many Labelbox has been sent."""
    progress: int
    """How far the target is."""


@dataclass
class Ended:
    """The end of a run."""

    codes: dict[str, int]
    states: list[State]
    """What the target has printed whole."""
    killed: bool
    log: str


def pipe(
    run: Runner, warehouse: Warehouse, state: State | None, kill: Kill | None = None
) -> Ended:
    """Run ``tap | target`` until both have ended, and kill whom it says."""
    assert run.folder
    arguments: dict[str, list[str]] = {"tap": ["-m", "tests.few_days"], "target": []}
    for name, option, content in (
        ("tap", "--config", run.config(page_size=20)),
        ("tap", "--state", state),
        ("target", "--config", warehouse.settings),
    ):
        if content is not None:
            path = run.folder / f"{name}{option}.json"
            path.write_text(json.dumps(content))
            arguments[name] += [option, str(path)]
    printed = run.folder / "states"
    log = run.folder / "log"
    requests_before = len(run.sandbox.requests)
    with printed.open("wb") as out, log.open("wb") as err:
        tap = subprocess.Popen(
            [sys.executable, *arguments["tap"]], stdout=subprocess.PIPE, stderr=err
        )
        target = subprocess.Popen(
            [warehouse.command, *arguments["target"]],
            stdin=tap.stdout,
            stdout=out,
            stderr=err,
            cwd=warehouse.folder,
        )
    assert tap.stdout
    tap.stdout.close()  # nobody but the target reads it
    processes = {"tap": tap, "target": target}
    killed = False
    try:
        looks = count()
        while any(process.poll() is None for process in processes.values()):
            assert next(looks) < MAX_LOOKS, log.read_text()[-3000:]
            sent = len(run.sandbox.requests) - requests_before
            states = printed.read_bytes().count(b"\n")
            if kill and (
                sent >= kill.requests or warehouse.progress(states) >= kill.progress
            ):
                for name in kill.victims:
                    killed = killed or processes[name].poll() is None
                    processes[name].send_signal(kill.by)
                kill = None
            time.sleep(LOOK_SECONDS)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    *lines, _ = printed.read_bytes().split(b"\n")
    return Ended(
        {name: process.returncode for name, process in processes.items()},
        [json.loads(line) for line in lines],
        killed,
        log.read_text()[-3000:],
    )


def keys(output: Output) -> Keys:
    """Return the keys of all rows of a run, but for snapshots."""
    return {
        stream: {
            tuple(record[column] for column in columns)
            for record in output.records(stream)
        }
        for stream, columns in PRIMARY_KEYS.items()
        if stream not in SNAPSHOTS
    }


def test_no_row_is_lost_behind_a_pipe(
    warehouse: Warehouse,
    serving: Callable[..., Runner],
    seed: int,
    pytestconfig: pytest.Config,
) -> None:
    """With the last state that the target printed, the next run reads the rest."""
    chance = Random(f"{type(warehouse).__name__} {seed}")
    world = World(seed=seed, projects=3, labels_per_project=LABELS)
    run = serving(world, part_size=20_000, latency=LATENCY_SECONDS)
    whole = run()
    truth = keys(whole)
    requests, progress = len(run.sandbox.requests), warehouse.most(whole)
    state: State | None = None
    kills = MANY_KILLS if pytestconfig.getoption("every_fault") else FEW_KILLS
    for _ in range(kills):
        by_target = chance.random() < 0.6
        share = chance.random() ** 2  # early: later runs have less to do
        kill = Kill(
            chance.choice((("tap",), ("target",), ("tap", "target"))),
            chance.choice((signal.SIGKILL, signal.SIGTERM)),
            sys.maxsize if by_target else int(requests * share),
            1 + int(progress * share) if by_target else sys.maxsize,
        )
        ended = pipe(run, warehouse, state, kill)
        figures.count("kills", ended.killed)
        assert ended.killed or not any(ended.codes.values()), ended.log
        state = ended.states[-1] if ended.states else state
        warehouse.mend()
    ended = pipe(run, warehouse, state)
    assert not any(ended.codes.values()), ended.log

    lost = dict.fromkeys(truth, 0)
    for stream, expected in truth.items():
        loaded = warehouse.keys(stream)
        figures.count("rows compared", len(expected))
        lost[stream] = len(expected - set(loaded))
        assert not set(loaded) - expected, stream
        assert len(loaded) == len(set(loaded)), stream
    figures.count("rows lost", sum(lost.values()))
    assert not any(lost.values()), lost
