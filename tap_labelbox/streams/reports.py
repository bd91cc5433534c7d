"""Reports of the REST API, day by day."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import UnavailableError, absent
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.records import timestamps
from tap_labelbox.records.columns import (
    as_integer,
    boolean,
    day,
    email,
    identifier,
    integer,
    key,
    number,
    snake_case,
    table,
    text,
    timestamp,
    word,
)
from tap_labelbox.singer.state import PROJECT_ID
from tap_labelbox.streams.base import LabelboxStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.api.pagination import Row

FIRST_DAYS = 30  # before today, where nothing says from when on
REREAD_DAYS = 3  # up to the bookmark, itself included
MAX_READINGS = 5  # of a table that changes while it is read


class ReportStream(LabelboxStream):
    """A table of the REST API whose rows are totals over a period, asked by day.

    The days are read in their order, each to its end before any of its records is
    written, and the bookmark is the last one. The last days are read again: labels
    are deleted, reviews come later, and today is not over.
    """

    replication_key = "date"
    selected_by_default = False

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read the days since the bookmark; what comes after a failure is left."""
        del context
        if self.workspace.offline:
            return
        project_ids = self.config.get("project_ids")
        with self.refusals.leaving_out():
            days = list(self._days())
            tables = prefetch(
                (partial(self._table, date) for date in days), self.max_in_flight
            )
            for date, rows in zip(days, tables, strict=True):
                for record in chain.from_iterable(map(self.records, rows.result())):
                    if project_ids is None or record.get(PROJECT_ID) in {
                        None,
                        *project_ids,
                    }:
                        yield record
                self.advance(None, date)
                self.refusals.note_read()
                self.checkpoint()
        self.note_turn()

    @property
    def is_whole(self) -> bool:
        """False: there are days before the first one that is read."""
        return False

    @property
    def lookback(self) -> timedelta:
        """The time before a bookmark that is read again."""
        return timedelta(days=REREAD_DAYS - 1)

    def _days(self) -> Iterator[str]:
        """Yield the days to read, in UTC."""
        if self.client.first_date is None:
            self.client.execute("user")  # whose reply says what day it is at Labelbox
        today = timestamps.parse(self.workspace.started_at)
        since = self.since(None)
        first = timestamps.parse(since) if since else today - timedelta(days=FIRST_DAYS)
        if self.is_test:
            first = max(first, today - self.lookback)
        if (self.bookmark(None) or "") > self.workspace.started_at:
            first = min(first, today - self.lookback)
        for number_of_days in range((today.date() - first.date()).days + 1):
            yield (first + timedelta(days=number_of_days)).date().isoformat()

    def _table(self, date: str) -> list[Any]:
        """Return the rows of a day, all of which are of one reading.

        Raises:
            UnavailableError: If the day cannot be read to its end.
        """
        before: list[Any] = []
        for _ in range(MAX_READINGS):
            rows, total = self._reading(date)
            keys = {repr(self._key(row)) for row in rows}
            # A row that comes twice has pushed another one out, unless it always does.
            if len(rows) == total and (len(keys) == total or rows == before):
                return rows
            before = rows
        msg = f"its rows of {date} change faster than they can be read: try again later"
        raise UnavailableError(msg)

    def _key(self, row: Any) -> Any:
        keys = type(self).primary_keys
        return [row.get(key) for key in keys] if isinstance(row, dict) else row

    def _reading(self, date: str) -> tuple[list[Any], int | None]:
        """Return the rows of a day, and how many there are if all pages agree."""
        rows: list[Any] = []
        totals = set[int]()
        for page_number in count(1):
            page = self.client.get(
                self.path,
                startDate=date,
                endDate=date,
                page=page_number,
                perPage=min(int(self.config["page_size"]), self.max_page_rows),
            )
            data, total = page.get("data"), as_integer(page.get("total"))
            if not isinstance(data, list) or total is None:
                raise absent("data or total")
            own = {"date": date, "cached_at": page.get("cachedAt")}
            rows += (_snake_case(r) | own if isinstance(r, dict) else r for r in data)
            totals.add(total)
            if not data or len(rows) >= total or len(totals) > 1:
                break
        return rows, totals.pop() if len(totals) == 1 else None


def _snake_case(row: Row) -> Row:
    return {snake_case(name): value for name, value in row.items()}


class WorkspaceLabelersStream(ReportStream):
    """Every labeler's day in every project: what was labeled, and how long it took.

    Good for throughput and cost, without reading a label.
    """

    name = "workspace_labelers"
    path = "/performance/workspace/labelers"
    primary_keys = ("project_id", "user_id", "date")
    schema = table(
        key("project_id", "ID of the project, which need not be in projects."),
        key("user_id", "ID of the user."),
        day("date", "UTC day of the figures. The bookmark is kept by this column."),
        email("email", "E-mail address, which may be masked. Personal data."),
        word("member_type", "internal or external; null where the account is gone."),
        identifier("member_organization_id", "ID of the organization of the account."),
        text("member_organization_name", "Its name, or org.name and its ID."),
        integer("labels_created", "Labels submitted."),
        integer("labels_skipped", "Data rows skipped."),
        number("member_total_time", "Seconds of work in all."),
        number("labeling_time_submitted", "Seconds on labels that were submitted."),
        number("labeling_time_skipped", "Seconds on data rows that were skipped."),
        integer("reviews_received", "Reviews of the labels."),
        number("review_time_all", "Seconds that others reviewed the labels."),
        number("rework_time_all", "Seconds that the labels were reworked."),
        number("avg_time_per_label", "Seconds a label, on average."),
        number("avg_review_time_all", "Seconds a review, on average."),
        number("avg_rework_time_all", "Seconds a rework, on average."),
        number("avg_benchmark_agreement", "Agreement with benchmarks, 0 to 1."),
        number("avg_consensus_agreement", "Consensus with other labels, 0 to 1."),
        number("rework_percentage", "Share of the labels reworked, 0 to 1."),
        number("approval_percentage", "Share of the labels approved, 0 to 1."),
        boolean("is_removed", "Whether the labeler has left the project."),
        timestamp("cached_at", "When the figures were computed, if from a cache."),
        text("project_name", "Name of the project; null where it is gone."),
        identifier("project_organization_id", "ID of the organization of the project."),
        text("project_organization_name", "Name of that organization."),
        boolean("is_project_deleted", "Whether the project has been deleted since."),
    )
