"""``tap-labelbox check``: what may be read, and what has not arrived."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.check import FEWER, PROJECT_COUNTS, TOTALS, read_messages
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.replies import error
from tap_labelbox.streams import STREAMS
from tests.runner import command
from tests.test_cli import errors as lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from tap_labelbox.check import Received
    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
DENIED = error("You may not", "AUTHORIZATION_ERROR")
EXPORTED = {s.name for s in STREAMS if issubclass(s, ExportedStream)}
UNASKED = {*EXPORTED, "bulk_export"}


@pytest.fixture
def world() -> World:
    """Return a workspace of some projects, one of which is empty."""
    return World(projects=4, labels=60)


@pytest.fixture
def check(run: Runner) -> Callable[..., CompletedProcess[str]]:
    """Return what runs a check as a user does."""

    def check(*arguments: str, **settings: Any) -> CompletedProcess[str]:
        return run.command_of("check", *arguments, **settings)

    return check


def results(done: CompletedProcess[str]) -> dict[Any, dict[str, Any]]:
    """Return what a check has found, by stream, and project if there is one."""
    result = json.loads(done.stdout)
    return {
        (single["stream"], single["project_id"])
        if single["project_id"]
        else single["stream"]: single
        for single in result
    }


def messages_of(output: Output, tmp_path: Path, *, less: str = "") -> str:
    """Return a file of the messages of a run, less those that have something."""
    file = tmp_path / "messages.jsonl"
    kept = [
        single for single in output.text.split("\n") if not less or less not in single
    ]
    file.write_text("\n".join(kept), "utf-8")
    return str(file)


# --- what may be read ----------------------------------------------------------------


def test_a_key_with_all_rights_reads_all(check: Any, run: Runner, world: World) -> None:
    """Each stream is in the table, and asked about in a request or two."""
    done = check()

    assert done.returncode == 0
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["stream", "selected", "readable", "Labelbox", "why"]
    assert [row.split()[0] for row in rows] == [stream.name for stream in STREAMS]
    readable = {row.split()[0]: row.split()[2] for row in rows}
    assert {name for name, text in readable.items() if text == "-"} == UNASKED
    assert set(readable.values()) == {"yes", "-"}
    selected = {row.split()[0]: row.split()[1] == "yes" for row in rows}
    assert selected == {s.name: s.selected_by_default for s in STREAMS}
    count = next(row.split()[3] for row in rows if row.startswith("labels "))
    assert int(count) == sum(len(project.labels) for project in world.projects)
    assert len(run.sandbox.requests) < 2 * len(STREAMS)
    assert not [r for r in run.sandbox.requests if "mutation" in (r.query or "")]


def test_what_may_not_be_read_is_reported(check: Any, run: Runner) -> None:
    """With the reason; a stream that is not selected costs no exit code."""
    run.sandbox.before = lambda r: Reply(200, {}, DENIED) if refused(r) else None
    run.sandbox.performance = "forbidden"

    done = check("--format", "json")

    result = results(done)
    no = {name for name, single in result.items() if single["readable"] is False}
    assert "user_groups" in no
    assert "sign_in_events" in no
    assert "You may not" in result["user_groups"]["why"]
    assert "HTTP 403" in result["sign_in_events"]["why"]
    assert result["labels"]["readable"] is True
    assert done.returncode == 1
    assert not lines(done)

    run.sandbox.before = None
    assert check().returncode == 0


def refused(request: Request) -> bool:
    """Return whether a request is for groups."""
    return request.operation in {"UserGroups", "TotalUserGroups"}


def test_one_forbidden_project_is_not_all(check: Any, run: Runner) -> None:
    """Others are asked about; where all are forbidden, the stream is."""
    first, *others = run.world.projects
    run.sandbox.hidden_performance = {first.id}
    assert results(check("--format", "json"))["project_labelers"]["readable"] is True

    run.sandbox.hidden_performance = {first.id, *(p.id for p in others)}
    result = results(check("--format", "json"))["project_labelers"]
    assert result["readable"] is False
    assert "HTTP 404" in result["why"]


def test_an_empty_account_can_be_read(serving: Any) -> None:
    """Nothing is there, and nothing is wrong."""
    done = serving(World(projects=0)).command_of("check", "--format", "json")

    result = results(done)
    assert done.returncode == 0
    assert result["projects"]["expected"] == 0
    assert {single["readable"] for single in result.values()} == {True, None}


def test_a_catalog_says_what_counts(check: Any, run: Runner, tmp_path: Path) -> None:
    """Streams that it does not select are asked about all the same."""
    run.sandbox.performance = "forbidden"
    catalog = run.tap().catalog_dict
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if entry["breadcrumb"] == []:
                requested = stream["tap_stream_id"] in ("labels", "sign_in_events")
                entry["metadata"]["selected"] = requested
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(catalog))

    done = check("--catalog", str(file), "--format", "json")

    result = results(done)
    assert {n for n, single in result.items() if single["selected"]} == {
        "labels",
        "sign_in_events",
    }
    assert done.returncode == 1


# --- what has arrived ----------------------------------------------------------------


def test_a_whole_run_is_what_labelbox_counts(
    check: Any, run: Runner, tmp_path: Path
) -> None:
    """Of each stream that it counts."""
    done = check(
        *("--format", "json", "--input", messages_of(run(), tmp_path)),
    )

    result = results(done)
    counted = {n for n, single in result.items() if single["expected"] is not None}
    assert counted >= {"projects", *PROJECT_COUNTS, *TOTALS}
    for name in counted:
        assert result[name]["expected"] == result[name]["received"] > 0
    assert done.returncode == 0
    assert len(result) == len(STREAMS)


def test_keys_are_counted_not_lines(check: Any, run: Runner, tmp_path: Path) -> None:
    """A key that comes twice, or in two runs, has arrived once."""
    output = run("labels", "projects", "data_row_exports")
    output.text += "\n" + output.text

    done = check("--input", messages_of(output, tmp_path))

    assert done.returncode == 0


@pytest.mark.parametrize("stream", ["labels", "data_row_exports"])
def test_a_row_that_is_missing_is_found(
    check: Any, run: Runner, tmp_path: Path, stream: str
) -> None:
    """In which project, and why that may be."""
    output = run()
    record = output.records(stream)[-1]
    key = record["id" if stream == "labels" else "data_row_id"]
    lost = f'"stream":"{stream}","record":{{"id":"{key}"'
    if stream == "data_row_exports":
        lost = next(
            single
            for single in output.text.split("\n")
            if f'"stream":"{stream}"' in single and f'"data_row_id":"{key}"' in single
        )

    done = check(
        *("--format", "json", "--input", messages_of(output, tmp_path, less=lost)),
    )

    assert done.returncode == 1
    result = results(done)
    differing = {
        n for n, single in result.items() if single["expected"] != single["received"]
    }
    assert {n for n in differing if n != stream and n in result[stream]} == set()
    part = result[stream, record["project_id"]]
    assert part["expected"] - part["received"] == 1
    assert part["why"] == f"1 fewer: {FEWER[stream]}"
    assert result[stream]["why"] == part["why"]


def test_a_row_that_is_deleted_is_found(
    check: Any, run: Runner, tmp_path: Path
) -> None:
    """It stays where it was loaded."""
    output = run("labels")
    label = run.world.projects[0].labels[0]
    run.world.delete_label(label.id)

    done = check("--input", messages_of(output, tmp_path))

    assert done.returncode == 1
    (total, part) = [
        single for single in done.stdout.splitlines() if "1 more: deleted" in single
    ]
    assert total.startswith("labels ")
    assert part.startswith(f"- {label.project.id} ")


def test_an_incremental_run_has_only_what_is_new(
    check: Any, run: Runner, tmp_path: Path
) -> None:
    """And its first STATE says that it is one."""
    state = run("labels").state

    done = check(
        *("--input", messages_of(run("labels", state=state), tmp_path)),
        *("--format", "json"),
        start_date="2020-01-01",
        label_filters={"type_id": "x"},
    )

    assert done.returncode == 1
    why = results(done)["labels"]["why"]
    assert "went on from a bookmark" in why
    assert "start_date leaves some out; or label_filters leaves some out" in why


def test_what_was_not_read_does_not_differ(
    check: Any, run: Runner, tmp_path: Path
) -> None:
    """A run of some streams says nothing of the others."""
    done = check(
        *("--input", messages_of(run("users"), tmp_path), "--format", "json"),
    )

    assert done.returncode == 0
    assert results(done)["labels"]["received"] is None
    assert results(done)["users"]["received"] == len(run.world.users)


def test_standard_input_is_a_run(run: Runner) -> None:
    """Of the tap in front of it."""
    config = run.config_file()
    tap = [sys.executable, "-m", "tap_labelbox", "--config", str(config)]
    pipe, devnull = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(tap, stdout=pipe, stderr=devnull) as first:
        done = subprocess.run(
            [*tap[:3], "check", *tap[3:], "--input", "-"],
            stdin=first.stdout,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert first.returncode == 0
    assert done.returncode == 0
    assert re.search(r"^labels +yes +yes +60 +60$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("by_project", [True, False])
def test_counts_of_a_warehouse(
    check: Any, run: Runner, tmp_path: Path, form: str, *, by_project: bool
) -> None:
    """By project, or in all."""
    rows: list[dict[str, Any]] = [
        {"stream": "labels", "project_id": project.id, "count": len(project.labels)}
        for project in run.world.projects
    ]
    rows[0]["count"] -= 1
    if not by_project:
        rows = [{"stream": "labels", "count": sum(row["count"] for row in rows)}]
    file = tmp_path / f"counts.{form}"
    if form == "json":
        file.write_text(json.dumps(rows))
    else:
        text = io.StringIO()
        table = csv.DictWriter(text, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
        file.write_text(text.getvalue(), "utf-8-sig")

    done = check("--counts", str(file), "--format", "json")

    result = results(done)
    assert done.returncode == 1
    assert result["labels"]["expected"] - result["labels"]["received"] == 1
    parts = {single["project_id"] for single in result.values()} - {None}
    assert parts == ({run.world.projects[0].id} if by_project else set())
    assert result["users"]["received"] is None


def test_sums_that_hide_a_difference(check: Any, run: Runner, tmp_path: Path) -> None:
    """Are no reason to be content."""
    rows: list[dict[str, Any]] = [
        {"stream": "labels", "project_id": project.id, "count": len(project.labels)}
        for project in run.world.projects
    ]
    rows[0]["count"] -= 1
    rows[1]["count"] += 1
    file = tmp_path / "counts.json"
    file.write_text(json.dumps(rows))

    done = check("--counts", str(file), "--format", "json")

    assert done.returncode == 1
    assert "but not project by project" in results(done)["labels"]["why"]
    assert len(results(done)) == len(STREAMS) + 2


def read(*messages: Any) -> Received:
    """Read messages."""
    text = "\n".join(map(json.dumps, messages))
    return read_messages(io.BytesIO(text.encode()), "--input")


def test_files_are_not_looked_into() -> None:
    """Their contents count as unknown, not as nothing."""
    schema = {"type": "SCHEMA", "stream": "s", "key_properties": ["id"]}

    received = read(
        schema, {"type": "BATCH", "stream": "s"}, {"type": "ACTIVATE_VERSION"}
    )

    assert received.streams == frozenset()


def test_without_keys_whole_records_are_compared() -> None:
    """As well as one can."""
    schema = {"type": "SCHEMA", "stream": "s", "key_properties": []}
    records = [{"a": 1}, {"a": 1}, {"a": 2, "project_id": 7}]

    received = read(
        schema, *({"type": "RECORD", "stream": "s", "record": r} for r in records)
    )

    assert received.counts == {("s", None): 1, ("s", "7"): 1}


# --- what is wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "detail"),
    [
        (("--input", "nope"), 78, "--input cannot be read: nope: No such file"),
        (("--input", "config.json"), 78, "has no Singer message in line 1"),
        (("--counts", "nope"), 78, "--counts cannot be read: nope: No such file"),
        (("--counts", "config.json"), 78, "is not a list of counts: each needs stream"),
        (("--catalog", "config.json"), 78, ""),
        (("--frob",), 2, ""),
        (("--input", "-", "--counts", "c"), 2, ""),
    ],
)
def test_wrong_input_is_one_line(
    check: Any, monkeypatch: Any, tmp_path: Path, arguments: Any, code: int, detail: str
) -> None:
    """That names it."""
    monkeypatch.chdir(tmp_path)
    if "--catalog" in arguments:
        (tmp_path / "bad.json").write_text("[")
        arguments = ("--catalog", "bad.json")

    done = check(*arguments)

    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if code != 2:
        (line,) = lines(done)
        assert detail in line


@pytest.mark.parametrize(
    ("settings", "code", "detail"),
    [
        ({"api_key": "wrong"}, 78, "Labelbox does not accept the API key"),
        ({"page_size": 1000}, 78, "page_size must be at most 100"),
        ({"export_files": ["*.ndjson"]}, 78, "there is nothing to check"),
        ({"api_url": "http://127.0.0.1:9/graphql"}, 78, "api_url is probably wrong"),
    ],
)
def test_wrong_settings_are_those_of_a_run(
    check: Any, settings: dict[str, Any], code: int, detail: str
) -> None:
    """With its exit codes."""
    done = check(**settings)

    assert done.returncode == code
    assert any(detail in line for line in lines(done))
    assert done.stdout == ""


def test_labelbox_may_be_down(check: Any, run: Runner) -> None:
    """Then nothing is said of what may be read."""
    run.sandbox.before = lambda r: (
        Reply(503, {}, {}) if r.operation not in {"Projects", "ProjectIds"} else None
    )

    done = check(retry_seconds=0)

    assert done.returncode == 75
    assert done.stdout == ""


def test_help_names_the_exit_codes_and_that_of_the_tap_the_check() -> None:
    """So that both are found."""
    assert "Exit code: 0 if" in " ".join(command("check", "--help").stdout.split())
    assert "tap-labelbox check" in command("--help").stdout


def test_the_readme_shows_what_there_is(check: Any, run: Runner) -> None:
    """Its options, and how a table begins."""
    section = README.split("## Check\n")[1].split("\n## ")[0]
    run.sandbox.performance = "forbidden"
    text = command("check", "--help").stdout

    options = set(re.findall(r"--[a-z]+", section))
    assert options == {"--config", "--input", "--counts", "--catalog", "--format"}
    assert all(option in text for option in options)
    shown = section.split("```console\n")[1].split("```")[0].splitlines()[1:]
    printed = check().stdout.splitlines()
    for line in shown:
        words = re.sub(r"[\d,]+|: \.\.\.", "", line).split()
        assert any(
            re.sub(r"[\d,]+", "", row).split()[: len(words)] == words for row in printed
        ), line
