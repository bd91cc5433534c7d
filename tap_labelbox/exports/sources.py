"""Finding and opening saved files: on this machine, in archives, and on storages.

fsspec knows the storages, the patterns and what a folder holds. That a file is
compressed shows by how it begins: browsers and libraries unpack some and keep the name.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import ZipFile

from fsspec.core import has_magic, url_to_fs  # type: ignore[import-untyped]  # no types
from fsspec.implementations.local import (  # type: ignore[import-untyped]  # as above
    LocalFileSystem,
)

from tap_labelbox.api.errors import SettingsError, UnavailableError
from tap_labelbox.files import native_path, shown_path
from tap_labelbox.records.malformed import MAX_SOURCE_CHARACTERS, first_of, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from zipfile import ZipInfo

    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

ARCHIVE = re.compile(r"\.zip$", re.IGNORECASE)
EXPORT = re.compile(r"\.(?:json|ndjson|jsonl)(?:\.gz)?$", re.IGNORECASE)
ENDINGS = ".json, .ndjson, .jsonl, one of these and .gz, or .zip"
HIDDEN = re.compile(r"(?:^|/)(?:\.|__MACOSX/)")
GZIP_BEGINNING = b"\x1f"  # no JSON begins like this
ENCRYPTED_FLAG = 1
MAX_NAMED_FILES = 10


@dataclass(frozen=True)
class Source:
    """A file, or a member of a ZIP archive."""

    storage: AbstractFileSystem
    path: str
    member: ZipInfo | None = None

    @property
    def is_local(self) -> bool:
        """Return whether the file is on this machine."""
        return isinstance(self.storage, LocalFileSystem)

    @property
    def name(self) -> str:
        """Return its name in messages: on one line, as others may have chosen it."""
        name = shown_path(self.path)
        if not self.is_local:
            name = self.storage.unstrip_protocol(self.path)
        if self.member:
            name = f"{self.member.filename} in {name}"
        return shortened(name, MAX_SOURCE_CHARACTERS)

    @property
    def is_rereadable(self) -> bool:
        """Return whether it can be read twice; a pipe cannot."""
        return not self.is_local or Path(self.path).is_file()

    def modified_at(self) -> datetime:
        """Return when the file, or the archive, was modified; now if nothing says.

        Raises:
            UnavailableError: If the file is not there.
        """
        with readable():
            try:
                return cast("datetime", self.storage.modified(self.path))
            except (NotImplementedError, KeyError):
                return datetime.now(UTC)

    @contextmanager
    def open(self) -> Iterator[Content]:
        """Open what it holds, decompressed.

        Raises:
            UnavailableError: If it cannot be opened.
        """
        with ExitStack() as stack:
            with readable():
                file: Any = stack.enter_context(self._open())
                if self.member:
                    if self.member.flag_bits & ENCRYPTED_FLAG:
                        msg = "it is encrypted: decrypt it"
                        raise UnavailableError(msg)
                    archive = stack.enter_context(ZipFile(file))
                    file = stack.enter_context(archive.open(self.member))
                if file.peek(1)[:1] == GZIP_BEGINNING:
                    file = stack.enter_context(gzip.GzipFile(fileobj=file))
            yield Content(file)

    def members(self) -> list[ZipInfo]:
        """Return what a ZIP archive holds.

        Raises:
            UnavailableError: If it cannot be read.
        """
        with readable(), self._open() as file, ZipFile(file) as archive:
            return [member for member in archive.infolist() if not member.is_dir()]

    def _open(self) -> BufferedReader:
        if self.is_local:  # as a pipe, too, which is none of fsspec's files
            return Path(self.path).open("rb")
        return BufferedReader(self.storage.open(self.path, "rb"))


class Content:
    """The bytes of an open file, up to where it turns out to be broken."""

    def __init__(self, file: BufferedReader) -> None:
        """Read nothing yet."""
        self._file = file
        self._error: UnavailableError | None = None

    def read(self, size: int) -> bytes:
        """Return so many bytes; fewer at the end and before a fault.

        Raises:
            UnavailableError: If a fault comes first.
        """
        pieces: list[bytes] = []
        while size > 0 and not self._error:
            try:
                with readable():
                    piece = self._file.read1(size)
            except UnavailableError as error:
                self._error = error
                break
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        if self._error and not pieces:
            raise self._error
        return b"".join(pieces)


@contextmanager
def readable() -> Iterator[None]:
    """Turn whatever a storage or a decompressor raises into one line.

    Raises:
        UnavailableError: In place of any error, but of those that end the run.
    """
    try:
        yield
    except (SettingsError, UnavailableError, MemoryError):
        raise
    except FileNotFoundError:
        raise UnavailableError("there is no such file or folder") from None
    except Exception as error:  # noqa: BLE001  # each has its own
        raise UnavailableError(str(error) or type(error).__name__) from None


class Finder:
    """Finds the files that the settings name.

    Args:
        record_failure: Records what cannot be read, and why.
        logger: Logs how many files are read, and which are not.
    """

    def __init__(
        self, record_failure: Callable[[str, object], None], logger: logging.Logger
    ) -> None:
        """Look at nothing yet."""
        self._record_failure = record_failure
        self._logger = logger

    def find(self, addresses: Iterable[str]) -> list[Source]:
        """Return the files, each once, in the order of the addresses and by name.

        Args:
            addresses: Of files, folders and ZIP archives, and patterns of these.

        Raises:
            SettingsError: If one is of a storage that is unknown, or not installed.
        """
        result: dict[tuple[object, str], Source] = {}
        for address in addresses:
            for file in self._matches(address, self._files, address):
                path = os.path.realpath(file.path) if file.is_local else file.path
                result.setdefault((file.storage, path), file)
        return [
            source
            for file in result.values()
            for source in self._matches(file.name, self._unpacked, file)
        ]

    def _matches(
        self, name: str, find: Callable[[Any], list[Source]], where: Any
    ) -> list[Source]:
        try:
            with readable():
                return find(where)
        except UnavailableError as error:
            self._record_failure(name, error)
            return []

    def _files(self, address: str) -> list[Source]:
        """Return the files at an address."""
        storage, path = _place(address)
        try:
            matches = {path: storage.info(path)}
        except OSError:
            if not has_magic(path):
                raise
            matches = storage.glob(path, detail=True)
        if path in matches and not _is_folder(storage, path, matches[path]):
            return [Source(storage, path)]
        # What is above a pattern may well be hidden.
        root = path if path in matches else re.split(r"[^/]*[*?[]", path)[0]
        files: dict[str, bool] = {}
        for match, info in matches.items():
            if _is_folder(storage, match, info):
                files = dict.fromkeys(self._below(storage, match), False) | files
            else:
                files[match] = not path.endswith("*")
        return self._exports(
            address,
            (
                (file.removeprefix(root).lstrip("/"), Source(storage, file), is_wanted)
                for file, is_wanted in sorted(files.items())
            ),
        )

    def _below(self, storage: AbstractFileSystem, folder: str) -> list[str]:
        """Return all files below a folder; what links to folders is one as well."""
        if not isinstance(storage, LocalFileSystem):
            return cast("list[str]", storage.find(folder))

        def record_failure(error: OSError) -> None:  # where fsspec passes over it
            self._record_failure(shown_path(error.filename), error.strerror)

        return [
            f"{parent}/{name}".replace(os.sep, "/")
            for parent, folders, files in os.walk(folder, onerror=record_failure)
            for name in [*files, *(f for f in folders if Path(parent, f).is_symlink())]
        ]

    def _unpacked(self, file: Source) -> list[Source]:
        """Return the exports in a ZIP archive; and any other file as it is."""
        if not ARCHIVE.search(file.path):
            return [file]
        members = [Source(file.storage, file.path, m) for m in file.members()]
        return self._exports(
            file.name, ((m.member.filename, m, False) for m in members if m.member)
        )

    def _exports(
        self, where: str, files: Iterable[tuple[str, Source, bool]]
    ) -> list[Source]:
        """Return what is named as an export; log how much that is, and the others.

        Each file comes with its name where it was found, and whether any name will do.
        """
        chosen, others, level = [], [], logging.INFO
        for name, file, is_wanted in files:
            is_hidden = HIDDEN.search(name)
            is_archive = ARCHIVE.search(name) and not file.member
            if not is_hidden and (is_wanted or is_archive or EXPORT.search(name)):
                chosen.append(file)
            else:
                others.append(shortened(shown_path(name)))
                level = level if is_hidden else logging.WARNING
        passed_over = ""
        if others:
            passed_over = (
                f", but not {first_of(others, MAX_NAMED_FILES)}: what is read is "
            )
            passed_over += f"not hidden, and its name ends in {ENDINGS}"
        if not chosen:
            raise UnavailableError(f"there is no file to read in it{passed_over}")
        count = f"{len(chosen)} file{'s' if len(chosen) > 1 else ''} to read"
        self._logger.log(level, "%s: %s%s", where, count, passed_over)
        return chosen


def _place(address: str) -> tuple[AbstractFileSystem, str]:
    """Return the storage of an address, and the path in it."""
    try:
        storage, path = url_to_fs(address)
    except (ImportError, ValueError) as error:
        is_s3 = isinstance(error, ImportError) and address.startswith("s3")
        cure = "install tap-labelbox[s3]" if is_s3 else error
        msg = f"export_files: {address} cannot be read: {cure}"
        raise SettingsError(msg) from None
    return storage, native_path(path) if isinstance(storage, LocalFileSystem) else path


def _is_folder(storage: AbstractFileSystem, path: str, info: Mapping[str, Any]) -> bool:
    # On this machine, also a link to one.
    return info["type"] == "directory" or (
        info["type"] == "other" and bool(storage.isdir(path))
    )
