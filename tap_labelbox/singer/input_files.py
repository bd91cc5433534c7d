"""The files of ``--config``, ``--state`` and ``--catalog``, as people make them.

Targets print a STATE a line, PowerShell writes UTF-16, and a run that was stopped
leaves the last line cut off, or nothing. What is clear is taken.
"""

from __future__ import annotations

import codecs
import csv
import json
import logging
import re
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tap_labelbox.api.errors import SettingsError, shortage
from tap_labelbox.singer.state import malformed_bookmark

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("tap-labelbox")
BLANK = re.compile(r"[\s\ufeff]*")  # the latter begins files that were joined
BROKEN = object()  # what is not JSON
GIVE_A_STATE = "give one that a target printed, or read everything without --state"


def read_config(path: str) -> dict[str, Any]:
    """Return the settings in a file.

    Raises:
        SettingsError: If it is not JSON object.
    """
    with reading("--config", path):
        content = json.loads(Path(path).read_bytes())
    if not isinstance(content, dict):
        raise SettingsError(f"--config cannot be read: {path} is not a JSON object")
    return content


@contextmanager
def reading(option: str, path: str) -> Iterator[None]:
    """Raise a SettingsError where what an option names cannot be read."""
    try:
        yield
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        if shortage(error):
            raise
        why = getattr(error, "strerror", None) or error
        raise SettingsError(f"{option} cannot be read: {path}: {why}") from None


def read_catalog(file: IO[str]) -> dict[str, Any]:
    """Return the catalog in a file.

    Raises:
        SettingsError: If there is none.
    """
    where = f"--catalog {file.name} cannot be read"
    text = _text(file, where)
    (_, content), *more = [*_values(text, where)] or [(0, None)]
    streams = content.get("streams", []) if isinstance(content, dict) else None
    if more or not isinstance(streams, list):
        why = "it has no streams" if text.strip() else "it is empty"
        if BROKEN in (content, *(value for _, value in more)):
            why = "it is not JSON, or cut off"
        raise SettingsError(f"{where}: {why}; write one with --discover")
    return dict(content)


def read_state(file: IO[str]) -> dict[str, Any]:
    """Return the last state in a file that is whole; {} if the file is empty.

    Raises:
        SettingsError: If there is something else, or a bookmark that is none.
    """
    where = f"--state {file.name}"
    text = _text(file, f"{where} cannot be read")
    state: dict[str, Any] | None = None
    broken_at: int | None = None  # the first place after the state that is not JSON
    for at, value in _values(text, f"{where} cannot be read"):
        content = _unwrapped(value)
        if isinstance(content, dict) and isinstance(content.get("bookmarks"), dict):
            state, broken_at = content, None
        elif value is BROKEN and broken_at is None:
            broken_at = at
        elif content == {} and state is None:
            state = {}
    line = text.count("\n", 0, broken_at or 0) + 1
    if not BLANK.sub("", text, count=1):
        LOGGER.warning(
            "%s is empty, as after a first run that failed: everything is read", where
        )
        return {}
    if state is None:
        why = "has no bookmarks" if broken_at is None else f"is not JSON in line {line}"
        raise SettingsError(f"{where} {why}: {GIVE_A_STATE}")
    if broken_at is not None:
        LOGGER.warning(
            "%s is cut off in line %d: the state before that is used", where, line
        )
    if name := malformed_bookmark(state):
        raise SettingsError(
            f"{where} has an invalid bookmark for {name}: run once without --state"
        )
    return state


def _unwrapped(content: Any) -> Any:
    """Return the state in a STATE message, or in what Meltano keeps."""
    if isinstance(content, dict):
        if content.get("type") == "STATE":
            return content.get("value")
        return content.get("singer_state", content)
    return content


def _text(file: IO[str], where: str) -> str:
    """Return what is in a file, but for a character that is cut off at its end."""
    # Not as the locale says: JSON itself shows in which Unicode it is.
    content: bytes = file.buffer.read()  # type: ignore[attr-defined]  # click opens it
    try:
        decoder = codecs.getincrementaldecoder(json.detect_encoding(content))()
        return str(decoder.decode(content))
    except UnicodeError:
        msg = f"{where}: it is not text in UTF-8 or UTF-16"
        raise SettingsError(msg) from None


def _values(text: str, where: str) -> Iterator[tuple[int, Any]]:
    """Yield each JSON value and where it begins; after what is none, the next line's.

    Raises:
        SettingsError: If one is nested too deeply.
    """
    decoder = json.JSONDecoder()
    end = 0
    while end >= 0 and (begin := BLANK.match(text, end).end()) < len(text):  # type: ignore[union-attr]
        try:
            value, end = decoder.raw_decode(text, begin)
        except RecursionError:
            raise SettingsError(f"{where}: it is nested too deeply") from None
        except ValueError:
            value, end = BROKEN, text.find("\n", begin)
        yield begin, value
