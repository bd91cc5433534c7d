"""Issues that people raise about labels, their categories and replies."""

from __future__ import annotations

from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    FREE_TEXT,
    identifier,
    key,
    table,
    text,
    timestamp,
    word,
)
from tap_labelbox.records.json_columns import json_or_text


class IssuesStream(LabelboxStream):
    """Every issue of every project; Labelbox lists none that has no label.

    Good for what is unclear to labelers, and for how long it stays so.
    """

    name = "issues"
    path = "/_gql"
    schema = table(
        key("id", "Issue ID."),
        identifier("project_id", "ID of the project."),
        identifier("friendly_id", "Number that people see."),
        identifier("label_id", "ID of the label."),
        identifier("data_row_id", "ID of the data row; null in old issues."),
        identifier("category_id", "ID of the issue category."),
        text("content", "What it says.", personal=FREE_TEXT),
        json_or_text("position", "Where it is pinned: a shape that suits the media."),
        word("status", "Its status: Open or Resolved."),
        identifier("created_by_id", "ID of the user who raised it."),
        identifier("resolved_by_id", "ID of the user who resolved it."),
        timestamp("created_at", "When it was raised."),
        timestamp("updated_at", "Latest change to it."),
        timestamp("resolved_at", "When it was resolved."),
        timestamp("content_updated_at", "Latest change to its text."),
        timestamp("latest_reply_at", "Latest comment; null where there is none."),
    )


class IssueCommentsStream(LabelboxStream):
    """Every reply to every issue: a request for each issue that has some.

    Good for how issues are settled.
    """

    name = "issue_comments"
    path = "/_gql"
    parents = IssuesStream.name
    parents_with = "latest_reply_at"
    schema = table(
        key("id", "Comment ID."),
        identifier("issue_id", "ID of the issue."),
        identifier("project_id", "ID of the project."),
        text("content", "What it says.", personal=FREE_TEXT),
        identifier("created_by_id", "ID of the user who wrote it."),
        timestamp("created_at", "When it was written."),
        timestamp("updated_at", "Latest change to it."),
    )


class IssueCategoriesStream(LabelboxStream):
    """Every category that issues of a project can have.

    Good for names in place of IDs.
    """

    name = "issue_categories"
    schema = table(
        key("id", "Issue category ID."),
        identifier("project_id", "ID of the project."),
        text("name", "Its name."),
        text("description", "Free text."),
    )
