"""The tap with a week of reports at first, and no month.

A month of all reports is six hundred requests, in each run of all streams; less than a
week is less than what later runs read again. The tests of reports have the month.
``python -m tests.few_days`` is the tap's command.
"""

from __future__ import annotations

import runpy

from tap_labelbox.streams import reports

MONTH, reports.FIRST_DAYS = reports.FIRST_DAYS, 7
"""In days: as it is, and in tests."""

if __name__ == "__main__":
    runpy.run_module("tap_labelbox", run_name="__main__", alter_sys=True)
