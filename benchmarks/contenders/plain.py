"""A tap as the SDK's template leads one to write it: nothing clever, nothing wrong.

It has the tables of the tap that are measured, with the same columns and records.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import requests
from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.pagination import OffsetPaginator
from singer_sdk.streams import GraphQLStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_sdk.helpers.types import Context

Record = dict[str, Any]

PAGE = 100
TIMEOUT = 60  # seconds

TEXT, NUMBER, INTEGER = th.StringType, th.NumberType, th.IntegerType
FLAG, MOMENT, OBJECT = th.BooleanType, th.DateTimeType, th.ObjectType()
OBJECTS, TEXTS = th.ArrayType(OBJECT), th.ArrayType(TEXT)


def columns(**kinds: Any) -> dict[str, Any]:
    """Return a schema."""
    return th.PropertiesList(*(th.Property(n, k) for n, k in kinds.items())).to_dict()


class Paginator(OffsetPaginator):
    """Reads on until a page is not full."""

    def __init__(self, rows: Callable[[], int]) -> None:
        super().__init__(0, PAGE)
        self._rows = rows

    def has_more(self, response: requests.Response) -> bool:
        """Return whether the page was full."""
        del response
        return self._rows() == PAGE


class LabelboxStream(GraphQLStream[int]):
    """A list that is read by skip and first."""

    rows = 0  # of the page before

    @property
    def url_base(self) -> str:
        """Return the address."""
        return str(self.config["api_url"])

    @property
    def authenticator(self) -> BearerTokenAuthenticator:
        """Send the key with each request."""
        return BearerTokenAuthenticator(token=self.config["api_key"])

    def get_new_paginator(self) -> Paginator:
        """Begin at the first row."""
        return Paginator(lambda: self.rows)

    def get_url_params(
        self, context: Context | None, next_page_token: int | None
    ) -> dict[str, Any]:
        """Return the variables."""
        return {**(context or {}), "skip": next_page_token or 0, "first": PAGE}

    def parse_response(self, response: requests.Response) -> Iterable[Record]:
        """Return the rows of a page."""
        self.rows = 0
        for self.rows, row in enumerate(super().parse_response(response), 1):
            yield row


class ProjectsStream(LabelboxStream):
    """All projects."""

    name = "projects"
    primary_keys = ("id",)
    schema = columns(
        id=TEXT,
        name=TEXT,
        description=TEXT,
        created_at=MOMENT,
        updated_at=MOMENT,
        setup_complete=MOMENT,
        last_activity_time=MOMENT,
        auto_audit_number_of_labels=INTEGER,
        auto_audit_percentage=NUMBER,
        allowed_media_type=TEXT,
        editor_task_type=TEXT,
        upload_type=TEXT,
        data_row_count=INTEGER,
        model_setup_complete=FLAG,
        is_benchmark_enabled=FLAG,
        is_consensus_enabled=FLAG,
        label_count=INTEGER,
        completed_data_row_count=INTEGER,
        created_by_id=TEXT,
        organization_id=TEXT,
        ontology_id=TEXT,
    )
    query = """query Projects($skip: Int!, $first: PageSize!) {
      projects(orderBy: createdAt_ASC, skip: $skip, first: $first) {
        id
        name
        description
        created_at: createdAt
        updated_at: updatedAt
        setup_complete: setupComplete
        last_activity_time: lastActivityTime
        auto_audit_number_of_labels: autoAuditNumberOfLabels
        auto_audit_percentage: autoAuditPercentage
        allowed_media_type: allowedMediaType
        editor_task_type: editorTaskType
        upload_type: uploadType
        data_row_count: dataRowCount
        model_setup_complete: modelSetupComplete
        is_benchmark_enabled: isBenchmarkEnabled
        is_consensus_enabled: isConsensusEnabled
        label_count: labelCount
        completed_data_row_count: completedDataRowCount
        created_by: createdBy { id }
        organization { id }
        ontology { id }
      }
    }"""

    def post_process(self, row: Record, context: Context | None = None) -> Record:
        """Flatten relations."""
        del context
        for relation in ("created_by", "organization", "ontology"):
            row[f"{relation}_id"] = (row.pop(relation, None) or {}).get("id")
        return row

    def get_child_context(self, record: Record, context: Context | None) -> Record:
        """Name the project."""
        del context
        return {"project_id": record["id"]}


class LabelsStream(LabelboxStream):
    """The labels of each project."""

    name = "labels"
    primary_keys = ("id",)
    replication_key = "created_at"
    parent_stream_type = ProjectsStream
    records_jsonpath = "$.data.project.labels[*]"
    schema = columns(
        id=TEXT,
        project_id=TEXT,
        label=TEXT,
        seconds_to_label=NUMBER,
        agreement=NUMBER,
        benchmark_agreement=NUMBER,
        is_benchmark_reference=FLAG,
        is_skipped=FLAG,
        created_at=MOMENT,
        updated_at=MOMENT,
        type_id=TEXT,
        type_name=TEXT,
        created_by_id=TEXT,
        created_by_email=TEXT,
        data_row_id=TEXT,
        external_id=TEXT,
        global_key=TEXT,
        row_data=TEXT,
    )
    query = """query Labels($project_id: ID!, $skip: Int!, $first: PageSize!) {
      project(where: {id: $project_id}) {
        labels(orderBy: createdAt_ASC, skip: $skip, first: $first) {
          id
          label
          seconds_to_label: secondsToLabel
          agreement
          benchmark_agreement: benchmarkAgreement
          is_benchmark_reference: isBenchmarkReference
          created_at: createdAt
          updated_at: updatedAt
          type { id name }
          created_by: createdBy { id email }
          data_row: dataRow {
            id external_id: externalId global_key: globalKey row_data: rowData
          }
        }
      }
    }"""

    def post_process(self, row: Record, context: Context | None = None) -> Record:
        """Flatten relations."""
        del context
        data_row = row.pop("data_row", None) or {}
        row["data_row_id"] = data_row.pop("id", None)
        row |= data_row
        for relation in ("type", "created_by"):
            for name, value in (row.pop(relation, None) or {}).items():
                row[f"{relation}_{name}"] = value
        row["is_skipped"] = row["type_name"] == "Skipped"
        return row


class ExportStream(Stream):
    """What is read from a file that Labelbox makes of a project."""

    parent_stream_type = ProjectsStream
    state_partitioning_keys = ()

    def ask(self, query: str, **variables: Any) -> Any:
        """Run a document that gives one thing, and give that."""
        reply = requests.post(
            self.config["api_url"],
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.config['api_key']}"},
            timeout=TIMEOUT,
        )
        reply.raise_for_status()
        (found,) = reply.json()["data"].values()
        return found


class DataRowExportsStream(ExportStream):
    """Every data row of every project."""

    name = "data_row_exports"
    primary_keys: tuple[str, ...] = ("project_id", "data_row_id")
    schema = columns(
        project_id=TEXT,
        data_row_id=TEXT,
        last_activity_at=MOMENT,
        external_id=TEXT,
        global_key=TEXT,
        row_data=TEXT,
        dataset_id=TEXT,
        dataset_name=TEXT,
        created_at=MOMENT,
        updated_at=MOMENT,
        created_by_email=TEXT,
        media_asset_type=TEXT,
        media_mime_type=TEXT,
        media_height=INTEGER,
        media_width=INTEGER,
        media_exif_rotation=TEXT,
        media_frame_rate=NUMBER,
        media_frame_count=INTEGER,
        media_page_count=INTEGER,
        media_message_count=INTEGER,
        media_content_length=INTEGER,
        media_attributes=OBJECT,
        project_name=TEXT,
        project_tags=OBJECTS,
        ontology_id=TEXT,
        task_queue_id=TEXT,
        task_queue_name=TEXT,
        batch_id=TEXT,
        batch_name=TEXT,
        workflow_status=TEXT,
        priority=INTEGER,
        consensus_expected_label_count=INTEGER,
        selected_label_id=TEXT,
        workflow_history=OBJECTS,
        labels=OBJECTS,
        attachments=OBJECTS,
        metadata_fields=OBJECTS,
        embeddings=OBJECTS,
    )

    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Export a project and read its lines."""
        project_id = (context or {})["project_id"]
        wanted = {
            "filters": {"projectId": project_id, "searchQuery": {"query": []}},
            "params": {
                "includeAttachments": True,
                "includeMetadata": True,
                "includeDataRowDetails": True,
                "includeProjectDetails": True,
                "includeLabelDetails": True,
                "includePerformanceDetails": True,
            },
            "streamable": True,
        }
        start = """mutation Start($input: ExportDataRowsInProjectInput!) {
          exportDataRowsInProject(input: $input) { taskId }
        }"""
        status = "query Status($id: ID!) { task(where: {id: $id}) { status } }"
        size = """query Size($id: ID!) { task(where: {id: $id}) {
          exportMetadataHeader(streamType: RESULT) { totalSize }
        } }"""
        part = """query Part($id: ID!, $offset: UInt64!) { task(where: {id: $id}) {
          exportFileFromOffset(streamType: RESULT, offset: $offset) {
            offsets { end } file
          }
        } }"""
        task_id = self.ask(start, input=wanted)["taskId"]
        while self.ask(status, id=task_id)["status"] != "COMPLETE":
            time.sleep(2)
        header = self.ask(size, id=task_id)["exportMetadataHeader"]
        offset = 0
        while offset < int(header["totalSize"]):
            found = self.ask(part, id=task_id, offset=str(offset))
            link = found["exportFileFromOffset"]["file"]
            with requests.get(link, stream=True, timeout=TIMEOUT) as response:
                for line in response.iter_lines(chunk_size=1024 * 1024):
                    yield from self.unfold(json.loads(line), project_id)
            offset = int(found["exportFileFromOffset"]["offsets"]["end"]) + 1

    def unfold(self, row: Record, project_id: str) -> Iterator[Record]:
        """Return the record of a data row."""
        data_row, project = row["data_row"], row["projects"][project_id]
        details = data_row.get("details", {})
        media = row.get("media_attributes", {})
        step = project.get("project_details", {})
        yield {
            "project_id": project_id,
            "data_row_id": data_row["id"],
            "external_id": data_row.get("external_id"),
            "global_key": data_row.get("global_key"),
            "row_data": data_row.get("row_data"),
            "created_by_email": details.pop("created_by", None),
            **details,
            **{f"media_{name}": value for name, value in media.items()},
            "media_exif_rotation": str(media.get("exif_rotation", "")) or None,
            "media_attributes": media,
            "project_name": project["name"],
            "project_tags": project.get("project_tags"),
            "task_queue_id": step.pop("task_id", None),
            "task_queue_name": step.pop("task_name", None),
            **step,
            "labels": project["labels"],
            "attachments": row.get("attachments"),
            "metadata_fields": row.get("metadata_fields"),
            "embeddings": row.get("embeddings"),
        }


class AnnotationsStream(DataRowExportsStream):
    """Every object and every answer, at any depth."""

    name = "annotations"
    primary_keys = ("project_id", "data_row_id", "label_id", "annotation_id")
    schema = columns(
        project_id=TEXT,
        data_row_id=TEXT,
        last_activity_at=MOMENT,
        label_id=TEXT,
        annotation_id=TEXT,
        parent_annotation_id=TEXT,
        path=TEXT,
        depth=INTEGER,
        feature_id=TEXT,
        feature_schema_id=TEXT,
        name=TEXT,
        value=TEXT,
        annotation_kind=TEXT,
        answer_feature_id=TEXT,
        answer_feature_schema_id=TEXT,
        answer_name=TEXT,
        answer_value=TEXT,
        answer_text=TEXT,
        box_top=NUMBER,
        box_left=NUMBER,
        box_height=NUMBER,
        box_width=NUMBER,
        point_x=NUMBER,
        point_y=NUMBER,
        mask_url=TEXT,
        z_order=INTEGER,
        geometry=OBJECT,
    )

    def unfold(self, row: Record, project_id: str) -> Iterator[Record]:
        """Return the records of all labels of a data row."""
        for label in row["projects"][project_id]["labels"]:
            top = {
                "project_id": project_id,
                "data_row_id": row["data_row"]["id"],
                "last_activity_at": row["data_row"]["details"]["last_activity_at"],
                "label_id": label["id"],
                "annotation_id": None,
                "path": None,
                "depth": -1,
            }
            ranks = {f: rank for rank, f in enumerate(label.get("z_order", ()), 1)}
            for item in label["annotations"].get("objects", ()):
                if "unidirectional_relationship" not in item:
                    for record in annotation(item, top):
                        yield record | {"z_order": ranks.get(record["feature_id"])}
            for item in label["annotations"].get("classifications", ()):
                yield from annotation(item, top)


FEATURE = ("feature_id", "feature_schema_id", "name", "value")
GEOMETRIES = ("bounding_box", "point", "polygon", "line", "mask", "composite_mask")
KINDS = {
    "radio_answer": "Radio",
    "checklist_answers": "Checklist",
    "text_answer": "Text",
}


def annotation(item: Record, parent: Record) -> Iterator[Record]:
    """Return the records of an annotation and of all that is nested in it."""
    record = {
        "project_id": parent["project_id"],
        "data_row_id": parent["data_row_id"],
        "last_activity_at": parent["last_activity_at"],
        "label_id": parent["label_id"],
        "annotation_id": joined("/", parent["annotation_id"], item["feature_id"]),
        "parent_annotation_id": parent["annotation_id"],
        "path": joined(" / ", parent["path"], item["name"]),
        "depth": parent["depth"] + 1,
        **{name: item.get(name) for name in FEATURE},
        "annotation_kind": item.get("annotation_kind"),
    }
    if geometry := {name: item[name] for name in GEOMETRIES if name in item}:
        record["geometry"] = geometry
        for side, length in item.get("bounding_box", {}).items():
            record[f"box_{side}"] = length
        for axis, place in item.get("point", {}).items():
            record[f"point_{axis}"] = place
        record["mask_url"] = item.get("mask", {}).get("url")
    nested = [(record, item.get("classifications", ()))]
    kind = next((kind for kind in KINDS if kind in item), None)
    if kind is None:
        yield record
    else:
        answers = item[kind] if kind == "checklist_answers" else [item[kind]]
        for answer in answers:
            answered = record | {
                "annotation_kind": KINDS[kind],
                **{f"answer_{name}": answer.get(name) for name in FEATURE},
                "answer_text": answer.get("content"),
            }
            if kind == "checklist_answers":
                answered["annotation_id"] += f"/{answer['feature_id']}"
            yield answered
            below = answered | {
                "path": joined(" / ", answered["path"], answer.get("name"))
            }
            nested.append((below, answer.get("classifications", ())))
    for above, items in nested:
        for inner in items:
            yield from annotation(inner, above)


def joined(separator: str, *parts: str | None) -> str:
    """Join what there is."""
    return separator.join(filter(None, parts))


RENAMED = {
    "created_by_email": "created_by",
    "is_skipped": "skipped",
    "metadata_fields": "data_row_metadata",
    "row_data": "labeled_data",
}


class BulkExportStream(ExportStream):
    """The labels of a project's bulk export."""

    name = "bulk_export"
    primary_keys = ("id",)
    schema = columns(
        id=TEXT,
        project_id=TEXT,
        exported_at=MOMENT,
        label=TEXT,
        row_data=TEXT,
        data_row_id=TEXT,
        external_id=TEXT,
        global_key=TEXT,
        dataset_name=TEXT,
        project_name=TEXT,
        created_by_email=TEXT,
        created_at=MOMENT,
        updated_at=MOMENT,
        seconds_to_label=NUMBER,
        seconds_to_create=NUMBER,
        seconds_to_review=NUMBER,
        agreement=NUMBER,
        benchmark_agreement=NUMBER,
        benchmark_id=TEXT,
        has_open_issues=FLAG,
        is_skipped=FLAG,
        reviews=OBJECTS,
        metadata_fields=OBJECTS,
        media_attributes=OBJECT,
        media_type=TEXT,
        data_split=TEXT,
        view_label=TEXT,
    )

    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Wait for the file and read it."""
        project_id = (context or {})["project_id"]
        query = """mutation Bulk($project_id: ID!) {
          exportLabels(data: {projectId: $project_id}) {
            downloadUrl createdAt shouldPoll
          }
        }"""
        while (made := self.ask(query, project_id=project_id))["shouldPoll"]:
            time.sleep(2)
        for row in requests.get(made["downloadUrl"], timeout=TIMEOUT).json():
            record = {
                name.replace("DataRow", "data_row").replace(" ", "_").lower(): value
                for name, value in row.items()
            }
            for column, name in RENAMED.items():
                record[column] = record.pop(name, None)
            record["has_open_issues"] = bool(record.get("has_open_issues"))
            yield record | {
                "project_id": project_id,
                "exported_at": made["createdAt"],
                "label": json.dumps(row["Label"], ensure_ascii=False),
            }


class TapPlain(Tap):
    """The tap."""

    name = "tap-plain"
    config_jsonschema = columns(api_url=TEXT, api_key=TEXT, project_ids=TEXTS)

    def discover_streams(self) -> list[Stream]:
        """Return all streams."""
        return [
            ProjectsStream(self),
            LabelsStream(self),
            DataRowExportsStream(self),
            AnnotationsStream(self),
            BulkExportStream(self),
        ]


if __name__ == "__main__":
    TapPlain.cli()
