"""Targets that commit in the nastiest way Singer allows, and die anywhere.

Each is fed what runs of the tap have written, keeps what is in its database in
``rows``, and the state that it printed last in ``state``: with that the next run
begins. What it does, and when, is left to chance. What it may rely on is checked at
every message: see :meth:`ModelTarget.load`.
"""

from __future__ import annotations

import gzip
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from random import Random

    from tests.runner import Record, State

    Key = tuple[Any, ...]

EARLY_SHARE = 0.7
"""Share of the streams of a run that are written before its end."""
NO_STATE: State = {"bookmarks": {}}
"""What the first STATE of a run without a state is."""


class ModelTarget(ABC):
    """A target and its database, over several runs of the tap.

    Args:
        chance: Decides when it writes and commits.
        eager: How likely it writes something at a message, 0 to 1.
    """

    kind: ClassVar[str]
    """What it stands for, in words."""

    def __init__(self, chance: Random, eager: float = 0.05) -> None:
        """Have an empty database, and no state."""
        self.rows: defaultdict[str, dict[Key, Record]] = defaultdict(dict)
        self.state: State | None = None
        self.received = 0  # records, in all runs
        self._chance = chance
        self._eager = eager

    def load(self, output: bytes, *, dies: bool) -> None:
        """Load what a run of the tap has written.

        Args:
            output: All of it, perhaps with half a line at the end.
            dies: Whether the target is killed as well, then or before; else it finds
                the end of its input, and ends as it likes.

        Raises:
            AssertionError: If the messages are none a target can rely on: each line
                is a message, a SCHEMA comes before the records of its stream, and
                the first message that is no SCHEMA is a STATE equal to the state
                that was given to the run.
        """
        *lines, rest = output.split(b"\n")
        messages = [json.loads(line) for line in lines]
        check_messages(messages, self.state)
        if dies and self._chance.random() < 0.5:
            messages = messages[: self._chance.randint(0, len(messages))]
        self._begin()
        for message in messages:
            self._take(message)
            if self._chance.random() < self._eager:
                self._meanwhile()
        # Half a line is an error to all that were looked at: they end at once, and
        # do not write what they hold.
        if not dies and not rest:
            self._end()

    def _begin(self) -> None:
        self._held: defaultdict[str, list[Record | Path]] = defaultdict(list)
        self._keys: dict[str, list[str]] = {}
        self._stored: defaultdict[str, int] = defaultdict(int)
        self._early: dict[str, bool] = {}
        self._latest: State | None = None

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "SCHEMA":
                self._keys[message["stream"]] = message["key_properties"]
            case "RECORD":
                self._held[message["stream"]].append(message["record"])
            case "BATCH":  # loaded late, perhaps, but before it is confirmed
                paths = (Path(unquote(urlsplit(u).path)) for u in message["manifest"])
                self._held[message["stream"]].extend(paths)
            case "STATE":
                self._latest = message["value"]

    def _store(self, stream: str, end: int | None = None) -> None:
        """Write what is held of a stream, up to some record, to the database."""
        held = self._held[stream]
        end = len(held) if end is None else end
        for record in records_of(held[self._stored[stream] : end]):
            self.received += 1
            key = tuple(record[name] for name in self._keys[stream])
            self.rows[stream][key] = record
        self._stored[stream] = max(end, self._stored[stream])

    def _pending(self) -> list[str]:
        """Return the streams that have records which are not in the database."""
        return [s for s, held in self._held.items() if self._stored[s] < len(held)]

    def _some(self, streams: Collection[str]) -> list[str]:
        """Return some of the streams, in any order: some never before the end."""
        for stream in sorted(streams):
            self._early.setdefault(stream, self._chance.random() < EARLY_SHARE)
        every = sorted(stream for stream in streams if self._early[stream])
        return self._chance.sample(every, self._chance.randint(0, len(every)))

    def _print(self, state: State | None) -> None:
        if state is not None:
            self.state = deepcopy(state)

    @abstractmethod
    def _meanwhile(self) -> None:
        """Write something, and confirm what has become sure by it."""

    @abstractmethod
    def _end(self) -> None:
        """Write all, and confirm it."""


class StreamByStream(ModelTarget):
    """Writes some streams, and confirms the bookmarks of those alone.

    The others keep the bookmark of the first STATE that is not empty. A stream is
    written when it has records, and only then. So do the targets of the PipelineWise
    family: duckdb, postgres, snowflake, redshift.
    """

    kind = "stream by stream"

    def _begin(self) -> None:
        super()._begin()
        self._flushed: State | None = None

    def _take(self, message: dict[str, Any]) -> None:
        super()._take(message)
        if not self._flushed:
            self._flushed = deepcopy(self._latest)

    def _meanwhile(self) -> None:
        for stream in self._some(self._pending()):
            self._store(stream)
            bookmarks = (self._latest or {}).get("bookmarks", {})
            if stream in bookmarks:
                assert self._flushed is not None
                kept = self._flushed.setdefault("bookmarks", {})
                kept[stream] = deepcopy(bookmarks[stream])
            if self._chance.random() < 0.8:  # else killed, had it been, before it
                self._print(self._flushed)

    def _end(self) -> None:
        if pending := self._pending():
            for stream in pending:
                self._store(stream)
            self._flushed = self._latest
        self._print(self._flushed)


class AnyState(ModelTarget):
    """Confirms each stream on its own, up to any STATE there was.

    What is behind that STATE is not written. It keeps the bookmarks of other streams
    as they were given to the run. So may a platform that has a state for each stream.
    """

    kind = "stream by stream, at any state"

    def _begin(self) -> None:
        super()._begin()
        self._kept: State = deepcopy(self.state or NO_STATE)
        self._states: list[tuple[State, dict[str, int]]] = []
        self._with_empty = self._chance.random() < 0.5

    def _take(self, message: dict[str, Any]) -> None:
        super()._take(message)
        if message["type"] == "STATE":
            counts = {stream: len(held) for stream, held in self._held.items()}
            self._states.append((message["value"], counts))

    def _meanwhile(self) -> None:
        if self._states:
            self._commit(self._chance.choice(self._states))

    def _commit(self, at: tuple[State, dict[str, int]], *, every: bool = False) -> None:
        state, counts = at
        new = [s for s in self._keys if counts.get(s, 0) > self._stored[s]]
        # One that has nothing new may be confirmed, or be forgotten.
        old = [s for s in self._keys if counts.get(s, 0) == self._stored[s]]
        if not self._with_empty:
            old = []
        for stream in (*new, *old) if every else self._some((*new, *old)):
            self._store(stream, counts.get(stream, 0))
            if stream in state.get("bookmarks", {}):
                self._kept["bookmarks"][stream] = deepcopy(state["bookmarks"][stream])
        self._print(self._kept)

    def _end(self) -> None:
        if self._states:
            self._commit(self._states[-1], every=True)


class WholeStates(ModelTarget):
    """Writes all streams, then confirms the latest STATE; some streams before that.

    So do targets that are made with the Singer SDK.
    """

    kind = "whole states"

    def _meanwhile(self) -> None:
        if self._chance.random() < 0.5:
            for stream in self._some(self._pending()):
                self._store(stream)
        else:
            self._end()

    def _end(self) -> None:
        for stream in self._pending():
            self._store(stream)
        self._print(self._latest)


class AtTheEnd(ModelTarget):
    """Writes each record at once, and confirms a STATE that is the last message.

    So does target-jsonl.
    """

    kind = "at its end"

    def _take(self, message: dict[str, Any]) -> None:
        super()._take(message)
        if message["type"] in {"RECORD", "BATCH"}:
            self._store(message["stream"])
            self._latest = None

    def _meanwhile(self) -> None:
        pass

    def _end(self) -> None:
        self._print(self._latest)


KINDS: tuple[type[ModelTarget], ...] = (StreamByStream, AnyState, WholeStates, AtTheEnd)


def check_messages(messages: list[dict[str, Any]], inputs: State | None) -> None:
    """Check what a target relies on.

    Args:
        messages: What a run has written, from its beginning on.
        inputs: The state it was given.

    Raises:
        AssertionError: If it is not so.
    """
    schemas: set[str] = set()
    for message in messages:
        if message["type"] == "SCHEMA":
            schemas.add(message["stream"])
        elif message["type"] != "STATE":
            assert message["stream"] in schemas, "records before their schema"
    others = (message for message in messages if message["type"] != "SCHEMA")
    if first := next(others, None):
        assert first["type"] == "STATE", f"a {first['type']} before the first STATE"
        assert first["value"] == (inputs or NO_STATE)


def records_of(held: Iterable[Record | Path]) -> Iterator[Record]:
    """Yield records, those in batch files of JSON lines included."""
    for single in held:
        if isinstance(single, Path):
            content = gzip.decompress(single.read_bytes())
            yield from map(json.loads, content.splitlines())
        else:
            yield single
