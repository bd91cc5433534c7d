"""The lines of the documents for every night, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import Reply
from tap_labelbox.singer.input_files import read_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner, State

DOCS = Path(__file__).parent.parent / "docs"
RUNNING = (DOCS / "running.md").read_text("utf-8")
SETTINGS = (DOCS / "settings.md").read_text("utf-8")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no bash")


class Night:
    """A folder with the script, in which no pause takes any time."""

    def __init__(self, run: Runner, folder: Path, target: Path) -> None:
        self.run = run
        self.folder = folder
        sleep = folder / "bin" / "sleep"
        sleep.parent.mkdir()
        sleep.write_text(f"#!/bin/sh\necho $1 >> {folder}/pauses\n")
        sleep.chmod(0o755)
        (script,) = re.findall(r"```bash\n(#!.*?)```", RUNNING, re.DOTALL)
        (folder / "nightly.sh").write_text(script)
        path = f"{sleep.parent}:{Path(sys.executable).parent}:{target.parent}"
        self._environment = os.environ | {"PATH": f"{path}:{os.environ['PATH']}"}

    def __call__(self, **settings: Any) -> int:
        """Run the script; return its exit code."""
        config = self.run.config(retry_seconds=0, **settings)
        (self.folder / "config.json").write_text(json.dumps(config))
        return subprocess.run(
            ["bash", "nightly.sh"],  # noqa: S607  # as the page has it
            cwd=self.folder,
            env=self._environment,
            check=False,
            capture_output=True,
        ).returncode

    @property
    def pauses(self) -> list[str]:
        """The pauses so far, as the script calls them."""
        file = self.folder / "pauses"
        return file.read_text().split() if file.exists() else []

    def rows(self, stream: str) -> int:
        """Return how many rows of a stream the target has."""
        files = self.folder.glob(f"{stream}-*.jsonl")
        return sum(len(file.read_text().splitlines()) for file in files)

    @property
    def state(self) -> State:
        """Return the state that the next run resumes from."""
        with (self.folder / "state.jsonl").open() as file:
            return read_state(file)


@pytest.fixture
def night(run: Runner, tmp_path: Path, target: Callable[[str], Path]) -> Night:
    """Return a script for the night, and its folder."""
    return Night(run, tmp_path, target("target-jsonl"))


def test_nights(night: Night) -> None:
    """The first fails, the second reads all, the third fails, the fourth goes on."""
    down = True

    def fail(_: Request) -> Reply | None:
        return Reply(503) if down else None

    night.run.sandbox.before = fail
    assert night() == 75
    assert night.pauses == ["60", "600", "3600", "0"]
    assert "labels" not in night.state["bookmarks"]

    down = False
    assert night() == 0
    kept = night.state
    assert kept["bookmarks"]["labels"]["partitions"]

    assert night(api_key="lb-wrong") == 78
    assert len(night.pauses) == 4  # it waits for a person
    assert night.state == kept

    down = True
    assert night() == 75
    assert night.state == kept

    down = False
    rows = night.rows("labels")
    assert night(lookback_seconds=60) == 0
    assert night.rows("labels") - rows < rows / 2  # of the lookback alone
    assert night.state["bookmarks"].keys() == kept["bookmarks"].keys()


def test_the_state_that_is_shown_is_one(run: Runner) -> None:
    """It has the parts of one that a run writes."""
    (shown,) = (
        json.loads(text)
        for text in re.findall(r"```json\n(.*?)```", RUNNING, re.DOTALL)
        if "bookmarks" in text
    )
    written = run("labels").state["bookmarks"]["labels"]["partitions"][0]

    (partition,) = shown["bookmarks"]["labels"]["partitions"]
    assert partition.keys() == written.keys()
    assert run("labels", state=shown).error is None


def test_the_maps_that_are_shown_work(run: Runner) -> None:
    """Also for labels without a labeler."""
    (shown,) = (
        json.loads(text)
        for text in re.findall(r"```json\n(.*?)```", SETTINGS, re.DOTALL)
        if "stream_maps" in text
    )

    output = run("labels", "projects", **shown)

    assert output.error is None
    emails = [record["created_by_email"] for record in output.records("labels")]
    assert all(re.fullmatch("[0-9a-f]{32}", email) for email in emails if email)
    assert emails
    assert output.records("projects")


def test_one_project_is_read_once_more(run: Runner) -> None:
    """Without a state, and alone."""
    single = run.world.projects[0].id

    output = run(project_ids=[single])

    assert output.error is None
    for stream in ("labels", "annotations"):
        assert {r["project_id"] for r in output.records(stream)} == {single}


@pytest.mark.parametrize(
    ("command", "code"), [(["run", "tap", "target"], 1), (["invoke", "tap"], 78)]
)
def test_meltano_has_a_code_of_its_own(
    run: Runner, tmp_path: Path, command: list[str], code: int
) -> None:
    """Under `run`; the tap's is in the log."""
    scripts = Path(sys.executable).parent
    target = tmp_path / "target"
    target.write_text("#!/bin/sh\nexec cat\n")
    target.chmod(0o755)
    tap = {
        "name": "tap",
        "namespace": "tap",
        "executable": str(scripts / "tap-labelbox"),
        "capabilities": ["catalog", "discover", "state"],
        "settings": [{"name": name} for name in ("api_key", "api_url")],
        "config": {"api_key": "lb-wrong", "api_url": run.sandbox.url},
    }
    loader = {"name": "target", "namespace": "target", "executable": str(target)}
    content = {
        "version": 1,
        "default_environment": "dev",
        "environments": [{"name": "dev"}],
        "plugins": {"extractors": [tap], "loaders": [loader]},
    }
    (tmp_path / "meltano.yml").write_text(json.dumps(content))  # which is YAML too
    environment = {"XDG_CACHE_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    environment["MELTANO_SEND_ANONYMOUS_USAGE_STATS"] = "false"

    done = subprocess.run(
        [scripts / "meltano", "--log-format", "json", *command],
        cwd=tmp_path,
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
    )

    log = done.stdout + done.stderr
    assert done.returncode == code, log
    assert "does not accept the API key" in log
    assert ('"exit_codes": {"extractors": 78}' in log) == (code == 1)


@pytest.mark.parametrize(("code", "raised"), [(0, ""), (1, "Airflow"), (78, "Fail")])
def test_the_lines_for_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, raised: str
) -> None:
    """Airflow's own exceptions stand for what it does."""
    (lines,) = re.findall(r"```python\n(def labelbox.*?)```", RUNNING, re.DOTALL)

    class AirflowException(Exception):  # noqa: N818  # as Airflow calls it
        """Tried again."""

    class AirflowFailException(AirflowException):
        """Not tried again."""

    known: dict[str, Any] = {"subprocess": subprocess}
    known |= {c.__name__: c for c in (AirflowException, AirflowFailException)}
    (tmp_path / "nightly.sh").write_text(f"exit {code}")
    monkeypatch.chdir(tmp_path)
    exec(lines, known)  # noqa: S102

    result = ""
    try:
        known["labelbox"]()
    except AirflowException as error:
        result = type(error).__name__

    assert raised in result
    assert bool(raised) == bool(result)
    assert ("Fail" in result) == (code == 78)
