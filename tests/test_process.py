"""Limits of the system, closed descriptors, and signals at any time: one line each."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.sandbox import Reply, World
from tests.runner import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner

HANG_SECONDS = 120.0  # after which a process is taken for one that never ends
MAIN = "from tap_labelbox.__main__ import main; main()"

linux = pytest.mark.skipif(sys.platform != "linux", reason="these limits are Linux's")


@pytest.fixture
def run(serving: Callable[..., Runner], tmp_path: Any) -> Runner:
    """Serve a workspace that has something of everything."""
    run = serving(World(projects=3, labels=120), polls=1)
    run.folder = tmp_path
    return run


def program(run: Runner, before: str = "", **settings: Any) -> list[str]:
    """Return the command of a run, with a statement before."""
    assert run.folder
    config = run.folder / "config.json"
    config.write_text(json.dumps(run.config(**settings)))
    return [sys.executable, "-c", f"{before}\n{MAIN}", "--config", str(config)]


def finished(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Wait for the end of a process."""
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS
    )


def errors(log: str) -> list[str]:
    """Return the lines that say what is wrong; there is no traceback between them."""
    assert "Traceback" not in log
    assert "Exception ignored" not in log
    return [line for line in log.splitlines() if "ERROR" in line]


def counts(output: Output) -> dict[str, int]:
    """Count the records of each stream."""
    streams = {m["stream"] for m in output.messages if m["type"] == "SCHEMA"}
    return {stream: len(output.records(stream)) for stream in streams}


# Each thread takes more of the address space than is left for two, or for one.
FEW_THREADS = """
import resource, threading
import tap_labelbox.tap
threading.stack_size({stack} * 2**20)
pages = int(open('/proc/self/statm').read().split()[0])
most = pages * resource.getpagesize() + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
"""


@linux
@pytest.mark.parametrize("stack", [200, 400], ids=["one thread", "no thread"])
def test_a_run_goes_on_with_the_threads_it_gets(run: Runner, stack: int) -> None:
    """With all rows, though more were wanted."""
    run.sandbox.part_size = 50_000
    done = finished(program(run, FEW_THREADS.format(stack=stack), concurrency=8))

    assert errors(done.stderr) == []
    assert done.returncode == 0
    assert counts(Output(done.stdout)) == counts(run())


FEW_FILES = """
import resource
import tap_labelbox.__main__, tap_labelbox.tap
resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))
"""


@linux
def test_idle_connections_make_room_for_others(run: Runner) -> None:
    """Fewer files may be open than there are requests at once."""
    settings = {"concurrency": 16, "retry_seconds": 100}

    done = finished(program(run, FEW_FILES.format(most=16), **settings))

    assert errors(done.stderr) == []
    assert done.returncode == 0
    assert counts(Output(done.stdout)) == counts(run())


@linux
@pytest.mark.parametrize("most", [3, 4, 5, 6, 8])
def test_too_few_files_are_one_line(run: Runner, most: int) -> None:
    """The line says what to do; or all is read."""
    done = finished(program(run, FEW_FILES.format(most=most)))

    actual = errors(done.stderr)
    if done.returncode == 0:
        assert counts(Output(done.stdout)) == counts(run())
    else:
        assert done.returncode in (1, 75)
        # Or one for each project that is left out by a stream, and one at the end.
        assert any(re.search("open files|files may be open", line) for line in actual)
        assert len(actual) < 20


@linux
@pytest.mark.parametrize("first", ["", "tap_labelbox.api.documents._texts()"])
def test_no_file_at_all_is_one_line(
    run: Runner, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Neither to read nor to connect; it is not tried again and again."""
    for name, value in run.config(retry_seconds=3600).items():
        monkeypatch.setenv(f"TAP_LABELBOX_{name.upper()}", str(value))
    command = program(
        run, f"import tap_labelbox.api.documents\n{first}{FEW_FILES.format(most=3)}"
    )

    done = finished([*command[:-1], "ENV"])

    (line,) = [line for line in done.stderr.splitlines() if "INFO" not in line]
    assert done.returncode == 75
    assert "Too few files may be open at once: raise the limit" in line


@linux
def test_too_little_memory_is_one_line(run: Runner) -> None:
    """For a reply, say."""
    large = b'{"data": ' + b" " * 200_000_000 + b"{}}"
    run.sandbox.before = lambda _: Reply(200, {}, large)

    done = finished(program(run, FEW_THREADS.format(stack=1).replace("300", "100")))

    (line,) = errors(done.stderr)
    assert "There is not enough memory: allow more" in line
    assert done.returncode == 75


def test_a_thread_that_ends_unheard_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one does for which there is not even the memory to say so."""
    monkeypatch.setattr("tap_labelbox.api.prefetch._do", lambda _job, _outcome: None)

    (outcome, *_) = prefetch([lambda: 1, lambda: 2], max_in_flight=2, initial=2)

    with pytest.raises(MemoryError):
        outcome.result()


@pytest.mark.parametrize(
    ("raised", "logged", "code"),
    [
        ("MemoryError", "There is not enough memory", 75),
        ("RecursionError", "nested too deeply", 1),
        ("OSError(24, 'Too many')", "Too few files may be open at once", 75),
        ("OSError(28, 'No space', '/tmp/x')", "not enough disk space", 75),
    ],
)
def test_what_python_cannot_do_is_one_line(
    run: Runner, raised: str, logged: str, code: int
) -> None:
    """Raised anywhere in a run."""
    before = (
        "from tap_labelbox.tap import TapLabelbox\n"
        "def sync(*_):\n"
        f"    raise {raised}\n"
        "TapLabelbox.sync_all = sync"
    )

    done = finished(program(run, before))

    (line,) = errors(done.stderr)
    assert logged in line
    assert done.returncode == code


def test_what_cannot_be_loaded_is_one_line(run: Runner) -> None:
    """A package that is missing, say."""
    done = finished(program(run, "import sys; sys.modules['msgspec'] = None"))

    (line,) = done.stderr.splitlines()
    assert line.startswith("tap-labelbox cannot be loaded (import of msgspec halted")
    assert done.returncode == 78


def closed(run: Runner, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run with closed descriptors, as a shell closes them."""
    return finished(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *program(run)],
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such shell")
@pytest.mark.parametrize("redirection", [">&-", ">&- <&-", ">&- 2>&-"])
def test_a_closed_standard_output_is_one_line(run: Runner, redirection: str) -> None:
    """Nothing is asked for, for nobody would get it."""
    done = closed(run, redirection)

    logged = "Standard output is closed: let it go to a target or to a file\n"
    assert done.stderr == ("" if "2>" in redirection else logged)
    assert done.returncode == 2
    assert not run.sandbox.requests


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such shell")
@pytest.mark.parametrize("redirection", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_run_needs_neither_input_nor_log(run: Runner, redirection: str) -> None:
    """And no connection gets the number of either."""
    done = closed(run, redirection)

    assert done.returncode == 0
    assert counts(Output(done.stdout)) == counts(run())
    assert ("INFO" in done.stderr) == ("2>" not in redirection)


IMPORTED = re.compile(r"import time: .*\| ( *)(\S+)")
LINES = 12  # of the imports, at which a signal is sent


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", range(LINES))
def test_a_signal_while_python_imports_is_one_line(run: Runner, number: int) -> None:
    """At any of the many modules, and at the start of the work."""
    over = threading.Event()

    def block(_: Request) -> None:
        over.wait()

    run.sandbox.before = block
    command = program(run)
    command[1:1] = ["-X", "importtime"]
    by = (signal.SIGINT, signal.SIGTERM)[number % 2]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    guard = threading.Timer(HANG_SECONDS, process.kill)
    guard.start()
    assert process.stderr
    log = []
    seen = -1
    for line in process.stderr:
        log.append(line)
        seen += seen >= 0 or "tap_labelbox.__main__" in line
        if seen > 1 + number * 50 or "Reading 12 streams" in line:
            break
    process.send_signal(by)
    log += process.stderr
    process.stderr.close()
    process.wait()
    guard.cancel()
    over.set()

    text = "".join(line for line in log if not IMPORTED.match(line))
    assert process.returncode == 128 + by, text
    assert seen > 0
    assert text.count("Stopped") == 1
    assert "Traceback" not in text
    assert "Aborted" not in text
