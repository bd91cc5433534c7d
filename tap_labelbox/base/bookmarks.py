"""Bookmarks: from when on a stream is read, and up to when it has been."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, cast

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.records import timestamps
from tap_labelbox.singer.state import (
    PROJECT_ID,
    READ_AT,
    ProjectState,
    context_id,
    singular,
)
from tap_labelbox.singer.stream import DirectStream

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context

    from tap_labelbox.base.workspace import Workspace
    from tap_labelbox.tap import TapLabelbox


class BookmarkedStream(DirectStream):
    """A stream that moves its bookmarks itself: one for each project, or just one."""

    reread: timedelta | None = None
    """How long before a bookmark it is read again, if no setting says it."""

    @cached_property
    def workspace(self) -> Workspace:
        """The run, which all streams share."""
        return cast("TapLabelbox", self.tap).workspace

    @cached_property
    def state_manager(self) -> ProjectState:
        """Keep the bookmarks as :mod:`tap_labelbox.singer.state` says."""
        return ProjectState(
            tap_name=self.tap_name,
            stream_name=self.name,
            tap_state=self.tap_state,
            parent_key=self.parent_key,
        )

    @property
    def parent_key(self) -> str:
        """The name of the ID in a context, and the column that has it."""
        return PROJECT_ID

    @property
    def is_incremental(self) -> bool:
        """True if earlier runs count; a catalog may have it otherwise."""
        return bool(self.replication_method == REPLICATION_INCREMENTAL)

    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """Set no upper bound for bookmarks: what is read has one."""

    # --- up to when the last runs have read ------------------------------------

    def bookmark(self, context: Context | None) -> str | None:
        """Return the timestamp up to which earlier runs have read a context.

        Raises:
            SettingsError: If the state has something else in its place.
        """
        if not self.is_incremental:
            return None
        bookmark = self.state_manager.bookmark(
            context_id(context), str(self.replication_key)
        )
        if bookmark is None:
            return None
        if not isinstance(bookmark, str) or not timestamps.is_timestamp(bookmark):
            what = f"{self.name} {dict(context or {})}"
            msg = f"--state has no timestamp for {what}: {bookmark!r}"
            raise SettingsError(msg)
        return timestamps.normalize(bookmark)

    def since(self, context: Context | None) -> str | None:
        """Return the timestamp from which on a context is read; None for all of it."""
        project_id = context_id(context)
        if project_id not in self._since:  # so that a warning comes once
            self._since[project_id] = self._find_since(context)
        return self._since[project_id]

    def forget_since(self, context: Context | None) -> None:
        """Find anew, as the bookmark is now, from when on a context is read."""
        self._since.pop(context_id(context), None)

    @cached_property
    def _since(self) -> dict[str | None, str | None]:
        return {}

    def _find_since(self, context: Context | None) -> str | None:
        if not (bookmark := self.bookmark(context)):
            return self._start_date
        if bookmark > self.workspace.started_at:
            parent_id = context_id(context)
            self.workspace.progress.warn(
                "The bookmark of %s%s is in the future (%s): check "
                "this machine's clock; if it is right, run once without state",
                self.name,
                f" for {singular(self.parent_key)} {parent_id}" if parent_id else "",
                bookmark,
            )
        since = self.looked_back(bookmark)
        if context and (cut_off := self.lookback_end(context)):
            lookback = timestamps.shift(cut_off, -self.lookback)
            since = max(since, min(bookmark, lookback))
        return since

    @cached_property
    def _start_date(self) -> str | None:
        start_date = self.config.get("start_date")
        return timestamps.normalize(start_date) if start_date else None

    def looked_back(self, timestamp: str) -> str:
        """Return from when on to read what has been read up to a timestamp."""
        since = timestamps.shift(timestamp, -self.lookback)
        # The lookback brings back nothing that start_date left out.
        start_date = self._start_date
        return (
            max(since, start_date) if start_date and start_date <= timestamp else since
        )

    @property
    def lookback(self) -> timedelta:
        """The time before a bookmark that is read again."""
        if self.reread is None:
            return timedelta(seconds=self.config["lookback_seconds"])
        return self.reread

    def lookback_end(self, context: Context) -> str | None:
        """Return the timestamp that needs a lookback, if it is not the bookmark."""
        del context
        return None

    # --- up to when this run has -----------------------------------------------

    def advance(self, context: Context | None, timestamp: str) -> None:
        """Move the bookmark of a context, which has been read up to a timestamp."""
        if self.is_incremental:
            key = str(self.replication_key)
            self.state_manager.advance(context_id(context), key, timestamp)

    def mark_read_up_to(self, context: Context | None, timestamp: str) -> None:
        """Note up to when all of a context has been read, whatever was in it."""
        if self.is_incremental:
            self.state_manager.mark_read_up_to(context_id(context), timestamp)

    def note_turn(self) -> None:
        """Note when the stream had its turn: those that had none come first."""
        if not self.workspace.offline:
            self.stream_state[READ_AT] = self.workspace.started_at

    def settle(self) -> None:
        """Bring the state up to date, before the last STATE of a run."""

    def end_run(self) -> None:
        """Bring the state into its final form, when the run went to its end."""
