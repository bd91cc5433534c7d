"""The base of all streams: how they are read, and records that match their schema."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import count, tee
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.api.documents import GRAPHQL, Document
from tap_labelbox.api.errors import (
    ForbiddenError,
    NotFoundError,
    NotOfferedError,
    TransientError,
    missing_error,
)
from tap_labelbox.api.prefetch import Together
from tap_labelbox.api.reading import Reader
from tap_labelbox.exports.rows import in_projects
from tap_labelbox.records.columns import as_id, store
from tap_labelbox.records.malformed import Malformed, described, shortened
from tap_labelbox.records.pseudonyms import Pseudonymizer
from tap_labelbox.redact import MASK, has_secret_name
from tap_labelbox.singer.state import PROJECT_ID, context_id, prune, singular
from tap_labelbox.streams.bookmarks import BookmarkedStream
from tap_labelbox.streams.refusals import LEFT_OUT, PROJECTS, Refusals
from tap_labelbox.streams.saved_rows import SavedRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.api.client import Client
    from tap_labelbox.api.errors import LabelboxError
    from tap_labelbox.api.pagination import Row
    from tap_labelbox.api.reading import Page
    from tap_labelbox.api.replies import Judge
    from tap_labelbox.records.columns import Column, Table
    from tap_labelbox.singer.state import ProjectState
    from tap_labelbox.streams.rest import RestColumn
    from tap_labelbox.tap import TapLabelbox

MAX_LOGGED_RECORDS = 10  # of a stream, with something that fits no column
MAX_PAGE_ROWS = 100  # at most: of most lists, and in ``page_size``
MAX_QUESTIONS = 100  # questions in a request, at most


class LabelboxStream(BookmarkedStream):
    """A table of the workspace."""

    primary_keys: tuple[str, ...] = ("id",)
    document = ""
    """What the rows are read with; of the stream's own name if nothing is said."""
    path = GRAPHQL
    """Of the endpoint, beside the configured address."""
    max_page_rows = MAX_PAGE_ROWS
    """Rows of a page at most; asked for where ``page_size`` is at its own limit."""
    may_be_null = False
    """Whether null in place of the rows stands for none."""
    parents = PROJECTS
    """The stream whose IDs the document takes, if it takes any; "" for none at all."""
    parent_id_column = "id"
    """The column of that stream that has these IDs; null where there is none."""
    parents_with = ""
    """The column without which a parent has no rows, so that none are asked for."""
    may_be_missing = False
    """Whether a parent that Labelbox does not find stands for no rows."""
    details = ""
    """The document of columns that are asked for row by row."""
    details_of = "id"
    """The column without which a row has none of these."""
    nested_in = ""
    """What holds the rows within a row of the document: an alias with an underscore."""
    nested_key = ""
    """The column that has the ID of the row of the document."""
    alias_column = ""
    """The column that has the alias of a nested row; these are no list then."""
    place = ""
    """The column that has the place in the list, from 0."""
    snapshot_column = ""
    """The column that has the start of the run, where each run appends its rows."""
    needed: frozenset[str] = frozenset()
    """Fields of a row that are asked for whichever columns are selected."""
    rest_column: RestColumn | None = None
    """The column that only the REST API knows, if there is one."""
    parts: Callable[[Any], Iterable[Any]] = staticmethod(in_projects)
    """What of a data row records are made of, in streams that ``unfold`` data rows."""
    takes_fast_rows = False
    """Whether it needs nothing of a data row but the record of data_row_exports."""
    _unmapped_records = 0  # records with something that fits no column
    _has_no_details = False  # for they were refused
    has_begun = False
    """Whether its turn has come."""

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
        workspace = self.workspace
        gaps, failures = workspace.gaps, workspace.failures
        with workspace.progress.reading(self.log_name, self.pass_streams):
            yield
        if not self.is_test and workspace.gaps == gaps:
            for stream in self.pass_streams:
                stream.activate()
        has_failed = workspace.failures > failures
        for stream in self.pass_streams:
            lacks_some = workspace.lacks_projects and PROJECT_ID in stream.columns
            stream.end(is_complete=not has_failed and not lacks_some)

    def activate(self) -> None:
        """Write the version of a full table, if the stream was read whole.

        A target then deletes what this run has not read.
        """
        if self.is_whole:
            self.write_activate_version()

    @property
    def is_whole(self) -> bool:
        """True if all was there to be read."""
        if self.snapshot_column:  # what earlier runs have written stays
            return False
        parent = Document.load(self.document_name).parent
        is_by_project = PROJECT_ID in (parent, self.nested_key)
        knows_all = not is_by_project or self.workspace.knows_all_projects
        return (
            knows_all
            and self.refusals.is_offered
            and self.has_records
            and not self.workspace.offline
        )

    @property
    def is_by_project(self) -> bool:
        """True if its rows are projects, or of projects."""
        return self.name == PROJECTS or PROJECT_ID in self.columns

    @property
    def client(self) -> Client:
        """Asks Labelbox."""
        return self.workspace.client

    # --- rows ----------------------------------------------------------------

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read the whole table; there is no context, and none of it in the state."""
        del context
        self.has_begun = True
        if self.has_rows:
            self.read_files()
        # Half a snapshot would be taken for a whole one: nothing is written of it.
        rows = list(self.rows()) if self.snapshot_column else self.rows()
        for row in self._detailed(self._completed(rows)):
            for record in self.records(row):
                if self.wants(record):
                    yield record
        self.note_turn()

    def wants(self, record: Record) -> bool:
        """Return whether the settings ask for the project of a record."""
        whole_id = as_id(record["additional_columns"].get(PROJECT_ID))
        return self.workspace.wants(whole_id or record.get(PROJECT_ID))

    def _completed(self, rows: Iterable[Row]) -> Iterable[Row]:
        """Return rows of the document, with what the REST API says of each."""
        column = self.rest_column
        if not column or column.name in self.deselected:
            return rows
        return column.completed(rows, self.name, self.workspace, self.max_in_flight)

    def rows(self) -> Iterator[Row]:
        """Yield all rows of the document, which are asked for once in a run.

        They are kept as long as another stream is still to be made of them.
        """
        workspace, name = self.workspace, self.document_name
        rows, gaps, failures = workspace.kept_rows.pop(name, (self._read(), 0, 0))
        before = workspace.gaps, workspace.failures
        workspace.gaps += gaps
        workspace.failures += failures
        is_wanted = self._is_wanted
        kept: list[Row] = []
        gaps = failures = 0
        for row in rows:
            gaps += workspace.gaps - before[0]
            failures += workspace.failures - before[1]
            if is_wanted:
                kept.append(row)
            yield row
            before = workspace.gaps, workspace.failures
        gaps += workspace.gaps - before[0]
        failures += workspace.failures - before[1]
        if is_wanted and not self.client.document(name).columns:
            workspace.kept_rows[name] = kept, gaps, failures

    def _read(self) -> Iterator[Row]:
        """Ask for the rows of each parent in turn, with the next ones in flight."""
        if self.workspace.offline:
            return
        parent = self.reader.document().parent
        own = {self.snapshot_column: self.workspace.started_at}
        own = own if self.snapshot_column else {}
        parents = self._parents if parent else {"": {}}
        first_pages = self._prefetch({parent: parent_id} for parent_id in parents)
        for (parent_id, inherited), first_page in zip(
            parents.items(), first_pages, strict=False
        ):
            variables: dict[str, Any] = {parent: parent_id} if parent else {}
            # What a column of the parents refers to is the row's own ID.
            known = variables if self.parent_id_column == "id" else {}
            numbers = count()
            with self.refusals.leaving_out(parent_id):
                for page in self.reader.pages(variables, first_page):
                    for row in page:
                        placed = self._placed(next(numbers))
                        yield row | own | inherited | known | placed
            if not self.refusals.is_offered:
                break
        self.refusals.record()

    def _prefetch(self, lists: Iterable[dict[str, Any]]) -> Iterator[Future[Page]]:
        """Ask for first pages ahead of their turn: most lists have no second."""
        return self.together(self.document_name).answers(
            replace(
                self.reader.first_question(variables), is_alone=self.is_alone(variables)
            )
            for variables in lists
        )

    def together(
        self,
        document: str,
        decode_fast: Callable[[bytes], Any] | None = None,
        *,
        weight: float = 1,
    ) -> Together[Any]:
        """Return what asks many questions of a document in a request.

        Args:
            document: Its name.
            decode_fast: As in :meth:`Client.execute`.
            weight: Of a question, where that about a page of a list has 1.
        """
        most = int(self.config["projects_per_request"])
        if most > 1:
            most = min(int(most / weight), MAX_QUESTIONS)
        return Together(
            partial(self.execute, document, decode_fast),
            partial(self._execute_together, document, decode_fast),
            partial(self.client.document, document),
            1 if self.is_test else most,
            self.max_in_flight,
        )

    def is_alone(self, variables: dict[str, Any]) -> bool:
        """Return whether a list had better be asked for in a request of its own."""
        del variables
        return False

    def _detailed(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield rows, each with what is asked for row by row.

        Where that cannot be read, the rows come without it.
        """
        if not self._detail_columns or self.workspace.offline:
            yield from rows
            return
        reader = self._detail_reader
        parent = reader.document().parent
        rows, to_ask = tee(rows)
        answers = self.together(self.details).answers(
            reader.first_question({parent: row["id"]})
            for row in to_ask
            if row.get(self.details_of)
        )
        for row in rows:
            is_asked = row.get(self.details_of) and not self._has_no_details
            yield (self._taken(next(answers)) if is_asked else {}) | row

    def _taken(self, answer: Future[Page]) -> Row:
        """Return the details of a row; if the key may not read any, so it stays."""
        try:
            page = answer.result()
        except LEFT_OUT as error:
            refused = isinstance(error, ForbiddenError | NotOfferedError)
            self._has_no_details = refused
            what = f"{self.name}, in part ({self.details})"
            if isinstance(error, TransientError):
                self.workspace.record_failure(what, error)
            else:
                self.workspace.note_loss(what, error)
            return {}
        return next((item for item in page if isinstance(item, dict)), {})

    @cached_property
    def _detail_columns(self) -> frozenset[str]:
        """The columns that are asked for row by row."""
        fields = Document.load(self.details).fields if self.details else frozenset()
        return fields & self._wanted_fields

    @cached_property
    def _detail_reader(self) -> Reader:
        """Reads what there is to know of one row."""
        return self._reader(self.details, self._detail_columns, (), may_be_null=True)

    @cached_property
    def reader(self) -> Reader:
        """Reads the document, in the way that follows from it."""
        document = Document.load(self.document_name)
        keys = ("id",) if self.nested_in else type(self).primary_keys
        known = {document.parent, self.place, self.snapshot_column}
        keys = tuple(key for key in keys if key not in known)
        return self._reader(
            self.document_name,
            self._wanted_fields,
            keys,
            may_be_null=self.may_be_null or self.may_be_missing,
        )

    def _reader(
        self,
        document: str,
        fields: frozenset[str],
        key: tuple[str, ...],
        *,
        may_be_null: bool,
    ) -> Reader:
        self.client.narrow(document, self.path, fields)
        return Reader(
            partial(self.execute, document),
            partial(self.client.document, document),
            key,
            self.page_size,
            partial(self.workspace.leave_out, self.name),
            self.max_in_flight,
            may_be_null=may_be_null,
        )

    @property
    def page_size(self) -> int:
        """The rows that a page is asked for with."""
        size = int(self.config["page_size"])
        if size == MAX_PAGE_ROWS:
            return self.max_page_rows
        return min(size, self.max_page_rows)

    @property
    def _wanted_fields(self) -> frozenset[str]:
        """The fields of a row that are asked for, for this stream and for others."""
        return self.needed.union(
            *(stream.fields for stream in self._sharing),
            *(
                {"id", child.parents_with, child.parent_id_column}
                for child in self._children
            ),
        )

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a row that are asked for."""
        if self.nested_in:
            return frozenset({"id", self.nested_in})
        kept = {*type(self).primary_keys, self.replication_key, *self.needed}
        return frozenset(
            outer
            if (outer := path.partition(".")[0]) in self.columns
            else path.replace(".", "_")
            for name in self.columns.keys() - (self.deselected - kept)
            for path in self.columns[name].paths
        )

    @cached_property
    def replace(self) -> Callable[[Record], Record] | None:
        """Puts pseudonyms into records, if the settings ask for that."""
        pseudonyms = self.workspace.pseudonyms
        if pseudonyms is None:
            return None
        return Pseudonymizer(self.columns.values(), pseudonyms)

    @property
    def document_name(self) -> str:
        """The document that the rows are read with."""
        return self.document or self.name

    @property
    def _others(self) -> list[LabelboxStream]:
        """The other selected streams."""
        streams = cast("Iterable[LabelboxStream]", self.tap.streams.values())
        return [s for s in streams if s is not self and s.selected]

    @property
    def _sharing(self) -> list[LabelboxStream]:
        """The selected streams that are made of the same rows, or this one if none."""
        same = [s for s in self._others if s.document_name == self.document_name]
        is_for_others = not self.selected and (same or self._children)
        return same if is_for_others else [self, *same]

    @property
    def _children(self) -> list[LabelboxStream]:
        """The other selected streams that are read by the rows of this one."""
        return [stream for stream in self._others if stream.parents == self.name]

    @property
    def _is_wanted(self) -> bool:
        """True if another stream, whose turn has not come, will want these rows."""
        itself = [self] if self.selected and not self.is_test else []
        return any(
            self.document_name in (stream.document_name, stream.parents)
            for stream in (*itself, *self._others)
            if not stream.has_begun
        )

    @property
    def parent_key(self) -> str:
        """The name of the ID of a parent: what the document calls it."""
        if self.parents == PROJECTS:
            return PROJECT_ID
        return Document.load(self.document_name).parent

    @cached_property
    def _parents(self) -> dict[str, Row]:
        """The parents of which the rows are asked for, and what these have of them."""
        if self.parents == PROJECTS:
            workspace = self.workspace
            ids = workspace.sample if self.is_test else workspace.project_ids
            return {parent_id: {} for parent_id in ids}
        if not self.parents:
            return {} if self.workspace.offline else {"": {}}
        parent = cast("LabelboxStream", self.tap.streams[self.parents])
        above = {Document.load(parent.document_name).parent} & self.columns.keys()
        if self.parent_id_column != "id":  # referred to, and so not within them
            above = set()
        return {
            parent_id: {column: row[column] for column in above}
            for parent_id, row in self.parent_rows.items()
        }

    @cached_property
    def parent_rows(self) -> dict[str, Row]:
        """The rows of the parents, by their IDs."""
        parent = cast("LabelboxStream", self.tap.streams[self.parents])
        rows = {
            parent_id: row
            for row in parent.rows()
            if (parent_id := as_id(row.get(self.parent_id_column)))
        }
        if not parent.refusals.is_offered:
            why = f"{self.parents} cannot be read, and it is read by them"
            self.workspace.record_failure(self.name, why)
        # Where Labelbox does not say which have any, all are asked.
        is_known = self.parents_with not in parent.reader.document().columns
        if self.parents_with and is_known:
            rows = {i: row for i, row in rows.items() if row.get(self.parents_with)}
        return rows

    @property
    def max_in_flight(self) -> int:
        """The most that is asked for at once; 1 in a test."""
        if self.is_test:
            return 1
        return int(self.config["concurrency"])

    @cached_property
    def refusals(self) -> Refusals:
        """The record of what cannot be read."""
        wanting = [self] if self.selected else self._children
        name = wanting[0].name if wanting else self.name
        parents = self.parents
        if self.parent_id_column != "id":
            parents = f"{self.parent_id_column.removesuffix('_id')}s"
        return Refusals(name, parents, self.workspace)

    # --- saved files -----------------------------------------------------------

    @staticmethod
    def unfold(part: Any, /) -> Iterable[Record]:
        """Return the stream's records of one of the ``parts`` of a data row."""
        del part
        return ()

    @property
    def has_rows(self) -> bool:
        """True if the stream has records of data rows."""
        return type(self).unfold is not LabelboxStream.unfold

    def read_files(self) -> None:
        """Read saved files, once for all streams that are made of their rows."""
        if self.workspace.saved_rows is None:
            streams = cast("Iterable[LabelboxStream]", self.tap.streams.values())
            selected = [s for s in streams if s.selected and s.is_test == self.is_test]
            self.workspace.saved_rows = SavedRows(
                self.workspace,
                [stream for stream in selected if stream.has_rows],
                self.logger,
                items_are_read=any(s.name == "bulk_export" for s in selected),
            )
        self.workspace.saved_rows.read()

    # --- records ---------------------------------------------------------------

    def execute(
        self,
        document: str,
        decode_fast: Callable[[bytes], Any] | None = None,
        **variables: object,
    ) -> Any:
        """Run a document of this stream; see :meth:`Client.execute`.

        Of a document with several lists, the last one is left out if it is refused.
        """
        judge = self._judge(document)
        try:
            data = self.client.execute(document, decode_fast, judge, **variables)
        except NotFoundError as error:
            if not judge:
                raise
            data = self._nothing(error)
        except (ForbiddenError, NotOfferedError) as error:
            if not (part := self.client.drop_last_list(document)):
                raise
            self.workspace.note_gap(f"{self.name} ({part})", str(error))
            return self.execute(document, decode_fast, **variables)
        self._check_dropped(document)
        return data

    def _execute_together(
        self,
        document: str,
        decode_fast: Callable[[bytes], Any] | None,
        asks: Sequence[dict[str, Any]],
    ) -> list[Any]:
        judge = self._judge(document)
        answers = self.client.execute_together(document, asks, decode_fast, judge)
        self._check_dropped(document)
        return [
            self._nothing(answer)
            if judge and isinstance(answer, NotFoundError)
            else answer
            for answer in answers
        ]

    def _judge(self, document: str) -> Judge | None:
        """Return what recognizes the errors that stand for nothing, if any do."""
        may_be_missing = self.may_be_missing or document == self.details
        return missing_error if may_be_missing else None

    def _nothing(self, error: LabelboxError) -> dict[str, Any]:
        """Return the data that has no rows, in place of an error that says so."""
        self.logger.info("%s: %s", self.name, error)
        return {"rows": None, "next": None}

    def _check_dropped(self, document: str) -> None:
        """Raise NotOfferedError if Labelbox lacks what no row can do without."""
        if document not in self.client.dropped:
            return
        dropped = self.client.document(document).columns
        for key in (*self.primary_keys, self.replication_key, self.nested_in):
            # Of a relation as well, which several columns are made of.
            if dropped and any(f"{key}_".startswith(f"{name}_") for name in dropped):
                msg = f"it cannot be read: Labelbox gives no {key}"
                raise NotOfferedError(msg)

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
        if isinstance(items, dict) and self.alias_column:
            items = [
                {self.alias_column: alias} | (item or {})
                if isinstance(item, dict | None)
                else item
                for alias, item in items.items()
            ]
        elif isinstance(items, dict):
            items, total = items.get("nodes"), items.get("count")
        if not isinstance(items, list):
            items = [] if items is None else [items]
        if isinstance(total, int) and total > len(items):
            self.workspace.note_gap(
                f"{self.name} of {self.nested_key} {shortened(row['id'])}",
                f"Labelbox gives {len(items)} of {total}, and no more can be asked for",
            )
        elif self._nested_limit and len(items) >= self._nested_limit:
            self.workspace.note_gap(
                f"{self.name} of {self.nested_key} {shortened(row['id'])}",
                f"Labelbox gives {len(items)} at most, and there may be others",
            )
        above = {PROJECT_ID} & self.columns.keys() & row.keys()
        own = {column: row[column] for column in above}
        own[self.nested_key] = row["id"]
        return [
            item | own | self._placed(number) if isinstance(item, dict) else item
            for number, item in enumerate(items)
        ]

    @cached_property
    def _nested_limit(self) -> int:
        """The most nested rows that Labelbox is asked for in a row; 0 for all."""
        nested = re.compile(rf"\b{self.nested_in}:\s*\w+\s*\([^()]*\bfirst:\s*(\d+)")
        result = nested.search(Document.load(self.document_name).text)
        return int(result[1]) if result else 0

    def _placed(self, number: int) -> Row:
        return {self.place: number} if self.place else {}

    def records(self, row: Row) -> Iterator[Record]:
        """Yield the records of a row of the document; malformed ones are left out."""
        for item in self.explode(row):
            if not isinstance(item, dict):
                self.leave_out_item(row, f"{described(item)}, not an object")
                continue
            record = self.record(item)
            if lacking := [c for c in self._required if record[c] in (None, "")]:
                why = f"it has no {' and no '.join(lacking)} ({described(item)})"
                self.leave_out_item(row, why)
            else:
                yield record

    def leave_out_item(self, row: Any, why: str) -> None:
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
                flat.append((self._by_path.get(name, name), name, value))
        for column, path, value in flat:
            if value is None:
                continue
            known = self.columns.get(column)
            aside = path if column in unmapped else column
            if known and known.paths:
                store(record, unmapped, known, value, aside)
            else:
                unmapped[aside] = self._put_aside(column, value)
        for column, outer, member in self._inner_columns:
            record[column] = self.columns[column].kind.check(
                (record[outer] or {}).get(member)
            )
        return record

    def _put_aside(self, column: str, value: Any) -> Any:
        """Return a value that does not fit its column, without what may be secret."""
        if known := self.columns.get(column):
            return known.kind.put_aside(value)
        return MASK if has_secret_name(column) else value

    @cached_property
    def _inner_columns(self) -> list[tuple[str, str, str]]:
        """The columns that have a member of the object in another column, and which."""
        places = ((name, path.partition(".")) for path, name in self._by_path.items())
        return [
            (name, outer, member)
            for name, (outer, dot, member) in places
            if dot and outer in self.columns
        ]

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

    Or by other ``parents``; where there are none, the whole has one bookmark. The
    projects are partitions of one stream. As children of ``projects`` the SDK would
    write the whole state once a project.
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
                for record in self.records({**row, **context}):
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

    def is_alone(self, variables: dict[str, Any]) -> bool:
        """Return whether an earlier run was cut off while it waited for a project.

        It may keep others waiting that share a request with it.
        """
        project_id = variables[self.parent_key]
        return self.turn_state.is_suspect(project_id, self.workspace.started_at)

    def _window(self, context: Context) -> dict[str, Any]:
        before = self.workspace.started_at
        return {**context, "since": self.since(context), "before": before}

    @property
    def partitions(self) -> list[dict[str, Any]]:
        """Return a context for each project; those read longest ago come first.

        So runs that are always cut off get round all of them.
        """
        return [{self.parent_key: parent_id} for parent_id in self._turns]

    @property
    def has_enough(self) -> bool:
        """True if a test needs no more projects."""
        return self.is_test and any(s.has_records for s in self.pass_streams)

    @cached_property
    def _turns(self) -> list[str]:
        """The projects, in an order that stays while they are read."""
        self.has_begun = True
        if self.parents == PROJECTS:
            cast("TapLabelbox", self.tap).prune_state()
        gaps = self.workspace.gaps
        ids = list(self._parents)
        if self.is_test:
            return ids
        is_complete = ids and self.workspace.gaps == gaps  # not for want of a right
        if self.parents not in (PROJECTS, "") and is_complete:
            prune({"bookmarks": {self.name: self.stream_state}}, ids, self.parent_key)
        return self.in_turn(filter(self.is_due, ids))

    def in_turn(self, parent_ids: Iterable[str]) -> list[str]:
        """Return parents in the order in which they are read."""
        return sorted(parent_ids, key=self.turn_state.turn)

    def is_due(self, parent_id: str) -> bool:
        """Return whether a parent may have something new."""
        del parent_id
        return True

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
        project_id = str(context_id(context))
        noun = singular(self.parent_key) or "export"
        self.workspace.progress.turn(self._turn_count, len(self._turns), noun)
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
        self.state_manager.mark_all_read(self.workspace.started_at, self._turns)

    def end_run(self) -> None:
        """Remove from the state what says nothing."""
        if self.selected:
            self.state_manager.remove_blank()

    @property
    def is_whole(self) -> bool:
        """True if all projects were there to be read, and the stream as well."""
        if self.parents == PROJECTS:
            knows_all = self.workspace.knows_all_projects
        else:  # a key that sees none has rather lost its rights
            knows_all = bool(self._parents)
        return self.refusals.is_offered and knows_all
