"""A plain script that asks only what it must: one export for all, a page a project.

It knows of no failures, no state and no time zones, and holds what it has read.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders.api import LABELS, PAGE_ROWS, Api

if TYPE_CHECKING:
    from collections.abc import Iterator

START = """mutation Start($input: ExportDataRowsInCatalogInput!) {
  exportDataRowsInCatalog(input: $input) { taskId }
}"""
PART = """query Part($id: ID!, $offset: UInt64!) {
  task(where: {id: $id}) {
    exportMetadataHeader(streamType: RESULT) { totalSize }
    exportFileFromOffset(streamType: RESULT, offset: $offset) { offsets { end } file }
  }
}"""
PARAMS = {
    "allProjects": True,
    "includeAttachments": True,
    "includeMetadata": True,
    "includeDataRowDetails": True,
    "includeProjectDetails": True,
    "includeLabelDetails": True,
    "includePerformanceDetails": True,
}


def labels(api: Api, project_id: str) -> Iterator[dict[str, Any]]:
    """Read the labels of a project; a page that is not full is the last one."""
    for skip in count(0, PAGE_ROWS):
        asked = {"project_id": project_id, "skip": skip, "first": PAGE_ROWS}
        page = api.ask(LABELS, **asked)["labels"]
        yield from page
        if len(page) < PAGE_ROWS:
            return


def data_rows(api: Api) -> Iterator[dict[str, Any]]:
    """Export all data rows, and return each once for each of its projects."""
    filters: dict[str, Any] = {"searchQuery": {"scope": None, "query": []}}
    task_id = api.export(START, {"filters": filters, "params": PARAMS})
    whole, size = b"", 1
    while len(whole) < size:
        task = api.ask(PART, id=task_id, offset=str(len(whole)))
        size = int(task["exportMetadataHeader"]["totalSize"])
        whole += b"".join(api.get(task["exportFileFromOffset"]["file"]))
    for line in whole.split(b"\n")[:-1]:
        row = json.loads(line)
        for project_id in row["projects"]:
            yield row | {"project_id": project_id}


def main(config: str) -> None:
    """Write every record of every project."""
    settings = json.loads(Path(config).read_text("utf-8"))
    api = Api(settings)
    for row in data_rows(api):
        sys.stdout.write(json.dumps(row) + "\n")
    for project_id in settings["project_ids"]:
        for label in labels(api, project_id):
            sys.stdout.write(json.dumps(label) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
