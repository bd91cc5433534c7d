"""The catalog: what no project has, what slices find, and what only REST says."""

from __future__ import annotations

import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tap_labelbox.sandbox.replies import Reply

if TYPE_CHECKING:
    from tap_labelbox.sandbox.world import DataRow, World

Row = dict[str, Any]

ONTOLOGIES = "/api/v1/ontologies/"
EMBEDDINGS, COUNT = "/adv/adv/v1/embeddings/", "/vectors/_count"
PATHS = (ONTOLOGIES, EMBEDDINGS)
"""What begins so is answered here."""

FRONTENDS: list[Row] = [
    {"id": "cfrontend000000000editor0", "name": "Editor", "description": None}
    | {"iframeUrlPath": "https://editor.example.com/"}
]


def fill(world: World) -> None:
    """Add to a workspace what belongs to no project."""
    began = world.organization["createdAt"]
    later = began + timedelta(days=1)
    world.slices += [
        {"id": world.uuid(), "name": name, "description": text, "filter": condition}
        | {"createdAt": began, "updatedAt": later}
        for name, text, condition in (
            ("Labeled lately", "Noch einmal – für Zoë", {"query": [], "scope": None}),
            ("Nothing 🕳", "", [{"type": "never", "ids": []}]),
        )
    ]
    world.embeddings.append(
        {"id": world.uuid(), "name": "Unsere Vektoren 🧭", "dims": 8, "custom": True}
    )
    world.metadata_ontology = [
        *world.metadata_ontology,
        *(
            {"id": world.cuid(began), "name": name, "kind": f"CustomMetadata{kind}"}
            | {"reserved": False, "options": options}
            for name, kind, options in (
                ("größe", "Number", []),
                ("weather", "Enum", None),
                ("vector", "Embedding", None),
            )
        ),
    ]
    world.ontologies.append(
        {"id": world.cuid(began), "name": "Spare parts 🧩", "description": "Unused"}
        | {"mediaType": None, "createdBy": world.users[0]}
        | {"createdAt": began, "updatedAt": later}
        | {"normalized": _spare_parts(world)}
    )


def _spare_parts(world: World) -> Row:
    """Return an ontology that has what the others have not."""
    began = world.organization["createdAt"]

    def node(**members: Any) -> Row:
        ids = {"schemaNodeId": world.cuid(began), "featureSchemaId": world.cuid(began)}
        return ids | members

    size = node(type="radio", name="size", instructions="Größe?", required=True)
    size |= {"attributes": None, "scope": "index", "uiMode": "hotkey"}
    size["options"] = [
        node(label=number, value=number, position=number, options=[])
        for number in range(3)
    ]
    thoughts = node(tool="step-reasoning", name="Thoughts", required=False)
    thoughts |= {"color": "blue", "attributes": []}
    thoughts["definition"] = {"variants": [{"id": 0, "name": "Right", "actions": []}]}
    tools = [
        node(tool="polygon", name=name, color="#00ff00", required=False)
        # The same question under both of them.
        | {"attributes": [{"attributeName": "ocr", "attributeValue": "true"}]}
        | {"classifications": [size]}
        for name in ("Wheel", "Tür")
    ]
    edge = node(tool="edge", name="belongs to", color="#ff0000", required=False)
    edge["definition"] = {
        "constraints": [[tool["featureSchemaId"] for tool in tools]],
    }
    scale = node(type="radio", name="scale", instructions="How well?", required=False)
    scale |= {"isLikertScale": True, "scope": "global", "attributes": None}
    scale["options"] = [node(label="5", value=5, position="4")]
    answer = node(type="response-text", name="why", instructions="Why?", options=[])
    answer |= {"required": True, "minCharacters": 3, "maxCharacters": 400}
    return {
        "tools": [thoughts, *tools],
        "classifications": [scale, answer],
        "relationships": [edge],
        "shelves": [node(name="Top shelf")],
    }


def rows_of_slice(world: World, slice_id: str) -> list[DataRow]:
    """Return the data rows that a slice finds: every second, third …, or none."""
    number = [row["id"] for row in world.slices].index(slice_id)
    step = number + 2
    is_empty = number and number == len(world.slices) - 1
    return [] if is_empty else [r for r in world.data_rows if r.number % step == 0]


def get(world: World, path: str) -> Reply:
    """Answer a GET that came with the key."""
    if path.startswith(ONTOLOGIES):
        ontology = _by_id(world.ontologies, path.removeprefix(ONTOLOGIES))
        return Reply(200, {}, _archived(ontology)) if ontology else _missing()
    embedding_id = path.removeprefix(EMBEDDINGS).removesuffix(COUNT)
    row = _by_id(world.embeddings, embedding_id) if path.endswith(COUNT) else None
    if not row or not row["custom"]:
        return _missing()
    return Reply(200, {}, {"count": 1000 + zlib.crc32(row["id"].encode()) % 999})


def _archived(ontology: Row) -> Row:
    """Return which features at the root of an ontology are archived: some are."""
    normalized = ontology["normalized"] or {}
    nodes = {
        kind: [
            {
                "featureSchemaId": node.get("featureSchemaId"),
                "archived": zlib.crc32(str(node.get("featureSchemaId")).encode()) % 3
                == 0,
            }
            for node in normalized.get(kind, ())
        ]
        for kind in ("tools", "classifications", "relationships")
    }
    return {"id": ontology["id"], "featureSchemaNodes": nodes}


def _by_id(rows: list[Row], given_id: str) -> Row | None:
    return next((row for row in rows if row["id"] == unquote(given_id)), None)


def _missing() -> Reply:
    return Reply(404, {}, {"statusCode": 404, "message": "Not found"})
