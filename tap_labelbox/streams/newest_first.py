"""Tables whose lists come newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import NotOfferedError, UnavailableError
from tap_labelbox.records import timestamps
from tap_labelbox.streams.base import ProjectStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record

READING = "reading"
"""In the state: the cursor of the page that is next, and the newest row above it."""


class NewestFirstStream(ProjectStream):
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
                raise UnavailableError("the list has no such place any more")
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
