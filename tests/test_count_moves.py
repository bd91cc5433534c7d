"""The way of a row through the code, which a reader has to follow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.count_moves import WALKS, follow

SCRIPT = Path(__file__).parent.parent / "scripts" / "count_moves.py"
MAX_FILES = {"label": 10, "data row": 6}
MAX_MOVES_PER_LABEL = 14


@pytest.mark.parametrize("kind", WALKS)
def test_a_row_goes_through_few_files(kind: str) -> None:
    """From its bytes to its last record, through the folders of the layers."""
    walk = follow(kind)

    assert walk.records >= 1
    assert walk.path[-1].startswith("singer/")
    assert any(file.startswith("records/") for file in walk.path)
    assert len({*walk.path}) <= MAX_FILES[kind], walk
    assert walk.moves.total() == len(walk.path) - 1


def test_a_label_changes_files_seldom() -> None:
    """On the fast path, which is the one that labels take."""
    walk = follow("label")

    assert walk.records == 1
    assert walk.moves.total() <= MAX_MOVES_PER_LABEL, walk


def test_a_data_row_feeds_all_streams_of_the_export() -> None:
    """The default selection is followed, not a part of it."""
    assert follow("data row").records > len(MAX_FILES)


def test_the_script_says_how_it_counts() -> None:
    """And refuses what it does not know."""
    done = [
        subprocess.run(
            [sys.executable, SCRIPT, argument],
            capture_output=True,
            text=True,
            check=False,
        )
        for argument in ("--help", "bicycle")
    ]

    assert done[0].returncode == 0
    assert "change of file" in done[0].stdout
    assert done[1].returncode == 2
    assert "label or data row" in done[1].stderr
