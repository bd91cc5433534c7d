"""Asking for many short lists in few requests.

Most lists of a project have one page, so the requests of a run are what takes its time.
What is asked of one document for many projects is sent as one, each ask under aliases
of its own (:meth:`Document.together`), and the reply is taken apart again, before it is
decoded: each gets the bytes that it would have got alone, its own errors included.

One that is refused costs itself. What says nothing of any one of them (a fault of the
server, an error without a path) is asked for singly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from tap_labelbox.api.errors import (
    ComplexityError,
    LabelboxError,
    NotOfferedError,
    TooLargeError,
    TransientError,
    UnavailableError,
    UnsentError,
)
from tap_labelbox.api.prefetch import fulfil, prefetch
from tap_labelbox.records.json_text import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from concurrent.futures import Future

    from tap_labelbox.api.documents import Document

Answer = TypeVar("Answer")

ALIAS = re.compile(r"p(\d+)_(\w+)")
NULL = Raw(b"null")


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


class _Reply(msgspec.Struct):
    """The parts of a reply that are looked at before it is taken apart."""

    data: dict[str, Raw] | None = None
    errors: Any = None
    message: Any = None


_decoder = msgspec.json.Decoder(_Reply)


class Separated(NamedTuple):
    """A reply to many questions, taken apart."""

    common: dict[str, Any] | None
    """What it says of none in particular, with the keys of a reply; None for nothing,
    where it has errors of some."""
    parts: list[bytes | None]
    """For each question the reply to it alone; None where there is nothing."""
    refused: Collection[int]
    """The numbers of the questions that have errors of their own."""


def separated(content: bytes, count: int) -> Separated:
    """Return the parts of a reply to so many questions.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        reply = _decoder.decode(content)
    except (ValueError, RecursionError):  # it may be JSON of a kind that we take
        reply = _decoded(content)
    errors: dict[int | None, list[Any]] = {}
    for error in reply.errors if isinstance(reply.errors, list) else [reply.errors]:
        if error:
            errors.setdefault(_number(error, count), []).append(error)
    of_all = errors.pop(None, [])
    common: dict[str, Any] | None = None
    if of_all or not errors:
        data = reply.data
        if data is not None:
            common = {"data": {name: raw != NULL or None for name, raw in data.items()}}
        common = (common or {}) | {"errors": of_all}
        if reply.message is not None:
            common["message"] = reply.message
    members: dict[int, list[bytes]] = {}
    for name, value in (reply.data or {}).items():
        if match := ALIAS.fullmatch(name):
            member = b'"%b":%b' % (match[2].encode(), value)
            members.setdefault(int(match[1]), []).append(member)
    parts = [_part(members.get(n), errors.get(n)) for n in range(count)]
    return Separated(common, parts, [n for n in errors if n is not None])


def _part(members: list[bytes] | None, errors: list[Any] | None) -> bytes | None:
    """Return the reply to one question."""
    if members is None and errors is None:
        return None
    data = b"null" if members is None else b"{%b}" % b",".join(members)
    return b'{"data":%b%b}' % (data, b',"errors":' + encode(errors) if errors else b"")


def _number(error: Any, count: int) -> int | None:
    """Return the question that an error is about; None if it does not say."""
    path = error.get("path") if isinstance(error, dict) else None
    first = path[0] if isinstance(path, list) and path else None
    match = ALIAS.fullmatch(first) if isinstance(first, str) else None
    number = int(match[1]) if match else count
    return number if number < count else None


def _decoded(content: bytes) -> _Reply:
    """Decode a reply with something odd in it, such as NaN."""
    body = decode(content)
    if not isinstance(body, dict):
        return _Reply(errors=None)
    data = body.get("data")
    if isinstance(data, dict):
        data = {name: Raw(encode(value)) for name, value in data.items()}
    else:
        data = None
    return _Reply(data, body.get("errors"), body.get("message"))
