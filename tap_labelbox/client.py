"""The one door to Labelbox: GraphQL by POST, files by GET.

The SDK's ``GraphQLStream`` is not used. It copies variables into the address,
takes a GraphQL error inside HTTP 200 for an empty page, sends no mutation,
ignores ``Retry-After``, and opens a connection of its own for each stream.
Retrying (backoff), signing and metrics are still the SDK's.
"""

from __future__ import annotations

import random
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import backoff
import requests
from singer_sdk import metrics
from singer_sdk.authenticators import BearerTokenAuthenticator

from tap_labelbox import errors
from tap_labelbox.queries import Document

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator, Iterator

CHUNK = 64 * 1024  # bytes a read; more saves nothing
LONGEST_PAUSE = 60.0  # seconds between two tries, unless Labelbox asks for more

NETWORK_FAULTS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class Client:
    """Labelbox's API, as one user with one key.

    Args:
        api_url: The GraphQL address, ending in ``/graphql``.
        api_key: Sent to that address only, never to a download link.
        timeout: Seconds without a byte after which a request is given up.
        max_retries: Further tries of a request that failed in passing.
        logger: Where waits and dropped fields are told.

    """

    def __init__(
        self,
        api_url: str,
        api_key: str,
        *,
        timeout: float,
        max_retries: int,
        logger: logging.Logger,
    ) -> None:
        """Open nothing yet: the first request connects."""
        self._base = api_url.removesuffix("/graphql")
        self._api_key = api_key
        self._timeout = timeout
        self._logger = logger
        self._documents: dict[str, Document] = {}
        self._api = requests.Session()
        self._api.auth = BearerTokenAuthenticator(token=api_key)
        self._files = requests.Session()
        self._files.auth = _unsigned
        self._retry = backoff.on_exception(
            _pauses,
            errors.TransientError,
            max_tries=max_retries + 1,
            jitter=None,  # _pauses has its own
            on_backoff=self._tell_pause,
            on_giveup=_tell_end,
            logger=None,
        )
        self._post = self._retry(self._post_once)

    def address(self, path: str) -> str:
        """Give an address beside the configured one: ``/_gql``, ``/api/v1/...``."""
        return self._base + path

    def document(self, name: str) -> Document:
        """Give the document as this Labelbox knows it."""
        if name not in self._documents:
            self._documents[name] = Document.load(name)
        return self._documents[name]

    def execute(self, name: str, **variables: object) -> dict[str, Any]:
        """Run ``queries/<name>.graphql`` and give its ``data``.

        What Labelbox no longer knows is dropped from the document, and said.

        Raises:
            LabelboxError: Of the kind that :mod:`tap_labelbox.errors` decides.

        """
        while True:
            document = self.document(name)
            body = {
                "query": document.text,
                "variables": document.variables(variables),
            }
            try:
                return self._post("/graphql", body, operation=name)
            except errors.QueryError as error:
                if not (changed := document.less(error.errors, variables)):
                    raise
                self._documents[name], dropped = changed
                self._logger.warning(
                    "Labelbox no longer knows %s: going on without",
                    ", ".join(dropped),
                )

    def download(self, link: str, position: int = 0) -> Iterator[bytes]:
        """Read a file from a byte on; a broken transfer goes on where it broke.

        Raises:
            ExpiredLinkError: If the link opens nothing (any more).

        """
        response: requests.Response | None = None
        chunks: Iterator[bytes] = iter(())

        @self._retry
        def read() -> bytes:
            nonlocal response, chunks
            if response is None:
                response = self._open(link, position)
                chunks = _from(position, response)
            try:
                return next(chunks, b"")
            except NETWORK_FAULTS as fault:
                response.close()
                response = None
                raise self._unreachable(link, fault) from None

        try:
            while chunk := read():
                position += len(chunk)
                yield chunk
        finally:
            if response is not None:
                response.close()

    def _post_once(
        self, path: str, body: dict[str, Any], operation: str
    ) -> dict[str, Any]:
        tags: dict[str, Any] = {metrics.Tag.ENDPOINT: operation}
        try:
            with metrics.Timer(metrics.Metric.HTTP_REQUEST_DURATION, tags):
                # A redirect would carry the key to an address nobody configured.
                response = self._api.post(
                    self.address(path),
                    json=body,
                    timeout=self._timeout,
                    allow_redirects=False,
                )
                tags[metrics.Tag.HTTP_STATUS_CODE] = response.status_code
        except NETWORK_FAULTS as fault:
            raise self._unreachable(self._base, fault) from None
        except requests.RequestException as fault:
            raise errors.LabelboxError(self._redact(str(fault))) from None
        if response.is_redirect:
            msg = f"{response.url} redirects elsewhere: check api_url"
            raise errors.LabelboxError(msg)
        try:
            return errors.reply_data(response)
        except errors.LabelboxError as error:
            error.args = (self._redact(str(error)),)
            raise

    def _open(self, link: str, start: int) -> requests.Response:
        """Ask for a file from a byte on, with no key: the link itself is the right."""
        if urlsplit(link).scheme not in {"https", "http"}:
            msg = "Labelbox gave a download link that is no web address"
            raise errors.UnavailableError(msg)
        # Bytes are counted, so they must come as they are stored.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            response = self._files.get(
                link, headers=headers, stream=True, timeout=self._timeout
            )
        except NETWORK_FAULTS as fault:
            raise self._unreachable(link, fault) from None
        except requests.RequestException as fault:  # where the link leads to
            msg = f"a download link leads nowhere ({type(fault).__name__})"
            raise errors.UnavailableError(msg) from None
        told = f"a download link was answered with HTTP {response.status_code}"
        if errors.is_transient_status(response.status_code):
            raise errors.TransientError(told, errors.retry_after(response))
        if not response.ok:
            raise errors.ExpiredLinkError(told)
        if response.status_code == HTTPStatus.PARTIAL_CONTENT and not (
            response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        ):
            msg = "a download was answered with other bytes than were asked for"
            raise errors.ExpiredLinkError(msg)
        return response

    def _redact(self, text: str) -> str:
        return text.replace(self._api_key, "***")

    def _tell_pause(self, details: Any) -> None:
        self._logger.warning(
            "%s; trying again in %.1f s", details["exception"], details["wait"]
        )

    @staticmethod
    def _unreachable(address: str, fault: BaseException) -> errors.TransientError:
        """Say what broke, in the words of the innermost error, less the query."""
        while fault.__context__ is not None:
            fault = fault.__context__
        host = urlsplit(address).netloc
        return errors.TransientError(f"{host}: {str(fault) or type(fault).__name__}")


def _pauses() -> Generator[float, errors.TransientError, None]:
    """Wait up to 1, 2, 4, ... seconds at random, but as long as the server asks.

    Random, so that many clients that failed together do not return together.
    """
    error = yield 0.0  # backoff starts a generator before it has an error
    for tries in count():
        pause = random.uniform(0, min(2.0**tries, LONGEST_PAUSE))
        error = yield max(pause, error.retry_after)


def _tell_end(details: Any) -> None:
    error = details["exception"]
    error.args = (f"{error}; given up after {details['tries']} tries",)


def _from(start: int, response: requests.Response) -> Iterator[bytes]:
    """Give a file's bytes from ``start``, also if the server sent it from 0."""
    chunks = response.iter_content(CHUNK)
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        start = 0
    for chunk in chunks:
        if len(chunk) > start:
            yield chunk[start:]
        start = max(start - len(chunk), 0)


def _unsigned(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign nothing; without this, requests would look into ~/.netrc."""
    return request
