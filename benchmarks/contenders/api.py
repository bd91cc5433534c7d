"""The API as the plain contenders ask it: no retries, no checks."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_ROWS = 100
CHUNK_BYTES = 1024 * 1024
LABELS = """query Labels($project_id: ID!, $skip: Int!, $first: PageSize!) {
  project(where: {id: $project_id}) {
    labels(orderBy: createdAt_ASC, skip: $skip, first: $first) {
      id label secondsToLabel agreement benchmarkAgreement isBenchmarkReference
      createdAt updatedAt type { id name } createdBy { id email }
      dataRow { id externalId globalKey rowData }
    }
  }
}"""
START = """mutation Start($input: ExportDataRowsInProjectInput!) {
  exportDataRowsInProject(input: $input) { taskId }
}"""
STATUS = "query Status($id: ID!) { task(where: {id: $id}) { status } }"
SIZE = """query Size($id: ID!) {
  task(where: {id: $id}) { exportMetadataHeader(streamType: RESULT) { totalSize } }
}"""
SLICE = """query Slice($id: ID!, $offset: UInt64!) {
  task(where: {id: $id}) {
    exportFileFromOffset(streamType: RESULT, offset: $offset) { offsets { end } file }
  }
}"""


class Api:
    """One connection, kept open."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Note the address and the key."""
        address = urlsplit(settings["api_url"])
        self._connection = HTTPConnection(address.hostname or "", address.port)
        self._headers = {"Authorization": f"Bearer {settings['api_key']}"}

    def post(self, query: str, **variables: Any) -> bytes:
        """Run a document, and return the reply as it is."""
        body = json.dumps({"query": query, "variables": variables})
        self._connection.request("POST", "/graphql", body, self._headers)
        return self._connection.getresponse().read()

    def ask(self, query: str, **variables: Any) -> Any:
        """Run a document with one field, and return that."""
        (value,) = json.loads(self.post(query, **variables))["data"].values()
        return value

    def export(self, start: str, request: dict[str, Any]) -> str:
        """Have data rows exported, and return the ID of the task when it is done."""
        task_id: str = self.ask(start, input=request | {"streamable": True})["taskId"]
        while self.ask(STATUS, id=task_id)["status"] != "COMPLETE":
            pass
        return task_id

    def get(self, link: str) -> Iterator[bytes]:
        """Read a file."""
        self._connection.request("GET", link[link.index("/", len("https://")) :])
        response = self._connection.getresponse()
        while chunk := response.read(CHUNK_BYTES):
            yield chunk
