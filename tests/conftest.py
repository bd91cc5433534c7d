"""A sandbox for every test that wants one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from tap_labelbox.sandbox import World, serve
from tests.runner import STANDARD, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tap_labelbox.sandbox import Sandbox

STACK = ExitStack()

# How fast a machine is says nothing about the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let all of the faults be asked for."""
    parser.addoption(
        "--every-fault", action="store_true", help="test_faults: all, not a sample"
    )


def pytest_configure() -> None:
    """Start the sandbox of the SDK's suite, before that is collected."""
    sandbox = STACK.enter_context(serve(World(), unexportable=1))
    STANDARD.update(Runner(sandbox, World()).config())


def pytest_unconfigure() -> None:
    """Stop it: an interpreter does not end while a server runs."""
    STACK.close()


@pytest.fixture
def world() -> World:
    """Give a small workspace with a bit of everything."""
    return World(seed=1)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Give what serves a world, and runs the tap against it."""
    with ExitStack() as stack:

        def start(world: World, **options: Any) -> Runner:
            sandbox = stack.enter_context(serve(world, **options))
            return Runner(sandbox, world, tmp_path)

        yield start


@pytest.fixture
def run(serving: Callable[..., Runner], world: World) -> Runner:
    """Run the tap against a sandbox that serves the world."""
    return serving(world)


@pytest.fixture
def sandbox(run: Runner) -> Sandbox:
    """Give that sandbox."""
    return run.sandbox


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a key of the developer's out of the tests."""
    monkeypatch.delenv("LABELBOX_API_KEY", raising=False)
