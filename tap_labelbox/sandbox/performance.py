"""REST: reports on who did how much, day by day."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from statistics import fmean
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tap_labelbox.sandbox.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_labelbox.sandbox.knobs import Knobs
    from tap_labelbox.sandbox.world import Label, Project, User, World

ROOT = "/api/v1/performance"
MOST_ROWS = 100  # of a page
MOST_DAYS = 366


class Performance:
    """The reports of a workspace.

    Args:
        world: What was done.
        knobs: Tell what the key may see.
    """

    def __init__(self, world: World, knobs: Knobs) -> None:
        self._world = world
        self._knobs = knobs

    def get(self, address: str) -> Reply:
        """Answer a GET that came with the key."""
        parts = urlsplit(address)
        if parts.path != f"{ROOT}/workspace/labelers":
            return _refusal(404, "Not found")
        if self._knobs.performance == "forbidden":
            return _refusal(403, "You may not view performance across the workspace")
        parameters = dict(parse_qsl(parts.query))
        try:
            first, last = (
                date.fromisoformat(parameters[f"{n}Date"]) for n in ("start", "end")
            )
            page, size = (
                int(parameters.get("page", 1)),
                int(parameters.get("perPage", 50)),
            )
        except (KeyError, ValueError) as error:
            return _refusal(400, "Validation failed", parameter=str(error))
        if not (0 <= (last - first).days < MOST_DAYS and page > 0 < size <= MOST_ROWS):
            return _refusal(400, "Validation failed", parameter="page or period")
        rows = list(self._labelers(first, last))
        body: dict[str, Any] = {"data": rows[(page - 1) * size : page * size]}
        body["total"] = len(rows)
        if last < self._world.now().date():
            computed = datetime.combine(last + timedelta(days=1), time(0, 5))
            body["cachedAt"] = f"{computed.isoformat()}.000Z"
        return Reply(200, {}, body)

    def _labelers(self, first: date, last: date) -> Iterable[dict[str, Any]]:
        work: dict[tuple[Project, User], list[Label]] = defaultdict(list)
        for project in (*self._world.projects, self._world.deleted_project):
            for label in project.labels:
                seen = self._knobs.performance == "all" or (
                    label.created_by is self._world.key_owner
                )
                if seen and first <= label.created_at.date() <= last:
                    work[project, label.created_by].append(label)
        keys = sorted(work, key=lambda key: (key[0].id, key[1].id))
        return [_row(*key, work[key]) for key in keys]


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
    return {
        "userId": person.id,
        "email": _masked(person.email) if person.is_external_user else person.email,
        "memberType": "external" if person.is_external_user else "internal",
        "memberOrganizationId": organization["id"],
        "memberOrganizationName": organization["name"],
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
