"""Members of the organization, their roles and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.records.columns import (
    boolean,
    email,
    identifier,
    integer,
    key,
    table,
    text,
    texts,
    timestamp,
    word,
)
from tap_labelbox.streams.base import LabelboxStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_labelbox.api.pagination import Row


class UsersStream(LabelboxStream):
    """Every member of the organization; the whole table each time.

    Good for names in place of IDs, and for who has not been there for long.
    """

    name = "users"
    schema = table(
        key("id", "User ID."),
        email("email", "E-mail address. Personal data."),
        text("name", "Full name. Personal data."),
        text("nickname", "Short name. Personal data."),
        text("picture", "Address of the portrait. Personal data."),
        boolean("is_viewer", "Whether the user may only look."),
        boolean("is_external_user", "Whether the user is of another organization."),
        word("timezone", "Time zone in the profile."),
        timestamp("created_at", "When the account was made."),
        timestamp("updated_at", "Latest change to it."),
        timestamp(
            "last_login_at",
            "Latest login, or switch into this organization; null until the first one "
            "after recording began.",
        ),
        identifier(
            "org_role_id",
            "ID of the role in the organization; null, or that of the role None, where "
            "all rights are by project.",
        ),
        text("org_role_name", "Name of that role."),
        identifier("organization_id", "ID of the organization."),
    )


class RolesStream(LabelboxStream):
    """Every role that a member can have, custom ones included.

    Good for what users and members of groups may do.
    """

    name = "roles"
    schema = table(
        key("id", "Role ID."),
        text("name", "Name as on screen, such as Labeler or Team Manager."),
        text("description", "What it is for."),
        identifier(
            "organization_id", "ID of the organization; null where it is built in."
        ),
        texts("permissions", "Names of what it allows."),
    )


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
        email("email", "E-mail address. Personal data."),
        identifier(
            "role_id", "ID of the role in the group's projects; null where none is."
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
