"""Lists of many projects in one request: what it costs, and what one of them costs."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from graphql import build_schema, parse, validate
from hypothesis import given
from hypothesis import strategies as st

from tap_labelbox.api.combined_replies import separated
from tap_labelbox.api.documents import Document
from tap_labelbox.api.errors import (
    AccessError,
    ComplexityError,
    IncompleteError,
    OutageError,
)
from tap_labelbox.api.prefetch import Question, Together
from tap_labelbox.records.structs import PageDecoder
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.replies import error
from tap_labelbox.streams import STREAMS
from tests.test_queries import SCHEMA_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

SCHEMA = build_schema(SCHEMA_TEXT)
STREAMS_BY_PROJECT = ("task_queues", "label_versions", "labels")
PER_ITEM = pytest.mark.parametrize("stream", STREAMS_BY_PROJECT)
CRASH = error("Something went wrong", "INTERNAL_SERVER_ERROR")


def documents_by_parent() -> dict[str, Document]:
    """Return the documents that ask for the rows of a parent."""
    names = {getattr(s, "document", "") or s.name for s in STREAMS}
    actual = {}
    for name in sorted(names):
        try:
            document = Document.load(name)
        except KeyError:  # what is read in another way
            continue
        if document.parent and document.text.lstrip("#").find("query") >= 0:
            actual[name] = document
    return actual


BY_PARENT = documents_by_parent()
DEFAULT_BY_PROJECT = [
    stream.name
    for stream in STREAMS
    if stream.selected_by_default
    and getattr(stream, "parents", "") == "projects"
    and (getattr(stream, "document", "") or stream.name) in BY_PARENT
]


def asked(run: Runner, stream: str) -> list[Request]:
    """Return the requests for a stream."""
    operation = stream.title().replace("_", "")
    return [r for r in run.sandbox.requests if r.operation == operation]


def sizes(run: Runner, stream: str) -> list[int]:
    """Return for how many projects each request for a stream asked."""
    names = ("project_id", "_project_id")
    return [sum(n.endswith(names) for n in r.variables) for r in asked(run, stream)]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said to be left out."""
    return [m for m in caplog.messages if "is left out" in m]


def small(serving: Callable[..., Runner], projects: int, **knobs: Any) -> Runner:
    """Serve a workspace of many small projects."""
    return serving(World(projects=projects, labels_per_project=2), **knobs)


def projects_of(output: Output, stream: str) -> list[str]:
    """Return the projects of which a stream has records, in the order they came."""
    return [*dict.fromkeys(r["project_id"] for r in output.records(stream))]


# --- the documents -------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_PARENT)
@pytest.mark.parametrize("number", [1, 2, 20])
def test_a_document_for_many_is_valid(name: str, number: int) -> None:
    """Whatever of its variables they have in common, or lack."""
    document = BY_PARENT[name]
    some = [
        {v: f"{v}{n}" for v in document.declared if v == document.parent or n % 3}
        for n in range(number)
    ]

    for asks in (some, [dict.fromkeys(document.declared, "x")] * number):
        text, sent = document.together(asks)
        (operation,) = parse(text).definitions
        assert validate(SCHEMA, parse(text)) == []
        assert operation.name.value == name.title().replace("_", "")  # type: ignore[attr-defined]
        declared = {v.variable.name.value for v in operation.variable_definitions}  # type: ignore[attr-defined]
        assert sent.keys() <= declared


def test_all_root_fields_have_aliases_of_their_own() -> None:
    """Those that had an alias, and those that had none; what is shared is sent once."""
    document = Document(
        "# For {two} things: $gone.\n"
        "query Both($project_id: ID!, $first: Int!, $since: DateTime) {\n"
        "  project(where: {id: $project_id}) { id } # the first\n"
        "  versions: labelVersions(where: {projectId: $project_id, "
        "createdAfter: $since}, first: $first) { next: nextCursor }\n"
        "  user { id }\n"
        "}\n"
    )

    text, sent = document.together(
        [
            {"project_id": "a", "first": 5, "since": "s"},
            {"project_id": "b", "first": 5, "since": "t"},
        ]
    )

    (operation,) = parse(text).definitions
    names = [f.alias.value for f in operation.selection_set.selections]  # type: ignore[attr-defined]
    assert validate(SCHEMA, parse(text)) == []
    assert names == [
        f"p{n}_{name}" for n in (0, 1) for name in ("project", "versions", "user")
    ]
    assert sent == {
        "first": 5,
        "p0_project_id": "a",
        "p0_since": "s",
        "p1_project_id": "b",
        "p1_since": "t",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS: st.SearchStrategy[Any] = st.sampled_from(
    [None, [], [0], ["p0_rows", 3], ["p1_rows"], ["p9_rows"], ["other"], "p0_rows", {}]
)


@given(
    data=st.none()
    | st.dictionaries(st.sampled_from(["p0_a", "p1_a", "p1_b", "c"]), JSON),
    errors=st.lists(st.builds(lambda path: {"message": "x", "path": path}, PATHS)),
)
def test_a_reply_is_taken_apart(data: Any, errors: list[Any]) -> None:
    """Each gets what is its own, and an error that is of none is of all."""
    body: dict[str, Any] = {"data": data} | ({"errors": errors} if errors else {})

    reply = separated(json.dumps(body).encode(), 2)

    mine: list[list[Any]] = [[], []]
    rest = []
    for item in errors:
        path = item["path"]
        first = path[0] if isinstance(path, list) and path else ""
        if str(first)[:3] in {"p0_", "p1_"}:
            mine[int(str(first)[1])].append(item)
        else:
            rest.append(item)
    for number, part in enumerate(reply.parts):
        prefix = f"p{number}_"
        own = {k[3:]: v for k, v in (data or {}).items() if k.startswith(prefix)}
        expected: dict[str, Any] = {"data": own or None}
        if mine[number]:
            expected["errors"] = mine[number]
        assert (part and json.loads(part)) == (
            expected if own or mine[number] else None
        )
    by_name = (int(item["path"][0][1]) for item in errors if item not in rest)
    assert reply.refused == [*dict.fromkeys(by_name)]
    assert (reply.common is None) == (not rest and any(mine))
    if reply.common:
        assert reply.common["errors"] == rest


@pytest.mark.parametrize(
    "text",
    [
        b'{"data": {"p0_a": {"x": NaN}, "p1_a": 1}}',
        b'{"data": {"p0_a": {"x": "\\u0000"}, "p1_a": 1}}',
        b'{"data": {"p0_a": {"x": ' + b"[" * 5000 + b"]" * 5000 + b'}, "p1_a": 1}}',
        b'\n{"extensions": {}, "data":\r\n {"p1_a": 1, "p0_a": {}}}',
    ],
)
def test_malformed_json_is_taken_apart(text: bytes) -> None:
    """The malformed part is in one of them."""
    reply = separated(text, 2)

    assert reply.parts[1] == b'{"data":{"a":1}}'
    assert reply.parts[0]
    assert reply.parts[0].startswith(b'{"data":{"a":{')


# --- what it costs -------------------------------------------------------------------


def test_a_night_in_which_nothing_happened_costs_few_requests(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of 500 projects, and their labels, twenty at a time."""
    # All 500 bookmarks after each project take their time, and are not the matter here.
    monkeypatch.setattr("tap_labelbox.singer.state.LATER_RUN_SHARE", 0.1)
    run = serving(World(projects=500, labels_per_project=1))
    first = run("labels")
    run.sandbox.requests.clear()

    second = run("labels", state=first.state)

    assert second.error is None
    assert second.records("labels") == first.records("labels")  # of the lookback
    assert sizes(run, "labels") == [20] * 25
    assert len(run.sandbox.requests) <= 40


def test_a_list_by_project_costs_a_twentieth_of_a_request_each(serving: Any) -> None:
    """All that are selected by default."""
    run = serving(World(projects=100, labels_per_project=1))

    output = run(*DEFAULT_BY_PROJECT)

    assert output.error is None
    lists = len(
        {
            getattr(s, "document", "") or s.name
            for s in STREAMS
            if s.name in DEFAULT_BY_PROJECT
        }
    )
    entries = len(asked(run, "project_ids"))
    assert len(run.sandbox.requests) - entries == lists * 100 / 20


@PER_ITEM
@pytest.mark.parametrize("number", [1, 2, 7])
def test_no_more_share_a_request_than_may(
    serving: Any, stream: str, number: int
) -> None:
    """And the records are the same, in the same order, however many do."""
    run = small(serving, 12)
    run.world.add_label(run.world.projects[3].id)
    whole = run(stream).records(stream)
    run.sandbox.requests.clear()

    output = run(stream, projects_per_request=number)

    assert output.records(stream) == whole
    assert max(sizes(run, stream)) == number
    assert len(sizes(run, stream)) == -(-12 // number)


@PER_ITEM
def test_one_project_is_asked_for_as_ever(serving: Any, stream: str) -> None:
    """Without aliases."""
    run = small(serving, 1)

    assert run(stream).records(stream)

    (request,) = asked(run, stream)
    assert "p0_" not in (request.query or "") + str(request.variables)


def test_long_lists_go_on_by_themselves(serving: Any) -> None:
    """Only first pages share a request."""
    run = serving(World(projects=5, labels_per_project=25))

    output = run("labels", page_size=10, concurrency=1)

    assert len(output.records("labels")) == 125
    assert sizes(run, "labels") == [5, *[1] * len(sizes(run, "labels")[1:])]


def test_a_project_that_was_waited_for_in_vain_is_asked_for_alone(
    serving: Any,
) -> None:
    """Else it would keep others waiting, in one run after the other."""
    run = small(serving, 6)
    first, *others = [project.id for project in run.world.projects]
    cut_off = run("labels").states[1]
    assert "tried_at" in json.dumps(cut_off)
    run.sandbox.requests.clear()

    output = run("labels", state=cut_off)

    assert output.error is None
    assert projects_of(output, "labels") == [*others, first]
    assert sizes(run, "labels") == [5, 1]


def test_a_run_that_is_cut_off_goes_on(serving: Any) -> None:
    """In the middle of what one request brought."""
    run = small(serving, 30)
    whole = run("labels")
    middle = whole.states[len(whole.states) // 2]

    rest = run("labels", state=middle)

    def read(state: Any) -> set[str]:
        return {
            p["context"]["project_id"]
            for p in state["bookmarks"]["labels"]["partitions"]
            if "replication_key_value" in p
        }

    assert read(middle) | {*projects_of(rest, "labels")} == read(whole.state)
    assert read(rest.state) == read(whole.state)


# --- what is too much ----------------------------------------------------------------


@PER_ITEM
def test_fewer_share_a_request_where_so_many_are_too_complex(
    serving: Any, stream: str
) -> None:
    """Halved, and that is remembered for the run."""
    run = small(serving, 60, most_fields=7)

    output = run(stream, concurrency=1)

    assert output.error is None
    assert len(projects_of(output, stream)) == 60
    assert sizes(run, stream) == [20, 10, *[5] * 12]


def test_where_any_two_are_too_complex_each_is_alone(serving: Any) -> None:
    """As ever."""
    run = small(serving, 12, most_fields=1)

    output = run("labels", "task_queues", concurrency=3)

    assert output.error is None
    assert len(projects_of(output, "labels")) == 12
    assert len(projects_of(output, "task_queues")) == 12


@PER_ITEM
def test_fewer_share_a_request_where_the_reply_is_too_large(
    serving: Any, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no more is held than several of these."""
    run = small(serving, 40)
    whole = run(stream).records(stream)
    run.sandbox.requests.clear()
    monkeypatch.setattr("tap_labelbox.api.client.MAX_TOGETHER_BYTES", 5000)

    output = run(stream, concurrency=1)

    assert output.records(stream) == whole
    actual = sizes(run, stream)
    assert actual == sorted(actual, reverse=True)
    assert actual[:2] == [20, 10]
    assert actual.count(20) == 1


# --- what one of them costs ----------------------------------------------------------


@PER_ITEM
@pytest.mark.parametrize("bad", [0, 3, 9])
def test_a_project_that_is_refused_costs_itself_and_nothing_more(
    serving: Any, caplog: Any, stream: str, bad: int
) -> None:
    """The reply says of which project it is."""
    run = small(serving, 10)
    whole = run(stream)
    run.sandbox.requests.clear()
    refused = run.world.projects[bad]
    refused.restricted = True
    if stream == "labels":  # whose field nobody is refused in the sandbox
        run.sandbox.after = spoiled(refused.id, None, "AUTHORIZATION_ERROR")

    output = run(stream)

    (line,) = logged(caplog)
    assert line.startswith(f"{stream} of project {refused.id} is left out: You")
    assert isinstance(output.error, IncompleteError)
    expected = [p for p in projects_of(whole, stream) if p != refused.id]
    assert projects_of(output, stream) == expected
    assert sizes(run, stream) == [10]


def spoiled(
    project_id: str, value: Any, code: str = "", *, whole: bool = False
) -> Callable[[Request, Reply], Reply | None]:
    """Put something in place of a project in a reply, with an error if there is a code.

    With ``whole``, the error leaves no data of any project.
    """

    def after(request: Request, reply: Reply) -> Reply | None:
        of = [n for n, v in request.variables.items() if v == project_id]
        if not of or not isinstance(reply.body, dict):
            return None
        prefix = of[0].removesuffix("project_id")
        body = deepcopy(reply.body)
        (name,) = (n for n in body["data"] if n.startswith(prefix))
        body["data"][name] = value(body["data"][name]) if callable(value) else value
        if code:
            body["errors"] = [
                {
                    "message": "You may not",
                    "path": [name],
                    "extensions": {"code": code},
                }
            ]
        if whole:
            body["data"] = None
        return replace(reply, body=body)

    return after


@PER_ITEM
def test_an_error_that_leaves_no_data_costs_one_request_more(
    serving: Any, caplog: Any, stream: str
) -> None:
    """As where a field may not be null; the others are asked for without it."""
    run = small(serving, 10)
    bad = run.world.projects[4].id
    run.sandbox.after = spoiled(bad, None, "AUTHORIZATION_ERROR", whole=True)

    output = run(stream)

    (line,) = logged(caplog)
    assert bad in line
    assert len(projects_of(output, stream)) == 9
    assert sizes(run, stream) == [10, 9]


@PER_ITEM
def test_null_costs_one_project(serving: Any, caplog: Any, stream: str) -> None:
    """And no other request."""
    run = small(serving, 10)
    bad = run.world.projects[4].id
    run.sandbox.after = spoiled(bad, None)

    output = run(stream)

    (line,) = logged(caplog)
    assert f"{stream} of project {bad} is left out" in line
    assert len(projects_of(output, stream)) == 9
    assert sizes(run, stream) == [10]


@PER_ITEM
@pytest.mark.parametrize(
    "row", [None, 5, {}, {"id": ""}, {"id": [1]}, {"id": "x", "odd": float("nan")}]
)
def test_a_malformed_row_costs_itself(serving: Any, stream: str, row: Any) -> None:
    """Also where it makes the whole reply malformed JSON."""
    run = small(serving, 10)
    whole = run(stream).records(stream)
    bad = run.world.projects[4].id

    def add(block: Any) -> Any:
        block = deepcopy(block)
        for key in ("rows", "labels"):
            if key in block:
                block[key] = [*block[key], row]
        return block

    run.sandbox.requests.clear()
    run.sandbox.after = spoiled(bad, add)

    output = run(stream)

    records = [r for r in output.records(stream) if r["id"] != "x"]
    assert records == whole
    assert sizes(run, stream) == [10]


def test_one_malformed_row_slows_no_other_project(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is decoded by itself."""
    run = small(serving, 10)
    decode = PageDecoder.__call__
    fast: list[bool] = []

    def noted(decoder: PageDecoder, reply: bytes) -> Any:
        result = decode(decoder, reply)
        fast.append(result is not None)
        return result

    monkeypatch.setattr(PageDecoder, "__call__", noted)
    bad = run.world.projects[4].id
    run.sandbox.after = spoiled(
        bad, lambda block: {"labels": [label | {"new": 1} for label in block["labels"]]}
    )

    output = run("labels")

    assert len(output.records("labels")) == 20
    assert fast == [number != 4 for number in range(10)]


# --- what is unknown -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "forgotten", "column"),
    [
        ("task_queues", "TaskQueue.description", "description"),
        ("labels", "Label.agreement", "agreement"),
        ("labels", "DataRow.globalKey", "global_key"),
        ("label_versions", "LabelVersion.stage", "stage_name"),
    ],
)
def test_a_field_that_the_server_lacks_costs_three_requests(
    serving: Any, stream: str, forgotten: str, column: str
) -> None:
    """The first project is asked for alone, which tells what is unknown."""
    run = small(serving, 45, forget=[forgotten])

    output = run(stream, concurrency=1)

    assert output.error is None
    assert len(projects_of(output, stream)) == 45
    assert {row[column] for row in output.records(stream)} == {None}
    assert sizes(run, stream) == [20, 1, 1, 19, 20, 5]


def test_a_field_that_the_server_lacks_is_logged_once(
    serving: Any, caplog: Any
) -> None:
    """However many requests are in flight."""
    run = small(serving, 45, forget=["Label.agreement"], latency=0.01)

    output = run("labels", projects_per_request=4, concurrency=8)

    assert output.error is None
    assert len(projects_of(output, "labels")) == 45
    assert len([m for m in caplog.messages if "no longer knows" in m]) == 1


def test_a_stream_that_the_server_lacks_costs_two_requests(
    serving: Any, caplog: Any
) -> None:
    """Nobody asks for it project by project."""
    run = small(serving, 45, forget=["Project.taskQueues"])

    run("task_queues", concurrency=1)

    (line,) = logged(caplog)
    assert "deselect it" in line
    assert sizes(run, "task_queues") == [20, 1]


# --- faults --------------------------------------------------------------------------


@PER_ITEM
@pytest.mark.parametrize("times", [1, 2])
def test_a_passing_fault_costs_the_request_once_more(
    serving: Any, stream: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no reason to ask for each project alone."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.001)
    run = small(serving, 40)
    number = count()

    def fail(request: Request) -> Reply | None:
        mine = request in asked(run, stream) and next(number) < times
        return Reply(503) if mine else None

    run.sandbox.before = fail
    output = run(stream, concurrency=1)

    assert output.error is None
    assert sizes(run, stream) == [20] * (2 + times)


FAULTS = {
    "502": Reply(502),
    "crash": Reply(200, {}, CRASH),
    "null": Reply(200, {}, {"data": None}),
    "nothing": Reply(200, {}, {"data": {}}),
    "an error": Reply(200, {}, {"errors": [{"message": "no"}], "data": None}),
    "not found": Reply(200, {}, error("no", "RESOURCE_NOT_FOUND")),
    "no JSON": Reply(200, {}, "{"),
    "413": Reply(413, {}, "too large"),
    "429": Reply(429, {}, {"message": "Too many requests"}),
    "reset": Reply(reset=True),
}


@PER_ITEM
@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_of_one_project_costs_no_other(
    serving: Any, caplog: Any, stream: str, fault: str, monkeypatch: Any
) -> None:
    """Whatever it is that all of them get; and the next ones share requests again."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.001)
    run = small(serving, 25)
    whole = run(stream)
    run.sandbox.requests.clear()
    bad = run.world.projects[2].id

    def fail(request: Request) -> Reply | None:
        mine = request in asked(run, stream) and bad in request.variables.values()
        return FAULTS[fault] if mine else None

    run.sandbox.before = fail
    output = run(stream, concurrency=2, retry_seconds=0.1, projects_per_request=8)

    lines = logged(caplog)
    assert len(lines) == 1
    assert bad in lines[0]
    expected = [p for p in projects_of(whole, stream) if p != bad]
    assert projects_of(output, stream) == expected
    assert isinstance(output.error, IncompleteError)
    assert sizes(run, stream)[-1] in {1, 8}
    assert sizes(run, stream).count(8) >= 3


def test_a_service_that_is_down_ends_the_run(serving: Any, monkeypatch: Any) -> None:
    """As soon as five projects could not be read."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.001)
    run = small(serving, 60)
    run.sandbox.before = lambda r: Reply(503) if r in asked(run, "labels") else None

    output = run("labels", retry_seconds=0.05)

    assert isinstance(output.error, OutageError)


def test_a_key_that_is_revoked_ends_the_run(serving: Any) -> None:
    """One of them is as good as all."""
    run = small(serving, 10)
    run.sandbox.after = spoiled(run.world.projects[3].id, None, "AUTHENTICATION_ERROR")

    assert isinstance(run("labels").error, AccessError)


def test_a_server_that_knows_no_aliases_is_asked_singly(serving: Any) -> None:
    """All is read, and soon nothing is asked for together any more."""
    run = small(serving, 60)

    def refuse(request: Request) -> Reply | None:
        together = "p0_" in (request.query or "")
        return Reply(200, {}, {"data": {"project": {"rows": []}}}) if together else None

    run.sandbox.before = refuse
    output = run("task_queues", concurrency=1)

    assert output.error is None
    assert len(projects_of(output, "task_queues")) == 60
    actual = sizes(run, "task_queues")
    assert [size for size in actual if size > 1] == [20, 10, 5, 2]
    assert actual.count(1) == 60


# --- the mechanism -------------------------------------------------------------------


@given(
    count=st.integers(0, 30),
    size=st.integers(1, 9),
    most=st.integers(1, 9),
    by_itself=st.sets(st.integers(0, 30)),
    lacking=st.sets(st.integers(0, 30)),
    max_in_flight=st.sampled_from([1, 3]),
)
def test_every_question_gets_its_answer(
    count: int,
    size: int,
    most: int,
    by_itself: set[int],
    lacking: set[int],
    max_in_flight: int,
) -> None:
    """In its turn, whatever was too much, left open, or not to be shared."""

    def ask_together(asks: list[dict[str, Any]]) -> list[Any]:
        assert len(asks) > 1
        assert not by_itself & {ask["n"] for ask in asks}
        if len(asks) > most:
            raise ComplexityError("no")
        return [None if ask["n"] in lacking else ask["n"] for ask in asks]

    questions = (
        Question({"n": n}, lambda answer: answer(), is_alone=n in by_itself)
        for n in range(count)
    )
    together = Together[int](
        lambda n: n, ask_together, lambda: Document(""), size, max_in_flight
    )

    assert [a.result() for a in together.answers(questions)] == [*range(count)]
    assert 1 <= together.size <= size
