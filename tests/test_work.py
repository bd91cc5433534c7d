"""Work in projects: who does it, what waits, how good it is, what is discussed."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import (  # type: ignore[import-untyped]  # it has no types
    Draft202012Validator,
)

from tap_labelbox.api.errors import IncompleteError, OutageError
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.streams import STREAMS
from tests.runner import PRIMARY_KEYS
from tests.test_tables import FORBIDDEN, logged, operations, selecting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.api.pagination import Row
    from tap_labelbox.sandbox import Request
    from tests.runner import Record, Runner

BY_PROJECT = (
    "project_members",
    "batches",
    "workflows",
    "project_overview",
    "benchmarks",
    "labeler_performance",
    "review_metrics",
    "labeling_parameter_overrides",
    "project_model_configs",
    "issues",
    "issue_categories",
    "reviews",
    "label_imports",
    "mal_prediction_imports",
)
NAMES = (*BY_PROJECT, "labeling_service_dashboard", "issue_comments")
CLASSES = {stream.name: stream for stream in STREAMS}
NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)


@pytest.fixture
def run(run: Runner) -> Runner:
    """Ask for each project in a request of its own, which tests can tell apart."""
    run.settings["projects_per_request"] = 1
    return run


def operation(name: str) -> str:
    """Return the operation that a stream is read with."""
    return name.title().replace("_", "")


def records(run: Runner, name: str, **settings: Any) -> list[Record]:
    """Return what is read of a stream, all of which has to be there."""
    output = run(name, **settings)
    assert output.error is None
    return output.records(name)


ROWS = re.compile(r"(p\d+_)?rows|_reviews")
"""What rows are under, in a request of their own and in a shared one."""


def changing(run: Runner, name: str, change: Callable[[Row], Row]) -> None:
    """Have Labelbox give other rows than it does."""

    def changed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: changed_rows(inner) if ROWS.fullmatch(key) else changed(inner)
            for key, inner in value.items()
        }

    def changed_rows(rows: Any) -> Any:
        if isinstance(rows, list):
            new = [row if "_reviews" in row else change(row) for row in rows]
            return [changed(row) for row in new]
        return change(rows) if isinstance(rows, dict) else rows

    def answer(request: Request, reply: Reply) -> Reply | None:
        if request.operation != operation(name) or not isinstance(reply.body, dict):
            return None
        return replace(reply, body={"data": changed(reply.body["data"])})

    run.sandbox.after = answer


def nulled(row: Row) -> Row:
    """Return a row of which nothing is known but who it is."""
    known: Row = {key: row[key] for key in ("id", "project_id") if key in row}
    if "_scores" in row:
        known["_scores"] = dict.fromkeys(row["_scores"])
    if "seconds_per_label" in row:
        known["user"] = {"id": row["user"]["id"], "email": None}
    return dict.fromkeys(row) | known


# --- all of them ------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_records_fit_their_schema(run: Runner, name: str) -> None:
    """Of every project, over several pages, and nothing is put aside."""
    validator = Draft202012Validator(CLASSES[name].schema)

    result = records(run, name, page_size=2)

    for record in result:
        validator.validate(record)
        assert record.keys() == CLASSES[name].schema["properties"].keys()
        assert record["additional_columns"] == {}
    keys = [tuple(record[key] for key in PRIMARY_KEYS[name]) for record in result]
    assert len({*keys}) == len(keys) > 2


@pytest.mark.parametrize("name", NAMES)
def test_pages_may_be_of_any_size(run: Runner, name: str) -> None:
    """Each row comes once, also where the last page is a full one."""
    everything = records(run, name, now=NOON)

    for size in (2, 3, 9):
        assert records(run, name, page_size=size, now=NOON) == everything


@pytest.mark.parametrize("name", NAMES)
def test_all_but_the_key_may_be_null(run: Runner, name: str) -> None:
    """The row is there all the same."""
    everything = records(run, name, now=NOON)
    parents = {"project_id", "issue_id"} | (
        {"label_id"} if name == "reviews" else set()
    )
    changing(run, name, nulled)

    result = records(run, name, now=NOON)

    keys = {*PRIMARY_KEYS[name], *parents & CLASSES[name].schema["properties"].keys()}
    assert result == [
        dict.fromkeys(row)
        | {key: row[key] for key in keys}
        | {"additional_columns": {}}
        for row in everything
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_costs_the_stream(run: Runner, caplog: Any, name: str) -> None:
    """It has one line, however many projects there are; the others are read."""
    run.sandbox.before = lambda r: (
        Reply(200, {}, FORBIDDEN) if r.operation == operation(name) else None
    )

    output = run(name, "projects", "users")

    (line,) = logged(caplog)
    assert line.startswith(f"{name} is left out: ")
    assert isinstance(output.error, IncompleteError)
    assert not output.records(name)
    assert len(output.records("users")) == 9


@pytest.mark.parametrize(
    ("name", "forgotten"),
    [
        ("project_members", "Project.members"),
        ("batches", "BatchPage.pageInfo"),
        ("workflows", "Query.projectWorkflow"),
        ("benchmarks", "Project.benchmarks"),
        ("labeler_performance", "LabelerPerformance.user"),
        ("review_metrics", "Project.reviewMetrics"),
        ("labeling_parameter_overrides", "LabelingParameterOverride.id"),
        ("project_model_configs", "Project.projectModelConfigs"),
        ("labeling_service_dashboard", "Query.searchProjects"),
        ("issues", "IssuePage.nextCursor"),
        ("issue_comments", "Query.issue"),
        ("issue_categories", "Project.issueCategories"),
        ("reviews", "Label.reviews"),
        ("label_imports", "Query.labelImports"),
        ("mal_prediction_imports", "Query.modelAssistedLabelingPredictionImports"),
    ],
)
def test_what_the_server_lacks_costs_the_stream(
    serving: Any, caplog: Any, name: str, forgotten: str
) -> None:
    """Without it nothing would be left to read, or not all of it."""
    run = serving(World(), forget=[forgotten])

    output = run(name, "users")

    (line,) = logged(caplog)
    assert line.startswith(f"{name} is left out: ")
    assert isinstance(output.error, IncompleteError)
    assert not output.records(name)
    assert len(output.records("users")) == 9


@pytest.mark.parametrize(
    ("name", "column", "forgotten"),
    [
        ("batches", "created_by_id", "Batch.createdBy"),
        ("benchmarks", "reference_label_id", "Benchmark.referenceLabel"),
        ("reviews", "created_by_id", "Review.createdBy"),
        ("project_overview", "issues", "IssuePage.totalCount"),
        ("project_model_configs", "model_id", "ModelConfig.modelId"),
        ("labeling_service_dashboard", "tags", "Dashboard.tags"),
    ],
)
def test_a_column_that_the_server_lacks_is_null(
    serving: Any, name: str, column: str, forgotten: str
) -> None:
    """The rest of the row is read."""
    world = World()
    everything = records(serving(world), name, now=NOON)

    result = records(serving(world, forget=[forgotten]), name, now=NOON)

    assert any(row[column] is not None for row in everything)
    assert result == [row | {column: None} for row in everything]


@pytest.mark.parametrize("name", BY_PROJECT)
@pytest.mark.parametrize("number", [0, 3])
def test_one_forbidden_project_costs_itself(
    run: Runner, world: World, caplog: Any, name: str, number: int
) -> None:
    """Whichever it is."""
    everything = records(run, name, now=NOON)
    forbidden = world.projects[number]
    forbidden.restricted = True
    # Whoever may not see the people may see the labels.
    if name == "reviews":
        run.sandbox.before = lambda r: (
            Reply(200, {}, FORBIDDEN)
            if r.variables.get("project_id") == forbidden.id
            else None
        )

    output = run(name, now=NOON, projects_per_request=1 if name == "reviews" else 20)

    (line,) = logged(caplog)
    assert line.startswith(f"{name} of project {forbidden.id} is left out: You")
    assert isinstance(output.error, IncompleteError)
    assert output.records(name) == [
        row for row in everything if row["project_id"] != forbidden.id
    ]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_key_may_be_selected(run: Runner, name: str) -> None:
    """Then nothing else is asked for."""
    keys = PRIMARY_KEYS[name]
    everything = records(run, name, now=NOON)

    catalog = selecting(run, *(f"{name}.{key}" for key in keys))
    output = run(catalog=catalog, now=NOON)

    assert output.error is None
    assert output.records(name) == [{k: row[k] for k in keys} for row in everything]
    last = run.sandbox.requests[-1]
    assert last.operation == operation(name)
    # What is nested in a row is asked for whole.
    assert "created_at" not in (last.query or "") or name == "reviews"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (name, column)
        for name in NAMES
        for column, schema in CLASSES[name].schema["properties"].items()
        if schema.get("format") == "date-time" and column != "snapshot_at"
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T09:30:00Z",
        "2026-01-31T09:30:00",
        "2026-01-31T10:30:00+01:00",
        "2026-01-31T09:30:00.000123Z",
    ],
)
def test_timestamps_come_in_several_forms(
    run: Runner, name: str, column: str, text: str
) -> None:
    """All are taken, and written in one."""
    changing(run, name, lambda row: row | {column: text})

    result = {row[column] for row in records(run, name)}

    assert result == {"2026-01-31T09:30:00.000Z"}


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("batches", "consensus_settings"),
        ("workflows", "config"),
        ("issues", "position"),
        ("project_model_configs", "inference_params"),
    ],
)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, "ü"]}, {"a": [1, "ü"]}),
        ('{"a": [1, "\\u00fc"]}', {"a": [1, "ü"]}),
        ("{}", {}),
        (None, None),
        ("", None),
        ("{", None),
        ("null", None),
        ("[1]", None),
        ([1], None),
        (7, None),
    ],
)
def test_json_may_be_text(
    run: Runner, name: str, column: str, value: Any, expected: Any
) -> None:
    """Anything but an object goes to additional_columns, as it came."""
    rows: Row = {"rows": [{"id": "x", column: value}]}
    if name == "project_model_configs":
        rows = {"rows": [{"id": "x", "model_config": {"inference_params": value}}]}
    if name == "workflows":
        rows = {"rows": {"config": value}}
    page = {"next": None}
    run.sandbox.before = lambda r: (
        Reply(200, {}, {"data": {"p": rows | page}})
        if r.operation == operation(name)
        else None
    )

    (record, *_) = records(run, name)

    assert record[column] == expected
    put_aside = {} if expected is not None or value is None else {column: value}
    assert record["additional_columns"] == put_aside


# --- the overview -------------------------------------------------------------------


def test_all_of_a_snapshot_are_of_one_timestamp(run: Runner, world: World) -> None:
    """A later run adds another, and tells a target to delete nothing."""
    settings: Any = {"emit_activate_version_messages": True}

    first = run("project_overview", "users", **settings)
    second = run("project_overview", "users", state=first.state, **settings)

    timestamps = [
        {row["snapshot_at"] for row in output.records("project_overview")}
        for output in (first, second)
    ]
    assert [len(single) for single in timestamps] == [1, 1]
    assert min(timestamps[0]) < min(timestamps[1])
    for output in (first, second):
        assert len(output.records("project_overview")) == len(world.projects)
        activated = [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]
        assert {message["stream"] for message in activated} == {"users"}
        assert not any(
            "version" in message
            for message in output.messages
            if message.get("stream") == "project_overview"
        )


def test_a_catalog_cannot_turn_snapshots_into_a_full_table(run: Runner) -> None:
    """A target would delete those of earlier runs."""
    catalog = selecting(run, "project_overview")
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if entry["breadcrumb"] == []:
                entry["metadata"]["forced-replication-method"] = "FULL_TABLE"
        stream["replication_method"] = "FULL_TABLE"

    output = run(catalog=catalog, emit_activate_version_messages=True)

    assert output.error is None
    assert output.records("project_overview")
    assert not [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]


def test_half_a_snapshot_is_none(run: Runner, monkeypatch: Any, world: World) -> None:
    """Its sum over all projects would be taken for the backlog of that time."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("tap_labelbox.base.workspace.MAX_FAILURES_IN_A_ROW", 2)
    first = world.projects[0].id
    run.sandbox.before = lambda r: (
        Reply(503, {}, "down")
        if r.variables.get("project_id") not in {None, first}
        else None
    )

    output = run("project_overview", retry_seconds=0.01, projects_per_request=1)

    assert isinstance(output.error, OutageError)
    assert output.records("project_overview") == []


def test_states_that_are_new_are_counted(run: Runner) -> None:
    """Under their own names; the columns have those that are known."""
    result = records(run, "project_overview")

    for row in result:
        counts = row["counts"]
        assert "AwaitingModelRun" in counts
        assert (row["to_label"], row["total_data_rows"]) == (
            counts["Unlabeled"],
            counts["All"],
        )
        assert row["additional_columns"] == {}


@pytest.mark.parametrize(
    "counts",
    [
        [{"state": "Done", "count": 1}, {"state": "Done", "count": 2}],
        [{"state": None, "count": 1}],
        [{"state": "Done", "count": 1}, None],
        "many",
        {"Done": 1},
    ],
)
def test_counts_of_no_known_shape_are_put_aside(run: Runner, counts: Any) -> None:
    """Whole, for a part would be taken for all of it."""
    changing(run, "project_overview", lambda row: row | {"counts": counts})

    for row in records(run, "project_overview"):
        kept = row["additional_columns"] or row["counts"]
        assert kept in ({"counts": counts}, counts)
        assert row["done"] in {None, 1}
        assert row["issues"] is not None


def test_a_count_that_is_selected_is_asked_for(run: Runner) -> None:
    """Although it is within another column."""
    requested = ("project_id", "snapshot_at", "done")

    output = run(catalog=selecting(run, *(f"project_overview.{w}" for w in requested)))

    rows = output.records("project_overview")
    assert {tuple(row) for row in rows} == {requested}
    assert sum(row["done"] for row in rows) > 0


# --- issues and their comments --------------------------------------------------------


@pytest.mark.parametrize("streams", [("issue_comments",), ("issues", "issue_comments")])
@pytest.mark.parametrize("turn", ["", "issues"])
def test_issues_are_asked_for_once(
    run: Runner, streams: tuple[str, ...], turn: str
) -> None:
    """They may be selected or not, and any stream may come first."""
    state = {"bookmarks": {turn: {"read_at": "2026-01-01T00:00:00.000Z"}}}
    replied = [
        row["id"]
        for row in records(run, "issues")
        if row["latest_reply_at"] is not None
    ]
    operations(run)

    output = run(*streams, state=state if turn else None, projects_per_request=1)

    asked = [r.variables.get("issue_id") for r in run.sandbox.requests]
    assert sorted(filter(None, asked)) == sorted(replied)
    assert operations(run).count("Issues") == len(run.world.projects)
    assert {row["issue_id"] for row in output.records("issue_comments")} == {*replied}
    assert ("issues" in streams) == bool(output.records("issues"))


def test_comments_need_no_column_of_issues(run: Runner) -> None:
    """The columns that they need of issues are asked for all the same."""
    everything = records(run, "issue_comments")

    output = run(catalog=selecting(run, "issues.id", "issue_comments"))

    assert [row.keys() for row in output.records("issues")][:1] == [{"id"}]
    assert len(output.records("issue_comments")) == len(everything) > 0
    assert output.error is None


def test_only_what_comments_need_of_issues_is_asked_for(run: Runner) -> None:
    """Issues themselves are not selected."""
    records(run, "issue_comments")

    (query,) = {r.query for r in run.sandbox.requests if r.operation == "Issues"}
    assert query
    assert "latest_reply_at" in query
    assert "position" not in query


def test_all_issues_are_asked_where_none_says_that_it_has_a_reply(
    serving: Any,
) -> None:
    """Rather ask in vain than miss a comment."""
    world = World()
    everything = records(serving(world), "issue_comments")
    run = serving(world, forget=["Issue.latestReplyAt"])
    run.settings["projects_per_request"] = 1

    result = records(run, "issue_comments", projects_per_request=1)

    assert result == everything
    issues = sum(len(project.issues) for project in world.projects)
    assert operations(run).count("IssueComments") == issues


@pytest.mark.parametrize("streams", [("issue_comments",), ("issues", "issue_comments")])
def test_issues_that_are_forbidden_cost_their_comments(
    run: Runner, world: World, caplog: Any, streams: tuple[str, ...]
) -> None:
    """One line says so, and names what was wanted; no target deletes what was there."""
    world.projects[0].restricted = True

    output = run(*streams, emit_activate_version_messages=True, projects_per_request=1)

    (line,) = logged(caplog)
    assert line.startswith(
        f"{streams[0]} of project {world.projects[0].id} is left out"
    )
    assert isinstance(output.error, IncompleteError)
    assert {row["project_id"] for row in output.records("issue_comments")} == {
        project.id for project in world.projects[1:] if project.issues
    }
    assert not [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]
    assert operations(run).count("Issues") == len(world.projects)


def test_comments_are_missed_where_there_are_no_issues(
    run: Runner, world: World, caplog: Any
) -> None:
    """Not taken for none."""
    for project in world.projects:
        project.restricted = True

    output = run("issues", "issue_comments", "users")

    lines = logged(caplog)
    assert [line.partition(" ")[0] for line in lines] == ["issues", "issue_comments"]
    assert isinstance(output.error, IncompleteError)
    assert len(output.records("users")) == 9


def test_an_issue_that_is_gone_costs_its_comments(run: Runner, caplog: Any) -> None:
    """Others are read."""
    everything = records(run, "issue_comments")
    gone = everything[0]["issue_id"]
    run.sandbox.before = lambda r: (
        Reply(200, {}, {"data": {"issue": None}})
        if r.variables.get("issue_id") == gone
        else None
    )

    output = run("issue_comments", projects_per_request=1)

    (line,) = logged(caplog)
    assert line.startswith(f"issue_comments of issue {gone} is left out")
    assert output.records("issue_comments") == [
        row for row in everything if row["issue_id"] != gone
    ]


# --- the rest -------------------------------------------------------------------------


def test_the_dashboard_has_the_projects_that_are_asked_for(
    run: Runner, world: World
) -> None:
    """Labelbox lists all of them."""
    requested = [project.id for project in world.projects[1:3]]

    result = records(run, "labeling_service_dashboard", project_ids=requested)

    assert [row["project_id"] for row in result] == requested


def test_a_score_that_is_not_counted_is_null(run: Runner, world: World) -> None:
    """And one that is no object is left out; of no metrics there is nothing."""
    replies: list[Any] = [
        {"None": None, "Zero": {"count": 3}, "Positive": "many"},
        None,
        {},
        {"Zero": {"count": None}},
    ]
    scores = dict(zip((p.id for p in world.projects), replies, strict=True))
    run.sandbox.before = lambda r: (
        Reply(
            200,
            {},
            {
                "data": {
                    "rows": {
                        "id": (p := r.variables["project_id"]),
                        "_scores": scores[p],
                    }
                }
            },
        )
        if r.operation == "ReviewMetrics"
        else None
    )

    output = run("review_metrics", projects_per_request=1)

    first, _, _, last = (project.id for project in world.projects)
    assert isinstance(output.error, IncompleteError)
    assert [tuple(row.values())[:3] for row in output.records("review_metrics")] == [
        (first, "None", None),
        (first, "Zero", 3),
        (last, "Zero", None),
    ]


def test_more_reviews_than_are_asked_for_are_missed(run: Runner, caplog: Any) -> None:
    """There may be others, and no target may delete them."""
    label = {"id": "label", "_reviews": [{"id": f"{n}"} for n in range(100)]}

    def answer(request: Request) -> Reply | None:
        if request.operation != "Reviews":
            return None
        rows = [label] if not request.variables["skip"] else []
        return Reply(200, {}, {"data": {"project": {"rows": rows}}})

    run.sandbox.before = answer
    output = run("reviews", emit_activate_version_messages=True, projects_per_request=1)

    assert "reviews of label_id label: Labelbox gives 100 at most" in caplog.text
    assert not [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]


def test_addresses_of_imports_are_not_asked_for(run: Runner) -> None:
    """They open the files to whoever has them."""
    output = run("label_imports", "mal_prediction_imports")

    assert output.records("label_imports")
    assert "not-to-be-told" not in output.text
    assert not any("Url" in (r.query or "") for r in run.sandbox.requests)


def test_a_membership_may_be_that_of_several_projects(run: Runner) -> None:
    """Its key has the project."""
    result = records(run, "project_members")

    ids = [row["id"] for row in result]
    assert len({*ids}) < len(ids)
    assert {row["access_from"] for row in result} == {"ORGANIZATION", "SHARED_LINK"}
