"""Asking again until there is an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from tap_labelbox.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


def poll(
    ask: Callable[[], Answer | None],
    *,
    pause: Callable[[float], None],
    interval: float,
    timeout: float,
    late: str,
) -> Answer:
    """Ask until the answer is not None.

    Args:
        ask: Asks once.
        pause: Waits so many seconds: :meth:`Client.sleep`.
        interval: Seconds between two questions.
        timeout: Seconds after which to give up.
        late: What to say then.

    Raises:
        UnavailableError: If there was no answer in time.
    """
    deadline = time.monotonic() + timeout
    while (answer := ask()) is None:
        if time.monotonic() + interval > deadline:
            raise UnavailableError(late)
        pause(interval)
    return answer
