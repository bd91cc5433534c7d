"""The servers and folders that targets load into, and what is there afterwards."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it has no types
from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # it has no types
from moto.server import ThreadedMotoServer

from tests.contract.loads import schemas
from tests.contract.reading import Contents, read_duckdb, read_postgres
from tests.postgres import postgres
from warehouses import environments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

PROGRAMS = Path(__file__).parent / "programs"
START_SECONDS = 120.0
SCHEMA = "labelbox"
"""Where in a database the tables go."""


@dataclass
class Place:
    """A server or a folder that a target loads into."""

    settings: dict[str, Any]
    """The settings of the target that lead to it."""
    read: Callable[[], Contents]
    """Returns what is there."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the target."""
    argument: str = ""
    """What a recipe is given, in place of settings."""
    batches: str = ""
    """Where batch files go, if that is the place."""


if TYPE_CHECKING:
    Open = Callable[[Path], AbstractContextManager[Place]]
    """Opens a place, in an empty folder."""


@contextmanager
def postgres_server(folder: Path) -> Iterator[Place]:
    """Open a Postgres server."""
    del folder
    with postgres() as server:
        settings = {"sqlalchemy_url": server.url, "default_target_schema": SCHEMA}
        yield Place(settings, lambda: read_postgres(server, SCHEMA))


@contextmanager
def duckdb_file(folder: Path) -> Iterator[Place]:
    """Open a DuckDB file."""
    import duckdb  # noqa: PLC0415  # it has no wheel for every Python

    path = folder / "warehouse.duckdb"

    def read() -> Contents:
        with duckdb.connect(str(path), read_only=True) as warehouse:
            return read_duckdb(warehouse, SCHEMA)

    yield Place({"path": str(path), "default_target_schema": SCHEMA}, read)


@contextmanager
def jsonl_files(folder: Path) -> Iterator[Place]:
    """Open a folder for JSON lines."""

    def read() -> Contents:
        contents = Contents()
        for path in folder.glob("*.jsonl"):
            lines = path.read_text("utf-8").split("\n")
            contents.rows[path.stem] = [json.loads(line) for line in lines if line]
        return contents

    yield Place({"destination_path": str(folder)}, read)


@contextmanager
def csv_files(folder: Path) -> Iterator[Place]:
    """Open a folder for CSV files, each of one stream and one run."""
    csv.field_size_limit(2**31 - 1)

    def read() -> Contents:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for path in sorted(folder.glob("*.csv")):
            stream = path.stem.split("-")[0]
            with path.open(encoding="utf-8", newline="") as file:
                rows[stream] += (
                    {name: text or None for name, text in row.items()}
                    for row in csv.DictReader(file)
                )
        return Contents(dict(rows))

    yield Place({"output_path": str(folder)}, read)


@contextmanager
def fakesnow(folder: Path) -> Iterator[Place]:
    """Open a folder with what fakesnow takes for a Snowflake account."""
    account = {"account": "x", "user": "x", "password": "x", "database": "WAREHOUSE"}
    account["default_target_schema"] = SCHEMA
    reader = PROGRAMS / "fakesnow_target.py"
    yield Place(
        account,
        lambda: printed("snowflake", reader, "--read", folder),
        {"FAKESNOW_FOLDER": str(folder)},
    )


@contextmanager
def bigquery_emulator(folder: Path) -> Iterator[Place]:
    """Open a project of an emulator of BigQuery."""
    programs = environments.environment("bigquery-emulator")
    home = os.environ | {"HOME": str(folder)}  # DuckDB looks for extensions there
    for name in ("icu", "spatial"):
        line = f"import duckdb_extensions; duckdb_extensions.import_extension('{name}')"
        subprocess.run([programs / "python", "-c", line], env=home, check=True)
    port, other = free_port(), free_port()
    words = ["start", "--rest-port", str(port), "--grpc-port", str(other)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "bqemulator", *words], stdout=log, stderr=log, env=home
        )
    try:
        wait_for(server, port)
        address = {"BIGQUERY_EMULATOR": f"http://127.0.0.1:{port}"}
        reader = PROGRAMS / "bigquery_target.py"
        yield Place(
            {"project": "test"},
            lambda: printed("bigquery", reader, "--read", environment=address),
            address,
        )
    finally:
        server.terminate()
        server.wait()


def lake(environment: str, reader: str) -> Open:
    """Return what opens a folder for tables that a program reads back."""

    @contextmanager
    def open_lake(folder: Path) -> Iterator[Place]:
        path = str(folder / "lake")
        program = PROGRAMS / reader
        yield Place({}, lambda: printed(environment, program, path), argument=path)

    return open_lake


@contextmanager
def parquet_files(folder: Path) -> Iterator[Place]:
    """Open a folder for the batch files themselves."""
    yield Place({}, lambda: read_parquet(folder.as_uri()), batches=str(folder))


@contextmanager
def parquet_on_s3(folder: Path) -> Iterator[Place]:
    """Open a bucket for the batch files themselves."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(folder),
    }
    before = os.environ.copy()
    os.environ.update(variables)  # the tap writes there, in this process
    try:
        yield Place({}, lambda: read_parquet("s3://lake"), batches="s3://lake")
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()


def read_parquet(root: str) -> Contents:
    """Return what batch files hold, of whatever storage."""
    storage, folder = url_to_fs(root)
    storage.invalidate_cache()
    contents = Contents()
    for path in storage.glob(f"{folder}/*.parquet*"):
        stream = path.rpartition("/")[2].split("-")[0]
        with storage.open(path) as file:
            table = pq.read_table(file)
        types = {field.name: str(field.type) for field in table.schema}
        contents.types.setdefault(stream, {}).update(types)
        rows = table.to_pylist()
        for row in rows:
            for name, value in row.items():
                if isinstance(value, date):  # and a timestamp
                    row[name] = value.isoformat()
        contents.rows.setdefault(stream, []).extend(rows)
    return contents


@contextmanager
def dlt_duckdb(folder: Path) -> Iterator[Place]:
    """Open what dlt loads into a DuckDB file."""
    with duckdb_file(folder) as place:
        path = place.settings["path"]
        yield Place(
            {},
            place.read,
            {
                "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{path}",
                "RUNTIME__DLTHUB_TELEMETRY": "false",
                "DLT_DATA_DIR": str(folder / "dlt"),
            },
            argument="duckdb",
        )


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server listens.

    Raises:
        RuntimeError: If it ends, or does not listen in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{server.args!r} does not start")


def printed(
    name: str,
    program: Path,
    *arguments: str | Path,
    environment: dict[str, str] | None = None,
) -> Contents:
    """Return what a program prints of each table, as a line of JSON."""
    done = subprocess.run(
        [environments.environment(name) / "python", program, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | (environment or {}),
    )
    contents = Contents()
    for line in done.stdout.split("\n"):
        if line:
            table = json.loads(line)
            name = table["table"]
            contents.rows[name], contents.types[name] = table["rows"], table["types"]
    return contents


def only_known(contents: Contents) -> Contents:
    """Return contents without the columns that targets add, such as _sdc_*."""
    known = {name: schema["properties"] for name, schema in schemas().items()}
    return Contents(
        {
            table: [{k: v for k, v in row.items() if k in known[table]} for row in rows]
            for table, rows in contents.rows.items()
            if table in known
        },
        {
            table: {k: v for k, v in types.items() if k in known[table]}
            for table, types in contents.types.items()
            if table in known
        },
    )
