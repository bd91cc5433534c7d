"""The content of data rows and labels, made up from their ids.

Nothing here depends on how an export writes it down; that is in `notation`.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tap_labelbox.sandbox.world import DataRow, Label

Row = dict[str, Any]

UPLOADS = "https://storage.labelbox.com/"
SENTENCES = (
    "The parcel came a day early and the box was whole.",
    "Näher betrachtet ist das Blau eher ein Grün.",
    "Tres estrellas: funciona, pero hace ruido 🙉.",
    "First line\u2028second line, as some editors write it.",
    "配送が早くて助かりました。",
    'He said: "Never again" \\ and left.',
)
REMARKS = (
    "half hidden",
    "très flou",
    "🌧 rain on the lens",
    "zu dunkel\nund verwackelt",
)

# Kind and name of each tool, by media type.
TOOLS = {
    "IMAGE": (
        ("rectangle", "Vehicle"),
        ("polygon", "Road surface"),
        ("line", "Lane marking"),
        ("point", "Traffic light"),
        ("raster-segmentation", "Sky"),
    ),
    "TEXT": (("named-entity", "Product"), ("named-entity", "Person")),
    "VIDEO": (("rectangle", "Jellyfish"), ("raster-segmentation", "Tentacle")),
    "PDF": (("rectangle", "Stamp"), ("named-entity", "Amount")),
    "CONVERSATIONAL": (("named-entity", "Complaint"),),
    "LLM": (
        ("message-single-selection", "Best answer"),
        ("message-multi-selection", "Harmless answers"),
        ("message-ranking", "Order"),
    ),
    "AUDIO": (),
    "DICOM": (("line", "Diameter"),),
    "TMS_GEO": (("polygon", "Field"), ("point", "Well")),
}
RADIO = ("radio", "Quality", ("Good", "Doubtful"))
CHECKLIST = ("checklist", "Seen at", ("Day", "Night", "Dämmerung"))
TEXT = ("text", "Remark", ())

METADATA_ONTOLOGY: list[Row] = [
    {"id": "cmeta00000000000000split1", "name": "split", "kind": "CustomMetadataEnum"}
    | {
        "reserved": True,
        "options": [
            {"id": f"cmeta0000000000000split{n}0", "name": name, "reserved": True}
            | {"kind": "CustomMetadataEnumOption", "options": None}
            for n, name in enumerate(("train", "valid", "test"))
        ],
    },
    {"id": "cmeta000000000000captured", "name": "capturedAt"}
    | {"kind": "CustomMetadataDateTime", "reserved": False, "options": None},
    {"id": "cmeta00000000000000camera", "name": "camera 📷"}
    | {"kind": "CustomMetadataString", "reserved": False, "options": None},
]


@dataclass
class Choice:
    """An option of a question that was ticked, and what that led to ask."""

    feature_id: str
    schema_id: str
    name: str
    answers: list[Answer] = field(default_factory=list)


@dataclass
class Answer:
    """An answer to a question: choices, or a text."""

    feature_id: str
    schema_id: str
    name: str
    kind: str
    choices: list[Choice]
    text: str


@dataclass
class ObjectAnnotation:
    """Something marked in a data row, with the answers about it."""

    feature_id: str
    schema_id: str
    name: str
    tool: str
    color: str
    left: int
    top: int
    width: int
    height: int
    answers: list[Answer]

    @property
    def corners(self) -> list[Row]:
        """Return a closed ring around it."""
        left, top = self.left + 0.5, self.top + 0.25
        right, bottom = left + self.width, top + self.height
        ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        return [{"x": x, "y": y} for x, y in ring]


def ontology(media: str, new_id: Callable[[], str]) -> Row:
    """Return tools and questions that suit a media type."""

    def question(spec: tuple[str, str, tuple[str, ...]], *nested: Row) -> Row:
        kind, name, options = spec
        return {
            "schemaNodeId": new_id(),
            "featureSchemaId": new_id(),
            "required": False,
            "type": kind,
            "name": _value(name),
            "instructions": name,
            "options": [
                {
                    "schemaNodeId": new_id(),
                    "featureSchemaId": new_id(),
                    "label": option,
                    "value": _value(option),
                    "options": list(nested) if number == 1 else [],
                }
                for number, option in enumerate(options)
            ],
        }

    return {
        "tools": [
            {
                "schemaNodeId": new_id(),
                "featureSchemaId": new_id(),
                "required": False,
                "tool": kind,
                "name": name,
                "color": f"#{50 * number + 20:02x}60ff",
                "classifications": [question(RADIO, question(TEXT))],
            }
            for number, (kind, name) in enumerate(TOOLS[media])
        ],
        # Ticking the second option of each question leads to the next one.
        "classifications": [
            question(RADIO, question(CHECKLIST, question(TEXT))),
            question(TEXT),
        ],
    }


def label_content(label: Label) -> tuple[list[ObjectAnnotation], list[Answer]]:
    """Return what a label marks and what it answers; nothing if it was skipped."""
    if label.is_skipped:
        return [], []
    edited = f" {label.revision}" if label.revision else ""
    random = _random(label.id + edited)
    new_id = _ids(random)
    schema = label.project.ontology["normalized"]
    objects = [
        ObjectAnnotation(
            feature_id=new_id(),
            schema_id=tool["featureSchemaId"],
            name=tool["name"],
            tool=tool["tool"],
            color=tool["color"],
            left=int(600 * random.random()),
            top=int(400 * random.random()),
            width=20 + int(200 * random.random()),
            height=20 + int(200 * random.random()),
            answers=_answers(tool["classifications"], random, new_id),
        )
        for tool in schema["tools"]
        for _ in range(int(1.8 * random.random()))
    ]
    return objects, _answers(schema["classifications"], random, new_id)


def row_data(row: DataRow) -> str:
    """Return the text or conversation itself; of a file, its address."""
    media = row.project.media
    words = SENTENCES[row.number % len(SENTENCES)]
    if media == "TEXT":
        return f"{words} {SENTENCES[row.number * 7 % len(SENTENCES)]}"
    if media in {"CONVERSATIONAL", "LLM"}:
        messages = [
            {"messageId": f"message-{n}", "timestampUsec": 1_700_000_000 + n}
            | {"content": text, "user": {"userId": user, "name": user.title()}}
            for n, (user, text) in enumerate(
                [
                    ("customer", words),
                    ("agent", "I'll look into it."),
                    ("model", "Sure!"),
                ]
            )
        ]
        kind = "application/vnd.labelbox.conversational"
        return compact({"type": kind, "version": 1, "messages": messages})
    name = f"{row.id}.{_MIME[media].rpartition('/')[2]}"
    if row.number % 2:
        return f"{UPLOADS}{row.organization['id']}%2F{name}"
    return f"https://bucket.example.com/{media.lower()}/{name}"


_MIME = {
    "IMAGE": "image/jpeg",
    "TEXT": "text/plain",
    "VIDEO": "video/mp4",
    "PDF": "application/pdf",
    "CONVERSATIONAL": "application/vnd.labelbox.conversational",
    "LLM": "application/vnd.labelbox.conversational",
    "AUDIO": "audio/mpeg",
    "DICOM": "application/dicom",
    "TMS_GEO": "application/vnd.labelbox.tms_geo",
}


def media_attributes(row: DataRow) -> Row:
    """Return size and type of a data row as the GraphQL API does."""
    media = row.project.media
    attributes: Row = {"assetType": media.lower(), "mimeType": _MIME[media]}
    match media:
        case "IMAGE":
            attributes |= {"height": 760, "width": 780 + row.number % 3}
            attributes |= {"exifRotation": "1" if row.number % 2 else 1}
        case "VIDEO":
            attributes |= {
                "height": 720,
                "width": 1280,
                "frameRate": 10,
                "frameCount": 100,
            }
        case "PDF":
            attributes |= {"pageCount": 1 + row.number % 4}
        case "CONVERSATIONAL" | "LLM":
            attributes["labelableIds"] = ["message-0", "message-1", "message-2"]
            attributes["messageCount"] = 3
    return attributes


def metadata(row: DataRow) -> list[Row]:
    """Return the custom metadata of every third data row."""
    if row.number % 3:
        return []
    split, captured, camera = METADATA_ONTOLOGY
    values = (
        (split, split["options"][row.number % 2]["id"]),
        (captured, row.created_at.isoformat()),
        (camera, f"Kamera {row.number % 5} – Süd"),
    )
    return [
        {"schemaId": schema["id"], "name": schema["name"], "value": value}
        | {"kind": schema["kind"]}
        for schema, value in values
    ]


def attachments(row: DataRow) -> list[Row]:
    """Return what helps a labeler with every fifth data row."""
    if row.number % 5:
        return []
    return [
        {"id": _ids(_random(row.id))(), "type": "RAW_TEXT", "name": "hint"}
        | {"value": SENTENCES[row.number % len(SENTENCES)]}
    ]


def reviews(label: Label) -> list[Row]:
    """Return the votes on a label; every fourth has one or two."""
    random = _random(f"reviews of {label.id}")
    new_id = _ids(random)
    count = random.choice((0, 0, 0, 0, 0, 0, 1, 2))
    timestamps = [label.created_at + timedelta(hours=n + 1) for n in range(count)]
    return [
        {"id": new_id(), "score": random.choice((1.0, -1.0)), "createdAt": timestamp}
        | {"updatedAt": timestamp, "createdBy": label.project.members[2]["user"]}
        for timestamp in timestamps
    ]


def signed(address: str, until: datetime) -> str:
    """Sign the address of a file that Labelbox keeps; give any other as it is."""
    if not address.startswith(UPLOADS):
        return address
    expires = int(until.timestamp() * 1000)
    mark = zlib.crc32(f"{address}{expires}".encode())
    return f"{address}?Expires={expires}&KeyName=labelbox-assets-key-3&Signature={mark}"


def compact(value: Any) -> str:
    """Write JSON as Labelbox does: no blanks, and characters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _answers(
    questions: list[Row], random: Random, new_id: Callable[[], str]
) -> list[Answer]:
    answers = []
    for question in questions:
        options = question["options"]
        count = min(len(options), 2) if question["type"] == "checklist" else 1
        first = random.randrange(len(options)) if options else 0
        answers.append(
            Answer(
                feature_id=new_id(),
                schema_id=question["featureSchemaId"],
                name=question["instructions"],
                kind=question["type"],
                choices=[
                    Choice(
                        feature_id=new_id(),
                        schema_id=option["featureSchemaId"],
                        name=option["label"],
                        answers=_answers(option["options"], random, new_id),
                    )
                    for option in (options + options)[first : first + count]
                ],
                text="" if options else random.choice(REMARKS),
            )
        )
    return answers


def _random(text: str) -> Random:
    """Return the same chances to the same text; Random(text) would take longer."""
    return Random(zlib.crc32(text.encode()))


def _ids(random: Random) -> Callable[[], str]:
    """Return a maker of ids of 25 characters."""
    return lambda: f"cm{random.getrandbits(91):023x}"


def _value(name: str) -> str:
    """Return the name a machine uses."""
    return name.lower().replace(" ", "_")
