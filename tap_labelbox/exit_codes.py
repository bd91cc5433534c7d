"""Exit codes, and what Airbyte calls each failure.

Imports nothing heavy: a run may end while the rest is being imported.
"""

from __future__ import annotations

import errno
from enum import Enum


class Ending(Enum):
    """The end of a run: exit code, Airbyte's failure type, cause, remedy."""

    DONE = (0, None, "All was read, but for what a warning names.", "Nothing.")
    INCOMPLETE = (
        1,
        "system_error",
        (
            "The run finished, but something that the log names could not be read, for "
            "whatever reason: a project, a stream, a row. All else was read."
        ),
        "Read the log. The next run tries it again.",
    )
    UNKNOWN = (
        1,
        "system_error",
        (
            "The run ended early, and trying again may or may not help: the "
            "target closed its input, Labelbox refused a request, or the tap has a bug."
        ),
        "Read the log, or the target's.",
    )
    USAGE = (
        2,
        "config_error",
        (
            "The command line cannot be used: an unknown option, a file that is not "
            "there, a closed standard output."
        ),
        "Change the command.",
    )
    TEMPORARY = (
        75,
        "transient_error",
        (
            "A temporary problem: Labelbox is down or too slow, the network is down, "
            "`max_run_seconds` have passed, or memory, disk space or file descriptors "
            "ran out."
        ),
        "Run it again later; it resumes from its state.",
    )
    CONFIG = (
        78,
        "config_error",
        (
            "A setting, the API key, `api_url`, a catalog, a state, a stream map or "
            "the storage of batch files cannot be used, or a package is missing."
        ),
        "Do as the last line of the log says before running it again.",
    )
    INTERRUPTED = (130, "transient_error", "SIGINT (Ctrl-C) stopped it.", "As for 143.")
    TERMINATED = (
        143,
        "transient_error",
        "SIGTERM stopped it.",
        "Run it again; it resumes from its state.",
    )

    def __init__(
        self, code: int, failure_type: str | None, meaning: str, action: str
    ) -> None:
        self.code = code
        self.failure_type = failure_type
        """In Airbyte's words; None for no failure."""
        self.meaning = meaning
        self.action = action


TABLE = {
    "ConfigValidationError": Ending.CONFIG,
    "ImportError": Ending.CONFIG,
    "MemoryError": Ending.TEMPORARY,
    "LabelboxError": Ending.UNKNOWN,
    "SettingsError": Ending.CONFIG,
    "AccessError": Ending.CONFIG,
    "AddressError": Ending.CONFIG,
    "RefusedError": Ending.CONFIG,
    "ComplexityError": Ending.CONFIG,
    "ResourceError": Ending.TEMPORARY,
    "StoppedError": Ending.TEMPORARY,
    "TransientError": Ending.TEMPORARY,
    "ExpiredLinkError": Ending.TEMPORARY,
    "UnavailableError": Ending.UNKNOWN,
    "FailedExportError": Ending.UNKNOWN,
    "ForbiddenError": Ending.CONFIG,
    "TooLargeError": Ending.CONFIG,
    "NotOfferedError": Ending.UNKNOWN,
    "OutageError": Ending.TEMPORARY,
    "IncompleteError": Ending.INCOMPLETE,
}
"""How a run ends that is ended by an error, by the name of its class or the nearest
one it derives from; by any other, it is UNKNOWN."""

SHORTAGES = frozenset(
    (
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC),
        getattr(errno, "EDQUOT", errno.ENOSPC),  # Windows has no quotas
    )
)
"""The errors of the system that say there is too little of something just now."""


def ending(error: BaseException) -> Ending:
    """Return how a run ends that an error ends."""
    if isinstance(error, OSError) and error.errno in SHORTAGES:
        return Ending.TEMPORARY
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((TABLE[name] for name in names if name in TABLE), Ending.UNKNOWN)
