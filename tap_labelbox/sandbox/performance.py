"""REST: reports on who did how much, day by day, and what it adds up to."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tap_labelbox.sandbox.replies import Reply
from tap_labelbox.sandbox.sign_ins import SignIns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tap_labelbox.sandbox.knobs import Knobs
    from tap_labelbox.sandbox.world import Label, Project, User, World

ROOT = "/api/v1/performance"
MOST_ROWS = 100  # of a page
MOST_DAYS = 366


# Unlike all others, the last one is of a category, and in a unit, that nobody knows.
METRICS = (
    ("labels_created", "throughput", "count", "time", "Labels that were submitted."),
    ("labels_skipped", "throughput", "count", "time", "Data rows skipped."),
    (
        "average_handling_time",
        *("efficiency", "seconds", "time", "Seconds a label: all that was done to it."),
    ),
    ("approval_rate", "quality", "percentage", "time", "Share of reviews: approved."),
    (
        "consensus_distribution",
        *("quality", "count", "score", "Labels by how far others agree — 0 to 1."),
    ),
    (
        "benchmark_distribution",
        *("quality", "count", "score", "Labels by agreement with a benchmark."),
    ),
    ("labels_praised", "sentiment", "hearts", "time", "Labels that pleased somebody."),
)
REWORK_SECONDS = 7


class Performance:
    """The reports of a workspace.

    Args:
        world: What was done.
        knobs: Tell what the key may see.
    """

    def __init__(self, world: World, knobs: Knobs) -> None:
        self._world = world
        self._knobs = knobs
        self._sign_ins = SignIns(world)

    def get(self, address: str) -> Reply:
        """Answer a GET that came with the key."""
        parts = urlsplit(address)
        parameters = dict(parse_qsl(parts.query))
        match parts.path.removeprefix(f"{ROOT}/").split("/"):
            case ["metrics"]:
                names = ("name", "category", "unit", "buckets", "description")
                rows = [dict(zip(names, row, strict=True)) for row in METRICS]
                return Reply(200, {}, {"data": rows})
            case ["projects", project_id, *rest]:
                project = self._visible(unquote(project_id))
                if not project:
                    return _refusal(404, "Project not found")
                projects = [project]
            case ["workspace", *rest]:
                if self._knobs.performance == "forbidden":
                    msg = "You may not view performance across the workspace"
                    return _refusal(403, msg)
                projects = [*self._world.projects, self._world.deleted_project]
                project = None
            case _:
                return _refusal(404, "Not found")
        try:
            return self._report(rest, project, projects, parameters)
        except (KeyError, ValueError) as error:
            return _refusal(400, "Validation failed", parameter=str(error))

    def _report(
        self,
        rest: list[str],
        project: Project | None,
        projects: list[Project],
        parameters: dict[str, str],
    ) -> Reply:
        first, last = (
            date.fromisoformat(parameters[f"{n}Date"]) for n in ("start", "end")
        )
        is_feed = rest[0].startswith("sign-in")
        if not 0 <= (last - first).days < (31 if is_feed else MOST_DAYS):
            return _refusal(400, "Validation failed", parameter="endDate")
        page = int(parameters.get("page", 1))
        size = int(parameters.get("perPage", 100 if is_feed else 50))
        if not page > 0 < size <= MOST_ROWS:
            return _refusal(400, "Validation failed", parameter="page or perPage")
        if is_feed and not project:
            feed = {
                "sign-in-events": self._sign_ins.events,
                "sign-in-sessions": self._sign_ins.sessions,
            }[rest[0]]
            return Reply(200, {}, feed(first, last, parameters.get("cursor", ""), size))
        if rest[0] == "metrics":
            body = self._series(unquote(rest[1]), projects, (first, last), parameters)
            if project:
                return Reply(200, {}, body | {"projectId": project.id})
            own = {"organizationId": self._world.organization["id"]}
            return Reply(200, {}, body | own)
        rows = self._table(rest[0], project, projects, (first, last))
        body = {"data": rows[(page - 1) * size : page * size], "total": len(rows)}
        if last < self._world.now().date():
            computed = datetime.combine(last + timedelta(days=1), time(0, 5))
            body["cachedAt"] = f"{computed.isoformat()}.000Z"
        return Reply(200, {}, body)

    def _table(
        self,
        name: str,
        project: Project | None,
        projects: list[Project],
        period: tuple[date, date],
    ) -> list[dict[str, Any]]:
        if name == "reviewers" and project:
            return self._reviewers(project, *period)
        if name != "labelers":
            raise KeyError(name)
        rows = self._labelers(projects, *period)
        if not project:
            return rows
        return [
            {k: v for k, v in row.items() if k not in OF_PROJECTS}
            | {"avgRating": _rating(row)}
            for row in rows
        ]

    def _visible(self, project_id: str) -> Project | None:
        """Return a project if the key may see its performance."""
        hidden = project_id in self._knobs.hidden_performance
        project = self._world.project(project_id)
        if not project or project.forbidden or project.deleted or hidden:
            return None
        return None if self._knobs.performance == "forbidden" else project

    def _labels(
        self, projects: Iterable[Project], first: date, last: date
    ) -> Iterator[Label]:
        for project in projects:
            for label in project.labels:
                seen = self._knobs.performance == "all" or (
                    label.created_by is self._world.key_owner
                )
                if seen and first <= label.created_at.date() <= last:
                    yield label

    def _labelers(
        self, projects: Iterable[Project], first: date, last: date
    ) -> list[dict[str, Any]]:
        work: dict[tuple[Project, User], list[Label]] = defaultdict(list)
        for label in self._labels(projects, first, last):
            work[label.project, label.created_by].append(label)
        keys = sorted(work, key=lambda key: (key[0].id, key[1].id))
        return [_row(*key, work[key]) for key in keys]

    def _reviewers(
        self, project: Project, first: date, last: date
    ) -> list[dict[str, Any]]:
        work: dict[User, list[Label]] = defaultdict(list)
        for label in self._labels([project], first, last):
            for person in {review["createdBy"] for review in label.reviews}:
                work[person].append(label)
        by_id = sorted(work.items(), key=lambda item: item[0].id)
        return [_reviewer_row(project, person, done) for person, done in by_id]

    def _series(
        self,
        name: str,
        projects: list[Project],
        period: tuple[date, date],
        parameters: dict[str, str],
    ) -> dict[str, Any]:
        _, _, unit, kind, _ = next(row for row in METRICS if row[0] == name)
        first, last = period
        labels: dict[date, list[Label]] = defaultdict(list)
        for label in self._labels(projects, *period):
            labels[label.created_at.date()].append(label)
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        buckets = (
            [_value(name, day, labels[day]) for day in days]
            if kind == "time"
            else _scores(name, [label for day in days for label in labels[day]])
        )
        return {
            "metric": name,
            "unit": unit,
            "bucketType": kind,
            "buckets": buckets,
            "interval": parameters.get("interval", "day"),
            "startDate": first.isoformat(),
            "endDate": last.isoformat(),
            "generatedAt": _text(self._world.now()),
        }


OF_PROJECTS = {
    "projectName",
    "projectOrganizationId",
    "projectOrganizationName",
    "isProjectDeleted",
}


def _rating(row: dict[str, Any]) -> float | None:
    return 4.5 if row["labelsCreated"] > 1 else None


def _value(name: str, day: date, labels: list[Label]) -> dict[str, Any]:
    """Return the value of a metric on a day."""
    start = datetime.combine(day, time())
    bucket: dict[str, Any] = {
        "start": f"{start.isoformat()}.000Z",
        "end": f"{(start + timedelta(days=1)).isoformat()}.000Z",
    }
    reviews = [review for label in labels for review in label.reviews]
    match name:
        case "labels_created":
            value: float = sum(not label.is_skipped for label in labels)
        case "labels_skipped":
            value = sum(label.is_skipped for label in labels)
        case "average_handling_time":
            modes = {
                "creating": round(sum(x.seconds_to_label for x in labels), 3),
                "reviewing": 20 * len(reviews),
                "reworking": REWORK_SECONDS * bool(reviews),
            }
            count = len(labels)
            value = round(sum(modes.values()) / count, 3) if count else 0
            bucket |= {"modes": modes}
            bucket |= {"numerator": sum(modes.values()), "denominator": count}
        case "approval_rate":
            approved = sum(review["score"] > 0 for review in reviews)
            value = approved / len(reviews) if reviews else 0
            bucket |= {"numerator": approved, "denominator": len(reviews)}
        case _:
            value = len(labels) // 3
    return bucket | {"value": value}


def _scores(name: str, labels: list[Label]) -> list[dict[str, Any]]:
    """Return how many labels agree how far with others, in ten ranges."""
    counts = [0] * 10
    for label in labels:
        score = label.agreement
        if name != "consensus_distribution":
            score = label.benchmark_agreement
        if score is not None and score >= 0:
            counts[min(int(score * 10), 9)] += 1
    return [
        {"rangeStart": n / 10, "rangeEnd": (n + 1) / 10, "value": count}
        for n, count in enumerate(counts)
    ]


def _reviewer_row(
    project: Project, person: User, labels: list[Label]
) -> dict[str, Any]:
    """Return a reviewer's figures in a project."""
    reviews = [r for x in labels for r in x.reviews if r["createdBy"] is person]
    approved = [review for review in reviews if review["score"] > 0]
    return _person(person) | {
        "projectId": project.id,
        "labelsReviewed": len(labels),
        "labelsReworked": len(labels) // 4,
        "memberTotalTime": 20 * len(reviews) + REWORK_SECONDS * (len(labels) // 4),
        "avgReviewTime": 20,
        "avgReworkTime": REWORK_SECONDS if len(labels) // 4 else 0,
        "reviewTime": 20 * len(reviews),
        "reworkTime": REWORK_SECONDS * (len(labels) // 4),
        "reworkPercentage": (len(labels) // 4) / len(labels),
        "approvalPercentage": len(approved) / len(reviews),
        "isRemoved": False,
    }


def _person(person: User) -> dict[str, Any]:
    return {
        "userId": person.id,
        "email": _masked(person.email) if person.is_external_user else person.email,
        "memberType": "external" if person.is_external_user else "internal",
        "memberOrganizationId": person.organization["id"],
        "memberOrganizationName": person.organization["name"],
    }


def _text(timestamp: datetime) -> str:
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(project: Project, person: User, labels: list[Label]) -> dict[str, Any]:
    """Return a labeler's figures in a project."""
    skipped = [label for label in labels if label.is_skipped]
    created = [label for label in labels if not label.is_skipped]
    reviews = [review for label in labels for review in label.reviews]
    submitted_time = sum(label.seconds_to_label for label in created)
    skipped_time = sum(label.seconds_to_label for label in skipped)
    agreements = [x.agreement for x in labels if x.agreement not in (None, -1.0)]
    organization = person.organization
    approved = [review for review in reviews if review["score"] > 0]
    return _person(person) | {
        "projectId": project.id,
        "projectName": None if project.deleted else project.name,
        "projectOrganizationId": None if project.deleted else organization["id"],
        "projectOrganizationName": None if project.deleted else organization["name"],
        "isProjectDeleted": project.deleted,
        "labelsCreated": len(created),
        "labelsSkipped": len(skipped),
        "memberTotalTime": round(submitted_time + skipped_time, 3),
        "labelingTimeSubmitted": round(submitted_time, 3),
        "labelingTimeSkipped": round(skipped_time, 3),
        "reviewsReceived": len(reviews),
        "reviewTimeAll": 20 * len(reviews),
        "reworkTimeAll": 0,
        "avgTimePerLabel": round(submitted_time / len(created), 3) if created else 0,
        "avgReviewTimeAll": 20 if reviews else 0,
        "avgReworkTimeAll": 0,
        "avgBenchmarkAgreement": 0,
        "avgConsensusAgreement": fmean(agreements) if agreements else 0,
        "reworkPercentage": 0,
        "approvalPercentage": len(approved) / len(reviews) if reviews else 0,
        "isRemoved": False,
    }


def _masked(email: str) -> str:
    return f"{email[0]}***@***"


def _refusal(status: int, message: str, parameter: str = "") -> Reply:
    details = [{"parameter": parameter, "message": "is not valid"}] if parameter else []
    return Reply(status, {}, {"message": message, "details": details})
