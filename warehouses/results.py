"""What was found of each target, kept in a file that the documentation is made of."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouses import environments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.contract.comparison import Comparison
    from warehouses.targets import Target

PATH = Path(__file__).parent / "results.json"


def read() -> dict[str, Any]:
    """Return what was found, by target."""
    found: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
    return found


class Results:
    """What this run has found; what it has not run stays as it was."""

    def __init__(self) -> None:
        self._found = read() if PATH.exists() else {}

    def loaded(self, target: Target, form: str, comparison: Comparison) -> None:
        """Keep that all values were compared."""
        found = self._of(target)
        found["versions"] = environments.versions(target.environment)
        lost = dict(sorted(comparison.lossy.items()))
        found["forms"][form] = {"values": comparison.values, "lost": lost}
        self._write()

    def refused(self, target: Target, form: str) -> None:
        """Keep that a form is not loaded."""
        self._of(target)["forms"][form] = "refused"
        self._write()

    def measured(self, target: Target, seconds: Mapping[str, float]) -> None:
        """Keep how many times as much CPU messages take as batch files."""
        records = seconds["records"]
        self._of(target)["times"] = {
            form: round(records / each, 1)
            for form, each in seconds.items()
            if form != "records"
        }
        self._write()

    def forget(self, name: str) -> None:
        """Forget what was found of a target, because it fails now."""
        if self._found.pop(name, None):
            self._write()

    def _of(self, target: Target) -> dict[str, Any]:
        found: dict[str, Any] = self._found.setdefault(target.name, {"forms": {}})
        found["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
        return found

    def _write(self) -> None:
        text = json.dumps(self._found, indent=1, sort_keys=True)
        PATH.write_text(text + "\n", "utf-8")
