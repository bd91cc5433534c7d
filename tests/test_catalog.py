"""Names in a catalog, stream maps or a state: obeyed, or refused before the run."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.sandbox import World
from tap_labelbox.streams import STREAMS
from tap_labelbox.tap import TapLabelbox
from tests.test_cli import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runner import Output, Runner

CATALOG: dict[str, Any] = json.loads(
    TapLabelbox(config={"api_key": "x"}).catalog_json_text
)
Edit = dict[str, Any]


def catalog(
    stream: str = "labels",
    entry: Edit | None = None,
    metadata: Edit | None = None,
    without: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the catalog that discovery writes, edited.

    Args:
        stream: The stream that is edited.
        entry: What its entry says instead; None takes a key out.
        metadata: What its metadata say instead; None takes a key out.
        without: Streams, and columns such as labels.label, that are not selected.
    """
    edited = deepcopy(CATALOG)
    for result in edited["streams"]:
        name = result["tap_stream_id"]
        for item in result["metadata"]:
            path = ".".join([name, *item["breadcrumb"][1::2]])
            if item["breadcrumb"] == [] or path in without:
                item["metadata"]["selected"] = path not in without
            if item["breadcrumb"] == [] and name == stream:
                item["metadata"] |= metadata or {}
                item["metadata"] = {
                    k: v for k, v in item["metadata"].items() if v is not None
                }
        if name == stream:
            result.update(entry or {})
            for key in [key for key, value in result.items() if value is None]:
                del result[key]
    return edited


def refused(run: Runner, message: str, **options: Any) -> None:
    """Check that a run is refused with some words, before anything is sent."""
    with pytest.raises((ConfigValidationError, SettingsError)) as caught:
        run(**options)

    logged = getattr(caught.value, "errors", None) or [str(caught.value)]
    assert any(message in line for line in logged), logged
    assert all("\n" not in line for line in logged)
    assert run.sandbox.requests == []


def maps(output: Output, stream: str) -> dict[str, Any]:
    """Return the columns of a stream in its SCHEMA."""
    result: dict[str, Any] = next(
        m["schema"]["properties"]
        for m in output.messages
        if m["type"] == "SCHEMA" and m["stream"] == stream
    )
    return result


# --- replication -----------------------------------------------------------------

SINGLE = "its only replication key is"
METHODS = "set INCREMENTAL or FULL_TABLE in the catalog"


@pytest.mark.parametrize(
    ("stream", "entry", "metadata", "message"),
    [
        ("labels", {"replication_key": "updated_at"}, {}, f"{SINGLE} created_at"),
        ("labels", {}, {"replication-key": "nope"}, f"{SINGLE} created_at"),
        (
            "export_labels",
            {"replication_key": "created_at"},
            {"replication-key": "created_at"},
            f"{SINGLE} last_activity_at",
        ),
        ("projects", {"replication_key": "updated_at"}, {}, "it is read whole each"),
        ("labels", {"replication_method": "LOG_BASED"}, {}, METHODS),
        (
            "labels",
            {"replication_method": "incremental"},
            {},
            f"{METHODS} (did you mean INCREMENTAL?)",
        ),
        (
            "bulk_export",
            {},
            {"replication-method": "full_table"},
            f"{METHODS} (did you mean FULL_TABLE?)",
        ),
        ("annotations", {}, {"forced-replication-method": "CDC"}, METHODS),
        ("projects", {"replication_method": "INCREMENTAL"}, {}, "set FULL_TABLE in"),
        ("labels", {"key_properties": ["idd"]}, {}, "idd (did you mean id?)"),
        ("labels", {}, {"table-key-properties": ["foo", "id"]}, "no column: foo"),
        ("labels", {"stream": "my_labels"}, {}, "labels is called my_labels"),
    ],
)
def test_what_the_tap_does_not_do(
    run: Runner, stream: str, entry: Edit, metadata: Edit, message: str
) -> None:
    """It is refused by its stream, also where it stands in the metadata only."""
    refused(run, message, catalog=catalog(stream, entry, metadata))
    idle = catalog(stream, entry, metadata, without=(stream,))
    assert stream in run.tap(catalog=idle).streams  # and does nothing there


@pytest.mark.parametrize("key", ["replication-method", "forced-replication-method"])
def test_a_method_in_the_metadata_only(run: Runner, key: str) -> None:
    """As Singer has it: the catalog of discovery has the default beside it."""
    first = run("labels")
    inputs = catalog(metadata={key: "FULL_TABLE"})

    output = run("labels", catalog=inputs, state=first.state)

    assert len(output.ids("labels")) == len(first.ids("labels"))
    assert all(stream["replication_method"] for stream in inputs["streams"])


@pytest.mark.parametrize("stream", ["labels", "annotations"])
def test_what_a_catalog_does_not_say_stays_as_it_is(run: Runner, stream: str) -> None:
    """Written by hand, it names streams only."""
    entry: Edit = {
        "replication_key": None,
        "replication_method": None,
        "key_properties": None,
    }
    metadata = {"replication-key": None, "table-key-properties": None}
    metadata |= {"valid-replication-keys": None}
    inputs = catalog(stream, entry, metadata)

    first = run(stream, catalog=inputs)
    second = run(stream, catalog=inputs, state=first.state)

    expected = run(stream)
    schema = next(m for m in expected.messages if m["type"] == "SCHEMA")
    assert schema["key_properties"]
    assert next(m for m in first.messages if m["type"] == "SCHEMA") == schema
    assert len(second.records(stream)) < len(first.records(stream))


def test_a_key_that_is_not_selected(run: Runner) -> None:
    """A target would merge rows by a column they do not have."""
    inputs = catalog(
        entry={"key_properties": ["data_row_id"]}, without=("labels.data_row_id",)
    )

    refused(run, "labels.data_row_id is a key and not selected", catalog=inputs)


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([5], "stream 1 is malformed: Expected `object`, got `int`"),
        ([{}], "stream 1 is malformed: Object missing required field `tap_stream_id`"),
        (
            [{"tap_stream_id": "labels", "schema": 5}],
            "(labels) is malformed: Expected `object | null`, got `int`",
        ),
        (
            [{"tap_stream_id": "labels", "schema": {"properties": {"id": 5}}}],
            "--catalog cannot be read",
        ),
        (
            [{"tap_stream_id": "labels", "metadata": {}}],
            "got `object` - at `$.metadata`",
        ),
        (
            [{"tap_stream_id": "labels", "metadata": [{}]}],
            "missing required field `breadcrumb` - at `$.metadata[0]`",
        ),
        (
            [
                {
                    "tap_stream_id": "labels",
                    "metadata": [{"breadcrumb": [], "metadata": {"selected": "false"}}],
                }
            ],
            "Expected `bool | null`, got `str` - at `$.metadata[0].metadata.selected`",
        ),
        (
            [{"tap_stream_id": "x", "key_properties": "id"}],
            "Expected `array | null`, got `str` - at `$.key_properties`",
        ),
        ([{"tap_stream_id": "labels"}] * 2, "it has the stream labels twice"),
    ],
)
def test_a_malformed_catalog(run: Runner, streams: Any, message: str) -> None:
    """One line says what is wrong."""
    refused(run, message, catalog={"streams": streams})


def test_what_the_tap_does_not_know_is_reported(run: Runner, tmp_path: Path) -> None:
    """It may come from a newer version, so the rest is read."""
    inputs = catalog(without=tuple(s["tap_stream_id"] for s in CATALOG["streams"]))
    stream = next(s for s in inputs["streams"] if s["tap_stream_id"] == "projects")
    stream["metadata"][-1]["metadata"]["selected"] = True
    stream["schema"]["properties"]["label_counts"] = {"type": ["integer", "null"]}
    inputs["streams"].append({"tap_stream_id": "label", "schema": {}, "metadata": []})
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(inputs))

    done = run.command("--catalog", str(file))

    assert done.returncode == 0
    assert "does not know: label (did you mean labels?)" in done.stderr
    assert "projects.label_counts (did you mean label_count?)" in done.stderr


def test_a_catalog_that_selects_nothing_is_named(run: Runner, tmp_path: Path) -> None:
    """It is no error, but seldom meant."""
    file = tmp_path / "catalog.json"
    file.write_text('{"streams": []}')

    done = run.command("--catalog", str(file))

    assert done.returncode == 0
    assert "No stream is selected: nothing is read" in done.stderr


# --- stream maps -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"export_label": {"created_by_email": "md5(created_by_email)"}},
            (
                "stream_maps.export_label matches no stream of this tap: export_label "
                "(did you mean export_labels?)"
            ),
        ),
        ({"exprt_*": {"a": "'b'"}}, "stream_maps.exprt_* matches no stream"),
        (
            {"mine": {"__source__": "label"}},
            (
                "stream_maps.mine.__source__ matches no stream of this tap: label "
                "(did you mean labels?)"
            ),
        ),
        (
            {"labels": {"created_by_mail": None}},
            (
                "stream_maps.labels.created_by_mail is not a column to leave out "
                "(did you mean created_by_email?)"
            ),
        ),
        ({"labels": {"created_by_mail": "__NULL__"}}, "is not a column to leave out"),
        ({"*": {"created_by_mail": None}}, "is not a column to leave out"),
        (
            {"labels": {"h": "md5(created_by_mail)"}},
            (
                "stream_maps.labels.h names what labels does not have: created_by_mail "
                "(did you mean created_by_email?)"
            ),
        ),
        ({"labels": {"h": "record['idd']"}}, "does not have: idd (did you mean id?)"),
        ({"labels": {"h": "_['idd']"}}, "does not have: idd (did you mean id?)"),
        ({"labels": {"h": "md4(id)"}}, "does not have: md4 (did you mean md5?)"),
        ({"labels": {"h": "self"}}, "does not have: self"),
        (
            {"labels": {"h": "config['sead']"}},
            "stream_map_config lacks: sead (did you mean seed?)",
        ),
        (
            {"*": {"created_by_email": "md5(created_by_email)"}},
            "does not have: created_by_email",
        ),
        (
            {"labels": {"__filter__": "is_skiped"}},
            "stream_maps.labels.__filter__ names what labels does not have: is_skiped",
        ),
        (
            {"labels": {"__fitler__": "is_skipped"}},
            "__fitler__ is not an option: remove it (did you mean __filter__?)",
        ),
        (
            {"__els__": None},
            "__els__ is not an option: remove it (did you mean __else__",
        ),
        (
            {"labels": {"__key_properties__": ["idd"]}},
            "__key_properties__ names no column: idd (did you mean id?)",
        ),
        ({"labels": {"id": None}}, "Removing key property 'id' is not permitted"),
        (
            {"labels": {"h": "md5(id"}},
            "stream_maps.labels.h is not an expression: md5(id",
        ),
        (
            {"labels": {"h": ""}},
            "stream_maps.labels.h is not an expression: it is empty",
        ),
        ({"labels": {"h": 5}}, "stream_maps.labels.h must be of type"),
        ({"labels": "id"}, "stream_maps.labels must be of type"),
        ({"labels": {"__else__": "id"}}, "stream_maps.labels.__else__ must be"),
        ({"__else__": "id"}, "stream_maps.__else__ must be"),
    ],
)
def test_a_stream_map_of_what_is_not_there(
    run: Runner, inputs: Any, message: str
) -> None:
    """E-mails would go out in the clear because of one letter."""
    config = {"seed": "s"}
    refused(run, message, stream_maps=inputs, stream_map_config=config)


@pytest.mark.parametrize(
    "inputs",
    [
        {"*": {"source_system": "'labelbox'"}},
        {"export_*": {"created_by_email": None}},
        {"labels": {"__alias__": "'tags'", "new": "config['seed'] + id"}},
        {"mine": {"__source__": "labels", "label": "self[:5] if self else None"}},
        {"labels": {"h": "sha256(record['id'])", "__key_properties__": ["h"]}},
        {"labels": {"__filter__": "[c for c in label if c == '{']"}},
        {"labels": {"id": "id", "name": "__stream_name__", "__else__": None}},
        {"labels": {"t": "datetime.datetime.fromisoformat(created_at).date()"}},
        {"labels": None, "projects": "__NULL__"},
        {"labels": {"label": "json.dumps([_['id']])"}, "__else__": None},
    ],
)
def test_what_stream_maps_may_name(run: Runner, inputs: Any) -> None:
    """New columns, patterns, names and functions of the SDK."""
    config = {"seed": "s"}

    output = run("labels", "projects", stream_maps=inputs, stream_map_config=config)

    assert output.error is None


def test_a_map_that_another_one_replaces(run: Runner, caplog: Any) -> None:
    """The SDK takes the last one, so a pattern that comes later takes all."""
    own = {"labels": {"created_by_email": None}}
    pattern = {"*": {"source": "'x'"}}

    refused(
        run,
        "stream_maps.labels is replaced by stream_maps.*, which comes after it",
        stream_maps=own | pattern,
    )
    output = run("labels", stream_maps=pattern | own)

    assert "stream_maps.labels replaces stream_maps.*" in caplog.text
    assert "created_by_email" not in output.records("labels")[0]


def test_a_new_column_that_looks_like_one_there_is(run: Runner, caplog: Any) -> None:
    """It is legal, and perhaps not meant."""
    inputs = {"labels": {"created_by_mail": "md5(created_by_email)"}}

    output = run("labels", stream_maps=inputs)

    assert output.error is None
    assert "new column, labels.created_by_mail; created_by_email stays" in caplog.text


@pytest.mark.parametrize(
    "inputs",
    [
        {"*": {"source_system": "'labelbox'"}},
        {"bulk_export": {"label": None, "x": "md5(created_by_email)"}},
        {"bulk_export": {"__alias__": "'old'", "__key_properties__": ["id"]}},
        {"old": {"__source__": "bulk_export", "id": "id", "__else__": None}},
        {"*": {"__filter__": "project_id"}, "export_errors": None}
        | dict.fromkeys(
            s.name for s in STREAMS if "project_id" not in s.schema["properties"]
        ),
    ],
)
def test_maps_of_a_stream_that_is_not_selected(
    serving: Callable[..., Runner], inputs: Any
) -> None:
    """They do nothing."""
    run = serving(World(projects=2, labels_per_project=3))
    output = run(catalog=catalog(without=("bulk_export",)), stream_maps=inputs)

    assert output.error is None
    assert output.records("labels")
    assert {m.get("stream") for m in output.messages}.isdisjoint({"old", "bulk_export"})


@pytest.mark.parametrize("name", ["labels", "*"])
def test_a_map_of_a_column_that_is_not_selected(run: Runner, name: str) -> None:
    """It does nothing: the column stays away, and does not come back as a new one."""
    inputs = {name: {"label": "md5(label)" if name == "labels" else "'x'"}}
    without = ("labels.label",)

    output = run("labels", catalog=catalog(without=without), stream_maps=inputs)

    assert output.error is None
    assert "label" not in maps(output, "labels")
    assert "label" not in output.records("labels")[0]


def test_an_expression_with_a_column_that_is_not_selected(run: Runner) -> None:
    """Its value is not there."""
    refused(
        run,
        "stream_maps.labels.h needs labels.created_by_email, which is not selected",
        catalog=catalog(without=("labels.created_by_email",)),
        stream_maps={"labels": {"h": "md5(created_by_email)"}},
    )


def test_stream_maps_are_left_as_they_are_given(run: Runner) -> None:
    """The SDK takes options out of them, so a second run would be another one."""
    inputs = {"labels": {"__alias__": "'x'"}, "__else__": None}
    before = deepcopy(inputs)

    first, second = (run("labels", "projects", stream_maps=inputs) for _ in range(2))

    assert inputs == before
    assert {m["stream"] for m in second.messages if "stream" in m} == {"x"}
    assert len(first.records("x")) == len(second.records("x"))


def test_fake_needs_faker(run: Runner, monkeypatch: Any) -> None:
    """It is not part of the tap, which is logged before anything is read."""
    monkeypatch.setattr("tap_labelbox.singer.maps.find_spec", lambda _: None)
    inputs = {"labels": {"created_by_email": "fake.email()"}}

    refused(
        run,
        "created_by_email needs Faker: install tap-labelbox[faker]",
        stream_maps=inputs,
    )


# --- settings ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"faker_config": {"sed": 1}}, "unknown setting faker_config.sed: remove it"),
        ({"faker_config": {"sed": 1}}, "(did you mean seed?)"),
        (
            {"pagesize": 5},
            "unknown setting pagesize: remove it (did you mean page_size",
        ),
        (
            {"label_filters": {"type": "x"}},
            "unknown setting label_filters.type: remove it (did you mean type_id?)",
        ),
        (
            {"export_filters": {"workflow_status": "Done"}},
            "DONE (did you mean DONE?)",
        ),
        ({"flattening_enabled": True}, "flattening_max_depth is required"),
    ],
)
def test_a_setting_that_is_none(run: Runner, settings: Any, message: str) -> None:
    """A name that is nearly a setting's is suggested."""
    refused(run, message, **settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_ids", ["p"]),
        ("start_date", "2026-01-01"),
        ("label_filters", {"type_id": "x"}),
        ("export_filters", {"batch_ids": ["b"]}),
        ("export_include", {"embeddings": True}),
    ],
)
def test_what_does_nothing_beside_files(run: Runner, name: str, value: Any) -> None:
    """Files are read whole; who names a part wants no more than that."""
    settings = {"export_files": ["rows.ndjson"], name: value}

    refused(run, f"{name} has no effect with export_files", **settings)


def test_defaults_are_no_wish(run: Runner) -> None:
    """A default that is written out says nothing."""
    tap = run.tap(
        export_files=["rows.ndjson"],
        export_filters={},
        export_include={"attachments": True, "embeddings": False},
    )

    assert tap.config["export_files"] == ["rows.ndjson"]


# --- state ---------------------------------------------------------------------------


def bookmark(key: str) -> dict[str, Any]:
    """Return what is kept of a stream with one project."""
    timestamp = "2026-01-01T00:00:00.000Z"
    kept = {"replication_key": key, "replication_key_value": timestamp}
    return {"partitions": [{"context": {"project_id": "p"}} | kept]}


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (
            {"replication_key": "created_at", "replication_key_value": "2026-01-01"},
            (
                "--state has a bookmark of labels that is not by project "
                "(replication_key_value): run once without --state"
            ),
        ),
        ({"created_at": "2026-01-01T00:00:00Z"}, "not by project (created_at)"),
        (
            bookmark("updated_at"),
            (
                "--state has a bookmark of labels for project p by updated_at, not by "
                "created_at: run once without --state"
            ),
        ),
    ],
)
def test_a_bookmark_that_is_not_gone_on_from(
    run: Runner, tmp_path: Path, kept: Any, message: str
) -> None:
    """All would be read anew, without a word."""
    state = {"bookmarks": {"labels": kept}}
    file = tmp_path / "state.json"
    file.write_text(json.dumps(state))

    done = run.command("--state", str(file))
    full_table = catalog(metadata={"replication-method": "FULL_TABLE"})

    assert done.returncode == 78
    assert done.stdout == ""
    (line,) = errors(done)
    assert message in line
    assert run.sandbox.requests == []
    assert run.tap(state=state, catalog=full_table).state == state  # not gone on from


@pytest.mark.parametrize(
    "kept", [{}, {"partitions": []}, {"read_at": "2026-01-01T00:00:00.000Z"}]
)
def test_a_bookmark_that_says_nothing(run: Runner, kept: Any) -> None:
    """It is one of ours."""
    state = {"bookmarks": {"labels": kept, "projects": {}, "gone": {"a": 1}}}

    assert run("labels", state=state).error is None
