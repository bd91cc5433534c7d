"""Compare what is in a warehouse with what was sent: row by row, value by value.

A warehouse gives its rows as JSON can hold them: a timestamp as text, an object as
JSON text or as an object. What is compared is the value, so ``1`` is ``1.0`` in
JSON, and a timestamp without an offset is UTC. Types are compared by themselves.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.contract.loads import LARGEST_INTEGER, keys, kind, schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.contract.loads import Record, Rows

JSON_NULL = "JSON null"
"""A value that is there, and is null in JSON only."""
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Loss:
    """A way in which a warehouse changes values; all else arrives as it was sent."""

    text: str
    """What the page says of it."""
    kinds: tuple[str, ...]
    arrives: Callable[[Any], Any]
    """Returns what becomes of a value of these kinds, which may be the same."""
    forms: tuple[str, ...] = ("records", "jsonl", "parquet")
    """Of records in which it happens: as messages, in batch files of a format."""
    is_of_absent: bool = False
    """Whether it happens to values that were never sent, which are null."""


class Comparison:
    """A comparison of the rows that were sent with those in a warehouse.

    Args:
        expected: The rows that have to be there, by stream.
        actual: The rows that are there.
        losses: The ways in which values are known to differ.
        parse: Turns a value that was read, by kind, into what JSON would have, where a
            warehouse has a form of its own.
    """

    def __init__(
        self,
        expected: Rows,
        actual: Rows,
        losses: Iterable[Loss] = (),
        parse: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        self.values = 0
        """How many values were compared."""
        self.differences: list[str] = []
        self.lossy: Counter[str] = Counter()
        """How many values each known loss changed."""
        self._losses = tuple(losses)
        self._parse = parse or {}
        for stream in expected:
            self._compare(stream, expected[stream], actual.get(stream) or [])

    @property
    def unseen(self) -> list[str]:
        """The known losses that changed no value: the warehouse has become better."""
        return [loss.text for loss in self._losses if not self.lossy[loss.text]]

    def check(self) -> None:
        """Raise an error if anything differs from what is known.

        Raises:
            AssertionError: With the first differences.
        """
        if self.differences:
            first = "\n".join(self.differences[:20])
            raise AssertionError(f"{len(self.differences)} values differ:\n{first}")
        if self.unseen:
            raise AssertionError(f"no longer lost: {'; '.join(self.unseen)}")

    def _compare(
        self, stream: str, expected: list[Record], actual: list[Record]
    ) -> None:
        columns = schemas()[stream]["properties"]
        kinds = {name: kind(schema) for name, schema in columns.items()}
        own = keys()[stream]
        sent = [
            {
                name: canonical(kinds[name], self._lost(kinds[name], name, record))
                for name in columns
            }
            for record in expected
        ]
        read = [
            {name: self._read(kinds[name], row.get(name)) for name in columns}
            for row in actual
        ]
        if len(sent) != len(read):
            text = f"{stream}: {len(read)} rows instead of {len(sent)}"
            self.differences.append(text)
        by_key = _grouped(read, own)
        for key, rows in _grouped(sent, own).items():
            others = by_key.get(key, [])
            if len(rows) != len(others):
                text = f"{stream}: {len(others)} rows of {key}, not {len(rows)}"
                self.differences.append(text)
                continue
            # Several have a key where all loads are kept: their order says nothing.
            for row, other in zip(_sorted(rows), _sorted(others), strict=True):
                for name, value in row.items():
                    self.values += 1
                    if other[name] != value or type(other[name]) is not type(value):
                        self.differences.append(
                            f"{stream}.{name} ({kinds[name]}) of {key}: "
                            f"{_shown(other[name])} instead of {_shown(value)}"
                        )

    def _lost(self, kind: str, name: str, record: Record) -> Any:
        """Return what arrives of a value; one that was never sent is null."""
        value = record.get(name)
        for loss in self._losses:
            if kind in loss.kinds and (loss.is_of_absent or name in record):
                arrives = loss.arrives(value)
                if canonical(kind, arrives) != canonical(kind, value):
                    self.lossy[loss.text] += 1
                value = arrives
        return value

    def _read(self, kind: str, value: Any) -> Any:
        parse = self._parse.get(kind)
        return canonical(kind, parse(value) if parse and value is not None else value)


def canonical(kind: str, value: Any) -> Any:
    """Return a value in the one form in which values of its kind are compared.

    What is of another type stays as it is, and so differs.
    """
    if value is None or value == JSON_NULL:
        return value
    if kind == "timestamp" and isinstance(value, str):
        return _timestamp(value)
    if kind == "number" and isinstance(value, int | float):
        return float(value) if not isinstance(value, bool) else value
    if kind in {"object", "array"}:
        return _json(value)
    return value


def _timestamp(text: str) -> str:
    """Return a timestamp in UTC; of no other form, as it is."""
    try:
        timestamp = datetime.fromisoformat(text)
    except ValueError:
        return text
    if timestamp.tzinfo is not None:
        timestamp = timestamp.astimezone(UTC).replace(tzinfo=None)
    return timestamp.isoformat(timespec="microseconds")


def _json(value: Any) -> Any:
    """Return JSON in the one form; what is no JSON, as it is."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
        if value is None:
            return JSON_NULL
    return json.dumps(_as_numbers(value), sort_keys=True)


def _as_numbers(value: Any) -> Any:
    """Return JSON in which a whole number of 64 bits is an integer, however written."""
    if isinstance(value, dict):
        return {name: _as_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_numbers(item) for item in value]
    if isinstance(value, int | float) and abs(value) > LARGEST_INTEGER:
        return float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _grouped(rows: Iterable[Record], own: Iterable[str]) -> dict[Any, list[Record]]:
    """Return rows by their key."""
    groups: dict[Any, list[Record]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in own), []).append(row)
    return groups


def _sorted(rows: list[Record]) -> list[Record]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
