"""``python -m tap_labelbox.sandbox``, as somebody runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.runner import command

if TYPE_CHECKING:
    from pathlib import Path

MODULE = ("-m", "tap_labelbox.sandbox")


@pytest.mark.parametrize("is_there", [True, False])
def test_the_settings_are_written_to_a_file(tmp_path: Path, is_there: bool) -> None:  # noqa: FBT001
    """For its owner alone, whatever was there; the tap reads it as it is."""
    file = tmp_path / "config.json"
    if is_there:
        file.write_text("x" * 10_000)
        file.chmod(0o644)
    arguments = ["--write-config", str(file), "--projects", "1", "--labels", "3"]
    with subprocess.Popen(
        [sys.executable, *MODULE, *arguments], stdout=subprocess.PIPE, text=True
    ) as sandbox:
        try:
            assert sandbox.stdout
            sandbox.stdout.readline()  # it answers, and the file is written
            if os.name == "posix":
                assert file.stat().st_mode & 0o777 == 0o600
            assert json.loads(file.read_text())["api_url"].startswith("http://127.")
            done = command("--config", str(file))
        finally:
            sandbox.terminate()
    assert done.returncode == 0, done.stderr
    assert '"RECORD"' in done.stdout


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """One line, and no sandbox that nobody knows of."""
    file = tmp_path / "no folder" / "config.json"

    done = command("--write-config", str(file), program=MODULE)

    assert done.returncode == 1
    assert done.stderr == f"{file} cannot be written: No such file or directory\n"


def test_without_its_extra_it_says_so(tmp_path: Path) -> None:
    """And how to install it."""
    missing = "raise ModuleNotFoundError('No module', name='graphql')"
    (tmp_path / "graphql.py").write_text(missing)

    done = command(program=MODULE, environment={"PYTHONPATH": str(tmp_path)})

    assert done.returncode == 1
    assert done.stderr == (
        "The sandbox needs its extra: pip install 'tap-labelbox[sandbox]'\n"
    )
