"""Waiting for a bulk export, and reading it piece by piece."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_labelbox.api.errors import IncompleteError, UnavailableError
from tap_labelbox.exports.bulk import array_items, is_ready
from tap_labelbox.records.json_text import sanitize
from tap_labelbox.sandbox import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_labelbox.sandbox import Sandbox
    from tests.runner import Runner

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def cut(text: bytes, size: int) -> Iterator[bytes]:
    """Return a text in pieces of so many bytes."""
    return (text[at : at + size] for at in range(0, len(text), size))


@given(
    items=st.lists(JSON),
    size=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_an_array_is_read_wherever_it_is_cut(
    items: list[Any], size: int, indent: int | None, *, ascii_only: bool
) -> None:
    """Within a number, a word, an escape or a character: all comes out whole."""
    text = json.dumps(items, indent=indent, ensure_ascii=ascii_only)

    result = list(array_items(cut(text.encode("utf-8", "replace"), size)))

    assert result == sanitize(json.loads(text.encode("utf-8", "replace")))


# Such as end an item, and begin the next one, where they are no part of another.
MARKS = st.sampled_from(
    ['},{"ID":', '"},{"ID":"', '{"ID":', "]", "NaN", "\\", "\0", "é"]
)


@given(
    items=st.lists(
        st.dictionaries(
            st.sampled_from(["ID", "Label"]), JSON | MARKS | st.lists(JSON)
        ),
        min_size=3,
        max_size=30,
    ),
    size=st.integers(1, 2000),
    together=st.integers(10, 2000),
)
def test_objects_that_are_decoded_together_are_what_they_are(
    items: list[Any], size: int, together: int
) -> None:
    """Wherever it seems that one ends."""
    nested = [
        {"ID": number, "items": [{"ID": 1}, {"ID": item}], "big": 10**30 + number}
        for number, item in enumerate(items)
    ]
    text = json.dumps([*items, *nested], separators=(",", ":"), ensure_ascii=False)
    text = text.encode("utf-8", "replace").decode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tap_labelbox.exports.bulk.QUICK_BYTES", together)
        actual = list(array_items(cut(text.encode(), size)))

    assert actual == sanitize(json.loads(text))


@given(items=st.lists(JSON, min_size=1), size=st.integers(1, 40), data=st.data())
def test_an_array_that_is_cut_short_is_an_error(
    items: list[Any], size: int, data: st.DataObject
) -> None:
    """The end of the file is not the end of the array."""
    text = json.dumps(items).encode()
    short = text[: data.draw(st.integers(0, len(text) - 1))]

    with pytest.raises(UnavailableError, match="not complete JSON"):
        list(array_items(cut(short, size)))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b'{"a": 1}',
        b"[1 2]",
        b"[1,]",
        b"[1}",
        b'["\xff"]',
        b"[nul]",
        b"[1] x",
        b"[][]",
    ],
)
def test_what_is_no_array_is_an_error(text: bytes) -> None:
    """A page of a proxy, for one."""
    with pytest.raises(UnavailableError, match="not complete JSON"):
        list(array_items([text]))


def test_a_number_that_is_none_elsewhere_is_kept_as_text() -> None:
    """Beyond all floats, or longer than Python reads."""
    long = "9" * 5000

    assert list(array_items([f"[1e400, {long}, 1.5, 7]".encode()])) == [
        "1e400",
        long,
        1.5,
        7,
    ]


def test_a_broken_file_is_not_read_to_its_end() -> None:
    """A mistake early in a large file does not collect the rest in memory."""
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        yield b'[{"ID": oops, "Label": {}},'
        while True:
            read += 1
            yield b'{"ID": "1"},' * 1000

    with pytest.raises(UnavailableError):
        list(array_items(chunks()))

    assert read <= 2


def test_items_come_out_before_the_file_is_whole() -> None:
    """Items are written and forgotten while the rest is read."""
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        yield b"["
        for _ in range(100):
            read += 1
            yield b'{"ID": "1"},\n'

    assert next(array_items(chunks())) == {"ID": "1"}
    assert read < 5


@pytest.mark.parametrize(
    ("should_poll", "link", "is_there"),
    [
        (True, None, False),
        (False, None, False),
        (True, "https://example.com/old", False),
        (False, "https://example.com/new", True),
    ],
)
def test_an_export_is_ready_only_with_a_link(
    should_poll: bool,  # noqa: FBT001  # a parameter of the test
    link: str | None,
    is_there: bool,  # noqa: FBT001  # the same
) -> None:
    """``shouldPoll`` was seen false beside an empty link."""
    export = {"should_poll": should_poll, "download_url": link}

    assert is_ready(export) is is_there


def test_an_export_that_never_comes_is_given_up(
    run: Runner, sandbox: Sandbox, caplog: Any
) -> None:
    """The message says what to change."""
    reply = {"exportLabels": {"should_poll": True, "download_url": None}}
    sandbox.before = lambda request: (
        Reply(200, {}, {"data": reply}) if request.operation == "ExportLabels" else None
    )

    output = run("bulk_export", export_timeout=0.01, export_poll_interval=0.002)

    assert isinstance(output.error, IncompleteError)
    assert "0.01 s: raise export_timeout" in caplog.text
