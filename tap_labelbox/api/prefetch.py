"""Asking for several things at once, and taking the answers in order.

Nearly all of a run's time is spent waiting for Labelbox. So what is going to be
asked anyway is asked before its turn: the pages of a list, the first pages of the
next projects, the next exports. One thread, the main one, takes the answers in the
order of the questions; it alone writes records and moves bookmarks.

Most lists of a project have one page, so the requests of a run are what takes its time.
What is asked of one document for many projects is sent as one request. A question that
is refused costs itself. What says nothing of any one of them (a fault of the server, an
error without a path) is asked for singly.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tap_labelbox.api.errors import (
    ComplexityError,
    LabelboxError,
    NotOfferedError,
    TooLargeError,
    TransientError,
    UnavailableError,
    UnsentError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tap_labelbox.api.documents import Document

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


def started_thread(target: Callable[[], object]) -> Thread | None:
    """Return a thread that has begun; None where the system allows no more."""
    try:
        # A daemon: what nobody waits for any more does not keep a run alive.
        thread = Thread(target=target, daemon=True)
        thread.start()
    except (RuntimeError, MemoryError):  # a limit of the system
        return None
    return thread


def _has_thread(job: Callable[[], Answer], outcome: Outcome[Answer]) -> bool:
    """Do a job on a thread of its own, and return whether there is one."""
    outcome.thread = started_thread(partial(_do, job, outcome))
    return outcome.thread is not None


def _do(job: Callable[[], Answer], outcome: Future[Answer]) -> None:
    try:
        outcome.set_result(job())
    except BaseException as error:  # noqa: BLE001  # raised where it is taken
        outcome.set_exception(error)


# --- many questions in a request ---------------------------------------------


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """One ask of a document."""

    variables: dict[str, Any]
    read: Callable[[Callable[[], Any]], Answer]
    """Makes the answer of the data, which it gets by calling what it is given."""
    is_alone: bool = False
    """Whether it shares no request: what is waited for in vain had better not."""


class Together(Generic[Answer]):
    """Asks questions of one document, many in a request.

    Args:
        ask: Runs the document once with these variables.
        ask_together: Runs it with each of these variables, in one request; returns the
            data of each, or the error, or None where it has to be asked for singly.
        document: Returns the document as it is sent.
        size: Questions in a request, at most; halved where that is too much.
        max_in_flight: Requests at once.
    """

    def __init__(
        self,
        ask: Callable[..., Any],
        ask_together: Callable[[list[dict[str, Any]]], list[Any]],
        document: Callable[[], Document],
        size: int,
        max_in_flight: int,
    ) -> None:
        """Ask nothing yet."""
        self._run, self._run_together = ask, ask_together
        self._document = document
        self.size = size
        self._max_in_flight = max_in_flight

    def answers(
        self, questions: Iterable[Question[Answer]]
    ) -> Iterator[Future[Answer]]:
        """Yield the answers in order, with the next ones in flight."""
        jobs = (partial(self._ask_all, batch) for batch in self._batches(questions))
        for outcome in prefetch(jobs, self._max_in_flight):
            yield from self._settled(outcome.result())

    def _batches(
        self, questions: Iterable[Question[Answer]]
    ) -> Iterator[list[Question[Answer]]]:
        """Yield the questions of each request."""
        batch: list[Question[Answer]] = []
        for question in questions:
            if batch and (question.is_alone or len(batch) >= self.size):
                yield batch
                batch = []
            if question.is_alone:
                yield [question]
            else:
                batch.append(question)
        if batch:
            yield batch

    def _settled(
        self, answers: list[Question[Answer] | Future[Answer]]
    ) -> Iterator[Future[Answer]]:
        """Yield the answers of a request; ask singly for those that it has not."""
        lacking = [a for a in answers if isinstance(a, Question)]
        jobs = (partial(self._ask, question) for question in lacking)
        limit = self._max_in_flight
        singly = prefetch(jobs, limit, initial=limit)
        has_failed = False
        for answer in answers:
            if isinstance(answer, Question):
                outcome = next(singly)
                yield outcome
                has_failed = has_failed or outcome.exception() is not None
            else:
                yield answer
        # None of them is to blame, so they were too many.
        if len(lacking) > len(answers) // 2 and not has_failed:
            self._shrink(len(answers))

    def _shrink(self, asked: int) -> None:
        """Ask less at once from now on, as so many were too many."""
        self.size = min(self.size, max(asked // 2, 1))

    def _ask(self, question: Question[Answer]) -> Answer:
        return question.read(partial(self._run, **question.variables))

    def _ask_all(
        self, batch: list[Question[Answer]]
    ) -> list[Question[Answer] | Future[Answer]]:
        """Return the answer of each question, or itself to be asked singly."""
        if len(batch) == 1:
            return [fulfil(partial(self._ask, batch[0]))]
        document = self._document()
        try:
            answers = self._run_together([question.variables for question in batch])
        except (ComplexityError, TooLargeError):
            self._shrink(len(batch))
            result: list[Question[Answer] | Future[Answer]] = []
            while part := batch[len(result) : len(result) + self.size]:
                result += self._ask_all(part)
            return result
        except NotOfferedError:
            return self._narrowed(batch, document)
        except LabelboxError as error:
            may_be_of_one = isinstance(error, TransientError | UnavailableError)
            if may_be_of_one and not isinstance(error, UnsentError):
                return [*batch]
            return [fulfil(partial(_unwrap, error))] * len(batch)
        lacking = [q for q, a in zip(batch, answers, strict=True) if a is None]
        # The errors of others may be why: without these there is less to go wrong.
        is_fewer = 1 < len(lacking) < len(batch)
        again = iter(self._ask_all(lacking) if is_fewer else lacking)
        return [
            next(again)
            if answer is None
            else fulfil(partial(question.read, partial(_unwrap, answer)))
            for question, answer in zip(batch, answers, strict=True)
        ]

    def _narrowed(
        self, batch: list[Question[Answer]], document: Document
    ) -> list[Question[Answer] | Future[Answer]]:
        """Ask again, if need be with less of a document that was refused.

        Alone, the first question takes out of it what Labelbox does not know.
        """
        if self._document() is not document:  # another thread was faster
            return self._ask_all(batch)
        first, rest = fulfil(partial(self._ask, batch[0])), batch[1:]
        if self._document() is not document:
            return [first, *self._ask_all(rest)]
        if isinstance(first.exception(), NotOfferedError):
            return [first] * len(batch)
        return [first, *rest]


def _unwrap(answer: Any) -> Any:
    """Return the data of a question, or raise its error."""
    if isinstance(answer, Exception):
        raise answer
    return answer
