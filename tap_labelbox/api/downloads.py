"""Files that links lead to: read without the key, from a byte on, and on after a break.

Whoever makes the replies may name any address in them, so where a link leads to is
judged before anything is sent there.
"""

from __future__ import annotations

import re
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from tap_labelbox.api.errors import (
    TransientError,
    UnavailableError,
    link_error,
)
from tap_labelbox.api.links import Link, Reach, literal_reach, resolved_reaches
from tap_labelbox.api.proxies import proxy
from tap_labelbox.api.transport import CHUNK_BYTES, Rules, open_session, read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from tap_labelbox.api.errors import LabelboxError
    from tap_labelbox.api.rate_limiter import RateLimiter

MAX_REDIRECTS = 5  # of one download
RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)")


class Retry(Protocol):
    """Tries something until it succeeds, or until it is given up."""

    def __call__(self, operation: str, attempt: Callable[[], bytes], /) -> bytes:
        """Return what an attempt returns at last."""


class Downloads:
    """Reads files; any number of threads may use it.

    Args:
        api: The address of the API without its path: a link in a reply of it may lead
            to what it may name, and to no more.
        timeout: Seconds without a byte after which a transfer is given up.
        concurrency: Connections that are kept for each host.
        user_agent: The header of all requests.
        rate_limiter: Ends transfers when the client is closed.
        allow_private_links: Whether files may be read from addresses of a private
            network although the API has a public one.
        retry: Tries a part of a transfer until it succeeds.
        network_error: Returns the error for what broke on the way to an address.
    """

    def __init__(  # noqa: PLR0913  # all but one are given by name
        self,
        api: str,
        *,
        timeout: float,
        concurrency: int,
        user_agent: str,
        rate_limiter: RateLimiter,
        allow_private_links: bool,
        retry: Retry,
        network_error: Callable[[Exception, str], LabelboxError],
    ) -> None:
        """Open nothing yet."""
        self._api = api
        self._timeout = timeout
        self._rate_limiter = rate_limiter
        self._allow_private_links = allow_private_links
        self._retry = retry
        self._network_error = network_error
        self._without_ranges: set[str] = set()  # hosts that give whole files only
        rules = Rules(timeout, rate_limiter.check, judge=self._judge)
        self._session = open_session(_unsigned, concurrency, rules, user_agent)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def gives_ranges(self, link: str) -> bool:
        """Return whether a server is not known to give all of a file for some of it."""
        return self.link(link).authority not in self._without_ranges

    def read(
        self, link: str, position: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """Read a file from a byte on; a broken transfer goes on where it broke.

        Args:
            link: Where it is.
            position: The byte to begin with.
            end: The byte to end before; None for all that there is.

        Raises:
            ExpiredLinkError: If the link opens nothing (any more).
            UnavailableError: If it is none that can be opened safely.

        """
        host = self.link(link).authority
        response: requests.Response | None = None
        chunks: Iterator[bytes] = iter(())

        def next_chunk() -> bytes:
            nonlocal response, chunks
            self._rate_limiter.check()
            if response is None:
                response = self._open(link, position, end)
                chunks = _from(position, response)
                if end is not None and response.status_code == HTTPStatus.OK:
                    self._without_ranges.add(host)
            try:
                if chunk := next(chunks, b""):
                    return chunk if end is None else chunk[: end - position]
                _, size = _range(response)
            except (OSError, ValueError) as fault:
                response.close()
                response = None
                raise self._network_error(fault, link) from None
            # A server may send less.
            if size is not None and position < min(size, end or size):
                response = None
                msg = f"{host}: the file ended at byte {position} of {size}"
                raise TransientError(msg)
            return b""

        try:
            while position != end and (
                chunk := self._retry(f"download from {host}", next_chunk)
            ):
                position += len(chunk)
                yield chunk
        finally:
            if response is not None:
                response.close()

    def _open(
        self, address: str, start: int, end: int | None = None
    ) -> requests.Response:
        """Ask for a file from a byte on, without the key: the link is a credential."""
        # Bytes are counted, so they must come as they are stored.
        headers = {"Accept-Encoding": "identity"}
        if start or end is not None:
            last = "" if end is None else end - 1
            headers["Range"] = f"bytes={start}-{last}"
        link = self.link(address)
        for _ in range(MAX_REDIRECTS + 1):
            # This machine is reached without a proxy, which would see all of it.
            proxies = {"http": "", "all": ""} if link.scheme == "http" else None
            if proxies is None:
                proxy(link.url)
            try:
                response = self._session.get(
                    link.url,
                    headers=headers,
                    stream=True,
                    timeout=self._timeout,
                    allow_redirects=False,  # it would sign with what is in ~/.netrc
                    proxies=proxies,
                )
            except (OSError, ValueError) as fault:
                raise self._network_error(fault, link.url) from None
            if not response.is_redirect:
                break
            response.close()
            link = self._redirected(link, response)
        else:
            msg = f"a download link redirects more than {MAX_REDIRECTS} times"
            raise UnavailableError(msg)
        status = response.status_code
        first, size = _range(response)
        if status == HTTPStatus.OK or (
            status == HTTPStatus.PARTIAL_CONTENT and first == start
        ):
            return response
        response.close()
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if size == start:  # the transfer broke behind the last byte
                return response
            if size is not None and size > start:
                msg = (
                    f"{link.authority} has {size} bytes, but sends none from {start} on"
                )
                raise TransientError(msg)
        raise link_error(response)

    def link(self, address: str) -> Link:
        """Parse a download link.

        Raises:
            UnavailableError: If it is none, or if its host alone shows that it must
                not be opened. Where a name leads to is seen when it is connected to.
        """
        try:
            return self._safe(Link.parse(address))
        except ValueError as error:
            raise UnavailableError(f"a download link {error}") from None

    def _safe(self, link: Link) -> Link:
        """Return a link that may be opened, as far as its host alone shows."""
        result, is_plain = literal_reach(link.host), link.scheme == "http"
        if result or is_plain:
            self._judge(link.host, result or Reach.PUBLIC, is_plain)
        return link

    def _redirected(self, link: Link, response: requests.Response) -> Link:
        """Return where a redirect leads."""
        try:
            # As bytes that came as Latin-1, which are UTF-8 as a rule.
            location = response.headers["Location"].encode("latin-1").decode()
            result = link.joined(location)
        except ValueError as error:
            msg = f"a download link redirects to one that {error}"
            raise UnavailableError(msg) from None
        return self._safe(result)

    def _judge(self, host: str, reaches_found: Reach, is_plain: bool) -> None:  # noqa: FBT001
        """Refuse an address from which no file may be read.

        Whoever makes the replies must not make this machine ask others in its place:
        its own services, its private network, the metadata service of its cloud.

        Raises:
            UnavailableError: If it is one.
        """
        if is_plain and not (reaches_found is self._api_reach is Reach.LOOPBACK):
            msg = "a download link is plain http, which is allowed to this machine only"
            raise UnavailableError(msg)
        is_let = reaches_found is Reach.PRIVATE and self._allow_private_links
        if is_let or self._api_reach.allows(reaches_found):
            return
        hint = ": set allow_private_links if that is intended" * (
            reaches_found is Reach.PRIVATE
        )
        msg = (
            f"a download link leads to a {reaches_found.value} address ({host}), "
            f"not allowed while api_url is {self._api_reach.value}{hint}"
        )
        raise UnavailableError(msg)

    @cached_property
    def _api_reach(self) -> Reach:
        """From where the API can be reached: the widest of its addresses.

        Behind a proxy its name may have no address here; then it is a public one.
        """
        try:
            api = Link.parse(self._api)
            result = resolved_reaches(api.host, api.port or 443)
        except (OSError, ValueError):
            return Reach.PUBLIC
        known = result - {Reach.NOWHERE}
        return min(known, key=[*Reach].index, default=Reach.PUBLIC)


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign nothing; without this, requests would look into ~/.netrc."""
    return request


def _range(response: requests.Response) -> tuple[int | None, int | None]:
    """Return the place of a reply's first byte in the file, and the file's size."""
    match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    start, size = match.groups() if match else (None, None)
    return int(start) if start else None, int(size) if size else None


def _from(start: int, response: requests.Response) -> Iterator[bytes]:
    """Return a file's bytes from ``start``, also if the server sent it from 0."""
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return  # there are none
    chunks = read_body(response, chunk_bytes=CHUNK_BYTES)
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        start = 0
    for chunk in chunks:
        if len(chunk) > start:
            yield chunk[start:]
        start = max(start - len(chunk), 0)
