"""An environment for each target: what one pins, another contradicts."""

from __future__ import annotations

import hashlib
import json
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


def requirements(name: str) -> Path:
    """Return the file of all that is in an environment; one from git has none."""
    return Path(__file__).parent / "requirements" / f"{name}.txt"


def environment(name: str) -> Path:
    """Return the folder with the programs of an environment, made if need be."""
    locked = requirements(name)
    wanted = locked.read_bytes() if locked.exists() else repr(pins(name)).encode()
    folder = FOLDER / name
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    ready = folder / "ready"
    made_of = hashlib.sha256(wanted + sys.version.encode()).hexdigest()
    if ready.exists() and ready.read_text() == made_of:
        return programs
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    what = ["--require-hashes", "-r", str(locked)] if locked.exists() else pins(name)
    into = ["--python", str(programs / "python")]
    if subprocess.run(
        [UV, "pip", "install", "--quiet", *into, *what], check=False
    ).returncode:  # it reads no pip configuration, which may name the only registry
        pip = [programs / "python", "-m", "pip", "install", "--quiet", *what]
        subprocess.run(pip, check=True)
    ready.write_text(made_of)
    return programs


def versions(name: str) -> dict[str, str]:
    """Return the versions of what an environment is made for, as installed."""
    asked = [
        line.split("@")[0].split("=")[0].split("[")[0].strip() for line in pins(name)
    ]
    listed = subprocess.run(
        [UV, "pip", "list", "--quiet", "--format=json", "--python"]
        + [str(environment(name) / "python")],
        check=True,
        capture_output=True,
        text=True,
    )
    installed = {each["name"]: each["version"] for each in json.loads(listed.stdout)}
    return {package: installed[package] for package in asked}
