"""The rows expected of each mart of the dbt package, computed from the sandbox's world.

Nothing here knows what the tap writes or what the SQL does: each function begins with
the people, data rows and labels of the world.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import yaml

from tap_labelbox.sandbox import content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from tap_labelbox.sandbox.content import Answer, ObjectAnnotation
    from tap_labelbox.sandbox.world import DataRow, Label, Project, World

Row = dict[str, Any]

PACKAGE = Path(__file__).parent.parent / "dbt"
README = PACKAGE / "README.md"
SCHEMA = PACKAGE / "models" / "marts" / "schema.yml"

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEY_FRAMES = (3, 7)
"""The frames of a video that are exported."""
MASKED_FRAME_NUMBER = 5
LOOKBACK = timedelta(seconds=60)
"""How far before the first run the second one begins."""

VARIABLES: Row = {
    "labelbox__as_of": "2026-12-02 00:00:00",
    "labelbox__training_as_of": "2025-09-01 00:00:00",
    "labelbox__training_statuses": ["DONE", "IN_REVIEW"],
    "labelbox__backlog_days": 500,
}
"""With what the package is built."""

RENAMED = "Vehicle"
RENAMED_TO = "Car 🚗"
"""What the tool is called, and from the second run on."""


def prepare(world: World) -> None:
    """Make several people label the same data rows, and edit what others made."""
    people = world.labelers + world.reviewers
    for project in world.projects:
        for number, row in enumerate(project.data_rows[:24]):
            if not row.labels:
                continue
            for later in range(1 + number % 2):
                first = row.labels[0]
                others = [p for p in people if p is not first.created_by]
                world.add_label(
                    project.id,
                    first.created_at + (later + 1) * HOUR,
                    data_row=row,
                    created_by=others[(number + later) % len(others)],
                    agreement=round(0.1 + number / 30, 4),
                    is_benchmark_reference=number == 5 and not later,
                )
        for number, label in enumerate(project.labels[4:40:3]):
            action = ("REWORK_SUBMITTED", "APPROVED", "SAVED")[number % 3]
            by = label.created_by if number % 2 else world.reviewers[0]
            at = label.created_at + (number + 1) * HOUR
            world.edit_label(
                label.id, by, at, action=action, is_changed=number % 3 != 1
            )
            if number % 4 == 0:
                world.edit_label(label.id, world.users[0], at + DAY)


def change(world: World, now: datetime) -> list[Label]:
    """Change the world, and return the labels that were deleted."""
    deleted = []
    # How much was left to chance while it was served does not matter.
    world._random.seed("between the runs")
    for project in world.projects:
        several = [row for row in project.data_rows if len(row.labels) > 1]
        single = [row for row in project.data_rows if len(row.labels) == 1]
        for label in [row.labels[0] for row in several[:1]] + [
            row.labels[-1] for row in several[2:9]
        ]:
            world.edit_label(label.id, world.users[1], now)
        for row in several[1:2] + single[:1]:
            deleted.append(row.labels[0])
            world.delete_label(row.labels[0].id)
        for tool in project.ontology["normalized"]["tools"]:
            if tool["name"] == RENAMED:
                tool["name"] = RENAMED_TO
        world.add_label(project.id, now - HOUR)
        row = project.data_rows[-1]  # the new one, which has a label by now
        for person in world.labelers[:2]:
            world.add_label(project.id, now, data_row=row, created_by=person)
        for issue in project.issues[:1]:
            issue |= {"status": "Resolved", "resolvedAt": now, "updatedAt": now}
    return deleted


def of(
    world: World, deleted: list[Label], first_run: datetime, runs: Iterable[Row]
) -> dict[str, list[Row]]:
    """Return the rows of each mart.

    Args:
        world: As it is at the end.
        deleted: Labels that it no longer has.
        first_run: When the tap ran first; the rest was exported again since.
        runs: For each run, how many data rows of each project were where then, and
            when, as `overview` returns it.
    """
    exported = Labels(world, first_run)
    return {
        "labelbox__labels": exported.labels,
        "labelbox__annotations": exported.annotations,
        "labelbox__workflow_events": events(world),
        "labelbox__label_edits": edits(world, deleted),
        "labelbox__throughput_daily": throughput(world, exported),
        "labelbox__labeler_weekly": weekly(exported),
        "labelbox__agreement_pairs": agreement(world, exported),
        "labelbox__backlog_daily": backlog(world, runs),
        "labelbox__cost": cost(exported),
        "labelbox__issues_sla": issues(world),
        "labelbox__class_distribution": classes(world, exported),
        "labelbox__training_set": training_set(world),
        "labelbox__features": features(world, exported),
    }


def described() -> dict[str, Row]:
    """Return what the package tells of each mart, by its name."""
    return {
        mart["name"]: mart
        for mart in yaml.safe_load(SCHEMA.read_text("utf-8"))["models"]
    }


def streams() -> set[str]:
    """Return the streams that marts need."""
    names = (mart["config"]["meta"]["streams"] for mart in described().values())
    return set().union(*names)


def questions() -> list[tuple[str, str]]:
    """Return the queries of the package's README, and the tables that answer them."""
    blocks = README.read_text("utf-8").split("```sql\n")[1:]
    answered = (block.partition("\n```\n\n") for block in blocks)
    results = ((query, text.split("\n\n")[0].strip()) for query, _, text in answered)
    return [(query, text) for query, text in results if text.startswith("| ")]


def table(rows: list[Row]) -> str:
    """Return rows as Markdown."""
    columns = [*rows[0]]
    lines = [columns, ["---"] * len(columns), *([*row.values()] for row in rows)]
    return "\n".join(
        f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |"
        for line in lines
    )


def grouped(rows: Iterable[Row], *columns: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return rows by what they have in some columns."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[column] for column in columns)].append(row)
    return groups


def mean(values: Iterable[Any]) -> float | None:
    """Return the mean of what is not None; None if there is nothing."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def monday(day: date) -> date:
    """Return the first day of a week."""
    return day - timedelta(days=day.weekday())


def newest(labels: Iterable[Label]) -> Label | None:
    """Return the newest label that is no skip."""
    done = [label for label in labels if not label.is_skipped]
    return max(done, key=lambda label: (label.created_at, label.id), default=None)


def winner(row: DataRow) -> Label | None:
    """Return the label that counts: if there are several, the last to come in."""
    if len(row.labels) > 1 and not row.labels[-1].is_skipped:
        return row.labels[-1]
    return newest(row.labels)


# --- labels and annotations ----------------------------------------------------------


class Labels:
    """The labels of a world and what they hold.

    Args:
        world: The world.
        first_run: When the tap ran first.
    """

    def __init__(self, world: World, first_run: datetime) -> None:
        self._since = first_run - LOOKBACK
        self.annotations: list[Row] = []
        self.labels: list[Row] = []
        for project in world.projects:
            for label in project.labels:
                held = [*self._annotations(project, label)]
                self.annotations += held
                self.labels.append(self._label(project, label, held))

    def _label(self, project: Project, label: Label, held: list[Row]) -> Row:
        row = label.data_row
        seconds = (
            int(label.seconds_to_label),
            12 * len(label.reviews),
            30 if row.status == "IN_REWORK" else 0,
        )
        scores = [review["score"] for review in label.reviews]
        raised = [i["status"] for i in project.issues if i["labelId"] == label.id]
        day = label.created_at.date()
        kinds = Counter(
            kind for kind, _ in {(a["annotation_type"], a["instance_id"]) for a in held}
        )
        return {
            **_ids(label),
            "project_name": project.name,
            "external_id": row.external_id,
            "global_key": row.global_key,
            "dataset_id": row.dataset.id,
            "batch_id": row.batch["id"],
            "batch_name": row.batch["name"],
            "media_type": project.media.lower(),
            "workflow_status": row.status,
            "labeler": label.created_by.email,
            "labeler_id": label.created_by.id,
            "labeler_email": label.created_by.email,
            "labeler_name": label.created_by.name,
            "is_external_labeler": label.created_by.is_external_user,
            "created_at": label.created_at,
            "date_day": day,
            "date_week": monday(day),
            "updated_at": label.updated_at,
            "content_last_updated_at": label.updated_at,
            "is_skipped": label.is_skipped,
            "is_latest": label is newest(row.labels),
            "is_selected": label is winner(row),
            "is_benchmark": label.is_benchmark_reference,
            "seconds_to_label": seconds[0],
            "seconds_to_review": seconds[1],
            "seconds_to_rework": seconds[2],
            "seconds_total": sum(seconds),
            "agreement": None if label.agreement == -1 else label.agreement,
            "benchmark_agreement": None,
            "object_count": kinds["object"],
            "answer_count": kinds["answer"],
            "review_count": len(scores),
            "approval_count": scores.count(1),
            "rejection_count": scores.count(-1),
            "rework_count": sum(
                step["to_step_kind"] == "in_rework"
                and step["event_at"] >= label.created_at
                for step in history(row)
            ),
            "version_count": 1
            + sum(edit["labelId"] == label.id for edit in project.edits),
            "issue_count": len(raised),
            "open_issue_count": raised.count("Open"),
            "last_activity_at": row.last_activity_at,
        }

    def _annotations(self, project: Project, label: Label) -> Iterator[Row]:
        objects, answers = content.label_content(label)
        is_video = project.media == "VIDEO"
        frames = KEY_FRAMES if is_video else (None,)
        in_frames = not is_video or label.data_row.number % 2
        for frame in frames if in_frames else (None,):
            for answer in answers:
                yield from self._answer(label, answer, frame)
        for obj in objects:
            if is_video and obj.tool == "raster-segmentation":
                # A segment that begins and ends in a frame that is not exported.
                here = f"{obj.feature_id}/{MASKED_FRAME_NUMBER}-{MASKED_FRAME_NUMBER}"
                yield self._object(label, obj, MASKED_FRAME_NUMBER) | {
                    "annotation_id": here
                }
            for frame in frames:
                yield self._object(label, obj, frame)
                # What is asked about an object is not exported in its last frame.
                for answer in obj.answers if frame != KEY_FRAMES[-1] else ():
                    yield from self._answer(label, answer, frame, (obj.feature_id,))

    def _object(self, label: Label, obj: ObjectAnnotation, frame: int | None) -> Row:
        name = obj.name
        if name == RENAMED_TO and label.data_row.last_activity_at < self._since:
            name = RENAMED
        is_box = obj.tool == "rectangle"
        drift = frame or 0
        return _annotation(label, frame, (obj.feature_id,)) | {
            "annotation_type": "object",
            "feature_key": obj.schema_id,
            "feature_name": name,
            "instance_id": obj.feature_id,
            "depth": 0,
            "box_left": obj.left + drift if is_box else None,
            "box_top": obj.top + 3 * drift if is_box else None,
            "box_width": obj.width if is_box else None,
            "box_height": obj.height if is_box else None,
            "box_area": obj.width * obj.height if is_box else None,
        }

    def _answer(
        self,
        label: Label,
        answer: Answer,
        frame: int | None,
        above: tuple[str, ...] = (),
        depth: int = 0,
    ) -> Iterator[Row]:
        path = (*above, answer.feature_id)
        depth = depth or len(above)
        base = _annotation(label, frame, path, above) | {
            "annotation_type": "answer",
            "feature_key": answer.schema_id,
            "feature_name": answer.name,
            "instance_id": answer.feature_id,
            "depth": depth,
        }
        if not answer.choices:
            yield base | {"answer_text": answer.text}
        for choice in answer.choices:
            # Of several options, each has a row of its own.
            here = (*path, choice.feature_id) if answer.kind == "checklist" else path
            yield base | {
                "annotation_id": _path(frame, here),
                "instance_id": f"{answer.feature_id}/{choice.feature_id}",
                "answer_key": choice.schema_id,
                "answer_name": choice.name,
            }
            for nested in choice.answers:
                yield from self._answer(label, nested, frame, here, depth + 1)


def _ids(label: Label) -> Row:
    return {
        "project_id": label.project.id,
        "data_row_id": label.data_row.id,
        "label_id": label.id,
    }


def _path(frame: int | None, path: tuple[str, ...]) -> str:
    return "/".join(path if frame is None else (str(frame), *path))


def _annotation(
    label: Label, frame: int | None, path: tuple[str, ...], above: tuple[str, ...] = ()
) -> Row:
    no_answer = dict.fromkeys(("answer_key", "answer_name", "answer_text"))
    boxes = ("left", "top", "width", "height", "area")
    return {
        **_ids(label),
        **no_answer,
        **dict.fromkeys(f"box_{side}" for side in boxes),
        "annotation_id": _path(frame, path),
        "parent_annotation_id": _path(frame, above) if above else None,
        "ontology_id": label.project.ontology["id"],
        "frame": frame,
        "last_activity_at": label.data_row.last_activity_at,
    }


# --- the workflow --------------------------------------------------------------------


def history(row: DataRow) -> list[Row]:
    """Return the steps of a data row, the oldest first."""
    labeling, review, rework, _ = row.project.task_queues
    reviewer = row.project.members[2]["user"]
    steps: list[tuple[str, datetime, Any, Row | None, Row | None, str]] = [
        ("Move", row.created_at, row.created_by, None, labeling, "to_label")
    ]
    if row.labels:
        last = row.labels[-1]
        made = last.created_at
        steps += [("Move", made, last.created_by, labeling, review, "in_review")]
        if row.status == "IN_REWORK":
            decided = made + SECOND
            steps += [("Reject", decided, reviewer, review, rework, "in_rework")]
        if row.status == "DONE":
            steps += [("Approve", made + SECOND, reviewer, review, None, "done")]
    return [
        {
            "action": action,
            "event_at": at,
            "actor": by.email,
            "from_step_id": before and before["id"],
            "from_step": before and before["name"],
            "to_step_id": after and after["id"],
            "to_step": after["name"] if after else "Done",
            "to_step_kind": kind,
        }
        for action, at, by, before, after, kind in steps
    ]


def events(world: World) -> list[Row]:
    """Return all steps of all data rows, with their durations."""
    rows = []
    for row in world.data_rows:
        steps = history(row)
        gaps = [(b["event_at"] - a["event_at"]) / SECOND for a, b in pairwise(steps)]
        for number, step in enumerate(steps):
            is_latest = step is steps[-1]
            rows.append(
                step
                | {
                    "project_id": row.project.id,
                    "data_row_id": row.id,
                    "event_number": number + 1,
                    "date_day": step["event_at"].date(),
                    "is_sent_to_rework": step["to_step_kind"] == "in_rework",
                    "is_latest": is_latest,
                    "seconds_before": gaps[number - 1] if number else None,
                    "seconds_after": None if is_latest else gaps[number],
                    "last_activity_at": row.last_activity_at,
                }
            )
    return rows


def overview(world: World, at: datetime) -> Row:
    """Return how many data rows of each project are where now."""
    return {
        "at": at,
        "counts": {
            project.id: Counter(row.status.lower() for row in project.data_rows)
            for project in world.projects
        },
    }


def backlog(world: World, runs: Iterable[Row]) -> list[Row]:
    """Return what waited in each step at the end of each day, and of each run."""
    by_day = {run["at"].date(): run for run in runs}
    last_day = max(by_day)
    first_day = last_day - timedelta(days=VARIABLES["labelbox__backlog_days"] - 1)
    rows: list[Row] = []
    for project in world.projects:
        names = {"project_id": project.id, "project_name": project.name}
        for day, run in by_day.items():
            rows += [
                {
                    **names,
                    "date_day": day,
                    "counted_from": "project_overview",
                    "step_key": kind,
                    "step": kind,
                    "step_kind": kind,
                    "data_row_count": run["counts"][project.id][kind],
                    "entered_count": None,
                    "left_count": None,
                }
                for kind in ("to_label", "in_review", "in_rework", "done")
            ]
        rows += [names | waiting for waiting in waited(project, first_day, last_day)]
    return rows


def waited(project: Project, first_day: date, last_day: date) -> Iterator[Row]:
    """Yield what waited in each step of a project at the end of each day."""
    steps: dict[str, Row] = {}
    entered: dict[str, Counter[date]] = defaultdict(Counter)
    left: dict[str, Counter[date]] = defaultdict(Counter)
    for row in project.data_rows:
        before = None
        for step in history(row):
            key = step["to_step_id"] or step["to_step_kind"]
            steps[key] = step
            entered[key][step["event_at"].date()] += 1
            if before:
                left[before][step["event_at"].date()] += 1
            before = key
    for key, step in steps.items():
        day = max(min(entered[key]), first_day)
        waiting = sum(n for moved, n in entered[key].items() if moved < day)
        waiting -= sum(n for moved, n in left[key].items() if moved < day)
        while day <= last_day:
            waiting += entered[key][day] - left[key][day]
            yield {
                "date_day": day,
                "counted_from": "workflow_history",
                "step_key": key,
                "step": step["to_step"],
                "step_kind": step["to_step_kind"],
                "data_row_count": waiting,
                "entered_count": entered[key][day],
                "left_count": left[key][day],
            }
            day += DAY


# --- people --------------------------------------------------------------------------


def edits(world: World, deleted: list[Label]) -> list[Row]:
    """Return all versions, also those of labels that are gone."""
    people = {user.id: user for user in world.users}
    recorded = [edit for project in world.projects for edit in project.edits]
    labels = [label for project in world.projects for label in project.labels]
    rows: list[Row] = []
    for label in labels + deleted:
        first: Row = {"id": f"v1-{label.id}", "action": "SUBMITTED"}
        first |= {"label": replace(label, revision=0)}
        first |= {"createdAt": label.created_at, "createdById": label.created_by.id}
        before: Row | None = None
        later = [edit for edit in recorded if edit["labelId"] == label.id]
        for number, version in enumerate([first, *later], 1):
            by = people[version["createdById"]]
            row = {
                **_ids(label),
                "version_id": version["id"],
                "version_number": number,
                "action": version["action"],
                "created_at": version["createdAt"],
                "date_day": version["createdAt"].date(),
                "editor": by.email,
                "labeler": label.created_by.email,
                "step_name": label.project.task_queues[0]["name"],
                "annotation_count": _object_count(version),
                "is_by_other": by is not label.created_by,
                "is_label_deleted": label in deleted,
                "previous_version_id": before and before["id"],
                "seconds_since_previous": before
                and (version["createdAt"] - before["createdAt"]) / SECOND,
                "annotation_count_change": before
                and _object_count(version) - _object_count(before),
                "is_content_changed": before
                and version["label"].label != before["label"].label,
            }
            rows.append(row)
            before = version
    return rows


def _object_count(version: Row) -> int:
    return len(content.label_content(version["label"])[0])


def throughput(world: World, exported: Labels) -> list[Row]:
    """Return what each person did on each day in each project."""
    names = {project.id: project.name for project in world.projects}
    made = grouped(exported.labels, "project_id", "date_day", "labeler")
    scores: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for project in world.projects:
        for label in project.labels:
            for review in label.reviews:
                day, by = review["createdAt"].date(), review["createdBy"].email
                scores[project.id, day, by].append(review["score"])
    rows = []
    for key in made.keys() | scores.keys():
        labels, (project_id, day, person) = made.get(key, []), key
        rows.append(
            {
                "project_id": project_id,
                "project_name": names[project_id],
                "date_day": day,
                "date_week": monday(day),
                "labeler": person,
                "label_count": len(labels),
                "skipped_count": sum(label["is_skipped"] for label in labels),
                "data_row_count": len({label["data_row_id"] for label in labels}),
                "object_count": sum(label["object_count"] for label in labels),
                "answer_count": sum(label["answer_count"] for label in labels),
                "review_given_count": len(scores.get(key, [])),
                "rejection_given_count": scores.get(key, []).count(-1),
                "hours_labeling": _hours(labels, "seconds_to_label"),
                "hours_reviewing": _hours(labels, "seconds_to_review"),
                "hours_reworking": _hours(labels, "seconds_to_rework"),
            }
        )
    return rows


def _hours(labels: Iterable[Row], column: str) -> float:
    return float(sum(label[column] for label in labels)) / 3600


def weekly(exported: Labels) -> list[Row]:
    """Return how fast and how well each person labeled."""
    rows = []
    groups = grouped(exported.labels, "project_id", "date_week", "labeler")
    for (project_id, week, person), labels in groups.items():
        done = [label for label in labels if not label["is_skipped"]]
        reviews = sum(label["review_count"] for label in labels)
        approvals = sum(label["approval_count"] for label in labels)
        reworked = [label for label in done if label["rework_count"]]
        rows.append(
            {
                "project_id": project_id,
                "project_name": labels[0]["project_name"],
                "date_week": week,
                "labeler": person,
                "label_count": len(labels),
                "skipped_count": len(labels) - len(done),
                "skipped_share": 1 - len(done) / len(labels),
                "hours_labeling": _hours(labels, "seconds_to_label"),
                "seconds_per_label": mean(x["seconds_to_label"] for x in done),
                "objects_per_label": mean(x["object_count"] for x in done),
                "compared_count": sum(x["agreement"] is not None for x in done),
                "agreement": mean(x["agreement"] for x in done),
                "benchmarked_count": 0,
                "benchmark_agreement": None,
                "reviewed_count": sum(x["review_count"] > 0 for x in labels),
                "review_count": reviews,
                "approval_share": approvals / reviews if reviews else None,
                "reworked_count": len(reworked),
                "rework_share": len(reworked) / len(done) if done else None,
                "hours_reworking": _hours(labels, "seconds_to_rework"),
            }
        )
    return rows


RATES = {
    "ada.okafor@example.com": 38.0,
    "bjørn.lindqvist@example.com": 24.0,
    "chiara.ricci@example.com": 31.0,
}
"""What an hour costs, as the seed has it."""


def cost(exported: Labels) -> list[Row]:
    """Return hours and cost by day, person and activity."""
    columns = {"labeling": "label", "review": "review", "rework": "rework"}
    rows = []
    groups = grouped(exported.labels, "project_id", "date_day", "labeler")
    for (project_id, day, person), labels in groups.items():
        for activity, column in columns.items():
            spent = [x for x in labels if x[f"seconds_to_{column}"] > 0]
            if not spent:
                continue
            hours, rate = _hours(spent, f"seconds_to_{column}"), RATES.get(person)
            rows.append(
                {
                    "project_id": project_id,
                    "project_name": labels[0]["project_name"],
                    "date_day": day,
                    "date_week": monday(day),
                    "labeler": person,
                    "activity": activity,
                    "label_count": len(spent),
                    "hours": hours,
                    "hourly_rate": rate,
                    "currency": rate and "USD",
                    "cost": rate and hours * rate,
                }
            )
    return rows


# --- agreement -----------------------------------------------------------------------


def agreement(world: World, exported: Labels) -> list[Row]:
    """Return how far two people agree, by question and by class of boxes."""
    held = grouped(exported.annotations, "label_id")
    items: dict[tuple[str, ...], list[tuple[str, Any, Any]]] = defaultdict(list)
    boxes: dict[tuple[str, ...], list[tuple[str, float | None]]] = defaultdict(list)
    for project in world.projects:
        for row in project.data_rows:
            done = [label for label in row.labels if not label.is_skipped]
            for pair in combinations(done, 2):
                label_a, label_b = sorted(pair, key=lambda x: x.created_by.email)
                if label_a.created_by is label_b.created_by:
                    continue
                people = (label_a.created_by.email, label_b.created_by.email)
                first, second = (held.get((x.id,), []) for x in (label_a, label_b))
                answers = _answers(first), _answers(second)
                for question in answers[0].keys() | answers[1].keys():
                    x, y = (chosen.get(question, frozenset()) for chosen in answers)
                    items[project.id, question[0], *people].append((row.id, x, y))
                drawn = _boxes(first), _boxes(second)
                for place in drawn[0].keys() | drawn[1].keys():
                    here = (drawn[0].get(place, []), drawn[1].get(place, []))
                    boxes[project.id, place[0], *people] += [
                        (row.id, iou) for iou in match(*here)
                    ]
    projects = {project.id: project for project in world.projects}
    names = {node["feature_key"]: node["name"] for node in nodes(world)}
    rows = []
    for groups, kind in ((items, "answer"), (boxes, "box")):
        for (project_id, feature, a, b), compared in groups.items():
            rows.append(
                {
                    "project_id": project_id,
                    "project_name": projects[project_id].name,
                    "feature_key": feature,
                    "feature_name": names[feature],
                    "annotation_type": kind,
                    "labeler_a": a,
                    "labeler_b": b,
                    "data_row_count": len({item[0] for item in compared}),
                    "item_count": len(compared),
                    **(_kappa if kind == "answer" else _overlap)(compared),
                }
            )
    return rows


def _answers(annotations: Iterable[Row]) -> dict[tuple[Any, ...], frozenset[str]]:
    """Return the options chosen in answer to each question at the top."""
    chosen = [a for a in annotations if a["depth"] == 0 and a["answer_key"]]
    return {
        place: frozenset(answer["answer_key"] for answer in answers)
        for place, answers in grouped(chosen, "feature_key", "frame").items()
    }


def _boxes(annotations: Iterable[Row]) -> dict[tuple[Any, ...], list[Row]]:
    drawn = [a for a in annotations if a["box_width"] is not None]
    return grouped(drawn, "feature_key", "frame")


def _kappa(items: list[Any]) -> Row:
    count = len(items)
    agreed = sum(a == b for _, a, b in items)
    by_a, by_b = Counter(a for _, a, _ in items), Counter(b for _, _, b in items)
    chance = sum(n * by_b[answer] for answer, n in by_a.items()) / count / count
    observed = agreed / count
    return {
        "agreed_count": agreed,
        "observed_agreement": observed,
        "expected_agreement": chance,
        "kappa": None if chance == 1 else (observed - chance) / (1 - chance),
        "matched_box_count": None,
        "mean_matched_iou": None,
        "mean_iou": None,
    }


def match(first: list[Row], second: list[Row]) -> list[float | None]:
    """Return the IoU of each pair that is each other's best, None for all others."""
    overlaps = [[iou(a, b) for b in second] for a in first]
    matched = []
    for row in overlaps:
        best = max(row, default=0)
        if best > 0 and best == max(line[row.index(best)] for line in overlaps):
            matched.append(best)
    unmatched = len(first) + len(second) - 2 * len(matched)
    return [*matched, *[None] * unmatched]


def iou(a: Row, b: Row) -> float:
    """Return the intersection over the union of two boxes."""
    sides = []
    for start, size in (("box_left", "box_width"), ("box_top", "box_height")):
        end = min(a[start] + a[size], b[start] + b[size])
        sides.append(max(0, end - max(a[start], b[start])))
    both = sides[0] * sides[1]
    return float(both / (a["box_area"] + b["box_area"] - both))


def _overlap(items: list[Any]) -> Row:
    matched = [value for _, value in items if value is not None]
    agreed = sum(value >= 0.5 for value in matched)
    return {
        "agreed_count": agreed,
        "observed_agreement": agreed / len(items),
        "expected_agreement": None,
        "kappa": None,
        "matched_box_count": len(matched),
        "mean_matched_iou": mean(matched),
        "mean_iou": sum(matched) / len(items),
    }


# --- issues --------------------------------------------------------------------------


def issues(world: World) -> list[Row]:
    """Return issues with how long they took."""
    as_of = datetime.fromisoformat(VARIABLES["labelbox__as_of"]).replace(tzinfo=UTC)
    rows = []
    for project in world.projects:
        for issue in project.issues:
            number = int(issue["friendlyId"].removeprefix("ISS-"))
            written = _replies(issue)
            raised, resolved = issue["createdAt"], issue["resolvedAt"]
            took = ((resolved or as_of) - raised) / HOUR
            rows.append(
                {
                    "issue_id": issue["id"],
                    "friendly_id": issue["friendlyId"],
                    "project_id": project.id,
                    "project_name": project.name,
                    # Of some, Labelbox does not tell these.
                    "data_row_id": issue["dataRowId"] if number % 5 else None,
                    "category": "Blurred" if number % 4 else None,
                    "label_id": issue["labelId"],
                    "status": issue["status"],
                    "is_open": resolved is None,
                    "raised_by": issue["createdBy"].email,
                    "resolved_by": issue["resolvedBy"] and issue["resolvedBy"].email,
                    "created_at": raised,
                    "date_day": raised.date(),
                    "first_reply_at": min(written, default=None),
                    "comment_count": len(written),
                    "resolved_at": resolved,
                    "hours_to_first_reply": (min(written) - raised) / HOUR
                    if written
                    else None,
                    "hours_to_resolve": took if resolved else None,
                    "hours_open": took,
                    "is_in_time": took <= 72,
                }
            )
    return rows


def _replies(issue: Row) -> list[datetime]:
    """Return when an issue was replied to: every other issue was, hour by hour."""
    number = int(issue["friendlyId"].removeprefix("ISS-"))
    count = number % 2 * (1 + number % 3)
    return [issue["createdAt"] + (n + 1) * HOUR for n in range(count)]


# --- classes -------------------------------------------------------------------------


def nodes(world: World) -> list[Row]:
    """Return the tools, questions and options of the ontologies of projects."""
    rows: list[Row] = []

    def add(ontology: Row, node: Row, parent: Row | None) -> None:
        kind = "classification" if "type" in node else "option"
        if "tool" in node:
            kind = "tool"
        name = node.get("label") or node.get("instructions") or node["name"]
        row = {
            "ontology_id": ontology["id"],
            "ontology_name": ontology["name"],
            "feature_key": node["featureSchemaId"],
            "parent_key": parent and parent["feature_key"],
            "kind": kind,
            "feature_type": node.get("tool") or node.get("type"),
            "name": name,
            "depth": parent["depth"] + 1 if parent else 0,
            "color": node.get("color"),
        }
        rows.append(row)
        for below in ("classifications", "options"):
            for child in node.get(below, ()):
                add(ontology, child, row)

    for ontology in (project.ontology for project in world.projects):
        for part in ("tools", "classifications"):
            for node in ontology["normalized"][part]:
                add(ontology, node, None)
    return rows


def features(world: World, exported: Labels) -> list[Row]:
    """Return them with how often each is used, and under how many names."""
    used: dict[tuple[str, str], set[tuple[Any, ...]]] = defaultdict(set)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for held in exported.annotations:
        ontology, frame = held["ontology_id"], held["frame"]
        key = (ontology, held["feature_key"])
        question = held["instance_id"].partition("/")[0]
        used[key].add((held["label_id"], question))
        names[key].add(held["feature_name"])
        if held["answer_key"]:
            key = (ontology, held["answer_key"])
            used[key].add((held["label_id"], held["instance_id"], frame))
            names[key].add(held["answer_name"])
    rows = []
    for node in nodes(world):
        key = (node["ontology_id"], node["feature_key"])
        rows.append(
            node
            | {
                "place_count": 1,
                "exported_name_count": len(names[key]),
                "is_renamed": bool(names[key] - {node["name"]}),
                "is_in_ontology": True,
                "annotation_count": len(used[key]),
            }
        )
    return rows


def classes(world: World, exported: Labels) -> list[Row]:
    """Return how often each class was drawn and each option chosen."""
    selected = {x["label_id"] for x in exported.labels if x["is_selected"]}
    by_class: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for held in exported.annotations:
        key = held["feature_key"], held["answer_key"] or ""
        by_class[held["project_id"], *key].append(held)
    rows = []
    ontologies = grouped(nodes(world), "ontology_id")
    for project in world.projects:
        for node in ontologies[project.ontology["id"],]:
            question = node
            if node["kind"] == "option":
                question = next(
                    n
                    for n in ontologies[project.ontology["id"],]
                    if n["feature_key"] == node["parent_key"]
                )
            elif node["kind"] == "classification" and node["feature_type"] != "text":
                continue
            is_option = question is not node
            answer = node["feature_key"] if is_option else ""
            held_here = by_class[project.id, question["feature_key"], answer]
            once = {(a["label_id"], a["instance_id"]) for a in held_here}
            rows.append(
                {
                    "project_id": project.id,
                    "project_name": project.name,
                    "annotation_type": "object" if node["kind"] == "tool" else "answer",
                    "feature_key": question["feature_key"],
                    "feature_name": question["name"],
                    "answer_key": answer,
                    "answer_name": node["name"] if is_option else None,
                    "annotation_count": len(once),
                    "label_count": len({a["label_id"] for a in held_here}),
                    "data_row_count": len({a["data_row_id"] for a in held_here}),
                    "selected_annotation_count": sum(x in selected for x, _ in once),
                }
            )
    for row in rows:
        same = [
            other["annotation_count"]
            for other in rows
            if other["project_id"] == row["project_id"]
            and other["annotation_type"] == row["annotation_type"]
            and (
                row["annotation_type"] == "object"
                or other["feature_key"] == row["feature_key"]
            )
        ]
        row["share"] = row["annotation_count"] / sum(same) if sum(same) else None
    return rows


# --- training ------------------------------------------------------------------------


def training_set(world: World) -> list[Row]:
    """Return the label of each data row that counted then."""
    as_of = datetime.fromisoformat(VARIABLES["labelbox__training_as_of"])
    as_of = as_of.replace(tzinfo=UTC)
    rows = []
    for row in world.data_rows:
        passed = [step for step in history(row) if step["event_at"] <= as_of]
        made = [label for label in row.labels if label.created_at <= as_of]
        last = row.labels[-1] if len(row.labels) > 1 else None
        label = last if last in made and not last.is_skipped else newest(made)
        if label is None or not passed:
            continue
        status = passed[-1]["to_step_kind"].upper()
        if status not in VARIABLES["labelbox__training_statuses"]:
            continue
        edited = [
            edit
            for edit in row.project.edits
            if edit["labelId"] == label.id and edit["createdAt"] <= as_of
        ]
        options = {o["id"]: o["name"] for o in content.METADATA_ONTOLOGY[0]["options"]}
        split = [f["value"] for f in row.metadata_fields if f["name"] == "split"]
        rows.append(
            {
                **_ids(label),
                "as_of": as_of,
                "project_name": row.project.name,
                "external_id": row.external_id,
                "global_key": row.global_key,
                "dataset_id": row.dataset.id,
                "batch_id": row.batch["id"],
                "workflow_status": status,
                "status_since": passed[-1]["event_at"],
                "labeler": label.created_by.email,
                "labeled_at": label.created_at,
                "agreement": None if label.agreement == -1 else label.agreement,
                "selection": "consensus" if label is last else "newest",
                "is_changed_since": label.updated_at > as_of,
                "version_id": edited[-1]["id"] if edited else f"v1-{label.id}",
                "data_split": options[split[0]] if split else None,
            }
        )
    return rows
