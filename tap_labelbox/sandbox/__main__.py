"""``python -m tap_labelbox.sandbox``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

try:
    from tap_labelbox.sandbox import World, serve
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "graphql":
        raise
    sys.exit("The sandbox needs its extra: pip install 'tap-labelbox[sandbox]'")

DESCRIPTION = """\
Serve a made-up Labelbox workspace on this machine, without an account. Prints its
address and settings for the tap, and runs until Ctrl-C."""


def main() -> None:
    """Read the arguments and serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tap_labelbox.sandbox",
        description=DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=int, default=0, help="0 for any free port")
    add("--projects", type=int, default=13, help="number of projects")
    add("--labels", type=int, default=1300, help="number of labels in all projects")
    add("--seed", type=int, default=1, help="seed of the workspace and of the faults")
    add("--latency", type=float, default=0.0, help="seconds before each reply")
    add("--faults", type=float, default=0.0, help="share of requests that fail, 0 to 1")
    add(
        "--forget",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what the API no longer has: Label.type, Project.labels.orderBy, "
        "LabelWhereInput.createdAt_lt, LabelOrderBy.createdAt_ASC, …",
    )
    add(
        "--ignore",
        nargs="+",
        default=[],
        metavar="NAME",
        help="arguments that the API accepts and ignores: Project.labels.orderBy, "
        "Query.projects.orderBy, …",
    )
    add(
        "--refuse",
        nargs="+",
        default=[],
        metavar="NAME",
        help="fields that the key may not read: Query.iamIntegrations, …",
    )
    add(
        "--export-lag",
        type=float,
        default=0.0,
        help="seconds by which data row exports lag behind",
    )
    add(
        "--exports-v1",
        choices=("works", "retired", "forbidden"),
        default="works",
        help="the bulk export",
    )
    add("--polls", type=int, default=2, help="polls until an export is ready")
    add(
        "--link-seconds",
        type=float,
        default=86_400.0,
        help="lifetime of links to files",
    )
    add(
        "--restricted",
        type=int,
        default=0,
        help="projects of which the key may see neither people nor their work",
    )
    add(
        "--write-config",
        type=Path,
        metavar="FILE",
        help="write the settings to this file as well, for --config FILE of the tap",
    )
    options = vars(parser.parse_args())
    config: Path | None = options.pop("write_config")
    world = World(options["seed"], options.pop("projects"), options.pop("labels"))
    for project in world.projects[: options.pop("restricted")]:
        project.restricted = True
    with serve(world, **options) as sandbox:
        settings = {"api_url": sandbox.url, "api_key": sandbox.api_key}
        if config:
            try:
                write_private(config, json.dumps(settings, indent=2) + "\n")
            except OSError as error:
                parser.exit(1, f"{config} cannot be written: {error.strerror}\n")
        sys.stdout.write(
            f"{len(world.projects)} projects at {sandbox.url}\n"
            f"Settings for the tap:\n{json.dumps(settings, indent=2)}\n"
        )
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, also where one is already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if hasattr(os, "fchmod"):  # on Windows from Python 3.13
            os.fchmod(descriptor, 0o600)
        file.truncate()
        file.write(text)


if __name__ == "__main__":
    main()
