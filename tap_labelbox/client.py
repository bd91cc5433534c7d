"""The one door to Labelbox: GraphQL by POST, files by GET.

The SDK's ``GraphQLStream`` is not used. It copies variables into the address,
takes a GraphQL error inside HTTP 200 for an empty page, sends no mutation,
ignores ``Retry-After``, and opens a connection of its own for each stream.
Retrying (backoff), signing and metrics are still the SDK's.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import re
import threading
import time
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import backoff
import requests
from requests.adapters import HTTPAdapter
from singer_sdk import metrics
from singer_sdk.authenticators import BearerTokenAuthenticator

from tap_labelbox import errors
from tap_labelbox.gate import Gate
from tap_labelbox.json_text import encoder
from tap_labelbox.queries import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

Function = TypeVar("Function", bound="Callable[..., Any]")

CHUNK = 1024 * 1024  # bytes a read, at most
LONGEST_PAUSE = 60.0  # seconds between two tries, unless Labelbox asks for more
MOST_REDIRECTS = 5  # of one download

RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class Client:
    """Labelbox's API, as one user with one key; any number of threads may use it.

    Args:
        api_url: The GraphQL address, ending in ``/graphql``.
        api_key: Sent to that address only, never to a download link.
        timeout: Seconds without a byte after which a request is given up. It bounds
            each wait, not the whole: a server that sends a byte in each
            ``timeout`` is heard to its end.
        retry_seconds: Seconds, from its first failure on, in which a request that
            fails in passing is sent again; 0 is never.
        requests_per_minute: Requests to the API, of all threads; downloads are not
            counted. None is no limit.
        concurrency: Requests to the API at once; others wait.
        logger: Where waits and dropped fields are told.

    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        timeout: float,
        retry_seconds: float,
        logger: logging.Logger,
        requests_per_minute: int | None = None,
        concurrency: int = 1,
    ) -> None:
        """Open nothing yet: the first request connects."""
        self._base = api_url.removesuffix("/graphql")
        self._api_key = api_key
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._logger = logger
        self._gate = Gate(requests_per_minute)
        self._slots = threading.Semaphore(concurrency)
        self._lock = threading.Lock()  # of the documents
        self._documents: dict[str, Document] = {}
        self._requests: dict[str, requests.PreparedRequest] = {}  # by path
        self._has_answered = False
        self._api = _session(BearerTokenAuthenticator(token=api_key), concurrency)
        # What the environment says of proxies and certificates, once: requests would
        # go through all of it for each request.
        found = self._api.merge_environment_settings(self._base, {}, None, None, None)
        self._api.proxies, self._api.verify = found["proxies"], found["verify"]
        self._api.trust_env = False
        self._files = _session(_unsigned, concurrency)
        # It logs addresses with their signatures; what fails is told here.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def address(self, path: str) -> str:
        """Give an address beside the configured one: ``/_gql``, ``/api/v1/...``."""
        return self._base + path

    def document(self, name: str) -> Document:
        """Give the document as this Labelbox knows it."""
        with self._lock:
            if name not in self._documents:
                self._documents[name] = Document.load(name)
            return self._documents[name]

    def execute(
        self,
        name: str,
        usual: Callable[[bytes], Any] | None = None,
        /,
        **variables: object,
    ) -> Any:
        """Run ``queries/<name>.graphql`` and give its ``data``.

        What Labelbox no longer knows is dropped from the document, and said.

        Args:
            name: Of the document.
            usual: Makes something better than a dict of a reply, if that has
                nothing unusual in it; else gives None.
            **variables: Of the document.

        Raises:
            LabelboxError: Of the kind that :mod:`tap_labelbox.errors` decides.

        """
        return self._again(name)(self._run)(name, variables, usual)

    def execute_once(
        self,
        name: str,
        done: Callable[[], dict[str, Any] | None],
        judge: Callable[[errors.LabelboxError], errors.LabelboxError] = lambda e: e,
        /,
        **variables: object,
    ) -> dict[str, Any]:
        """Run a document that Labelbox had better not run twice.

        Args:
            name: As in :meth:`execute`.
            done: Asked before another try, if an earlier one may have been heard.
                What it gives, unless that is None, is taken for the ``data``.
            judge: Returns the error that an error is for this document.
            **variables: As in :meth:`execute`.

        Raises:
            LabelboxError: As :meth:`execute` does; a LimitError at once.

        """
        doubtful = False

        @self._again(name, but=errors.LimitError)
        def run() -> dict[str, Any]:
            nonlocal doubtful
            if doubtful and (data := done()) is not None:
                return data
            try:
                found: dict[str, Any] = self._run(name, variables)
            except errors.LabelboxError as fault:
                error = judge(fault)
                if isinstance(error, errors.TransientError):
                    doubtful = doubtful or not error.is_undone
                raise error from None
            return found

        return run()

    def download(self, link: str, position: int = 0) -> Iterator[bytes]:
        """Read a file from a byte on; a broken transfer goes on where it broke.

        Raises:
            ExpiredLinkError: If the link opens nothing (any more).
            UnavailableError: If it is none that can be opened safely.

        """
        _check_link(link)
        response: requests.Response | None = None
        chunks: Iterator[bytes] = iter(())
        host = _host(link)

        @self._again(f"download from {host}")
        def read() -> bytes:
            nonlocal response, chunks
            self._gate.check()
            if response is None:
                response = self._open(link, position)
                chunks = _from(position, response)
            try:
                if chunk := next(chunks, b""):
                    return chunk
                size = _size(response)
            except OSError as fault:
                response.close()
                response = None
                raise self._network_error(fault, link) from None
            if size is not None and position < size:  # a server may send less
                response = None
                msg = f"{host}: the file ended at byte {position} of {size}"
                raise errors.TransientError(msg)
            return b""

        try:
            while chunk := read():
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
        self._gate.sleep(seconds)

    def close(self) -> None:
        """End all waits; whoever asks for more gets a StoppedError."""
        self._gate.close()
        self._api.close()
        self._files.close()

    def _run(
        self,
        name: str,
        variables: dict[str, object],
        usual: Callable[[bytes], Any] | None = None,
    ) -> Any:
        """Send a document once as Labelbox knows it."""
        while True:
            document = self.document(name)
            body = {
                "query": document.text,
                "variables": document.variables(variables),
            }
            try:
                return self._post("/graphql", body, name, usual)
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
        """Tell whether there is a document to ask with, after this one was refused."""
        with self._lock:
            if self._documents[name] is not document:  # another thread was faster
                return True
            if not (changed := document.less(error.errors, variables)):
                return False
            self._documents[name], dropped = changed
            self._logger.warning(
                "Labelbox no longer knows %s: going on without", ", ".join(dropped)
            )
        return True

    def _post(
        self,
        path: str,
        body: dict[str, Any],
        operation: str,
        usual: Callable[[bytes], Any] | None = None,
    ) -> Any:
        tags: dict[str, Any] = {metrics.Tag.ENDPOINT: operation}
        try:
            with self._slots:
                self._gate.enter()  # not before: a turn is for who can use it at once
                with metrics.Timer(metrics.Metric.HTTP_REQUEST_DURATION, tags):
                    # A redirect would carry the key to an address nobody configured.
                    response = self._api.send(
                        self._request(path, encoder.encode(body)),
                        timeout=self._timeout,
                        allow_redirects=False,
                        stream=True,
                        proxies=self._api.proxies,
                    )
                    # In large pieces: each is a turn to wait for among the threads.
                    content = b"".join(response.iter_content(CHUNK))
                    tags[metrics.Tag.HTTP_STATUS_CODE] = response.status_code
        except (OSError, ValueError) as fault:  # the latter of what is no address
            raise self._network_error(fault, self._base) from None
        try:
            data = errors.reply_data(response, content, usual)
        except errors.LabelboxError as error:
            # An address that has answered is right: the page is a passing fault.
            if isinstance(error, errors.AddressError) and self._has_answered:
                error = errors.TransientError(str(error))
            error.args = tuple(str(a).replace(self._api_key, "***") for a in error.args)
            raise error from None
        self._has_answered = True
        return data

    def _request(self, path: str, body: bytes) -> requests.PreparedRequest:
        """Give a signed request. All but the body is made once: it takes a while."""
        if path not in self._requests:
            headers = {"Content-Type": "application/json"}
            blank = requests.Request("POST", self.address(path), headers=headers)
            self._requests[path] = self._api.prepare_request(blank)
        request = self._requests[path].copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        return request

    def _open(self, link: str, start: int) -> requests.Response:
        """Ask for a file from a byte on, with no key: the link itself is the right."""
        # Bytes are counted, so they must come as they are stored.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        for _ in range(MOST_REDIRECTS + 1):
            try:
                response = self._files.get(
                    link,
                    headers=headers,
                    stream=True,
                    timeout=self._timeout,
                    allow_redirects=False,  # it would sign with what is in ~/.netrc
                )
            except ValueError as fault:  # where the link leads to
                msg = f"a download link leads nowhere ({type(fault).__name__})"
                raise errors.UnavailableError(msg) from None
            except OSError as fault:
                raise self._network_error(fault, link) from None
            if not response.is_redirect:
                break
            response.close()
            link = urljoin(link, response.headers["Location"])
            _check_link(link)
        else:
            msg = f"a download link redirects more than {MOST_REDIRECTS} times"
            raise errors.UnavailableError(msg)
        if response.status_code == HTTPStatus.OK or (
            response.status_code == HTTPStatus.PARTIAL_CONTENT
            and _first(response) == start
        ):
            return response
        response.close()
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            size = _size(response)
            if size == start:  # the transfer broke behind the last byte
                return response
            if size is not None and size > start:
                msg = f"{_host(link)} has {size} bytes, but gives none from {start} on"
                raise errors.TransientError(msg)
        raise errors.link_error(response)

    def _network_error(self, fault: Exception, address: str) -> errors.LabelboxError:
        """Say what broke, and at whom; a proxy on the way is not Labelbox."""
        if errors.is_out_of_files(fault):
            if not self._has_answered:  # what is open is none of ours
                return errors.LabelboxError(errors.OUT_OF_FILES)
            # Connections that wait for their next request hold what this one needs.
            self._api.close()
            self._files.close()
        proxies = requests.utils.get_environ_proxies(address)
        proxy = requests.utils.select_proxy(address, proxies)
        return errors.network_error(
            fault, _host(address), proxy=_host(proxy) if proxy else None
        )

    def _again(
        self, operation: str, but: type[Exception] | tuple[()] = ()
    ) -> Callable[[Function], Function]:
        """Give what tries a function again, for as long as the settings say.

        Args:
            operation: What the log calls it.
            but: What is not to be tried again here.
        """
        return backoff.on_exception(
            self._pauses,
            errors.TransientError,
            giveup=lambda error: isinstance(error, but),
            jitter=None,  # _pauses has its own
            on_giveup=_tell_end,
            logger=None,
            operation=operation,
        )

    def _pauses(self, operation: str) -> Generator[float, errors.TransientError, None]:
        """Wait up to 1, 2, 4, ... seconds at random, but as long as the server asks.

        Random, so that many clients that failed together do not return together.
        The waiting is done here, where close() ends it; nothing is left for backoff.
        """
        error = yield 0.0  # backoff starts a generator before it has an error
        deadline = time.monotonic() + self._retry_seconds
        for tries in count():
            left = deadline - time.monotonic()
            if left <= 0 or error.retry_after > left:
                return
            longest = min(2.0 ** min(tries, 10), LONGEST_PAUSE, left)
            pause = max(random.uniform(0, longest), error.retry_after)
            everybody = isinstance(error, errors.RateLimitError)
            if everybody:
                self._gate.hold(pause)
            self._logger.warning(
                "%s: %s; trying again in %.1f s%s",
                operation,
                error,
                pause,
                " (all requests wait)" if everybody else "",
            )
            self._gate.sleep(pause)
            error = yield 0.0


def _tell_end(details: Any) -> None:
    details["exception"].tries += details["tries"]


def _session(auth: Any, connections: int) -> requests.Session:
    session = requests.Session()
    session.auth = auth
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
    return session


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign nothing; without this, requests would look into ~/.netrc."""
    return request


def _host(address: str) -> str:
    """Give host and port of an address, and nothing that may be secret."""
    return urlsplit(address).netloc.rpartition("@")[2]


def _check_link(link: str) -> None:
    """Refuse a link whose file anybody on the way could read or change."""
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and _is_loopback(host):
        return
    msg = f"Labelbox gave a download link without https ({parts.scheme or 'nothing'}:)"
    raise errors.UnavailableError(msg)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _first(response: requests.Response) -> int | None:
    """Give the place in the file of the first byte of a reply, as it says."""
    match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(match[1]) if match and match[1] else None


def _size(response: requests.Response) -> int | None:
    """Give the size of the whole file, if a reply with a range says it."""
    match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(match[3]) if match and match[3] != "*" else None


def _from(start: int, response: requests.Response) -> Iterator[bytes]:
    """Give a file's bytes from ``start``, also if the server sent it from 0."""
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return  # there are none
    chunks = response.iter_content(CHUNK)
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        start = 0
    for chunk in chunks:
        if len(chunk) > start:
            yield chunk[start:]
        start = max(start - len(chunk), 0)
