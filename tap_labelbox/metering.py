"""Metrics of whole streams.

The SDK tags them with a context, which is that of one project: the one that happens
to be read last. Here what is counted and timed is the stream, all projects together.
"""

from __future__ import annotations

from singer_sdk import metrics


class RecordCounter(metrics.Counter):
    """Counts the records of a stream.

    Args:
        stream: Its name.
        log_interval: Seconds after which the count so far is logged, and begun anew.
    """

    def __init__(self, stream: str, log_interval: float) -> None:
        """Start with none."""
        tags = {metrics.Tag.STREAM: stream}
        super().__init__(metrics.Metric.RECORD_COUNT, tags, log_interval)

    def with_context(self, value: object) -> None:
        """Do nothing: it counts for all contexts."""


class SyncTimer(metrics.Timer):
    """Measures how long a stream takes.

    Args:
        stream: Its name.
        seconds: How long it took, if it has been read before, with another one.
    """

    def __init__(self, stream: str, seconds: float | None = None) -> None:
        """Start now."""
        super().__init__(metrics.Metric.SYNC_DURATION, {metrics.Tag.STREAM: stream})
        self._seconds = seconds

    def with_context(self, value: object) -> None:
        """Do nothing: it is the time of all contexts."""

    def elapsed(self) -> float:
        """Return the seconds the stream has taken."""
        return super().elapsed() if self._seconds is None else self._seconds
