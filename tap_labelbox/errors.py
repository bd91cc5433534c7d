"""Which failure is which, and what a user is told of it.

::

    LabelboxError               the run cannot go on
    ├── SettingsError           a setting or an input that cannot be used
    ├── AccessError             Labelbox does not accept the API key
    ├── TransientError          worth another try
    │   ├── LimitError          too many requests, or too many exports, just now
    │   └── ServerError         Labelbox failed at this request; others may succeed
    ├── ExpiredLinkError        a download link that needs to be asked for anew
    ├── UnavailableError        one object is not to be had, the others are
    ├── NotOfferedError         Labelbox does not offer this operation (any more)
    │   └── QueryError          Labelbox does not know something that was asked for
    └── IncompleteError         the run went on to its end without some projects

The text of each is one line: what is wrong, and what to do.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

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


class LabelboxError(Exception):
    """The run cannot go on."""


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


class TransientError(LabelboxError):
    """Worth another try, ``retry_after`` seconds from now at the earliest."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        """Keep the server's own wish, in seconds."""
        super().__init__(message)
        self.retry_after = retry_after


class LimitError(TransientError):
    """Too many requests, or too many exports at once, just now."""


class ServerError(TransientError):
    """Labelbox failed at this request, and told so by GraphQL."""


class ExpiredLinkError(LabelboxError):
    """A download link that no longer opens its file."""


class UnavailableError(LabelboxError):
    """One object is not to be had: deleted, forbidden, broken, never ready."""


class NotOfferedError(LabelboxError):
    """Labelbox does not offer this operation, or not to this account."""


class QueryError(NotOfferedError):
    """Labelbox does not know something that a document asks for."""

    errors: tuple[dict[str, Any], ...] = ()
    """The errors as GraphQL gives them, each with message and locations."""


class IncompleteError(LabelboxError):
    """The run went on to its end, without what its log names."""


def reply_data(response: requests.Response) -> dict[str, Any]:
    """Give the ``data`` of a GraphQL reply, or raise the error that it is.

    Labelbox answers many errors with HTTP 200, and some with data beside them;
    neither may pass for a reply.
    """
    try:
        body = response.json()
    except ValueError:
        raise _not_json(response) from None
    if not isinstance(body, dict):
        msg = f"Labelbox answered with a {type(body).__name__} instead of an object"
        raise TransientError(msg)
    if errors := body.get("errors"):
        raise _graphql_error(response, errors)
    if response.status_code != HTTPStatus.OK or "message" in body:
        raise _http_error(response, str(body.get("message") or response.reason))
    data = body.get("data")
    if not isinstance(data, dict):
        msg = "Labelbox answered without data and without an error"
        raise TransientError(msg)
    return data


def is_transient_status(status: int) -> bool:
    """Tell a passing fault of a server or proxy from a lasting answer."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }


def retry_after(response: requests.Response) -> float:
    """Give the seconds that ``Retry-After`` asks for, as number or as date."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _not_json(response: requests.Response) -> LabelboxError:
    """Judge a reply that is no JSON: a proxy's page, or a reply cut short."""
    status = response.status_code
    content_type = response.headers.get("Content-Type", "nothing")
    msg = f"Labelbox answered HTTP {status} with {content_type} instead of JSON"
    if is_transient_status(status):
        return TransientError(msg, retry_after(response))
    if "json" in content_type or (status == HTTPStatus.OK and not response.content):
        return TransientError(msg)
    return LabelboxError(f"{msg}: check api_url ({response.url})")


def _http_error(response: requests.Response, message: str) -> LabelboxError:
    """Judge a reply that is JSON but no GraphQL: ``{"message": ...}``."""
    status = response.status_code
    message = _one_line(message)
    told = f"Labelbox answered HTTP {status}: {message}"
    if is_transient_status(status) or message.startswith("You have exceeded"):
        return TransientError(told, retry_after(response))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessError(message)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.UPGRADE_REQUIRED}:
        return NotOfferedError(told)
    return LabelboxError(told)


def _graphql_error(response: requests.Response, found: Any) -> LabelboxError:
    """Judge ``errors``: unknown fields only if there is nothing worse."""
    listed = found if isinstance(found, list) else [found]
    errors = [e if isinstance(e, dict) else {"message": str(e)} for e in listed]
    verdicts = [_verdict(response, error) for error in errors]
    unknown = [v for v in verdicts if isinstance(v, QueryError)]
    if len(unknown) < len(verdicts):
        return next(v for v in verdicts if v not in unknown)
    error = QueryError("; ".join(dict.fromkeys(map(str, unknown))))
    error.errors = tuple(errors)
    return error


def _verdict(response: requests.Response, error: dict[str, Any]) -> LabelboxError:
    message = _one_line(str(error.get("message")))
    extensions = _block(error, "extensions")
    exception = _block(extensions, "exception")
    code = extensions.get("code") or exception.get("code")
    # Servers differ in the codes of these, and some give none.
    if any(pattern.search(message) for pattern in ABOUT_THE_QUERY):
        code = "GRAPHQL_VALIDATION_FAILED"
    status = str(exception.get("status") or "")
    true_status = int(status) if status.isdecimal() else None
    kind = _kind(code, true_status, response.status_code)
    if issubclass(kind, TransientError | UnavailableError) and code not in BY_CODE:
        message = f"Labelbox answered {code or response.status_code}: {message}"
    verdict = kind(message)
    if isinstance(verdict, TransientError):
        verdict.retry_after = retry_after(response)
    return verdict


def _block(within: dict[str, Any], name: str) -> dict[str, Any]:
    block = within.get(name)
    return block if isinstance(block, dict) else {}


def _one_line(text: str) -> str:
    return " ".join(text.split())


BY_CODE: dict[str, type[LabelboxError]] = {
    "AUTHENTICATION_ERROR": AccessError,
    "UNAUTHENTICATED": AccessError,
    "AUTHORIZATION_ERROR": UnavailableError,
    "FORBIDDEN": UnavailableError,
    "RESOURCE_NOT_FOUND": UnavailableError,
    "GRAPHQL_VALIDATION_FAILED": QueryError,
    "GRAPHQL_PARSE_FAILED": QueryError,
    "BAD_USER_INPUT": QueryError,
    "OPERATION_NOT_ALLOWED": NotOfferedError,
    "RATE_LIMIT": LimitError,
    "API_LIMIT": LimitError,
    "TIMEOUT": TransientError,
}


def _kind(
    code: object, true_status: int | None, http_status: int
) -> type[LabelboxError]:
    """Decide what a GraphQL error means, by its code and then by its status.

    ``INTERNAL_SERVER_ERROR`` is Labelbox's cloak for many things: the true
    status is inside, and where there is none it was a fault of the server.
    """
    if isinstance(code, str) and code in BY_CODE:
        return BY_CODE[code]
    if code == "INTERNAL_SERVER_ERROR" and http_status < HTTPStatus.BAD_GATEWAY:
        status = true_status or HTTPStatus.INTERNAL_SERVER_ERROR
        transient: type[LabelboxError] = ServerError
    else:
        status, transient = http_status, TransientError
    if is_transient_status(status):
        return transient
    if status == HTTPStatus.UNAUTHORIZED:
        return AccessError
    if status == HTTPStatus.UPGRADE_REQUIRED:  # a limit of the plan
        return NotOfferedError
    return UnavailableError
