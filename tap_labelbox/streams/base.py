"""What all streams share: records that match their schema, bookmarks by project."""

from __future__ import annotations

import logging
from abc import abstractmethod
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import typing as th
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL

from tap_labelbox import moments
from tap_labelbox.columns import check_of
from tap_labelbox.errors import (
    LabelboxError,
    NotOfferedError,
    SettingsError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.malformed import shortened
from tap_labelbox.output import StraightStream
from tap_labelbox.state import PROJECT_ID, ProjectState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from contextlib import AbstractContextManager

    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog

    from tap_labelbox.client import Client
    from tap_labelbox.columns import Check
    from tap_labelbox.pagination import Row
    from tap_labelbox.tap import TapLabelbox
    from tap_labelbox.workspace import Workspace

MOST_NAMED = 10  # misfits of one stream


ANY_OBJECT = th.CustomType({"type": ["object", "null"], "additionalProperties": True})
"""The type of a column of objects that may have any parts.

Not :class:`singer_sdk.typing.ObjectType`, which lists the parts, none here: whoever
flattens it makes as many columns. Within arrays it has to be that one, as
target-snowflake looks for the list.
"""

ADDITIONAL_COLUMNS = th.Property(
    "additional_columns",
    ANY_OBJECT,
    description="What does not fit its column, by the column's name.",
)


class LabelboxStream(StraightStream):
    """A table of the workspace."""

    primary_keys: tuple[str, ...] = ("id",)
    own: frozenset[str] = frozenset({"additional_columns"})
    """Columns that are not filled with what Labelbox calls like them."""
    short: Mapping[str, str] = {}
    """Columns that lack the name of their relation, and that relation."""
    _misfits = 0  # records with something that fits no column

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
        return self.has_records

    @property
    def workspace(self) -> Workspace:
        """What the streams of this run share."""
        return cast("TapLabelbox", self._tap).workspace

    @property
    def client(self) -> Client:
        """The door to Labelbox."""
        return self.workspace.client

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read the list of this name; there is no context."""
        del context
        for row in self.workspace.listed(self.name, self.name):
            yield self.record(row)

    def execute(
        self,
        document: str,
        usual: Callable[[bytes], Any] | None = None,
        **variables: object,
    ) -> Any:
        """Run a document of this stream; see :meth:`Client.execute`."""
        data = self.client.execute(document, usual, **variables)
        for key in (*self.primary_keys, self.replication_key):
            if key in self.client.document(document).columns:
                msg = f"{self.name} cannot be read: Labelbox gives no {key}"
                raise LabelboxError(msg)
        return data

    @cached_property
    def columns(self) -> dict[str, Check]:
        """What each column takes, in the schema's order."""
        columns = self.schema["properties"].items()
        return {name: check_of(schema) for name, schema in columns}

    def log(self, message: str, *args: Any, **options: Any) -> None:
        """Log at DEBUG what the SDK has to say of this stream.

        Not its "unhandled error" before every error: the tap tells that once.
        """
        if options.get("level") != logging.ERROR:
            super().log(message, *args, **options | {"level": logging.DEBUG})

    def record(self, row: Row) -> Record:
        """Lay a row out in the stream's columns, null where it has nothing.

        What hangs on a relation becomes flat: ``created_by: {id}`` is the column
        ``created_by_id``. What does not fit its column is put aside and named.
        """
        left: Row = {}
        record: Record = dict.fromkeys(self.columns)
        record["additional_columns"] = left
        flat: list[tuple[str, str, Any]] = []
        for name, value in row.items():
            if isinstance(value, dict) and name not in self.columns:
                flat += (
                    (
                        n if self.short.get(n) == name else f"{name}_{n}",
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
            check = None if column in self.own else self.columns.get(column)
            fitting = check(value) if check and record[column] is None else None
            if fitting is not None:
                record[column] = fitting
            else:
                left[path if column in left else column] = value
        if left:
            self._tell_misfit(record)
        return record

    def _tell_misfit(self, record: Record) -> None:
        self._misfits += 1
        if self._misfits <= MOST_NAMED:
            self.logger.warning(
                "%s %s: %s does not fit, see additional_columns%s",
                self.name,
                shortened(record["id"]),
                ", ".join(map(shortened, record["additional_columns"])),
                " (no more are named)" if self._misfits == MOST_NAMED else "",
            )


class ProjectStream(LabelboxStream):
    """A table that is read project by project, with a bookmark for each.

    The projects are partitions of one stream. As children of ``projects`` the
    SDK would write the whole state once a project.
    """

    _offered = True  # as far as is known, by this Labelbox to this account
    _turn_count = 0  # projects that had their turn

    @abstractmethod
    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read one project from its bookmark on, and move the bookmark."""

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

    @property
    def width(self) -> int:
        """How many things are asked for at once; one where one record is wanted."""
        if self.is_test:
            return 1
        return int(self.config["concurrency"])

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
        if project_id == self._turns[0] and not self.writer.holding:
            # However soon this run is killed, the next one begins with another.
            self._tap.state_writer.write_state(self.tap_state)
        try:
            yield from self.project_records(project_id, context)
        except NotOfferedError as error:
            self._offered = False
            self.turn_state.mark_failed(project_id, started_at)
            self.workspace.miss(self.name, f"{error} (deselect it if that stays so)")
        except (UnavailableError, TransientError) as error:
            self.turn_state.mark_failed(project_id, started_at)
            self.workspace.miss(f"{self.name} of project {project_id}", error)
            self.workspace.failures_in_a_row.count(error)
        else:
            self.turn_state.mark_read(project_id, started_at)
            self.workspace.failures_in_a_row.end()
        self._turn_count += 1
        if project_id == self._turns[-1]:
            self.finish()
        self.checkpoint()

    def finish(self) -> None:
        """Note that all projects have had their turn."""
        self.state_manager.mark_all_read(self.workspace.started_at)

    def end_run(self) -> None:
        """Leave nothing in the state that says nothing."""
        if self.selected:
            self.state_manager.remove_blank()

    @cached_property
    def state_manager(self) -> ProjectState:
        """Keep the bookmarks as :mod:`tap_labelbox.state` says."""
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
    def is_whole(self) -> bool:
        """Whether all projects were there to be read, and the stream as well."""
        return self._offered and self.workspace.knows_all_projects

    @property
    def is_incremental(self) -> bool:
        """Whether earlier runs count; a catalog may have it otherwise."""
        return bool(self.replication_method == REPLICATION_INCREMENTAL)

    def bookmark(self, context: Context) -> str | None:
        """Give the moment up to which a project was read by earlier runs."""
        if not self.is_incremental:
            return None
        bookmark = self.state_manager.bookmark(
            context[PROJECT_ID], str(self.replication_key)
        )
        if bookmark is None:
            return None
        if not isinstance(bookmark, str) or not moments.is_moment(bookmark):
            msg = f"--state has no moment for {self.name} {dict(context)}: {bookmark!r}"
            raise SettingsError(msg)
        return moments.normal(bookmark)

    def since(self, context: Context) -> str | None:
        """Give the moment from which on a project is read; None for all of it."""
        project_id = context["project_id"]
        if project_id not in self._since:  # so that what is odd is told once
            self._since[project_id] = self._find_since(context)
        return self._since[project_id]

    @cached_property
    def _since(self) -> dict[str, str | None]:
        return {}

    def _find_since(self, context: Context) -> str | None:
        start_date = self.config.get("start_date")
        if start_date:
            start_date = moments.normal(start_date)
        if not (bookmark := self.bookmark(context)):
            return start_date
        if bookmark > self.workspace.started_at:
            self.workspace.progress.warn(
                "The bookmark of %s for project %s lies in the future (%s): check "
                "this machine's clock; if it is right, run once without state",
                self.name,
                context["project_id"],
                bookmark,
            )
        lookback = timedelta(seconds=self.config["lookback_seconds"])
        since = moments.shift(bookmark, -lookback)
        if cut_off := self.lookback_end(context):
            since = max(since, min(bookmark, moments.shift(cut_off, -lookback)))
        # The lookback brings back nothing that start_date left out.
        return (
            max(since, start_date) if start_date and start_date <= bookmark else since
        )

    def lookback_end(self, context: Context) -> str | None:
        """Return the timestamp that needs a lookback, if it is not the bookmark."""
        del context
        return None

    def advance(self, context: Context, moment: str) -> None:
        """Say that a project has been read up to a moment."""
        if self.is_incremental:
            key = str(self.replication_key)
            self.state_manager.advance(context[PROJECT_ID], key, moment)
