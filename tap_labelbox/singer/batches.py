"""Batch files: records in files, and BATCH messages that say where these are.

The SDK writes such files too, but from records as they are read: past the selection
of columns, stream maps and flattening. Here records go the way they always go, and
only at its end into a file in place of standard output.

Each stream has a file of its own. All are held in memory and written together: when
they are full, and before anything but a record goes out. So a STATE counts no record
that is not in a file with a BATCH message before it, and a run that is killed leaves
no half file behind.
"""

from __future__ import annotations

import gzip
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from uuid import uuid4

from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # it has no types
from fsspec.implementations.local import (  # type: ignore[import-untyped]  # as above
    LocalFileSystem,
)
from singer_sdk.helpers._batch import BaseBatchFileEncoding, SDKBatchMessage
from singer_sdk.singerlib import RecordMessage, SchemaMessage

from tap_labelbox.api.errors import ResourceError, SettingsError, shortage
from tap_labelbox.files import (
    Readers,
    make_folders,
    native_path,
    shown_path,
    write_whole,
)
from tap_labelbox.records.json_text import encode_shallow
from tap_labelbox.singer.writer import MessageWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]
    from singer_sdk.singerlib import Message

    from tap_labelbox.singer.parquet import Columns

# Bytes of JSON in all files together. Targets take ten times as much to load a file.
MAX_OPEN_BYTES = 32 * 1024 * 1024
Content: TypeAlias = "JsonLines | Columns"
"""The records of one file, in one of the formats."""
FORBIDDEN = re.compile(r"[^\w.-]")  # in a file name
REFUSALS = (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError)


class JsonLines:
    """A record a line."""

    suffixes: ClassVar = {"gzip": ".jsonl.gz", "none": ".jsonl"}
    """Ends of file names, by compression."""

    def __init__(self, stream: str, schema: Mapping[str, Any]) -> None:
        del stream, schema
        self._lines = bytearray()

    def add(self, record: Mapping[str, Any]) -> int:
        """Add a line; return how many bytes of JSON it is."""
        line = encode_shallow(record) + b"\n"
        # In one step, which no signal can interrupt.
        self._lines += line
        return len(line)

    def compressed(self, compression: str) -> bytes:
        """Return the file as it is so far."""
        if compression == "none":
            return bytes(self._lines)
        # The default level, 9, takes many times as long for little.
        return gzip.compress(self._lines, 1, mtime=0)

    @staticmethod
    def schema(schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schema of what is in the file: the same."""
        return dict(schema)


@dataclass
class _File:
    """A file that is not written yet."""

    path: str
    content: Content
    version: int | None
    count: int = 0


class BatchWriter(MessageWriter):
    """Writes records to batch files, and all other messages to standard output.

    Args:
        config: The setting ``batch_config``.

    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        # Nothing is looked at yet: --discover takes any settings, and has no records.
        super().__init__()
        self._config = config
        self._run = uuid4().hex
        self._schemas: dict[str, Mapping[str, Any]] = {}
        self._files: dict[str, _File] = {}
        self._begun = 0  # files
        self._size = 0  # bytes in all of them

    @cached_property
    def _encoding(self) -> BaseBatchFileEncoding:
        """The encoding of the files, as a BATCH message has it."""
        encoding = self._config["encoding"]
        return BaseBatchFileEncoding(
            encoding["format"], encoding.get("compression", "gzip")
        )

    @property
    def has_open_files(self) -> bool:
        """Return whether there are records in files that are not written yet."""
        return bool(self._files)

    def write_message(self, message: Message) -> None:
        """Write a message, after the records that came before it."""
        if isinstance(message, RecordMessage):
            self.write_record(message.stream, message.version, message.record)
            return
        self.close()
        if isinstance(message, SchemaMessage):
            _ = self._place  # an error of the storage comes before the work begins
            self._schemas[message.stream] = message.schema
            message = replace(message, schema=self._kind.schema(message.schema))
        super().write_message(message)

    def write_record(
        self, stream: str, version: int | None, record: Mapping[str, Any]
    ) -> None:
        """Put a record into the file of its stream."""
        file = self._files.get(stream) or self._new(stream, version)
        size = file.content.add(record)
        self._size += size
        self.written_bytes += size
        file.count += 1
        self._files[stream] = file  # only now: no file is empty
        self.ended_with_state = False
        most = self._config.get("batch_size") or inf
        self.is_full = (
            self.is_full or self._size >= MAX_OPEN_BYTES or file.count >= most
        )

    def close(self) -> None:
        """Write all files, and their BATCH messages.

        Wherever a signal interrupts this, it may be done again: a file is let go
        when its message is on its way.

        Raises:
            LabelboxError: If the storage does not take a file.
        """
        for stream, file in list(self._files.items()):
            self._store(file)
            url = self._place[0].unstrip_protocol(shown_path(file.path))
            message = SDKBatchMessage(stream, self._encoding, [url], file.version)
            line = self.format_message(message)
            # In one step, which no signal can interrupt, but for the next.
            self._buffer += (line,)
            del self._files[stream]
            self.flush()
        self._size = 0
        self.is_full = False

    def _new(self, stream: str, version: int | None) -> _File:
        self._write_base()
        self._begun += 1
        kind = self._kind
        name = FORBIDDEN.sub("_", f"{stream}-{self._run}-{self._begun}")
        suffix = kind.suffixes[str(self._encoding.compression)]
        prefix = self._config["storage"].get("prefix") or ""
        path = f"{self._place[1]}/{prefix}{name}{suffix}"
        return _File(path, kind(stream, self._schemas[stream]), version)

    def _store(self, file: _File) -> None:
        content = file.content.compressed(str(self._encoding.compression))
        storage, _ = self._place
        with self._storage_errors():
            if isinstance(storage, LocalFileSystem):
                path = Path(native_path(file.path))
                make_folders(path.parent, self._readers)
                write_whole(path, content, self._readers)
                return
            storage.makedirs(file.path.rpartition("/")[0], exist_ok=True)
            # Within a transaction there is the whole file or none.
            with storage.transaction, storage.open(file.path, "wb") as to:
                to.write(content)

    @cached_property
    def _place(self) -> tuple[AbstractFileSystem, str]:
        """The storage, and the folder in it."""
        with self._storage_errors():
            storage, folder = url_to_fs(self._config["storage"]["root"])
            if isinstance(storage, LocalFileSystem):
                make_folders(Path(native_path(folder)), self._readers)
                return storage, folder
            if "readable_by" in self._config["storage"]:
                msg = (
                    "batch_config.storage.readable_by is for files on this machine: "
                    "remove it, the storage itself decides who may read"
                )
                raise SettingsError(msg)
            storage.makedirs(folder, exist_ok=True)
            return storage, folder

    @cached_property
    def _readers(self) -> Readers:
        """The users that may read files on this machine."""
        return Readers(self._config["storage"].get("readable_by", Readers.OWNER))

    @cached_property
    def _kind(self) -> type[Content]:
        """The format of the files."""
        if self._encoding.format == "jsonl":
            return JsonLines
        try:
            from tap_labelbox.singer.parquet import Columns  # noqa: PLC0415  # an extra
        except ImportError:
            msg = "parquet needs pyarrow: install tap-labelbox[parquet]"
            raise SettingsError(msg) from None
        return Columns

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Raise one line on why the storage takes no file."""
        root = self._config["storage"]["root"]
        try:
            yield
        except SettingsError:
            raise
        except ImportError as error:
            extra = "tap-labelbox[s3]" if root.startswith("s3:") else error
            msg = f"batch files cannot be written to {root}: install {extra}"
            raise SettingsError(msg) from None
        except Exception as error:  # noqa: BLE001  # each storage has its own
            why = " ".join(str(error).split()) or type(error).__name__
            msg = (
                f"batch files cannot be written to {root} ({why}): check "
                "batch_config.storage.root, and who may write there"
            )
            # What took files before, and does not say that it will not, may again.
            is_refused = "_place" not in vars(self) or isinstance(error, REFUSALS)
            if shortage(error) or not is_refused:
                raise ResourceError(msg) from None
            raise SettingsError(msg) from None
