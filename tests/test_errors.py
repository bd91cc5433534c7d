"""Failures are known from the reply alone; test_client.py has them over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tap_labelbox.api import errors


def reply(status: int, **headers: str) -> requests.Response:
    """Return a reply without a body."""
    response = requests.Response()
    response.status_code = status
    response.reason = "as it is called"
    response.url = "https://api.test/graphql"
    response.headers.update({k.replace("_", "-"): v for k, v in headers.items()})
    return response


@pytest.mark.parametrize("status", [429, 503])
def test_each_kind_of_reply_may_ask_for_a_wait(status: int) -> None:
    """A download, JSON that is no GraphQL, GraphQL, REST, and what is no JSON."""
    response = reply(status, Retry_After="5")
    graphql = {"errors": [{"message": "no", "extensions": {"code": str(status)}}]}

    result = [
        errors.link_error(response),
        errors.graphql_error(response, {"message": "no"}),
        errors.graphql_error(response, graphql),
        errors.rest_error(response, {"message": "no"}),
        errors.not_json_error(response, b"<html>"),
    ]

    for error in result:
        assert isinstance(error, errors.TransientError)
        assert error.retry_after == 5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("2.5", 2.5),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("nan", 0.0),
        ("inf", errors.MAX_RETRY_AFTER_SECONDS),
        ("1e9", errors.MAX_RETRY_AFTER_SECONDS),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 21 Oct 9998 07:28:00 GMT", errors.MAX_RETRY_AFTER_SECONDS),
    ],
)
def test_a_wait_is_a_number_or_a_date(text: str, seconds: float) -> None:
    """And no longer than a run may take."""
    assert errors.retry_after(reply(503, Retry_After=text)) == seconds


@pytest.mark.parametrize("body", [{"data": {"a": 1}}, {"data": {}}, {"data": {"a": 0}}])
def test_data_is_no_failure(body: Any) -> None:
    """Whatever it holds."""
    assert errors.graphql_error(reply(200), body) is None


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ([], "a list instead of an object"),
        ("no", "a str instead of an object"),
        ({}, "without data and without an error"),
        ({"data": None}, "without data and without an error"),
        ({"data": {"a": None}, "message": "why"}, "why"),
    ],
)
def test_what_is_no_data_is_a_failure(body: Any, detail: str) -> None:
    """It says what came instead."""
    assert detail in str(errors.graphql_error(reply(200), body))


def test_the_worst_of_several_errors_counts() -> None:
    """An error that lasts comes before one that may pass."""
    passing = {"message": "try again", "extensions": {"code": "503"}}
    final = {"message": "bad key", "extensions": {"code": "AUTHENTICATION_ERROR"}}

    for entries in ([passing, final], [final, passing]):
        result = errors.graphql_error(reply(200), {"errors": entries})
        assert isinstance(result, errors.AccessError)
    assert isinstance(
        errors.graphql_error(reply(200), {"errors": [passing]}), errors.TransientError
    )


def test_an_export_that_is_refused_for_now_is_a_limit() -> None:
    """Its words decide, unless the kind of the failure does."""
    limit = errors.export_limit_error(errors.UnavailableError("too many exports"))
    other = errors.UnavailableError("no such project")
    access = errors.AccessError("too many exports")

    assert isinstance(limit, errors.LimitError)
    assert errors.export_limit_error(other) is other
    assert errors.export_limit_error(access) is access
