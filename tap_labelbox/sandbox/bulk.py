"""The bulk export: `exportLabels`, one JSON file of all labels of a project."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_labelbox.sandbox import content, notation
from tap_labelbox.sandbox.schema import refusal

if TYPE_CHECKING:
    from datetime import datetime

    from tap_labelbox.sandbox.files import Files
    from tap_labelbox.sandbox.knobs import Knobs
    from tap_labelbox.sandbox.world import Label, Project, World

Row = dict[str, Any]

LIFE = timedelta(minutes=30)  # a new file is made at most this often
ERAS = ("2018-02", "2018-06", "2018-08", "2020", "2021", "2023")
RARE_EVERY_ROWS = 7  # one has what the others do not have


@dataclass
class _Export:
    """The latest export of a project."""

    asked: int = 0
    created_at: datetime | None = None
    url: str | None = None


class BulkExports:
    """The bulk exports of a workspace."""

    def __init__(self, world: World, knobs: Knobs, files: Files) -> None:
        self._world = world
        self._knobs = knobs
        self._files = files
        self._exports: dict[str, _Export] = {}

    def ask(self, project: Project) -> Row:
        """Answer `exportLabels`: begin an export, or return its status."""
        if self._knobs.exports_v1 == "forbidden":
            code = "OPERATION_NOT_ALLOWED"
            raise refusal(code, "Your plan does not include label exports")
        now = self._world.now()
        export = self._exports.setdefault(project.id, _Export())
        if export.created_at and now - export.created_at >= LIFE:
            export = self._exports[project.id] = _Export()
        if export.url is None:
            export.asked += 1
            if export.asked > self._knobs.polls:
                export.created_at = now
                name = f"export-{self._world.uuid()}.json"
                export.url = self._files.put(name, self._write(project))
        return {
            "downloadUrl": export.url,
            "createdAt": export.created_at,
            "shouldPoll": export.url is None,
        }

    def _write(self, project: Project) -> bytes:
        now = self._world.now()
        return b"[%s]" % b",".join(
            content.compact(record(label, now)).encode()
            for label in project.labels
            if label.listed_at <= now
        )


def record(label: Label, now: datetime) -> Row:
    """Write a label with the columns of its project's era.

    Args:
        label: Which.
        now: From when on the links to Labelbox's own files are good.
    """
    project, row, era = label.project, label.data_row, ERAS.index(label.project.era)
    written: Row = {"ID": label.id}
    if era >= ERAS.index("2020"):
        written["DataRow ID"] = row.id
    written["Labeled Data"] = content.signed(row.row_data, now + timedelta(days=14))
    written["Label"] = notation.old(label)
    written["Created By"] = label.created_by.email
    written["Project Name"] = project.name
    written["Seconds to Label"] = label.seconds_to_label
    written["External ID"] = row.external_id
    if era == 0:
        # The earliest files knew no more, and took all for text.
        written["Seconds to Label"] = str(label.seconds_to_label)
        return written | {"External ID": row.external_id or ""}
    written |= {
        "Created At": _formatted(label.created_at),
        "Agreement": label.agreement,
        "Dataset Name": row.dataset.name,
        "Reviews": [_review(label, review) for review in label.reviews],
        "View Label": f"https://editor.labelbox.com?project={project.id}"
        f"&label={label.id}",
    }
    if era == 1 and row.number % RARE_EVERY_ROWS == 0 and not label.is_skipped:
        mask = f"https://api.labelbox.com/masks/{label.id}.png"
        written["Masks"] = dict.fromkeys(notation.old(label), mask)
    if era >= ERAS.index("2020"):
        written["Updated At"] = _formatted(label.updated_at)
        written["Benchmark Agreement"] = label.benchmark_agreement
        written["Benchmark ID"] = label.id if label.is_benchmark_reference else None
    if project.era == "2020":
        written["Benchmark Reference ID"] = None
    if era >= ERAS.index("2021"):
        issues = int(label.has_open_issues)
        written["Has Open Issues"] = float(issues) if row.number % 2 else issues
        written["Skipped"] = label.is_skipped
        written["DataRow Metadata"] = row.metadata_fields
        written["Media Attributes"] = row.media_attributes
        written["Data Split"] = (
            "training" if row.number % RARE_EVERY_ROWS == 0 else None
        )
        written["media_type"] = project.media.lower()
    if era >= ERAS.index("2023"):
        written["Global Key"] = row.global_key
        written["Seconds to Review"] = len(label.reviews) * 12.5
        written["Seconds to Create"] = label.seconds_to_label
    return written


def _review(label: Label, review: Row) -> Row:
    return {
        "score": int(review["score"]),
        "id": review["id"],
        "createdAt": _formatted(review["createdAt"]),
        "createdBy": review["createdBy"].email,
        "labelId": label.id,
    }


def _formatted(timestamp: datetime) -> str:
    return timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
