"""Retries: what failed in passing is sent again, after a while, or is given up."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import backoff

from tap_labelbox.api.errors import AddressError, RateLimitError
from tap_labelbox.api.proxies import api_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_labelbox.api.errors import TransientError
    from tap_labelbox.api.rate_limiter import RateLimiter
    from tap_labelbox.progress import Progress

MAX_PAUSE_SECONDS = 60.0  # between two tries, unless Labelbox asks for more
FIRST_CONTACT_SECONDS = 30.0
"""In which somebody has to answer at api_url: where nobody ever has, nobody will."""


class FirstContact:
    """The first answer of anybody at api_url, and how long that is waited for.

    Args:
        base: The address without its path.
        is_default: Whether it is the one that nobody has set.
    """

    def __init__(self, base: str, *, is_default: bool) -> None:
        self._base = base
        self._is_default = is_default
        self._first_sent_at = math.inf  # by the monotonic clock
        self.is_made = False
        """True once anybody has answered, with whatever."""

    def connect_seconds(self, timeout: float) -> float:
        """Return the seconds to wait for a connection, which is now asked for."""
        if self.is_made:
            return timeout
        now = time.monotonic()
        self._first_sent_at = min(self._first_sent_at, now)
        return min(timeout, max(self.ends_at - now, 1.0))

    @property
    def ends_at(self) -> float:
        """When it is given up, by the monotonic clock."""
        return self._first_sent_at + FIRST_CONTACT_SECONDS

    def is_lacking(self, error: TransientError) -> bool:
        """Return whether an error says that nobody has answered so far."""
        return error.is_unconnected and not self.is_made

    def check(self, error: TransientError) -> None:
        """Raise what an error means if nobody has answered so far.

        Raises:
            AddressError: If that is an address that somebody has set.
            TransientError: If it is the network of this machine, or a proxy.
        """
        if not self.is_lacking(error):
            return
        msg = f"{error}: no answer from there in this run, so"
        if not self._is_default and not api_proxy(self._base):
            raise AddressError(f"{msg} api_url is probably wrong") from error
        raise type(error)(f"{msg} this machine probably cannot reach it") from error


@dataclass(frozen=True)
class Retries:
    """The limits within which requests are tried again."""

    seconds: float
    """From the first failure of a request on; 0 is never."""
    rate_limiter: RateLimiter
    """Waits, and holds back all requests where the server asks for it."""
    progress: Progress
    """Logs and counts the waits."""
    contact: FirstContact
    """Ends them sooner while nobody has answered."""


@dataclass
class Tries:
    """The tries of one request, so far.

    Between them are up to 1, 2, 4, ... seconds at random, so that many clients that
    failed together do not return together, but as many as the server asks for. Not by
    backoff's decorator, whose waits close() could not end.
    """

    retries: Retries
    operation: str
    """What the log calls it."""
    count: int = 0
    deadline: float = math.inf
    """Of all, by the monotonic clock."""

    @cached_property
    def _pauses(self) -> Iterator[float]:
        """The most seconds to each next try."""
        pauses = backoff.expo(max_value=MAX_PAUSE_SECONDS)
        next(pauses)  # starts it
        return pauses

    def wait(self, error: TransientError, *, is_last: bool) -> None:
        """Wait for the next try after one that failed, unless that is the last.

        Raises:
            LabelboxError: If there is none: that error, or what it means.
        """
        retries, contact = self.retries, self.retries.contact
        self.count += 1
        self.deadline = min(self.deadline, time.monotonic() + retries.seconds)
        ends_at = self.deadline
        if contact.is_lacking(error):
            ends_at = min(ends_at, contact.ends_at)
        left = ends_at - time.monotonic()
        if is_last or left <= 0 or error.retry_after > left:
            error.tries += self.count
            contact.check(error)
            raise error
        pause = backoff.full_jitter(min(next(self._pauses), left))
        self._pause(error, max(pause, error.retry_after))

    def _pause(self, error: TransientError, seconds: float) -> None:
        """Log that the request is sent again, and wait until then."""
        progress, rate_limiter = self.retries.progress, self.retries.rate_limiter
        everybody = isinstance(error, RateLimitError)
        if everybody:
            rate_limiter.pause(seconds)
        until = progress.retry(seconds, everybody=everybody)
        progress.warn(
            "%s: %s; trying again in %.1f s, at %s%s",
            self.operation,
            error,
            seconds,
            f"{until:%H:%M:%S}",
            " (all requests wait)" if everybody else "",
        )
        rate_limiter.sleep(seconds)
