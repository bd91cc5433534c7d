"""The base of all streams: how they are read, and records that match their schema."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property, partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.api.documents import GRAPHQL, Document
from tap_labelbox.api.errors import NotOfferedError
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.api.reading import Reader
from tap_labelbox.records.columns import as_id, missing, store
from tap_labelbox.records.malformed import Malformed, described, shortened
from tap_labelbox.singer.state import PROJECT_ID
from tap_labelbox.streams.bookmarks import BookmarkedStream
from tap_labelbox.streams.refusals import LEFT_OUT, PROJECTS, Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.api.client import Client
    from tap_labelbox.api.pagination import Row
    from tap_labelbox.api.reading import Page
    from tap_labelbox.records.columns import Column, Table
    from tap_labelbox.singer.state import ProjectState
    from tap_labelbox.tap import TapLabelbox

MAX_LOGGED_RECORDS = 10  # of a stream, with something that fits no column


class LabelboxStream(BookmarkedStream):
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
    has_begun = False
    """Whether its rows have been asked for."""

    @property
    def read_together(self) -> list[str]:
        """The streams that are read in one pass with this one, itself included."""
        return [self.name]

    @property
    def log_name(self) -> str:
        """The name of the pass in the log."""
        return self.name

    @property
    def pass_streams(self) -> Sequence[LabelboxStream]:
        """The streams that are read in the turn of this one."""
        return [self]

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Count what the pass takes, and conclude it if nothing was left out."""
        if not self.pass_streams:
            yield
            return
        gaps = self.workspace.gaps
        with self.workspace.progress.reading(self.log_name, self.pass_streams):
            yield
        if not self.is_test and self.workspace.gaps == gaps:
            for stream in self.pass_streams:
                stream.activate()

    def activate(self) -> None:
        """Write the version of a full table, if the stream was read whole.

        A target then deletes what this run has not read.
        """
        if self.is_whole:
            self.write_activate_version()

    @property
    def is_whole(self) -> bool:
        """True if all was there to be read."""
        parent = Document.load(self.document_name).parent
        knows_all = parent != PROJECT_ID or self.workspace.knows_all_projects
        return knows_all and self.refusals.is_offered and self.has_records

    @property
    def client(self) -> Client:
        """Asks Labelbox."""
        return self.workspace.client

    # --- rows ----------------------------------------------------------------

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read the whole table; there is no context, and none of it in the state."""
        del context
        for row in self.rows():
            yield from self.records(row)
        self.note_turn()

    def rows(self) -> Iterator[Row]:
        """Yield all rows of the document, which are asked for once in a run.

        They are kept as long as another stream is still to be made of them.
        """
        self.has_begun = True
        kept = self.workspace.kept_rows.pop(self.document_name, None)
        rows = iter(kept) if kept is not None else self._read()
        is_wanted, gaps = self._is_wanted, self.workspace.gaps
        kept = []
        for row in rows:
            if is_wanted:
                kept.append(row)
            yield row
        is_all = not self.client.document(self.document_name).columns
        if is_wanted and is_all and self.workspace.gaps == gaps:
            self.workspace.kept_rows[self.document_name] = kept

    def _read(self) -> Iterator[Row]:
        """Ask for the rows of each parent in turn, with the next ones in flight."""
        if self.workspace.offline:
            return
        parent = self.reader.document().parent
        parent_ids = self.parent_ids if parent else [""]
        first_pages = self._prefetch({parent: parent_id} for parent_id in parent_ids)
        for parent_id, first_page in zip(parent_ids, first_pages, strict=False):
            variables: dict[str, Any] = {parent: parent_id} if parent else {}
            numbers = count()
            with self.refusals.leaving_out(parent_id):
                for page in self.reader.pages(variables, first_page):
                    for row in page:
                        yield row | variables | self._placed(next(numbers))
            if not self.refusals.is_offered:
                break
        self.refusals.record()

    def _prefetch(self, lists: Iterable[dict[str, Any]]) -> Iterator[Future[Page]]:
        """Ask for first pages ahead of their turn: most lists have no second."""
        jobs = (partial(self.reader.first, variables) for variables in lists)
        return prefetch(jobs, self.max_in_flight)

    @cached_property
    def reader(self) -> Reader:
        """Reads the document, in the way that follows from it."""
        fields = frozenset().union(*(stream.fields for stream in self._sharing))
        self.client.narrow(self.document_name, self.path, fields)
        document = self.client.document(self.document_name)
        keys = ("id",) if self.nested_in else type(self).primary_keys
        return Reader(
            partial(self.execute, self.document_name),
            partial(self.client.document, self.document_name),
            tuple(k for k in keys if k not in {document.parent, self.place}),
            min(int(self.config["page_size"]), self.max_page_rows),
            partial(self.workspace.leave_out, self.name),
            self.max_in_flight,
            may_be_null=self.may_be_null,
        )

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a row that are asked for."""
        if self.nested_in:
            return frozenset({"id", self.nested_in})
        kept = {*type(self).primary_keys, self.replication_key}
        return frozenset(self.columns.keys() - (self.deselected - kept))

    @property
    def document_name(self) -> str:
        """The document that the rows are read with."""
        return self.document or self.name

    @property
    def _others(self) -> list[LabelboxStream]:
        """The other selected streams; none in a test, which is one of each stream."""
        if self.is_test:
            return []
        streams = cast("Iterable[LabelboxStream]", self.tap.streams.values())
        return [s for s in streams if s is not self and s.selected]

    @property
    def _sharing(self) -> list[LabelboxStream]:
        """The streams that are made of the same rows, this one included."""
        same = [s for s in self._others if s.document_name == self.document_name]
        return [self, *same]

    @property
    def _is_wanted(self) -> bool:
        """True if another stream, whose turn has not come, will want these rows."""
        return any(
            self.document_name in (stream.document_name, stream.parents)
            for stream in self._others
            if not stream.has_begun
        )

    @property
    def parent_ids(self) -> list[str]:
        """The parents of which the rows are asked for."""
        if self.parents == PROJECTS:
            workspace = self.workspace
            return [*workspace.sample] if self.is_test else workspace.project_ids
        parent = cast("LabelboxStream", self.tap.streams[self.parents])
        return [str(row["id"]) for row in parent.rows()]

    @property
    def max_in_flight(self) -> int:
        """The most that is asked for at once; 1 in a test."""
        if self.is_test:
            return 1
        return int(self.config["concurrency"])

    @cached_property
    def refusals(self) -> Refusals:
        """The record of what cannot be read."""
        return Refusals(self.name, self.parents, self.workspace)

    # --- records ---------------------------------------------------------------

    def execute(
        self,
        document: str,
        decode_fast: Callable[[bytes], Any] | None = None,
        **variables: object,
    ) -> Any:
        """Run a document of this stream; see :meth:`Client.execute`."""
        data = self.client.execute(document, decode_fast, **variables)
        dropped = self.client.document(document).columns
        for key in (*self.primary_keys, self.replication_key, self.nested_in):
            if key in dropped:
                msg = f"it cannot be read: Labelbox gives no {key}"
                raise NotOfferedError(msg)
        return data

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns by their names, in the schema's order."""
        columns = cast("Table", type(self).schema).columns
        return {column.name: column for column in columns}

    @property
    def unselected_columns(self) -> list[str]:
        """The columns that are not selected by default."""
        return [name for name, column in self.columns.items() if not column.selected]

    @cached_property
    def _by_path(self) -> dict[str, str]:
        """The names of the columns by where in a row their values are."""
        columns = self.columns.values()
        return {path: column.name for column in columns for path in column.paths}

    def explode(self, row: Row) -> Iterable[Any]:
        """Return what becomes a record each of a row of the document: the row itself.

        Of a stream whose rows are nested, these. Where Labelbox says how many
        there are, and gives fewer, a warning says so.
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
                unmapped = record["additional_columns"]
                lacks = " and ".join(missing(c, unmapped.get(c)) for c in lacking)
                self._leave_out_item(row, f"{lacks} ({described(item)})")
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
        ``created_by_id``. What does not fit its column goes to ``additional_columns``.
        """
        unmapped: Row = {}
        record: Record = dict.fromkeys(self.columns)
        record["additional_columns"] = unmapped
        flat: list[tuple[str, str, Any]] = []
        for name, value in row.items():
            if name.startswith("_"):  # rows of another stream
                continue
            if isinstance(value, dict) and name not in self.columns:
                for key, inner in value.items():
                    path = f"{name}.{key}"
                    column = self._by_path.get(path, f"{name}_{key}")
                    flat.append((column, path, inner))
            else:
                flat.append((name, name, value))
        for column, path, value in flat:
            if value is None:
                continue
            known = self.columns.get(column)
            aside = path if column in unmapped else column
            if known and known.paths:
                store(record, unmapped, known, value, aside)
            else:
                unmapped[aside] = value
        return record

    def log_unmapped(self, record: Record) -> None:
        """Log which values of a record fit no column, for the first such records."""
        if not record["additional_columns"]:
            return
        self._unmapped_records += 1
        if self._unmapped_records > MAX_LOGGED_RECORDS:
            return
        is_last = self._unmapped_records == MAX_LOGGED_RECORDS
        keys = (record[key] for key in type(self).primary_keys)
        self.logger.warning(
            "%s %s: %s does not fit, see additional_columns%s",
            self.name,
            " ".join(map(shortened, keys)),
            ", ".join(map(shortened, record["additional_columns"])),
            " (no more are named)" if is_last else "",
        )


class ProjectStream(LabelboxStream):
    """A table that is read project by project, with a bookmark for each.

    The projects are partitions of one stream. As children of ``projects`` the
    SDK would write the whole state once a project.
    """

    _turn_count = 0  # projects that had their turn

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read one project from its bookmark on, oldest rows first, and move it.

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
        return self._prefetch(self._window(context) for context in self.partitions)

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
        """True if a test needs no more projects."""
        return self.is_test and any(s.has_records for s in self.pass_streams)

    @cached_property
    def _turns(self) -> list[str]:
        """The projects, in an order that stays while they are read."""
        cast("TapLabelbox", self.tap).prune_state()
        if self.is_test:
            return list(self.workspace.sample)
        return sorted(self.workspace.project_ids, key=self.turn_state.turn)

    @property
    def turn_state(self) -> ProjectState:
        """The state that keeps when each project had its turn."""
        return self.state_manager

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read one project; one that cannot be read does not stop the others."""
        if context is None:  # what the SDK asks for where there are no partitions
            return
        if not self.refusals.is_offered or self.has_enough:
            return
        project_id = context[PROJECT_ID]
        self.workspace.progress.turn(self._turn_count, len(self._turns))
        started_at = self.workspace.started_at
        self.turn_state.mark_tried(project_id, started_at)
        if project_id == self._turns[0]:
            # However soon this run is killed, the next one begins with another.
            self.write_state()
        with self.refusals.leaving_out(project_id):
            try:
                yield from self.project_records(project_id, context)
            except LEFT_OUT:
                self.turn_state.mark_failed(project_id, started_at)
                raise
            self.turn_state.mark_read(project_id, started_at)
        self._turn_count += 1
        if project_id == self._turns[-1]:
            self.refusals.record()
            self.finish()
        self.checkpoint()

    def finish(self) -> None:
        """Note that all projects have had their turn."""
        self.state_manager.mark_all_read(self.workspace.started_at)

    def end_run(self) -> None:
        """Remove from the state what says nothing."""
        if self.selected:
            self.state_manager.remove_blank()

    @property
    def is_whole(self) -> bool:
        """True if all projects were there to be read, and the stream as well."""
        return self.refusals.is_offered and self.workspace.knows_all_projects
