"""A run of the tap whose records are taken here, not written to standard output.

The tap pushes records, and whoever reads a table pulls them. So the tap runs on a
thread, which waits while a few batches have not been taken. If nobody takes any more,
because of Ctrl-C for one, the run ends at its next batch, and all that it waits for is
closed.
"""

from __future__ import annotations

from copy import deepcopy
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Any, Protocol, cast

from singer_sdk.singerlib import RecordMessage, SchemaMessage

from tap_labelbox.api import errors
from tap_labelbox.singer.writer import MessageWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from singer_sdk.singerlib import Message

    from tap_labelbox.api.client import Client
    from tap_labelbox.singer.stream import DirectStream
    from tap_labelbox.tap import TapLabelbox

MAX_WAITING_BATCHES = 3
# Windows lets nobody interrupt a wait; this is how long Ctrl-C may take there.
CHECK_EVERY_SECONDS = 0.5
JOIN_SECONDS = 2.0  # that a run has to end when nobody reads on


class IncompleteError(errors.IncompleteError):
    """The run went on to its end, without what its text names."""

    tables: dict[str, Any]
    """What was read, by stream; of :func:`read` and :func:`read_all` only."""
    state: dict[str, Any]
    """What to go on from for whoever keeps what was read."""

    def __init__(self, message: object, state: dict[str, Any]) -> None:
        super().__init__(message)
        self.tables = {}
        self.state = state


class Batches(Protocol):
    """The records of a stream that have not been handed on."""

    def add(self, record: Mapping[str, Any]) -> Any:
        """Add a record."""

    def take_full(self) -> list[Any]:
        """Return batches that are full, and let go of them."""

    def take_rest(self) -> list[Any]:
        """Return all that is left, in batches, and let go of it."""


class RecordTaker(MessageWriter):
    """Receives the messages of a run in place of standard output.

    Args:
        make: Returns what gathers the records of a stream, by its name and schema.
    """

    def __init__(self, make: Callable[[str, Mapping[str, Any]], Batches]) -> None:
        """Start with no stream."""
        super().__init__()
        self._make = make
        self._queue = SimpleQueue[tuple[str, Any] | BaseException | None]()
        self._free = Semaphore(MAX_WAITING_BATCHES)
        self._is_over = False
        self.streams: dict[str, Batches] = {}

    # --- what the tap writes ----------------------------------------------------

    def enlarge_pipe(self) -> None:
        """Leave standard output alone."""

    def begin_with(self, state: bytes) -> None:
        """Do nothing: whoever gave the state has it."""

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def write_message(self, message: Message) -> None:
        """Receive a schema or a record; the state is looked at when all is over."""
        if isinstance(message, SchemaMessage):
            self.has_begun = True
            stream = message.stream
            if stream not in self.streams:
                self.streams[stream] = self._make(stream, message.schema)
        elif isinstance(message, RecordMessage):
            self.write_record(message.stream, None, message.record)

    def write_record(
        self, stream: str, version: int | None, record: Mapping[str, Any]
    ) -> None:
        """Receive a record; its batch is handed on if it is full now."""
        del version
        batches = self.streams[stream]
        batches.add(record)
        for batch in batches.take_full():
            self._hand_on(stream, batch)

    def _hand_on(self, stream: str, batch: Any) -> None:
        self._free.acquire()
        if self._is_over:
            self._free.release()
            raise errors.StoppedError("the reader has stopped")
        self._queue.put((stream, batch))

    def run(self, tap: TapLabelbox) -> None:
        """Hand on all records of a run, and then how it ended."""
        end: BaseException | None = None
        try:
            tap.sync_all()
            for name, batches in self.streams.items():
                for batch in batches.take_rest():
                    self._hand_on(name, batch)
            tap.workspace.check()
        except BaseException as error:  # noqa: BLE001  # raised where it is taken
            end = error
        self._queue.put(end)

    # --- who takes it -----------------------------------------------------------

    def take(self) -> tuple[str, Any] | None:
        """Return the next batch and its stream; None at the end.

        Raises:
            Exception: What ended the run.
        """
        while True:
            try:
                item = self._queue.get(timeout=CHECK_EVERY_SECONDS)
            except Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            self._free.release()
            return item

    def stop(self) -> None:
        """End the run: nobody reads on."""
        self._is_over = True
        self._free.release()


class Run:
    """A run that has not begun.

    Args:
        tap: What is run; its writer is a :class:`RecordTaker`.
        names: Of the streams that are read, in the order wanted.
        state: To be brought up to date at the end, if the caller keeps one.
    """

    def __init__(
        self, tap: TapLabelbox, names: Collection[str], state: dict[str, Any] | None
    ) -> None:
        self._tap = tap
        self._state = state
        self._taker = cast("RecordTaker", tap.writer)
        for stream in tap.streams.values():
            stream.selected = stream.name in names
        for name in names:  # those that are never reached have a schema as well
            cast("DirectStream", tap.streams[name]).write_header()

    @property
    def streams(self) -> Mapping[str, Batches]:
        """Each stream that is read, and its records that were not handed on."""
        return self._taker.streams

    @property
    def client(self) -> Client:
        """The client of the run, which is closed at its end."""
        return self._tap.workspace.client

    def batches(self) -> Iterator[tuple[str, Any]]:
        """Run it, and yield batches, each with the name of its stream.

        Raises:
            IncompleteError: At the end, if something was left out.
            LabelboxError: If the run cannot go on.
        """
        thread = Thread(
            target=self._taker.run, args=(self._tap,), name="tables", daemon=True
        )
        thread.start()
        try:
            while batch := self._taker.take():
                yield batch
        except errors.IncompleteError as error:
            raise IncompleteError(error, deepcopy(dict(self._tap.state))) from None
        finally:
            self._taker.stop()
            self._tap.workspace.client.close()
            thread.join(JOIN_SECONDS)
        if self._state is not None:
            self._state.update(deepcopy(dict(self._tap.state)))
