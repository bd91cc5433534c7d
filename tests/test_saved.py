"""Saved files: rows of every export, in any layout; and messages that stay lines."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import threading
import tracemalloc
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.implementations.local import (  # type: ignore[import-untyped]  # no types
    LocalFileSystem,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_labelbox.api.errors import IncompleteError, UnavailableError
from tap_labelbox.exports import saved
from tap_labelbox.exports.fast_rows import decode_fast_rows
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.exports.saved import Item, SavedFile, item_decoder
from tap_labelbox.exports.sources import Source
from tap_labelbox.records import json_text
from tap_labelbox.records.json_extent import Extent
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.sandbox import World, serve
from tap_labelbox.tap import TapLabelbox
from tests.runner import Output, Runner
from tests.test_malformed_rows import Served, Tables, data_row, item, label, project

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


Row = dict[str, Any]

MB = 1024 * 1024
MAX_ROW_BYTES = 64 * MB
INNER: list[frozenset[str] | None] = [
    None,
    frozenset(),
    frozenset({"labels"}),
    frozenset({"annotations"}),
]
"""What streams look into."""
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
EXPORTED = ("data_row_exports", "export_labels", "annotations", "data_row_metadata")


def run(paths: Iterable[Path | str], *streams: str, **options: Any) -> Output:
    """Read saved files."""
    tap = TapLabelbox(config={"export_files": [*map(str, paths)], **options})
    for stream in tap.streams.values():
        stream.selected = not streams or stream.name in streams
    output = Output()
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(written):
        tap.sync_all()
        try:
            tap.workspace.check()
        except IncompleteError as error:
            output.error = error
    written.seek(0)
    output.text = written.read()
    return output


def saved_file(path: Path, limit: int = MAX_ROW_BYTES) -> SavedFile:
    """Return a file of this machine."""
    return SavedFile(Source(LocalFileSystem(), str(path)), limit)


def saved_files(paths: list[Path]) -> list[SavedFile]:
    """Return what the setting has."""
    workspace = TapLabelbox(config={"export_files": [*map(str, paths)]}).workspace
    return workspace.saved_files


def actual(path: Path, *, items: bool = False, limit: int = MAX_ROW_BYTES) -> list[Any]:
    """Return what a file holds: IDs, and what is malformed."""
    decode = item_decoder(only_items=False) if items else decode_rows
    rows = []
    for row in saved_file(path, limit).read(decode):
        if isinstance(row, Item):
            rows.append(row.value["ID"])
        elif isinstance(row, dict):
            rows.append(row["data_row"]["id"])
        else:
            rows.append(row)
    return rows


# --- the layout of a file ----------------------------------------------------------

SPACE = st.text(" \t\r\n", max_size=3)


@st.composite
def spaced(draw: st.DrawFn, value: Any, space: st.SearchStrategy[str] = SPACE) -> str:
    """Write a value as JSON with white space wherever it may stand."""
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:"\s]+', text)
    return "".join(token + draw(space) for token in tokens).rstrip()


def written(row: Row, style: int | None) -> str:
    """Write a row on one line, or over several."""
    return json.dumps(row, indent=style)


ROWS = [*map(data_row, range(4)), *map(item, range(4))]


@st.composite
def to_record(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A file of rows and items in any order, and the IDs of these."""
    text, ids, depth = "", [], 0
    for row in draw(st.lists(st.sampled_from(ROWS), max_size=9)):
        if draw(st.integers(0, 5)) == 0:
            text, depth = (
                text + draw(st.sampled_from(["[", "[\n", "[ \n  "])),
                depth + 1,
            )
        text += written(row, draw(st.sampled_from([None, None, 0, 1, 2])))
        ids.append(row["ID"] if "ID" in row else row["data_row"]["id"])
        if depth and draw(st.integers(0, 3)) == 0:
            text, depth = text + draw(st.sampled_from(["]", "\n]"])), depth - 1
            text += "," if depth else "\n"
        else:
            text += draw(
                st.sampled_from(
                    [", ", ",", ",\n", ",\n  "] if depth else ["\n", "\r\n"]
                )
            )
    return text.rstrip(", \r\n") + "]" * depth, ids


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=to_record(),
    chunk=st.integers(1, 300),
    decode=st.sampled_from([decode_rows, decode_fast_rows]),
    end=st.sampled_from(["", "\n", "\r\n"]),
)
def test_every_row_of_every_layout_is_read_once(
    tmp_path: Path, file: tuple[str, list[str]], chunk: int, decode: Any, end: str
) -> None:
    """Lines, arrays, several lines, of both exports, and all of it mixed."""
    text, ids = file
    path = tmp_path / "export"
    path.write_text(text + end, newline="")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved, "CHUNK_BYTES", chunk)
        patch.setattr(saved, "MAX_WAIT_BYTES", 4 * chunk)
        read = [*saved_file(path).read(decode)]
        as_items = [
            row.value["ID"]
            for row in saved_file(path).read(item_decoder(only_items=True))
            if isinstance(row, Item)
        ]

    assert len(read) == len(ids)
    assert not [row for row in read if isinstance(row, Malformed)]
    assert [row.value["ID"] for row in read if isinstance(row, Item)] == as_items
    assert as_items == [key for key in ids if key.startswith("l")]


@pytest.mark.parametrize("style", [None, 0, 2])
@pytest.mark.parametrize("selected", [*EXPORTED, None])
def test_an_array_of_data_rows_gives_what_lines_give(
    tmp_path: Path, style: int | None, selected: str | None
) -> None:
    """``json.dump(task.result)``: with every stream, and with each alone."""
    lines, array = tmp_path / "rows.ndjson", tmp_path / "rows.json"
    rows = [data_row(n) for n in range(30)]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    array.write_text(json.dumps(rows, indent=style))
    streams = (selected,) if selected else ()

    expected, output = run([lines], *streams), run([array], *streams)

    assert output.error is None
    for stream in (*EXPORTED, "bulk_export"):
        assert output.records(stream) == expected.records(stream)
    assert selected == "data_row_metadata" or output.records(selected or EXPORTED[0])


@pytest.mark.parametrize("streams", [(), ("bulk_export",), ("bulk_export", "labels")])
def test_items_of_a_bulk_export_may_be_lines(
    tmp_path: Path, streams: tuple[str, ...]
) -> None:
    """As some convert them."""
    path = tmp_path / "v1.ndjson"
    path.write_text("".join(json.dumps(item(n)) + "\n" for n in range(3)))

    output = run([path], *streams)

    assert output.error is None
    assert output.ids("bulk_export") == ["l0", "l1", "l2"]


@pytest.mark.parametrize("text", ["{}{}", "{} {}", "{}, {}", "[{}][{}]", "[[{},{}]]"])
def test_rows_without_a_line_feed_between_them_are_read(
    tmp_path: Path, text: str
) -> None:
    """Programs forget it, or save one array an export."""
    path = tmp_path / "export"
    rows = [json.dumps(data_row(n)) for n in (1, 2)]
    path.write_text(text.replace("{}", "%s") % tuple(rows))

    assert actual(path) == ["r1", "r2"]


# --- what is malformed ------------------------------------------------------------

GOOD = [json.dumps(data_row(n)) for n in range(3)]
CUT_OFF = json.dumps(data_row(9))
BROKEN = [
    *(CUT_OFF[:at] for at in range(1, len(CUT_OFF), 7)),
    CUT_OFF.replace("r9", "r\t9"),
    CUT_OFF.replace("[", "{"),
    CUT_OFF.replace(":", "", 1),
    '{"data_row": {"id": null}}',
    "{}",
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_row_costs_itself(
    tmp_path: Path, broken: str, indent: int | None
) -> None:
    """In lines, and among rows over several lines: it is named by line and byte."""
    good = [json.dumps(data_row(n), indent=indent) for n in range(3)]
    path = tmp_path / "export"
    path.write_text("\n".join([good[0], broken, *good[1:]]))

    first, bad, *others = actual(path)

    assert (first, *others) == ("r0", "r1", "r2")
    line = good[0].count("\n") + 2
    assert bad.where == f"line {line} (byte {len(good[0]) + 1})"
    assert "Jane" not in bad.why


@pytest.mark.parametrize("separator", [", ", ",\n  "])
@pytest.mark.parametrize("broken", [b for b in BROKEN if b.startswith("{")])
def test_a_broken_row_of_an_array_costs_itself(
    tmp_path: Path, broken: str, separator: str
) -> None:
    """The beginning of the next row is found again."""
    path = tmp_path / "export"
    path.write_text("[" + separator.join([GOOD[0], broken, *GOOD[1:]]) + "]")

    read = actual(path)

    assert [row for row in read if isinstance(row, str)] == ["r0", "r1", "r2"]
    assert sum(isinstance(row, Malformed) for row in read) == 1


@pytest.mark.parametrize("value", ["null", "7", '"x [ y"', "nul", "{}", "[]"])
def test_what_is_no_row_in_an_array_is_named(tmp_path: Path, value: str) -> None:
    """But for an array, which may hold rows."""
    path = tmp_path / "export"
    path.write_text(f"[{GOOD[0]}, {value}, {GOOD[1]}]")

    read = actual(path)

    assert [row for row in read if isinstance(row, str)] == ["r0", "r1"]
    assert sum(isinstance(row, Malformed) for row in read) == (value != "[]")


@pytest.mark.parametrize("cut", [1, 5, 300])
def test_an_array_that_is_cut_short_is_reported(tmp_path: Path, cut: int) -> None:
    """After the rows that are there."""
    path = tmp_path / "export"
    path.write_text(json.dumps([data_row(n) for n in range(5)])[:-cut])

    output = run([path], "data_row_exports")

    assert len(output.records("data_row_exports")) == 5 - (cut > 1) - (cut > 280)
    assert output.error is not None
    assert str(path) in str(output.error)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    indent=st.sampled_from([None, 0, 1]),
    first_page=st.sampled_from(["", "["]),
    byte=st.sampled_from([*b'"{}[],:\\\n\r x\xff\0']),
    length=st.integers(0, 1),
    chunk=st.sampled_from([7, 64, 1000, 65536]),
)
def test_a_damaged_byte_costs_a_row(
    tmp_path: Path,
    data: st.DataObject,
    indent: int | None,
    first_page: str,
    byte: int,
    length: int,
    chunk: int,
) -> None:
    """Or two, which it joins on one line; what is lost is logged."""
    path = tmp_path / "export"
    rows = [json.dumps(data_row(n), indent=indent) for n in range(5)]
    text = data.draw(
        st.sampled_from([",\n", ", "]) if first_page else st.just("\n")
    ).join(rows)
    whole = (first_page + text + ("]" if first_page else "")).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([byte]) + whole[at + length :]
    path.write_bytes(damaged)
    read: list[Any] = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved, "CHUNK_BYTES", chunk)
        is_cut = False
        try:
            for row in saved_file(path, MB).read(decode_rows):
                read.append(row)  # noqa: PERF402  # what came before an error counts
        except UnavailableError:
            is_cut = True

    kept = [row["data_row"]["id"] for row in read if isinstance(row, dict)]
    lost = {f"r{n}" for n in range(5)} - {*kept}
    assert len(kept) <= 5
    assert len(lost) <= (1 if indent is not None or first_page else 2)
    is_logged = is_cut or any(isinstance(row, Malformed) for row in read)
    assert is_logged or len(kept) == 5


def test_nonsense_is_read_in_linear_time(tmp_path: Path) -> None:
    """Rows that never end, each within the other, are not each sought to the end."""
    path = tmp_path / "export"
    count = 20_000
    path.write_text("[" + '{"data_row":' * count)
    seen = 0

    class Counted(Extent):  # what is to be counted
        def size(self, text: bytes, start: int) -> int | None:
            nonlocal seen
            seen += 1
            return super().size(text, start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved, "Extent", Counted)
        with pytest.raises(UnavailableError):
            actual(path)

    assert seen < 1000


# --- any size, flat memory --------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("first_page", ["", "["])
def test_a_row_of_any_size_is_read(
    tmp_path: Path, indent: int | None, first_page: str
) -> None:
    """Also without a line feed at its end."""
    path = tmp_path / "export"
    row = data_row(1) | {"media_attributes": {"a": [{"b": "[{\\" * 30}] * 90_000}}
    rows = [
        json.dumps(single, indent=indent) for single in (data_row(0), row, data_row(2))
    ]
    separator = "," if first_page else "\n"
    path.write_text(first_page + separator.join(rows) + ("]" if first_page else ""))

    assert path.stat().st_size > 2 * saved.MAX_WAIT_BYTES
    assert actual(path) == ["r0", "r1", "r2"]


@pytest.mark.parametrize("separator", ["\n", ", "])
def test_a_row_that_is_too_long_costs_itself(tmp_path: Path, separator: str) -> None:
    """It is named with its size, and never held."""
    path = tmp_path / "export"
    long = json.dumps(data_row(1) | {"x": [{"y": "z" * 1000}] * 40_000})
    text = separator.join([GOOD[0], long, GOOD[2]])
    path.write_text(text if separator == "\n" else f"[{text}]")

    tracemalloc.start()
    try:
        first, bad, last = actual(path, limit=MB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (first, last) == ("r0", "r2")
    assert re.search(r"it has \d{8} bytes: raise max_row_bytes", bad.why)
    assert peak < 24 * MB < len(long)


@pytest.mark.parametrize("items", [True, False])
@pytest.mark.parametrize("separator", [", ", ",\n", "\n"])
def test_memory_is_flat(tmp_path: Path, separator: str, *, items: bool) -> None:
    """Whatever the size of the array."""
    path = tmp_path / "export"
    count = 8_000
    with path.open("w") as file:
        file.write("[" if "," in separator else "")
        for n in range(count):
            row = item(n) if items else data_row(n % 60)
            file.write((separator if n else "") + json.dumps(row | {"x": "y" * 4_000}))
        file.write("]" if "," in separator else "")
    decode = item_decoder(only_items=False) if items else decode_fast_rows

    tracemalloc.start()
    try:
        read = sum(1 for _ in saved_file(path).read(decode))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert read == count
    assert peak < 24 * MB < path.stat().st_size


# --- what is logged ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "streams", "problem"),
    [
        ([item(1), item(2)], ["data_row_exports"], "its items of a bulk export (2)"),
        ([data_row(1)], ["bulk_export"], "its data rows (1)"),
        ([data_row(1)], ["export_errors"], "its data rows (1)"),
        ([data_row(1), item(1)], ["annotations"], "its items of a bulk export (1)"),
        ([], ["data_row_exports"], "it holds no rows"),
        ([], ["bulk_export"], "it holds no rows"),
        ([data_row(1), item(1)], ["data_row_exports", "bulk_export"], ""),
        ([data_row(1)], ["label_reviews"], ""),
    ],
)
@pytest.mark.parametrize("is_array", [True, False])
def test_what_no_selected_stream_reads_is_reported(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    rows: list[Row],
    streams: list[str],
    problem: str,
    *,
    is_array: bool,
) -> None:
    """By the name of the file, once."""
    path = tmp_path / "export"
    path.write_text(json.dumps(rows) if is_array else "\n".join(map(json.dumps, rows)))

    output = run([path], *streams)

    assert output.error is None
    warnings = [m for m in caplog.messages if str(path) in m]
    assert len(warnings) == bool(problem)
    assert all(problem in message for message in warnings)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip"),
        (bz2.compress(b"{}"), "bzip2"),
        (lzma.compress(b"{}"), "xz"),
        (b"PK\x03\x04rest", "ZIP"),
        *(
            (
                json.dumps([data_row(1)]).encode(encoding),
                f"{encoding[:6].upper()}: save",
            )
            for encoding in ENCODINGS
        ),
    ],
)
def test_a_file_that_has_to_be_made_readable_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, problem: str
) -> None:
    """In one message, not one for each of its lines."""
    path = tmp_path / "export"
    path.write_bytes(content)

    output = run([path])

    assert str(path) in str(output.error)
    assert [m for m in caplog.messages if str(path) in m and problem in m]
    assert output.messages
    assert not output.records("data_row_exports")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """By all streams that are selected, and not waited for again."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    text = "".join(line + "\n" for line in GOOD)
    writer = threading.Thread(target=lambda: path.write_text(text))
    writer.start()

    output = run([path])

    writer.join()
    assert output.error is None
    assert len(output.records("data_row_exports")) == len(GOOD)


MODEL_RUN = {
    "data_row": {"id": "r1"},
    "experiments": {"m": {"runs": {"u": {"labels": [{"id": "l1"}]}}}},
}


def test_unread_rows_of_model_runs_are_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged if no selected stream reads them; they are kept as they are."""
    path = tmp_path / "model_run.ndjson"
    path.write_text(2 * (json.dumps(MODEL_RUN) + "\n") + GOOD[0])

    output = run([path], "data_row_exports")

    first, _, last = output.records("data_row_exports")
    assert first["additional_columns"]["experiments"] == MODEL_RUN["experiments"]
    assert last["data_row_id"] == "r0"
    (line,) = [m for m in caplog.messages if "model runs" in m]
    assert "2 data rows" in line
    assert "model_run_predictions" in line


PREDICTED: dict[str, Any] = {
    "name": "night",
    "run_data_row_id": "x1",
    "data_split": "TEST",
    "labels": [{"id": "l1"}, {"id": "l2"}],
    "predictions": [
        {
            "id": "p1",
            "annotations": {"objects": [{"feature_id": "f1", "confidence": 0.5}]},
        }
    ],
}
RUNS = ("model_run_predictions", "model_run_data_rows")


@pytest.mark.parametrize("streams", [RUNS, RUNS[:1], RUNS[1:], ()])
@pytest.mark.parametrize(
    "place", [{"experiments": "runs"}, {"models": "model_runs"}], ids=["now", "2023"]
)
@pytest.mark.parametrize("indent", [None, 1])
def test_rows_of_model_runs_are_read(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    streams: tuple[str, ...],
    place: dict[str, str],
    indent: Any,
) -> None:
    """By whichever of their streams are selected, in any layout and with other rows."""
    ((outer, inner),) = place.items()
    row = {"data_row": {"id": "r1"}, outer: {"m": {inner: {"u": PREDICTED}}}}
    path = tmp_path / "model_run.json"
    path.write_text(
        json.dumps(row, indent=indent) + "\n" + (GOOD[0] + "\n") * (not streams)
    )

    output = run([path], *streams)

    assert output.error is None
    assert not [m for m in caplog.messages if "no selected stream" in m]
    assert not {m["type"] for m in output.messages} - {"SCHEMA", "RECORD", "STATE"}
    ids: dict[str, Any] = {"model_run_id": "u", "data_row_id": "r1"}
    if "model_run_predictions" in streams or not streams:
        (record,) = output.records("model_run_predictions")
        ids |= {"prediction_id": "p1", "annotation_id": "f1", "confidence": 0.5}
        assert record.items() >= (ids | {"data_split": "TEST"}).items()
        assert record["additional_columns"] == {}
    if "model_run_data_rows" in streams or not streams:
        (record,) = output.records("model_run_data_rows")
        assert record == {
            "model_run_id": "u",
            "id": "x1",
            "data_row_id": "r1",
            "label_id": "l1",
            "data_split": "TEST",
            "additional_columns": {"label_ids": ["l2"]},
        }


def test_a_row_of_a_run_has_an_id_in_any_case(tmp_path: Path) -> None:
    """That of the data row, where the file has none of the row in the run."""
    path = tmp_path / "model_run.ndjson"
    path.write_text(json.dumps(MODEL_RUN))

    (record,) = run([path], "model_run_data_rows").records("model_run_data_rows")

    assert (record["id"], record["label_id"]) == ("r1", "l1")


def test_the_catalog_has_all_rows_of_a_file(tmp_path: Path) -> None:
    """In a project or not; other streams' rows are not counted as unread."""
    path = tmp_path / "rows.ndjson"
    path.write_text("\n".join([GOOD[0], json.dumps(MODEL_RUN)]))

    output = run([path], "catalog_data_rows")

    assert output.error is None
    actual = [r["data_row_id"] for r in output.records("catalog_data_rows")]
    assert actual == ["r0", "r1"]


def test_streams_of_all_kinds_read_a_file_once(tmp_path: Path) -> None:
    """A pipe cannot be read twice."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    text = "\n".join([GOOD[0], json.dumps(MODEL_RUN)])
    writer = threading.Thread(target=lambda: path.write_text(text))
    writer.start()

    output = run([path], "data_row_exports", "catalog_data_rows", *RUNS)

    writer.join()
    assert output.error is None
    assert len(output.records("data_row_exports")) == 2
    assert len(output.records("catalog_data_rows")) == 2
    assert len(output.records("model_run_data_rows")) == 1


# --- several files ----------------------------------------------------------------


def at(number: int, timestamp: str | None, key: str = "last_activity_at") -> Row:
    """Return a data row that was active at a time of May 2024."""
    row: Row = {
        "data_row": {"id": f"r{number}", "external_id": f"{number} {timestamp}"}
    }
    if timestamp:
        row["data_row"]["details"] = {key: timestamp}
    return row


MAY = "2024-05-"


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ([at(1, f"{MAY}01T00:00:00.000+00:00")], [at(1, f"{MAY}02T00:00:00.000Z")]),
        # As text, the first would be the newer one.
        ([at(1, f"{MAY}02T01:00:00+05:00")], [at(1, f"{MAY}01T23:00:00.000Z")]),
        # The row itself is older than another of the older file.
        (
            [at(1, f"{MAY}01T00:00:00Z"), at(2, f"{MAY}05T00:00:00Z")],
            [at(3, f"{MAY}06T00:00:00Z"), at(1, f"{MAY}05T12:00:00Z")],
        ),
        # Without details, by what else they have.
        (
            [at(1, f"{MAY}01T00:00:00Z", "updated_at")],
            [at(1, f"{MAY}02T00:00:00Z", "created_at")],
        ),
        (
            [item(1) | {"Updated At": f"{MAY}01T00:00:00.000Z"}],
            [item(1) | {"Updated At": f"{MAY}03T00:00:00.000Z"}],
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_the_newest_activity_wins(
    tmp_path: Path,
    older: list[Row],
    newer: list[Row],
    indent: int | None,
    *,
    newest_first: bool,
) -> None:
    """In a target that keeps the last record of each key."""
    monday, tuesday = tmp_path / "monday", tmp_path / "tuesday"
    monday.write_text(json.dumps(older, indent=indent))
    tuesday.write_text(json.dumps(newer, indent=indent))
    paths = [tuesday, monday] if newest_first else [monday, tuesday]

    files = [file.name for file in saved_files(paths)]
    output = run(paths)

    assert files == [str(monday), str(tuesday)]
    last = [*output.records("data_row_exports"), *output.records("bulk_export")][-1]
    if "ID" in newer[-1]:
        assert last["updated_at"] == newer[-1]["Updated At"]
    else:
        assert last["external_id"] == newer[-1]["data_row"]["external_id"]


def test_the_newest_activity_is_found_wherever_a_file_is_cut(tmp_path: Path) -> None:
    """And only where it is a key's value, not in a text."""
    path = tmp_path / "export"
    text = json.dumps(json.dumps(at(1, "2099-01-01T00:00:00Z")))
    for pad in range(MB - 100, MB + 40, 7):
        row = at(1, f"{MAY}01T00:00:00Z") | {"note": text}
        path.write_text(" " * pad + json.dumps(row))

        assert (
            saved.newest_timestamp(Source(LocalFileSystem(), str(path)))
            == f"{MAY}01T00:00:00.000Z"
        )


# --- messages stay lines ----------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Serve tables, from one server for all tests here."""
    world = World(projects=0)
    with serve(world) as sandbox:
        yield Served(Runner(sandbox, world))


def large_row(number: int) -> Row:
    """Return a data row with something in all that may be passed on."""
    row = data_row(number)
    inner = [{"id": "x", "value": {"a": [1, {"b": "c\r\n\u2028\x0b"}]}}]
    row |= {"attachments": inner, "metadata_fields": inner, "embeddings": inner}
    row["media_attributes"] = {"height": 1, "new": {"a": [1, 2]}}
    row["projects"]["p0"] |= {"project_details": {"workflow_history": inner}}
    return row


def lines_of(text: str) -> list[str]:
    """Split messages as a target does that reads universal newlines."""
    return io.StringIO(text, newline=None).read().rstrip("\n").split("\n")


def without_time(output: Output) -> list[Any]:
    """Return all records, from text that a target with universal newlines reads."""
    messages = [json.loads(line) for line in lines_of(output.text)]
    return [
        (m["stream"], m["record"] | {"exported_at": None})
        for m in messages
        if m["type"] == "RECORD"
    ]


STREAMS = st.sampled_from(
    [*((name,) for name in EXPORTED), EXPORTED, ("data_row_attachments",)]
)


@pytest.fixture(scope="module")
def plain_records() -> dict[Any, Any]:
    """Return the records of what has no line breaks: the same for all examples."""
    return {}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), streams=STREAMS, end=st.sampled_from(["\n", "\r\n", " \r\n"]))
def test_no_line_break_of_a_saved_file_gets_into_a_message(
    tmp_path: Path,
    plain_records: dict[Any, Any],
    data: st.DataObject,
    streams: tuple[str, ...],
    end: str,
) -> None:
    """CR and LF between the tokens of JSON, and rows over several lines."""
    rows = [large_row(n) for n in range(3)]
    plain, variant = tmp_path / "plain", tmp_path / "odd"
    plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
    variant.write_text(
        "".join(data.draw(spaced(row)) + end for row in rows), "utf-8", newline=""
    )

    output = run([variant], *streams)

    assert output.error is None
    assert "\r" not in output.text
    if ("file", streams) not in plain_records:
        plain_records["file", streams] = without_time(run([plain], *streams))
    assert without_time(output) == plain_records["file", streams]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), streams=STREAMS, end=st.sampled_from(["", "\r"]))
def test_no_line_break_of_a_download_gets_into_a_message(
    served: Served,
    plain_records: dict[Any, Any],
    data: st.DataObject,
    streams: tuple[str, ...],
    end: str,
) -> None:
    """A line of NDJSON may have CR between its tokens."""
    rows = [large_row(n) for n in range(3)]
    space = st.text(" \t\r", max_size=3)
    lines = [(data.draw(spaced(row, space)) + end).encode() for row in rows]

    output = served(Tables(lines=lines), *streams)

    assert output.error is None
    assert "\r" not in output.text
    if ("download", streams) not in plain_records:
        plain = served(Tables(lines=[json.dumps(r).encode() for r in rows]), *streams)
        plain_records["download", streams] = without_time(plain)
    assert without_time(output) == plain_records["download", streams]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_line_break_of_a_reply_gets_into_a_message(
    served: Served, plain_records: dict[Any, Any], data: st.DataObject
) -> None:
    """Labels are passed on as they come; and items of a bulk export are not."""
    labels = [label(n) for n in range(2)]
    variant = data.draw(spaced(labels)).encode()
    items = data.draw(spaced([item(n) for n in range(3)])).encode()
    tables = Tables([project(0)], variant, items)

    output = served(tables, "labels", "bulk_export", page_size=100)

    assert output.error is None
    assert "\r" not in output.text
    if "reply" not in plain_records:
        same = Tables([project(0)], labels, json.dumps([*map(item, range(3))]).encode())
        plain = served(same, "labels", "bulk_export", page_size=100)
        plain_records["reply"] = without_time(plain)
    assert without_time(output) == plain_records["reply"]


@pytest.mark.parametrize("selected", EXPORTED)
def test_no_line_break_gets_into_a_batch_file(tmp_path: Path, selected: str) -> None:
    """Each of its lines is a record."""
    path = tmp_path / "export"
    rows = [large_row(n) for n in range(3)]
    texts = [json.dumps(row).replace(", ", ",\r ") for row in rows]
    path.write_text(
        "\r\n".join([*texts, json.dumps(large_row(3), indent=1)]), newline=""
    )
    batches = {
        "encoding": {"format": "jsonl", "compression": "none"},
        "storage": {"root": str(tmp_path / "batches")},
    }

    output = run([path], selected, batch_config=batches)

    assert output.error is None
    (file,) = (tmp_path / "batches").iterdir()
    content = file.read_bytes()
    assert b"\r" not in content
    keys = [json.loads(line)["data_row_id"] for line in content.splitlines()]
    assert sorted({*keys}) == ["r0", "r1", "r2", "r3"]


@given(
    values=st.lists(st.sampled_from(['{"a":%s1}', '{"b":[%s2]}', "{%s}"]), max_size=5),
    breaks=st.lists(st.sampled_from(["", "\n", "\r", "\r\n", " "]), min_size=5),
    between=st.lists(st.sampled_from(["\n", "", " \n", "\r\n", "\n\n"]), min_size=5),
)
def test_what_is_passed_on_has_no_line_break(
    values: list[str], breaks: list[str], between: list[str]
) -> None:
    """However the lines and the values fall together."""
    import msgspec  # noqa: PLC0415

    shape = msgspec.json.Decoder(dict[str, msgspec.Raw])
    text = "".join(v % b + e for v, b, e in zip(values, breaks, between, strict=False))

    many = json_text.decode_lines_as(shape, text.encode()) or []
    single = json_text.decode_as(shape, text.encode()) or {}

    passed_on = [bytes(raw) for actual in [*many, single] for raw in actual.values()]
    assert not [raw for raw in passed_on if b"\n" in raw or b"\r" in raw]
