"""The tap's commands as processes of their own, without what their imports take.

``python -m tests.warm`` has imported the tap. For each line that says what to run it
forks, and the child is what ``python -m tap_labelbox`` would be, or another module;
the first run reads a week of reports, as tests/few_days.py says.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODULES = {"tap_labelbox", "tap_labelbox.airbyte"}
MAX_RUN_SECONDS = 60
AT_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_")
"""What the names of variables begin with that Python itself reads when it starts."""

_one_at_a_time = threading.Lock()


def can_run(environment: dict[str, str]) -> bool:
    """Return whether a warm process does the same as a new one, so configured."""
    return hasattr(os, "fork") and not any(k.startswith(AT_START) for k in environment)


def run(
    module: str, *arguments: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command of the tap, one of ``MODULES``, with these variables and no others.

    Returns:
        What :func:`subprocess.run` returns, with text.
    """
    with _one_at_a_time, tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        job = {
            "module": module,
            "arguments": arguments,
            "environment": environment,
            "folder": str(Path.cwd()),
            "out": str(out),
            "err": str(err),
        }
        server = _server()
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            arguments, code, out.read_text(), err.read_text()
        )


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def serve() -> None:
    """Do one job after the other, until there are no more."""
    import tap_labelbox.airbyte.command  # noqa: F401, PLC0415  # what takes so long
    import tests.few_days  # noqa: F401, PLC0415

    for line in sys.stdin:
        job = json.loads(line)
        if not (child := os.fork()):
            _become(job)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def _become(job: dict[str, Any]) -> None:
    """Run the tap in this process."""
    signal.alarm(MAX_RUN_SECONDS)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    writing = os.O_WRONLY | os.O_CREAT
    for number, name, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["out"], writing),
        (2, job["err"], writing),
    ):
        descriptor = os.open(name, mode, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.path[0] = job["folder"]
    sys.argv[1:] = job["arguments"]
    runpy.run_module(job["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
