"""Settings as people give them, in the types of their schema."""

from __future__ import annotations

from typing import Any

import pytest

from tap_labelbox.singer.setting_values import (
    from_environment,
    names,
    typed,
    types_of,
    unread,
)

STRING = {"type": ["string", "null"]}
INTEGER = {"type": ["integer", "null"]}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
TIMESTAMP = {"type": "string", "format": "date-time"}
ARRAY = {"type": "array", "items": {"type": "string"}}
OBJECT = {
    "type": ["object", "null"],
    "properties": {
        "size": INTEGER,
        "is_on": BOOLEAN,
        "inner": {"type": "object", "properties": {"name": STRING}},
        "free": {"type": ["object", "null"]},
    },
}
SETTINGS = {"type": "object", "properties": {"part": OBJECT, "names": ARRAY}}


@pytest.mark.parametrize(
    ("schema", "inputs", "value"),
    [
        (STRING, " a ", " a "),
        (STRING, "", None),
        (STRING, "5", "5"),
        (INTEGER, " 5 ", 5),
        (INTEGER, "+5", 5),
        (INTEGER, 5.0, 5),
        (INTEGER, 5.5, "5.5"),
        (INTEGER, "5.5", "5.5"),
        (INTEGER, "many", "many"),
        (INTEGER, "9" * 5000, "9" * 5000),
        (INTEGER, " ", None),
        (INTEGER, True, True),
        (NUMBER, "1e3", 1000.0),
        (NUMBER, 5, 5.0),
        (NUMBER, ".5", 0.5),
        (NUMBER, "nan", "nan"),
        (NUMBER, "1e999", "inf"),
        (NUMBER, 10**400, str(10**400)),
        (BOOLEAN, "Yes", True),
        (BOOLEAN, "0", False),
        (BOOLEAN, "maybe", "maybe"),
        (TIMESTAMP, " 2026-01-31 ", "2026-01-31T00:00:00.000Z"),
        (TIMESTAMP, "2026-01-31T12:00+0200", "2026-01-31T10:00:00.000Z"),
        (TIMESTAMP, "2026-W05", "2026-W05"),
        (TIMESTAMP, "2026-02-30", "2026-02-30"),
        (ARRAY, "a, b,,", ["a", "b"]),
        (ARRAY, '["a", "b"]', ["a", "b"]),
        (ARRAY, "[a", "[a"),
        (ARRAY, '{"a": 1}', '{"a": 1}'),
        (ARRAY, "", None),
        (OBJECT, '{"size": "5"}', {"size": 5}),
        (OBJECT, "{", "{"),
        (OBJECT, {"size": "", "is_on": None}, None),
        (OBJECT, {}, {}),
        (OBJECT, {"inner": {"name": ""}, "size": 3}, {"size": 3}),
        (OBJECT, {"other": None}, {"other": None}),
    ],
)
def test_a_setting_has_the_type_of_its_schema(
    schema: dict[str, Any], inputs: Any, value: Any
) -> None:
    """A value that cannot be read stays, to be named; a blank one is unset."""
    result = typed(inputs, schema)

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("inputs", "value"),
    [
        ({"part.size": "5"}, {"part": {"size": 5}}),
        ({"part": {"free": {}}, "part.size": 5}, {"part": {"free": {}, "size": 5}}),
        ({"part": {"size": 4}, "part.size": 5}, {"part": {"size": 5}}),
        ({"part.inner.name": "a"}, {"part": {"inner": {"name": "a"}}}),
        (
            {"part": '{"size": 5}', "part.is_on": "on"},
            {"part": {"size": 5, "is_on": True}},
        ),
        ({"part": "{", "part.size": 5}, {"part": "{"}),
        ({"names.size": "5"}, {"names.size": "5"}),
    ],
)
def test_an_object_may_be_set_part_by_part(inputs: Any, value: Any) -> None:
    """By dotted names, which count for more than the whole."""
    assert typed(inputs, SETTINGS) == value


def test_what_a_part_lacks_can_be_named() -> None:
    """A part that is required stays, even if all in it is blank."""
    schema = {"type": "object", "properties": {"part": OBJECT}, "required": ["part"]}

    assert typed({"part": {"size": ""}, "x": 1}, schema) == {"part": {}, "x": 1}


def test_types_may_stand_in_alternatives() -> None:
    """At any depth."""
    schema = {"anyOf": [{"type": "string"}, {"oneOf": [{"type": ["null", "array"]}]}]}

    assert types_of(schema) == {"string", "null", "array"}
    assert types_of({}) == set()


def test_names_are_dotted() -> None:
    """Objects have one, and each part of theirs."""
    assert [*names(SETTINGS)] == [
        "part",
        "part.size",
        "part.is_on",
        "part.inner",
        "part.inner.name",
        "part.free",
        "names",
    ]


def test_variables_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank ones are none; what the settings lack is said, and only that."""
    monkeypatch.setenv("TAP_X_NAMES", "a, b")
    monkeypatch.setenv("TAP_X_PART_SIZE", "5")
    monkeypatch.setenv("TAP_X_PART_IS_ON", " ")

    assert from_environment(SETTINGS, "TAP_X_") == {"names": "a, b", "part.size": "5"}
    (logged,) = unread({"names": ["c"]}, SETTINGS, "TAP_X_")
    assert logged.startswith("TAP_X_PART_SIZE is in the environment, but is not read")
    assert not [*unread({"names": [], "part": {"size": 9}}, SETTINGS, "TAP_X_")]


def test_of_an_object_all_parts_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of them come by others' variables."""
    monkeypatch.setenv("TAP_X_PART", '{"size": 5, "is_on": true}')

    assert [*unread({"part": {"size": 5}}, SETTINGS, "TAP_X_")]
    monkeypatch.setenv("TAP_X_PART", '{"size": null}')  # as Meltano does
    assert not [*unread({"names": []}, SETTINGS, "TAP_X_")]
    whole = {"part": {"size": 5, "is_on": True, "free": {}}}
    assert not [*unread(whole, SETTINGS, "TAP_X_")]
