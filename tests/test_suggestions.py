"""Suggestions for names that do not exist."""

from __future__ import annotations

import pytest

from tap_labelbox.singer.suggestions import suggestion


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lables", " (did you mean labels?)"),
        ("LABELS", " (did you mean labels?)"),
        ("project", " (did you mean Projects?)"),
        ("zzz", ""),
        ("", ""),
        (5, ""),
        (None, ""),
    ],
)
def test_the_nearest_name_is_suggested(name: object, text: str) -> None:
    """As it is written; none if no name is near."""
    assert suggestion(name, ["labels", "Projects", "annotations"]) == text


def test_where_nothing_is_known_nothing_is_suggested() -> None:
    """Nor does it fail."""
    assert suggestion("labels", []) == ""
