"""Runs that are killed anywhere, before targets that commit as nastily as they may.

What the target has at the end is the truth: what one undisturbed run brings. With
``--every-fault`` there are more of them; ``--seed`` says from which on.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World, serve
from tap_labelbox.sandbox.world import SETTINGS
from tap_labelbox.streams import SUBJECTS
from tests import figures
from tests.kills import Cut, run_until
from tests.model_target import KINDS, AtTheEnd, WholeStates
from tests.runner import PRIMARY_KEYS, SNAPSHOTS, Runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_labelbox.sandbox.tasks import Task
    from tests.model_target import ModelTarget
    from tests.runner import Record

    Key = tuple[Any, ...]
    Rows = dict[Key, Record]
    Tables = dict[str, Rows]

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
LINK = re.compile(r'https?://[^\\"]+')
SAMPLE, ALL = 1, 60  # seeds of each kind of target
MOST_KILLS = 3  # of one seed
DATA_ROWS = "data_row_exports"
MIXED = "mixed"  # another kind of target at each run
BY_KIND = {kind.kind: kind for kind in KINDS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by a sample of the seeds, or by all with --every-fault."""
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("seed")
        count = ALL if metafunc.config.getoption("every_fault") else SAMPLE
        metafunc.parametrize("seed", range(first, first + count))
    if "kind_of_work" in metafunc.fixturenames:
        every_fault = metafunc.config.getoption("every_fault")
        metafunc.parametrize(
            "kind_of_work", BY_KIND if every_fault else [WholeStates.kind]
        )


@dataclass
class Scene:
    """A workspace, how it is read, and what may happen in it."""

    chance: Random
    world: World
    streams: list[str]
    knobs: dict[str, Any]
    settings: dict[str, Any]
    faults: float
    """Share of the requests that fail, in runs that may be killed."""
    clock: datetime = START

    @classmethod
    def of(cls, chance: Random, folder: Path) -> Scene:
        """Make one up: small, with every kind of project, some of them empty."""
        world = World(seed=chance.randrange(2**32), projects=0)
        sizes = chance.choice(((0, 1, 25), (12, 40), (40,), (3,) * 9))
        for labels in sizes:
            kind = chance.choice(SETTINGS)
            world.add_project(labels=labels, media=kind.media, era=kind.era)
        streams = sorted(PRIMARY_KEYS)
        if chance.random() < 0.75:
            streams = chance.sample(streams, chance.randint(2, 6))
        knobs = {
            "part_size": chance.choice((3_000, 20_000)),
            "cut_parts": chance.random() < 0.5,
            "polls": chance.choice((0, 2)),
        }
        if "export_errors" in streams:  # without it, what they tell is nowhere
            knobs["unexportable"] = chance.choice((0, 0, 1, 3))
        settings: dict[str, Any] = {
            "concurrency": chance.choice((1, 3, 8)),
            "page_size": chance.choice((3, 10)),
        }
        if chance.random() < 0.25:
            settings["batch_config"] = {
                "encoding": {"format": "jsonl", "compression": "gzip"},
                "storage": {"root": str(folder)},
                "batch_size": chance.choice((5, 30)),
            }
        faults = chance.choice((0.0, 0.0, 0.05))
        return cls(chance, world, streams, knobs, settings, faults)

    def go_on(self, *, something_happens: bool) -> None:
        """Move the clock on, and perhaps change something."""
        # A bulk export lives for 30 minutes.
        minutes = self.chance.choice((0.1, 3, 45)) if something_happens else 3
        self.clock += timedelta(minutes=minutes)
        if something_happens and self.chance.random() < 0.5:
            self._happen()
            self.clock += timedelta(seconds=self.chance.choice((1, 60)))

    def _happen(self) -> None:
        self.world.now = lambda: self.clock
        for project in self.world.projects:
            for row in project.data_rows:
                if self.chance.random() < 0.1:
                    row.last_activity_at = self.clock
                elif self.chance.random() < 0.1:
                    self._label(project.id, data_row=row)
            for _ in range(self.chance.choice((0, 0, 1, 6))):
                self._label(project.id)

    def some_streams(self) -> list[str]:
        """Return all streams, or now and then those that somebody else selects."""
        if self.chance.random() < 0.85:
            return self.streams
        return self.chance.sample(
            self.streams, self.chance.randint(1, len(self.streams))
        )

    def _label(self, project_id: str, **fields: Any) -> None:
        self.world.add_label(
            project_id,
            self.clock,
            listed_after=self.chance.choice((0, 0, 40)),  # less than the lookback
            updated_at=self.clock,
            **fields,
        )

    def cut(self, messages: list[dict[str, Any]], requests: int) -> Cut:
        """Choose where to kill a run that would write and ask about so much."""
        within = self.chance.choice((0, 0, self.chance.random()))
        if self.chance.random() < 0.15:
            return Cut(self.chance.randint(0, len(messages)), gently=True)
        match self.chance.choice(("anywhere", "within an export", "at a request")):
            case "at a request":
                heard = self.chance.random() < 0.5
                return Cut(requests=self.chance.randint(0, requests), heard=heard)
            case "within an export":
                within_one = [n for n, m in enumerate(messages) if is_within_export(m)]
                at = self.chance.choice(within_one or [0])
                return Cut(lines=at + self.chance.choice((0, 1, 5, 20)), within=within)
            case _:
                return Cut(self.chance.randint(0, len(messages)), within)


@pytest.fixture
def _small_steps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write states and records as often as they would be with many more rows."""
    chance = Random(seed)
    state = "tap_labelbox.singer.state"
    shares = chance.choice(((0.08, 8.0), (1e9, 1e9)))  # as it is, or whenever it may
    monkeypatch.setattr(f"{state}.FIRST_RUN_SHARE", shares[0])
    monkeypatch.setattr(f"{state}.LATER_RUN_SHARE", shares[1])
    monkeypatch.setattr(
        "tap_labelbox.exports.tasks.PIECE_BYTES", chance.choice((500, 8_000))
    )
    monkeypatch.setattr(
        "tap_labelbox.singer.writer.MAX_BUFFER_BYTES", chance.choice((500, 64_000))
    )


@pytest.mark.usefixtures("_small_steps")
@pytest.mark.parametrize("kind", [*BY_KIND, MIXED])
def test_no_row_is_lost(kind: str, seed: int, tmp_path: Path) -> None:
    """Nor left as it was before, nor made up: whatever is killed, and whenever."""
    chance = Random(f"{kind} {seed}")
    scene = Scene.of(chance, tmp_path)
    with serve(scene.world, **scene.knobs) as sandbox:
        run = Runner(sandbox, scene.world)
        whole = run_until(run, Cut(), *scene.streams, now=scene.clock, **scene.settings)
        assert whole.error is None
        target = new_target(kind, chance)
        kills = chance.randint(1, MOST_KILLS)
        # An export that a killed run has begun is of the time of that run: what has
        # changed since is read by the run after the one that reads it on, once the
        # target has confirmed that.
        for attempt in range(kills + 3):
            last = attempt >= kills
            sandbox.faults = 0.0 if last else scene.faults
            scene.go_on(something_happens=attempt <= kills)
            part = run_until(
                run,
                Cut() if last else scene.cut(whole.messages, whole.requests),
                *(scene.streams if last else scene.some_streams()),
                state=target.state,
                now=scene.clock,
                **scene.settings,
            )
            figures.count("kills", part.killed)
            if not part.killed and not sandbox.faults:
                assert part.error is None
            target.load(part.output, dies=not last and chance.random() < 0.5)
            chosen = WholeStates.kind if last else kind
            if chosen in {MIXED, WholeStates.kind}:
                target = new_target(chosen, chance, target)
        sandbox.unexportable = 0
        truth = tables(run(*scene.streams, now=scene.clock).messages)

    assert_nothing_lost(truth, {s: normal(target.rows[s]) for s in scene.streams})
    figures.share(
        f"rows written to rows there are, target {kind} (small workspaces)",
        target.received,
        sum(map(len, truth.values())),
    )


def is_within_export(message: dict[str, Any]) -> bool:
    """Return whether this is a STATE that was written while an export was read."""
    return message["type"] == "STATE" and '"position"' in json.dumps(message["value"])


def new_target(
    kind: str, chance: Random, old: ModelTarget | None = None
) -> ModelTarget:
    """Return a target of a kind, with the database of another."""
    chosen = BY_KIND[chance.choice([*BY_KIND]) if kind == MIXED else kind]
    target = chosen(chance, eager=chance.choice((0.05, 0.2, 0.5)))
    if old:
        target.rows, target.state = old.rows, old.state
        target.received = old.received
    return target


def tables(messages: list[dict[str, Any]]) -> Tables:
    """Return what a target has that loads messages: the latest record of each key."""
    result: Tables = {}
    for message in messages:
        if message["type"] == "RECORD":
            stream, record = message["stream"], message["record"]
            key = tuple(record[name] for name in PRIMARY_KEYS[stream])
            result.setdefault(stream, {})[key] = record
    return {stream: normal(rows) for stream, rows in result.items()}


def normal(rows: Rows) -> Rows:
    """Return rows without what differs each time: how links are signed."""
    text = LINK.sub("link", json.dumps([*rows.values()]))
    return dict(zip(rows, json.loads(text), strict=True))


def latest(tables: Tables) -> Tables:
    """Return tables with the last snapshot only of those to which each run appends."""
    result = dict(tables)
    for stream in SNAPSHOTS.keys() & tables.keys():
        at, column = SNAPSHOTS[stream], PRIMARY_KEYS[stream][SNAPSHOTS[stream]]
        rows = sorted(tables[stream].items(), key=lambda item: str(item[0][at]))
        result[stream] = {
            (*key[:at], *key[at + 1 :]): row | {column: None} for key, row in rows
        }
    return result


def lasting(stream: str, row: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a record without what changes though nothing has happened to it.

    That is when a report was made; and for predictions, which are read again when their
    run has changed, what has become of their data rows since.
    """
    column = "generated_at"
    if stream == "model_run_predictions":
        column = "last_activity_at"
    return row and {name: value for name, value in row.items() if name != column}


def assert_nothing_lost(truth: Tables, result: Tables) -> None:
    """Compare what a target has with the truth.

    A data row that Labelbox could not export is found in ``export_errors``.
    """
    truth, result = latest(truth), latest(result)
    excused = {
        (row["project_id"], row["data_row_id"])
        for row in result.get("export_errors", {}).values()
    }
    lost: Counter[str] = Counter()
    made_up: Counter[str] = Counter()
    # Each run adds its own exports to the tasks; and as the sandbox spreads data rows
    # over model runs by their number, a new one moves others to another run.
    others = {"export_errors", "tasks", "model_run_data_rows"}
    if excused:  # other exports fail at other data rows, which no stream has
        others |= {"catalog_data_rows", "model_run_predictions"}
        # Nothing is written of what there is now, unless all of it is known.
        others |= {"data_row_presence", "label_presence"}
    for stream in (truth.keys() | result.keys()) - others:
        rows, there = truth.get(stream, {}), result.get(stream, {})
        figures.count("rows compared", len(rows))
        lost[stream] = sum(
            lasting(stream, there.get(key)) != lasting(stream, row)
            for key, row in rows.items()
            if (row.get("project_id"), row.get("data_row_id")) not in excused
        )
        made_up[stream] = len(there.keys() - rows.keys())
    figures.count("rows lost", lost.total())
    assert not +lost, f"lost, or not the latest: {+lost}"
    assert not +made_up


# --- how much is done twice ---------------------------------------------------

MAX_WORK_RATIO = 1.2
"""Rows written to rows there are, with targets that keep whole states."""
BOOKMARKED = {s.name for s in SUBJECTS["Labels"] if s.replication_key}
"""Streams that go on from where they were; lists are read again as a whole."""
MOST_EXPORTS_LEFT = 1
"""Exports by each kill that are started and never read."""


def test_little_is_done_twice(
    kind_of_work: str, serving: Callable[..., Runner], pytestconfig: pytest.Config
) -> None:
    """A run that is killed has not worked in vain, nor Labelbox for it."""
    kind = kind_of_work
    chance = Random(kind)
    labels = 100 if pytestconfig.getoption("every_fault") else 60
    world = World(seed=3, projects=6, labels_per_project=labels)
    run = serving(world, part_size=50_000)
    clock = START
    whole = run_until(run, Cut(), now=clock)
    there = tables(whole.messages)
    truth = sum(len(there[name]) for name in BOOKMARKED & there.keys())
    target = BY_KIND[kind](chance, eager=0.05)
    tasks = run.sandbox._workspace.data_row_exports.tasks
    written = kills = 0
    left: list[Task] = []
    for attempt in range(6):
        clock += timedelta(minutes=3)
        begun, sent = len(tasks), len(run.sandbox.requests)
        lines = chance.randrange(len(whole.messages) // (1 + attempt))
        cut = Cut(lines) if attempt < 5 else Cut()
        part = run_until(run, cut, state=target.state, now=clock)
        kills += part.killed
        # One that keeps whole states finds the end of its input; the others die too.
        target.load(part.output, dies=part.killed and kind != WholeStates.kind)
        rows = [m for m in part.messages if m["type"] == "RECORD"]
        written += sum(m["stream"] in BOOKMARKED for m in rows)
        asked = {r.variables.get("task_id") for r in run.sandbox.requests[sent:]}
        left = [task for task in left if task.id not in asked]
        read = Counter(
            m["record"]["project_id"] for m in rows if m["stream"] == DATA_ROWS
        )
        left += [t for t in tasks[begun:] if read[t.project_id] < len(t.data_rows)]

    figures.count("kills", kills)
    figures.share(
        f"rows written to rows there are, target {kind}, killed often", written, truth
    )
    figures.share(f"exports left behind by a kill, target {kind}", len(left), kills)
    if kind == WholeStates.kind:
        assert written <= MAX_WORK_RATIO * truth
    if kind != AtTheEnd.kind:  # which keeps none of the states that would tell
        assert len(left) <= MOST_EXPORTS_LEFT * kills
