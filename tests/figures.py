"""Counts of the tests, printed at their end.

Any test may count: ``figures.count("kills")``, ``figures.count("rows lost", 0)``. A
zero is worth counting, for it is printed. What is counted in the worker processes of
pytest-xdist is added up by the hooks in ``conftest.py``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COUNTS: Counter[str] = Counter()
SHARES: dict[str, tuple[int, int]] = {}
# These come first, in this order; all others follow as they were met.
FIRST = ("kills", "faults", "bad inputs", "rows compared", "rows lost")


def count(name: str, number: int = 1) -> None:
    """Add to a figure.

    Args:
        name: What is counted, in the plural: ``bad inputs``.
        number: How many there were.
    """
    COUNTS[name] += number


def share(name: str, part: int, whole: int) -> None:
    """Add to both sides of a quotient, such as rows written to rows there are.

    Args:
        name: What it says, with its unit: ``rows written to rows of the truth``.
        part: What goes above the line.
        whole: What goes below it.
    """
    before = SHARES.get(name, (0, 0))
    SHARES[name] = (before[0] + part, before[1] + whole)


def dump() -> dict[str, dict[str, list[int]]]:
    """Return all figures as what one process can send to another."""
    return {
        "counts": {name: [number] for name, number in COUNTS.items()},
        "shares": {name: list(pair) for name, pair in SHARES.items()},
    }


def load(dumped: Mapping[str, Mapping[str, list[int]]]) -> None:
    """Add what another process has counted."""
    for name, (number,) in dumped["counts"].items():
        count(name, number)
    for name, (part, whole) in dumped["shares"].items():
        share(name, part, whole)


def lines() -> Iterator[str]:
    """Yield what there is to print, a figure a line."""
    names = [name for name in FIRST if name in COUNTS]
    names += sorted(COUNTS.keys() - FIRST)
    for name in names:
        yield f"{name}: {COUNTS[name]:,}"
    for name, (part, whole) in sorted(SHARES.items()):
        yield f"{name}: {part / whole if whole else 0:.2f} ({part:,} of {whole:,})"
