"""Asking again until there is an answer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from tap_labelbox.api.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")

LOGGER = logging.getLogger("tap-labelbox")
TELL_EVERY = 60.0  # seconds


def poll(
    ask: Callable[[], Answer | None],
    *,
    pause: Callable[[float], None],
    interval: float,
    timeout: float,
    waiting: Callable[[], str],
    late: str,
) -> Answer:
    """Ask until the answer is not None.

    Args:
        ask: Asks once.
        pause: Waits so many seconds: :meth:`Client.sleep`.
        interval: Seconds between two questions.
        timeout: Seconds after which to give up.
        waiting: What to say now and then until then, at DEBUG.
        late: What to say then.

    Raises:
        UnavailableError: If there was no answer in time.
    """
    told = time.monotonic()
    deadline = told + timeout
    while (answer := ask()) is None:
        now = time.monotonic()
        if now + interval > deadline:
            raise UnavailableError(late)
        if now > told + TELL_EVERY:
            told = now
            LOGGER.debug("%s", waiting())
        pause(interval)
    return answer
