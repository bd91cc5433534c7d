"""Requests to the sandbox, its replies, and faults on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HTML = {"Content-Type": "text/html; charset=UTF-8"}
# What stands in front of Labelbox, and what that says for itself.
PROXIES = {
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
}


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    method: str
    path: str
    """With what follows the question mark."""
    headers: Mapping[str, str]
    """Found under any spelling of their names: `headers["authorization"]`."""
    query: str | None = None
    """The text of a GraphQL document."""
    variables: dict[str, Any] = field(default_factory=dict)
    operation: str | None = None
    """The name of a GraphQL operation."""


@dataclass
class Reply:
    """An answer, or a fault.

    A body that is neither bytes nor text is sent as JSON.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = b""
    delay: float = 0.0
    """Seconds to wait before it is sent."""
    cut: int | None = None
    """Bytes of the body after which the connection is closed; it is not packed."""
    hang: float = 0.0
    """Seconds it is held open before that."""
    reset: bool = False
    """Whether the connection is reset instead, with nothing sent."""

    def content(self) -> bytes:
        """Return the body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        # A server in JavaScript does not write characters as escapes either.
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    def all_headers(self) -> dict[str, str]:
        """Return the headers, and for JSON the one that says so."""
        if isinstance(self.body, bytes | str):
            return dict(self.headers)
        return {"Content-Type": "application/json; charset=utf-8"} | self.headers


def error(message: str, code: str, **extensions: Any) -> dict[str, Any]:
    """Return the body of a GraphQL reply that is one error."""
    extensions = {"code": code, **extensions}
    return {"errors": [{"message": message, "extensions": extensions}], "data": None}


def faults(*, graphql: bool) -> dict[str, Reply | None]:
    """Return temporary failures of a request, by name.

    None is a reply that breaks off in the middle.

    Args:
        graphql: Whether the API is asked, not a file: only the API says that a
            limit is exceeded, and answers an error with HTTP 200.
    """
    replies: dict[str, Reply | None] = {
        f"HTTP {status}": Reply(status, dict(HTML), f"<h1>{status} {reason}</h1>")
        for status, reason in PROXIES.items()
    }
    replies |= {"broken connection": None, "reset": Reply(reset=True)}
    if not graphql:
        return replies
    exceeded = {"message": "You have exceeded the limit of requests per minute"}
    wait = {"Retry-After": "1"}
    failed, code = "Something went wrong", "INTERNAL_SERVER_ERROR"
    # As if there were nothing.
    part: dict[str, Any] = {"projects": [], "project": {"labels": []}, "task": {}}
    as_json = {"Content-Type": "application/json"}
    return replies | {
        "too many": Reply(429, wait, {"message": "Too many requests"}),
        "too many, no wish": Reply(429, {}, {"message": "Too many requests"}),
        "too many, as text": Reply(429, wait, "Too Many Requests"),
        "exceeded": Reply(429, wait, exceeded),
        "exceeded, HTTP 200": Reply(200, {}, exceeded),
        "crash": Reply(200, {}, error(failed, code)),
        "crash inside": Reply(200, {}, error(failed, code, exception={"status": 503})),
        "crash and a part": Reply(200, {}, error(failed, code) | {"data": part}),
        "no data": Reply(200, {}, {"data": None}),
        "nothing": Reply(200, {}, {}),
        "a list": Reply(200, {}, []),
        "broken JSON": Reply(200, as_json, '{"data": {"us'),
        "empty": Reply(200, as_json, ""),
    }
