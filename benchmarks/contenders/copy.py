"""A lower bound for every reader: the bytes as they come, wrapped in Singer's envelope.

Records are neither decoded nor checked. Only replies that hold none are decoded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contenders.api import LABELS, PAGE_ROWS, SIZE, SLICE, START, Api

if TYPE_CHECKING:
    from collections.abc import Iterator

BULK = """mutation Bulk($project_id: ID!) {
  exportLabels(data: {projectId: $project_id}) { downloadUrl }
}"""


def labels(api: Api, project_id: str) -> Iterator[list[bytes]]:
    """Return the labels of a project, a page at a time."""
    page: list[bytes] = []
    skip = 0
    while not skip or len(page) == PAGE_ROWS:
        reply = api.post(LABELS, project_id=project_id, skip=skip, first=PAGE_ROWS)
        page = _items(reply[reply.index(b"[") + 1 : reply.rindex(b"]")], b'{"id":')
        yield page
        skip += PAGE_ROWS


def data_row_exports(api: Api, project_id: str) -> Iterator[list[bytes]]:
    """Return the lines of a data row export."""
    filters = {"projectId": project_id, "searchQuery": {"query": []}}
    task_id = api.export(START, {"filters": filters, "params": {}})
    size = int(api.ask(SIZE, id=task_id)["exportMetadataHeader"]["totalSize"])
    offset, rest = 0, b""
    while offset < size:
        asked = api.ask(SLICE, id=task_id, offset=str(offset))
        part = asked["exportFileFromOffset"]
        for chunk in api.get(part["file"]):
            *lines, rest = (rest + chunk).split(b"\n")
            yield lines
        offset = int(part["offsets"]["end"]) + 1


def bulk_export(api: Api, project_id: str) -> Iterator[list[bytes]]:
    """Return the items of a bulk export."""
    link = api.ask(BULK, project_id=project_id)["downloadUrl"]
    rest = b""
    for number, chunk in enumerate(api.get(link)):
        begun = rest + (chunk if number else chunk[1:])  # without the bracket
        *items, rest = _items(begun, b'{"ID":')
        yield items
    yield [rest[:-1]]


def _items(text: bytes, begin: bytes) -> list[bytes]:
    """Split the items of a JSON array, each of which begins with the same key."""
    # There is no line feed in JSON that is written without blanks.
    return text.replace(b"}," + begin, b"}\n" + begin).split(b"\n") if text else []


def main(stream: str, config: str) -> None:
    """Write every record of every project."""
    settings = json.loads(Path(config).read_text("utf-8"))
    api = Api(settings)
    read = {f.__name__: f for f in (labels, data_row_exports, bulk_export)}[stream]
    begin = f'{{"type":"RECORD","stream":"{stream}","record":'.encode()
    for project_id in settings["project_ids"]:
        for records in read(api, project_id):
            lines = [begin + record + b"}\n" for record in records]
            sys.stdout.buffer.write(b"".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
