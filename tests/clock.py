"""A clock for what waits: no test sleeps, or depends on how fast a machine is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tap_labelbox.api.rate_limiter import RateLimiter

if TYPE_CHECKING:
    import pytest


class Clock:
    """A monotonic clock that nothing but waiting moves."""

    def __init__(self) -> None:
        """Begin at some time."""
        self.now = 1000.0  # seconds
        self.waits: list[float] = []
        """Seconds of every wait, in order."""
        self._lock = threading.Lock()

    def pass_by(self, seconds: float) -> None:
        """Move the clock on by so many seconds."""
        with self._lock:
            self.now += seconds

    def sleep(self, limiter: RateLimiter, seconds: float) -> None:
        """Wait in no time, as a rate limiter does."""
        with self._lock:
            self.waits.append(seconds)
            self.now += seconds
        limiter.check()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make all that waits go by this clock."""
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(
            RateLimiter,
            "sleep",
            lambda limiter, wait: self.sleep(limiter, wait),  # noqa: PLW0108  # a method
        )
