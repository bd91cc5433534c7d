"""Streams that are read project by project, each from its own bookmark on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.api.errors import LEFT_OUT
from tap_labelbox.base.refusals import PROJECTS
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.singer.state import context_id, prune, singular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.api.reader import Page
    from tap_labelbox.singer.state import ProjectState
    from tap_labelbox.tap import TapLabelbox


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
        has_enough = self.is_test and any(s.has_records for s in self.pass_streams)
        if not self.refusals.is_offered or has_enough:
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
