"""A world, a sandbox that serves it, and a way to ask it something."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tap_labelbox.sandbox import World, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Sandbox

    Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def world() -> World:
    """Return a small workspace."""
    return World(projects=4, labels=250)


@pytest.fixture
def start(world: World) -> Iterator[Callable[..., Sandbox]]:
    """Return what serves the world, with knobs."""
    with ExitStack() as stack:
        yield lambda **knobs: stack.enter_context(serve(world, **knobs))


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """Serve the world as it comes."""
    return start()


@pytest.fixture
def post() -> Callable[..., requests.Response]:
    """Return what sends a document and returns the reply."""

    def send(sandbox: Sandbox, text: str, **variables: Any) -> requests.Response:
        return requests.post(
            sandbox.url,
            json={"query": text, "variables": variables},
            headers={"Authorization": f"Bearer {sandbox.api_key}"},
            timeout=10,
        )

    return send


@pytest.fixture
def ask(sandbox: Sandbox, post: Callable[..., requests.Response]) -> Ask:
    """Return what sends a document and returns the data of the reply."""
    return lambda text, **variables: post(sandbox, text, **variables).json()["data"]
