"""The tap: its settings, its streams, and how it ends."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, cast

from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.plugin_base import _ConfigInput as Inputs

from tap_labelbox import settings
from tap_labelbox.batches import BatchWriter
from tap_labelbox.errors import (
    OUT_OF_FILES,
    LabelboxError,
    SettingsError,
    is_out_of_files,
)
from tap_labelbox.output import MessageWriter
from tap_labelbox.state import StateWriter, odd_bookmark
from tap_labelbox.streams import STREAMS
from tap_labelbox.workspace import Workspace

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from types import FrameType

    from singer_sdk import Stream


LAST_SECONDS = 10.0  # that a run has to end when it is told to


class Stopped(SystemExit):
    """A signal asked this run to end; the code is the shell's: 128 and its number."""


class TapLabelbox(Tap):
    """Brings Labelbox's projects, labels and exports into any warehouse."""

    name = "tap-labelbox"
    package_name = "tap-labelbox"
    config_jsonschema = settings.SETTINGS
    message_writer_class = MessageWriter
    _stopped = False

    def __init__(self, **options: Any) -> None:
        """Take what the SDK's tap takes."""
        super().__init__(**options)
        if "batch_config" in self.config:
            self.message_writer = BatchWriter(self.config["batch_config"])
        self._state_writer = StateWriter(cast("MessageWriter", self.message_writer))

    def tell_unknown_streams(self) -> None:
        """Warn of what the catalog has and this tap has not; the rest is read."""
        given = {entry.tap_stream_id for entry in (self.input_catalog or {}).values()}
        for name in sorted(given - self.streams.keys()):
            self.logger.warning(
                "The catalog has a stream that this tap does not know: %s", name
            )

    def discover_streams(self) -> list[Stream]:
        """Give every stream; this needs no key and no network."""
        return [stream(self) for stream in STREAMS]

    @cached_property
    def workspace(self) -> Workspace:
        """What the streams of this run share."""
        return Workspace(self.config, self.logger)

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        if key := os.environ.get(settings.API_KEY_VARIABLE):
            self._config.setdefault("api_key", key)
        self.append_builtin_config(self.config_jsonschema)
        told = settings.problems(self._config, self.config_jsonschema)
        if told and raise_errors:
            raise ConfigValidationError("; ".join(told), errors=told)
        return told

    # The SDK writes the state in the middle of whatever goes on, which may be half
    # a line, and ends with 0, as if all had been read.

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop here, but not within a line; at the second signal at once."""
        del frame
        if self._stopped:
            os._exit(128 + signum)
        self._stopped = True
        # A target that reads no more would keep this run from ending.
        last = threading.Timer(LAST_SECONDS, os._exit, (128 + signum,))
        last.daemon = True
        with suppress(RuntimeError, MemoryError):  # no thread is left: the second
            last.start()  # signal ends it as well
        cast("MessageWriter", self.message_writer).interrupt(Stopped(128 + signum))

    def _setup_signal_handlers(self) -> None:
        """Leave signals to whoever has them: there is nothing to conclude yet."""

    def listen(self) -> None:
        """Let signals stop the run in its own way from here on."""
        super()._setup_signal_handlers()

    def conclude(self) -> None:
        """Write what has been read, and up to where that is."""
        self.logger.warning("Stopped: the next run goes on from here")
        writer = cast("MessageWriter", self.message_writer)
        writer.resume()
        writer.close()
        if self.state:  # an empty one would take the place of the last run's
            self._state_writer.write_state(self.state)
        self.workspace.client.close()

    # The SDK ends with a traceback on any error, and knows no run that went to
    # its end but left something out. So both ways to run the tap are wrapped.

    @classmethod
    def invoke(  # type: ignore[override]  # as the SDK's Tap does
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Inputs | None = None,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
    ) -> None:
        """Sync all selected streams."""
        super(Tap, cls).invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        config = config or Inputs()
        with plain_errors(cls.logger):
            tap = cls(
                config=config.config,
                state=_json("--state", state),
                catalog=_json("--catalog", catalog),
                parse_env_config=config.parse_env,
            )
            tap.tell_unknown_streams()
            try:
                tap.listen()
                tap.sync_all()
            except Stopped:
                tap.conclude()
                raise
            tap.workspace.check()

    @classmethod
    def cb_test(cls, ctx: Any, param: Any, value: str) -> None:
        """Sync one record of each stream."""
        with plain_errors(cls.logger):
            super().cb_test(ctx, param, value)

    @classmethod
    def cb_config(cls, ctx: Any, param: Any, value: tuple[str, ...]) -> Inputs:
        """Read the configuration files."""
        with plain_errors(cls.logger):
            try:
                return super().cb_config(ctx, param, value)
            except (OSError, ValueError) as error:
                msg = f"--config cannot be read: {error}"
                raise SettingsError(msg) from None


@contextmanager
def plain_errors(logger: logging.Logger) -> Iterator[None]:
    """End the process with one line for each thing a user can mend."""
    try:
        yield
    except ConfigValidationError as error:
        for line in error.errors:
            logger.error(line)
    except LabelboxError as error:
        logger.error(error)
    except MemoryError:
        logger.error("There is not enough memory: allow more, or lower concurrency")
    except RecursionError:
        logger.error("A reply or a setting is nested too deeply to be read")
    except OSError as error:
        if not is_out_of_files(error):
            raise
        logger.error(OUT_OF_FILES)
    else:
        return
    sys.exit(1)


# What the file of an option has to hold.
SHAPES: dict[str, tuple[str, type]] = {
    "--state": ("bookmarks", dict),
    "--catalog": ("streams", list),
}


def _json(option: str, file: IO[str] | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        content: Any = json.load(file)
    except ValueError as error:
        msg = f"{option} cannot be read: {error}"
        raise SettingsError(msg) from None
    name, kind = SHAPES[option]
    if not isinstance(content, dict) or not isinstance(content.get(name, kind()), kind):
        msg = f"{option} cannot be read: it has no {name}"
        raise SettingsError(msg)
    if option == "--state" and (odd := odd_bookmark(content)):
        msg = f"{option} cannot be read: the bookmark of {odd} is odd; run without it"
        raise SettingsError(msg)
    return content
