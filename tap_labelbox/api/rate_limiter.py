"""The rate limiter of all requests to Labelbox, shared by all threads."""

from __future__ import annotations

import threading
import time

from tap_labelbox.api.errors import StoppedError


class RateLimiter:
    """Lets requests through: not too many, not too early, none once it is closed.

    Args:
        per_minute: Requests a minute, evenly spaced; any number if None.
    """

    def __init__(self, per_minute: int | None = None) -> None:
        self._spacing = 60.0 / per_minute if per_minute else 0.0
        self._next_at = 0.0  # by the monotonic clock
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def acquire(self) -> None:
        """Wait until a request may be sent.

        Raises:
            StoppedError: If it is closed, also while waiting.
        """
        while (wait := self._try_acquire()) > 0:
            self.sleep(wait)
        self.check()

    def pause(self, seconds: float) -> None:
        """Hold back all requests for so many seconds from now."""
        with self._lock:
            self._next_at = max(self._next_at, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds.

        Raises:
            StoppedError: If it is closed, also while waiting.
        """
        self._closed.wait(seconds)
        self.check()

    def check(self) -> None:
        """Return while requests are let through.

        Raises:
            StoppedError: If it is closed.
        """
        if self._closed.is_set():
            msg = "the run was stopped: start it again to read the rest"
            raise StoppedError(msg)

    def close(self) -> None:
        """End all waits and let nobody through any more; twice is once."""
        self._closed.set()

    def _try_acquire(self) -> float:
        """Acquire a permit; return 0, or the seconds until one is free."""
        with self._lock:
            now = time.monotonic()
            if now < self._next_at:
                return self._next_at - now
            self._next_at = now + self._spacing
            return 0.0
