"""The client of Labelbox: GraphQL by POST, reports and files by GET.

The SDK's ``GraphQLStream`` is not used. It copies variables into the address,
takes a GraphQL error inside HTTP 200 for an empty page, sends no mutation,
ignores ``Retry-After``, and opens a connection of its own for each stream.
Retrying (backoff), signing and metrics are still the SDK's.
"""

from __future__ import annotations

import logging
import math
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import requests
from singer_sdk import metrics
from singer_sdk.authenticators import BearerTokenAuthenticator

from tap_labelbox import redact
from tap_labelbox.api import errors
from tap_labelbox.api.documents import GRAPHQL, Document
from tap_labelbox.api.downloads import Downloads
from tap_labelbox.api.links import Link, shown
from tap_labelbox.api.proxies import api_proxy
from tap_labelbox.api.rate_limiter import RateLimiter
from tap_labelbox.api.replies import (
    file_content,
    graphql_data,
    graphql_parts,
    rest_object,
)
from tap_labelbox.api.retries import FirstContact, Retries, Tries
from tap_labelbox.api.transport import (
    CHUNK_BYTES,
    REPLY_TIMEOUTS,
    Rules,
    open_session,
    read_body,
)
from tap_labelbox.progress import Progress
from tap_labelbox.records.json_text import encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from tap_labelbox.api.replies import Judge

Answer = TypeVar("Answer")

API_URL = "https://api.labelbox.com/graphql"
MAX_REPLY_BYTES = MAX_ROW_BYTES = 256 * 1024 * 1024  # real labels of videos have 24 MB
MAX_TOGETHER_BYTES = 4 * 1024 * 1024  # of a reply to many; several are held at once
MAX_BRIEF_TRIES = 3  # of a request in place of which others will do

REST = "/api/v1"
REST_TIMEOUTS = 2.0
"""How many times as long as other replies one of the REST API may take: a report takes
up to two minutes."""

USER_AGENT = "tap-labelbox"
with suppress(metadata.PackageNotFoundError):  # run from a checkout
    USER_AGENT += f"/{metadata.version('tap-labelbox')}"


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
            counted. None means no limit.
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
        redact.hide(api_key)
        redact.hide_proxies()
        self._base = api_url.removesuffix(GRAPHQL)
        self._rest = (rest_url or self._base + REST).rstrip("/")
        self.max_row_bytes = max_row_bytes
        self._max_reply_bytes = max_reply_bytes
        self._timeout = timeout
        self._logger = logger
        self._progress = progress or Progress(logger)
        self._rate_limiter = RateLimiter(requests_per_minute)
        is_default = self._base == API_URL.removesuffix(GRAPHQL)
        self._contact = FirstContact(self._base, is_default=is_default)
        self._retries = Retries(
            retry_seconds, self._rate_limiter, self._progress, self._contact
        )
        self.concurrency = concurrency
        self._slots = threading.Semaphore(concurrency)
        self._lock = threading.Lock()  # of the documents
        self._documents: dict[str, Document] = {}
        self.dropped: set[str] = set()
        """The documents of which something was dropped."""
        self._requests: dict[str, requests.PreparedRequest] = {}  # by path
        self._has_answered = False
        self.first_date: datetime | None = None
        """What Labelbox's clock said at the first answer, in whole seconds of UTC;
        None if it has not said."""
        api = Rules(
            timeout, self._rate_limiter.check, max_seconds=REPLY_TIMEOUTS * timeout
        )
        user_agent = user_agent or USER_AGENT
        auth = BearerTokenAuthenticator(token=api_key)
        self._api = open_session(auth, concurrency, api, user_agent)
        # Compressions that are known to every urllib3; some are not, without more.
        self._api.headers["Accept-Encoding"] = "gzip, deflate"
        # What the environment says of proxies and certificates, once: requests would
        # go through all of it for each request.
        self._proxies = {base: self._ways(base) for base in (self._base, self._rest)}
        self._api.trust_env = False
        self.downloads = Downloads(
            self._base,
            timeout=timeout,
            concurrency=concurrency,
            user_agent=user_agent,
            rate_limiter=self._rate_limiter,
            allow_private_links=allow_private_links,
            retry=self._retry,
            network_error=self._network_error,
        )
        # Failures are logged here. urllib3 would log each address, and each retry.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def _ways(self, base: str) -> Any:
        """Return the proxies on the way to an address."""
        result = self._api.merge_environment_settings(base, {}, None, None, None)
        self._api.verify = result["verify"]
        return result["proxies"] if api_proxy(base) else {}

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
        """Remove the last of several lists from a document, and return its alias."""
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
            decode_fast: Decodes a reply that is well-formed in every part to something
                better than a dict; returns None for any other.
            judge: Returns the error that an error is for this document.
            **variables: Of the document.

        Raises:
            LabelboxError: Of the kind that :mod:`tap_labelbox.api.errors` decides.

        """
        attempt: Callable[[], Any] = partial(self._run, name, variables, decode_fast)
        judged = partial(_judged, attempt, judge) if judge else attempt
        return self._retry(name, judged)

    def execute_together(
        self,
        name: str,
        asks: Sequence[dict[str, Any]],
        decode_fast: Callable[[bytes], Any] | None = None,
        judge: Judge | None = None,
    ) -> list[Any]:
        """Run a document once with each of some variables, in one request.

        Nothing is dropped from the document, and a fault that lasts is not waited for.
        All else is as in :meth:`execute`.

        Returns:
            For each the ``data`` or the error; None if it had better be asked alone.

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
                    graphql_parts,
                    count=len(asks),
                    decoded=partial(_decoded, decode_fast),
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
        """Return what the REST API answers at a path behind its version.

        Args:
            path: Such as ``/performance/projects/{project_id}``.
            ids: What stands there in place of names in braces.
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
        attempt = partial(
            self._send, operation, request.copy, rest_object, REST_TIMEOUTS, base=base
        )
        report: dict[str, Any] = self._retry(operation, attempt)
        return report

    def file(self, address: str) -> bytes:
        """Return a file that Labelbox itself keeps, such as a mask.

        The key is sent for it, so it has to be where the API is.

        Raises:
            UnavailableError: If it is elsewhere, or there is none.
            LabelboxError: As :meth:`execute` does.
        """
        if self.downloads.link(address).authority != Link.parse(self._base).authority:
            raise errors.UnavailableError(
                "a file is on another host than api_url, so the key is not sent to it"
            )
        request = self._api.prepare_request(requests.Request("GET", address))
        send = partial(self._send, "file", request.copy, file_content)
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
            judge: As in :meth:`execute`.
            timeout_factor: How many times as long as others Labelbox may take.
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
        self.downloads.close()

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
                    partial(_decoded, decode_fast),
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
                "Labelbox no longer knows %s: continuing without it", ", ".join(dropped)
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
        # In large pieces: each is a turn to wait for among the threads.
        read = partial(
            read_body,
            chunk_bytes=CHUNK_BYTES,
            max_bytes=int(min(max_bytes, self._max_reply_bytes)),
            limited_by="max_reply_bytes",
        )
        tags: dict[str, Any] = {metrics.Tag.ENDPOINT: operation}
        try:
            with self._slots:
                # After the slot: a permit is for a request that can be sent at once.
                self._rate_limiter.acquire()
                self._progress.request()
                timeout = self._contact.connect_seconds(self._timeout)
                with metrics.Timer(metrics.Metric.HTTP_REQUEST_DURATION, tags):
                    # A redirect would carry the key to an address nobody configured.
                    response = self._api.send(
                        request(),
                        timeout=(timeout, timeout_factor * self._timeout),
                        allow_redirects=False,
                        stream=True,
                        proxies=self._proxies[base],
                    )
                    self._contact.is_made = True
                    tags[metrics.Tag.HTTP_STATUS_CODE] = response.status_code
                    with response:
                        content = b"".join(read(response))
        except (OSError, ValueError) as fault:  # the latter where it is not an address
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

    def _request(self, path: str, body: bytes) -> requests.PreparedRequest:
        """Return a signed request. All but the body is made once: it takes a while."""
        if path not in self._requests:
            headers = {"Content-Type": "application/json"}
            blank = requests.Request("POST", self._base + path, headers=headers)
            self._requests[path] = self._api.prepare_request(blank)
        request = self._requests[path].copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        return request

    def _network_error(self, fault: Exception, address: str) -> errors.LabelboxError:
        """Return the error for what broke, and where: a proxy is not Labelbox."""
        if errors.shortage(fault) == errors.OUT_OF_FILES:
            if not self._has_answered:  # what is open is none of ours
                return errors.ResourceError(errors.OUT_OF_FILES)
            # Connections that wait for their next request hold what this one needs.
            self._api.close()
            self.downloads.close()
        return errors.network_error(fault, shown(address), api_proxy(address))

    def _retry(
        self,
        operation: str,
        attempt: Callable[[], Answer],
        but: type[Exception] | tuple[()] = (),
    ) -> Answer:
        """Try something until it succeeds, or fails with what is not tried again."""
        tries = Tries(self._retries, operation)
        while True:
            try:
                return attempt()
            except errors.TransientError as error:
                tries.wait(error, is_last=isinstance(error, but))

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


def _decoded(
    decode_fast: Callable[[bytes], Any] | None,
    response: requests.Response,
    content: bytes,
) -> Any:
    """Return the ``data`` of a GraphQL reply, on the fast path if that can be taken."""
    if decode_fast and response.status_code == HTTPStatus.OK:
        result = decode_fast(content)
        if result is not None:
            return result
    return graphql_data(response, content)


def _judged(attempt: Callable[[], Answer], judge: Judge) -> Answer:
    """Try something, and raise what its errors are judged to be."""
    try:
        return attempt()
    except errors.LabelboxError as fault:
        raise judge(fault) from None
