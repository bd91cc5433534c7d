"""Run target-bigquery on bqemulator, which is BigQuery's API on DuckDB.

The emulator takes no compressed files, and no name of the table before a column that a
MERGE sets: both are rewritten on their way. The target does not wait until BigQuery is
consistent. With ``--read``, print what is there instead.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from functools import cache
from io import BytesIO
from typing import IO, Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

PROJECT, DATASET = "test", "labelbox"


class Client(bigquery.Client):
    """A client of the emulator."""

    def __init__(self) -> None:
        options = {"api_endpoint": os.environ["BIGQUERY_EMULATOR"]}
        credentials = AnonymousCredentials()
        super().__init__(PROJECT, credentials=credentials, client_options=options)

    def load_table_from_file(self, file: IO[bytes], *args: Any, **options: Any) -> Any:
        """Load a file as it was before it was compressed."""
        plain = BytesIO(gzip.decompress(file.read()))
        return super().load_table_from_file(plain, *args, **options)

    def query(self, query: str, *args: Any, **options: Any) -> Any:
        """Run the statements of a query one by one."""
        jobs = [
            super(Client, self).query(
                statement.replace("SET target.", "SET ").replace(", target.", ", "),
                *args,
                **options,
            )
            for statement in query.split("; ")
            if statement.strip()
        ]
        for job in jobs[:-1]:
            job.result()
        return jobs[-1]


def read() -> None:
    """Print the types and rows of each table, a line each."""
    client = Client()
    for item in client.list_tables(DATASET):
        table = client.get_table(item)
        types = {
            field.name: field.field_type + ("[]" if field.mode == "REPEATED" else "")
            for field in table.schema
        }
        query = f"select * from `{PROJECT}.{DATASET}.{table.table_id}`"
        rows = [dict(row.items()) for row in client.query(query).result()]
        for field in table.schema:
            if (field.field_type, field.mode) == ("JSON", "REPEATED"):
                for row in rows:
                    row[field.name] = [json.loads(text) for text in row[field.name]]
        line = {"table": table.table_id, "types": types, "rows": rows}
        print(json.dumps(line, default=str))


def run() -> None:
    """Run the target with its own arguments."""
    from target_bigquery import batch_job, core
    from target_bigquery.target import TargetBigQuery

    client = cache(Client)
    for module in (core, batch_job):
        module.bigquery_client_factory = lambda _credentials: client()
    core.time.sleep = lambda _seconds: None
    TargetBigQuery.cli()


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        read()
    else:
        run()
