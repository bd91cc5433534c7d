"""Write Singer messages, many records at a time.

The text of a RECORD is joined around the record, which msgspec encodes; it passes on
what is :class:`msgspec.Raw` as it is.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib import RecordMessage, SchemaMessage, StateMessage
from singer_sdk.singerlib.encoding.base import GenericSingerWriter

from tap_labelbox.api.errors import LabelboxError, ResourceError, shortage
from tap_labelbox.records.json_text import encode_shallow, encoder

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from singer_sdk.helpers.types import Record, TapState
    from singer_sdk.singerlib import Message

    from tap_labelbox.singer.stream import DirectStream

MAX_BUFFER_BYTES = 64 * 1024
PIPE_BYTES = 1024 * 1024  # the most that Linux lets anybody have
COUNTED_RECORDS = 1000  # after so many, whether to log how many there are


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
        self._buffered_bytes = 0  # of what is in it
        self._writing = False
        self._interruption: BaseException | None = None
        self._beginnings: dict[str, bytes] = {}
        self._end_of_record = b""
        self.enlarge_pipe()

    def enlarge_pipe(self) -> None:
        """Ask for a larger pipe: with 64 KB, tap and target wait for each other.

        That costs an eighth of the time of `labels`, and no CPU.
        """
        with suppress(OSError):
            if hasattr(fcntl, "F_SETPIPE_SZ"):  # on Linux
                fcntl.fcntl(sys.stdout.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def has_open_files(self) -> bool:
        """True if there are records that only :meth:`close` writes."""
        return False

    def serialize_message(self, message: Message) -> bytes:
        """Return the line of a message.

        That of a STATE without the SDK's copy of it, which took a tenth of an export.
        """
        content = (
            {"type": "STATE", "value": message.value}
            if isinstance(message, StateMessage)
            else message.to_dict()
        )
        return encoder.encode(content) + b"\n"

    def begin_with(self, state: bytes) -> None:
        """Write this state after the first SCHEMA messages, before anything else."""
        self._base = b'{"type":"STATE","value":' + state + b"}\n"

    def end_stream(self, stream: str, state: TapState, *, is_complete: bool) -> None:
        """Note that a stream has been read; Singer has no message for that.

        Args:
            stream: Its name.
            state: Of the tap; no record of the stream comes after it.
            is_complete: Whether nothing of it was left out that is an error.
        """

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

    def write_records(
        self, stream: DirectStream, version: int | None, records: Iterable[Record]
    ) -> None:
        """Write records of a stream with nothing in between.

        Args:
            stream: Theirs, whose count of records is raised.
            version: Of the full table that they are of, if they are of one.
            records: As they are made; what they become on their way out is written.
        """
        name, changes, write = stream.name, stream.changes, self.write_record
        for record in records:
            if not stream.has_records:
                stream.note_first_record()
            for change in changes:
                record = change(record)  # noqa: PLW2901
            write(name, version, record)
            stream.record_count += 1
            if stream.record_count % COUNTED_RECORDS == 0:
                stream.log_count()
            if self.is_full:
                stream.finish_batch()

    def write_record(
        self, stream: str, version: int | None, record: Mapping[str, Any]
    ) -> None:
        """Write a record as it is."""
        beginning = self._beginnings.get(stream) or self._begin(stream, version)
        buffer = self._buffer  # which is another list after each flush
        if not buffer:
            self._end_of_record = self.end_of_record()
        try:
            line = encoder.encode(record)
        except RecursionError:
            line = encode_shallow(record)
        # In one step, which no signal can interrupt.
        end = self._end_of_record
        buffer += (beginning, line, end)
        size = len(beginning) + len(line) + len(end)
        self._buffered_bytes += size
        self.written_bytes += size
        self.ended_with_state = False
        if self._buffered_bytes > self._buffer_limit:
            self.flush()

    def close(self) -> None:
        """Write out all records."""
        self.flush()

    def _begin(self, stream: str, version: int | None) -> bytes:
        self._write_base()
        beginning = self._beginnings[stream] = self.beginning_of_record(stream, version)
        return beginning

    def beginning_of_record(self, stream: str, version: int | None) -> bytes:
        """Return what each RECORD of a stream begins with."""
        head: dict[str, Any] = {"type": "RECORD", "stream": stream}
        if version is not None:
            head["version"] = version
        return encoder.encode(head).removesuffix(b"}") + b',"record":'

    def end_of_record(self) -> bytes:
        """Return what each RECORD ends with that is written just now."""
        now = datetime.now(UTC).isoformat()
        return f',"time_extracted":"{now}"}}\n'.encode()

    def flush(self) -> None:
        """Write out what is in the buffer.

        Raises:
            LabelboxError: If nobody takes it.
        """
        self._writing = True
        # Taken away before it is written: whatever happens, nothing goes out twice.
        buffer, self._buffer = self._buffer, []
        self._buffer_limit, self._buffered_bytes = MAX_BUFFER_BYTES, 0
        try:
            self.put_out(buffer)
        except OSError as error:
            # What is left of it would be tried again when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            msg = f"standard output cannot be written: {error.strerror}"
            if isinstance(error, BrokenPipeError):
                msg = "the target has closed its input: see its log"
            kind = ResourceError if shortage(error) else LabelboxError
            raise kind(msg) from None
        finally:
            self._writing = False
        if self._interruption:
            raise self._interruption

    def put_out(self, parts: list[bytes]) -> None:
        """Write whole lines, which come in parts, to standard output."""
        left = memoryview(b"".join(parts))
        # Tests put something else in the place of standard output. A write that
        # a signal interrupts was seen to end early, without an error.
        while left:
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()

    def interrupt(self, by: BaseException) -> None:
        """Raise an error here and now, or after the write that goes on just now."""
        self._interruption = by
        if not self._writing:
            raise by

    def resume(self) -> None:
        """Forget an interruption, to write what is left to be written."""
        self._interruption = None
