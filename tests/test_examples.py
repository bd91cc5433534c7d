"""Examples in the documents do what is written there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import pytest
import yaml
from meltano.core.plugin.singer.catalog import MetadataExecutor, select_metadata_rules

from scripts import demo
from tap_labelbox.exit_codes import Ending
from tap_labelbox.plan import Part, _parser
from tap_labelbox.sandbox import World, serve
from tap_labelbox.sandbox.knobs import EXPORTS_PER_ORGANIZATION
from tap_labelbox.settings import SETTINGS
from tap_labelbox.streams import STREAMS
from tap_labelbox.streams.joins import IN_ROWS
from tap_labelbox.tap import TapLabelbox
from tests.runner import PRIMARY_KEYS, Runner

if TYPE_CHECKING:
    from tap_labelbox.sandbox.world import Label
    from tests.runner import Output

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
RUNNING = (ROOT / "docs" / "running.md").read_text("utf-8")
QUERIES = {path.stem: path for path in (ROOT / "docs" / "queries").glob("*.sql")}
SQL_TYPES = {
    "date-time": "timestamptz",
    "string": "varchar",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
}
Catalog = dict[str, Any]
STREAM = {stream.name: stream for stream in STREAMS}
CURRENT = "current_annotations"
TABLES = (
    *("data_row_exports", "export_labels", "annotations", "label_reviews"),
    *("labels", "projects", "data_row_presence", "label_presence"),
)
LATER = datetime(2026, 6, 1, 12, tzinfo=UTC)


# --- queries -----------------------------------------------------------------------


def loaded(
    *outputs: Output, tables: tuple[str, ...] = TABLES
) -> duckdb.DuckDBPyConnection:
    """Return a warehouse into which some runs were merged, one after the other."""
    warehouse = duckdb.connect()
    warehouse.execute("set timezone = 'UTC'")
    for stream in (STREAM[name] for name in tables):
        properties = stream.schema["properties"]
        kinds = [s.get("format") or s["type"][0] for s in properties.values()]
        columns = [
            f'"{name}" {SQL_TYPES.get(kind, "json")}'
            for name, kind in zip(properties, kinds, strict=True)
        ]
        rows = {
            tuple(record[key] for key in PRIMARY_KEYS[stream.name]): [
                value if value is None or kind in SQL_TYPES else json.dumps(value)
                for value, kind in zip(
                    (record.get(name) for name in properties), kinds, strict=True
                )
            ]
            for output in outputs
            for record in output.records(stream.name)
        }
        warehouse.execute(f"create table {stream.name} ({', '.join(columns)})")
        if rows:
            marks = ", ".join("?" * len(columns))
            warehouse.executemany(
                f"insert into {stream.name} values ({marks})",  # noqa: S608
                [*rows.values()],
            )
    return warehouse


class Changed(NamedTuple):
    """A workspace that changed between two runs, and the warehouse they filled."""

    world: World
    warehouse: duckdb.DuckDBPyConnection
    now: Output
    """What a run without a state reads."""

    @property
    def labels(self) -> list[Label]:
        """Every label there is."""
        return [x for p in self.world.projects for x in self.world.labels(p.id)]

    def answer(self, name: str) -> list[Any]:
        """Return the rows of a query."""
        return self.warehouse.execute(QUERIES[name].read_text("utf-8")).fetchall()


@pytest.fixture(scope="module")
def changed() -> Changed:
    """Read a workspace, let it change, and read on."""
    world = World(projects=6, labels_per_project=30)
    with serve(world) as sandbox:
        run = Runner(sandbox, world)
        first = run(now=LATER)
        for project in world.projects:
            for label in world.labels(project.id)[::7]:
                world.delete_label(label.id)
            world.add_label(project.id, LATER + timedelta(hours=1))
        then = LATER + timedelta(hours=2)
        second = run(state=first.state, now=then)
        presence = run("data_row_presence", "label_presence", now=then)
        assert first.error is second.error is presence.error is None
        return Changed(world, loaded(first, second, presence), run(now=then))


def test_current_annotations(changed: Changed) -> None:
    """Those of a run without a state; the warehouse has others."""
    key = PRIMARY_KEYS["annotations"]
    place = [*STREAM["annotations"].schema["properties"]].index

    result = {tuple(r[place(c)] for c in key) for r in changed.answer(CURRENT)}

    records = changed.now.records("annotations")
    assert result == {tuple(record[column] for column in key) for record in records}
    ((stored,),) = changed.warehouse.execute(
        "select count(*) from annotations"
    ).fetchall()
    assert stored > len(result)


def test_throughput(changed: Changed) -> None:
    """By labeler and day."""
    days = defaultdict(list)
    for label in changed.labels:
        days[label.created_by.email, label.created_at.date()].append(label)

    assert changed.answer("throughput") == [
        (
            *day,
            len(labels),
            sum(label.is_skipped for label in labels),
            pytest.approx(sum(int(x.seconds_to_label) for x in labels) / 3600),
        )
        for day, labels in sorted(days.items())
    ]


def test_agreement(changed: Changed) -> None:
    """Of those labels that were compared."""
    people: dict[str, list[float]] = defaultdict(list)
    for label in changed.labels:
        scores = people[label.created_by.email]
        if label.agreement not in {None, -1}:
            scores.append(label.agreement)

    assert changed.answer("agreement") == [
        (who, len(some), pytest.approx(mean(some)) if some else None, 0, None)
        for who, some in sorted(people.items())
    ]


def test_review_rate(changed: Changed) -> None:
    """Of labels that were reviewed, and of reviews that approved."""
    people = defaultdict(list)
    for label in changed.labels:
        people[label.created_by.email].append([r["score"] > 0 for r in label.reviews])

    assert changed.answer("review_rate") == [
        (
            who,
            len(reviews),
            pytest.approx(mean([bool(single) for single in reviews])),
            pytest.approx(mean(votes))
            if (votes := [v for single in reviews for v in single])
            else None,
        )
        for who, reviews in sorted(people.items())
    ]


def test_deleted_labels(changed: Changed) -> None:
    """Those that the warehouse has, and the workspace had; tests/test_presence.py."""
    place = [*STREAM["labels"].schema["properties"]].index("id")
    loaded_labels = changed.warehouse.execute("select id from labels").fetchall()

    result = {row[place] for row in changed.answer("deleted_labels")}

    assert result == {x for (x,) in loaded_labels} - {x.id for x in changed.labels}
    assert result


def test_deleted_data_rows(changed: Changed) -> None:
    """None was deleted; tests/test_presence.py has some that were."""
    assert changed.answer("deleted_data_rows") == []


def test_every_query_is_tested_and_shown() -> None:
    """In the README; one as a whole, in docs/running.md."""
    assert all(f"test_{name}" in globals() for name in QUERIES)
    assert all(f"docs/queries/{path.name}" in README for path in QUERIES.values())
    current = QUERIES[CURRENT].read_text("utf-8").partition("\n")[2]
    assert textwrap.indent(current, "  ") in RUNNING


@pytest.mark.parametrize("title", demo.REPORTS)
def test_the_reports_of_the_demo(changed: Changed, title: str) -> None:
    """They name columns that there are, and have something to show."""
    text = demo.REPORTS[title].replace("labelbox.", "")

    assert changed.warehouse.execute(text).fetchall()


# --- what to select ----------------------------------------------------------------

SELECT = README.split("```yaml\nselect:\n")[1].split("```")[0]
QUESTIONS = {
    question.partition("\n")[0]: yaml.safe_load(question.partition("\n")[2])
    for question in SELECT.split("# ")[1:]
}
EVERYTHING = [pattern for patterns in QUESTIONS.values() for pattern in patterns]


def selected(patterns: list[str]) -> Catalog:
    """Return a catalog as Meltano makes it of what is to be selected."""
    result: Catalog = TapLabelbox(config={"api_key": "x"}).catalog_dict
    for rules in (["!*.*"], patterns):
        MetadataExecutor(select_metadata_rules(rules)).visit(result)  # type: ignore[attr-defined]
    return result


@pytest.mark.parametrize("question", [*QUESTIONS, ""])
def test_what_the_readme_selects_is_read(run: Runner, question: str) -> None:
    """Each question by itself, and all of them: no more, no less."""
    patterns = QUESTIONS.get(question, EVERYTHING)
    expected = {p.partition(".")[0] for p in patterns if not p.startswith("!")}

    output = run(catalog=selected(patterns))

    assert output.error is None
    sent = {m["stream"]: {*m["record"]} for m in output.messages if "record" in m}
    assert sent.keys() == expected
    for pattern in patterns:
        stream, _, column = pattern.removeprefix("!").partition(".")
        columns = STREAM[stream].schema["properties"]
        if pattern.startswith("!"):
            assert column in columns
            assert column not in sent[stream]
        else:
            assert column == "*"
            excluded = {p for p in patterns if p.startswith(f"!{stream}.")}
            assert len(sent[stream]) == len(columns) - len(excluded)


def test_what_is_listed_twice_is_reported() -> None:
    """Every column of JSON that other streams have in rows, of each stream."""
    for stream, column in IN_ROWS:
        (line,) = re.findall(
            rf"^- .*`{stream}` has .*`{column}`.*$", README, re.MULTILINE
        )
        assert line


def test_the_questions_leave_out_what_is_listed_twice() -> None:
    """As far as the same is selected in rows."""
    for (stream, column), rows in IN_ROWS.items():
        if all(f"{name}.*" in EVERYTHING for name in rows):
            assert f"!{stream}.{column}" in EVERYTHING


# --- every night -------------------------------------------------------------------

EXAMPLES = ROOT / "examples"


def test_the_github_action_is_sound() -> None:
    """By GitHub's schema and zizmor; with settings that there are."""
    path = EXAMPLES / "github-action.yml"
    programs = Path(sys.executable).parent
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--quiet"],
    ):
        done = subprocess.run(
            [programs / command[0], *command[1:], path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    text = path.read_text("utf-8")
    settings = {name.lower() for name in re.findall(r"TAP_LABELBOX_(\w+)", text)}

    assert settings
    assert settings <= SETTINGS["properties"].keys()
    assert "meltano run tap-labelbox" in text


def test_the_crontab_is_one() -> None:
    """Five fields and a command that a shell can read, in which % would end it."""
    lines = (EXAMPLES / "crontab").read_text("utf-8").splitlines()
    (entry,) = (line for line in lines if not line.startswith("#"))
    times, command = re.fullmatch(r"((?:[\d*]+ ){5})(.+)", entry).groups()  # type: ignore[union-attr]

    checked = subprocess.run(["/bin/sh", "-n", "-c", command], check=False)

    assert times == "15 2 * * * "
    assert checked.returncode == 0
    assert "%" not in command
    assert "meltano run tap-labelbox" in command


# --- Airflow -----------------------------------------------------------------------

AIRFLOW = EXAMPLES / "airflow"
GUIDE = (AIRFLOW / "README.md").read_text("utf-8")
DAGS = {path.name: path.read_text("utf-8") for path in AIRFLOW.glob("*.py")}


@pytest.mark.parametrize("name", DAGS)
def test_a_dag_agrees_with_the_tap(name: str) -> None:
    """Its options, settings and exit codes are those that there are."""
    text = DAGS[name]
    tree = ast.parse(text)
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    compile(text, name, "exec")
    options = set(re.findall(r"--[a-z-]+", "\n".join(words)))
    of_the_plan = {o for action in _parser()._actions for o in action.option_strings}
    of_the_tap = {option for param in TapLabelbox.cli.params for option in param.opts}
    of_meltano = {"--dump", "--force", "--log-format", "--state-id-suffix"}
    assert options <= of_the_plan | of_the_tap | of_meltano
    programs = {word for word in words if word.startswith("tap-labelbox-")}
    assert {"tap-labelbox-plan"} <= programs
    assert all(f'"{key}"' in text for key in ("name", "settings"))
    assert {*Part.__annotations__} == {"name", "weight", "settings"}
    for variable in re.findall(r"TAP_LABELBOX_(\w+)", text):
        assert variable.lower() in SETTINGS["properties"]
    (codes,) = re.findall(r"^NEEDS_A_PERSON = {(.+?)}", text, re.MULTILINE)
    assert set(map(int, codes.split(","))) == {Ending.USAGE.code, Ending.CONFIG.code}
    assert "2 * HEARTBEAT_SECONDS" in text


@pytest.mark.parametrize("name", DAGS)
def test_three_variables_and_a_pool_are_all_it_takes(name: str) -> None:
    """The guide sets those that the DAG gets, and no more."""
    section = GUIDE.split(f"## {name}\n")[1].split("\n## ")[0]
    variables = re.findall(r'Variable\.get\("(\w+)"', DAGS[name])

    assert set(re.findall(r"airflow variables set (\w+)", section)) == set(variables)
    assert len(set(variables)) == 3
    (pool,) = re.findall(r'^POOL = "(\w+)"', DAGS[name], re.MULTILINE)
    assert f"airflow pools set {pool} " in section


def test_both_dags_do_the_same_alike() -> None:
    """What does not depend on how a part is run has the same words in both."""
    first_dag, second_dag = DAGS.values()
    for lines in (
        r"^SHARDS = .*?^NEEDS_A_PERSON = .*?$",
        r"^# A run that .*?^PATIENT = .*?$",
        r"^@dag\(.*?^\)$",
    ):
        (first,), (second,) = (
            re.findall(lines, text, re.MULTILINE | re.DOTALL)
            for text in (first_dag, second_dag)
        )
        assert first == second


def test_the_versions_of_airflow_are_those_that_are_tested() -> None:
    """What the guide installs is what `make test-platforms` does."""
    pinned = dict(
        re.findall(
            r"^([\w-]+)==([\d.]+)",
            (ROOT / "requirements-platforms-airflow.txt").read_text("utf-8"),
            re.MULTILINE,
        )
    )
    required = (AIRFLOW / "requirements.txt").read_text("utf-8")
    names = re.findall(r"^([\w-]+)", required, re.MULTILINE)

    assert names
    assert set(names) <= pinned.keys()
    assert f"apache-airflow=={pinned['apache-airflow']}" in (
        ROOT / "pyproject.toml"
    ).read_text("utf-8")


def test_the_guide_says_what_runs_at_once() -> None:
    """By the defaults of the tap, no more exports than Labelbox runs."""
    slots = {int(count) for count in re.findall(r"pools set labelbox (\d+)", GUIDE)}
    concurrency = SETTINGS["properties"]["concurrency"]["default"]

    assert f"`concurrency` ({concurrency})" in GUIDE
    assert all(slot * concurrency <= EXPORTS_PER_ORGANIZATION for slot in slots)
