"""Load what the tap writes into a database, build the dbt package there, read it all.

The tap runs twice against a sandbox: something is changed in between. dbt builds after
each run, and once more what it builds incrementally, from scratch.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from tap_labelbox.report import __main__ as report
from tap_labelbox.sandbox import World, serve
from tap_labelbox.streams import STREAMS
from tests import marts
from tests.postgres import postgres
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.runner import Output

    Rows = list[dict[str, Any]]
    Query = Callable[[list[str]], list[Rows]]

PACKAGE = Path(__file__).parent.parent / "dbt"
SCHEMA = "analytics"
STAGING = f"{SCHEMA}_staging"
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
"""When the tap runs, so that the world is the same in every process."""
EVER = "2024-01-01"
"""A day before anything was done in that world."""
LATER = NOW + timedelta(hours=6)
"""When it runs once more."""
VARIABLES = ("--vars", json.dumps(marts.VARIABLES))
UNCHANGED = ("--exclude", "path:models/staging")
"""What a second build need not build: views."""

COMMANDS = """
import json, os, sys
from dbt.cli.main import dbtRunner

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    command = json.loads(line)
    done = dbtRunner().invoke(command)
    if adapter := sys.modules.get("dbt.adapters.duckdb.connections"):
        adapter.DuckDBConnectionManager.close_all_connections()
    nodes = getattr(done.result, "results", None) or []
    reply = {
        "success": done.success,
        "error": str(done.exception) if done.exception else "",
        "nodes": {n.node.unique_id: [str(n.status), n.message or ""] for n in nodes},
    }
    if command[0] == "parse" and done.success:
        reply["manifest"] = {"nodes": {
            name: {"depends_on": {"nodes": node.depends_on_nodes}}
            for name, node in done.result.nodes.items()
        }}
    print(json.dumps(reply), file=answers, flush=True)
"""
"""What dbt's own Python runs: its start, which takes seconds, is shared by commands."""


@dataclass
class Done:
    """The result of a dbt command."""

    success: bool
    error: str
    nodes: dict[str, list[str]]
    """The status and the message of each model and test."""
    manifest: dict[str, Any] = field(default_factory=dict)
    """Of the command ``parse``: what each node depends on."""

    def check(self) -> None:
        """Raise an error if the command, a model or a test failed.

        Raises:
            AssertionError: With what dbt says of it.
        """
        wrong = {
            name: message
            for name, (status, message) in self.nodes.items()
            if status not in {"success", "pass", "no-op"}
        }
        if wrong or not self.success:
            lines = [f"{name}: {message}" for name, message in wrong.items()]
            raise AssertionError("\n".join([self.error, *lines]))


class Dbt:
    """A process that runs commands of dbt on a project, one after the other.

    Args:
        program: The command ``dbt``.
        folder: Where what it writes goes.
        variables: Of the environment.
        project: The folder of the project; that of the package by default.
        profiles: The folder that has profiles.yml.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        variables: Mapping[str, str],
        project: Path = PACKAGE,
        profiles: Path = PACKAGE,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program.with_name("python"), "-c", COMMANDS],
                cwd=project,
                env=os.environ
                | variables
                | {
                    "DBT_PROFILES_DIR": str(profiles),
                    "DBT_TARGET_PATH": str(folder / "target"),
                    "DBT_LOG_PATH": str(folder),
                    "DBT_LOG_LEVEL_FILE": "none",
                    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
                    "DBT_USE_COLORS": "false",
                    "DBT_VERSION_CHECK": "false",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(self, *command: str) -> Done:
        """Run a command, and return what became of it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.log
        return Done(**json.loads(answer))

    @property
    def log(self) -> str:
        """The output of dbt."""
        return self._log.read_text("utf-8")


@dataclass
class Built:
    """The contents of a database after each build."""

    tables: list[dict[str, list[dict[str, Any]]]] = field(default_factory=list)
    """The rows of the models and sources, by schema and table, after the first build,
    the second, and a full refresh; staging only after the first."""
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    """The types of their columns."""
    nodes: list[dict[str, list[str]]] = field(default_factory=list)
    """The status and the message of each model and test, after each build."""
    manifest: dict[str, Any] = field(default_factory=dict)
    """What each model depends on, as dbt reads it."""
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What the tap wrote in its first run, by stream."""
    page: str = ""
    """What tap-labelbox-report makes of the last build."""
    truth: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What the marts are to hold after the second build, from the sandbox's world."""
    answers: list[list[dict[str, Any]]] = field(default_factory=list)
    """The rows of the queries in the package's README, after the second build."""

    def rows(self, model: str, build: int = 0) -> list[dict[str, Any]]:
        """Return the rows of a model."""
        schema = STAGING if model.startswith(("stg_", "int_")) else SCHEMA
        return self.tables[build][f"{schema}.{model}"]


def world() -> World:
    """Return the world that is synced, the same each time."""
    made = World(seed=3, projects=5, labels=150)
    made.now = lambda: NOW
    marts.prepare(made)
    return made


def build(database: str, target: Path, program: Path, folder: Path) -> dict[str, Any]:
    """Load and build twice, and return what :class:`Built` has.

    Args:
        database: "duckdb" or "postgres".
        target: The command of its target.
        program: The command ``dbt``.
        folder: Where the database and its files may go.
    """
    built, made = Built(), world()
    with ExitStack() as stack:
        warehouse = stack.enter_context(WAREHOUSES[database](folder))
        dbt = stack.enter_context(Dbt(program, folder / database, warehouse.variables))
        run = Runner(stack.enter_context(serve(made)), made)

        def sync(now: datetime, *streams: str, **state: Any) -> Output:
            output = run(*streams, now=now, **state)
            assert not output.error
            load(target, output, warehouse.settings, folder)
            return output

        def keep(done: Done, schemas: str = SCHEMA) -> None:
            done.check()
            built.nodes.append(done.nodes)
            types, tables = everything(warehouse.query, schemas)
            built.types |= types
            built.tables.append(tables)

        snapshots = [marts.overview(made, NOW)]
        first = sync(NOW)
        for stream in STREAMS:
            blank = dict.fromkeys(stream.schema["properties"])
            built.records[stream.name] = [
                blank | record for record in first.records(stream.name)
            ]
        parsed = dbt("parse", *VARIABLES)
        parsed.check()
        built.manifest = parsed.manifest
        keep(dbt("build", *VARIABLES), f"{SCHEMA}%")
        made.now = lambda: LATER
        deleted = marts.change(made, LATER - timedelta(minutes=10))
        snapshots.append(marts.overview(made, LATER))
        sync(LATER, *marts.streams(), state=first.state)
        keep(dbt("run", *VARIABLES, *UNCHANGED))
        built.truth = {
            mart: [{name: plain(item) for name, item in r.items()} for r in rows]
            for mart, rows in marts.of(made, deleted, NOW, snapshots).items()
        }
        built.answers = warehouse.query([query for query, _ in marts.questions()])
        incremental = ("--select", "config.materialized:incremental")
        keep(dbt("run", "--full-refresh", *VARIABLES, *incremental))
        page = folder / f"{database}.html"
        arguments = ["--warehouse", warehouse.address, "--output", str(page)]
        report.main([*arguments, "--since", EVER])
        built.page = page.read_text("utf-8")
    return asdict(built)


def load(
    target: Path, output: Output, settings: Mapping[str, Any], folder: Path
) -> None:
    """Load what the tap wrote with a target."""
    config = folder / f"{target.name}.json"
    config.write_text(json.dumps(settings))
    done = subprocess.run(
        [target, "--config", config],
        input=output.text,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@dataclass
class Warehouse:
    """A database to load into and build in."""

    settings: dict[str, Any]
    """Of the target."""
    variables: dict[str, str]
    """Of the environment, for dbt."""
    address: str
    """For tap-labelbox-report."""
    query: Query
    """Returns the rows of each query, by column, as JSON has them."""


@contextmanager
def open_duckdb(folder: Path) -> Iterator[Warehouse]:
    """Name a DuckDB file that is to be made."""
    file = folder / "warehouse.duckdb"

    def query(queries: list[str]) -> list[Rows]:
        tables = []
        with duckdb.connect(str(file), read_only=True) as connection:
            for sql in queries:
                connection.execute(f"select to_json(f)::varchar from ({sql}) as f")  # noqa: S608
                tables.append([json.loads(row) for (row,) in connection.fetchall()])
        return tables

    yield Warehouse(
        {"path": str(file), "default_target_schema": "labelbox"},
        {"LABELBOX_DBT_TARGET": "duckdb", "LABELBOX_DUCKDB_PATH": str(file)},
        f"duckdb:///{file}",
        query,
    )


@contextmanager
def open_postgres(folder: Path) -> Iterator[Warehouse]:
    """Start a Postgres."""
    del folder
    with postgres() as server:
        yield Warehouse(
            {"sqlalchemy_url": server.url, "default_target_schema": "labelbox"},
            {
                "LABELBOX_DBT_TARGET": "postgres",
                "PGHOST": server.url.partition("host=")[2],
            },
            server.url,
            lambda queries: [server.rows(sql) for sql in queries],
        )


WAREHOUSES = {"duckdb": open_duckdb, "postgres": open_postgres}

COLUMNS = """
    select
        table_schema || '.' || table_name as model,
        column_name,
        data_type
    from information_schema.columns
    where table_schema like '{}'
"""


def everything(query: Query, schemas: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the types of all columns of the models in some schemas, and all rows."""
    types: dict[str, dict[str, str]] = {}
    for row in query([COLUMNS.format(schemas)])[0]:
        kinds = types.setdefault(row["model"], {})
        kinds[row["column_name"]] = row["data_type"].lower()
    contents = query([f"select * from {model}" for model in types])  # noqa: S608
    tables = {
        model: [
            {name: value(row[name], kind) for name, kind in kinds.items()}
            for row in rows
        ]
        for (model, kinds), rows in zip(types.items(), contents, strict=True)
    }
    return types, tables


def plain(item: Any) -> Any:
    """Return a value of the sandbox's world in the form that `value` has."""
    if isinstance(item, datetime):
        item = item.astimezone(UTC).replace(tzinfo=None)
        return item.isoformat(timespec="milliseconds") + "Z"
    return item.isoformat() if isinstance(item, date) else item


def value(item: Any, kind: str) -> Any:
    """Return a value in the form that all databases share: timestamps as text."""
    if item is not None and kind.startswith("timestamp"):
        return datetime.fromisoformat(item).isoformat(timespec="milliseconds") + "Z"
    return item
