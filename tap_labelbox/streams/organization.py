"""The organization: members, roles, invitations, tags, and what has access to it."""

from __future__ import annotations

from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    EMAIL,
    FREE_TEXT,
    NAME,
    PICTURE,
    address,
    boolean,
    email,
    epoch,
    identifier,
    integer,
    key,
    number,
    table,
    text,
    texts,
    timestamp,
    word,
)
from tap_labelbox.records.json_columns import masked_json


class OrganizationStream(LabelboxStream):
    """The organization of the API key, with its seats.

    Good for seats that are left before the next people are invited.
    """

    name = "organization"
    details = "invites_limit"
    schema = table(
        key("id", "Organization ID."),
        text("name", "Its name."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
        integer("invites_used", "Seats taken, by users and pending invitations."),
        integer("invites_limit", "Seats there are."),
        integer("invites_remaining", "Seats left."),
    )


class UsersStream(LabelboxStream):
    """Every member of the organization; the whole table each time.

    Good for names in place of IDs, and for who has not been there for long.
    """

    name = "users"
    schema = table(
        key("id", "User ID."),
        email("email", "E-mail address.", personal=EMAIL),
        text("name", "Full name.", personal=NAME),
        text("nickname", "Short name.", personal=NAME),
        text("picture", "Address of the portrait.", personal=PICTURE),
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


class InvitesStream(LabelboxStream):
    """Every pending invitation.

    Good for who has been asked to join and has not answered.
    """

    name = "invites"
    selected_by_default = False
    schema = table(
        key("id", "Invitation ID."),
        email("invitee_email", "E-mail address of whoever is invited.", personal=EMAIL),
        text(
            "organization_role_name",
            "Name of the role in the organization once it is accepted.",
        ),
        timestamp("created_at", "When it was sent."),
    )


class InviteProjectsStream(LabelboxStream):
    """Every project that a pending invitation is for.

    Good for who is about to join which project.
    """

    name = "invite_projects"
    document = InvitesStream.name
    nested_in, nested_key = "_projects", "invite_id"
    primary_keys = ("invite_id", "project_id")
    selected_by_default = False
    schema = table(
        key("invite_id", "ID of the invitation."),
        key("project_id", "ID of the project, which may have been deleted since."),
        identifier("id", "ID of the pair."),
        text("project_role_name", "Name of the role in the project."),
    )


class ResourceTagsStream(LabelboxStream):
    """Every tag that projects can have.

    Good for what there is to group projects by.
    """

    name = "resource_tags"
    schema = table(
        key("id", "Tag ID."),
        text("text", "What it says."),
        word("color", "Its color, in hexadecimal digits."),
    )


class ProjectResourceTagsStream(LabelboxStream):
    """Every tag on every project.

    Good for labels and costs by team, customer or whatever the tags stand for.
    """

    name = "project_resource_tags"
    nested_in, nested_key = "_resource_tags", "project_id"
    primary_keys = ("project_id", "resource_tag_id")
    schema = table(
        key("project_id", "ID of the project."),
        key("resource_tag_id", "ID of the tag."),
        text("text", "What it says."),
        word("color", "Its color, in hexadecimal digits."),
    )


class IamIntegrationsStream(LabelboxStream):
    """Every access that Labelbox has to the buckets of a cloud; no secret of it.

    Good for integrations that no longer work.
    """

    name = "iam_integrations"
    schema = table(
        key("id", "Integration ID."),
        text("name", "Its name."),
        word("provider", "Cloud, such as AWS, GCP or Azure."),
        boolean("valid", "Whether the last check succeeded."),
        boolean("is_org_default", "Whether new datasets use it."),
        word("settings_type", "Kind of its settings; null if it has none."),
        text(
            "role_arn",
            "Role that Labelbox takes on at AWS. The account number is in it.",
            "settings.role_arn",
        ),
        email(
            "service_account_email_id",
            "Service account that Labelbox uses at GCP, by its e-mail address.",
            "settings.service_account_email_id",
            personal=EMAIL,
        ),
        text("read_bucket", "Bucket that is read at GCP.", "settings.read_bucket"),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
        timestamp("last_valid_at", "When a check last succeeded."),
    )


class ApiKeysStream(LabelboxStream):
    """Every API key that the user may see, expired and revoked ones too; not the keys.

    Good for keys that nobody watches, and for those that are about to expire.
    """

    name = "api_keys"
    may_be_null = True
    selected_by_default = False
    schema = table(
        key("id", "ID of the API key, which is not the key."),
        text("name", "Its name."),
        identifier("user_id", "ID of the user."),
        email("user_email", "E-mail address of the user.", personal=EMAIL),
        identifier(
            "created_by_user_id",
            "ID of the user who made the API key; null for old ones: then user_id.",
        ),
        boolean("revoked", "Whether it has been switched off."),
        epoch("expires_at", "When it ends to be valid."),
        texts(
            "allowed_ip_cidrs",
            "Network addresses it can be used from; null or empty for any.",
            personal=FREE_TEXT,
        ),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
    )


class WebhooksStream(LabelboxStream):
    """Every webhook, of the organization and of projects; no secret of it.

    Good for where labels are sent to, and by whom that was set up.
    """

    name = "webhooks"
    schema = table(
        key("id", "Webhook ID."),
        address(
            "url",
            "Address that it sends to, without user info, query and fragment. What may "
            "be user info in a malformed one is masked.",
        ),
        texts("topics", "What it sends, such as LABEL_CREATED or WORKFLOW_ACTION."),
        word("status", "State, such as ACTIVE, INACTIVE (or deleted) or REVOKED."),
        identifier(
            "project_id", "ID of the project; null where it is for all of them."
        ),
        identifier("created_by_id", "ID of the user who made it."),
        identifier("organization_id", "ID of the organization."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
    )


class TasksStream(LabelboxStream):
    """Every task of the owner of the API key, exports of this tap included.

    Good for imports that failed. Labelbox lists the tasks of nobody else.
    """

    name = "tasks"
    document = "created_tasks"
    selected_by_default = False
    schema = table(
        key("id", "Task ID."),
        text("name", "Its name."),
        word("type", "Kind, such as export-data-rows or adv-upsert-data-rows."),
        word("status", "State, such as IN_PROGRESS, COMPLETE, FAILED or CANCELED."),
        number("completion_percentage", "How far it is, 0 to 100."),
        masked_json(
            "metadata",
            "What belongs to its kind. Signatures and other secrets are masked.",
        ),
        identifier("created_by_id", "ID of the user who made it."),
        timestamp("created_at", "When it was started."),
        timestamp("updated_at", "Latest change to it."),
    )
