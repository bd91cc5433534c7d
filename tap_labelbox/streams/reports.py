"""Reports of the REST API: performance by day, and who signed in."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cached_property, partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple

from tap_labelbox.api.errors import NotOfferedError, UnavailableError, absent
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records import timestamps, values
from tap_labelbox.records.columns import (
    EMAIL,
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
from tap_labelbox.records.values import as_day, as_integer, as_number
from tap_labelbox.singer.state import PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

DAY = timedelta(days=1)
FIRST_DAYS = 30  # before today, where nothing says from when on
MAX_READINGS = 5  # of a table that changes while it is read
MAX_OPEN_DAYS = 100  # with sessions that have not ended, in the state
METRICS = "/performance/metrics"
OPEN_DAYS = "open_days"
"""Where the state has the days of sessions that had not ended."""


class Part(NamedTuple):
    """A part of a report, which begins with one request."""

    project_id: str = ""
    metric: str = ""
    first: str = ""
    """Its first day, and its last one; none where the report has no days."""
    last: str = ""
    is_end: bool = True
    """Whether all of the report has been read up to its last day."""


class ReportStream(LabelboxStream):
    """A list of the REST API, and the base of its reports on days.

    Of these, days are read in their order, and the bookmark is up to where all has been
    read. What lies shortly before it is read again: labels are deleted, reviews come
    later, and today is not over.
    """

    max_days = 1
    """The most that one request is for."""
    reread = 2 * DAY

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read what is new; what comes after a failure is left."""
        if self.workspace.offline:
            return
        with self.refusals.leaving_out():
            yield from self.report(context)
        self.note_turn()

    def report(self, context: Context | None) -> Iterator[Record]:
        """Read the parts of a report from its bookmark on, and move it."""
        parts = self.parts(context)
        # That of a project which failed before is passed over.
        first = next(f for owner, f in self._first_readings if owner == context)
        jobs = (partial(self.read, part) for part in parts[1:])
        rest = prefetch(jobs, self.max_in_flight, initial=self.max_in_flight)
        for part, reading in zip(parts, chain([first], rest), strict=False):
            for row in self.part_rows(part, reading.result()):
                yield from filter(self.wants, self.records(row))
            self.end_part(part, context)
            self.refusals.note_read()
            self.checkpoint()

    @cached_property
    def _first_readings(self) -> Iterator[tuple[Context | None, Future[Any]]]:
        """The beginnings of the reports of all projects, in their turn."""
        reports = map(self.parts, self._contexts)
        # What one may not see costs a request, so the rest of a report waits for it.
        jobs = (partial(self._first_reading, parts[:1]) for parts in reports)
        return zip(self._contexts, prefetch(jobs, self.max_in_flight), strict=False)

    @property
    def _contexts(self) -> Sequence[Context | None]:
        """The contexts that have a report of their own: projects, or just one."""
        return [None]

    def _first_reading(self, parts: list[Part]) -> Any:
        return self.read(parts[0]) if parts else None

    def ask(self, part: Part, **parameters: Any) -> dict[str, Any]:
        """Send a request for a part, and return the reply."""
        days = {"startDate": part.first or None, "endDate": part.last or None}
        ids = {PROJECT_ID: part.project_id, "metric": part.metric}
        return self.client.get(self.path, ids, **days, **parameters)

    def listing(self, path: str) -> list[Any]:
        """Return a list that has no days, which is asked for once in a run."""
        kept = self.workspace.kept_lists
        if path not in kept:
            kept[path] = data_of(self.client.get(path))
        return kept[path]

    # --- what kinds of reports differ in ---------------------------------------------

    def parts(self, context: Context | None) -> list[Part]:
        """Return the parts of a report, in the order in which they are read."""
        if not self.replication_key:
            return [Part()]
        project_id = context[PROJECT_ID] if context else ""
        days = self.days(context)
        return [Part(project_id, "", *span) for span in spans(days, self.max_days)]

    def read(self, part: Part) -> Any:
        """Ask for a part, or as much of it as does not depend on other replies."""
        del part
        return self.listing(self.path)

    def part_rows(self, part: Part, reading: Any) -> Iterable[Any]:
        """Return the rows of a part, of which as much as that has been read.

        Raises:
            UnavailableError: If they cannot be read to their end.
        """
        del part
        return map(in_snake_case, reading)

    def end_part(self, part: Part, context: Context | None) -> None:
        """Move the bookmark behind a part that has been read."""
        if part.is_end and part.last:
            self.advance(context, part.last)
            if context:
                self.state_manager.mark_progress(context[PROJECT_ID])

    # --- days --------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """False of a report by day: there are days before the first one."""
        is_read = self.refusals.is_offered and self.has_records
        return is_read and not self.replication_key

    def days(self, context: Context | None) -> list[str]:
        """Return the days to read, in UTC."""
        self.workspace.ask_for_the_date()
        today = timestamps.parse(self.workspace.started_at)
        since = self.since(context)
        first = timestamps.parse(since) if since else today - FIRST_DAYS * DAY
        if context and (made_at := self.workspace.made_at(context[PROJECT_ID])):
            first = max(first, timestamps.parse(made_at))
        if self.is_test:
            first = max(first, today - DAY)
        if (self.bookmark(context) or "") > self.workspace.started_at:
            first = min(first, today - self.lookback)
        return days_between(first.date().isoformat(), today.date().isoformat())


class ProjectReport(ProjectStream, ReportStream):
    """A report on one project, with a bookmark for each."""

    @property
    def _contexts(self) -> Sequence[Context]:
        return self.partitions

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read the report on a project."""
        del project_id
        return self.report(context)

    is_whole = ReportStream.is_whole  # there are days before the first one


class DailyTable(ReportStream):
    """A report whose rows are totals over a period, so that it is asked day by day."""

    replication_key = "date"
    selected_by_default = False

    def read(self, part: Part) -> list[Any]:
        """Return the rows of a day, all of which are of one reading.

        Raises:
            UnavailableError: If the day cannot be read to its end.
        """
        before: list[Any] = []
        for _ in range(MAX_READINGS):
            rows, total = self._reading(part)
            keys = {repr(self._key(row)) for row in rows}
            # A row that comes twice has pushed another one out, unless it always does.
            if len(rows) == total and (len(keys) == total or rows == before):
                return rows
            before = rows
        msg = (
            f"its rows of {part.last} change faster than they can be read: try again "
            "later"
        )
        raise UnavailableError(msg)

    def part_rows(self, part: Part, reading: Any) -> Iterable[Any]:
        """Return the rows of a day."""
        del part
        return reading  # type: ignore[no-any-return]

    def _key(self, row: Any) -> Any:
        keys = type(self).primary_keys
        return [row.get(key) for key in keys] if isinstance(row, dict) else row

    def _reading(self, part: Part) -> tuple[list[Any], int | None]:
        """Return the rows of a day, and how many there are if all pages agree."""
        rows: list[Any] = []
        totals = set[int]()
        for page_number in count(1):
            page = self.ask(part, page=page_number, perPage=self.page_size)
            data, total = page.get("data"), as_integer(page.get("total"))
            if not isinstance(data, list) or total is None:
                raise absent("data or total")
            own = {"date": part.last, "cached_at": page.get("cachedAt")}
            if part.project_id:
                own[PROJECT_ID] = part.project_id
            rows += (in_snake_case(r) | own if isinstance(r, dict) else r for r in data)
            totals.add(total)
            if not data or len(rows) >= total or len(totals) > 1:
                break
        return rows, totals.pop() if len(totals) == 1 else None


class Series(ReportStream):
    """The values of all metrics: by day, or how many labels have which score."""

    replication_key = "date"
    selected_by_default = False
    max_days = 366

    def parts(self, context: Context | None) -> list[Part]:
        """Return the parts of a report: many days of a metric, or a day of scores."""
        by_time, by_score = self._metrics
        parts: list[Part] = []
        for span in super().parts(context):
            own = [span._replace(metric=name, is_end=False) for name in by_time]
            own += [
                span._replace(metric=name, first=day, last=day, is_end=False)
                for name in by_score
                for day in days_between(span.first, span.last)
            ]
            parts += own[:-1] + [part._replace(is_end=True) for part in own[-1:]]
        return parts

    @cached_property
    def _metrics(self) -> tuple[list[str], list[str]]:
        """The metrics that have a value a day, and those that are asked day by day.

        Raises:
            NotOfferedError: If Labelbox does not say which there are.
        """
        try:
            metrics = self.listing(METRICS)
        except UnavailableError as error:
            msg = f"the list of metrics cannot be read: {error}"
            raise NotOfferedError(msg) from None
        names: tuple[list[str], list[str]] = [], []
        for metric in metrics:
            name = metric.get("name") if isinstance(metric, dict) else None
            if isinstance(name, str) and name:
                names[metric.get("buckets") != "time"].append(name)
            else:
                self.leave_out_item(metric, "it is not a metric with a name")
        return names

    def read(self, part: Part) -> dict[str, Any]:
        """Ask for the values of a metric."""
        return self.ask(part, interval="day")

    def part_rows(self, part: Part, reading: Any) -> Iterator[Any]:
        """Yield the values of a metric, each with what the reply says of all."""
        buckets = reading.get("buckets")
        if not isinstance(buckets, list):
            raise absent("buckets")
        own = {"metric": part.metric}
        if part.project_id:
            own[PROJECT_ID] = part.project_id
        shared = {k: v for k, v in reading.items() if k not in ASKED} | own
        number_of_scores = 0
        for bucket in sorted(buckets, key=_range_start):
            if not isinstance(bucket, dict):
                yield bucket
                continue
            if "start" in bucket:
                number, start = 0, values.as_timestamp(bucket["start"])
                date = start and start[:10]
            else:
                number = number_of_scores = number_of_scores + 1
                date = part.last if part.first == part.last else None
            row = {k: v for k, v in bucket.items() if k not in ("start", "end")}
            yield in_snake_case(shared | row) | {"date": date, "bucket": number}


ASKED = {"metric", "buckets", "bucketType", "interval", "startDate", "endDate"}
"""What the reply of a series has besides what becomes columns: what was asked for."""


def _range_start(bucket: Any) -> float:
    start = bucket.get("rangeStart") if isinstance(bucket, dict) else None
    return as_number(start) or 0.0


class Feed(ReportStream):
    """A list with a cursor, for a period of a month at most."""

    selected_by_default = False
    max_days = 31
    _last_page: dict[str, Any]

    def read(self, part: Part) -> dict[str, Any]:
        """Ask for the first page of a period."""
        return self.ask(part, perPage=self.page_size)

    def part_rows(self, part: Part, reading: dict[str, Any]) -> Iterator[Any]:
        """Yield the rows of a period, page by page."""
        cursors = set[str]()
        while True:
            yield from map(in_snake_case, data_of(reading))
            if not (cursor := reading.get("nextCursor")):
                break
            if str(cursor) in cursors:
                raise UnavailableError("Labelbox gives the same page again and again")
            cursors.add(str(cursor))
            reading = self.ask(part, perPage=self.page_size, cursor=cursor)
        self._last_page = reading


def data_of(reply: dict[str, Any]) -> list[Any]:
    """Return the list in a reply.

    Raises:
        UnavailableError: If there is none.
    """
    if not isinstance(rows := reply.get("data"), list):
        raise absent("data")
    return rows


def in_snake_case(row: Any) -> Any:
    """Return a row with the names of columns, as far as it is one."""
    if not isinstance(row, dict):
        return row
    return {snake_case(name): value for name, value in row.items()}


def days_between(first: str, last: str) -> list[str]:
    """Return the days from one to another, both included."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [(start + n * DAY).isoformat() for n in range((end - start).days + 1)]


def spans(days: Iterable[str], max_days: int) -> list[tuple[str, str]]:
    """Return the first and last day of each run of ascending days without a gap.

    None has more than ``max_days``.
    """
    result: list[tuple[date, date]] = []
    for date_ in map(date.fromisoformat, days):
        first, last = result[-1] if result else (date_, date_)
        if date_ - last == DAY and date_ - first < max_days * DAY:
            result[-1] = first, date_
        else:
            result.append((date_, date_))
    return [(first.isoformat(), last.isoformat()) for first, last in result]


class PerformanceMetricsStream(ReportStream):
    """Every metric that the series have values of.

    Good for what a metric measures, and in which unit.
    """

    name = "performance_metrics"
    path = METRICS
    primary_keys = ("name",)
    schema = table(
        key("name", "Name of the metric, such as labels_created."),
        word("category", "Kind of metric, such as throughput, efficiency or quality."),
        word("unit", "Unit of the values, such as count, seconds or percentage."),
        word("buckets", "Kind of values: time, one a day; score, ten ranges a day."),
        text("description", "What it measures."),
    )


_VALUES = (
    key("metric", "Name of the metric."),
    day("date", "UTC day of the figures. The bookmark is kept by this column."),
    integer(
        "bucket",
        "Place in the day, 0 for its value, 1 to 10 for its ranges of scores from the "
        "lowest.",
        required=True,
    ),
    word("unit", "Unit of the values, of which percentage is a share, 0 to 1."),
    number("value", "The value; of a range of scores, how many labels are in it."),
    number("range_start", "Lower end of the range of scores."),
    number("range_end", "Upper end of the range of scores."),
    number("numerator", "What was divided, of a ratio."),
    number("denominator", "What it was divided by, of a ratio."),
    number("seconds_creating", "Seconds of creating labels in it.", "modes.creating"),
    number("seconds_reviewing", "Seconds of reviewing in it.", "modes.reviewing"),
    number("seconds_reworking", "Seconds of reworking in it.", "modes.reworking"),
    timestamp("generated_at", "When the reply was made."),
)


class ProjectMetricSeriesStream(ProjectReport, Series):
    """Every metric of every project, day by day.

    Good for trends, without reading a label.
    """

    name = "project_metric_series"
    path = "/performance/projects/{project_id}/metrics/{metric}"
    primary_keys = ("project_id", "metric", "date", "bucket")
    schema = table(key("project_id", "ID of the project."), *_VALUES)


class WorkspaceMetricSeriesStream(Series):
    """Every metric of all projects together, day by day.

    Good for trends, in a few requests.
    """

    name = "workspace_metric_series"
    path = "/performance/workspace/metrics/{metric}"
    primary_keys = ("metric", "date", "bucket")
    schema = table(*_VALUES, identifier("organization_id", "ID of the organization."))


_DAY = (
    key("user_id", "ID of the user."),
    day("date", "UTC day of the figures. The bookmark is kept by this column."),
    email("email", "E-mail address, which may be masked.", personal=EMAIL),
    word("member_type", "internal or external; null where the account is gone."),
    identifier("member_organization_id", "ID of the organization of the account."),
    text("member_organization_name", "Its name, or org.name and its ID."),
)
_SHARES = (
    number("rework_percentage", "Share of the labels reworked, 0 to 1."),
    number("approval_percentage", "Share of the labels approved, 0 to 1."),
    boolean("is_removed", "Whether the person has left the project."),
    timestamp("cached_at", "When the figures were computed, if from a cache."),
)
_LABELING = (
    *_DAY,
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
    *_SHARES,
)


class ProjectLabelersStream(ProjectReport, DailyTable):
    """Every labeler's day in every project, asked project by project.

    Good for throughput, where workspace_labelers may not be read.
    """

    name = "project_labelers"
    path = "/performance/projects/{project_id}/labelers"
    primary_keys = ("project_id", "user_id", "date")
    schema = table(
        key("project_id", "ID of the project."),
        *_LABELING,
        number("avg_rating", "Rating of the work, on average; null without ratings."),
    )


class ProjectReviewersStream(ProjectReport, DailyTable):
    """Every reviewer's day in every project.

    Good for who reviews how much, and how long it takes.
    """

    name = "project_reviewers"
    path = "/performance/projects/{project_id}/reviewers"
    primary_keys = ("project_id", "user_id", "date")
    schema = table(
        key("project_id", "ID of the project."),
        *_DAY,
        integer("labels_reviewed", "Labels that the person reviewed."),
        integer("labels_reworked", "Labels that the person reworked."),
        number("member_total_time", "Seconds of work in all."),
        number("avg_review_time", "Seconds a review by the person, on average."),
        number("avg_rework_time", "Seconds a rework by the person, on average."),
        number("review_time", "Seconds that the person reviewed."),
        number("rework_time", "Seconds that the person reworked."),
        *_SHARES,
    )


class WorkspaceLabelersStream(DailyTable):
    """Every labeler's day in every project: what was labeled, and how long it took.

    Good for throughput and cost, without reading a label.
    """

    name = "workspace_labelers"
    path = "/performance/workspace/labelers"
    primary_keys = ("project_id", "user_id", "date")
    schema = table(
        key("project_id", "ID of the project, which need not be in projects."),
        *_LABELING,
        text("project_name", "Name of the project; null where it is gone."),
        identifier("project_organization_id", "ID of the organization of the project."),
        text("project_organization_name", "Name of that organization."),
        boolean("is_project_deleted", "Whether the project has been deleted since."),
    )


_SESSION = (
    identifier("user_id", "ID of the user."),
    email("email", "E-mail address; null once the user is gone.", personal=EMAIL),
)
_END_REASON = word(
    "end_reason",
    "Reason of the end, such as SIGNED_OUT, REPLACED, WORKSPACE_SWITCH, "
    "ACCOUNT_REMOVED, REVOKED or MAX_DURATION_REACHED; null where there is none.",
)
_END_DERIVED = boolean(
    "end_derived", "Whether nobody recorded the end, so that it is when it expired."
)
_START_KIND = word(
    "start_kind", "Kind of start, SIGN_IN or WORKSPACE_SWITCH; null of a sign-out."
)


class SignInEventsStream(Feed):
    """Every sign-in and sign-out of a member, in the order in which they happened.

    Good for audits: who came and went.
    """

    name = "sign_in_events"
    path = "/performance/workspace/sign-in-events"
    primary_keys = ("event_id",)
    replication_key = "occurred_at"
    reread = timedelta(hours=1)
    schema = table(
        key("event_id", "Event ID, the same on every read."),
        word("type", "SIGN_IN or SIGN_OUT."),
        timestamp(
            "occurred_at",
            "When it happened. The bookmark, up to which Labelbox says that the list "
            "is complete, is kept by this column.",
        ),
        identifier("session_id", "ID of the session, which it begins or ends."),
        *_SESSION,
        _START_KIND,
        _END_REASON,
        _END_DERIVED,
        timestamp("session_started_at", "When the session began."),
    )

    def end_part(self, part: Part, context: Context | None) -> None:
        """Move the bookmark to where the list is complete, as its last page says.

        Raises:
            UnavailableError: If it does not say.
        """
        del part
        complete = values.as_timestamp(self._last_page.get("completeThrough"))
        if complete is None:
            raise absent("completeThrough")
        self.advance(context, complete)


class SignInSessionsStream(Feed):
    """Every session of a member, by the day on which it began.

    Good for how people sign in, and how their sessions end; not for time worked. What
    has not ended is read again until it has.
    """

    name = "sign_in_sessions"
    path = "/performance/workspace/sign-in-sessions"
    primary_keys = ("session_id",)
    replication_key = "started_at"
    reread = 7 * DAY
    schema = table(
        key("session_id", "ID of the session."),
        *_SESSION,
        boolean("member_deleted", "Whether the user has left the organization."),
        timestamp("started_at", "When it began. The bookmark is kept by this column."),
        _START_KIND,
        word("status", "OPEN or ENDED, as of the run that read it."),
        timestamp("ended_at", "When it ended; null while it is open."),
        _END_REASON,
        _END_DERIVED,
        timestamp("expires_at", "Latest end, which may move while it is open."),
        integer(
            "duration_seconds", "Seconds from start to end, which is not working time."
        ),
    )

    def days(self, context: Context | None) -> list[str]:
        """Return the days to read: the last ones, and those of open sessions."""
        return sorted({*super().days(context), *self._open_days})

    @property
    def _open_days(self) -> list[str]:
        """The days on which sessions began that had not ended when they were read."""
        days = self.stream_state.get(OPEN_DAYS) if self.is_incremental else None
        return [d for d in days if as_day(d)] if isinstance(days, list) else []

    def part_rows(self, part: Part, reading: dict[str, Any]) -> Iterator[Any]:
        """Yield the sessions, and note the days of those that are open."""
        days = {d for d in self._open_days if not part.first <= d <= part.last}
        for row in super().part_rows(part, reading):
            is_over = not isinstance(row, dict) or (
                row.get("status") == "ENDED" or row.get("ended_at")
            )
            if not is_over:
                start = values.as_timestamp(row.get("started_at"))
                days |= {start[:10]} if start else {*days_between(*part[2:4])}
            yield row
        if len(days) > MAX_OPEN_DAYS:
            self.workspace.progress.warn(
                "%s: of %d days with open sessions, the next run reads the last %d",
                *(self.name, len(days), MAX_OPEN_DAYS),
            )
        if self.is_incremental:
            self.stream_state[OPEN_DAYS] = sorted(days)[-MAX_OPEN_DAYS:]

    def end_part(self, part: Part, context: Context | None) -> None:
        """Move the bookmark to the end of the last day, as far as it has come."""
        end = timestamps.shift(part.last, DAY)
        self.advance(context, min(end, self.workspace.started_at))
