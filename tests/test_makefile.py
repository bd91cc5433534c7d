"""Targets of `make` for those who develop."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A Python that makes an environment with itself in it, and installs nothing.
PYTHON = """#!/bin/sh
case "$*" in
    *base_prefix*) echo "$NAME" ;;
    *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a checkout with two Pythons beside it."""
    for name in ("pyproject.toml", "requirements-dev.txt", "requirements-build.txt"):
        (tmp_path / name).touch()
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("one", "other"):
        (tmp_path / name).write_text(PYTHON.replace("$NAME", name))
        (tmp_path / name).chmod(0o755)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make."""
    return subprocess.run(
        ["make", *arguments],  # noqa: S607  # whichever is found
        cwd=folder,
        env=os.environ | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_python_makes_the_environment_anew(folder: Path) -> None:
    """And no other does, nor none."""
    made = []
    for arguments in (["PYTHON=./one"], [], ["PYTHON=./one"], ["PYTHON=./other"], []):
        done = make(folder, "setup", *arguments)
        assert done.returncode == 0, done.stderr
        environment = (folder / ".venv" / "bin" / "python").read_text()
        made.append(("Making .venv" in done.stdout, 'echo "other"' in environment))

    assert made == [
        (True, False),
        (False, False),
        (False, False),
        (True, True),
        (False, True),
    ]


def test_a_python_that_is_none_is_reported(folder: Path) -> None:
    """No other is taken in its place."""
    done = make(folder, "setup", "PYTHON=./none")

    assert done.returncode
    assert "No Python from 3.11 to 3.14 was found (./none is: " in done.stderr
    assert not (folder / ".venv" / "ready").exists()


def test_help_names_python(folder: Path) -> None:
    """As it says what else there is."""
    assert "PYTHON=" in make(folder).stdout
