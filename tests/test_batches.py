"""Batch files, read back: what they hold, when they are written, what goes wrong."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from pyarrow import parquet  # type: ignore[import-untyped]  # it has no types

from tap_labelbox import files
from tap_labelbox.api.errors import IncompleteError, LabelboxError
from tap_labelbox.records import timestamps
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.singer import batches
from tap_labelbox.tap import TapLabelbox
from tests.runner import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Request
    from tests.runner import Record, Runner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENCODINGS = [("jsonl", "gzip"), ("jsonl", "none"), ("parquet", "gzip")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the files go; it is not there yet."""
    return tmp_path / "batch files"


def batch(
    folder: Path | str, form: str = "jsonl", compression: str = "gzip", **more: Any
) -> dict[str, Any]:
    """Return the setting."""
    prefix = more.pop("prefix", "")
    root = folder.absolute().as_posix() if isinstance(folder, Path) else folder
    return {
        "encoding": {"format": form, "compression": compression},
        "storage": {"root": root, "prefix": prefix},
    } | more


def read(url: str, encoding: dict[str, str]) -> list[Record]:
    """Read a file in the way that its message says."""
    path = Path(urlsplit(url).path)
    if encoding["format"] == "parquet":
        rows: list[Record] = parquet.read_table(path).to_pylist()
        return rows
    content = path.read_bytes()
    if encoding["compression"] == "gzip":
        content = gzip.decompress(content)
    return [json.loads(line) for line in content.splitlines()]


def rows(messages: list[dict[str, Any]], stream: str) -> list[Record]:
    """Read all files of a stream."""
    return [
        row
        for m in messages
        if m["type"] == "BATCH" and m["stream"] == stream
        for url in m["manifest"]
        for row in read(url, m["encoding"])
    ]


def schema(output: Output, stream: str) -> dict[str, Any]:
    """Return the columns of a stream as its SCHEMA has them."""
    result: dict[str, Any]
    (result,) = (
        m["schema"]["properties"]
        for m in output.messages
        if m["type"] == "SCHEMA" and m["stream"] == stream
    )
    return result


def streams(output: Output) -> list[str]:
    """Return the streams that have a SCHEMA."""
    return [m["stream"] for m in output.messages if m["type"] == "SCHEMA"]


def comparable(records: list[Record], columns: dict[str, Any]) -> list[Record]:
    """Sort records, and take out the address, which differs each time it is given.

    Where a file has JSON as text, or a timestamp as such, both are decoded.
    """
    made = []
    for record in records:
        row = dict(record)
        for name, column in columns.items():
            value = row.get(name)
            if column.get("format") == "date-time" and value is not None:
                instant = timestamps.parse(value) if isinstance(value, str) else value
                row[name] = instant.astimezone(UTC).isoformat()
            elif {"object", "array"} & set(column["type"]) and isinstance(value, str):
                row[name] = json.loads(value)
        made.append(row)
    text = re.sub(r"http://[^\"\\ ]+", "ADDRESS", json.dumps(made))
    made = json.loads(text)
    keys = [
        name for name in columns if name == "id" or name.endswith(("_id", "sequence"))
    ]
    return sorted(made, key=lambda row: [str(row.get(key)) for key in keys])


def catalog(run: Runner, *deselected: tuple[str, ...]) -> dict[str, Any]:
    """Return a catalog that leaves something out, wherever it is."""
    inputs = TapLabelbox(config=run.config()).catalog_dict
    for stream in inputs["streams"]:
        for column in deselected:
            breadcrumb = ["properties", *column]
            entries = [e for e in stream["metadata"] if e["breadcrumb"] == breadcrumb]
            for entry in entries:
                entry["metadata"]["selected"] = False
    return inputs


@pytest.mark.parametrize(("form", "compression"), ENCODINGS)
def test_files_hold_the_records(
    run: Runner, folder: Path, form: str, compression: str
) -> None:
    """Of all streams, each value as it is in a RECORD."""
    expected = run(now=NOW)

    output = run(now=NOW, batch_config=batch(folder, form, compression))

    assert output.error is None
    assert not [m for m in output.messages if m["type"] == "RECORD"]
    assert streams(output) == streams(expected)
    for stream in streams(expected):
        columns = schema(expected, stream)
        result = comparable(rows(output.messages, stream), columns)
        assert result == comparable(expected.records(stream), columns)


@pytest.mark.parametrize(("form", "compression"), ENCODINGS)
@pytest.mark.parametrize(
    "settings",
    [
        {"stream_maps": {"labels": {"label": None, "made_by": "md5(created_by_id)"}}},
        {"stream_maps": {"export_labels": {"__filter__": "is_skipped"}}},
        {"stream_maps": {"projects": {"__alias__": "'work/projects'"}}},
    ],
)
def test_stream_maps(
    run: Runner, folder: Path, form: str, compression: str, settings: dict[str, Any]
) -> None:
    """They do to files what they do to records."""
    mapped = ("labels", "export_labels", "projects")
    expected = run(*mapped, now=NOW, **settings)

    output = run(
        *mapped, now=NOW, **settings, batch_config=batch(folder, form, compression)
    )

    assert output.error is None
    assert len(streams(output)) == len(mapped)
    for stream in streams(expected):
        columns = schema(expected, stream)
        result = comparable(rows(output.messages, stream), columns)
        assert result == comparable(expected.records(stream), columns)


@pytest.mark.parametrize(("form", "compression"), ENCODINGS)
def test_deselected_columns(
    run: Runner, folder: Path, form: str, compression: str
) -> None:
    """They are in no file, at whatever depth."""
    inputs = catalog(run, ("label",), ("labels",), ("reviews", "items", "score"))
    expected = run(now=NOW, catalog=inputs)

    output = run(now=NOW, catalog=inputs, batch_config=batch(folder, form, compression))

    assert "label" not in rows(output.messages, "labels")[0]
    for stream in streams(expected):
        columns = schema(expected, stream)
        result = comparable(rows(output.messages, stream), columns)
        assert result == comparable(expected.records(stream), columns)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_flattening(run: Runner, folder: Path, form: str, compression: str) -> None:
    """It does to files what it does to records."""
    flat: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": 2}
    expected = run("annotations", now=NOW, **flat)

    output = run(
        "annotations",
        now=NOW,
        batch_config=batch(folder, form, compression),
        **flat,
    )

    columns = schema(expected, "annotations")
    result = comparable(rows(output.messages, "annotations"), columns)
    assert result == comparable(expected.records("annotations"), columns)
    assert any(row["geometry"] for row in result)


def projects_with(column: str, value: Any) -> Callable[[Request], Reply | None]:
    """Return what answers with one project, in which a column is malformed."""
    project = {"id": "p", "created_at": "2026-01-01T00:00:00Z", column: value}
    body = json.dumps({"data": {"projects": [project]}}).encode()
    return lambda r: Reply(200, {}, body) if r.operation == "Projects" else None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label_count", 1.5),
        ("label_count", 2**70),
        ("label_count", True),
        ("auto_audit_percentage", True),
        ("is_consensus_enabled", 1),
        ("updated_at", "yesterday"),
    ],
)
def test_a_value_that_parquet_has_no_place_for_is_kept_beside(
    run: Runner, folder: Path, column: str, value: Any
) -> None:
    """It is not cut or turned into another."""
    run.sandbox.before = projects_with(column, value)

    output = run("projects", batch_config=batch(folder, "parquet"))

    assert output.error is None
    (row,) = rows(output.messages, "projects")
    assert row[column] is None
    assert json.loads(row["additional_columns"]) == {column: value}


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("label_count", 2.0, 2),
        ("auto_audit_percentage", 2**53 + 1, float(2**53)),
        ("auto_audit_percentage", "0.5", 0.5),
        ("name", 5, "5"),
        ("updated_at", "2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_value_in_another_form_fits(
    run: Runner, folder: Path, column: str, value: Any, expected: Any
) -> None:
    """It fits if its type is the same."""
    run.sandbox.before = projects_with(column, value)

    output = run("projects", batch_config=batch(folder, "parquet"))

    assert rows(output.messages, "projects")[0][column] == expected


def test_the_schema_is_that_of_the_file(run: Runner, folder: Path) -> None:
    """In Parquet, objects and lists are text."""
    output = run(batch_config=batch(folder, "parquet"))

    kinds = {"int64": "integer", "double": "number", "bool": "boolean"}
    for message in output.messages:
        if message["type"] == "BATCH":
            path = Path(urlsplit(message["manifest"][0]).path)
            columns = schema(output, message["stream"])
            result = parquet.read_schema(path)
            assert result.names == list(columns)
            for name, column in columns.items():
                kind = str(result.field(name).type)
                assert kinds.get(kind, "string") == column["type"][0]
                assert kind.startswith("timestamp") == ("format" in column)


def test_the_family_shares_one_export(run: Runner, world: World, folder: Path) -> None:
    """As it does where records are written."""
    output = run(batch_config=batch(folder))

    asked = Counter(request.operation for request in run.sandbox.requests)
    assert asked["StartExport"] == len(world.projects)
    assert rows(output.messages, "annotations")


def test_a_stream_without_records_has_no_file(run: Runner, folder: Path) -> None:
    """Nor a message."""
    output = run("export_errors", batch_config=batch(folder))

    assert {m["type"] for m in output.messages} == {"SCHEMA", "STATE"}
    assert not list(folder.iterdir())


def test_state_is_that_of_a_run_without_batches(run: Runner, folder: Path) -> None:
    """After the same records, at the same time."""
    output = run(now=NOW, batch_config=batch(folder))

    assert output.state == run(now=NOW).state


def test_the_next_run_reads_what_is_new(
    run: Runner, world: World, folder: Path
) -> None:
    """From the bookmark that the batches have reached."""
    first = run("labels", batch_config=batch(folder))
    label = world.add_label(world.projects[0].id)

    second = run(
        "labels", state=first.state, lookback_seconds=0, batch_config=batch(folder)
    )

    assert label.id in [row["id"] for row in rows(second.messages, "labels")]
    assert (
        len(rows(second.messages, "labels")) < 10 < len(rows(first.messages, "labels"))
    )


def test_no_state_counts_a_record_that_is_in_no_file(
    run: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the output ends: what its files lack, the next run has."""
    monkeypatch.setattr(batches, "MAX_OPEN_BYTES", 200_000)
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    names = ("labels", "data_row_exports", "annotations")
    whole = run(*names, now=NOW, batch_config=batch(folder))
    ends = [n for n, m in enumerate(whole.messages) if m["type"] == "STATE"]
    keys = {name: {key(row) for row in rows(whole.messages, name)} for name in names}
    assert len(ends) > 5

    for end in ends[:: len(ends) // 5]:
        rest = run(*names, now=NOW, state=whole.messages[end]["value"])
        for name in names:
            result = {key(row) for row in rows(whole.messages[:end], name)}
            assert result | {key(row) for row in rest.records(name)} == keys[name]


def key(row: Record) -> tuple[str, ...]:
    """Return what tells a record from all others of its stream."""
    names = ("id", "project_id", "data_row_id", "label_id", "annotation_id")
    return tuple(row[name] for name in names if name in row)


def test_state_is_rare(run: Runner, folder: Path) -> None:
    """Each takes new files: there is one a stream, and one file."""
    output = run(batch_config=batch(folder))

    kinds = Counter(m["type"] for m in output.messages)
    assert kinds["STATE"] <= kinds["SCHEMA"]
    assert kinds["BATCH"] == len(
        {m["stream"] for m in output.messages if m["type"] == "BATCH"}
    )
    assert output.messages[-1]["type"] == "STATE"


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_files_have_a_size(
    run: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A full one is written, and the next begun."""
    monkeypatch.setattr(batches, "MAX_OPEN_BYTES", 50_000)

    output = run("labels", now=NOW, batch_config=batch(folder, form, "none"))

    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert len(sizes) > 3
    assert max(sizes) < 100_000
    expected = run("labels", now=NOW)
    columns = schema(expected, "labels")
    assert comparable(rows(output.messages, "labels"), columns) == comparable(
        expected.records("labels"), columns
    )


def test_files_have_as_many_records_as_are_wanted(run: Runner, folder: Path) -> None:
    """At most."""
    output = run("labels", batch_config=batch(folder, batch_size=10))

    counts = [
        len(read(m["manifest"][0], m["encoding"]))
        for m in output.messages
        if m["type"] == "BATCH"
    ]
    assert max(counts) == 10
    assert sum(counts) == len(run("labels").records("labels"))


def test_files_are_named_by_stream(run: Runner, folder: Path) -> None:
    """Each run has its own, below the prefix; nothing of the settings is in a name."""
    for _ in range(2):
        run("labels", "projects", batch_config=batch(folder, prefix="raw/labelbox-"))

    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gz")]
    assert len(names) == 4
    assert sorted(re.sub("[0-9a-f]{32}", "RUN", name) for name in names) == sorted(
        2
        * ["raw/labelbox-labels-RUN-2.jsonl.gz", "raw/labelbox-projects-RUN-1.jsonl.gz"]
    )


def test_a_malformed_name_leads_nowhere_else(run: Runner, folder: Path) -> None:
    """A stream map may call a stream what it likes."""
    maps = {"projects": {"__alias__": "'../projects'"}}

    run("projects", stream_maps=maps, batch_config=batch(folder))

    assert len(list(folder.iterdir())) == 1


def test_a_test_writes_a_record_of_each_stream(run: Runner, folder: Path) -> None:
    """So the storage is tested as well."""
    done = run.command("--test", batch_config=batch(folder))

    output = Output(done.stdout)
    counts = {name: len(rows(output.messages, name)) for name in streams(output)}
    assert done.returncode == 0
    # All could be exported, and nobody has labeled in the last month.
    none = {"export_errors", "project_labelers", "project_reviewers"}
    assert {name for name in counts if not counts[name]} == {
        *none,
        "workspace_labelers",
    }
    assert {*counts.values()} == {0, 1}
    assert len(list(folder.iterdir())) == sum(counts.values())


def test_a_project_that_is_broken_costs_no_other(
    run: Runner, world: World, folder: Path
) -> None:
    """The files hold all others, and the state has no bookmark for it."""
    broken = world.projects[1].id

    def fail(request: Request) -> Reply | None:
        if request.operation == "Labels" and broken in request.variables.values():
            error = {"message": "gone", "extensions": {"code": "RESOURCE_NOT_FOUND"}}
            return Reply(200, {}, json.dumps({"errors": [error]}).encode())
        return None

    run.sandbox.before = fail
    output = run("labels", batch_config=batch(folder))

    assert isinstance(output.error, IncompleteError)
    assert {row["project_id"] for row in rows(output.messages, "labels")} == {
        project.id for project in world.projects if world.labels(project.id)
    } - {broken}
    bookmarks = {
        p["context"]["project_id"]
        for p in output.state["bookmarks"]["labels"]["partitions"]
        if "replication_key_value" in p
    }
    assert broken not in bookmarks
    assert bookmarks


def test_a_run_that_fails_has_files_of_what_it_read(
    serving: Callable[..., Runner], folder: Path
) -> None:
    """And a state that counts them."""
    run = serving(World(projects=1, labels=40))
    pages = iter(range(100))

    def fail(request: Request) -> Reply | None:
        late = request.operation == "Labels" and next(pages) > 2
        return Reply(503, {}, b"") if late else None

    run.sandbox.before = fail
    failed = run("labels", page_size=10, concurrency=1, batch_config=batch(folder))
    run.sandbox.before = None
    rest = run("labels", state=failed.state)

    assert failed.error
    read_before = {row["id"] for row in rows(failed.messages, "labels")}
    assert 10 < len(read_before) < 40
    assert len(read_before | set(rest.ids("labels"))) == 40


def test_a_storage_that_fails_costs_no_record(run: Runner, folder: Path) -> None:
    """There is no state that counts what was not stored."""
    asked = iter(range(100))

    def fill(request: Request) -> None:
        if request.operation == "Labels" and next(asked) == 1:
            folder.rmdir()
            folder.write_text("no folder any more")

    run.sandbox.before = fill
    output = run("labels", page_size=10, batch_config=batch(folder))

    assert isinstance(output.error, LabelboxError)
    assert "batch files cannot be written to" in str(output.error)
    assert {m["type"] for m in output.messages} == {"SCHEMA", "STATE"}
    assert output.states[0] == {"bookmarks": {}}
    assert '"replication_key_value"' not in output.text


def start(run: Runner, before: str = "", **settings: Any) -> subprocess.Popen[str]:
    """Start the tap as a process, with a statement before."""
    assert run.folder
    config = run.folder / "config.json"
    config.write_text(json.dumps(run.config(**settings)))
    program = f"{before}\nimport runpy\nrunpy.run_module('tap_labelbox')"
    program = program.replace("')", "', run_name='__main__')")
    return subprocess.Popen(
        [sys.executable, "-c", program, "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Return a process once it has ended."""
    output, log = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output, log)


def refused(done: subprocess.CompletedProcess[str], code: int = 78) -> str:
    """Return the one line in which a run says why it cannot go on."""
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    messages = Output(done.stdout).messages
    assert {m["stream"] for m in messages if m["type"] == "BATCH"} <= {"projects"}
    assert '"replication_key_value"' not in done.stdout  # of no STATE
    (line,) = [line for line in done.stderr.splitlines() if "ERROR" in line]
    return line


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on Windows")
def test_a_file_is_whole_or_not_there(run: Runner, folder: Path) -> None:
    """A full disk leaves no part of a file behind."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"

    process = start(run, limit, batch_config=batch(folder, compression="none"))
    line = refused(ended(process), 75)

    assert "File too large" in line
    assert {path.name.split("-")[0] for path in folder.iterdir()} == {"projects"}


MODES = {None: (0o600, 0o700), "owner": (0o600, 0o700), "group": (0o640, 0o750)}
MODES["everyone"] = (0o644, 0o755)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask of this process."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("readers", MODES)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_files_are_private(
    run: Runner, tmp_path: Path, mask: int, readers: str | None, form: str
) -> None:
    """With all folders made for them, unless a setting says otherwise."""
    there, folder = tmp_path / "there", tmp_path / "there" / "a" / "b"
    there.mkdir()
    there.chmod(0o775)
    config = batch(folder, form, prefix="c/d-")
    config["storage"] |= {"readable_by": readers} if readers else {}

    with umask(mask):
        output = run("projects", batch_config=config)

    assert output.error is None
    assert rows(output.messages, "projects")
    modes: dict[bool, set[int]] = {True: set(), False: set()}
    for path in there.rglob("*"):
        modes[path.is_file()].add(stat.S_IMODE(path.stat().st_mode))
    assert modes == {True: {MODES[readers][0]}, False: {MODES[readers][1]}}
    assert stat.S_IMODE(there.stat().st_mode) == 0o775


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_file_is_private_from_its_first_byte(folder: Path) -> None:
    """Nobody can open it before it gets its mode."""
    made: list[tuple[Any, ...]] = []

    def watch(event: str, inputs: tuple[Any, ...]) -> None:
        if watching and event in {"open", "os.mkdir", "os.chmod"}:
            path = inputs[0]
            made.append((event, modes(path) if event == "os.chmod" else None))
            if event == "os.mkdir":
                made[-1] = (event, inputs[1])

    def modes(path: Any) -> int:
        return stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116  # of a descriptor

    sys.addaudithook(watch)  # it stays, but sees nothing after this test
    watching = True
    try:
        with umask(0):
            files.make_folders(folder / "deeper", files.Readers.OWNER)
            files.write_whole(folder / "deeper" / "x", b"1", files.Readers.OWNER)
        with umask(0o077):
            files.write_whole(folder / "deeper" / "y", b"1", files.Readers.EVERYONE)
    finally:
        watching = False

    assert ("os.mkdir", 0o700) in made
    assert all(mode & 0o077 == 0 for event, mode in made if event != "open")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_file_that_waits_at_its_place_is_not_written_into(tmp_path: Path) -> None:
    """Whoever put it there could read it; a link would lead elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (tmp_path / "x.part").symlink_to(elsewhere)
    (tmp_path / "y.part").touch(0o666)

    for name in ("x", "y"):
        files.write_whole(tmp_path / name, b"rows")

    assert elsewhere.read_bytes() == b""
    for name in ("x", "y"):
        assert (tmp_path / name).read_bytes() == b"rows"
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_what_is_null_is_not_set(run: Runner, folder: Path) -> None:
    """Within the setting as well."""
    config = batch(folder)
    config["batch_size"] = config["storage"]["prefix"] = None

    output = run("projects", batch_config=config)

    assert output.error is None
    (file,) = folder.iterdir()
    assert re.fullmatch(r"projects-[0-9a-f]{32}-1\.jsonl\.gz", file.name)


@pytest.mark.parametrize(
    ("change", "logged"),
    [
        ({"encoding": {"format": "csv"}}, "encoding.format must be one of jsonl, "),
        ({"encoding": {"format": "jsonl", "compression": "zip"}}, "one of gzip, none"),
        ({"encoding": {}}, "batch_config.encoding.format is not set: set it"),
        ({"storage": {}}, "batch_config.storage.root is not set: set it"),
        ({"storage": {"root": ""}}, "batch_config.storage.root is not set"),
        ({"batch_size": 0}, "batch_config.batch_size must be at least 1"),
        (
            {"storage": {"root": "x", "readable_by": "0644"}},
            "storage.readable_by must be one of owner, group, everyone",
        ),
        (
            {"storage": {"root": "memory://x", "readable_by": "group"}},
            "batch_config.storage.readable_by is for files on this machine: remove it",
        ),
        ({"storage": {"root": "ftps://x"}}, "cannot be written to ftps://x (Protocol "),
        ({"storage": {"root": "/dev/null/x"}}, "cannot be written to /dev/null/x ("),
    ],
)
def test_what_cannot_be_used_is_reported(
    run: Runner, folder: Path, change: dict[str, Any], logged: str
) -> None:
    """In one line, before anything is asked of Labelbox."""
    line = refused(run.command(batch_config=batch(folder) | change))

    assert logged in line
    assert not run.sandbox.requests


@pytest.mark.parametrize(
    ("module", "config", "logged"),
    [
        ("pyarrow", batch("out", "parquet"), "install tap-labelbox[parquet]"),
        ("s3fs", batch("s3://bucket"), "install tap-labelbox[s3]"),
    ],
)
def test_what_is_not_installed_is_reported(
    run: Runner, module: str, config: dict[str, Any], logged: str
) -> None:
    """With what to install."""
    hidden = f"import sys; sys.modules[{module!r}] = None"
    line = refused(ended(start(run, hidden, batch_config=config)))

    assert logged in line
    assert not run.sandbox.requests


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_loses_nothing(
    serving: Callable[..., Runner], folder: Path, by: int
) -> None:
    """All that its state counts is in files, and these are whole."""
    run = serving(World(projects=4, labels=200), latency=0.02)
    everything = {row["id"] for row in run("labels").records("labels")}
    process = start(run, page_size=10, batch_config=batch(folder, batch_size=20))
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if sum('"BATCH"' in line and '"labels"' in line for line in lines) == 2:
            break
    process.send_signal(by)
    rest, _ = process.communicate(timeout=20)

    first = Output("".join(lines) + rest[: rest.rfind("\n") + 1])
    result = {row["id"] for row in rows(first.messages, "labels")}
    second = run("labels", state=first.state)
    assert 20 < len(result) < len(everything)
    assert result | set(second.ids("labels")) == everything


@pytest.mark.parametrize(("form", "compression"), ENCODINGS)
def test_files_on_s3(
    run: Runner,
    folder: Path,
    bucket: Callable[[str], Any],
    form: str,
    compression: str,
) -> None:
    """They are what they are in a folder."""
    client = bucket("lake")
    expected = run("labels", now=NOW)
    config = batch("s3://lake/raw", form, compression, prefix="labelbox/")

    done = run.command(batch_config=config)

    assert done.returncode == 0, done.stderr
    assert "not-to-be-told" not in done.stdout + done.stderr
    (message,) = (
        m
        for m in Output(done.stdout).messages
        if m["type"] == "BATCH" and m["stream"] == "labels"
    )
    (url,) = message["manifest"]
    assert url.startswith("s3://lake/raw/labelbox/labels-")
    client.download_file("lake", urlsplit(url).path[1:], str(folder))
    message["manifest"] = [folder.as_posix()]
    columns = schema(expected, "labels")
    assert comparable(rows([message], "labels"), columns) == comparable(
        expected.records("labels"), columns
    )


@pytest.mark.usefixtures("s3")
def test_a_storage_without_credentials_is_reported(run: Runner) -> None:
    """In one line, before anything is asked of Labelbox."""
    line = refused(run.command(batch_config=batch("s3://lake")))

    assert "to s3://lake (Unable to locate credentials): check" in line
    assert not run.sandbox.requests
