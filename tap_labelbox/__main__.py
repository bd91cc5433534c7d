"""``tap-labelbox``, also as ``python -m tap_labelbox``; and ``tap-labelbox check``.

What the tap needs takes a while to be imported. Until then a signal would end in a
traceback, or in click's "Aborted!" and exit code 1. So this module imports nothing
heavy before it has its handlers, and is the last to see what ends a run.
"""

import os
import signal
import sys
from types import FrameType

from tap_labelbox.exit_codes import Ending, ending

NAME = "tap-labelbox"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STDIN, STDOUT, STDERR = range(3)


def main() -> None:
    """Run the tap's command or a check, and end the process with its exit code."""
    for number in SIGNALS:
        # One that is ignored, as nohup and & have it, stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    if STDOUT in _fill_descriptors():
        closed = "Standard output is closed: let it go to a target or to a file"
        _end(closed, Ending.USAGE.code)
    try:
        # ruff: disable[PLC0415]  # not before there are handlers
        from tap_labelbox.api import errors
        from tap_labelbox.tap import TapLabelbox

        if is_check := sys.argv[1:2] == ["check"]:
            from tap_labelbox import check

        # ruff: enable[PLC0415]
    except (OSError, ImportError, MemoryError) as error:  # limits of the system
        _end(f"{NAME} cannot be loaded ({_one_line(error)})", ending(error).code)
    try:
        if is_check:
            check.main(sys.argv[2:])
        else:
            TapLabelbox.cli()
    except (MemoryError, OSError) as error:
        if not (text := errors.shortage(error)):
            raise
        _end(text, Ending.TEMPORARY.code)
    finally:
        # All is written. What comes now would only disturb Python's own end.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _stop(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has been read yet."""
    del frame
    _end("Stopped before anything was read", 128 + number)


def _end(text: str, code: int) -> None:
    """Write one line to standard error and end here, whatever is going on."""
    try:
        os.write(STDERR, f"{text}\n".encode())
    finally:
        os._exit(code)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _fill_descriptors() -> set[int]:
    """Open nothing in the place of what is closed; return which these were.

    The first connection would get the number otherwise, and then what is meant for
    the log, or the rows.
    """
    closed = set()
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            closed.add(number)
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    return closed


if __name__ == "__main__":
    main()
