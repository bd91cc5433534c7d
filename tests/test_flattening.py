"""Flattening: every column of a record is in its SCHEMA, and every value arrives."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.plugin_base import JSONSchemaValidator

from tap_labelbox.api.errors import LabelboxError
from tap_labelbox.tap import TapLabelbox
from tests.runner import PRIMARY_KEYS
from tests.targets import load
from tests.test_batches import batch, rows
from tests.test_warehouse import duckdb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.runner import Output, Record, Runner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
STREAMS = TapLabelbox(config={"api_key": "x"}).streams
OBJECTS = {
    name: [
        column
        for column, schema in stream.schema["properties"].items()
        if "object" in schema["type"]
    ]
    for name, stream in STREAMS.items()
}
NESTED = {
    name: [
        column
        for column, schema in stream.schema["properties"].items()
        if {"object", "array"} & {*schema["type"]}
    ]
    for name, stream in STREAMS.items()
}


def items(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas of the objects in arrays, at any depth."""
    for inner in schema.get("properties", {}).values():
        yield from items(inner)
    if "items" in schema:
        if "object" in schema["items"]["type"]:
            yield schema["items"]
        yield from items(schema["items"])


@pytest.mark.parametrize("stream", STREAMS)
def test_whether_objects_list_their_properties(stream: str) -> None:
    """At the top never an empty list, which is flattened to nothing; in arrays always.

    Within arrays some targets look for the list.
    """
    schema = STREAMS[stream].schema

    assert OBJECTS[stream]
    for column in OBJECTS[stream]:
        assert schema["properties"][column].get("properties") != {}
    assert all("properties" in item for item in items(schema))


def schemas(output: Output) -> dict[str, dict[str, Any]]:
    """Return the schema of each stream that has a SCHEMA."""
    return {m["stream"]: m["schema"] for m in output.messages if m["type"] == "SCHEMA"}


def in_order(output: Output, stream: str) -> list[Record]:
    """Return the records of a stream by their keys: an export is in no order."""
    return by_key(output.records(stream), stream)


def by_key(records: list[Record], stream: str) -> list[Record]:
    """Return records in the order of their keys."""
    return sorted(records, key=lambda r: [str(r[k]) for k in PRIMARY_KEYS[stream]])


def assert_flat(output: Output, plain: Output) -> None:
    """Check that records match their schema, and hold as text what they held."""
    assert output.error is None
    flat = schemas(output)
    assert schemas(plain).keys() <= flat.keys() <= STREAMS.keys()
    for stream, schema in flat.items():
        validator = JSONSchemaValidator(schema)
        result, expected_records = in_order(output, stream), in_order(plain, stream)
        for record, expected in zip(result, expected_records, strict=True):
            assert record.keys() <= schema["properties"].keys()
            assert not [e.message for e in validator.iter_errors(record)]
            for column in expected.keys() & NESTED[stream]:
                text = record[column]
                assert (text and json.loads(text)) == expected[column]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_flattened_run_has_all_that_a_run_has(run: Runner, depth: int) -> None:
    """Objects and arrays arrive as JSON text, in a column that the SCHEMA has."""
    plain = run(now=NOW, all_columns=True)

    output = run(
        now=NOW,
        all_columns=True,
        flattening_enabled=True,
        flattening_max_depth=depth,
    )

    assert_flat(output, plain)
    for stream, column in [
        ("annotations", "geometry"),
        ("data_row_exports", "media_attributes"),
        ("export_labels", "annotations"),
    ]:
        assert any(json.loads(r[column] or "{}") for r in output.records(stream)), (
            f"{stream}.{column} is empty in all records"
        )


def test_a_catalog_of_an_earlier_version_can_be_flattened(run: Runner) -> None:
    """Its object columns list no properties, which once were none."""
    requested = PRIMARY_KEYS.keys() - {"tasks"}  # to which each run adds its exports
    catalog = json.loads(TapLabelbox(config=run.config()).catalog_json_text)
    for stream in catalog["streams"]:
        stream["metadata"][-1]["metadata"]["selected"] = (
            stream["tap_stream_id"] in requested
        )
        for column in OBJECTS[stream["tap_stream_id"]]:
            stream["schema"]["properties"][column]["properties"] = {}
    inputs = json.loads(json.dumps(catalog))

    output = run(
        now=NOW, catalog=catalog, flattening_enabled=True, flattening_max_depth=1
    )

    assert_flat(output, run(*requested, now=NOW))
    assert catalog == inputs


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_flattened_batch_files(run: Runner, tmp_path: Path, form: str) -> None:
    """Of both formats, they hold what flattened records hold."""
    plain = run("annotations", concurrency=1)

    output = run(
        "annotations",
        now=NOW,
        flattening_enabled=True,
        flattening_max_depth=2,
        batch_config=batch(tmp_path / "files", form),
    )

    assert output.error is None
    result = by_key(rows(output.messages, "annotations"), "annotations")
    expected = in_order(plain, "annotations")
    assert [r["geometry"] and json.loads(r["geometry"]) for r in result] == [
        r["geometry"] for r in expected
    ]
    assert any(r["geometry"] for r in expected)
    (schema,) = schemas(output).values()
    assert schema["properties"]["geometry"]["type"] == ["string", "null"]


@pytest.mark.parametrize("form", [None, "jsonl", "parquet"])
def test_a_column_that_the_schema_lacks_is_reported(
    run: Runner, tmp_path: Path, form: str | None
) -> None:
    """Here a catalog names one part of an object; a target would drop the others."""
    catalog = TapLabelbox(config=run.config()).catalog_dict
    for stream in catalog["streams"]:
        if stream["tap_stream_id"] == "data_row_exports":
            media = stream["schema"]["properties"]["media_attributes"]
            media["properties"] = {"width": {"type": ["integer", "null"]}}
    settings: dict[str, Any] = {}
    if form:
        settings["batch_config"] = batch(tmp_path / "files", form)

    output = run(
        "data_row_exports",
        catalog=catalog,
        flattening_enabled=True,
        flattening_max_depth=2,
        **settings,
    )

    assert isinstance(output.error, LabelboxError)
    reason = str(output.error)
    assert "data_row_exports has columns that its SCHEMA lacks: media_attributes_" in (
        reason
    )
    assert "jsonl" not in reason


def test_a_target_keeps_the_objects_of_a_flattened_run(
    run: Runner, target: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each polygon and each box is in the database."""
    file = tmp_path / "warehouse.duckdb"
    output = run(
        "annotations",
        "data_row_exports",
        flattening_enabled=True,
        flattening_max_depth=1,
    )
    load(
        target("target-duckdb"),
        output.text,
        folder=str(tmp_path),
        path=str(file),
        default_target_schema="labelbox",
    )

    plain = run("annotations", "data_row_exports")
    with duckdb.connect(str(file), read_only=True) as warehouse:
        for stream, column, key in [
            ("annotations", "geometry", "annotation_id"),
            ("annotations", "additional_columns", "annotation_id"),
            ("data_row_exports", "media_attributes", "data_row_id"),
        ]:
            result = dict(
                warehouse.execute(
                    f"select {key}, {column} from labelbox.{stream}"  # noqa: S608
                ).fetchall()
            )
            expected = {r[key]: r[column] for r in plain.records(stream)}
            assert any(expected.values()) or column == "additional_columns"
            assert {
                key: text and json.loads(text) for key, text in result.items()
            } == expected
