"""Retries: what failed in passing is sent again, after a while, or is given up."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import backoff

from tap_labelbox.api.errors import AddressError, RateLimitError, TransientError
from tap_labelbox.api.proxies import is_plain_loopback, proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.api.rate_limiter import RateLimiter
    from tap_labelbox.progress import Progress

Answer = TypeVar("Answer")

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
        msg = f"{error}: nobody has answered there in this run, so"
        is_direct = is_plain_loopback(self._base) or not proxy(self._base)
        if is_direct and not self._is_default:
            raise AddressError(f"{msg} api_url is probably wrong") from error
        raise type(error)(f"{msg} this machine has probably no way to it") from error


@dataclass(frozen=True)
class Retries:
    """Sends requests again that failed in passing, within limits.

    Between two tries of a request are up to 1, 2, 4, ... seconds at random, so that
    many clients that failed together do not return together, but as many as the server
    asks for. Not by backoff's decorator, whose waits close() could not end.
    """

    seconds: float
    """From the first failure of a request on; 0 is never."""
    rate_limiter: RateLimiter
    """Waits, and holds back all requests where the server asks for it."""
    progress: Progress
    """Logs and counts the waits."""
    contact: FirstContact
    """Ends them sooner while nobody has answered."""

    def run(
        self,
        operation: str,
        attempt: Callable[[], Answer],
        but: type[Exception] | tuple[()] = (),
    ) -> Answer:
        """Try something until it succeeds.

        Args:
            operation: What the log calls it.
            attempt: Tries it once.
            but: What is not to be tried again here.

        Raises:
            LabelboxError: What the last attempt raised, or what that means.
        """
        count, deadline = 0, math.inf
        pauses = backoff.expo(max_value=MAX_PAUSE_SECONDS)
        next(pauses)  # starts it
        while True:
            try:
                return attempt()
            except TransientError as error:
                count += 1
                deadline = min(deadline, time.monotonic() + self.seconds)
                ends_at = deadline
                if self.contact.is_lacking(error):
                    ends_at = min(ends_at, self.contact.ends_at)
                left = ends_at - time.monotonic()
                if isinstance(error, but) or left <= 0 or error.retry_after > left:
                    error.tries += count
                    self.contact.check(error)
                    raise
                pause = backoff.full_jitter(min(next(pauses), left))
                self._wait(operation, error, max(pause, error.retry_after))

    def _wait(self, operation: str, error: TransientError, seconds: float) -> None:
        """Log that a request is sent again, and wait until then."""
        everybody = isinstance(error, RateLimitError)
        if everybody:
            self.rate_limiter.pause(seconds)
        until = self.progress.retry(seconds, everybody=everybody)
        self.progress.warn(
            "%s: %s; trying again in %.1f s, at %s%s",
            operation,
            error,
            seconds,
            f"{until:%H:%M:%S}",
            " (all requests wait)" if everybody else "",
        )
        self.rate_limiter.sleep(seconds)
