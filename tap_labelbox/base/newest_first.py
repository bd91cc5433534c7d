"""Tables whose lists come newest first: by time, or by nothing but a cursor."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import NotOfferedError, UnavailableError
from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records import timestamps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record

READING = "reading"
"""In the state: the cursor of the page that is next, and the newest row above it."""


class NewestFirstCursorStream(ProjectStream):
    """A table by parent, in lists that come newest first and know no point in time.

    Each list is read down to what is older than its bookmark: rows of one timestamp
    may be new as well. The bookmark moves once all above it has been written, so a
    run that is cut off leaves it where it was, and beside it how far down it got. The
    next run goes on from there, then reads what has come on top.
    """

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read a list from its top, or from where a run was cut off in it."""
        since, first_page = self.since(context), next(self._first_pages)
        if reading := self._reading(project_id):
            try:
                yield from self._downwards(project_id, context, since, first_page)
                read_until = timestamps.shift(reading["until"], -self.lookback)
                since = max(read_until, since or "")
            # The row that is the cursor may be gone.
            except (NotOfferedError, UnavailableError):
                self.state_manager.writable(project_id).pop(READING, None)
            first_page = next(self._prefetch([self._window(context)]))
        yield from self._downwards(project_id, context, since, first_page)

    def _downwards(
        self, project_id: str, context: Context, since: str | None, first_page: Any
    ) -> Iterator[Record]:
        """Read a list down to a timestamp, and move its bookmark to the newest row."""
        key, window = str(self.replication_key), self._window(context)
        newest: str = self._reading(project_id).get("until", "")
        for number, page in enumerate(self.reader.pages(window, first_page)):
            if newest and not (page or number):  # a cursor stood for more
                raise UnavailableError(
                    "the list no longer has the place to resume from"
                )
            is_older = False
            for row in page:
                for record in self.records({**row, **context}):
                    made_at = record[key] or ""
                    if since and "" < made_at < since:
                        is_older = True
                        continue
                    newest = max(newest, min(made_at, self.workspace.started_at))
                    yield record
            if is_older:
                break
            if self.is_incremental and newest and self.reader.cursor:
                reading = {"cursor": self.reader.cursor, "until": newest}
                self.state_manager.writable(project_id)[READING] = reading
                self.state_manager.mark_progress(project_id)
            self.checkpoint()
        if newest:
            self.advance(context, newest)
        if self._reading(project_id):
            del self.state_manager.writable(project_id)[READING]

    def _window(self, context: Context) -> dict[str, Any]:
        """Return the variables that the first page is asked for with."""
        reading = self._reading(context[self.parent_key])
        return {**super()._window(context), "after": reading.get("cursor")}

    def _reading(self, project_id: str) -> dict[str, Any]:
        """Return how far down a list was read by a run that was cut off; {} if none."""
        reading = self.state_manager.partition(project_id).get(READING)
        if not (self.is_incremental and isinstance(reading, dict)):
            return {}
        until = timestamps.normalize_or_empty(reading.get("until"))
        cursor = reading.get("cursor")
        return {"cursor": cursor, "until": until} if cursor and until else {}


class NewestFirstWindowStream(LabelboxStream):
    """A table with one bookmark, whose rows come newest first.

    Only after the last row can the bookmark move to the first one. How far down a run
    has come is noted at each page, and if it is cut off, the next one goes on there.
    The document takes the window as ``$since``, which it includes, and ``$before``.
    """

    is_of_projects = False  # its rows may be, and are read whichever project that is

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Read what the last run has left, if it was cut off, and what is new."""
        del context
        if self.workspace.offline:
            return
        with self.refusals.leaving_out():
            self.workspace.ask_for_the_date()
            if self.is_incremental and (rest := self.state_manager.rest()):
                yield from self._window(*rest)
                self._since.clear()  # it follows from the bookmark, which has moved
            yield from self._window(self.workspace.started_at)
        self.note_turn()

    def _window(self, before: str, newest: str = "") -> Iterator[Record]:
        """Yield what was made before then, back to the bookmark, and move that."""
        key, oldest, in_order = str(self.replication_key), before, True
        since = self.since(None)
        window = {"since": since, "before": before}
        is_empty = since is not None and since >= before  # as start_date may have it
        first_pages = self._prefetch([] if is_empty else [window])
        pages = (self.reader.pages(window, page) for page in first_pages)
        for page in chain.from_iterable(pages):
            for row in page:
                for record in self.records(row):
                    if made_at := record[key]:
                        in_order = in_order and made_at <= oldest
                        oldest = min(oldest, made_at)
                        newest = max(newest, made_at)
                    yield record
            if self.is_incremental and in_order and newest:
                # Others may share the timestamp of the last one.
                self.state_manager.mark_rest(
                    timestamps.shift(oldest, timestamps.MILLISECOND), newest
                )
            self.checkpoint()
        if self.is_incremental:
            self.state_manager.mark_no_rest()
        if newest:
            self.advance(None, min(newest, self.workspace.started_at))
        self.checkpoint()
