"""The tap reads the organization as the official client does."""

from __future__ import annotations

import logging
import warnings
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox.people import PERMISSIONS

if TYPE_CHECKING:
    from datetime import datetime

    from tests.runner import Runner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types
    from labelbox.schema.api_key import (  # type: ignore[import-untyped]  # the same
        ApiKey,
    )
    from labelbox.schema.invite import (  # type: ignore[import-untyped]  # the same
        Invite,
    )
    from labelbox.schema.user_group import (  # type: ignore[import-untyped]  # the same
        UserGroup,
    )

pytestmark = pytest.mark.filterwarnings("ignore")

Rows = list[dict[str, Any]]


@pytest.fixture
def client(run: Runner) -> Any:
    """Return the client, given nothing but addresses and key."""
    logging.getLogger("labelbox").setLevel(logging.ERROR)
    sandbox = run.sandbox
    return labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )


def at(instant: datetime | None) -> str | None:
    """Return a timestamp as records have it."""
    if instant is None:
        return None
    text = instant.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def narrowed(rows: Rows, *columns: str) -> Rows:
    """Return some columns of records."""
    return [{column: row[column] for column in columns} for row in rows]


def everything(rows: Rows) -> Rows:
    """Return records, which have nothing that fits no column."""
    assert rows
    assert all(row.pop("additional_columns") == {} for row in rows)
    return rows


def test_the_organization_and_its_seats(run: Runner, client: Any) -> None:
    """In one record."""
    theirs = client.get_organization()
    limit = theirs.invite_limit()

    assert everything(run("organization").records("organization")) == [
        {
            "id": theirs.uid,
            "name": theirs.name,
            "created_at": at(theirs.created_at),
            "updated_at": at(theirs.updated_at),
            "invites_used": limit.used,
            "invites_limit": limit.limit,
            "invites_remaining": limit.remaining,
        }
    ]


@pytest.mark.parametrize("size", [2, 3, 100])
def test_invites_and_their_projects(run: Runner, client: Any, size: int) -> None:
    """Save for projects that are gone, which the client drops."""
    output = run("invites", "invite_projects", page_size=size)
    theirs = list(Invite.get_invites(client))

    assert everything(output.records("invites")) == [
        {
            "id": invite.uid,
            "invitee_email": invite.email,
            "organization_role_name": invite.organization_role_name,
            "created_at": at(invite.created_at),
        }
        for invite in theirs
    ]
    roles = {role.uid: role.name for role in client.get_roles().values()}
    gone = run.world.deleted_project.id
    rows = output.records("invite_projects")
    assert gone in {row["project_id"] for row in rows}
    assert [
        (
            row["invite_id"],
            row["project_id"],
            row["project_role_name"].upper().replace(" ", "_"),
        )
        for row in rows
        if row["project_id"] != gone
    ] == [
        (invite.uid, pair.project.uid, roles[pair.role.uid])
        for invite in theirs
        for pair in invite.project_roles
    ]


def test_tags(run: Runner, client: Any) -> None:
    """Of the organization, and on each project."""
    output = run("resource_tags", "project_resource_tags")

    theirs = client.get_organization().get_resource_tags()
    assert everything(output.records("resource_tags")) == [
        {"id": tag.uid, "text": tag.text, "color": tag.color} for tag in theirs
    ]
    result = {
        (row["project_id"], row["resource_tag_id"], row["text"], row["color"])
        for row in everything(output.records("project_resource_tags"))
    }
    assert result == {
        (project.uid, tag.uid, tag.text, tag.color)
        for project in client.get_projects()
        for tag in project.get_resource_tags()
    }


def test_integrations(run: Runner, client: Any) -> None:
    """With what is asked of their settings, whatever kind they are of."""
    rows = everything(run("iam_integrations").records("iam_integrations"))

    theirs = client.get_organization().get_iam_integrations()
    kinds = [type(i.settings).__name__ if i.settings else None for i in theirs]
    assert rows == [
        {
            "id": integration.uid,
            "name": integration.name,
            "provider": integration.provider,
            "valid": integration.valid,
            "is_org_default": integration.is_org_default,
            "settings_type": kind,
            "role_arn": getattr(integration.settings, "role_arn", None),
            "service_account_email_id": getattr(
                integration.settings, "service_account_email_id", None
            ),
            "read_bucket": getattr(integration.settings, "read_bucket", None),
            "created_at": at(integration.created_at),
            "updated_at": at(integration.updated_at),
            "last_valid_at": at(integration.last_valid_at),
        }
        for integration, kind in zip(theirs, kinds, strict=True)
    ]
    assert {"AzureIamIntegrationSettings", None} < {*kinds}


def test_api_keys(run: Runner, client: Any) -> None:
    """Of the owner and of others, those included that are over."""
    rows = everything(run("api_keys").records("api_keys"))

    for row in rows:  # the client has none for null
        row["allowed_ip_cidrs"] = row["allowed_ip_cidrs"] or []
    emails = {user.uid: user.email for user in client.get_users()}
    assert rows == [
        {
            "id": api_key.uid,
            "name": api_key.name,
            "user_id": api_key.user_id,
            "user_email": emails[api_key.user_id],
            "created_by_user_id": api_key.created_by_user_id,
            "revoked": api_key.revoked,
            "expires_at": at(api_key.expired_at),
            "allowed_ip_cidrs": api_key.allowed_ip_cidrs,
            "created_at": at(api_key.created_at),
            "updated_at": at(api_key.updated_at),
        }
        for api_key in ApiKey.get_api_keys(client, include_expired=True)
    ]


@pytest.mark.parametrize("size", [3, 100])
def test_webhooks(run: Runner, client: Any, size: int) -> None:
    """All but what is secret in their addresses."""
    rows = everything(run("webhooks", page_size=size).records("webhooks"))

    theirs = list(client.get_organization().webhooks())
    assert narrowed(
        rows, "id", "topics", "status", "created_at", "updated_at", "created_by_id"
    ) == [
        {
            "id": hook.uid,
            "topics": hook.topics,
            "status": hook.status,
            "created_at": at(hook.created_at),
            "updated_at": at(hook.updated_at),
            "created_by_id": (user := hook.created_by()) and user.uid,
        }
        for hook in theirs
    ]
    plain = {
        hook.uid: hook.url for hook in theirs if not {*"?@%#"} & {*(hook.url or "")}
    }
    assert len(plain) > len(run.world.projects)
    assert {row["id"]: row["url"] for row in rows if row["id"] in plain} == plain
    assert [(row["id"], row["project_id"]) for row in rows if row["project_id"]] == [
        (hook.uid, project.uid)
        for project in map(client.get_project, (p.id for p in run.world.projects))
        for hook in project.webhooks()
    ]


def test_projects_of_groups(run: Runner, client: Any) -> None:
    """Group by group."""
    rows = run("user_group_projects").records("user_group_projects")

    assert {(row["user_group_id"], row["project_id"]) for row in everything(rows)} == {
        (group.id, project.uid)
        for group in UserGroup(client).get_user_groups(client)
        for project in group.projects
    }


@pytest.mark.parametrize("size", [2, 3, 13, 100])
def test_changes_to_groups(run: Runner, client: Any, size: int) -> None:
    """Newest first, over pages of any size."""
    name = "user_group_audit_events"
    rows = everything(run(name, page_size=size).records(name))

    theirs = list(UserGroup.get_audit_events(client))
    assert rows == [
        {column: getattr(event, column) for column in rows[0]}
        | {"occurred_at": at(event.occurred_at)}
        for event in theirs
    ]


def test_tasks(run: Runner, client: Any) -> None:
    """Of the owner of the key, exports included."""
    run("data_row_exports")

    rows = everything(run("tasks", page_size=3).records("tasks"))

    theirs = list(client.get_user().created_tasks())
    assert "export-data-rows" in {row["type"] for row in rows}
    assert [{k: v for k, v in row.items() if k != "metadata"} for row in rows] == [
        {
            "id": task.uid,
            "name": task.name,
            "type": task.type,
            "status": task.status,
            "completion_percentage": task.completion_percentage,
            "created_by_id": task.created_by().uid,
            "created_at": at(task.created_at),
            "updated_at": at(task.updated_at),
        }
        for task in theirs
    ]
    assert [row["metadata"] for row in rows[:-3]] == [t.metadata for t in theirs[:-3]]


def test_rights(client: Any) -> None:
    """Those of the role of the owner of the key."""
    assert ApiKey._get_current_user_permissions(client) == list(PERMISSIONS)
