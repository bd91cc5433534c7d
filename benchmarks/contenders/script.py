"""The script that Labelbox's data export page prints; a line of JSON for each label.

It is a loop here; there it calls itself, and so ends at 1,000 pages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from graphqlclient import GraphQLClient  # type: ignore[import-untyped]  # no types

PAGE_ROWS = 100
QUERY = """
    query APIGetPageOfLabels($projectId: ID!, $skip: Int!, $first: PageSize!) {
      project(where:{id: $projectId}) {
        labels(skip: $skip, first: $first){
          id
          label
          createdBy{
            id
            email
          }
          type {
            id
            name
          }
          secondsToLabel
          agreement
          dataRow {
            id
            rowData
          }
        }
      }
    }
"""


def page_of_labels(client: Any, project_id: str, skip: int) -> list[dict[str, Any]]:
    """Ask for a page."""
    asked = {"projectId": project_id, "skip": skip, "first": PAGE_ROWS}
    data = json.loads(client.execute(QUERY, asked))["data"]
    return data["project"]["labels"] or []


def main(config: str) -> None:
    """Read all labels of the projects, then write them."""
    settings = json.loads(Path(config).read_text("utf-8"))
    client = GraphQLClient(settings["api_url"])
    client.inject_token(f"Bearer {settings['api_key']}")
    all_labels: list[dict[str, Any]] = []
    for project_id in settings["project_ids"]:
        new_labels = page_of_labels(client, project_id, 0)
        skip = PAGE_ROWS
        all_labels = all_labels + new_labels
        while len(new_labels) == PAGE_ROWS:
            new_labels = page_of_labels(client, project_id, skip)
            skip += PAGE_ROWS
            all_labels = all_labels + new_labels
    for label in all_labels:
        sys.stdout.write(json.dumps(label) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
