"""Count how often the tap's code changes files on the way of one label or data row.

A move is a change of file at a function's entry or return, in the tap's own code and
on the main thread, with one request at a time. The walk of a label begins where the
whole reply that holds it is passed on, and ends where its record has been written.
That of a data row begins with the lines of its export, and ends with the last record
that is written of them; all streams of the export are read. The third project is
followed, when everything that is built once has been built.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tap_labelbox
from tap_labelbox.sandbox import World, serve
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

PACKAGE = f"{Path(tap_labelbox.__file__).parent}/"
SANDBOX = f"{PACKAGE}sandbox/"
WALKS = {"label": "created_at", "data row": "last_activity_at"}
"""The bookmark of the streams that are read, by what is followed."""
BESIDE = {"label_versions", "data_rows", "catalog_data_rows"}
"""Streams with these bookmarks that are read otherwise."""


@dataclass
class Walk:
    """The files between the bytes of a row and its last record."""

    path: list[str] = field(default_factory=list)
    """The files, in order, each time another one is entered or returned to."""
    entries: int = 0
    """Functions that were called, and generators that were resumed."""
    records: int = 0

    @property
    def moves(self) -> Counter[tuple[str, str]]:
        """Return how often each file was followed by each other one."""
        return Counter(zip(self.path, self.path[1:], strict=False))

    def __str__(self) -> str:
        """Return a line of figures, and one for each pair of files."""
        total, files = self.moves.total(), len({*self.path})
        lines = [f"{n:5}  {a} -> {b}" for (a, b), n in self.moves.most_common()]
        figures = f"{total} moves between {files} files, {self.entries} entries"
        return "\n".join([f"{figures}, {self.records} records", *lines])


class Recorder:
    """Follows a row by its id, as the profile function of a thread.

    Args:
        row_ids: Of the rows to follow, which stand in their bytes and their records.
    """

    def __init__(self, row_ids: Iterable[str]) -> None:
        self.walk = Walk()
        """Up to the last record so far."""
        self._ids = {*row_ids}
        self._encoded_ids = [row_id.encode() for row_id in self._ids]
        self._stack: list[str] = []
        self._now = Walk()
        self._has_begun = False

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        """Note an entry or a return of the tap's own code."""
        file = frame.f_code.co_filename
        is_foreign = not file.startswith(PACKAGE) or file.startswith(SANDBOX)
        if is_foreign or event not in {"call", "return"}:
            return
        if event == "call":
            self._stack.append(file.removeprefix(PACKAGE))
        else:
            self._stack.pop()
        if not self._has_begun:
            self._has_begun = (
                any(map(self._holds_row, _arguments(frame)))
                if event == "call"
                else isinstance(value, list | tuple) and self._holds_row(value)
            )
        if not self._has_begun:
            return
        self._now.entries += event == "call"
        if self._stack and self._now.path[-1:] != self._stack[-1:]:
            self._now.path.append(self._stack[-1])
        if frame.f_code.co_name == "write_record" and event == "return":
            self._end_with(frame.f_locals.values())

    def _end_with(self, values: Iterable[Any]) -> None:
        """End the walk here, if it is one of the rows that has been written."""
        names = ("id", "data_row_id")
        records = [value for value in values if isinstance(value, dict)]
        if any(record.get(name) in self._ids for record in records for name in names):
            self._now.records += 1
            path, now = [*self._now.path], self._now
            self.walk = Walk(path, now.entries, now.records)

    def _holds_row(self, value: Any) -> bool:
        """Return whether a value is a row's bytes, or lines that begin with them."""
        if isinstance(value, list | tuple) and value:
            value = value[0]
        return isinstance(value, bytes | bytearray) and any(
            row_id in value for row_id in self._encoded_ids
        )


def _arguments(frame: FrameType) -> Iterator[Any]:
    """Return what a function has been called with."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    return (frame.f_locals.get(name) for name in code.co_varnames[:count])


def follow(kind: str) -> Walk:
    """Sync a small workspace, and return the walk of what is followed.

    Raises:
        RuntimeError: If nothing of it was written.
    """
    world = World(projects=8, labels_per_project=1)
    # Projects come newest first, and those that were never read in that order.
    project = sorted(world.projects, key=lambda p: p.created_at, reverse=True)[2]
    rows = project.labels if kind == "label" else project.data_rows
    recorder = Recorder(row.id for row in rows)
    with serve(world) as sandbox, redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        tap = TapLabelbox(
            config={
                "api_url": sandbox.url,
                "api_key": sandbox.api_key,
                "concurrency": 1,
                "projects_per_request": 1,
                "export_poll_interval": 0.01,
            }
        )
        for stream in tap.streams.values():
            is_followed = stream.replication_key == WALKS[kind]
            stream.selected = is_followed and stream.name not in BESIDE
        before = sys.getprofile()
        sys.setprofile(recorder)
        try:
            tap.sync_all()
        finally:
            sys.setprofile(before)
    if not recorder.walk.records:
        msg = f"no {kind} was written"
        raise RuntimeError(msg)
    return recorder.walk


def main() -> None:
    """Print the walks that the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", nargs="*", help=f"{' or '.join(WALKS)}; both if none")
    for kind in parser.parse_args().kind or WALKS:
        if kind not in WALKS:
            parser.error(f"unknown kind {kind!r}: name {' or '.join(WALKS)}")
        print(f"{kind}: {follow(kind)}\n")


if __name__ == "__main__":
    main()
