"""Columns that only the REST API knows, which is asked for each row."""

from __future__ import annotations

from functools import partial
from itertools import tee
from typing import TYPE_CHECKING, Any, NamedTuple

from tap_labelbox.api.errors import TransientError, UnavailableError
from tap_labelbox.api.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_labelbox.api.pagination import Row
    from tap_labelbox.base.workspace import Workspace

MAX_REFUSALS = 3  # in a row, before any reply: it is the key that may not


class RestColumn(NamedTuple):
    """A column of the rows of a document that is asked of the REST API.

    The reply is put into the row, as ``rest``. Without one the column is null.
    """

    name: str
    """The column."""
    path: str
    """Where it is asked for, beside the configured address, with ``{id}`` in it."""
    condition: str = ""
    """The field that is true where there is something to ask, if not everywhere."""

    def with_replies(
        self, rows: Iterable[Row], stream: str, workspace: Workspace, max_in_flight: int
    ) -> Iterator[Row]:
        """Yield rows with the reply to each; the next ones are in flight.

        What is refused costs the column, and one line in the log.
        """
        rows, to_ask = tee(rows)
        refusals = 0
        has_reply = False

        def ask(row: Row) -> Any:
            is_hopeless = not has_reply and refusals >= MAX_REFUSALS
            is_out = self.condition and row.get(self.condition) is not True
            if is_hopeless or is_out:
                return None
            return workspace.client.get_at(self.path, {"id": str(row["id"])})

        outcomes = prefetch((partial(ask, row) for row in to_ask), max_in_flight)
        for row, outcome in zip(rows, outcomes, strict=True):
            what = f"{self.name} of {stream}"
            try:
                reply = outcome.result()
            except UnavailableError as error:
                workspace.failures_in_a_row.end()
                if not refusals:
                    workspace.note_loss(what, error)
                refusals += 1
            except TransientError as error:
                workspace.record_failure(f"{what} {row['id']}", error)
                workspace.failures_in_a_row.count(error)
            else:
                if reply is not None:
                    has_reply = True
                    workspace.failures_in_a_row.end()
                    row = row | {"rest": reply}  # noqa: PLW2901  # the same, and more
            yield row
