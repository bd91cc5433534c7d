"""Use of the SDK: its private names are in one folder only."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import singer_sdk
from singer_sdk import Stream, Tap, metrics, plugin_base
from singer_sdk.singerlib.encoding.base import GenericSingerWriter
from singer_sdk.streams import core
from singer_sdk.streams._state import StreamStateManager

import tap_labelbox
from tap_labelbox.singer.stream import DirectStream
from tap_labelbox.tap import TapLabelbox

if TYPE_CHECKING:
    from types import ModuleType

PACKAGE = Path(tap_labelbox.__file__).parent
FILES = {
    str(path.relative_to(PACKAGE)): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in {"singer", "sandbox"}
}
PUBLIC_CLASSES = (Stream, Tap, StreamStateManager, GenericSingerWriter, metrics.Counter)
SDK = Path(singer_sdk.__file__).parent


@cache
def private_names() -> set[str]:
    """Return the private names of the SDK's classes, and of what they inherit."""
    names: set[str] = set()
    for kind in PUBLIC_CLASSES:
        for base in kind.__mro__:
            if base is not object and SDK in Path(inspect.getfile(base)).parents:
                names |= vars(base).keys()
                names |= set(re.findall(r"self\.(_\w+)", inspect.getsource(base)))
    return {name for name in names if re.match(r"_[a-z]", name)}


def named_in(code: str) -> set[str]:
    """Return the private names of the SDK that a module uses, overrides or imports.

    What a class that extends none other calls its own is its own.
    """
    result: set[str] = set()
    private = private_names()

    def look(node: ast.AST, *, extends: bool) -> None:
        match node:
            case ast.ClassDef():
                extends = bool(node.bases)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                result.update({name} & private if extends else ())
            case ast.Attribute(attr=name):
                result.update({name} & private)
            case ast.FunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                result.update({name} & private if extends else ())
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] == "singer_sdk":
                    paths = [f"{module}.{alias.name}" for alias in names]
                    result.update(path for path in paths if "._" in path)
        for child in ast.iter_child_nodes(node):
            look(child, extends=extends)

    look(ast.parse(code), extends=False)
    return result


@pytest.mark.parametrize("file", FILES)
def test_only_the_folder_singer_names_what_is_private_in_the_sdk(file: str) -> None:
    """A release of the SDK is read against one folder."""
    assert not named_in(FILES[file].read_text())


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("class A(Stream):\n def _sync_records(self): ...", {"_sync_records"}),
        ("class A(Tap):\n _env_var_config = 1", {"_env_var_config"}),
        ("class A(Stream):\n def a(self): self._tap.b()", {"_tap"}),
        ("stream._write_schema_message()", {"_write_schema_message"}),
        ("class A:\n def a(self): self._config, self._tap", set()),
        ("class A(Stream):\n def a(self): self._own()", set()),
        ("from singer_sdk.helpers import _state", {"singer_sdk.helpers._state"}),
        ("from singer_sdk.a._b import c", {"singer_sdk.a._b.c"}),
        ("from singer_sdk import Stream", set()),
    ],
)
def test_what_is_private_is_recognized(code: str, names: set[str]) -> None:
    """Used, overridden, assigned or imported."""
    assert named_in(code) == names


@pytest.mark.parametrize(
    ("overriding", "caller", "names"),
    [
        (
            TapLabelbox,
            plugin_base,
            ("_validate_config", "_env_var_config", "_setup_signal_handlers"),
        ),
        (
            DirectStream,
            core,
            (
                "_sync_records",
                "_process_record",
                "_write_record_message",
                "_generate_record_messages",
                "_write_schema_message",
                "_write_activate_version_message",
                "_write_state_message",
            ),
        ),
    ],
)
def test_the_private_names_are_still_there(
    overriding: type, caller: ModuleType, names: tuple[str, ...]
) -> None:
    """An override whose name the SDK no longer calls does nothing."""
    ours = {
        name
        for kind in overriding.__mro__
        for name in vars(kind)
        if kind.__module__.startswith("tap_labelbox")
    }
    for name in names:
        assert name in ours
        assert f"self.{name}" in inspect.getsource(caller)
