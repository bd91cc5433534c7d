"""The results of each target, kept in a file that the documentation is made of."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouses import environments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.contract.comparison import Comparison
    from warehouses.targets import Target

PATH = Path(__file__).parent / "results.json"


def read() -> dict[str, Any]:
    """Return what was found, by target."""
    results: dict[str, Any] = json.loads(
        PATH.read_text("utf-8") if PATH.exists() else "{}"
    )
    return results


class Results:
    """Keeps what is found; what is not run stays as it was."""

    def loaded(self, target: Target, form: str, comparison: Comparison) -> None:
        """Keep that all values were compared."""
        versions = environments.versions(target.environment)
        lost = dict(sorted(comparison.lossy.items()))
        with changing(target.name) as result:
            result["versions"] = versions
            result["forms"][form] = {"values": comparison.values, "lost": lost}

    def refused(self, target: Target, form: str) -> None:
        """Keep that a form is not loaded."""
        with changing(target.name) as result:
            result["forms"][form] = "refused"

    def measured(self, target: Target, seconds: Mapping[str, float]) -> None:
        """Keep how many times as much CPU messages take as batch files."""
        records = seconds["records"]
        with changing(target.name) as result:
            result["times"] = {
                form: round(records / cpu, 1)
                for form, cpu in seconds.items()
                if form != "records"
            }

    def failed(self, target: Target) -> None:
        """Forget what was found of a target, because it fails now."""
        with changing(target.name) as result:
            result.clear()


@contextmanager
def changing(name: str) -> Iterator[dict[str, Any]]:
    """Yield what was found of a target, and write it; it may be changed in between."""
    results = read()
    result = results.setdefault(name, {"forms": {}})
    result["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
    yield result
    if not result:
        del results[name]
    text = json.dumps(results, indent=1, sort_keys=True)
    PATH.write_text(text + "\n", "utf-8")
