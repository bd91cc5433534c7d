"""Work in a project beyond its labels: who does it, what waits, what is discussed.

All of it follows from what the project holds, and is made when somebody asks for it.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tap_labelbox.sandbox import content
from tap_labelbox.sandbox.schema import connection, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_labelbox.sandbox.schema import Info
    from tap_labelbox.sandbox.world import Project, World

Row = dict[str, Any]

IMPORT_STATES = ("FINISHED", "FAILED", "RUNNING")
# None: no labeling service was ever asked for. Clients know nothing of the last one.
SERVICE_STATUSES = (None, "REQUESTED", "PRODUCTION", "ON_HOLD")
REPLIES = ("Please see the guideline 📖", "Erledigt – danke!", 'I "fixed" it, twice')


def uuid(seed: str) -> str:
    """Return the UUID that belongs to a text."""
    return str(UUID(int=Random(seed).getrandbits(128), version=4))


def number_of(project: Project) -> int:
    """Return a number of a project that stays the same."""
    return Random(project.id).randrange(12)


# --- who works there, with what --------------------


def members(source: Project, info: Info) -> list[Row]:
    """Return the members; the last one is not there by a role in the organization."""
    guest = info.context.world.users[-1]
    # The same membership in all projects.
    return [
        *source.members,
        {
            "id": f"member-{guest.id}",
            "user": guest,
            "role": info.context.world.roles[-1],
        }
        | {"accessFrom": "SHARED_LINK"},
    ]


def model_configs(source: Project, _: Info) -> list[Row]:
    """Return the models of a project that is in use; the last one is deleted."""
    if not source.data_rows:
        return []
    configs: tuple[Row | None, ...] = (
        {"id": uuid("config"), "modelId": uuid("model")}
        | {"inferenceParams": {"temperature": 0.5, "prompt": "Zähle die 🚗"}},
        {"id": uuid("plain config"), "modelId": uuid("other model")}
        | {"inferenceParams": None},
        None,
    )
    return [
        {"id": uuid(f"{source.id} {number}"), "projectId": source.id}
        | {"modelConfigId": config["id"] if config else uuid("deleted config")}
        | {"modelConfig": config}
        for number, config in enumerate(configs)
    ]


def imports(kind: str) -> Any:
    """Return a resolver of the uploads to a project of one kind."""

    def resolve(_: Any, info: Info, where: Row) -> list[Row]:
        project = info.context.project(where["project_id"])
        if project.restricted:
            raise refusal("AUTHORIZATION_ERROR", "You may see no import")
        return [
            _import(project, f"{kind} {number}", number)
            for number in range(1 + number_of(project) % 5)
        ]

    return resolve


def _import(project: Project, name: str, number: int) -> Row:
    import_id = content.compact(uuid(f"{name} of {project.id}"))[1:-1]
    state = IMPORT_STATES[number % len(IMPORT_STATES)]
    files = f"https://storage.example.com/{import_id}"
    return {
        "id": import_id,
        "name": f"{name} – über Nacht 🌙",
        "state": state,
        "progress": {"FINISHED": "100%", "RUNNING": "42%"}.get(state),
        "inputFileUrl": f"{files}/input.ndjson?X-Signature=not-to-be-told",
        "errorFileUrl": f"{files}/errors.ndjson?X-Signature=not-to-be-told",
        "statusFileUrl": f"{files}/statuses.ndjson?X-Signature=not-to-be-told",
        "createdBy": None if number == 1 else project.created_by,
        "project": project,
    }


# --- what waits --------------------


def batches(rows: list[Row]) -> list[Row]:
    """Return batches as the API lists them: every second one without consensus."""
    return [
        row | ({"consensusSettingsJson": None, "createdBy": None} if number % 2 else {})
        for number, row in enumerate(rows)
    ]


def all_batches(world: World) -> Iterable[Row]:
    """Yield the batches of all projects."""
    for project in world.projects:
        yield from batches(project.batches)


def state_counts(source: Project, rows: list[Row]) -> list[Row]:
    """Return counts by state, and one of a state that no client knows."""
    return [*rows, {"state": "AwaitingModelRun", "count": number_of(source)}]


def overrides(source: Project, _: Info) -> list[Row]:
    """Return the place in the queue of each data row."""
    return [
        {"id": uuid(f"override {row.id}"), "priority": row.number % 7 + 1}
        | {"numberOfLabels": source.auto_audit_number_of_labels, "dataRow": row}
        for row in source.data_rows
    ]


def workflow(_: Any, info: Info, project_id: str) -> Row | None:
    """Return the graph of a workflow; an empty project has none."""
    project: Project = info.context.project(project_id)
    if project.restricted:
        raise refusal("AUTHORIZATION_ERROR", "You may not see the workflow")
    if not project.data_rows:
        return None
    definitions = ("initial_labeling_task", "review_task", "rework_by_robot", "done")
    queues = project.task_queues
    nodes = [
        {"id": queue["id"], "definitionId": definition, "label": queue["name"]}
        | {"position": {"x": 200 * number, "y": 0}, "filters": [], "filterLogic": "and"}
        | {"customFields": {"description": "Look twice – « bitte »"}, "config": None}
        for number, (queue, definition) in enumerate(
            zip(queues, definitions, strict=True)
        )
    ]
    edges = [
        {"id": f"{queue['id']}-{after['id']}", "source": queue["id"]}
        | {"target": after["id"], "sourceHandle": "if", "targetHandle": "in"}
        for queue, after in pairwise(queues)
    ]
    made = project.created_at
    return {
        "projectId": project_id,
        "config": {"nodes": nodes, "edges": edges},
        # Without an offset, as Labelbox may have it here.
        "createdAt": made.replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "updatedAt": made + timedelta(hours=5),
    }


def search_projects(_: Any, info: Info, **arguments: Any) -> Row:
    """Return a page of the labeling service's projects, oldest first."""
    asked = arguments["input"]
    rows = [
        _dashboard(project, number)
        for number, project in enumerate(info.context.world.projects)
    ]
    return connection(rows, asked.get("size"), asked.get("after"))


def _dashboard(project: Project, number: int) -> Row:
    status = SERVICE_STATUSES[number % len(SERVICE_STATUSES)]
    asked = project.created_at + timedelta(days=1) if status else None
    states = [row.status for row in project.data_rows]
    done, begun = states.count("DONE"), sum(bool(r.labels) for r in project.data_rows)
    return {
        "id": project.id,
        "name": project.name,
        "boostStatus": status,
        "boostRequestedAt": asked,
        "boostUpdatedAt": asked and asked + timedelta(hours=number),
        "boostRequestedBy": project.created_by.id if status else None,
        "dataRowsCount": len(states),
        "dataRowsDoneCount": done,
        "dataRowsInReviewCount": states.count("IN_REVIEW"),
        "dataRowsInReworkCount": states.count("IN_REWORK"),
        "tasksTotalCount": begun,
        "tasksCompletedCount": done,
        "tasksRemainingCount": begun - done,
        "mediaType": project.media.lower(),
        "editorTaskType": project.editor_task_type,
        "tags": [tag | {"type": "CUSTOM"} for tag in project.resource_tags] or None,
    }


# --- how good it is --------------------


def benchmarks(source: Project, _: Info) -> list[Row]:
    """Return the labels that others are, or once were, measured against."""
    rows = [row for row in source.labels if row.is_benchmark_reference]
    rows = rows or source.labels[:1]
    return [
        {
            "id": f"benchmark-{row.id}",
            "createdAt": row.created_at,
            "lastActivity": None if number % 2 else row.updated_at,
            "averageAgreement": None
            if number % 2
            else round(Random(row.id).random(), 4),
            "completedCount": 3 - number % 2 * 3,
            "createdBy": row.created_by,
            "referenceLabel": row,
        }
        for number, row in enumerate(rows)
    ]


def all_benchmarks(world: World) -> Iterable[Row]:
    """Yield the benchmarks of all projects."""
    for project in world.projects:
        yield from benchmarks(project, None)  # type: ignore[arg-type]  # not used


# --- what is discussed --------------------


def categories(source: Project, _: Info) -> list[Row]:
    """Return the categories of issues."""
    first = source.issue_categories[0]
    more: Row = {"id": f"{first['id']}-2", "name": "Falsche Klasse 🏷"}
    return [*source.issue_categories, more | {"description": "Sieht nur so aus"}]


def issue(project: Project, row: Row) -> Row:
    """Return an issue with its place and replies; every second one has some."""
    number = int(row["friendlyId"].rpartition("-")[2])
    position: Any = _position(project.media, Random(row["id"]))
    if number % 3 == 0:
        position = None
    elif number % 2 == 0:  # some come as JSON text
        position = content.compact(position)
    replies = comments(row, number % 2 * (1 + number % 3))
    return row | {
        "position": position,
        "categoryId": None if number % 4 == 0 else row["categoryId"],
        "dataRowId": None if number % 5 == 0 else row["dataRowId"],
        "comments": replies,
        "latestReplyAt": replies[-1]["createdAt"] if replies else None,
    }


def comments(row: Row, count: int) -> list[Row]:
    """Return the replies to an issue."""
    written = [row["createdAt"] + timedelta(hours=n + 1) for n in range(count)]
    return [
        {"id": uuid(f"{row['id']} {number}"), "content": REPLIES[number % len(REPLIES)]}
        | {"createdBy": None if number == 1 else row["createdBy"]}
        | {"createdAt": timestamp, "updatedAt": timestamp}
        for number, timestamp in enumerate(written)
    ]


def _position(media: str, random: Random) -> Row:
    """Return a place in what is labeled, in the shape that suits it."""
    point = {
        "type": "Point",
        "coordinates": [random.randrange(99), random.randrange(9)],
    }
    match media:
        case "PDF":
            return point | {"page": 2, "unit": "PERCENT"}
        case "TEXT" | "CONVERSATIONAL":
            return {"textBlockId": "0", "startCharIndex": 3, "endCharIndex": 7}
        case "VIDEO":
            frames = [{"frame": frame, "value": point} for frame in (1, 9)]
            return {"type": "KeyframesGeoJSONPoint", "keyframes": frames}
        case "AUDIO":
            return {"type": "Interval", "seconds": [0.5, 2]}
    return point
