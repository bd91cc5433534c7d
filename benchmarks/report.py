"""Measurements as tables that both people and the next run can read."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distributions
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.cases import MAX_MEGABYTES, TAP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.cases import Case, Night
    from benchmarks.measure import Run

MAX_FRAMES = 25  # of a profile
MAX_STATES = 5  # that a night may have beside those that take no more than its records
TOLERATED_SHARE = 0.2  # of a ratio, that may be lost
PACKAGES = ("singer-sdk", "labelbox", "graphqlclient", "labelpull", "requests")
RATIO = re.compile(r"^\| ([\w-]+) \| (.+?) \| (.+?) \| ([\d.]+) \(", re.MULTILINE)

HEAD = """\
# How fast the tap is

Written by `make bench`. A ratio of 5 says: the other takes five times as long for the
same records. Times are those of whole processes, start-up included, with their
output read from a pipe; *working* is the time after a program's first request. Given
are medians, with the least and the greatest of all rounds; the contenders took
turns, round by round, and a ratio is that of one round. A MB is 10^6 bytes. A label
has about 3 KB; a data row of an export 6 KB, with one label or two.

- *plain* is a tap as the SDK's template leads one to write it, with labels and data
  rows only.
- *client* is the official client's own loop, a line of JSON for each record.
- *script* is the one on Labelbox's data export page.
- *copy* wraps the bytes as they come, without decoding them.
- *least* is a script that asks only what it must, over one connection: one export for
  all projects, a page of labels of each.
- *peer* is labelpull. It reads a file on disk, because it has no setting for another
  address; it has the latest label of each data row with a global key, unnested.
"""

NIGHTS_HEAD = """
## Requests and seconds a night

All export streams and `labels`, the night after a first load: 100 ms a request, an
export that is ready when it is asked for the second time. The official client's loop
exports each project's activity since the day before and reads its labels, one project
after the other; it is measured for the smallest count, and computed from that (about)
for the others, project by project.
"""

Profile = list[tuple[str, float, float]]
"""Functions, and the share of the time spent in each: itself, and with what it calls,
in per cent; the longest first."""


@dataclass
class Limit:
    """Something that must not be more than so much."""

    what: str
    measured: float
    most: float
    unit: str


@dataclass
class NightRuns:
    """Runs that go on where another one ended, and what is measured beside them."""

    night: Night
    runs: list[Run]
    states: Run
    """A run whose STATE messages were counted as records."""
    client: Run | None
    """The official client's loop over the same projects."""

    @property
    def seconds(self) -> float:
        """Return the median."""
        return median(run.seconds for run in self.runs)

    @property
    def limits(self) -> list[Limit]:
        """Return what it must not take more of."""
        night, states = self.night, self.states
        requests = max(run.requests for run in self.runs)
        state = len(states.last) / 1e6
        megabytes = states.records * state
        records = states.written / 1e6 - megabytes
        return [
            Limit(night.title, self.seconds, night.seconds, "s"),
            Limit(f"{night.title}: requests", requests, night.requests, ""),
            Limit(
                f"{night.title}: all states, beside {records:.1f} MB of records",
                megabytes,
                round(records + MAX_STATES * state, 2),
                "MB",
            ),
        ]


@dataclass
class Results:
    """Everything that was measured."""

    runs: dict[Case, dict[str, list[Run]]] = field(default_factory=dict)
    nights: list[NightRuns] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    profiles: dict[Case, Profile] = field(default_factory=dict)
    """Of the tap, in cases in which it is not as fast as it is to be."""

    failures: dict[str, str] = field(default_factory=dict)
    """Why something could not be measured, by its name."""

    @contextmanager
    def noting_failure(self, name: str) -> Iterator[None]:
        """Note what goes wrong in the block; the rest is measured all the same."""
        try:
            yield
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            self.failures[name] = " ".join(str(error).split())
            print(f"{name}: {error}", file=sys.stderr, flush=True)

    def short(self, case: Case) -> bool:
        """Return whether the tap falls short of a bar."""
        runs = self.runs[case]
        return any(
            bar is not None and median(_ratios(runs[who], runs[other])) < bar
            for (who, other), bar in case.bars.items()
            if who in runs and other in runs
        )

    def text(self) -> str:
        """Write it down."""
        parts = [HEAD, *self._cases(), machine(), "## Ratios\n", *self._ratios()]
        if self.failures:
            parts += ["\n## Not measured\n"]
            parts += [f"- `{name}`: {why}" for name, why in self.failures.items()]
        if bounded := [c for c in self.runs if c.bounds and self.short(c)]:
            parts += ["\n### What bounds it\n"]
            parts += [f"- `{case.name}`: {case.bounds}" for case in bounded]
        if any(done.night.reads_all for done in self.nights):
            parts += [NIGHTS_HEAD, *self._nights()]
        parts += ["\n## Limits\n", *self._limits()]
        parts += ["\n## Runs\n", *self._runs()]
        for case, profile in self.profiles.items():
            parts += [f"\n## Where the time of `{case.name}` goes\n"]
            parts += profiled(profile)
        return "\n".join(parts) + "\n"

    def _cases(self) -> Iterator[str]:
        for case in self.runs:
            sizes = ", ".join(f"{name} {n:,}" for name, n in case.sizes.items())
            yield f"- `{case.name}`: {case.title} ({sizes.replace('_', ' ')})"

    def _ratios(self) -> Iterator[str]:
        yield from _head("case", "tap", "against", "ratio", "working", "at least", "")
        for case, runs in self.runs.items():
            for (who, other), bar in case.bars.items():
                if not (who in runs and other in runs):
                    continue
                pairs = list(zip(runs[who], runs[other], strict=True))
                whole = _ratios(runs[who], runs[other])
                working = _spread([b.working / a.working for a, b in pairs], 1)
                yield _row(
                    case.name,
                    who,
                    other,
                    _spread(whole, 2),
                    working if runs[other][0].start_up else "",
                    *_against(bar, median(whole)),
                )

    def _limits(self) -> Iterator[str]:
        yield from _head("what", "measured", "at most", "")
        peaks = {
            f"memory, {case.name}, {name}": max(run.peak for run in runs)
            for case, all_runs in self.runs.items()
            for name, runs in all_runs.items()
            if name.startswith(TAP) and not case.target
        }
        memory = [
            Limit(what, peak, MAX_MEGABYTES, "MB") for what, peak in peaks.items()
        ]
        requests = [
            Limit(f"requests, {case.name}, {TAP}", count, case.max_requests, "")
            for case, all_runs in self.runs.items()
            if case.max_requests is not None
            for count in [max(run.requests for run in all_runs[TAP])]
        ]
        nights = [limit for done in self.nights for limit in done.limits]
        for limit in (*memory, *requests, *nights, *self.limits):
            yield _row(
                limit.what,
                f"{limit.measured:.3g} {limit.unit}",
                f"{limit.most:g} {limit.unit}",
                _verdict(met=limit.measured <= limit.most),
            )

    def _nights(self) -> Iterator[str]:
        nights = [done for done in self.nights if done.night.reads_all]
        measured = next((done for done in nights if done.client), None)
        head = ["projects", "changed", "requests", "s", "records"]
        yield from _head(*head, "client's requests", "client's s")
        for done in nights:
            night, (run, *_) = done.night, done.runs
            cells = [f"{night.projects:,}", f"{night.changed}", f"{run.requests:,}"]
            cells += [f"{done.seconds:.1f}", f"{run.records:,}"]
            if measured and (client := measured.client):
                times = night.projects / measured.night.projects
                about = "" if done is measured else "about "
                cells += [f"{about}{times * client.requests:,.0f}"]
                cells += [f"{about}{times * client.seconds:,.0f}"]
            yield _row(*cells)

    def _runs(self) -> Iterator[str]:
        yield from _head(
            "case",
            "who",
            "s",
            "start-up s",
            "CPU s",
            "peak MB",
            "records",
            "records/s",
            "fetched MB/s",
            "requests",
        )
        for case, all_runs in self.runs.items():
            for name, runs in all_runs.items():
                seconds = median(run.seconds for run in runs)
                start_ups = [run.start_up for run in runs if run.start_up is not None]
                yield _row(
                    case.name,
                    name,
                    _spread([run.seconds for run in runs], 2),
                    f"{median(start_ups):.2f}" if start_ups else "",
                    f"{median(run.cpu for run in runs):.2f}",
                    f"{max(run.peak for run in runs):.0f}",
                    f"{runs[0].records:,}",
                    f"{runs[0].records / seconds:,.0f}",
                    f"{runs[0].fetched / seconds / 1e6:.1f}",
                    f"{runs[0].requests:,}",
                )


def regressions(before: str, now: str) -> list[str]:
    """Name the ratios that have become worse by more than is tolerated.

    Args:
        before: An earlier text.
        now: Today's; what is in just one of them is not compared.
    """
    then, today = (
        {row[:3]: float(row[3]) for row in RATIO.findall(text)}
        for text in (before, now)
    )
    return [
        f"{case}: {who} against {other} was {then[case, who, other]}, is {ratio}"
        for (case, who, other), ratio in today.items()
        if ratio < then.get((case, who, other), 0.0) * (1 - TOLERATED_SHARE)
    ]


def machine() -> str:
    """Return a paragraph on the machine and the versions."""
    there = {package.name: package.version for package in distributions()}
    versions = ", ".join(f"{name} {there[name]}" for name in PACKAGES if name in there)
    return (
        "\n## Machine\n\n"
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}; {versions}.\n"
    )


def profiled(profile: Profile) -> list[str]:
    """Return a profile as a table."""
    return [
        *_head("function of the tap", "% itself", "% with what it calls"),
        *(
            _row(frame, f"{itself:.1f}", f"{whole:.1f}")
            for frame, itself, whole in profile[:MAX_FRAMES]
        ),
    ]


def _ratios(runs: list[Run], other: list[Run]) -> list[float]:
    return [b.seconds / a.seconds for a, b in zip(runs, other, strict=True)]


def _head(*names: str) -> Iterable[str]:
    return (_row(*names), "|" + "---|" * len(names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: list[float], digits: int) -> str:
    least, most = min(values), max(values)
    return f"{median(values):.{digits}f} ({least:.{digits}f}..{most:.{digits}f})"


def _against(bar: float | None, ratio: float) -> tuple[str, str]:
    return ("", "") if bar is None else (f"{bar:g}", _verdict(met=ratio >= bar))


def _verdict(*, met: bool) -> str:
    return "yes" if met else "**no**"
