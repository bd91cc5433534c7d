"""Asking again until there is an answer, by a clock of its own."""

from __future__ import annotations

import logging
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest

from tap_labelbox.api.errors import UnavailableError
from tap_labelbox.api.polling import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.clock import Clock


@pytest.fixture
def ask(clock: Clock) -> Callable[..., int]:
    """Return what polls for the answers it is given."""

    def ask(answers: Iterable[int | None], timeout: float) -> int:
        replies = iter(answers)
        return poll(
            lambda: next(replies),
            pause=clock.pass_by,
            interval=2,
            timeout=timeout,
            progress_message=lambda: "still waiting",
            timeout_message="too late",
        )

    return ask


def test_the_first_answer_counts(ask: Callable[..., int], clock: Clock) -> None:
    """Also if it is nothing much; whoever answers at once is not waited for."""
    began = clock.now

    assert ask([0, 1], timeout=10) == 0
    assert clock.now == began
    assert ask([None, None, 7], timeout=10) == 7
    assert clock.now == began + 0.25 + 0.5


def test_the_pauses_grow_up_to_the_interval(clock: Clock) -> None:
    """Small exports are ready soon; large ones are asked about seldom."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock.pass_by(seconds)

    answers = iter([None] * 6 + [1])
    poll(
        lambda: next(answers),
        pause=pause,
        interval=3,
        timeout=100,
        progress_message=lambda: "",
        timeout_message="",
    )

    assert pauses == [0.25, 0.5, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("timeout", "waits"),
    [
        (0, []),
        (0.2, []),
        (0.25, [0.25]),
        (3.7, [0.25, 0.5, 1]),
        (10, [0.25, 0.5, 1, 2, 2, 2, 2]),
    ],
)
def test_nobody_waits_longer_than_they_may(
    ask: Callable[..., int], clock: Clock, timeout: float, waits: list[float]
) -> None:
    """Nor for an answer that would come too late."""
    began = clock.now
    questions = chain([None] * (len(waits) + 1), repeat(1))

    with pytest.raises(UnavailableError, match=r"^too late$"):
        ask(questions, timeout)

    assert clock.now == began + sum(waits)
    assert next(questions) == 1


def test_a_long_wait_says_so(
    ask: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    """Once a minute, at DEBUG."""
    caplog.set_level(logging.DEBUG)

    ask([None] * 100 + [1], timeout=1000)

    assert caplog.messages == ["still waiting"] * 3
