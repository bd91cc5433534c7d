"""Messages on rows that cannot be read: their place, never a value."""

from __future__ import annotations

from typing import Any

import pytest

from tap_labelbox.records.malformed import described, first_of, kind, shortened


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "it is null"),
        (True, "it is a boolean"),
        (5, "it is a number"),
        (2.5, "it is a number"),
        ("secret", "it is a string"),
        (["secret"], "it is an array"),
        ({}, "it is an empty object"),
        ({"a": "secret", "b": "secret"}, "its keys: a, b"),
        ({str(n): n for n in range(25)}, f"its keys: {', '.join(map(str, range(20)))}"),
    ],
)
def test_a_value_is_described_without_itself(value: Any, text: str) -> None:
    """By its kind, or by the names of its keys."""
    assert described(value).startswith(text)
    assert "secret" not in described(value)


def test_an_object_is_one() -> None:
    """As JSON calls it."""
    assert kind({}) == "an object"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a", "a"),
        (5, "5"),
        ("a\nb\x1b", "a?b?"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 57 + "..."),
        ("x" * 10_000_000, "x" * 57 + "..."),
    ],
)
def test_a_name_is_short_and_on_one_line(name: object, text: str) -> None:
    """Whoever chose it."""
    assert shortened(name) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "0"), (3, "0, 1, 2"), (5, "0, 1, 2 and 2 more")]
)
def test_the_first_names_are_listed(count: int, text: str) -> None:
    """And how many there are beside them."""
    assert first_of(range(count), 3) == text
