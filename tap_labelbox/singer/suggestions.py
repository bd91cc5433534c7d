"""Suggestions for a name that does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return a question to append to an error message; "" if no name is near."""
    by_lower_case = {item.lower(): item for item in known}
    near = get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.6)
    return f" (did you mean {by_lower_case[near[0]]}?)" if near else ""
