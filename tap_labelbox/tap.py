"""The tap: its settings, its streams, and how it ends."""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import _ConfigInput as Inputs
from singer_sdk.singerlib import Catalog

from tap_labelbox import catalog as catalogs
from tap_labelbox import maps, redact, setting_values, settings
from tap_labelbox.batches import BatchWriter
from tap_labelbox.errors import (
    OUT_OF_FILES,
    LabelboxError,
    SettingsError,
    is_out_of_files,
)
from tap_labelbox.json_text import encoder
from tap_labelbox.output import MessageWriter
from tap_labelbox.state import (
    StateWriter,
    is_flatter,
    last_turn,
    malformed_bookmark,
    prune,
)
from tap_labelbox.streams import STREAMS
from tap_labelbox.streams.base import ProjectStream
from tap_labelbox.workspace import Workspace

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from types import FrameType

    from singer_sdk import Stream

    from tap_labelbox.streams.base import LabelboxStream


# Of sysexits.h: what failed may succeed when it is tried again. Windows has no such.
EX_TEMPFAIL = 75

MAX_STATE_DEPTH = 50  # of which bookmarks take five
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
    _out_of_time = False
    _pruned = False
    _given_state = b'{"bookmarks":{}}'

    def __init__(self, **options: Any) -> None:
        """Take what the SDK's tap takes."""
        redact.install()
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
        try:
            super().sync_all()
        except Exception:
            self.write_last_state()
            raise
        for stream in self.streams.values():
            cast("LabelboxStream", stream).end_run()
        self.write_last_state()

    def write_last_state(self) -> None:
        """Write what has been read, and up to where that is."""
        for stream in self.streams.values():
            cast("LabelboxStream", stream).settle()
        self.writer.close()
        self._state_writer.write_state(self.state)

    def tell_unknown_streams(self) -> None:
        """Warn of what the catalog has and this tap has not; the rest is read."""
        if self.input_catalog is not None:
            for text in catalogs.unknown(self.input_catalog, self.streams):
                self.logger.warning("The catalog has a %s", text)
        if not any(stream.selected for stream in self.streams.values()):
            self.logger.warning("No stream is selected: nothing is read")

    def discover_streams(self) -> list[Stream]:
        """Give every stream; this needs no key and no network."""
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
        if self._stopped:
            os._exit(128 + signum)
        self._stopped = True
        code = EX_TEMPFAIL if self._out_of_time else 128 + signum
        # A target that reads no more would keep this run from ending.
        last = threading.Timer(LAST_SECONDS, os._exit, (code,))
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
        self.write_last_state()
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
                state=_json("--state", state),
                catalog=_json("--catalog", catalog),
                parse_env_config=config.parse_env,
            )
            tap.tell_unknown_streams()
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
                    inputs.config |= _config(path)
        return inputs


@contextmanager
def plain_errors(logger: logging.Logger) -> Iterator[None]:
    """End the process with one line for each thing a user can mend."""
    redact.install()
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


def _config(path: str) -> dict[str, Any]:
    """Return what a file of settings holds.

    Raises:
        SettingsError: If it is no JSON object.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        msg = f"--config cannot be read: {path}: {why}"
        raise SettingsError(msg) from None
    if not isinstance(content, dict):
        msg = f"--config cannot be read: {path} holds no JSON object"
        raise SettingsError(msg)
    return content


# What the file of an option has to hold.
SHAPES: dict[str, tuple[str, type]] = {
    "--state": ("bookmarks", dict),
    "--catalog": ("streams", list),
}


def _json(option: str, file: IO[str] | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        # As bytes: in JSON, it is not the locale that says what these stand for.
        content: Any = json.loads(file.buffer.read())  # type: ignore[attr-defined]
    except (ValueError, RecursionError) as error:
        msg = f"{option} cannot be read: {error}"
        raise SettingsError(msg) from None
    if option == "--state":
        content = _state_of(content)
    name, kind = SHAPES[option]
    if not isinstance(content, dict) or not isinstance(content.get(name, kind()), kind):
        msg = f"{option} cannot be read: it has no {name}"
        raise SettingsError(msg)
    if option == "--state":
        if content and name not in content:
            msg = f"{option} has no bookmarks: give the state that a target printed"
            raise SettingsError(msg)
        if malformed := malformed_bookmark(content):
            msg = (
                f"{option} cannot be read: the bookmark of {malformed} is malformed; "
                "run once without it"
            )
            raise SettingsError(msg)
    return content


def _state_of(content: Any) -> Any:
    """Return the state in a STATE message, as some keep it, or in Meltano's wrapper."""
    if isinstance(content, dict):
        for wrapper, only in (("value", {"type", "value"}), ("singer_state", None)):
            if wrapper in content and (only is None or content.keys() == only):
                return content[wrapper]
    return content
