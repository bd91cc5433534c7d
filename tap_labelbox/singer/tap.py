"""The part of the tap that replaces private parts of the SDK's: input, output, stop.

The SDK's own tap validates settings without naming them, writes its state in the
middle of a line when a signal comes, and ends with a traceback on any error. All
that replaces private parts of :class:`singer_sdk.Tap` stands here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import Tap
from singer_sdk._logging import _setup_console_logging
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import _ConfigInput as Inputs
from singer_sdk.singerlib import Catalog

from tap_labelbox import redact
from tap_labelbox.api.errors import LabelboxError, SettingsError, shortage
from tap_labelbox.exit_codes import ending
from tap_labelbox.records.json_text import encoder
from tap_labelbox.singer import catalog as catalogs
from tap_labelbox.singer import maps, metrics, setting_values
from tap_labelbox.singer.batches import BatchWriter
from tap_labelbox.singer.input_files import read_catalog, read_config, read_state
from tap_labelbox.singer.large_values import LargeValues
from tap_labelbox.singer.state import StateWriter, is_flatter
from tap_labelbox.singer.writer import MessageWriter

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

MAX_STATE_DEPTH = 50  # of which bookmarks take five
SHUTDOWN_SECONDS = 10.0  # that a run has to end when a signal stops it
# `timeout` signals the process, and then its group, in which the process is as well.
SAME_SIGNAL_SECONDS = 1.0


class Stopped(SystemExit):
    """A signal asked this run to end; the code is the shell's: 128 and its number."""


class SingerTap(Tap):
    """A tap whose errors are one line each, and whose runs can be stopped anywhere."""

    # The SDK names one more from 0.55 on; what the Hub lists is the same with both.
    capabilities: ClassVar = [c for c in Tap.capabilities if c.value != "start-date"]
    variable_prefix: str
    """Of the settings' variables in the environment."""
    read_settings: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
    """Return the settings in the types of their schema, without defaults."""
    check_settings: Callable[[dict[str, Any], dict[str, Any]], list[str]]
    """Fill in the defaults, and return what is wrong with the settings."""
    stop_code: int | None = None
    """The exit code of a run that is stopped, if it is not the signal's."""
    _stopped_at: float | None = None
    _initial_state = b'{"bookmarks":{}}'

    def __init__(self, **options: Any) -> None:
        redact.install()
        metrics.quieten(self.logger)
        supplied = options.get("catalog")
        if isinstance(supplied, Catalog):
            options["catalog"] = catalogs.without_empty_properties(deepcopy(supplied))
        elif isinstance(supplied, dict):
            options["catalog"] = catalogs.read(supplied)
        super().__init__(**options)
        self._state_writer = StateWriter(
            self.writer, is_first_run=not self.state.get("bookmarks")
        )
        self.writer.begin_with(self._initial_state)

    # --- settings ------------------------------------------------------------

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's own settings, with their schemas corrected.

        Some have a name where a schema belongs, which ends validation with a
        traceback; and what faker_config does not know is ignored.
        """
        super().append_builtin_config(config_jsonschema)
        properties = config_jsonschema["properties"]
        properties["stream_maps"] = json.loads(
            json.dumps(properties["stream_maps"]), object_hook=_without_names
        )
        properties["faker_config"]["additionalProperties"] = False

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of all settings, the SDK's own included."""
        schema = deepcopy(cls.config_jsonschema)
        cls.append_builtin_config(schema)
        return schema

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        """Return the text of variables in the environment; the SDK would cast it."""
        try:
            return setting_values.from_environment(
                cls.settings_schema(), cls.variable_prefix
            )
        except (OSError, ValueError) as error:
            raise SettingsError(f".env cannot be read: {error}") from None

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        schema = self.settings_schema()
        config = self._config = self.read_settings(self._config, schema)
        if raise_errors:
            for text in setting_values.unread(config, schema, self.variable_prefix):
                self.logger.warning(text)
        errors = self.check_settings(config, schema)
        if raise_errors:
            refuse(errors)
        return errors

    # --- input and output ------------------------------------------------------

    @property
    def message_writer_class(self) -> Callable[[], MessageWriter]:  # type: ignore[override]
        """Return what makes the writer of a run, of batch files if these are set."""
        if "batch_config" in self.config:
            return partial(BatchWriter, self.config["batch_config"])
        return MessageWriter

    @cached_property
    def large_values(self) -> LargeValues | None:
        """The removal of large values from records; None if they may stay."""
        max_bytes = self.config.get("max_value_bytes")
        return None if max_bytes is None else LargeValues(max_bytes)

    @property
    def writer(self) -> MessageWriter:
        """The writer of all messages of this run."""
        return cast("MessageWriter", self.message_writer)

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the state of the last run, and keep it as it was given.

        Raises:
            SettingsError: If it is nested too deeply.
        """
        if not is_flatter(state, MAX_STATE_DEPTH):
            raise SettingsError("--state cannot be read: it is nested too deeply")
        self._initial_state = encoder.encode({"bookmarks": {}} | state)
        super().load_state(state)

    def setup_mapper(self) -> None:
        """Set up the stream maps.

        Raises:
            ConfigValidationError: If they or the catalog name what does not exist.
        """
        errors = list(maps.problems(self.config, self.streams))
        if self.input_catalog is not None:
            errors += catalogs.problems(self.input_catalog, self.streams)
        refuse(errors)
        self.mapper = maps.mapper(self.config, self.streams, self.logger)
        if self.config.get("emit_activate_version_messages"):
            refuse(maps.shared_tables(self.mapper, self.streams))
        for text in maps.warnings(self.config, self.streams):
            self.logger.warning("%s", text)

    def warn_of_unknown_streams(self) -> None:
        """Warn of what the catalog has and this tap lacks; the rest is read."""
        if self.input_catalog is not None:
            for text in catalogs.unknown(self.input_catalog, self.streams):
                self.logger.warning("The catalog has a %s", text)

    # --- signals -----------------------------------------------------------------
    # The SDK writes the state in the middle of whatever goes on, which may be half
    # a line, and ends with 0, as if all had been read.

    def _setup_signal_handlers(self) -> None:
        """Leave signals to whoever handles them: there is nothing to conclude yet."""

    def listen(self) -> None:
        """Stop the run at SIGINT and SIGTERM from here on."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Stop here, but not within a line; at the second signal at once."""
        del frame
        if self._stopped_at is not None:
            if time.monotonic() < self._stopped_at + SAME_SIGNAL_SECONDS:
                return
            os._exit(128 + number)
        self._stopped_at = time.monotonic()
        code = 128 + number if self.stop_code is None else self.stop_code
        # A target that reads no more would keep this run from ending.
        last = threading.Timer(SHUTDOWN_SECONDS, os._exit, (code,))
        last.daemon = True
        with suppress(RuntimeError, MemoryError):  # no thread is left: the second
            last.start()  # signal ends it as well
        self.writer.interrupt(Stopped(code))

    # --- the command ---------------------------------------------------------------

    def run(self) -> None:
        """Sync all selected streams, as the command does."""
        raise NotImplementedError

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
            cls(
                config=config.config,
                state=state and read_state(state),
                catalog=catalog and read_catalog(catalog),
                parse_env_config=config.parse_env,
            ).run()

    @classmethod
    def cb_test(cls, ctx: Any, param: Any, value: str) -> None:
        """Sync one record of each stream."""
        with plain_errors(cls.logger):
            super().cb_test(ctx, param, value)

    @classmethod
    def cb_config(cls, ctx: Any, param: Any, value: tuple[str, ...]) -> Inputs:
        """Read the configuration files."""
        del ctx, param
        inputs = Inputs(parse_env="ENV" in value)
        with plain_errors(cls.logger):
            for path in value:
                if path != "ENV":
                    inputs.config |= read_config(path)
        return inputs


def set_up_log(logger: logging.Logger) -> None:
    """Send the log where that of a run goes, for a command other than a run."""
    _setup_console_logging(log_level=logger.level)


def refuse(errors: Iterable[str]) -> None:
    """Raise an error with all that is wrong; do nothing if nothing is."""
    if lines := list(errors):
        raise ConfigValidationError("; ".join(lines), errors=lines)


def _without_names(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a schema without the names that stand where schemas belong."""
    if "anyOf" in part:
        part["anyOf"] = [inner for inner in part["anyOf"] if isinstance(inner, dict)]
    return part


@contextmanager
def plain_errors(logger: logging.Logger) -> Iterator[None]:
    """End the process with one line for each error that a user can correct."""
    redact.install()
    try:
        yield
    except Exception as error:
        if not (lines := one_line_each(error)):
            raise
        for line in lines:
            logger.error("%s", line)
        sys.exit(ending(error).code)


def one_line_each(error: Exception) -> list[str]:
    """Return the lines that a user gets of an error; none of an unforeseen one."""
    match error:
        case ConfigValidationError():
            return error.errors or [str(error)]
        case LabelboxError():
            return [str(error)]
        case RecursionError():
            return ["A reply or a setting is nested too deeply to be read"]
    return list(filter(None, [shortage(error)]))
