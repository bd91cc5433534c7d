"""Failures: their classes, how each is recognized, and their messages.

The text of each is one line: what is wrong, and what to do. ``TABLE`` says which
failure is which of them, and :data:`tap_labelbox.exit_codes.TABLE` how a run ends.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections import deque
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import islice, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import NewConnectionError

from tap_labelbox.exit_codes import SHORTAGES
from tap_labelbox.records.malformed import shortened
from tap_labelbox.redact import mask, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Nobody's nightly run should sleep for a day because one header said so.
MAX_RETRY_AFTER_SECONDS = 600.0

# GraphQL has no codes for these; the wording is graphql-js's, and old.
UNKNOWN_FIELD = re.compile(r"Cannot query field .(\w+). on type .(\w+).")
UNKNOWN_ARGUMENT = re.compile(r"Unknown argument .(\w+). on field .([\w.]+).")
UNKNOWN_ORDER = re.compile(
    r"(?:Value .(\w+). does not exist in|Expected type) .?(\w+OrderBy)"
)
UNKNOWN_INPUT = re.compile(r"Field .(\w+). is not defined by type .(\w+).")
UNKNOWN_TYPE = re.compile(r"Unknown type .(\w+).")
# A value that does not fit its type spoils the reply that it is in.
UNWRITABLE = re.compile(r"^(?:Int|Float|String|Boolean|ID|Enum .\w+.) cannot represent")
VARIABLE = re.compile(r"Variable .\$\w+. got invalid value")
ABOUT_THE_QUERY = (
    UNKNOWN_FIELD,
    UNKNOWN_ARGUMENT,
    UNKNOWN_ORDER,
    UNKNOWN_INPUT,
    UNKNOWN_TYPE,
    UNWRITABLE,
    VARIABLE,
)
MAX_STATUS = 599
MAX_ERRORS = 1000  # of a reply that are looked at
MAX_PARTS = 200  # of an error, and of each of them, that are looked at
STATUS = re.compile(r"[1-5]\d\d", re.ASCII)
FAILED_STATUS = re.compile(r"\s*(?:HTTP\s+)?([45]\d\d)(?!\d)", re.ASCII)
TOO_COMPLEX = "Query complexity limit exceeded"
EXCEEDED = "You have exceeded"
OUT_OF_FILES = "Too few files may be open at once: raise the limit (ulimit -n)"


class LabelboxError(Exception):
    """The run cannot go on."""

    def __init__(self, message: object) -> None:
        # Less what is secret, too long, or no part of a line.
        super().__init__(one_line(mask(message)))


class SettingsError(LabelboxError):
    """A setting or an input that cannot be used."""


class AccessError(LabelboxError):
    """Labelbox does not accept the API key."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"Labelbox does not accept the API key ({message}): set api_key to one "
            "from Workspace settings > API keys",
        )


class AddressError(LabelboxError):
    """Something else than Labelbox's API answers at api_url: a proxy, a login page."""


class RefusedError(LabelboxError):
    """A request is refused at api_url, with a bare HTTP status."""


class ComplexityError(LabelboxError):
    """A page of so many rows is too much for Labelbox."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"Labelbox finds a page too large ({message}): lower page_size"
        )


class ResourceError(LabelboxError):
    """Something that a run needs is lacking just now: memory, disk, storage."""


class StoppedError(LabelboxError):
    """The run was told to end."""


class TransientError(LabelboxError):
    """Worth another try."""

    is_undone = False
    """Whether Labelbox surely did nothing of what it was asked."""
    is_unconnected = False
    """Whether there was no connection to whoever was asked."""
    retry_after = 0.0
    """The seconds to wait before that, at least, as the server wishes."""
    tries = 0
    """After how many it was given up."""

    def __str__(self) -> str:
        text = super().__str__()
        tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
        return f"{text}; given up after {tries}" if self.tries else text


class ServerError(TransientError):
    """Labelbox failed at this request; others may succeed."""


class TLSError(TransientError):
    """TLS failed, before the request was sent or after."""

    is_unconnected = True


class UnsentError(TransientError):
    """The request did not reach Labelbox."""

    is_undone = True
    is_unconnected = True


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


class ForbiddenError(UnavailableError):
    """The API key may not see an object."""


class NotFoundError(UnavailableError):
    """An object is not there (any more)."""


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
        super().__init__(
            f"{count} projects or streams in a row could not be read, so Labelbox "
            f"itself seems to be down ({error}): start the run again later, it "
            "resumes from here"
        )


class IncompleteError(LabelboxError):
    """The run went on to its end, without what its log names."""


TABLE: dict[str | type[Exception], type[LabelboxError]] = {
    # No answer: the first of these that is among the causes.
    ssl.SSLCertVerificationError: AddressError,
    requests.exceptions.ProxyError: UnsentError,
    socket.gaierror: UnsentError,
    ConnectionRefusedError: UnsentError,
    requests.ConnectTimeout: UnsentError,
    NewConnectionError: UnsentError,
    ssl.SSLError: TLSError,
    requests.Timeout: TransientError,
    requests.ConnectionError: TransientError,
    requests.exceptions.ChunkedEncodingError: TransientError,
    requests.exceptions.ContentDecodingError: TransientError,
    requests.exceptions.InvalidHeader: TransientError,  # lengths that differ
    OSError: SettingsError,  # a file of certificates, or a proxy, that cannot be used
    Exception: LabelboxError,
    # A reply of the API, by the code of its GraphQL error, or else by the nearest code
    # within it that is here. A code that is not here is decided by the status within
    # the error, or else by that of HTTP.
    "AUTHENTICATION_ERROR": AccessError,
    "UNAUTHENTICATED": AccessError,
    "AUTHORIZATION_ERROR": ForbiddenError,
    "FORBIDDEN": ForbiddenError,
    "RESOURCE_NOT_FOUND": NotFoundError,
    "RESOURCE_CONFLICT": UnavailableError,
    "MALFORMED_REQUEST": UnavailableError,
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
    # A reply of the REST API, by its HTTP status. What a key may not see is refused
    # with 403, or as if it were not there.
    "REST 401": AccessError,
    "REST 403": ForbiddenError,
    "REST 408": TransientError,
    "REST 429": RateLimitError,
    "REST 5xx": TransientError,
    "REST": UnavailableError,
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
LEFT_OUT = (ComplexityError, NotOfferedError, TransientError, UnavailableError)
"""What costs a stream, or one of its projects; anything else ends the run."""

CODES = frozenset(
    key for key in TABLE if isinstance(key, str) and key.isupper() and "_" in key
) | {"FORBIDDEN", "TIMEOUT", "UNAUTHENTICATED"}
VAGUE_CODES = frozenset(("MALFORMED_REQUEST", "RESOURCE_CONFLICT"))
"""Codes that a user had better see, with whatever reason there is."""

# Under which keys of an error a code, a status or the reason may stand, and under which
# there is none, for they hold rows, or what was sent. Only the letters of keys.
CODE_NAMES = frozenset(("code", "errorcode", "status"))
STATUS_NAMES = frozenset(("code", "httpstatus", "status", "statuscode"))
REASONS = frozenset(
    (
        *("cause", "causes", "description", "detail", "details", "error", "errors"),
        *("errormessage", "explanation", "failure", "hint", "message", "messages"),
        *("msg", "problem", "problems", "reason", "reasons", "title", "warning"),
    )
)
NO_REASONS = frozenset(
    (
        *("annotation", "attachment", "classification", "config", "content", "data"),
        *("feature", "file", "header", "image", "input", "label", "location", "meta"),
        *("metadata", "node", "object", "param", "path", "payload", "queries", "query"),
        *("record", "request", "result", "row", "stack", "stacktrace", "text", "trace"),
        *("value", "variable"),
    )
)
"""Words, in the singular, that no key of a reason has."""
NO_REASONS_AT_END = frozenset(("code", "email", "id", "key", "name", "status", "url"))
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
NO_LETTER = re.compile(r"[^a-z]+")
MAX_KEY_CHARACTERS = 100  # of a key that are looked at
MAX_REASONS = 5
MAX_REASON_CHARACTERS = 300


def absent(what: str) -> UnavailableError:
    """Return the error for a reply that has neither something nor an error."""
    return UnavailableError(f"Labelbox answered without {what} and without an error")


def shortage(fault: BaseException) -> str | None:
    """Return what to do about it if something failed for lack of a resource."""
    for cause in _causes(fault):
        if isinstance(cause, MemoryError) or (
            isinstance(cause, OSError) and cause.errno == errno.ENOMEM
        ):
            return "There is not enough memory: allow more, or lower concurrency"
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return OUT_OF_FILES
        if isinstance(cause, OSError) and cause.errno in SHORTAGES:
            where = f" for {cause.filename}" if cause.filename else ""
            return f"There is not enough disk space{where}: free some"
    return None


def network_error(
    fault: Exception, host: str, proxy: str | None = None
) -> LabelboxError:
    """Return the error for a request to a host that got no (whole) answer."""
    causes = list(_causes(fault))
    known = (key for key in TABLE if isinstance(key, type))
    result = next(key for key in known if any(isinstance(c, key) for c in causes))
    cause = causes[-1]
    reason = str(cause) or type(cause).__name__
    if any(isinstance(c, requests.exceptions.ProxyError) for c in causes):
        host = f"the proxy {proxy} on the way to {host}"
        reason += "; check HTTPS_PROXY"
    elif proxy:
        host += f" through the proxy {proxy}"
    if isinstance(cause, TimeoutError) and not issubclass(TABLE[result], UnsentError):
        reason += "; raise request_timeout if this persists"
    if result is ssl.SSLCertVerificationError:
        why = getattr(cause, "verify_message", "") or reason
        reason = (
            f"its certificate is not trusted ({why}): set REQUESTS_CA_BUNDLE to a "
            "file with the certificate that signed it"
        )
    elif result is socket.gaierror:
        reason = f"the name has no address ({reason})"
    return TABLE[result](f"{host}: {reason}")


def link_error(response: requests.Response) -> LabelboxError:
    """Return the error for a download that was not answered with bytes."""
    status = response.status_code
    message = f"a download link was answered with HTTP {status}"
    return _reply_error(_by_status("link", status), message, response)


def redirect_error(response: requests.Response) -> LabelboxError:
    """Return the error for a reply of the API that redirects."""
    return TABLE["page"](f"{response.url} redirects elsewhere: check api_url")


def graphql_error(response: requests.Response, body: Any) -> LabelboxError | None:
    """Return the error that a GraphQL reply with this JSON is, if it is one.

    Labelbox answers many errors with HTTP 200, and some with data beside them; neither
    may pass for a reply.
    """
    if not isinstance(body, dict):
        msg = f"Labelbox answered with a {type(body).__name__} instead of an object"
        return TABLE["no data"](msg)
    if errors := body.get("errors"):
        return _worst_error(response, errors)
    data = body.get("data")
    # "success", for one. Beside nothing but nulls it says why there is nothing.
    message = str(body.get("message") or "")
    is_usable = isinstance(data, dict) and any(v is not None for v in data.values())
    if (
        response.status_code != HTTPStatus.OK
        or ("message" in body and not is_usable)
        or _is_exceeded(message)
    ):
        return _http_error(response, body)
    if not isinstance(data, dict):
        return TABLE["no data"]("Labelbox answered without data and without an error")
    return None


def rest_error(response: requests.Response, body: Any) -> LabelboxError:
    """Return the error that a reply of the REST API is; None stands for no JSON."""
    status = response.status_code
    if status == HTTPStatus.OK:
        return TABLE["cut"]("Labelbox answered HTTP 200 without a JSON object")
    fields = body if isinstance(body, dict) else {}
    message = _message(fields, response.reason, thorough=False)
    return _status_error(_by_status("REST", status), status, message, response)


def not_json_error(response: requests.Response, content: bytes) -> LabelboxError:
    """Return the error that a reply without JSON is: a proxy's page, or a cut reply."""
    status = response.status_code
    content_type = response.headers.get("Content-Type", "nothing")
    msg = f"Labelbox answered HTTP {status} with {content_type} instead of JSON"
    by_status = _by_status("HTTP", status)
    if issubclass(by_status, TransientError):
        return _reply_error(by_status, msg, response)
    if status == HTTPStatus.OK and not content:
        return TABLE["empty"](msg)
    if "json" in content_type:
        return TABLE["cut"](f"Labelbox answered HTTP {status} with broken JSON")
    return TABLE["page"](f"{msg}: check api_url ({response.url})")


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

    Labelbox allows 10 exports at once in a project and 20 in an organization. By which
    code it refuses one more is not known, so the message decides.
    """
    judged = isinstance(error, AccessError | AddressError | ComplexityError)
    if judged or isinstance(error, RateLimitError | LimitError | UnsentError):
        return error
    text = str(error)[:MAX_SEARCHED_CHARACTERS]
    # A server that fails also says "try again", and may have started the export.
    later = not isinstance(error, TransientError) and TRY_AGAIN.search(text)
    return LimitError(text) if later or EXPORT_LIMIT.search(text) else error


NOT_FOUND = re.compile(r"\bnot found\b", re.IGNORECASE)


def missing_error(error: LabelboxError) -> LabelboxError:
    """Return a NotFoundError if an object is not there, however that is worded.

    Of some objects Labelbox says so with the code of a server's fault, or of a query
    that is not valid. Here the query is known to be, but for what is unknown in it.
    """
    text = str(error)[:MAX_SEARCHED_CHARACTERS]
    if isinstance(error, QueryError):
        is_missing = not any(pattern.search(text) for pattern in ABOUT_THE_QUERY)
    else:
        kinds = ServerError | UnavailableError
        is_likely = isinstance(error, kinds) and not isinstance(error, ForbiddenError)
        is_missing = is_likely and bool(NOT_FOUND.search(text))
    return NotFoundError(text) if is_missing else error


def retry_after(response: requests.Response) -> float:
    """Return the seconds that ``Retry-After`` asks for, as number or as date."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        date = http_date(text)
        seconds = (date - datetime.now(UTC)).total_seconds() if date else 0.0
    return min(seconds, MAX_RETRY_AFTER_SECONDS) if seconds > 0 else 0.0


def http_date(text: str) -> datetime | None:
    """Return the timestamp in a header, in UTC; None if it has none."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter for invalid zones and years
        return None


def _reply_error(
    kind: type[LabelboxError], message: str, response: requests.Response
) -> LabelboxError:
    """Return an error of a kind, with the wait that a reply asks for."""
    error = kind(message)
    if isinstance(error, TransientError):
        error.retry_after = retry_after(response)
    return error


def _status_error(
    kind: type[LabelboxError], status: int, message: str, response: requests.Response
) -> LabelboxError:
    """Return an error that names its HTTP status, unless it has words of its own."""
    if kind is not AccessError:
        message = f"Labelbox answered HTTP {status}: {message}"
    return _reply_error(kind, message, response)


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    """Return a fault of requests and what it wraps, the innermost last.

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


def _is_exceeded(message: str) -> bool:
    return message.lstrip().lower().startswith(EXCEEDED.lower())


def _http_error(response: requests.Response, body: dict[str, Any]) -> LabelboxError:
    """Judge a reply that is JSON but no GraphQL: ``{"message": ...}``."""
    message = _message(body, response.reason, thorough=False)
    status = response.status_code
    if status == HTTPStatus.OK:
        status = _failed_status(body) or status
    if _is_exceeded(message):
        kind = TABLE[EXCEEDED]
    elif code := _known_code(body):
        kind = TABLE[code]
    else:
        kind = _by_status("HTTP", status)
    return _status_error(kind, status, message, response)


def _worst_error(response: requests.Response, raw_errors: Any) -> LabelboxError:
    """Judge ``errors``: the worst of them counts.

    What is certain not to pass comes before what may, so that nothing is tried again
    in vain; and unknown fields count only if there is nothing worse.
    """
    items = raw_errors[:MAX_ERRORS] if isinstance(raw_errors, list) else [raw_errors]
    errors = [e if isinstance(e, dict) else {"message": str(e)} for e in items]
    verdicts = [_verdict(response, error) for error in errors]
    worse = [v for v in verdicts if not isinstance(v[1], QueryError)]
    if worse:
        return min(worse, key=itemgetter(0))[1]
    error = QueryError("; ".join(dict.fromkeys(str(v) for _, v in verdicts)))
    error.errors = tuple(errors)
    return error


def _verdict(
    response: requests.Response, error: dict[str, Any]
) -> tuple[int, LabelboxError]:
    """Return what one GraphQL error means, after its rank: the worst has the least."""
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    code = None if code is None else str(code).strip().upper()
    text = one_line(mask(error.get("message")))
    # Servers differ in the codes of these, and some give none.
    if any(pattern.search(text) for pattern in ABOUT_THE_QUERY):
        known: str | None = "GRAPHQL_VALIDATION_FAILED"
    elif text.startswith(TOO_COMPLEX):
        known = TOO_COMPLEX
    elif _is_exceeded(text):
        known = "RATE_LIMIT"
    else:
        known = code if code in CODES else _known_code(error)
    if known is not None:
        kind, is_certain = TABLE[known], True
    else:
        kind, is_certain = _kind(code, error, response.status_code)
    is_vague = known in VAGUE_CODES
    message = _message(error, "no message", thorough=is_vague)
    if issubclass(kind, TransientError | UnavailableError) and (
        known is None or is_vague
    ):
        answer = known or code or response.status_code
        message = f"Labelbox answered {answer}: {message}"
    judged = _reply_error(kind, message, response)
    if isinstance(judged, AccessError):
        return 0, judged
    if isinstance(judged, TransientError):
        return 2, judged
    return 1 if is_certain else 3, judged


def _kind(
    code: str | None, error: dict[str, Any], status: int
) -> tuple[type[LabelboxError], bool]:
    """Decide what a GraphQL error without a known code means, and whether it says so.

    ``INTERNAL_SERVER_ERROR`` is Labelbox's cloak for many things: the true
    status is inside, and where there is none it was a fault of the server.
    """
    if status >= HTTPStatus.BAD_GATEWAY:  # a proxy's: all requests will fail
        return _by_status("HTTP", status), True
    if code is not None and STATUS.fullmatch(code):
        return _by_status("status", int(code)), True
    if inner := _failed_status(error):
        return _by_status("status", inner), True
    if code == "INTERNAL_SERVER_ERROR":
        return _by_status("status", HTTPStatus.INTERNAL_SERVER_ERROR), True
    return _by_status("status", status), status != HTTPStatus.OK


def _known_code(error: dict[str, Any]) -> str | None:
    """Return the nearest code within an error that is in the table."""
    for name, value in _parts(error):
        if _plain(name) in CODE_NAMES and isinstance(value, str):
            code = value.strip().upper()
            if code in CODES:
                return code
    return None


def _failed_status(error: dict[str, Any]) -> int | None:
    """Return the nearest status within an error that is one of a failure."""
    for name, value in _parts(error):
        is_status = isinstance(value, str | int | float) and (
            _plain(name) in STATUS_NAMES
        )
        if is_status and (match := FAILED_STATUS.match(str(value)[:100])):
            return int(match[1])
    return None


def _parts(
    error: dict[str, Any], is_skipped: Callable[[str], bool] = lambda _: False
) -> Iterator[tuple[str, Any]]:
    """Yield what an error holds, by the names of its keys, the nearest first.

    What is in a list goes by the name of the list.
    """
    blocks = deque[tuple[str, Any]]([("", error)])
    for _ in range(MAX_PARTS):
        if not blocks:
            return
        name, block = blocks.popleft()
        inner = block.items() if isinstance(block, dict) else zip(repeat(name), block)
        for key, value in islice(inner, MAX_PARTS):
            if not is_skipped(key):
                yield key, value
                if isinstance(value, dict | list):
                    blocks.append((key, value))


def _plain(name: str) -> str:
    """Return only the letters of the name of a key."""
    return NO_LETTER.sub("", name[:MAX_KEY_CHARACTERS].lower())


def _message(error: dict[str, Any], otherwise: str, *, thorough: bool) -> str:
    """Return what an error says, with the reason where that is not in its message.

    If the search is thorough, the reason may stand under a key of any name.
    """
    message = error.get("message")
    texts = [] if message in (None, "") else [one_line(mask(message))]
    rest = {name: value for name, value in error.items() if name != "message"}
    reasons = _texts(rest, by_name=True)
    if not reasons and (thorough or not texts):
        reasons = _texts(rest, by_name=False)
    texts += (reason for reason in reasons if all(reason not in t for t in texts))
    if not texts:
        return one_line(mask(otherwise))
    return texts[0] + (f" ({'; '.join(texts[1:])})" if texts[1:] else "")


def _is_no_reason(name: str) -> bool:
    """Return whether a key is called like a part of a row, or what was sent."""
    words = [word.lower() for word in WORD.findall(name[:MAX_KEY_CHARACTERS])]
    words = [word if word == "status" else word.removesuffix("s") for word in words]
    return not (
        NO_REASONS.isdisjoint(words) and NO_REASONS_AT_END.isdisjoint(words[-1:])
    )


def _texts(block: dict[str, Any], *, by_name: bool) -> list[str]:
    """Return the texts in an error that may be its reason, each of them short.

    If by name, only what is called like a reason counts. An error may also quote the
    row that it is about, and that is nobody's business: what is called like a part of a
    row is not looked into.
    """
    result: dict[str, None] = {}
    for name, value in _parts(block, _is_no_reason):
        if len(result) >= MAX_REASONS:
            break
        # A word alone may be an ID.
        if isinstance(value, str) and (
            _plain(name) in REASONS if by_name else " " in value.strip()
        ):
            result[shortened(one_line(mask(value)), MAX_REASON_CHARACTERS)] = None
    return [text for text in result if text]
