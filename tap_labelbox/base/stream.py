"""The base of all streams: how the rows of a document are asked for and read."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import count, tee
from typing import TYPE_CHECKING, Any, Self, cast

from tap_labelbox.api.documents import GRAPHQL, Document
from tap_labelbox.api.errors import (
    LEFT_OUT,
    ForbiddenError,
    NotFoundError,
    NotOfferedError,
    TransientError,
    missing_error,
)
from tap_labelbox.api.prefetch import Together
from tap_labelbox.api.reader import Reader
from tap_labelbox.base.refusals import PROJECTS, Refusals
from tap_labelbox.base.rows_to_records import RecordStream
from tap_labelbox.base.saved_rows import SavedRows
from tap_labelbox.exports.rows import in_projects
from tap_labelbox.records.values import as_id
from tap_labelbox.singer.state import PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.api.client import Client
    from tap_labelbox.api.errors import LabelboxError
    from tap_labelbox.api.pagination import Row
    from tap_labelbox.api.reader import Page
    from tap_labelbox.api.replies import Judge
    from tap_labelbox.base.rest import RestColumn

MAX_PAGE_ROWS = 100  # at most: of most lists, and in ``page_size``
MAX_QUESTIONS = 100  # questions in a request, at most


class LabelboxStream(RecordStream):
    """A table of the workspace."""

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
    _has_no_details = False  # for they were refused
    has_begun = False
    """Whether its turn has come."""

    @property
    def read_together(self) -> list[str]:
        """The streams that are read in one pass with this one, itself included."""
        return [stream.name for stream in self._of_the_pass]

    @property
    def _of_the_pass(self) -> list[Self]:
        """The same, whether they are selected or not."""
        streams = cast("Iterable[Self]", self.tap.streams.values())
        return [stream for stream in streams if stream.log_name == self.log_name]

    @property
    def log_name(self) -> str:
        """The name of the pass in the log: one for all that are read in it."""
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
                if stream.is_whole:  # a target then deletes what was not read
                    stream.write_activate_version()
        has_failed = workspace.failures > failures
        for stream in self.pass_streams:
            lacks_some = workspace.lacks_projects and PROJECT_ID in stream.columns
            stream.end(is_complete=not has_failed and not lacks_some)

    @property
    def is_whole(self) -> bool:
        """True if all was there to be read."""
        if self.snapshot_column:  # what earlier runs have written stays
            return False
        parent = Document.load(self.document_name).parent
        is_read_by_project = PROJECT_ID in (parent, self.nested_key)
        knows_all = not is_read_by_project or self.workspace.knows_all_projects
        return (
            knows_all
            and self.refusals.is_offered
            and self.has_records
            and not self.workspace.offline
        )

    @property
    def is_of_projects(self) -> bool:
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
        rows: Iterable[Row] = self.rows()
        if self.snapshot_column:
            rows = list(rows)
        if (column := self.rest_column) and column.name not in self.deselected:
            rows = column.with_replies(
                rows, self.name, self.workspace, self.max_in_flight
            )
        for row in self._with_details(rows):
            yield from filter(self.wants, self.records(row))
        self.note_turn()

    def wants(self, record: Record) -> bool:
        """Return whether the settings ask for the project of a record."""
        whole_id = as_id(record["additional_columns"].get(PROJECT_ID))
        return self.workspace.wants(whole_id or record.get(PROJECT_ID))

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
        """Prefetch first pages: most lists have no second."""
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

    def _with_details(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield rows, each with what is asked for row by row.

        Where that cannot be read, the rows come without it.
        """
        fields = Document.load(self.details).fields if self.details else frozenset()
        columns = fields & self._wanted_fields
        if not columns or self.workspace.offline:
            yield from rows
            return
        reader = self._reader(self.details, columns, (), may_be_null=True)
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
            why = f"{self.parents} cannot be read, and it is read for each of them"
            self.workspace.record_failure(self.name, why)
        # Where Labelbox does not say which have any, all are asked.
        is_known = self.parents_with not in parent.reader.document().columns
        if self.parents_with and is_known:
            rows = {i: row for i, row in rows.items() if row.get(self.parents_with)}
        return rows

    @property
    def max_in_flight(self) -> int:
        """The most that is asked for at once; 1 in a test."""
        return 1 if self.is_test else int(self.config["concurrency"])

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

    # --- questions -------------------------------------------------------------

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
            data = self._empty_data(error)
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
            self._empty_data(answer)
            if judge and isinstance(answer, NotFoundError)
            else answer
            for answer in answers
        ]

    def _judge(self, document: str) -> Judge | None:
        """Return what recognizes the errors that stand for nothing, if any do."""
        may_be_missing = self.may_be_missing or document == self.details
        return missing_error if may_be_missing else None

    def _empty_data(self, error: LabelboxError) -> dict[str, Any]:
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
                msg = f"it cannot be read: Labelbox returns no {key}"
                raise NotOfferedError(msg)
