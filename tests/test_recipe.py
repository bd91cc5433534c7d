"""The steps in CONTRIBUTING to add a stream work as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
RECIPE = GUIDE.split("\n## Add a stream\n")[1].split("\n## ")[0]
STEP = re.compile(
    r"`(tap_labelbox/[\w./]+)`(?:(?!`tap_labelbox/)[^\0])*?"
    r"^   ```\w+\n([^\0]*?)^   ```",
    re.MULTILINE,
)
FOR_ALL = ("test_docs", "test_joins", "test_names", "test_queries")
"""What every stream has to pass, beside the SDK's suite."""


def test_the_recipe_of_a_stream_works(tmp_path: Path) -> None:
    """Files and lines are written, docs are made, and all tests of streams pass."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=not_in_a_checkout)
    steps = STEP.findall(RECIPE)
    for path, text in steps:
        place(copy / path, textwrap.dedent(text))
    (name,) = re.findall(r'^ +name = "(\w+)"', RECIPE, re.MULTILINE)

    tests = [f"tests/{test}.py" for test in (*FOR_ALL, "test_standard")]
    tests += ["-k", f"{name} or every or fresh"]  # its own, and those on all at once

    for command in (
        ["-m", "ruff", "check", "--fix", "--quiet", "tap_labelbox"],
        ["-m", "ruff", "format", "--quiet", "tap_labelbox"],
        ["-m", "ruff", "check", "--quiet"],
        ["scripts/write_docs.py"],
        ["-m", "pytest", "-v", "-p", "no:cacheprovider", *tests],
    ):
        done = run(copy, *command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    assert len(steps) == RECIPE.count("```") // 2
    assert f"\n## {name}\n" in (copy / "docs" / "streams.md").read_text("utf-8")
    for test in ("test_standard", "test_joins", "test_docs"):
        assert re.search(rf"{test}.py::.*\b{name}\b.* PASSED", done.stdout)


def place(path: Path, text: str) -> None:
    """Write a new file; add lines to one that is there, each beside its like."""
    if not path.exists():
        path.write_text(text, "utf-8")
        return
    lines = path.read_text("utf-8").split("\n")
    for line in re.findall(r"^\+(.+)", text, re.MULTILINE):
        for like in (r" *\w+\W", r" *(?=\w)"):
            beginning = re.match(like, line)
            assert beginning
            beside = [n for n, old in enumerate(lines) if old.startswith(beginning[0])]
            if beside:
                lines.insert(beside[-1], line)
                break
    path.write_text("\n".join(lines), "utf-8")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a copy, on the package that is there."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def not_in_a_checkout(_: str, names: list[str]) -> set[str]:
    """Name what is not copied: environments, caches and what runs leave."""
    return {
        name
        for name in names
        if name in {"__pycache__", "build", "dist", "output", "plugins"}
        or (name.startswith(".") and name not in {".github", ".gitignore"})
    }
