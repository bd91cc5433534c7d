"""Ending a run of the tap anywhere, in this process.

After a kill nothing is written; a run that is told to stop writes its state.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_labelbox.sandbox import Reply
from tap_labelbox.singer.tap import Stopped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from tap_labelbox.sandbox import Request
    from tap_labelbox.tap import TapLabelbox
    from tests.runner import Runner, State

NEVER = sys.maxsize
HANDLERS = "(process_request_thread)"
"""What the names of the sandbox's own threads end with."""
JOIN_SECONDS = 10.0


class KilledError(BaseException):
    """The run is no more. Nothing that catches an Exception is to catch this."""


@dataclass(frozen=True)
class Cut:
    """A place at which a run is killed: whichever of these comes first."""

    lines: int = NEVER
    """Lines that get out whole; the next does not."""
    within: float = 0.0
    """Share of that next line that gets out as well, 0 to below 1."""
    requests: int = NEVER
    """Requests that are answered; the next is not."""
    heard: bool = False
    """Whether what that next request asks for is done all the same."""
    gently: bool = False
    """Whether it is told to stop after those lines, as by SIGTERM, and not killed."""


@dataclass
class Run:
    """Result of a run that may have been killed."""

    output: bytes
    killed: bool
    """Whether it did not come to its end."""
    error: Exception | None
    requests: int
    """How many were sent."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every message that got out whole."""
        return [json.loads(line) for line in self.output.split(b"\n")[:-1]]

    @property
    def states(self) -> list[State]:
        """Every STATE, oldest first."""
        return [m["value"] for m in self.messages if m["type"] == "STATE"]


class _Life(io.RawIOBase):
    """The standard output of a run, which ends with it."""

    def __init__(self, tap: TapLabelbox, cut: Cut) -> None:
        super().__init__()
        self.written = bytearray()
        self.over = self.stopped = False
        self.requests = 0
        self._tap = tap
        self._cut = cut
        self._lines = 0
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        with self._lock:
            if self.over:  # whoever cleans up after a kill
                raise KilledError
            text = bytes(data)
            if self._cut.gently:
                return self._write_and_stop(text)
            lines = text.splitlines(keepends=True)
            capacity = self._cut.lines - self._lines
            if text.count(b"\n") <= capacity:
                self._lines += text.count(b"\n")
                self.written += text
                return len(text)
            self.written += b"".join(lines[:capacity])
            self.written += lines[capacity][
                : int(self._cut.within * len(lines[capacity]))
            ]
        self.end()
        raise KilledError

    def _write_and_stop(self, text: bytes) -> int:
        self.written += text
        self._lines += text.count(b"\n")
        if self._lines >= self._cut.lines and not self.stopped:
            self.stopped = True
            self._tap.writer.interrupt(Stopped(128 + signal.SIGTERM))
        return len(text)

    def end(self) -> None:
        """Write nothing any more, and end the waits of all threads."""
        self.over = True
        self._tap.workspace.client.close()

    def before(self, _: Request) -> Reply | None:
        """Count a request. One that comes after the end was never sent."""
        with self._lock:
            if self.over:
                return Reply(reset=True)
            self.requests += 1
            if self.requests <= self._cut.requests:
                return None
        self.end()
        return None if self._cut.heard else Reply(reset=True)


def run_until(run: Runner, cut: Cut, *streams: str, **options: Any) -> Run:
    """Run the tap until it is killed, or to its end if that comes first.

    Args:
        run: What to run it against.
        cut: When it is killed.
        *streams: Which are read; all by default.
        **options: As :class:`Runner` takes it.
    """
    tap = run.tap(*streams, **options)
    life = _Life(tap, cut)
    threads = set(threading.enumerate())
    error: Exception | None = None
    run.sandbox.before = life.before
    try:
        output: Any = life
        with redirect_stdout(io.TextIOWrapper(output, write_through=True)):
            try:
                tap.sync_all()
                tap.workspace.check()
            except Exception as fault:  # noqa: BLE001  # the test says which it expects
                error = fault
            except Stopped:
                tap.conclude()
            except KilledError:
                pass
        killed = life.over or life.stopped
        life.end()
        for thread in set(threading.enumerate()) - threads:
            if not thread.name.endswith(HANDLERS):
                while thread.ident is None:  # another thread is starting it
                    time.sleep(0.001)
                thread.join(JOIN_SECONDS)
                assert not thread.is_alive(), thread
    finally:
        run.sandbox.before = None
    return Run(bytes(life.written), killed, error, life.requests)
