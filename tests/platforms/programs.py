"""Run programs of other environments, and find those that the documentation has."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".cache" / "platforms"


def recipes(page: str) -> list[str]:
    """Return the programs in Python on a page of the documentation."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def output_of(
    *command: str | Path, folder: Path | None = None, **environment: str
) -> tuple[str, str]:
    """Run a program that has to succeed; return what it wrote, and what it logged."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | environment,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"[-5000:]
    return done.stdout, done.stderr
