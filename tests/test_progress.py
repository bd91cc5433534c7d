"""The log of a run for a person: plan, progress, waits, and sums at its end."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk import metrics

from tap_labelbox.progress import MAX_SAME_WARNINGS, Progress, summary_lines
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.replies import error
from tap_labelbox.streams import STREAMS
from tests.runner import Output, command, read_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Request, Sandbox
    from tests.runner import Runner

PAGE = (Path(__file__).parent.parent / "docs" / "running.md").read_text("utf-8")
MAX_LINES = 25  # beside the table
SECOND = timedelta(seconds=1)
TABLE_HEAD = "stream records requests retries seconds"
LOGGER = logging.getLogger("tap-labelbox")
SUMMARY = LOGGER.getChild("summary")
DEFAULT = [stream for stream in STREAMS if stream.selected_by_default]


class Clock:
    """A clock that passes when it is told to."""

    def __init__(self) -> None:
        """Start at two in the afternoon."""
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds that have passed."""
        return self.seconds

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime(2026, 11, 26, 14) + self.seconds * SECOND  # noqa: DTZ001


class Table:
    """A stream, as far as progress knows it."""

    def __init__(self, name: str, record_count: int = 0) -> None:
        """Have written as many records."""
        self.name = name
        self.record_count = record_count


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def progress(clock: Clock, caplog: pytest.LogCaptureFixture) -> Progress:
    """Return the progress of a run that begins now."""
    caplog.set_level(logging.INFO)
    return Progress(LOGGER, clock=clock, now=clock.now)


class ForPeople(logging.Filter):
    """Drops records that are logged for programs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether people read a record."""
        return record.name != SUMMARY.name


@pytest.fixture
def problem(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what is logged for people from INFO on."""
    caplog.set_level(logging.INFO)
    with caplog.filtering(ForPeople()):
        yield caplog


def table(lines: list[str]) -> dict[str, list[str]]:
    """Return the rows of the last table of a log, by what they begin with."""
    lines = [" ".join(line.split()) for line in lines]
    head = max(number for number, line in enumerate(lines) if line == TABLE_HEAD)
    result = {}
    for line in lines[head + 1 :]:
        if not (match := re.fullmatch(r"(.+?)((?: [\d,.]+)+)", line)):
            break
        result[match[1]] = match[2].split()
    return result


def messages(log: str) -> list[str]:
    """Return the messages of a log as the SDK prints it."""
    return [line.split("|", 3)[3].strip() for line in log.splitlines() if "|" in line]


# --- lines now and then ----------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "most"), [(9, 0), (10, 1), (60, 5), (600, 13), (36_000, 28)]
)
def test_lines_are_few_however_long_a_run_takes(
    progress: Progress, clock: Clock, caplog: Any, seconds: int, most: int
) -> None:
    """Ten seconds apart at first, then ever more."""
    for second in range(seconds + 1):
        clock.seconds = second
        progress.look()

    assert most // 2 <= len(caplog.messages) <= most


def test_a_line_says_where_a_run_is(progress: Progress, clock: Clock) -> None:
    """Projects, records, retries, and what is waited for since when."""
    assert progress.line() == "Starting: 0 records"
    with progress.reading("labels", [Table("labels", 12_400)]):
        progress.turn(3, 13)
        assert progress.line() == "labels: 3 of 13 projects, 12,400 records"
        progress.retry(30, everybody=False)
        with progress.waiting("the export of project Cars"):
            clock.seconds = 20
            assert progress.line() == (
                "labels: 3 of 13 projects, 12,400 records, 1 retry, waiting for the "
                "export of project Cars since 14:00:00, trying again at 14:00:30"
            )
        progress.retry(60, everybody=True)
        assert progress.line().endswith("2 retries, all requests wait until 14:01:20")
        clock.seconds = 90
        assert progress.line().endswith("12,400 records, 2 retries")


def test_a_line_names_what_has_its_turn(progress: Progress) -> None:
    """Parents need not be projects."""
    with progress.reading("data_rows", []):
        progress.turn(3, 13, "dataset")

        assert progress.line() == "data_rows: 3 of 13 datasets, 0 records"


def test_warnings_of_one_kind_are_few(progress: Progress, caplog: Any) -> None:
    """However many there are; the rest is at DEBUG."""
    caplog.set_level(logging.DEBUG)
    for number in range(100):
        progress.warn("%d: once more", number)
    progress.warn("something else")

    levels = [(r.levelno, r.getMessage()) for r in caplog.records]
    shown = [m for level, m in levels if level == logging.WARNING]
    assert len(levels) == 101
    assert shown[0] == "0: once more"
    assert shown[-2:] == [
        "4: once more (more of these are logged at DEBUG)",
        "something else",
    ]
    assert len(shown) == MAX_SAME_WARNINGS + 1


def test_a_summary_is_json_and_a_table(progress: Progress, clock: Clock) -> None:
    """The data is apart from the words."""
    with progress.reading("export", [Table("rows", 1000), Table("notes")]):
        progress.request()
        progress.request()
        progress.retry(1, everybody=False)
        clock.seconds = 90.25
    left_out = [(f"project p{number}", "deleted") for number in range(12)]

    summary = progress.summary("Finished", left_out)

    assert json.loads(json.dumps(summary))["passes"] == [
        {
            "name": "export",
            "records": {"rows": 1000, "notes": 0},
            "requests": 2,
            "retries": 1,
            "seconds": 90.25,
        }
    ]
    lines = [*summary_lines(summary)]
    assert lines[0] == ("Finished after 1 min 30 s: 1,000 records, 2 requests, 1 retry")
    assert table(lines) == {
        "export": ["1,000", "2", "1", "90.2"],
        "- rows": ["1,000"],
        "- notes": ["0"],
    }
    assert lines[-2:] == [
        "left out: project p9 (deleted)",
        "left out: 2 more, named above or at DEBUG",
    ]


def shown(name: str, language: str) -> str:
    """Return what the page shows under a name."""
    block = PAGE.split(f"<!-- begin {name} -->\n```{language}\n")[1]
    return block.split("```")[0]


def form(value: Any) -> Any:
    """Return JSON with types in place of what differs from run to run."""
    if isinstance(value, list):
        return [form(item) for item in value]
    if isinstance(value, dict):
        return {name: form(item) for name, item in value.items()}
    return value if isinstance(value, str) else "number"


def test_the_summary_that_is_shown_is_one(run: Runner, caplog: Any) -> None:
    """But for its numbers."""
    caplog.set_level(logging.INFO)
    expected = json.loads(shown("summary", "json"))
    streams = {name for item in expected["passes"] for name in item["records"]}
    project_ids = [*(p.id for p in run.world.projects), "nope"]

    output = run(*streams, project_ids=project_ids)

    (record,) = [r for r in caplog.records if r.name == SUMMARY.name]
    assert record.levelno == logging.INFO
    summary = json.loads(record.getMessage())
    assert "\n" not in record.getMessage()
    assert form(summary) == form(expected)
    assert [*summary] == [*expected]
    for item in summary["passes"]:
        for name, count in item["records"].items():
            assert count == len(output.records(name))
    assert summary["requests"] == len([r for r in run.sandbox.requests if r.operation])


def test_people_at_a_terminal_get_no_json(
    progress: Progress, caplog: Any, monkeypatch: Any
) -> None:
    """Unless they have said where it is to go."""
    monkeypatch.setattr("sys.stderr", Terminal())
    progress.log_summary("Finished", [])
    assert [r.name for r in caplog.records] == [LOGGER.name]

    handler = logging.NullHandler()
    SUMMARY.addHandler(handler)
    try:
        progress.log_summary("Finished", [])
    finally:
        SUMMARY.removeHandler(handler)
    assert [r.name for r in caplog.records].count(SUMMARY.name) == 1


class Terminal:
    """Standard error at which somebody sits."""

    @staticmethod
    def isatty() -> bool:
        """Return that it is one."""
        return True


def test_a_summary_has_a_file_of_its_own(
    run: Runner, tmp_path: Path, monkeypatch: Any
) -> None:
    """With the configuration that is shown: a line a run, and none in the log."""
    (tmp_path / "log.yaml").write_text(shown("log config", "yaml"))
    (tmp_path / "config.json").write_text(json.dumps(run.config()))
    (tmp_path / "catalog.json").write_text('{"streams": []}')
    monkeypatch.chdir(tmp_path)
    arguments = ("--config", "config.json", "--catalog", "catalog.json")

    for _ in range(2):
        done = command(*arguments, environment={"SINGER_SDK_LOG_CONFIG": "log.yaml"})
        assert done.returncode == 0
        assert "Finished after" in done.stderr
        assert '"outcome"' not in done.stderr

    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["Finished", "Finished"]


# --- whole runs ------------------------------------------------------------------


def test_the_table_adds_up(run: Runner, problem: Any) -> None:
    """Records are those written, requests those that Labelbox was sent."""
    output = run(start_date="2020-01-01")

    rows = table(problem.messages)
    streams = {m["stream"] for m in output.messages if m["type"] == "SCHEMA"}
    counts = {
        name.removeprefix("- "): int(r[0].replace(",", "")) for name, r in rows.items()
    }
    for stream in streams:
        assert counts[stream] == len(output.records(stream))
    asked = [r for r in run.sandbox.requests if not r.path.startswith("/files/")]
    assert sum(int(row[1]) for row in rows.values() if len(row) > 1) == len(asked)
    assert problem.messages[0].startswith(
        f"Reading {len(DEFAULT)} streams from start_date (2020-01-01T00:00:00.000Z): "
    )
    assert "Projects to read: 4 of the 4 that the API key sees" in problem.messages


def test_a_run_that_goes_on_says_from_where(run: Runner, problem: Any) -> None:
    """From the oldest bookmark to the newest."""
    state = run("labels").state
    values = [
        p["replication_key_value"]
        for p in state["bookmarks"]["labels"]["partitions"]
        if "replication_key_value" in p
    ]
    problem.clear()

    run("labels", state=state, project_ids=[run.world.projects[0].id])

    (line,) = [m for m in problem.messages if m.startswith("Reading")]
    assert line == (
        f"Reading 1 streams from bookmarks of {min(values)} to {max(values)}, else "
        "from the beginning: labels"
    )
    assert "Projects to read: 1 of the 4 that the API key sees" in problem.messages


def shape(line: str) -> str:
    """Return a line of a log without its numbers, and how they are aligned."""
    return " ".join(re.sub(r"[\d,.]*\d", "0", line).replace("retry", "retries").split())


def test_the_log_that_is_shown_is_a_log(
    serving: Callable[..., Runner], problem: Any, progress: Progress
) -> None:
    """But for its numbers."""
    text = shown("log", "text")
    run = serving(World(projects=13, labels=1300))
    progress.retry(10, everybody=True)
    streams = text.partition("\n")[0].partition(": ")[2].split(", ")

    run(*streams)

    with progress.reading("labels", [Table("labels")]):
        progress.turn(4, 13)
        progress.retry(10, everybody=True)
        held = progress.line()
    progress = Progress(LOGGER)
    with (
        progress.reading("data row export", []),
        progress.waiting("the export of project Parked cars"),
    ):
        progress.turn(8, 13)
        waiting = progress.line()
    between = [shape(waiting), shape(held)]
    logged = [
        line for line in map(shape, problem.messages) if " of 0 projects" not in line
    ]
    head, table = logged[:2], logged[2:]
    assert [shape(line) for line in text.splitlines()] == [*head, *between, *table]


@pytest.mark.parametrize("faults", [0.0, 0.1])
def test_a_night_of_many_projects_fits_one_screen(
    serving: Callable[..., Runner], problem: Any, monkeypatch: Any, faults: float
) -> None:
    """Whatever happens in it, as long as nothing is left out."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("tap_labelbox.api.errors.MAX_RETRY_AFTER_SECONDS", 0.05)
    run = serving(World(projects=120, labels=150), faults=faults, polls=1)

    output = run(retry_seconds=60, concurrency=8, lookback_seconds=60)

    assert output.error is None
    assert len(run.sandbox.requests) > 300
    rows = table(problem.messages)
    assert len(problem.messages) - len(rows) <= MAX_LINES, "\n".join(problem.messages)
    assert (sum(int(r[2]) for r in rows.values() if len(r) > 1) > 0) == bool(faults)


def test_no_value_of_a_row_is_logged(run: Runner, problem: Any) -> None:
    """But names of projects."""
    output = run()

    names = {project.name for project in run.world.projects}
    values = set()
    for message in output.messages:
        if message["type"] == "RECORD" and message["stream"] != "projects":
            columns = ("created_by_email", "global_key", "external_id", "id", "name")
            record = message["record"]
            values |= {record[c] for c in columns if isinstance(record.get(c), str)}
    assert len(values) > 100
    text = problem.text
    assert not [v for v in values - names if len(v) > 9 and v in text]


def test_what_is_left_out_is_in_the_table(run: Runner, problem: Any) -> None:
    """With why, and what to do; so is what is no failure."""
    run.sandbox.unexportable = 1
    run.sandbox.exports_v1 = "forbidden"

    output = run(project_ids=[run.world.projects[0].id, "nope"])

    assert output.error
    lines = [m for m in problem.messages if m.startswith("left out: ")]
    assert len(lines) == 3
    assert lines[0].startswith("left out: project nope (deleted, unknown")
    assert "take it out of project_ids" in lines[0]
    assert "left out: bulk_export (Labelbox does not offer" in "\n".join(lines)
    assert "left out: 1 data rows of project" in "\n".join(lines)


def test_saved_files_are_what_is_read(tmp_path: Path, problem: Any) -> None:
    """Nothing is said of projects, which nobody asks for."""
    file = tmp_path / "rows.ndjson"
    file.write_text('{"data_row": {"id": "d"}, "projects": {}}')

    read_files(file)

    assert problem.messages[0].startswith(
        f"Reading {len(DEFAULT)} streams from saved files (1 in export_files): "
    )
    assert table(problem.messages)["- data_row_exports"] == ["1"]
    names = "|".join(rf"\b{stream.name}\b" for stream in STREAMS)
    assert "project" not in re.sub(names, "", "\n".join(problem.messages[1:]))


@pytest.mark.parametrize("streams", [("projects",), ("labels",), ()])
def test_an_account_without_projects_is_a_warning(
    serving: Callable[..., Runner], problem: Any, streams: tuple[str, ...]
) -> None:
    """One, that says what to do."""
    run = serving(World(projects=0))

    output = run(*streams)

    assert output.error is None
    (warning,) = [r for r in problem.records if r.levelno == logging.WARNING]
    assert warning.getMessage().startswith("The API key sees no project")


def test_nothing_selected_is_a_warning(run: Runner, problem: Any) -> None:
    """One, that says what to do."""
    run(catalog={"streams": []})

    (warning,) = [r for r in problem.records if r.levelno == logging.WARNING]
    assert "nothing is read; select some" in warning.getMessage()
    assert not run.sandbox.requests


def test_a_wait_says_until_when(run: Runner, problem: Any) -> None:
    """For how long as well, and whether all requests wait."""
    left = [Reply(429, {"Retry-After": "1"}, {"message": "You have exceeded it"})]

    def refuse(_: Request) -> Reply | None:
        with suppress(IndexError):
            return left.pop()
        return None

    run.sandbox.before = refuse

    output = run("projects", retry_seconds=60)

    assert output.error is None
    (line,) = [m for m in problem.messages if "trying again" in m]
    assert re.search(
        r"; trying again in 1\.0 s, at \d\d:\d\d:\d\d \(all requests wait\)$", line
    )
    assert table(problem.messages)["projects"][2] == "1"


def test_a_run_that_fails_has_a_table(run: Runner, problem: Any) -> None:
    """Of what it did until then."""

    def refuse(request: Request) -> Reply | None:
        denied = error("Invalid API key", "AUTHENTICATION_ERROR")
        return Reply(401, {}, denied) if request.operation == "Labels" else None

    run.sandbox.before = refuse

    output = run("projects", "labels")

    assert output.error
    assert [m for m in problem.messages if m.startswith("Failed after ")]
    assert table(problem.messages)["projects"][0] == "4"


# --- runs of their own process ---------------------------------------------------


@pytest.mark.parametrize("by", ["SIGTERM", "max_run_seconds"])
def test_a_run_that_is_stopped_has_a_table(
    run: Runner, sandbox: Sandbox, tmp_path: Path, by: str
) -> None:
    """And says that the next one goes on."""
    sandbox.polls = 10**9
    file = tmp_path / "config.json"
    limit = {"max_run_seconds": 5} if by == "max_run_seconds" else {}
    file.write_text(json.dumps(run.config(**limit)))
    process = subprocess.Popen(
        [sys.executable, "-m", "tap_labelbox", "--config", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def stop(request: Request) -> None:
        if request.operation == "ExportStatus":
            sandbox.before = None
            if by == "SIGTERM":
                process.send_signal(signal.SIGTERM)

    sandbox.before = stop
    _, log = process.communicate(timeout=60)

    assert process.returncode == (143 if by == "SIGTERM" else 75)
    lines = messages(log)
    assert "Interrupted: the next run resumes from this state" in lines
    assert lines.index(next(m for m in lines if m.startswith("Stopped after")))
    assert table(lines)["projects"][0] == "4"
    assert "data row export" in table(lines)


LOGGED = """
version: 1
disable_existing_loggers: false
formatters: {json: {(): singer_sdk.logging.StructuredFormatter}}
handlers:
  console: {class: logging.StreamHandler, formatter: json, stream: ext://sys.stderr}
  metrics: {class: logging.FileHandler, formatter: json, filename: METRICS}
root: {level: LEVEL, handlers: [console]}
"""
GATHERED = "loggers: {singer_sdk.metrics: {handlers: [metrics], propagate: false}}\n"


@pytest.fixture
def logged(run: Runner, tmp_path: Path) -> Callable[..., tuple[Any, list[Any]]]:
    """Return what runs the tap with a logging configuration of one's own."""

    def start(level: str, more: str = "") -> tuple[Any, list[Any]]:
        config, metrics_file = tmp_path / "log.yml", tmp_path / "metrics.log"
        text = LOGGED.replace("METRICS", str(metrics_file)).replace("LEVEL", level)
        config.write_text(text + more)
        file = tmp_path / "config.json"
        file.write_text(json.dumps(run.config()))
        done = command(
            *("--config", str(file)),
            environment={"SINGER_SDK_LOG_CONFIG": str(config)},
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        gathered = metrics_file.read_text().splitlines()
        return lines, [json.loads(line) for line in gathered]

    return start


def test_structured_logging_says_the_same(logged: Any) -> None:
    """A JSON object a line, as Meltano has it, without metrics."""
    lines, _ = logged("INFO")

    problem = [line["message"] for line in lines]
    assert table(problem)["projects"][0] == "4"
    assert len(problem) - len(table(problem)) < MAX_LINES
    assert not [line for line in lines if "metric_info" in line]


def test_at_debug_there_are_metrics(logged: Any) -> None:
    """At the level DEBUG."""
    lines, _ = logged("DEBUG")

    points = [line for line in lines if "metric_info" in line]
    assert len(points) > 50
    assert {point["level"] for point in points} == {"debug"}


def test_metrics_that_somebody_gathers_go_there(logged: Any) -> None:
    """Whatever the level of the rest."""
    lines, gathered = logged("INFO", GATHERED)

    kinds = {line["metric_info"]["metric"] for line in gathered}
    assert kinds == {
        metrics.Metric.HTTP_REQUEST_DURATION.value,
        metrics.Metric.RECORD_COUNT.value,
        metrics.Metric.SYNC_DURATION.value,
    }
    assert not [line for line in lines if "metric_info" in line]


def test_the_level_comes_from_the_environment(run: Runner, tmp_path: Path) -> None:
    """As with every tap of the SDK."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(run.config()))

    logs = {
        level: command(
            "--config", str(file), environment={"TAP_LABELBOX_LOGLEVEL": level}
        ).stderr
        for level in ("DEBUG", "INFO", "WARNING")
    }

    assert logs["WARNING"] == ""
    assert "METRIC" not in logs["INFO"]
    assert re.search(r"\| DEBUG +\| singer_sdk.metrics +\| METRIC", logs["DEBUG"])
    assert not re.search(r"\| INFO .*METRIC", logs["DEBUG"])


# --- a test of the connection ----------------------------------------------------


def try_out(run: Runner, **settings: Any) -> Output:
    """Run `--test`, and return what it wrote."""
    done = run.command("--test", **settings)
    assert done.returncode == 0, done.stderr
    return Output(done.stdout)


def exports(run: Runner) -> list[dict[str, Any]]:
    """Return what was asked of each export that was started."""
    asked = [r for r in run.sandbox.requests if r.operation == "StartExport"]
    return [request.variables["input"]["filters"] for request in asked]


def ids(asked: dict[str, Any]) -> list[str]:
    """Return the data rows that an export is limited to."""
    elements = asked["searchQuery"]["query"]
    return next((e["ids"] for e in elements if e["type"] == "data_row_id"), [])


@pytest.fixture
def thirteen(serving: Callable[..., Runner]) -> Runner:
    """Return what runs the tap against thirteen projects."""
    return serving(World(projects=13, labels=1300), unexportable=1)


def test_a_test_starts_one_export_of_a_few_data_rows(thirteen: Runner) -> None:
    """With a record of every stream in it."""
    output = try_out(thirteen)

    (asked,) = exports(thirteen)
    assert 1 <= len(ids(asked)) <= 10
    streams = [m["stream"] for m in output.messages if m["type"] == "SCHEMA"]
    assert len(streams) == len(set(streams)) == len(STREAMS)
    by_default = {stream.name for stream in DEFAULT}
    read = {s: len(output.records(s)) for s in streams if s in by_default}
    assert set(read.values()) == {1}  # of the last days there may be none in a report
    operations = Counter(r.operation or "" for r in thirteen.sandbox.requests)
    starts = [n for name, n in operations.items() if re.match("Start.*Export", name)]
    assert set(starts) == {1}  # of each kind of export
    waits = ("ExportStatus", "ExportHeader", "ExportPart", "")
    assert operations.total() - sum(operations[name] for name in waits) < 2 * len(
        STREAMS
    )


def test_a_test_of_unlabeled_projects_is_bounded(
    serving: Callable[..., Runner],
) -> None:
    """It does not go through all of them."""
    run = serving(World(projects=30, labels_per_project=0))

    try_out(run)

    assert len(exports(run)) <= 3
    operations = [r.operation for r in run.sandbox.requests]
    assert operations.count("Labels") <= 20 + 3
    assert operations.count("ExportLabels") <= 9


def test_a_test_passes_over_projects_without_labels(
    serving: Callable[..., Runner],
) -> None:
    """To the first one that has some."""
    world = World(projects=10, labels_per_project=0)
    labeled = world.add_project("Late", labels=5)
    run = serving(world)

    output = try_out(run)

    assert [asked["projectId"] for asked in exports(run)] == [labeled.id]
    assert len(output.records("annotations")) == 1
    assert len(output.records("labels")) == 1
    assert len(output.records("bulk_export")) == 1


def test_a_test_keeps_to_the_filters(run: Runner) -> None:
    """To a few of the data rows that they name, if they name any."""
    project = run.world.projects[0]
    by_name = [label.data_row.id for label in run.world.labels(project.id)][:50]

    try_out(run, export_filters={"data_row_ids": by_name}, project_ids=[project.id])

    (asked,) = exports(run)
    assert ids(asked) == by_name[:10]


def test_a_test_moves_no_bookmark_of_an_export(run: Runner) -> None:
    """A run that was given its state would read on from there."""
    state = json.dumps(try_out(run).state)

    assert '"replication_key": "last_activity_at"' not in state
    assert '"export": {' not in state


def test_a_test_that_passes_has_no_failed_metric(run: Runner, monkeypatch: Any) -> None:
    """Streams that were cut short have not failed."""
    monkeypatch.setenv("TAP_LABELBOX_LOGLEVEL", "DEBUG")

    done = run.command("--test")

    assert done.returncode == 0
    assert '"status":"succeeded"' in done.stderr
    assert '"status":"failed"' not in done.stderr
    assert table(messages(done.stderr))["labels"][0] == "1"


@pytest.mark.parametrize("kind", ["all", "schema"])
def test_the_other_tests(run: Runner, kind: str) -> None:
    """All is the default; schema asks Labelbox for nothing."""
    done = run.command(f"--test={kind}")

    assert done.returncode == 0
    output = Output(done.stdout)
    assert len([m for m in output.messages if m["type"] == "SCHEMA"]) == len(STREAMS)
    assert bool(output.records("projects")) == (kind == "all")
    assert bool(run.sandbox.requests) == (kind == "all")
