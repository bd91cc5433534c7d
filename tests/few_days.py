"""The tap with a week of reports at first, and no month.

A month of all reports is six hundred requests, in each run of all streams; less than a
week is less than what later runs read again. The tests of reports have the month.
``python -m tests.few_days`` is the tap's command.
"""

from __future__ import annotations

import runpy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tap_labelbox.streams import reports

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Label, World

MONTH, reports.FIRST_DAYS = reports.FIRST_DAYS, 7
"""In days: as it is, and in tests."""


def add_reviewed_labels(
    world: World, project_id: str, ago: timedelta = timedelta(0)
) -> None:
    """Add labels, until reports have something on reviewers: one in four has reviews.

    Args:
        world: The workspace.
        project_id: Of the project that gets them.
        ago: How long ago the last of them was made.
    """
    labels: list[Label] = []
    while len(labels) < 9 or not any(label.reviews for label in labels):
        created_at = datetime.now(UTC) - ago - timedelta(seconds=len(labels))
        labels.append(world.add_label(project_id, created_at))


if __name__ == "__main__":
    runpy.run_module("tap_labelbox", run_name="__main__", alter_sys=True)
