"""The model targets find out a tap that claims too much, and only that."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.model_target import (
    KINDS,
    NO_STATE,
    AnyState,
    AtTheEnd,
    StreamByStream,
    WholeStates,
    check_messages,
)

if TYPE_CHECKING:
    from tests.model_target import ModelTarget
    from tests.runner import State

ROWS = 8  # of each stream
SCHEMAS = [
    {"type": "SCHEMA", "stream": stream, "schema": {}, "key_properties": ["id"]}
    for stream in "ab"
]


def output(state: State | None, *, careful: bool) -> bytes:
    """Return what a tap writes that reads two streams in one pass.

    Args:
        state: What it is given.
        careful: Whether each of the streams says how far it is, or only the first.
    """
    inputs = state or NO_STATE
    streams = "ab" if careful else "a"
    bookmarks = inputs["bookmarks"]
    begin = min(bookmarks.get(s, {}).get("position", 0) for s in streams)
    messages: list[dict[str, Any]] = [*SCHEMAS, {"type": "STATE", "value": inputs}]
    for position in range(begin, ROWS):
        messages += (
            {"type": "RECORD", "stream": s, "record": {"id": position}} for s in "ab"
        )
        value = {"bookmarks": {s: {"position": position + 1} for s in streams}}
        messages.append({"type": "STATE", "value": value})
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def lost(kind: type[ModelTarget], seed: int, *, careful: bool) -> int:
    """Return how many rows are missing after a kill and a whole run."""
    chance = Random(seed)
    target = kind(chance, eager=0.3)
    first = output(None, careful=careful)
    target.load(first[: chance.randrange(len(first))], dies=chance.random() < 0.5)
    target.load(output(target.state, careful=careful), dies=False)
    return 2 * ROWS - sum(map(len, target.rows.values()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_careful_tap_loses_nothing(kind: type[ModelTarget]) -> None:
    """Whatever the target does."""
    assert not sum(lost(kind, seed, careful=True) for seed in range(300))


@pytest.mark.parametrize(
    ("kind", "finds_out"),
    [(StreamByStream, True), (AnyState, True), (WholeStates, False), (AtTheEnd, False)],
)
def test_a_careless_tap_is_found_out(
    kind: type[ModelTarget],
    finds_out: bool,  # noqa: FBT001  # pytest gives it by name
) -> None:
    """By targets that keep the bookmarks of some streams, and by those only."""
    result = sum(lost(kind, seed, careful=False) > 0 for seed in range(300))

    assert (result > 10) == finds_out
    assert bool(result) == finds_out


@pytest.mark.parametrize(
    ("messages", "inputs"),
    [
        ([{"type": "RECORD", "stream": "a", "record": {}}], None),
        ([*SCHEMAS, {"type": "RECORD", "stream": "a", "record": {}}], None),
        ([*SCHEMAS, {"type": "STATE", "value": {}}], None),
        ([*SCHEMAS, {"type": "STATE", "value": NO_STATE}], {"bookmarks": {"a": {}}}),
    ],
    ids=["no schema", "no state", "an empty state", "another state"],
)
def test_messages_that_break_a_rule_are_found_out(
    messages: list[dict[str, Any]], inputs: State | None
) -> None:
    """Whatever becomes of the rows."""
    with pytest.raises(AssertionError):
        check_messages(messages, inputs)
