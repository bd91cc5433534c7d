"""A row of a data row export: one data row, with its labels inside.

Parts that were not asked for are left out; they are never null.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_labelbox.sandbox import content, notation
from tap_labelbox.sandbox.schema import snake

if TYPE_CHECKING:
    from datetime import datetime

    from tap_labelbox.sandbox.world import DataRow, Label, Project

Row = dict[str, Any]

SECOND = timedelta(seconds=1)


def row(data_row: DataRow, params: Row, now: datetime, experiments: Row | None) -> Row:
    """Write a data row.

    Args:
        data_row: Which.
        params: `ExportParams`, in Python's spelling.
        now: Labels that are listed later are not there yet.
        experiments: What stands in place of projects when a model run is exported.
    """
    written: Row = {"data_row": _data_row(data_row, params, now)}
    written["media_attributes"] = _media_attributes(data_row, now)
    if params.get("include_attachments"):
        names = ("type", "name", "value")
        written["attachments"] = [
            {name: attachment[name] for name in names}
            for attachment in data_row.attachments
        ]
    if params.get("include_metadata"):
        written["metadata_fields"] = [_metadata(f) for f in data_row.metadata_fields]
    if params.get("include_embeddings"):
        vector = [round(data_row.number / n, 6) for n in (1, 3, 7, 9)]
        written["embeddings"] = [
            {"id": data_row.id, "name": "CLIP ViT-B/32", "dimensions": len(vector)}
            | {"is_custom": False, "values": [{"value": vector}]}
        ]
    if experiments is not None:
        return written | {"experiments": experiments}
    requested_ids: Any = params.get("project_ids")
    every = requested_ids is None or params.get("all_projects")
    written["projects"] = {
        project.id: _project(data_row, project, params, now)
        for project in data_row.projects
        if every or project.id in requested_ids
    }
    return written


def _data_row(data_row: DataRow, params: Row, now: datetime) -> Row:
    address = content.signed(data_row.row_data, now + timedelta(days=1))
    written: Row = {
        "id": data_row.id,
        "external_id": data_row.external_id,
        "global_key": data_row.global_key,
        "row_data": address,
    }
    if params.get("include_data_row_details"):
        written["details"] = {
            "dataset_id": data_row.dataset.id,
            "dataset_name": data_row.dataset.name,
            "created_at": format_timestamp(data_row.created_at),
            "updated_at": format_timestamp(data_row.updated_at),
            "last_activity_at": format_timestamp(data_row.last_activity_at),
            "created_by": data_row.created_by.email,
        }
    return {name: value for name, value in written.items() if value is not None}


def _media_attributes(data_row: DataRow, now: datetime) -> Row:
    attributes = data_row.media_attributes
    if data_row.project.media == "PDF":  # whose pages only the GraphQL API counts
        layer = f"{content.UPLOADS}{data_row.organization['id']}%2F{data_row.id}.json"
        layer = content.signed(layer, now + timedelta(days=1))
        attributes = {k: v for k, v in attributes.items() if k != "pageCount"}
        attributes["textLayerUrl"] = layer
    return {snake(name): value for name, value in attributes.items()}


def _metadata(field: Row) -> Row:
    value: Any = field["value"]
    if field["kind"] == "CustomMetadataEnum":
        options = content.METADATA_ONTOLOGY[0]["options"]
        value = [
            {"schema_id": option["id"], "schema_name": option["name"]}
            for option in options
            if option["id"] == value
        ]
    return {
        "schema_id": field["schemaId"],
        "schema_name": field["name"],
        "schema_kind": field["kind"],
        "value": value,
    }


def _project(data_row: DataRow, project: Project, params: Row, now: datetime) -> Row:
    labels = [x for x in data_row.labels if x.project is project and x.listed_at <= now]
    written: Row = {
        "name": project.name,
        "labels": [_label(label, params) for label in labels],
        "project_tags": [_tag(tag, project) for tag in project.resource_tags],
    }
    if params.get("include_project_details"):
        written["project_details"] = _project_details(data_row, project, labels)
    return written


def _tag(tag: Row, project: Project) -> Row:
    return {
        "id": tag["id"],
        "organization_id": project.organization["id"],
        "text": tag["text"],
        "color": tag["color"].removeprefix("#").upper(),
        "created_at": format_timestamp(project.organization["createdAt"]),
        "updated_at": format_timestamp(project.organization["updatedAt"]),
        "created_by_id": project.created_by.id,
        "type": "Default",
    }


def _project_details(data_row: DataRow, project: Project, labels: list[Label]) -> Row:
    queue = next(q for q in project.task_queues if q["status"] == data_row.status)
    written = {
        "ontology_id": project.ontology["id"],
        "task_id": queue["id"],
        "task_name": queue["name"],
        "batch_id": data_row.batch["id"],
        "batch_name": data_row.batch["name"],
        "workflow_status": data_row.status,
        "priority": 5,
        "consensus_expected_label_count": project.auto_audit_number_of_labels,
        "workflow_history": _history(data_row, project, labels),
    }
    if len(labels) > 1:
        written["selected_label_id"] = labels[-1].id
    return written


def _history(data_row: DataRow, project: Project, labels: list[Label]) -> list[Row]:
    """Return the steps a data row took, the latest first."""
    labeling, review, rework, _ = project.task_queues
    steps: list[tuple[str, datetime, str, Row | None, Row | None]] = [
        ("Move", data_row.created_at, data_row.created_by.email, None, labeling)
    ]
    if labels:
        done, labeler = labels[-1].created_at, labels[-1].created_by.email
        reviewer = project.members[2]["user"].email
        steps.append(("Move", done, labeler, labeling, review))
        if data_row.status == "IN_REWORK":
            steps.append(("Reject", done + SECOND, reviewer, review, rework))
        if data_row.status == "DONE":
            steps.append(("Approve", done + SECOND, reviewer, review, None))
    history = []
    for action, created_at, created_by, before, after in reversed(steps):
        step = {"action": action, "created_at": format_timestamp(created_at)}
        step["created_by"] = created_by
        for name, queue in (("previous", before), ("next", after)):
            if queue:
                step[f"{name}_task_name"] = queue["name"]
                step[f"{name}_task_id"] = queue["id"]
        history.append(step)
    return history


def _label(label: Label, params: Row) -> Row:
    media = label.project.media
    written: Row = {
        "label_kind": "Video" if media == "VIDEO" else "Default",
        "version": "1.0.0",
        "id": label.id,
    }
    if params.get("include_label_details"):
        written["label_details"] = {
            "created_at": format_timestamp(label.created_at),
            "updated_at": format_timestamp(label.updated_at),
            "created_by": label.created_by.email,
            "content_last_updated_at": format_timestamp(label.updated_at),
            "reviews": [
                {
                    "reviewed_at": format_timestamp(review["createdAt"]),
                    "reviewed_by": review["createdBy"].email,
                    "score": int(review["score"]),
                }
                for review in label.reviews
            ],
        }
    if params.get("include_performance_details"):
        seconds = _seconds(label)
        details: Row = {"skipped": label.is_skipped}
        if label.agreement not in (None, -1.0):
            details["consensus_score"] = label.agreement
        if label.is_benchmark_reference:
            details["benchmark_reference_label"] = label.id
        # The older block has the total for the time it took to create.
        written["performance_details"] = {
            "seconds_to_create": seconds["seconds_total"],
            "seconds_to_review": seconds["seconds_to_review"],
        } | details
        written["performance_details_v2"] = seconds | details
    interpolated = bool(params.get("include_interpolated_frames"))
    written["annotations"] = notation.new(label, interpolated=interpolated)
    if z_order := notation.z_order(label):
        written["z_order"] = z_order
    return written


def _seconds(label: Label) -> Row:
    seconds = {
        "seconds_to_label": int(label.seconds_to_label),
        "seconds_to_review": 12 * len(label.reviews),
        "seconds_to_rework": 30 if label.data_row.status == "IN_REWORK" else 0,
    }
    return seconds | {"seconds_total": sum(seconds.values())}


def format_timestamp(value: datetime) -> str:
    """Return a timestamp as the rows have it, which is not how the API writes it."""
    return value.isoformat(timespec="milliseconds")
