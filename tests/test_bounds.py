"""Bounds of values, for warehouses that size columns by them: in every stream."""

from __future__ import annotations

import json
import re
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.exports.fast_rows import FastRow, decode_fast_rows
from tap_labelbox.exports.rows import (
    DataRow,
    UniqueIds,
    annotation_records,
    data_row_records,
    decode_rows,
    label_records,
    metadata_records,
)
from tap_labelbox.records import columns
from tap_labelbox.records.columns import (
    MAX_EMAIL_BYTES,
    MAX_WORD_BYTES,
    Table,
    email,
    identifier,
    number,
    word,
)
from tap_labelbox.records.values import (
    MAX_ID_BYTES,
    has_at_most,
    shortened_id,
    to_record,
)
from tap_labelbox.streams import STREAMS
from tests.test_bad_data import changing

if TYPE_CHECKING:
    from tests.runner import Runner

COLUMNS = [
    (stream, name, schema)
    for stream in STREAMS
    for name, schema in stream.schema["properties"].items()
]
IDS = [f"{stream.name}.{name}" for stream, name, _ in COLUMNS]

MYSQL_KEY_CHARACTERS = 3072 // 4
SQL_SERVER_KEY_BYTES = 900

BIG_INTEGER = 12345678901234567890
"""A whole number of an ID, as custom metadata have it; no float."""


@pytest.mark.parametrize(("stream", "name", "schema"), COLUMNS, ids=IDS)
def test_what_has_a_bound_says_it(stream: Any, name: str, schema: Any) -> None:
    """Keys, IDs, e-mails, and integers; but an external ID can be any address."""
    kind = schema["type"][0]
    is_text = kind == "string" and "format" not in schema
    is_email = re.search(r"(^|_)email(_id)?$", name)
    is_id = re.search(r"(^|_)id$", name) and name != "external_id" and not is_email
    if is_text and (is_id or name in stream.primary_keys):
        assert schema["maxLength"] <= 288
    if is_text and is_email:
        assert schema["maxLength"] == MAX_EMAIL_BYTES
    if kind == "integer":
        assert (schema["minimum"], schema["maximum"]) == (-(2**63), 2**63 - 1)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: str(stream.name))
def test_every_key_fits_an_index(stream: Any) -> None:
    """Of MySQL, with four bytes a character, and of SQL Server, with one."""
    schemas = [stream.schema["properties"][name] for name in stream.primary_keys]
    characters = sum(
        schema.get("maxLength", 10)
        for schema in schemas
        if schema["type"] == ["string"]
    )
    others = 8 * sum(schema["type"] != ["string"] for schema in schemas)

    assert characters * 4 + others <= MYSQL_KEY_CHARACTERS * 4
    assert characters + others <= SQL_SERVER_KEY_BYTES


@pytest.mark.parametrize(
    ("kind", "most"),
    [(identifier, MAX_ID_BYTES), (word, MAX_WORD_BYTES), (email, MAX_EMAIL_BYTES)],
)
@pytest.mark.parametrize("character", ["x", "é", "€", "🚦"])
def test_a_text_fits_by_its_bytes(kind: Any, most: int, character: str) -> None:
    """For some databases count these; what is longer is put aside, whole."""
    size = len(character.encode())
    longest = character * (most // size)
    too_long = longest + character
    table = Table.of(kind("value", "Any."))

    assert kind.schema["maxLength"] == most
    assert to_record(table, {"value": longest}, {}) == {
        "value": longest,
        "additional_columns": {},
    }
    assert to_record(table, {"value": too_long}, {}) == {
        "value": shortened_id(too_long) if kind is identifier else None,
        "additional_columns": {"value": too_long},
    }


def exported(**parts: Any) -> bytes:
    """Return the line of a data row in an export."""
    row = {"data_row": {"id": "R"}, "projects": {"P": {"name": "one"}}, **parts}
    return json.dumps(row).encode() + b"\n"


@pytest.mark.parametrize("length", [36, 40, 41, MAX_ID_BYTES, MAX_ID_BYTES + 1])
@pytest.mark.parametrize("character", ["x", "🚦"])
def test_both_paths_of_exports_know_the_bound(length: int, character: str) -> None:
    """The fast one takes what surely fits, which all of Labelbox's IDs do."""
    own = character * length
    line = exported(data_row={"id": "R", "details": {"dataset_id": own}})

    (row,) = decode_fast_rows(line)
    (slow,) = decode_rows(line)

    assert isinstance(row, FastRow) == (length <= 40)
    (record,) = data_row_records(slow.in_project("P"))
    fits = len(own.encode()) <= MAX_ID_BYTES
    assert row.in_project("P").record["dataset_id"] == record["dataset_id"]
    assert record["dataset_id"] == shortened_id(own)
    assert (record["dataset_id"] == own) == fits
    beside = {} if fits else {"data_row.details.dataset_id": own}
    assert record["additional_columns"] == beside


LONG = "i" * (MAX_ID_BYTES + 1)


def test_rows_with_too_long_ids_are_all_there() -> None:
    """In all tables by the same keys, so that these join."""
    question = {"feature_id": LONG, "name": "question", "text_answer": {"content": ""}}
    label = {"id": LONG, "annotations": {"classifications": [question]}}
    details = {"selected_label_id": LONG}
    project = {"labels": [label], "project_details": details}
    field = {"schema_id": LONG, "schema_kind": "CustomMetadataEnum", "value": LONG}
    row = {"data_row": {"id": LONG}, "projects": {LONG: project}}
    line = json.dumps(row | {"metadata_fields": [field]}).encode() + b"\n"

    (decoded,) = decode_fast_rows(line)
    (project_id,) = decoded.project_ids
    part: Any = decoded.in_project(project_id)

    short = shortened_id(LONG)
    ids = {"project_id": short, "data_row_id": short}
    (whole,) = data_row_records(part)
    assert whole["additional_columns"]["project_id"] == LONG
    assert whole["additional_columns"]["data_row.id"] == LONG
    (own,) = label_records(part)
    assert own["additional_columns"] == {"id": LONG}
    assert own["is_selected"] is True
    (annotation,) = annotation_records(part)
    (metadata,) = metadata_records(part)
    assert annotation["feature_id"] == metadata["schema_id"] == short
    assert metadata["option_id"] == short
    for record in (whole, own, annotation, metadata):
        assert ids.items() <= record.items()
    for record in (own, annotation):
        assert record["label_id"] == short


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: str(stream.name))
def test_what_is_too_long_is_put_aside_whole(stream: Any) -> None:
    """In every stream; in place of an ID, be it in the key, is one made of it."""
    too_long: dict[str, str] = {}

    def filled(sources: Any) -> dict[str, Any]:
        item: dict[str, Any] = {}
        for name, source in sources.items():
            if isinstance(source, dict):
                item[name] = filled(source)
            elif "maxLength" in source.kind.schema and source.name not in too_long:
                item[name] = too_long[source.name] = f"{source.name} " + "é" * 300
        return item

    columns_of = {column.name: column for column in stream.schema.columns}
    record = to_record(stream.schema, filled(stream.schema.sources), {})

    for name, value in too_long.items():
        kind = columns_of[name].kind
        assert record[name] == (shortened_id(value) if kind is identifier else None)
    assert {*too_long.values()} == {*record["additional_columns"].values()}


@pytest.mark.parametrize("stream", ["labels", "projects"])
def test_a_row_with_too_long_a_key_comes_as_well(run: Runner, stream: str) -> None:
    """Its key is in the form in which other streams have it."""
    count = len(run(stream).records(stream))

    first = iter([{"id": LONG}])
    run.sandbox.after = changing(lambda row: row.update(next(first, {})))
    output = run(stream)

    assert output.error is None
    records = {record["id"]: record for record in output.records(stream)}
    assert len(records) == count
    assert records[shortened_id(LONG)]["additional_columns"] == {"id": LONG}


@pytest.mark.parametrize("most", [MAX_ID_BYTES, 288])
def test_an_id_that_is_made_of_others_is_shortened(most: int) -> None:
    """So that it fits, differs from all others, and is the same in the next run."""
    long = ["a" * 1000, "a" * 1000 + "b", "🚦" * 500, "é" * most]

    made = [shortened_id(text, most) for text in long]

    assert len({*made}) == len(long)
    assert all(has_at_most(text, most) for text in made)
    assert made == [shortened_id(text, most) for text in long]
    assert all(text.startswith(old[:20]) for text, old in zip(made, long, strict=True))
    assert shortened_id("a" * most, most) == "a" * most


def test_numbered_ids_fit_as_well() -> None:
    """Each of many that have the same gets one of its own."""
    ids = UniqueIds()
    for base in ("x" * MAX_ID_BYTES, "x" * 500):
        assigned = [ids.assign(base) for _ in range(20)]

        assert len({*assigned}) == 20
        assert all(has_at_most(item, MAX_ID_BYTES) for item in assigned)


def test_annotations_at_any_depth_have_keys_that_fit() -> None:
    """And their parents are known by the same."""
    question: dict[str, Any] = {"feature_id": "f" * 36, "name": "last"}
    for depth in range(30):
        question = {
            "feature_id": f"{depth:036}",
            "name": f"question {depth}",
            "radio_answer": {"name": "yes", "classifications": [question]},
        }
    annotations = {"classifications": [question], "objects": [{"name": "n" * 5000}]}
    label = {"id": "L", "annotations": annotations}
    row = DataRow({"data_row": {"id": "R"}, "projects": {"P": {"labels": [label]}}})

    records = [*annotation_records(row.in_project("P"))]

    own = [record["annotation_id"] for record in records]
    assert len(records) == 32
    assert len({*own}) == len(own)
    assert all(has_at_most(item, 288) for item in own)
    parents = {record["parent_annotation_id"] for record in records} - {None}
    assert parents < {*own}
    assert len(parents) == 30


@pytest.mark.parametrize(
    ("value", "stored", "beside"),
    [
        (2**53, 2**53, {}),
        (-(2**53), -(2**53), {}),
        (2**53 + 1, float(2**53), {"value": "9007199254740993"}),
        (2**60, float(2**60), {}),
        (BIG_INTEGER, 1.2345678901234567e19, {"value": str(BIG_INTEGER)}),
        (-BIG_INTEGER, -1.2345678901234567e19, {"value": str(-BIG_INTEGER)}),
        (10**400, None, {"value": 10**400}),
    ],
)
def test_a_whole_number_that_is_no_float_becomes_one(
    value: int, stored: Any, beside: Any
) -> None:
    """Digits that it loses are put aside, as text: some targets take no more."""
    record = to_record(Table.of(number("value", "Any.")), {"value": value}, {})

    assert record == {"value": stored, "additional_columns": beside}
    assert type(record["value"]) is type(stored)


def test_a_number_in_metadata_keeps_its_digits() -> None:
    """An ID of 19 digits is one that people have there."""
    field = {"schema_id": "S", "schema_name": "ID", "value": BIG_INTEGER}
    row = DataRow({"data_row": {"id": "R"}, "metadata_fields": [field]})

    (record,) = metadata_records(row.in_project("P"))
    (whole,) = data_row_records(row.in_project("P"))

    assert record["value_number"] == float(BIG_INTEGER)
    assert type(record["value_number"]) is float
    assert record["additional_columns"] == {"value": str(BIG_INTEGER)}
    assert whole["metadata_fields"] == [field]


def test_a_number_of_media_attributes_keeps_its_digits() -> None:
    """In the JSON column, which is passed on as it came."""
    line = exported(media_attributes={"frame_rate": BIG_INTEGER})

    (row,) = decode_fast_rows(line)
    record = row.in_project("P").record

    assert (
        type(record["frame_rate" if "frame_rate" in record else "media_frame_rate"])
        is float
    )
    assert record["media_attributes"] == {"frame_rate": BIG_INTEGER}
    assert record["additional_columns"] == {}


@pytest.mark.parametrize("sent", [2**53 + 1, BIG_INTEGER, -BIG_INTEGER])
def test_labels_keep_the_digits_of_a_number(run: Runner, sent: int) -> None:
    """On the page that has one, the fast path gives way."""
    run.sandbox.after = changing(lambda row: row.update(seconds_to_label=sent))

    output = run("labels")

    assert output.records("labels")
    for record in output.records("labels"):
        assert record["seconds_to_label"] == float(sent)
        assert record["additional_columns"] == {"seconds_to_label": str(sent)}
    assert f'"seconds_to_label":{sent},' not in output.text


def test_an_agreement_of_minus_one_is_none(run: Runner) -> None:
    """It means that there is none; 0 is a value, and none is put aside."""
    scores = [-1, -1.0, 0, 0.0, 0.5, None, "-1"]
    score = cycle({"agreement": s, "benchmark_agreement": -1} for s in scores)
    run.sandbox.after = changing(lambda row: row.update(next(score)))

    records = run("labels").records("labels")

    assert {record["agreement"] for record in records} == {None, 0, 0.5}
    assert {record["benchmark_agreement"] for record in records} == {None}
    assert all(record["additional_columns"] == {} for record in records)
    assert records


def test_a_column_that_a_map_computes_has_no_bound(run: Runner) -> None:
    """The bound was that of another value; the others keep theirs."""
    maps = {"labels": {"type_name": "'x' * 300", "created_by_id": "id + 'x' * 300"}}

    output = run("labels", stream_maps=maps)

    schema, *_ = (m["schema"]["properties"] for m in output.messages if "schema" in m)
    assert output.records("labels")
    assert "maxLength" not in schema["type_name"]
    assert "maxLength" not in schema["created_by_id"]
    assert schema["project_id"]["maxLength"] == MAX_ID_BYTES


def test_every_list_may_have_any_members() -> None:
    """A member that is not listed would fail the loads of some warehouses."""
    for stream, name, schema in COLUMNS:
        items = schema.get("items", {})
        assert not items.get("properties"), f"{stream.name}.{name}"


def test_a_check_of_bounds_is_that_of_its_kind() -> None:
    """Otherwise a number would be text in one column and unmapped in another."""
    assert columns.word.check(5) == columns.text.check(5) == "5"
    assert columns.email.check(5) is columns.string.check(5) is None
