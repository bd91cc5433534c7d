"""What one run knows, shared by its streams."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from tap_labelbox import json_text, moments
from tap_labelbox.client import Client
from tap_labelbox.columns import as_id, as_moment
from tap_labelbox.errors import (
    IncompleteError,
    LabelboxError,
    OutageError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.malformed import (
    MAX_NAMED_ROWS,
    MAX_SOURCE_CHARACTERS,
    Malformed,
    described,
    shortened,
)
from tap_labelbox.pagination import Listing
from tap_labelbox.saved import SavedFiles

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping

    from tap_labelbox.pagination import Row


SIGNATURE = re.compile(rb"\?[^\"]*")
MAX_NAMED_SOURCES = 100
"""Sources of which rows are named, and things that the last message names."""

MAX_CLOCK_LEAD = timedelta(seconds=2)
"""What is taken for no lead over Labelbox's clock, which is known by the second."""

MIN_LOOKBACK_SECONDS = 10
"""What Labelbox may take to list what is new; fewer seconds of lookback may miss it."""
MAX_FAILURES_IN_A_ROW = 5  # of projects, before the service is taken to be down


class FailuresInARow:
    """Tells a service that is down from a project that cannot be read."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0

    def count(self, error: LabelboxError) -> None:
        """Count a project that could not be read.

        Raises:
            OutageError: If as many in a row could not that it is the service.
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
            user_agent=config.get("user_agent"),
            logger=logger,
        )
        self._offline = "export_files" in config
        self.saved_files = SavedFiles(
            config.get("export_files", ()), config["max_row_bytes"], self.miss, logger
        )
        self._wanted: list[str] | None = config.get("project_ids")
        self._page_size: int = config["page_size"]
        self._width: int = config["concurrency"]
        self._logger = logger
        self.failures_in_a_row = FailuresInARow()
        self._missing: dict[str, None] = {}
        self._left_out: dict[str, int] = {}  # rows, by their source
        self.gaps = 0
        """How often something was left out: where this has not moved, all was read."""
        self._unlisted = 0  # gaps in the list of the projects to read
        self.unfinished: set[str] = set()
        """Projects whose export is to be read again by the next run."""
        json_text.begin_run()
        if not self._offline and (given := config["lookback_seconds"]) < (
            MIN_LOOKBACK_SECONDS
        ):
            self._logger.warning(
                "lookback_seconds is %d, but Labelbox lists labels, and exports "
                "changes, some seconds late; some would never be read: set it to %d or "
                "more",
                given,
                MIN_LOOKBACK_SECONDS,
            )

    @cached_property
    def started_at(self) -> str:
        """The timestamp up to which this run reads, fixed when it is first asked for.

        It is when the run began, but not after Labelbox's first answer by Labelbox's
        clock: what is made, or listed, later than that has not been read, whatever
        this machine takes the time to be.
        """
        date = self.client.first_date
        if date is None or self.began_at - date <= MAX_CLOCK_LEAD:
            return moments.write(self.began_at)
        self._logger.warning(
            "This machine's clock is %d s ahead of Labelbox's (%s), which counts here",
            (self.began_at - date).total_seconds(),
            date.isoformat(),
        )
        return moments.write(date)

    def listed(self, document: str, field: str) -> Iterator[Row]:
        """Yield each row of a list of the workspace once, in the order it comes.

        That need not be any: projects come newest first, as far as is known. Where
        files are read instead, Labelbox is asked nothing.

        Args:
            document: Which asks for the list.
            field: The root field that has it.
        """

        def page(after: str | None, skip: int, first: int) -> list[Row | Malformed]:
            where: dict[str, Any] = {"deleted": False}
            if after:
                where["createdAt_gt"] = after
            data = self.client.execute(document, where=where, skip=skip, first=first)
            return rows(data, field, after, skip)

        if not self._offline:
            listing = Listing(
                page,
                self._page_size,
                width=self._width,
                made_at=_made_at,
                leave_out=partial(self.leave_out, f"the list {document}"),
            )
            # What is read again from its beginning comes twice.
            seen: set[str] = set()
            for found, _ in listing.pages():
                for row in found:
                    if row["id"] not in seen:
                        seen.add(row["id"])
                        yield row

    def projects(self, document: str) -> Iterator[Row]:
        """Go through the projects that the settings ask for."""
        found = set()
        for project in self.listed(document, "projects"):
            found.add(project["id"])
            if self._wanted is None or project["id"] in self._wanted:
                yield project
        self._miss_all_but(found)

    @cached_property
    def all_project_ids(self) -> list[str]:
        """All projects that the key may see, oldest first."""
        gaps = self.gaps
        listed = self.listed("project_ids", "projects")
        project_ids = [project["id"] for project in sorted(listed, key=_made_at)]
        self._unlisted += self.gaps - gaps
        return project_ids

    @cached_property
    def project_ids(self) -> list[str]:
        """The projects to read, oldest first; those that are not there are told."""
        if self._wanted is None:
            return self.all_project_ids
        found = set(self.all_project_ids)
        gaps = self.gaps
        self._miss_all_but(found)
        self._unlisted += self.gaps - gaps
        return [p for p in self.all_project_ids if p in self._wanted]

    def _miss_all_but(self, found: set[str]) -> None:
        """Tell which projects are wanted and not there."""
        for project_id in dict.fromkeys(self._wanted or ()):
            if project_id not in found and not self._offline:
                self.miss(
                    f"project {project_id}",
                    "deleted, unknown, or not for this API key; take it out of "
                    "project_ids or give the key access",
                )

    @property
    def knows_all_projects(self) -> bool:
        """Whether there are projects, and none is missing in the list of them.

        A key that sees none at all is more likely to have lost its rights than all
        projects to be deleted.
        """
        return bool(self.project_ids) and not self._unlisted

    def note_gap(self) -> None:
        """Note that something was left out that is told elsewhere."""
        self.gaps += 1

    @property
    def is_complete(self) -> bool:
        """Whether nothing has been left out so far."""
        return not self._missing and not self._left_out

    def miss(self, what: str, why: object) -> None:
        """Tell, once, what this run leaves out, and go on."""
        self.gaps += 1
        what = shortened(what, MAX_SOURCE_CHARACTERS)
        if what not in self._missing:
            self._missing[what] = None
            self._logger.error("%s is left out: %s", what, why)

    def leave_out(self, source: str, row: Malformed) -> None:
        """Log which row of a source this run leaves out, and go on.

        No more than a few of each source are named, and the others counted: neither
        the log nor memory grows with the number of malformed rows.
        """
        self.gaps += 1
        source = shortened(source, MAX_SOURCE_CHARACTERS)
        count = self._left_out[source] = self._left_out.get(source, 0) + 1
        if count > MAX_NAMED_ROWS or len(self._left_out) > MAX_NAMED_SOURCES:
            return
        more = " (no more of these are named)" if count == MAX_NAMED_ROWS else ""
        # As an error, which takes the secrets out of addresses.
        told = LabelboxError(f"{row.where} of {source} is left out: {row.why}{more}")
        self._logger.error("%s", told)

    def check(self) -> None:
        """Raise an error at the end of a run that left something out."""
        rows = [
            f"{count} malformed row{'s' if count > 1 else ''} of {source}"
            for source, count in self._left_out.items()
        ]
        if missing := [*self._missing, *rows]:
            named = ", ".join(missing[:MAX_NAMED_SOURCES])
            if (more := len(missing) - MAX_NAMED_SOURCES) > 0:
                named += f" and {more} more"
            msg = f"everything else was read, but not {named}"
            raise IncompleteError(msg)


def rows(found: Any, field: str, after: str | None, skip: int) -> list[Row | Malformed]:
    """Return a list of a reply; an absent list is not an empty one.

    Args:
        found: What the reply has the list in.
        field: The name of the list.
        after: The timestamp after which the list begins.
        skip: How many of its items come before these.

    Returns:
        Its items, each with an ID as text; those that have none are Malformed.

    Raises:
        UnavailableError: If there is no list.
    """
    listed = found.get(field) if isinstance(found, dict) else None
    if not isinstance(listed, list):
        msg = f"Labelbox answered without {field} and without an error"
        raise UnavailableError(msg)
    return [_row(row, after, number) for number, row in enumerate(listed, skip + 1)]


def _row(row: Any, after: str | None, number: int) -> Row | Malformed:
    if not isinstance(row, dict):
        why = f"{described(row)}, not an object"
    elif row_id := as_id(row.get("id")):
        row["id"] = row_id
        return row
    else:
        why = f"it has no id ({described(row)})"
    return malformed(row, after, number, why)


def malformed(row: Any, after: str | None, number: int, why: str) -> Malformed:
    """Return what stands for a malformed item of a list.

    Args:
        row: The item.
        after: The timestamp after which the list begins.
        number: Of the item in the list, from 1.
        why: What is wrong with it.
    """
    row_id = as_id(row.get("id")) if isinstance(row, dict) else None
    where = f"item {number}" + (f" (id {shortened(row_id)})" if row_id else "")
    if after:
        where += f", counted from {after},"
    # Signatures differ each time that the same row is read.
    content = hash(SIGNATURE.sub(b"", json_text.encode(row)))
    return Malformed(where, why, row_id or f"{after} {number}", content)


def _made_at(row: Row) -> str:
    """Return when a row was made, as a list is ordered by; "" if it does not say."""
    return as_moment(row.get("created_at")) or ""
