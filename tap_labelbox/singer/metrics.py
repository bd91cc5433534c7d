"""Metrics of whole streams, and how much of what the SDK logs is for people.

The SDK tags them with a context, which is that of one project: the one that happens
to be read last. Here what is counted and timed is the stream, all projects together.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import singer_sdk
from singer_sdk import metrics
from singer_sdk.exceptions import AbortedSyncFailedException, AbortedSyncPausedException

if TYPE_CHECKING:
    from types import TracebackType

    from tap_labelbox.progress import Counted

SDK = str(Path(singer_sdk.__file__).parent)


class SdkFilter(logging.Filter):
    """Makes DEBUG of what the SDK logs as INFO: metrics, and how it goes about it."""

    def __init__(self, tap_logger: logging.Logger) -> None:
        super().__init__()
        self._tap_logger = tap_logger

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        if record.levelno != logging.INFO or not record.pathname.startswith(SDK):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return self._tap_logger.isEnabledFor(logging.DEBUG)


def quieten(tap_logger: logging.Logger) -> None:
    """Log at DEBUG what the SDK logs as INFO; twice is once.

    Metrics for which SINGER_SDK_LOG_CONFIG has a handler stay as they are: somebody
    gathers them.
    """
    metrics_logger = metrics.get_metrics_logger()
    loggers = [tap_logger]
    if not metrics_logger.handlers:
        loggers.append(metrics_logger)
    for logger in loggers:
        if not any(isinstance(item, SdkFilter) for item in logger.filters):
            logger.addFilter(SdkFilter(tap_logger))


class RecordCounter(metrics.Counter):
    """Counts the records that a stream has written, also before its turn.

    Args:
        stream: The stream.
        log_interval: Seconds after which the count so far is logged, and begun anew.
    """

    def __init__(self, stream: Counted, log_interval: float) -> None:
        tags = {metrics.Tag.STREAM: stream.name}
        super().__init__(metrics.Metric.RECORD_COUNT, tags, log_interval)
        self._stream = stream
        self._logged = 0  # records

    def with_context(self, value: object) -> None:
        """Do nothing: it counts for all contexts."""

    def _pop(self) -> None:
        """Log the records since the last time."""
        self.value = self._stream.record_count - self._logged
        self._logged += self.value
        super()._pop()


class SyncTimer(metrics.Timer):
    """Measures how long a stream takes.

    Args:
        stream: Its name.
        seconds: How long it took, if it has been read before, with another one.
    """

    def __init__(self, stream: str, seconds: float | None = None) -> None:
        super().__init__(metrics.Metric.SYNC_DURATION, {metrics.Tag.STREAM: stream})
        self._seconds = seconds

    def with_context(self, value: object) -> None:
        """Do nothing: it is the time of all contexts."""

    def elapsed(self) -> float:
        """Return the seconds the stream has taken."""
        return super().elapsed() if self._seconds is None else self._seconds

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Log the time; a test that has seen enough has not failed."""
        ends = (AbortedSyncFailedException, AbortedSyncPausedException)
        if exc_type and issubclass(exc_type, ends):
            exc_type = None
        super().__exit__(exc_type, exc_val, exc_tb)
