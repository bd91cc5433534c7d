"""The tap as a plugin of a new Meltano project, added from its listing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner import Runner

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent


def listing() -> dict[str, Any]:
    """Return the listing, with the tap of this checkout in it."""
    logged: dict[str, Any] = yaml.safe_load(
        (ROOT / "docs" / "hub.yml").read_text("utf-8")
    )
    del logged["pip_url"]
    return logged | {"executable": str(PROGRAMS / "tap-labelbox")}


def block() -> dict[str, Any]:
    """Return the README's entry for meltano.yml, with that tap in it."""
    readme = (ROOT / "README.md").read_text("utf-8")
    result = re.search(r"begin plugin -->\n```yaml\n(.*?)```", readme, re.DOTALL)
    assert result
    plugin: dict[str, Any]
    (plugin,) = yaml.safe_load(result[1])["plugins"]["extractors"]
    del plugin["pip_url"]
    return plugin | {"executable": str(PROGRAMS / "tap-labelbox")}


@pytest.fixture(params=["listing", "block"])
def meltano(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Meltano in a project that has the tap, of the listing or the README."""
    cache = str(ROOT / ".cache")
    project: dict[str, Any] = {"send_anonymous_usage_stats": False}
    if request.param == "block":
        project["plugins"] = {"extractors": [block()]}
    (tmp_path / "meltano.yml").write_text(yaml.safe_dump(project))
    (tmp_path / "hub.yml").write_text(yaml.safe_dump(listing()))

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": cache, "XDG_STATE_HOME": cache}
        more = {f"TAP_LABELBOX_{name}": value for name, value in variables.items()}
        return subprocess.run(
            [PROGRAMS / "meltano", *words],
            cwd=tmp_path,
            env=os.environ | home | more | {"NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    if request.param == "listing":
        words = ("add", "--plugin-type", "extractor", "tap-labelbox", "--no-install")
        added = run(*words, "--from-ref", "hub.yml")
        assert added.returncode == 0, added.stderr
    return run


def test_settings_get_through_meltano(
    meltano: Callable[..., subprocess.CompletedProcess[str]], run: Runner
) -> None:
    """Those of `meltano config set`, parts of objects too, and variables as text."""
    expected, other = (project.id for project in run.world.projects[:2])
    words = {
        "api_url": run.sandbox.url,
        "export_include attachments": "false",
    }
    for name, value in words.items():
        done = meltano("config", "set", "tap-labelbox", *name.split(), value)
        assert done.returncode == 0, done.stderr
        assert "Unknown setting" not in done.stdout + done.stderr

    done = meltano(
        "invoke",
        "tap-labelbox",
        API_KEY=run.sandbox.api_key,
        PROJECT_IDS=f"{expected}, {other}",
        START_DATE=str((datetime.now(UTC) - timedelta(days=3)).date()),
        RETRY_SECONDS="0.5",
        PAGE_SIZE="50",
        EXPORT_POLL_INTERVAL="0.01",
        MAX_RUN_SECONDS="",
        EXPORT_FILTERS_WORKFLOW_STATUS="DONE",
        EXPORT_FILTERS='{"batch_ids": ["x"]}',
    )

    assert done.returncode == 0, done.stderr
    assert "is not read" not in done.stderr
    messages = [json.loads(line) for line in done.stdout.split("\n") if line[:1] == "{"]
    records = [m for m in messages if m["type"] == "RECORD"]
    projects = [r["record"]["id"] for r in records if r["stream"] == "projects"]
    assert sorted(projects) == sorted([expected, other])
    assert not [r for r in records if r["stream"] == "data_row_attachments"]
    starts = [
        text
        for r in run.sandbox.requests
        if r.operation == "StartExport"
        # Not those of presence, which has no filter; Meltano selects it here.
        and '"query": []' not in (text := json.dumps(r.variables))
    ]
    assert starts
    for text in starts:
        assert '"status": "Done"' in text
        assert '"x"' in text  # of the batch


@pytest.mark.parametrize("meltano", ["block"], indirect=True)
def test_what_is_of_no_use_is_reported_by_the_tap(
    meltano: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """In one line, instead of a traceback of Meltano."""
    useless = {
        "PROJECT_IDS": "[x",
        "EXPORT_POLL_INTERVAL": "often",
        "LABEL_FILTERS_AGREEMENT_GT": "x",
    }

    done = meltano("invoke", "tap-labelbox", API_KEY="k" * 20, **useless)

    assert done.returncode == 78
    logged = [line for line in done.stderr.splitlines() if "must be of type" in line]
    assert len(logged) == len(useless), done.stderr
    for name in ("export_poll_interval", "label_filters.agreement_gt", "project_ids"):
        assert any(f" {name} must be of type" in line for line in logged), logged
    assert "Traceback" not in done.stderr
