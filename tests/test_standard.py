"""The SDK's own suite, and its capabilities, on the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_labelbox.sandbox import World, serve
from tap_labelbox.tap import TapLabelbox
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = {"api_key": "x"}
"""What the SDK's suite is collected with; its tests run with the sandbox's."""

SDK_SUITE = get_tap_test_class(
    tap_class=TapLabelbox,
    config=CONFIG,
    # All records: some columns only have a value in some media types.
    suite_config=SuiteConfig(
        max_records_limit=None,
        # Of what cannot be exported as a whole they have nothing.
        ignore_no_records_for_streams=["data_row_presence", "label_presence"],
    ),
)
TestTapLabelbox = pytest.mark.usefixtures("standard")(SDK_SUITE)


@pytest.fixture(scope="module")
def standard() -> Iterator[None]:
    """Serve a sandbox to the SDK's suite, once one of its tests is about to run."""
    world = World()
    # For reports, which go back a month; some of them are reviewed.
    for number in range(20):
        at = datetime.now(UTC) - timedelta(days=2, minutes=number)
        world.add_label(world.projects[0].id, at)
    with serve(world, unexportable=1) as sandbox:
        CONFIG.update(Runner(sandbox, world).config())
        yield


def test_stream_maps(run: Runner) -> None:
    """Columns can be hashed, added and left out."""
    maps = {"labels": {"created_by_email": "md5(created_by_email)", "label": None}}

    record = run("labels", stream_maps=maps).records("labels")[0]

    assert len(record["created_by_email"]) == 32
    assert "label" not in record


@pytest.mark.parametrize(
    ("stream", "holds"),
    [
        ("labels", "'objects' in label"),
        ("data_row_exports", "media_attributes['height'] > 5"),
    ],
)
def test_a_filter_may_look_inside(run: Runner, stream: str, holds: str) -> None:
    """Also into what is otherwise passed on as it came."""
    everything = run(stream).records(stream)

    output = run(stream, stream_maps={stream: {"__filter__": holds}})

    assert output.error is None
    assert 0 < len(output.records(stream)) <= len(everything)
    assert output.records(stream) != everything


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


@pytest.mark.parametrize("maps", [{}, {"labels": {"id": "id"}}])
def test_a_catalog_of_an_older_version(run: Runner, maps: Any) -> None:
    """Columns unknown to it are in neither the schema nor the records."""
    catalog = TapLabelbox(config=run.config()).catalog_dict
    for stream in catalog["streams"]:
        stream["schema"]["properties"].pop("type_name", None)

    output = run("labels", catalog=catalog, stream_maps=maps)

    assert output.error is None
    schema = next(m["schema"] for m in output.messages if m["type"] == "SCHEMA")
    assert "type_name" not in schema["properties"]
    assert "type_name" not in output.records("labels")[0]
