"""The cases that are measured, and how fast the tap has to be in each."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

EXPORT_STREAMS = (
    "data_row_exports",
    "export_labels",
    "annotations",
    "annotation_relationships",
    "label_reviews",
    "workflow_history",
    "data_row_metadata",
    "data_row_attachments",
    "export_errors",
)
EVERYTHING = (*EXPORT_STREAMS, "labels")
TAP, TAP_16 = "tap", "tap, 16 at once"
MAX_MEGABYTES = 150.0  # of 10^6 bytes; memory of the tap


@dataclass(frozen=True, eq=False)
class Case:
    """Something to read, and who reads it."""

    name: str
    title: str
    sizes: dict[str, int]
    """What the server is to serve."""
    contenders: tuple[str, ...]
    bars: dict[tuple[str, str], float | None]
    """How many times as long as the first the second has to take, at least."""
    latency: float = 0.0
    """Seconds before each reply."""
    rate: float = 0.0
    """Bytes of a file in a second, over each connection; 0 is no limit."""
    max_requests: int | None = None
    """Requests of the tap at most, as it is set by default."""
    streams: tuple[str, ...] = ("labels",)
    rounds: int = 3
    all_columns: bool = True
    """Whether columns are read that are off by default."""
    target: str | None = None
    """What loads the records, in Meltano's words; None where nothing does."""
    bounds: str = ""
    """What keeps the tap from being faster, printed where it misses a bar."""

    @property
    def expected(self) -> int | None:
        """Return the number of records; None where it depends on what is in a row."""
        depends = "annotations" in self.streams or "filled" in self.sizes
        return None if depends else prod(self.sizes.values())

    def reads_all(self, contender: str) -> bool:
        """Return whether a contender reads every record that the tap does.

        labelpull takes a part of the labels; one stream is all that the others write.
        """
        if contender.startswith(TAP) or contender == "least":
            return True
        return contender != "peer" and len(self.streams) == 1

    def small(self, share: float) -> dict[str, int]:
        """Return the sizes of a smaller case, with as many projects as make sense."""
        smaller = {name: max(1, int(n * share)) for name, n in self.sizes.items()}
        if self.sizes.get("projects", 1) > 1:
            smaller |= {n: self.sizes[n] for n in {"labels", "filled"} & {*smaller}}
        return smaller


@dataclass(frozen=True)
class Night:
    """A run that goes on after another one; 100 ms a request, an export one poll."""

    projects: int
    changed: int
    """In how many of them something happened."""
    streams: tuple[str, ...]
    requests: float
    """At most."""
    seconds: float
    """At most."""
    has_client: bool = False
    """Whether the official client's loop over the projects is measured beside it."""

    @property
    def reads_all(self) -> bool:
        """Return whether it is a row in the table of whole nights."""
        return self.streams == EVERYTHING

    @property
    def title(self) -> str:
        """Return what it is called in the tables."""
        streams = "labels" if "labels" in self.streams else "exports"
        if self.reads_all:
            streams = "exports and labels"
        what = f"{self.changed} changed" if self.changed else "nothing new"
        return f"{what} of {self.projects:,} projects, {streams}, 100 ms a request"


NIGHTS = (
    Night(200, 0, EXPORT_STREAMS, 20, 4),
    Night(500, 0, ("projects", "labels"), 40, 3),
    Night(10, 10, EVERYTHING, 15, 4, has_client=True),
    Night(100, 10, EVERYTHING, 25, 4),
    Night(1000, 10, EVERYTHING, 150, 10),
    Night(4000, 10, EVERYTHING, 600, 30),
)

CASES = (
    Case(
        "labels-100ms",
        "labels of one project, four to a second, 100 ms a request",
        {"labels": 20_000},
        (TAP, TAP_16, "plain", "client", "script"),
        {
            (TAP, "plain"): None,
            (TAP, "client"): 5,
            (TAP, "script"): 7,
            (TAP_16, "client"): 10,
            (TAP_16, "script"): 10,
        },
        latency=0.1,
        max_requests=220,
        rounds=2,
        bounds="205 pages, 8 at once, are 26 rounds of 100 ms; the first page comes "
        "alone, and what the last pages may lack is asked for behind them: 2.9 s, and "
        "0.3 s until the first request. 16 at once, they are 13 rounds: what is left "
        "is 0.3 s of start-up and 1 s of CPU, of which Python runs one thread at a "
        "time.",
    ),
    Case(
        "labels",
        "labels of one project",
        {"labels": 100_000},
        (TAP, "plain", "client", "script", "copy"),
        {
            (TAP, "plain"): 4,
            (TAP, "client"): None,
            (TAP, "script"): None,
            (TAP, "copy"): None,
        },
        bounds="Half of the time is that of the threads that ask: decoding takes 18 % "
        "of all (7 the check for UTF-8 that msgspec does not make of what is passed "
        "on), the records 13, requests and urllib3 10, starting threads 6. The other "
        "half is start-up (15 %), the lines (8), the walk over the pages (8), and "
        "waiting for Python's lock. No garbage collection, or structs that are not "
        "tracked, gained nothing.",
    ),
    Case(
        "projects-100ms",
        "labels of many projects, 100 ms a request",
        {"projects": 500, "labels": 20},
        (TAP, "plain", "client"),
        {(TAP, "plain"): 6, (TAP, "client"): None},
        latency=0.1,
        rounds=1,
    ),
    Case(
        "first-load",
        "labels and data_row_exports of many small projects, for the first time",
        {"projects": 200, "labels": 5, "filled": 5},
        (TAP, "least"),
        {(TAP, "least"): 0.2},
        max_requests=40,
        streams=("data_row_exports", "labels"),
    ),
    Case(
        "exports",
        "data_row_exports with all its columns, of one export",
        {"exported": 100_000},
        (TAP, "plain", "client", "copy"),
        {(TAP, "plain"): 10, (TAP, "client"): 2, (TAP, "copy"): 0.5},
        streams=("data_row_exports",),
        bounds="Decoding takes 25 % (6 the check for UTF-8 that msgspec does not make "
        "of what is passed on), the records of 38 columns 21, the lines 12, start-up 9 "
        "(nearly all of it the SDK's); the rest is going from a row to its project and "
        "its streams. No garbage collection, or structs that are not tracked, gained "
        "nothing.",
    ),
    Case(
        "parts",
        "data_row_exports of one export in parts of 8 MB, 100 ms a request, 25 MB/s a "
        "connection",
        {"exported": 48_000},
        (TAP, "client"),
        {(TAP, "client"): 4},
        latency=0.1,
        rate=25e6,
        streams=("data_row_exports",),
        rounds=2,
    ),
    Case(
        "annotations",
        "annotations, of one export",
        {"exported": 10_000},
        (TAP, "peer"),
        {(TAP, "peer"): 1},
        streams=("annotations",),
    ),
    Case(
        "default",
        "all nine streams of one export, as they are selected by default",
        {"exported": 10_000},
        (TAP, "client", "copy"),
        {(TAP, "client"): None, (TAP, "copy"): None},
        streams=EXPORT_STREAMS,
        all_columns=False,
    ),
    Case(
        "bulk",
        "bulk_export, of one file",
        {"bulk_exported": 50_000},
        (TAP, "copy"),
        {(TAP, "copy"): 0.3},
        streams=("bulk_export",),
    ),
    Case(
        "duckdb",
        "labels into DuckDB, by `meltano run`",
        {"labels": 20_000},
        (TAP, "plain"),
        {(TAP, "plain"): None},
        rounds=2,
        target="target-duckdb",
    ),
    Case(
        "postgres",
        "labels into Postgres, by `meltano run`",
        {"labels": 20_000},
        (TAP, "plain"),
        {(TAP, "plain"): None},
        rounds=2,
        target="target-postgres",
    ),
)
