"""Fixtures for the tests of targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World, serve
from tests.runner import Runner
from warehouses.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def results() -> Results:
    """Return where findings are kept."""
    return Results()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Forget what was known of a target that fails."""
    del call
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        results: Any = item.funcargs.get("results")
        target: Any = item.funcargs.get("target")
        if results and target:
            results.failed(target)
    return report


@pytest.fixture(scope="session")
def workspace() -> Iterator[Callable[[str, Path], str]]:
    """Return what reads a workspace of 1,000 labels, as messages or batch files."""
    world = World(seed=7, projects=13, labels=1009)
    with serve(world) as sandbox:
        run = Runner(sandbox, world)

        def read(form: str, folder: Path) -> str:
            settings: dict[str, Any] = {}
            if form != "records":
                storage = {"root": str(folder)}
                encoding = {"format": form, "compression": "gzip"}
                settings["batch_config"] = {"encoding": encoding, "storage": storage}
            output = run(**settings)
            assert output.error is None
            return output.text

        yield read
