"""The code speaks plain English and the words of its field, so that it is read once."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
QUOTES = '"""'


def trees(*folders: str) -> dict[str, ast.Module]:
    """Return the modules of some folders, by their paths."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


FOLDERS = ("tap_labelbox", "scripts", "benchmarks", "tests", "warehouses", "examples")
TREES = trees(*FOLDERS)

# Never part of a name; what to call it instead.
WORDS = {
    "ahead": "prefetch, in flight",
    "announce": "write the header",
    "door": "client",
    "fruitless": "stalled",
    "gate": "rate limiter",
    "heavy": "raw",
    "laid": "built, to_record",
    "misfit": "unmapped",
    "moment": "timestamp",
    "odd": "malformed",
    "patience": "budget",
    "said": "text, message, stated",
    "say": "report, log",
    "storable": "sanitized",
    "straight": "direct",
    "stuff": "a noun for it",
    "tell": "report, log, raise",
    "thing": "object, item, row",
    "told": "message, problem, reported",
    "understood": "parsed",
    "unusual": "malformed",
    "usual": "well-formed, expected",
}
# But a name of a test is a sentence of plain English.
IN_SENTENCES = {"said", "say", "tell", "thing"}
# Not a name by itself: a noun for the thing is.
NAMES = {
    *("alone", "as_flag", "as_written", "at_first", "cut", "each", "enter", "family"),
    *("found", "full", "gain", "given", "hold", "in_hand", "inside", "light", "links"),
    *("listed", "miss", "named", "nothing", "nulls", "one", "only", "opened"),
    *("opening", "openings", "piece", "room", "wanted", "way"),
}
CONSTANTS_ONLY = {"cut", "full", "links", "piece"}

# Never in a docstring or a comment either.
PROSE = {
    *("door", "fruitless", "laid", "misfit", "moment", "moments", "odd"),
    *("storable", "straight", "unusual"),
}

# A docstring states what a function does, or what a class or a module is.
NO_BEGINNINGS = {
    *("be", "give", "gives", "know", "lay", "let", "say", "says", "see", "take"),
    *("takes", "tell", "tells", "how", "what", "whether", "where", "which", "who"),
    *("whose", "why"),
}
# What a number counts, in the plural, or what it is when it counts nothing.
UNIT = re.compile(
    r"[A-Z]{2,}S(_|$)|(^|_)(DEPTH|FACTOR|FLAG|INTEGER|IN_FLIGHT|LOGGED|MB)(_|$)"
    r"|(^|_)(NUMBER|PORT|RATIO|SHARE)(_|$)"
)


def bound(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each name that a module gives to something, and its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield node.lineno, name
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield 0, name


def bad_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the names that need translation, with a better word where there is one."""
    for line, name in bound(tree):
        if name.startswith("__"):
            continue
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).strip("_")
        whole = plain.lower()
        is_out = whole in NAMES and (plain.isupper() or whole not in CONSTANTS_ONLY)
        if is_out:
            yield line, f"{name}: a noun for the thing"
        in_sentence = IN_SENTENCES if name.startswith("test_") else set()
        for word in (_words(name) & {*WORDS}) - in_sentence:
            yield line, f"{name}: {WORDS[word]}"


def _words(name: str) -> set[str]:
    """Return the words of a name, in lower case and the singular."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return {part.removesuffix("s") for part in plain.lower().split("_")}


def bad_docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield docstrings that begin with neither a verb of what is done nor a noun.

    That of a test may go on with the sentence that its name begins.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            words = re.findall(r"\w+", ast.get_docstring(node) or "")
            name = getattr(node, "name", "module")
            if name.startswith("test_"):
                continue
            if words and words[0].lower() in NO_BEGINNINGS:
                yield getattr(node, "lineno", 1), f"{name}: {' '.join(words[:5])} ..."


def bad_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield words of docstrings and comments that need translation."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_docstring = (
            token.type == tokenize.STRING and token.line.lstrip()[:3] == QUOTES
        )
        if token.type == tokenize.COMMENT or is_docstring:
            for word in PROSE & {*re.findall("[a-z]+", token.string.lower())}:
                yield token.start[0], word


def bad_constants(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield numbers whose name leaves open of what they are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and is_number(node.value):
            for target in node.targets:
                match target:
                    case ast.Name(id=name) if name.isupper() and not UNIT.search(name):
                        yield node.lineno, f"{name} = {ast.unparse(node.value)}"


def is_number(node: ast.expr) -> bool:
    """Return whether an expression is a number, or arithmetic with numbers only."""
    match node:
        case ast.Constant(value=value):
            return type(value) in {int, float}
        case ast.UnaryOp(operand=operand):
            return is_number(operand)
        case ast.BinOp(left=left, right=right):
            return is_number(left) and is_number(right)
    return False


CHECKS = [bad_names, bad_docstrings, bad_constants]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_code_needs_no_translation(
    check: Callable[[ast.Module], Iterator[tuple[int, str]]],
) -> None:
    """No name, no docstring and no constant of it, in any file."""
    complaints = [
        f"{path}:{line} {complaint}"
        for path, tree in TREES.items()
        for line, complaint in check(tree)
    ]

    assert len(TREES) > 150
    assert complaints == []


@pytest.mark.parametrize("path", TREES)
def test_docstrings_and_comments_need_none(path: str) -> None:
    """Every word in them is plain."""
    source = (ROOT / path).read_text("utf-8")

    assert [*bad_prose(source)] == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('def f():\n    """Return the moment."""', ["moment"]),
        ("x = 1  # an odd value", ["odd"]),
        ('x = "an odd value"', []),
        ("odd = 1  # is a name", []),
    ],
)
def test_words_of_prose_are_noticed(code: str, words: list[str]) -> None:
    """They are noticed in docstrings and comments, and only there."""
    assert [word for _, word in bad_prose(code)] == words


@pytest.mark.parametrize("path", TREES)
def test_modules_have_names_of_the_field(path: str) -> None:
    """None is a word that names nothing else either."""
    words = {word.removesuffix("s") for word in re.findall("[a-z]+", path)}

    assert not words & {*WORDS}


@pytest.mark.parametrize(
    ("check", "code", "complaints"),
    [
        (bad_names, "def as_moment(): ...", 1),
        (bad_names, "class Gate: ...", 1),
        (bad_names, "for _told in x: ...", 1),
        (bad_names, "x = [found for found in y]", 1),
        (bad_names, "with a as self.given: ...", 1),
        (bad_names, "def f(*, one): ...", 1),
        (bad_names, "import a as odd", 1),
        (bad_names, "PIECE = x", 1),
        (bad_names, "def test_a_gate(): ...", 1),
        (bad_names, "def test_what_they_say(): ...", 0),
        (bad_names, "piece = told(one.given)", 0),
        (bad_names, "founder = investigate = modding = 1", 0),
        (bad_docstrings, 'def f():\n    """Give the rows."""', 1),
        (bad_docstrings, 'def f():\n    """Whether it is one."""', 1),
        (bad_docstrings, '"""What exports are."""', 1),
        (bad_docstrings, 'class A:\n    """Tells apart."""', 1),
        (bad_docstrings, 'def f():\n    """Return the rows."""', 0),
        (bad_constants, "CHUNK = 64 * 1024", 1),
        (bad_constants, "class A:\n    TIMEOUT = -1.0", 1),
        (bad_constants, "TIMEOUT_SECONDS = 60", 0),
        (bad_constants, "MAX_BYTES_PER_LINE = 60", 0),
        (bad_constants, "NAME = 'text'", 0),
    ],
)
def test_words_are_noticed(
    check: Callable[[ast.Module], Iterator[tuple[int, str]]], code: str, complaints: int
) -> None:
    """They are noticed where they are names, and only there."""
    assert len([*check(ast.parse(code))]) == complaints
