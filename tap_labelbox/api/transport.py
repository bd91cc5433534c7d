"""Connections that bound what the other side can make this one do.

requests and urllib3 do the talking. What they leave open is closed here:

* each received byte restarts their timeout, so a reply may trickle for ever: `_Meter`;
* a reply has no size, and compressed it may grow a thousandfold: :func:`read_body`;
* which address a name leads to is nobody's business: `_Guarded`.
"""

from __future__ import annotations

import http.client
import io
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions

from tap_labelbox.api.errors import TooLargeError
from tap_labelbox.api.links import Reach, literal_reach, resolved_reaches

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

CHUNK_BYTES = 1024 * 1024  # of a body that are read at once, at most

MIN_PIECE_BYTES = 16 * 1024  # of a body, unless it is less

# Fewer bytes a second than this are not a transfer. A reply may have as many timeouts
# of waiting to show a better rate.
MIN_BYTES_PER_SECOND = 1024
RATE_TIMEOUTS = 10
REPLY_TIMEOUTS = 50  # for the whole of a reply of the API, however fast

# Anything but payload (status lines, headers, chunk sizes, trailers) may come without
# end too. Chunks of a byte have some four bytes of it each.
MAX_OVERHEAD_BYTES = 1024 * 1024
MAX_OVERHEAD_FACTOR = 16

GZIP_MAGIC = b"\x1f"  # the first byte of each member


@dataclass(frozen=True)
class Rules:
    """Limits that the connections of a session keep to."""

    timeout: float
    """Seconds without a byte after which a request is given up."""
    check: Callable[[], None]
    """Raises an error when nobody waits for a reply any more."""
    judge: Callable[[str, Reach, bool], None] | None = None
    """Raises an error where an address must not be opened, given its host, its
    reach, and whether it is without TLS. None opens all."""
    max_seconds: float | None = None
    """For the whole of a reply; None where it may go on as long as it gets on."""


class Session(requests.Session):
    """Sends requests, and leaves redirects to whoever sent them."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing.

        Else requests would parse where a redirect leads, and read all of its body,
        also where it is not to follow it.
        """
        del resp


class Adapter(HTTPAdapter):
    """Opens connections that keep to rules.

    Args:
        rules: The rules.
        connections: How many are kept open for each host.
    """

    def __init__(self, rules: Rules, connections: int) -> None:
        self._rules = rules
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._guard(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pools of connections through a proxy."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            self._guard(manager)
        return manager

    def close(self) -> None:
        """Close all connections that wait for a request.

        urllib3 only forgets its pools: their connections would be closed when nothing
        refers to a pool any more, as the traceback of an error does.
        """
        managers = [self.poolmanager, *self.proxy_manager.values()]
        pools = [
            pool
            for manager in managers
            for pool in map(manager.pools.get, manager.pools.keys())
        ]
        super().close()
        for pool in filter(None, pools):  # another thread may have taken one away
            pool.close()

    def _guard(self, manager: Any) -> None:
        """Make a pool manager open guarded connections."""
        pools = {}
        for scheme, pool in manager.pool_classes_by_scheme.items():
            members = {"rules": self._rules, "is_plain": scheme == "http"}
            kind = pool.ConnectionCls
            guarded = type(kind.__name__, (_Guarded, kind), members)
            pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": guarded})
        manager.pool_classes_by_scheme = pools


def open_session(
    auth: Any, connections: int, rules: Rules, user_agent: str
) -> requests.Session:
    """Return a session that keeps to rules; it connects with its first request.

    Args:
        auth: Signs each request.
        connections: How many are kept open for each host.
        rules: The rules.
        user_agent: The header of all requests.
    """
    session = Session()
    session.auth = auth
    session.headers["User-Agent"] = user_agent
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter(rules, connections))
    return session


class _Guarded:
    """A connection that is only made to addresses that may be opened.

    A reply that is not handed out leaves nothing open.
    """

    rules: Rules
    is_plain: bool
    _reply: _Response | None = None  # while its head is read

    def response_class(self, *args: Any, **kwargs: Any) -> _Response:
        """Return what reads the next reply."""
        self._reply = _Response(*args, rules=self.rules, **kwargs)
        return self._reply

    def getresponse(self: Any) -> Any:
        """Read the head of a reply.

        urllib3 may refuse one that http.client has taken, and closes the connection.
        But its socket stays open for as long as the reply has not been closed too.
        """
        try:
            return super().getresponse()  # type: ignore[misc]
        except BaseException:
            if self._reply is not None:
                self._reply.close()
            raise
        finally:
            self._reply = None

    def _new_conn(self: Any) -> socket.socket:
        """Connect, and look where to, before a byte is sent: not even TLS's first.

        Names are looked up twice, and the second answer may be another one. So the
        first look-up only spares a connection that would be refused; what counts is
        the address at the other end of the socket.

        Through a proxy there is nothing to see: it is the proxy that looks the name
        up and connects. Addresses that are not names have been judged before, as the
        client parsed the link.
        """
        is_direct = self.proxy is None and not hasattr(self, "_socks_options")
        if self.rules.judge is None or not is_direct:
            return super()._new_conn()  # type: ignore[misc,no-any-return]
        try:
            reaches = resolved_reaches(self.host, self.port)
        except (OSError, UnicodeError):
            reaches = set()  # said by the next line
        for item in reaches:
            self.rules.judge(self.host, item, self.is_plain)
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        try:
            peer = str(connected.getpeername()[0])
            result = literal_reach(peer) or Reach.NOWHERE
            self.rules.judge(self.host, result, self.is_plain)
        except BaseException:
            connected.close()
            raise
        return connected


class _Response(http.client.HTTPResponse):
    """A reply whose bytes are counted, and timed, as they arrive."""

    def __init__(
        self, sock: socket.socket, *args: Any, rules: Rules, **kwargs: Any
    ) -> None:
        super().__init__(sock, *args, **kwargs)
        raw: io.RawIOBase = self.fp.detach()
        self.fp = _Reader(_Meter(raw, rules))


class _Meter(io.RawIOBase):
    """Raises a TimeoutError where what arrives does not get on.

    Only waiting counts: who reads may take its time, as a slow target does.
    """

    def __init__(self, raw: io.RawIOBase, rules: Rules) -> None:
        self._raw = raw
        self._rules = rules
        self._ends = time.monotonic() + (rules.max_seconds or float("inf"))
        self._waited = 0.0  # seconds
        self._payload = 0  # bytes in that time
        self._all_payload = self._overhead = 0  # bytes

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._raw.close()

    def readinto(self, buffer: Any) -> int | None:
        self._rules.check()
        began = time.monotonic()
        count = self._raw.readinto(buffer)
        now = time.monotonic()
        self._waited += now - began
        self._payload += count or 0
        self._all_payload += count or 0
        window = RATE_TIMEOUTS * self._rules.timeout
        if now > self._ends:
            msg = f"the reply took more than {self._rules.max_seconds:g} s"
            raise TimeoutError(msg)
        if self._waited > window:
            if self._payload < MIN_BYTES_PER_SECOND * self._waited:
                msg = (
                    f"only {max(self._payload, 0)} bytes arrived in "
                    f"{self._waited:.3g} s"
                )
                raise TimeoutError(msg)
            self._waited, self._payload = 0.0, 0
        return count

    def is_overhead(self, count: int) -> None:
        """Count bytes as overhead, not as payload."""
        self._payload -= count
        self._all_payload -= count
        self._overhead += count
        allowed = MAX_OVERHEAD_BYTES + MAX_OVERHEAD_FACTOR * self._all_payload
        if self._overhead > allowed:
            raise http.client.HTTPException("the reply has more frame than content")


class _Reader(io.BufferedReader):
    """The file that http.client reads from: lines for the frame, bytes for the body."""

    raw: _Meter

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.raw.is_overhead(len(line))
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        # A chunk of a negative size would be read to the end, however far that is.
        if size is None or size < 0:
            raise http.client.HTTPException("a chunk has a negative size")
        return super().read(size)


def read_body(
    response: requests.Response,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    max_bytes: int | None = None,
    limited_by: str = "",
) -> Iterator[bytes]:
    """Yield the body of a reply, decompressed, a piece at a time.

    urllib3 decompresses too, but some of its versions do so without bound. What is
    held is one piece, whatever the body.

    Args:
        response: Opened with ``stream=True``.
        chunk_bytes: The most of a piece.
        max_bytes: The most of the body, compressed or not; None is any number.
        limited_by: The setting that says so.

    Raises:
        TooLargeError: If there is more, or if it is compressed more than once.
        requests.RequestException: If the body breaks.
    """
    pieces = _raw_body(response, chunk_bytes)
    if max_bytes is not None:
        pieces = _limited(pieces, max_bytes, limited_by)
    names = response.headers.get("Content-Encoding", "").lower().split(",")
    # Anything else is not a compression that was asked for: `aws-chunked`, say.
    codings = [c for c in map(str.strip, names) if c in {"gzip", "x-gzip", "deflate"}]
    if len(codings) > 1:
        # Nobody means well who does that: each squares what a byte can become.
        response.close()
        raise TooLargeError(f"a reply is compressed {len(codings)} times over")
    if codings:
        pieces = _decompressed(pieces, codings[0], chunk_bytes)
        if max_bytes is not None:
            pieces = _limited(pieces, max_bytes, limited_by)
    return pieces


def _raw_body(response: requests.Response, chunk_bytes: int) -> Iterator[bytes]:
    """Yield the bytes as they came, and raise what requests would."""
    small: list[bytes] = []
    size = 0  # bytes in `small`
    broken: Exception | None = None
    try:
        for piece in response.raw.stream(chunk_bytes, decode_content=False):
            # Chunks of a byte would take forty times their size, whoever holds them.
            small.append(piece)
            size += len(piece)
            if size >= min(MIN_PIECE_BYTES, chunk_bytes):
                yield b"".join(small)
                small, size = [], 0
    except exceptions.ReadTimeoutError as error:
        broken = requests.ConnectionError(error)
    except exceptions.SSLError as error:
        broken = requests.exceptions.SSLError(error)
    except (exceptions.HTTPError, http.client.HTTPException) as error:
        broken = requests.exceptions.ChunkedEncodingError(error)
    except ValueError as error:  # the size of a chunk
        broken = requests.exceptions.ChunkedEncodingError(str(error))
    if small:  # what came before it broke has come
        yield b"".join(small)
    if broken:
        raise broken


def _limited(
    pieces: Iterator[bytes], max_bytes: int, limited_by: str
) -> Iterator[bytes]:
    left = max_bytes
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            msg = f"a reply has more than {max_bytes} bytes: raise {limited_by}"
            raise TooLargeError(msg)
        yield piece


def _decompressed(
    pieces: Iterator[bytes], coding: str, chunk_bytes: int
) -> Iterator[bytes]:
    """Yield what gzip or deflate have made small, at most a piece at a time."""
    wbits = 0  # is known with the first byte
    inflate: Any = None
    try:
        for piece in pieces:
            left = piece
            while left:
                if inflate is None:
                    wbits = _window_bits(coding, left)
                    inflate = zlib.decompressobj(wbits)
                elif inflate.eof:
                    if left[:1] != GZIP_MAGIC or coding == "deflate":
                        break  # what follows is padding: other clients pass it over
                    inflate = zlib.decompressobj(wbits)
                if result := inflate.decompress(left, chunk_bytes):
                    yield result
                left = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        if inflate and not inflate.eof:
            yield inflate.flush()  # some bytes at most
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(str(error)) from error
    if inflate and not inflate.eof:
        raise requests.exceptions.ContentDecodingError("the compressed body is cut")


def _window_bits(coding: str, start: bytes) -> int:
    """Return what zlib has to expect."""
    if coding != "deflate":
        return zlib.MAX_WBITS | 16
    # Some servers send bare deflate, which cannot begin like zlib's head of RFC 1950.
    is_zlib = start[0] & 0x0F == zlib.DEFLATED and start[0] >> 4 < zlib.DEFLATED
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
