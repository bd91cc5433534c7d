"""Running the tap against a sandbox, and reading what it wrote."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from tap_labelbox.streams import STREAMS
from tap_labelbox.tap import TapLabelbox
from tests import warm

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from pathlib import Path

    from singer_sdk import Stream

    from tap_labelbox.sandbox import Sandbox, World

COMMAND = ("-m", "tap_labelbox")

Record = dict[str, Any]
State = dict[str, Any]

PRIMARY_KEYS = {
    name: stream.primary_keys
    for name, stream in TapLabelbox(config={"api_key": "x"}).streams.items()
}
"""The columns of each stream's key."""

SNAPSHOTS = {
    stream.name: stream.primary_keys.index(stream.snapshot_column)
    for stream in STREAMS
    if stream.snapshot_column
}
"""Streams to which each run appends, and where in their key the run is."""


def whole_catalog() -> dict[str, Any]:
    """Return a catalog that selects what is read by default, with all columns."""
    catalog: dict[str, Any] = TapLabelbox(config={"api_key": "x"}).catalog_dict
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            default = entry["metadata"].pop("selected-by-default", True)
            entry["metadata"]["selected"] = default or bool(entry["breadcrumb"])
    return catalog


def catalog_of(streams: Collection[str]) -> dict[str, Any]:
    """Return a catalog that selects some streams, with all their columns."""
    catalog = whole_catalog()
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if not entry["breadcrumb"]:
                entry["metadata"]["selected"] = stream["tap_stream_id"] in streams
    return catalog


@dataclass
class Output:
    """Messages that a run of the tap wrote, and its error."""

    text: str = ""
    error: Exception | None = None

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """Return every message, decoded."""
        return [json.loads(line) for line in self.text.split("\n") if line]

    @cached_property
    def _records(self) -> dict[str, list[Record]]:
        result: dict[str, list[Record]] = {}
        for message in self.messages:
            if message["type"] == "RECORD":
                result.setdefault(message["stream"], []).append(message["record"])
        return result

    def records(self, stream: str) -> list[Record]:
        """Return the records of a stream, in the order they came."""
        return [*self._records.get(stream, [])]

    def ids(self, stream: str) -> list[str]:
        """Return the keys of a stream's records, in the order they came."""
        return [record["id"] for record in self.records(stream)]

    @property
    def states(self) -> list[State]:
        """Return every STATE, oldest first."""
        return [m["value"] for m in self.messages if m["type"] == "STATE"]

    @property
    def state(self) -> State:
        """Return the state that a target would keep."""
        return self.states[-1]


@cache
def reading(streams: tuple[str, ...]) -> type[TapLabelbox]:
    """Return a tap that reads some streams by default, which is quicker than a catalog.

    Nothing is worked out for the others.
    """

    class Reading(TapLabelbox):
        def discover_streams(self) -> list[Stream]:
            result = super().discover_streams()
            for stream in result:
                stream.selected_by_default = stream.name in streams
            return result

    return Reading


class Runner:
    """Runs the tap against one sandbox."""

    def __init__(
        self, sandbox: Sandbox, world: World, folder: Path | None = None
    ) -> None:
        """Keep the sandbox and what it serves, and where files may go."""
        self.sandbox = sandbox
        self.world = world
        self.folder = folder
        self.settings: dict[str, Any] = {}
        """Of all runs."""

    @property
    def label_count(self) -> int:
        """Return how many labels there are in the projects that the key may see."""
        return sum(len(self.world.labels(p.id)) for p in self.world.projects)

    def config(self, **settings: Any) -> dict[str, Any]:
        """Return settings for the sandbox, quick to wait and quick to give up."""
        return {
            "api_url": self.sandbox.url,
            "api_key": self.sandbox.api_key,
            "export_poll_interval": 0.01,
            "retry_seconds": 0.3,
            **self.settings,
            **settings,
        }

    def __call__(
        self,
        *streams: str,
        state: State | None = None,
        catalog: dict[str, Any] | None = None,
        now: datetime | None = None,
        clock: datetime | None = None,
        all_columns: bool = False,
        **settings: Any,
    ) -> Output:
        """Run the streams named, all by default, in this process.

        Without columns that are off by default, unless all are asked for.

        With ``now``, both the tap and the sandbox think it is then; with ``clock``,
        the tap thinks so.
        """
        if all_columns:
            catalog = whole_catalog()
        tap = self.tap(
            *streams, state=state, catalog=catalog, now=now, clock=clock, **settings
        )
        output = Output()
        written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
        with redirect_stdout(written):
            try:
                tap.sync_all()
                tap.workspace.check()
            except Exception as error:  # noqa: BLE001  # the test says which it expects
                output.error = error
        written.seek(0)
        output.text = written.read()
        return output

    def tap(
        self,
        *streams: str,
        state: State | None = None,
        catalog: dict[str, Any] | None = None,
        now: datetime | None = None,
        clock: datetime | None = None,
        **settings: Any,
    ) -> TapLabelbox:
        """Return a tap that is about to read the streams named."""
        tap = (TapLabelbox if catalog or not streams else reading(streams))(
            config=self.config(**settings),
            state=json.loads(json.dumps(state)) if state else None,
            catalog=catalog,
        )
        if now:
            self.world.now = lambda: now
        if began_at := clock or now:
            tap.workspace.began_at = began_at
        if catalog and streams:
            for stream in tap.streams.values():
                stream.selected = stream.name in streams
        return tap

    def command(
        self, *arguments: str, **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the tap as a user does, in a process of its own."""
        return command("--config", str(self.config_file(**settings)), *arguments)

    def command_of(
        self, subcommand: str, *arguments: str, **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the tap that is not a run, in the same way."""
        config = str(self.config_file(**settings))
        return command(subcommand, "--config", config, *arguments)

    def config_file(self, **settings: Any) -> Path:
        """Write the settings to a file, and return where it is."""
        assert self.folder
        config = self.folder / "config.json"
        config.write_text(json.dumps(self.config(**settings)))
        return config


def read_files(*files: Path) -> Output:
    """Read saved files with all streams, in this process.

    Raises:
        IncompleteError: If something is left out.
    """
    tap = TapLabelbox(config={"export_files": [str(file) for file in files]})
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(written):
        tap.sync_all()
        tap.workspace.check()
    written.seek(0)
    return Output(written.read())


def command(
    *arguments: str,
    environment: dict[str, str] | None = None,
    program: Sequence[str] = COMMAND,
) -> subprocess.CompletedProcess[str]:
    """Run the tap's command in a process; ``program`` is what Python runs."""
    inputs = environment or {}
    if program[-1] in warm.MODULES and warm.can_run(inputs):
        return warm.run(program[-1], *arguments, environment=os.environ | inputs)
    return subprocess.run(
        [sys.executable, *program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | inputs,
    )
