"""Tables in Python: what they hold, how a read goes on, and how it ends."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
import pytest
from pyarrow import parquet

from tap_labelbox import tables
from tap_labelbox.sandbox import Reply
from tap_labelbox.singer.parquet import Columns
from tap_labelbox.streams import STREAMS
from tap_labelbox.tables import run as runs
from tests.runner import PRIMARY_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text("utf-8")
# It is the start of the run.
PER_RUN = {"snapshot_at"}
NAMES = [
    stream.name for stream in STREAMS if stream.selected_by_default
]  # of what a run reads


def in_order(table: pa.Table, stream: str) -> list[Any]:
    """Return the rows of a table in the order of their keys."""
    kept = [name for name in table.column_names if name not in PER_RUN]
    rows: list[Any] = table.select(kept).to_pylist()
    keys = [key for key in PRIMARY_KEYS[stream] if key in kept]
    return sorted(rows, key=lambda row: [str(row[key]) for key in keys])


# --- what is read ------------------------------------------------------------------


def test_tables_are_those_of_batch_files(run: Runner, tmp_path: Path) -> None:
    """Of every stream: the same columns, in order, of the same types, and rows."""
    storage = {"root": str(tmp_path / "files")}
    encoding = {"format": "parquet", "compression": "none"}
    output = run(now=NOW, batch_config={"encoding": encoding, "storage": storage})
    files: dict[str, list[pa.Table]] = {}
    for message in output.messages:
        if message["type"] == "BATCH":
            paths = [urlsplit(url).path for url in message["manifest"]]
            read = [parquet.read_table(path) for path in paths]
            files.setdefault(message["stream"], []).extend(read)

    result = tables.read_all(**run.config())

    assert set(result) == set(NAMES)
    assert len(files) > len(NAMES) - 5
    for name, table in result.items():
        if name in files:
            expected = pa.concat_tables(files[name])
            assert table.schema == expected.schema
            assert in_order(table, name) == in_order(expected, name)
        else:
            stream = next(stream for stream in STREAMS if stream.name == name)
            assert table.num_rows == 0
            assert table.column_names == list(stream.schema["properties"])


def test_rows_are_the_records_of_a_run(run: Runner) -> None:
    """In the order of the columns, nested values as they are."""
    expected = run("annotations", now=NOW).records("annotations")

    rows = [*tables.rows("annotations", **run.config())]

    assert sorted(rows, key=str) == sorted(expected, key=str)
    assert [*rows[0]] == list(
        next(s for s in STREAMS if s.name == "annotations").schema["properties"]
    )
    assert any(isinstance(row["geometry"], dict) for row in rows)


def test_rows_need_no_pyarrow(run: Runner) -> None:
    """The extra is for tables; without it one line says what to do."""
    script = f"""
import sys
sys.modules["pyarrow"] = None
from tap_labelbox import tables
settings = {run.config()!r}
print(len([*tables.rows("projects", **settings)]))
try:
    tables.read("projects", **settings)
except tables.SettingsError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    count, message = done.stdout.splitlines()
    assert int(count) == len(run.world.projects)
    assert "tap-labelbox[parquet]" in message


def test_streams_of_one_export_take_it_once(run: Runner) -> None:
    """In one pass over several tables."""
    names = ["export_labels", "annotations"]

    result = tables.read_all(*names, **run.config())

    starts = [r for r in run.sandbox.requests if "exportDataRows" in str(r.query)]
    assert [*result] == names
    assert len(starts) == len(run.world.projects)


def test_scan_holds_few_batches(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is: the run waits for whoever takes them."""
    monkeypatch.setattr("tap_labelbox.singer.parquet.GROUP_BYTES", 2000)
    made = []
    group = Columns._group

    def counted(self: Columns) -> Any:
        made.append(1)
        return group(self)

    monkeypatch.setattr(Columns, "_group", counted)
    reader = tables.scan("annotations", **run.config())

    rows, waiting = 0, 0
    for taken, batch in enumerate(reader, 1):
        rows += batch.num_rows
        waiting = max(waiting, len(made) - taken)

    assert rows == tables.read("annotations", **run.config()).num_rows
    assert len(made) > 50
    assert waiting <= runs.MAX_WAITING_BATCHES + 1


def test_duckdb_reads_what_is_scanned(run: Runner) -> None:
    """It takes a reader, and a table, by the name of the variable."""
    scanned = tables.scan("annotations", **run.config())
    held = tables.read("annotations", **run.config())

    query = "select name, count(*) from {} group by name order by name"
    counts = duckdb.sql(query.format("scanned")).fetchall()

    assert counts == duckdb.sql(query.format("held")).fetchall()
    assert len(counts) > 5
    assert scanned, held  # of the names in the queries


# --- settings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "since", [date(2025, 1, 1), datetime(2025, 1, 1, tzinfo=UTC), "2025-01-01"]
)
def test_since_is_start_date(run: Runner, since: Any) -> None:
    """As a date, a datetime or a text."""
    expected = run("labels", start_date="2025-01-01").ids("labels")

    ids = [row["id"] for row in tables.rows("labels", since=since, **run.config())]

    assert ids == expected
    assert len(ids) < sum(project.label_count for project in run.world.projects)


def test_settings_are_those_of_the_tap(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key may be in the environment; a tuple is a list, a number may be text."""
    settings = run.config()
    monkeypatch.setenv("LABELBOX_API_KEY", settings.pop("api_key"))
    ids = tuple(project.id for project in run.world.projects[:2])

    result = tables.read("projects", project_ids=ids, page_size="50", **settings)

    assert set(result["id"].to_pylist()) == set(ids)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projects": ["a"]}, "unknown setting projects"),
        ({"page_size": 1000}, "page_size must be at most 100"),
        ({"since": "yesterday"}, "start_date must be a date"),
        ({"since": "2026-01-01", "start_date": "2026-01-01"}, "remove one"),
        ({"api_key": ""}, "api_key is not set"),
        ({"max_run_seconds": 5}, "max_run_seconds is for the command"),
        ({"state": {"bookmarks": {"labels": []}}}, "invalid bookmark for labels"),
    ],
)
@pytest.mark.parametrize("function", [tables.read, tables.scan, tables.rows])
def test_settings_are_checked_at_once(
    function: Callable[..., Any], settings: dict[str, Any], message: str
) -> None:
    """Before anything is read, and what is wrong is raised."""
    with pytest.raises(tables.SettingsError, match=message):
        function("labels", **{"api_key": "x"} | settings)


def test_a_stream_that_is_not_there_is_named() -> None:
    """With the one that is meant, or all that there are."""
    with pytest.raises(ValueError, match="did you mean annotations"):
        tables.read("anotations", api_key="x")
    with pytest.raises(ValueError, match=r"there are projects, .*annotations"):
        tables.rows("xyz", api_key="x")


# --- a state -----------------------------------------------------------------------


def test_a_read_goes_on_from_a_state(run: Runner) -> None:
    """The second one brings what was changed since, and the state can be kept."""
    state: dict[str, Any] = {}
    run.world.now = lambda: NOW
    first = tables.read("labels", state=state, **run.config())
    state = json.loads(json.dumps(state))
    label = run.world.add_label(run.world.projects[0].id)
    run.world.now = lambda: NOW + timedelta(hours=1)

    second = tables.read("labels", state=state, **run.config())
    third = tables.read("labels", state=state, **run.config())

    assert first.num_rows >= 100
    assert label.id in second["id"].to_pylist()
    assert second.num_rows < 10
    assert third.num_rows <= second.num_rows


@pytest.mark.parametrize("function", [tables.scan, tables.rows])
def test_a_state_moves_when_all_was_taken(
    run: Runner, function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops taking has not read what comes after."""
    monkeypatch.setattr("tap_labelbox.singer.parquet.GROUP_BYTES", 2000)
    monkeypatch.setattr("tap_labelbox.tables.reading.MAX_BATCH_ROWS", 10)
    state: dict[str, Any] = {}
    taken = iter(function("labels", state=state, **run.config()))

    next(taken)
    del taken

    assert state == {}
    for _ in function("labels", state=state, **run.config()):
        assert state == {}
    assert state["bookmarks"]["labels"]["partitions"]


def test_who_stops_taking_ends_the_run(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread is left that reads on for nobody."""
    monkeypatch.setattr("tap_labelbox.tables.reading.MAX_BATCH_ROWS", 10)
    rows = tables.rows("annotations", **run.config())

    next(rows)
    rows.close()  # type: ignore[attr-defined]  # a generator has it

    assert not [t for t in threading.enumerate() if t.name == "tables"]


# --- what goes wrong ---------------------------------------------------------------


def test_what_could_be_read_is_in_the_error(run: Runner) -> None:
    """With the state of it, and the one that was given stays."""
    state: dict[str, Any] = {}
    known = run.world.projects[0].id
    settings = run.config(project_ids=[known, "gone"])

    with pytest.raises(
        tables.IncompleteError, match="left out: project gone"
    ) as raised:
        tables.read_all("labels", "projects", state=state, **settings)

    error = raised.value
    assert error.tables["projects"]["id"].to_pylist() == [known]
    assert error.tables["labels"].num_rows == run.world.project(known).label_count  # type: ignore[union-attr]
    assert error.state["bookmarks"]["labels"]["partitions"]
    assert state == {}


@pytest.mark.parametrize("function", [tables.scan, tables.rows])
def test_what_is_left_out_is_raised_after_the_rest(
    run: Runner, function: Callable[..., Any]
) -> None:
    """Also where the rest was taken bit by bit."""
    known = run.world.projects[0].id
    items = iter(function("projects", **run.config(project_ids=[known, "gone"])))

    assert next(items)
    with pytest.raises(tables.IncompleteError):
        next(items)


def test_errors_are_exceptions(run: Runner) -> None:
    """A wrong key and a service that is down can be distinguished."""
    with pytest.raises(tables.AccessError):
        tables.read("labels", **run.config(api_key="wrong"))
    run.sandbox.before = lambda _: Reply(status=503)
    with pytest.raises(tables.TransientError):
        tables.read("projects", **run.config())


def test_nothing_is_printed_and_no_signal_is_handled(
    run: Runner, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What there is to log goes to logging, which is the program's own."""
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    caplog.set_level(logging.INFO, "tap-labelbox")

    tables.read_all(**run.config())

    assert capfd.readouterr().out == ""
    assert "Reading" in caplog.text
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def test_ctrl_c_ends_a_read(run: Runner) -> None:
    """Also one that waits for Labelbox, and within seconds; another can follow."""
    asked = threading.Semaphore(0)

    def delay(request: Request) -> Reply | None:
        del request
        asked.release()
        return Reply(delay=60)

    run.sandbox.before = delay
    script = f"""
from tap_labelbox import tables
for call in (tables.rows, tables.read):
    try:
        len([*call("projects", **{run.config(request_timeout=100)!r})])
    except KeyboardInterrupt:
        print("interrupted")
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(2):
            assert asked.acquire(timeout=60)
            process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)

    assert (out, process.returncode) == ("interrupted\n" * 2, 0)


# --- what the page shows -----------------------------------------------------------

RECIPES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CHOICE = 'settings = {"project_ids": ["ckx..."]}'
ELSEWHERE = ("dlt", "pandas", "pycocotools")
"""Packages whose recipes run in `make test-platforms`, which installs them."""


@pytest.mark.parametrize(
    "recipe", [r for r in RECIPES if CHOICE in r and not any(e in r for e in ELSEWHERE)]
)
def test_recipes_run(
    recipe: str, run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in one folder, as they are, but for what they read."""
    monkeypatch.chdir(tmp_path)
    script = recipe.replace(CHOICE, f"settings = {run.config()!r}")

    for _ in range(2):
        exec(script, {})  # noqa: S102  # what the page shows

    assert [*tmp_path.iterdir()]
