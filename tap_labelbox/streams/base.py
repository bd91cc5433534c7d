"""What all streams share: rows, records that match their schema, and bookmarks."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cached_property, partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL

from tap_labelbox.api.documents import GRAPHQL, Document
from tap_labelbox.api.errors import (
    ComplexityError,
    NotOfferedError,
    SettingsError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.api.reading import Reader
from tap_labelbox.records import timestamps
from tap_labelbox.records.malformed import Malformed, described, shortened
from tap_labelbox.records.values import as_id
from tap_labelbox.singer.messages import DirectStream
from tap_labelbox.singer.state import PROJECT_ID, READ_AT, ProjectState
from tap_labelbox.streams.workspace import MAX_NAMED_SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog

    from tap_labelbox.api.client import Client
    from tap_labelbox.api.errors import LabelboxError
    from tap_labelbox.api.pagination import Row
    from tap_labelbox.api.reading import Page
    from tap_labelbox.records.columns import Column, Table
    from tap_labelbox.streams.workspace import Workspace
    from tap_labelbox.tap import TapLabelbox

MAX_LOGGED = 10  # misfits of one stream
PROJECTS = "projects"
LEFT_OUT = (ComplexityError, NotOfferedError, TransientError, UnavailableError)
"""What costs a stream, or one of its projects; anything else ends the run."""


class LabelboxStream(DirectStream):
    """A table of the workspace."""

    primary_keys: tuple[str, ...] = ("id",)
    document = ""
    """What the rows are read with; of the stream's own name if nothing is said."""
    path = GRAPHQL
    """Of the endpoint, beside the configured address."""
    max_page_rows = 100
    may_be_null = False
    """Whether null in place of the rows stands for none."""
    parents = PROJECTS
    """The stream whose IDs the document takes, if it takes any."""
    nested_in = ""
    """What holds the rows within a row of the document: an alias with an underscore."""
    nested_key = ""
    """The column that has the ID of the row of the document."""
    place = ""
    """The column that has the place in the list, from 0."""
    _unmapped_records = 0  # records with something that fits no column
    _offered = True  # as far as is known, by this Labelbox to this account
    _has_begun = False
    _has_read = False  # some parent
    _told = 0  # parents that are left out by name

    def apply_catalog(self, catalog: Catalog) -> None:
        """Take what a catalog says; what it does not say stays as it is.

        The SDK takes a stream without a replication key for one that has none, and
        without keys for one whose rows are all different.
        """
        primary_keys, replication_key = self.primary_keys, self.replication_key
        super().apply_catalog(catalog)
        entry = catalog.get_stream(self.name)
        if entry and entry.key_properties is None:
            self.primary_keys = tuple(self.primary_keys) or primary_keys
        self.replication_key = replication_key

    @property
    def read_together(self) -> list[str]:
        """The streams that are read in one pass with this one, itself included."""
        return [self.name]

    def settle(self) -> None:
        """Bring the state up to date, before the last STATE of a run."""

    def end_run(self) -> None:
        """Bring the state into its final form, when the run went to its end."""

    # The SDK writes the version of a full table before its first record. Then a target
    # that deletes all older rows does so whether or not the new ones come.

    def _write_activate_version_message(self, *_: object) -> None:
        """Do nothing: see :meth:`activate`."""

    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[Record, Any, Any]:
        gaps = self.workspace.gaps
        with self.counted():
            yield from super()._sync_records(context, write_messages=write_messages)
        if write_messages and not self.is_test and self.workspace.gaps == gaps:
            self.conclude()

    def counted(self) -> AbstractContextManager[None]:
        """Count the requests and seconds of this stream."""
        return self.workspace.progress.reading(self.name, [self])

    def conclude(self) -> None:
        """Do what is to be done after the last record, if nothing was left out."""
        self.activate()

    def activate(self) -> None:
        """Let a target delete what this run has not read, if the stream was read whole.

        Anything left out would be deleted as well.
        """
        version = self._stream_version  # only if a full table is to have one
        if version is not None and self.is_whole:
            super()._write_activate_version_message(version)

    @property
    def is_whole(self) -> bool:
        """Whether all was there to be read."""
        parent = Document.load(self._document).parent
        knows_all = parent != PROJECT_ID or self.workspace.knows_all_projects
        return knows_all and self._offered and self.has_records

    @property
    def workspace(self) -> Workspace:
        """What the streams of this run share."""
        return cast("TapLabelbox", self._tap).workspace

    @property
    def client(self) -> Client:
        """The door to Labelbox."""
        return self.workspace.client

    # --- rows ----------------------------------------------------------------

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read the whole table; there is no context, and none of it in the state."""
        del context
        for row in self.rows():
            yield from self.records(row)
        self.note_turn()

    def note_turn(self) -> None:
        """Note when the stream had its turn: those that had none come first."""
        if not self.workspace.offline:
            self.stream_state[READ_AT] = self.workspace.started_at

    def rows(self) -> Iterator[Row]:
        """Yield all rows of the document, which are asked for once in a run.

        They are kept as long as another stream is still to be made of them.
        """
        self._has_begun = True
        kept = self.workspace.kept_rows.pop(self._document, None)
        rows = iter(kept) if kept is not None else self._read()
        is_wanted, gaps = self._is_wanted, self.workspace.gaps
        kept = []
        for row in rows:
            if is_wanted:
                kept.append(row)
            yield row
        is_all = not self.client.document(self._document).columns
        if is_wanted and is_all and self.workspace.gaps == gaps:
            self.workspace.kept_rows[self._document] = kept

    def _read(self) -> Iterator[Row]:
        """Ask for the rows of each parent in turn, with the next ones in flight."""
        if self.workspace.offline:
            return
        parent = self.reader.document().parent
        parent_ids = self.parent_ids if parent else [""]
        openings = self._in_flight({parent: parent_id} for parent_id in parent_ids)
        for parent_id, first_page in zip(parent_ids, openings, strict=False):
            given: dict[str, Any] = {parent: parent_id} if parent else {}
            numbers = count()
            try:
                for page in self.reader.pages(given, first_page):
                    for row in page:
                        yield row | given | self._placed(next(numbers))
            except LEFT_OUT as error:
                self.refuse(error, parent_id)
            else:
                self.note_read()
            if not self._offered:
                break
        self.tell_refusals()

    def _in_flight(self, given: Iterable[dict[str, Any]]) -> Iterator[Future[Page]]:
        """Ask for first pages ahead of their turn: most lists have no second."""
        jobs = (partial(self.reader.first, one) for one in given)
        return prefetch(jobs, self.max_in_flight)

    @cached_property
    def reader(self) -> Reader:
        """Reads the document, in the way that it says itself."""
        fields = frozenset().union(*(stream.fields for stream in self._family))
        self.client.narrow(self._document, self.path, fields)
        document = self.client.document(self._document)
        keys = ("id",) if self.nested_in else type(self).primary_keys
        return Reader(
            partial(self.execute, self._document),
            partial(self.client.document, self._document),
            tuple(k for k in keys if k not in {document.parent, self.place}),
            min(int(self.config["page_size"]), self.max_page_rows),
            partial(self.workspace.leave_out, self.name),
            self.max_in_flight,
            may_be_null=self.may_be_null,
        )

    @property
    def fields(self) -> frozenset[str]:
        """What of a row is asked for."""
        if self.nested_in:
            return frozenset({"id", self.nested_in})
        kept = {*type(self).primary_keys, self.replication_key}
        return frozenset(self.columns.keys() - (self.deselected - kept))

    @property
    def _document(self) -> str:
        return self.document or self.name

    @property
    def _others(self) -> list[LabelboxStream]:
        """The other selected streams; none in a test, which is one of each stream."""
        if self.is_test:
            return []
        streams = cast("Iterable[LabelboxStream]", self._tap.streams.values())
        return [s for s in streams if s is not self and s.selected]

    @property
    def _family(self) -> list[LabelboxStream]:
        """The streams that are made of the same rows, this one included."""
        same = [s for s in self._others if s._document == self._document]  # noqa: SLF001
        return [self, *same]

    @property
    def _is_wanted(self) -> bool:
        """Whether another stream, whose turn has not come, will want these rows."""
        return any(
            self._document in (stream._document, stream.parents)  # noqa: SLF001
            for stream in self._others
            if not stream._has_begun  # noqa: SLF001  # one of its own kind
        )

    @property
    def parent_ids(self) -> list[str]:
        """The parents of which the rows are asked for."""
        if self.parents == PROJECTS:
            workspace = self.workspace
            return [*workspace.sample] if self.is_test else workspace.project_ids
        parent = cast("LabelboxStream", self._tap.streams[self.parents])
        return [str(row["id"]) for row in parent.rows()]

    @property
    def max_in_flight(self) -> int:
        """How many things are asked for at once; one where one record is wanted."""
        if self.is_test:
            return 1
        return int(self.config["concurrency"])

    # --- what is left out ------------------------------------------------------

    def refuse(self, error: LabelboxError, parent_id: str = "") -> None:
        """Leave out a parent, or all that is left of the stream.

        Nothing is said of a parent before another could be read: where none can, for
        one reason, it is the stream that is refused, and one line says so.
        """
        if isinstance(error, NotOfferedError):
            self._offered = False
            self.workspace.record_failure(
                self.name, f"{error} (deselect it if that stays so)"
            )
            return
        if not parent_id:
            self._offered = False
            self.workspace.record_failure(self.name, error)
        elif isinstance(error, TransientError) or self._has_read:
            self._tell(parent_id, error)
        else:
            self._refused[parent_id] = error
        self.workspace.failures_in_a_row.count(error)

    def note_read(self) -> None:
        """Note that a parent, or a table without any, could be read."""
        self._has_read = True
        self.workspace.failures_in_a_row.end()
        self.tell_refusals()

    def tell_refusals(self) -> None:
        """Log what was refused, if that has not been done."""
        refused = dict(self._refused)
        self._refused.clear()
        reasons = {str(error) for error in refused.values()}
        if len(refused) > len(reasons) == 1 and not self._has_read:
            told = (
                f"{reasons.pop()} ({len(refused)} {self.parents}, none could be read)"
            )
            self.workspace.record_failure(self.name, told)
            return
        for parent_id, error in refused.items():
            self._tell(parent_id, error)

    def _tell(self, parent_id: str, error: LabelboxError) -> None:
        self._told += 1
        kind = self.parents.removesuffix("s")
        what = f"{kind} {parent_id}"
        if self._told > MAX_NAMED_SOURCES:
            what = f"more {self.parents}"  # which is said once
        is_gone = (
            self.parents == PROJECTS
            and isinstance(error, UnavailableError)
            and self.workspace.is_gone(parent_id)
        )
        self.workspace.record_failure(f"{self.name} of {what}", error, is_gone=is_gone)

    @cached_property
    def _refused(self) -> dict[str, LabelboxError]:
        """The parents that were refused before one could be read."""
        return {}

    # --- records ---------------------------------------------------------------

    def execute(
        self,
        document: str,
        decode_fast: Callable[[bytes], Any] | None = None,
        **variables: object,
    ) -> Any:
        """Run a document of this stream; see :meth:`Client.execute`."""
        data = self.client.execute(document, decode_fast, **variables)
        for key in (*self.primary_keys, self.replication_key, self.nested_in):
            if key in self.client.document(document).columns:
                msg = f"it cannot be read: Labelbox gives no {key}"
                raise NotOfferedError(msg)
        return data

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns by their names, in the schema's order."""
        columns = cast("Table", type(self).schema).columns
        return {column.name: column for column in columns}

    @cached_property
    def _by_path(self) -> dict[str, str]:
        """The names of the columns by where in a row their values are."""
        columns = self.columns.values()
        return {path: column.name for column in columns for path in column.paths}

    def log(self, message: str, *args: Any, **options: Any) -> None:
        """Log at DEBUG what the SDK has to say of this stream.

        Not its "unhandled error" before every error: the tap tells that once.
        """
        if options.get("level") != logging.ERROR:
            super().log(message, *args, **options | {"level": logging.DEBUG})

    def explode(self, row: Row) -> Iterable[Any]:
        """Return what is to be a record each of a row of the document: the row itself.

        Of a stream whose rows are nested, these. Where Labelbox says how many
        there are, and gives fewer, that is told.
        """
        if not self.nested_in:
            return [row]
        items: Any = row.get(self.nested_in)
        total = None
        if isinstance(items, dict):
            items, total = items.get("nodes"), items.get("count")
        if not isinstance(items, list):
            items = [] if items is None else [items]
        if isinstance(total, int) and total > len(items):
            self.workspace.note_gap(
                f"{self.name} of {self.nested_key} {shortened(row['id'])}",
                f"Labelbox gives {len(items)} of {total}, and no more can be asked for",
            )
        return [
            item | {self.nested_key: row["id"]} | self._placed(number)
            if isinstance(item, dict)
            else item
            for number, item in enumerate(items)
        ]

    def _placed(self, number: int) -> Row:
        return {self.place: number} if self.place else {}

    def records(self, row: Row) -> Iterator[Record]:
        """Yield the records of a row of the document; malformed ones are left out."""
        for item in self.explode(row):
            if not isinstance(item, dict):
                self._leave_out_item(row, f"{described(item)}, not an object")
                continue
            record = self.record(item)
            if lacking := [c for c in self._required if record[c] in (None, "")]:
                why = f"it has no {' and no '.join(lacking)} ({described(item)})"
                self._leave_out_item(row, why)
            else:
                yield record

    def _leave_out_item(self, row: Any, why: str) -> None:
        """Log that a row, or one within it, is left out."""
        row_id = as_id(row.get("id")) if isinstance(row, dict) else None
        where = f"item {shortened(row_id)}" if row_id else "an item"
        where = f"an item within {row_id}" if self.nested_in else where
        self.workspace.leave_out(self.name, Malformed(where, why))

    @cached_property
    def _required(self) -> list[str]:
        """The columns that every record has."""
        return list(self.schema.get("required", ()))

    def record(self, row: Row) -> Record:
        """Return the record of a row, and log what of it does not fit."""
        record = self.to_record(row)
        self.log_unmapped(record)
        return record

    def to_record(self, row: Row) -> Record:
        """Return a row in the stream's columns, null where it has nothing.

        What hangs on a relation becomes flat: ``created_by: {id}`` is the column
        ``created_by_id``. What does not fit its column is put aside.
        """
        unmapped: Row = {}
        record: Record = dict.fromkeys(self.columns)
        record["additional_columns"] = unmapped
        flat: list[tuple[str, str, Any]] = []
        for name, value in row.items():
            if name.startswith("_"):  # rows of another stream
                continue
            if isinstance(value, dict) and name not in self.columns:
                flat += (
                    (
                        self._by_path.get(f"{name}.{n}", f"{name}_{n}"),
                        f"{name}.{n}",
                        v,
                    )
                    for n, v in value.items()
                )
            else:
                flat.append((name, name, value))
        for column, path, value in flat:
            if value is None:
                continue
            converted = None
            known = self.columns.get(column)
            if known and known.paths and record[column] is None:
                converted = known.kind.check(value)
            if converted is not None:
                record[column] = converted
            else:
                unmapped[path if column in unmapped else column] = value
        return record

    def log_unmapped(self, record: Record) -> None:
        """Log which values of a record fit no column, for the first such records."""
        if not record["additional_columns"]:
            return
        self._unmapped_records += 1
        if self._unmapped_records <= MAX_LOGGED:
            keys = (record[key] for key in type(self).primary_keys)
            self.logger.warning(
                "%s %s: %s does not fit, see additional_columns%s",
                self.name,
                " ".join(map(shortened, keys)),
                ", ".join(map(shortened, record["additional_columns"])),
                " (no more are named)" if self._unmapped_records == MAX_LOGGED else "",
            )

    # --- bookmarks -------------------------------------------------------------

    @cached_property
    def state_manager(self) -> ProjectState:
        """Keep the bookmarks as :mod:`tap_labelbox.singer.state` says."""
        return ProjectState(
            tap_name=self.tap_name, stream_name=self.name, tap_state=self.tap_state
        )

    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """Bookmarks need no upper bound: what is read has one."""

    def compare_start_date(self, value: str, start_date_value: str) -> str:
        """Prefer the bookmark: start_date counts only where there is none."""
        del start_date_value
        return value

    @property
    def is_incremental(self) -> bool:
        """Whether earlier runs count; a catalog may have it otherwise."""
        return bool(self.replication_method == REPLICATION_INCREMENTAL)

    def bookmark(self, context: Context | None) -> str | None:
        """Return the timestamp up to which earlier runs have read a context."""
        if not self.is_incremental:
            return None
        bookmark = self.state_manager.bookmark(
            _project_id(context), str(self.replication_key)
        )
        if bookmark is None:
            return None
        if not isinstance(bookmark, str) or not timestamps.is_timestamp(bookmark):
            what = f"{self.name} {dict(context or {})}"
            msg = f"--state has no timestamp for {what}: {bookmark!r}"
            raise SettingsError(msg)
        return timestamps.normalize(bookmark)

    def since(self, context: Context | None) -> str | None:
        """Return the timestamp from which on a context is read; None for all of it."""
        project_id = _project_id(context)
        if project_id not in self._since:  # so that what is odd is told once
            self._since[project_id] = self._find_since(context)
        return self._since[project_id]

    @cached_property
    def _since(self) -> dict[str | None, str | None]:
        return {}

    def _find_since(self, context: Context | None) -> str | None:
        start_date = self.config.get("start_date")
        if start_date:
            start_date = timestamps.normalize(start_date)
        if not (bookmark := self.bookmark(context)):
            return start_date
        if bookmark > self.workspace.started_at:
            self.workspace.progress.warn(
                "The bookmark of %s%s lies in the future (%s): check "
                "this machine's clock; if it is right, run once without state",
                self.name,
                f" for project {_project_id(context)}" if context else "",
                bookmark,
            )
        lookback = self.lookback
        since = timestamps.shift(bookmark, -lookback)
        if context and (cut_off := self.lookback_end(context)):
            since = max(since, min(bookmark, timestamps.shift(cut_off, -lookback)))
        # The lookback brings back nothing that start_date left out.
        return (
            max(since, start_date) if start_date and start_date <= bookmark else since
        )

    @property
    def lookback(self) -> timedelta:
        """What is read again before a bookmark."""
        return timedelta(seconds=self.config["lookback_seconds"])

    def lookback_end(self, context: Context) -> str | None:
        """Return the timestamp that needs a lookback, if it is not the bookmark."""
        del context
        return None

    def advance(self, context: Context | None, timestamp: str) -> None:
        """Say that a context has been read up to a timestamp."""
        if self.is_incremental:
            key = str(self.replication_key)
            self.state_manager.advance(_project_id(context), key, timestamp)


class ProjectStream(LabelboxStream):
    """A table that is read project by project, with a bookmark for each.

    The projects are partitions of one stream. As children of ``projects`` the
    SDK would write the whole state once a project.
    """

    _turn_count = 0  # projects that had their turn

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read one project from its bookmark on, oldest rows first, and move that.

        The document takes the window as ``$since`` and ``$before``.
        """
        key, before = str(self.replication_key), self.workspace.started_at
        latest, in_order = "", True
        pages = self.reader.pages(self._window(context), next(self._first_pages))
        for page in pages:
            for row in page:
                for record in self.records(row | {PROJECT_ID: project_id}):
                    in_order = in_order and latest <= record[key]
                    latest = max(latest, record[key])
                    yield record
            if latest and in_order:
                self.advance(context, min(latest, before))
                self.state_manager.mark_progress(project_id)
            self.checkpoint()
        if latest:
            self.advance(context, min(latest, before))

    @cached_property
    def _first_pages(self) -> Iterator[Future[Page]]:
        """The first pages of all projects, in their turn."""
        return self._in_flight(self._window(context) for context in self.partitions)

    def _window(self, context: Context) -> dict[str, Any]:
        before = self.workspace.started_at
        return {**context, "since": self.since(context), "before": before}

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """Return a context for each project; those read longest ago come first.

        So runs that are always cut off get round all of them.
        """
        return [{PROJECT_ID: project_id} for project_id in self._turns]

    @property
    def has_enough(self) -> bool:
        """Whether a test of this stream needs no more projects."""
        return self.is_test and self.has_records

    @cached_property
    def _turns(self) -> list[str]:
        """The projects, in an order that stays while they are read."""
        cast("TapLabelbox", self._tap).prune_state()
        if self.is_test:
            return list(self.workspace.sample)
        return sorted(self.workspace.project_ids, key=self.turn_state.turn)

    @property
    def turn_state(self) -> ProjectState:
        """The state that keeps when each project had its turn."""
        return self.state_manager

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read one project; one that is not to be had does not stop the others."""
        if context is None:  # what the SDK asks for where there are no partitions
            return
        if not self._offered or self.has_enough:
            return
        project_id = context[PROJECT_ID]
        self.workspace.progress.turn(self._turn_count, len(self._turns))
        started_at = self.workspace.started_at
        self.turn_state.mark_tried(project_id, started_at)
        if project_id == self._turns[0] and not self.writer.has_open_files:
            # However soon this run is killed, the next one begins with another.
            self._tap.state_writer.write_state(self.tap_state)
        try:
            yield from self.project_records(project_id, context)
        except LEFT_OUT as error:
            self.turn_state.mark_failed(project_id, started_at)
            self.refuse(error, project_id)
        else:
            self.turn_state.mark_read(project_id, started_at)
            self.note_read()
        self._turn_count += 1
        if project_id == self._turns[-1]:
            self.tell_refusals()
            self.finish()
        self.checkpoint()

    def finish(self) -> None:
        """Note that all projects have had their turn."""
        self.state_manager.mark_all_read(self.workspace.started_at)

    def end_run(self) -> None:
        """Leave nothing in the state that says nothing."""
        if self.selected:
            self.state_manager.remove_blank()

    @property
    def is_whole(self) -> bool:
        """Whether all projects were there to be read, and the stream as well."""
        return self._offered and self.workspace.knows_all_projects


def _project_id(context: Context | None) -> str | None:
    return context[PROJECT_ID] if context else None
