"""Parse files of SQL in a dialect: ``parse_sql.py DIALECT FOLDER``.

Prints how many, and what is no SQL there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sqlglot


def main() -> None:
    """Parse each file, and print what was found."""
    dialect, folder = sys.argv[1:]
    wrong: dict[str, str] = {}
    files = sorted(Path(folder).rglob("*.sql"))
    for file in files:
        try:
            statements = sqlglot.parse(file.read_text("utf-8"), read=dialect)
        except sqlglot.errors.SqlglotError as error:
            wrong[file.name] = str(error)
            continue
        kinds = [type(statement).__name__ for statement in statements if statement]
        if kinds not in (["Select"], ["Union"]):
            wrong[file.name] = f"is {kinds}, no query"
    print(json.dumps({"files": len(files), "wrong": wrong}))


if __name__ == "__main__":
    main()
