"""Print the types and rows of each table of a ClickHouse database, a line each."""

import json
import sys

from chdb.session import Session

clickhouse = Session(sys.argv[1])
# As JSON has them: exact integers, and numbers no shorter than they are.
settings = "settings output_format_json_quote_64bit_integers = 0"


def rows(query: str) -> list[dict[str, object]]:
    """Return the rows of a query."""
    text = str(clickhouse.query(f"{query} {settings}", "JSONEachRow"))
    return [json.loads(line) for line in text.split("\n") if line]


for (name,) in (row.values() for row in rows("show tables from labelbox")):
    table = f"labelbox.{name}"
    types = {row["name"]: row["type"] for row in rows(f"describe table {table}")}
    latest = rows(f"select * from {table} final")
    print(json.dumps({"table": name, "types": types, "rows": latest}))
