"""A sandbox for every test that wants one."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]  # it has no types
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer

from tap_labelbox import redact
from tap_labelbox.sandbox import World, serve
from tap_labelbox.streams import reports
from tests import dbt_runs, few_days, figures
from tests.clock import Clock
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Sandbox
    from tests.dbt_runs import Built

ROOT = Path(__file__).parent.parent
BAD_INPUTS = {"test_hostile", "test_malformed_rows"}
"""The test files in which each case is one."""

SLOW_FIXTURES = {"serving", "target", "built", "s3_server"}
SLOW_NAMES = {"command", "run_until", "serve", "socket", "subprocess"}
"""What a test file has imported that starts servers or processes by itself."""

# How fast a machine is says nothing about the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this suite."""
    parser.addoption(
        "--every-fault", action="store_true", help="all faults and kills, no sample"
    )
    parser.addoption(
        "--quick", action="store_true", help="only what needs no server or process"
    )
    parser.addoption(
        "--seed", type=int, default=0, help="the first seed of what is left to chance"
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Begin with what takes long, or leave it out if only the quick tests are wanted.

    Processes that share the tests then end at about the same time.
    """
    items.sort(key=has_slow_module, reverse=True)
    if config.getoption("quick"):
        slow = {
            item
            for item in items
            if has_slow_module(item) or SLOW_FIXTURES.intersection(fixtures_of(item))
        }
        config.hook.pytest_deselected(items=list(slow))
        items[:] = [item for item in items if item not in slow]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use three processes on two cores: a third of the time, tests wait for others."""
    return (os.cpu_count() or 2) * 3 // 2


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays: it took a quarter of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def has_slow_module(item: pytest.Item) -> bool:
    """Return whether a test is in a file that starts servers or processes by itself."""
    return isinstance(item, pytest.Function) and not SLOW_NAMES.isdisjoint(
        vars(item.module)
    )


def fixtures_of(item: pytest.Item) -> list[str]:
    """Return the fixtures that a test uses, and those that these use."""
    return item.fixturenames if isinstance(item, pytest.Function) else []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Count a bad input that costs nothing but itself."""
    yield
    if item.path.stem in BAD_INPUTS:
        figures.count("bad inputs")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what was counted from a worker of pytest-xdist to where it is printed."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = figures.dump()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a worker has counted; one that crashed has counted nothing."""
    if dumped := getattr(node, "workeroutput", {}).get("figures"):
        figures.load(dumped)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted."""
    if lines := list(figures.lines()):
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo what a command that ran in this process has set up for its log."""
    loggers = [logging.getLogger(name) for name in (None, "tap-labelbox", "singer_sdk")]
    before = [(log, log.level, log.propagate, [*log.handlers]) for log in loggers]
    yield
    for log, level, propagate, handlers in before:
        log.setLevel(level)
        log.propagate = propagate
        log.handlers[:] = handlers


@pytest.fixture
def world() -> World:
    """Return a small workspace with a bit of everything."""
    return World(seed=1, labels=100)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Return what serves a world, and runs the tap against it."""
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
def whole_month(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first run read as many days of reports as it does for users."""
    monkeypatch.setattr(reports, "FIRST_DAYS", few_days.MONTH)


@pytest.fixture
def sandbox(run: Runner) -> Sandbox:
    """Return that sandbox."""
    return run.sandbox


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock by which every wait of the tap is over at once."""
    clock = Clock()
    clock.install(monkeypatch)
    return clock


@pytest.fixture(scope="session")
def target() -> Callable[[str], Path]:
    """Return what finds the command of a loader, as meltano.yml pins it."""
    return lambda name: plugin("loader", name, name)


@pytest.fixture(scope="session")
def built(
    tmp_path_factory: pytest.TempPathFactory, target: Callable[[str], Path]
) -> Callable[[str], Built]:
    """Return what builds the dbt package in a database, once for all processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    @cache
    def build(database: str) -> Built:
        dump = folder / f"{database}.json"
        with FileLock(folder / f"{database}.lock"):
            if not dump.exists():
                dbt = plugin("utility", "dbt-labelbox", "dbt")
                made = dbt_runs.build(
                    database, target(f"target-{database}"), dbt, folder
                )
                dump.write_text(json.dumps(made))
        return dbt_runs.Built(**json.loads(dump.read_text()))

    return build


def plugin(kind: str, name: str, program: str) -> Path:
    """Return the command of a plugin that is pinned in meltano.yml, once installed."""
    folder = ROOT / ".meltano"
    folder.mkdir(exist_ok=True)
    plural = {"loader": "loaders", "utility": "utilities"}[kind]
    path = folder / plural / name / "venv" / "bin" / program
    # Tests run in several processes, and may all want it at once.
    with FileLock(folder / "plugins.lock"):
        if not path.exists():
            meltano = Path(sys.executable).with_name("meltano")
            cache = str(ROOT / ".cache")
            settings = {"XDG_CACHE_HOME": cache, "XDG_STATE_HOME": cache}
            subprocess.run(
                [meltano, "install", kind, name],
                cwd=ROOT,
                env=settings | dict(os.environ),
                check=True,
                capture_output=True,
            )
    return path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Return the address of a server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the address of S3 in the environment, and no credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def bucket(s3: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return what makes a bucket that the environment opens, and a client for it."""
    del s3
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-told")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def make(name: str) -> Any:
        client = boto3.client("s3")
        client.create_bucket(Bucket=name)
        return client

    return make


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a key of the developer's out of the tests, and secrets of other tests."""
    monkeypatch.setattr(redact, "_hidden", {})
    for name in ("LABELBOX_API_KEY", "TAP_LABELBOX_API_KEY"):
        monkeypatch.delenv(name, raising=False)
