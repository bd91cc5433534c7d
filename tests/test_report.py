"""The page of tap-labelbox-report, on models that dbt has built."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tap_labelbox.report import __main__ as report
from tap_labelbox.report.cards import CARDS, TILES
from tests.dbt_runs import EVER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.dbt_runs import Built

DATABASES = ("duckdb", "postgres")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
SECTION = re.compile(r'<section id="([^"]+)">(.*?)</section>', re.DOTALL)


def sections(page: str) -> dict[str, str]:
    """Return the tiles and cards of a page, by their IDs."""
    return dict(SECTION.findall(page))


def figure(page: str, name: str) -> str:
    """Return what a tile says."""
    match = re.search(r'class="figure">([^<]*)<', sections(page)[name])
    assert match, name
    return match[1]


def write(folder: Path, address: str, *arguments: str) -> str:
    """Run the command, and return the page."""
    output = folder / "page.html"
    report.main(["--warehouse", address, "--output", str(output), *arguments])
    return output.read_text("utf-8")


def total(rows: list[dict[str, Any]], column: str) -> float:
    """Return the sum of a column."""
    return sum(row[column] or 0 for row in rows)


# --- its numbers -------------------------------------------------------------------


@pytest.mark.parametrize("database", DATABASES)
def test_figures_are_those_of_the_models(
    built: Callable[[str], Built], database: str
) -> None:
    """Added up here from the rows of the models."""
    made = built(database)
    work = made.rows("labelbox__throughput_daily", -1)
    costs = made.rows("labelbox__cost", -1)
    agreements = [
        row["agreement"]
        for row in made.rows("labelbox__labels", -1)
        if row["agreement"] is not None
    ]
    backlog = [
        row
        for row in made.rows("labelbox__backlog_daily", -1)
        if row["counted_from"] == "workflow_history" and row["step_kind"] != "done"
    ]
    latest = max(row["date_day"] for row in work if row["label_count"])
    waiting = [row for row in backlog if row["date_day"] == latest]

    assert figure(made.page, "labels") == f"{total(work, 'label_count'):,.0f}"
    assert figure(made.page, "labeling") == f"{total(work, 'hours_labeling'):,.1f}"
    assert figure(made.page, "cost") == f"{total(costs, 'cost'):,.0f}"
    assert float(figure(made.page, "agreement")) == pytest.approx(
        sum(agreements) / len(agreements), abs=0.006
    )
    assert figure(made.page, "backlog") == f"{total(waiting, 'data_row_count'):,.0f}"
    for row in work:
        if row["label_count"]:
            assert (
                escape(row["labeler"]) in unescape(made.page) or "others" in made.page
            )


def test_both_databases_make_the_same_page(built: Callable[[str], Built]) -> None:
    """But for numbers that differ in their last digit."""
    pages = [re.sub(r"\d+\.\d{3,}", "#", built(name).page) for name in DATABASES]

    first, second = map(sections, pages)
    assert first.keys() == second.keys()
    assert {n: len(t) for n, t in first.items()} == pytest.approx(
        {n: len(t) for n, t in second.items()}, rel=0.02
    )


def test_every_picture_is_there_and_names_its_model(
    built: Callable[[str], Built],
) -> None:
    """In one file that asks nobody for anything."""
    page = built("duckdb").page

    by_name = sections(page)
    assert len(by_name) == len(TILES) + len(CARDS)
    for text in by_name.values():
        assert re.search(r"from <code>(stg_)?labelbox__\w+</code>", text)
    pictures = [name for name, text in by_name.items() if "<svg" in text]
    assert len(pictures) == len(CARDS)
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert not set(re.findall(r"https?://[^\"'\s<]+", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_a_page_is_of_the_period_and_projects_that_are_chosen(
    built: Callable[[str], Built],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    """Days are included on both sides."""
    made = built("duckdb")
    work = [r for r in made.rows("labelbox__throughput_daily", -1) if r["label_count"]]
    project_id = work[0]["project_id"]
    days = sorted({row["date_day"] for row in work if row["project_id"] == project_id})
    since, until = days[0], days[len(days) // 2]
    chosen = [
        row
        for row in work
        if row["project_id"] == project_id and since <= row["date_day"] <= until
    ]

    page = write(
        tmp_path,
        f"duckdb:///{warehouse(tmp_path_factory)}",
        *("--since", since, "--until", until, "--project", project_id),
    )

    assert figure(page, "labels") == f"{total(chosen, 'label_count'):,.0f}"
    assert escape(chosen[0]["project_name"]) in page
    assert f"{since} to {until}" in page


def warehouse(factory: pytest.TempPathFactory) -> Path:
    """Return the DuckDB file of the session."""
    folder = factory.getbasetemp()
    files = [*folder.glob("warehouse.duckdb"), *folder.parent.glob("warehouse.duckdb")]
    return files[0]


# --- what is not there ---------------------------------------------------------------


def empty(tmp_path: Path, *statements: str) -> str:
    """Return the address of a DuckDB in which nothing was built."""
    file = tmp_path / "empty.duckdb"
    with duckdb.connect(str(file)) as connection:
        for statement in statements:
            connection.execute(statement)
    return f"duckdb:///{file}"


def test_missing_models_are_named_in_place_of_their_pictures(tmp_path: Path) -> None:
    """And are no error."""
    page = write(tmp_path, empty(tmp_path))

    by_name = sections(page)
    assert len(by_name) == len(TILES) + len(CARDS)
    assert all("cannot be read here" in text for text in by_name.values())


def test_models_without_rows_are_shown_as_empty(tmp_path: Path) -> None:
    """With a dash for a figure, which is not 0."""
    address = empty(
        tmp_path,
        "create schema analytics",
        "create table analytics.labelbox__throughput_daily (project_id varchar, "
        "date_day date, labeler varchar, label_count integer, hours_labeling double)",
    )

    page = write(tmp_path, address)

    assert figure(page, "labels") == "-"
    assert "Nothing in this period." in sections(page)["labels-by-day-and-labeler"]


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    """Neither HTML nor SQL, wherever they stand."""
    name = "<script>alert('x')</script>\"&"
    text = name.replace("'", "''")
    address = empty(
        tmp_path,
        "create schema analytics",
        "create table analytics.labelbox__labels as select "
        f"'p''1' as project_id, '{text}' as project_name, '{text}' as labeler, "
        "date '2026-01-02' as date_day, false as is_skipped, 0.5 as agreement, "
        "10.0 as seconds_to_label",
        "create table analytics.labelbox__throughput_daily as select *, "
        "1 as label_count, 0.1 as hours_labeling from analytics.labelbox__labels",
    )

    page = write(tmp_path, address, "--project", "p'1", "--project", name)

    assert "<script" not in page
    assert escape(name) in page
    assert figure(page, "labels") == "1"
    assert "<svg" in sections(page)["labels-by-day-and-labeler"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--warehouse", "mysql://x"], "--warehouse is neither duckdb:///"),
        (["--warehouse", "duckdb:////no/such/file.duckdb"], "cannot be opened"),
        (["--warehouse", "postgresql://127.0.0.1:1/x"], "cannot be opened"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "is after --until"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """And no page is written."""
    output = tmp_path / "page.html"
    command_line = ["--warehouse", empty(tmp_path), *arguments, "--output", str(output)]

    with pytest.raises(SystemExit) as raised:
        report.main(command_line)

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not output.exists()


# --- in a browser ------------------------------------------------------------------


LOOK = """
<iframe id="page" style="border:0;width:{width}px;height:4000px"></iframe>
<script>
const frame = document.getElementById("page");
frame.onload = () => {{
  const inner = frame.contentDocument, root = inner.documentElement;
  const sizes = [...inner.querySelectorAll("section > svg")].map(svg => {{
    const box = svg.getBoundingClientRect(), around = svg.parentElement;
    return [svg.parentElement.id, box.width, box.height,
            box.right <= around.getBoundingClientRect().right + 1,
            svg.querySelectorAll("path, polygon, polyline, rect").length];
  }});
  const wide = [...inner.querySelectorAll("section")]
    .filter(s => s.scrollWidth > s.clientWidth + 1).map(s => s.id);
  document.title = JSON.stringify({{
    overflow: root.scrollWidth - root.clientWidth, sizes, wide,
    text: inner.body.innerText,
    back: frame.contentWindow.getComputedStyle(inner.body).backgroundColor,
  }});
}};
frame.srcdoc = {page};
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium")
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize(("scheme", "back"), [("0", "rgb(16"), ("1", "rgb(244")])
def test_a_browser_shows_all_of_it(
    built: Callable[[str], Built], tmp_path: Path, width: int, scheme: str, back: str
) -> None:
    """On a phone and a desk, in dark and in light, and nothing runs over."""
    made = built("duckdb")
    looked = tmp_path / "look.html"
    looked.write_text(
        LOOK.format(width=width, page=json.dumps(made.page).replace("</", r"<\/"))
    )

    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1400,900",
            looked.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr[-2000:]
    seen = json.loads(unescape(title[1]))
    assert seen["overflow"] <= 0
    assert seen["wide"] == []
    assert seen["back"].startswith(back)
    assert len(seen["sizes"]) == len(CARDS)
    for name, drawn_width, height, is_within, shapes in seen["sizes"]:
        assert drawn_width > 200, name
        assert height > 60, name
        assert is_within, name
        assert shapes > 2, name
    assert figure(made.page, "labels") in seen["text"]
    assert figure(made.page, "cost") in seen["text"]
    assert EVER in seen["text"]
