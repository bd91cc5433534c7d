"""JSON: decoded, or passed on as the bytes that it is."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from tap_labelbox.records import json_text
from tap_labelbox.records.malformed import MalformedError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NESTING_DEPTH = 100_000


class Line(msgspec.Struct):
    """A line of which a part is not looked into."""

    id: str
    rest: Raw = Raw(b"null")


LINE = msgspec.json.Decoder(Line)


@pytest.fixture(autouse=True)
def _fresh_run() -> None:
    json_text.begin_run()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.5, true, null]}', {"a": [1, 2.5, True, None]}),
        (b"[NaN, Infinity, -Infinity]", ["NaN", "Infinity", "-Infinity"]),
        (b"[1e999, -1e999]", ["1e999", "-1e999"]),
        (b"9" * 4000, int("9" * 4000)),
        (b"9" * 5000, "9" * 5000),
        (rb'"\u0000\ud800"', "\ufffd\ufffd"),
        (rb'{"\u0000": ["\u0000"]}', {"\ufffd": ["\ufffd"]}),
        (b'"\xef\xbf\xbd"', "\ufffd"),
    ],
)
def test_a_text_is_decoded(text: bytes, value: Any) -> None:
    """Values that only Python reads stay text; those that none stores are replaced."""
    assert json_text.decode(text) == value


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"{'a': 1}", b"[1,]", b"\xff", b"[" * NESTING_DEPTH, b'{"a": 1} x'],
)
def test_what_is_no_json_is_an_error(text: bytes) -> None:
    """Of a kind that whoever reads it knows."""
    with pytest.raises(ValueError):  # noqa: PT011  # msgspec, json and Unicode have own
        json_text.decode(text)


def test_what_is_nested_too_deeply_is_text(caplog: pytest.LogCaptureFixture) -> None:
    """From a level on; what is encoded again is the same text."""
    text = b"[" * NESTING_DEPTH + b"]" * NESTING_DEPTH

    value = json_text.decode(text)

    for _ in range(json_text.MAX_DEPTH):
        (value,) = value
    assert value == "[" * (NESTING_DEPTH - 100) + "]" * (NESTING_DEPTH - 100)
    assert "nested too deeply" in caplog.text


@given(JSON)
@example([[[]]])
@example({"a": {"b": [{}]}})
def test_what_is_encoded_is_decoded(value: Any) -> None:
    """And nothing that is shallow is changed by making it shallow."""
    text = json_text.encode(value)

    assert json_text.shallow(text) == text
    assert json.loads(text) == json.loads(msgspec.json.encode(value))


def test_values_of_any_depth_are_encoded() -> None:
    """Python could not do so by recursion."""
    value: Any = "core"
    for _ in range(NESTING_DEPTH):
        value = [value, {"a": 1}]

    text = json_text.encode(value)

    assert text == b"[" * NESTING_DEPTH + b'"core"' + b',{"a":1}]' * NESTING_DEPTH
    json.loads(json_text.encode_shallow(value))


# --- lines ----------------------------------------------------------------------


def test_lines_of_any_json_are_decoded() -> None:
    """Blank ones are none; also where Python's decoder has to help."""
    assert json_text.decode_any_lines(b'1\n\n{"a": 1}\n') == [1, {"a": 1}]
    assert json_text.decode_any_lines(b"NaN\n\n1\n") == ["NaN", 1]


def test_a_line_that_is_no_object_is_malformed() -> None:
    """Its kind is said, its value is not."""
    assert json_text.decode_lines(b'{"a": 1}\n{}\n') == [{"a": 1}, {}]
    with pytest.raises(MalformedError, match=r"^it is an array, not an object$"):
        json_text.decode_lines(b'{"a": 1}\n["secret"]\n')


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_are_decoded_fast(end: bytes) -> None:
    """Whether or not a line feed follows the last one."""
    text = b'{"id": "a", "rest": {"b": [1]}}\n{"id": "c"}' + end

    result = json_text.decode_lines_as(LINE, text)

    assert result is not None
    assert [line.id for line in result] == ["a", "c"]
    assert json_text.decode_raw(result[0].rest) == {"b": [1]}


@pytest.mark.parametrize(
    "text",
    [
        b'{"id": "a"} {"id": "b"}\n',
        b'{"id": "a"}{"id": "b"}\n{"id": "c"}\n',
        b'{"id":\n"a"}\n',
        b'{"id": "a"}\n\n{"id": "b"}\n',
        b'{"id": "a", "rest": {"b":\r[1]}}\n',
        b'{"id": "a"}\r\n',
        b'{"id": "a", "rest": "\\u0000"}\n',
        b'{"id": "a", "rest": "\xff"}\n',
        b'{"id": 5}\n',
        b'{"id": "a"',
        b"[]\n",
    ],
)
def test_lines_that_are_not_as_expected_are_not_decoded_fast(text: bytes) -> None:
    """Whoever asked looks at each of them."""
    assert json_text.decode_lines_as(LINE, text) is None


@pytest.mark.parametrize("line_break", [b"\n", b"\r", b"\r\n"])
def test_what_is_passed_on_has_no_line_break(line_break: bytes) -> None:
    """A message would end there; one behind the text is no part of it."""
    text = b'{"id": "a", "rest": [1,%b"b"]}'

    assert json_text.decode_as(LINE, text % line_break) is None
    assert json_text.decode_as(LINE, text % b"" + line_break) is not None


@pytest.mark.parametrize(
    "text", [b'{"id": "a", "rest": "\\u0000"}', b'{"id": "\xff"}', b"[]", b"{"]
)
def test_what_msgspec_does_not_look_for_is_looked_for(text: bytes) -> None:
    """In what is passed on: a NUL, and what is no UTF-8."""
    assert json_text.decode_as(LINE, text) is None


def test_utf8_is_checked_across_pieces() -> None:
    """A character may begin in one and end in the next."""
    for shift in range(4):
        rest = b'"' + b"x" * (json_text.PIECE_BYTES - 20 + shift) + "ä€😀".encode() * 9
        text = b'{"id": "a", "rest": ' + rest + b'"}'

        assert json_text.decode_as(LINE, text) is not None
        assert json_text.decode_as(LINE, text[:-3] + b'"}') is None


# --- warnings -------------------------------------------------------------------


def test_a_run_warns_so_often_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """The last says so; the next run begins anew."""
    caplog.set_level(logging.WARNING)
    for _ in range(json_text.MAX_WARNINGS + 5):
        json_text.decode(rb'"\u0000"')

    assert len(caplog.messages) == json_text.MAX_WARNINGS
    assert [m for m in caplog.messages if "no more" in m] == caplog.messages[-1:]
    json_text.begin_run()
    json_text.decode(rb'"\u0000"')
    assert len(caplog.messages) == json_text.MAX_WARNINGS + 1
    assert caplog.messages[-1].startswith("1 characters that no database stores")
