"""An ASCII locale, as cron and containers have it: file names and files are UTF-8."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.runner import Output, command
from tests.test_malformed_rows import data_row

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.runner import Runner

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
MALFORMED = "größe 😀"


def tap(
    folder: Path, *arguments: str, **config: Any
) -> subprocess.CompletedProcess[str]:
    """Run the tap, with a file of settings that has its name and content in UTF-8."""
    path = folder / f"{MALFORMED}.config.json"
    path.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    done = command("--config", str(path), *arguments, environment=ASCII)
    assert "Traceback" not in done.stderr
    assert "codec" not in done.stderr
    return done


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return a folder with a file of data rows; its last line is none."""
    folder = tmp_path / f"rows {MALFORMED}"
    folder.mkdir()
    row = data_row(1) | {"data_row": {"id": MALFORMED}}
    text = json.dumps(row, ensure_ascii=False) + "\n{\n"
    (folder / f"{MALFORMED}.json").write_text(text, encoding="utf-8")
    (folder / f"{MALFORMED}.md").write_text(MALFORMED, encoding="utf-8")
    return folder


def test_the_locale_is_one_in_which_python_knows_no_such_name() -> None:
    """Or the other tests show nothing."""
    shown = "import sys; print(sys.getfilesystemencoding(), sys.stderr.encoding)"

    done = command(program=("-c", shown), environment=ASCII)

    assert done.stdout.split() == ["ascii", "ascii"]


@pytest.mark.parametrize(
    "pattern", ["", "/*.json", f"/{MALFORMED}.json", f"/{MALFORMED[:3]}*.json"]
)
def test_saved_files_are_read(tmp_path: Path, rows: Path, pattern: str) -> None:
    """Of any name; rows and names are what they are."""
    done = tap(
        tmp_path, export_files=[f"{rows}{pattern}", f"{rows}/no-{MALFORMED}.json"]
    )

    output = Output(done.stdout)
    assert [r["data_row_id"] for r in output.records("data_row_exports")] == [MALFORMED]
    shown = MALFORMED.encode("ascii", "backslashreplace").decode()
    assert f"1 malformed row of {tmp_path}/rows {shown}/{shown}.json" in done.stderr
    assert f"{tmp_path}/rows {shown}/no-{shown}.json is left out" in done.stderr


@pytest.mark.parametrize("prefix", ["", MALFORMED[:2]])
def test_batch_files_are_written(tmp_path: Path, rows: Path, prefix: str) -> None:
    """Their message names them as they are."""
    batches = {
        "encoding": {"format": "jsonl"},
        "storage": {"root": str(tmp_path / f"out {MALFORMED}"), "prefix": prefix},
    }

    done = tap(tmp_path, export_files=[str(rows)], batch_config=batches)

    files = {*(tmp_path / f"out {MALFORMED}").iterdir()}
    by_name = {
        file
        for message in Output(done.stdout).messages
        if message["type"] == "BATCH"
        for file in message["manifest"]
    }
    assert by_name == {f"file://{file}" for file in files}
    content = b"".join(gzip.decompress(file.read_bytes()) for file in files).decode()
    assert MALFORMED in content


def test_state_and_catalog_are_read(tmp_path: Path, rows: Path) -> None:
    """In UTF-8, as targets and Meltano write them."""
    state, catalog = tmp_path / f"state {MALFORMED}", tmp_path / f"catalog {MALFORMED}"
    state.write_text(
        json.dumps({"bookmarks": {}, MALFORMED: 1}, ensure_ascii=False), "utf-8"
    )
    result = json.loads(command("--discover", environment=ASCII).stdout)
    catalog.write_text(json.dumps(result | {MALFORMED: 1}, ensure_ascii=False), "utf-8")

    done = tap(
        tmp_path,
        *("--state", str(state), "--catalog", str(catalog)),
        export_files=[f"{rows}/{MALFORMED}.json"],
    )

    output = Output(done.stdout)
    assert output.states[0] == {"bookmarks": {}, MALFORMED: 1}
    assert len(output.records("data_row_exports")) == 1


def test_names_of_projects_go_through(run: Runner, tmp_path: Path) -> None:
    """From Labelbox to the target; what expressions add as well."""
    maps = {"projects": {"added": f"'{MALFORMED}'"}}
    expected = [row["name"] for row in run("projects").records("projects")]

    done = tap(tmp_path, **run.config(stream_maps=maps))

    records = Output(done.stdout).records("projects")
    assert [row["name"] for row in records] == expected
    assert {row["added"] for row in records} == {MALFORMED}
    assert any(not name.isascii() for name in expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--about", "--format", "json"),
        ("--about", "--format", "markdown"),
        ("--help",),
        ("--version",),
        ("--discover",),
    ],
)
def test_what_needs_no_account_works(arguments: tuple[str, ...]) -> None:
    """With exit code 0."""
    done = command(*arguments, environment=ASCII)

    assert done.returncode == 0, done.stderr


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    """In one line."""
    done = tap(tmp_path, **{MALFORMED: 1})

    shown = MALFORMED.encode("ascii", "backslashreplace").decode()
    assert shown in done.stderr
    assert done.returncode
