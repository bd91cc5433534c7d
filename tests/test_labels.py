"""The stream of labels, read page by page from the sandbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import AccessError, IncompleteError, LabelboxError
from tap_labelbox.records import timestamps
from tap_labelbox.records.structs import PageDecoder
from tap_labelbox.sandbox import Reply, World

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request, Sandbox
    from tests.runner import Output, Runner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def all_ids(world: World) -> list[str]:
    """Return every label that the key may see."""
    return [label.id for p in world.projects for label in world.labels(p.id)]


def bookmarks(output: Output) -> dict[str, str]:
    """Return the bookmark of each project."""
    return {
        partition["context"]["project_id"]: partition["replication_key_value"]
        for partition in output.state["bookmarks"]["labels"]["partitions"]
        if "replication_key_value" in partition
    }


def label_requests(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the variables of each page that was asked for."""
    return [r.variables for r in sandbox.requests if r.operation == "Labels"]


def test_every_label_comes_once(run: Runner, world: World) -> None:
    """Of every project, over page ends, ties and an empty project."""
    assert sorted(run("labels").ids("labels")) == sorted(all_ids(world))


def none_for_minus_one(score: float | None) -> float | None:
    """Return what is to be loaded of an agreement: Labelbox has -1 for none."""
    return None if score == -1 else score


def test_a_label_has_all_its_columns(run: Runner, world: World) -> None:
    """Each holds what Labelbox says, flat and under its own name."""
    records = {record["id"]: record for record in run("labels").records("labels")}

    for label_id, record in records.items():
        label = world.label(label_id)
        assert label
        assert record == {
            "id": label.id,
            "project_id": label.project.id,
            "label": label.label,
            "seconds_to_label": label.seconds_to_label,
            "agreement": none_for_minus_one(label.agreement),
            "benchmark_agreement": none_for_minus_one(label.benchmark_agreement),
            "is_benchmark_reference": label.is_benchmark_reference,
            "is_skipped": label.type["name"] == "Skipped" or label.label == "Skip",
            "created_at": timestamps.isoformat(label.created_at),
            "updated_at": timestamps.isoformat(label.updated_at),
            "type_id": label.type["id"],
            "type_name": label.type["name"],
            "created_by_id": label.created_by.id,
            "created_by_email": label.created_by.email,
            "data_row_id": label.data_row.id,
            "external_id": label.data_row.external_id,
            "global_key": label.data_row.global_key,
            "row_data": label.data_row.row_data,
            "additional_columns": {},
        }


def test_skipped_labels_are_reported(run: Runner, world: World) -> None:
    """The type shows it or, in 2018, the text."""
    project = world.projects[0]
    text = world.add_label(project.id, type=world.label_types["Any"], text="Skip")
    kind = world.add_label(project.id, type=world.label_types["Skipped"], text="{}")
    neither = world.add_label(project.id, type=world.label_types["Any"], text="{}")

    skipped = {r["id"]: r["is_skipped"] for r in run("labels").records("labels")}

    assert [skipped[x.id] for x in (text, kind, neither)] == [True, True, False]


def test_a_second_run_reads_what_is_new(run: Runner, world: World) -> None:
    """And what lies in the lookback, which a target merges by its key."""
    first = run("labels")
    new = world.add_label(world.projects[0].id)

    second = run("labels", state=first.state)

    assert new.id in second.ids("labels")
    assert len(second.ids("labels")) < 20
    assert bookmarks(second)[new.project.id] == timestamps.isoformat(new.created_at)


def test_labels_made_during_a_run_wait_for_the_next(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """The window ends when the run starts, so that they move no page.

    Those of the second in which it starts may be in it; then they are read by one of
    the two.
    """
    start = NOW + timedelta(milliseconds=500)
    made: list[str] = []
    same_second: list[str] = []

    def label(request: Request) -> None:
        if request.operation == "Labels":
            project_id = world.projects[0].id
            same_second.append(world.add_label(project_id, start).id)
            made.append(world.add_label(project_id, start + timedelta(seconds=1)).id)

    sandbox.before = label
    first = run("labels", now=start, page_size=20)
    sandbox.before = None
    later = start + timedelta(hours=1)
    second = run("labels", state=first.state, now=later)

    assert made
    assert not set(made) & set(first.ids("labels"))
    assert set(made) <= set(second.ids("labels"))
    assert set(same_second) <= {*first.ids("labels"), *second.ids("labels")}
    assert set(all_ids(world)) <= {*first.ids("labels"), *second.ids("labels")}


def test_a_label_deleted_between_pages_hides_no_other(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """The later ones move up by one; the tap notices and goes back."""
    deleted = []

    def delete(request: Request) -> None:
        if request.operation == "Labels" and request.variables["skip"] > 0:
            labels = world.labels(request.variables["project_id"])
            world.delete_label(labels[3].id)
            deleted.append(labels[3].id)

    sandbox.before = delete
    result = run("labels", page_size=10).ids("labels")

    assert deleted
    assert set(all_ids(world)) <= set(result)


def test_a_label_listed_late_is_read_by_the_next_run(run: Runner, world: World) -> None:
    """Labelbox lists a label some seconds after it was made."""
    project = world.projects[0].id
    late = world.add_label(project, NOW - timedelta(seconds=8), listed_after=10)
    seen = world.add_label(project, NOW - timedelta(seconds=1))

    first = run("labels", now=NOW)
    second = run("labels", now=NOW + timedelta(hours=1), state=first.state)

    assert seen.id in first.ids("labels")
    assert late.id not in first.ids("labels")
    assert late.id in second.ids("labels")


@pytest.mark.parametrize("lookback", [0, 60])
def test_labels_of_the_bookmarks_own_second_are_read(
    run: Runner, sandbox: Sandbox, world: World, lookback: int
) -> None:
    """``createdAt_gt`` excludes its bound, so the tap asks from a second before."""
    project = world.projects[0].id
    world.add_label(project, NOW)
    later = NOW + timedelta(hours=1)
    first = run("labels", now=later)
    twin = world.add_label(project, NOW)

    second = run(
        "labels",
        now=later,
        state=first.state,
        lookback_seconds=lookback,
        projects_per_request=1,
    )

    assert twin.id in second.ids("labels")
    asked = [
        request["where"]["createdAt_gt"]
        for request in label_requests(sandbox)
        if project in request.values() and "createdAt_gt" in request.get("where", {})
    ]
    since = NOW - timedelta(seconds=lookback)
    assert asked == [timestamps.isoformat(since - timedelta(seconds=1))]
    read = [r for r in second.records("labels") if r["project_id"] == project]
    assert {r["created_at"] for r in read} == {timestamps.isoformat(NOW)}


def test_a_label_of_the_second_of_the_bound_is_read(serving: Any) -> None:
    """It bears the beginning of the second, which is before the bound.

    A run is cut off, and the next one reads from a lookback before that one began: at
    half a second, say. A label made later in that second says it was made earlier.
    """
    world = World(projects=1, labels=0)
    run = serving(world)
    (project,) = world.projects
    began = NOW + timedelta(milliseconds=500)
    old = world.add_label(project.id, NOW - timedelta(hours=1))
    state = run("labels", now=NOW - timedelta(minutes=30)).state
    (partition,) = state["bookmarks"]["labels"]["partitions"]
    partition["reading_until"] = timestamps.isoformat(began)
    lookback = timedelta(seconds=60)
    partition["replication_key_value"] = timestamps.isoformat(began - lookback)
    late = world.add_label(project.id, began - lookback + timedelta(milliseconds=400))

    output = run("labels", state=state, now=NOW + timedelta(hours=1))

    assert late.created_at < began - lookback
    assert output.ids("labels") == [late.id]
    assert old.id not in output.ids("labels")


@pytest.mark.parametrize("ignored", [(), ("Project.labels.orderBy",)])
@pytest.mark.parametrize("whole_seconds", [True, False])
def test_labels_are_complete_in_whichever_order_they_come(
    serving: Any, ignored: tuple[str, ...], *, whole_seconds: bool
) -> None:
    """A server that ignores the order sends the newest first.

    Labels are deleted between pages meanwhile, and the run is cut off and goes on.
    """
    world = World(seed=2, whole_seconds=whole_seconds)
    run = serving(world, ignore=ignored)
    project_id = world.projects[0].id
    deleted: list[str] = []

    def delete(request: Request) -> None:
        if request.operation == "Labels" and len(deleted) < 9:
            label = world.labels(project_id)[len(deleted) * 13]
            world.delete_label(label.id)
            deleted.append(label.id)

    run.sandbox.before = delete
    output = run("labels", page_size=9, concurrency=1, now=NOW)
    run.sandbox.before = None

    assert output.error is None
    assert len(deleted) == 9
    assert set(all_ids(world)) <= set(output.ids("labels"))
    newest = max(label.created_at for label in world.labels(project_id))
    assert bookmarks(output)[project_id] == timestamps.isoformat(newest)


def test_start_date_counts_where_there_is_no_bookmark(
    run: Runner, world: World
) -> None:
    """A label made at that very timestamp is in."""
    project = world.projects[0].id
    start = datetime(2026, 3, 1, tzinfo=UTC)
    world.add_label(project, start - timedelta(milliseconds=1))
    expected = [world.add_label(project, start).id, world.add_label(project, NOW).id]

    first = run("labels", start_date="2026-03-01")
    second = run("labels", start_date="2026-10-01T00:00:00Z", state=first.state)

    assert first.ids("labels") == expected
    assert second.ids("labels") == expected[1:]


def test_the_lookback_does_not_reach_before_start_date(
    run: Runner, world: World
) -> None:
    """A second run must not bring what the first was told to leave."""
    project = world.projects[0].id
    start = datetime(2026, 3, 1, tzinfo=UTC)
    world.add_label(project, start - timedelta(seconds=5))
    kept = world.add_label(project, start + timedelta(seconds=5)).id
    first = run("labels", start_date="2026-03-01")

    second = run("labels", start_date="2026-03-01", state=first.state)

    assert first.ids("labels") == second.ids("labels") == [kept]


@pytest.mark.parametrize(
    ("name", "keeps"),
    [
        ("created_by_id", lambda label, value: label.created_by.id == value),
        ("type_id", lambda label, value: label.type["id"] == value),
        ("dataset_id", lambda label, value: label.data_row.dataset.id == value),
        ("agreement_gt", lambda label, value: (label.agreement or -2) > value),
        ("agreement_lt", lambda label, value: (label.agreement or 2) < value),
        ("created_before", lambda label, v: timestamps.isoformat(label.created_at) < v),
    ],
)
def test_filters_choose_labels(
    run: Runner, world: World, name: str, keeps: Any
) -> None:
    """Each of the data-export page's filters is taken by the server."""
    labels = [label for p in world.projects for label in world.labels(p.id)]
    value = {
        "created_by_id": labels[0].created_by.id,
        "type_id": labels[0].type["id"],
        "dataset_id": labels[0].data_row.dataset.id,
        "agreement_gt": 0.3,
        "agreement_lt": 0.3,
        "created_before": timestamps.isoformat(labels[len(labels) // 2].created_at),
    }[name]

    result = run("labels", label_filters={name: value}).ids("labels")

    assert sorted(result) == sorted(x.id for x in labels if keeps(x, value))
    assert name == "created_before" or result


def test_page_size_is_what_is_asked_for(run: Runner, sandbox: Sandbox) -> None:
    """No request wants more."""
    run("labels", page_size=30)

    firsts = {
        value
        for variables in label_requests(sandbox)
        for name, value in variables.items()
        if name.endswith("first")
    }
    assert max(firsts) == 30


def test_what_pages_lack_of_a_second_is_asked_for_together(serving: Any) -> None:
    """So many labels of a second cost few requests."""
    world = World(projects=0)
    project = world.add_project(media="IMAGE", era="2023")
    now = world.now()
    for number in range(300):
        made_at = now - timedelta(seconds=1000 - number // 4)
        world.add_label(project.id, made_at)
    run = serving(world)

    output = run("labels", page_size=20)

    assert sorted(output.ids("labels")) == sorted(all_ids(world))
    asked = label_requests(run.sandbox)
    seams = [asks for asks in asked if "p1_where" in asks]
    # Each of 16 pages begins with one row of the page before; eight are in flight.
    assert len(seams) == 1
    assert len(asked) <= 1 + 16 + 8 + len(seams)


@pytest.mark.parametrize(
    ("forgotten", "column"),
    [
        ("Label.type", "type_name"),
        ("Label.agreement", "agreement"),
        ("User.email", "created_by_email"),
        ("DataRow.globalKey", "global_key"),
        ("Label.dataRow", "data_row_id"),
    ],
)
def test_a_field_that_labelbox_forgot_is_null(
    world: World, serving: Any, forgotten: str, column: str, caplog: Any
) -> None:
    """It is said once, and all the rest goes on."""
    output = serving(world, forget=[forgotten])("labels", page_size=20)

    logged = [m for m in caplog.messages if "no longer knows" in m]
    assert logged == [f"Labelbox no longer knows {forgotten}: continuing without it"]
    assert {r[column] for r in output.records("labels")} == {None}
    assert sorted(output.ids("labels")) == sorted(all_ids(world))
    assert output.error is None


@pytest.mark.parametrize(
    "forgotten",
    [
        "Project.labels.orderBy",
        "LabelOrderBy.createdAt_ASC",
        "LabelWhereInput.createdAt_lt",
        "LabelWhereInput.createdAt_gt",
        "Project.labels.where",
    ],
)
def test_without_an_order_or_a_window_nothing_is_lost(
    world: World, serving: Any, forgotten: str
) -> None:
    """It only costs work: labels are read again, or from the beginning."""
    run = serving(world, forget=[forgotten])
    first = run("labels", page_size=20)
    new = world.add_label(world.projects[0].id)
    second = run("labels", state=first.state, page_size=20)

    assert sorted(set(first.ids("labels"))) == sorted(set(all_ids(world)) - {new.id})
    assert new.id in second.ids("labels")
    assert first.error is second.error is None


def test_a_filter_that_labelbox_forgot_stops_the_run(
    world: World, serving: Any
) -> None:
    """Going on without it would bring labels that nobody asked for."""
    run = serving(world, forget=["LabelWhereInput.agreement_gt"])
    output = run("labels", label_filters={"agreement_gt": 0.5})

    assert isinstance(output.error, LabelboxError)
    assert "agreement_gt" in str(output.error)
    assert output.ids("labels") == []


def test_a_key_column_that_labelbox_forgot_costs_the_stream(
    world: World, serving: Any, caplog: Any
) -> None:
    """Without its timestamp a label has no place in time."""
    output = serving(world, forget=["Label.createdAt"])("labels")

    assert isinstance(output.error, IncompleteError)
    assert not output.records("labels")
    assert "it cannot be read: Labelbox returns no created_at" in caplog.text


def answer(body: Any, status: int = 200) -> Reply:
    """Return a reply in JSON."""
    return Reply(
        status, {"Content-Type": "application/json"}, json.dumps(body).encode()
    )


def test_an_error_inside_http_200_never_ends_the_stream_quietly(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """Also not with data beside it: that may be a part only."""
    malformed = {"message": "no", "extensions": {"code": "ODD"}}

    def fail(request: Request) -> Reply | None:
        if request.operation == "Labels" and request.variables["skip"] > 0:
            return answer({"errors": [malformed], "data": {"project": {"labels": []}}})
        return None

    sandbox.before = fail
    output = run("labels", page_size=50)

    assert isinstance(output.error, IncompleteError)
    large = [p.id for p in world.projects if len(world.labels(p.id)) >= 50]
    assert all(project_id in str(output.error) for project_id in large)
    # What was read before is kept, and the bookmark says so much and no more.
    for project_id in large:
        read = [r for r in output.records("labels") if r["project_id"] == project_id]
        assert len(read) == 50
        assert bookmarks(output)[project_id] == read[-1]["created_at"]


@pytest.mark.parametrize(
    "data", [None, {}, {"project": None}, {"project": {"labels": None}}]
)
def test_an_absent_list_is_no_empty_list(
    run: Runner, sandbox: Sandbox, world: World, data: Any, monkeypatch: Any
) -> None:
    """Without labels and without an error there is something wrong."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    project_id = world.projects[0].id

    def fail(request: Request) -> Reply | None:
        expected = request.operation == "Labels"
        if expected and request.variables["project_id"] == project_id:
            return answer({"data": data})
        return None

    sandbox.before = fail
    output = run("labels", projects_per_request=1)

    assert isinstance(output.error, LabelboxError)


def test_a_passing_fault_costs_nothing(
    run: Runner, sandbox: Sandbox, world: World, monkeypatch: Any
) -> None:
    """The request is sent again; the warehouse sees no difference."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    internal = {"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}
    faults = iter(
        [
            Reply(503, {"Content-Type": "text/html"}, b"<h1>upstream</h1>"),
            Reply(
                429, {"Content-Type": "text/plain", "Retry-After": "0"}, b"slow down"
            ),
            answer({"message": "You have exceeded your limit"}, 429),
            answer({"errors": [internal]}),
            Reply(200, {"Content-Type": "application/json"}, b'{"data": {"proj'),
        ]
    )
    turn = iter(range(10_000))

    sandbox.before = lambda _: next(faults, None) if next(turn) % 2 else None
    output = run("labels", page_size=20)

    assert output.error is None
    assert sorted(output.ids("labels")) == sorted(all_ids(world))


def test_retry_after_is_obeyed(
    run: Runner, sandbox: Sandbox, monkeypatch: Any, caplog: Any
) -> None:
    """The wait is as long as Labelbox asks, and is one line of the log."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.001)
    replies = iter([Reply(429, {"Retry-After": "0.2"}, b"slow down")])
    sandbox.before = lambda _: next(replies, None)

    run("projects")

    assert [m for m in caplog.messages if "trying again in 0.2 s" in m]


def test_a_wrong_key_stops_the_run(run: Runner) -> None:
    """Nothing else could be read with it."""
    output = run("labels", api_key="wrong-key-123")

    assert isinstance(output.error, AccessError)
    assert "wrong-key-123" not in str(output.error)


def test_projects_that_cannot_be_read_are_named(run: Runner, world: World) -> None:
    """Deleted, forbidden and unknown ones; the others are read."""
    bad = [world.deleted_project.id, world.forbidden_project.id, "cnosuchproject"]
    good = world.projects[0].id

    output = run("labels", project_ids=[*bad, good])

    assert isinstance(output.error, IncompleteError)
    assert all(project_id in str(output.error) for project_id in bad)
    assert good not in str(output.error)
    assert sorted(output.ids("labels")) == sorted(x.id for x in world.labels(good))


def test_an_account_without_projects_has_no_labels(serving: Any) -> None:
    """That is no error."""
    world = World(projects=0, labels=0)
    output = serving(world)("labels", "bulk_export", "data_row_exports", "task_queues")

    assert output.error is None
    assert {m["type"] for m in output.messages} == {"SCHEMA", "STATE"}


def test_a_stream_without_bookmarks_reads_everything(run: Runner, world: World) -> None:
    """A catalog may ask for the full table."""
    state = run("labels").state
    catalog = {
        "streams": [
            {
                "tap_stream_id": "labels",
                "stream": "labels",
                "replication_method": "FULL_TABLE",
                "key_properties": ["id"],
                "schema": {"properties": {"id": {"type": ["string"]}}},
                "metadata": [
                    {
                        "breadcrumb": [],
                        "metadata": {
                            "selected": True,
                            "forced-replication-method": "FULL_TABLE",
                        },
                    }
                ],
            }
        ]
    }

    output = run(catalog=catalog, state=state)

    assert sorted(output.ids("labels")) == sorted(all_ids(world))


def test_what_labelbox_serves_takes_the_fast_path(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page: the slow one takes several times the CPU."""
    result: list[Any] = []
    decode = PageDecoder.__call__

    def noted(decoder: PageDecoder, reply: bytes) -> Any:
        result.append(decode(decoder, reply))
        return result[-1]

    monkeypatch.setattr(PageDecoder, "__call__", noted)

    records = run("labels").records("labels")

    assert None not in result
    assert sum(map(len, result)) >= len(records) > 0
