"""An address at which nobody has ever answered, by a clock of its own."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api import client, errors, retries
from tap_labelbox.api.client import Client
from tap_labelbox.api.retries import FIRST_CONTACT_SECONDS, FirstContact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RETRY_SECONDS = 900.0
TICK_SECONDS = 0.001
SLACK_SECONDS = 1.0  # for all ticks
NO_TLS = b"HTTP/1.1 400 Bad Request\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Clock:
    """Goes on while somebody sleeps, and a little with each look at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        self.now += TICK_SECONDS
        return self.now

    def sleep(self, seconds: float) -> None:
        """Sleep without waiting."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of all retries."""
    made = Clock()
    monkeypatch.setattr(retries, "time", made)
    return made


@pytest.fixture
def listen() -> Iterator[Callable[[list[bytes]], int]]:
    """Return what answers each connection with the next of some bytes, then is gone."""
    with ExitStack() as stack:

        def start(answers: list[bytes]) -> int:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                for answer in answers:
                    with suppress(OSError), listening.accept()[0] as connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                listening.close()

            threading.Thread(target=serve, daemon=True).start()
            return int(listening.getsockname()[1])

        yield start


def final_error(clock: Clock, address: str, **options: Any) -> errors.LabelboxError:
    """Return the error with which a client gives up."""
    logger = logging.getLogger("tap-labelbox")
    settings = {"timeout": 60, "retry_seconds": RETRY_SECONDS} | options
    asking = Client(address, "key", logger=logger, **settings)
    asking._rate_limiter.sleep = clock.sleep  # type: ignore[method-assign]
    with pytest.raises(errors.LabelboxError) as raised:
        asking.execute("project_ids", where={}, skip=0, first=1)
    return raised.value


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("retry_seconds", [RETRY_SECONDS, 5.0])
@pytest.mark.parametrize("kind", ["refused", "no name", "no TLS"])
def test_nobody_is_waited_for_half_a_minute(
    clock: Clock,
    listen: Callable[[list[bytes]], int],
    kind: str,
    retry_seconds: float,
) -> None:
    """Or as long as retry_seconds says, if that is less; the line names api_url."""
    address = {
        "refused": f"http://127.0.0.1:{free_port()}/graphql",
        "no name": "https://labelbox.invalid/graphql",
        "no TLS": f"https://127.0.0.1:{listen([NO_TLS] * 999)}/graphql",
    }[kind]

    error = final_error(clock, address, retry_seconds=retry_seconds)

    assert type(error) is errors.AddressError
    assert "no answer from there in this run" in str(error)
    assert str(error).endswith("api_url is probably wrong")
    limit = min(retry_seconds, FIRST_CONTACT_SECONDS)
    assert limit / 2 < clock.now <= limit + SLACK_SECONDS


def test_a_connection_that_does_not_come_about_takes_no_longer(clock: Clock) -> None:
    """However long an answer may take."""
    contact = FirstContact("https://labelbox.invalid", is_default=False)

    for passed in (0.0, 20.0, 40.0):
        clock.now = passed
        left = max(FIRST_CONTACT_SECONDS - passed, 1)
        assert contact.connect_seconds(300) == pytest.approx(left, abs=0.1)
    contact.is_made = True
    assert contact.connect_seconds(300) == 300


def test_who_has_answered_is_waited_for(
    clock: Clock, listen: Callable[[list[bytes]], int]
) -> None:
    """Whatever the answer was: there is somebody."""
    address = f"http://127.0.0.1:{listen([UNAVAILABLE])}/graphql"

    error = final_error(clock, address)

    assert isinstance(error, errors.UnsentError)  # it is gone by now
    assert RETRY_SECONDS / 2 < clock.now <= RETRY_SECONDS + SLACK_SECONDS


def test_an_answer_that_is_none_may_pass(
    clock: Clock, listen: Callable[[list[bytes]], int]
) -> None:
    """There is somebody who accepts connections."""
    address = f"http://127.0.0.1:{listen([b''] * 9999)}/graphql"

    error = final_error(clock, address)

    assert type(error) is errors.TransientError
    assert RETRY_SECONDS / 2 < clock.now <= RETRY_SECONDS + SLACK_SECONDS


def test_the_address_that_nobody_has_set_is_right(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is the network: that may pass."""
    address = f"http://127.0.0.1:{free_port()}/graphql"
    monkeypatch.setattr(client, "API_URL", address)

    error = final_error(clock, address)

    assert isinstance(error, errors.UnsentError)
    assert str(error).endswith("this machine probably cannot reach it")
    assert clock.now <= FIRST_CONTACT_SECONDS + SLACK_SECONDS


def test_a_proxy_may_come_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, not api_url."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")

    error = final_error(clock, "https://labelbox.invalid/graphql")

    assert isinstance(error, errors.UnsentError)
    assert "check HTTPS_PROXY" in str(error)
    assert "api_url" not in str(error)
    assert clock.now <= FIRST_CONTACT_SECONDS + SLACK_SECONDS
