"""A made-up Labelbox, synced twice into DuckDB, with a page: ``make demo``.

Runs the real ``meltano run tap-labelbox target-duckdb`` on the project in
``meltano.yml``, and compares what the sandbox holds with what arrived. Then it has dbt
build the models, and writes a page of what they say.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from tap_labelbox.report import __main__ as report
from tap_labelbox.sandbox import World, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from tap_labelbox.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
WAREHOUSE = ROOT / "output" / "warehouse.duckdb"
PAGE = WAREHOUSE.with_name("labelbox.html")
PERIOD = timedelta(days=182)
STATE = ROOT / ".meltano" / "demo.db"

REPORTS = {
    "Labels by project": """
        select
            p.name as project,
            count(l.id) as labels,
            count(*) filter (l.is_skipped) as skipped,
            round(sum(l.seconds_to_label) / 3600, 1) as hours
        from labelbox.projects as p
        left join labelbox.labels as l on l.project_id = p.id
        group by p.name
        order by labels desc
    """,
    "Labels by labeler": """
        select
            created_by_email as labeler,
            count(*) as labels,
            round(avg(seconds_to_label), 1) as seconds_each,
            round(avg(agreement), 2) as agreement,
            max(created_at)::date as latest
        from labelbox.labels
        group by created_by_email
        order by labels desc
    """,
    "Annotations by kind": """
        select
            annotation_kind as kind,
            count(*) as annotations,
            count(distinct data_row_id) as data_rows
        from labelbox.annotations
        group by annotation_kind
        order by annotations desc, kind
    """,
    "Annotations by labeler": """
        select
            l.created_by_email as labeler,
            count(*) as annotations,
            count(distinct a.label_id) as labels
        from labelbox.annotations as a
        join labelbox.export_labels as l
            using (project_id, data_row_id, label_id)
        group by l.created_by_email
        order by annotations desc
    """,
}


SUMMARY_ROW = re.compile(r"(?:- )?(\w+) +([\d,]+)(?: +[\d,]+ +[\d,]+ +[\d,.]+)?\s*")
"""The row of a stream in the table at the end of the tap's log: its records."""


def main() -> None:
    """Sync, change something, sync again, and show what is there."""
    # As with rows of your own: what is written here and by Meltano is private.
    os.umask(0o077)
    world = World(seed=7, projects=6, labels=900)
    WAREHOUSE.parent.mkdir(exist_ok=True)
    for old in (WAREHOUSE, WAREHOUSE.with_name(WAREHOUSE.name + ".wal"), STATE):
        old.unlink(missing_ok=True)
    with serve(world, polls=0) as sandbox:
        log(f"A Labelbox of your own answers at {sandbox.url}")
        with waiting("Installing target-duckdb (once)"):
            meltano(sandbox, "install", "loader", "target-duckdb")
        with waiting("Installing dbt (once)"):
            meltano(sandbox, "install", "utility", "dbt-labelbox")
        sent = sync(sandbox, "First run: everything")
        compare(sent, arrived())
        project = world.projects[0]
        made_at = datetime.now(UTC) - timedelta(minutes=5)
        for _ in range(5):
            world.add_label(project.id, made_at)
        log(f"\nMeanwhile somebody labels 5 more data rows of {project.name!r}.\n")
        sync(sandbox, "Second run: what is new, and the lookback once more")
        compare(held(world), arrived())
        with waiting("Building the dbt models, and testing them"):
            meltano(sandbox, "run", "dbt-labelbox:build")
    write_page()
    for title, text in REPORTS.items():
        show(title, text)
    log(f"""
What the models say is a page: open {PAGE.relative_to(ROOT)}
The warehouse is the file {WAREHOUSE.relative_to(ROOT)}. With an account of your own:

  export TAP_LABELBOX_API_KEY=...      # Workspace settings > API keys
  .venv/bin/meltano --environment live run tap-labelbox target-duckdb
""")


def write_page() -> None:
    """Write what the models say of the half year before this demo was made up."""
    days = "select max(date_day) from analytics.labelbox__throughput_daily "
    latest: date = query(f"{days} where date_day < current_date - 7")[1][0][0]
    with waiting("Writing the page"), redirect_stdout(None):
        report.main(
            [
                *("--warehouse", f"duckdb:///{WAREHOUSE}", "--output", str(PAGE)),
                *("--since", str(latest - PERIOD), "--until", str(latest)),
            ]
        )


def sync(sandbox: Sandbox, what: str) -> Counter[str]:
    """Run the pipeline; log and return how many records of each stream it sent."""
    with waiting(what):
        lines = meltano(sandbox, "run", "tap-labelbox", "target-duckdb")
    rows = (SUMMARY_ROW.fullmatch(str(line.get("event", ""))) for line in lines)
    sent = Counter({row[1]: int(row[2].replace(",", "")) for row in rows if row})
    if not sent:
        sys.exit("The log of the tap has no summary.")
    for stream, count in sorted(sent.items()):
        log(f"  {count:6} {stream}")
    return sent


def meltano(sandbox: Sandbox, *arguments: str) -> list[dict[str, Any]]:
    """Run Meltano on the sandbox, within the checkout, and give its log."""
    cache = ROOT / ".cache"
    environment = {
        "UV_CACHE_DIR": str(cache / "uv"),
        "XDG_CACHE_HOME": str(cache),
        "XDG_STATE_HOME": str(cache / "state"),
    }
    environment |= os.environ
    environment |= {
        "MELTANO_DATABASE_URI": f"sqlite:///{STATE}",
        "TAP_LABELBOX_API_URL": sandbox.url,
        "TAP_LABELBOX_API_KEY": sandbox.api_key,
        "TAP_LABELBOX_EXPORT_POLL_INTERVAL": "1",
    }
    program = Path(sys.executable).with_name("meltano")
    done = subprocess.run(
        [program, "--log-format=json", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.split("\n") if line.startswith("{")]
    log: list[dict[str, Any]] = [json.loads(line) for line in lines]
    if done.returncode:
        events = "\n".join(str(line.get("event")) for line in log) or done.stdout
        sys.exit(f"\n{events}\nmeltano {' '.join(arguments)} failed")
    return log


def arrived() -> dict[str, int]:
    """Count the rows of each table of the warehouse."""
    tables = (
        "select table_name from information_schema.tables "
        "where table_schema = 'labelbox' order by 1"
    )
    return {
        table: query(f"select count(*) from labelbox.{table}")[1][0][0]  # noqa: S608
        for (table,) in query(tables)[1]
    }


def held(world: World) -> dict[str, int]:
    """Count what the sandbox holds: rows that were sent twice arrive once."""
    labels = sum(len(world.labels(project.id)) for project in world.projects)
    return {
        "projects": len(world.projects),
        "data_row_exports": len(world.data_rows),
        "export_labels": labels,
        "labels": labels,
    }


def compare(expected: dict[str, int], arrived: dict[str, int]) -> None:
    """Stop if a row is missing, or one too many."""
    if any(arrived[table] != count for table, count in expected.items()):
        sys.exit(f"Sent: {expected}\nArrived: {arrived}\nThese should be the same.")
    log("  all of it arrived")


def query(text: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns and rows of a query of the warehouse."""
    with duckdb.connect(str(WAREHOUSE), read_only=True) as warehouse:
        result = warehouse.execute(text)
        return [column[0] for column in result.description or []], result.fetchall()


def show(title: str, text: str) -> None:
    """Print a query's result as a table."""
    columns, rows = query(text)
    cells = [columns, *([("" if v is None else str(v)) for v in row] for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
    log(f"\n{title}")
    for row in cells:
        first, *rest = [*zip(row, widths, strict=True)]
        numbers = [cell.rjust(width) for cell, width in rest]
        log("  ".join(["", first[0].ljust(first[1]), *numbers]))


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that something is going on, and how long it took."""
    began, done = time.monotonic(), threading.Event()

    def tick() -> None:
        while not done.wait(0.5):
            print(f"\r{what}: {time.monotonic() - began:.0f} s", end="", flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    if sys.stdout.isatty():
        ticker.start()
    else:
        log(f"{what} …")
    try:
        yield
    finally:
        done.set()
        if ticker.is_alive():
            ticker.join()
            print("\r", end="")
    log(f"{what}: done in {time.monotonic() - began:.0f} s")


def log(text: str) -> None:
    """Print a line now, not when a buffer is full."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
