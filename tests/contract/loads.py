"""The rows that every warehouse has to keep, of all streams, in four loads.

The values are those that warehouses get wrong, as far as the tap writes them; they are
made of the schemas, so a new stream or column is in the contract by itself. The tap's
own streams write them: messages or batch files, with or without a column.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from tap_labelbox.singer.stream import DirectStream
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Record = dict[str, Any]
Rows = dict[str, list[Record]]
"""Records, by stream."""

LONG_CHARACTERS = 5000
LARGEST_INTEGER = 2**63 - 1

TEXTS = (
    "",
    " ",
    "  blanks at both ends  ",
    "NULL",
    "null",
    "None",
    "NaN",
    r"\N",
    "true",
    "007",
    "1e5",
    "2026-01-31",
    "2026-01-31T09:30:00.000Z",
    "quotes \" ' ` '' \"\" and `",
    '{"json": [1, null]}',
    "[]",
    r"C:\new\table\\ % $1 {x} ?; -- /* */",
    "commas, semicolons; pipes | tabs\tand more",
    "line\nfeed",
    "carriage\r\nreturn\r",
    "no\u00a0break, \u0085 next, \u2028 line, \u2029 paragraph, \ufeff mark",
    "\x01\x02\x1f\x7f controls",
    "e\u0301 is not é, ß is not SS, \u0131 is not i",
    "العربية עברית 漢字 ไทย 🚦 👩\u200d🚀 \U0010fffd \ufffd",
    "x" * LONG_CHARACTERS,
    "é🚦" * LONG_CHARACTERS,
)
INTEGERS = (
    0,
    1,
    -1,
    255,
    2**31,
    -(2**31) - 1,
    2**53 + 1,
    LARGEST_INTEGER,
    -LARGEST_INTEGER,
)
NUMBERS = (
    0,
    3,
    -2.5,
    0.1,
    0.1 + 0.2,
    1 / 3,
    1e-7,
    2**53,
    1.2345678901234567e19,
    1e22,
    5e-324,
    1.7976931348623157e308,
    -1.7976931348623157e308,
)
TIMESTAMPS = (
    "2026-01-31T09:30:00.123Z",
    "2026-03-29T02:30:00.000Z",  # an hour that some zones do not have
    "2024-02-29T23:59:59.999Z",
    "0099-01-01T00:00:00.001Z",
    "1850-06-30T12:00:00.000Z",
    "1969-12-31T23:59:59.999Z",
    "1970-01-01T00:00:00.000Z",
    "2038-01-19T03:14:08.000Z",
    "2106-02-07T06:28:16.000Z",
    "2500-12-31T23:59:59.999Z",
    "9999-12-30T23:59:59.999Z",
)
OBJECTS: tuple[Record, ...] = (
    {},
    {"none": None, "false": False, "zero": 0, "empty": "", "list": [], "object": {}},
    {"": "no name", "with space": 1, "with.dot": 2, 'with "quotes"': 3, "Ünï🚦": 4},
    {"Case": 1, "case": 2, "type": "x", "properties": {}, "items": [{}]},
    {"deep": {"deeper": {"list": [[1, 2.5], [None, {"x": "y"}]]}}},
    {"numbers": [0.1 + 0.2, 1e-7, -1e300, 2**53 + 1, LARGEST_INTEGER]},
    {"text": "line\nfeed, quotes \" ', backslash \\, \u2028 🚦 </script>"},
    {"long": "é" * LONG_CHARACTERS},
    {"box": {"top": 1.5, "left": 2, "height": 10, "width": 20.25}},
)
OBJECT_LISTS: tuple[list[Record], ...] = (
    [],
    [{}],
    [{"id": "a", "score": 1}, {"id": None}],
    [*OBJECTS[1:6]],
)
TEXT_LISTS: tuple[list[str], ...] = ([], [""], ["a", "b, c", "NULL"], [*TEXTS[:-2]])
KEYS = ("Key", "key", "kéy", "ke\u0301y", "k'e\"y`", "k🚦", "key,;|%_", "k\\ey", "null")
"""What keys begin with, which are all different keys."""
ALWAYS_LOADED = {"annotations", "export_labels", "labels", "projects"}
TURNS = range(3)
"""Every third stream comes again with changes, every third with fewer columns and then
with all: what a target does then is the same for all, and takes it long."""
FIRST_TIMESTAMP = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Load:
    """The records that one run of the tap writes."""

    rows: Rows
    without: Mapping[str, frozenset[str]]
    """The columns of each stream that are deselected."""

    @property
    def sent(self) -> Rows:
        """The records that are written."""
        return {
            stream: [
                {k: v for k, v in row.items() if k not in self.without[stream]}
                for row in rows
            ]
            for stream, rows in self.rows.items()
        }


def kind(schema: Mapping[str, Any]) -> str:
    """Return what a column holds: text, timestamp, day, or the name of its type."""
    name: str = next(name for name in schema["type"] if name != "null")
    formats = {"date-time": "timestamp", "date": "day", None: "text"}
    return formats[schema.get("format")] if name == "string" else name


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas of all streams."""
    return {name: dict(s.schema) for name, s in _tap().streams.items()}


@cache
def keys() -> dict[str, tuple[str, ...]]:
    """Return the key of each stream."""
    return {name: tuple(s.primary_keys) for name, s in _tap().streams.items()}


@cache
def loads() -> tuple[Load, Load, Load, Load]:
    """Return all, then changed and new rows, the same without columns, with all."""
    everything: dict[str, frozenset[str]] = dict.fromkeys(schemas(), frozenset())
    first = {name: rows(name, range(row_count(name))) for name in schemas()}

    def changed(version: int, turn: int) -> Rows:
        """Return eight rows that are there with other values, and two new ones."""
        result: Rows = {}
        for place, name in enumerate(schemas()):
            if name in ALWAYS_LOADED or place % len(TURNS) == turn:
                start, new = version * 4 - 4, row_count(name) + version * 2
                places = [*range(start, start + 8), new, new + 1]
                result[name] = rows(name, places, version)
        return result

    again, fewer, _ = TURNS
    return (
        Load(first, everything),
        Load(changed(1, again), everything),
        Load(changed(2, fewer), {name: _optional(name) for name in schemas()}),
        Load(changed(3, fewer), everything),
    )


def row_count(stream: str) -> int:
    """Return so many rows that each column has each value once, and null."""
    columns = schemas()[stream]["properties"]
    return max(len(values(schema)) for schema in columns.values()) + 1


def rows(stream: str, places: Iterable[int], version: int = 0) -> list[Record]:
    """Return rows of a stream.

    Args:
        stream: Its name.
        places: A number for each row, which its key is made of.
        version: Another one has other values, with the same keys.
    """
    columns = schemas()[stream]["properties"]
    own = keys()[stream]
    made = []
    for place in places:
        row: Record = {}
        for number, (name, schema) in enumerate(columns.items()):
            if name in own:
                is_last = name == own[-1]
                row[name] = key_value(schema, place if is_last else place // 2)
            else:
                choice = values(schema)
                row[name] = choice[(place + number + version) % len(choice)]
        made.append(row)
    return made


def values(schema: Mapping[str, Any]) -> Sequence[Any]:
    """Return the values that a column has in turn, and null if it may be."""
    choice: Sequence[Any] = {
        "text": TEXTS,
        "integer": INTEGERS,
        "number": NUMBERS,
        "boolean": (True, False),
        "timestamp": TIMESTAMPS,
        "day": ("2026-01-31", "1969-12-31", "9999-12-30"),
        "object": OBJECTS,
        "array": OBJECT_LISTS,
    }[kind(schema)]
    if kind(schema) == "array" and schema["items"]["type"] == ["string"]:
        choice = TEXT_LISTS
    if most := schema.get("maxLength"):
        choice = [text for text in choice if 0 < len(text.encode()) <= most]
        choice += ["x" * most, "é" * (most // 2)]
    return [*choice, None] if "null" in schema["type"] else choice


def key_value(schema: Mapping[str, Any], place: int) -> Any:
    """Return a value of a column of a key, another for each place."""
    made_at = FIRST_TIMESTAMP + timedelta(days=place, milliseconds=place)
    made: dict[str, Any] = {
        "text": f"{KEYS[place % len(KEYS)]}{place // len(KEYS)}",
        "integer": place - 5,
        "timestamp": made_at.isoformat(timespec="milliseconds")[:-6] + "Z",
        "day": made_at.date().isoformat(),
    }
    return made[kind(schema)]


def expected(loaded: Iterable[Load], *, merged: bool, left_out: str = "kept") -> Rows:
    """Return what a warehouse has after these loads; what was never sent is left out.

    Args:
        loaded: The loads, oldest first.
        merged: Whether a row replaces the one with its key; otherwise all are kept.
        left_out: What becomes of a column that a later load lacks: its value is "kept",
            or it is "null".
    """
    tables: dict[str, dict[Any, Record]] = {name: {} for name in schemas()}
    for number, load in enumerate(loaded):
        for stream, records in load.sent.items():
            for record in records:
                key = tuple(record[name] for name in keys()[stream])
                own = key if merged else (number, *key)
                before = tables[stream].get(own, {}) if left_out == "kept" else {}
                tables[stream][own] = before | record
    return {name: list(records.values()) for name, records in tables.items()}


def written(load: Load, **settings: Any) -> str:
    """Return the messages of a run that writes a load.

    The tap's own streams write them, in place of what Labelbox answers.

    Args:
        load: The load.
        settings: Those of the tap, such as ``batch_config``.
    """
    tap = _tap(_catalog(load.without), **settings)
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(output):
        for name, records in load.rows.items():
            stream = tap.streams[name]
            assert isinstance(stream, DirectStream)
            stream.write_header()
            stream.write_records(records)
        tap.writer.close()
        tap.state_writer.write_state({"bookmarks": {}})
    output.seek(0)
    return output.read()


def _tap(catalog: dict[str, Any] | None = None, **settings: Any) -> TapLabelbox:
    return TapLabelbox(config={"api_key": "x" * 20} | settings, catalog=catalog)


def _optional(stream: str) -> frozenset[str]:
    """Return columns that need not be selected: one of each kind that others have."""
    declared = _tap().streams[stream]
    kinds: dict[str, list[str]] = {}
    for name, schema in declared.schema["properties"].items():
        if name not in {*declared.primary_keys, declared.replication_key}:
            kinds.setdefault(kind(schema), []).append(name)
    return frozenset(names[-1] for names in kinds.values() if len(names) > 1)


def _catalog(without: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """Return the catalog with everything selected but these columns."""
    catalog: dict[str, Any] = json.loads(_tap().catalog_json_text)
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            names = item["breadcrumb"][1:]
            left_out = without[entry["tap_stream_id"]]
            item["metadata"]["selected"] = left_out.isdisjoint(names)
    return catalog
