"""Values as columns want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.records import columns, timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

BIG = 2**63


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (columns.as_string, "", ""),
        (columns.as_string, 5, None),
        (columns.as_string_or_number, 5, "5"),
        (columns.as_string_or_number, 2.5, "2.5"),
        (columns.as_string_or_number, True, None),
        (columns.as_id, 7, "7"),
        (columns.as_id, "", None),
        (columns.as_number, "2.5", 2.5),
        (columns.as_number, "1e5", None),
        (columns.as_number, True, None),
        (columns.as_number, 10**400, None),
        (columns.as_number, float("inf"), None),
        (columns.as_integer, "12", 12),
        (columns.as_integer, 3.0, 3),
        (columns.as_integer, 3.5, None),
        (columns.as_integer, False, None),
        (columns.as_integer, BIG - 1, BIG - 1),
        (columns.as_integer, BIG, None),
        (columns.as_integer, 1 - BIG, 1 - BIG),
        (columns.as_integer, -BIG, None),
        (columns.as_boolean, False, False),
        (columns.as_boolean, 0, None),
        (timestamps.as_timestamp, "2026-01-31 12:00", "2026-01-31T12:00:00.000Z"),
        (timestamps.as_timestamp, "2026-01-31", None),
        (timestamps.as_timestamp, "20260131T120000", None),
        (timestamps.as_timestamp, "0001-01-01T00:00:00+05:00", None),
        (timestamps.as_timestamp, 5, None),
        (columns.as_day, "2026-01-31", "2026-01-31"),
        (columns.as_day, "2026-02-30", None),
        (columns.as_day, "2026-01-31T12:00", None),
        (columns.as_object, {}, {}),
        (columns.as_object, [], None),
        (columns.as_objects, [{}], [{}]),
        (columns.as_objects, [{}, 5], None),
        (columns.as_objects, {}, None),
        (columns.as_strings, ["a"], ["a"]),
        (columns.as_strings, [], []),
        (columns.as_strings, ["a", 5], None),
        (columns.as_strings, [5], None),
        (columns.as_strings, "a", None),
        (columns.as_tags, ["a", {"id": 1}], [{"text": "a"}, {"id": 1}]),
        (columns.as_tags, [5], None),
        (columns.as_tags, "a", None),
        (columns.as_ids, ["a", 5], ["a", "5"]),
        (columns.as_ids, [""], None),
        (columns.as_ids, "a", None),
    ],
)
def test_a_value_fits_or_is_none(
    check: Callable[[Any], Any], value: Any, expected: Any
) -> None:
    """None is what fits no column, and is put aside by whoever asked."""
    result = check(value)

    assert result == expected
    assert type(result) is type(expected)


def test_a_list_is_what_counts_not_only_what_is_in_it() -> None:
    """A text is made of texts, an object of keys."""
    assert columns.as_strings({"a": 1}) is None
    assert columns.as_objects("") is None


@pytest.mark.parametrize(
    ("name", "column"),
    [("createdAt", "created_at"), ("id", "id"), ("label2Name", "label2_name")],
)
def test_camel_case_becomes_snake_case(name: str, column: str) -> None:
    """As columns are named."""
    assert columns.snake_case(name) == column
