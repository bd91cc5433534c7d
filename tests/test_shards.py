"""Several runs that share an account, and their states."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_labelbox.base.project_filter import ProjectFilter, Shard
from tap_labelbox.plan import main, plan, reshard
from tap_labelbox.sandbox import World, tasks
from tap_labelbox.singer import sharding
from tap_labelbox.singer.shared_state import EXPORT, WITHOUT_RECORDS
from tap_labelbox.singer.state import PROJECT_ID, READ_AT
from tests.kills import Cut, run_until
from tests.runner import PRIMARY_KEYS, SNAPSHOTS, catalog_of, command
from tests.test_kept_states import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_labelbox.plan import Part
    from tap_labelbox.sandbox import Reply, Request
    from tests.kills import Run
    from tests.runner import Output, Runner, State

ROOT = Path(__file__).parent.parent
COUNTS = [1, 2, 7, 64]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PLAN = ("-m", "tap_labelbox.plan")
ALL = [name for name in PRIMARY_KEYS if name != "tasks"]  # each run makes some
ONE_OF_A_KIND = ["projects", "labels", "batches", "users"]
ONE_OF_A_KIND += [
    "workspace_labelers",
    "user_group_projects",
    "user_group_audit_events",
]
OF_A_RUN = {"seen_at": None, "record_count": None}
"""Columns that are of a run, and not of the row it has seen."""
IDS = st.text("abc123-é", min_size=1, max_size=12)
VALUES = st.datetimes(datetime(2020, 1, 1), datetime(2026, 1, 1)).map(  # noqa: DTZ001
    lambda at: f"{at.isoformat(timespec='milliseconds')}Z"
)


def records_of(*outputs: Output | Run) -> Counter[str]:
    """Return how often each record comes in some outputs."""
    return Counter(
        json.dumps([message["stream"], message["record"] | OF_A_RUN])
        for output in outputs
        for message in output.messages
        if message["type"] == "RECORD" and message["stream"] not in SNAPSHOTS
    )


@pytest.fixture
def world() -> World:
    """Return a workspace with some projects, of which one is large."""
    return World(seed=3, projects=4, labels_per_project=3)


# --- which projects --------------------------------------------------------------


def place(project_id: str, count: int) -> int:
    """Return the index of the shard that a project is in."""
    return int(sha256(project_id.encode()).hexdigest(), 16) % count


@pytest.mark.parametrize("count", COUNTS)
@settings(max_examples=25)
@given(ids=st.sets(IDS, max_size=30))
def test_each_project_is_in_one_shard(count: int, ids: set[str]) -> None:
    """By the SHA-256 of its ID, whichever other projects there are."""
    shards = [
        ProjectFilter({"shard": {"index": index, "count": count}})
        for index in range(count)
    ]
    for project_id in ids:
        takers = [n for n, shard in enumerate(shards) if shard.takes_id(project_id)]
        assert takers == [place(project_id, count)]


@pytest.mark.parametrize("count", COUNTS)
def test_all_shards_together_read_what_one_run_reads(run: Runner, count: int) -> None:
    """Each record as often, what is of no project included."""
    streams = ALL if count == 2 else ONE_OF_A_KIND
    # Of those without a project, which are all alike, one.
    full = {place(project.id, count) for project in run.world.projects} | {0}
    empty = sorted({*range(count)} - full)[:1]

    outputs = [
        run(*streams, now=NOW, shard={"index": index, "count": count})
        for index in (*sorted(full), *empty)
    ]

    assert [output.error for output in outputs] == [None] * len(outputs)
    assert records_of(*outputs) == records_of(run(*streams, now=NOW))
    assert not any(records_of(outputs[-1]) for _ in empty)


def test_a_shard_is_one_of_the_chosen_projects(run: Runner) -> None:
    """Each missing one is named by the shard that would read it."""
    chosen = [project.id for project in run.world.projects[:3]]
    missing = "nosuchproject"
    whole = run("projects", "labels", now=NOW, project_ids=chosen)
    outputs = [
        run(
            *("projects", "labels"),
            now=NOW,
            project_ids=[*chosen, missing],
            shard={"index": index, "count": 5},
        )
        for index in range(5)
    ]

    assert records_of(*outputs) == records_of(whole)
    failures = [output.error for output in outputs if output.error]
    assert len(failures) == 1
    assert missing in str(failures[0])


def test_shards_after_the_first_ask_nothing_of_what_is_of_no_project(
    run: Runner,
) -> None:
    """Nor do they write a SCHEMA of it: a target would make the same table twice."""
    output = run("users", "organization", "labels", shard={"index": 1, "count": 2})

    schemas = {m["stream"] for m in output.messages if m["type"] == "SCHEMA"}
    assert schemas == {"labels"}
    asked = {request.operation for request in run.sandbox.requests}
    assert not asked & {"Users", "Organization"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shard": {"index": 2, "count": 2}}, "shard.index must be less than"),
        ({"shard": {"index": 0}}, "shard.count is not set"),
        ({"shard": {"index": -1, "count": 2}}, "shard.index must be at least 0"),
        ({"shard": {"index": 0, "count": 0}}, "shard.count must be at least 1"),
        (
            {
                "shard": {"index": 0, "count": 2},
                "emit_activate_version_messages": True,
            },
            "shard and emit_activate_version_messages: remove one",
        ),
        (
            {"shard": {"index": 0, "count": 2}, "export_files": ["x.ndjson"]},
            "shard has no effect with export_files",
        ),
    ],
)
def test_shards_that_cannot_be_are_refused(
    run: Runner, options: dict[str, Any], reason: str
) -> None:
    """In one line, before anything is read."""
    with pytest.raises(Exception, match=reason):
        run.tap(**options)


def test_shards_that_export_too_much_at_once_wait(
    serving: Callable[..., Runner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them get their turn, at times that chance decides, and none fails."""
    monkeypatch.setattr(tasks, "EXPORTS_PER_ORGANIZATION", 1)  # 20 take longer to fill
    run = serving(World(seed=3, projects=6, labels_per_project=1), polls=sys.maxsize)
    config = run.config(retry_seconds=10)
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of({"data_row_exports"})))
    refused = Counter[str]()

    def count(request: Request, reply: Reply) -> None:
        if request.operation == "StartExport" and b"API_LIMIT" in reply.content():
            refused[request.variables["input"]["filters"]["projectId"]] += 1
            run.sandbox.polls = 2  # from now on exports come to their end

    run.sandbox.after = count
    runs = []
    for index in range(2):
        path = tmp_path / f"{index}.json"
        path.write_text(json.dumps(config | {"shard": {"index": index, "count": 2}}))
        words = (sys.executable, "-m", "tap_labelbox", "--config", path)
        pipe = subprocess.PIPE
        runs.append(
            subprocess.Popen([*words, "--catalog", catalog], stdout=pipe, stderr=pipe)
        )
    outputs = [process.communicate(timeout=60) for process in runs]

    for process, (_, errors) in zip(runs, outputs, strict=True):
        assert process.returncode == 0, errors.decode()
    records = [m for out, _ in outputs for m in map(json.loads, out.splitlines())]
    assert keys_of(records) == keys_of(run("data_row_exports").messages)
    assert refused


def test_what_a_large_account_is_multiplied_from(
    serving: Callable[..., Runner],
) -> None:
    """What the page says of one project and one annotation is what a run takes."""
    page = (ROOT / "docs" / "scale.md").read_text("utf-8")
    run = serving(World(seed=1, projects=20, labels_per_project=5))
    exported = {"data_row_exports", "export_labels", "annotations", "label_reviews"}
    exported |= {"workflow_history", "data_row_metadata"}

    output = run(catalog=catalog_of(exported), export_scope="project")

    asked = Counter(request.operation for request in run.sandbox.requests)
    exports = [asked[name] for name in ("StartExport", "ExportStatus", "ExportOpening")]
    assert f"{sum(exports) // 20} for each export" in page
    records = sum(len(output.records(name)) for name in exported)
    (ratio,) = re.findall(r"([\d.]+) for each annotation", page)
    annotations = len(output.records("annotations"))
    assert records / annotations == pytest.approx(float(ratio), rel=0.2)


# --- plans -------------------------------------------------------------------------


ROWS = st.dictionaries(IDS, st.integers(0, 10_000), max_size=25)


def members(part: Part) -> list[str]:
    """Return the projects of a part."""
    return list(part.settings["shard"]["project_ids"])


@settings(max_examples=30)
@given(rows=ROWS, shards=st.integers(1, 70), giant=st.none() | st.integers(1, 10_000))
def test_a_plan_has_each_project_once(
    rows: dict[str, int], shards: int, giant: int | None
) -> None:
    """Giants first and alone, and the same plan in whatever order projects come."""
    parts = plan(rows, shards, giant)

    assert parts == plan(dict(reversed(rows.items())), shards, giant)
    assert sorted(i for part in parts for i in members(part)) == sorted(rows)
    assert [part.weight for part in parts] == [
        sum(map(rows.__getitem__, members(part))) for part in parts
    ]
    giants = {i for i, count in rows.items() if giant and count >= giant}
    assert [members(part) for part in parts[: len(giants)]] == sorted(
        ([i] for i in giants), key=lambda ids: (-rows[ids[0]], ids)
    )
    others = parts[len(giants) :]
    assert 1 <= len(others) <= shards
    assert len({part.name for part in parts}) == len(parts)
    assert all(f"{shards:03}" in part.name for part in others)
    indexes = [part.shard.index for part in parts]
    assert sorted(indexes) == list(range(len(parts)))
    assert {part.shard.count for part in parts} == {len(parts)}
    if len(others) == shards:  # moving the smallest one would make it no better
        heaviest = max(others, key=lambda part: part.weight)
        smallest = min((rows[i] for i in members(heaviest)), default=0)
        least = min(part.weight for part in others)
        assert heaviest.weight - smallest <= least


def test_the_runs_of_a_plan_read_everything(run: Runner, tmp_path: Path) -> None:
    """The command prints settings that a run takes, in a file of its own."""
    config = run.config_file()
    sizes = {p.id: len(p.data_rows) for p in run.world.projects}
    giant = max(sizes.values())

    arguments = ("--config", str(config), "--shards", "2", "--giant", str(giant))
    result = command(*arguments, program=PLAN)

    assert result.returncode == 0, result.stderr
    parts = json.loads(result.stdout)
    assert {*parts[0]} == {"name", "weight", "settings"}
    assert parts[0]["name"].startswith("p-")
    assert sum(part["weight"] for part in parts) == sum(sizes.values())
    outputs = []
    for part in parts:
        extra = tmp_path / f"{part['name']}.json"
        extra.write_text(json.dumps(part["settings"]))
        outputs.append(run(*ONE_OF_A_KIND, now=NOW, **json.loads(extra.read_text())))
    assert records_of(*outputs) == records_of(run(*ONE_OF_A_KIND, now=NOW))


@pytest.mark.parametrize(
    ("arguments", "settings", "reason"),
    [
        (["--states", "s"], {}, "--states and --into go together"),
        ([], {"shard": {"index": 0, "count": 2}}, "shard is set"),
        ([], {"project_names": ["none"]}, "project_names"),
    ],
)
def test_what_no_plan_can_be_made_of_is_one_line(
    run: Runner, arguments: list[str], settings: dict[str, Any], reason: str
) -> None:
    """And nothing is printed that could be taken for a plan."""
    config = run.config_file(**settings)

    result = command("--config", str(config), "--shards", "2", *arguments, program=PLAN)

    assert result.returncode == 78, result.stderr
    assert reason in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_no_shards_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """As a mistake in the command line."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["--shards", "0"])

    assert "it must be at least 1" in capsys.readouterr().err


# --- states ------------------------------------------------------------------------


def state_of(bookmarks: dict[str, dict[str, str]]) -> State:
    """Return the state of a run: of each stream, the bookmarks of projects."""
    return {
        "bookmarks": {
            name: {
                "partitions": [
                    {
                        "context": {PROJECT_ID: project_id},
                        "replication_key": "created_at",
                        "replication_key_value": value,
                    }
                    for project_id, value in by_project.items()
                ]
            }
            for name, by_project in bookmarks.items()
        }
    }


def values_of(state: State) -> dict[tuple[str, str], str]:
    """Return all bookmarks of projects in a state."""
    return {
        (name, partition["context"][PROJECT_ID]): partition["replication_key_value"]
        for name, bookmark in state["bookmarks"].items()
        for partition in bookmark.get("partitions", [])
    }


BY_PROJECT = {"labels", "annotations", "workspace_labelers"}
STATES = st.lists(
    st.dictionaries(
        st.sampled_from(["labels", "annotations"]),
        st.dictionaries(IDS, VALUES, max_size=8),
        max_size=2,
    ).map(state_of),
    max_size=4,
)


@settings(max_examples=25)
@given(states=STATES, counts=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_change_of_the_count_keeps_every_bookmark(
    states: list[State], counts: list[int]
) -> None:
    """However often it changes; of two bookmarks of a project the later one stays."""
    latest: dict[tuple[str, str], str] = {}
    for state in states:
        for place, value in values_of(state).items():
            latest[place] = max(latest.get(place, ""), value)
    original, copy = states, deepcopy(states)

    for count in counts:
        joined = sharding.join(states, BY_PROJECT)
        takers = [Shard(index, count).takes_id for index in range(count)]
        states = sharding.split(joined, takers, BY_PROJECT)

        assert len(states) == count
        actual = [values_of(state) for state in states]
        assert sum(map(len, actual)) == len(latest)
        assert {k: v for values in actual for k, v in values.items()} == latest
        for takes, values in zip(takers, actual, strict=True):
            assert all(takes(project_id) for _, project_id in values)
    assert original == copy


def test_an_export_in_progress_goes_with_its_project() -> None:
    """It is that of the later bookmark, or of the state that has one."""
    export: State = {"task_id": "t", "wanted": "w", "until": "2026-01-01T00:00:00.000Z"}
    export |= {"position": 7, "latest": ""}
    begun = state_of({"annotations": {"p": "2026-01-01T00:00:00.000Z"}})
    begun["bookmarks"]["annotations"]["partitions"][0][EXPORT] = export
    same = state_of({"annotations": {"p": "2026-01-01T00:00:00.000Z"}})

    for states in ([begun, same], [same, begun]):
        joined = sharding.join(states, BY_PROJECT)
        halves = sharding.split(joined, [lambda _: False, lambda i: i == "p"], set())
        (partition,) = halves[1]["bookmarks"]["annotations"]["partitions"]
        assert partition[EXPORT] == export


def test_a_stream_vouches_for_others_in_the_projects_of_its_own_state_only() -> None:
    """Projects without records in one shard may have some in another."""
    item = state_of({"annotations": {"p": "2026-03-01T00:00:00.000Z"}})
    item["bookmarks"]["annotations"][WITHOUT_RECORDS] = ["export_errors"]
    other = state_of(
        {
            "annotations": {"q": "2026-03-01T00:00:00.000Z"},
            "export_errors": {"q": "2026-01-01T00:00:00.000Z"},
        }
    )

    joined = sharding.join([item, other], BY_PROJECT)

    assert values_of(joined) == {
        ("annotations", "p"): "2026-03-01T00:00:00.000Z",
        ("annotations", "q"): "2026-03-01T00:00:00.000Z",
        ("export_errors", "p"): "2026-03-01T00:00:00.000Z",
        ("export_errors", "q"): "2026-01-01T00:00:00.000Z",
    }
    assert WITHOUT_RECORDS not in str(joined)


def single(name: str, value: str, **more: Any) -> State:
    """Return a state in which a stream has one bookmark for all."""
    return {"bookmarks": {name: {"replication_key_value": value} | more}}


def test_one_bookmark_for_all_projects_is_the_earliest_of_all_shards() -> None:
    """Each has read the days up to its own for its projects only."""
    early, late = (
        single("workspace_labelers", "2026-01-01"),
        single("workspace_labelers", "2026-01-05"),
    )

    joined = sharding.join([late, early], BY_PROJECT)
    assert joined == single("workspace_labelers", "2026-01-01")
    assert sharding.split(joined, [lambda _: False] * 2, BY_PROJECT) == [joined, joined]
    # Who has none has read nothing.
    empty = sharding.join([late, {"bookmarks": {}}], BY_PROJECT)
    assert empty["bookmarks"] == {}


def test_what_is_of_no_project_goes_to_the_first() -> None:
    """Of several bookmarks, the later one."""
    states = [
        single("tasks", "2026-01-01", rest={"before": "a"}),
        single("tasks", "2026-01-05"),
        {"bookmarks": {}},
    ]

    joined = sharding.join(states, BY_PROJECT)

    assert joined == single("tasks", "2026-01-05")
    first, second = sharding.split(joined, [lambda _: False] * 2, BY_PROJECT)
    assert (first, second) == (joined, {"bookmarks": {}})


def test_when_projects_were_read_stays_known() -> None:
    """It stands once for a whole stream, and each shard has its own."""
    states = [
        state_of({"labels": {project_id: "2026-01-01T00:00:00.000Z"}})
        for project_id in "pq"
    ]
    ends = ["2026-02-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"]
    for state, end in zip(states, ends, strict=True):
        state["bookmarks"]["labels"][READ_AT] = end

    labels = sharding.join(states, BY_PROJECT)["bookmarks"]["labels"]

    assert labels[READ_AT] == ends[0]
    assert [p[READ_AT] for p in labels["partitions"]] == ends


def test_states_follow_a_plan_from_night_to_night(run: Runner, tmp_path: Path) -> None:
    """Nothing is read anew when the number of shards changes, and nothing lacks."""
    rows = {p.id: len(p.data_rows) for p in run.world.projects}
    folder = tmp_path / "states"
    folder.mkdir()
    everything: set[str] = set()
    again = 0
    for night, count in enumerate((1, 3, 2)):
        if night:
            for project in run.world.projects[:2]:
                run.world.add_label(project.id)
        parts = plan(rows, count, giant=max(rows.values()))
        reshard(parts, folder, folder)
        assert {path.stem for path in folder.iterdir()} == {p.name for p in parts}
        for part in parts:
            path = folder / f"{part.name}.json"
            state = json.loads(path.read_text())
            output = run("labels", "annotations", state=state, **part.settings)
            assert output.error is None
            path.write_text(json.dumps(output.states[-1]))
            again += len({*records_of(output)} & everything)
            everything |= {*records_of(output)}

    assert {*records_of(run("labels"))} <= everything
    # A label of the lookback's minute comes again, not those of all projects.
    assert again < len(everything) / 2


def test_a_killed_shard_goes_on_after_the_count_has_changed(
    serving: Callable[..., Runner], tmp_path: Path
) -> None:
    """Its export is read on by whichever shard has the project then."""
    run = serving(World(projects=2, labels_per_project=30), part_size=10_000)
    rows = {p.id: len(p.data_rows) for p in run.world.projects}
    streams = ("data_row_exports", "annotations")
    killed = run_until(run, Cut(requests=14), *streams)
    folder = tmp_path / "states"
    folder.mkdir()
    (folder / "before.json").write_text(json.dumps(killed.states[-1]))

    parts = plan(rows, 2)
    reshard(parts, folder, tmp_path / "new")

    outputs = [
        run(
            *streams,
            state=json.loads((tmp_path / "new" / f"{part.name}.json").read_text()),
            **part.settings,
        )
        for part in parts
    ]
    started = [r for r in run.sandbox.requests if r.operation == "StartExport"]
    assert len(started) == len(run.world.projects)
    messages = [m for part in outputs for m in part.messages] + killed.messages
    assert keys_of(messages) == keys_of(run(*streams).messages)
    assert (folder / "before.json").exists()  # it is another folder's


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "is not JSON"), ('{"bookmarks": 5}', "has no bookmarks")],
)
def test_a_file_that_is_no_state_is_named(
    tmp_path: Path, content: str, reason: str
) -> None:
    """And no file is written: a shard would read everything anew."""
    (tmp_path / "bad.json").write_text(content)

    with pytest.raises(Exception, match=reason):
        reshard(plan({}, 1), tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
