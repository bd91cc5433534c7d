"""Every value that is sent arrives, in every target, by every way that it loads.

``make test-warehouses`` runs it, not ``make test``: each target has an environment of
its own. What was found is written to ``results.json``, which docs/warehouses.md is made
of.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.comparison import Comparison
from tests.contract.loads import expected, kind, loads, schemas, written
from warehouses import environments
from warehouses.places import PROGRAMS, only_known
from warehouses.targets import (
    FORMS,
    RECORDS,
    TARGETS,
    Target,
    shipped_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.contract.loads import Load
    from tests.contract.reading import Found
    from warehouses.places import Place
    from warehouses.results import Results

LOADED = [(target, form) for target in TARGETS for form in target.loaded]
REFUSED = [(target, form) for target in TARGETS for form in target.refused]


def named(cases: list[tuple[Target, str]]) -> list[str]:
    """Return the names of cases."""
    return [f"{target.name}-{form}" for target, form in cases]


class Loading:
    """Loads into a place with a target, from messages or batch files."""

    def __init__(self, target: Target, form: str, place: Place, folder: Path) -> None:
        self._target = target
        self._form = form
        self._place = place
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.cpu = 0.0
        """Seconds that the last run took of all processors."""

    def command(self) -> list[str | Path]:
        """Return what runs the target."""
        programs = environments.environment(self._target.environment)
        if self._target.program:
            return [programs / "python", PROGRAMS / self._target.program]
        return [programs / self._target.name]

    def settings(self) -> dict[str, Any]:
        """Return the settings of the target: those that users are told, and where."""
        shipped = shipped_settings(self._target.name)
        return shipped | dict(self._target.settings) | self._place.settings

    def messages(self, load: Load) -> str:
        """Return what the tap writes."""
        if self._form == RECORDS:
            return written(load)
        encoding = {"format": self._form, "compression": "gzip"}
        storage = {"root": str(self._folder / "batch files")}
        return written(load, batch_config={"encoding": encoding, "storage": storage})

    def run(self, messages: str) -> subprocess.CompletedProcess[str]:
        """Run the target."""
        config = self._folder / "config.json"
        config.write_text(json.dumps(self.settings()))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*self.command(), "--config", config],
            input=messages,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
            env=os.environ | self._place.environment,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return done


@pytest.fixture
def loading(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Loading]:
    """Return what prepares loads; skip a target that is not to be had here."""

    def prepare(target: Target, form: str, place: Place) -> Loading:
        return Loading(target, form, place, tmp_path / "run")

    return prepare


@pytest.fixture(autouse=True)
def is_to_be_had(request: pytest.FixtureRequest) -> None:
    """Skip, with the command that installs it, a target that is on GitHub only."""
    target: Target | None = getattr(request.node, "callspec", None) and (
        request.node.callspec.params.get("target")
    )
    if target and not target.is_on_pypi and not request.config.getoption("from_git"):
        pytest.skip(
            f"{target.name} is on GitHub only. To try it: "
            f"make test-warehouses ARGS='--from-git -k {target.name}'"
        )


def check_types(target: Target, form: str, found: Found) -> None:
    """Compare the types of columns with those that are known."""
    wanted = target.types_of(form)
    kinds = {
        name: {column: kind(s) for column, s in schema["properties"].items()}
        for name, schema in schemas().items()
    }
    types = Counter(
        (kinds[table][column], type_)
        for table, columns in found.types.items()
        for column, type_ in columns.items()
    )
    assert {*types} == ({*wanted.items()} if wanted else set())


@pytest.mark.parametrize(("target", "form"), LOADED, ids=named(LOADED))
def test_every_value_arrives(
    target: Target,
    form: str,
    tmp_path: Path,
    loading: Callable[..., Loading],
    results: Results,
) -> None:
    """After four runs, of which one has fewer columns; but for what is known."""
    folder = tmp_path / "warehouse"
    folder.mkdir()
    with target.place(folder) as place:
        load = loading(target, form, place)
        for each in loads():
            done = load.run(load.messages(each))
            assert done.returncode == 0, done.stderr[-3000:]
            assert json.loads(done.stdout.split("\n")[-2]) == {"bookmarks": {}}
        found = only_known(place.read())

    sent = expected(loads(), merged=target.merged, left_out=target.left_out)
    losses = target.losses_of(form)
    comparison = Comparison(sent, found.rows, losses, target.parse_of(form))
    comparison.check()
    check_types(target, form, found)
    results.loaded(target, form, comparison)


@pytest.mark.parametrize(("target", "form"), REFUSED, ids=named(REFUSED))
def test_what_is_not_loaded_is_refused(
    target: Target,
    form: str,
    tmp_path: Path,
    loading: Callable[..., Loading],
    results: Results,
) -> None:
    """With an exit code that is not 0, and without a state."""
    folder = tmp_path / "warehouse"
    folder.mkdir()
    with target.place(folder) as place:
        load = loading(target, form, place)
        first, *_ = loads()
        done = load.run(load.messages(first))

    assert done.returncode != 0
    assert not done.stdout.strip()
    results.refused(target, form)


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_batch_files_cost(
    target: Target,
    tmp_path: Path,
    loading: Callable[..., Loading],
    workspace: Callable[[str, Path], str],
    results: Results,
) -> None:
    """Measure how many times as much CPU messages take; it is no test of it."""
    if not set(target.loaded) > {RECORDS}:
        pytest.skip("it loads one form only")
    seconds = {}
    for form in (each for each in FORMS if each in target.loaded):
        folder = tmp_path / form
        folder.mkdir()
        with target.place(folder) as place:
            load = loading(target, form, place)
            done = load.run(workspace(form, tmp_path / "files"))
        assert done.returncode == 0, done.stderr[-3000:]
        seconds[form] = load.cpu
    results.measured(target, seconds)
