"""Columns of JSON that may come as text."""

from __future__ import annotations

from typing import Any

import pytest

from tap_labelbox.records.json_columns import json_or_text, masked_json, saved_search


@pytest.mark.parametrize(
    ("value", "as_object", "as_search"),
    [
        ({"a": 1}, {"a": 1}, {"a": 1}),
        ('{"a": "\u00e4"}', {"a": "\u00e4"}, {"a": "\u00e4"}),
        ([1], None, {"query": [1]}),
        ("[1]", None, {"query": [1]}),
        ("null", None, None),
        ("", None, None),
        ("{", None, None),
        ("\ud800", None, None),
        (5, None, None),
        (None, None, None),
    ],
)
def test_a_value_may_come_as_text(value: Any, as_object: Any, as_search: Any) -> None:
    """Anything but an object is null; a saved search may be a list."""
    assert json_or_text.check(value) == as_object
    assert masked_json.check(value) == as_object
    assert saved_search.check(value) == as_search


def test_a_text_may_be_nested_too_deeply() -> None:
    """It is an object all the same, with text inside."""
    text = '{"a":' * 5000 + "1" + "}" * 5000

    assert json_or_text.check(text) is not None
