"""What the package takes of the SDK: its private names in one folder only."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import singer_sdk
from singer_sdk import plugin_base

import tap_labelbox
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(tap_labelbox.__file__).parent
PRIVATE = {
    name
    for kind in (singer_sdk.Tap, singer_sdk.Stream)
    for name in dir(kind)
    if name.startswith("_") and not name.startswith("__")
}
ALLOWED = {"singer", "sandbox"}
# Streams that write what the SDK writes; to be moved to `singer` as well.
OVERRIDING = {"streams/base.py", "streams/exported.py"}


def privates(tree: ast.AST) -> Iterator[str]:
    """Yield the private names of the SDK that a module imports, uses or defines."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("singer_sdk"):
                names = [*module.split("."), *(each.name for each in node.names)]
                yield from (name for name in names if name.startswith("_"))
            case ast.Import():
                parts = [p for each in node.names for p in each.name.split(".")]
                if parts[0] == "singer_sdk":
                    yield from (part for part in parts if part.startswith("_"))
            case ast.Attribute(attr=name) | ast.FunctionDef(name=name):
                if name in PRIVATE:
                    yield name


@pytest.mark.parametrize(
    "path",
    sorted(
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ALLOWED
    ),
)
def test_private_names_of_the_sdk_are_in_one_folder(path: str) -> None:
    """Whoever reads a release of the SDK reads `singer` beside it."""
    if path not in OVERRIDING:
        assert not [*privates(ast.parse((PACKAGE / path).read_text("utf-8")))]


def test_the_private_names_are_still_there() -> None:
    """What is overridden under a name that the SDK calls no longer does nothing."""
    called = Path(plugin_base.__file__).read_text("utf-8")
    for name in ("_validate_config", "_env_var_config", "_setup_signal_handlers"):
        assert name in vars(TapLabelbox.__base__)
        assert f"self.{name}" in called
