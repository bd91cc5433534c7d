"""The client of Labelbox: GraphQL by POST, reports and files by GET.

The SDK's ``GraphQLStream`` is not used. It copies variables into the address,
takes a GraphQL error inside HTTP 200 for an empty page, sends no mutation,
ignores ``Retry-After``, and opens a connection of its own for each stream.
Retrying (backoff), signing and metrics are still the SDK's.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote

import backoff
import requests
from requests.utils import get_environ_proxies, select_proxy
from singer_sdk import metrics
from singer_sdk.authenticators import BearerTokenAuthenticator

from tap_labelbox import redact
from tap_labelbox.api import errors
from tap_labelbox.api.documents import GRAPHQL, Document
from tap_labelbox.api.links import Link, Reach, literal_reach, resolved_reaches, shown
from tap_labelbox.api.rate_limiter import RateLimiter
from tap_labelbox.api.together import separated
from tap_labelbox.api.transport import (
    CHUNK_BYTES,
    REPLY_TIMEOUTS,
    Adapter,
    Rules,
    Session,
    read_body,
)
from tap_labelbox.progress import Progress
from tap_labelbox.records.json_text import decode, encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

Answer = TypeVar("Answer")
Judge: TypeAlias = "Callable[[errors.LabelboxError], errors.LabelboxError]"

API_URL = "https://api.labelbox.com/graphql"
MAX_REPLY_BYTES = MAX_ROW_BYTES = 256 * 1024 * 1024  # real labels of videos have 24 MB
MAX_TOGETHER_BYTES = 4 * 1024 * 1024  # of a reply to many; several are held at once
MAX_BRIEF_TRIES = 3  # of a request in place of which others will do
MAX_PAUSE_SECONDS = 60.0  # between two tries, unless Labelbox asks for more
FIRST_CONTACT_SECONDS = 30.0
"""In which somebody has to answer at api_url: where nobody ever has, nobody will."""
MAX_REDIRECTS = 5  # of one download

REST = "/api/v1"
REST_TIMEOUTS = 2.0
"""How many times as long as other replies one of the REST API may take: a report takes
up to two minutes."""

USER_AGENT = "tap-labelbox"
with suppress(metadata.PackageNotFoundError):  # run from a checkout
    USER_AGENT += f"/{metadata.version('tap-labelbox')}"
ASKED_ALONE = (errors.TransientError, errors.ComplexityError, errors.QueryError)
RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)")


class Client:
    """Labelbox's API, as one user with one key; any number of threads may use it.

    Args:
        api_url: The GraphQL address, ending in ``/graphql``.
        api_key: Sent to that address only, never to a download link.
        timeout: Seconds without a byte after which a request is given up. A reply
            of the API is given up after 50 times as many in any case; a download
            may go on for as long as it gets on.
        retry_seconds: Seconds, from its first failure on, in which a request that
            fails in passing is sent again; 0 is never.
        requests_per_minute: Requests to the API, of all threads; downloads are not
            counted. None is no limit.
        concurrency: Requests to the API at once; others wait.
        max_reply_bytes: Of a reply of the API; what is larger is not read.
        max_row_bytes: Of a row of an export; kept for those who read these.
        allow_private_links: Whether files may be downloaded from addresses of a
            private network although the API has a public one.
        rest_url: The address of the REST API; by default the one beside api_url.
        user_agent: The header of all requests; by default this tap and its version.
        logger: Logs waits and dropped fields.
        progress: Where requests and retries are counted.

    """

    def __init__(  # noqa: PLR0913  # all but two are given by name
        self,
        api_url: str,
        api_key: str,
        *,
        timeout: float,
        retry_seconds: float,
        logger: logging.Logger,
        progress: Progress | None = None,
        requests_per_minute: int | None = None,
        concurrency: int = 1,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        max_row_bytes: int = MAX_ROW_BYTES,
        allow_private_links: bool = False,
        rest_url: str | None = None,
        user_agent: str | None = None,
    ) -> None:
        """Open nothing yet: the first request connects."""
        redact.hide(api_key)
        redact.hide_proxies()
        self._base = api_url.removesuffix(GRAPHQL)
        self._rest = (rest_url or self._base + REST).rstrip("/")
        self.max_row_bytes = max_row_bytes
        self._max_reply_bytes = max_reply_bytes
        self._allow_private_links = allow_private_links
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._logger = logger
        self._progress = progress or Progress(logger)
        self._rate_limiter = RateLimiter(requests_per_minute)
        self.concurrency = concurrency
        self._slots = threading.Semaphore(concurrency)
        self._lock = threading.Lock()  # of the documents
        self._documents: dict[str, Document] = {}
        self.dropped: set[str] = set()
        """The documents of which something was dropped."""
        self._requests: dict[str, requests.PreparedRequest] = {}  # by path
        self._without_ranges: set[str] = set()  # hosts that give whole files only
        self._has_answered = False
        self._is_reached = False  # whoever it is that answers there, and whatever
        self._first_sent_at = math.inf  # by the monotonic clock
        self.first_date: datetime | None = None
        """What Labelbox's clock said at the first answer, in whole seconds of UTC;
        None if it has not said."""
        api = Rules(
            timeout, self._rate_limiter.check, max_seconds=REPLY_TIMEOUTS * timeout
        )
        files = Rules(timeout, self._rate_limiter.check, judge=self._judge)
        self._api = _session(BearerTokenAuthenticator(token=api_key), concurrency, api)
        # Compressions that are known to every urllib3; some are not, without more.
        self._api.headers["Accept-Encoding"] = "gzip, deflate"
        # What the environment says of proxies and certificates, once: requests would
        # go through all of it for each request.
        self._proxies = {base: self._ways(base) for base in (self._base, self._rest)}
        self._api.trust_env = False
        self._files = _session(_unsigned, concurrency, files)
        for session in (self._api, self._files):
            session.headers["User-Agent"] = user_agent or USER_AGENT
        # Failures are logged here. urllib3 would log each address, and each retry.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def _ways(self, base: str) -> Any:
        """Return the proxies on the way to an address."""
        result = self._api.merge_environment_settings(base, {}, None, None, None)
        self._api.verify = result["verify"]
        if self._is_plain_loopback(base):  # the key would leave this machine
            return {}
        _proxy(base)
        return result["proxies"]

    def address(self, path: str) -> str:
        """Return an address beside the configured one: ``/_gql``, ``/api/v1/...``."""
        return self._base + path

    def document(self, name: str) -> Document:
        """Return the document as this Labelbox knows it."""
        with self._lock:
            if name not in self._documents:
                self._documents[name] = Document.load(name)
            return self._documents[name]

    def narrow(self, name: str, path: str, columns: Collection[str]) -> None:
        """Run a document at this endpoint, and for these columns of its rows only."""
        with self._lock:
            if name not in self._documents:
                document = replace(Document.load(name), path=path)
                self._documents[name] = document.narrowed(columns)

    def drop_last_list(self, name: str) -> str | None:
        """Remove the last of several lists from a document, and return its alias.

        None, and no change, if there is only one.
        """
        with self._lock:
            if less := self._documents[name].less_last_list():
                self._documents[name], part = less
                self.dropped.add(name)
                return part
        return None

    def execute(
        self,
        name: str,
        decode_fast: Callable[[bytes], Any] | None = None,
        judge: Judge | None = None,
        /,
        **variables: object,
    ) -> Any:
        """Run ``queries/<name>.graphql`` and return its ``data``.

        What Labelbox no longer knows is dropped from the document, with a warning.

        Args:
            name: Of the document.
            decode_fast: Decodes a reply that has nothing unusual in it to something
                better than a dict; returns None for any other.
            judge: Returns the error that an error is for this document.
            **variables: Of the document.

        Raises:
            LabelboxError: Of the kind that :mod:`tap_labelbox.api.errors` decides.

        """
        attempt: Callable[[], Any] = partial(self._run, name, variables, decode_fast)
        return self._retry(name, partial(_judged, attempt, judge) if judge else attempt)

    def execute_together(
        self,
        name: str,
        asks: Sequence[dict[str, Any]],
        decode_fast: Callable[[bytes], Any] | None = None,
        judge: Judge | None = None,
    ) -> list[Any]:
        """Run a document once with each of some variables, in one request.

        Nothing is dropped from the document, and a fault that lasts is not waited for.

        Args:
            name: As in :meth:`execute`.
            asks: The variables of each.
            decode_fast: As in :meth:`execute`.
            judge: As in :meth:`execute`, of the error of each.

        Returns:
            The ``data`` of each, or the error; None where that had better be asked for
            alone.

        Raises:
            LabelboxError: If Labelbox says of none in particular what is wrong.
        """

        def run() -> list[Any]:
            document = self.document(name)
            text, sent = document.together([document.variables(ask) for ask in asks])
            body = encoder.encode({"query": text, "variables": sent})
            result: list[Any] = self._send(
                name,
                partial(self._request, document.path, body),
                partial(
                    _graphql_parts,
                    count=len(asks),
                    decode_fast=decode_fast,
                    judge=judge or (lambda error: error),
                ),
                max_bytes=MAX_TOGETHER_BYTES,
            )
            return result

        result = self._retry_briefly(name, run)
        return [None] * len(asks) if result is None else result

    def execute_if_possible(
        self, name: str, /, **variables: object
    ) -> dict[str, Any] | None:
        """Run a document in place of which others will do; None where it cannot be."""
        try:
            return self._retry_briefly(name, partial(self._run, name, variables))
        except (
            errors.ComplexityError,
            errors.NotOfferedError,
            errors.UnavailableError,
        ):
            return None

    def get(
        self, path: str, ids: Mapping[str, str] | None = None, /, **parameters: object
    ) -> dict[str, Any]:
        """Return what the REST API answers at a path.

        Args:
            path: Behind the version, such as ``/performance/projects/{project_id}``.
            ids: What stands in the path in place of names in braces.
            **parameters: Of the query; None is not sent.

        Raises:
            LabelboxError: As :meth:`execute` does.

        """
        return self.get_at(REST + path, ids, **parameters)

    def get_at(
        self, path: str, ids: Mapping[str, str] | None = None, /, **parameters: object
    ) -> dict[str, Any]:
        """Return the object at a path beside the configured address, as :meth:`get`."""
        quoted = {name: quote(text, safe="") for name, text in (ids or {}).items()}
        operation = path.removeprefix(REST)
        base = self._base if operation == path else self._rest
        address = base + operation.format_map(quoted)
        request = self._api.prepare_request(
            requests.Request("GET", address, params=parameters)
        )
        send = partial(
            self._send,
            operation,
            request.copy,
            _rest_object,
            timeout_factor=REST_TIMEOUTS,
            base=base,
        )
        report: dict[str, Any] = self._retry(operation, send)
        return report

    def file(self, address: str) -> bytes:
        """Return a file that Labelbox itself keeps, such as a mask.

        The key is sent for it, so it has to be where the API is.

        Raises:
            UnavailableError: If it is elsewhere, or there is none.
            LabelboxError: As :meth:`execute` does.
        """
        if self._link(address).authority != Link.parse(self._base).authority:
            raise errors.UnavailableError(
                "a file is not where api_url is, so the key is not sent for it"
            )
        request = self._api.prepare_request(requests.Request("GET", address))
        send = partial(self._send, "file", request.copy, _file)
        content: bytes = self._retry("file", send)
        return content

    def execute_once(
        self,
        name: str,
        done: Callable[[], dict[str, Any] | None],
        judge: Judge = lambda e: e,
        timeout_factor: float = 1,
        /,
        **variables: object,
    ) -> dict[str, Any]:
        """Run a document that Labelbox had better not run twice.

        Args:
            name: As in :meth:`execute`.
            done: Asked before another try, if an earlier one may have been heard.
                What it returns, unless that is None, is taken for the ``data``.
            judge: Returns the error that an error is for this document.
            timeout_factor: How many times as long as others Labelbox may take before
                it answers.
            **variables: As in :meth:`execute`.

        Raises:
            LabelboxError: As :meth:`execute` does; a LimitError at once.

        """
        doubtful = False

        def run() -> dict[str, Any]:
            nonlocal doubtful
            if doubtful and (data := done()) is not None:
                return data
            try:
                result: dict[str, Any] = self._run(
                    name, variables, timeout_factor=timeout_factor
                )
            except errors.LabelboxError as fault:
                error = judge(fault)
                if isinstance(error, errors.TransientError):
                    doubtful = doubtful or not error.is_undone
                raise error from None
            return result

        return self._retry(name, run, but=errors.LimitError)

    def gives_ranges(self, link: str) -> bool:
        """Return whether a server is not known to give all of a file for some of it."""
        return self._link(link).authority not in self._without_ranges

    def download(
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
        host = self._link(link).authority
        response: requests.Response | None = None
        chunks: Iterator[bytes] = iter(())

        def read() -> bytes:
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
                raise errors.TransientError(msg)
            return b""

        try:
            while position != end and (
                chunk := self._retry(f"download from {host}", read)
            ):
                position += len(chunk)
                yield chunk
        finally:
            if response is not None:
                response.close()

    def sleep(self, seconds: float) -> None:
        """Wait so many seconds.

        Raises:
            StoppedError: If the client is closed, also while waiting.

        """
        self._rate_limiter.sleep(seconds)

    def close(self) -> None:
        """End all waits; whoever asks for more gets a StoppedError."""
        self._rate_limiter.close()
        self._api.close()
        self._files.close()

    def _run(
        self,
        name: str,
        variables: dict[str, object],
        decode_fast: Callable[[bytes], Any] | None = None,
        timeout_factor: float = 1,
    ) -> Any:
        """Send a document once as Labelbox knows it."""
        while True:
            document = self.document(name)
            sent = document.variables(variables)
            body = encoder.encode({"query": document.text, "variables": sent})
            try:
                return self._send(
                    name,
                    partial(self._request, document.path, body),
                    partial(_graphql_data, decode_fast=decode_fast),
                    timeout_factor,
                )
            except errors.QueryError as error:
                if not self._drop(name, document, error, variables):
                    raise

    def _drop(
        self,
        name: str,
        document: Document,
        error: errors.QueryError,
        variables: dict[str, object],
    ) -> bool:
        """Return whether another form of a refused document can be sent."""
        with self._lock:
            if self._documents[name] is not document:  # another thread was faster
                return True
            if not (changed := document.less(error.errors, variables)):
                return False
            self._documents[name], dropped = changed
            self.dropped.add(name)
            self._logger.warning(
                "Labelbox no longer knows %s: going on without", ", ".join(dropped)
            )
        return True

    def _send(
        self,
        operation: str,
        request: Callable[[], requests.PreparedRequest],
        decoded: Callable[[requests.Response, bytes], Any],
        timeout_factor: float = 1,
        max_bytes: float = math.inf,
        base: str = "",
    ) -> Any:
        """Send a request once, and return its reply as it is decoded."""
        base = base or self._base
        tags: dict[str, Any] = {metrics.Tag.ENDPOINT: operation}
        try:
            with self._slots:
                # After the slot: a permit is for a request that can be sent at once.
                self._rate_limiter.acquire()
                self._progress.request()
                with metrics.Timer(metrics.Metric.HTTP_REQUEST_DURATION, tags):
                    # A redirect would carry the key to an address nobody configured.
                    response = self._api.send(
                        request(),
                        timeout=self._timeouts(timeout_factor),
                        allow_redirects=False,
                        stream=True,
                        proxies=self._proxies[base],
                    )
                    self._is_reached = True
                    tags[metrics.Tag.HTTP_STATUS_CODE] = response.status_code
                    with response:
                        content = self._content(response, max_bytes)
        except (OSError, ValueError) as fault:  # the latter of what is no address
            raise self._network_error(fault, base) from None
        try:
            if response.is_redirect:
                raise errors.redirect_error(response)
            data = decoded(response, content)
        except errors.AddressError as error:
            # An address that has answered is right: the page is a passing fault.
            if self._has_answered:
                raise errors.TransientError(str(error)) from None
            raise
        except errors.RefusedError as error:
            # So is the way to it: what was refused is this request alone.
            if self._has_answered:
                raise errors.UnavailableError(str(error)) from None
            raise
        if not self._has_answered:
            self.first_date = errors.http_date(response.headers.get("Date", ""))
        self._has_answered = True
        return data

    def _timeouts(self, factor: float) -> tuple[float, float]:
        """Return the seconds to wait for a connection, and for an answer."""
        connect = self._timeout
        if not self._is_reached:
            now = time.monotonic()
            self._first_sent_at = min(self._first_sent_at, now)
            left = self._first_sent_at + FIRST_CONTACT_SECONDS - now
            connect = min(connect, max(left, 1.0))
        return connect, factor * self._timeout

    def _content(self, response: requests.Response, max_bytes: float) -> bytes:
        """Read the body of a reply of the API."""
        # In large pieces: each is a turn to wait for among the threads.
        return b"".join(
            read_body(
                response,
                chunk_bytes=CHUNK_BYTES,
                max_bytes=int(min(max_bytes, self._max_reply_bytes)),
                limited_by="max_reply_bytes",
            )
        )

    def _request(self, path: str, body: bytes) -> requests.PreparedRequest:
        """Return a signed request. All but the body is made once: it takes a while."""
        if path not in self._requests:
            headers = {"Content-Type": "application/json"}
            blank = requests.Request("POST", self.address(path), headers=headers)
            self._requests[path] = self._api.prepare_request(blank)
        request = self._requests[path].copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        return request

    def _open(
        self, address: str, start: int, end: int | None = None
    ) -> requests.Response:
        """Ask for a file from a byte on, without the key: the link is a credential."""
        # Bytes are counted, so they must come as they are stored.
        headers = {"Accept-Encoding": "identity"}
        if start or end is not None:
            last = "" if end is None else end - 1
            headers["Range"] = f"bytes={start}-{last}"
        link = self._link(address)
        for _ in range(MAX_REDIRECTS + 1):
            # This machine is reached without a proxy, which would see all of it.
            proxies = {"http": "", "all": ""} if link.scheme == "http" else None
            if proxies is None:
                _proxy(link.url)
            try:
                response = self._files.get(
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
            raise errors.UnavailableError(msg)
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
                    f"{link.authority} has {size} bytes, but gives none from {start} on"
                )
                raise errors.TransientError(msg)
        raise errors.link_error(response)

    def _link(self, address: str) -> Link:
        """Parse a download link.

        Raises:
            UnavailableError: If it is none, or if its host alone shows that it must
                not be opened. Where a name leads to is seen when it is connected to.
        """
        try:
            return self._safe(Link.parse(address))
        except ValueError as error:
            raise errors.UnavailableError(f"a download link {error}") from None

    def _safe(self, link: Link) -> Link:
        """Return a link that may be opened, as far as its host alone tells."""
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
            raise errors.UnavailableError(msg) from None
        return self._safe(result)

    def _judge(self, host: str, reaches_found: Reach, is_plain: bool) -> None:  # noqa: FBT001
        """Refuse an address from which no file may be read.

        Whoever makes the replies must not make this machine ask others in its place:
        its own services, its private network, the metadata service of its cloud.

        Raises:
            UnavailableError: If it is one.
        """
        if is_plain and not (reaches_found is self._api_reach is Reach.LOOPBACK):
            msg = (
                "a download link is without https, and only this machine may have such"
            )
            raise errors.UnavailableError(msg)
        is_let = reaches_found is Reach.PRIVATE and self._allow_private_links
        if is_let or self._api_reach.allows(reaches_found):
            return
        hint = ": set allow_private_links if that is right" * (
            reaches_found is Reach.PRIVATE
        )
        msg = (
            f"a download link leads to a {reaches_found.value} address ({host}), which "
            f"api_url ({self._api_reach.value}) may not name{hint}"
        )
        raise errors.UnavailableError(msg)

    @cached_property
    def _api_reach(self) -> Reach:
        """From where the API can be reached: the widest of its addresses.

        Behind a proxy its name may have no address here; then it is a public one.
        """
        try:
            api = Link.parse(self._base)
            result = resolved_reaches(api.host, api.port or 443)
        except (OSError, ValueError):
            return Reach.PUBLIC
        known = result - {Reach.NOWHERE}
        return min(known, key=[*Reach].index, default=Reach.PUBLIC)

    @staticmethod
    def _is_plain_loopback(address: str) -> bool:
        try:
            link = Link.parse(address)
        except ValueError:
            return False
        return link.scheme == "http" and link.is_loopback

    def _network_error(self, fault: Exception, address: str) -> errors.LabelboxError:
        """Return the error for what broke, and where: a proxy is not Labelbox."""
        if errors.is_out_of_files(fault):
            if not self._has_answered:  # what is open is none of ours
                return errors.ResourceError(errors.OUT_OF_FILES)
            # Connections that wait for their next request hold what this one needs.
            self._api.close()
            self._files.close()
        proxy = None if self._is_plain_loopback(address) else _proxy(address)
        return errors.network_error(fault, shown(address), proxy=proxy)

    def _retry(
        self,
        operation: str,
        attempt: Callable[[], Answer],
        but: type[Exception] | tuple[()] = (),
    ) -> Answer:
        """Try something until it succeeds, for as long as the settings say.

        Waits up to 1, 2, 4, ... seconds at random, so that many clients that failed
        together do not return together, but as long as the server asks. Not by
        backoff's decorator, whose waits close() could not end.

        Args:
            operation: What the log calls it.
            attempt: Tries it once.
            but: What is not to be tried again here.

        Raises:
            LabelboxError: What the last attempt raised.
        """
        longest = backoff.expo(max_value=MAX_PAUSE_SECONDS)
        next(longest)  # starts it
        deadline: float | None = None
        tries = 0
        while True:
            tries += 1
            try:
                return attempt()
            except errors.TransientError as error:
                deadline = deadline or time.monotonic() + self._retry_seconds
                ends_at = deadline
                if self._is_nobody(error):
                    ends_at = min(ends_at, self._first_sent_at + FIRST_CONTACT_SECONDS)
                left = ends_at - time.monotonic()
                if isinstance(error, but) or left <= 0 or error.retry_after > left:
                    error.tries += tries
                    self._raise_if_nobody(error)
                    raise
                pause = backoff.full_jitter(min(next(longest), left))
                self._wait(operation, error, max(pause, error.retry_after))

    def _retry_briefly(
        self, operation: str, attempt: Callable[[], Answer]
    ) -> Answer | None:
        """Try what can be asked for in another way; None where a fault of it lasts."""
        tries = 0

        def run() -> Answer | None:
            nonlocal tries
            tries += 1
            try:
                return attempt()
            except errors.UnsentError:  # nor would anything else get there
                raise
            except errors.TransientError:
                if tries < MAX_BRIEF_TRIES:
                    raise
                return None

        return self._retry(operation, run)

    def _wait(self, operation: str, error: errors.TransientError, pause: float) -> None:
        """Log that something is tried again, and wait until then."""
        everybody = isinstance(error, errors.RateLimitError)
        if everybody:
            self._rate_limiter.pause(pause)
        until = self._progress.retry(pause, everybody=everybody)
        self._progress.warn(
            "%s: %s; trying again in %.1f s, at %s%s",
            operation,
            error,
            pause,
            f"{until:%H:%M:%S}",
            " (all requests wait)" if everybody else "",
        )
        self._rate_limiter.sleep(pause)

    def _is_nobody(self, error: errors.TransientError) -> bool:
        """Return whether nobody has answered at api_url so far."""
        return error.is_unconnected and not self._is_reached

    def _raise_if_nobody(self, error: errors.TransientError) -> None:
        """Raise what it means if nobody has answered at api_url so far.

        Raises:
            AddressError: If that is an address that somebody has set.
            TransientError: If it is the network of this machine, or a proxy.
        """
        if not self._is_nobody(error):
            return
        msg = f"{error}: nobody has answered there in this run, so"
        is_direct = self._is_plain_loopback(self._base) or not _proxy(self._base)
        if is_direct and self._base != API_URL.removesuffix("/graphql"):
            raise errors.AddressError(f"{msg} api_url is probably wrong") from error
        raise type(error)(f"{msg} this machine has probably no way to it") from error


def _judged(attempt: Callable[[], Answer], judge: Judge) -> Answer:
    """Try something, and raise what its errors are judged to be."""
    try:
        return attempt()
    except errors.LabelboxError as fault:
        raise judge(fault) from None


def _session(auth: Any, connections: int, rules: Rules) -> requests.Session:
    session = Session()
    session.auth = auth
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter(rules, connections))
    return session


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign nothing; without this, requests would look into ~/.netrc."""
    return request


def _proxy(address: str) -> str | None:
    """Return host and port of the proxy on the way to an address, if there is one.

    Raises:
        SettingsError: If the environment names one that no request can use.
    """
    proxy = select_proxy(address, get_environ_proxies(address, no_proxy=None))
    if not proxy:
        return None
    # What requests takes: a scheme is not needed, and a password may have an @.
    scheme, mark, rest = proxy.rpartition("://")
    host = rest.rpartition("@")[2].rstrip("/")
    # A slash, a question mark or a hash ends the password for requests.
    is_torn = re.search(r"[/?#\\]", rest.rpartition("@")[0])
    if is_torn or (mark and not scheme.isalnum()):
        host = ""
    try:
        return Link.parse(f"https://{host}").authority
    except ValueError:
        msg = (
            "the proxy in the environment (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) is no "
            "address such as http://host:port: in a user and password before the "
            "host, percent-encode what is no letter or digit"
        )
        raise errors.SettingsError(msg) from None


def _graphql_data(
    response: requests.Response,
    content: bytes,
    decode_fast: Callable[[bytes], Any] | None,
) -> Any:
    """Decode a GraphQL reply, and return its ``data``.

    Raises:
        LabelboxError: If it has none, or errors beside it.
    """
    if decode_fast and response.status_code == HTTPStatus.OK:
        result = decode_fast(content)
        if result is not None:
            return result
    try:
        body = decode(content)
    except ValueError:
        raise errors.not_json_error(response, content) from None
    if error := errors.graphql_error(response, body):
        raise error
    return body["data"]


def _graphql_parts(
    response: requests.Response,
    content: bytes,
    count: int,
    decode_fast: Callable[[bytes], Any] | None,
    judge: Judge,
) -> list[Any]:
    """Decode the reply to many: the ``data`` of each, its error, or None.

    Raises:
        LabelboxError: If it says of none of them in particular what is wrong.
    """
    try:
        reply = separated(content, count)
    except ValueError:
        raise errors.not_json_error(response, content) from None
    if reply.common and (error := errors.graphql_error(response, reply.common)):
        raise error
    is_ok = response.status_code == HTTPStatus.OK
    result: list[Any] = []
    for number, part in enumerate(reply.parts):
        if part is None or not (is_ok or number in reply.refused):
            result.append(None)
            continue
        try:
            result.append(_graphql_data(response, part, decode_fast))
        except errors.LabelboxError as fault:
            error = judge(fault)
            # Alone it is tried again, or asked in another way.
            result.append(None if isinstance(error, ASKED_ALONE) else error)
    return result


def _file(response: requests.Response, content: bytes) -> bytes:
    """Return the body of a reply, if it is a file."""
    if response.status_code != HTTPStatus.OK:
        raise errors.link_error(response)
    return content


def _rest_object(response: requests.Response, content: bytes) -> dict[str, Any]:
    """Decode a reply of the REST API.

    Raises:
        LabelboxError: If it is no object.
    """
    try:
        body = decode(content)
    except ValueError:
        body = None
    if response.status_code == HTTPStatus.OK and isinstance(body, dict):
        return body
    raise errors.rest_error(response, body)


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
