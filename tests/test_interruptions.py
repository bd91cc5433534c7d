"""Output of a run that is cut off, and of the next one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World
from tests import figures
from tests.runner import Output, command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner, State

STREAMS = ("labels", "data_row_exports", "export_labels")
HANG_SECONDS = 60.0  # after which a process is taken for one that never ends


@pytest.fixture
def run(serving: Any, tmp_path: Path) -> Runner:
    """Return a sandbox that takes its time."""
    run: Runner = serving(World(projects=4, labels_per_project=60), latency=0.02)
    run.folder = tmp_path
    return run


class Process:
    """The tap as a process of its own, whose output is read line by line."""

    def __init__(
        self,
        run: Runner,
        state: State | None = None,
        program: Sequence[str] = ("-m", "tap_labelbox"),
        **settings: Any,
    ) -> None:
        """Start it; ``program`` is what Python runs."""
        assert run.folder
        arguments = []
        files = {"config": run.config(page_size=10, **settings), "state": state}
        for option, content in files.items():
            if content is not None:
                path = run.folder / f"{option}.json"
                path.write_text(json.dumps(content))
                arguments += [f"--{option}", str(path)]
        self.lines: list[bytes] = []
        self._log = run.folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        # One that never ends is a failure, and keeps no other test waiting.
        self._guard = threading.Timer(HANG_SECONDS, self.process.kill)
        self._guard.daemon = True
        self._guard.start()
        assert self.process.stdout
        self.output = self.process.stdout

    def read(self, enough: Callable[[bytes], bool]) -> None:
        """Read lines up to one of a kind."""
        for line in self.output:
            self.lines.append(line)
            if enough(line):
                return

    def end(self, by: int) -> Output:
        """Send a signal, and give the whole lines of all it wrote."""
        self.process.send_signal(by)
        text = b"".join([*self.lines, self.output.read()])
        self.output.close()
        self.process.wait()
        self._guard.cancel()
        return Output(text[: text.rfind(b"\n") + 1].decode())

    @property
    def log(self) -> str:
        """Return its log."""
        return self._log.read_text()


def a_record(line: bytes) -> bool:
    """Return whether a line is a RECORD."""
    return b'"RECORD"' in line


def keys(*outputs: Output) -> dict[str, set[tuple[str, ...]]]:
    """Return which rows arrived, by stream."""
    return {
        stream: {
            tuple(
                str(row[key]) for key in ("id", "data_row_id", "label_id") if key in row
            )
            for output in outputs
            for row in output.records(stream)
        }
        for stream in STREAMS
    }


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_with_its_state(run: Runner, by: int, code: int) -> None:
    """All that was read goes out whole, then the state, and the next run goes on."""
    everything = run()
    process = Process(run)
    process.read(a_record)

    first = process.end(by)

    assert process.process.returncode == code
    assert first.messages[-1]["type"] == "STATE"
    assert "Interrupted: the next run resumes from this state" in process.log
    assert "Traceback" not in process.log
    assert keys(first) != keys(everything)
    assert keys(first, run(state=first.state)) == keys(everything)


def test_a_signal_that_comes_twice_is_one(run: Runner) -> None:
    """As `timeout` sends it: the state and the table come all the same."""
    patient = (
        "from tap_labelbox.singer import tap; tap.SAME_SIGNAL_SECONDS = 3600.0; "
        "from tap_labelbox import __main__; __main__.main()"
    )
    process = Process(run, program=("-c", patient))
    process.read(a_record)
    for _ in range(5):
        process.process.send_signal(signal.SIGTERM)
        threading.Event().wait(0.01)

    output = process.end(signal.SIGTERM)

    assert process.process.returncode == 143
    assert output.messages[-1]["type"] == "STATE"
    assert "Stopped after" in process.log


def test_a_signal_does_not_wait_for_labelbox(serving: Any, tmp_path: Path) -> None:
    """Nor for the threads that do, which wait for as long as this test goes on."""
    run = serving(World(projects=2, labels_per_project=5))
    run.folder = tmp_path
    asked, over = threading.Event(), threading.Event()

    def block(_: Request) -> None:
        asked.set()
        over.wait()

    run.sandbox.before = block
    # Without the end that comes for a run that does not end by itself.
    patient = (
        "from tap_labelbox.singer import tap; tap.SHUTDOWN_SECONDS = 3600.0; "
        "from tap_labelbox.tap import TapLabelbox; TapLabelbox.cli()"
    )
    process = Process(run, program=("-c", patient))
    try:
        process.read(lambda line: b"SCHEMA" in line)
        assert asked.wait(HANG_SECONDS)

        process.end(signal.SIGTERM)
    finally:
        over.set()

    assert process.process.returncode == 143
    assert "Interrupted: the next run resumes from this state" in process.log


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_run_loses_nothing(run: Runner, seed: int) -> None:
    """Whatever it was doing: with the last STATE that got out, the rest comes."""
    everything = run()
    chance = random.Random(seed)
    state, outputs = None, []
    for _ in range(3):
        process = Process(run, state)
        for _ in range(chance.randrange(1, 100)):
            process.read(a_record)
        outputs.append(process.end(signal.SIGKILL))
        figures.count("kills")
        state = outputs[-1].states[-1] if outputs[-1].states else state

    outputs.append(run(state=state))

    assert keys(*outputs) == keys(everything)


def test_a_target_that_is_gone_is_one_line(run: Runner) -> None:
    """Nothing else is printed, for the target has said why."""
    process = Process(run)
    process.read(a_record)
    process.output.close()

    assert process.process.wait(timeout=HANG_SECONDS) == 1
    assert process.log.count("the target has closed its input") == 1
    assert "Traceback" not in process.log
    assert "Exception ignored" not in process.log


def test_no_folder_is_written_to(run: Runner) -> None:
    """Neither to the one for temporary files nor to one's home."""
    assert run.folder
    config = run.folder / "config.json"
    config.write_text(json.dumps(run.config()))
    watched = run.folder / "watched"
    watched.mkdir()

    done = command(
        "--config",
        str(config),
        environment=dict.fromkeys(("TMPDIR", "HOME"), str(watched)),
    )

    assert done.returncode == 0
    assert '"STATE"' in done.stdout.splitlines()[-1]
    assert list(watched.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_one_line(run: Runner) -> None:
    """The output goes to a file."""
    assert run.folder
    config = run.folder / "config.json"
    config.write_text(json.dumps(run.config()))
    with open("/dev/full", "wb") as full:  # noqa: PTH123  # it is no ordinary file
        done = subprocess.run(
            [sys.executable, "-m", "tap_labelbox", "--config", str(config)],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=HANG_SECONDS,
        )

    assert done.returncode == 75
    assert b"standard output cannot be written: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
