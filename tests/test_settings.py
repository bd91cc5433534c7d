"""Settings as people give them: text, JSON, lists with commas, parts, variables."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox import settings
from tap_labelbox.singer import setting_values
from tap_labelbox.tap import TapLabelbox
from tests.runner import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner import Runner

KEY = "k" * 20
BASE = dict(TapLabelbox(config={"api_key": KEY}).config)
SCHEMA = TapLabelbox.settings_schema()


def read(**options: Any) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    config = TapLabelbox(config={"api_key": KEY} | options).config
    return {k: v for k, v in config.items() if (type(v), v) != _base(k)}


def _base(name: str) -> Any:
    return type(BASE.get(name)), BASE.get(name)


def leaves(
    schema: dict[str, Any], prefix: str = ""
) -> list[tuple[str, dict[str, Any]]]:
    """Return every setting that is no object of settings, by its dotted name."""
    result = []
    for name, part in schema["properties"].items():
        if part.get("properties") and "object" in part["type"]:
            result += leaves(part, f"{prefix}{name}.")
        else:
            result.append((prefix + name, part))
    return result


SAMPLES: dict[str, list[tuple[str, Any]]] = {
    "array": [('["a", "b"]', ["a", "b"]), ("a, b", ["a", "b"]), (" a,b,", ["a", "b"])],
    "boolean": [("true", True), ("FALSE", False), ("1", True), ("0", False)],
    "integer": [("50", 50), (" 50 ", 50), ("5e1", 50), ("50.0", 50)],
    "number": [("0.5", 0.5), (".5", 0.5), ("50", 50.0), ("5e-1", 0.5)],
    "object": [('{"a": "b"}', {"a": "b"})],
    "string": [("text", "text")],
    "date-time": [
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("2026-01-31T09:30", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31 09:30:00", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T09:30:00.25+01:00", "2026-01-31T08:30:00.250Z"),
    ],
}
WRONG: dict[str, tuple[Any, ...]] = {
    "array": ("[1", "{", {"a": 1}, 5),
    "boolean": ("maybe", "2", [1], 5),
    "integer": ("0.5", "many", "0x10", "1" * 5000, [1], True, 0.5),
    "number": ("5,5", "nan", "1e999", "1" * 5000, [1], True, 10**400, math.inf),
    "object": ("[1", "{", "x", "[1]", 5),
    "string": (5, [1], True),
    "date-time": (5, "x", True),
}
NO_TIMESTAMPS = (
    *("20260131", "2026-W05", "2026-031", "last week", "1769817600", "2026-02-30"),
    *("2026-01", "2026-1-31", "31.01.2026", "2026-01-31T25:00:00", "0001-01-01"),
    *("2026-01-31T09", "2026-01-31T09:30:00 UTC", "2026-01-31T09:30:00+1"),
)


def kind(schema: dict[str, Any]) -> str:
    """Return the name of the samples for a setting."""
    types = setting_values.types_of(schema) - {"null"}
    if schema.get("format"):
        return str(schema["format"])
    return "string" if "string" in types else next(iter(types), "null")


LEAVES = [(n, s) for n, s in leaves(SCHEMA) if kind(s) != "null" and n != "api_key"]
TIMESTAMPS = [name for name, schema in LEAVES if kind(schema) == "date-time"]


@pytest.mark.parametrize(("name", "schema"), LEAVES, ids=[name for name, _ in LEAVES])
def test_every_setting_is_read_from_text(
    name: str, schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its object, with a dotted name, and from its variable; empty is unset."""
    path = name.split(".")
    variable = settings.PREFIX + "_".join(path).upper()
    for text, value in [*SAMPLES[kind(schema)], ("", None)]:
        nested: Any = text
        for part in reversed(path):
            nested = {part: nested}
        monkeypatch.setenv(variable, text)
        variables = setting_values.from_environment(SCHEMA, settings.PREFIX)
        for options in (nested, {name: text}, variables):
            result: Any = settings.read({"api_key": KEY} | options, SCHEMA)
            for part in path:
                result = (result or {}).get(part)
            assert result == value, options
            assert type(result) is type(value)


def test_parts_come_before_the_whole() -> None:
    """They may be named with a dot or not, and anything may be text."""
    assert read(
        export_filters='{"batch_ids": "x, y", "workflow_status": "TO_LABEL"}',
        **{"export_filters.workflow_status": "DONE", "export_include.embeddings": "on"},
    ) == {
        "export_filters": {"batch_ids": ["x", "y"], "workflow_status": "DONE"},
        "export_include": BASE["export_include"] | {"embeddings": True},
    }


def test_what_has_only_unset_parts_is_unset() -> None:
    """As Meltano may pass on an object that nobody set."""
    empty = {"encoding": {"format": None}, "storage": {"root": "", "prefix": None}}

    assert read(batch_config=empty, export_include={"embeddings": None}) == {}
    assert read(**{"batch_config.encoding.format": "", "faker_config.seed": None}) == {}


def test_what_is_free_stays_as_it_is() -> None:
    """Stream maps and what they look up; a null means something there."""
    maps = {"labels": {"x": None}, "__else__": None}
    free = {"a": "", "b": "1", "c.d": None}

    options = {"stream_maps": json.dumps(maps), "stream_map_config": free}

    assert settings.read(options, SCHEMA) == {"stream_maps": maps} | {
        "stream_map_config": free
    }


def test_the_settings_of_the_caller_stay_as_they_are() -> None:
    """And one tap's settings are not another's."""
    options = {"api_key": KEY, "export_include": {"embeddings": "true"}}
    copy = json.loads(json.dumps(options))

    TapLabelbox(config=options).config["label_filters"]["type_id"] = "x"

    assert options == copy
    assert read() == {}


@pytest.mark.parametrize("name", TIMESTAMPS)
def test_a_timestamp_that_no_column_would_take_is_refused(name: str) -> None:
    """By the name of its setting."""
    for text in NO_TIMESTAMPS:
        config = settings.read({"api_key": KEY, name: text}, SCHEMA)

        (line,) = settings.problems(config, SCHEMA)

        assert line.startswith(f"{name} must be a date or a timestamp, such as ")
        assert line.endswith(f"not {text!r}")


@pytest.mark.parametrize(("name", "schema"), LEAVES, ids=[name for name, _ in LEAVES])
def test_what_is_of_another_type_is_named(name: str, schema: dict[str, Any]) -> None:
    """In one line, whatever it is; text that is malformed JSON with the place."""
    for value in WRONG[kind(schema)] if "type" in schema else ():
        config = settings.read({"api_key": KEY, name: value}, SCHEMA)

        logged = [t for t in settings.problems(config, SCHEMA) if t.startswith(name)]

        assert logged
        assert "type" in logged[0] or "date" in logged[0] or "one of" in logged[0], (
            logged
        )
        assert ("malformed: " in logged[0]) == (value in ("[1", "{")), logged


def variables(run: Runner, **more: str) -> dict[str, str]:
    """Return the sandbox's settings as variables."""
    options = {f"TAP_LABELBOX_{k.upper()}": str(v) for k, v in run.config().items()}
    return options | {f"TAP_LABELBOX_{k}": v for k, v in more.items()}


def test_variables_are_read_with_config_env(run: Runner) -> None:
    """Lists with blanks, parts of objects, and those that are empty."""
    expected, other = (project.id for project in run.world.projects[:2])
    empty = dict.fromkeys(("PAGE_SIZE", "LABEL_FILTERS", "START_DATE"), "")

    done = command(
        *("--config", "ENV"),
        environment=variables(
            run,
            PROJECT_IDS=f" {expected} , {other}",
            EXPORT_INCLUDE_ATTACHMENTS="false",
            **empty,
        ),
    )

    assert done.returncode == 0, done.stderr
    messages = [json.loads(line) for line in done.stdout.split("\n") if line]
    records = [m for m in messages if m["type"] == "RECORD"]
    projects = [r["record"]["id"] for r in records if r["stream"] == "projects"]
    assert sorted(projects) == sorted([expected, other])
    assert not [r for r in records if r["stream"] == "data_row_attachments"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("PAGE_SIZE", "many", "page_size must be of type integer"),
        ("LABEL_FILTERS", "=type_id=x", "label_filters must be of type object"),
        ("EXPORT_FILTERS", '{"batch_ids": [', "export_filters must be of type objec"),
        ("EXPORT_INCLUDE_EMBEDDINGS", "2", "export_include.embeddings must be of type"),
        ("START_DATE", "last week", "start_date must be a date or a timestamp"),
    ],
)
def test_a_variable_that_is_of_no_use_is_named(
    run: Runner, name: str, text: str, message: str
) -> None:
    """In one line, as in a file."""
    done = command("--config", "ENV", environment=variables(run, **{name: text}))

    (line,) = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    assert done.returncode == 78
    assert message in line
    assert "Traceback" not in done.stderr


def test_a_variable_that_is_not_read_is_named(run: Runner) -> None:
    """The key is; what the file has too needs no mention, nor what is empty."""
    assert run.folder
    file = run.folder / "config.json"
    file.write_text(json.dumps({"api_url": run.sandbox.url, "export_poll_interval": 0}))
    options = variables(run, PROJECT_IDS="x", EXPORT_INCLUDE='{"embeddings": true}')

    done = command(
        "--config", str(file), environment=options | {"TAP_LABELBOX_PAGE": ""}
    )

    logged = [line for line in done.stderr.splitlines() if "is not read" in line]
    assert [line.split("|")[3].split()[0] for line in logged] == [
        f"TAP_LABELBOX_{n}" for n in ("PROJECT_IDS", "EXPORT_INCLUDE", "RETRY_SECONDS")
    ]
    assert all("--config ENV" in line for line in logged)
    (line,) = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    assert "export_poll_interval must be more than 0" in line


@pytest.mark.parametrize("name", ["TAP_LABELBOX_API_KEY", "LABELBOX_API_KEY"])
@pytest.mark.parametrize("file_has", [None, ""])
def test_the_key_is_read_from_either_variable(
    name: str, file_has: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --config ENV; the tap's own comes first, a file before both."""
    monkeypatch.setenv(name, f" {KEY}\n")

    assert TapLabelbox(config={"api_key": file_has}).config["api_key"] == KEY
    assert TapLabelbox(config={"api_key": "other"}).config["api_key"] == "other"
    monkeypatch.setenv("TAP_LABELBOX_API_KEY", "own")
    assert TapLabelbox(config={}).config["api_key"] == "own"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"page_size": 5,}', "line 1 column 17"),
        (b"[1]", "is not a JSON object"),
        (b"", "Expecting value"),
        (b"\xff\xfe{", "utf-16"),
        (b"[" * 100_000, "recursion"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """In one line, also where there are several."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text("{}")
    if content is not None:
        bad.write_bytes(content)

    done = command("--config", str(good), "--config", str(bad))

    (line,) = [line for line in done.stderr.splitlines() if "| ERROR " in line]
    assert done.returncode == 78
    assert f"--config cannot be read: {bad}" in line
    assert message in line
    assert "Traceback" not in done.stderr


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As editors on Windows write it."""
    file = tmp_path / "config.json"
    file.write_text('{"page_size": 500}', "utf-8-sig")

    done = command("--config", str(file), environment={"LABELBOX_API_KEY": KEY})

    assert "page_size must be at most 100, not 500" in done.stderr


@pytest.mark.parametrize("options", [{}, {"user_agent": "us/1 (data@example.com)"}])
def test_the_user_agent_names_the_tap_or_what_is_set(
    run: Runner, options: dict[str, Any]
) -> None:
    """At each request to the API, and for files."""
    run("projects", "annotations", **options)

    logged = {request.headers["User-Agent"] for request in run.sandbox.requests}
    (agent,) = logged
    assert agent == options.get("user_agent", agent)
    assert options or agent.startswith("tap-labelbox/0.")


def test_each_part_that_is_not_set_is_named_once() -> None:
    """Also where two of one object are missing."""
    config = settings.read({"api_key": KEY, "batch_config": {"batch_size": 5}}, SCHEMA)

    assert settings.problems(config, SCHEMA) == [
        "batch_config.encoding is not set: set it",
        "batch_config.storage is not set: set it",
    ]
