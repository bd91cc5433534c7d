"""Metrics: totals of streams, whichever stream and project was read last."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk import metrics

if TYPE_CHECKING:
    from tests.runner import Runner

PASS = ("annotations", "data_row_exports", "export_labels")


@pytest.mark.parametrize("maps", [{}, {"*": {"a": "'b'"}}])
def test_metrics_are_those_of_whole_streams(
    run: Runner, caplog: Any, monkeypatch: Any, maps: Any
) -> None:
    """Counts add up to the records, and no project stands for all of them."""
    monkeypatch.setattr("tap_labelbox.singer.writer.COUNTED_RECORDS", 10)
    monkeypatch.setattr(metrics.Counter, "_ready_to_log", lambda counter: counter.value)
    caplog.set_level(logging.DEBUG)

    output = run("projects", "labels", *PASS, stream_maps=maps)

    points = [r.args[0] for r in caplog.records if r.args and "METRIC" in r.msg]
    for stream in ("projects", "labels", *PASS):
        ours = [p for p in points if p.tags.get("stream") == stream]
        counts = [p.value for p in ours if p.metric == metrics.Metric.RECORD_COUNT]
        assert sum(counts) == len(output.records(stream)) > 0
        assert all("context" not in point.tags for point in ours)


def test_streams_of_one_pass_take_as_long_as_the_pass(run: Runner, caplog: Any) -> None:
    """Whichever of them the SDK syncs first, and reads the others as well."""
    caplog.set_level(logging.DEBUG)

    run(*PASS)

    kind = metrics.Metric.SYNC_DURATION
    points = [r.args[0] for r in caplog.records if r.args and "METRIC" in r.msg]
    first, *others = [p.value for p in points if p.metric == kind]
    assert len(others) == len(PASS) - 1
    assert len(set(others)) == 1
    assert first <= others[0]
