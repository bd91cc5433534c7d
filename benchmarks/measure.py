"""Run programs as a target would, and measure what they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent
CHUNK_BYTES = 1024 * 1024
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
# A record, as those who write without blanks do it, and as others do.
SINGER = (b'"type":"RECORD"', b'"type": "RECORD"')
LINE = (b"\n",)
# Programs that were installed have been compiled, whatever a developer prefers.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass
class Run:
    """One run of one program, from its start to its end."""

    seconds: float
    start_up: float | None
    """Seconds until its first request came; None if there was none."""
    cpu: float
    """Seconds, of all its threads and of the programs it started."""
    peak: float
    """Most memory at a time, in MB (10^6 bytes); not less than that of this process,
    as which each one starts."""
    records: int
    fetched: int
    """Bytes of the replies it got, without their heads."""
    requests: int
    last: bytes
    """Its last line."""
    written: int
    """Bytes that it wrote."""

    @property
    def working(self) -> float:
        """Return the seconds after the first request."""
        return self.seconds - (self.start_up or 0.0)


class Served:
    """A server in a process of its own.

    Args:
        settings: What it said of itself: ``api_url``, ``api_key``, ``project_ids``.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    @property
    def address(self) -> dict[str, Any]:
        """Return the settings of a tap that reads from it."""
        return {name: self.settings[name] for name in ("api_url", "api_key")}

    def turn(self, **knobs: float) -> dict[str, Any]:
        """Turn its knobs, and return what it counted since the last time."""
        root = self.settings["api_url"].removesuffix("/graphql")
        query = "&".join(f"{name}={value}" for name, value in knobs.items())
        with urlopen(f"{root}/bench?{query}", timeout=60) as reply:  # noqa: S310  # ours
            counted: dict[str, Any] = json.load(reply)
        return counted


@contextmanager
def served(
    folder: Path, sizes: Mapping[str, int], *, packed: bool = False
) -> Iterator[Served]:
    """Serve a workspace while the block runs; see `server.Server`."""
    command = [sys.executable, "-m", "benchmarks.server", str(folder)]
    for name, value in sizes.items():
        command += [f"--{name}", str(value)]
    command += ["--packed"] * packed
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            yield Served(json.loads(cast("IO[bytes]", process.stdout).readline()))
        finally:
            process.kill()


def run(
    command: Sequence[str | Path],
    server: Served,
    log: Path,
    marks: Sequence[bytes] = SINGER,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a program, reading what it writes as fast as it comes.

    Args:
        command: The program.
        server: Where it reads.
        log: Gets what it writes to standard error.
        marks: What stands once in each record, in one of several spellings.
        environment: What it finds there besides.

    Raises:
        RuntimeError: If it fails.
    """
    server.turn()
    source, sink = os.pipe()
    with log.open("wb") as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env={**ENVIRONMENT, **(environment or {})},
            stdout=sink,
            stderr=errors,
        )
    os.close(sink)
    records, last, written = _drain(source, marks)
    os.close(source)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        problem = log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
        msg = (
            f"{' '.join(map(str, command))}: exit code {process.returncode}: {problem}"
        )
        raise RuntimeError(msg)
    counted = server.turn()
    first = counted["first"]
    return Run(
        seconds=seconds,
        start_up=None if first is None else first - began,
        cpu=used.ru_utime + used.ru_stime,
        peak=used.ru_maxrss * RSS_UNIT / 1e6,
        records=records,
        fetched=counted["bytes"],
        requests=counted["requests"],
        last=last,
        written=written,
    )


def cpu_to_first_request(command: Sequence[str | Path], server: Served) -> float:
    """Return the CPU seconds of a program until its first request, and end it there."""
    server.turn(latency=600)
    devnull = subprocess.DEVNULL
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=devnull, stderr=devnull
    ) as process:
        while not server.turn()["requests"]:
            if process.poll() is not None:
                msg = f"{' '.join(map(str, command))} asked for nothing"
                raise RuntimeError(msg)
            time.sleep(0.02)
        process.kill()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = -1
    return used.ru_utime + used.ru_stime


def cpu(command: Sequence[str | Path]) -> float:
    """Return the CPU seconds of a program."""
    with subprocess.Popen(command, env=ENVIRONMENT) as process:
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    return used.ru_utime + used.ru_stime


def _drain(source: int, marks: Sequence[bytes]) -> tuple[int, bytes, int]:
    """Read to the end; return the number of marks, the last line, and that of bytes."""
    count, before, written = 0, b"", 0
    while chunk := os.read(source, CHUNK_BYTES):
        for mark in marks:
            reach = len(mark) - 1
            seam = before[-reach:] + chunk[:reach] if reach else b""
            count += chunk.count(mark) + seam.count(mark)
        written += len(chunk)
        before = chunk if b"\n" in chunk[:-1] else before + chunk
    return count, before.rstrip(b"\n").rpartition(b"\n")[2], written
