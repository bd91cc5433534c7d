"""The default selection: nothing comes twice, and nothing is lost."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_labelbox.streams import STREAMS
from tests.test_catalog import CATALOG
from tests.test_examples import selected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runner import Output, Runner

ROOT = Path(__file__).parent.parent
TWICE = {
    ("data_row_exports", "labels"),
    ("data_row_exports", "workflow_history"),
    ("data_row_exports", "attachments"),
    ("data_row_exports", "metadata_fields"),
}
"""Columns of JSON whose content other streams have as rows."""


def marked(catalog: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the columns that a catalog has as off by default."""
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            if (
                item["breadcrumb"]
                and item["metadata"].get("selected-by-default") is False
            ):
                yield entry["tap_stream_id"], item["breadcrumb"][1]


def changed(**metadata: Any) -> dict[str, Any]:
    """Return the discovered catalog with a stream of exports and all its columns.

    Args:
        metadata: What its columns say; None takes a key out.
    """
    catalog = deepcopy(CATALOG)
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            if item["breadcrumb"] == []:
                chosen = entry["tap_stream_id"] == "data_row_exports"
                item["metadata"]["selected"] = chosen
                continue
            own = {n.replace("_", "-"): v for n, v in metadata.items()}
            together = item["metadata"] | own
            item["metadata"] = {k: v for k, v in together.items() if v is not None}
    return catalog


def columns(output: Output, stream: str = "data_row_exports") -> set[str]:
    """Return the columns of a stream: those of its SCHEMA and of each record."""
    (schema,) = (
        {*m["schema"]["properties"]}
        for m in output.messages
        if m["type"] == "SCHEMA" and m["stream"] == stream
    )
    records = output.records(stream)
    assert records
    assert all(record.keys() == schema for record in records)
    return schema


(WHOLE,) = (
    {*entry["schema"]["properties"]}
    for entry in CATALOG["streams"]
    if entry["tap_stream_id"] == "data_row_exports"
)
REST = WHOLE - {column for _, column in TWICE}


def test_the_catalog_says_what_is_off() -> None:
    """Streams of what comes twice or takes many requests are off."""
    assert {*marked(CATALOG)} == TWICE | {("ontology_features", "is_archived")}
    assert {column for _, column in TWICE} < WHOLE


def test_without_a_catalog_nothing_comes_twice(run: Runner) -> None:
    """The annotations stay, as they were exported."""
    output = run("data_row_exports", "export_labels")

    assert columns(output) == REST
    assert "annotations" in columns(output, "export_labels")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, REST),
        ({"selected": True}, WHOLE),
        ({"selected_by_default": None}, WHOLE),
        ({"selected_by_default": True}, WHOLE),
    ],
    ids=["discovered", "selected", "of an earlier version", "by default"],
)
def test_a_catalog_decides(run: Runner, metadata: Any, expected: set[str]) -> None:
    """Also one that an earlier version has discovered, which knows no such default."""
    output = run(catalog=changed(**metadata))

    assert output.error is None
    assert columns(output) == expected


def test_a_column_that_is_off_has_what_was_exported(run: Runner) -> None:
    """If somebody selects it, on the fast path as on the other one."""
    output = run(catalog=changed(selected=True))

    assert any(record["labels"] for record in output.records("data_row_exports"))
    assert any(
        record["workflow_history"] for record in output.records("data_row_exports")
    )


@pytest.mark.parametrize(
    ("file", "environment"),
    [("docs/hub.yml", ""), ("meltano.yml", "live"), ("meltano.yml", "files")],
)
def test_meltano_leaves_out_what_is_off(file: str, environment: str) -> None:
    """It selects everything by itself, so the plugin names what is off."""
    content = yaml.safe_load((ROOT / file).read_text("utf-8"))
    if "environments" in content:
        result = {item["name"]: item for item in content["environments"]}
        (content,) = result[environment]["config"]["plugins"]["extractors"]

    catalog = selected(content["select"])

    off = {stream.name for stream in STREAMS if not stream.selected_by_default}
    off |= {"bulk_export"}
    for entry in catalog["streams"]:
        name = entry["tap_stream_id"]
        chosen = {tuple(m["breadcrumb"]): m["metadata"] for m in entry["metadata"]}
        assert bool(chosen[()]["selected"]) == (name not in off)
        for stream, column in TWICE:
            if stream == name:
                assert not chosen["properties", column]["selected"]
                assert chosen["properties", "media_attributes"]["selected"]
