"""An environment for each target: what one pins, another contradicts."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".cache" / "warehouses"
PINS = Path(__file__).parent / "pyproject.toml"
UV = Path(sys.executable).with_name("uv")


def pins(name: str) -> list[str]:
    """Return what an environment is made for: the pins of its group."""
    groups = tomllib.loads(PINS.read_text("utf-8"))["dependency-groups"]
    return [str(line) for line in groups[name]]


def environment(name: str) -> Path:
    """Return the folder with the programs of an environment, made if need be."""
    locked = Path(__file__).parent / "requirements" / f"{name}.txt"
    folder = FOLDER / name
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    ready = folder / "ready"
    made_of = hashlib.sha256(locked.read_bytes() + sys.version.encode()).hexdigest()
    if ready.exists() and ready.read_text() == made_of:
        return programs
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    python = programs / "python"
    what = ["install", "--quiet", "--require-hashes", "--requirement", str(locked)]
    if subprocess.run(
        [UV, "pip", *what, "--python", python], check=False
    ).returncode:  # it reads no pip configuration, which may name the only registry
        subprocess.run([python, "-m", "pip", *what], check=True)
    ready.write_text(made_of)
    return programs


def versions(name: str) -> dict[str, str]:
    """Return the versions of what an environment is made for, as installed."""
    asked = [re.split(r"[\[=<]", line)[0] for line in pins(name)]
    process = subprocess.run(
        [UV, "pip", "list", "--format=json", "--python", environment(name) / "python"],
        check=True,
        capture_output=True,
        text=True,
    )
    installed = {row["name"]: row["version"] for row in json.loads(process.stdout)}
    return {package: installed[package] for package in asked}
