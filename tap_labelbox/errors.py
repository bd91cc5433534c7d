"""Which failure is which, and what a user is told of it.

::

    LabelboxError               the run cannot go on
    ├── SettingsError           a setting or an input that cannot be used
    ├── AccessError             Labelbox does not accept the API key
    ├── AddressError            what answers at api_url is not Labelbox's API
    ├── RefusedError            what answers at api_url refuses this, and says little
    ├── ComplexityError         a page is too much for Labelbox: try a smaller one
    ├── StoppedError            the run was told to end
    ├── TransientError          worth another try
    │   ├── ServerError         Labelbox failed at this request; others may succeed
    │   ├── UnsentError         the request did not reach Labelbox
    │   ├── RateLimitError      too many requests just now: all of them wait
    │   └── LimitError          too many exports just now: this one waits
    ├── ExpiredLinkError        a download link that needs to be asked for anew
    ├── UnavailableError        one object is not to be had, the others are
    │   └── TooLargeError       it is larger than the settings allow
    ├── NotOfferedError         Labelbox does not offer this operation (any more)
    │   └── QueryError          Labelbox does not know something that was asked for
    ├── OutageError             so many projects failed in a row that it is Labelbox
    └── IncompleteError         the run went on to its end without some projects

The text of each is one line: what is wrong, and what to do. ``TABLE`` says which
failure is which of them.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from tap_labelbox.json_text import decode
from tap_labelbox.redact import mask, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Nobody's nightly run should sleep for a day because one header said so.
LONGEST_RETRY_AFTER = 600.0

# GraphQL has no codes for these; the wording is graphql-js's, and old.
UNKNOWN_FIELD = re.compile(r"Cannot query field .(\w+). on type .(\w+).")
UNKNOWN_ARGUMENT = re.compile(r"Unknown argument .(\w+). on field .([\w.]+).")
UNKNOWN_ORDER = re.compile(
    r"(?:Value .(\w+). does not exist in|Expected type) .?(\w+OrderBy)"
)
UNKNOWN_INPUT = re.compile(r"Field .(\w+). is not defined by type .(\w+).")
UNKNOWN_TYPE = re.compile(r"Unknown type .(\w+).")
VARIABLE = re.compile(r"Variable .\$\w+. got invalid value")
ABOUT_THE_QUERY = (
    UNKNOWN_FIELD,
    UNKNOWN_ARGUMENT,
    UNKNOWN_ORDER,
    UNKNOWN_INPUT,
    UNKNOWN_TYPE,
    VARIABLE,
)
MAX_STATUS = 599
MAX_ERRORS = 1000  # of a reply that are looked at
STATUS = re.compile(r"[1-5]\d\d", re.ASCII)
TOO_COMPLEX = "Query complexity limit exceeded"
EXCEEDED = "You have exceeded"
OUT_OF_FILES = "Too few files may be open at once: raise the limit (ulimit -n)"


class LabelboxError(Exception):
    """The run cannot go on."""

    def __init__(self, message: object) -> None:
        """Take out of the text what is secret, too long, or no part of a line."""
        super().__init__(one_line(mask(message)))


class SettingsError(LabelboxError):
    """A setting or an input that cannot be used."""


class AccessError(LabelboxError):
    """Labelbox does not accept the API key."""

    def __init__(self, message: str) -> None:
        """Add what to do to what Labelbox says."""
        super().__init__(
            f"Labelbox does not accept the API key ({message}): set api_key to one "
            "from Workspace settings > API keys",
        )


class AddressError(LabelboxError):
    """What answers is not Labelbox's API, but a proxy or a login page."""


class RefusedError(LabelboxError):
    """What answers refuses a request with a bare HTTP status."""


class ComplexityError(LabelboxError):
    """A page of so many rows is too much for Labelbox."""

    def __init__(self, message: str) -> None:
        """Add what to do to what Labelbox says."""
        super().__init__(
            f"Labelbox finds a page too large ({message}): lower page_size"
        )


class StoppedError(LabelboxError):
    """The run was told to end."""


class TransientError(LabelboxError):
    """Worth another try, ``retry_after`` seconds from now at the earliest."""

    is_undone = False
    """Whether Labelbox surely did nothing of what it was asked."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        """Keep the server's own wish, in seconds."""
        super().__init__(message)
        self.retry_after = retry_after
        self.tries = 0
        """After how many it was given up."""

    def __str__(self) -> str:
        told = super().__str__()
        tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
        return f"{told}; given up after {tries}" if self.tries else told


class ServerError(TransientError):
    """Labelbox failed at this request: itself, not what stands in front of it."""


class UnsentError(TransientError):
    """The request did not reach Labelbox."""

    is_undone = True


class RateLimitError(TransientError):
    """Too many requests just now."""

    is_undone = True


class LimitError(TransientError):
    """Too many exports at once just now."""

    is_undone = True


class ExpiredLinkError(LabelboxError):
    """A download link that no longer opens its file."""


class UnavailableError(LabelboxError):
    """One object is not to be had: deleted, forbidden, broken, never ready."""


class TooLargeError(UnavailableError):
    """A reply has more bytes than the settings allow."""


class NotOfferedError(LabelboxError):
    """Labelbox does not offer this operation, or not to this account."""


class QueryError(NotOfferedError):
    """Labelbox does not know something that a document asks for."""

    errors: tuple[dict[str, Any], ...] = ()
    """The errors as GraphQL gives them, each with message and locations."""


class OutageError(LabelboxError):
    """So many projects failed in a row that it is the service, not the projects."""

    def __init__(self, count: int, error: object) -> None:
        """Add what to do to the last failure."""
        super().__init__(
            f"{count} projects in a row could not be read, so Labelbox itself seems to "
            f"be down ({error}): start the run again later, it goes on from here"
        )


class IncompleteError(LabelboxError):
    """The run went on to its end, without what its log names."""


TABLE: dict[str | type[Exception], type[LabelboxError]] = {
    # No answer: the first of these that is among the causes.
    ssl.SSLCertVerificationError: LabelboxError,
    requests.exceptions.ProxyError: UnsentError,
    socket.gaierror: UnsentError,
    ConnectionRefusedError: UnsentError,
    requests.ConnectTimeout: UnsentError,
    requests.Timeout: TransientError,
    requests.ConnectionError: TransientError,
    requests.exceptions.ChunkedEncodingError: TransientError,
    requests.exceptions.ContentDecodingError: TransientError,
    requests.exceptions.InvalidHeader: TransientError,  # lengths that differ
    Exception: LabelboxError,
    # A reply of the API, by the code of its GraphQL error. A code that is not here
    # is decided by the HTTP status, as the status inside INTERNAL_SERVER_ERROR is.
    "AUTHENTICATION_ERROR": AccessError,
    "UNAUTHENTICATED": AccessError,
    "AUTHORIZATION_ERROR": UnavailableError,
    "FORBIDDEN": UnavailableError,
    "RESOURCE_NOT_FOUND": UnavailableError,
    "GRAPHQL_VALIDATION_FAILED": QueryError,
    "GRAPHQL_PARSE_FAILED": QueryError,
    "BAD_USER_INPUT": QueryError,
    "OPERATION_NOT_ALLOWED": NotOfferedError,
    "API_LIMIT": LimitError,
    "RATE_LIMIT": RateLimitError,
    "TIMEOUT": ServerError,
    TOO_COMPLEX: ComplexityError,
    "status 401": AccessError,
    "status 408": ServerError,
    "status 426": NotOfferedError,  # a limit of the plan
    "status 429": RateLimitError,
    "status 5xx": ServerError,
    "status": UnavailableError,
    # A reply of the API that is no GraphQL, by its HTTP status.
    EXCEEDED: RateLimitError,
    "HTTP 401": AccessError,
    "HTTP 403": AccessError,
    "HTTP 404": NotOfferedError,
    "HTTP 408": TransientError,
    "HTTP 410": NotOfferedError,
    "HTTP 426": NotOfferedError,
    "HTTP 429": RateLimitError,
    "HTTP 5xx": TransientError,
    "HTTP": RefusedError,
    # A reply of the API with HTTP 200 or 4xx that is no JSON, or JSON of no use.
    "empty": TransientError,
    "cut": TransientError,
    "page": AddressError,
    "no data": ServerError,
    # A download.
    "link 408": TransientError,
    "link 416": ExpiredLinkError,
    "link 429": TransientError,
    "link 4xx": ExpiredLinkError,
    "link": TransientError,
}
"""What each failure means.

A kind of TransientError is tried again; UnavailableError leaves one object out, and
so do ServerError and LimitError in the end; ExpiredLinkError asks for a new link;
NotOfferedError ends a stream, and what is unknown is dropped from a query; all others
end the run.
"""


def is_out_of_files(fault: BaseException) -> bool:
    """Return whether something failed because too many files are open already."""
    limits = {errno.EMFILE, errno.ENFILE}
    return any(getattr(cause, "errno", None) in limits for cause in _causes(fault))


def network_error(
    fault: Exception, host: str, proxy: str | None = None
) -> LabelboxError:
    """Give the error for a request that got no (whole) answer.

    Args:
        fault: What requests raised.
        host: Whom it was sent to.
        proxy: The proxy on the way, if there is one.
    """
    causes = list(_causes(fault))
    known = (key for key in TABLE if isinstance(key, type))
    found = next(key for key in known if any(isinstance(c, key) for c in causes))
    cause = causes[-1]
    told = str(cause) or type(cause).__name__
    if any(isinstance(c, requests.exceptions.ProxyError) for c in causes):
        host = f"the proxy {proxy} on the way to {host}"
        told += "; check HTTPS_PROXY"
    elif proxy:
        host += f" through the proxy {proxy}"
    if found is ssl.SSLCertVerificationError:
        why = getattr(cause, "verify_message", "") or told
        told = (
            f"its certificate is not trusted ({why}): set REQUESTS_CA_BUNDLE to a "
            "file with the certificate that signed it"
        )
    elif found is socket.gaierror:
        told = f"there is no address for this name ({told})"
    return TABLE[found](f"{host}: {told}")


def link_error(response: requests.Response) -> LabelboxError:
    """Give the error for a download that was not answered with bytes."""
    told = f"a download link was answered with HTTP {response.status_code}"
    error = _by_status("link", response.status_code)(told)
    if isinstance(error, TransientError):
        error.retry_after = retry_after(response)
    return error


def reply_data(
    response: requests.Response,
    content: bytes,
    usual: Callable[[bytes], Any] | None = None,
) -> Any:
    """Give the ``data`` of a GraphQL reply, or raise the error that it is.

    Labelbox answers many errors with HTTP 200, and some with data beside them;
    neither may pass for a reply.

    Args:
        response: Without its body.
        content: That body.
        usual: Makes something of a reply that has ``data`` and nothing else; gives
            None if it has more.
    """
    if response.is_redirect:
        raise TABLE["page"](f"{response.url} redirects elsewhere: check api_url")
    if usual and response.status_code == HTTPStatus.OK:
        found = usual(content)
        if found is not None:
            return found
    try:
        body = decode(content)
    except ValueError:
        raise _not_json(response, content) from None
    if not isinstance(body, dict):
        msg = f"Labelbox answered with a {type(body).__name__} instead of an object"
        raise TABLE["no data"](msg)
    if errors := body.get("errors"):
        raise _graphql_error(response, errors)
    if response.status_code != HTTPStatus.OK or "message" in body:
        raise _http_error(response, str(body.get("message") or response.reason))
    data = body.get("data")
    if not isinstance(data, dict):
        raise TABLE["no data"]("Labelbox answered without data and without an error")
    return data


# How a limit of exports may be worded; none of these replies has been seen.
EXPORT_LIMIT = re.compile(
    r"too many .{0,80}(?:export|task|job)"
    r"|(?:export|task|job).{0,80}(?:limit|maxim|quota|exceed|concurren|already|running)"
    r"|(?:limit|maxim|quota|exceed|concurren|already).{0,80}(?:export|task|job)",
    re.IGNORECASE,
)
TRY_AGAIN = re.compile("try again", re.IGNORECASE)
MAX_SEARCHED_CHARACTERS = 2000  # of a message


def export_limit_error(error: LabelboxError) -> LabelboxError:
    """Return a LimitError if the start of an export was refused for now.

    Labelbox allows 10 exports at once in a project and 20 in an organization. By
    which code it refuses one more is not known, so the message decides.

    Args:
        error: What the start of an export was answered with.
    """
    judged = isinstance(error, AccessError | AddressError | ComplexityError)
    if judged or isinstance(error, RateLimitError | LimitError | UnsentError):
        return error
    text = str(error)[:MAX_SEARCHED_CHARACTERS]
    # A server that fails also says "try again", and may have started the export.
    later = not isinstance(error, TransientError) and TRY_AGAIN.search(text)
    return LimitError(text) if later or EXPORT_LIMIT.search(text) else error


def retry_after(response: requests.Response) -> float:
    """Give the seconds that ``Retry-After`` asks for, as number or as date."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return 0.0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(seconds, LONGEST_RETRY_AFTER) if seconds > 0 else 0.0


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    """Give a fault of requests and what it wraps, the innermost last.

    Not by ``__context__``: that may lead out, to an error being handled there.
    """
    while fault:
        yield fault
        wrapped = (part for part in fault.args if isinstance(part, BaseException))
        fault = fault.__cause__ or next(wrapped, None)


def _by_status(prefix: str, status: int) -> type[LabelboxError]:
    """Look a status up: itself, its hundred, or all others.

    One that HTTP does not have, or that may not end a reply, is a server's fault.
    """
    if not HTTPStatus.OK <= status <= MAX_STATUS:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    for key in (f"{prefix} {status}", f"{prefix} {status // 100}xx"):
        if key in TABLE:
            return TABLE[key]
    return TABLE[prefix]


def _not_json(response: requests.Response, content: bytes) -> LabelboxError:
    """Judge a reply that is no JSON: a proxy's page, or a reply cut short."""
    status = response.status_code
    content_type = response.headers.get("Content-Type", "nothing")
    msg = f"Labelbox answered HTTP {status} with {content_type} instead of JSON"
    by_status = _by_status("HTTP", status)
    if issubclass(by_status, TransientError):
        return by_status(msg, retry_after(response))
    if status == HTTPStatus.OK and not content:
        return TABLE["empty"](msg)
    if "json" in content_type:
        return TABLE["cut"](f"Labelbox answered HTTP {status} with broken JSON")
    return TABLE["page"](f"{msg}: check api_url ({response.url})")


def _http_error(response: requests.Response, message: str) -> LabelboxError:
    """Judge a reply that is JSON but no GraphQL: ``{"message": ...}``."""
    message = one_line(mask(message))
    exceeded = message.startswith(EXCEEDED)
    kind = TABLE[EXCEEDED] if exceeded else _by_status("HTTP", response.status_code)
    if kind is AccessError:
        return kind(message)
    error = kind(f"Labelbox answered HTTP {response.status_code}: {message}")
    if isinstance(error, TransientError):
        error.retry_after = retry_after(response)
    return error


def _graphql_error(response: requests.Response, found: Any) -> LabelboxError:
    """Judge ``errors``: unknown fields only if there is nothing worse."""
    listed = found[:MAX_ERRORS] if isinstance(found, list) else [found]
    errors = [e if isinstance(e, dict) else {"message": str(e)} for e in listed]
    verdicts = [_verdict(response, error) for error in errors]
    unknown = [v for v in verdicts if isinstance(v, QueryError)]
    if len(unknown) < len(verdicts):
        return next(v for v in verdicts if v not in unknown)
    error = QueryError("; ".join(dict.fromkeys(map(str, unknown))))
    error.errors = tuple(errors)
    return error


def _verdict(response: requests.Response, error: dict[str, Any]) -> LabelboxError:
    message = one_line(mask(error.get("message")))
    extensions = _block(error, "extensions")
    exception = _block(extensions, "exception")
    code = extensions.get("code") or exception.get("code")
    code = code if code is None else str(code)
    # Servers differ in the codes of these, and some give none.
    if any(pattern.search(message) for pattern in ABOUT_THE_QUERY):
        code = "GRAPHQL_VALIDATION_FAILED"
    if message.startswith(TOO_COMPLEX):
        code = TOO_COMPLEX
    if message.startswith(EXCEEDED):
        code = "RATE_LIMIT"
    kind = _kind(code, str(exception.get("status") or ""), response.status_code)
    if issubclass(kind, TransientError | UnavailableError) and code not in TABLE:
        message = f"Labelbox answered {code or response.status_code}: {message}"
    verdict = kind(message)
    if isinstance(verdict, TransientError):
        verdict.retry_after = retry_after(response)
    return verdict


def _kind(code: str | None, inside: str, status: int) -> type[LabelboxError]:
    """Decide what a GraphQL error means, by its code and then by its status.

    ``INTERNAL_SERVER_ERROR`` is Labelbox's cloak for many things: the true
    status is inside, and where there is none it was a fault of the server.
    """
    if code is not None and code in TABLE:
        return TABLE[code]
    if status >= HTTPStatus.BAD_GATEWAY:  # a proxy's: all requests will fail
        return _by_status("HTTP", status)
    if code == "INTERNAL_SERVER_ERROR":
        known = STATUS.fullmatch(inside)
        status = int(inside) if known else HTTPStatus.INTERNAL_SERVER_ERROR
    elif code is not None and STATUS.fullmatch(code):
        status = int(code)
    return _by_status("status", status)


def _block(within: dict[str, Any], name: str) -> dict[str, Any]:
    block = within.get(name)
    return block if isinstance(block, dict) else {}
