"""``python -m benchmarks``: measures, prints, and writes ``benchmarks/results.md``."""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import measure
from benchmarks.cases import CASES, NIGHTS, TAP
from benchmarks.report import Limit, NightRuns, Results, profiled, regressions
from benchmarks.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.cases import Case, Night
    from benchmarks.measure import Run, Served
    from benchmarks.report import Profile

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
QUICK_SHARE = 0.1  # of a case's records that --quick reads
MAX_START_UP_SECONDS = (
    0.2  # of CPU, to the first request, beyond what importing the SDK takes
)


class Bench:
    """Runs contenders, with files in one folder.

    Args:
        folder: For files that nobody needs afterwards.
        tap: The Python that has the tap.
        packed: Whether the server compresses.
    """

    def __init__(
        self, folder: Path, tap: str = sys.executable, *, packed: bool = False
    ) -> None:
        self.folder = folder
        self.packed = packed
        self._tap = [tap, "-m", "tap_labelbox"]
        self._catalogs: dict[str, str] = {}

    def commands(self, case: Case, server: Served) -> dict[str, list[str]]:
        """Return the command of each contender of a case."""
        all_ids = self._written("all.json", server.settings)
        commands: dict[str, list[str]] = {}
        for name in case.contenders:
            match name:
                case "tap" | "plain":
                    commands[name] = self.singer(
                        name,
                        server.address,
                        *case.streams,
                        all_columns=case.all_columns,
                    )
                case "tap, 16 at once" if self._knows_concurrency():
                    settings = server.address | {"concurrency": 16}
                    commands[name] = self.singer(TAP, settings, *case.streams)
                case "script" | "least":
                    commands[name] = [*_contender(name), all_ids]
                case "client" | "copy":
                    commands[name] = [*_contender(name), case.streams[0], all_ids]
                case "peer":
                    commands[name] = self._peer(server.settings["project_ids"][0])
        return commands

    def singer(
        self,
        name: str,
        settings: dict[str, Any],
        *streams: str,
        all_columns: bool = True,
    ) -> list[str]:
        """Return the command of a tap that reads some streams."""
        program = self._tap if name == TAP else _contender(name)
        number = settings.get("concurrency", "")
        config = self._written(f"{name}{number}.json", settings)
        command = [*program, "--config", config]
        if name not in self._catalogs:
            self._catalogs[name] = _output([*command, "--discover"], self.folder)
        catalog = json.loads(self._catalogs[name])
        for stream in catalog["streams"]:
            for entry in stream["metadata"]:
                if all_columns or not entry["breadcrumb"]:
                    entry["metadata"]["selected"] = stream["stream"] in streams
        catalog_file = self._written(f"{name}-{'-'.join(streams)}.json", catalog)
        return [*command, "--catalog", catalog_file]

    def run(self, name: str, command: Sequence[str], server: Served) -> Run:
        """Run a contender once."""
        singer = name.startswith(TAP) or name in {"plain", "copy"}
        marks = measure.SINGER if singer else measure.LINE
        done = measure.run(command, server, self.folder / "log.txt", marks)
        if name == "peer":
            with (self.folder / "peer.csv").open(newline="", encoding="utf-8") as file:
                done.records = sum(1 for _ in csv.DictReader(file))
        return done

    def contenders(self, case: Case, server: Served) -> dict[str, Callable[[], Run]]:
        """Return what runs each contender of a case once."""
        if case.target:
            taps = {TAP: self._tap, "plain": _contender("plain")}
            warehouse = Warehouse(self.folder, case.target, taps, server.address)
            return {name: partial(warehouse.run, name, server) for name in taps}
        commands = self.commands(case, server)
        return {
            name: partial(self.run, name, command, server)
            for name, command in commands.items()
        }

    def fill(self, results: Results, case: Case, rounds: int) -> None:
        """Measure a case; where the tap falls short of a bar, look why."""
        results.runs[case] = self.measure(case, rounds)
        if results.short(case):
            results.profiles[case] = self.profile(case)

    def measure(self, case: Case, rounds: int) -> dict[str, list[Run]]:
        """Run the contenders of a case in turns."""
        runs: dict[str, list[Run]] = {}
        with measure.served(self.folder, case.sizes, packed=self.packed) as server:
            contenders = self.contenders(case, server)
            if "labels" in case.sizes:
                server.turn(labels=1)  # to have the server's replies made
                for run in contenders.values():
                    run()
            server.turn(
                latency=case.latency,
                rate=case.rate,
                labels=case.sizes.get("labels", 0),
            )
            for number in range(rounds):
                for name, run in contenders.items():
                    done = run()
                    runs.setdefault(name, []).append(done)
                    turn = f"{case.name} {number + 1}/{rounds}"
                    log(f"{turn} {name}: {done.seconds:.2f} s")
        check(case, runs)
        return runs

    def nights(self, share: float) -> list[NightRuns]:
        """Measure all nights, with a share of their projects, but ten at least."""
        nights = (
            replace(n, projects=max(int(share * n.projects), min(n.projects, 10)))
            for n in NIGHTS
        )
        return [self.night(night) for night in nights]

    def night(self, night: Night) -> NightRuns:
        """Measure a run that goes on where another one ended."""
        sizes = {"projects": night.projects, "labels": 20}
        with measure.served(self.folder, sizes) as server:
            # The state is the same as of exports one by one, which take far longer.
            address = server.address | {"export_scope": "workspace"}
            first = self.run(TAP, self.singer(TAP, address, *night.streams), server)
            state = self._written("state.json", json.loads(first.last)["value"])
            server.turn(latency=0.1, polls=1, changed=night.changed)
            command = self.singer(TAP, server.address, *night.streams)
            command += ["--state", state]
            runs = [self.run(TAP, command, server) for _ in range(2)]
            marks = (b'{"type":"STATE"',)
            states = measure.run(command, server, self.folder / "log.txt", marks)
            client = None
            if night.has_client:
                all_ids = self._written("all.json", server.settings)
                command = [*_contender("client"), "night", all_ids]
                client = self.run("client", command, server)
        log(f"{night.title}: {runs[0].records} records, {runs[0].requests} requests")
        return NightRuns(night, runs, states, client)

    def start_up(self) -> Limit:
        """Measure the CPU time to the first request, beyond the SDK's own."""
        with measure.served(self.folder, {"labels": 1}) as server:
            command = self.singer(TAP, server.address, "labels")
            bare = [self._tap[0], "-c", "import os, singer_sdk; os._exit(0)"]
            beyond = [
                measure.cpu_to_first_request(command, server) - measure.cpu(bare)
                for _ in range(5)
            ]
        what = "CPU to the first request, beyond `import singer_sdk`"
        return Limit(what, median(beyond), MAX_START_UP_SECONDS, "s")

    def profile(self, case: Case) -> Profile:
        """Look in which functions the tap spends its time.

        All threads together, while they hold Python's lock: one does at a time.
        """
        raw = self.folder / "profile.txt"
        sampler = Path(sys.executable).with_name("py-spy")
        options = ["--gil", "--format=raw", "--rate=250", f"--output={raw}"]
        with measure.served(self.folder, case.sizes, packed=self.packed) as server:
            command = self.commands(case, server)[TAP]
            server.turn(latency=case.latency, rate=case.rate)
            self.run(TAP, [str(sampler), "record", *options, "--", *command], server)
        own: Counter[str] = Counter()
        below: Counter[str] = Counter()
        for line in raw.read_text("utf-8").splitlines():
            stack, _, times = line.rpartition(" ")
            if not stack:  # a thread that was not begun yet
                continue
            # A line's number tells one call of a function from another.
            frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
            own[frames[-1]] += int(times)
            for frame in set(frames):
                below[frame] += int(times)
        return [
            (frame, 100 * count / own.total(), 100 * below[frame] / own.total())
            for frame, count in own.most_common()
        ]

    def _peer(self, project_id: str) -> list[str]:
        """Return a command of labelpull that reads the export from a file."""
        export, csv_file = self.folder / "peer.ndjson", self.folder / "peer.csv"
        with (
            (self.folder / "export.ndjson").open("rb") as rows,
            export.open("wb") as to,
        ):
            for row in rows:  # it takes U+2028 inside a text for the end of a line
                to.write(row.replace("\u2028".encode(), rb"\u2028"))
        program = Path(sys.executable).with_name("labelpull")
        options = ["--from-export", str(export), "-o", str(csv_file)]
        return [str(program), "pull", project_id, *options]

    def _knows_concurrency(self) -> bool:
        about = _output([*self._tap, "--about", "--format=json"], self.folder)
        return "concurrency" in json.loads(about)["settings"]["properties"]

    def _written(self, name: str, content: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps(content))
        return str(path)


def check(case: Case, runs: dict[str, list[Run]]) -> None:
    """Raise RuntimeError if a contender did not read all that it reads in this case."""
    counts = {
        name: {run.records for run in all_runs}
        for name, all_runs in runs.items()
        if case.reads_all(name)
    }
    if len(counted := set().union(*counts.values())) != 1:
        msg = f"{case.name}: they did not read the same: {counts}"
        raise RuntimeError(msg)
    if case.expected not in {None, *counted}:
        msg = f"{case.name}: {case.expected} records were served: {counts}"
        raise RuntimeError(msg)


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        default=[""],
        metavar="CASE",
        help="names, or how they begin",
    )
    add("--quick", action="store_true", help="a tenth of the records, and one round")
    add("--rounds", type=int, help="for every case")
    add("--tap", default=sys.executable, help="the Python that has the tap to measure")
    add("--postgres", action="store_true", help="with Postgres; adds a user, if root")
    add("--packed", action="store_true", help="let the server compress its replies")
    add("--check", action="store_true", help="write nothing; fail if a ratio got worse")
    add("--profile", metavar="CASE", help="show where the tap's time goes instead")
    arguments = parser.parse_args()
    prefixes = tuple(arguments.only)
    cases = [case for case in CASES if case.name.startswith(prefixes)]
    if not arguments.postgres:
        cases = [case for case in cases if case.name != "postgres"]
    if arguments.quick:
        cases = [replace(c, sizes=c.small(QUICK_SHARE), rounds=1) for c in cases]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        bench = Bench(Path(folder), arguments.tap, packed=arguments.packed)
        if arguments.profile:
            (case,) = (case for case in cases if case.name == arguments.profile)
            log("\n".join(profiled(bench.profile(case))))
            return
        results = Results()
        for case in cases:
            with results.noting_failure(case.name):
                bench.fill(results, case, arguments.rounds or case.rounds)
        if "nights".startswith(prefixes):
            with results.noting_failure("nights"):
                results.nights = bench.nights(QUICK_SHARE if arguments.quick else 1)
        if "start-up".startswith(prefixes):
            with results.noting_failure("start-up"):
                results.limits.append(bench.start_up())
    text = results.text()
    log(f"\n{text}")
    before = RESULTS.read_text("utf-8") if RESULTS.exists() else ""
    everything = vars(parser.parse_args([])) | {"postgres": arguments.postgres}
    if vars(arguments) == everything:
        RESULTS.write_text(text, "utf-8")
    # With --quick there is too little to compare.
    worse = [] if arguments.quick else regressions(before, text)
    for line in worse:
        log(f"Worse than before: {line}")
    sys.exit(bool(results.failures or (worse and arguments.check)))


def log(text: str) -> None:
    """Print a line now, not when a buffer is full."""
    print(text, flush=True)


def _contender(name: str) -> list[str]:
    """Return the command of one of ours."""
    # -P: its folder must not come first where it imports from.
    return [sys.executable, "-P", str(HERE / "contenders" / f"{name}.py")]


def _output(command: Sequence[str], folder: Path) -> str:
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    main()
