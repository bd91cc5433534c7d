"""Timestamps as text, all in one form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_labelbox.records import timestamps

NOON = "2026-01-31T12:00:00.000Z"
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@pytest.mark.parametrize(
    "text",
    [
        NOON,
        "2026-01-31T12:00:00.000+00:00",
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00",
        "2026-01-31T14:00:00+02:00",
        "2026-01-31T12:00:00.000999Z",
    ],
)
def test_each_way_to_write_a_timestamp_becomes_one(text: str) -> None:
    """In UTC, to the millisecond, what is below being cut off."""
    assert timestamps.normalize(text) == NOON
    assert timestamps.normalize_or_empty(text) == NOON
    assert timestamps.is_timestamp(text)


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-02-30T00:00:00Z", "0001-01-01", "9999-12-31", "12:00"]
)
def test_what_is_no_timestamp_is_none(text: str) -> None:
    """Nor is one so near the ends of the calendar that no zone has room."""
    assert not timestamps.is_timestamp(text)
    assert timestamps.normalize_or_empty(text) == ""


@pytest.mark.parametrize("value", [None, 5, True, ["2026-01-31"], {}])
def test_what_is_no_text_is_no_timestamp(value: object) -> None:
    """Whatever stands in a state."""
    assert timestamps.normalize_or_empty(value) == ""


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES))  # noqa: DTZ001
@example(datetime(2026, 1, 31, 12, tzinfo=UTC))
@example(datetime(2026, 1, 31, 12, microsecond=999_999, tzinfo=UTC))
def test_text_sorts_as_time_does(made: datetime) -> None:
    """And is read as what was written, in the one form already."""
    text = timestamps.isoformat(made)

    assert timestamps.normalize(text) == timestamps.normalize(made.isoformat()) == text
    assert timestamps.parse(text) == made.replace(
        microsecond=made.microsecond // 1000 * 1000
    )
    assert timestamps.shift(text, timedelta(milliseconds=1)) > text
    assert timestamps.just_before(text) < timestamps.truncate_to_second(text) <= text


def test_a_filter_begins_a_second_before() -> None:
    """Labels have whole seconds."""
    assert timestamps.just_before(NOON) == "2026-01-31T11:59:59.000Z"
    assert timestamps.truncate_to_second("2026-01-31T12:00:00.999Z") == NOON
