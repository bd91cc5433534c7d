"""Knobs that change how a sandbox behaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# How many exports may run at once.
EXPORTS_PER_PROJECT = 10
EXPORTS_PER_ORGANIZATION = 20


@dataclass(kw_only=True)
class Knobs:
    """The behaviour of a sandbox.

    All may be turned any time but `seed`, `forget`, `ignore`, `refuse` and a retired
    `exports_v1`, which are looked at when the sandbox starts.
    """

    latency: float = 0.0
    """Seconds before each reply."""
    faults: float = 0.0
    """Share of requests, 0 to 1, that fail in one of the ways of `faults`."""
    seed: int = 1
    """Other faults at other requests."""
    forget: Sequence[str] = ()
    """What the API no longer knows: Label.type (a field), Project.labels.orderBy (an
    argument), LabelWhereInput.createdAt_lt (an input), LabelOrderBy.createdAt_ASC."""
    ignore: Sequence[str] = ()
    """Arguments that the API takes and does not obey: Query.projects.orderBy."""
    refuse: Sequence[str] = ()
    """Fields that the key may not read: Query.iamIntegrations."""
    projects_order: Literal["createdAt_DESC", "createdAt_ASC", "name_ASC"] = (
        "createdAt_DESC"
    )
    """How projects are listed where nobody says."""
    most_rows: int = 500
    """Rows of a page beyond which a query is too complex."""
    most_fields: int = 100
    """Fields at the root of a query, aliases counted, beyond which it is the same."""
    polls: int = 2
    """How often an export is said to be in the making."""
    link_seconds: float = 86_400.0
    """Seconds after which the link to a file is refused."""
    exports_v1: Literal["works", "retired", "forbidden"] = "works"
    """Whether exportLabels works, is unknown to the API, or not part of the plan."""
    performance: Literal["all", "own", "forbidden"] = "all"
    """Whose performance the key may see: everybody's, its owner's, or nobody's."""
    hidden_performance: Collection[str] = ()
    """Projects whose performance the key may not see, by ID."""
    export_outcome: Literal["COMPLETE", "FAILED", "CANCELED"] = "COMPLETE"
    """How a data row export ends."""
    largest_catalog_export: int = 1_000_000
    """Data rows of an export of the catalog beyond which it fails."""
    export_lag: float = 0.0
    """Seconds by which data row exports are behind: they hold what there was so long
    before they were started, and nothing if nothing had been labeled by then."""
    lagging: float = 1.0
    """Share of the data rows, 0 to 1, that exports are behind with."""
    part_size: int = 1_000_000
    """Bytes of a part of a data row export, about."""
    cut_parts: bool = False
    """Whether a part may end inside a line, and inside a character if there is one
    of several bytes."""
    unexportable: int = 0
    """How many data rows of an export are in its ERRORS, and not in its RESULT."""
