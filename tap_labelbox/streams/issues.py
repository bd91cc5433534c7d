"""Issues that people raise about labels, their categories and replies."""

from __future__ import annotations

from tap_labelbox.records.columns import json_value, key, table, text, timestamp
from tap_labelbox.streams.base import LabelboxStream


class IssuesStream(LabelboxStream):
    """Every issue of every project; Labelbox lists none that has no label.

    Good for what is unclear to labelers, and for how long it stays so.
    """

    name = "issues"
    path = "/_gql"
    schema = table(
        key("id", "Issue ID."),
        text("project_id", "ID of the project."),
        text("friendly_id", "Number that people see."),
        text("label_id", "ID of the label."),
        text("data_row_id", "ID of the data row; null in old issues."),
        text("category_id", "ID of the issue category."),
        text("content", "What it says. Personal data, maybe."),
        json_value("position", "Where it is pinned: a shape that suits the media."),
        text("status", "Its status: Open or Resolved."),
        text("created_by_id", "ID of the user who raised it."),
        text("resolved_by_id", "ID of the user who resolved it."),
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
        text("issue_id", "ID of the issue."),
        text("project_id", "ID of the project."),
        text("content", "What it says. Personal data, maybe."),
        text("created_by_id", "ID of the user who wrote it."),
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
        text("project_id", "ID of the project."),
        text("name", "Its name."),
        text("description", "Free text."),
    )
