"""A Labelbox in a thread: made-up data, behind the API as it is known.

::

    with serve(World(seed=1, projects=4, labels=250)) as sandbox:
        print(sandbox.url, sandbox.api_key)

What it imitates is what clients are known to see; what it cannot know, such as
how an unlisted limit is answered, is in the docstrings.
"""

from typing import TYPE_CHECKING, Any

from tap_labelbox.sandbox.knobs import Knobs
from tap_labelbox.sandbox.replies import Reply, Request
from tap_labelbox.sandbox.world import (
    ANCHOR,
    DataRow,
    Dataset,
    Label,
    Project,
    User,
    World,
)

if TYPE_CHECKING:
    from tap_labelbox.sandbox.server import Sandbox, serve

__all__ = [
    "ANCHOR",
    "DataRow",
    "Dataset",
    "Knobs",
    "Label",
    "Project",
    "Reply",
    "Request",
    "Sandbox",
    "User",
    "World",
    "serve",
]


def __getattr__(name: str) -> Any:
    """Import the server when it is asked for: it alone needs the extra."""
    if name not in ("Sandbox", "serve"):
        raise AttributeError(name)
    from tap_labelbox.sandbox import server  # noqa: PLC0415

    return getattr(server, name)
