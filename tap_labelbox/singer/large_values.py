"""Values that a warehouse would not take for their size: null, and described beside.

Every record passes here on its way to the writer, whichever way it takes: as messages,
in batch files of any format, past stream maps or through them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from tap_labelbox.records.json_text import decode, encode_shallow
from tap_labelbox.records.malformed import first_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from singer_sdk.helpers.types import Record

BESIDE = "additional_columns"
"""The column that says what became null."""
MAX_NAMED_COLUMNS = 20  # in the line at the end of a run
QUOTE = b'"'


class LargeValues:
    """Removal of values that are too large, which are counted.

    Args:
        max_bytes: The most that a value may have: a text in UTF-8, or JSON as text.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._counts: Counter[str] = Counter()  # by stream and column

    def removed(self, stream: str, record: Record, kept: Collection[str]) -> Record:
        """Return a record without values that are too large, but in kept columns."""
        if len(encode_shallow(record)) <= self._max_bytes:
            return record
        described = {
            name: description
            for name, value in record.items()
            if name not in kept
            and name != BESIDE
            and (description := self._description(value))
        }
        self._counts.update(f"{stream}.{name}" for name in described)
        smaller = record | dict.fromkeys(described)
        if isinstance(beside := record.get(BESIDE), dict):
            smaller[BESIDE] = self._beside(stream, beside, described)
        return smaller

    def _beside(
        self, stream: str, beside: Mapping[str, Any], described: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what is beside the columns, of which nothing is too large either."""
        members = {
            name: self._description(value) or value for name, value in beside.items()
        }
        changed = sum(members[name] is not value for name, value in beside.items())
        if whole := self._description(members):
            members = {BESIDE: whole}
            changed += 1
        self._counts[f"{stream}.{BESIDE}"] += changed
        for name, description in described.items():
            members[f"{name}.value" if name in members else name] = description
        return members

    def _description(self, value: Any) -> dict[str, Any] | None:
        """Return the size and the hash of a value that is too large."""
        match value:
            case None | bool() | int() | float():
                return None
            case str():
                text = value.encode(errors="surrogatepass")
            case Raw():
                text = bytes(value)
                # In JSON no text is shorter than it is.
                if len(text) > self._max_bytes and text.startswith(QUOTE):
                    text = decode(text).encode(errors="surrogatepass")
            case _:
                text = encode_shallow(value)
        if len(text) <= self._max_bytes:
            return None
        return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}

    @property
    def report(self) -> str:
        """Counts of what became null so far, in one line; "" if nothing did."""
        counts = +self._counts
        if not counts:
            return ""
        columns = [f"{count} of {name}" for name, count in sorted(counts.items())]
        return (
            f"Larger than max_value_bytes ({self._max_bytes}), so they became null: "
            f"{first_of(columns, MAX_NAMED_COLUMNS)}; {BESIDE} has their size and "
            "SHA-256"
        )
