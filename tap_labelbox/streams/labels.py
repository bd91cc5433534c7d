"""Labels, page by page: one row for each label of each project."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from tap_labelbox.api.errors import LabelboxError, QueryError, UnavailableError
from tap_labelbox.api.pagination import Listing
from tap_labelbox.api.prefetch import Question
from tap_labelbox.api.reader import malformed, rows
from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.records import timestamps
from tap_labelbox.records.columns import (
    EMAIL,
    agreement,
    boolean,
    derived,
    email,
    identifier,
    key,
    number,
    table,
    text,
    timestamp,
    within,
    word,
)
from tap_labelbox.records.malformed import Malformed, described
from tap_labelbox.records.structs import PageDecoder, StructColumns
from tap_labelbox.records.values import shortened_id
from tap_labelbox.singer.state import READING_UNTIL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.api.pagination import Ask, Row

SEAM_SHARE = 0.5  # of what a page asks for, in a question about a seam
SKIP = ("Skip", Raw(b'"Skip"'))


class LabelsStream(ProjectStream):
    """Labels made since the last run, oldest first, project by project.

    Good for labels of a minute ago, without waiting for an export. It has no edits.
    """

    name = "labels"
    replication_key = "created_at"
    schema = table(
        key("id", "Label ID."),
        *derived(key("project_id", "ID of the project.")),
        text(
            "label",
            "The annotations, as JSON text in the shape of their era; or the bare word "
            "Skip.",
        ),
        number(
            "seconds_to_label",
            "Seconds spent labeling; the one figure for all, so that reviewing may be "
            "part of it.",
        ),
        agreement(
            "agreement",
            "Consensus with other labels of the data row, 0 to 1; null where "
            "there is none.",
        ),
        agreement(
            "benchmark_agreement",
            "Agreement with the benchmark label, 0 to 1; null where there is none.",
        ),
        boolean(
            "is_benchmark_reference",
            "Whether other labels are measured against this one.",
        ),
        *derived(
            boolean(
                "is_skipped",
                "Whether the labeler skipped the data row; null where Labelbox does "
                "not say.",
            )
        ),
        timestamp(
            "created_at",
            "When it was made. The bookmark is kept by this column.",
            required=True,
        ),
        timestamp("updated_at", "Latest change to it; as of the run that read it."),
        *within(
            "type",
            identifier("type_id", "ID of its type, for label_filters.", "id"),
            word(
                "type_name", "Name of its type, such as Submitted or Skipped.", "name"
            ),
        ),
        *within(
            "created_by",
            identifier("created_by_id", "ID of the labeler.", "id"),
            email(
                "created_by_email", "E-mail of the labeler.", "email", personal=EMAIL
            ),
        ),
        *within(
            "data_row",
            identifier("data_row_id", "ID of the data row.", "id"),
            text("external_id", "The data row's own ID where it comes from."),
            text("global_key", "The data row's own ID, unique in the organization."),
            text(
                "row_data",
                "What is labeled: an address (which may expire), or the text or JSON "
                "itself.",
            ),
        ),
    )

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Yield the labels made between the bookmark and the start of this run."""
        after, before = self._after(context), self._before
        since = (
            timestamps.truncate_to_second(self.since(context) or "") if after else ""
        )
        own_id = shortened_id(project_id)
        labels = Listing(
            partial(self._page, project_id),
            self._page_size,
            after,
            self._in_order,
            self.max_in_flight,
            first_page=next(self._prefetched_pages),
            first_page_rows=int(self.config["page_size"]),
            leave_out=partial(
                self.workspace.leave_out, f"labels of project {project_id}"
            ),
            fetch_all=partial(self._pages, project_id),
        )
        for page, reached in labels.pages():
            self._page_size = labels.size
            for record in page:
                # Once more, for a server that knows these filters no longer, and
                # because more is asked for than is wanted.
                if since <= record["created_at"] < before:
                    if record["additional_columns"]:
                        self.log_unmapped(record)
                    record["project_id"] = own_id
                    name, text = record["type_name"], record["label"]
                    record["is_skipped"] = is_skipped(text, name)
                    yield record
            if reached:
                self.advance(context, min(reached, before))
                self._note_reading(project_id)
            self.checkpoint()

    def _note_reading(self, project_id: str) -> None:
        """Note that a project has been read in part, and since when it is read."""
        if self.is_incremental:
            state = self.state_manager.writable(project_id)
            state.setdefault(READING_UNTIL, self.workspace.started_at)
            self.state_manager.mark_progress(project_id)

    def lookback_end(self, context: Context) -> str | None:
        """Return when the run began that was cut off in a project, if one was.

        It read on from there with all labels listed that had been made a lookback
        before it began; only what is newer can have been listed since.
        """
        reading = self.state_manager.partition(context["project_id"]).get(READING_UNTIL)
        return timestamps.normalize_or_empty(reading) or None

    @cached_property
    def _prefetched_pages(self) -> Iterator[Future[Sequence[Row | Malformed]]]:
        """The first pages of all projects: most projects have no second."""
        return self.together(self.name, self.decode_fast).answers(
            replace(
                self._question(
                    context["project_id"], self._after(context), 0, self._page_size
                ),
                is_alone=self.is_alone(context),
            )
            for context in self.partitions
        )

    @cached_property
    def _page_size(self) -> int:
        """As the setting says, or less where Labelbox finds that too much."""
        return int(self.config["page_size"])

    def _after(self, context: Context) -> str | None:
        """Return the timestamp after which a project's labels are asked for."""
        since = self.since(context)
        return timestamps.just_before(since) if since else None

    def _page(
        self, project_id: str, after: str | None, skip: int, first: int
    ) -> Sequence[Row | Malformed]:
        question = self._question(project_id, after, skip, first)
        ask = partial(self.execute, self.name, self.decode_fast, **question.variables)
        return question.read(ask)

    def _pages(
        self, project_id: str, asks: Iterable[Ask]
    ) -> list[Sequence[Row | Malformed]]:
        """Return several short pages, asked for in one request."""
        questions = [self._question(project_id, *ask) for ask in asks]
        together = self.together(self.name, self.decode_fast, weight=SEAM_SHARE)
        return [answer.result() for answer in together.answers(questions)]

    def _question(
        self, project_id: str, after: str | None, skip: int, first: int
    ) -> Question[Sequence[Row | Malformed]]:
        """Return what asks for a page."""
        where = self._filters | {"createdAt_lt": self._before}
        if after:
            where["createdAt_gt"] = after
        page = {"where": where, "skip": skip, "first": first}
        return Question(
            {"project_id": project_id, **page}, partial(self._labels, after, skip)
        )

    def _labels(
        self, after: str | None, skip: int, answer: Callable[[], Any]
    ) -> Sequence[Row | Malformed]:
        """Return the page that an answer is."""
        try:
            page = answer()
        except QueryError as error:
            msg = f"Labelbox rejects the query for labels: {error}"
            raise LabelboxError(msg) from None
        if isinstance(page, list):
            return page
        if page.get("project") is None:
            msg = "Labelbox has no such project"
            raise UnavailableError(msg)
        labels = rows(page["project"], "labels", after, skip)
        return [
            label
            if isinstance(label, Malformed)
            else self.checked_record(label, after, number)
            for number, label in enumerate(labels, skip + 1)
        ]

    def checked_record(
        self, label: Row, after: str | None, number: int
    ) -> Record | Malformed:
        """Return the record of a label that says when it was made, for the bookmark."""
        created_at = timestamps.normalize_or_empty(label.get("created_at"))
        if not created_at:
            why = f"its created_at is not a timestamp ({described(label)})"
            return malformed(label, after, number, why)
        return self.to_record(label | {"created_at": created_at})

    @cached_property
    def decode_fast(self) -> PageDecoder:
        """Decodes a page of labels as expected, whose annotations are passed on."""
        struct = StructColumns(type(self).schema.sources, raw=frozenset({"label"}))
        path = ("data", "project", "labels")
        return PageDecoder(struct, *path, key=("id",), bookmark="created_at")

    def _in_order(self) -> bool:
        """Return whether Labelbox was asked for the labels oldest first."""
        return "orderBy" not in self.client.document("labels").arguments

    @property
    def _before(self) -> str:
        """The end of the window, itself excluded: labels made later move no page."""
        limit = self.config["label_filters"].get("created_before")
        started_at = self.workspace.started_at
        return min(started_at, timestamps.normalize(limit)) if limit else started_at

    @property
    def _filters(self) -> dict[str, Any]:
        """The filters of the settings, as GraphQL variables."""
        chosen = self.config["label_filters"]
        where: dict[str, Any] = {
            f"agreement_{bound}": chosen[f"agreement_{bound}"]
            for bound in ("gt", "lt")
            if chosen.get(f"agreement_{bound}") is not None
        }
        if user := chosen.get("created_by_id"):
            where["createdBy"] = {"id": user}
        if label_type := chosen.get("type_id"):
            where["type"] = {"id": label_type}
        if dataset := chosen.get("dataset_id"):
            where["dataRow"] = {"dataset": {"id": dataset}}
        return where


def is_skipped(label: str | Raw | None, type_name: str | None) -> bool | None:
    """Return whether a label stands for a data row that was skipped.

    By its type, or by its text: the word Skip, in labels of 2018.
    """
    if label in SKIP:
        return True
    return None if type_name is None else type_name == "Skipped"
