"""Data that Labelbox should not send is kept or named, and never ends a run."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_labelbox.base import export_group, exported
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.records import json_text
from tap_labelbox.records.malformed import Malformed
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox import rows as sandbox_rows
from tap_labelbox.singer.stream import DirectStream
from tap_labelbox.streams.labels import LabelsStream
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner

Row = dict[str, Any]

INCLUDED = (
    "attachments",
    "embeddings",
    "interpolated_frames",
    "metadata",
    "performance_details",
    "data_row_details",
    "project_details",
    "label_details",
)


def changing(change: Callable[[Row], object]) -> Callable[[Request, Reply], Any]:
    """Change the rows of a sandbox's replies."""

    def after(request: Request, reply: Reply) -> Reply | None:
        if request.operation not in {"Labels", "Projects"}:
            return None
        body = reply.body if isinstance(reply.body, dict) else json.loads(reply.body)
        data = body["data"]
        for row in data.get("projects") or data["project"]["labels"]:
            change(row)
        return Reply(
            200, {"Content-Type": "application/json"}, json.dumps(body).encode()
        )

    return after


@pytest.mark.parametrize(
    ("column", "sent", "arrives"),
    [
        ("agreement", "0.5", 0.5),
        ("seconds_to_label", "12", 12),
        ("is_benchmark_reference", None, None),
        ("updated_at", "2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000Z"),
        ("updated_at", "2026-01-31T10:30:00.5+01:00", "2026-01-31T09:30:00.500Z"),
        ("label", 7, "7"),
        ("label", "a\0b", "a\ufffdb"),
        ("label", "half \ud83d", "half \ufffd"),
        ("id", 7, "7"),
    ],
)
def test_what_can_be_read_another_way_is(
    run: Runner, column: str, sent: Any, arrives: Any
) -> None:
    """Numbers as text and back, other timestamps, what is no character."""
    run.sandbox.after = changing(lambda row: row.update({column: sent}))

    output = run("labels")

    assert output.error is None
    assert {record[column] for record in output.records("labels")} == {arrives}
    assert {
        str(record["additional_columns"]) for record in output.records("labels")
    } == {"{}"}


@pytest.mark.parametrize(
    ("stream", "column", "sent"),
    [
        ("labels", "agreement", "high"),
        ("labels", "agreement", [0.5]),
        ("labels", "updated_at", "yesterday"),
        ("labels", "is_benchmark_reference", "yes"),
        ("labels", "label", {"objects": []}),
        ("labels", "created_by", "somebody"),
        ("labels", "created_by", [{"id": "U"}]),
        ("projects", "data_row_count", 1.5),
        ("projects", "data_row_count", 2**64),
        ("projects", "name", ["a"]),
        ("projects", "never_seen", 1),
    ],
)
def test_what_does_not_fit_is_kept_beside_and_named(
    run: Runner, stream: str, column: str, sent: Any, caplog: Any
) -> None:
    """The record still matches its schema; the others are not harmed."""
    count = len(run(stream).records(stream))
    run.sandbox.after = changing(lambda row: row.update({column: sent}))

    output = run(stream)

    assert output.error is None
    records = output.records(stream)
    assert len(records) == count
    for record in records:
        assert record["additional_columns"] == {column: sent}
        assert record.get(column) is None
    names = [m for m in caplog.messages if f"{column} does not fit" in m]
    assert len(names) == min(count, 10)
    assert names[0].startswith(f"{stream} {records[0]['id']}: ")


def test_a_missing_field_is_null(run: Runner) -> None:
    """As one that nobody asked for any more."""
    run.sandbox.after = changing(lambda row: row.pop("agreement"))

    output = run("labels")

    assert {record["agreement"] for record in output.records("labels")} == {None}


def test_replaced_characters_are_reported(run: Runner, caplog: Any) -> None:
    """PostgreSQL refuses a NUL, and nothing takes half of a surrogate pair."""
    run.sandbox.after = changing(lambda row: row.update(label="\0"))

    run("labels")

    assert any("no database stores" in message for message in caplog.messages)


# --- the fast path and the ordinary one --------------------------------------------

OFFLINE = {"export_files": ["none.ndjson"]}
TIME_EXTRACTED = re.compile(r',"time_extracted":"[^"]*"')
EXPORTED = [
    stream.name
    for stream in TapLabelbox(config=OFFLINE).streams.values()
    if isinstance(stream, exported.ExportedStream)
]


def exported_rows() -> list[Row]:
    """Return a row of each kind of media, all in a project P."""
    world = World(projects=8, labels_per_project=3)
    include = {f"include_{part}": True for part in INCLUDED}
    rows = []
    for project in world.projects:
        for data_row in project.data_rows[:2]:
            row = sandbox_rows.row(data_row, include, world.now(), None)
            row["projects"] = {"P": row["projects"][project.id]}
            rows.append(row)
    return rows


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=JSON, ascii_only=st.booleans())
def test_every_text_that_python_reads_is_decoded(
    value: Any, *, ascii_only: bool
) -> None:
    """And can be written again; only what is no JSON becomes text."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        expected = json_text.sanitize(json.loads(text, **json_text.NUMBERS))
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="utf-8"):
            json_text.decode(text)
        return

    result = json_text.decode(text)

    assert result == expected
    assert json.loads(json_text.encoder.encode(result)) == result


ROWS = exported_rows()
PATHS = st.sampled_from(
    [
        (),
        ("data_row",),
        ("data_row", "details"),
        ("projects", "P"),
        ("projects", "P", "project_details"),
        ("projects", "P", "labels", 0),
        ("projects", "P", "labels", 0, "annotations"),
        ("projects", "P", "labels", 0, "performance_details"),
        ("projects", "P", "labels", 0, "performance_details_v2"),
    ]
)
MEMBERS = st.sampled_from(
    [
        "id",
        "annotations",
        "attachments",
        "created_at",
        "details",
        "embeddings",
        "labels",
        "media_attributes",
        "metadata_fields",
        "new",
        "objects",
        "performance_details",
        "performance_details_v2",
        "project_tags",
        "seconds_to_review",
        "skipped",
        "workflow_history",
        "z_order",
    ]
)


@st.composite
def malformed_rows(draw: st.DrawFn) -> list[Row]:
    """Rows of an export in which something is not as usual."""
    rows = json.loads(json.dumps(draw(st.lists(st.sampled_from(ROWS), max_size=3))))
    for row in rows:
        for _ in range(draw(st.integers(0, 3))):
            block = row
            for step in draw(PATHS):
                try:
                    block = block[step]
                except (KeyError, IndexError, TypeError):
                    break
            if isinstance(block, dict):
                block[draw(MEMBERS)] = draw(JSON)
    return [row for row in rows if "data_row" in row]


def run_offline(folder: Path, catalog: Row, **settings: Any) -> str:
    """Run the tap over a file; give what it wrote, but for the times."""
    tap = TapLabelbox(
        config={"export_files": [str(folder / "rows.ndjson")], **settings},
        catalog=catalog,
    )
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(written):
        tap.sync_all()
    written.seek(0)
    return TIME_EXTRACTED.sub("", written.read())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=malformed_rows(),
    # Where data rows are read alone, records are made as they are decoded.
    selected=st.just({"data_row_exports"})
    | st.sets(st.sampled_from(EXPORTED), min_size=1),
    deselected=st.sets(st.integers(0, 40), max_size=12),
    ascii_only=st.booleans(),
)
def test_direct_records_are_the_ordinary_ones(
    tmp_path: Path,
    rows: list[Row],
    selected: set[str],
    deselected: set[int],
    *,
    ascii_only: bool,
) -> None:
    """Whatever is selected, and however malformed the rows are."""
    (tmp_path / "rows.ndjson").write_bytes(
        b"".join(
            json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "replace") + b"\n"
            for row in rows
        )
    )
    catalog = chosen(selected, deselected)

    fast = run_offline(tmp_path, catalog)

    with pytest.MonkeyPatch.context() as patch:
        # The SDK's own way, and nothing left undecoded.
        patch.setattr(DirectStream, "is_direct", False)
        patch.setattr(export_group, "decode_fast_rows", decode_rows)
        ordinary = run_offline(tmp_path, catalog)
    assert messages(fast) == messages(ordinary)


def test_lines_may_be_any_json() -> None:
    """Lines whose kind is not stated may hold any JSON."""
    text = b'"text"\n\n{"a": 1e400}\n[1]'

    assert json_text.decode_any_lines(text) == ["text", {"a": "1e400"}, [1]]


LABEL: Row = {
    "id": "c1",
    "label": '{"objects": []}',
    "seconds_to_label": 12.5,
    "agreement": None,
    "benchmark_agreement": -1,
    "is_benchmark_reference": False,
    "created_at": "2026-01-31T09:30:00.000Z",
    "updated_at": "2026-01-31T10:30:00+01:00",
    "type": {"id": "c2", "name": "Skipped"},
    "created_by": {"id": "c3", "email": "a@example.com"},
    "data_row": {"id": "c4", "external_id": "x", "row_data": "https://a.example/b"},
}


@st.composite
def malformed_labels(draw: st.DrawFn) -> list[Row]:
    """Labels of a page in which something is not as usual."""
    labels = [json.loads(json.dumps(LABEL)) for _ in range(draw(st.integers(1, 3)))]
    broken = (
        JSON
        | st.none()
        | st.integers(-(10**400), 10**400)
        | st.sampled_from(
            ["Skip", 1e400, "1.5", "\0", "\ud83d", "2026-01-31", {}, {"name": 5}, []]
        )
    )
    for label in labels:
        for _ in range(draw(st.integers(0, 2))):
            name = draw(st.sampled_from([*LABEL, "new", "data_row.id", "type.name"]))
            block, _, part = name.partition(".")
            if not part:
                label[name] = draw(broken)
            elif isinstance(label[block], dict):
                label[block][part] = draw(broken)
    return labels


@given(labels=malformed_labels(), ascii_only=st.booleans())
def test_labels_become_the_same_records_both_ways(
    labels: list[Row], *, ascii_only: bool
) -> None:
    """All at once, where all is well-formed, and value by value."""
    stream = TapLabelbox(config={"api_key": "x"}).streams["labels"]
    assert isinstance(stream, LabelsStream)
    reply = {"data": {"project": {"labels": labels}}}
    text = json.dumps(reply, ensure_ascii=ascii_only).encode("utf-8", "replace")

    at_once = stream.decode_fast(text)

    if at_once is None:
        return
    one_by_one = [
        stream.checked_record(label, None, 1)
        for label in json_text.decode(text)["data"]["project"]["labels"]
    ]
    for record in one_by_one:
        assert not isinstance(record, Malformed)
        del record["project_id"], record["is_skipped"]  # filled in later
    assert [json_text.decode_raw(record) for record in at_once] == one_by_one


def test_a_well_formed_label_becomes_a_record_at_once() -> None:
    """Also one without a labeler."""
    stream = TapLabelbox(config={"api_key": "x"}).streams["labels"]
    assert isinstance(stream, LabelsStream)
    reply = {"data": {"project": {"labels": [LABEL, LABEL | {"created_by": None}]}}}

    records = stream.decode_fast(json.dumps(reply).encode())

    assert records
    assert [r["created_by_email"] for r in records] == ["a@example.com", None]


@pytest.mark.parametrize(
    "needs_the_sdk",
    [
        {"stream_maps": {"data_row_exports": {"project_tags": "'none'"}}},
        {"stream_maps": {"data_row_exports": {"data_row_id": "md5(data_row_id)"}}},
        {"flattening_enabled": True, "flattening_max_depth": 1},
    ],
)
def test_what_needs_the_record_gets_it_decoded(
    tmp_path: Path, needs_the_sdk: Row
) -> None:
    """Stream maps and flattening look into what is otherwise passed on."""
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    (tmp_path / "rows.ndjson").write_bytes(lines)
    catalog = chosen({"data_row_exports"}, set())

    mapped = run_offline(tmp_path, catalog, **needs_the_sdk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_group, "decode_fast_rows", decode_rows)
        ordinary = run_offline(tmp_path, catalog, **needs_the_sdk)
    assert "Raw" not in mapped
    assert messages(mapped) == messages(ordinary)
    assert messages(mapped) != messages(run_offline(tmp_path, catalog))


def chosen(selected: set[str], deselected: set[int]) -> Row:
    """Select streams, and deselect columns by their number."""
    catalog: Row = json.loads(json.dumps(TapLabelbox(config=OFFLINE).catalog_dict))
    for stream in catalog["streams"]:
        for number, entry in enumerate(stream["metadata"]):
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] in selected
            elif number in deselected:
                entry["metadata"]["selected"] = False
    return catalog


def messages(text: str) -> list[Row]:
    """Decode each line."""
    return [json.loads(line) for line in text.split("\n") if line]
