"""Requests to the sandbox are recorded, answered, refused, or fail."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import graphql
import pytest
import requests

from tap_labelbox.sandbox import Reply, World, serve
from tap_labelbox.sandbox.replies import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_labelbox.sandbox import Request, Sandbox

PROJECT = "query One($id: ID!) { project(where: {id: $id}) { id name } }"


def test_requests_are_noted_down(sandbox: Sandbox, post: Any) -> None:
    """With what they asked, and under which key."""
    post(sandbox, PROJECT, id="x")

    (request,) = sandbox.requests
    assert (request.method, request.path) == ("POST", "/graphql")
    assert (request.operation, request.variables) == ("One", {"id": "x"})
    assert request.query == PROJECT
    assert request.headers["authorization"] == f"Bearer {sandbox.api_key}"


@pytest.mark.parametrize(
    ("fields", "initial", "experimental"),
    [
        ("name", True, True),
        ("taskQueues { id }", False, True),
        ("batches(first: 1) { nodes { id } }", False, True),
        ("issues(first: 1) { nodes { id } }", False, True),
        ("workstreamStateCounts { count }", False, True),
        ("issueCategories { id }", True, False),
        ("labels(first: 1) { id }", True, False),
        ("members(first: 1) { id }", True, False),
    ],
)
def test_two_addresses_know_different_things(
    sandbox: Sandbox,
    post: Any,
    world: World,
    fields: str,
    initial: bool,  # noqa: FBT001
    experimental: bool,  # noqa: FBT001
) -> None:
    """A project is known to both; what only one knows is no field of the other."""
    text = f"query One($id: ID!) {{ project(where: {{id: $id}}) {{ {fields} }} }}"

    def knows() -> bool:
        reply = post(sandbox, text, id=world.projects[0].id).json()
        return "errors" not in reply

    assert knows() is initial
    sandbox.root += "/_gql?"  # what `url` begins with
    assert knows() is experimental


def test_a_hook_may_answer(sandbox: Sandbox, post: Any) -> None:
    """In place of the sandbox."""
    sandbox.before = lambda _: Reply(429, {"Retry-After": "7"}, {"message": "Later"})

    reply = post(sandbox, PROJECT, id="x")

    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "7")
    assert reply.json() == {"message": "Later"}


def test_a_hook_sees_the_request(sandbox: Sandbox, post: Any) -> None:
    """And if it gives nothing, the sandbox answers."""
    seen: list[Request] = []
    sandbox.before = seen.append

    assert post(sandbox, PROJECT, id="x").status_code == 200
    assert seen == sandbox.requests


@pytest.mark.parametrize("size", [10, 10_000])
def test_a_reply_may_break_off(sandbox: Sandbox, post: Any, size: int) -> None:
    """After some bytes of its body, also if that is large enough to be packed."""
    sandbox.before = lambda _: Reply(200, {}, {"data": "x" * size}, cut=size // 2)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(sandbox, PROJECT, id="x")


def test_a_reply_may_stall(sandbox: Sandbox) -> None:
    """Before its connection is closed; whoever waits for less gives up."""
    sandbox.before = lambda _: Reply(200, {}, {"data": None}, cut=3, hang=10)

    with pytest.raises(requests.exceptions.RequestException, match="Read timed out"):
        requests.post(sandbox.url, json={"query": PROJECT}, timeout=(10, 0.1))


def test_a_connection_may_be_reset(sandbox: Sandbox, post: Any) -> None:
    """With nothing sent."""
    sandbox.before = lambda _: Reply(reset=True)

    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        post(sandbox, PROJECT, id="x")


def test_what_was_done_may_go_untold(sandbox: Sandbox, post: Any) -> None:
    """The request is answered, but the answer is another."""
    logged: list[Reply] = []

    def swallow(_: Request, reply: Reply) -> Reply:
        logged.append(reply)
        return Reply(504)

    sandbox.after = swallow

    assert post(sandbox, "{ organization { id } }").status_code == 504
    assert logged[0].body["data"]["organization"]


def test_a_page_may_be_too_large(start: Callable[..., Sandbox], post: Any) -> None:
    """By the knob, in Labelbox's words."""
    sandbox = start(most_rows=50)
    text = "query P($first: PageSize) { projects(first: $first) { id } }"

    assert post(sandbox, text, first=50).json()["data"]["projects"]
    (error,) = post(sandbox, text, first=51).json()["errors"]
    assert error["message"] == "Query complexity limit exceeded"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that the sandbox waits, none of which pass."""
    result: list[float] = []
    monkeypatch.setattr("tap_labelbox.sandbox.server.time.sleep", result.append)
    return result


def test_a_reply_may_be_slow(sandbox: Sandbox, post: Any, waits: list[float]) -> None:
    """It waits for as long as its own delay says, and is sent."""
    sandbox.before = lambda _: Reply(200, {}, {"data": None}, delay=500.0)

    assert post(sandbox, PROJECT, id="x").json() == {"data": None}
    assert [seconds for seconds in waits if seconds] == [500.0]


def test_all_replies_may_be_slow(
    start: Callable[..., Sandbox], post: Any, waits: list[float]
) -> None:
    """Each waits for as long as the knob says."""
    sandbox = start(latency=500.0)

    for _ in range(2):
        assert post(sandbox, PROJECT, id="x").ok
    assert [seconds for seconds in waits if seconds] == [500.0, 500.0]


def test_replies_are_packed(sandbox: Sandbox, post: Any) -> None:
    """If they are worth it; the same one more than once."""
    text = "{ users { " + " ".join(f"field{n}" for n in range(50)) + " } }"

    for _ in range(2):
        reply = post(sandbox, text)
        assert reply.headers["Content-Encoding"] == "gzip"
        assert len(reply.json()["errors"]) == 50
    assert "Content-Encoding" not in post(sandbox, "{ organization { id } }").headers


def test_many_are_served_at_once(start: Callable[..., Sandbox], post: Any) -> None:
    """Thirty, none of which is answered before the last has come."""
    sandbox = start()
    together = threading.Barrier(30, timeout=60)

    def wait_for_all(_: Request) -> None:
        together.wait()

    sandbox.before = wait_for_all

    with ThreadPoolExecutor(30) as pool:
        replies = list(pool.map(lambda _: post(sandbox, "{ users { id } }"), range(30)))

    assert [reply.status_code for reply in replies] == [200] * 30


def test_it_closes_while_a_connection_is_open() -> None:
    """And leaves no thread behind."""
    before = set(threading.enumerate())

    with requests.Session() as session, serve(World(labels=0)) as sandbox:
        session.post(sandbox.url, json={}, timeout=10)

    assert set(threading.enumerate()) <= before


def test_an_interpreter_ends_though_it_was_not_closed() -> None:
    """Nobody has to think of it."""
    code = (
        "from tap_labelbox.sandbox import World, serve\n"
        "serving = serve(World(labels=0))\n"
        "print(serving.__enter__().url)"
    )

    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
    )

    assert run.stdout.startswith(b"http://127.0.0.1:")


def test_it_can_be_run() -> None:
    """It tells its address and settings for the tap."""
    with subprocess.Popen(
        [sys.executable, "-m", "tap_labelbox.sandbox", "--labels", "10"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(6)]
        process.terminate()

    assert "projects at http://127.0.0.1:" in lines[0]
    assert '"api_key": "sandbox-key-that-opens-nothing"' in lines[4]


# --- errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ projects { id", (400, "GRAPHQL_PARSE_FAILED", "Syntax Error: ")),
        (
            "{ projects { bbb } }",
            (
                400,
                "GRAPHQL_VALIDATION_FAILED",
                'Cannot query field "bbb" on type "Project".',
            ),
        ),
        (
            "{ projects(orderBy: size) { id } }",
            (
                400,
                "GRAPHQL_VALIDATION_FAILED",
                'Value "size" does not exist in "ProjectOrderBy" enum.',
            ),
        ),
        (
            "{ projects(where: {size: 1}) { id } }",
            (
                400,
                "GRAPHQL_VALIDATION_FAILED",
                'Field "size" is not defined by type "ProjectWhereInput".',
            ),
        ),
        (
            "{ projects(first: 101) { id } }",
            (400, "GRAPHQL_VALIDATION_FAILED", 'Expected value of type "PageSize"'),
        ),
        (
            "{ projects { datasets { dataRows { labels { id } } } } }",
            (400, "GRAPHQL_VALIDATION_FAILED", "Query complexity limit exceeded"),
        ),
        (
            '{ project(where: {id: "x"}) { id } }',
            (200, "RESOURCE_NOT_FOUND", "Project x not found"),
        ),
        (
            '{ label(where: {id: "x"}) { id } }',
            (200, "RESOURCE_NOT_FOUND", "Label x not found"),
        ),
    ],
)
def test_errors_have_the_shape_that_clients_know(
    sandbox: Sandbox, post: Any, text: str, expected: tuple[int, str, str]
) -> None:
    """HTTP status, code, words and place."""
    status, code, message = expected
    reply = post(sandbox, text)

    error = reply.json()["errors"][0]
    assert (reply.status_code, error["extensions"]["code"]) == (status, code)
    assert error["message"].startswith(message)
    assert error["locations"][0]["line"] == 1


def test_a_bad_variable_is_refused(sandbox: Sandbox, post: Any) -> None:
    """As Apollo's servers do it."""
    reply = post(
        sandbox, "query All($n: PageSize) { projects(first: $n) { id } }", n=101
    )

    (error,) = reply.json()["errors"]
    assert reply.status_code == 400
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["message"].startswith('Variable "$n" got invalid value')


def test_another_key_is_refused(sandbox: Sandbox) -> None:
    """And so is none."""
    for headers in ({"Authorization": "Bearer another"}, {}):
        reply = requests.post(
            sandbox.url, json={"query": "{ user { id } }"}, headers=headers, timeout=10
        )

        assert reply.status_code == 401
        (error,) = reply.json()["errors"]
        assert error["extensions"]["code"] == "AUTHENTICATION_ERROR"


def test_projects_that_are_not_to_be_had(
    sandbox: Sandbox, post: Any, world: World
) -> None:
    """One belongs to somebody else, one was deleted; neither is listed."""
    entries = post(sandbox, "{ projects { id } }").json()["data"]["projects"]
    codes = {}
    for project in (world.forbidden_project, world.deleted_project):
        assert {"id": project.id} not in entries
        (error,) = post(sandbox, PROJECT, id=project.id).json()["errors"]
        codes[project.name] = error["extensions"]["code"]

    assert list(codes.values()) == ["AUTHORIZATION_ERROR", "RESOURCE_NOT_FOUND"]


def test_faults_are_a_share_of_the_requests(
    start: Callable[..., Sandbox], post: Any
) -> None:
    """Of every kind there is, if one asks often enough; and the same every time."""

    def outcomes() -> list[str]:
        sandbox = start(faults=0.5, seed=3)
        return [outcome(sandbox) for _ in range(300)]

    def outcome(sandbox: Sandbox) -> str:
        try:
            reply = post(sandbox, "{ users { id } }")
        except requests.exceptions.ChunkedEncodingError:
            return "broken"
        except requests.ConnectionError:
            return "reset"
        return logged(reply.status_code, reply.headers, reply.text)

    def logged(status: int, headers: Mapping[str, str], text: str) -> str:
        return f"{status} {headers.get('Retry-After')} {text}"

    seen = outcomes()
    whole = outcome(start())
    replies = [r for r in faults(graphql=True).values() if r and not r.reset]
    kinds = {logged(r.status, r.headers, r.content().decode()) for r in replies}
    assert 100 <= seen.count(whole) <= 200
    assert set(seen) == {whole, "broken", "reset", *kinds}
    assert outcomes() == seen


# --- the schema --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "Label.type",
            '{ label(where: {id: "x"}) { type { id } } }',
            'Cannot query field "type" on type "Label".',
        ),
        (
            "Project.labels.orderBy",
            '{ project(where: {id: "x"}) { labels(orderBy: createdAt_ASC) { id } } }',
            'Unknown argument "orderBy" on field "Project.labels".',
        ),
        (
            "LabelWhereInput.createdAt_lt",
            '{ project(where: {}) { labels(where: {createdAt_lt: ""}) { id } } }',
            'Field "createdAt_lt" is not defined by type "LabelWhereInput".',
        ),
        (
            "LabelOrderBy.createdAt_ASC",
            '{ project(where: {id: "x"}) { labels(orderBy: createdAt_ASC) { id } } }',
            'Value "createdAt_ASC" does not exist in "LabelOrderBy" enum.',
        ),
        (
            "Mutation.exportLabels",
            'mutation { exportLabels(data: {projectId: "x"}) { shouldPoll } }',
            'Cannot query field "exportLabels" on type "Mutation".',
        ),
    ],
)
def test_the_api_can_forget(
    start: Callable[..., Sandbox], post: Any, name: str, text: str, message: str
) -> None:
    """A field, an argument, an input, an enum value, a mutation."""
    reply = post(start(forget=[name]), text)

    assert reply.status_code == 400
    assert reply.json()["errors"][0]["message"].startswith(message)


@pytest.mark.parametrize("knob", ["forget", "ignore", "refuse"])
@pytest.mark.parametrize("name", ["Label.typo", "Project.labels.typo", "Typo.x.y"])
def test_it_cannot_forget_what_it_never_knew(knob: str, name: str) -> None:
    """A misspelt name would test nothing."""
    options: dict[str, Any] = {knob: [name]}
    with (
        pytest.raises(ValueError, match=f"the schema has no {name}"),
        serve(World(labels=0), **options),
    ):
        pass


@pytest.mark.parametrize("order", ["createdAt_ASC", "name_ASC", None])
def test_an_order_can_be_ignored(
    start: Callable[..., Sandbox], post: Any, world: World, order: str | None
) -> None:
    """Then the list is as where none is asked for: newest first, unless told."""
    name = "Query.projects.orderBy"
    text = "query Q($order: ProjectOrderBy) { projects(orderBy: $order) { id } }"
    every = [project.id for project in world.projects]

    def entries(**knobs: Any) -> list[str]:
        data = post(start(**knobs), text, order=order).json()["data"]
        return [project["id"] for project in data["projects"]]

    assert entries(ignore=[name]) == every[::-1]
    assert entries(ignore=[name], projects_order="createdAt_ASC") == every
    by_name = [p.id for p in sorted(world.projects, key=lambda p: p.name)]
    orders = {"createdAt_ASC": every, "name_ASC": by_name, None: every[::-1]}
    assert entries() == orders[order]


def test_every_field_can_be_asked_for(
    start: Callable[..., Sandbox], post: Any, world: World
) -> None:
    """The schema promises nothing that nobody answers."""
    sandbox = start(polls=0)
    task = post(
        sandbox,
        "mutation M($id: ID!) { exportDataRowsInProject("
        "input: {filters: {projectId: $id}}) { taskId } }",
        id=world.projects[0].id,
    ).json()["data"]["exportDataRowsInProject"]["taskId"]
    project = world.projects[0]
    label = project.labels[0]
    values = {
        "Query.user": world.users[0].id,
        "Query.webhook": world.people.webhooks[0]["id"],
        "Query.invitesLimit": world.organization["id"],
        "Query.project": project.id,
        "Query.dataset": project.dataset.id,
        "Query.dataRow": label.data_row.id,
        "Query.label": label.id,
        "Query.labelVersion": f"v1-{label.id}",
        "Query.ontology": project.ontology["id"],
        "Query.model": world.models[0]["id"],
        "Query.modelRun": world.models[0]["modelRuns"][0]["id"],
        "Query.findModelFoundryApp": world.foundry_apps[0]["id"],
        "Query.issue": project.issues[0]["id"],
        "Query.task": task,
        "Query.batch": project.batches[0]["id"],
        "Query.benchmark": f"benchmark-{label.id}",
    }
    run_id = world.models[1]["modelRuns"][1]["id"]
    inputs = {
        "Query.annotationGroups": f'where: {{modelRunId: {{id: "{run_id}"}}}}',
        "Query.modelFoundryModelRunInfo": f'where: {{modelRunId: "{run_id}"}}',
        "Query.datasetDataRows": f'id: "{project.dataset.id}"',
        "Query.labelVersions": f'where: {{projectId: "{project.id}"}}',
        "Query.rootSchemaNode": "where: {featureSchemaId: "
        f'"{project.ontology["normalized"]["tools"][0]["featureSchemaId"]}"}}',
        "Query.getSavedQuery": f'id: "{world.slices[0]["id"]}"',
        "Query.getDataRowIdentifiersBySavedQuery": "input: {first: 9, savedQueryId: "
        f'"{world.slices[0]["id"]}"}}',
        "Query.projectWorkflow": f'projectId: "{project.id}"',
        "Task.exportMetadataHeader": "streamType: RESULT",
        "Task.exportFileFromOffset": "streamType: RESULT, offset: 0",
        "Query.searchProjects": "input: {}",
        "ReviewMetrics.labelAggregate": "netScore: None",
    }
    of_project = f'where: {{projectId: "{project.id}"}}'
    inputs["Query.labelImports"] = of_project
    inputs["Query.modelAssistedLabelingPredictionImports"] = of_project
    inputs |= {field: f'where: {{id: "{value}"}}' for field, value in values.items()}
    schema = graphql.build_client_schema(
        post(sandbox, graphql.get_introspection_query()).json()["data"]
    )

    def selection(kind: Any, depth: int) -> str:
        if isinstance(kind, graphql.GraphQLUnionType):
            return "{ __typename }"
        parts = []
        for name, field in getattr(kind, "fields", {}).items():
            inner = graphql.get_named_type(field.type)
            arguments = inputs.get(f"{kind.name}.{name}")
            text = f"{name}({arguments})" if arguments else name
            if graphql.is_leaf_type(inner):
                parts.append(text)
            elif depth:
                parts.append(f"{text} {selection(inner, depth - 1)}")
        return f"{{ __typename {' '.join(parts)} }}"

    assert schema.query_type is not None
    for name, field in schema.query_type.fields.items():
        arguments = inputs.get(f"Query.{name}")
        kind = graphql.get_named_type(field.type)
        call = f"{name}({arguments})" if arguments else name
        reply = post(sandbox, f"{{ {call} {selection(kind, 2)} }}").json()
        assert "errors" not in reply, name
        assert reply["data"][name], name
