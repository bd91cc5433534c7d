"""max_value_bytes: what is larger becomes null and is described, on every way."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw

from tap_labelbox.sandbox import World
from tap_labelbox.singer.large_values import LargeValues
from tests.runner import PRIMARY_KEYS
from tests.test_bad_data import changing
from tests.test_batches import batch, rows
from tests.test_catalog import CATALOG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runner import Record, Runner

LIMIT_BYTES = 1024
STREAMS = ("labels", "data_row_exports", "export_labels", "annotations", "bulk_export")
LONG = "é" * 700  # 700 characters, 1,400 bytes


def everything() -> dict[str, Any]:
    """Return a catalog that selects every column of these streams."""
    catalog = deepcopy(CATALOG)
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            item["metadata"]["selected"] = entry["tap_stream_id"] in STREAMS
    return catalog


@pytest.fixture
def served(serving: Callable[..., Runner]) -> Runner:
    """Serve a world with long texts in labels and answers."""
    world = World(seed=1, projects=3)
    for project in world.projects[:2]:
        world.add_label(project.id, text=json.dumps({"objects": [], "note": LONG}))
        world.add_label(project.id, text=LONG)
    return serving(world)


def described(value: Any) -> dict[str, Any]:
    """Return what is said of a value, by its text."""
    content = value if isinstance(value, str) else compact(value)
    encoded = content.encode()
    return {"bytes": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}


def compact(value: Any) -> str:
    """Return JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def limited(stream: str, record: Record) -> Record:
    """Return a record as it has to be with the limit."""
    kept = {*PRIMARY_KEYS[stream], "additional_columns"}
    large = {
        name: described(value)
        for name, value in record.items()
        if name not in kept
        and isinstance(value, str | list | dict)
        and described(value)["bytes"] > LIMIT_BYTES
    }
    beside = {
        name: described(value) if described(value)["bytes"] > LIMIT_BYTES else value
        for name, value in record["additional_columns"].items()
    }
    return record | dict.fromkeys(large) | {"additional_columns": beside | large}


def stable(records: list[Record]) -> list[str]:
    """Return records in one order, without what differs in each export."""
    volatile = ("row_data", "exported_at", "media_attributes", "attachments", "labels")
    return sorted(compact({**r} | dict.fromkeys(volatile)) for r in records)


WAYS: dict[str, dict[str, Any]] = {
    "messages": {},
    "the SDK": {
        "stream_maps": {name: {"more": "config['x']"} for name in STREAMS},
        "stream_map_config": {"x": "y"},
    },
    "flattened": {"flattening_enabled": True, "flattening_max_depth": 1},
}


@pytest.mark.parametrize("path", WAYS)
def test_only_large_values_differ_and_each_is_described(
    served: Runner, path: str, caplog: Any
) -> None:
    """In every stream, on the fast path and on the other one."""
    settings = WAYS[path]
    whole = served(catalog=everything(), **settings)
    output = served(catalog=everything(), max_value_bytes=LIMIT_BYTES, **settings)

    assert output.error is None
    counts: Counter[str] = Counter()
    for stream in STREAMS:
        expected = [
            limited(stream, record) for record in map(decoded, whole.records(stream))
        ]
        result = [*map(decoded, output.records(stream))]
        assert stable(result) == stable(expected)
        for record in result:
            for name, value in record["additional_columns"].items():
                if isinstance(value, dict) and {*value} == {"bytes", "sha256"}:
                    counts[f"{stream}.{name}"] += 1
                    assert record.get(name) is None
    assert counts["labels.label"] >= 4
    assert counts["data_row_exports.labels"] > 0
    assert counts["export_labels.annotations"] > 0
    (line,) = [m for m in caplog.messages if "max_value_bytes" in m]
    for name, count in counts.items():
        assert f"{count} of {name}" in line


def decoded(record: Record) -> Record:
    """Return a record whose JSON is no text, as flattening makes it."""
    return {
        name: json.loads(value)
        if name in JSON_COLUMNS and isinstance(value, str)
        else value
        for name, value in record.items()
    }


JSON_COLUMNS = {
    name
    for entry in CATALOG["streams"]
    for name, schema in entry["schema"]["properties"].items()
    if {"object", "array"} & {*schema["type"]}
}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_batch_files_have_no_large_values(
    served: Runner, tmp_path: Path, form: str
) -> None:
    """Of either format; they have what messages have."""
    settings: dict[str, Any] = {
        "catalog": everything(),
        "max_value_bytes": LIMIT_BYTES,
    }
    messages = served(**settings)
    output = served(batch_config=batch(tmp_path / "files", form), **settings)

    assert output.error is None
    for stream in STREAMS:
        result = [*map(decoded, rows(output.messages, stream))]
        beside = Counter(compact(r["additional_columns"]) for r in result)
        assert beside == Counter(
            compact(r["additional_columns"]) for r in messages.records(stream)
        )
        for record in result:
            for name in record["additional_columns"].keys() & record:
                assert record[name] is None


def test_without_the_setting_everything_stays(served: Runner, caplog: Any) -> None:
    """It is off by default, and nothing is said."""
    output = served("labels")

    assert LONG in {record["label"] for record in output.records("labels")}
    assert not [m for m in caplog.messages if "max_value_bytes" in m]


def test_nothing_is_logged_where_nothing_is_too_large(
    served: Runner, caplog: Any
) -> None:
    """The records are those of a run without the setting."""
    output = served("labels", max_value_bytes=10**6)

    assert output.records("labels") == served("labels").records("labels")
    assert not [m for m in caplog.messages if "max_value_bytes" in m]


def test_a_text_is_measured_as_it_is_not_as_json_has_it() -> None:
    """Escapes are no part of it; the same text is the same size on both paths."""
    fits, over = "\n" * 1024, "\n" * 1025
    values = LargeValues(1024)

    for value in (fits, Raw(json.dumps(fits).encode())):
        assert values.removed("s", {"label": value}, ()) == {"label": value}
    for value in (over, Raw(json.dumps(over).encode())):
        record: Record = {"label": value, "additional_columns": {}}
        assert values.removed("s", record, ()) == {
            "label": None,
            "additional_columns": {"label": described(over)},
        }


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ({"a": LONG, "b": 1}, {"a": described(LONG), "b": 1}),
        ({"x": 5}, {"x": 5, "x.value": described(LONG)}),
    ],
)
def test_what_fits_no_column_is_limited_too(beside: Any, expected: Any) -> None:
    """Member by member; none hides another."""
    record = {"id": "i" * 2000, "x": LONG, "additional_columns": beside}
    before = deepcopy(record)
    expected = {"x": described(LONG)} | expected if "x" not in beside else expected

    limited_record = LargeValues(1024).removed("s", record, {"id"})

    assert limited_record == {
        "id": "i" * 2000,
        "x": None,
        "additional_columns": expected,
    }
    assert record == before


def test_many_small_values_beside_are_too_large_together() -> None:
    """Then all of them are described as one."""
    beside = {f"n{number}": "x" * 10 for number in range(200)}

    large = LargeValues(1024)
    record: Record = large.removed("s", {"additional_columns": beside}, ())

    assert record["additional_columns"] == {"additional_columns": described(beside)}


def test_every_stream_has_a_place_for_the_description() -> None:
    """A column of its own name."""
    for entry in CATALOG["streams"]:
        assert "additional_columns" in entry["schema"]["properties"]


def test_a_pseudonym_comes_before_its_size(run: Runner) -> None:
    """No hash of a name without the salt: a list of names would tell whose it is."""
    run.settings = {"pseudonymize": True, "pseudonymize_salt": "a long random text"}
    run.sandbox.after = changing(lambda row: row.update(nickname=LONG))

    records = run("users", max_value_bytes=LIMIT_BYTES).records("users")

    assert records
    for record in records:
        assert record["nickname"].startswith("name_")
        assert record["additional_columns"] == {}
