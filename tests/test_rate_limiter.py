"""Turns of requests, by a clock of the tests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tap_labelbox.api.errors import StoppedError
from tap_labelbox.api.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from tests.clock import Clock


def test_any_number_may_pass_at_once(clock: Clock) -> None:
    """Unless a number a minute is set."""
    limiter = RateLimiter()

    for _ in range(1000):
        limiter.acquire()

    assert clock.waits == []


def test_requests_are_evenly_spaced(clock: Clock) -> None:
    """The first comes at once."""
    limiter = RateLimiter(per_minute=60)

    for _ in range(4):
        limiter.acquire()

    assert clock.waits == [1, 1, 1]


def test_turns_that_nobody_took_are_gone(clock: Clock) -> None:
    """After a slow reply there is no burst."""
    limiter = RateLimiter(per_minute=60)
    limiter.acquire()
    clock.pass_by(10)

    limiter.acquire()
    limiter.acquire()

    assert clock.waits == [1]


def test_threads_share_the_turns(clock: Clock) -> None:
    """However many they are."""
    limiter = RateLimiter(per_minute=60)
    began = clock.now

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: limiter.acquire(), range(8)))

    assert clock.now >= began + 7


def test_a_pause_holds_everybody_back(clock: Clock) -> None:
    """The longest one counts, whichever came last."""
    limiter = RateLimiter()
    limiter.pause(5)
    limiter.pause(2)

    limiter.acquire()
    limiter.acquire()

    assert clock.waits == [5]


def test_a_pause_begins_now(clock: Clock) -> None:
    """Not when the last request was sent."""
    limiter = RateLimiter()
    limiter.acquire()
    clock.pass_by(10)
    limiter.pause(3)

    limiter.acquire()

    assert clock.waits == [3]


def test_nobody_passes_once_it_is_closed(clock: Clock) -> None:
    """Nor is anything waited for; to close it twice is to close it once."""
    limiter = RateLimiter()
    limiter.check()
    limiter.close()
    limiter.close()

    for wait in (limiter.acquire, limiter.check):
        with pytest.raises(StoppedError, match="start it again"):
            wait()
    assert clock.waits == []


def test_closing_ends_waits() -> None:
    """However long they would have been."""
    limiter = RateLimiter()
    limiter.pause(3600)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(limiter.acquire), pool.submit(limiter.sleep, 3600)]
        limiter.close()

        for wait in waits:
            with pytest.raises(StoppedError):
                wait.result(timeout=60)
