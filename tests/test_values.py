"""Values as columns want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.records import columns, values

if TYPE_CHECKING:
    from collections.abc import Callable

BIG_INTEGER = 2**63


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (values.as_string, "", ""),
        (values.as_string, 5, None),
        (values.as_string_or_number, 5, "5"),
        (values.as_string_or_number, 2.5, "2.5"),
        (values.as_string_or_number, True, None),
        (values.as_id, 7, "7"),
        (values.as_id, "", None),
        (values.as_number, "2.5", 2.5),
        (values.as_number, "1e5", None),
        (values.as_number, True, None),
        (values.as_number, 10**400, None),
        (values.as_number, float("inf"), None),
        (values.as_integer, "12", 12),
        (values.as_integer, 3.0, 3),
        (values.as_integer, 3.5, None),
        (values.as_integer, False, None),
        (values.as_integer, BIG_INTEGER - 1, BIG_INTEGER - 1),
        (values.as_integer, BIG_INTEGER, None),
        (values.as_integer, 1 - BIG_INTEGER, 1 - BIG_INTEGER),
        (values.as_integer, -BIG_INTEGER, None),
        (values.as_boolean, False, False),
        (values.as_boolean, 0, None),
        (values.as_timestamp, "2026-01-31 12:00", "2026-01-31T12:00:00.000Z"),
        (values.as_timestamp, "2026-01-31", None),
        (values.as_timestamp, "20260131T120000", None),
        (values.as_timestamp, "0001-01-01T00:00:00+05:00", None),
        (values.as_timestamp, 5, None),
        (values.as_day, "2026-01-31", "2026-01-31"),
        (values.as_day, "2026-02-30", None),
        (values.as_day, "2026-01-31T12:00", None),
        (values.as_object, {}, {}),
        (values.as_object, [], None),
        (values.as_objects, [{}], [{}]),
        (values.as_objects, [{}, 5], None),
        (values.as_objects, {}, None),
        (values.as_strings, ["a"], ["a"]),
        (values.as_strings, [], []),
        (values.as_strings, ["a", 5], None),
        (values.as_strings, [5], None),
        (values.as_strings, "a", None),
        (values.as_tags, ["a", {"id": 1}], [{"text": "a"}, {"id": 1}]),
        (values.as_tags, [5], None),
        (values.as_tags, "a", None),
        (values.as_ids, ["a", 5], ["a", "5"]),
        (values.as_ids, [""], None),
        (values.as_ids, "a", None),
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
    assert values.as_strings({"a": 1}) is None
    assert values.as_objects("") is None


@pytest.mark.parametrize(
    ("name", "column"),
    [("createdAt", "created_at"), ("id", "id"), ("label2Name", "label2_name")],
)
def test_camel_case_becomes_snake_case(name: str, column: str) -> None:
    """As columns are named."""
    assert columns.snake_case(name) == column
