"""Asking for several things at once, and taking the answers in order.

Nearly all of a run's time is spent waiting for Labelbox. So what is going to be
asked anyway is asked before its turn: the pages of a list, the first pages of the
next projects, the next exports. One thread, the main one, takes the answers in the
order of the questions; it alone writes records and moves bookmarks.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, wait
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Answer = TypeVar("Answer")

CHECK_EVERY_SECONDS = 1.0  # whether a thread that is waited for is there at all


class Outcome(Future[Answer]):
    """The outcome of a job, for which nobody waits in vain."""

    thread: Thread | None = None
    """Where the job is done, unless it was done here."""

    def result(self, timeout: float | None = None) -> Answer:
        """Return what the job returned, or raise what it raised.

        Raises:
            MemoryError: If its thread has ended without any outcome: there was not
                even room to say so.
        """
        while timeout is None and not wait([self], CHECK_EVERY_SECONDS).done:
            has_ended = self.thread is not None and not self.thread.is_alive()
            if has_ended and not self.done():
                raise MemoryError
        return super().result(timeout)


def prefetch(
    jobs: Iterable[Callable[[], Answer]], max_in_flight: int, *, initial: int = 1
) -> Iterator[Future[Answer]]:
    """Do jobs on threads, and yield their outcomes in order.

    A job is started when there is room for it, so no more than ``max_in_flight``
    outcomes are ever held. Whoever stops taking leaves the rest undone. Where the
    system allows fewer threads, fewer are in flight; where it allows none, jobs are
    done here.

    Args:
        jobs: What to do; may be endless.
        max_in_flight: How many are in flight at once; with 1 there are no threads.
        initial: How many are in flight at the start: perhaps no more than the first
            are wanted. Doubled, up to ``max_in_flight``, whenever an outcome is
            waited for.

    """
    jobs = iter(jobs)
    window = min(initial, max_in_flight)
    in_flight: deque[Outcome[Answer]] = deque()
    postponed: list[Callable[[], Answer]] = []  # one, for which there was no thread
    while True:
        while len(in_flight) < window:
            job = postponed.pop() if postponed else next(jobs, None)
            if job is None:
                break
            outcome: Outcome[Answer] = Outcome()
            if max_in_flight == 1:
                _do(job, outcome)
            elif not _has_thread(job, outcome):
                if in_flight:  # its turn comes when one of these has ended
                    postponed.append(job)
                    break
                _do(job, outcome)
            in_flight.append(outcome)
        if not in_flight:
            return
        outcome = in_flight.popleft()
        if not outcome.done():
            window = min(2 * window, max_in_flight)
        yield outcome


def fulfil(job: Callable[[], Answer]) -> Future[Answer]:
    """Do a job here, and return its outcome."""
    outcome: Future[Answer] = Future()
    _do(job, outcome)
    return outcome


def _has_thread(job: Callable[[], Answer], outcome: Outcome[Answer]) -> bool:
    """Do a job on a thread of its own, and return whether there is one."""
    try:
        # A daemon: what nobody waits for any more does not keep a run alive.
        thread = Thread(target=_do, args=(job, outcome), daemon=True)
        thread.start()
        outcome.thread = thread
    except (RuntimeError, MemoryError):  # a limit of the system
        return False
    return True


def _do(job: Callable[[], Answer], outcome: Future[Answer]) -> None:
    try:
        outcome.set_result(job())
    except BaseException as error:  # noqa: BLE001  # raised where it is taken
        outcome.set_exception(error)
