"""Benchmarks are real: the quick server is a sandbox, and all read the same."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests

from benchmarks import measure
from benchmarks.__main__ import Bench
from benchmarks.cases import CASES, TAP
from benchmarks.measure import Run
from benchmarks.report import Results, regressions
from benchmarks.server import LABELS_PER_SECOND, POOL_ROWS, workspace
from tap_labelbox.sandbox import serve
from tests.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_labelbox.sandbox import Sandbox

LABELS = """
query($project_id: ID!, $where: LabelWhereInput, $skip: Int!, $first: PageSize!) {
  project(where: {id: $project_id}) {
    labels(where: $where, orderBy: createdAt_ASC, skip: $skip, first: $first) {
      id
      made: createdAt
      label
    }
  }
}
"""
CASE = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Serve the workspace of the benchmarks by the sandbox."""
    with serve(workspace(), polls=0) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def quick(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """Serve the same by the quick server."""
    count = len(sandbox.world.projects[0].labels)
    sizes = {"labels": count, "exported": POOL_ROWS, "bulk_exported": count}
    with measure.served(tmp_path_factory.mktemp("served"), sizes) as server:
        inputs = server.settings
        as_sandbox = SimpleNamespace(url=inputs["api_url"], api_key=inputs["api_key"])
        yield cast("Sandbox", as_sandbox)


def test_the_tap_reads_the_same_from_both(sandbox: Sandbox, quick: Sandbox) -> None:
    """Every record of every way there is."""
    streams = ("projects", "labels", "data_row_exports", "annotations", "bulk_export")

    outputs = [Runner(server, sandbox.world)(*streams) for server in (sandbox, quick)]

    assert [output.error for output in outputs] == [None, None]
    for stream in streams:
        single, other = (sorted(output.records(stream), key=repr) for output in outputs)
        assert len(single) >= len(sandbox.world.projects)
        assert single == other


@pytest.mark.parametrize(
    "asked",
    [
        {"skip": 0, "first": 100},
        {"skip": 7, "first": 1},
        {"skip": 550, "first": 77},
        {"skip": 600, "first": 100},
        {"skip": 3, "first": 9, "where": {"createdAt_gt": "2023-01-02T00:00:00Z"}},
        {"skip": 0, "first": 9, "where": {"createdAt_lt": "2023-01-01T01:00:00.000Z"}},
        {
            "skip": 1,
            "first": 50,
            "where": {
                "createdAt_gt": "2023-01-01T04:59:59.999Z",
                "createdAt_lt": "2023-01-01T08:00:00.001Z",
            },
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["oldest first", "newest first"])
def test_pages_are_those_of_the_sandbox(
    sandbox: Sandbox, quick: Sandbox, asked: dict[str, Any], order: str
) -> None:
    """Whatever is skipped, however many are asked for, made whenever."""
    query = LABELS
    if order == "newest first":
        query = query.replace(" orderBy: createdAt_ASC,", "")
    project_id = sandbox.world.projects[0].id
    body = {
        "query": query,
        "variables": {"project_id": project_id, "where": {}} | asked,
    }

    single, other = (
        requests.post(
            server.url,
            json=body,
            headers={"Authorization": f"Bearer {server.api_key}"},
            timeout=10,
        ).json()
        for server in (sandbox, quick)
    )

    assert single == other
    assert "errors" not in single


def test_rows_that_are_served_again_have_ids_and_timestamps_of_their_own(
    tmp_path: Path,
) -> None:
    """Over the pool's end, and from project to project; the rest stays.

    Some are made in one second, as labels are.
    """
    with measure.served(tmp_path, {"projects": 2, "labels": POOL_ROWS * 4}) as server:
        inputs = server.settings
        run = Runner(
            cast("Sandbox", SimpleNamespace(url=inputs["api_url"], api_key="any")),
            workspace(),
        )
        labels = run("labels").records("labels")

    assert len({label["id"] for label in labels}) == len(labels) == POOL_ROWS * 8
    for project_id in inputs["project_ids"]:
        own = [x["created_at"] for x in labels if x["project_id"] == project_id]
        assert own == sorted(own)
        assert len(own) == POOL_ROWS * 4
        assert len(set(own)) == ceil(POOL_ROWS * 4 / LABELS_PER_SECOND)


@pytest.mark.parametrize(
    "name", ["labels", "exports", "annotations", "default", "bulk"]
)
def test_all_contenders_read_the_same(name: str, tmp_path: Path) -> None:
    """Each as many records as there are, of those that read all streams of a case."""
    case = CASE[name]
    contenders = tuple(c for c in case.contenders if case.reads_all(c))
    case = replace(case, sizes=case.small(0.005), contenders=contenders)

    runs = Bench(tmp_path).measure(case, rounds=1)

    counts = {contender: done.records for contender, (done,) in runs.items()}
    expected = case.expected or counts[TAP]
    assert counts == dict.fromkeys(contenders, expected)
    assert expected >= min(case.sizes.values())


def test_a_ratio_that_got_worse_is_reported() -> None:
    """One that lost more than a fifth; not one that lost less, nor a new one."""
    case, new = CASE["labels"], CASE["bulk"]
    before = Results({case: {TAP: [_run(1)], "plain": [_run(5)], "copy": [_run(1)]}})
    now = Results(
        {
            case: {TAP: [_run(1)], "plain": [_run(3.9)], "copy": [_run(0.9)]},
            new: {TAP: [_run(1)], "plain": [_run(1)]},
        }
    )

    assert regressions(before.text(), now.text()) == [
        "labels: tap against plain was 5.0, is 3.9"
    ]
    assert regressions("", now.text()) == []


def _run(seconds: float) -> Run:
    counts = dict.fromkeys(("records", "fetched", "requests", "written"), 1)
    return Run(seconds, 0.1, 1.0, 1.0, last=b"", **counts)
