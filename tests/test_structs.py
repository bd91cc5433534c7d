"""Structs that msgspec decodes, and the records that are built of their values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tap_labelbox.records.columns import (
    json,
    objects,
    sources,
    string,
    string_or_number,
    tags,
    timestamp,
    within,
)
from tap_labelbox.records.json_text import decode_raw
from tap_labelbox.records.structs import (
    ConversionError,
    RecordBuilder,
    StructColumns,
    wrapper,
)

COLUMNS = (
    string("name", "Its name."),
    string("label", "Passed on as it is."),
    string_or_number("code", "A code."),
    timestamp("at", "When."),
    json("more", "Anything."),
    objects("parts", "Its parts."),
    tags("tags", "Its tags."),
    *within("block.inner", string("deep", "Deep down.")),
)
STRUCT = StructColumns(sources(COLUMNS), raw=frozenset({"label"}))
EMPTY_RECORD = {column.name: None for column in COLUMNS}


def record(text: bytes) -> dict[str, Any]:
    """Decode a text and build its record."""
    struct = msgspec.json.decode(text, type=STRUCT.type)
    built = RecordBuilder(STRUCT).record(STRUCT.values(struct))
    return {name: decode_raw(value) for name, value in built.items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", {}),
        (b'{"name": "a", "code": 5}', {"name": "a", "code": "5"}),
        (b'{"at": "2026-01-31 12:00"}', {"at": "2026-01-31T12:00:00.000Z"}),
        (b'{"label": "b", "more": {"a": [1]}}', {"label": "b", "more": {"a": [1]}}),
        (b'{"label": null, "more": null}', {}),
        (b'{"parts": [{}, {"a": 1}]}', {"parts": [{}, {"a": 1}]}),
        (b'{"parts": [], "tags": null}', {"parts": []}),
        (b'{"block": null}', {}),
        (b'{"block": {"inner": {"deep": "c"}}}', {"deep": "c"}),
        (b'{"block": {}}', {}),
    ],
)
def test_what_is_expected_becomes_a_record(text: bytes, expected: Any) -> None:
    """Missing blocks are empty ones."""
    assert record(text) == EMPTY_RECORD | expected


@pytest.mark.parametrize(
    "text",
    [
        b'{"at": "soon"}',
        b'{"label": 5}',
        b'{"more": []}',
        b'{"more": "a"}',
        b'{"parts": [5]}',
        b'{"parts": [{}, "a"]}',
        b'{"tags": ["a"]}',
    ],
)
def test_what_does_not_fit_is_left_to_others(text: bytes) -> None:
    """The slow path looks at each value, and puts aside what it must."""
    with pytest.raises(ConversionError):
        record(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"unknown": 1}',
        b'{"block": {"unknown": 1}}',
        b'{"block": {"inner": {"unknown": 1}}}',
        b'{"name": 5}',
        b'{"block": []}',
        b'{"code": 9223372036854775808}',
    ],
)
def test_what_is_not_known_is_not_dropped(text: bytes) -> None:
    """The struct refuses it, instead of skipping it."""
    with pytest.raises(msgspec.ValidationError):
        record(text)


def test_unknown_members_may_be_allowed() -> None:
    """Of blocks of which all is passed on elsewhere."""
    struct = StructColumns(sources([string("name", "Its name.")]), others=True)

    decoded = msgspec.json.decode(b'{"name": "a", "unknown": 1}', type=struct.type)

    assert struct.values(decoded) in {("a",), "a"}


def test_a_wrapper_has_one_member() -> None:
    """No less and no more."""
    kind = wrapper("data", int)

    assert msgspec.json.decode(b'{"data": 1}', type=kind).data == 1
    for text in (b"{}", b'{"data": 1, "more": 2}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(text, type=kind)
