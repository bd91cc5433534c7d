"""The organization: what is special about its tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.sandbox import ANCHOR, Reply, World
from tap_labelbox.sandbox.people import PERMISSIONS
from tap_labelbox.singer.state import REST
from tap_labelbox.streams import SUBJECTS
from tests.test_tables import logged, operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.sandbox import Request
    from tests.runner import Runner

EVENTS = "user_group_audit_events"
LATER_RUN: dict[str, Any] = {"bookmarks": {"roles": {}}}
"""A state of which STATE messages may be as long as what else is written."""
ALLOWS = f"the key's role allows {', '.join(PERMISSIONS)}"

PEOPLE = {stream.name: stream for stream in SUBJECTS["People"]}


def data(**fields: Any) -> Reply:
    """Return a reply with data."""
    return Reply(200, {}, {"data": fields})


def error(message: str, code: str = "AUTHORIZATION_ERROR", **more: Any) -> Reply:
    """Return a reply that is an error."""
    failure = {"message": message, "extensions": {"code": code}, **more}
    return Reply(200, {}, {"errors": [failure], "data": None})


def bookmark(state: dict[str, Any]) -> dict[str, Any]:
    """Return the bookmark of the changes to groups."""
    result: dict[str, Any] = state["bookmarks"].get(EVENTS, {})
    return result


def asked(run: Runner, operation: str) -> list[dict[str, Any]]:
    """Return the variables of the requests of an operation."""
    return [r.variables for r in run.sandbox.requests if r.operation == operation]


# --- changes to groups, newest first ------------------------------------------------


@pytest.fixture
def many(world: World) -> list[str]:
    """Add many changes, five at each timestamp; return their IDs."""
    for number in range(40):
        world.people.add_audit_event(ANCHOR + timedelta(hours=number // 5))
    return [event["id"] for event in world.people.audit_events]


def test_the_bookmark_moves_after_the_last_page(run: Runner, many: list[str]) -> None:
    """To the newest of all; until then the state says how far down a run has come."""
    output = run(EVENTS, page_size=4, state=LATER_RUN)

    assert output.ids(EVENTS) == many
    *states, last = [bookmark(state) for state in output.states]
    noted = [state[REST] for state in states if REST in state]
    assert len(noted) > 3
    assert not [state for state in states if REST in state and len(state) > 1]
    assert all(a["before"] >= b["before"] for a, b in pairwise(noted))
    newest = output.records(EVENTS)[0]["occurred_at"]
    assert {single["newest"] for single in noted} == {newest}
    assert last["replication_key_value"] == newest
    assert REST not in last


def test_a_run_that_is_cut_off_anywhere_loses_nothing(
    run: Runner, many: list[str]
) -> None:
    """The next one goes on where it was, and does not begin again."""
    output = run(EVENTS, page_size=4, state=LATER_RUN)
    pages = len(asked(run, "UserGroupAuditEvents"))
    cuts = 0
    for place, message in enumerate(output.messages):
        if message["type"] != "STATE" or REST not in bookmark(message["value"]):
            continue
        before = [
            m["record"]["id"] for m in output.messages[:place] if m["type"] == "RECORD"
        ]
        operations(run)

        after = run(EVENTS, page_size=4, state=message["value"])

        assert {*before, *after.ids(EVENTS)} == {*many}
        assert bookmark(after.state) == bookmark(output.state) | {
            "read_at": bookmark(after.state)["read_at"]
        }
        inputs = asked(run, "UserGroupAuditEvents")
        assert inputs[0]["before"] == bookmark(message["value"])[REST]["before"]
        cuts += len(inputs) < pages
    assert cuts > 3


def test_what_happens_while_a_run_is_down_is_read_by_the_next(
    run: Runner, world: World, many: list[str]
) -> None:
    """As well as what the cut-off run has left."""
    answered = 0

    def fail(request: Request) -> Reply | None:
        nonlocal answered
        answered += request.operation == "UserGroupAuditEvents"
        return error("No", "RESOURCE_CONFLICT") if answered > 4 else None

    run.sandbox.before = fail
    first = run(EVENTS, page_size=5, state=LATER_RUN)
    run.sandbox.before = None
    added = world.people.add_audit_event(ANCHOR + timedelta(days=3))

    second = run(EVENTS, page_size=5, state=first.state)

    assert isinstance(first.error, IncompleteError)
    assert len(first.ids(EVENTS)) == 20
    assert {*first.ids(EVENTS), *second.ids(EVENTS)} == {*many, added["id"]}
    assert len(second.ids(EVENTS)) < len(many)
    assert bookmark(second.state)["replication_key_value"] == "2026-01-04T00:00:00.000Z"


def test_the_next_run_reads_what_is_new(run: Runner, world: World) -> None:
    """Rows with the timestamp of the bookmark come again, and nothing older."""
    state = run(EVENTS).state
    newest = world.people.audit_events[0]["occurredAt"]
    same = [e["id"] for e in world.people.audit_events if e["occurredAt"] == newest]
    world.people.add_audit_event(newest)
    world.people.add_audit_event(newest + timedelta(days=1))

    output = run(EVENTS, state=state, lookback_seconds=0)

    assert len(same) == 3
    assert len(output.ids(EVENTS)) == len(same) + 2
    assert run(EVENTS, state=output.state, lookback_seconds=0).ids(EVENTS) == [
        world.people.audit_events[0]["id"]
    ]


def test_changes_in_no_order_are_read_whole(run: Runner) -> None:
    """Nothing is noted on the way then; a row without a timestamp is one as well."""
    days = ["2026-01-02", "2026-01-05", None, "2026-01-03"]
    rows = [
        {"id": str(number), "occurred_at": day and f"{day}T00:00:00Z"}
        for number, day in enumerate(days)
    ]
    pages = {None: (rows[:2], "b"), "b": (rows[2:], "")}

    def answer(request: Request) -> Reply | None:
        if request.operation != "UserGroupAuditEvents":
            return None
        page, cursor = pages[request.variables.get("after")]
        return data(events={"rows": page, "next": cursor})

    run.sandbox.before = answer
    output = run(EVENTS, state=LATER_RUN)

    assert output.error is None
    assert output.ids(EVENTS) == ["0", "1", "2", "3"]
    assert not [state for state in output.states if REST in bookmark(state)]
    assert bookmark(output.state)["replication_key_value"] == "2026-01-05T00:00:00.000Z"


def test_start_date_limits_changes(run: Runner, world: World) -> None:
    """And there is none of the state where the whole table is asked for."""
    timestamps = sorted({event["occurredAt"] for event in world.people.audit_events})

    output = run(EVENTS, start_date=timestamps[2].isoformat())

    assert {row["occurred_at"][:10] for row in output.records(EVENTS)} == {
        f"{instant:%Y-%m-%d}" for instant in timestamps[2:]
    }


@pytest.mark.parametrize(
    "rest", ["x", {}, {"before": 1, "newest": "2026"}, {"a": None}]
)
def test_a_malformed_rest_in_a_state_counts_for_nothing(run: Runner, rest: Any) -> None:
    """Everything is read then, as without it."""
    output = run(EVENTS, state={"bookmarks": {EVENTS: {REST: rest}}})

    assert output.ids(EVENTS) == [e["id"] for e in run.world.people.audit_events]
    assert REST not in bookmark(output.state)


def test_a_rest_before_the_start_date_is_not_asked_for(run: Runner) -> None:
    """A window that ends before it begins might be refused, by every run."""
    rest = {"before": "2024-01-01T00:00:00Z", "newest": "2024-01-02T00:00:00Z"}
    state = {"bookmarks": {EVENTS: {REST: rest}}}

    output = run(EVENTS, state=state, start_date="2024-06-01T00:00:00Z")

    assert output.ids(EVENTS) == [e["id"] for e in run.world.people.audit_events]
    assert len(asked(run, "UserGroupAuditEvents")) == 1
    assert REST not in bookmark(output.state)


def test_changes_after_the_start_of_a_run_are_left_to_the_next(
    run: Runner, world: World
) -> None:
    """As in all that has a bookmark."""
    now = datetime.now(UTC)
    world.people.add_audit_event(now + timedelta(minutes=5))

    output = run(EVENTS)

    assert len(output.ids(EVENTS)) == len(world.people.audit_events) - 1


# --- nulls --------------------------------------------------------------------------


@pytest.mark.parametrize("name", PEOPLE)
def test_everything_but_the_key_may_be_null(run: Runner, name: str) -> None:
    """Or not there at all."""
    stream = PEOPLE[name]
    outer, inner = {"id": "7"}, dict.fromkeys(stream.schema["properties"])
    keys = [key for key in stream.primary_keys if key != stream.nested_key]
    row = inner | dict.fromkeys(keys, "7")
    project = run.world.projects[0].id
    if stream.nested_key:
        outer["id"] = project
        row = outer | {stream.nested_in: [row]}
    operation = (stream.document or name).title().replace("_", "")
    run.sandbox.before = lambda r: (
        data(rows=[row], next=None) if r.operation == operation else None
    )

    output = run(name)

    assert output.error is None
    expected = dict.fromkeys(stream.schema["properties"]) | dict.fromkeys(keys, "7")
    if stream.nested_key:
        expected[stream.nested_key] = project
    assert output.records(name) == [expected | {"additional_columns": {}}]


# --- the organization's seats -------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"refuse": ["Query.invitesLimit"]}, {"forget": ["Query.invitesLimit"]}],
)
def test_seats_may_be_refused(serving: Any, caplog: Any, options: Any) -> None:
    """The organization is read all the same."""
    run = serving(World(), **options)

    output = run("organization", emit_activate_version_messages=True)

    (row,) = output.records("organization")
    assert output.error is None
    assert row["name"] == run.world.organization["name"]
    assert row["invites_used"] is None
    assert "organization, in part (invites_limit): " in caplog.text
    # No row is missing.
    assert [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]


def test_what_is_asked_for_by_row_shares_requests(run: Runner) -> None:
    """One that has nothing to it costs nothing but itself."""
    rows = [{"id": name} for name in "abc"]
    seats = {"p0_rows": {"invites_used": 1}, "p1_rows": None}
    replies = {
        "Organization": data(rows=rows),
        "InvitesLimit": data(**seats, p2_rows={"invites_used": 3}),
    }
    run.sandbox.before = lambda r: replies.get(r.operation or "")

    output = run("organization")

    assert output.error is None
    assert [
        (row["id"], row["invites_used"]) for row in output.records("organization")
    ] == [
        ("a", 1),
        ("b", None),
        ("c", 3),
    ]
    assert operations(run).count("InvitesLimit") == 1


def test_seats_that_nobody_wants_are_not_asked_for(run: Runner) -> None:
    """They would cost a request."""
    catalog = run.tap().catalog_dict
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            name = (item["breadcrumb"] or ["", entry["tap_stream_id"]])[1]
            is_wanted = name in {"organization", "name"}
            item["metadata"]["selected"] = is_wanted and (
                entry["tap_stream_id"] == "organization"
            )

    output = run(catalog=catalog)

    assert operations(run) == ["Organization"]
    assert output.records("organization") == [
        {
            "id": run.world.organization["id"],
            "name": run.world.organization["name"],
        }
    ]


# --- API keys -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refuse": ["User.apiKeysOtherUsers"]}, "api_keys (others): "),
        ({"forget": ["User.apiKeysOtherUsers"]}, "no longer knows"),
    ],
)
def test_the_keys_of_others_may_be_refused(
    serving: Any, caplog: Any, options: Any, message: str
) -> None:
    """One's own are read all the same."""
    run = serving(World(), **options)

    output = run("api_keys")

    assert output.error is None
    assert output.ids("api_keys") == [
        key["id"] for key in run.world.people.api_keys(run.world.key_owner)
    ]
    assert message in caplog.text


@pytest.mark.parametrize(
    ("own", "others"),
    [
        ({"rows": None}, {"rows": [{"id": "k"}]}),
        ({"rows": [{"id": "k"}]}, {"rows": None}),
        ({"rows": [{"id": "k"}]}, None),
        ({"rows": [{"id": "k"}]}, {}),
    ],
)
def test_a_list_of_keys_may_be_missing(run: Runner, own: Any, others: Any) -> None:
    """The other one is not."""
    run.sandbox.before = lambda _: data(own=own, others=others)

    assert run("api_keys").ids("api_keys") == ["k"]


def test_an_end_beyond_what_the_server_can_write_costs_itself(
    run: Runner, caplog: Any
) -> None:
    """As it is an Int there, one value beyond 2038 spoils the whole reply."""

    def answer(request: Request) -> Reply | None:
        query = request.query or ""
        if "expiresAtEpoch" not in query:
            return None
        line = next(
            number
            for number, text in enumerate(query.split("\n"), 1)
            if "Epoch" in text
        )
        place = {"line": line, "column": query.split("\n")[line - 1].index("exp") + 1}
        message = "Int cannot represent non 32-bit signed integer value: 4102444800"
        path = ["own", "rows", 0, "expires_at"]
        code = "INTERNAL_SERVER_ERROR"
        return error(message, code, path=path, locations=[place])

    run.sandbox.before = answer
    output = run("api_keys")

    assert output.error is None
    assert len(output.records("api_keys")) == 4
    assert {row["expires_at"] for row in output.records("api_keys")} == {None}
    assert "expiresAtEpoch (which has values that it cannot write)" in caplog.text


def test_an_integration_of_a_kind_that_the_server_lacks(serving: Any) -> None:
    """Only its columns are null."""
    run = serving(World(), forget=["AwsIamIntegrationSettings.roleArn"])

    rows = run("iam_integrations").records("iam_integrations")

    assert {row["role_arn"] for row in rows} == {None}
    assert len(rows) == len(run.world.people.iam_integrations)
    assert [row["read_bucket"] for row in rows if row["read_bucket"]]


# --- groups and tags ----------------------------------------------------------------


def test_projects_that_are_not_listed_are_reported(run: Runner, caplog: Any) -> None:
    """The inner list has no pages."""
    projects = {"nodes": [{"project_id": "p"}], "count": 3}
    run.sandbox.before = lambda _: data(
        groups={"rows": [{"id": "g", "_projects": projects}], "next": None}
    )

    output = run("user_group_projects", emit_activate_version_messages=True)

    assert len(output.records("user_group_projects")) == 1
    assert "user_group_id g: Labelbox gives 1 of 3" in caplog.text
    assert not [m for m in output.messages if m["type"] == "ACTIVATE_VERSION"]


@pytest.mark.parametrize(("projects", "pages"), [(5, 1), (100, 2), (101, 2)])
def test_tags_of_all_projects_take_a_few_requests(
    serving: Callable[..., Runner], projects: int, pages: int
) -> None:
    """An exact multiple of a page costs an empty one more."""
    world = World(projects=projects, labels=0)
    run = serving(world)

    output = run("project_resource_tags", concurrency=1)

    assert sorted(
        (row["project_id"], row["resource_tag_id"])
        for row in output.records("project_resource_tags")
    ) == sorted((p.id, tag["id"]) for p in world.projects for tag in p.resource_tags)
    assert operations(run).count("ProjectResourceTags") == pages


def test_tags_are_those_of_the_projects_asked_for(run: Runner, world: World) -> None:
    """As in all that has projects."""
    project = world.projects[2]

    output = run("project_resource_tags", project_ids=[project.id])

    assert [row["project_id"] for row in output.records("project_resource_tags")] == [
        project.id
    ] * len(project.resource_tags)


# --- why something is refused -------------------------------------------------------


def test_a_refusal_says_what_the_key_may(serving: Any, caplog: Any) -> None:
    """It is asked once a run, and said once a stream."""
    run = serving(World(), refuse=["Query.iamIntegrations", "Organization.webhooks"])

    output = run("iam_integrations", "webhooks", "roles")

    assert isinstance(output.error, IncompleteError)
    lines = logged(caplog)
    assert [line.split(" ")[0] for line in lines] == ["webhooks", "iam_integrations"]
    assert all(line.endswith(f"({ALLOWS})") for line in lines)
    assert operations(run).count("OrganizationRole") == 1
    assert len(output.records("roles")) == len(run.world.roles)


@pytest.mark.parametrize("forbidden", [1, 3, 4])
def test_a_refused_project_says_it_as_well(
    run: Runner, world: World, caplog: Any, forbidden: int
) -> None:
    """Once, however many there are."""
    for project in world.projects[:forbidden]:
        project.restricted = True

    run("task_queues")

    assert "\n".join(logged(caplog)).count(ALLOWS) == 1


def test_a_refused_report_says_it_as_well(serving: Any, caplog: Any) -> None:
    """The REST API refuses with 403."""
    run = serving(World(), performance="forbidden")

    run("workspace_labelers")

    (line,) = logged(caplog)
    assert ALLOWS in line


@pytest.mark.parametrize(
    "reply",
    [
        error("No"),
        error('Cannot query field "organizationRole" on type "Query".', "X"),
        Reply(500, {}, "down"),
        data(role=None),
        data(role={"permissions": None}),
        data(role={"permissions": []}),
        data(role={"permissions": [1]}),
        data(role=["x"]),
        data(),
    ],
)
def test_rights_that_are_not_reported_are_no_failure(
    serving: Any, caplog: Any, reply: Reply
) -> None:
    """The line is as it would be without."""
    run = serving(World(), refuse=["Query.iamIntegrations"])
    run.sandbox.before = lambda r: reply if r.operation == "OrganizationRole" else None

    output = run("iam_integrations", "roles")

    (line,) = logged(caplog)
    assert line.endswith("You are not authorized to read Query.iamIntegrations")
    assert str(output.error) == "the sync is incomplete; left out: iam_integrations"


def test_a_run_without_refusals_does_not_ask(run: Runner) -> None:
    """Nor does one in which something else fails."""
    run.sandbox.before = lambda r: (
        error("No", "OPERATION_NOT_ALLOWED") if r.operation == "Roles" else None
    )

    run("roles", "users")

    assert "OrganizationRole" not in operations(run)
