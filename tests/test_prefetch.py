"""Jobs that are done before their turn, and taken in order."""

from __future__ import annotations

import threading
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tap_labelbox.api.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_SECONDS = 60.0


def numbers(started: list[int]) -> Iterator[Callable[[], int]]:
    """Yield jobs without end, each of which notes that it was taken."""
    for number in count():
        started.append(number)
        yield partial(int, number)


@pytest.mark.parametrize("max_in_flight", [1, 2, 8])
def test_outcomes_come_in_order(max_in_flight: int) -> None:
    """All of them, however many are in flight."""
    outcomes = prefetch([partial(int, n) for n in range(20)], max_in_flight)

    assert [outcome.result() for outcome in outcomes] == [*range(20)]
    assert [*prefetch([], max_in_flight)] == []


def test_no_more_are_in_flight_than_may_be() -> None:
    """Nor is one begun for which nobody has asked."""
    started: list[int] = []
    outcomes = prefetch(numbers(started), 3, initial=3)
    assert started == []

    next(outcomes).result()
    assert started == [0, 1, 2]
    next(outcomes).result()
    assert started == [0, 1, 2, 3]


def test_one_at_a_time_needs_no_thread() -> None:
    """It is done here, when it is asked for."""
    jobs = [threading.get_ident] * 3

    outcomes = [outcome.result() for outcome in prefetch(jobs, 1)]

    assert set(outcomes) == {threading.get_ident()}


def test_more_are_begun_once_one_is_waited_for() -> None:
    """One at first, then twice as many, up to the limit."""
    block = threading.Event()
    started: list[int] = []

    def jobs() -> Iterator[Callable[[], bool]]:
        for number in count():
            started.append(number)
            yield partial(block.wait, WAIT_SECONDS)

    outcomes = prefetch(jobs(), 5)
    seen = []
    for _ in range(4):
        next(outcomes)
        seen.append(len(started))
    block.set()

    assert seen == [1, 3, 6, 8]


def test_a_failure_comes_in_its_turn() -> None:
    """And costs no other outcome."""

    def fail() -> int:
        raise LookupError

    jobs: list[Callable[[], int]] = [partial(int, 1), fail, partial(int, 3)]
    first, second, third = prefetch(jobs, 2)

    assert (first.result(), third.result()) == (1, 3)
    with pytest.raises(LookupError):
        second.result()


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_fewer_threads_are_enough(
    monkeypatch: pytest.MonkeyPatch, allowed: int, error: type[Exception]
) -> None:
    """If the system allows no more, jobs wait for their turn, or are done here."""
    start = threading.Thread.start
    left = iter(range(allowed))

    def start_or_fail(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    outcomes = prefetch([partial(int, n) for n in range(9)], 4, initial=4)

    assert [outcome.result() for outcome in outcomes] == [*range(9)]


def test_a_thread_that_ends_without_an_outcome_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There was not even room to say so; nobody waits for ever."""
    monkeypatch.setattr("tap_labelbox.api.prefetch.CHECK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr("tap_labelbox.api.prefetch._do", lambda *_: None)

    (outcome,) = prefetch([partial(int, 1)], 2)

    with pytest.raises(MemoryError):
        outcome.result()
