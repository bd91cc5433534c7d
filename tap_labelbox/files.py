"""Writing local files that hold rows: whole or not at all, and private.

A file is open to others only where a setting says so, and at no time more than it
says: it is made with its mode, not changed to it later.
"""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Readers(StrEnum):
    """The users that may read a file."""

    OWNER = "owner"
    GROUP = "group"
    EVERYONE = "everyone"

    @property
    def file_mode(self) -> int:
        """Return the permissions of a file."""
        return {"owner": 0o600, "group": 0o640, "everyone": 0o644}[self.value]

    @property
    def folder_mode(self) -> int:
        """Return the permissions of a folder."""
        return {"owner": 0o700, "group": 0o750, "everyone": 0o755}[self.value]


def make_folders(path: Path, readers: Readers = Readers.OWNER) -> None:
    """Make a folder and those above it; one that is there stays as it is.

    Raises:
        OSError: If one cannot be made.
    """
    missing = []
    for folder in (path, *path.parents):
        if folder.is_dir():
            break
        missing.append(folder)
    for folder in reversed(missing):
        try:
            folder.mkdir(readers.folder_mode)
        except FileExistsError:  # made meanwhile, or no folder
            if not folder.is_dir():
                raise
        else:
            _widen(folder, folder.stat().st_mode, readers.folder_mode)


def write_whole(path: Path, content: bytes, readers: Readers = Readers.OWNER) -> None:
    """Write a file, or replace one, so that there is the whole of it, or none.

    Beside its place, not in a temporary folder, which may be on another disk.

    Raises:
        OSError: If it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)  # of a write that a signal interrupted
    try:
        # What is there already, or a link, would have readers of its own.
        with open(part, "xb", opener=_private) as file:
            _widen(file.fileno(), os.fstat(file.fileno()).st_mode, readers.file_mode)
            file.write(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _widen(which: Path | int, current: int, mode: int) -> None:
    """Add what the umask took away of the permissions that were asked for."""
    if mode & ~stat.S_IMODE(current):
        os.chmod(which, stat.S_IMODE(current) | mode)  # noqa: PTH101  # of a descriptor


def native_path(path: str) -> str:
    """Return a path as Python has to be given it, whatever the locale.

    In an ASCII locale, the path of a setting has characters that Python takes for none
    of a file name; there, each of their bytes in UTF-8 has a character of its own.
    """
    return os.fsdecode(path.encode("utf-8", "surrogateescape"))


def shown_path(path: str) -> str:
    """Return a path, given to Python or by a setting, as text for others to read."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
