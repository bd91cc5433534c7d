"""A sandbox for every test that wants one, and the tap run against it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World, serve
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_labelbox.sandbox import Sandbox

Record = dict[str, Any]
State = dict[str, Any]


@dataclass
class Output:
    """What a run of the tap wrote."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def records(self, stream: str) -> list[Record]:
        """Give the records of a stream, in the order they came."""
        return [
            message["record"]
            for message in self.messages
            if message["type"] == "RECORD" and message["stream"] == stream
        ]

    def ids(self, stream: str) -> list[str]:
        """Give the keys of a stream's records, in the order they came."""
        return [record["id"] for record in self.records(stream)]

    @property
    def states(self) -> list[State]:
        """Give every STATE, oldest first."""
        return [m["value"] for m in self.messages if m["type"] == "STATE"]

    @property
    def state(self) -> State:
        """Give the state that a target would keep."""
        return self.states[-1]


class Runner:
    """Runs the tap against one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Keep the sandbox's address and key."""
        self.sandbox = sandbox

    def config(self, **settings: Any) -> dict[str, Any]:
        """Give settings for the sandbox, quick to wait and quick to give up."""
        return {
            "api_url": self.sandbox.url,
            "api_key": self.sandbox.api_key,
            "export_poll_interval": 0.01,
            "max_retries": 2,
        } | settings

    def __call__(
        self,
        *streams: str,
        state: State | None = None,
        catalog: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Output:
        """Run the streams named, all by default, in this process."""
        tap = TapLabelbox(
            config=self.config(**settings),
            state=json.loads(json.dumps(state)) if state else None,
            catalog=catalog,
        )
        if streams:
            for stream in tap.streams.values():
                stream.selected = stream.name in streams
        output = Output()
        written = io.StringIO()
        with redirect_stdout(written):
            try:
                tap.sync_all()
                tap.workspace.check()
            except Exception as error:  # noqa: BLE001  # the test says which it expects
                output.error = error
        output.messages = [json.loads(line) for line in written.getvalue().splitlines()]
        return output

    def command(
        self, *arguments: str, stdin: str | None = None, **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the tap as a user does, in a process of its own."""
        config = self.sandbox_file("config.json", self.config(**settings))
        return subprocess.run(
            [sys.executable, "-m", "tap_labelbox", "--config", config, *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            check=False,
            timeout=60,
        )

    sandbox_file: Any = None


@pytest.fixture
def world() -> World:
    """Give a small workspace with a bit of everything."""
    return World(seed=1)


@pytest.fixture
def sandbox(world: World) -> Iterator[Sandbox]:
    """Serve the world."""
    with serve(world) as running:
        yield running


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Any) -> Runner:
    """Give what runs the tap against the sandbox."""

    def file(name: str, content: Any) -> str:
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return str(path)

    runner = Runner(sandbox)
    runner.sandbox_file = file
    return runner


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a key of the developer's out of the tests."""
    monkeypatch.delenv("LABELBOX_API_KEY", raising=False)
    logging.getLogger("tap-labelbox").setLevel(logging.INFO)
