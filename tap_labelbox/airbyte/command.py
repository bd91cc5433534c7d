"""``source-labelbox spec | check | discover | read``, as Airbyte calls a source."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from singer_sdk import metrics

from tap_labelbox import redact
from tap_labelbox.airbyte import catalog as catalogs
from tap_labelbox.airbyte import form
from tap_labelbox.airbyte.writer import AirbyteWriter, LogHandler
from tap_labelbox.api.errors import SettingsError
from tap_labelbox.check import only_warnings, probe
from tap_labelbox.exit_codes import Ending, ending
from tap_labelbox.progress import SUMMARY_LOGGER
from tap_labelbox.records.malformed import first_of
from tap_labelbox.singer.input_files import reading
from tap_labelbox.singer.tap import Stopped, one_line_each
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.base.stream import LabelboxStream

NAME = "source-labelbox"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAX_NAMED_STREAMS = 10


class Source:
    """A command of Airbyte's, with its options, and what it writes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.writer = AirbyteWriter()
        self.tap: TapLabelbox | None = None
        """The tap of a read that has begun."""

    def spec(self) -> None:
        """Describe the settings."""
        self.writer.write(form.spec())

    def discover(self) -> None:
        """List all streams."""
        # They are the same for all settings.
        tap = TapLabelbox(config={"api_key": "none"}, message_writer=self.writer)
        self.writer.write(catalogs.discovered(tap))

    def check(self) -> None:
        """Report whether the settings open a workspace, and what may not be read."""
        status = {"status": "SUCCEEDED", "message": ""}
        try:
            status["message"] = self._finding()
        except Exception as error:
            if not (lines := one_line_each(error)):
                raise
            status = {"status": "FAILED", "message": "; ".join(lines)}
        self.writer.write({"type": "CONNECTION_STATUS", "connectionStatus": status})

    def _finding(self) -> str:
        tap = TapLabelbox(config=self._settings(), message_writer=self.writer)
        workspace = tap.workspace
        workspace.check_choice()
        projects = list(workspace.projects("projects"))
        if not workspace.is_complete:
            lacking = (f"{what}: {why}" for what, why in workspace.left_out)
            raise SettingsError("; ".join(lacking))
        with only_warnings(tap.logger):
            unreadable = [
                name
                for name, stream in tap.streams.items()
                if stream.selected and probe(cast("LabelboxStream", stream))[0] is False
            ]
        text = f"{len(projects)} projects"
        if unreadable:
            names = first_of(unreadable, MAX_NAMED_STREAMS)
            text += f"; the API key may not read {names}: leave these streams out"
        return text

    def read(self) -> None:
        """Read the streams that are configured, each from its state on."""
        self.tap = prepared(
            self.writer,
            self._settings(),
            _content(self._options.catalog, "--catalog"),
            _content(self._options.state, "--state"),
        )
        self.tap.run()

    def _settings(self) -> dict[str, Any]:
        content = _content(self._options.config, "--config")
        if not isinstance(content, dict):
            raise SettingsError(
                "--config is not a JSON object: put the settings in one"
            )
        return form.settings(content, TapLabelbox.logger.warning)


def prepared(
    writer: AirbyteWriter, settings: dict[str, Any], catalog: Any, state: Any
) -> TapLabelbox:
    """Return the tap of a read, of the catalog and the states as Airbyte has them.

    Raises:
        SettingsError: If the catalog or the state cannot be used.
    """
    all_states = catalogs.states(state)
    plain = TapLabelbox(config=settings, message_writer=writer)
    streams = catalogs.modes(catalog, plain)
    states = {name: own for name, own in all_states.items() if streams.get(name)}
    tap = TapLabelbox(
        config=settings,
        catalog=catalogs.singer_catalog(catalog, plain),
        state={"bookmarks": states},
        message_writer=writer,
    )
    writer.read(streams, states)
    return tap


def _content(path: str | None, option: str) -> Any:
    """Return what is in a file of JSON; {} of none."""
    if path is None:
        return {}
    with reading(option, path):
        content = Path(path).read_bytes()  # of /dev/stdin as well
        return json.loads(content) if content.strip() else {}


def main() -> None:
    """Run the command, and end the process."""
    # Only a read has something to conclude; Airbyte's tools stop others halfway.
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    options = _parser().parse_args()
    source = Source(options)
    _set_up_log(source.writer, is_debug=options.debug)
    code = run(source, getattr(source, options.command))
    for number in SIGNALS:
        if code == 128 + number:  # so that whoever stopped it knows
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
    sys.exit(code)


def run(source: Source, command: Callable[[], None]) -> int:
    """Run a command, and return the exit code; why it failed is its last message."""
    writer = source.writer
    try:
        command()
    except Stopped as stop:
        text, failure = "Stopped: the next sync resumes from here", Ending.TERMINATED
        code = cast("int", stop.code)
    except Exception as error:  # noqa: BLE001  # the last message says so
        failure, lines = ending(error), one_line_each(error)
        text, code = "; ".join(lines), failure.code
        if not lines:
            TapLabelbox.logger.exception("This is a bug")
            text = f"{type(error).__name__}: the log has its traceback"
    else:
        return Ending.DONE.code
    writer.resume()
    if source.tap is not None:
        writer.end_run(source.tap.state)
    writer.fail(text, str(failure.failure_type))
    return code


def _set_up_log(writer: AirbyteWriter, *, is_debug: bool) -> None:
    """Turn all that is logged into LOG messages, but what is for programs."""
    redact.install()
    root = logging.getLogger()
    root.addHandler(LogHandler(writer))
    root.setLevel(logging.INFO)
    if is_debug:
        TapLabelbox.logger.setLevel(logging.DEBUG)
    metrics.get_metrics_logger().disabled = True
    TapLabelbox.logger.getChild(SUMMARY_LOGGER).disabled = True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME, description="Read Labelbox as a source of Airbyte."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, options in {
        "spec": (),
        "check": ("config",),
        "discover": ("config",),
        "read": ("config", "catalog"),
    }.items():
        command = commands.add_parser(name, description=getattr(Source, name).__doc__)
        for option in options:
            command.add_argument(f"--{option}", required=True, metavar="FILE")
        if name == "read":
            command.add_argument("--state", metavar="FILE")
        command.add_argument("--debug", action="store_true", help="log more")
    return parser
