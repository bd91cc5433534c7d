"""One malformed row among healthy ones: it is left out by name, and they arrive.

The sandbox's server answers here from tables that hold anything at all. What is tried
is in the tables of bad inputs below; ``INPUTS`` counts them.
"""

from __future__ import annotations

import gzip
import json
import logging
import traceback
from dataclasses import dataclass, field
from itertools import count
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_labelbox.api.errors import IncompleteError, LabelboxError
from tap_labelbox.api.pagination import Listing
from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.exports.rows import DataRow, annotation_records, metadata_records
from tap_labelbox.records import json_text
from tap_labelbox.records.malformed import MAX_NAMED_ROWS, Malformed
from tap_labelbox.sandbox import Reply, World, serve
from tap_labelbox.streams import SUBJECTS
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.runner import Output

Row = dict[str, Any]

MARKER = "Jane Doe <jane.doe@example.com>"
"""Stands for what rows hold: nobody is to read it in a log."""
HEALTHY_ROWS = 11
PAGE_ROWS = 4  # rows, so that there are several pages

# --- what is sent --------------------------------------------------------------


def instant(number: int) -> str:
    """Return a timestamp of its own for each row."""
    return f"2026-01-01T00:00:{number:02}.000Z"


def project(number: int) -> Row:
    """Return a project."""
    return {"id": f"p{number}", "created_at": instant(number), "name": MARKER}


def label(number: int) -> Row:
    """Return a label as the API has it."""
    return {
        "id": f"l{number}",
        "label": json.dumps({"objects": [MARKER]}),
        "created_at": instant(number),
        "created_by": {"id": "u", "email": MARKER},
        "data_row": {"id": f"r{number}", "row_data": MARKER},
    }


def data_row(number: int) -> Row:
    """Return a data row of an export."""
    annotations = {"objects": [{"feature_id": f"f{number}", "name": MARKER}]}
    return {
        "data_row": {
            "id": f"r{number}",
            "row_data": MARKER,
            "details": {"last_activity_at": instant(number)},
        },
        "projects": {"p0": {"labels": [{"id": "l", "annotations": annotations}]}},
    }


def item(number: int) -> Row:
    """Return an item of a bulk export."""
    return {"ID": f"l{number}", "Label": {"a": MARKER}, "Created By": MARKER}


def deep(levels: int, core: Any = MARKER) -> bytes:
    """Return JSON of so many levels, arrays and objects in turn."""
    pairs = levels // 2
    return b'[{"a":' * pairs + json.dumps(core).encode() + b"}]" * pairs


MALFORMED_NUMBER = 50  # the number of a row that something is wrong with

NO_OBJECTS: list[Any] = [None, 7, 1.5, True, MARKER, "", [], [MARKER], [{"id": "x"}]]
NO_IDS: list[Any] = [None, "", {}, [], True, False, [MARKER], {MARKER: MARKER}]
NO_TIMESTAMPS: list[Any] = [None, "", 7, [], {}, MARKER, "2026-13-01", "0001-01-01"]

BAD_LABELS: list[Any] = [
    *NO_OBJECTS,
    {},
    {"label": MARKER},
    *(label(MALFORMED_NUMBER) | {"id": key} for key in NO_IDS),
    *(label(MALFORMED_NUMBER) | {"created_at": at} for at in NO_TIMESTAMPS),
    {"id": f"l{MALFORMED_NUMBER}"},
]
BAD_PROJECTS: list[Any] = [
    *NO_OBJECTS,
    {},
    *(project(MALFORMED_NUMBER) | {"id": key} for key in NO_IDS),
]
BAD_ITEMS: list[Any] = [
    *NO_OBJECTS,
    {},
    {"id": "lower case"},
    *(item(MALFORMED_NUMBER) | {"ID": key} for key in NO_IDS),
]
BAD_LINES: list[bytes] = [
    *(json.dumps(bad).encode() for bad in [*NO_OBJECTS, {}, {"data_row": MARKER}]),
    *(
        json.dumps(data_row(MALFORMED_NUMBER) | {"data_row": {"id": k}}).encode()
        for k in NO_IDS
    ),
    json.dumps({"projects": data_row(MALFORMED_NUMBER)["projects"]}).encode(),
]
BROKEN_LINES: list[bytes] = [
    b"{",
    b"}",
    b"nul",
    b"\xff\xfe",
    b"<html>" + MARKER.encode() + b"</html>",
    json.dumps(data_row(MALFORMED_NUMBER)).encode()[:-1],
    json.dumps(data_row(MALFORMED_NUMBER)).encode() + b"}",
    json.dumps(data_row(MALFORMED_NUMBER)).encode() * 2,
    json.dumps(data_row(MALFORMED_NUMBER)).encode() + b" 5",
    json.dumps(data_row(MALFORMED_NUMBER)).encode().replace(b"Jane", b"\xff"),
    json.dumps(data_row(MALFORMED_NUMBER)).encode().replace(b"Jane", b"\t"),
    b'{"data_row":' * 2000,
    b'{"data_row":{"id":"r50","x":' + deep(3000)[:-1] + b"}}",
]
INPUTS = sum(map(len, (BAD_LABELS, BAD_PROJECTS, BAD_ITEMS, BAD_LINES, BROKEN_LINES)))
"""How many bad inputs are tried, for a summary of the tests of faults."""


@dataclass
class Tables:
    """Contents of the server; each may be anything."""

    projects: list[Any] = field(default_factory=lambda: [project(0)])
    labels: Any = ()
    items: bytes = b"[]"
    lines: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    damage: dict[int, bytes] = field(default_factory=dict)
    """By the number of a download, what is sent instead."""
    status: Any = "COMPLETE"
    downloads: int = 0
    tasks: int = 0

    def __call__(self, request: Request) -> Reply:
        """Answer any request."""
        if request.path.startswith("/files/"):
            return Reply(200, {}, self._file(*request.path.split("/")[2:]))
        options = request.variables
        match request.operation:
            case "ProjectIds" | "Projects":
                data: Row = {"projects": self._page(self.projects, options)}
            case "Labels":
                data = {"project": {"labels": self._page(self.labels, options)}}
                if isinstance(self.labels, bytes):
                    return Reply(
                        200,
                        {"Content-Type": "application/json"},
                        b'{"data":{"project":{"labels":' + self.labels + b"}}}",
                    )
            case "ExportLabels":
                link = f"{self.root}/files/items"
                data = {"exportLabels": {"download_url": link, "should_poll": False}}
                data["exportLabels"]["created_at"] = instant(59)
            case "StartExport":
                self.tasks += 1
                data = {"exportDataRowsInProject": {"task_id": f"t{self.tasks}"}}
            case "ExportStatus":
                data = {"task": {"status": self.status}}
            case "ExportHeader":
                lines = self._lines(options["stream"])
                size, number = len(b"".join(lines)), len(lines)
                header = {"total_size": str(size), "total_lines": str(number)}
                data = {"task": {"header": header if lines else None}}
            case "ExportPart":
                start, end = (
                    options["offset"],
                    len(b"".join(self._lines(options["stream"]))),
                )
                offsets = {"start": start, "end": str(end - 1)}
                link = f"{self.root}/files/{options['stream']}/{start}"
                data = {"task": {"part": {"offsets": offsets, "link": link}}}
            case _:  # of a table that is empty here
                data = {"rows": [], "next": None}
        return Reply(200, {}, {"data": data})

    root = ""

    @staticmethod
    def _page(rows: Any, options: Row) -> list[Any]:
        after = options["where"].get("createdAt_gt", "")
        entries: list[Any] = [
            row
            for row in ([] if isinstance(rows, bytes) else rows)
            if not after
            or not isinstance(row, dict)
            or str(row.get("created_at")) > after
        ]
        return entries[options["skip"] : options["skip"] + options["first"]]

    def _lines(self, stream: str) -> list[bytes]:
        lines = self.lines if stream == "RESULT" else self.errors
        return [line + b"\n" for line in lines]

    def _file(self, name: str, start: str = "0") -> bytes:
        if name == "items":
            return self.items
        self.downloads += 1
        sent = self.damage.get(self.downloads, b"".join(self._lines(name)))
        return sent[int(start) :]


class Served:
    """Runs the tap against tables."""

    def __init__(self, run: Runner) -> None:
        """Serve nothing yet."""
        self._run = run

    def __call__(self, tables: Tables, *streams: str, **options: Any) -> Output:
        """Run some streams."""
        tables.root = self._run.sandbox.root
        self._run.sandbox.before = tables
        return self._run(*streams, **{"page_size": PAGE_ROWS} | options)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Serve tables, from one server for all tests here."""
    world = World(projects=0)
    with serve(world) as sandbox:
        yield Served(Runner(sandbox, world))


@pytest.fixture
def problem(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Listen to everything that is logged."""
    caplog.set_level(logging.DEBUG)
    return caplog


def assert_unread(log: pytest.LogCaptureFixture, output: Output) -> None:
    """Look for a row's content in all that is logged or raised."""
    text = [log.text, *(str(vars(record)) for record in log.records)]
    text += [str(m) for m in output.messages if m["type"] not in {"RECORD", "SCHEMA"}]
    if output.error:
        text += traceback.format_exception(output.error)
    # Names of keys may be logged; the marker is one in a value only.
    for line in text:
        assert "Jane" not in line.replace(f"its keys: {MARKER}", ""), line[:500]


def left_out(log: pytest.LogCaptureFixture, source: str) -> list[str]:
    """Return what was said of the rows of a source."""
    return [m for m in log.messages if f" of {source}" in m and "is left out" in m]


def among(bad: list[Any]) -> st.SearchStrategy[list[tuple[int, Any]]]:
    """Put one or more malformed rows anywhere among the healthy ones."""
    places = st.integers(0, HEALTHY_ROWS)
    return st.lists(st.tuples(places, st.sampled_from(bad)), min_size=1, max_size=6)


def mixed(healthy: list[Any], bad: list[tuple[int, Any]]) -> list[Any]:
    """Put rows at their places."""
    rows: list[Any] = []
    for number, row in enumerate([*healthy, None]):
        for place, variant in bad:
            if place == number:  # of what has the same ID, there is one only
                by_name = (
                    isinstance(variant, dict)
                    and variant.get("id") == f"l{MALFORMED_NUMBER}"
                )
                rows.append(
                    variant | {"id": f"l{100 + len(rows)}"} if by_name else variant
                )
        rows += [] if number == len(healthy) else [row]
    return rows


HEALTHY_NUMBERS = range(1, HEALTHY_ROWS + 1)

# --- labels --------------------------------------------------------------------


@settings(max_examples=40)
@given(
    bad=among(BAD_LABELS),
    size=st.integers(2, 20),
    max_in_flight=st.sampled_from([1, 4]),
)
def test_a_malformed_label_costs_itself(
    served: Served, bad: Any, size: int, max_in_flight: int
) -> None:
    """Wherever it is on a page, and also if a page has no other."""
    rows = mixed([label(n) for n in HEALTHY_NUMBERS], bad)

    with capturing() as log:
        output = served(
            Tables(labels=rows), "labels", page_size=size, concurrency=max_in_flight
        )

    assert output.ids("labels") == [f"l{n}" for n in HEALTHY_NUMBERS]
    assert f"{len(bad)} malformed row" in str(output.error)
    assert isinstance(output.error, IncompleteError)
    assert len([m for m in log if "is left out" in m]) == len(bad)
    assert not [m for m in log if "Jane" in m.replace(f"its keys: {MARKER}", "")]
    (partition,) = output.state["bookmarks"]["labels"]["partitions"]
    assert partition["replication_key_value"] == instant(HEALTHY_ROWS)


@pytest.mark.parametrize("bad", BAD_LABELS, ids=count())
def test_a_malformed_label_is_named(
    served: Served, problem: pytest.LogCaptureFixture, bad: Any
) -> None:
    """By its place and by the names of its keys; nothing it holds is logged."""
    rows = [label(1), label(2), bad, label(4)]

    output = served(Tables(labels=rows), "labels")

    assert output.ids("labels") == ["l1", "l2", "l4"]
    (message,) = left_out(problem, "labels of project p0")
    assert message.startswith("item 3")
    assert_unread(problem, output)


def test_pages_of_nothing_but_malformed_labels_are_passed(served: Served) -> None:
    """However many there are, equal or not."""
    bad = [None] * 100 + [label(n) | {"id": None} for n in range(40)]
    rows = [label(1), *bad, label(50), *bad, label(58)]

    output = served(Tables(labels=rows), "labels")

    assert output.ids("labels") == ["l1", "l50", "l58"]
    assert "280 malformed rows of labels of project p0" in str(output.error)


def test_malformed_rows_that_never_end_are_given_up() -> None:
    """As the same page again and again is."""
    by_name: list[Malformed] = []

    def fetch(after: str | None, skip: int, first: int) -> list[Malformed]:
        del after
        return [Malformed("", "", str(skip + n)) for n in range(first)]

    with pytest.raises(LabelboxError, match="same page"):
        list(Listing(fetch, 4, leave_out=by_name.append).pages())

    assert len({row.key for row in by_name}) == len(by_name)


@given(
    made_at=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    size=st.integers(3, 9),
    mode=st.sampled_from([(1, False), (4, False), (1, True), (4, True)]),
    bad=st.sets(st.integers(0, 30)),
    deleted=st.lists(st.one_of(st.none(), st.floats(0, 0.999)), max_size=40),
)
def test_a_list_that_moves_among_malformed_rows_is_read(
    made_at: list[int],
    size: int,
    mode: tuple[int, bool],
    bad: set[int],
    deleted: list[float | None],
) -> None:
    """Rows that are there all the time arrive; malformed ones do not hide them."""
    rows: list[Any] = []
    for number, at in enumerate(sorted(made_at)):
        if number in bad:
            rows.append((instant(at), Malformed("", "", f"bad {number}", number)))
        rows.append((instant(at), {"id": f"l{number}", "created_at": instant(at)}))
    settled = {row["id"]: row for _, row in rows if isinstance(row, dict)}
    script, lock = iter(deleted), Lock()

    def fetch(after: str | None, skip: int, first: int) -> list[Any]:
        with lock:
            if (place := next(script, None)) is not None and rows:
                _, row = rows.pop(int(place * len(rows)))
                if isinstance(row, dict):
                    del settled[row["id"]]
            entries = [row for at, row in rows if at > (after or "")]
        return entries[skip : skip + first]

    by_name: list[str] = []
    max_in_flight, together = mode
    listing = Listing(
        fetch,
        size,
        max_in_flight=max_in_flight,
        fetch_all=(lambda asks: [fetch(*ask) for ask in asks]) if together else None,
        leave_out=lambda row: by_name.append(row.key),
    )
    seen: set[str] = set()
    for page, reached in listing.pages():
        seen |= {row["id"] for row in page}
        with lock:
            due = {i for i, r in settled.items() if r["created_at"] < (reached or "")}
        assert due <= seen

    assert settled.keys() <= seen
    if not any(place is not None for place in deleted):
        assert sorted(by_name) == sorted(
            r.key for _, r in rows if isinstance(r, Malformed)
        )


def test_many_malformed_rows_are_counted_and_few_named(
    served: Served, problem: pytest.LogCaptureFixture
) -> None:
    """The log does not grow with them."""
    rows = [label(1), *[None] * 500, label(2)]
    lines = [*map(json.dumps, [data_row(1), *[None] * 500, data_row(2)])]
    tables = Tables(
        labels=rows,
        lines=[line.encode() for line in lines],
        items=json.dumps([item(1), *[None] * 500, item(2)]).encode(),
    )

    output = served(tables, "labels", "bulk_export", "data_row_exports", page_size=50)

    messages = [m for m in problem.messages if "is left out" in m]
    assert len(messages) == 3 * MAX_NAMED_ROWS
    for source in ("labels", "bulk_export"):
        assert output.ids(source) == ["l1", "l2"]
        assert f"500 malformed rows of {source} of project p0" in str(output.error)
    assert "500 malformed rows of the export of project p0" in str(output.error)


# --- projects ------------------------------------------------------------------


@settings(max_examples=25)
@given(bad=among(BAD_PROJECTS), size=st.integers(2, 20))
def test_a_malformed_project_costs_itself(served: Served, bad: Any, size: int) -> None:
    """In the table of projects, and in the list by which labels are read."""
    rows = mixed([project(n) for n in HEALTHY_NUMBERS], bad)
    expected = [f"p{n}" for n in HEALTHY_NUMBERS]

    with capturing() as log:
        output = served(
            Tables(projects=rows, labels=[label(1)]),
            "projects",
            "labels",
            page_size=size,
        )

    assert output.ids("projects") == expected
    assert [r["project_id"] for r in output.records("labels")] == expected
    assert f"{len(bad)} malformed row" in str(output.error)
    assert len([m for m in log if "is left out" in m]) == 2 * len(bad)
    assert not [m for m in log if "Jane" in m.replace(f"its keys: {MARKER}", "")]


@pytest.mark.parametrize("at", [*NO_TIMESTAMPS, 2**70, 1.5, True], ids=count())
def test_a_project_may_have_any_created_at(served: Served, at: Any) -> None:
    """Its place in the list is all that depends on it."""
    rows = [project(n) for n in range(1, 10)]
    rows[5]["created_at"] = at

    output = served(Tables(projects=rows), "projects")

    assert output.error is None
    assert output.ids("projects") == [row["id"] for row in rows]


# --- bulk exports --------------------------------------------------------------


@settings(max_examples=25)
@given(bad=among(BAD_ITEMS))
def test_a_malformed_item_costs_itself(served: Served, bad: Any) -> None:
    """Of a bulk export."""
    rows = mixed([item(n) for n in HEALTHY_NUMBERS], bad)

    with capturing() as log:
        output = served(Tables(items=json.dumps(rows).encode()), "bulk_export")

    assert output.ids("bulk_export") == [f"l{n}" for n in HEALTHY_NUMBERS]
    assert f"{len(bad)} malformed row" in str(output.error)
    assert len([m for m in log if "is left out" in m]) == len(bad)
    assert not [m for m in log if "Jane" in m.replace(f"its keys: {MARKER}", "")]


def test_a_malformed_item_is_counted_once(served: Served) -> None:
    """Also if the file breaks behind it, and is read again."""
    tables = Tables(items=json.dumps([item(1), None, None]).encode()[:-1] + b",")

    output = served(tables, "bulk_export")

    assert "2 malformed rows of bulk_export of project p0" in str(output.error)


# --- lines of exports ----------------------------------------------------------

STREAMS = ("data_row_exports", "workflow_history", "export_labels", "annotations")
SELECTED = st.sampled_from([STREAMS[:1], STREAMS[1:2], STREAMS[:3], STREAMS])


def rows_of(output: Output, stream: str) -> list[str]:
    """Return the data rows that arrived."""
    return [record["data_row_id"] for record in output.records(stream)]


@settings(max_examples=40)
@given(bad=among([*BAD_LINES, *BROKEN_LINES]), selected=SELECTED)
def test_a_malformed_line_costs_itself(
    served: Served, bad: Any, selected: tuple[str, ...]
) -> None:
    """Whichever streams look into the rows, and however deeply."""
    lines = mixed([json.dumps(data_row(n)).encode() for n in HEALTHY_NUMBERS], bad)
    broken = any(line in BROKEN_LINES for _, line in bad)

    with capturing() as log:
        output = served(Tables(lines=lines), *selected)

    for stream in set(selected) - {"workflow_history"}:
        assert rows_of(output, stream) == [f"r{n}" for n in HEALTHY_NUMBERS]
    assert f"{len(bad)} malformed row" in str(output.error)
    by_name = [m for m in log if "is left out" in m]
    places = [at for at, line in enumerate(lines) if line in {b for _, b in bad}]
    for message, place in zip(by_name, places, strict=True):
        byte = sum(len(line) + 1 for line in lines[:place])
        assert message.startswith(f"line {place + 1} (byte {byte}) of the export of")
    assert not [m for m in log if "Jane" in m.replace(f"its keys: {MARKER}", "")]
    for partition in output.state["bookmarks"][selected[0]]["partitions"]:
        moved = "replication_key_value" in partition
        assert moved != broken  # what may be whole next time is read again


@pytest.mark.parametrize("bad", [*BAD_LINES, *BROKEN_LINES], ids=count())
def test_a_malformed_line_of_a_file_costs_itself(
    tmp_path: Path, problem: pytest.LogCaptureFixture, bad: bytes, served: Served
) -> None:
    """Saved from Labelbox's app; another file may be none of an export at all."""
    file = tmp_path / "rows.ndjson"
    lines = [json.dumps(data_row(1)).encode(), bad, json.dumps(data_row(3)).encode()]
    file.write_bytes(b"\n".join(lines))

    output = served(Tables(), "data_row_exports", export_files=[str(file)])

    assert rows_of(output, "data_row_exports") == ["r1", "r3"]
    (message,) = left_out(problem, str(file))
    assert message.startswith(f"line 2 (byte {len(lines[0]) + 1})")
    assert_unread(problem, output)


def test_a_line_that_came_broken_once_is_read(served: Served) -> None:
    """From the same export: each broken line is asked for again."""
    tables = Tables(lines=[json.dumps(data_row(n)).encode() for n in range(1, 9)])
    whole = b"".join(line + b"\n" for line in tables.lines)
    for number in range(1, 4):
        at = whole.index(b"r%d" % (2 * number))
        tables.damage[number] = whole[:at] + b'"' + whole[at + 1 :]

    output = served(tables, "data_row_exports")

    assert output.error is None
    assert rows_of(output, "data_row_exports") == [f"r{n}" for n in range(1, 9)]
    assert tables.tasks == 1


def test_broken_lines_are_read_by_the_next_run_if_they_are_whole_then(
    served: Served,
) -> None:
    """Each export is made anew, and may have what the one before had not."""
    lines = [json.dumps(data_row(n)).encode() for n in range(1, 9)]
    broken = [*lines[:3], lines[3][:-1], *lines[4:]]
    first = served(Tables(lines=broken), "data_row_exports", "annotations")

    second = served(
        Tables(lines=lines), "data_row_exports", "annotations", state=first.state
    )

    assert "r4" not in rows_of(first, "annotations")
    assert second.error is None
    assert "r4" in rows_of(second, "annotations")


def test_a_run_that_was_killed_reads_on_before_a_broken_line(
    served: Served, monkeypatch: pytest.MonkeyPatch, problem: pytest.LogCaptureFixture
) -> None:
    """Else nobody would know of it any more."""
    monkeypatch.setattr("tap_labelbox.singer.state.FIRST_RUN_SHARE", inf)
    monkeypatch.setattr("tap_labelbox.exports.tasks.PIECE_BYTES", 400)
    lines = [json.dumps(data_row(n)).encode() for n in range(1, 9)]
    lines[3] = lines[3][:-1]
    at = sum(len(line) + 1 for line in lines[:3])

    output = served(Tables(lines=lines), "data_row_exports")

    (*_, last) = [
        partition["export"]
        for state in output.states
        for bookmark in state["bookmarks"].values()
        for partition in bookmark.get("partitions", [])
        if "export" in partition
    ]
    assert 0 < last["position"] <= at
    assert left_out(problem, "the export of project p0")


@pytest.mark.parametrize("status", [MARKER, [MARKER], {"a": MARKER}, 5, True])
def test_a_malformed_status_costs_its_project(
    served: Served, problem: pytest.LogCaptureFixture, status: Any
) -> None:
    """Whatever it is."""
    tables = Tables(lines=[json.dumps(data_row(1)).encode()], labels=[label(1)])
    tables.status = status

    output = served(tables, "data_row_exports", "labels")

    assert isinstance(output.error, IncompleteError)
    assert output.ids("labels") == ["l1"]
    assert any("its export ended as" in message for message in problem.messages)


def test_malformed_errors_of_an_export_are_named(
    served: Served, problem: pytest.LogCaptureFixture
) -> None:
    """They may be any JSON, but JSON they have to be."""
    tables = Tables(lines=[json.dumps(data_row(1)).encode()])
    tables.errors = [b'{"data_row":{"id":5}}', MARKER.encode(), b"null"]

    output = served(tables, "export_errors", "data_row_exports")

    result = output.records("export_errors")
    assert [(r["sequence"], r["data_row_id"]) for r in result] == [(1, "5"), (2, None)]
    (message,) = left_out(problem, "the errors of an export of project p0")
    assert message.startswith("line 2 (byte 22)")
    assert_unread(problem, output)


@pytest.mark.parametrize(
    "text", [b"{} {}", b"{}{}\n", b"5 6", b'{"a":\n1}', b"{}\n[\n]"]
)
def test_a_line_is_one_json_text(text: bytes) -> None:
    """Not two of them, and none goes over two lines."""
    with pytest.raises(ValueError, match=r"."):
        json_text.decode_any_lines(text)


@given(st.lists(st.sampled_from([b"", b"{}", b" ", b"[1]", b"5"]), max_size=6))
def test_blank_lines_are_none(lines: list[bytes]) -> None:
    """Wherever they are."""
    result = json_text.decode_any_lines(b"\n".join(lines))

    assert result == [json.loads(line) for line in lines if line.strip()]


# --- nested too deeply ---------------------------------------------------------

DEPTHS = [90, 102, 900, 970, 978, 984, 990, 1000, 1500, 20_000]


def levels(value: Any) -> int:
    """Return how deeply a value is nested, without recursion."""
    deepest, pending = 0, [(value, 1)]
    while pending:
        here, level = pending.pop()
        deepest = max(deepest, level)
        if isinstance(here, dict | list):
            inner = here.values() if isinstance(here, dict) else here
            pending += [(element, level + 1) for element in inner]
    return deepest


@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_nested_too_deeply_is_kept_as_text(
    served: Served, problem: pytest.LogCaptureFixture, depth: int
) -> None:
    """In replies, bulk files and exports; the rows around it arrive, and so does it."""
    marked = deep(depth, core="\0 " + MARKER)
    variant = json.dumps(label(2) | {"label": "DEEP"}).encode()
    page = [json.dumps(label(1)).encode(), variant, json.dumps(label(3)).encode()]
    line = json.dumps(data_row(2) | {"media_attributes": {"x": "DEEP"}}).encode()
    answers = json.dumps(data_row(3)).replace('"objects": [', '"objects": ["DEEP",')
    lines = [json.dumps(data_row(1)).encode(), line, answers.encode()]
    items = [item(1), item(2) | {"Label": "DEEP", "New": "DEEP"}, item(3)]
    tables = Tables(
        labels=(b"[" + b",".join(page) + b"]").replace(b'"DEEP"', marked),
        lines=[element.replace(b'"DEEP"', marked) for element in lines],
        items=json.dumps(items).encode().replace(b'"DEEP"', marked),
    )

    output = served(
        tables, "labels", "bulk_export", "annotations", "data_row_exports", page_size=9
    )

    assert output.error is None
    assert output.ids("labels") == ["l1", "l2", "l3"]
    assert output.ids("bulk_export") == ["l1", "l2", "l3"]
    assert rows_of(output, "data_row_exports") == ["r1", "r2", "r3"]
    assert {*rows_of(output, "annotations")} == {"r1", "r2", "r3"}
    assert output.text.count("Jane Doe") >= 3 * 4
    assert_unread(problem, output)


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_values_can_be_flattened_and_mapped(served: Served, depth: int) -> None:
    """The SDK takes records apart by recursion, and so do others."""
    line = json.dumps(data_row(1) | {"media_attributes": {"x": "DEEP"}}).encode()
    tables = Tables(lines=[line.replace(b'"DEEP"', deep(depth))])
    maps = {"data_row_exports": {"media_attributes": "media_attributes"}}

    flat = served(
        tables, "data_row_exports", flattening_enabled=True, flattening_max_depth=9
    )
    mapped = served(tables, "data_row_exports", stream_maps=maps)

    assert flat.error is None
    assert mapped.error is None
    (record,) = mapped.records("data_row_exports")
    assert levels(record) <= json_text.MAX_DEPTH + 1


NESTED = st.recursive(
    st.none() | st.integers() | st.sampled_from(['"', "\\", "[", "}]", '\\"', "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", '"', "{", "\\"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(value=NESTED, level=st.integers(1, 4))
def test_shallow_text_holds_all_there_was(value: Any, level: int) -> None:
    """Nothing is lost or changed, and nothing is deeper than it may be."""

    def restored(value: Any, depth: int) -> Any:
        if depth == level and isinstance(value, str) and value[:1] in {"[", "{"}:
            try:
                return json.loads(value)
            except ValueError:
                return value
        if isinstance(value, list):
            return [restored(element, depth + 1) for element in value]
        if isinstance(value, dict):
            return {key: restored(element, depth + 1) for key, element in value.items()}
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "MAX_DEPTH", level)
        text = json_text.shallow(json.dumps(value).encode())

    result = json.loads(text)
    assert levels(result) <= level + 1
    assert restored(result, 0) == restored(value, 0)


@given(value=NESTED)
def test_a_value_is_encoded_the_same_without_recursion(value: Any) -> None:
    """Part by part."""
    assert b"".join(json_text._encoded(value)) == json_text.encoder.encode(value)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":' * 5000,
        b"[" * 5000 + b"]" * 4999,
        b"[" * 5000 + b"1 2" + b"]" * 5000,
        b"[" * 5000 + b"\xff" + b"]" * 5000,
        b"[" * 5000 + b'"' + b'\\"' * 5000,
        b"[" * 5000 + b"}" * 5000,
        b"]" * 5000,
        deep(5000) + b"x",
        deep(5000).replace(b'"Jane', b'\\"Jane'),
    ],
    ids=count(),
)
def test_deep_text_that_is_no_json_is_none(text: bytes) -> None:
    """Nothing passes for JSON text that is none."""
    with pytest.raises(ValueError, match=r"."):
        json_text.decode(text)


# --- IDs -----------------------------------------------------------------------


def test_numbers_are_ids_everywhere(served: Served) -> None:
    """At any depth; an ID is text in a warehouse."""
    row = data_row(1)
    row["data_row"] |= {"id": 1, "external_id": 2, "global_key": 3}
    row["data_row"]["details"]["dataset_id"] = 4
    row["metadata_fields"] = [
        {"schema_id": 5, "value": {"schema_id": 6, "schema_name": "x"}}
    ]
    feature = {"feature_id": 7, "feature_schema_id": 8}
    answer = {"radio_answer": {"feature_id": 9, "feature_schema_id": 10}}
    relation = {"relationship": {"source": 11, "target": 12}, "feature_id": 13}
    row["projects"]["p0"] = {
        "labels": [
            {
                "id": 14,
                "performance_details": {
                    "benchmark_reference_label": 15,
                    "consensus_labels": [16, "c"],
                },
                "annotations": {
                    "objects": [feature],
                    "classifications": [feature | answer],
                    "relationships": [relation],
                },
            }
        ],
        "project_details": {
            "ontology_id": 17,
            "task_id": 18,
            "batch_id": 19,
            "selected_label_id": 14,
            "workflow_history": [{"previous_task_id": 20, "next_task_id": 21}],
        },
    }
    tables = Tables(
        projects=[{"id": 0, "created_at": instant(1)}],
        labels=[label(1) | {"id": 22, "data_row": {"id": 23}}],
        lines=[json.dumps(row).encode().replace(b'"p0"', b'"0"')],
        items=json.dumps([{"ID": 24, "DataRow ID": 25}]).encode(),
    )

    exported = [s.name for s in SUBJECTS["Labels"] if issubclass(s, ExportedStream)]
    output = served(tables, "projects", "labels", "bulk_export", *exported)

    assert output.error is None
    assert output.ids("projects") == ["0"]
    (result,) = output.records("labels")
    assert (result["id"], result["data_row_id"]) == ("22", "23")
    (result,) = output.records("bulk_export")
    assert (result["id"], result["data_row_id"]) == ("24", "25")
    (result,) = output.records("data_row_exports")
    ids: tuple[str, ...] = (
        "data_row_id",
        "external_id",
        "global_key",
        "dataset_id",
        "ontology_id",
    )
    assert [result[c] for c in ids] == ["1", "2", "3", "4", "17"]
    ids = ("task_queue_id", "batch_id", "selected_label_id")
    assert [result[c] for c in ids] == ["18", "19", "14"]
    (result,) = output.records("export_labels")
    assert result["label_id"] == "14"
    assert result["is_selected"]
    assert result["reference_label_id"] == "15"
    assert result["consensus_label_ids"] == ["16", "c"]
    first, second = output.records("annotations")
    assert (first["annotation_id"], first["feature_schema_id"]) == ("7", "8")
    assert (second["annotation_id"], second["answer_feature_id"]) == ("7#2", "9")
    assert second["answer_feature_schema_id"] == "10"
    (result,) = output.records("annotation_relationships")
    ids = ("relationship_id", "source_feature_id", "target_feature_id")
    assert [result[c] for c in ids] == ["13", "11", "12"]
    (result,) = output.records("workflow_history")
    assert (result["previous_task_queue_id"], result["next_task_queue_id"]) == (
        "20",
        "21",
    )
    (result,) = output.records("data_row_metadata")
    assert (result["schema_id"], result["option_id"]) == ("5", "6")
    for stream in ("data_row_exports", "annotations", "export_labels"):
        for record in output.records(stream):
            assert record["additional_columns"] == {}


def test_an_empty_id_is_none(served: Served) -> None:
    """It fits no column, and stays beside them; a key has something in its stead."""
    row = data_row(1)
    row["projects"]["p0"]["labels"] = [
        {"id": "", "annotations": {"objects": [{"feature_id": "", "name": "car"}]}}
    ]
    row["projects"]["p0"]["project_details"] = {"task_id": ""}
    row["metadata_fields"] = [{"schema_id": "", "schema_name": "weather", "value": 1}]
    tables = Tables(lines=[json.dumps(row).encode()])

    output = served(tables, *STREAMS, "data_row_metadata")

    assert output.error is None
    (result,) = output.records("data_row_exports")
    assert result["task_queue_id"] is None
    assert result["additional_columns"] == {"project.project_details.task_id": ""}
    (result,) = output.records("annotations")
    assert result["label_id"] == "label"
    assert result["annotation_id"] == "car"
    assert result["feature_id"] is None
    assert result["additional_columns"] == {"feature_id": ""}
    (result,) = output.records("data_row_metadata")
    assert result["schema_id"] == "weather"


@pytest.mark.parametrize(
    "variant", [1, "x", [[2]], {"a": 3}, [None, 4], [[], {"b": 5}]]
)
def test_metadata_of_a_malformed_shape_has_a_key(variant: Any) -> None:
    """And is kept, whatever it is."""
    row = DataRow(data_row(1) | {"metadata_fields": variant})

    result = [*metadata_records(row.in_project("p0"))]

    assert result
    assert all(record["schema_id"] == "unnamed" for record in result)
    assert str(result[-1]["additional_columns"])


@pytest.mark.parametrize("own", ["additional_columns", "project_id", "is_skipped"])
@pytest.mark.parametrize("sent", [MARKER, {"a": 1}, {}, True, 5, [1], None])
def test_a_label_fills_no_column_of_the_tap_s_own(
    served: Served, own: str, sent: Any
) -> None:
    """A key of that name goes to additional_columns, and the label is a record."""
    rows = [label(1), label(2) | {own: sent, "agreement": "high"}, label(3)]

    output = served(Tables(labels=rows), "labels")

    assert output.error is None
    assert output.ids("labels") == ["l1", "l2", "l3"]
    record = output.records("labels")[1]
    assert record["project_id"] == "p0"
    assert record["is_skipped"] is None
    beside = {"agreement": "high"} | ({} if sent is None else {own: sent})
    assert record["additional_columns"] == beside
    assert record.keys() == output.records("labels")[0].keys()


def test_what_would_become_a_column_of_the_tap_s_own_is_put_beside(
    served: Served,
) -> None:
    """Or one that is filled already."""
    variant = {
        "project": {"id": "other"},
        "is": {"skipped": True},
        "additional": {"columns": {"a": 1}},
        "created_by_id": "v",
    }

    output = served(Tables(labels=[label(1) | variant]), "labels")

    (record,) = output.records("labels")
    assert record["project_id"] == "p0"
    assert record["created_by_id"] == "u"
    assert record["is_skipped"] is None
    assert record["additional_columns"] == {
        "project_id": "other",
        "is_skipped": True,
        "additional_columns": {"a": 1},
        "created_by_id": "v",
    }


def test_an_item_fills_no_column_of_the_tap_s_own(served: Served) -> None:
    """Of a bulk export, whichever comes first."""
    variant = {"id": "x", "ID": "l1", "Additional Columns": {"a": 1}, "Project ID": "y"}

    output = served(Tables(items=json.dumps([variant]).encode()), "bulk_export")

    (record,) = output.records("bulk_export")
    assert (record["id"], record["project_id"]) == ("l1", "p0")
    beside = {"id": "x", "Additional Columns": {"a": 1}, "Project ID": "y"}
    assert record["additional_columns"] == beside


def annotation_ids(features: list[str]) -> list[str]:
    """Return the ids of objects with these feature ids."""
    row = data_row(1)
    objects = [{"feature_id": feature} for feature in features]
    row["projects"]["p0"]["labels"][0]["annotations"]["objects"] = objects
    records = annotation_records(DataRow(row).in_project("p0"))
    return [record["annotation_id"] for record in records]


@pytest.mark.parametrize(
    "features",
    [
        ["f" + "#2" * n for n in [*range(1, 1500), 0, 0, 1, 1]],
        [*(f"f#{n}" for n in range(2, 3000)), "f", "f", "f"],
        ["f"] * 3000,
    ],
    ids=["nested", "numbered", "equal"],
)
def test_feature_ids_like_given_ones_end_no_run(features: list[str]) -> None:
    """Each annotation has an id of its own, the same in each run."""
    result = annotation_ids(features)

    assert len(set(result)) == len(features)
    assert result == annotation_ids(features)


@given(st.lists(st.sampled_from(["f", "f#2", "f#2#2", "f#3", "g"]), max_size=12))
def test_annotation_ids_are_unique(features: list[str]) -> None:
    """And what is not like another keeps its own."""
    result = annotation_ids(features)

    assert len(set(result)) == len(features)
    for feature, annotation_id in zip(features, result, strict=True):
        assert annotation_id == feature or annotation_id.startswith(f"{feature}#")
        assert features.count(feature) > 1 or result.count(feature) == 1


# --- what is said --------------------------------------------------------------


def test_a_long_id_or_key_is_cut(
    served: Served, problem: pytest.LogCaptureFixture
) -> None:
    """A line of a log is for people."""
    rows = [
        label(1) | {"id": "x" * 10**6, "created_at": None},
        {f"key {n}\n{'y' * 10**4}": 1 for n in range(1000)},
        label(3) | {"id": "z" * 160, "agreement": "a", "w" * 10**6: 5},
    ]

    output = served(Tables(labels=rows), "labels")

    assert len(output.ids("labels")) == 1
    logged_here = [m for m in problem.messages if "is left out" in m or "not fit" in m]
    assert len(logged_here) == 3
    assert all(len(m) < 2000 and "\n" not in m for m in logged_here)


def test_nothing_of_a_row_is_logged(
    served: Served,
    problem: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """At any level, of any stream, and however its records are written."""
    unmapped = {"agreement": MARKER, "created_by": MARKER, "type": [MARKER]}
    row = data_row(50) | {"media_attributes": MARKER, "attachments": [MARKER]}
    row["projects"]["p0"]["labels"] += [MARKER, {"id": MARKER + "\0"}]
    tables = Tables(
        projects=[project(0) | {"data_row_count": MARKER}, *BAD_PROJECTS],
        labels=[label(1), *BAD_LABELS, label(50) | unmapped],
        items=json.dumps([*BAD_ITEMS, item(1) | {"Agreement": MARKER}]).encode(),
        lines=[*BAD_LINES, *BROKEN_LINES, json.dumps(row).encode()],
        errors=[*BAD_LINES, *BROKEN_LINES],
    )
    for ways in (
        {},
        {"flattening_enabled": True, "flattening_max_depth": 3},
        {"stream_maps": {"labels": {"x": "label + 'a'", "__filter__": "label"}}},
        {"stream_maps": {"labels": {"x": "int(label)"}}},
        {"stream_maps": {"labels": {"x": "label.nothing"}}},
        batches(tmp_path, "jsonl"),
        batches(tmp_path, "parquet"),
    ):
        output = served(tables, **ways)

        assert isinstance(output.error, LabelboxError)
        assert_unread(problem, output)
        problem.clear()


def batches(folder: Path, kind: str) -> Row:
    """Return the setting for batch files."""
    storage = {"root": folder.as_uri()}
    return {"batch_config": {"encoding": {"format": kind}, "storage": storage}}


@pytest.mark.parametrize(
    "schema", [{"type": "integer"}, {"type": "number"}, {"type": "boolean"}]
)
@pytest.mark.parametrize("value", [MARKER, [MARKER], {"a": MARKER}])
def test_parquet_quotes_no_value(schema: Row, value: Any) -> None:
    """A mapped value may not be of its column's type."""
    columns = pytest.importorskip("tap_labelbox.singer.parquet").Columns
    content = columns("labels", {"properties": {"x": schema}})
    content.add({"x": value})

    with pytest.raises(
        LabelboxError, match=r"labels\.x has a value that is not"
    ) as caught:
        content.compressed("gzip")

    assert "Jane" not in "".join(traceback.format_exception(caught.value))


def test_batch_files_hold_the_healthy_rows(served: Served, tmp_path: Path) -> None:
    """As standard output does."""
    tables = Tables(labels=[label(1), *BAD_LABELS, label(50)])

    served(tables, "labels", **batches(tmp_path, "jsonl"))

    lines = b"".join(gzip.decompress(f.read_bytes()) for f in tmp_path.glob("*.gz"))
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ["l1", "l50"]


class Listener(logging.Handler):
    """Puts messages in a list."""

    def __init__(self, messages: list[str]) -> None:
        """Keep the list."""
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Add a message to the list."""
        self._messages.append(record.getMessage())


class capturing:  # noqa: N801  # used like a function
    """Collects messages; hypothesis forbids the fixture that does."""

    def __enter__(self) -> list[str]:
        """Begin to listen."""
        self._messages: list[str] = []
        self._handler = Listener(self._messages)
        self._logger = logging.getLogger()
        self._logger.addHandler(self._handler)
        return self._messages

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._logger.removeHandler(self._handler)
