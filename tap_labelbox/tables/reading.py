"""Reading tables: settings and a state in, Arrow or dictionaries out."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigValidationError

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.records.json_text import decode_raw
from tap_labelbox.singer.state import malformed_bookmark
from tap_labelbox.singer.suggestions import suggestion
from tap_labelbox.streams import STREAMS
from tap_labelbox.tables.run import IncompleteError, RecordTaker, Run
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa  # type: ignore[import-untyped]  # it has no types

    from tap_labelbox.tables.run import Batches

State = dict[str, Any]

# They are about a process and its output, and there is neither here.
FOR_COMMANDS = ("batch_config", "emit_activate_version_messages", "max_run_seconds")
MAX_BATCH_ROWS = 500  # of dictionaries


def streams() -> list[str]:
    """Return the names of all streams."""
    return [stream.name for stream in STREAMS]


def read(
    stream: str,
    *,
    since: str | date | None = None,
    state: State | None = None,
    **settings: Any,
) -> pa.Table:
    """Read a stream into memory.

    Args:
        stream: Its name.
        since: The setting ``start_date``: a date or a timestamp, in UTC unless it names
            another time zone.
        state: That of the last time; ``{}`` the first time. It is brought up to date
            when all has been read, and the next read brings what was changed since.
        **settings: Of the tap.

    Raises:
        ValueError: If there is no such stream.
        IncompleteError: If something was left out. It holds all else, and the state to
            go on from; the one that was given stays as it is.
        LabelboxError: If the run cannot go on: ``SettingsError`` and ``AccessError``
            call for another setting, ``TransientError`` for another try.
    """
    tables = read_all(stream, since=since, state=state, **settings)
    return next(iter(tables.values()))


def read_all(
    *names: str,
    since: str | date | None = None,
    state: State | None = None,
    **settings: Any,
) -> dict[str, pa.Table]:
    """Read several streams in one pass; those of one export take it once.

    Args:
        *names: Of the streams; without any, those that are selected by default.
        since: As in :func:`read`.
        state: As in :func:`read`.
        **settings: Of the tap.

    Returns:
        A table for each, by name. One without rows has all its columns.

    Raises:
        Exception: As :func:`read` does.
    """
    columns = column_batches()
    import pyarrow as pa  # noqa: PLC0415  # here it is installed

    run = prepare(names, columns, since, state, settings)
    batches: dict[str, list[Any]] = {name: [] for name in run.streams}

    def tables() -> dict[str, pa.Table]:
        return {
            name: pa.Table.from_batches(batches[name], own.arrow_schema)  # type: ignore[attr-defined]
            for name, own in run.streams.items()
        }

    try:
        for name, batch in run.batches():
            batches[name].append(batch)
    except IncompleteError as error:
        error.tables = tables()
        raise
    return tables()


def scan(
    stream: str,
    *,
    since: str | date | None = None,
    state: State | None = None,
    **settings: Any,
) -> pa.RecordBatchReader:
    """Read a stream batch by batch, while the run goes on; few are in memory at once.

    Args:
        stream: Its name.
        since: As in :func:`read`.
        state: As in :func:`read`. It is brought up to date after the last batch, and
            stays as it is if that is not taken.
        **settings: Of the tap.

    Raises:
        Exception: As :func:`read` does; what is wrong with a setting at once, and what
            goes wrong later from the reader.
    """
    columns = column_batches()
    import pyarrow as pa  # noqa: PLC0415  # here it is installed

    run = prepare((stream,), columns, since, state, settings)
    own: Any = next(iter(run.streams.values()))
    batches = (batch for _, batch in run.batches())
    return pa.RecordBatchReader.from_batches(own.arrow_schema, batches)


def rows(
    stream: str,
    *,
    since: str | date | None = None,
    state: State | None = None,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Return the records of a stream, while the run goes on; this needs no pyarrow.

    They are dictionaries of what JSON has: timestamps are texts in UTC.

    Args:
        stream: Its name.
        since: As in :func:`read`.
        state: As in :func:`read`. It is brought up to date after the last record, and
            stays as it is if that is not taken.
        **settings: Of the tap.

    Raises:
        Exception: As :func:`scan` does.
    """
    run = prepare((stream,), Rows, since, state, settings)
    return (row for _, batch in run.batches() for row in batch)


class Rows:
    """Gathers records as dictionaries, in the order of the schema's columns."""

    def __init__(self, stream: str, schema: Mapping[str, Any]) -> None:
        del stream
        self._columns = [*schema["properties"]]
        self._rows: list[dict[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record, decoded: what is Raw would keep a whole reply in memory."""
        row = {column: record.get(column) for column in self._columns}
        self._rows.append(decode_raw(row))

    def take_full(self) -> list[list[dict[str, Any]]]:
        """Return all, if they are enough for a batch."""
        return self.take_rest() if len(self._rows) >= MAX_BATCH_ROWS else []

    def take_rest(self) -> list[list[dict[str, Any]]]:
        """Return all that is left, and let go of it."""
        taken, self._rows = self._rows, []
        return [taken] if taken else []


def column_batches() -> Callable[[str, Mapping[str, Any]], Batches]:
    """Return what gathers columns.

    Raises:
        SettingsError: If there is no pyarrow.
    """
    try:
        from tap_labelbox.singer.parquet import (  # noqa: PLC0415  # see there
            Columns,
        )
    except ImportError:
        raise SettingsError(
            "tables need pyarrow: install tap-labelbox[parquet], or use tables.rows"
        ) from None

    class TableColumns(Columns):
        remedy = "use tables.rows, which checks no types"

    return TableColumns


def prepare(
    names: tuple[str, ...],
    make: Callable[[str, Mapping[str, Any]], Batches],
    since: str | date | None,
    state: State | None,
    settings: dict[str, Any],
) -> Run:
    """Return a run of these streams whose settings have been checked."""
    for name in names:
        if name not in (known := streams()):
            near = suggestion(name, known) or f": there are {', '.join(known)}"
            raise ValueError(f"there is no stream {name}{near}")
    if since is not None:
        if "start_date" in settings:
            raise SettingsError("since and start_date are one setting: remove one")
        settings = settings | {"start_date": since}
    for name in FOR_COMMANDS:
        if settings.get(name):
            raise SettingsError(f"{name} is for the command tap-labelbox: remove it")
    if state is not None and (malformed := malformed_bookmark(state)):
        raise SettingsError(
            f"state has an invalid bookmark for {malformed}: start from {{}}"
        )
    try:
        tap = TapLabelbox(
            config=_as_json(settings),
            state=deepcopy(state) or None,
            message_writer=RecordTaker(make),
        )
    except ConfigValidationError as error:
        raise SettingsError("; ".join(error.errors or [str(error)])) from None
    by_default = [name for name in streams() if tap.streams[name].selected]
    return Run(tap, names or by_default, state)


def _as_json(value: Any) -> Any:
    """Return a setting as JSON has it."""
    match value:
        case date():
            return value.isoformat()
        case Path():
            return str(value)
        case Mapping():
            return {key: _as_json(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_as_json(item) for item in value]
    return value
