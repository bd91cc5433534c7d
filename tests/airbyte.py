"""Running the tap as a source of Airbyte, and reading what it wrote."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tap_labelbox.airbyte import catalog as catalogs
from tap_labelbox.airbyte.command import prepared
from tap_labelbox.airbyte.writer import AirbyteWriter
from tap_labelbox.tap import TapLabelbox
from tests.runner import Runner, command

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from datetime import datetime

Message = dict[str, Any]

STREAMS = catalogs.discovered(TapLabelbox(config={"api_key": "x"}))["catalog"][
    "streams"
]


def configured(*names: str, full: Iterable[str] = ()) -> dict[str, Any]:
    """Return a catalog with these streams; all but some incremental, if they can be."""
    return {
        "streams": [
            {
                "stream": stream,
                "sync_mode": "full_refresh"
                if stream["name"] in full
                else stream["supported_sync_modes"][-1],
                "destination_sync_mode": "append",
            }
            for stream in STREAMS
            if stream["name"] in names
        ]
    }


class AirbyteRunner(Runner):
    """Runs the source against one sandbox, in this process."""

    def tap(
        self,
        *streams: str,
        state: Any = None,
        now: datetime | None = None,
        **settings: Any,
    ) -> TapLabelbox:
        """Return the tap of a read that is about to begin."""
        catalog, states = configured(*streams), json.loads(json.dumps(state or []))
        tap = prepared(AirbyteWriter(), self.config(**settings), catalog, states)
        if now:
            self.world.now = lambda: now
            tap.workspace.began_at = now
        return tap


def source(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process."""
    return command(*map(str, arguments), program=("-m", "tap_labelbox.airbyte"))


def read_files(
    run: Runner, catalog: Any, state: Any = None, **settings: Any
) -> list[str]:
    """Write what a read needs into files, and return its arguments."""
    assert run.folder
    arguments = ["read", "--config", str(run.config_file(**settings))]
    for name, content in (("catalog", catalog), ("state", state)):
        if content is not None:
            path = run.folder / f"{name}.json"
            path.write_text(json.dumps(content))
            arguments += [f"--{name}", str(path)]
    return arguments


def messages(text: str) -> list[Message]:
    """Return every message, decoded. All of it is one."""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def records(output: Iterable[Message]) -> dict[str, list[dict[str, Any]]]:
    """Return the records by stream."""
    result: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in output:
        if message["type"] == "RECORD":
            result[message["record"]["stream"]].append(message["record"]["data"])
    return result


def state_of(message: Message) -> tuple[str, Any, float]:
    """Return of which stream a STATE is, what it is, and how many records it counts."""
    own = message["state"]["stream"]
    name = own["stream_descriptor"]["name"]
    return name, own["stream_state"], message["state"]["sourceStats"]["recordCount"]


def last_states(output: Iterable[Message]) -> dict[str, Message]:
    """Return the last state of each stream, as Airbyte gives it back."""
    return {
        state_of(message)[0]: message["state"]
        for message in output
        if message["type"] == "STATE"
    }


def statuses(output: Iterable[Message]) -> dict[str, list[str]]:
    """Return the statuses of each stream, in order."""
    result: dict[str, list[str]] = defaultdict(list)
    for message in output:
        if status := message.get("trace", {}).get("stream_status"):
            result[status["stream_descriptor"]["name"]].append(status["status"])
    return result
