"""Tables that are declared: each kind of reading, what is refused, what is shared."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from importlib.resources import files
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import pytest
from graphql import FieldNode, InlineFragmentNode, parse
from jsonschema import (  # type: ignore[import-untyped]  # it has no types
    Draft202012Validator,
)

from tap_labelbox.api.documents import Document
from tap_labelbox.api.errors import IncompleteError, OutageError
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import integer, json, key, table, text, timestamp
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.streams import STREAMS
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import SelectionSetNode

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types
    from labelbox.schema.role import (  # type: ignore[import-untyped]  # the same
        format_role,
    )
    from labelbox.schema.user_group import (  # type: ignore[import-untyped]  # the same
        UserGroup,
    )

PEOPLE = (
    *("organization", "users", "roles", "user_groups", "user_group_members"),
    *("user_group_projects", "invites", "invite_projects", "resource_tags"),
    *("project_resource_tags", "api_keys", "webhooks", "iam_integrations", "tasks"),
)
WHOLE = (*PEOPLE, "task_queues")
BY_PROJECT = ("task_queues", "label_versions")
NEWEST_FIRST = "user_group_audit_events"
DECLARED = [
    stream for stream in STREAMS if stream.name in {*WHOLE, *BY_PROJECT, NEWEST_FIRST}
]
QUERIES = files("tap_labelbox.queries")
WITH_ROWS = [
    stream
    for stream in STREAMS
    if (query := QUERIES / f"{stream.document or stream.name}.graphql").is_file()
    and "rows: " in query.read_text("utf-8")
    # What these have in columns is in one field, the tree of an ontology.
    and stream.name not in {"ontology_features", "feature_schemas"}
]
MADE = {"feature_schemas": {"schema_node_id", "kind", "type"}}
"""Columns that are made of others."""
FORBIDDEN = {
    "errors": [
        {
            "message": "You are not authorized",
            "extensions": {"code": "AUTHORIZATION_ERROR"},
        }
    ],
    "data": None,
}


TOO_COMPLEX = {
    "errors": [
        {
            "message": "Query complexity limit exceeded",
            "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"},
        }
    ]
}


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said to be left out."""
    return [m for m in caplog.messages if "is left out" in m]


def operations(run: Runner) -> list[str | None]:
    """Return the operations that were asked for, and forget them."""
    asked = [request.operation for request in run.sandbox.requests]
    run.sandbox.requests.clear()
    return asked


# --- what is declared -----------------------------------------------------------


def rows_field(selections: SelectionSetNode | None) -> FieldNode | None:
    """Return the field of a document that has the rows."""
    for field in selections.selections if selections else ():
        assert isinstance(field, FieldNode)
        if field.alias and field.alias.value == "rows":
            return field
        if result := rows_field(field.selection_set):
            return result
    return None


def paths(
    field: FieldNode | InlineFragmentNode, whole: set[str], prefix: str = ""
) -> Iterator[str]:
    """Yield where in a row there are values; the content of some is one value."""
    for inner in field.selection_set.selections if field.selection_set else ():
        if isinstance(inner, InlineFragmentNode):
            yield from paths(inner, whole, prefix)
            continue
        assert isinstance(inner, FieldNode)
        name = prefix + (inner.alias or inner.name).value
        if not inner.selection_set or name in whole:
            yield name
        elif not name.startswith("_"):
            yield from paths(inner, whole, f"{name}.")


@pytest.mark.parametrize("stream", WITH_ROWS, ids=lambda stream: stream.name)
def test_columns_are_what_is_asked_for(stream: Any) -> None:
    """No column without a field, and no field without a column."""
    document = Document.load(stream.document or stream.name)
    (operation,) = parse(document.text).definitions
    field = rows_field(operation.selection_set)  # type: ignore[attr-defined]
    assert field
    whole = {column.name for column in stream.schema.columns}
    asked = set(paths(field, whole))
    if stream.nested_in:
        inner = next(
            single
            for single in field.selection_set.selections  # type: ignore[union-attr]
            if isinstance(single, FieldNode)
            and stream.nested_in == (single.alias or single.name).value
        )
        if not inner.selection_set:  # a tree that is no part of the schema
            return
        asked = set(paths(inner, whole))
        # Of a list with more beside it, or of an object whose members are rows.
        asked = {re.sub(r"^(nodes|roles|[A-Z]\w+)\.", "", name) for name in asked}
        asked -= {"count"} - stream.schema["properties"].keys()
    if stream.details:
        (details,) = parse(Document.load(stream.details).text).definitions
        (inner,) = details.selection_set.selections  # type: ignore[attr-defined]
        asked |= set(paths(inner, whole))
    asked = {path.replace(".", "_") for path in asked}
    own = {document.parent, stream.place, stream.nested_key, stream.alias_column}
    own |= {stream.snapshot_column, "project_id"}
    own |= {stream.rest_column and stream.rest_column.name}
    own |= MADE.get(stream.name, set())
    own |= Document.load(stream.details).fields if stream.details else set()
    expected = {
        path.replace(".", "_")
        for column in stream.schema.columns
        for path in column.paths
        if column.name not in own - asked
        and path.partition(".")[0] not in whole - {path}  # within another column
        and not (stream.rest_column and path.startswith("rest."))
    }
    assert asked == expected
    assert ("next" in document.text) == ("after" in document.declared)


@pytest.mark.parametrize(
    "name", [*WHOLE, NEWEST_FIRST, "label_versions", "workspace_labelers"]
)
def test_records_fit_their_schema(run: Runner, world: World, name: str) -> None:
    """All of them, over several pages, and nothing is put aside."""
    world.add_label(world.projects[0].id)

    output = run(name, page_size=2)

    schema = next(m["schema"] for m in output.messages if m["type"] == "SCHEMA")
    validator = Draft202012Validator(schema)
    assert output.error is None
    assert output.records(name)
    for record in output.records(name):
        validator.validate(record)
        assert record.keys() == schema["properties"].keys()
        assert record["additional_columns"] == {}


@pytest.mark.parametrize("name", [*WHOLE, NEWEST_FIRST, "label_versions"])
def test_pages_may_be_of_any_size(run: Runner, name: str) -> None:
    """Each row comes once."""
    everything = run(name).records(name)

    for size in (2, 3, 7):
        assert run(name, page_size=size).records(name) == everything


# --- what the official client reads ------------------------------------------------


@pytest.fixture
def client(run: Runner) -> Any:
    """Return Labelbox's own client."""
    logging.getLogger("labelbox").setLevel(logging.ERROR)
    sandbox = run.sandbox
    return labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )


def test_users_are_those_of_the_client(run: Runner, client: Any) -> None:
    """One by one."""
    result = {
        row["id"]: (row["email"], row["name"], row["nickname"], row["picture"])
        for row in run("users").records("users")
    }

    assert result == {
        user.uid: (user.email, user.name, user.nickname, user.picture)
        for user in client.get_users()
    }
    assert len(result) == len(run.world.users)


def test_roles_are_those_of_the_client(
    run: Runner, client: Any, monkeypatch: Any
) -> None:
    """It writes their names in capitals."""
    monkeypatch.setattr("labelbox.schema.role._ROLES", None)

    result = {
        format_role(row["name"]): row["id"] for row in run("roles").records("roles")
    }

    assert result == {name: role.uid for name, role in client.get_roles().items()}


@pytest.mark.filterwarnings("ignore")
def test_groups_are_those_of_the_client(run: Runner, client: Any) -> None:
    """With their members, but for those without a role, whom it drops."""
    output = run("user_groups", "user_group_members")
    members: dict[str, set[Any]] = {}
    for row in output.records("user_group_members"):
        if row["role_id"]:
            member = row["user_id"], row["email"], row["role_id"]
            members.setdefault(row["user_group_id"], set()).add(member)

    result = {
        row["id"]: (row["name"], row["color"], row["description"], row["project_count"])
        for row in output.records("user_groups")
    }
    theirs = list(UserGroup(client).get_user_groups(client))
    assert result == {
        group.id: (
            group.name,
            group.color.value,
            group.description,
            len(group.projects),
        )
        for group in theirs
    }
    assert {i: members.get(i, set()) for i in result} == {
        group.id: {(m.user.uid, m.user.email, m.role.uid) for m in group.members}
        for group in theirs
    }


def test_task_queues_are_those_of_the_client(run: Runner, client: Any) -> None:
    """Project by project, in the order of the workflow."""
    result = [
        (
            row["project_id"],
            row["order"],
            row["id"],
            row["name"],
            row["description"],
            row["queue_type"],
            row["data_row_count"],
        )
        for row in run("task_queues").records("task_queues")
    ]

    assert result == [
        (
            project.id,
            order,
            queue.uid,
            queue.name,
            queue.description,
            queue.queue_type,
            queue.data_row_count,
        )
        for project in run.world.projects
        for order, queue in enumerate(client.get_project(project.id).task_queues())
    ]


# --- kinds of reading ---------------------------------------------------------------


class OrganizationStream(LabelboxStream):
    """One object, asked for once."""

    name = "organization"
    schema = table(key("id", "ID."), text("name", "Name."))


class BatchesStream(LabelboxStream):
    """By project, by cursor, at the second endpoint."""

    name = "batches"
    path = "/_gql"
    schema = table(
        key("id", "ID."), text("project_id", "Project."), text("name", "Name.")
    )


class DatasetsStream(LabelboxStream):
    """A list by offset, of which another table is made as well."""

    name = "datasets"
    schema = table(key("id", "ID."), text("name", "Name."))


class DataRowsStream(LabelboxStream):
    """By a parent that is no project; the cursor has names of its own."""

    name = "data_rows"
    parents = "datasets"
    schema = table(key("id", "ID."), text("dataset_id", "Dataset."))


class LabelerPerformanceStream(LabelboxStream):
    """By project, by offset, without an ID."""

    name = "labeler_performance"
    primary_keys = ("project_id", "user_id")
    schema = table(
        key("project_id", "Project."),
        key("user_id", "User."),
        integer("count", "Labels."),
    )


class WorkflowsStream(LabelboxStream):
    """An object of each project, which may be null."""

    name = "workflows"
    may_be_null = True
    primary_keys = ("project_id",)
    schema = table(
        key("project_id", "Project."), json("config", "…"), timestamp("created_at", "…")
    )


class OptionsStream(LabelboxStream):
    """Rows within the rows of a document that has no stream of its own."""

    name = "metadata_schema_options"
    document = "metadata_schema"
    nested_in, nested_key = "_options", "metadata_schema_id"
    primary_keys = ("metadata_schema_id", "id")
    schema = table(
        key("metadata_schema_id", "Field."), key("id", "ID."), text("name", "…")
    )


DOCUMENTS = {
    "organization": "query Organization { rows: organization { id name } }",
    "batches": """query Batches($project_id: ID!, $first: PageSize!, $after: String) {
      project(where: {id: $project_id}) {
        batches(first: $first, after: $after) {
          rows: nodes { id name }
          page: pageInfo { next: endCursor }
        }
      }
    }""",
    "datasets": """query Datasets($skip: Int!, $first: PageSize!) {
      rows: datasets(where: {deleted: false}, skip: $skip, first: $first) { id name }
    }""",
    "data_rows": """query DataRows($dataset_id: ID!, $first: Int, $after: ID) {
      data_rows: datasetDataRows(id: $dataset_id, from: $after, first: $first) {
        rows: nodes { id }
        page: pageInfo { next: startCursor }
      }
    }""",
    "labeler_performance": """query LabelerPerformance(
      $project_id: ID!, $skip: Int!, $first: PageSize!
    ) {
      project(where: {id: $project_id}) {
        rows: labelerPerformance(skip: $skip, first: $first) { user { id } count }
      }
    }""",
    "workflows": """query Workflows($project_id: ID!) {
      rows: projectWorkflow(projectId: $project_id) { config created_at: createdAt }
    }""",
    "metadata_schema": """query MetadataSchema {
      rows: customMetadataOntology { id name kind _options: options { id name } }
    }""",
}
KINDS = (
    OrganizationStream,
    BatchesStream,
    DatasetsStream,
    DataRowsStream,
    LabelerPerformanceStream,
    WorkflowsStream,
    OptionsStream,
)


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch, run: Runner) -> Runner:
    """Have a stream of each kind, in place of the tap's own."""
    load = Document.load
    monkeypatch.setattr("tap_labelbox.tap.STREAMS", KINDS)
    monkeypatch.setattr(
        Document,
        "load",
        lambda name: Document(DOCUMENTS[name]) if name in DOCUMENTS else load(name),
    )
    return run


@pytest.mark.parametrize("size", [2, 3, 100])
def test_each_kind_is_read_whole(kinds: Runner, size: int) -> None:
    """Whatever its paging, its parents and its endpoint; the state stays empty."""
    world = kinds.world

    output = kinds(page_size=size)

    def result(stream: str, *names: str) -> list[Any]:
        rows = [tuple(r[name] for name in names) for r in output.records(stream)]
        return rows if len(names) > 1 else [row[0] for row in rows]

    assert output.error is None
    assert result("organization", "id") == [world.organization["id"]]
    assert result("datasets", "id") == [dataset.id for dataset in world.datasets]
    assert result("batches", "project_id", "id") == [
        (project.id, batch["id"])
        for project in world.projects
        for batch in project.batches
    ]
    assert result("data_rows", "dataset_id", "id") == [
        (dataset.id, row.id)
        for dataset in world.datasets
        for row in reversed(dataset.data_rows)
    ]
    assert sorted(
        result("labeler_performance", "project_id", "user_id", "count")
    ) == sorted(
        (project.id, user.id, count)
        for project in world.projects
        for user in {label.created_by for label in project.labels}
        if (count := sum(label.created_by is user for label in project.labels))
    )
    with_rows = [project.id for project in world.projects if project.data_rows]
    assert result("workflows", "project_id") == with_rows
    assert result("metadata_schema_options", "metadata_schema_id", "id") == [
        (field["id"], option["id"])
        for field in world.metadata_ontology
        for option in field.get("options") or ()
    ]
    kept = output.state["bookmarks"].values()
    assert {name for bookmark in kept for name in bookmark} == {"read_at"}


@pytest.mark.parametrize("streams", [("data_rows",), ("datasets", "data_rows")])
def test_parents_are_asked_for_once(kinds: Runner, streams: tuple[str, ...]) -> None:
    """Their own stream may be selected or not."""
    kinds(*streams)

    assert operations(kinds).count("Datasets") == 1


def test_null_is_none_only_where_it_may_be(kinds: Runner, caplog: Any) -> None:
    """Elsewhere it is an answer that lacks something."""
    kinds.sandbox.before = lambda r: (
        Reply(200, {}, {"data": {"rows": None}})
        if r.operation in {"Workflows", "Organization"}
        else None
    )

    output = kinds("organization", "workflows")

    assert isinstance(output.error, IncompleteError)
    assert logged(caplog) == [
        "organization is left out: Labelbox answered without rows and without an error"
    ]


# --- what is asked for --------------------------------------------------------------


def test_groups_and_their_members_are_asked_for_once(run: Runner) -> None:
    """One reply has both."""
    together = run("user_groups", "user_group_members")
    assert operations(run) == ["UserGroups"]

    for name in ("user_groups", "user_group_members"):
        assert run(name).records(name) == together.records(name)
        (request,) = run.sandbox.requests
        assert ("_members" in (request.query or "")) == (name == "user_group_members")
        operations(run)


def selecting(run: Runner, *expected: str) -> dict[str, Any]:
    """Return a catalog with these columns of some streams, and no others."""
    catalog: dict[str, Any] = TapLabelbox(config=run.config()).catalog_dict
    for stream in catalog["streams"]:
        name = stream["tap_stream_id"]
        for entry in stream["metadata"]:
            path = [name, *entry["breadcrumb"][1::2]]
            entry["metadata"]["selected"] = any(
                single.split(".")[: len(path)] == path for single in expected
            )
    return catalog


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        (("users.id", "users.org_role_name"), "id org_role: orgRole { name }"),
        (("users.id",), "id"),
    ],
)
def test_only_selected_columns_are_asked_for(
    run: Runner, expected: tuple[str, ...], fields: str
) -> None:
    """Of relations as well; a record has no others."""
    output = run(catalog=selecting(run, *expected))

    (request,) = run.sandbox.requests
    body = (request.query or "").partition("rows: users")[2].partition("{")[2]
    assert output.error is None
    assert "".join(body.split()) == "".join(fields.split()) + "}}"
    record = output.records("users")[0]
    assert {f"users.{name}" for name in record} == set(expected)


def test_the_large_column_of_versions_can_be_left_out(run: Runner) -> None:
    """And what the bookmark is kept by is asked for all the same."""
    expected = (
        "label_versions.id",
        "label_versions.action",
        "label_versions.created_at",
    )

    output = run(catalog=selecting(run, *expected))

    asked = [
        r.query or "" for r in run.sandbox.requests if r.operation == "LabelVersions"
    ]
    assert output.error is None
    assert len(output.records("label_versions")) == run.label_count
    assert all("label\n" not in query for query in asked)


def test_several_projects_are_in_flight(serving: Any) -> None:
    """The second request does not wait for the first reply."""
    run = serving(World(projects=6, labels_per_project=1), latency=0.01)
    together = threading.Barrier(2, timeout=30)
    numbers = count()

    def meet(request: Request) -> None:
        # The first is asked alone: perhaps no more is wanted.
        if request.operation == "TaskQueues" and next(numbers) in {1, 2}:
            together.wait()

    run.sandbox.before = meet
    output = run("task_queues", concurrency=4, projects_per_request=2)

    assert output.error is None
    assert len(output.records("task_queues")) == 6 * 4


def test_nothing_is_asked_where_files_are_read(tmp_path: Any, run: Runner) -> None:
    """Nor is anything said."""
    file = tmp_path / "empty.ndjson"
    file.write_text("")

    run(export_files=[str(file)])

    assert run.sandbox.requests == []


# --- what is refused ----------------------------------------------------------------


@pytest.mark.parametrize("name", [*WHOLE, NEWEST_FIRST, "label_versions"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AUTHORIZATION_ERROR", "You are not authorized"),
        ("OPERATION_NOT_ALLOWED", "deselect it"),
        ("GRAPHQL_VALIDATION_FAILED", "deselect it"),
    ],
)
def test_a_refusal_costs_the_stream(
    run: Runner, caplog: Any, name: str, code: str, reason: str
) -> None:
    """It has one line, however many projects there are; the others are read."""
    document = next(s.document or s.name for s in DECLARED if s.name == name)
    operation = document.title().replace("_", "")
    body = {"errors": [{**FORBIDDEN["errors"][0], "extensions": {"code": code}}]}  # type: ignore[index]
    run.sandbox.before = lambda r: (
        Reply(200, {}, body | {"data": None}) if r.operation == operation else None
    )

    output = run(name, "projects", "labels")

    (line,) = logged(caplog)
    assert line.startswith(f"{name} is left out: ")
    assert reason in line
    assert isinstance(output.error, IncompleteError)
    assert not output.records(name)
    assert len(output.records("labels")) == run.label_count


@pytest.mark.parametrize(
    ("name", "forgotten"),
    [
        ("users", "Query.users"),
        ("roles", "Query.roles"),
        ("task_queues", "Project.taskQueues"),
        ("user_groups", "UserGroupPage.nextCursor"),
        ("user_group_members", "UserGroup.members"),
        ("users", "User.id"),
        ("label_versions", "LabelVersion.createdAt"),
    ],
)
def test_a_field_that_the_server_lacks_costs_the_stream(
    serving: Any, caplog: Any, name: str, forgotten: str
) -> None:
    """Without it nothing would be left to read, or not all of it."""
    run = serving(World(), forget=[forgotten])

    output = run(name, "labels")

    assert [line for line in logged(caplog) if line.startswith(f"{name} is left out: ")]
    assert isinstance(output.error, IncompleteError)
    assert not output.records(name)
    assert len(output.records("labels")) == run.label_count


def test_members_are_missed_where_groups_are_read(serving: Any, caplog: Any) -> None:
    """Groups without a list of members are no groups without members."""
    run = serving(World(), forget=["UserGroup.members"])

    output = run("user_groups", "user_group_members")

    assert len(output.records("user_groups")) == 3
    (line,) = logged(caplog)
    assert "user_group_members is left out: it cannot be read" in line


def test_a_column_that_the_server_lacks_is_null(serving: Any) -> None:
    """The rest is read."""
    run = serving(World(), forget=["User.timezone", "UserGroup.projects"])

    output = run("users", "user_groups")

    assert output.error is None
    assert len(output.records("users")) == 9
    assert {row["timezone"] for row in output.records("users")} == {None}
    assert {row["project_count"] for row in output.records("user_groups")} == {None}


@pytest.mark.parametrize("name", BY_PROJECT)
@pytest.mark.parametrize("number", range(4))
def test_one_forbidden_project_costs_itself(
    run: Runner, world: World, caplog: Any, name: str, number: int
) -> None:
    """Whichever it is."""
    world.projects[number].restricted = True

    output = run(name)

    (line,) = logged(caplog)
    forbidden = world.projects[number].id
    assert line.startswith(f"{name} of project {forbidden} is left out: You")
    assert isinstance(output.error, IncompleteError)
    assert {row["project_id"] for row in output.records(name)} == {
        project.id
        for project in world.projects
        if project.id != forbidden and (name == "task_queues" or project.labels)
    }


@pytest.mark.parametrize("name", BY_PROJECT)
def test_many_forbidden_projects_are_named_up_to_a_limit(
    serving: Any, caplog: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All others are read."""
    monkeypatch.setattr("tap_labelbox.base.refusals.MAX_NAMED_SOURCES", 3)
    world = World(projects=9, labels_per_project=1)
    run = serving(world)
    for project in world.projects[:8]:
        project.restricted = True

    output = run(name)

    lines = logged(caplog)
    assert len(lines) == 4
    assert lines[-1].startswith(f"{name} of more projects is left out")
    assert {r["project_id"] for r in output.records(name)} == {world.projects[8].id}


def test_a_service_that_is_down_ends_the_run(run: Runner, monkeypatch: Any) -> None:
    """Not one stream after the other, each after minutes."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    run.sandbox.before = lambda r: (
        None if r.operation == "ProjectIds" else Reply(503, {}, "down")
    )

    output = run(*WHOLE, "labels", retry_seconds=0.01)

    assert isinstance(output.error, OutageError)


@pytest.mark.parametrize("restricted", [0, 1])
def test_a_table_of_all_projects_is_activated_if_all_were_read(
    run: Runner, world: World, restricted: int
) -> None:
    """A target deletes what was not read, so nothing may be missing."""
    for project in world.projects[:restricted]:
        project.restricted = True

    output = run("task_queues", emit_activate_version_messages=True)

    versions = [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]
    assert len(versions) == 1 - restricted


def test_tables_take_turns(run: Runner) -> None:
    """Those that were not read last time come first."""
    state = run("users", "roles").state

    output = run("users", "roles", "user_groups", "labels", state=state)

    order = dict.fromkeys(m["stream"] for m in output.messages if m["type"] == "SCHEMA")
    assert {*list(order)[:2]} == {"user_groups", "labels"}


# --- malformed replies ------------------------------------------------------------


def groups(*nodes: Any, cursor: Any = None) -> Reply:
    """Return a page of groups."""
    return Reply(200, {}, {"data": {"groups": {"rows": nodes, "next": cursor}}})


def read_groups(run: Runner, *nodes: Any) -> Output:
    """Read groups and members out of one reply."""
    run.sandbox.before = lambda _: groups(*nodes)
    return run("user_groups", "user_group_members")


@pytest.mark.parametrize(
    "members", [None, {}, {"nodes": None}, {"nodes": [], "roles": None, "count": None}]
)
def test_a_group_may_have_nothing(run: Runner, members: Any) -> None:
    """All but its ID may be null."""
    absent = dict.fromkeys(("name", "color", "description", "member", "project"))

    output = read_groups(run, {"id": "g", **absent, "_members": members})

    assert output.error is None
    assert output.ids("user_groups") == ["g"]
    assert output.records("user_group_members") == []


def test_malformed_rows_cost_themselves(run: Runner, caplog: Any) -> None:
    """At any depth; no value gets into the log."""
    members = [
        None,
        "Jane",
        {"email": "Jane"},
        {"user_id": 7, "email": "x@example.com"},
    ]
    good = {"id": "g", "_members": {"nodes": members, "roles": [None, {"user_id": 7}]}}

    output = read_groups(run, None, "Jane", {"name": "Jane"}, {"id": ""}, good)

    assert isinstance(output.error, IncompleteError)
    assert output.ids("user_groups") == ["g"]
    (member,) = output.records("user_group_members")
    assert (member["user_group_id"], member["user_id"]) == ("g", "7")
    assert len(logged(caplog)) >= 4 + 3
    assert "Jane" not in caplog.text


def test_members_that_are_not_listed_are_reported(run: Runner, caplog: Any) -> None:
    """The inner list has no pages; a target must not delete the rest."""
    members = {"nodes": [{"user_id": "u"}], "count": 3}
    run.sandbox.before = lambda _: groups({"id": "g", "_members": members})

    output = run("user_group_members", emit_activate_version_messages=True)

    assert len(output.records("user_group_members")) == 1
    assert "user_group_id g: Labelbox gives 1 of 3" in caplog.text
    assert not [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]


@pytest.mark.parametrize("cursors", ["aa", "aba"])
def test_a_cursor_that_leads_back_ends_the_stream(
    run: Runner, caplog: Any, cursors: str
) -> None:
    """Not the run, and not never."""
    left = iter(cursors)
    run.sandbox.before = lambda _: groups({"id": "g"}, cursor=next(left))

    run("user_groups")

    (line,) = logged(caplog)
    assert "the same page again and again" in line


def test_a_page_may_be_empty_or_short_before_the_last(run: Runner) -> None:
    """Only the cursor says that there are no more."""
    pages = iter([([], "a"), ([{"id": "g"}], "b"), ([], "c"), ([{"id": "h"}], "")])

    def answer(_: Request) -> Reply:
        rows, cursor = next(pages)
        return groups(*rows, cursor=cursor)

    run.sandbox.before = answer

    assert run("user_groups").ids("user_groups") == ["g", "h"]


def test_a_page_without_word_of_the_next_is_no_last_page(
    run: Runner, caplog: Any
) -> None:
    """A list that may be cut off is not taken for complete."""
    run.sandbox.before = lambda _: Reply(
        200, {}, {"data": {"groups": {"rows": [{"id": "g"}]}}}
    )

    run("user_groups")

    (line,) = logged(caplog)
    assert "without saying whether there is another page" in line


@pytest.mark.parametrize(
    ("name", "rows"),
    [("users", 9), ("user_groups", 3), ("label_versions", 40), ("labels", 40)],
)
def test_a_page_that_is_too_much_is_asked_for_in_smaller_ones(
    serving: Any, name: str, rows: int
) -> None:
    """By offset and by cursor."""
    run = serving(World(projects=10, labels_per_project=4), most_rows=3)

    output = run(name, concurrency=8)

    assert output.error is None
    assert len(output.records(name)) == rows


@pytest.mark.parametrize("name", ["label_versions", "labels"])
def test_pages_that_are_too_much_together_count_once(serving: Any, name: str) -> None:
    """Each of them in flight was as large as the first; half of that will do."""
    world = World(projects=18, labels_per_project=4)
    run = serving(world, latency=0.05)
    small = {project.id for project in world.projects[:8]}

    def refuse(request: Request) -> Reply | None:
        inputs = request.variables
        if inputs.get("project_id") in small or inputs.get("first", 0) <= 50:
            return None
        return Reply(400, {}, TOO_COMPLEX) if "project_id" in inputs else None

    run.sandbox.before = refuse
    output = run(name, concurrency=8, projects_per_request=1)

    assert output.error is None
    assert len(output.records(name)) == 18 * 4


def test_a_list_that_moves_is_read_whole(serving: Any) -> None:
    """Users go while it is read; whoever stays is read once."""
    world = World()
    run = serving(world)
    stay = {user.id for user in world.users[3:]}
    pages = 0

    def happen(request: Request) -> None:
        nonlocal pages
        pages += request.operation == "Users"
        if pages in {2, 4, 6}:
            world.users.pop(0)

    run.sandbox.before = happen
    result = run("users", page_size=3, concurrency=1).ids("users")

    assert stay <= set(result)
    assert len(result) == len(set(result))


# --- bookmarks ----------------------------------------------------------------------


def test_versions_go_on_from_the_bookmark(run: Runner, world: World) -> None:
    """Versions with its timestamp come again, and nothing older."""
    first = run("label_versions", lookback_seconds=10)
    operations(run)
    added = world.add_label(world.projects[0].id)

    second = run(
        "label_versions", state=first.state, lookback_seconds=10, projects_per_request=1
    )

    assert f"v1-{added.id}" in second.ids("label_versions")
    assert len(second.records("label_versions")) < 50
    inputs = [
        r.variables for r in run.sandbox.requests if r.operation == "LabelVersions"
    ]
    assert sum("since" in variables for variables in inputs) >= 3
    assert all("before" in variables for variables in inputs)


def test_a_bookmark_waits_where_rows_are_in_no_order(run: Runner, world: World) -> None:
    """It moves when all have been read, and then to the latest."""
    project = world.projects[0].id
    pages = {
        None: (["2026-01-03", "2026-01-01"], "a"),
        "a": (["2026-01-02"], None),
    }

    def answer(request: Request) -> Reply | None:
        inputs = request.variables
        if request.operation != "LabelVersions":
            return None
        rows, cursor = (
            pages[inputs.get("after")]
            if inputs["project_id"] == project
            else ([], None)
        )
        made = [{"id": f"{day}", "created_at": f"{day}T00:00:00.000Z"} for day in rows]
        return Reply(200, {}, {"data": {"versions": {"rows": made, "next": cursor}}})

    run.sandbox.before = answer
    run.sandbox.world.now()
    output = run("label_versions", page_size=2, projects_per_request=1)

    (partition,) = (
        p
        for p in output.state["bookmarks"]["label_versions"]["partitions"]
        if "replication_key_value" in p
    )
    assert partition["replication_key_value"] == "2026-01-03T00:00:00.000Z"
    assert len(output.records("label_versions")) == 3
    values = [
        p.get("replication_key_value")
        for state in output.states
        for p in state["bookmarks"].get("label_versions", {}).get("partitions", [])
    ]
    assert all(a <= b for a, b in pairwise(filter(None, values)))


def test_start_date_limits_versions(run: Runner, world: World) -> None:
    """As it does all that has a bookmark."""
    output = run("label_versions", start_date="2025-06-01T00:00:00Z")

    assert {row["id"] for row in output.records("label_versions")} == {
        f"v1-{label.id}"
        for project in world.projects
        for label in project.labels
        if f"{label.created_at:%Y-%m-%d}" >= "2025-06-01"
    }
