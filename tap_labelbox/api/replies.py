"""Replies of Labelbox: each decoded to its data, or judged to be an error."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from tap_labelbox.api.combined_replies import separated
from tap_labelbox.api.errors import (
    ComplexityError,
    LabelboxError,
    QueryError,
    TransientError,
    graphql_error,
    link_error,
    not_json_error,
    rest_error,
)
from tap_labelbox.records.json_text import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

Judge: TypeAlias = "Callable[[LabelboxError], LabelboxError]"
ASKED_ALONE = (TransientError, ComplexityError, QueryError)


def graphql_data(response: requests.Response, content: bytes) -> Any:
    """Decode a GraphQL reply, and return its ``data``.

    Raises:
        LabelboxError: If it has none, or errors beside it.
    """
    try:
        body = decode(content)
    except ValueError:
        raise not_json_error(response, content) from None
    if error := graphql_error(response, body):
        raise error
    return body["data"]


def graphql_parts(
    response: requests.Response,
    content: bytes,
    count: int,
    decoded: Callable[[requests.Response, bytes], Any],
    judge: Judge,
) -> list[Any]:
    """Decode the reply to many: the ``data`` of each, its error, or None.

    Raises:
        LabelboxError: If it says of none of them in particular what is wrong.
    """
    try:
        reply = separated(content, count)
    except ValueError:
        raise not_json_error(response, content) from None
    if reply.common and (error := graphql_error(response, reply.common)):
        raise error
    is_ok = response.status_code == HTTPStatus.OK
    result: list[Any] = []
    for number, part in enumerate(reply.parts):
        if part is None or not (is_ok or number in reply.refused):
            result.append(None)
            continue
        try:
            result.append(decoded(response, part))
        except LabelboxError as fault:
            error = judge(fault)
            # Alone it is tried again, or asked in another way.
            result.append(None if isinstance(error, ASKED_ALONE) else error)
    return result


def file_content(response: requests.Response, content: bytes) -> bytes:
    """Return the body of a reply, if it is a file."""
    if response.status_code != HTTPStatus.OK:
        raise link_error(response)
    return content


def rest_object(response: requests.Response, content: bytes) -> dict[str, Any]:
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
    raise rest_error(response, body)
