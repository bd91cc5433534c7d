"""Every value that is sent arrives, in every target, by every way that it loads.

``make test-warehouses`` runs it, not ``make test``: each target has an environment of
its own. What was found is written to ``results.json``, which docs/warehouses.md is made
of.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.comparison import Comparison
from tests.contract.loads import Load, expected, kind, loads, schemas, written
from warehouses import environments
from warehouses.places import PROGRAMS, only_known
from warehouses.targets import (
    FORMS,
    IGNORES,
    ONLY_ON_GITHUB,
    RECORDS,
    REFUSES,
    ROOT,
    TARGETS,
    shipped_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.contract.reading import Contents
    from warehouses.places import Place
    from warehouses.results import Results
    from warehouses.targets import Target

LOADED = [(target, form) for target in TARGETS for form in target.loaded]
REFUSED, IGNORED = (
    [
        (target, form)
        for target in TARGETS
        for form, what in target.refused.items()
        if what == why
    ]
    for why in (REFUSES, IGNORES)
)
MEASURED = [
    # What an emulator takes says nothing.
    target
    for target in TARGETS
    if {*target.loaded} > {RECORDS} and not target.program
]


def names_of(cases: list[tuple[Target, str]]) -> list[str]:
    """Return the names of cases."""
    return [f"{target.name}-{form}" for target, form in cases]


def recipe(heading: str) -> str:
    """Return the program under a heading of the page of recipes."""
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    match = re.search(
        rf"^## {heading}\n.*?```python\n(.*?)```", page, re.MULTILINE | re.DOTALL
    )
    assert match
    return match[1]


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
        if self._target.recipe:
            program = self._folder / "recipe.py"
            program.write_text(recipe(self._target.recipe))
            return [programs / "python", program, self._place.argument]
        if self._target.program:
            return [programs / "python", PROGRAMS / self._target.program]
        return [programs / self._target.name]

    def arguments(self) -> list[str | Path]:
        """Return the target's arguments, but for the file of its settings."""
        config = self._folder / "config.json"
        config.write_text(json.dumps(self.settings()))
        return [] if self._target.recipe else ["--config", config]

    def settings(self) -> dict[str, Any]:
        """Return the settings of the target: the page's, and where it loads to."""
        return shipped_settings(self._target.name) | self._place.settings

    def messages(self, load: Load) -> str:
        """Return what the tap writes."""
        if self._form == RECORDS:
            return written(load)
        encoding = {"format": self._form, "compression": "gzip"}
        storage = {"root": self._place.batches or str(self._folder / "batch files")}
        return written(load, batch_config={"encoding": encoding, "storage": storage})

    def run(self, messages: str) -> subprocess.CompletedProcess[str]:
        """Run the target."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*self.command(), *self.arguments()],
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


@contextmanager
def loading(target: Target, form: str, folder: Path) -> Iterator[tuple[Place, Loading]]:
    """Open a place of a target, and return it with what loads into it."""
    warehouse = folder / "warehouse"
    warehouse.mkdir(parents=True)
    with target.place(warehouse) as place:
        yield place, Loading(target, form, place, folder / "run")


def test_duckdb_loses_a_row_of_a_table_of_texts(tmp_path: Path) -> None:
    """The first one, as the page says; a release that keeps it fails this."""
    (target,) = (t for t in TARGETS if t.name == "target-duckdb")
    first, *_ = loads()
    rows = first.rows["projects"]
    texts = {"id", "name"}
    load = Load(
        {"projects": rows}, {**first.without, "projects": frozenset(rows[0]) - texts}
    )

    with loading(target, RECORDS, tmp_path) as (place, run):
        done = run.run(run.messages(load))
        arrived = place.read().rows["projects"]

    assert done.returncode == 0
    assert len(arrived) == len(rows) - 1


@pytest.mark.parametrize("name", ONLY_ON_GITHUB)
def test_what_only_github_has(name: str) -> None:
    """It cannot be had of a registry, so this says how it can be tried by hand."""
    pytest.skip(f"{name} is on GitHub only: pip install {ONLY_ON_GITHUB[name].source}")


def check_types(target: Target, form: str, contents: Contents) -> None:
    """Compare the types of columns with those that are known."""
    expected_types = target.types_of(form)
    kinds = {
        name: {column: kind(s) for column, s in schema["properties"].items()}
        for name, schema in schemas().items()
    }
    types = defaultdict(set)
    for table, columns in contents.types.items():
        for column, type_ in columns.items():
            types[kinds[table][column]].add(type_)
    assert {
        kind: " or ".join(sorted(names)) for kind, names in types.items()
    } == expected_types


@pytest.mark.parametrize(("target", "form"), LOADED, ids=names_of(LOADED))
def test_every_value_arrives(
    target: Target,
    form: str,
    tmp_path: Path,
    results: Results,
) -> None:
    """After four runs, of which one has fewer columns; but for what is known."""
    with loading(target, form, tmp_path) as (place, load):
        for part in loads():
            done = load.run(load.messages(part))
            assert done.returncode == 0, done.stderr[-3000:]
            assert json.loads(done.stdout.split("\n")[-2]) == {"bookmarks": {}}
        contents = only_known(place.read())

    sent = expected(loads(), merged=target.merged, left_out=target.left_out)
    losses = target.losses_of(form)
    comparison = Comparison(sent, contents.rows, losses, target.parse_of(form))
    comparison.check()
    check_types(target, form, contents)
    results.loaded(target, form, comparison)


@pytest.mark.parametrize(("target", "form"), REFUSED, ids=names_of(REFUSED))
def test_what_is_not_loaded_is_refused(
    target: Target,
    form: str,
    tmp_path: Path,
    results: Results,
) -> None:
    """With an exit code that is not 0, and without a state."""
    with loading(target, form, tmp_path) as (_, load):
        first, *_ = loads()
        done = load.run(load.messages(first))

    assert done.returncode != 0
    assert not done.stdout.strip()
    results.refused(target, form)


@pytest.mark.parametrize(("target", "form"), IGNORED, ids=names_of(IGNORED))
def test_what_is_ignored_is_known(
    target: Target, form: str, tmp_path: Path, results: Results
) -> None:
    """It confirms the state, and has nothing: the page warns of it."""
    with loading(target, form, tmp_path) as (place, load):
        first, *_ = loads()
        done = load.run(load.messages(first))
        contents = place.read()

    assert done.returncode == 0
    assert '"bookmarks"' in done.stdout
    assert not any(contents.rows.values())
    results.refused(target, form)


@pytest.mark.parametrize("target", MEASURED, ids=[target.name for target in MEASURED])
def test_batch_files_cost(
    target: Target,
    tmp_path: Path,
    workspace: Callable[[str, Path], str],
    results: Results,
) -> None:
    """Measure how many times as much CPU messages take; it is no test of it."""
    seconds = {}
    for form in (form for form in FORMS if form in target.loaded):
        with loading(target, form, tmp_path / form) as (_, load):
            done = load.run(workspace(form, tmp_path / "files"))
        assert done.returncode == 0, done.stderr[-3000:]
        seconds[form] = load.cpu
    results.measured(target, seconds)
