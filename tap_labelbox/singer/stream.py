"""A stream whose records go directly to the writer, and what the others need of it.

What the SDK does for each record (look at every nested value for one that is not
selected or not of its type, build a message, encode it in Python, flush the line)
costs several times as much as all the rest. Records that need none of this take the
fast path, to :meth:`MessageWriter.write_records`; all others go through the SDK.

Only here is known what the SDK does between a record and its line;
``docs/sdk-proposal.md`` asks for a seam that would make it needless. Streams use the
public methods, none of the SDK's private ones.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform
from singer_sdk.metrics import DEFAULT_LOG_INTERVAL
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE

from tap_labelbox.api.errors import LabelboxError, SettingsError
from tap_labelbox.records.json_text import decode_raw
from tap_labelbox.records.malformed import shortened
from tap_labelbox.records.values import without
from tap_labelbox.singer.metrics import RecordCounter, SyncTimer
from tap_labelbox.singer.writer import COUNTED_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from contextlib import AbstractContextManager

    from singer_sdk import Tap, metrics
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog, MetadataMapping, RecordMessage

    from tap_labelbox.singer.state import StateWriter
    from tap_labelbox.singer.tap import SingerTap
    from tap_labelbox.singer.writer import MessageWriter

# At its most talkative, it logs what expressions make of records.
logging.getLogger("singer_sdk.mapper").setLevel(logging.INFO)


class DirectStream(Stream):
    """A stream whose records have the schema's columns, with values that fit."""

    # Nothing to conform: see above. The SDK would also not understand Raw.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    has_records = False
    """Whether this run has written any."""
    record_count = 0
    """RECORD messages that this run has written, under whatever name."""
    _has_header = False
    _counter: RecordCounter | None = None  # while the stream is being synced

    @property
    def tap(self) -> Tap:
        """The tap that the stream belongs to."""
        return self._tap

    @property
    def metadata(self) -> MetadataMapping:
        """The catalog's, or what a catalog begins with."""
        is_new = self._metadata is None
        mapping = super().metadata
        catalog = self._tap_input_catalog
        if is_new and not (catalog and catalog.get_stream(self.name)):
            for column in self.unselected_columns:
                mapping["properties", column].selected_by_default = False
        return mapping

    @property
    def unselected_columns(self) -> Iterable[str]:
        """The columns that a catalog has to select, or they are left out."""
        return ()

    @property
    def is_test(self) -> bool:
        """True if a few records are enough."""
        return self.ABORT_AT_RECORD_COUNT is not None

    @cached_property
    def is_direct(self) -> bool:
        """True if records need nothing of what the SDK can do to them."""
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
        """The writer of all messages of this run."""
        return cast("MessageWriter", self._tap.message_writer)

    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply a catalog; what it does not say stays as it is.

        The SDK takes a stream without a replication key for one that has none, and
        without keys for one whose rows are all different.
        """
        primary_keys, replication_key = self.primary_keys, self.replication_key
        super().apply_catalog(catalog)
        entry = catalog.get_stream(self.name)
        if entry and entry.key_properties is None:
            self.primary_keys = tuple(self.primary_keys) or primary_keys
        self.replication_key = replication_key

    def log(self, message: str, *args: Any, **options: Any) -> None:
        """Log at DEBUG what the SDK has to say of this stream.

        Not its "unhandled error" before every error: the tap logs that once.
        """
        if options.get("level") != logging.ERROR:
            super().log(message, *args, **options | {"level": logging.DEBUG})

    def get_record_counter(
        self,
        *,
        endpoint: str | None = None,
        log_interval: float = DEFAULT_LOG_INTERVAL,
    ) -> metrics.Counter:
        """Count the records of all projects, whoever writes them."""
        del endpoint
        self._counter = RecordCounter(self, log_interval)
        return self._counter

    def get_sync_timer(self) -> metrics.Timer:
        """Measure how long all projects take."""
        return SyncTimer(self.name)

    # --- messages --------------------------------------------------------------

    def write_header(self) -> None:
        """Write the SCHEMA, and give the records of a full table their version."""
        self._write_schema_message()
        is_full_table = self.replication_method == REPLICATION_FULL_TABLE
        if is_full_table and self.emit_activate_version_messages:
            self._stream_version = self._tap.initialized_at // 1000

    def _write_schema_message(self) -> None:
        """Write the SCHEMA once, though there may be several reasons to."""
        if not self._has_header:
            super()._write_schema_message()
        self._has_header = True

    @cached_property
    def write_records(self) -> Callable[[Iterable[Record]], None]:
        """Writes records that :meth:`get_records` does not yield; few in a test."""
        if self.is_test:
            return self._write_few
        return self._write_directly if self.is_direct else self._write_mapped

    @cached_property
    def _write_directly(self) -> Callable[[Iterable[Record]], None]:
        return partial(self.writer.write_records, self, self._stream_version)

    def _write_mapped(self, records: Iterable[Record]) -> None:
        for record in records:
            self._write_record_message(record)

    def _write_few(self, records: Iterable[Record]) -> None:
        remaining = cast("int", self.ABORT_AT_RECORD_COUNT) - self.record_count
        self._write_mapped(islice(records, max(0, remaining)))

    def _write_record_message(self, record: Record) -> None:
        if self.is_direct:
            self._write_directly([record])
            return
        if not self.has_records:
            self.note_first_record()
        for change in self.changes:
            record = change(record)
        chosen = decode_raw(record)
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
            self.finish_batch()

    def _generate_record_messages(
        self, record: Record
    ) -> Generator[RecordMessage, None, None]:
        for message in super()._generate_record_messages(record):
            if more := message.record.keys() - self._schema_columns[message.stream]:
                # Targets drop them, most without a word.
                names = ", ".join(sorted(shortened(column) for column in more))
                msg = (
                    f"{message.stream} has columns that its SCHEMA lacks: {names}; add "
                    "them to the catalog's schema, or remove what adds them there "
                    "or in stream_maps"
                )
                raise SettingsError(msg)
            self.record_count += 1
            yield message

    @cached_property
    def _schema_columns(self) -> dict[str, set[str]]:
        """The columns that the SCHEMA of each name has under which this is written."""
        columns: dict[str, set[str]] = {}
        for stream_map in self.stream_maps:
            properties = stream_map.transformed_schema["properties"]
            columns.setdefault(stream_map.stream_alias, set()).update(properties)
        return columns

    def note_first_record(self) -> None:
        """Note, before it is written, that there is a record."""
        self.has_records = True

    @cached_property
    def replace(self) -> Callable[[Record], Record] | None:
        """Returns a record with other values in some columns; None to keep all."""
        return None

    @cached_property
    def changes(self) -> list[Callable[[Record], Record]]:
        """The functions that each record goes through on its way out."""
        changes = [self.replace] if self.replace else []
        if self.deselected:
            changes.append(partial(without, self.deselected))
        if large_values := cast("SingerTap", self._tap).large_values:
            kept = frozenset([*self.primary_keys, *self.schema.get("required", ())])
            changes.append(partial(large_values.removed, self.name, kept=kept))
        return changes

    def finish_batch(self) -> None:
        """Write the files of records that are full, and a STATE if it is time."""
        self.writer.close()
        self.checkpoint()

    def log_count(self) -> None:
        """Log the records so far, if it is time; to be called every so many."""
        if self._counter:
            self._counter.increment(COUNTED_RECORDS)

    # The SDK writes the version of a full table before its first record. Then a target
    # that deletes all older rows does so whether or not the new ones come.

    def _write_activate_version_message(self, full_table_version: int) -> None:
        """Do nothing: see :meth:`write_activate_version`."""

    def write_activate_version(self) -> None:
        """Write the version of a full table: a target then deletes all older rows."""
        if self._stream_version is not None:
            super()._write_activate_version_message(self._stream_version)

    def end(self, *, is_complete: bool) -> None:
        """Note that all records have been read that can be.

        Args:
            is_complete: Whether nothing was left out that is an error.
        """
        self.writer.end_stream(self.name, self.tap_state, is_complete=is_complete)

    # --- STATE -----------------------------------------------------------------

    def checkpoint(self) -> None:
        """Write a STATE if one is worth its bytes; to be called as often as wanted.

        All records up to every bookmark have to be written by then.
        """
        if cast("StateWriter", self._tap.state_writer).is_due():
            self.write_state()

    def write_state(self) -> None:
        """Write a STATE, unless there are records in files with room left."""
        if not self.writer.has_open_files:
            self._tap.state_writer.write_state(self.tap_state)

    def _write_state_message(self) -> None:
        """Do as the SDK wishes, but no oftener than :meth:`checkpoint` does."""
        _ = self.stream_state  # there is one then
        self.checkpoint()

    # --- the loop --------------------------------------------------------------

    def syncing(self) -> AbstractContextManager[None]:
        """Return what surrounds the reading and writing of all records."""
        return nullcontext()

    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[Record, Any, Any]:
        with self.syncing():
            try:
                if self.is_direct and write_messages and not self.is_test:
                    self._sync_directly()
                else:
                    yield from super()._sync_records(
                        context, write_messages=write_messages
                    )
            finally:  # batch files that are open, be it after an error
                self.writer.close()
                self._write_state_message()

    def _sync_directly(self) -> None:
        """Write all records with nothing in between."""
        with self.get_record_counter(), self.get_sync_timer():
            for context in self.partitions or [{}]:
                records = cast("Iterable[Record]", self.get_records(context or None))
                self._write_directly(records)

    def _process_record(self, *_: object, **options: object) -> None:
        """Do nothing: there are no children, and a filter would meet Raw here."""

    def get_batch_config(self, config: Mapping[str, Any]) -> None:
        """Keep the SDK from making batch files: it would take unfinished records."""
