"""What is asked of the sandbox, what it answers, and what goes wrong on the way."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HTML = {"Content-Type": "text/html; charset=UTF-8"}


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
    """Bytes of the body after which the connection is closed."""
    hang: float = 0.0
    """Seconds it is held open before that."""

    def content(self) -> bytes:
        """Give the body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        # A server in JavaScript does not write characters as escapes either.
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    def all_headers(self) -> dict[str, str]:
        """Give the headers, and for JSON the one that says so."""
        if isinstance(self.body, bytes | str):
            return dict(self.headers)
        return {"Content-Type": "application/json; charset=utf-8"} | self.headers


def error(message: str, code: str, **extensions: Any) -> dict[str, Any]:
    """Give the body of a GraphQL reply that is one error."""
    extensions = {"code": code, **extensions}
    return {"errors": [{"message": message, "extensions": extensions}], "data": None}


def faults(*, graphql: bool) -> list[Reply | None]:
    """Give what may go wrong with a request; None is a connection that breaks.

    Args:
        graphql: Whether the API is asked, not a file: only the API says that a
            limit is exceeded, and answers an error with HTTP 200.
    """
    proxies = [
        Reply(status, dict(HTML), f"<html><h1>{status} {reason}</h1></html>")
        for status, reason in (
            (500, "Internal Server Error"),
            (502, "Bad Gateway"),
            (503, "Service Unavailable"),
            (504, "Gateway Time-out"),
            (520, "Web server is returning an unknown error"),
        )
    ]
    if not graphql:
        return [*proxies, None]
    exceeded = {"message": "You have exceeded the limit of requests per minute"}
    crash = error("Something went wrong", "INTERNAL_SERVER_ERROR")
    crash["errors"][0]["extensions"]["exception"] = {"status": 503}
    return [
        *proxies,
        Reply(429, {"Retry-After": "1"}, {"message": "Too many requests"}),
        Reply(429, {"Retry-After": "1"}, exceeded),
        Reply(200, {}, exceeded),
        Reply(200, {}, crash),
        Reply(200, {}, error("Something went wrong", "INTERNAL_SERVER_ERROR")),
        None,
    ]
