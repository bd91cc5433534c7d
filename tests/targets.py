"""Loading what the tap wrote, by a real target."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 300.0


def load(command: Path, output: str, **settings: Any) -> list[Any]:
    """Load what the tap wrote, and return the states that the target confirms.

    Args:
        command: The target's.
        output: What the tap wrote.
        settings: Those of the target, and the ``folder`` that it runs in.

    Raises:
        AssertionError: If it fails, with what it says.
    """
    config = Path(settings.pop("folder")) / "target.json"
    config.write_text(json.dumps(settings))
    done = subprocess.run(
        [command, "--config", config],
        input=output,
        capture_output=True,
        text=True,
        check=False,
        cwd=config.parent,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
