"""States of several runs that share an account, joined and split by project.

Meltano's own merge of states replaces lists, and so loses the bookmarks of projects.
"""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tap_labelbox.records import timestamps
from tap_labelbox.singer.shared_state import EXPORT, MAX_RUNS, WITHOUT_RECORDS
from tap_labelbox.singer.state import (
    PROJECT_ID,
    READ_AT,
    READ_UP_TO,
    RUNS,
    unfinished_runs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

Bookmark = dict[str, Any]
"""What is known of a stream, or of one project in it."""

PARTITIONS = "partitions"
CONTEXT = "context"
VALUE = "replication_key_value"


def join(states: Iterable[Mapping[str, Any]], by_project: Collection[str]) -> Bookmark:
    """Return one state for all projects of some; of a project the later bookmark wins.

    Where a stream of projects has a single bookmark, the earliest counts: each run has
    read up to its own for its own projects only. If one has none, there is none.

    Args:
        states: Those of the runs, which stay as they are.
        by_project: The streams whose rows are of projects.
    """
    resolved = [_resolved(state) for state in states]
    names = dict.fromkeys(name for bookmarks in resolved for name in bookmarks)
    joined = {}
    for name in names:
        known = [bookmarks[name] for bookmarks in resolved if name in bookmarks]
        is_everywhere = len(known) == len(resolved)
        bookmark = _joined(
            known, is_earliest=name in by_project, is_everywhere=is_everywhere
        )
        if bookmark:
            joined[name] = bookmark
    return {"bookmarks": joined}


def split(
    state: Mapping[str, Any],
    shards: Sequence[Callable[[str], bool]],
    by_project: Collection[str],
) -> list[Bookmark]:
    """Return a state for each shard; shards say whether they take a project by its ID.

    The first gets what no other reads.
    """
    results: list[Bookmark] = [{"bookmarks": {}} for _ in shards]
    for name, bookmark in state.get("bookmarks", {}).items():
        shared = {key: value for key, value in bookmark.items() if key != PARTITIONS}
        parts: dict[int, list[Bookmark]] = defaultdict(list)
        for partition in bookmark.get(PARTITIONS, []):
            project_id = (partition.get(CONTEXT) or {}).get(PROJECT_ID)
            takers = (n for n, takes in enumerate(shards) if takes(project_id or ""))
            parts[next(takers, 0) if project_id else 0].append(partition)
        for number, result in enumerate(results):
            own = deepcopy(shared) if name in by_project or number == 0 else {}
            if parts[number] or (number == 0 and PARTITIONS in bookmark):
                own[PARTITIONS] = deepcopy(parts[number])
            if own:
                result["bookmarks"][name] = own
    return results


def _resolved(state: Mapping[str, Any]) -> dict[str, Bookmark]:
    """Return the bookmarks of a state, each saying itself how far its stream was read.

    A stream that has had no records may be behind: another one vouches for it, but for
    the projects of this state only.
    """
    bookmarks: dict[str, Bookmark] = deepcopy(dict(state.get("bookmarks", {})))
    kept = deepcopy(bookmarks)
    for voucher, bookmark in kept.items():
        bookmarks[voucher].pop(WITHOUT_RECORDS, None)
        others = bookmark.get(WITHOUT_RECORDS)
        for other in others if isinstance(others, list) else ():
            if not isinstance(other, str) or other == voucher:
                continue
            behind = bookmarks.setdefault(other, {})
            _catch_up(behind, bookmark)
            partitions = {_place(p): p for p in behind.get(PARTITIONS, [])}
            for partition in bookmark.get(PARTITIONS, []):
                if (place := _place(partition)) not in partitions:
                    partitions[place] = {CONTEXT: partition[CONTEXT]}
                    behind.setdefault(PARTITIONS, []).append(partitions[place])
                _catch_up(partitions[place], partition)
    return bookmarks


def _catch_up(behind: Bookmark, further: Bookmark) -> None:
    """Move a bookmark to where another one is, if that says more."""
    if _value(further) > _value(behind):
        for name in ("replication_key", VALUE):
            if name in further:
                behind[name] = further[name]
    marks = (bookmark.get(READ_UP_TO) for bookmark in (further, behind))
    if read_up_to := max(map(timestamps.normalize_or_empty, marks)):
        behind[READ_UP_TO] = read_up_to
    if EXPORT in further:
        behind.setdefault(EXPORT, deepcopy(further[EXPORT]))


def _joined(
    known: list[Bookmark], *, is_earliest: bool, is_everywhere: bool
) -> Bookmark:
    """Return what several states know of a stream."""
    ends = [timestamps.normalize_or_empty(b.get(READ_AT)) for b in known]
    is_same_end = len({*ends}) == 1 and is_everywhere
    partitions: dict[tuple[tuple[str, str], ...], Bookmark] = {}
    for bookmark, end in zip(known, ends, strict=True):
        for partition in bookmark.get(PARTITIONS, []):
            # When each project was read stands once for all of them.
            item = partition if is_same_end or not end else {READ_AT: end} | partition
            place = _place(item)
            if place not in partitions or _rank(item) > _rank(partitions[place]):
                partitions[place] = item
    shared = [{k: v for k, v in b.items() if k != PARTITIONS} for b in known]
    if is_earliest and not (is_everywhere and all(map(_value, shared))):
        # Whoever has no bookmark has read nothing so far.
        for item in shared:
            item.pop(VALUE, None)
            item.pop("replication_key", None)
    # What else is known goes with the bookmark: the rest of a list, say.
    ordered = sorted(shared, key=_value, reverse=not is_earliest)
    result = dict(ordered[0])
    if not is_same_end:
        result.pop(READ_AT, None)
        if is_everywhere and all(ends):
            result[READ_AT] = min(ends)
    if runs := {run for b in known for run in unfinished_runs(b)}:
        result[RUNS] = sorted(runs)[-MAX_RUNS:]
    if partitions or any(PARTITIONS in b for b in known):
        result[PARTITIONS] = [partitions[place] for place in sorted(partitions)]
    return result


def _place(partition: Bookmark) -> tuple[tuple[str, str], ...]:
    """Return which project a partition is of, to compare it by."""
    return tuple(sorted((k, str(v)) for k, v in partition[CONTEXT].items()))


def _rank(partition: Bookmark) -> tuple[str, bool, str]:
    """Return what says which of two partitions of a project is the later one."""
    read_at = timestamps.normalize_or_empty(partition.get(READ_AT))
    return _value(partition), EXPORT in partition, read_at


def _value(bookmark: Bookmark) -> str:
    """Return how far a stream was read, to be compared; "" if that is not known."""
    value = bookmark.get(VALUE)
    return timestamps.normalize_or_empty(value) or str(value or "")
