"""Writing Singer messages about as fast as bytes can be joined.

What the SDK does for each record (look at every nested value for one that is not
selected or not of its type, build a message, encode it in Python, flush the line)
costs several times as much as all the rest. Records that need none of this are
written straight: the text of a RECORD around the record, encoded by msgspec, which
passes on what is :class:`msgspec.Raw` as it is. All others go through the SDK.

This file is the only one that knows what the SDK does between a record and its
line; ``docs/sdk-proposal.md`` asks for a seam that would make it needless.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.metrics import DEFAULT_LOG_INTERVAL
from singer_sdk.singerlib import RecordMessage, SchemaMessage, StateMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter

from tap_labelbox.api.errors import (
    LabelboxError,
    ResourceError,
    SettingsError,
    shortage,
)
from tap_labelbox.records.json_text import decode_raw, encode_shallow, encoder
from tap_labelbox.records.malformed import shortened
from tap_labelbox.singer.metrics import RecordCounter, SyncTimer

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from singer_sdk import metrics
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Message

    from tap_labelbox.singer.state import StateWriter

# At its most talkative, it logs what expressions make of records.
logging.getLogger("singer_sdk.mapper").setLevel(logging.INFO)

MAX_BUFFER_BYTES = 64 * 1024  # bytes
CHECK_EVERY_RECORDS = 1000  # whether to log how many there are
PIPE_BYTES = 1024 * 1024  # bytes; the most that Linux lets anybody have


class MessageWriter(GenericSingerWriter[bytes, "Message"]):
    """Writes messages to standard output, many records at a time."""

    def __init__(self) -> None:
        """Start with nothing gathered."""
        self.has_begun = False
        """Whether a SCHEMA has been written."""
        self.ended_with_state = False
        self.last_line = b""
        """The last message that is no RECORD."""
        self.written_bytes = 0
        self.is_full = False
        self._base: bytes | None = None
        self._buffer_limit = 0  # bytes; none for the first record, which says: it works
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0  # of the records in it, in bytes, near enough
        self._writing = False
        self._interruption: BaseException | None = None
        # A pipe of the usual 64 KB makes tap and target wait for each other.
        with suppress(OSError):
            if hasattr(fcntl, "F_SETPIPE_SZ"):  # on Linux
                fcntl.fcntl(sys.stdout.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._beginnings: dict[str, bytes] = {}
        self._end_of_record = b""

    @property
    def has_open_files(self) -> bool:
        """Whether there are records that go out with :meth:`close` only."""
        return False

    def serialize_message(self, message: Message) -> bytes:
        """Return the line of a message."""
        return encoder.encode(message.to_dict()) + b"\n"

    def begin_with(self, state: bytes) -> None:
        """Write this state after the first SCHEMA messages, before anything else."""
        self._base = b'{"type":"STATE","value":' + state + b"}\n"

    def write_message(self, message: Message) -> None:
        """Write a message; all but records go out at once."""
        if isinstance(message, SchemaMessage):
            self.has_begun = True
        else:
            self._write_base()
        line = self.format_message(message)
        self._buffer.append(line)
        self._buffered_bytes += len(line)
        self.written_bytes += len(line)
        self.ended_with_state = isinstance(message, StateMessage)
        if not isinstance(message, RecordMessage):
            self.last_line = line
            self.flush()
            self._buffer_limit = 0
        elif self._buffered_bytes > self._buffer_limit:
            self.flush()

    def _write_base(self) -> None:
        """Write the state that the run was given, before all but SCHEMA messages."""
        if self._base is not None:
            self.last_line = self._base
            self.ended_with_state = True
            # Forgotten last: at a signal in between it goes out twice, not never.
            self._buffer += (self.last_line,)
            self._base = None
            self.written_bytes += len(self.last_line)
            self.flush()

    def write_record(self, stream: str, version: int | None, record: Record) -> None:
        """Write a record as it is."""
        beginning = self._beginnings.get(stream) or self._begin(stream, version)
        buffer = self._buffer  # which is another list after each flush
        if not buffer:
            now = datetime.now(UTC).isoformat()
            self._end_of_record = f',"time_extracted":"{now}"}}\n'.encode()
        try:
            line = encoder.encode(record)
        except RecursionError:
            line = encode_shallow(record)
        # In one step, which no signal can interrupt.
        buffer += (beginning, line, self._end_of_record)
        self._buffered_bytes += len(line)
        self.written_bytes += len(line)
        self.ended_with_state = False
        if self._buffered_bytes > self._buffer_limit:
            self.flush()

    def close(self) -> None:
        """Let out all records that were written."""
        self.flush()

    def _begin(self, stream: str, version: int | None) -> bytes:
        """Return what each RECORD of a stream begins with."""
        self._write_base()
        head: dict[str, Any] = {"type": "RECORD", "stream": stream}
        if version is not None:
            head["version"] = version
        beginning = encoder.encode(head).removesuffix(b"}") + b',"record":'
        self._beginnings[stream] = beginning
        return beginning

    def flush(self) -> None:
        """Let out what has been gathered.

        Raises:
            LabelboxError: If nobody takes it.
        """
        self._writing = True
        # Taken away before it is written: whatever happens, nothing goes out twice.
        buffer, self._buffer = self._buffer, []
        self._buffer_limit, self._buffered_bytes = MAX_BUFFER_BYTES, 0
        left = memoryview(b"".join(buffer))
        try:
            # Tests put something else in the place of standard output. A write that
            # a signal interrupts was seen to end early, without an error.
            while left:
                left = left[sys.stdout.buffer.write(left) :]
            sys.stdout.buffer.flush()
        except OSError as error:
            # What is left of it would be tried again when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            msg = f"standard output cannot be written: {error.strerror}"
            if isinstance(error, BrokenPipeError):
                msg = "the target has closed its input: its own log says why"
            kind = ResourceError if shortage(error) else LabelboxError
            raise kind(msg) from None
        finally:
            self._writing = False
        if self._interruption:
            raise self._interruption

    def interrupt(self, by: BaseException) -> None:
        """Raise an error here and now, or after the write that goes on just now."""
        self._interruption = by
        if not self._writing:
            raise by

    def resume(self) -> None:
        """Forget an interruption, to write what is left to be written."""
        self._interruption = None


class DirectStream(Stream):
    """A stream whose records have the schema's columns, with values that fit."""

    # Nothing to conform: see above. The SDK would also not understand Raw.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    has_records = False
    """Whether this run has written any."""
    record_count = 0
    """RECORD messages that this run has written, under whatever name."""

    @property
    def is_test(self) -> bool:
        """Whether a few records are wanted, not all."""
        return self.ABORT_AT_RECORD_COUNT is not None

    @cached_property
    def is_direct(self) -> bool:
        """Whether records need nothing of what the SDK can do to them."""
        nested = any(
            len(breadcrumb) > len(("properties", "column")) and not selected
            for breadcrumb, selected in self.mask.items()
        )
        (stream_map, *more) = self.stream_maps
        return (
            not nested
            and not more
            and type(stream_map) is SameRecordTransform
            and not stream_map.flattening_enabled
        )

    @cached_property
    def deselected(self) -> frozenset[str]:
        """The columns that the catalog leaves out, or does not know of."""
        known = self.effective_schema["properties"]
        return frozenset(
            column
            for column in self.schema["properties"]
            if column not in known or not self.mask["properties", column]
        )

    @cached_property
    def writer(self) -> MessageWriter:
        """Where all messages of this run go."""
        return cast("MessageWriter", self._tap.message_writer)

    def get_record_counter(
        self,
        *,
        endpoint: str | None = None,
        log_interval: float = DEFAULT_LOG_INTERVAL,
    ) -> metrics.Counter:
        """Count the records of all projects."""
        del endpoint
        return RecordCounter(self.name, log_interval)

    def get_sync_timer(self) -> metrics.Timer:
        """Measure how long all projects take."""
        return SyncTimer(self.name)

    def _sync_directly(self) -> None:
        """Write all records with nothing in between."""
        with self.get_record_counter() as counter, self.get_sync_timer():
            for given in self.partitions or [{}]:
                for record in self.get_records(given or None):
                    self._write_directly(cast("Record", record))
                    counter.value += 1
                    if counter.value % CHECK_EVERY_RECORDS == 0:
                        counter.increment(0)  # which looks whether to log: seldom

    def _process_record(self, *_: object, **options: object) -> None:
        """Do nothing: there are no children, and a filter would meet Raw here."""

    def _write_record_message(self, record: Record) -> None:
        if self.is_direct:
            self._write_directly(record)
            return
        if not self.has_records:
            self.note_first_record()
        chosen = decode_raw(self._selected_columns(record))
        try:
            super()._write_record_message(chosen)
        except LabelboxError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever an expression can raise
            # Not what it says, which may quote the record.
            msg = (
                f"a record of {self.name} cannot be mapped or flattened "
                f"({type(error).__name__}): check stream_maps and flattening_enabled"
            )
            raise SettingsError(msg) from None
        if self.writer.is_full:
            self._finish_batch()

    def _generate_record_messages(
        self, record: Record
    ) -> Generator[RecordMessage, None, None]:
        for message in super()._generate_record_messages(record):
            if more := message.record.keys() - self._announced_columns[message.stream]:
                # Targets drop them, most without a word.
                named = ", ".join(sorted(shortened(column) for column in more))
                msg = (
                    f"{message.stream} has columns that its SCHEMA lacks: {named}; add "
                    "them to the catalog's schema, or take out what makes them there "
                    "or in stream_maps"
                )
                raise SettingsError(msg)
            self.record_count += 1
            yield message

    @cached_property
    def _announced_columns(self) -> dict[str, set[str]]:
        """The columns that the SCHEMA of each name has under which this is written."""
        columns: dict[str, set[str]] = {}
        for stream_map in self.stream_maps:
            properties = stream_map.transformed_schema["properties"]
            columns.setdefault(stream_map.stream_alias, set()).update(properties)
        return columns

    def _write_directly(self, record: Record) -> None:
        if not self.has_records:
            self.note_first_record()
        writer = self.writer
        writer.write_record(
            self.name, self._stream_version, self._selected_columns(record)
        )
        self.record_count += 1
        if writer.is_full:
            self._finish_batch()

    def note_first_record(self) -> None:
        """Note, before it is written, that there is a record."""
        self.has_records = True

    def _selected_columns(self, record: Record) -> Record:
        if not self.deselected:
            return record
        # Not taken out of the record: its maker may need it.
        return {c: v for c, v in record.items() if c not in self.deselected}

    def _finish_batch(self) -> None:
        self.writer.close()
        self.checkpoint()

    # Three things differ where the writer makes batch files: the SDK makes none, a
    # STATE would close files that have room left, and what is open at the end of a
    # stream, be it an error, is closed.

    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Keep the SDK from making batch files: it would take unfinished records."""

    def checkpoint(self) -> None:
        """Write a STATE if one is worth its bytes; to be called as often as wanted.

        All records up to every bookmark have to be written by then.
        """
        state_writer = self._tap.state_writer
        if (
            not self.writer.has_open_files
            and cast("StateWriter", state_writer).is_due()
        ):
            state_writer.write_state(self.tap_state)

    def _write_state_message(self) -> None:
        """Do as the SDK wishes, but no oftener than :meth:`checkpoint` does."""
        _ = self.stream_state  # there is one then
        self.checkpoint()

    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[Record, Any, Any]:
        try:
            if self.is_direct and write_messages and not self.is_test:
                self._sync_directly()
            else:
                yield from super()._sync_records(context, write_messages=write_messages)
        finally:
            self.writer.close()
            self._write_state_message()
