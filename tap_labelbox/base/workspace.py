"""The run that all streams share: client, projects, and what is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.client import Client
from tap_labelbox.api.documents import GRAPHQL
from tap_labelbox.api.errors import (
    LEFT_OUT,
    IncompleteError,
    LabelboxError,
    NotFoundError,
    NotOfferedError,
    OutageError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.api.pagination import Listing
from tap_labelbox.api.reader import rows
from tap_labelbox.base.project_filter import ProjectFilter
from tap_labelbox.exports.saved import saved_files
from tap_labelbox.exports.sources import Finder
from tap_labelbox.progress import Progress
from tap_labelbox.records import json_text, timestamps
from tap_labelbox.records.malformed import (
    MAX_NAMED_ROWS,
    MAX_SOURCE_CHARACTERS,
    first_of,
    shortened,
)
from tap_labelbox.records.pseudonyms import Pseudonyms
from tap_labelbox.records.values import as_id, as_strings, as_timestamp

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from tap_labelbox.api.pagination import Row
    from tap_labelbox.base.export_group import ExportGroup
    from tap_labelbox.base.saved_rows import SavedRows
    from tap_labelbox.exports.rows import ProjectRow
    from tap_labelbox.exports.saved import SavedFile
    from tap_labelbox.records.malformed import Malformed


MAX_NAMED_SOURCES = 100
"""Sources of which rows are named, and things that the last message names."""

MAX_NAMED_PERMISSIONS = 10  # of the role behind the key

MAX_CLOCK_LEAD = timedelta(seconds=2)
"""What is taken for no lead over Labelbox's clock, which is known by the second."""

MIN_LOOKBACK_SECONDS = 10
"""What Labelbox may take to list what is new; fewer seconds of lookback may miss it."""

MAX_SAMPLE_ROWS = 10  # data rows of a project that a test exports
MAX_SAMPLE_PROJECTS = 3  # that a test reads
MAX_NAMED_PROJECTS = 10
CHOSEN_PROJECTS = "chosen_projects"
PROJECT_FIELDS = ("id", "name", "created_at", "data_row_count")
"""The columns of each project that a run has to know."""
MAX_PROBED_PROJECTS = 20  # that are asked for labels, to find these

MAX_FAILURES_IN_A_ROW = 5  # of projects, before the service is taken to be down


class FailuresInARow:
    """Recognizes by failures in a row that it is the service that is down."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0

    def count(self, error: LabelboxError) -> None:
        """Count a project that could not be read.

        Raises:
            OutageError: If so many in a row could not be read.
        """
        if not isinstance(error, TransientError):  # Labelbox answered
            self.end()
            return
        self._count += 1
        if self._count == MAX_FAILURES_IN_A_ROW:
            raise OutageError(self._count, error)

    def end(self) -> None:
        """Note that Labelbox has answered."""
        self._count = 0


class Workspace:
    """The Labelbox workspace that a key opens, as of the start of this run."""

    def __init__(self, config: Mapping[str, Any], logger: logging.Logger) -> None:
        """Remember when the run began; send nothing yet."""
        self.began_at = datetime.now(UTC)
        """By the clock of this machine."""
        self.progress = Progress(logger)
        self._config = config
        self.client = Client(
            config["api_url"],
            config.get("api_key", ""),
            timeout=config["request_timeout"],
            concurrency=config["concurrency"],
            retry_seconds=config["retry_seconds"],
            requests_per_minute=config.get("requests_per_minute"),
            max_reply_bytes=config["max_reply_bytes"],
            max_row_bytes=config["max_row_bytes"],
            allow_private_links=config["allow_private_links"],
            rest_url=config.get("rest_url"),
            user_agent=config.get("user_agent"),
            logger=logger,
            progress=self.progress,
        )
        self.offline = "export_files" in config
        """Whether files are read, and Labelbox is asked nothing."""
        self._filter = ProjectFilter(config)
        self.pseudonyms = (
            Pseudonyms(config["pseudonymize_salt"]) if config["pseudonymize"] else None
        )
        """Stand for people in all records; None where these are named."""
        self._projects: dict[str, Row] = {}  # projects, by their ID
        self._logger = logger
        self.failures_in_a_row = FailuresInARow()
        self._warns_of_missing = config["on_missing"] == "warn"
        self._missing: dict[str, str] = {}  # why, by what
        self._gone: dict[str, str] = {}  # the same, of what is there no longer
        self._noted: dict[str, str] = {}  # the same, for what is not an error
        self._left_out: dict[str, int] = {}  # rows, by their source
        self.gaps = 0
        """How often something was left out: where this has not moved, all was read."""
        self.failures = 0
        """How many of these make the run an incomplete one."""
        self._project_rows: list[Row] | None = None
        """The projects, if another stream has had them listed."""
        self.lacks_projects = False
        """Whether one of these was that a project cannot be listed, or is not there."""
        self._has_warned_of_none = False
        self._unlisted = 0  # gaps in the list of the projects to read
        self.kept_lists: dict[str, list[Any]] = {}
        """Lists of the REST API that several streams need, by their path."""
        self.kept_rows: dict[str, tuple[Iterable[Row], int, int]] = {}
        """Rows that other streams are made of as well, by their document, and how
        often something was left out of them, and how often that is a failure."""
        self.export_groups: dict[type[ExportGroup], ExportGroup] = {}
        """The streams of each kind of export, since the first of them was asked."""
        self.saved_rows: SavedRows | None = None
        """Reads saved files for all streams, since the first of them was asked."""
        self.sample_rows: list[ProjectRow] = []
        """The data rows that a test has exported, for all streams made of such."""
        json_text.begin_run()
        lookback_seconds = config["lookback_seconds"]
        if not self.offline and lookback_seconds < MIN_LOOKBACK_SECONDS:
            self._logger.warning(
                "lookback_seconds is %d, but Labelbox lists labels, and exports "
                "changes, some seconds late; some would never be read: set it to %d or "
                "more",
                lookback_seconds,
                MIN_LOOKBACK_SECONDS,
            )

    @cached_property
    def saved_files(self) -> list[SavedFile]:
        """The files that are read, the newest last; found when first asked for."""
        finder = Finder(self.record_failure, self._logger)
        addresses = self._config.get("export_files", ())
        return saved_files(addresses, self._config["max_row_bytes"], finder)

    @cached_property
    def started_at(self) -> str:
        """The timestamp up to which this run reads, fixed when it is first asked for.

        It is when the run began, but not after Labelbox's first answer by Labelbox's
        clock: what is made, or listed, later than that has not been read, whatever
        this machine takes the time to be.
        """
        date = self.client.first_date
        if date is None or self.began_at - date <= MAX_CLOCK_LEAD:
            return timestamps.isoformat(self.began_at)
        self._logger.warning(
            "This machine's clock is %d s ahead of Labelbox's (%s), which is used "
            "instead",
            (self.began_at - date).total_seconds(),
            date.isoformat(),
        )
        return timestamps.isoformat(date)

    def ask_for_the_date(self) -> None:
        """Ask Labelbox something, if nothing was, so that its clock is known."""
        if self.client.first_date is None:
            self.client.execute("user")

    def list_rows(
        self,
        document: str,
        field: str,
        leave_out: Callable[[Malformed], object] | None = None,
    ) -> Iterator[Row]:
        """Yield each row of a list of the workspace once, in the order it comes.

        That need not be any: projects come newest first, as far as is known. Unlike a
        :class:`Reader`, this knows when rows were made: a list in that order is read
        on from there after a gap, and no row comes twice. Where files are read
        instead, Labelbox is asked nothing.

        Args:
            document: Which asks for the list.
            field: The root field that has it.
            leave_out: Takes a malformed row; by default, it is logged.
        """

        def page(after: str | None, skip: int, first: int) -> list[Row | Malformed]:
            where: dict[str, Any] = {"deleted": False}
            if after:
                where["createdAt_gt"] = after
            data = self.client.execute(document, where=where, skip=skip, first=first)
            return rows(data, field, after, skip)

        if not self.offline:
            listing = Listing(
                page,
                self._config["page_size"],
                max_in_flight=self._config["concurrency"],
                made_at=_made_at,
                leave_out=leave_out or partial(self.leave_out, f"the list {document}"),
            )
            # What is read again from its beginning comes twice.
            seen: set[str] = set()
            for page_rows, _ in listing.pages():
                for row in page_rows:
                    if row["id"] not in seen:
                        seen.add(row["id"])
                        yield row

    def projects(self, document: str) -> Iterator[Row]:
        """Yield the projects that the settings ask for."""
        gaps = self.gaps
        project_rows: list[Row] = []
        for project in self.list_rows(document, "projects"):
            project_rows.append({name: project.get(name) for name in PROJECT_FIELDS})
            if self.wants(project["id"]):
                yield project
        self._record_missing({project["id"] for project in project_rows})
        self._warn_of_none(project_rows)
        if self.gaps == gaps:
            self._project_rows = project_rows

    def wants(self, project_id: str | None) -> bool:
        """Return whether the settings ask for a project, which may be gone.

        They do for what is of none, unless that is for another shard.
        """
        if project_id is None:
            return self._filter.shard.is_first
        if self._filter.fields:
            return project_id in self._chosen
        return self._filter.takes_id(project_id)

    @cached_property
    def _all_projects(self) -> list[Row]:
        """All projects that the key may see, oldest first."""
        gaps, failures = self.gaps, self.failures
        document, field = "project_ids", "projects"
        if fields := self._filter.fields:
            document, field = CHOSEN_PROJECTS, "rows"
            self.client.narrow(document, GRAPHQL, {*PROJECT_FIELDS, *fields})
        known = None if fields else self._project_rows
        project_rows = self.list_rows(document, field) if known is None else known
        projects = sorted(project_rows, key=_made_at)
        if fields:
            self._filter.refuse_unknown(self.client.document(document).columns)
        self._projects = {project["id"]: project for project in projects}
        self._unlisted += self.gaps - gaps
        self.lacks_projects |= self.failures > failures
        self._warn_of_none(projects)
        return projects

    @cached_property
    def data_row_count(self) -> int | None:
        """The number of data rows in all datasets; None if Labelbox does not say."""
        malformed: list[Malformed] = []
        try:
            datasets = list(
                self.list_rows("dataset_ids", "datasets", leave_out=malformed.append)
            )
        except LEFT_OUT:
            return None
        counts = [row.get("row_count") for row in datasets]
        known = [count for count in counts if isinstance(count, int)]
        return sum(known) if len(known) == len(counts) and not malformed else None

    @cached_property
    def all_project_ids(self) -> list[str]:
        """The IDs of all these."""
        return [project["id"] for project in self._all_projects]

    def project_name(self, project_id: str) -> str:
        """Return how the log names a project."""
        return f"project {self._name(project_id)}"

    def _name(self, project_id: str) -> str:
        name = self._projects.get(project_id, {}).get("name")
        return shortened(name or "") or project_id

    def made_at(self, project_id: str) -> str:
        """Return when a project was made; "" if Labelbox does not say."""
        return _made_at(self._projects.get(project_id, {}))

    def row_count(self, project_id: str) -> int | None:
        """Return how many data rows a project has; None if Labelbox does not say."""
        count = self._projects.get(project_id, {}).get("data_row_count")
        return count if isinstance(count, int) and count >= 0 else None

    @cached_property
    def project_ids(self) -> list[str]:
        """The projects to read, oldest first; which are missing is logged."""
        gaps = self.gaps
        self._record_missing(set(self.all_project_ids))
        self._unlisted += self.gaps - gaps
        self._filter.refuse_none(self._all_projects)
        project_ids = [
            row["id"] for row in self._all_projects if self._filter.takes(row)
        ]
        if project_ids:
            self._log_chosen(project_ids)
        return project_ids

    @cached_property
    def _chosen(self) -> frozenset[str]:
        return frozenset(self.project_ids)

    def _log_chosen(self, project_ids: list[str]) -> None:
        """Log how many projects are read, and which if settings choose them."""
        names = [self._name(project_id) for project_id in project_ids]
        is_filtered = self._filter.is_more_than_ids
        self._logger.info(
            "Projects to read: %d of the %d that the API key sees%s",
            len(project_ids),
            len(self.all_project_ids),
            f": {first_of(names, MAX_NAMED_PROJECTS)}" if is_filtered else "",
        )
        if not is_filtered:
            return
        for project_id, name in zip(project_ids, names, strict=True):
            self._logger.debug("To be read: project %s (%s)", name, project_id)
        unknown = {*self._filter.excluded} - {*self.all_project_ids}
        if unknown:
            self._logger.info(
                "exclude_project_ids: %d that the API key does not see: %s",
                len(unknown),
                first_of(sorted(map(shortened, unknown)), MAX_NAMED_PROJECTS),
            )

    def check_choice(self) -> None:
        """Find the projects to read before anything is, where settings choose them.

        Raises:
            SettingsError: If they choose none.
        """
        if self._filter.is_more_than_ids and not self.offline:
            _ = self.project_ids

    @cached_property
    def sample(self) -> dict[str, dict[str, list[str]]]:
        """Filters for an export of a few data rows, by project, for a test of streams.

        Projects with labels come first, for all streams may have records of these.
        Without any, an export is not limited by data rows.
        """
        own = {
            name: ids[:MAX_SAMPLE_ROWS]
            for name, ids in self._config["export_filters"].items()
            if name in ("data_row_ids", "global_keys")
        }
        if own:
            return dict.fromkeys(self.project_ids[:MAX_SAMPLE_PROJECTS], own)
        filters: dict[str, dict[str, list[str]]] = {}
        for project_id in self.project_ids[:MAX_PROBED_PROJECTS]:
            try:
                if data_row_ids := self._labeled(project_id):
                    filters[project_id] = {"data_row_ids": data_row_ids}
            except UnavailableError:
                continue
            except (NotOfferedError, TransientError):
                break
            if len(filters) == MAX_SAMPLE_PROJECTS:
                break
        others = (p for p in self.project_ids if p not in filters)
        for project_id in islice(others, MAX_SAMPLE_PROJECTS - len(filters)):
            filters[project_id] = {}
        return filters

    def _labeled(self, project_id: str) -> list[str]:
        """Return a few data rows of a project that have labels."""
        where = {}
        if start := self._config.get("start_date"):  # so the rows were active since
            where["createdAt_gt"] = timestamps.normalize(start)
        data = self.client.execute(
            "labels",
            project_id=project_id,
            where=where,
            skip=0,
            first=MAX_SAMPLE_ROWS,
        )
        labels = rows(data.get("project"), "labels", None, 0)
        data_rows = (
            label.get("data_row") for label in labels if isinstance(label, dict)
        )
        ids = (as_id(row.get("id")) for row in data_rows if isinstance(row, dict))
        return list(dict.fromkeys(filter(None, ids)))

    def _warn_of_none(self, projects: Collection[Any]) -> None:
        """Warn once if there is no project at all."""
        if not projects and not self.offline and not self._has_warned_of_none:
            self._has_warned_of_none = True
            self._logger.warning(
                "The API key sees no project, so there is nothing to read: use a key "
                "for the right workspace, of a user with a role in its projects"
            )

    def _record_missing(self, known: set[str]) -> None:
        """Record the projects that are requested and not there."""
        if self.offline:
            return
        requested = dict.fromkeys(self._filter.requested or ())
        for project_id in filter(self._filter.shard.takes_id, requested):
            if project_id not in known:
                self.record_failure(
                    f"project {project_id}",
                    "deleted, unknown, or not for this API key; take it out of "
                    "project_ids or give the key access",
                    is_gone=True,
                )
                self.lacks_projects |= not self._warns_of_missing

    @cached_property
    def rights(self) -> str:
        """The rights of the role behind the API key, in short; "" if unknown."""
        try:
            data = self.client.execute("organization_role")
        except (NotOfferedError, TransientError, UnavailableError):
            return ""
        role = data.get("role")
        names = as_strings(role.get("permissions")) if isinstance(role, dict) else None
        if not names:
            return ""
        first = first_of(names, MAX_NAMED_PERMISSIONS, shortened)
        return f"the key's role allows {first}"

    @property
    def knows_all_projects(self) -> bool:
        """True if there are projects, and none is missing in the list of them.

        A key that sees none at all is more likely to have lost its rights than all
        projects to be deleted.
        """
        return bool(self.project_ids) and not self._unlisted

    def note_gap(self, what: str, why: str) -> None:
        """Warn of something that is left out, which is not a failure of this run."""
        self.gaps += 1
        self.note_loss(what, why)

    def note_loss(self, what: str, why: object) -> None:
        """Warn of a column that has no values; its rows are all there."""
        if what not in self._noted:
            self._noted[what] = str(why)
            self.progress.warn("%s: %s", what, why)

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Everything that this run has left out so far, and why."""
        why = "the first ones are named above"
        return [
            *self._missing.items(),
            *self._gone.items(),
            *((rows, why) for rows in self._malformed_rows),
            *self._noted.items(),
        ]

    @property
    def _malformed_rows(self) -> list[str]:
        """The rows of each source that this run has left out, as messages name them."""
        return [
            f"{count} malformed row{'s' if count > 1 else ''} of {source}"
            for source, count in self._left_out.items()
        ]

    @property
    def is_complete(self) -> bool:
        """True if nothing has been left out so far."""
        return not self._missing and not self._left_out and not self._gone

    def record_failure(self, what: str, why: object, *, is_gone: bool = False) -> None:
        """Record what this run leaves out, and why; log it once.

        What ``is_gone`` is not there, as opposed to unreadable.
        """
        self.gaps += 1
        what = shortened(what, MAX_SOURCE_CHARACTERS)
        if is_gone and self._warns_of_missing:
            if what not in self._gone:
                self._gone[what] = str(why)
                self.progress.warn("%s is left out: %s", what, why)
            return
        self.failures += 1
        if what not in self._missing:
            self._missing[what] = str(why)
            self._logger.error("%s is left out: %s", what, why)

    def is_gone(self, project_id: str) -> bool:
        """Return whether a project is no longer there, if that matters.

        Labelbox is asked: it may be something else of the project that is missing.
        """
        if not self._warns_of_missing:
            return False
        try:
            data = self.client.execute("project", project_id=project_id)
        except NotFoundError:
            return True
        except (NotOfferedError, TransientError, UnavailableError):
            return False
        return data.get("project") is None

    def leave_out(self, source: str, row: Malformed) -> None:
        """Record a row of a source that this run leaves out.

        No more than a few of each source are named, and the others counted: neither
        the log nor memory grows with the number of malformed rows.
        """
        self.gaps += 1
        self.failures += 1
        source = shortened(source, MAX_SOURCE_CHARACTERS)
        count = self._left_out[source] = self._left_out.get(source, 0) + 1
        if count > MAX_NAMED_ROWS or len(self._left_out) > MAX_NAMED_SOURCES:
            return
        more = " (no more of these are named)" if count == MAX_NAMED_ROWS else ""
        # As an error, which takes the secrets out of addresses.
        error = LabelboxError(f"{row.where} of {source} is left out: {row.why}{more}")
        self._logger.error("%s", error)

    def check(self) -> None:
        """Raise an error at the end of a run that left something out."""
        if missing := [*self._missing, *self._malformed_rows]:
            sources = first_of(missing, MAX_NAMED_SOURCES)
            raise IncompleteError(f"the sync is incomplete; left out: {sources}")


def _made_at(row: Row) -> str:
    """Return when a row was made, as a list is ordered by; "" if it does not say."""
    return as_timestamp(row.get("created_at")) or ""
