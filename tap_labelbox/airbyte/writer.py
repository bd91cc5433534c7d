"""Write Airbyte messages, many records at a time.

A state is of one stream: Airbyte commits each as soon as the records before it are in
the warehouse, whatever became of those of other streams. That is what the states of
this tap are made for (see :mod:`tap_labelbox.singer.state`): a stream's bookmark claims
no more than that stream's own records. Here the state of the tap is taken apart, and of
each stream is written what is news.

What a stream vouches for others is left out. It stands for streams that have no records
and of which a Singer target may keep nothing; Airbyte keeps a state of each, and lets a
user clear one stream alone.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib import RecordMessage, SchemaMessage, StateMessage

from tap_labelbox.records.json_text import encoder
from tap_labelbox.singer.shared_state import WITHOUT_RECORDS
from tap_labelbox.singer.writer import MessageWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from singer_sdk.helpers.types import TapState
    from singer_sdk.singerlib import Message

# Airbyte's tools cut lines where Python's `splitlines` does. JSON has the others as
# escapes in any case.
LINE_ENDS = {
    b"\xc2\x85": rb"\u0085",
    b"\xe2\x80\xa8": rb"\u2028",
    b"\xe2\x80\xa9": rb"\u2029",
}
LEVELS = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARN",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "FATAL",
}


def escaped(lines: bytes) -> bytes:
    """Return JSON without what some take for the end of a line."""
    for end, escape in LINE_ENDS.items():
        if end[0] in lines:  # one byte is found fastest, and is rare
            lines = lines.replace(end, escape)
    return lines


def now_milliseconds() -> int:
    """Return the time since 1970 in milliseconds, as Airbyte stamps what it emits."""
    return time.time_ns() // 1_000_000


class AirbyteWriter(MessageWriter):
    """Writes the messages of a source to standard output."""

    def __init__(self) -> None:
        """Start with no stream."""
        super().__init__()
        self._lock = threading.Lock()  # the log is written by any thread
        self._is_over = False
        self._incremental: frozenset[str] = frozenset()
        self._to_end: dict[str, None] = {}  # streams, in order
        self._begun: set[str] = set()
        self._stated: set[str] = set()
        self._states: dict[str, bytes] = {}  # as they were last written, or given
        self._counts: dict[str, int] = {}  # of records since then
        self._stream_of: dict[bytes, str] = {}  # by what a record begins with

    def read(
        self, streams: Mapping[str, bool], states: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Prepare for a read.

        Args:
            streams: Those to read, and whether each goes on from its state.
            states: What was given of each.
        """
        self._to_end = dict.fromkeys(streams)
        self._counts = dict.fromkeys(streams, 0)
        self._incremental = frozenset(
            name for name, goes_on in streams.items() if goes_on
        )
        self._states = {name: _encoded(state) for name, state in states.items()}

    # --- records ---------------------------------------------------------------

    def begin_with(self, state: bytes) -> None:
        """Do nothing: Airbyte has the state that it gave."""

    def beginning_of_record(self, stream: str, version: int | None) -> bytes:
        """Return what each RECORD of a stream begins with; the first one is near."""
        del version
        self._write(lambda: [_status(stream, "RUNNING")])
        head = b'{"type":"RECORD","record":{"stream":' + encoder.encode(stream)
        beginning = head + b',"data":'
        self._stream_of[beginning] = stream
        return beginning

    def end_of_record(self) -> bytes:
        """Return what each RECORD ends with that is written just now."""
        return b',"emitted_at":%d}}\n' % now_milliseconds()

    def put_out(self, parts: list[bytes]) -> None:
        """Write whole lines, which come in parts, to standard output.

        Records are counted here: each has three parts, and nothing interrupts this.
        """
        for beginning, count in Counter(parts[::3]).items():
            if stream := self._stream_of.get(beginning):
                self._counts[stream] += count
        self._put(escaped(b"".join(parts)))

    # --- all other messages ------------------------------------------------------

    def write_message(self, message: Message) -> None:
        """Write what Airbyte has for a message of Singer's."""
        if isinstance(message, SchemaMessage):
            self.has_begun = True
            self._write(partial(self._start, message.stream))
        elif isinstance(message, RecordMessage):
            self.write_record(message.stream, None, message.record)
        elif isinstance(message, StateMessage):
            self._write(partial(self._news, message.value.get("bookmarks", {})))

    def end_stream(self, stream: str, state: TapState, *, is_complete: bool) -> None:
        """Write the last state of a stream, and that it is done."""
        status = "COMPLETE" if is_complete else "INCOMPLETE"
        if stream in self._to_end:
            self._write(partial(self._end, stream, state, status))

    def end_run(self, state: TapState) -> None:
        """Write of each stream that did not come to its end that it is incomplete."""
        for stream in [*self._to_end]:
            self._write(partial(self._end, stream, state, "INCOMPLETE"))

    def _start(self, stream: str) -> list[bytes]:
        if stream not in self._to_end or stream in self._begun:
            return []
        self._begun.add(stream)
        return [_status(stream, "STARTED")]

    def _news(self, bookmarks: Mapping[str, Any]) -> list[bytes]:
        """Return the STATE of each stream that has another one now."""
        streams = (name for name in self._to_end if name in self._begun)
        lines = [line for name in streams for line in self._state_of(name, bookmarks)]
        self.last_line = b"".join(lines)
        self.written_bytes += len(self.last_line)
        return lines

    def _end(self, stream: str, state: TapState, status: str) -> list[bytes]:
        is_first = stream not in self._begun  # there is nothing of it then
        del self._to_end[stream]
        self._begun.add(stream)
        bookmarks = state.get("bookmarks", {})
        before = [_status(stream, "STARTED")] * is_first
        last = [] if is_first else self._state_of(stream, bookmarks, is_last=True)
        return [*before, *last, _status(stream, status)]

    def _state_of(
        self, stream: str, bookmarks: Mapping[str, Any], *, is_last: bool = False
    ) -> list[bytes]:
        """Return the STATE of a stream; nothing if it has no news.

        What is read whole each time has nothing to go on from, and one STATE at its
        end; so has what has no news at all.
        """
        goes_on = stream in self._incremental
        state = _encoded(bookmarks.get(stream) or {}) if goes_on else b"{}"
        has_news = goes_on and self._states.get(stream, b"{}") != state
        is_due = stream not in self._stated or self._counts[stream]
        if not (has_news or (is_last and is_due)):
            return []
        self._stated.add(stream)
        self._states[stream] = state
        count, self._counts[stream] = self._counts[stream], 0
        return [
            b'{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":'
            b'{"name":' + encoder.encode(stream) + b'},"stream_state":' + state + b"},"
            b'"sourceStats":{"recordCount":%d.0}}}\n' % count
        ]

    def _write(self, lines: Callable[[], list[bytes]]) -> None:
        """Write lines after all records that came before.

        Args:
            lines: Returns them, and notes that they are written: both, or neither.
        """
        self.flush()
        self._writing = True  # until that is over, nothing interrupts
        try:
            self._buffer += (b"".join(lines()),)
        except BaseException:
            self._writing = False
            raise
        self.flush()
        self._buffer_limit = 0

    # --- what is not of a read -----------------------------------------------------

    def write(self, message: Mapping[str, Any]) -> None:
        """Write any message."""
        self._write(lambda: [encoder.encode(message) + b"\n"])

    def log(self, level: str, text: str) -> None:
        """Write a line of the log, from any thread."""
        message = {"type": "LOG", "log": {"level": level, "message": text}}
        line = escaped(encoder.encode(message)) + b"\n"
        if threading.current_thread() is not threading.main_thread() or self._writing:
            self._put(line)
            return
        self._writing = True  # a signal may not cut it, nor keep the lock
        try:
            self._put(line)
        finally:
            self._writing = False
        if self._interruption:
            raise self._interruption

    def fail(self, text: str, failure_type: str) -> None:
        """Write why the run has failed; nothing is written after that."""
        error = {
            "message": text,
            "internal_message": text,
            "failure_type": failure_type,
        }
        trace = {"type": "ERROR", "emitted_at": now_milliseconds(), "error": error}
        self.write({"type": "TRACE", "trace": trace})
        self._is_over = True

    def _put(self, lines: bytes) -> None:
        with self._lock:
            if not self._is_over:
                super().put_out([lines])


class LogHandler(logging.Handler):
    """Writes what is logged as LOG messages."""

    def __init__(self, writer: AirbyteWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; where nobody takes it any more, to standard error."""
        try:
            level = LEVELS.get(record.levelno, "INFO")
            self._writer.log(level, self.format(record))
        except Exception:  # noqa: BLE001  # as other handlers do
            print(record.getMessage(), file=sys.stderr)  # noqa: T201  # the last way


def _encoded(state: Mapping[str, Any]) -> bytes:
    """Return the state of a stream as it is written."""
    return encoder.encode({k: v for k, v in state.items() if k != WITHOUT_RECORDS})


def _status(stream: str, status: str) -> bytes:
    trace = {
        "type": "STREAM_STATUS",
        "emitted_at": now_milliseconds(),
        "stream_status": {
            "stream_descriptor": {"name": stream},
            "status": status,
        },
    }
    return encoder.encode({"type": "TRACE", "trace": trace}) + b"\n"
