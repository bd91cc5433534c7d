"""The source of Airbyte: its messages, and that no record is lost between states."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from collections import Counter
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from tap_labelbox.airbyte import catalog as catalogs
from tap_labelbox.airbyte import command, form
from tap_labelbox.airbyte.writer import AirbyteWriter, escaped
from tap_labelbox.exit_codes import Ending
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.settings import SETTINGS
from tap_labelbox.streams import STREAMS as CLASSES
from tests.airbyte import (
    AirbyteRunner,
    configured,
    last_states,
    messages,
    read_files,
    records,
    source,
    state_of,
    statuses,
)
from tests.kills import Cut, run_until
from tests.runner import PRIMARY_KEYS, SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_labelbox.sandbox import Request
    from tests.airbyte import Message
    from tests.runner import Runner

BY_DEFAULT = [c.name for c in CLASSES if c.selected_by_default]
EXPORTED = ["annotations", "export_labels", "data_row_exports", "export_errors"]
SOME = [*EXPORTED, "labels", "projects", "datasets"]


def read(run: Runner, *names: str, **arguments: Any) -> list[Message]:
    """Read streams as the command does, in this process."""
    catalog = arguments.pop("catalog", None) or configured(*names)
    _, _, config, _, at, *rest = read_files(run, catalog, **arguments)
    options = Namespace(config=config, catalog=at, state=rest[1] if rest else None)
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(written):
        reading = command.Source(options)
        command.run(reading, reading.read)
    written.seek(0)
    return messages(written.read())


@pytest.fixture(autouse=True)
def signals() -> Any:
    """Keep the handlers of this process, which a read replaces."""
    kept = {number: signal.getsignal(number) for number in command.SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


# --- spec, check, discover ---------------------------------------------------------


def test_the_form_has_every_setting() -> None:
    """But for what is about Singer's messages; each has one type, and a place."""
    schema = form.spec()["spec"]["connectionSpecification"]
    fields = schema["properties"]

    Draft7Validator.check_schema(schema)
    assert set(SETTINGS["properties"]) - set(fields) == set(form.EXCLUDED)
    assert [field["order"] for field in fields.values()] == [*range(len(fields))]
    parts = [p for f in fields.values() for p in f.get("properties", {}).values()]
    for field in [*fields.values(), *parts]:
        assert isinstance(field["type"], str)
        assert field["description"]
        assert None not in field.get("enum", [])
    secret = {name for name, field in fields.items() if field.get("airbyte_secret")}
    assert secret == {"api_key", "pseudonymize_salt"}
    assert schema["required"] == ["api_key"]
    assert schema["additionalProperties"] is True


def test_what_a_form_leaves_empty_is_not_set() -> None:
    """Nor is what this version does not know, and that is logged."""
    warnings: list[str] = []
    filled = {
        "api_key": "k",
        "start_date": "",
        "project_ids": [],
        "label_filters": {"type_id": "", "dataset_id": None},
        "export_include": {"embeddings": False, "sounds": True},
        "batch_config": {"encoding": {"format": "jsonl"}},
        "concurrency": 0,
    }

    settings = form.settings(filled, warnings.append)

    export_include = {"embeddings": False}
    expected = {"api_key": "k", "export_include": export_include, "concurrency": 0}
    assert settings == expected
    assert len(warnings) == 2
    assert "export_include.sounds" in warnings[0]
    assert "batch_config" in warnings[1]


def test_spec_and_discover_need_no_network(tmp_path: Path) -> None:
    """Each writes one message, of all streams with what they can do."""
    config = tmp_path / "config.json"
    config.write_text("{}")
    (spec,) = messages(source("spec").stdout)
    done = source("discover", "--config", config)
    (catalog,) = messages(done.stdout)

    assert spec == json.loads(json.dumps(form.spec()))
    assert (done.returncode, done.stderr) == (0, "")
    streams = catalog["catalog"]["streams"]
    assert {stream["name"] for stream in streams} == {c.name for c in CLASSES}
    for stream in streams:
        key = [column for (column,) in stream["source_defined_primary_key"]]
        assert key == list(PRIMARY_KEYS[stream["name"]])
        is_incremental = "incremental" in stream["supported_sync_modes"]
        assert stream["source_defined_cursor"] == is_incremental
        for column in [*key, *stream["default_cursor_field"]]:
            assert column in stream["json_schema"]["properties"]


def checked(run: Runner, **settings: Any) -> dict[str, str]:
    """Return what a check finds, in this process."""
    options = Namespace(config=str(run.config_file(**settings)))
    written = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(written):
        checking = command.Source(options)
        assert command.run(checking, checking.check) == 0
    written.seek(0)
    (message,) = messages(written.read())
    result: dict[str, str] = message["connectionStatus"]
    return result


def test_check_counts_projects(run: Runner) -> None:
    """If the key opens the workspace."""
    status = checked(run)

    assert status == {"status": "SUCCEEDED", "message": "4 projects"}


def test_check_names_what_may_not_be_read(serving: Callable[..., Runner]) -> None:
    """That does not fail it: the stream can be left out."""
    run = serving(World(seed=1), refuse=["Query.iamIntegrations"])

    status = checked(run)

    assert status["status"] == "SUCCEEDED"
    assert "may not read iam_integrations" in status["message"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"api_key": "wrong"}, "does not accept the API key"),
        ({"page_size": 1000}, "page_size must be at most 100"),
        ({"project_ids": ["gone"]}, "project gone: deleted, unknown"),
        ({"project_names": ["none"]}, "project_names"),
    ],
)
def test_check_fails_with_what_is_wrong(
    run: Runner, settings: dict[str, Any], message: str
) -> None:
    """As the form shows it."""
    status = checked(run, **settings)

    assert status["status"] == "FAILED"
    assert message in status["message"]


# --- read --------------------------------------------------------------------------


def test_records_are_those_of_singer(run: Runner) -> None:
    """Of every stream, and what their states count are all of them."""
    expected = run()

    output = read(run, *BY_DEFAULT)

    by_stream = records(output)
    counts: Counter[str] = Counter()
    for message in output:
        if message["type"] == "STATE":
            name, _, number = state_of(message)
            counts[name] += int(number)
    for name in BY_DEFAULT:
        own = by_stream[name]
        if name not in SNAPSHOTS:
            key = PRIMARY_KEYS[name]
            keys = [[str(row[column]) for column in key] for row in own]
            singer = expected.records(name)
            assert sorted(keys) == sorted([str(r[c]) for c in key] for r in singer)
        assert counts[name] == len(own)
    assert sum(map(len, by_stream.values())) > 1000


def test_states_come_after_what_they_count(run: Runner) -> None:
    """Each state has the number of records since the one before it."""
    since: Counter[str] = Counter()
    for message in read(run, *SOME):
        if message["type"] == "RECORD":
            since[message["record"]["stream"]] += 1
        if message["type"] == "STATE":
            name, _, number = state_of(message)
            assert number == since.pop(name, 0)

    assert not since


def test_a_stream_is_complete_when_it_is_done(run: Runner) -> None:
    """Not at the end of the run; and nothing of it comes after that."""
    output = read(run, *SOME)

    over: list[str] = []
    for message in output:
        if status := message.get("trace", {}).get("stream_status"):
            name = status["stream_descriptor"]["name"]
            if status["status"] == "COMPLETE":
                over.append(name)
        elif message["type"] == "RECORD":
            assert message["record"]["stream"] not in over
        elif message["type"] == "STATE":
            assert state_of(message)[0] not in over
    assert sorted(over) == sorted(SOME)
    for name, own in statuses(output).items():
        has_records = name != "export_errors"
        assert own == ["STARTED", *["RUNNING"] * has_records, "COMPLETE"]
    last = max(i for i, m in enumerate(output) if m["type"] == "RECORD")
    done = [m.get("trace", {}).get("stream_status", {}) for m in output[:last]]
    assert "COMPLETE" in [status.get("status") for status in done]


def test_a_second_read_brings_what_a_second_run_does(run: Runner) -> None:
    """Goes on from the last states; what is read whole comes again."""
    first, states = run(*SOME), last_states(read(run, *SOME))
    a_while_ago = datetime.now(UTC) - timedelta(minutes=3)
    run.world.add_label(run.world.projects[0].id, a_while_ago)
    expected = run(*SOME, state=first.state)

    output = read(run, *SOME, state=[*states.values()])

    by_stream = records(output)
    assert {n: len(own) for n, own in by_stream.items()} == {
        n: len(expected.records(n)) for n in SOME if expected.records(n)
    }
    assert 0 < len(by_stream["annotations"]) < 200


def test_full_refresh_reads_all(run: Runner) -> None:
    """Whatever state there is; of what shares the export, all as well."""
    states = [*last_states(read(run, *EXPORTED, "labels")).values()]

    separate = read(run, catalog=configured("labels", full=["labels"]), state=states)
    catalog = configured(*EXPORTED, full=["export_labels"])
    shared = read(run, catalog=catalog, state=states)

    there = run("annotations", "export_labels", "labels")
    assert len(records(separate)["labels"]) == len(there.records("labels"))
    own = [state_of(m)[1] for m in separate if m["type"] == "STATE"]
    assert own == [{}]
    for name in ("annotations", "export_labels"):
        assert len(records(shared)[name]) == len(there.records(name))


def test_what_has_no_cursor_is_read_whole(run: Runner) -> None:
    """Also if it is to be incremental, as PyAirbyte has it for all."""
    catalog = configured("projects")
    catalog["streams"][0]["sync_mode"] = "incremental"

    output = read(run, catalog=catalog)

    assert len(records(output)["projects"]) == len(run.world.projects)
    assert statuses(output)["projects"][-1] == "COMPLETE"


def test_columns_that_are_not_configured_do_not_come(run: Runner) -> None:
    """But the key and the cursor do."""
    catalog = configured("labels")
    schema = {"properties": {"type_name": {"type": "string"}}}
    catalog["streams"][0]["stream"] = {"name": "labels", "json_schema": schema}

    rows = records(read(run, catalog=catalog))["labels"]

    assert {frozenset(row) for row in rows} == {
        frozenset(("id", "type_name", "created_at"))
    }


def test_no_character_cuts_a_line(run: Runner) -> None:
    """Not for those who cut where `splitlines` does."""
    project = run.world.projects[0]
    project.name = "a\u2028b\u2029c\u0085d\x0be\x1cf"

    args = read_files(run, configured("projects"))
    output = source(*args).stdout

    assert output.splitlines() == output.split("\n")[:-1]
    names = [row["name"] for row in records(messages(output))["projects"]]
    assert project.name in names


@given(st.text(st.sampled_from("a\u0085\u2028\u2029\u2027\u0084é…\U0001f600")))
def test_escapes_keep_the_text(text: str) -> None:
    """Whatever stands around what is escaped."""
    line = json.dumps(text, ensure_ascii=False).encode()

    result = escaped(line).decode()

    assert json.loads(result) == text
    assert len(result.splitlines()) == 1


def test_everything_on_standard_output_is_a_message(run: Runner) -> None:
    """The log too, and there are no metrics, and no key, in it."""
    args = [*read_files(run, configured(*SOME)), "--debug"]
    done = source(*args)

    assert (done.returncode, done.stderr) == (0, "")
    logged = [m["log"] for m in messages(done.stdout) if m["type"] == "LOG"]
    assert {"INFO", "DEBUG"} <= {line["level"] for line in logged}
    assert not [line for line in logged if "METRIC" in line["message"]]
    assert not [line for line in logged if line["message"].startswith("{")]
    assert run.sandbox.api_key not in done.stdout


def test_states_come_one_by_one_or_together() -> None:
    """A list with one of each stream, or a single one with those of all; or none."""
    own = [
        {"stream_descriptor": {"name": name}, "stream_state": {"partitions": []}}
        for name in ("labels", "annotations")
    ]
    apart = [{"type": "STREAM", "stream": state} for state in own]
    together = [{"type": "GLOBAL", "global": {"stream_states": own}}]
    expected: dict[str, Any] = {
        name: {"partitions": []} for name in ("labels", "annotations")
    }

    assert catalogs.states(apart) == catalogs.states(together) == expected
    assert catalogs.states([]) == catalogs.states({}) == {}


# --- what goes wrong ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "state", "stream", "message", "failure"),
    [
        ({"api_key": "wrong"}, None, "projects", "API key", Ending.CONFIG),
        ({"page_size": 1}, None, "projects", "page_size", Ending.CONFIG),
        ({}, {"bookmarks": {}}, "projects", "--state", Ending.CONFIG),
        ({}, None, "nothing", "unknown stream", Ending.CONFIG),
        ({"project_ids": ["gone"]}, None, "projects", "gone", Ending.INCOMPLETE),
    ],
)
def test_the_last_message_is_why_it_failed(
    run: Runner,
    settings: dict[str, Any],
    state: Any,
    stream: str,
    message: str,
    failure: Ending,
) -> None:
    """With the type that Airbyte decides by whether to try again."""
    catalog = configured("projects")
    catalog["streams"][0]["stream"] = {
        **catalog["streams"][0]["stream"],
        "name": stream,
    }

    done = source(*read_files(run, catalog, state, **settings))

    assert (done.returncode, done.stderr) == (failure.code, "")
    *before, last = messages(done.stdout)
    assert last["trace"]["type"] == "ERROR"
    assert last["trace"]["error"]["failure_type"] == failure.failure_type
    assert message in last["trace"]["error"]["message"]
    assert all(m.get("trace", {}).get("type") != "ERROR" for m in before)


def test_an_outage_is_transient(run: Runner) -> None:
    """Airbyte tries it again; no stream is complete that was not read."""
    numbers = count()
    run.sandbox.before = lambda _: Reply(status=503) if next(numbers) else None

    output = read(run, "projects", "labels", "users")

    assert output[-1]["trace"]["error"]["failure_type"] == "transient_error"
    assert statuses(output)["projects"][-1] == "COMPLETE"
    assert statuses(output)["labels"] == ["STARTED", "INCOMPLETE"]


def test_only_what_lacks_something_is_incomplete(run: Runner) -> None:
    """A stream that may not be read does not make others incomplete."""
    refused = {"errors": [{"message": "no", "extensions": {"code": "FORBIDDEN"}}]}

    def answer(request: Request) -> Reply | None:
        asks = request.operation == "Datasets" or "datasets(" in str(request.query)
        return Reply(body=refused) if asks else None

    run.sandbox.before = answer

    output = read(run, "projects", "datasets", "labels")

    ends = {name: own[-1] for name, own in statuses(output).items()}
    assert ends == {
        "projects": "COMPLETE",
        "datasets": "INCOMPLETE",
        "labels": "COMPLETE",
    }
    assert output[-1]["trace"]["type"] == "ERROR"


def test_a_stop_ends_with_states_and_the_signal(run: Runner) -> None:
    """What was read is kept, and the process dies as one that was stopped does."""
    polled = threading.Event()

    def delay(request: Request) -> Reply | None:
        if request.operation and "label" in request.operation.lower():
            polled.set()
            return Reply(delay=60)
        return None

    run.sandbox.before = delay
    args = read_files(run, configured("projects", "labels"))
    with subprocess.Popen(
        [sys.executable, "-m", "tap_labelbox.airbyte", *args],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert polled.wait(60)
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60)

    output = messages(text)
    assert process.returncode == -signal.SIGTERM
    assert statuses(output)["labels"] == ["STARTED", "INCOMPLETE"]
    assert "labels" in last_states(output)
    assert output[-1]["trace"]["error"]["failure_type"] == "transient_error"


def test_a_stop_before_a_read_is_silent(run: Runner) -> None:
    """PyAirbyte stops a discovery halfway; there is nothing to conclude."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tap_labelbox.airbyte", "read"),
            *("--config", "/dev/stdin", "--catalog", "/dev/null"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err) == (-signal.SIGTERM, b"", b"")
    del run


def test_nothing_follows_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Not from another thread either, and all lines are whole until then."""
    writer = AirbyteWriter()
    over = threading.Event()

    def chatter() -> None:
        while not over.is_set():
            writer.log("INFO", "x" * 1000)

    threads = [threading.Thread(target=chatter) for _ in range(4)]
    for thread in threads:
        thread.start()
    writer.read({"labels": True}, {})
    for number in range(2000):
        writer.write_record("labels", None, {"id": number})
    writer.fail("that is it", "system_error")
    over.set()
    for thread in threads:
        thread.join()
    writer.log("INFO", "too late")

    output = messages(capfd.readouterr().out)
    assert output[-1]["trace"]["error"]["message"] == "that is it"
    assert [row["id"] for row in records(output)["labels"]] == [*range(2000)]


# --- nothing is lost ---------------------------------------------------------------

KILLS = 3
MAX_LINES = 700  # those of a whole read
KILLED = [
    *("annotations", "export_labels", "data_row_exports", "label_reviews"),
    *("export_errors", "labels", "label_versions", "bulk_export", "projects"),
]


@pytest.mark.parametrize("number", range(4))
def test_no_subset_of_states_loses_a_record(
    serving: Callable[..., Runner], number: int, request: pytest.FixtureRequest
) -> None:
    """Killed anywhere, with the last states of any streams kept, and read on.

    Of each stream, the warehouse has the records before the state that it kept, and
    no others.
    """
    seed = number + request.config.getoption("--seed")
    chance = random.Random(seed)
    is_many = request.config.getoption("--every-fault")
    plain = serving(World(seed=3, labels=40), part_size=10_000)
    run = AirbyteRunner(plain.sandbox, plain.world, plain.folder)
    states: dict[str, Any] = {}
    committed: dict[str, set[tuple[Any, ...]]] = {name: set() for name in KILLED}

    def commit(output: list[Message], kept: set[str]) -> None:
        pending: dict[str, list[tuple[Any, ...]]] = {name: [] for name in KILLED}
        for message in output:
            if message["type"] == "RECORD":
                name, row = message["record"]["stream"], message["record"]["data"]
                pending[name].append(tuple(row[k] for k in PRIMARY_KEYS[name]))
            elif message["type"] == "STATE":
                name = state_of(message)[0]
                if name in kept:
                    committed[name].update(pending[name])
                    states[name] = message["state"]
                pending[name].clear()

    now = datetime(2026, 6, 1, tzinfo=UTC)
    for _ in range(KILLS * (5 if is_many else 1)):
        now += timedelta(hours=1)
        cut = Cut(
            lines=chance.randrange(MAX_LINES),
            within=chance.random(),
            gently=chance.random() < 0.3,
        )
        killed = run_until(run, cut, *KILLED, state=[*states.values()], now=now)
        kept = {name for name in KILLED if chance.random() < 0.6}
        commit(killed.messages, kept)
        if chance.random() < 0.5:
            run.world.add_label(chance.choice(run.world.projects).id)

    for _ in range(2):  # an export that is read on is older than what came since
        now += timedelta(hours=1)
        whole = run_until(run, Cut(), *KILLED, state=[*states.values()], now=now)
        commit(whole.messages, set(KILLED))
        assert whole.error is None

    there = plain(*KILLED, now=now)
    for name in KILLED:
        rows = there.records(name)
        expected = {tuple(row[k] for k in PRIMARY_KEYS[name]) for row in rows}
        assert expected <= committed[name], name
