"""Ends of runs: each kind of failure by the command, and the table by the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tap_labelbox import exit_codes
from tap_labelbox.api import errors
from tap_labelbox.exit_codes import Ending, ending
from tap_labelbox.sandbox import Reply
from tests.runner import Output, command
from tests.test_cli import errors as lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner

ROOT = Path(__file__).parent.parent
FAILURE_TYPES = {None, "config_error", "system_error", "transient_error"}  # Airbyte's


def kinds(of: type[Exception]) -> Iterator[type[Exception]]:
    """Yield a class and all that derive from it."""
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


def test_every_class_of_errors_is_in_the_table() -> None:
    """By its own name, or that of a class which says it for all of its kind."""
    ours = {kind.__name__ for kind in kinds(errors.LabelboxError)}
    others = {"ConfigValidationError", "ImportError", "MemoryError"}
    of_their_kind = {
        "LimitError",
        "QueryError",
        "RateLimitError",
        "ServerError",
        "TLSError",
        "UnsentError",
        "NotFoundError",
    }

    assert set(exit_codes.TABLE) == ours - of_their_kind | others


def test_endings_are_distinguished() -> None:
    """By codes that a shell can use, and in Airbyte's words."""
    assert {e.code for e in Ending} == {0, 1, 2, 75, 78, 130, 143}
    assert {e.failure_type for e in Ending} == FAILURE_TYPES
    assert all((e.code == 0) == (e.failure_type is None) for e in Ending)
    assert all(e.meaning and e.action for e in Ending)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigValidationError("x"), Ending.CONFIG),
        (errors.AccessError("x"), Ending.CONFIG),
        (errors.OutageError(5, "x"), Ending.TEMPORARY),
        (errors.RateLimitError("x"), Ending.TEMPORARY),
        (errors.NotFoundError("x"), Ending.UNKNOWN),
        (errors.TooLargeError("x"), Ending.CONFIG),
        (ModuleNotFoundError("x"), Ending.CONFIG),
        (OSError(28, "No space left on device"), Ending.TEMPORARY),
        (OSError(5, "Input/output error"), Ending.UNKNOWN),
        (MemoryError(), Ending.TEMPORARY),
        (KeyError("x"), Ending.UNKNOWN),
        (RecursionError(), Ending.UNKNOWN),
    ],
    ids=repr,
)
def test_the_nearest_class_decides(error: Exception, expected: Ending) -> None:
    """An error of no known class is unknown."""
    assert ending(error) is expected


def test_the_page_has_the_table() -> None:
    """Each code once, with the words of the code."""
    page = (ROOT / "docs" / "running.md").read_text("utf-8")
    section = page.split("## Exit codes\n")[1].split("\n## ")[0]
    table = section.split("begin exit codes")[1].split("end exit codes")[0]
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]

    assert codes == [item.code for item in Ending]
    for item in Ending:
        assert item.meaning in table
        assert item.action in table


CRASH = Reply(503)
KEY = Reply(200, {}, {"errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]})
FORBIDDEN = Reply(200, {}, {"errors": [{"extensions": {"code": "FORBIDDEN"}}]})
PAGE = Reply(200, {"Content-Type": "text/html"}, b"<html>")
UNSEEN = Reply(200, {}, {"errors": [{"extensions": {"code": "RESOURCE_CONFLICT"}}]})


@pytest.mark.parametrize(
    ("reply", "at", "expected"),
    [
        (None, "", Ending.DONE),
        (CRASH, "ProjectIds", Ending.TEMPORARY),
        (CRASH, "Labels", Ending.TEMPORARY),  # of every project: an outage
        (KEY, "ProjectIds", Ending.CONFIG),
        (KEY, "Labels", Ending.CONFIG),
        (FORBIDDEN, "ProjectIds", Ending.CONFIG),
        (FORBIDDEN, "Labels", Ending.INCOMPLETE),
        (PAGE, "ProjectIds", Ending.CONFIG),
        (UNSEEN, "ProjectIds", Ending.UNKNOWN),
        (UNSEEN, "Labels", Ending.INCOMPLETE),
    ],
)
def test_what_labelbox_answers_decides(
    run: Runner, tmp_path: Path, reply: Reply | None, at: str, expected: Ending
) -> None:
    """A run that went to its end is incomplete, whatever was left out."""

    def before(request: Request) -> Reply | None:
        return reply if request.operation == at else None

    while len(run.world.projects) < 6:
        run.world.add_project(labels=1)
    run.sandbox.before = before

    done = run.command("--catalog", str(selected(tmp_path, "labels")), retry_seconds=0)

    assert done.returncode == expected.code, done.stderr
    assert "Traceback" not in done.stderr
    assert Output(done.stdout).messages or expected is not Ending.DONE


def test_a_project_that_fails_in_passing_is_incomplete(
    run: Runner, tmp_path: Path
) -> None:
    """All else was read; the next night tries it again, and so may a person."""
    victim = run.world.projects[0].id

    def before(request: Request) -> Reply | None:
        return CRASH if victim in str(request.variables) else None

    run.sandbox.before = before

    done = run.command("--catalog", str(selected(tmp_path, "labels")), retry_seconds=0)

    assert done.returncode == Ending.INCOMPLETE.code
    assert f"labels of project {victim} is left out" in done.stderr


def test_a_bug_is_no_misconfiguration(run: Runner) -> None:
    """It shows where it is, and its code is that of the unknown."""
    assert run.folder
    config = run.folder / "config.json"
    config.write_text(json.dumps(run.config()))
    program = (
        "from tap_labelbox.tap import TapLabelbox\n"
        "def sync(*_):\n    {}['bug']\n"
        "TapLabelbox.sync_all = sync\n"
        "from tap_labelbox.__main__ import main; main()"
    )

    done = command("--config", str(config), program=("-c", program))

    assert done.returncode == Ending.UNKNOWN.code
    assert "KeyError: 'bug'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "expected"),
    [
        (["--nonsense"], {}, Ending.USAGE),
        ([], {"page_size": 0}, Ending.CONFIG),
        ([], {"stream_maps": {"label": {"x": "1"}}}, Ending.CONFIG),
        ([], {"flattening_enabled": True}, Ending.CONFIG),
        (["--test"], {"api_key": "wrong-key"}, Ending.CONFIG),
    ],
)
def test_what_is_asked_for_decides(
    run: Runner, arguments: list[str], settings: dict[str, Any], expected: Ending
) -> None:
    """Before anything is read."""
    done = run.command(*arguments, **settings)

    assert done.returncode == expected.code
    assert lines(done) or expected is Ending.USAGE
    assert "Traceback" not in done.stderr


def selected(folder: Path, stream: str) -> Path:
    """Write a catalog of one stream."""
    streams = json.loads(command("--discover").stdout)["streams"]
    chosen = [item for item in streams if item["stream"] == stream]
    file = folder / "catalog.json"
    file.write_text(json.dumps({"streams": chosen}))
    return file
