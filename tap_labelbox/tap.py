"""The tap: its settings, its streams, and how it ends."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, cast

from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import _ConfigInput as Inputs
from singer_sdk.singerlib import Catalog

from tap_labelbox import redact, settings
from tap_labelbox.api.errors import LabelboxError, SettingsError, shortage
from tap_labelbox.exit_codes import Ending, ending
from tap_labelbox.records.json_text import encoder
from tap_labelbox.singer import catalog as catalogs
from tap_labelbox.singer import maps, metrics, setting_values
from tap_labelbox.singer.batches import BatchWriter
from tap_labelbox.singer.input_files import read_catalog, read_config, read_state
from tap_labelbox.singer.messages import MessageWriter
from tap_labelbox.singer.state import (
    StateWriter,
    bookmarks,
    is_flatter,
    last_turn,
    prune,
)
from tap_labelbox.streams import STREAMS
from tap_labelbox.streams.base import ProjectStream
from tap_labelbox.streams.workspace import Workspace

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from types import FrameType

    from singer_sdk import Stream

    from tap_labelbox.streams.base import LabelboxStream


MAX_STATE_DEPTH = 50  # of which bookmarks take five
SHUTDOWN_SECONDS = 10.0  # that a run has to end when it is told to
# `timeout` signals the process, and then its group, in which the process is as well.
SAME_SIGNAL_SECONDS = 1.0


class Stopped(SystemExit):
    """A signal asked this run to end; the code is the shell's: 128 and its number."""


class TapLabelbox(Tap):
    """Brings Labelbox's projects, labels and exports into any warehouse."""

    name = "tap-labelbox"
    package_name = "tap-labelbox"
    config_jsonschema = settings.SETTINGS
    message_writer_class = MessageWriter
    _stopped_at: float | None = None
    _out_of_time = False
    _pruned = False
    _given_state = b'{"bookmarks":{}}'

    def __init__(self, **options: Any) -> None:
        """Take what the SDK's tap takes."""
        redact.install()
        metrics.quieten(self.logger)
        given = options.get("catalog")
        if isinstance(given, dict) and not isinstance(given, Catalog):
            options["catalog"] = catalogs.read(given)
        elif isinstance(given, Catalog):
            options["catalog"] = catalogs.without_empty_properties(deepcopy(given))
        super().__init__(**options)
        if "batch_config" in self.config:
            self.message_writer = BatchWriter(self.config["batch_config"])
        self._state_writer = StateWriter(
            self.writer, is_first_run=not self.state.get("bookmarks")
        )
        self.writer.begin_with(self._given_state)

    @property
    def writer(self) -> MessageWriter:
        """Where all messages of this run go."""
        return cast("MessageWriter", self.message_writer)

    def setup_mapper(self) -> None:
        """Make the stream maps, if all that they and the catalog name exists.

        Raises:
            ConfigValidationError: If not.
        """
        told = list(maps.problems(self.config, self.streams))
        if self.input_catalog is not None:
            told += catalogs.problems(self.input_catalog, self.streams)
        if not told:
            self.mapper = maps.mapper(self.config, self.streams, self.logger)
            if self.config.get("emit_activate_version_messages"):
                told += self._shared_tables()
        if told:
            raise ConfigValidationError("; ".join(told), errors=told)
        for key, pattern in maps.replacements(self.config, self.streams):
            self.logger.warning(
                "stream_maps.%s replaces stream_maps.%s: nothing of that is done there",
                key,
                pattern,
            )
        for new, column in maps.near_columns(self.config, self.streams):
            self.logger.warning(
                "stream_maps make a new column, %s; %s stays as it is", new, column
            )

    def _shared_tables(self) -> Iterator[str]:
        """Yield the tables that have several streams: each would delete the others."""
        for alias, names in maps.aliases(self.mapper, self.streams).items():
            if len(names) > 1:
                yield (
                    f"stream_maps write {' and '.join(names)} to one table, {alias}: "
                    "take emit_activate_version_messages out, which would delete the "
                    "rows of one of them"
                )

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the state of the last run, and keep it as it was given."""
        if not is_flatter(state, MAX_STATE_DEPTH):
            msg = "--state cannot be read: it is nested too deeply"
            raise SettingsError(msg)
        by_project = (s for s in self.streams.values() if isinstance(s, ProjectStream))
        if told := list(catalogs.state_problems(state, by_project)):
            raise ConfigValidationError("; ".join(told), errors=told)
        self._given_state = encoder.encode({"bookmarks": {}} | state)
        super().load_state(state)

    def prune_state(self) -> None:
        """Remove what the state knows of projects that are no longer there.

        Not if the list of projects may lack some.
        """
        if self._pruned or not (project_ids := self.workspace.all_project_ids):
            return
        self._pruned = True
        if self.workspace.is_complete and (removed := prune(self.state, project_ids)):
            self.logger.info("Bookmarks of deleted projects removed: %d", removed)

    # Final to the SDK; but nothing else is called before all streams and after them,
    # whoever runs the tap.
    def sync_all(self) -> None:  # type: ignore[misc]
        """Sync all selected streams; those read longest ago come first.

        So runs that are always cut off get round all of them.
        """
        bookmarks = self.state.get("bookmarks", {})
        turns = {name: last_turn(bookmarks.get(name)) for name in self.streams}

        def turn(item: tuple[str, Stream]) -> tuple[str, int]:
            stream = cast("LabelboxStream", item[1])
            together = (turns[name] for name in stream.read_together)
            return max(together), STREAMS.index(type(stream))

        self._streams = dict(sorted(self.streams.items(), key=turn))
        self.log_plan()
        try:
            with self.workspace.progress.running():
                self._sync_selected()
        except Exception:
            self.log_summary("Failed")
            raise
        self.log_summary("Finished")

    def _sync_selected(self) -> None:
        try:
            super().sync_all()
        except Exception:
            self.write_last_state()
            raise
        for stream in self.streams.values():
            cast("LabelboxStream", stream).end_run()
        self.write_last_state()

    def run_connection_test(self) -> bool:  # type: ignore[misc]  # as above
        """Read a record of each stream, of a few data rows of a project."""
        try:
            with self.workspace.progress.running():
                return bool(super().run_connection_test())
        finally:
            self.log_summary("Tested")

    def log_plan(self) -> None:
        """Log what is about to be read, and from when on."""
        selected = [name for name, stream in self.streams.items() if stream.selected]
        if not selected:
            self.logger.warning(
                "No stream is selected: nothing is read; select some in the catalog "
                "(meltano select tap-labelbox '*')"
            )
            return
        start_date = self.config.get("start_date")
        since = f"start_date ({start_date})" if start_date else "the beginning"
        if files := self.config.get("export_files"):
            since = f"saved files ({len(files)} in export_files)"
        elif values := bookmarks(self.state, selected):
            since = f"bookmarks of {min(values)} to {max(values)}, else from {since}"
        named = ", ".join(selected)
        self.logger.info("Reading %d streams from %s: %s", len(selected), since, named)

    def log_summary(self, outcome: str) -> None:
        """Log what this run has done."""
        self.workspace.progress.log_summary(outcome, self.workspace.left_out)

    def write_last_state(self) -> None:
        """Write what has been read, and up to where that is."""
        for stream in self.streams.values():
            cast("LabelboxStream", stream).settle()
        self.writer.close()
        self._state_writer.write_state(self.state)

    def warn_of_unknown_streams(self) -> None:
        """Warn of what the catalog has and this tap has not; the rest is read."""
        if self.input_catalog is not None:
            for text in catalogs.unknown(self.input_catalog, self.streams):
                self.logger.warning("The catalog has a %s", text)

    def discover_streams(self) -> list[Stream]:
        """Return every stream; this needs no key and no network."""
        return [stream(self) for stream in STREAMS]

    @cached_property
    def workspace(self) -> Workspace:
        """What the streams of this run share."""
        return Workspace(self.config, self.logger)

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        """Return the text of what is in the environment; the SDK would cast it."""
        cls.append_builtin_config(cls.config_jsonschema)
        try:
            return setting_values.from_environment(
                cls.config_jsonschema, settings.PREFIX
            )
        except (OSError, ValueError) as error:
            msg = f".env cannot be read: {error}"
            raise SettingsError(msg) from None

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        self.append_builtin_config(self.config_jsonschema)
        schema = self.config_jsonschema
        schema["properties"] = settings.mended(schema["properties"])
        self._config = settings.read(self._config, schema)
        if raise_errors:
            for text in setting_values.unread(self._config, schema, settings.PREFIX):
                self.logger.warning(text)
        told = settings.problems(self._config, schema)
        if told and raise_errors:
            raise ConfigValidationError("; ".join(told), errors=told)
        return told

    # The SDK writes the state in the middle of whatever goes on, which may be half
    # a line, and ends with 0, as if all had been read.

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop here, but not within a line; at the second signal at once."""
        del frame
        if self._stopped_at is not None:
            if time.monotonic() < self._stopped_at + SAME_SIGNAL_SECONDS:
                return
            os._exit(128 + signum)
        self._stopped_at = time.monotonic()
        code = Ending.TEMPORARY.code if self._out_of_time else 128 + signum
        # A target that reads no more would keep this run from ending.
        last = threading.Timer(SHUTDOWN_SECONDS, os._exit, (code,))
        last.daemon = True
        with suppress(RuntimeError, MemoryError):  # no thread is left: the second
            last.start()  # signal ends it as well
        self.writer.interrupt(Stopped(code))

    def _setup_signal_handlers(self) -> None:
        """Leave signals to whoever has them: there is nothing to conclude yet."""

    def listen(self) -> None:
        """Let signals stop the run in its own way from here on."""
        super()._setup_signal_handlers()

    def conclude(self) -> None:
        """Write what has been read, and up to where that is."""
        self.logger.warning("Stopped: the next run goes on from here")
        self.writer.resume()
        try:
            self.write_last_state()
        finally:
            self.log_summary("Stopped")
            self.workspace.client.close()

    @contextmanager
    def time_limit(self) -> Iterator[None]:
        """End the run as SIGTERM would, after as long as the settings say."""
        seconds = self.config.get("max_run_seconds")
        if seconds is None:
            yield
            return

        def end() -> None:
            self._out_of_time = True
            self.logger.warning("max_run_seconds (%g) have passed", seconds)
            if hasattr(signal, "pthread_kill"):  # which also ends a wait
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            else:  # on Windows
                _thread.interrupt_main(signal.SIGTERM)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

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
                state=state and read_state(state),
                catalog=catalog and read_catalog(catalog),
                parse_env_config=config.parse_env,
            )
            tap.warn_of_unknown_streams()
            try:
                tap.listen()
                with tap.time_limit():
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
        del ctx, param
        inputs = Inputs(parse_env="ENV" in value)
        with plain_errors(cls.logger):
            for path in value:
                if path != "ENV":
                    inputs.config |= read_config(path)
        return inputs


@contextmanager
def plain_errors(logger: logging.Logger) -> Iterator[None]:
    """End the process with one line for each thing a user can mend."""
    redact.install()
    try:
        yield
    except Exception as error:
        if not (lines := _lines(error)):
            raise
        for line in lines:
            logger.error("%s", line)
        sys.exit(ending(error).code)


def _lines(error: Exception) -> list[str]:
    """Return what a user is told of an error; nothing of one that nobody foresaw."""
    match error:
        case ConfigValidationError():
            return error.errors or [str(error)]
        case LabelboxError():
            return [str(error)]
        case RecursionError():
            return ["A reply or a setting is nested too deeply to be read"]
    return list(filter(None, [shortage(error)]))
