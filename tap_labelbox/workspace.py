"""What one run knows, shared by its streams."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tap_labelbox import moments
from tap_labelbox.client import Client
from tap_labelbox.columns import as_written
from tap_labelbox.errors import (
    IncompleteError,
    OutageError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.pagination import Listing

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping

    from tap_labelbox.errors import LabelboxError
    from tap_labelbox.pagination import Row


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
        """Freeze the moment up to which this run reads; send nothing yet."""
        self.started_at = moments.write(datetime.now(UTC))
        self.client = Client(
            config["api_url"],
            config.get("api_key", ""),
            timeout=config["request_timeout"],
            concurrency=config["concurrency"],
            retry_seconds=config["retry_seconds"],
            requests_per_minute=config.get("requests_per_minute"),
            logger=logger,
        )
        self._offline = "export_files" in config
        self._wanted: list[str] | None = config.get("project_ids")
        self._page_size: int = config["page_size"]
        self._width: int = config["concurrency"]
        self._logger = logger
        self._missing: list[str] = []
        self.failures_in_a_row = FailuresInARow()

    def listed(self, document: str, field: str) -> Iterator[Row]:
        """Go through a list of the workspace, as a document's root field gives it.

        Where files are read instead, Labelbox is asked nothing.
        """

        def page(after: str | None, skip: int, first: int) -> list[Row]:
            where: dict[str, Any] = {"deleted": False}
            if after:
                where["createdAt_gt"] = after
            data = self.client.execute(document, where=where, skip=skip, first=first)
            return rows(data, field)

        if not self._offline:
            for found, _ in Listing(page, self._page_size, width=self._width).pages():
                yield from found

    def projects(self, document: str) -> Iterator[Row]:
        """Go through the projects that the settings ask for."""
        for project in self.listed(document, "projects"):
            if self._wanted is None or project["id"] in self._wanted:
                yield project

    @cached_property
    def all_project_ids(self) -> list[str]:
        """All projects that the key may see, oldest first."""
        # A list that was read again from its beginning gives some twice.
        listed = (project["id"] for project in self.listed("project_ids", "projects"))
        return list(dict.fromkeys(listed))

    @cached_property
    def project_ids(self) -> list[str]:
        """The projects to read, oldest first; those that are not there are told."""
        if self._wanted is None:
            return self.all_project_ids
        found = set(self.all_project_ids)
        for project_id in dict.fromkeys(self._wanted):
            if project_id not in found and not self._offline:
                self.miss(
                    f"project {project_id}",
                    "deleted, unknown, or not for this API key; take it out of "
                    "project_ids or give the key access",
                )
        return [p for p in self.all_project_ids if p in self._wanted]

    @property
    def is_complete(self) -> bool:
        """Whether nothing has been left out so far."""
        return not self._missing

    def miss(self, what: str, why: object) -> None:
        """Tell, once, what this run leaves out, and go on."""
        if what not in self._missing:
            self._missing.append(what)
            self._logger.error("%s is left out: %s", what, why)

    def check(self) -> None:
        """Raise an error at the end of a run that left something out."""
        if self._missing:
            msg = f"everything else was read, but not {', '.join(self._missing)}"
            raise IncompleteError(msg)


def rows(found: Any, field: str) -> list[Row]:
    """Give a list of a reply; an absent list is not an empty one."""
    listed = found.get(field) if isinstance(found, dict) else None
    if not isinstance(listed, list):
        msg = f"Labelbox answered without {field} and without an error"
        raise UnavailableError(msg)
    for row in listed:
        if isinstance(row, dict):
            row["id"] = as_written(row.get("id"))
        if not isinstance(row, dict) or not row["id"]:
            msg = f"Labelbox gave one of {field} without id: {row!s:.200}"
            raise UnavailableError(msg)
    return listed
