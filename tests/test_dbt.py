"""The dbt package, built in real databases on what the tap loads there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml

from scripts import draw_lineage, write_dbt
from tap_labelbox.streams import STREAMS
from tests.conftest import plugin
from tests.dbt_runs import PACKAGE, Dbt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.dbt_runs import Built

ROOT = PACKAGE.parent
README = (PACKAGE / "README.md").read_text("utf-8")
DATABASES = ("duckdb", "postgres")
STAGED = draw_lineage.STAGING


@pytest.mark.parametrize("database", DATABASES)
def test_staging_has_what_the_tap_wrote(
    built: Callable[[str], Built], database: str
) -> None:
    """Every record of every stream, value by value; JSON's null is null."""
    made = built(database)
    # target-duckdb loads empty texts as nulls.
    lost = "" if database == "duckdb" else None

    for stream in STREAMS:
        own = stream.primary_keys
        expected = {
            tuple(r[k] for k in own): {
                name: None if value == lost else value for name, value in r.items()
            }
            for r in made.records[stream.name]
        }
        rows = made.rows(f"stg_labelbox__{stream.name}")
        actual = {tuple(r[k] for k in own): r for r in rows}
        assert actual == expected, stream.name
        assert len(rows) == len(actual)


@pytest.mark.parametrize("database", DATABASES)
def test_staging_has_the_types_of_the_schemas(
    built: Callable[[str], Built], database: str
) -> None:
    """Whatever the loader made of them; also of columns that are not there."""
    types = {
        "text": {"varchar", "text"},
        "number": {"double", "double precision"},
        "integer": {"bigint"},
        "boolean": {"boolean"},
        "timestamp": {"timestamp", "timestamp without time zone"},
        "date": {"date"},
        "json": {"json", "jsonb"},
    }
    made = built(database)

    for stream in STREAMS:
        actual = made.types[f"analytics_staging.stg_labelbox__{stream.name}"]
        columns = stream.schema["properties"]
        assert list(actual) == list(columns)
        for name, schema in columns.items():
            assert actual[name] in types[write_dbt.kind(schema)], (stream.name, name)


def test_staging_has_no_model_of_a_stream_that_is_gone() -> None:
    """Every file there is generated."""
    written = {ROOT / path for path in write_dbt.files("")}

    assert set((ROOT / write_dbt.STAGING).iterdir()) == written


def test_the_picture_shows_what_models_are_made_of(
    built: Callable[[str], Built],
) -> None:
    """As dbt reads the models: else run `make docs`."""
    parents = draw_lineage.parents_of(built("duckdb").manifest)

    assert draw_lineage.picture(parents) == draw_lineage.PICTURE.read_text("utf-8")


def test_marts_name_the_streams_they_need(built: Callable[[str], Built]) -> None:
    """Those they read, and of those that other marts read what matters to them."""
    parents = draw_lineage.parents_of(built("duckdb").manifest)

    def read(model: str) -> set[str]:
        staged = (p for p in parents.get(model, ()) if p.startswith(STAGED))
        return {parent.removeprefix(STAGED) for parent in staged}

    def streams(model: str) -> set[str]:
        return read(model).union(*map(streams, parents.get(model, ())))

    schema = yaml.safe_load((PACKAGE / "models/marts/schema.yml").read_text())
    for model in schema["models"]:
        needed = model["config"]["meta"]["streams"]
        assert read(model["name"]) <= {*needed} <= streams(model["name"]), model["name"]


# --- in a project of somebody else's ----------------------------------------------

RAW = """
    create schema raw_data;
    create table raw_data.lb_issues (
        id varchar, position varchar,
        created_at timestamptz, _sdc_deleted_at timestamp
    );
    insert into raw_data.lb_issues values
        ('a', '{"x": 1}', '2026-03-01 12:00:00+02', null),
        ('b', 'null', null, null),
        ('c', null, null, '2026-03-02');
    create table raw_data.labels (id varchar);
    insert into raw_data.labels values ('a');
    create table raw_data.task_queues (id varchar, "ORDER" integer, unknown integer);
    insert into raw_data.task_queues values ('a', 3, 4);
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Return a project that has the package as the README says, and its warehouse."""
    folder = tmp_path_factory.mktemp("project")
    repository = folder / "repository"
    ignored = shutil.ignore_patterns("target", "logs", "dbt_packages")
    shutil.copytree(PACKAGE, repository / "dbt", ignore=ignored)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(repository)]
    for words in (
        ("init", "--quiet"),
        ("add", "."),
        ("commit", "--quiet", "--message=all"),
        ("tag", "release"),
    ):
        subprocess.run([*git, *words], check=True)
    own = folder / "own"
    (repository / "dbt" / "integration_tests").rename(own)
    (own / "packages.yml").write_text(packages(str(repository), "release"))
    file = folder / "warehouse.duckdb"
    with duckdb.connect(str(file)) as warehouse:
        warehouse.execute("set timezone = 'UTC'")
        warehouse.execute(RAW)
    program = plugin("utility", "dbt-labelbox", "dbt")
    variables = {"LABELBOX_DUCKDB_PATH": str(file)}
    with Dbt(program, folder / "runs", variables, own) as dbt:
        dbt("deps").check()
        yield Project(dbt, file)


def packages(repository: str, revision: str) -> str:
    """Return the packages.yml of the README, for another repository."""
    block = re.search(r"```yaml\n(packages:.*?)```", README, re.DOTALL)
    assert block
    (package,) = yaml.safe_load(block[1])["packages"]
    assert package["subdirectory"] == "dbt"
    changed = package | {"git": repository, "revision": revision}
    return yaml.safe_dump({"packages": [changed]})


class Project:
    """A project of somebody else's, and the warehouse that it builds in."""

    def __init__(self, dbt: Dbt, file: Path) -> None:
        self.dbt = dbt
        self._file = file
        self._schema = "main"

    def use(self, schema: str) -> None:
        """Set the schema that queries look in first."""
        self._schema = schema

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with duckdb.connect(str(self._file), read_only=True) as warehouse:
            warehouse.execute(f"use {self._schema}")
            return list(warehouse.execute(query).fetchall())


def test_the_package_works_in_another_project(project: Project) -> None:
    """With tables elsewhere, of other names, without most columns and most tables.

    The project's own tests are those of the macros.
    """
    own = "package:labelbox_integration_tests"
    keys = "labelbox_key_stg_labelbox__*"

    done = project.dbt("build", "-s", own, "labelbox.staging", "--exclude", keys)
    done.check()

    project.use("analytics_labelbox")
    assert project.rows("from analytics.issues_by_status") == [(None, 2)]
    assert project.rows(
        "select id, position ->> 'x', created_at::varchar, status, project_id "
        "from stg_labelbox__issues order by id"
    ) == [("a", "1", "2026-03-01 10:00:00", None, None), ("b", None, None, None, None)]
    tasks = project.rows('select "order", name from stg_labelbox__task_queues')
    assert tasks == [(3, None)]
    assert project.rows("from stg_labelbox__labels") == []
    assert project.rows("from stg_labelbox__reviews") == []


@pytest.mark.parametrize(
    ("variables", "table"),
    [
        ({"labelbox__using_reviews": True}, '"raw_data"."reviews"'),
        ({"labelbox_schema": "elsewhere"}, '"elsewhere"."reviews"'),
    ],
)
def test_a_table_that_has_to_be_there(
    project: Project, variables: dict[str, Any], table: str
) -> None:
    """By its switch, or because there is nothing of Labelbox in the schema."""
    done = project.dbt(
        "compile", "-s", "stg_labelbox__reviews", "--vars", json.dumps(variables)
    )

    assert not done.success
    assert (
        f'No table "warehouse".{table}: select the stream reviews, set labelbox_schema '
        "if it is elsewhere, or labelbox__using_reviews to false."
    ) in done.error


def test_a_warning_of_a_table_that_is_not_there(project: Project) -> None:
    """It is one line, of streams that are selected by default only."""
    project.dbt("compile", "-s", "labelbox.staging").check()

    names = re.findall(r'No table "warehouse"."raw_data"."(\w+)": its', project.dbt.log)
    expected = {stream.name for stream in STREAMS if stream.selected_by_default}
    assert set(names) == expected - {"issues", "labels", "task_queues"}
