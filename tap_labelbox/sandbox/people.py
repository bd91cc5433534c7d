"""People of the organization: invitations, keys, webhooks, changes to groups, tasks.

Where a real workspace may hold a secret, this one does: they all begin with `SECRET`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_labelbox.sandbox.schema import Info
    from tap_labelbox.sandbox.world import Project, User, World

Row = dict[str, Any]

SECRET = "s3cr3t-"  # noqa: S105  # which opens nothing
SEATS = 25
DAY = timedelta(days=1)
PERMISSIONS = ("project:read", "label:read", "user:read", "webhook:read", "tag:read")
SIGNED = f"https://files.example.com/input.ndjson?bewit={SECRET}bewit"
EVENTS = 12


@dataclass
class OtherTask:
    """A task that is no export."""

    id: str
    name: str | None
    type: str
    status: str
    completion_percentage: float | None
    metadata: Any
    created_at: datetime
    created_by: User
    result: str = SIGNED
    errors: str = f'{{"error": "{SIGNED}"}}'
    streams: Row = field(default_factory=dict)

    @property
    def updated_at(self) -> datetime:
        """Return when it ended."""
        return self.created_at + timedelta(hours=5)

    @property
    def organization(self) -> Row:
        """Return the only one there is."""
        return self.created_by.organization


class People:
    """The part of a workspace that is about people, made up when it is asked for.

    Args:
        world: The workspace; none of its own chance is used up.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = Random(f"people of {world.organization['id']}")

    def _id(self) -> str:
        return f"cm{self._random.getrandbits(91):023x}"

    @property
    def _began(self) -> datetime:
        made: datetime = self._world.organization["createdAt"]
        return made

    def _stamps(self, days: int) -> Row:
        made = self._began + days * DAY
        return {"createdAt": made, "updatedAt": made + timedelta(hours=5)}

    @cached_property
    def invites(self) -> list[Row]:
        """The pending invitations; one is for a project that has been deleted."""
        projects = [*self._world.projects[:2], self._world.deleted_project]
        roles = "Labeler", "Team Manager", "Labeler"
        invites: list[Row] = [
            {
                "id": self._id(),
                "createdAt": self._began + 95 * DAY,
                "organizationRoleName": "None",
                "inviteeEmail": "søren@example.org",
                "projectInvites": [
                    {
                        "id": self._id(),
                        "projectId": project.id,
                        "projectRoleName": role,
                    }
                    for project, role in zip(projects, roles, strict=False)
                ],
            },
            {"id": self._id(), "createdAt": None, "organizationRoleName": None}
            | {"inviteeEmail": None, "projectInvites": []},
        ]
        return [*self._world.invites, *invites]

    @cached_property
    def resource_tags(self) -> list[Row]:
        """The tags; one is on no project."""
        unused = {"id": self._id(), "text": None, "color": None}
        return [*self._world.resource_tags, unused]

    @cached_property
    def iam_integrations(self) -> list[Row]:
        """An access of each kind, one of a kind not known yet, and one without any."""
        kinds: list[tuple[str | None, Row | None]] = [
            (
                "GCP",
                {
                    "__typename": "GcpIamIntegrationSettings",
                    "serviceAccountEmailId": "labels@project.iam.gserviceaccount.com",
                    "readBucket": "bilder-für-labels",
                },
            ),
            (
                "Azure",
                {
                    "__typename": "AzureIamIntegrationSettings",
                    "readContainerUrl": f"https://x.example.com/c?sig={SECRET}azure",
                    "tenantId": "tenant",
                    "clientId": "client",
                    "clientSecret": f"{SECRET}client",
                },
            ),
            ("HETZNER", None),
            (None, None),
        ]
        integrations = [
            {
                "id": self._id(),
                "name": provider and f"{provider} – Bilder",
                "provider": provider,
                "valid": provider and provider == "GCP",
                "isOrgDefault": provider and False,
                "lastValidAt": self._began + 30 * DAY if settings else None,
                "settings": settings,
            }
            | self._stamps(number)
            for number, (provider, settings) in enumerate(kinds)
        ]
        return [*self._world.iam_integrations, *integrations]

    @property
    def invites_limit(self) -> Row:
        """The seats: users and pending invitations count."""
        used = len(self._world.users) + len(self.invites)
        return {"used": used, "limit": SEATS, "remaining": SEATS - used}

    @cached_property
    def webhooks(self) -> list[Row]:
        """Those of the projects, and some of the organization."""
        organization = self._world.organization
        hooks = [
            hook
            | {"organization": organization, "project": project}
            | {"topics": ["LABEL_CREATED", "LABEL_DELETED"]}
            for project in self._world.projects
            for hook in project.webhooks
        ]
        addresses = (
            f"https://bot:{SECRET}word@hooks.example.com:8443/labelbox",
            f"https://example.com/hook?token={SECRET}token&bewit={SECRET}hook#{SECRET}x",
            f"HTTPS://{SECRET}key@[2001:db8::1]/a%3Fb={SECRET}encoded",
            f"https://{SECRET}a/{SECRET}b@example.com/hook",
            None,
        )
        hooks += [
            {
                "id": self._id(),
                "url": url,
                "topics": url and ["LABEL_UPDATED", "WORKFLOW_ACTION", "NOT_KNOWN_YET"],
                "status": ("ACTIVE", "INACTIVE", "REVOKED", "PAUSED", None)[number],
                "createdBy": url and self._world.users[number],
                "organization": url and organization,
                "secret": f"{SECRET}hook",
            }
            | self._stamps(number)
            for number, url in enumerate(addresses)
        ]
        return hooks

    def api_keys(self, user: User) -> list[Row]:
        """Return the keys of a user."""
        return [key for key in self._api_keys if key["userId"] == user.id]

    def api_keys_of_others(self, user: User) -> list[Row]:
        """Return the keys of all others."""
        return [key for key in self._api_keys if key["userId"] != user.id]

    @cached_property
    def _api_keys(self) -> list[Row]:
        # One that is over, one as text, one beyond what an Int holds, and one in part.
        ends: tuple[tuple[int | str, bool | None], ...] = (
            (1_735_689_600, False),
            ("1893456000", True),
            (4_102_444_800, False),
            ("2051222400", None),
        )
        owner, *others = self._world.users
        return [
            {
                "id": self._id(),
                "name": ("nightly 🌙", "Schlüssel", None, "ci")[number],
                "userId": (owner if number < 2 else others[number]).id,
                "userEmail": (owner if number < 2 else others[number]).email,
                "createdByUserId": owner.id if number % 2 else None,
                "revoked": revoked,
                "expiresAtEpoch": end,
                "allowedIpCidrs": (None, [], ["192.0.2.0/24"], ["2001:db8::1"])[number],
                "jwt": f"{SECRET}key",
            }
            | self._stamps(number)
            for number, (end, revoked) in enumerate(ends)
        ]

    @cached_property
    def audit_events(self) -> list[Row]:
        """The changes to groups, newest first; three share a timestamp each time."""
        events = [
            self._event(self._began + (40 + number // 3) * DAY, number)
            for number in range(EVENTS)
        ]
        bare: Row = {"id": self._id(), "occurredAt": self._began + 39 * DAY}
        bare |= {"groupId": self._id(), "actorKind": "MARTIAN", "channel": "TELEPATHY"}
        events.append(bare | {"type": "GROUP_RENAMED"})
        return sorted(events, key=_age, reverse=True)

    def add_audit_event(self, occurred_at: datetime) -> Row:
        """Change a group at some time."""
        event = self._event(occurred_at, len(self.audit_events))
        self.audit_events.append(event)
        self.audit_events.sort(key=_age, reverse=True)
        return event

    def _event(self, occurred_at: datetime, number: int) -> Row:
        """Make up a change; every fourth one is about a project."""
        world = self._world
        group = world.user_groups[number % len(world.user_groups)]
        is_gone = number % 5 == 4
        row: Row = {
            "id": self._id(),
            "groupId": self._id() if is_gone else group["id"],
            "groupName": None if is_gone else group["name"],
            "occurredAt": occurred_at,
            "actorKind": "AUTOMATION" if number % 2 else "PERSON",
            "channel": ("APP", "API", "CSV_IMPORT", "TELEPATHY")[number % 4],
            "actorUserId": world.key_owner.id,
            "automation": "API key nightly 🌙" if number % 2 else None,
        }
        if number % 4 == 3 and world.projects:
            project = world.projects[number % len(world.projects)]
            row |= {"projectId": project.id, "projectName": project.name}
            return row | {"type": "GROUP_ATTACHED_TO_PROJECT"}
        old, new = world.roles[1], world.roles[2]
        row |= {"memberUserId": world.users[number % len(world.users)].id}
        row |= {"roleId": new["id"], "roleName": new["name"]}
        if number % 2:
            row |= {"previousRoleId": old["id"], "previousRoleName": old["name"]}
        return row | {"type": ("MEMBER_ADDED", "MEMBER_ROLE_CHANGED")[number % 2]}

    @cached_property
    def tasks(self) -> list[OtherTask]:
        """Tasks of the owner of the key that are not exports, some malformed."""
        text = f'{{"queue": "Rework ♻", "token": "{SECRET}task"}}'
        kinds: tuple[tuple[str | None, str, str, float | None, Any], ...] = (
            ("JSON Import", "adv-upsert-data-rows", "COMPLETE", 100.0, {"url": SIGNED}),
            ("Köln → batch A", "send-to-task-queue", "FAILED", 12.5, text),
            (None, "not-known-yet", "POSTPONED", None, None),
        )
        return [
            OtherTask(
                self._id(),
                *kind,
                created_at=self._began + number * DAY,
                created_by=self._world.key_owner,
            )
            for number, kind in enumerate(kinds)
        ]


def _age(event: Row) -> tuple[datetime, str]:
    return event["occurredAt"], event["id"]


# --- resolvers -------------------------------------------------------------------

CONDITIONS = {
    "group_id": "groupId",
    "member_user_id": "memberUserId",
    "actor_user_id": "actorUserId",
    "actor_kind": "actorKind",
    "project_id": "projectId",
}


def audit_events(_: Any, info: Info, where: Row | None = None) -> list[Row]:
    """Return the changes to groups that meet all conditions, newest first."""
    where = where or {}
    after, before = where.get("occurred_after"), where.get("occurred_before")
    return [
        event
        for event in info.context.world.people.audit_events
        if (after is None or event["occurredAt"] >= after)
        and (before is None or event["occurredAt"] < before)
        and (not where.get("types") or event.get("type") in where["types"])
        and all(
            where.get(name) in (None, event.get(field))
            for name, field in CONDITIONS.items()
        )
    ]


def organization_role(_: Any, info: Info, user_id: str | None = None) -> Row:
    """Return what a user may do, by default the owner of the key."""
    world: World = info.context.world
    users = (user for user in world.users if user.id == user_id)
    user = next(users, world.key_owner)
    is_none = user.org_role is None or user.org_role["name"] == "None"
    return {"permissions": [] if is_none else list(PERMISSIONS)}


def of_world(name: str) -> Callable[..., Any]:
    """Return a resolver of what `People` has under this name."""
    return lambda _, info, **_arguments: getattr(info.context.world.people, name)


def project_webhooks(source: Project, info: Info) -> list[Row]:
    """Return the webhooks of a project."""
    hooks = info.context.world.people.webhooks
    return [hook for hook in hooks if hook.get("project") is source]


RESOLVERS: dict[str, Callable[..., Any]] = {
    "Query.iamIntegrations": of_world("iam_integrations"),
    "Query.organizationRole": organization_role,
    "Query.userGroupAuditEvents": audit_events,
    "Organization.invites": of_world("invites"),
    "Organization.resourceTag": of_world("resource_tags"),
    "Organization.webhooks": of_world("webhooks"),
    "Project.webhooks": project_webhooks,
    "User.apiKeys": lambda source, info: info.context.world.people.api_keys(source),
    "User.apiKeysOtherUsers": lambda source, info: (
        info.context.world.people.api_keys_of_others(source)
    ),
}
