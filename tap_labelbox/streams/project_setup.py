"""Members of a project, its models, and labels that were uploaded to it."""

from __future__ import annotations

from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    EMAIL,
    email,
    identifier,
    key,
    table,
    text,
    word,
)
from tap_labelbox.records.json_columns import json_or_text


class ProjectMembersStream(LabelboxStream):
    """Everybody who may work in a project, by project.

    Good for who can do what, and for IDs of people in other tables.
    """

    name = "project_members"
    primary_keys = ("project_id", "id")
    schema = table(
        key("project_id", "ID of the project."),
        key("id", "Membership ID, which may be the same in several projects."),
        identifier("user_id", "ID of the user."),
        email("user_email", "E-mail address of the user.", personal=EMAIL),
        identifier("role_id", "ID of the role: in the project."),
        text("role_name", "Name of the role."),
        word(
            "access_from",
            "Where the permission comes from, such as ORGANIZATION: the role there.",
        ),
    )


class ProjectModelConfigsStream(LabelboxStream):
    """Every model that was set up in a project, and how.

    Good for which models a project compares.
    """

    name = "project_model_configs"
    selected_by_default = False
    schema = table(
        key("id", "ID of the pair of project and configuration."),
        identifier("project_id", "ID of the project."),
        identifier(
            "model_config_id", "ID of the configuration, which projects may share."
        ),
        identifier("model_id", "ID of the model.", "model_config.model_id"),
        json_or_text(
            "inference_params", "Its settings.", "model_config.inference_params"
        ),
    )


class LabelImportsStream(LabelboxStream):
    """Every upload of labels to a project; Labelbox does not say when they were.

    Good for uploads that failed.
    """

    name = "label_imports"
    selected_by_default = False
    schema = table(
        key("id", "Import ID."),
        identifier("project_id", "ID of the project."),
        text("name", "Its name, unique in the project."),
        word("state", "State of the upload: RUNNING, FAILED or FINISHED."),
        word("progress", "How far the upload is, such as 87%."),
        identifier("created_by_id", "ID of the user who uploaded it."),
    )


class MalPredictionImportsStream(LabelboxStream):
    """Every upload of pre-labels, which a model made, to a project.

    Good for uploads that failed.
    """

    name = "mal_prediction_imports"
    selected_by_default = False
    schema = LabelImportsStream.schema
