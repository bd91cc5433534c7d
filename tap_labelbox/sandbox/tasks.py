"""The data row export: a task is started, waited for, and read in parts.

What nobody states: an export beyond the limit of running ones is refused with the
code API_LIMIT, and a line of ERRORS holds `data_row` and `error`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from tap_labelbox.sandbox import content, models, rows
from tap_labelbox.sandbox.knobs import EXPORTS_PER_ORGANIZATION, EXPORTS_PER_PROJECT
from tap_labelbox.sandbox.schema import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox.files import Files
    from tap_labelbox.sandbox.knobs import Knobs
    from tap_labelbox.sandbox.world import DataRow, Project, User, World

Row = dict[str, Any]

MOST_IDS = 2000  # in one filter
MOST_PROJECTS = 30  # whose labels a catalog export gives
STATUSES = {"InReview": "IN_REVIEW", "InRework": "IN_REWORK", "Done": "DONE"}
# From here on a byte of UTF-8 is followed by more of its character.
FIRST_MULTIBYTE = b"\xc0"


@dataclass(eq=False, repr=False)
class Task:
    """One export, as the user who started it sees it."""

    id: str
    name: str
    kind: str
    created_at: datetime
    created_by: User
    data_rows: list[DataRow]
    params: Row
    project_id: str | None
    streamable: bool
    groups: dict[str, Row] = field(default_factory=dict)
    """Of a model run, by the IDs of the data rows."""
    run: Row = field(default_factory=dict)
    type: str = "export-data-rows"
    status: str = "IN_PROGRESS"
    asked: int = 0
    updated_at: datetime = field(init=False)
    streams: dict[str, list[_Part]] = field(default_factory=dict)
    links: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.updated_at = self.created_at

    @property
    def completion_percentage(self) -> float:
        """Return a guess, as Labelbox does."""
        return 100.0 if self.status == "COMPLETE" else 0.0

    @property
    def organization(self) -> Row:
        """Return the only one there is."""
        return self.created_by.organization

    @property
    def metadata(self) -> Row:
        """Return nothing."""
        return {}

    @property
    def result(self) -> str | None:
        """Return the link to the whole file, if it was not to be streamed."""
        return self.links.get("RESULT")

    @property
    def errors(self) -> str | None:
        """Return the link to the whole file of errors, if it was not to be streamed."""
        return self.links.get("ERRORS")


@dataclass
class _Part:
    """Some bytes of a stream, the last one included, kept as a file."""

    name: str
    start: int
    end: int
    first_line: int
    last_line: int


class DataRowExports:
    """The data row exports of a workspace."""

    def __init__(self, world: World, knobs: Knobs, files: Files) -> None:
        self.tasks: list[Task] = []
        self._world = world
        self._knobs = knobs
        self._files = files

    def start(self, kind: str, asked: Row) -> Task:
        """Choose the data rows of an export and begin it.

        Args:
            kind: Project, Catalog, Slice or ModelRun.
            asked: The input of the mutation, in Python's spelling.
        """
        filters, params = asked["filters"], asked.get("params") or {}
        project_id = filters.get("project_id")
        self._check_limits(project_id)
        run = next(
            (
                r
                for r in models.model_runs(self._world)
                if r["id"] == filters.get("model_run_id")
            ),
            {},
        )
        groups = (
            {g["dataRow"].id: g for g in models.groups(self._world, run)} if run else {}
        )
        chosen = self._indexed(self._scope(kind, project_id, groups))
        for element in (filters.get("search_query") or {}).get("query", ()):
            chosen = list(filter(_filter(element), chosen))
        if media := params.get("media_type_override"):
            chosen = [row for row in chosen if row.project.media == media]
        if kind in {"Catalog", "Slice"}:
            params["project_ids"] = params.get("project_ids") or []
            if len(params["project_ids"]) > MOST_PROJECTS:
                message = f"project_ids takes at most {MOST_PROJECTS} ids"
                raise refusal("BAD_USER_INPUT", message)
        now = self._world.now()
        task = Task(
            id=self._world.cuid(now),
            name=asked.get("task_name") or f"Export {kind.lower()}",
            kind=kind,
            created_at=now,
            created_by=self._world.key_owner,
            data_rows=chosen,
            params=params,
            project_id=project_id,
            streamable=asked.get("streamable") is not False,
            groups=groups,
            run=run,
        )
        self.tasks.append(task)
        return task

    def status(self, task: Task) -> str:
        """Return the status of an export; it gets on by being asked."""
        if task.status == "IN_PROGRESS":
            task.asked += 1
            if task.asked > self._knobs.polls:
                task.updated_at = self._world.now()
                task.status = self._knobs.export_outcome
                most = self._knobs.largest_catalog_export
                if task.kind == "Catalog" and len(task.data_rows) > most:
                    task.status = "FAILED"
                if task.status == "COMPLETE":
                    self._write(task)
        return task.status

    def header(self, task: Task, stream: str) -> Row | None:
        """Return how large a stream is; None if there is nothing in it."""
        parts = task.streams.get(stream)
        if not parts:
            return None
        return {"totalSize": parts[-1].end + 1, "totalLines": parts[-1].last_line + 1}

    def part(self, task: Task, stream: str, offset: int) -> Row | None:
        """Return the part that holds a byte, with a new link to it."""
        for part in task.streams.get(stream, ()):
            if part.start <= offset <= part.end:
                return {
                    "offsets": {"start": part.start, "end": part.end},
                    "lines": {"start": part.first_line, "end": part.last_line},
                    "file": self._files.link(part.name),
                }
        return None

    def issue_file(self, project: Project, issues: list[Row]) -> str:
        """Write the issues of a project to a file and give the link to it."""
        issues = [
            {"id": issue["id"], "content": issue["content"], "status": issue["status"]}
            for issue in issues
        ]
        return self._files.put(
            f"issues-{project.id}.json", content.compact(issues).encode()
        )

    def _check_limits(self, project_id: str | None) -> None:
        running = [task for task in self.tasks if task.status == "IN_PROGRESS"]
        here = [t for t in running if project_id and t.project_id == project_id]
        for count, limit, where in (
            (len(here), EXPORTS_PER_PROJECT, "project"),
            (len(running), EXPORTS_PER_ORGANIZATION, "organization"),
        ):
            if count >= limit:
                message = f"No more than {limit} exports may run in one {where}"
                raise refusal("API_LIMIT", message)

    def _scope(
        self, kind: str, project_id: str | None, groups: dict[str, Row]
    ) -> list[DataRow]:
        """Return the data rows that are not filtered yet."""
        project = self._world.project(project_id or "")
        if project:
            return list(project.data_rows)
        if kind == "ModelRun":
            return [group["dataRow"] for group in groups.values()]
        if kind == "Catalog":  # which also has what is in no project any more
            return self._world.catalog
        return [row for row in self._world.data_rows if row.labels]

    def _indexed(self, data_rows: list[DataRow]) -> list[DataRow]:
        """Return data rows as the index has them, which may be behind."""
        if not self._knobs.export_lag:
            return data_rows
        end = self._world.now() - timedelta(seconds=self._knobs.export_lag)
        rows = (
            _as_of(row, end) if row.number % 10 < 10 * self._knobs.lagging else row
            for row in data_rows
        )
        return [row for row in rows if row]

    def _write(self, task: Task) -> None:
        """Write the files of an export, its rows in no order one could rely on."""
        chosen, now = list(task.data_rows), self._world.now()
        Random(task.id).shuffle(chosen)
        bad, good = (
            chosen[: self._knobs.unexportable],
            chosen[self._knobs.unexportable :],
        )
        written = {
            "RESULT": (
                rows.row(row, task.params, now, self._experiments(task, row))
                for row in good
            ),
            "ERRORS": (
                {"data_row": {"id": row.id}, "error": "The media could not be read"}
                for row in bad
            ),
        }
        for stream, lines in written.items():
            whole = b"".join(content.compact(line).encode() + b"\n" for line in lines)
            task.streams[stream] = []
            for start, end in pairwise(self._cuts(whole)):
                name = f"{task.id}-{stream.lower()}-{start}.ndjson"
                first = whole.count(b"\n", 0, start)
                last = whole.count(b"\n", 0, end - 1)
                part = _Part(name, start, end - 1, first, last)
                task.streams[stream].append(part)
                self._files.put(name, whole[start:end])
            if not task.streamable and whole:
                name = f"{task.id}-{stream.lower()}.ndjson"
                task.links[stream] = self._files.put(name, whole)

    def _cuts(self, whole: bytes) -> Iterator[int]:
        """Return the offsets that divide a stream into parts, with both ends."""
        position = 0
        while position < len(whole):
            yield position
            position += self._knobs.part_size
            if self._knobs.cut_parts:
                following = range(position, min(position + 4096, len(whole)))
                character_ends = (
                    at + 1 for at in following if whole[at : at + 1] >= FIRST_MULTIBYTE
                )
                position = next(character_ends, position)
            else:
                end = whole.find(b"\n", position - 1)
                position = end + 1 if end >= 0 else len(whole)
        if whole:
            yield len(whole)

    def _experiments(self, task: Task, row: DataRow) -> Row | None:
        """Return what stands in place of projects in an export of a model run."""
        if not task.run:
            return None
        group = task.groups[row.id]
        return models.experiments(self._world, task.run, group, task.params)


def _as_of(row: DataRow, end: datetime) -> DataRow | None:
    """Return a data row as it was, if it was there already."""
    if row.last_activity_at <= end:
        return row
    labels = [x for x in row.labels if max(x.updated_at, x.listed_at) <= end]
    active_at = max([row.created_at, *(label.updated_at for label in labels)])
    if active_at > end:
        return None
    return replace(row, labels=labels, last_activity_at=active_at)


def _filter(element: Row) -> Callable[[DataRow], bool]:
    """Return the test for data rows that an element of a search query stands for."""
    ids = set(element.get("ids") or ())
    if len(ids) > MOST_IDS:
        raise refusal("BAD_USER_INPUT", f"a filter takes at most {MOST_IDS} ids")
    status = STATUSES.get(element.get("status", ""))
    low, high = _window(element["value"]) if "value" in element else (None, None)

    def holds(timestamp: datetime) -> bool:
        return (low is None or timestamp >= low) and (high is None or timestamp <= high)

    filters: dict[str | None, Callable[[DataRow], bool]] = {
        "data_row_id": lambda row: row.id in ids,
        "global_key": lambda row: row.global_key in ids,
        "batch": lambda row: row.batch["id"] in ids,
        "dataset": lambda row: row.dataset.id in ids,
        "task_queue_not_exist": lambda row: row.status == "TO_LABEL",
        "task_queue_status": lambda row: row.status == status,
        "data_row_last_activity_at": lambda row: holds(row.last_activity_at),
        "labeled_at": lambda row: any(holds(label.created_at) for label in row.labels),
    }
    if element.get("type") not in filters:
        message = f"there is no filter of type {element.get('type')}"
        raise refusal("MALFORMED_REQUEST", message)
    return filters[element.get("type")]


def _window(condition: Row) -> tuple[datetime | None, datetime | None]:
    """Read a span of time, both ends included."""

    def read(text: str | None) -> datetime | None:
        if text is None:
            return None
        timestamp = datetime.fromisoformat(text)
        zone = ZoneInfo(condition.get("timezone") or "UTC")
        return (
            timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=zone)
        ).astimezone(UTC)

    try:
        match condition["operator"]:
            case "BETWEEN":
                return read(condition["value"]["min"]), read(condition["value"]["max"])
            case "GREATER_THAN_OR_EQUAL":
                return read(condition["value"]), None
            case "LESS_THAN_OR_EQUAL":
                return None, read(condition["value"])
    except (KeyError, TypeError, ValueError):
        pass
    raise refusal("MALFORMED_REQUEST", f"no span of time: {condition}")
