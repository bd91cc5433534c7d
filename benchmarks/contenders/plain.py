"""A tap as the SDK's template leads one to write it: nothing clever, nothing wrong.

It has the tables that are compared, with the same columns and records as the tap.
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

from benchmarks.contenders.api import PAGE_ROWS, SIZE, SLICE, START, STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from singer_sdk.helpers.types import Context

Record = dict[str, Any]

TIMEOUT_SECONDS = 60

KINDS: dict[str, Any] = {
    "boolean": th.BooleanType,
    "integer": th.IntegerType,
    "number": th.NumberType,
    "object": th.ObjectType(),
    "objects": th.ArrayType(th.ObjectType()),
    "text": th.StringType,
    "texts": th.ArrayType(th.StringType),
    "timestamp": th.DateTimeType,
}


def columns(**names: str) -> dict[str, Any]:
    """Return a schema of the names of columns, by their kinds."""
    return th.PropertiesList(
        *(th.Property(n, KINDS[kind]) for kind in names for n in names[kind].split())
    ).to_dict()


class Paginator(OffsetPaginator):
    """Reads on until a page is not full."""

    def __init__(self, rows: Callable[[], int]) -> None:
        super().__init__(0, PAGE_ROWS)
        self._rows = rows

    def has_more(self, response: requests.Response) -> bool:
        """Return whether the page was full."""
        del response
        return self._rows() == PAGE_ROWS


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
        return {**(context or {}), "skip": next_page_token or 0, "first": PAGE_ROWS}

    def parse_response(self, response: requests.Response) -> Iterable[Record]:
        """Return the rows of a page."""
        self.rows = 0
        for self.rows, row in enumerate(super().parse_response(response), 1):
            yield row


class ProjectsStream(LabelboxStream):
    """All projects."""

    name = "projects"
    primary_keys = ("id",)
    schema = columns(text="id")
    query = """query Projects($skip: Int!, $first: PageSize!) {
      projects(orderBy: createdAt_ASC, skip: $skip, first: $first) { id }
    }"""

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
        text="id project_id label type_id type_name created_by_id created_by_email "
        "data_row_id external_id global_key row_data",
        number="seconds_to_label agreement benchmark_agreement",
        boolean="is_benchmark_reference is_skipped",
        timestamp="created_at updated_at",
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


class DataRowExportsStream(Stream):
    """Every data row of every project."""

    name = "data_row_exports"
    primary_keys = ("project_id", "data_row_id")
    parent_stream_type = ProjectsStream
    state_partitioning_keys = ()
    schema = columns(
        text="project_id data_row_id external_id global_key row_data dataset_id "
        "dataset_name created_by_email media_asset_type media_mime_type "
        "media_exif_rotation project_name ontology_id task_queue_id task_queue_name "
        "batch_id batch_name workflow_status selected_label_id",
        timestamp="last_activity_at created_at updated_at",
        integer="media_height media_width media_frame_count media_page_count "
        "media_message_count media_content_length priority "
        "consensus_expected_label_count",
        number="media_frame_rate",
        object="media_attributes",
        objects="project_tags workflow_history labels attachments metadata_fields "
        "embeddings",
    )

    def ask(self, query: str, **variables: Any) -> Any:
        """Run a document with one field, and return that."""
        reply = requests.post(
            self.config["api_url"],
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.config['api_key']}"},
            timeout=TIMEOUT_SECONDS,
        )
        reply.raise_for_status()
        (value,) = reply.json()["data"].values()
        return value

    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Export a project and read its lines."""
        project_id = (context or {})["project_id"]
        request = {
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
        task_id = self.ask(START, input=request)["taskId"]
        while self.ask(STATUS, id=task_id)["status"] != "COMPLETE":
            time.sleep(2)
        header = self.ask(SIZE, id=task_id)["exportMetadataHeader"]
        offset = 0
        while offset < int(header["totalSize"]):
            reply = self.ask(SLICE, id=task_id, offset=str(offset))
            link = reply["exportFileFromOffset"]["file"]
            with requests.get(link, stream=True, timeout=TIMEOUT_SECONDS) as response:
                for line in response.iter_lines(chunk_size=1024 * 1024):
                    yield self.unfold(json.loads(line), project_id)
            offset = int(reply["exportFileFromOffset"]["offsets"]["end"]) + 1

    def unfold(self, row: Record, project_id: str) -> Record:
        """Return the record of a data row."""
        data_row, project = row["data_row"], row["projects"][project_id]
        details = data_row.get("details", {})
        media = row.get("media_attributes", {})
        step = project.get("project_details", {})
        return {
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


class TapPlain(Tap):
    """The tap."""

    name = "tap-plain"
    config_jsonschema = columns(text="api_url api_key", texts="project_ids")

    def discover_streams(self) -> list[Stream]:
        """Return all streams."""
        return [ProjectsStream(self), LabelsStream(self), DataRowExportsStream(self)]


if __name__ == "__main__":
    TapPlain.cli()
