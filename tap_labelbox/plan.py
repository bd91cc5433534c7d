"""``tap-labelbox-plan``: the parts into which an account's projects are split.

Several runs share an account, each with the settings of one shard. Large projects come
first and alone; the others are spread so that each shard has about as many data rows.
States of earlier runs, of however many shards, are split in the same way.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.api.documents import GRAPHQL
from tap_labelbox.api.errors import SettingsError
from tap_labelbox.base.project_filter import Shard
from tap_labelbox.records.values import as_integer
from tap_labelbox.singer import sharding
from tap_labelbox.singer.input_files import read_state, reading
from tap_labelbox.singer.tap import plain_errors, set_up_log
from tap_labelbox.tap import TapLabelbox, add_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tap_labelbox.base.stream import LabelboxStream

NAME = "tap-labelbox-plan"
STATE_SUFFIXES = {".json", ".jsonl"}


@dataclass(frozen=True)
class Part:
    """The share of one run of several."""

    name: str
    """Of the shard and its state; another count gives other names."""
    weight: int
    """Data rows in its projects."""
    settings: dict[str, Any]
    """To be added to those of the account."""

    @property
    def shard(self) -> Shard:
        """The shard that the settings say."""
        return Shard(**self.settings["shard"])


def plan(
    rows_by_project: Mapping[str, int], shards: int, giant: int | None = None
) -> list[Part]:
    """Return how projects are split: the same for the same projects, whatever order.

    Args:
        rows_by_project: How many data rows each project has.
        shards: Into how many parts those are split that are not giant. Parts without a
            project are left out, but for the first one: it reads what is of no project.
        giant: From how many data rows on a project is a part of its own; None if none
            is.
    """
    by_size = sorted(rows_by_project.items(), key=lambda item: (-item[1], item[0]))
    giants = [item for item in by_size if giant is not None and item[1] >= giant]
    members: list[list[str]] = [[] for _ in range(shards)]
    weights = [0] * shards
    for project_id, rows in by_size[len(giants) :]:
        # Those without data rows, whose weight is not known, are spread as well.
        lightest = min(range(shards), key=lambda n: (weights[n], len(members[n]), n))
        members[lightest].append(project_id)
        weights[lightest] += rows
    digits = max(3, len(str(shards)))
    buckets = [
        (f"b{shards:0{digits}}-{number:0{digits}}", weight, sorted(ids))
        for number, (weight, ids) in enumerate(zip(weights, members, strict=True))
        if ids or number == 0
    ]
    large = [(f"p-{project_id}", rows, [project_id]) for project_id, rows in giants]
    in_order = [*buckets, *large]
    parts = [
        Part(
            name,
            weight,
            {"shard": {"index": index, "count": len(in_order), "project_ids": ids}},
        )
        for index, (name, weight, ids) in enumerate(in_order)
    ]
    return [*parts[len(buckets) :], *parts[: len(buckets)]]


def rows_by_project(tap: TapLabelbox) -> dict[str, int]:
    """Return how many data rows each project has that the settings choose.

    Raises:
        LabelboxError: If the projects cannot be read.
    """
    workspace = tap.workspace
    workspace.client.narrow("projects", GRAPHQL, {"id", "data_row_count"})
    rows = workspace.projects("projects")
    result = {row["id"]: as_integer(row.get("data_row_count")) or 0 for row in rows}
    workspace.check()
    return result


def reshard(parts: Sequence[Part], source: Path, target: Path) -> None:
    """Split the states in a folder for the parts of a plan, each into a file.

    Where both folders are the same, files of other parts are removed: all of theirs is
    in the new ones.

    Raises:
        SettingsError: If a file is not a state, or cannot be written.
    """
    by_project = {
        name
        for name, stream in TapLabelbox(validate_config=False).streams.items()
        if cast("LabelboxStream", stream).is_of_projects
    }
    paths = _state_paths(source)
    ordered = sorted(parts, key=lambda part: part.shard.index)
    joined = sharding.join(map(_read, paths), by_project)
    takers = [part.shard.takes_id for part in ordered]
    states = sharding.split(joined, takers, by_project)
    written = set()
    try:
        target.mkdir(parents=True, exist_ok=True)
        for part, state in zip(ordered, states, strict=True):
            path = target / f"{part.name}.json"
            beside = path.with_name(f".{path.name}.new")  # a kill leaves no half state
            beside.write_text(json.dumps(state))
            beside.replace(path)
            written.add(path.resolve())
        for path in paths:
            is_ours = path.parent.resolve() == target.resolve()
            if is_ours and path.resolve() not in written:
                path.unlink()
    except OSError as error:
        raise SettingsError(f"--into {target}: {error.strerror}") from None


def _state_paths(folder: Path) -> list[Path]:
    with reading("--states", str(folder)):
        if folder.exists():
            return sorted(
                path
                for path in folder.iterdir()
                if path.suffix in STATE_SUFFIXES and not path.name.startswith(".")
            )
    TapLabelbox.logger.warning(
        "--states %s does not exist, as before the first run: everything is read",
        folder,
    )
    return []


def _read(path: Path) -> dict[str, Any]:
    with reading("--states", str(path)), path.open() as file:
        return read_state(file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a plan as JSON, and split the states of earlier runs by it."""
    options = _parser().parse_args(arguments)
    logger = TapLabelbox.logger
    set_up_log(logger)
    with plain_errors(logger):
        if (options.states is None) is not (options.into is None):
            raise SettingsError("--states and --into go together: set both or none")
        tap = TapLabelbox.configured(options.config)
        for name in ("shard", "export_files"):
            if name in tap.config:
                raise SettingsError(
                    f"{name} is set: remove it, because a plan covers all projects"
                )
        parts = plan(rows_by_project(tap), options.shards, options.giant)
        if options.states is not None:
            reshard(parts, options.states, options.into)
    print(json.dumps([asdict(part) for part in parts], indent=1))  # noqa: T201


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Split the projects of an account among several runs: print the "
        "name of each, its data rows and its settings as JSON.",
        epilog="Exit codes are those of a run.",
    )
    add = parser.add_argument
    add_config(parser)
    add("--shards", type=_positive, required=True, metavar="N", help="number of shards")
    add(
        "--giant",
        type=_positive,
        metavar="ROWS",
        help="projects with at least so many data rows get a run of their own",
    )
    add(
        "--states",
        type=Path,
        metavar="DIR",
        help="folder of the state files of earlier runs, of any number of shards",
    )
    add(
        "--into",
        type=Path,
        metavar="DIR",
        help="folder for the states of the runs of the plan, as NAME.json; may be "
        "the same",
    )
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
