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
LOG_EVERY_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.25  # doubled each time: what is small is ready soon


def poll(
    ask: Callable[[], Answer | None],
    *,
    pause: Callable[[float], None],
    interval: float,
    timeout: float,
    progress_message: Callable[[], str],
    timeout_message: str,
    timeout_error: type[UnavailableError] = UnavailableError,
) -> Answer:
    """Ask until the answer is not None.

    Args:
        ask: Asks once.
        pause: Waits so many seconds: :meth:`Client.sleep`.
        interval: Seconds between two questions, at most; fewer between the first ones.
        timeout: Seconds after which to give up.
        progress_message: Returns what is logged now and then, at DEBUG.
        timeout_message: Of the error.
        timeout_error: The kind of the error.

    Raises:
        UnavailableError: If there was no answer in time.
    """
    last_logged = time.monotonic()
    deadline = last_logged + timeout
    seconds = FIRST_PAUSE_SECONDS
    while (answer := ask()) is None:
        now = time.monotonic()
        seconds = min(seconds, interval)
        if now + seconds > deadline:
            raise timeout_error(timeout_message)
        if now > last_logged + LOG_EVERY_SECONDS:
            last_logged = now
            LOGGER.debug("%s", progress_message())
        pause(seconds)
        seconds *= 2
    return answer
