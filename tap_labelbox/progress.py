"""The progress of a run for its log: records, waits, and a summary at the end.

:class:`Progress` gathers numbers; the functions below it put them into words.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Sequence

MIN_SECONDS_BETWEEN_LINES = 10.0
SHARE_BETWEEN_LINES = 1 / 3
"""How long to be silent after a line, as a share of the time up to it: a run of ten
hours has some twenty lines, and one of ten minutes has ten."""
CHECK_EVERY_SECONDS = 1.0  # whether it is time for a line
MAX_SAME_WARNINGS = 5  # of one kind in a run; more are logged at DEBUG
MAX_NAMED_GAPS = 10  # things left out that the summary names
SUMMARY_LOGGER = "summary"
"""The name, below that of the tap, of the logger of the summary as JSON."""


class Counted(Protocol):
    """A stream that knows how many records it has written."""

    name: str
    record_count: int


@dataclass
class Pass:
    """The reading of some streams, often of one, which share requests and time."""

    name: str
    streams: Sequence[Counted]
    began: float
    seconds: float | None = None
    """How long it took; None while it goes on."""
    # Threads add to these without a lock, which a signal could leave taken.
    requests: int = 0
    retries: int = 0
    done: int = 0
    """Projects, or other parents, that had their turn."""
    total: int = 0
    """Projects, or other parents, that will have had it."""
    noun: str = "project"
    """What one of them is."""

    @property
    def records(self) -> int:
        """Return how many records were written so far."""
        return sum(stream.record_count for stream in self.streams)


class Progress:
    """The progress of a run so far, and what it waits for.

    Args:
        logger: Of the tap.
        clock: Returns seconds that only pass.
        now: Returns the time of day, in the log's time zone.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._now = now
        self._began = self._last_logged_at = clock()
        self._warnings: dict[str, int] = {}
        self._waiting: tuple[str, datetime] | None = None
        self._held_until = self._retry_at = now()
        self._current = Pass("", (), self._began)  # of what comes before the first
        self.passes: dict[str, Pass] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Log a line now and then, whatever this thread does or waits for."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(CHECK_EVERY_SECONDS):
                self.look()

        # Without a thread, there are lines where projects end.
        with suppress(RuntimeError, MemoryError):
            threading.Thread(target=look, name="progress", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    @contextmanager
    def reading(self, name: str, streams: Sequence[Counted]) -> Iterator[None]:
        """Count requests and seconds for some streams."""
        self._current = self.passes[name] = Pass(name, streams, self._clock())
        try:
            yield
        finally:
            self._current.seconds = self._clock() - self._current.began

    def turn(self, done: int, total: int, noun: str = "project") -> None:
        """Note how many projects, or other parents, had their turn, of how many."""
        self._current.done, self._current.total = done, total
        self._current.noun = noun
        self.look()

    def request(self) -> None:
        """Count a request to the API."""
        self._current.requests += 1

    def retry(self, pause_seconds: float, *, everybody: bool) -> datetime:
        """Count a request that is sent again after a pause; return when that is."""
        self._current.retries += 1
        until = self._now() + timedelta(seconds=pause_seconds)
        self._retry_at = max(until, self._retry_at)
        if everybody:
            self._held_until = max(until, self._held_until)
        return until

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show in progress lines what is waited for, and since when."""
        self._waiting = what, self._now()
        try:
            yield
        finally:
            self._waiting = None

    def warn(self, message: str, *args: object) -> None:
        """Log a warning of a kind that can come any number of times in a run."""
        count = self._warnings[message] = self._warnings.get(message, 0) + 1
        if count > MAX_SAME_WARNINGS:
            self._logger.debug(message, *args)
            return
        if count == MAX_SAME_WARNINGS:
            message += " (more of these are logged at DEBUG)"
        self._logger.warning(message, *args)

    def look(self) -> None:
        """Log a line if it is time for one."""
        now = self._clock()
        silence = SHARE_BETWEEN_LINES * (self._last_logged_at - self._began)
        if now >= self._last_logged_at + max(MIN_SECONDS_BETWEEN_LINES, silence):
            self._last_logged_at = now
            self._logger.info("%s", self.line())

    def line(self) -> str:
        """Return where the run is, and what it waits for."""
        current = self._current
        parts = []
        if current.total:
            parts.append(f"{current.done:,} of {_counted(current.total, current.noun)}")
        records = sum(item.records for item in self.passes.values())
        parts.append(_counted(records, "record"))
        if retries := sum(item.retries for item in self.passes.values()):
            parts.append(_counted(retries, "retry", "retries"))
        if self._waiting:
            what, since = self._waiting
            parts.append(f"waiting for {what} since {since:%H:%M:%S}")
        if self._held_until > self._now():
            parts.append(f"all requests wait until {self._held_until:%H:%M:%S}")
        elif self._retry_at > self._now():
            parts.append(f"trying again at {self._retry_at:%H:%M:%S}")
        return f"{current.name or 'Starting'}: {', '.join(parts)}"

    def summary(self, outcome: str, left_out: Sequence[tuple[str, str]]) -> Any:
        """Return what the run did and left out, as JSON may have it."""
        now = self._clock()
        passes = self.passes.values()
        return {
            "outcome": outcome,
            "seconds": round(now - self._began, 3),
            "records": sum(item.records for item in passes),
            "requests": sum(item.requests for item in passes),
            "retries": sum(item.retries for item in passes),
            "passes": [
                {
                    "name": item.name,
                    "records": {s.name: s.record_count for s in item.streams},
                    "requests": item.requests,
                    "retries": item.retries,
                    "seconds": round(
                        now - item.began if item.seconds is None else item.seconds, 3
                    ),
                }
                for item in passes
            ],
            "left_out": [{"what": what, "why": why} for what, why in left_out],
        }

    def log_summary(self, outcome: str, left_out: Sequence[tuple[str, str]]) -> None:
        """Log what the run did and left out, as a table; and as JSON, for programs.

        Nobody reads that at a terminal, so there it is only for whoever gives its
        logger a handler.
        """
        summary = self.summary(outcome, left_out)
        for line in summary_lines(summary):
            self._logger.info("%s", line)
        logger = self._logger.getChild(SUMMARY_LOGGER)
        if logger.handlers or not sys.stderr or not sys.stderr.isatty():
            logger.info("%s", json.dumps(summary))


def summary_lines(summary: Any) -> Iterator[str]:
    """Yield the lines of a table of what a run did."""
    passes = summary["passes"]
    yield (
        f"{summary['outcome']} after {duration(summary['seconds'])}: "
        f"{_counted(summary['records'], 'record')}, "
        f"{_counted(summary['requests'], 'request')}, "
        f"{_counted(summary['retries'], 'retry', 'retries')}"
    )
    rows = [("stream", "records", "requests", "retries", "seconds")]
    for item in passes:
        sums = (
            f"{item['requests']:,}",
            f"{item['retries']:,}",
            f"{item['seconds']:,.1f}",
        )
        rows.append((item["name"], f"{sum(item['records'].values()):,}", *sums))
        if [*item["records"]] != [item["name"]]:
            rows += [
                (f"- {n}", f"{c:,}", "", "", "") for n, c in item["records"].items()
            ]
    width = max(len(name) for name, *_ in rows)
    for name, *numbers in rows if passes else ():
        cells = "".join(f"{number:>10}" for number in numbers)
        yield f"{name:{width}}{cells}".rstrip()
    left_out = summary["left_out"]
    for item in left_out[:MAX_NAMED_GAPS]:
        yield f"left out: {item['what']} ({item['why']})"
    if (more := len(left_out) - MAX_NAMED_GAPS) > 0:
        yield f"left out: {more:,} more, named above or at DEBUG"


def duration(seconds: float) -> str:
    """Return a duration in the units a person would use."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def _counted(count: int, noun: str, many: str = "") -> str:
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
