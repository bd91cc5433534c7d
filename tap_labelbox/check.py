"""``tap-labelbox check``: what the API key may read, and whether all has arrived.

It asks Labelbox what the account holds, and for each stream the least that shows
whether it may be read. With the messages of a run, or a table of counts, it says where
they differ from that. It writes no message, and changes nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import sys
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from tap_labelbox.api.errors import (
    NotOfferedError,
    SettingsError,
    TransientError,
    UnavailableError,
)
from tap_labelbox.api.pagination import MIN_PAGE_ROWS
from tap_labelbox.api.reader import holders
from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.base.workspace import MAX_SAMPLE_PROJECTS
from tap_labelbox.exit_codes import Ending
from tap_labelbox.records.json_text import decode
from tap_labelbox.records.values import as_id, as_integer
from tap_labelbox.singer.input_files import read_catalog, reading
from tap_labelbox.singer.state import PROJECT_ID
from tap_labelbox.singer.tap import plain_errors, set_up_log
from tap_labelbox.streams import STREAMS
from tap_labelbox.streams.bulk_export import BulkExportStream
from tap_labelbox.tap import TapLabelbox, add_config

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tap_labelbox.base.stream import LabelboxStream

PROJECT_COUNTS = {
    "labels": "label_count",
    "export_labels": "label_count",
    "bulk_export": "label_count",
    "data_row_exports": "data_row_count",
}
"""Which column of projects says how many rows of a project a stream has."""
TOTALS = {"user_groups": "total_user_groups"}
"""Documents that ask how many rows a stream has."""
UNASKED = "not asked, for it takes an export: tap-labelbox --test reads a small one"
INCREMENTAL = "the run went on from a bookmark, so it has only what was new"
FEWER = {
    "labels": "made after the run, or drafts, which are counted and not listed",
    "export_labels": "made after the run, or of data rows in export_errors",
    "bulk_export": "made after the file, which is a snapshot and up to 30 minutes old",
    "data_row_exports": "added after the run, or in export_errors",
    "data_rows": "added after the run; a data row counts in its dataset, whether or "
    "not it is in a project",
}
MORE = "deleted since they were read, and kept where they were loaded"


@dataclass
class Finding:
    """A row of the result: on a stream, or on a project in one."""

    stream: str
    project_id: str | None = None
    selected: bool = True
    readable: bool | None = None
    """None where it was not asked."""
    expected: int | None = None
    """Rows by Labelbox's count; None where it counts none."""
    received: int | None = None
    """Rows in the messages, or by the table of counts."""
    why: str = ""

    @property
    def differs(self) -> bool:
        """True if there are two counts, and they are not the same."""
        return (
            None not in (self.expected, self.received)
            and self.expected != self.received
        )

    @property
    def is_fine(self) -> bool:
        """True if a run reads all of it, as far as is known."""
        return not self.differs and not (self.selected and self.readable is False)


Place = tuple[str, str | None]
"""A stream, and a project if there is one."""


@dataclass
class Received:
    """The rows that have arrived, by number."""

    counts: Mapping[Place, int]
    streams: frozenset[str] = frozenset()
    """Those of which something is known, be it that there is nothing."""
    incremental: frozenset[str] = frozenset()
    """Those that went on from a bookmark."""


# --- what has arrived ----------------------------------------------------------


def read_messages(lines: IO[bytes], where: str) -> Received:
    """Count the keys in the messages of a run; a record that comes twice counts once.

    Raises:
        SettingsError: If these are none.
    """
    keys: dict[str, list[str]] = {}
    hashes: dict[Place, set[int]] = defaultdict(set)
    unknown, incremental = set(), None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            message = decode(line)
        except ValueError:
            message = None
        match message:
            case {"type": "RECORD", "stream": str(name), "record": dict(record)}:
                key = [record.get(column) for column in keys.get(name) or record]
                place = name, as_id(record.get(PROJECT_ID))
                hashes[place].add(hash(json.dumps(key)))
            case {"type": "SCHEMA", "stream": str(name)}:
                keys[name] = message.get("key_properties") or []
            case {"type": "STATE", "value": dict(value)} if incremental is None:
                bookmarks = value.get("bookmarks")
                incremental = frozenset(
                    bookmarks if isinstance(bookmarks, dict) else ()
                )
            case {"type": "BATCH", "stream": str(name)}:
                unknown.add(name)  # what is in files is not looked at
            case {"type": str()}:
                pass
            case _:
                msg = (
                    f"{where} has no Singer message in line {number}: pass the "
                    "output of a run"
                )
                raise SettingsError(msg)
    return Received(
        {place: len(own) for place, own in hashes.items()},
        frozenset(keys.keys() - unknown),
        incremental or frozenset(),
    )


def read_counts(path: Path) -> Received:
    """Return a table of counts: stream, count, and project_id if it is by project.

    Raises:
        SettingsError: If it is none.
    """
    with reading("--counts", str(path)):
        text = path.read_text("utf-8-sig")
        is_json = text.lstrip()[:1] in "[{"
        rows = json.loads(text) if is_json else [*csv.DictReader(text.splitlines())]
    counts = Counter[Place]()
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case {"stream": str(name), "count": count, **rest} if (
                number := as_integer(count)
            ) is not None:
                counts[name, as_id(rest.get(PROJECT_ID))] += number
            case _:
                msg = (
                    f"--counts {path} is not a list of counts: each needs stream and "
                    "count, and project_id if it is by project"
                )
                raise SettingsError(msg)
    return Received(counts, frozenset(name for name, _ in counts))


# --- what Labelbox has -----------------------------------------------------------


def expected_counts(
    tap: TapLabelbox, received: Received | None
) -> dict[Place, int | None]:
    """Return how many rows Labelbox counts, of streams that it counts any of."""
    workspace = tap.workspace
    rows = list(workspace.projects("projects"))
    counts: dict[Place, int | None] = {("projects", None): len(rows)}
    for name, column in PROJECT_COUNTS.items():
        counts |= {(name, row["id"]): as_integer(row.get(column)) for row in rows}
    for name, document in TOTALS.items():
        try:
            blocks = holders(workspace.client.execute(document), "total")
        except (NotOfferedError, UnavailableError, TransientError):
            continue  # whether it may be read is asked anyway
        totals = (as_integer(block["total"]) for block in blocks)
        counts[name, None] = next(totals, None)
    if "datasets" in tap.streams and received and "data_rows" in received.streams:
        datasets = cast("LabelboxStream", tap.streams["datasets"]).rows()
        sizes = [as_integer(dataset.get("row_count")) for dataset in datasets]
        counts["data_rows", None] = _sum(sizes)
    return counts


def probe(stream: LabelboxStream) -> tuple[bool | None, str]:
    """Return whether a stream can be read, and why not; None if that takes too much.

    One row is asked for, of one project after the other until there is one.
    """
    if isinstance(stream, ExportedStream | BulkExportStream):
        return None, UNASKED
    workspace = stream.workspace
    known = {*workspace.left_out}
    stream.ABORT_AT_RECORD_COUNT = 1
    stream.max_page_rows = MIN_PAGE_ROWS
    page_rows = type(stream).max_page_rows
    try:
        for context in stream.partitions or (None,):
            if next(iter(stream.get_records(context)), None):
                return True, ""
    except (NotOfferedError, UnavailableError, TransientError) as error:
        return False, str(error)
    finally:  # others may be read by its rows
        stream.max_page_rows = page_rows
    new = [why for what, why in workspace.left_out if (what, why) not in known]
    if new and not stream.refusals.has_read:
        return False, new[0]
    return True, ""


# --- what they differ in -----------------------------------------------------------


def findings(tap: TapLabelbox, received: Received | None) -> Iterator[Finding]:
    """Yield what is found out about each stream, and of the projects that differ."""
    workspace = tap.workspace
    expected = expected_counts(tap, received)
    sample = workspace.project_ids[:MAX_SAMPLE_PROJECTS]
    workspace.sample = {project_id: {} for project_id in sample}
    for name in (stream.name for stream in STREAMS):
        stream = cast("LabelboxStream", tap.streams[name])
        readable, why = probe(stream)
        finding = Finding(name, None, bool(stream.selected), readable, why=why)
        own = {project: n for (of, project), n in expected.items() if of == name}
        finding.expected = _sum(own.values())
        if not received or name not in received.streams:
            yield finding
            continue
        counts = {p: n for (of, p), n in received.counts.items() if of == name}
        finding.received = sum(counts.values())
        finding.why = why * (readable is not None)
        # Where either is not counted by project, only the sums can be compared.
        projects = own.keys() | counts.keys() if own else set()
        of_projects = [
            replace(finding, project_id=project, expected=own.get(project, 0))
            for project in sorted(filter(None, projects))
            if None not in projects
        ]
        for part in of_projects:
            part.received = counts.get(part.project_id, 0)
        differing = [part for part in of_projects if part.differs]
        for part in [finding] * (finding.differs or bool(differing)) + differing:
            part.why = _why(tap, received, part)
        yield finding
        yield from differing


def _sum(counts: Collection[int | None]) -> int | None:
    """Return the sum of counts; None if there is none, or one is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _why(tap: TapLabelbox, received: Received, finding: Finding) -> str:
    """Return why the counts of a stream may differ."""
    name = finding.stream
    difference = (finding.received or 0) - (finding.expected or 0)
    if not difference:
        return "the totals are equal, but not project by project"
    if difference > 0:
        return f"{difference:,} more: {MORE}"
    filters = "label_filters" if name == "labels" else "export_filters"
    chosen = [s for s in ("start_date", filters) if tap.config.get(s)]
    reasons = [
        *[INCREMENTAL] * (name in received.incremental),
        *(f"{s} leaves some out" for s in chosen if name in PROJECT_COUNTS),
        FEWER.get(name, "added after the run"),
    ]
    return f"{-difference:,} fewer: {'; or '.join(reasons)}"


# --- the command ---------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """Print the findings, and exit with a code that says whether all is well."""
    options = _parser().parse_args(arguments)
    logger = TapLabelbox.logger
    set_up_log(logger)
    with plain_errors(logger):
        catalog = read_catalog(options.catalog) if options.catalog else None
        tap = TapLabelbox.configured(options.config, catalog)
        if tap.workspace.offline:
            msg = "export_files are read without Labelbox: there is nothing to check"
            raise SettingsError(msg)
        received = None
        if options.counts:
            received = read_counts(options.counts)
        elif options.input:
            received = _read_input(options.input)
        with only_warnings(logger):
            results = list(findings(tap, received))
    is_fine = all(finding.is_fine for finding in results)
    if options.format == "json":
        text = json.dumps([asdict(finding) for finding in results], indent=1)
    else:
        text = "\n".join(table(results, has_received=received is not None))
    try:
        print(text, flush=True)  # noqa: T201  # this is what it is for
    except BrokenPipeError:  # head has seen enough; Python would flush once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(Ending.DONE.code if is_fine else Ending.INCOMPLETE.code)


def _read_input(path: str) -> Received:
    if path == "-":
        return read_messages(sys.stdin.buffer, "--input")
    with reading("--input", path), Path(path).open("rb") as file:
        return read_messages(file, f"--input {path}")


def table(results: Sequence[Finding], *, has_received: bool) -> Iterator[str]:
    """Yield the lines of a table of what was found out."""
    rows = [
        ("stream", "selected", "readable", "Labelbox", "received", "why"),
        *map(_cells, results),
    ]
    width = max(len(name) for name, *_ in rows)
    for name, selected, readable, expected, received, why in rows:
        counts = f"{expected:>10}" + (f"{received:>10}" if has_received else "")
        yield f"{name:{width}}  {selected:8}  {readable:8}{counts}  {why}".rstrip()


def _cells(finding: Finding) -> tuple[str, ...]:
    counts = (finding.expected, finding.received)
    expected, received = ("" if count is None else f"{count:,}" for count in counts)
    if finding.project_id is not None:
        return f"- {finding.project_id}", "", "", expected, received, finding.why
    selected = "yes" if finding.selected else "no"
    readable = {True: "yes", False: "NO", None: "-"}[finding.readable]
    return finding.stream, selected, readable, expected, received, finding.why


@contextmanager
def only_warnings(logger: logging.Logger) -> Iterator[None]:
    """Log waits and the like; what cannot be read is in the table."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return record.levelno in (logging.WARNING, logging.DEBUG)

    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{TapLabelbox.name} check",
        description="Ask Labelbox what the account holds and whether the API key may "
        "read each stream; compare it with what a run has brought.",
        epilog="Exit code: 0 if every selected stream can be read and no count "
        "differs, 1 if not, 75 and 78 as those of a run.",
    )
    add = parser.add_argument
    add_config(parser)
    add("--catalog", type=argparse.FileType(), help="catalog of the streams to check")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--input", metavar="FILE", help="the messages of a run; - for standard input"
    )
    source.add_argument(
        "--counts",
        type=Path,
        metavar="FILE",
        help="JSON or CSV with stream, count, and project_id for counts by project",
    )
    add("--format", choices=("text", "json"), default="text", help="output format")
    return parser
