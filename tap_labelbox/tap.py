"""The tap: its settings, its streams and their order, and how a run ends."""

from __future__ import annotations

import _thread
import signal
import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox import settings
from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.base.workspace import Workspace
from tap_labelbox.exit_codes import Ending
from tap_labelbox.singer import catalog as catalogs
from tap_labelbox.singer.state import bookmarks, last_turn, prune
from tap_labelbox.singer.tap import SingerTap, Stopped, refuse
from tap_labelbox.streams import STREAMS

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator, Sequence

    from singer_sdk import Stream

    from tap_labelbox.base.stream import LabelboxStream


class TapLabelbox(SingerTap):
    """Brings Labelbox's projects, labels and exports into any warehouse."""

    name = "tap-labelbox"
    package_name = "tap-labelbox"
    config_jsonschema = settings.SETTINGS
    variable_prefix = settings.PREFIX
    read_settings = staticmethod(settings.read)
    check_settings = staticmethod(settings.problems)
    _pruned = False

    @classmethod
    def get_singer_command(cls) -> Any:
        """Return the command, whose help names the other one."""
        result = super().get_singer_command()
        result.epilog = f"Whether the key may read all of it: {cls.name} check --help"
        return result

    @classmethod
    def configured(
        cls, files: Sequence[str], catalog: dict[str, Any] | None = None
    ) -> TapLabelbox:
        """Return a tap with the settings that are given as ``--config``."""
        config = cls.cb_config(None, None, tuple(files))
        return cls(
            config=config.config, catalog=catalog, parse_env_config=config.parse_env
        )

    @cached_property
    def workspace(self) -> Workspace:
        """The client, the projects and the log that the streams of this run share."""
        return Workspace(self.config, self.logger)

    def discover_streams(self) -> list[Stream]:
        """Return every stream; this needs no key and no network."""
        return [stream(self) for stream in STREAMS]

    # --- the state of earlier runs -------------------------------------------------

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the state of the last run.

        Raises:
            ConfigValidationError: If it has bookmarks of another kind.
        """
        super().load_state(state)
        by_parent = (
            stream
            for stream in self.streams.values()
            if isinstance(stream, ProjectStream) and stream.parents
        )
        refuse(catalogs.state_problems(state, by_parent))

    def prune_state(self) -> None:
        """Remove what the state knows of projects that are no longer there.

        Not if the list of projects may lack some.
        """
        if self._pruned or not (project_ids := self.workspace.all_project_ids):
            return
        self._pruned = True
        if self.workspace.is_complete and (removed := prune(self.state, project_ids)):
            self.logger.info("Bookmarks of deleted projects removed: %d", removed)

    # --- a run, in order -------------------------------------------------------------

    def run(self) -> None:
        """Sync all selected streams, until a signal or the time limit stops it."""
        self.warn_of_unknown_streams()
        try:
            self.listen()
            with self.time_limit():
                self.sync_all()
        except Stopped:
            self.conclude()
            raise
        self.workspace.check()

    # Final to the SDK; but nothing else is called before all streams and after them,
    # whoever runs the tap.
    def sync_all(self) -> None:  # type: ignore[misc]
        """Sync all selected streams; those read longest ago come first.

        So runs that are always cut off get round all of them.
        """
        self.leave_to_other_shards()
        bookmarks = self.state.get("bookmarks", {})
        turns = {name: last_turn(bookmarks.get(name)) for name in self.streams}

        def turn(item: tuple[str, Stream]) -> tuple[str, int]:
            stream = cast("LabelboxStream", item[1])
            together = (turns[name] for name in stream.read_together)
            return max(together), STREAMS.index(type(stream))

        in_order = sorted(self.streams.items(), key=turn)
        self.streams.clear()
        self.streams.update(in_order)
        self.log_plan()
        try:
            with self.workspace.progress.running():
                self.workspace.check_choice()
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
        self.leave_to_other_shards()
        try:
            with self.workspace.progress.running():
                return bool(super().run_connection_test())
        finally:
            self.log_summary("Tested")

    def leave_to_other_shards(self) -> None:
        """Deselect the streams that the first shard reads, if this is not the first."""
        if not self.workspace.wants(None):  # what is of no project
            for stream in self.streams.values():
                if not cast("LabelboxStream", stream).is_of_projects:
                    stream.selected = False

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
        names = ", ".join(selected)
        self.logger.info("Reading %d streams from %s: %s", len(selected), since, names)

    def log_summary(self, outcome: str) -> None:
        """Log what this run has done, and which values it left out for their size."""
        if self.large_values and (report := self.large_values.report):
            self.logger.warning("%s", report)
        self.workspace.progress.log_summary(outcome, self.workspace.left_out)

    def write_last_state(self) -> None:
        """Write what has been read, and up to where that is."""
        for stream in self.streams.values():
            cast("LabelboxStream", stream).settle()
        self.writer.close()
        self.state_writer.write_state(self.state)

    def conclude(self) -> None:
        """Write what has been read, and up to where that is."""
        self.logger.warning("Interrupted: the next run resumes from this state")
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
            self.stop_code = Ending.TEMPORARY.code
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


def add_config(parser: ArgumentParser) -> None:
    """Add the option ``--config`` to a command that runs beside the tap."""
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="settings, as for a run; ENV takes them from the environment",
    )
