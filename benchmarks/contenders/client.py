"""The official client's own loops; a line of JSON for each record."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from collections.abc import Iterator

SINCE = "2024-01-01"  # long after all that the server begins with
PARAMS = {
    "attachments": True,
    "metadata_fields": True,
    "data_row_details": True,
    "project_details": True,
    "label_details": True,
    "performance_details": True,
}


def labels(project: Any) -> Iterator[dict[str, Any]]:
    """Read the labels of a project page by page."""
    for label in project.labels():
        yield {field.name: getattr(label, field.name) for field in label.fields()}


def exported(project: Any) -> Iterator[dict[str, Any]]:
    """Export the data rows of a project."""
    task = project.export(params=PARAMS)
    task.wait_till_done()
    for row in task.get_buffered_stream():
        yield row.json


def night(project: Any) -> Iterator[dict[str, Any]]:
    """Read the labels of a project, and export what has happened in it lately."""
    yield from labels(project)
    task = project.export(filters={"last_activity_at": [SINCE, None]}, params=PARAMS)
    task.wait_till_done()
    if task.has_result():
        for row in task.get_buffered_stream():
            yield row.json


def main(case: str, config: str) -> None:
    """Write every record of every project."""
    settings = json.loads(Path(config).read_text("utf-8"))
    client = labelbox.Client(api_key=settings["api_key"], endpoint=settings["api_url"])
    read = {"labels": labels, "data_row_exports": exported, "night": night}[case]
    for project_id in settings["project_ids"]:
        for record in read(client.get_project(project_id)):
            sys.stdout.write(json.dumps(record, default=str) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
