"""The bytes of an export, downloaded ahead of whoever decodes them.

Labelbox gives the address of one part at a time, for a byte: that after the end of the
part before. So one thread goes from address to address, and others download what it
finds, over as many connections as the settings allow. Large parts are cut, so that
many connections share them. Whoever reads gets all bytes in their order, each as soon
as it has come.

What has been downloaded and not been read is at most MAX_HELD_BYTES, whatever the
sizes of the parts: a slice is begun when there is room for the whole of it. One that
never fits, of a server that does not cut, is downloaded by the reader in its turn.
Exports are read one after the other, so that is all that a run holds.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import Condition
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tap_labelbox.api.errors import ExpiredLinkError, UnavailableError
from tap_labelbox.api.prefetch import CHECK_EVERY_SECONDS, started_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Thread

    from tap_labelbox.api.client import Client

Item = TypeVar("Item")

MAX_HELD_BYTES = 32 * 1024 * 1024
"""Downloaded, and not yet read. It may take twice as much memory: what was freed is
kept for the thread that had it, by glibc."""
SLICE_BYTES = 8 * 1024 * 1024  # of a part that is cut
MAX_PART_ATTEMPTS = 3  # of one byte range that brings nothing


class Part(NamedTuple):
    """A file that holds some bytes of an export."""

    first: int
    """Its first byte, counted in the export."""
    end: int
    """The byte after its last one."""
    link: str
    """Where it is; good for a while only."""


class Slice(NamedTuple):
    """A part, or some of one, that is downloaded over one connection."""

    begin: int
    """Its first byte, counted in the export."""
    end: int
    """The byte after its last one."""
    part: Part

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.end - self.begin


class PartReader:
    """Reads the parts of one stream of an export.

    Args:
        client: Downloads.
        ask: Returns the part that has a byte, with a new link.
        size: Of the stream, in bytes.
    """

    def __init__(self, client: Client, ask: Callable[[int], Part], size: int) -> None:
        """Ask nothing yet."""
        self._client = client
        self._ask = ask
        self._size = size

    def chunks(self, position: int, part: Part | None = None) -> Iterator[bytes]:
        """Yield all bytes from a position on.

        Nothing is downloaded ahead before the second chunk is asked for: the first
        may be taken long before the turn of the export.

        Args:
            position: The byte to begin with.
            part: The part that has this byte, if that is known.

        Raises:
            UnavailableError: If some bytes cannot be had.
        """
        slices = self._slices(position, part)
        if not (first := next(slices, None)):
            return
        chunks = self.download(first)
        yield from _first(chunks)
        prefetch = None
        if first.end < self._size and self._client.concurrency > 1:
            prefetch = _SlicePrefetch(
                slices, self.download, self._client.concurrency - 1
            )
        try:
            yield from chunks
            if prefetch:
                yield from prefetch.chunks()
            for piece in slices:  # those that no thread has found
                yield from self.download(piece)
        finally:
            if prefetch:
                prefetch.close()

    def download(self, piece: Slice) -> Iterator[bytes]:
        """Yield the bytes of a slice, each as announced.

        A link that has expired is asked for anew, at the byte that was reached; so is
        a part that ended too early, or not where it should.

        Raises:
            UnavailableError: If some bytes cannot be had.
        """
        position, stalled = piece.begin, 0
        part: Part | None = piece.part
        while position < piece.end:
            if part is None:
                part = self._part(position)
            end = min(piece.end, part.end)
            # A part that is read to its end shows whether there is more behind.
            cut = end - part.first if end < part.end else None
            began = position
            try:
                for chunk in self._client.downloads.read(
                    part.link, position - part.first, cut
                ):
                    if position + len(chunk) > end:
                        break  # more than announced: a page of a proxy
                    position += len(chunk)
                    yield chunk
            except ExpiredLinkError:
                pass
            part = None
            stalled = 0 if position > began else stalled + 1
            if stalled == MAX_PART_ATTEMPTS:
                msg = f"its export cannot be downloaded from byte {position} on"
                raise UnavailableError(msg)

    def _slices(self, position: int, part: Part | None) -> Iterator[Slice]:
        """Yield what there is to download from a position on; ask for each part."""
        while position < self._size:
            part = _checked(part, position) if part else self._part(position)
            while position < part.end:
                end = part.end
                # What is hardly larger is not worth another request.
                is_large = end - position > SLICE_BYTES * 3 // 2
                if is_large and self._client.downloads.gives_ranges(part.link):
                    end = position + SLICE_BYTES
                yield Slice(position, end, part)
                position = end
            part = None

    def _part(self, position: int) -> Part:
        return _checked(self._ask(position), position)


def _checked(part: Part, position: int) -> Part:
    """Return a part that has a byte.

    Raises:
        UnavailableError: If it has not.
    """
    if not part.first <= position < part.end:
        msg = f"its export has no part with byte {position}"
        raise UnavailableError(msg)
    return part


def _first(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the first item, if there is one."""
    for item in items:
        yield item
        return


class _SlicePrefetch:
    """Slices that are downloaded before their turn.

    Args:
        slices: What there is to download, in order; taken on another thread.
        download: Yields the bytes of a slice.
        connections: How many slices may be downloaded at once.
    """

    def __init__(
        self,
        slices: Iterator[Slice],
        download: Callable[[Slice], Iterator[bytes]],
        connections: int,
    ) -> None:
        self._slices = slices
        self._download = download
        self._capacity = _Capacity(MAX_HELD_BYTES, connections)
        self._begun: SimpleQueue[_Download | BaseException | None] = SimpleQueue()
        # Where the system allows no thread, nothing is downloaded ahead.
        self._thread = started_thread(self._begin_all)

    def close(self) -> None:
        """End all threads, as soon as each notices."""
        self._capacity.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of all slices, in order."""
        while self._thread and (begun := _taken(self._begun, self._thread)):
            if isinstance(begun, BaseException):
                raise begun
            for chunk in begun.chunks():
                yield chunk
                self._capacity.release(len(chunk) if begun.thread else 0)
            self._capacity.release_slice()

    def _begin_all(self) -> None:
        """Begin each slice as soon as there is room for it."""
        outcome: BaseException | None = None
        try:
            for piece in self._slices:
                fits = piece.size <= MAX_HELD_BYTES
                if not self._capacity.reserve(piece.size if fits else 0):
                    return
                self._begun.put(
                    _Download(piece, self._download, self._capacity, fits=fits)
                )
        except BaseException as error:  # noqa: BLE001  # raised where it is taken
            outcome = error
        self._begun.put(outcome)


class _Download:
    """A slice that is downloaded, on a thread of its own if there can be one.

    Args:
        piece: The slice.
        download: Yields its bytes.
        capacity: Says when nobody wants them any more.
        fits: Whether there is room for all of it.
    """

    def __init__(
        self,
        piece: Slice,
        download: Callable[[Slice], Iterator[bytes]],
        capacity: _Capacity,
        *,
        fits: bool,
    ) -> None:
        self._piece, self._download, self._capacity = piece, download, capacity
        self._arrived: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        self.thread = started_thread(self._run) if fits else None
        if fits and not self.thread:
            capacity.release(piece.size)

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes as they arrive."""
        if not self.thread:
            yield from self._download(self._piece)
            return
        while chunk := _taken(self._arrived, self.thread):
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def _run(self) -> None:
        outcome: BaseException | None = None
        try:
            for chunk in self._download(self._piece):
                if self._capacity.is_closed:
                    return
                self._arrived.put(chunk)
        except BaseException as error:  # noqa: BLE001  # raised where it is taken
            outcome = error
        self._arrived.put(outcome)


class _Capacity:
    """Room for slices: how many there may be at once, and of how many bytes.

    Args:
        max_bytes: Of all slices, less what has been read of them.
        max_slices: How many are begun and not read to their end.
    """

    def __init__(self, max_bytes: int, max_slices: int) -> None:
        self._bytes, self._slices = max_bytes, max_slices
        self._changed = Condition()
        self.is_closed = False

    def reserve(self, size: int) -> bool:
        """Wait for room for a slice of so many bytes; return False if it is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.is_closed or (size <= self._bytes and self._slices)
            )
            self._bytes -= size
            self._slices -= 1
            return not self.is_closed

    def release(self, size: int) -> None:
        """Note that so many bytes have been read."""
        with self._changed:
            self._bytes += size
            self._changed.notify_all()

    def release_slice(self) -> None:
        """Note that a slice has been read to its end."""
        with self._changed:
            self._slices += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End all waits."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()


def _taken(queue: SimpleQueue[Item], thread: Thread) -> Item:
    """Wait for the next item that a thread puts into a queue.

    Raises:
        MemoryError: If it has ended without: there was not even room to say so.
    """
    while True:
        try:
            return queue.get(timeout=CHECK_EVERY_SECONDS)
        except Empty:
            if not thread.is_alive() and queue.empty():
                raise MemoryError from None
