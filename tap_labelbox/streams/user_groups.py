"""Groups of users: members, projects, and how they have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.base.newest_first import NewestFirstWindowStream
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    EMAIL,
    email,
    identifier,
    integer,
    key,
    table,
    text,
    timestamp,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_labelbox.api.pagination import Row


class UserGroupsStream(LabelboxStream):
    """Every group of users.

    Good for teams, and how large they are.
    """

    name = "user_groups"
    schema = table(
        key("id", "Group ID."),
        text("name", "Its name."),
        word("color", "Its color, in hexadecimal digits."),
        text("description", "Free text."),
        integer("member_count", "Users in it."),
        integer("project_count", "Projects that it has access to."),
    )


class UserGroupMembersStream(LabelboxStream):
    """Every user in every group.

    Good for labels by team.
    """

    name = "user_group_members"
    document = UserGroupsStream.name
    nested_in, nested_key = "_members", "user_group_id"
    primary_keys = ("user_group_id", "user_id")
    schema = table(
        key("user_group_id", "ID of the user group."),
        key("user_id", "ID of the user."),
        email("email", "E-mail address.", personal=EMAIL),
        identifier(
            "role_id", "ID of the role: in the group's projects; null where none is."
        ),
    )

    def explode(self, row: Row) -> Iterable[Any]:
        """Return the members of a group, each with the role listed beside them."""
        members = row.get(self.nested_in)
        listed_roles = members.get("roles") if isinstance(members, dict) else None
        roles = {
            role.get("user_id"): role.get("role_id")
            for role in (listed_roles if isinstance(listed_roles, list) else [])
            if isinstance(role, dict)
        }
        return [
            item | {"role_id": roles.get(item.get("user_id"))}
            if isinstance(item, dict)
            else item
            for item in super().explode(row)
        ]


class UserGroupProjectsStream(LabelboxStream):
    """Every project of every group.

    Good for who has access to a project by way of a group.
    """

    name = "user_group_projects"
    document = UserGroupsStream.name
    nested_in, nested_key = "_projects", "user_group_id"
    primary_keys = ("user_group_id", "project_id")
    schema = table(
        key("user_group_id", "ID of the user group."),
        key("project_id", "ID of the project."),
    )


class UserGroupAuditEventsStream(NewestFirstWindowStream):
    """Every change to a group that the user may manage, deleted groups included.

    Good for who gave whom access to what, and when. Labelbox leaves out groups that
    the user may not manage without saying so.
    """

    name = "user_group_audit_events"
    replication_key = "occurred_at"
    selected_by_default = False
    schema = table(
        key("id", "Event ID. An event never changes."),
        identifier("group_id", "ID of the group, which may have been deleted since."),
        text("group_name", "Name of the group today; null once it is deleted."),
        word(
            "type",
            "What was done: MEMBER_ADDED, MEMBER_REMOVED, MEMBER_ROLE_CHANGED, "
            "GROUP_ATTACHED_TO_PROJECT, GROUP_DETACHED_FROM_PROJECT or GROUP_DELETED.",
        ),
        timestamp(
            "occurred_at", "When it happened. The bookmark is kept by this column."
        ),
        word("actor_kind", "PERSON or AUTOMATION."),
        word("channel", "Way by which it was done, such as APP, API or CSV_IMPORT."),
        identifier(
            "actor_user_id",
            "ID of the user who did it, or for whom an automation did; null for "
            "Labelbox itself.",
        ),
        text("automation", "API key, client or task that did it; null for a person."),
        identifier("member_user_id", "ID of the user whom it is about."),
        identifier("previous_role_id", "ID of the role before a removal or change."),
        text("previous_role_name", "Name of the role before a removal or change."),
        identifier(
            "role_id",
            "ID of the role: in the group's projects, after an addition or change.",
        ),
        text("role_name", "Name of the role: after an addition or change."),
        identifier("project_id", "ID of the project; null unless it is about one."),
        text("project_name", "Name of the project."),
    )
