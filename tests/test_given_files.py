"""Files of --state and --catalog, as targets, shells and people leave them."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.exit_codes import Ending, ending
from tap_labelbox.singer.input_files import read_catalog, read_state
from tests.runner import Output, command
from tests.test_cli import errors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runner import Runner


def state(number: int) -> dict[str, Any]:
    """Return a state, one of several."""
    return {"bookmarks": {"labels": {"read_at": f"2026-01-0{number}", "é": "🚦"}}}


SINGLE, TWO = (json.dumps(state(n), ensure_ascii=False) for n in (1, 2))
PRETTY = json.dumps(state(2), indent=2, ensure_ascii=False)
MESSAGE = json.dumps({"type": "STATE", "value": state(2)}, ensure_ascii=False)
WITH_MORE = json.dumps({"value": state(2), "type": "STATE", "extra": 1})
RECORD = '{"type": "RECORD", "stream": "x", "record": {"bookmarks": {}}}'
CUT_TEXT = TWO.encode()[:-9]  # within a character

WHOLE: dict[str, bytes] = {
    "alone": TWO.encode(),
    "on several lines": PRETTY.encode(),
    "a line each": f"{SINGLE}\n{TWO}\n".encode(),
    "no line feed at the end": f"{SINGLE}\n{TWO}".encode(),
    "of Windows": f"{SINGLE}\r\n{TWO}\r\n".encode(),
    "with blank lines": f"\n\n{SINGLE}\n \n{TWO}\n\n\t\n".encode(),
    "of jq": f"{json.dumps(state(1), indent=2)}\n{PRETTY}\n".encode(),
    "on one line": f"{SINGLE} {TWO}".encode(),
    "a STATE message": MESSAGE.encode(),
    "a STATE message with more": WITH_MORE.encode(),
    "STATE messages": f"{SINGLE}\n{MESSAGE}\n".encode(),
    "all messages": f"{SINGLE}\n{RECORD}\n{MESSAGE}\n{RECORD}\n".encode(),
    "of Meltano": json.dumps({"singer_state": state(2)}).encode(),
    "a line cut off before": SINGLE.encode()[:20] + f"\n{TWO}\n".encode(),
    "a byte order mark": TWO.encode("utf-8-sig"),
    "byte order marks": f"{SINGLE}\n".encode("utf-8-sig") + TWO.encode("utf-8-sig"),
    "UTF-16": f"{SINGLE}\r\n{TWO}\r\n".encode("utf-16"),
    "UTF-16 without a mark": TWO.encode("utf-16-le"),
    "UTF-16, big end first": TWO.encode("utf-16-be"),
}
CUT_OFF: dict[str, bytes] = {
    "within a value": f"{SINGLE}\n{TWO}\n".encode() + CUT_TEXT,
    "within a character": f"{SINGLE}\n{TWO}\n".encode() + SINGLE.encode()[:-5],
    "on several lines": f"{TWO}\n{PRETTY[:-5]}".encode(),
    "and another run wrote on": f"{TWO}\n{SINGLE[:9]}{SINGLE[:9]}\n".encode(),
    "in UTF-16": f"{TWO}\n{SINGLE}".encode("utf-16")[:-7],
    "with zeros after a crash": f"{TWO}\n".encode() + b"\0" * 20,
}


def inputs(content: bytes, name: str = "state.json") -> Any:
    """Return a file as click opens it."""
    file = io.BytesIO(content)
    file.name = name
    return io.TextIOWrapper(file, "ascii")


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_the_last_state_is_taken(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing to tell."""
    assert read_state(inputs(content)) == state(2)
    assert caplog.messages == []


@pytest.mark.parametrize("content", CUT_OFF.values(), ids=CUT_OFF)
def test_what_is_cut_off_is_not_taken(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """But the last one before, which is logged."""
    assert read_state(inputs(content)) == state(2)
    (line,) = caplog.messages
    assert line.startswith("--state state.json is cut off in line ")
    assert line.endswith("the state before that is used")


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf\n"])
def test_an_empty_file_is_no_state(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As a first run leaves one that failed; it is logged that all is read."""
    caplog.set_level(logging.WARNING)

    assert read_state(inputs(content)) == {}
    assert caplog.messages == [
        (
            "--state state.json is empty, as after a first run that failed: "
            "everything is read"
        )
    ]


@pytest.mark.parametrize("content", [b"{}", b"{}\n{}\n", b'{"bookmarks": {}}'])
def test_a_state_of_nothing(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Is one."""
    assert not read_state(inputs(content)).get("bookmarks")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"bookmarks": ', "is not JSON in line 1: give one that a target printed"),
        (b"\n\nINFO all done\n", "is not JSON in line 3: give one"),
        (PRETTY.encode()[:-3], "is not JSON in line 1: give one"),
        (CUT_TEXT, "is not JSON in line 1: give one"),
        (b"null", "has no bookmarks: give one that a target printed, or read"),
        (b"[]", "has no bookmarks: give one"),
        (b'"x"', "has no bookmarks: give one"),
        (b'{"bookmarks": null}', "has no bookmarks: give one"),
        (b'{"state": {"bookmarks": {}}}', "has no bookmarks: give one"),
        (b'{"labels": {"replication_key_value": "2026"}}', "has no bookmarks: give"),
        (b'{"type": "STATE", "value": null}', "has no bookmarks: give one"),
        (RECORD.encode(), "has no bookmarks: give one"),
        (b"\xff\xfe\x00\xd8\x00\x00", "cannot be read: it is not text in UTF-8 or"),
        (b'{"a": "\xe9"}', "cannot be read: it is not text in UTF-8 or UTF-16"),
        (b"\x1f\x8b\x08\x00", "cannot be read: it is not text in UTF-8 or UTF-16"),
        (b"[" * 100_000, "cannot be read: it is nested too deeply"),
        (
            b'{"bookmarks": {"annotations": []}}',
            "has an invalid bookmark for annotations: run once without --state",
        ),
    ],
)
def test_what_is_no_state_is_refused(content: bytes, reason: str) -> None:
    """In words of the tap: which file, what is wrong, what to do."""
    with pytest.raises(SettingsError) as caught:
        read_state(inputs(content))

    assert str(caught.value).startswith(f"--state state.json {reason}")
    assert ending(caught.value) is Ending.CONFIG
    for word in ("Expecting", "Extra data", "column", "codec"):
        assert word not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_catalog_in_any_unicode(encoding: str) -> None:
    """As PowerShell writes it."""
    content = {"streams": [{"tap_stream_id": "é"}]}

    result = read_catalog(inputs(json.dumps(content, indent=2).encode(encoding)))

    assert result == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"  \n", "it is empty"),
        (b'{"streams": ', "it is not JSON, or cut off"),
        (b'{"streams": []} {"streams": []', "it is not JSON, or cut off"),
        (b"INFO\n{}", "it is not JSON, or cut off"),
        (b"[]", "it has no streams"),
        (b"null", "it has no streams"),
        (b'{"streams": {}}', "it has no streams"),
        (b"\xff\xfe\x00\xd8\x00\x00", "it is not text in UTF-8 or UTF-16"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_catalog_is_refused(content: bytes, reason: str) -> None:
    """By the name of the file."""
    with pytest.raises(SettingsError) as caught:
        read_catalog(inputs(content, "catalog.json"))

    logged = f"--catalog catalog.json cannot be read: {reason}"
    assert str(caught.value).startswith(logged)


def test_a_run_goes_on_from_what_a_shell_has_left(run: Runner, tmp_path: Path) -> None:
    """A file that target and shell have made of three runs, the second cut off."""
    file = tmp_path / "state.jsonl"
    file.touch()
    first = run.command("--state", str(file))
    kept = Output(first.stdout).state
    file.write_text(f"{json.dumps(kept)}\n{json.dumps(kept)[:50]}")

    second = run.command("--state", str(file), lookback_seconds=0)

    assert first.returncode == second.returncode == 0
    assert "is empty, as after a first run that failed" in first.stderr
    assert "is cut off in line 2" in second.stderr
    assert Output(second.stdout).states[0] == kept
    assert not Output(second.stdout).records("annotations")


def test_a_file_that_is_not_there_is_usage(run: Runner, tmp_path: Path) -> None:
    """Click says so."""
    done = run.command("--state", str(tmp_path / "none.json"))

    assert done.returncode == Ending.USAGE.code
    assert "none.json" in done.stderr


def test_state_may_come_by_standard_input(run: Runner, tmp_path: Path) -> None:
    """Nothing there is an empty file."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(run.config(project_ids=[run.world.projects[0].id])))

    done = command("--config", str(file), "--state", "-")

    assert done.returncode == 0
    assert errors(done) == []
