"""The SDK's own suite, and its capabilities, on the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_labelbox.tap import TapLabelbox
from tests.runner import STANDARD

if TYPE_CHECKING:
    from tests.runner import Runner

TestTapLabelbox = get_tap_test_class(
    tap_class=TapLabelbox,
    config=STANDARD,
    # All records: some columns only have a value in some media types.
    suite_config=SuiteConfig(max_records_limit=None),
)


def test_stream_maps(run: Runner) -> None:
    """Columns can be hashed, added and left out."""
    maps = {"labels": {"created_by_email": "md5(created_by_email)", "label": None}}

    record = run("labels", stream_maps=maps).records("labels")[0]

    assert len(record["created_by_email"]) == 32
    assert "label" not in record


def test_flattening(run: Runner) -> None:
    """What is nested becomes columns."""
    output = run("bulk_export", flattening_enabled=True, flattening_max_depth=2)

    assert output.records("bulk_export")


def test_deselected_columns(run: Runner) -> None:
    """They are neither in the schema nor in the records."""
    catalog = TapLabelbox(config=run.config()).catalog_dict
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if entry["breadcrumb"] == []:
                entry["metadata"]["selected"] = stream["tap_stream_id"] == "labels"
            if entry["breadcrumb"] == ["properties", "label"]:
                entry["metadata"]["selected"] = False

    output = run(catalog=catalog)

    assert {m["stream"] for m in output.messages if m["type"] == "RECORD"} == {"labels"}
    assert "label" not in output.records("labels")[0]
    schema = next(m for m in output.messages if m["type"] == "SCHEMA")
    assert "label" not in schema["schema"]["properties"]


def test_activate_version(run: Runner) -> None:
    """For the stream that is a whole table each time."""
    output = run(emit_activate_version_messages=True)

    activated = [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]
    assert {m["stream"] for m in activated} == {"projects"}
