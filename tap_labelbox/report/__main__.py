"""``tap-labelbox-report``: write the page of a warehouse."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tap_labelbox.report.warehouse import EXTRA, QueryError, Warehouse, WarehouseError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "tap-labelbox-report"
DEFAULT_DAYS = 90
LATEST = """
    select max(date_day) as date_day from {marts}.labelbox__throughput_daily
    where label_count > 0
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, or say in one line why it cannot be."""
    options = _parser().parse_args(arguments)
    staging_schema = options.staging_schema or f"{options.schema}_staging"
    try:
        warehouse = Warehouse(options.warehouse, options.schema, staging_schema)
        with closing(warehouse):
            _write(warehouse, options)
    except (WarehouseError, OSError) as error:
        sys.exit(f"{NAME}: {' '.join(str(error).split())}")


def _write(warehouse: Warehouse, options: argparse.Namespace) -> None:
    try:
        # Not before there is a warehouse: it needs what only the extra brings.
        from tap_labelbox.report.page import Choice, render  # noqa: PLC0415
    except ImportError as error:
        raise WarehouseError(f"{error.name} is not installed: {EXTRA}") from None
    until = options.until or _latest(warehouse)
    since = options.since or until - timedelta(days=DEFAULT_DAYS - 1)
    if since > until:
        raise WarehouseError(f"--since {since} is after --until {until}")
    page = render(warehouse, Choice(since, until, options.project))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page, encoding="utf-8")
    print(f"{options.output}: {since} to {until}")  # noqa: T201


def _latest(warehouse: Warehouse) -> date:
    """Return the latest day on which a label was made; today if none is known."""
    try:
        (row,) = warehouse.query(LATEST, {})
    except QueryError:
        return date.today()  # noqa: DTZ011  # of whoever looks at the page
    day = row["date_day"]
    return day if isinstance(day, date) else date.today()  # noqa: DTZ011


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Write a page with what the dbt models of Labelbox say: one file, "
        "which needs neither a network nor JavaScript.",
    )
    add = parser.add_argument
    add(
        "--warehouse",
        required=True,
        metavar="ADDRESS",
        help="duckdb:///file.duckdb or postgresql://user@host/database",
    )
    add("--output", type=Path, default=Path("labelbox.html"), metavar="FILE")
    add(
        "--schema",
        default="analytics",
        help="schema of the dbt models; default: %(default)s",
    )
    add(
        "--staging-schema",
        help="schema of the staging models; default: SCHEMA_staging",
    )
    add(
        "--since",
        type=date.fromisoformat,
        metavar="DAY",
        help=f"the first day, as 2026-01-31; default: {DEFAULT_DAYS} days",
    )
    add(
        "--until",
        type=date.fromisoformat,
        metavar="DAY",
        help="the last day; default: the latest on which a label was made",
    )
    add(
        "--project",
        action="append",
        default=[],
        metavar="ID",
        help="only this project; may be given more than once",
    )
    return parser


if __name__ == "__main__":
    main()
