"""Output of the command, above all when something is wrong."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import Reply
from tests.runner import PRIMARY_KEYS, Output, command

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from tap_labelbox.sandbox import Request, Sandbox, World
    from tests.runner import Runner


def errors(done: CompletedProcess[str]) -> list[str]:
    """Return the messages of the lines that are errors."""
    return [
        line.split("|", 3)[3].strip()
        for line in done.stderr.splitlines()
        if "| ERROR " in line
    ]


def refused(tmp_path: Path, **settings: Any) -> list[str]:
    """Return what is said of a configuration that has to be refused."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"api_key": "k" * 20} | settings))
    done = command("--config", str(file))
    assert done.returncode == 78
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return errors(done)


@pytest.mark.parametrize("argument", ["--discover", "--about", "--help", "--version"])
def test_it_tells_about_itself_without_a_key(argument: str) -> None:
    """And without a network."""
    done = command(argument)

    assert done.returncode == 0
    assert done.stdout


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"api_key": ""}, "api_key is not set"),
        ({"api_key": 12345678}, "api_key must be of type string"),
        ({"api_key": "  "}, "api_key is not set"),
        ({"api_key": "12345678\n9"}, "api_key has characters that no key has"),
        ({"api_key": "12345678é"}, "api_key has characters that no key has"),
        ({"api_url": "http://[::1/graphql"}, "api_url must be a web address"),
        ({"api_url": "http://h:99999/graphql"}, "api_url must be a web address"),
        ({"api_url": "http:///graphql"}, "api_url must be a web address"),
        ({"start_date": "0001-01-01"}, "start_date must be a date"),
        (
            {"export_include": {"masks": True}},
            "unknown setting export_include.masks: remove it",
        ),
        ({"export_filters": {"workflow_status": "x"}}, "must be one of TO_LABEL"),
        ({"export_files": []}, "export_files is empty"),
        ({"page_size": 0}, "page_size must be at least 2, not 0"),
        ({"page_size": 101}, "page_size must be at most 100, not 101"),
        ({"page_size": "many"}, "page_size must be of type integer"),
        ({"pagesize": 5}, "unknown setting pagesize: remove it"),
        ({"start_date": "last week"}, "start_date must be a date"),
        ({"api_url": "labelbox"}, "api_url must be a web address"),
        ({"api_url": "https://api.labelbox.com"}, "that ends in /graphql"),
        ({"project_ids": {"p1": 1}}, "project_ids must be of type array"),
        ({"project_ids": "[p1"}, "project_ids must be of type array; as JSON it is"),
        ({"project_ids": ","}, "project_ids is empty: fill it"),
        ({"export_include": "x"}, "export_include must be of type object"),
        ({"batch_config": 5}, "batch_config must be of type object"),
        ({"page_size": "0.5"}, "page_size must be of type integer"),
        ({"retry_seconds": "5,5"}, "retry_seconds must be of type number"),
        ({"retry_seconds": True}, "retry_seconds must be of type number"),
        ({"allow_plain_http": "maybe"}, "allow_plain_http must be of type boolean"),
        (
            {"export_include.masks": "true"},
            "unknown setting export_include.masks: remove it",
        ),
        ({"page_size.of": 5}, "unknown setting page_size.of: remove it"),
        ({"projectids": []}, "(did you mean project_ids?)"),
        ({"user_agent": "a\nb"}, "user_agent has characters"),
        ({"project_ids": []}, "project_ids is empty"),
        (
            {"label_filters": {"creator": "x"}},
            "unknown setting label_filters.creator: remove it",
        ),
        (
            {"label_filters": {"agreement_gt": "x"}},
            "label_filters.agreement_gt must be",
        ),
        (
            {"label_filters": {"created_before": "x"}},
            "label_filters.created_before must be",
        ),
        ({"lookback_seconds": -1}, "lookback_seconds must be at least 0, not -1"),
        ({"export_poll_interval": 0}, "export_poll_interval must be more than 0"),
        ({"retry_seconds": -1}, "retry_seconds must be at least 0, not -1"),
        ({"retry_seconds": "x"}, "retry_seconds must be of type number"),
        ({"requests_per_minute": 0}, "requests_per_minute must be at least 1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    """In one line, before any request; a key is not repeated."""
    (line,) = refused(tmp_path, **settings)

    assert reason in line
    assert "12345678" not in line


def test_no_key_at_all(tmp_path: Path) -> None:
    """The line says every place where it may be."""
    file = tmp_path / "config.json"
    file.write_text("{}")

    (line,) = errors(command("--config", str(file)))

    assert line == (
        "api_key is not set: set it, or TAP_LABELBOX_API_KEY or LABELBOX_API_KEY in "
        "the environment"
    )


def test_the_key_may_be_in_the_official_clients_variable(
    run: Runner, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Without any setting for it."""
    file = tmp_path / "config.json"
    settings = run.config()
    settings["api_key"] = sandbox.api_key
    del settings["api_key"]
    file.write_text(json.dumps(settings))

    done = command(
        "--config", str(file), environment={"LABELBOX_API_KEY": sandbox.api_key}
    )

    assert done.returncode == 0
    assert '"RECORD"' in done.stdout


def test_settings_may_be_in_the_environment(run: Runner) -> None:
    """As Meltano gives them, numbers too."""
    settings = {
        f"TAP_LABELBOX_{name.upper()}": value if isinstance(value, str) else str(value)
        for name, value in run.config(page_size=50).items()
    }

    done = command("--config", "ENV", environment=settings)

    assert done.returncode == 0, done.stderr


def test_a_test_reads_one_record_of_each_stream(run: Runner, sandbox: Sandbox) -> None:
    """That is what `meltano config test` waits for; it asks for no more."""
    done = run.command("--test", concurrency=8)

    assert done.returncode == 0, done.stderr
    result = Output(done.stdout)
    streams = {m["stream"] for m in result.messages if m["type"] == "SCHEMA"}
    assert streams == {*PRIMARY_KEYS}
    assert all(len(result.records(stream)) <= 1 for stream in streams)
    assert len(result.records("labels")) == 1
    asked = [r.operation for r in sandbox.requests]
    assert asked.count("StartExport") == 1
    assert asked.count("ExportLabels") <= 3  # until the first is ready


@pytest.mark.parametrize("arguments", [[], ["--test"]])
def test_a_wrong_key(run: Runner, arguments: list[str]) -> None:
    """One line: what is wrong, and what to do."""
    done = run.command(*arguments, api_key="lb-wrong-0123456789")

    (line,) = errors(done)
    assert done.returncode == 78
    assert "does not accept the API key" in line
    assert "set api_key" in line
    assert "Traceback" not in done.stderr
    assert "lb-wrong-0123456789" not in done.stderr + done.stdout


def test_an_address_that_answers_html(run: Runner, sandbox: Sandbox) -> None:
    """As a proxy's login page does."""
    page = Reply(200, {"Content-Type": "text/html"}, b"<html>Log in</html>")
    sandbox.before = lambda _: page

    done = run.command()

    (line,) = errors(done)
    assert done.returncode == 78
    assert "text/html instead of JSON: check api_url" in line
    assert "Traceback" not in done.stderr


def test_nobody_at_the_address(run: Runner) -> None:
    """The line says which, and that it was tried again."""
    done = run.command(api_url="http://127.0.0.1:9/graphql", retry_seconds=0.1)

    (line,) = errors(done)
    assert done.returncode == 78
    assert "127.0.0.1:9" in line
    assert "refused" in line
    assert re.search(r"given up after \d+ tries", line)
    assert "Traceback" not in done.stderr


def test_projects_that_are_left_out(run: Runner) -> None:
    """Each is named, the rest is read, and the exit code tells."""
    world = run.world
    good, bad = world.projects[0].id, world.forbidden_project.id

    done = run.command(project_ids=[good, bad, "cunknown"])

    assert done.returncode == 1
    assert [line for line in errors(done) if bad in line and "left out" in line]
    assert [line for line in errors(done) if "project cunknown is left out" in line]
    assert good not in " ".join(errors(done))
    assert f'"project_id":"{good}"' in done.stdout.replace(": ", ":")
    assert "Traceback" not in done.stderr


def test_a_key_may_end_in_a_line_feed(run: Runner, sandbox: Sandbox) -> None:
    """As one does that was read from the file of a secret; null is no setting."""
    done = run.command(api_key=f"{sandbox.api_key}\n", start_date=None)

    assert done.returncode == 0


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ('{"state": {"bookmarks": {}}}', "has no bookmarks: give one that a"),
        ('{"labels": {}}', "has no bookmarks: give one that a target printed"),
        ("null", "has no bookmarks"),
        ("[]", "has no bookmarks"),
        ('{"bookmarks": {"x": {"y": %s}}}' % ("[" * 900 + "]" * 900), "too deeply"),
        (
            '{"bookmarks": {"x": %s}}' % ('{"y":' * 2000 + "1" + "}" * 2000),
            "too deeply",
        ),
        (
            '{"bookmarks": {"labels": {"partitions": [{"context": {}}]}}}',
            "--state has a partition of labels without project",
        ),
        (
            (
                '{"bookmarks": {"labels": {"partitions": ['
                '{"context": {"project_id": null}}]}}}'
            ),
            "--state has a partition of labels without project",
        ),
        (
            '{"bookmarks": {"labels": {"partitions": [%s, %s]}}}'
            % (('{"context": {"project_id": "PROJECT"}}',) * 2),
            "--state has two bookmarks of labels for project",
        ),
    ],
)
def test_a_state_that_is_none(
    run: Runner, tmp_path: Path, text: str, logged: str
) -> None:
    """One line says what is wrong, and nothing is read again from the beginning."""
    file = tmp_path / "state.json"
    file.write_text(text.replace("PROJECT", run.world.projects[0].id))

    done = run.command("--state", str(file))

    assert done.returncode == 78
    (error,) = errors(done)
    assert logged in error
    assert "Traceback" not in done.stderr
    assert Output(done.stdout).records("labels") == []


@pytest.mark.parametrize("wrapper", ["value", "singer_state"])
def test_a_state_in_its_wrapper(run: Runner, tmp_path: Path, wrapper: str) -> None:
    """A STATE message, and what Meltano keeps."""
    state = run("labels").state
    content = {wrapper: state} | ({"type": "STATE"} if wrapper == "value" else {})
    file = tmp_path / "state.json"
    file.write_text(json.dumps(content))

    done = run.command("--state", str(file), lookback_seconds=0)

    assert done.returncode == 0
    assert Output(done.stdout).states[0] == state


@pytest.mark.parametrize(
    "bookmark",
    [
        None,
        [],
        {"partitions": None},
        {"partitions": [None]},
        {"partitions": [{"context": {"project_id": "p"}, "export": "x"}]},
        {"partitions": [{"context": {"project_id": "p"}, "export": []}]},
    ],
)
def test_a_malformed_bookmark(run: Runner, tmp_path: Path, bookmark: Any) -> None:
    """It is named, and what to do."""
    file = tmp_path / "state.json"
    file.write_text(json.dumps({"bookmarks": {"annotations": bookmark}}))

    done = run.command("--state", str(file))

    assert done.returncode == 78
    (error,) = errors(done)
    assert "has an invalid bookmark for annotations: run once without --state" in error


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
def test_a_file_that_is_no_json(run: Runner, tmp_path: Path, option: str) -> None:
    """One line that names the option."""
    broken = tmp_path / "broken.json"
    broken.write_text('{"bookmarks": ')

    done = run.command(option, str(broken))

    (line,) = errors(done)
    assert done.returncode == 78
    assert line.startswith(f"{option} ")


def test_a_catalog_with_an_unknown_stream(run: Runner, tmp_path: Path) -> None:
    """It may be of another version: it is named, and the others are read."""
    catalog = json.loads(command("--discover").stdout)
    projects = next(s for s in catalog["streams"] if s["stream"] == "projects")
    unknown = projects | {"stream": "comments", "tap_stream_id": "comments"}
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps({"streams": [unknown, projects]}))

    done = run.command("--catalog", str(file))

    assert done.returncode == 0
    assert "a stream that this tap does not know: comments" in done.stderr
    assert '"stream":"projects"' in done.stdout


def test_no_secret_is_anywhere(
    run: Runner, sandbox: Sandbox, world: World, tmp_path: Path
) -> None:
    """Not in the log, at its most talkative, whatever fails, nor in the state."""
    file = tmp_path / "config.json"
    project_ids = [world.projects[0].id]
    file.write_text(json.dumps(run.config(project_ids=project_ids, retry_seconds=9)))
    text = f"You have exceeded {sandbox.api_key} https://a.b/c?Signature=1"
    elsewhere = {"Location": "http://a.b/c?X-Amz-Signature=1"}
    asked = iter(
        [Reply(503), Reply(200, {}, b"{}", cut=1), Reply(200, {}, {"message": text})]
    )
    files = iter(
        [Reply(503), Reply(200, {}, b"[]", cut=1), Reply(403), Reply(302, elsewhere)]
    )
    links: list[str] = []

    def fail(request: Request) -> Reply | None:
        if "Signature=" not in request.path:
            return next(asked, None)
        links.append(request.path)
        return next(files, None)

    sandbox.before = fail
    talk = {"TAP_LABELBOX_LOGLEVEL": "DEBUG", "LOGLEVEL": "DEBUG"}
    quick = (
        "from tap_labelbox import tap; from tap_labelbox.api import retries; "
        "retries.MAX_PAUSE_SECONDS = 0.01; "
    )

    done = command(
        *("--config", str(file)),
        environment=talk,
        program=("-c", quick + "tap.TapLabelbox.cli()"),
    )

    assert done.returncode == 1  # for the redirect
    assert next(asked, None) is next(files, None) is None
    assert "trying again" in done.stderr
    # Rows hold signed addresses of their own: they are what was asked for.
    lines = [text for text in done.stdout.splitlines() if '"RECORD"' not in text]
    assert '"STATE"' in lines[-1]
    written = done.stderr + "".join(lines)
    signatures = {link.partition("Signature=")[2] for link in links}
    for secret in ("Signature=", "X-Amz", *signatures):
        assert secret not in written
    for secret in (sandbox.api_key, b64encode(sandbox.api_key.encode()).decode()[:-4]):
        assert secret not in done.stderr + done.stdout
