"""Files saved from Labelbox, of any export and in any layout.

A file holds data rows of the current export or items of the bulk export, or both: one
a line, as Labelbox writes them, or spread over several lines, or in arrays, as programs
save them. The kind of a row shows in the row itself, not in the name or the beginning
of the file. Most files have a line for each data row; these are decoded many at a time,
and all else one by one.

A row that is not JSON, or not part of an export, is :class:`Malformed`, and only that
row is lost. No more of a file is held in memory than a row, or a few megabytes.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from contextlib import suppress
from json import detect_encoding
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from tap_labelbox.api.errors import UnavailableError
from tap_labelbox.exports.rows import data_row_id, identified
from tap_labelbox.records.json_extent import BrokenError, Extent
from tap_labelbox.records.json_text import (
    decode,
    decode_any_lines,
    decode_lines_as,
)
from tap_labelbox.records.malformed import Malformed, MalformedError, described, kind
from tap_labelbox.records.values import as_id, as_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tap_labelbox.exports.sources import Content, Finder, Source

CHUNK_BYTES = 64 * 1024
"""What is read at least; and lines that are decoded together, so that they stay in the
processor's cache until they have been written."""
MAX_WAIT_BYTES = 4 * 1024 * 1024
"""What is read for the next row, which shows where one ends, before each byte is looked
at to find that."""
MAX_BACKOFF_BYTES = 16 * 1024 * 1024
"""Read one by one after lines that cannot be decoded together, at most."""
MAX_TRIES = 64
"""Rows that are sought in the bytes of one that has no end."""
OVERLAP_BYTES = 512
"""Of pieces of a file in which something shorter is searched."""

BLANKS = re.compile(rb"[ \t\r\n]*+")
REST_OF_LINE = re.compile(rb"[ \t\r,]*+")
SCALAR = re.compile(
    rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"|[^][{},"\s]++|\}++'
)
FIRST_KEY = re.compile(rb'\{\s{0,100}+(?:"[^"\\\x00-\x1f]{1,100}+")?+')
"""How a row begins, with its first key: the next one is likely to begin like it."""
DEFAULT_FIRST_KEY = rb'\{\s*+"(?:data_row|ID)"\s*+:'
ROW_LINE = rb"\n(?=[{\[])"

OPEN_BRACE, OPEN_BRACKET, CLOSE_BRACKET, COMMA = b"{[],"

# No string of JSON contains these: its quotes would be escaped.
ACTIVITY = re.compile(rb'"last_activity_at"\s*+:\s*+"([^"\\]{10,40})"')
OTHER_TIMESTAMPS = re.compile(rb'ed(?:_a| A)t"\s*+:\s*+"(\d{4}-[^"\\]{6,36})"')

FOREIGN = {
    b"\x1f\x8b": "it is compressed with gzip more than once: decompress it",
    b"PK\x03\x04": "it is a ZIP archive: unpack it, or let its name end in .zip",
    b"BZh": "it is compressed with bzip2: decompress it",
    b"\xfd7zXZ": "it is compressed with xz: decompress it",
    b"\x28\xb5\x2f\xfd": "it is compressed with Zstandard: decompress it",
}
"""How files begin that have to be made readable first."""

_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)

BOMS_UTF16 = (BOM_UTF16_BE, BOM_UTF16_LE)  # one of UTF-32 begins like the second
Decoder: TypeAlias = "Callable[[bytes], list[Any]]"


class Item(NamedTuple):
    """An item of a bulk export."""

    value: dict[str, Any]


def item_decoder(*, only_items: bool) -> Decoder:
    """Return what decodes lines of items of a bulk export.

    Args:
        only_items: Whether lines that surely are no items need not be decoded.
    """

    def decoded(text: bytes) -> list[Any]:
        if only_items and b'"ID"' not in text:
            if decode_lines_as(_ANY_JSON, text) is not None:
                return []
            raise MalformedError("it has other lines")
        values = decode_any_lines(text)
        if not all(map(_is_item, values)):
            raise MalformedError("it has other lines")
        return [*map(Item, values)]

    return decoded


def _is_item(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "data_row" not in value
        and as_id(value.get("ID")) is not None
    )


class SavedFile:
    """A file saved from Labelbox, and what has been found in it.

    Args:
        source: Where it is.
        max_row_bytes: The most of a row or item; one that has more is left out.
    """

    def __init__(self, source: Source, max_row_bytes: int) -> None:
        """Open nothing yet."""
        self.source = source
        self.name = source.name
        """What messages call it."""
        self.is_read = False
        """Whether all that it holds has been decoded and counted."""
        self._is_used = False
        self._max_row_bytes = max_row_bytes
        self._file: Content
        self._begin()

    def read(self, decoded: Decoder) -> Iterator[Any]:
        """Decode what the file holds, in its order.

        Args:
            decoded: Decodes lines, of which each is a row or blank, to data rows or
                items; raises ValueError if one is neither.

        Yields:
            Data rows, as ``decoded`` returns them or decoded whole, :class:`Item`, and
            :class:`Malformed`.

        Raises:
            UnavailableError: If the file cannot be read, or is cut short.
        """
        self._begin()
        if self._is_used and not self.source.is_rereadable:
            msg = "it is not a regular file and cannot be read twice: save it as one"
            raise UnavailableError(msg)
        self._is_used = True
        with self.source.open() as self._file:
            yield from self._rows(decoded)

    def _begin(self) -> None:
        self.data_rows = self.items = self.malformed = 0
        self._text = b""
        self._at = 0
        self._base = 0  # bytes of the file before _text
        self._line = 1  # at which _at is
        self._begins_line = True  # _at is the first of its line that is not blank
        self._indent = b""  # of that line
        self._is_at_end = False
        self._fault: UnavailableError | None = None
        self._depth = 0  # arrays that are open around rows
        self._count = 0  # rows, or what is in the place of one
        self._has_lines = False  # a line feed has been seen between two of them
        self._first_key = b""  # how the latest row begins that was not broken
        self._failed_to = 0  # bytes in which a row has been found to be broken
        self._tries = 0

    def unread(self, *, data_rows: int, items: bool, of_runs: int = 0) -> list[str]:
        """Return warnings of what no stream reads of the file.

        Args:
            data_rows: How many data rows no stream reads.
            of_runs: How many data rows are in model runs that no stream reads.
            items: Whether there is one that reads items of the bulk export.
        """
        warnings = []
        if data_rows:
            warnings.append(
                f"no selected stream reads its data rows ({data_rows}): select "
                "data_row_exports, export_labels or annotations"
            )
        if of_runs:
            warnings.append(
                f"no selected stream reads its predictions of model runs ({of_runs} "
                "data rows): select model_run_predictions and model_run_data_rows"
            )
        if self.items and not items:
            warnings.append(
                f"no selected stream reads its items of a bulk export ({self.items}): "
                "select bulk_export"
            )
        if not (self.data_rows or self.items or self.malformed):
            warnings.append("it holds no rows")
        return warnings

    # --- bytes ----------------------------------------------------------------------

    def _more(self) -> bool:
        """Read on by as much as is waiting already; return False at the end."""
        if self._is_at_end:
            return False
        waiting = self._text[self._at :]
        self._base, self._at = self._base + self._at, 0
        try:
            chunk = self._file.read(max(CHUNK_BYTES, len(waiting)))
        except UnavailableError as error:  # raised when all before it has been read
            chunk, self._fault = b"", error
        self._text = waiting + chunk if waiting else chunk
        self._is_at_end = not chunk
        return bool(chunk)

    def _pass(self, to: int) -> None:
        """Go on to a place in the text."""
        self._line += self._text.count(b"\n", self._at, to)
        self._at = to

    def _next(self) -> int | None:
        """Pass white space; return the byte that follows, None at the end."""
        while True:
            at = self._at
            end = _end(BLANKS, self._text, at)
            if feed := self._text.rfind(b"\n", at, end) + 1:
                self._begins_line = True
                self._has_lines = self._has_lines or (
                    self._count > 0 and self._depth == 0
                )
            if self._begins_line:
                self._indent = self._text[feed or at : end][:100]
            self._pass(end)
            if end < len(self._text):
                return self._text[end]
            if not self._more():
                return None

    def _where(self) -> str:
        return f"line {self._line} (byte {self._base + self._at})"

    # --- rows -----------------------------------------------------------------------

    def _rows(self, decoded: Decoder) -> Iterator[Any]:
        self._start()
        one_by_one_to, backoff = 0, CHUNK_BYTES
        while (byte := self._next()) is not None:
            may_be_lines = byte == OPEN_BRACE and self._begins_line and not self._depth
            if may_be_lines and self._base + self._at >= one_by_one_to:
                while (rows := self._lines(decoded)) is not None:
                    yield from rows
                    backoff = CHUNK_BYTES
                if self._next() is None:
                    break
                one_by_one_to = self._base + self._at + backoff
                backoff = min(backoff * 2, MAX_BACKOFF_BYTES)
            yield from self._counted(self._some(decoded))
        if self._fault:
            raise self._fault
        if self._depth:
            raise UnavailableError("it ends inside an array: it is cut short")

    def _start(self) -> None:
        """Pass what stands before all rows."""
        self._more()
        for beginning, why in FOREIGN.items():
            if self._text.startswith(beginning):
                raise UnavailableError(why)
        sample = self._text[:CHUNK_BYTES]
        encoding = detect_encoding(sample)
        # A byte order mark, or a NUL for each letter, and not just some damage.
        has_nuls = len(sample) / 3 < sample.count(0) < len(sample)
        if sample[:2] in BOMS_UTF16 or (has_nuls and not encoding.startswith("utf-8")):
            raise UnavailableError(f"it is in {encoding[:6].upper()}: save it as UTF-8")
        if self._text.startswith(BOM_UTF8):
            self._at = len(BOM_UTF8)

    def _counted(self, rows: list[Any]) -> list[Any]:
        for row in rows:
            self._count += 1
            if type(row) is Malformed:
                self.malformed += 1
            elif type(row) is Item:
                self.items += 1
            else:
                self.data_rows += 1
        return rows

    def _lines(self, decoded: Decoder) -> list[Any] | None:
        """Decode lines together; None if that cannot be done."""
        while True:
            text, at = self._text, self._at
            # A chunk, with what was left of the one before it.
            cut = text.rfind(b"\n", at, at + 2 * CHUNK_BYTES) + 1
            cut = cut or text.find(b"\n", at) + 1
            if cut:
                break
            if len(text) - at > MAX_WAIT_BYTES or not self._more():
                cut = len(self._text) if self._is_at_end else 0
                break
        text, at = self._text, self._at
        if not at < cut <= at + self._max_row_bytes:
            return None
        lines = text[at:cut]
        try:
            rows = decoded(lines)
        except ValueError:
            return None
        self._at = cut
        self._line += lines.count(b"\n") + (not lines.endswith(b"\n"))
        self._begins_line = self._has_lines = True
        return self._counted(rows)

    def _some(self, decoded: Decoder) -> list[Any]:
        """Decode what is next: a row, or something that is around rows."""
        byte = self._text[self._at]
        if byte == OPEN_BRACE:
            return self._object(decoded)
        if self._depth == 0 and self._count and self._begins_line:
            if byte != COMMA and (
                byte != OPEN_BRACKET or not _has_rows(self._short_line())
            ):
                next_row = rb"\n|(?=" + self._row_start + rb")"
                return [self._left_out(_what(self._short_line()), next_row)]
        elif self._depth == 0 and byte not in (OPEN_BRACKET, COMMA):
            return [self._left_out("it is not JSON", rb"\n|(?=\{)")]
        if byte == OPEN_BRACKET:
            self._depth += 1
        elif byte == CLOSE_BRACKET and self._depth:
            self._depth -= 1
        elif byte != COMMA:
            return [self._scalar()]
        self._at += 1
        self._begins_line = False
        return []

    def _short_line(self) -> bytes:
        """Return what is left of a line, or the beginning of it if it is long."""
        while (end := self._text.find(b"\n", self._at)) < 0:
            if len(self._text) - self._at > CHUNK_BYTES or not self._more():
                end = len(self._text)
                break
        return self._text[self._at : end]

    def _scalar(self) -> Malformed:
        """Leave out what is in an array and neither an object nor an array."""
        while True:
            result = SCALAR.match(self._text, self._at)
            if result and result.end() < len(self._text):
                break
            if len(self._text) - self._at > MAX_WAIT_BYTES or not self._more():
                break
        result = SCALAR.match(self._text, self._at)
        # What follows no comma may be out of step: a quote too many, for one.
        after = _end(BLANKS, self._text, result.end()) if result else 0
        if not result or self._text[after : after + 1] not in {b",", b"]", b""}:
            return self._left_out("it is not JSON", self._next_row())
        malformed = Malformed(self._where(), _what(result.group()))
        self._pass(result.end())
        return malformed

    def _object(self, decoded: Decoder) -> list[Any]:
        """Decode an object, and pass it."""
        rows = self._likely(decoded)
        if rows is not None:
            return rows
        extent, size = Extent(), None
        try:
            while (size := extent.size(self._text, self._at)) is None:
                if len(self._text) - self._at > self._max_row_bytes:
                    return [self._broken("", self._max_row_bytes)]
                if not self._more():
                    waiting = len(self._text) - self._at
                    return [self._broken("it is not JSON: it has no end", waiting)]
        except BrokenError as error:
            return [self._broken(f"it is not JSON: {error}", error.at)]
        try:
            rows = self._decoded(size, decoded)
        except ValueError as error:
            rows = [Malformed(self._where(), f"it is not JSON: {error}")]
        return self._passed(rows, size)

    def _likely(self, decoded: Decoder) -> list[Any] | None:
        """Decode an object of which the end is easily found, and pass it."""
        while True:
            for size in self._likely_sizes():
                try:
                    rows = self._decoded(size, decoded)
                except ValueError:
                    continue
                return self._passed(rows, size)
            if len(self._text) - self._at > MAX_WAIT_BYTES or not self._more():
                return None

    def _decoded(self, size: int, decoded: Decoder) -> list[Any]:
        """Decode what may be an object of so many bytes; raise ValueError if not."""
        text = self._text[self._at : self._at + size]
        if b"\n" not in text:
            with suppress(ValueError):
                return decoded(text)
        value = decode(text)
        if _is_item(value):
            return [Item(value)]
        if "ID" in value and not data_row_id(value):
            return [Malformed(self._where(), f"it has no ID ({described(value)})")]
        try:
            return [identified(value)]
        except MalformedError as error:
            return [Malformed(self._where(), str(error))]

    def _likely_sizes(self) -> Iterator[int]:
        """Yield how many bytes an object might have; if these are one, it has."""
        text, at = self._text, self._at
        feed = text.find(b"\n", at)
        sibling = -1
        first = text[at : _end(FIRST_KEY, text, at)]
        if b'"' in first:
            sibling = text.find(first, at + 1)
        for end in sorted({feed, sibling, len(text) if self._is_at_end else -1}):
            if end > 0:
                likely = text[at:end].rstrip(b" \t\r\n,")
                if likely.endswith(b"}"):
                    yield len(likely)

    def _passed(self, rows: list[Any], size: int) -> list[Any]:
        """Go on behind an object, unless it does not have its line alone."""
        end = self._at + size
        if self._begins_line and self._has_lines and not self._depth:
            is_one_line = self._text.find(b"\n", self._at, end) < 0
            if is_one_line and not self._ends_line(size):
                return [self._left_out("it is not JSON: its line goes on", rb"\n")]
        if size > self._max_row_bytes:
            why = f"it has {size} bytes: raise max_row_bytes"
            rows = [Malformed(self._where(), why)]
        if not (rows and type(rows[0]) is Malformed):
            self._first_key = self._text[
                self._at : _end(FIRST_KEY, self._text, self._at)
            ]
        self._pass(self._at + size)
        self._begins_line = False
        return rows

    def _ends_line(self, size: int) -> bool:
        """Return whether nothing else is on the line of an object of so many bytes."""
        while True:
            end = _end(REST_OF_LINE, self._text, self._at + size)
            if end < len(self._text):
                # The array that it is in may have begun with something broken.
                in_array = self._text.find(b",", self._at + size, end) >= 0
                return in_array or self._text[end] in b"\n]"
            if not self._more():
                return True

    # --- what is broken ---------------------------------------------------------------

    def _broken(self, why: str, size: int) -> Malformed:
        """Leave out a row that is broken, or that is too long if there is no why."""
        start, end = self._base + self._at, self._base + self._at + size
        if start >= self._failed_to:
            self._failed_to, self._tries = end, 0
        self._tries += 1
        if self._tries <= MAX_TRIES:
            return self._left_out(why, self._next_row())
        return self._left_out(why, self._next_row(), self._failed_to - self._base)

    def _next_row(self) -> bytes:
        """Return the pattern of where the next row begins."""
        if self._depth == 0 and self._begins_line and self._has_lines:
            return ROW_LINE
        patterns = [rb"(?=" + self._row_start + rb")"]
        if not self._depth:
            patterns.append(ROW_LINE)
        # Without an indent, the lines of what is inside a row begin alike.
        elif self._begins_line and self._indent:
            patterns.append(rb"\n(?=" + re.escape(self._indent) + rb"[{\[])")
        return b"|".join(patterns)

    @property
    def _row_start(self) -> bytes:
        """The pattern of how a row begins."""
        return re.escape(self._first_key) or DEFAULT_FIRST_KEY

    def _left_out(self, why: str, next_row: bytes, after: int = 0) -> Malformed:
        """Go on at the next row, holding nothing of what comes before it.

        Args:
            why: What is wrong; that it is too long, if empty.
            next_row: A pattern of where it begins.
            after: A place in the text before which it does not.
        """
        where, start = self._where(), self._base + self._at
        pattern = re.compile(next_row)
        begin = max(self._at + 1, after)
        while not (result := pattern.search(self._text, begin)):
            self._pass(max(self._at, len(self._text) - OVERLAP_BYTES))
            if not self._more():
                self._pass(len(self._text))
                break
            begin = self._at
        if result:
            self._pass(result.end())
        self._begins_line = self._text[self._at - 1 : self._at] == b"\n"
        size = self._base + self._at - start
        return Malformed(where, why or f"it has {size} bytes: raise max_row_bytes")


def _end(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    """Return where a pattern ends that matches any text."""
    result = pattern.match(text, start)
    return result.end() if result else start


def _has_rows(text: bytes) -> bool:
    """Return whether a line has rows, or is so long that it may have."""
    if len(text) > CHUNK_BYTES:
        return True
    try:
        pending = [decode(text)]
    except ValueError:
        return True
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif _is_item(value) or (isinstance(value, dict) and data_row_id(value)):
            return True
    return False


def _what(text: bytes) -> str:
    """Return what is wrong with a text that is not an object."""
    try:
        return f"it is {kind(decode(text))}, not an object"
    except ValueError as error:
        return f"it is not JSON: {error}"


# --- several files ------------------------------------------------------------------


def saved_files(
    addresses: Iterable[str], max_row_bytes: int, finder: Finder
) -> list[SavedFile]:
    """Return the files that the settings name, in the order in which to read them.

    A target keeps the last record of a key. Of two exports of one data row, the newer
    one holds newer activity, if only on another data row, where the row differs: so
    files are read in the order of their newest ``last_activity_at``. Those that have
    none are ordered by what other timestamps they have.
    """
    sources = finder.find(addresses)
    if len(sources) > 1:
        sources.sort(key=newest_timestamp)
    return [SavedFile(source, max_row_bytes) for source in sources]


def newest_timestamp(source: Source) -> str:
    """Return the newest activity in a file, in UTC; "" if it has no timestamps.

    Nothing is decoded. Anything but a regular file, such as a pipe, has none: it can be
    read but once. Of a broken file, it is that of what comes before the fault.
    """
    if not source.is_rereadable:
        return ""
    return _newest(source, ACTIVITY) or _newest(source, OTHER_TIMESTAMPS)


def _newest(source: Source, timestamps: re.Pattern[bytes]) -> str:
    newest, rest = "", b""
    seen: set[bytes] = set()
    # What is broken is logged when it is read.
    with suppress(UnavailableError), source.open() as file:
        while chunk := file.read(1024 * 1024):
            text = rest + chunk
            seen.update(timestamps.findall(text))
            rest = text[-OVERLAP_BYTES:]
            result = (as_timestamp(item.decode("utf-8", "replace")) for item in seen)
            newest = max(newest, *filter(None, result), "")
            seen.clear()
    return newest
