"""GraphQL documents, one named operation a file, and how they lose a field.

A document is sent as it is written: what varies is a variable, and aliases give
the columns their names. Labelbox's schema changes without notice, so what it no
longer knows can be taken out of a document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tap_labelbox.api.errors import (
    UNKNOWN_ARGUMENT,
    UNKNOWN_FIELD,
    UNKNOWN_INPUT,
    UNKNOWN_ORDER,
    UNKNOWN_TYPE,
    UNWRITABLE,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# These only save work; anything else of a query says which rows are wanted.
OPTIONAL_ARGUMENTS = frozenset({"where", "orderBy"})
OPTIONAL_INPUTS = frozenset({"deleted", "createdAt_gt", "createdAt_lt"})

MAX_MESSAGE_CHARACTERS = 10_000  # of a message that are searched

ROOT_TYPES = frozenset({"Query", "Mutation"})

GRAPHQL = "/graphql"
PARENT = re.compile(r"\$(\w+_id)\b")
ROWS = re.compile(r"\brows:\s*\w+\s*(?:\([^()]*\)\s*)?\{")
ROOT = re.compile(r"^  (\w+): \w+ \{$", re.MULTILINE)  # field that has a list
FIELD = re.compile(r"\s*(?:(\w+):\s*)?(\w+)\s*(?:\([^()]*\)\s*)?(\{)?")
ALIAS_BEFORE = re.compile(r"(\w+):\s*$")
VARIABLE = re.compile(r"\$(\w+)")
COMMENT = re.compile(r"#.*")
EMPTY_RELATION = re.compile(r"(?:\.{3}\s*on\s+|\w+:\s*)?\w+\s*\{\s*\}")
FRAGMENT = r"\.{{3}}\s*on\s+{}\s*\{{"
# Without these nothing is left to read, or it would not be read to its end.
INDISPENSABLE = re.compile(r"\b(?:rows|next):")

Place = tuple[int, int]
"""Line and column, from 1; (0, 0) if a server gives none."""


@dataclass(frozen=True)
class Document:
    """A GraphQL operation, as much of it as Labelbox knows."""

    text: str
    columns: frozenset[str] = frozenset()
    """What is no longer asked for, of the rows themselves."""
    arguments: frozenset[str] = frozenset()
    """Arguments that are no longer given."""
    inputs: frozenset[str] = frozenset()
    """Inputs of ``where`` that are no longer sent."""
    path: str = GRAPHQL
    """Of the endpoint that knows it, beside the configured address."""

    @classmethod
    def load(cls, name: str) -> Document:
        """Return the document in ``queries/<name>.graphql``."""
        return cls(_texts()[f"{name}.graphql"])

    @cached_property
    def declared(self) -> frozenset[str]:
        """The variables of the operation."""
        return frozenset(re.findall(r"\$(\w+)", self.text))

    @cached_property
    def parent(self) -> str:
        """The variable that is the ID of the parent of all rows; "" for none."""
        result = PARENT.search(self.text)
        return result[1] if result else ""

    @cached_property
    def list_count(self) -> int:
        """The number of lists of rows that it asks for: nearly always one."""
        return len(ROWS.findall(self.text))

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a row, by the names of their columns."""
        if not (rows := ROWS.search(self.text)):
            return frozenset()
        inner = self.text[rows.end() : _closing(self.text, rows.end())]
        return frozenset(field[1] or field[2] for field in FIELD.finditer(inner))

    def narrowed(self, columns: Collection[str]) -> Document:
        """Return the document without the fields of rows that are in no column.

        Args:
            columns: Those that are wanted, and the aliases of rows of other streams.
        """
        text, position = self.text, 0
        while rows := ROWS.search(text, position):
            end = _closing(text, rows.end())
            fields = _narrowed(text[rows.end() : end], columns)
            text, position = text[: rows.end()] + fields + text[end:], rows.end()
        return replace(self, text=text)

    def together(self, asks: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        """Return a text that asks once with each of some variables, and all of these.

        The root fields of each have aliases of its own (``p0_``, ``p1_``, ...), and so
        have its variables, unless all have the same value.
        """
        head, _, rest = COMMENT.sub("", self.text).partition("{")
        fields = rest[: _closing(rest, 0)]
        operation, _, variables = head.strip().removesuffix(")").partition("(")
        names = sorted(self.declared)
        same = {n for n in names if all(_same(ask, asks[0], n) for ask in asks)}
        sent = {name: asks[0][name] for name in names if name in same & asks[0].keys()}
        declared = [item.strip() for item in variables.split(",") if item.strip()]
        declarations = [d for d in declared if d[1:].split(":")[0] in same]
        selections = ""
        for number, ask in enumerate(asks):
            prefix = f"p{number}_"
            own = {name: prefix + name for name in names if name not in same}
            sent |= {own[name]: ask[name] for name in own if name in ask}
            renamed = ((d, _renamed(d, own)) for d in declared)
            declarations += [new for old, new in renamed if new != old]
            selections += _renamed(_prefixed(fields, prefix), own).rstrip() + "\n"
        if declared:
            operation += f"({', '.join(declarations)})"
        return f"{operation} {{{selections}}}", sent

    def less_last_list(self) -> tuple[Document, str] | None:
        """Return the document without the last of several lists, and its alias."""
        if self.list_count < 2 or not (roots := [*ROOT.finditer(self.text)]):  # noqa: PLR2004
            return None
        last = roots[-1]
        end = _closing(self.text, last.end()) + 1
        text = self.text[: last.start()] + self.text[end:]
        return replace(self, text=text), last[1]

    def variables(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the variables less those that are no longer sent."""
        kept = {k: v for k, v in variables.items() if k not in self.arguments}
        if isinstance(where := kept.get("where"), dict):
            kept["where"] = {k: v for k, v in where.items() if k not in self.inputs}
        return kept

    def less(
        self, errors: Iterable[dict[str, Any]], variables: dict[str, Any]
    ) -> tuple[Document, list[str]] | None:
        """Return the document without what these errors call unknown, and its names.

        None where the operation would lose its meaning: its root field, paging,
        or a filter that a user set.
        """
        document, names = self, []
        unknown = {
            (str(e.get("message"))[:MAX_MESSAGE_CHARACTERS], _place(e)) for e in errors
        }
        # From the end of the text, so that the places still to come stay right.
        for message, place in sorted(unknown, key=lambda t: t[1], reverse=True):
            if not (step := document._step(message, place, variables)):
                return None
            document, name = step
            names.append(name)
        # What a server calls unknown that is not asked for would be asked for ever.
        return (document, names) if document != self else None

    def _step(
        self, message: str, place: Place, variables: dict[str, Any]
    ) -> tuple[Document, str] | None:
        changed: Document | None = None
        name = ""
        if match := UNKNOWN_FIELD.search(message):
            name = f"{match[2]}.{match[1]}"
            if match[2] not in ROOT_TYPES:
                changed = self._less_field(match[1], place)
        elif match := UNKNOWN_ARGUMENT.search(message):
            name = f"{match[2]}({match[1]})"
            chosen = set(variables.get("where") or ()) - OPTIONAL_INPUTS
            if match[1] in OPTIONAL_ARGUMENTS and not (match[1] == "where" and chosen):
                changed = self._less_argument(match[1], match[2].rpartition(".")[2])
        elif match := UNKNOWN_ORDER.search(message):
            name = match[2]
            changed = self._less_argument("orderBy")
        elif match := UNKNOWN_TYPE.search(message):
            name, changed = match[1], self._less_type(match[1])
        elif UNWRITABLE.search(message):
            name, changed = self._less_unwritable(place)
        elif match := UNKNOWN_INPUT.search(message):
            name = f"{match[2]}.{match[1]}"
            if match[1] in OPTIONAL_INPUTS:
                changed = replace(self, inputs=self.inputs | {match[1]})
        return (changed, name) if changed else None

    def _less_field(self, name: str, place: Place) -> Document | None:
        # With its alias before it and its selection after it; not a field that
        # has arguments: those are the lists, without which nothing is left.
        field = re.compile(rf"(?:(\w+):\s*)?\b{name}\b(?!\s*[:(])(?:\s*(\{{))?")
        result = field.match(self.text, self._offset(place))
        if not result:
            places = [*field.finditer(self.text, self.text.index("{"))]
            if len(places) != 1:  # which of them is meant, the error does not say
                return None
            result = places[0]
        start, column = result.start(), result[1] or name
        if alias := ALIAS_BEFORE.search(self.text[:start]):
            start, column = alias.start(), alias[1]
        end = _closing(self.text, result.end()) + 1 if result[2] else result.end()
        removed = self.text[start:end]
        is_one_of_several = self.list_count > len(ROWS.findall(removed)) > 0
        if INDISPENSABLE.search(removed) and not is_one_of_several:
            return None
        line = self.text[:start].rpartition("\n")[2]
        text = _without_empty(self.text[:start] + self.text[end:])
        if "{" not in text.partition("{")[2]:  # nothing is left to ask for
            return None
        within_a_relation = "{" in line
        dropped = self.columns if within_a_relation else self.columns | {column}
        return replace(self, text=text, columns=dropped)

    def _less_unwritable(self, place: Place) -> tuple[str, Document | None]:
        if not (field := FIELD.match(self.text, self._offset(place))):
            return "", None
        name = f"{field[2]} (which has values that it cannot write)"
        return name, self._less_field(field[2], place)

    def _less_type(self, name: str) -> Document | None:
        if not (fragment := re.search(FRAGMENT.format(name), self.text)):
            return None
        end = _closing(self.text, fragment.end()) + 1
        text = _without_empty(self.text[: fragment.start()] + self.text[end:])
        return replace(self, text=text)

    def _less_argument(self, name: str, of: str = r"\w+") -> Document:
        def kept(match: re.Match[str]) -> str:
            arguments = match[2].split(", ")
            kept = [text for text in arguments if not text.startswith(f"{name}:")]
            return f"{match[1]}({', '.join(kept)})"

        text = re.sub(rf"\b({of})\(([^()]*)\)", kept, self.text)
        # A variable that nothing uses any more must not be declared either.
        for variable in re.findall(r"\$\w+(?=:)", text):
            if len(re.findall(rf"{re.escape(variable)}\b", text)) == 1:
                declared = rf"{re.escape(variable)}:\s*\w+!?"
                text = re.sub(rf"{declared},\s*|,\s*{declared}", "", text)
        return replace(self, text=text, arguments=self.arguments | {name})

    def _offset(self, place: Place) -> int:
        line, column = place
        before = self.text.splitlines(keepends=True)[: max(line - 1, 0)]
        return sum(map(len, before)) + max(column - 1, 0)


def _place(error: dict[str, Any]) -> Place:
    locations = error.get("locations")
    first = locations[0] if isinstance(locations, list) and locations else None
    match first:
        case {"line": int(line), "column": int(column)}:
            return line, column
    return 0, 0


def _without_empty(text: str) -> str:
    """Return a document without the relations of which no field is left."""
    while (less := EMPTY_RELATION.sub("", text)) != text:
        text = less
    return text


def _fields(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Yield each field of a selection, and where what it selects ends."""
    position = 0
    while field := FIELD.match(text, position):
        position = _closing(text, field.end()) + 1 if field[3] else field.end()
        yield field, position


def _narrowed(fields: str, columns: Collection[str], prefix: str = "") -> str:
    """Return the fields of a selection that are in a column, or have some inside."""
    kept, end = "", 0
    for field, end in _fields(fields):
        path = prefix + (field[1] or field[2])
        if path in columns:
            kept += fields[field.start() : end]
        elif field[3]:
            inner = _narrowed(fields[field.end() : end - 1], columns, f"{path}_")
            kept += f"{field[0]}{inner}}}" if inner.strip() else ""
    # What is more than fields is asked for as it is.
    rest = fields[end:]
    return fields if rest.strip() else kept + rest


def _same(ask: dict[str, Any], other: dict[str, Any], name: str) -> bool:
    return (name in ask) == (name in other) and ask.get(name) == other.get(name)


def _renamed(text: str, names: dict[str, str]) -> str:
    """Return a text with other names of variables."""
    return VARIABLE.sub(lambda match: f"${names.get(match[1], match[1])}", text)


def _prefixed(fields: str, prefix: str) -> str:
    """Return fields, each under an alias that begins with a prefix."""
    result, position = "", 0
    for field, end in _fields(fields):
        start = field.start(1) if field[1] else field.start(2)
        alias = prefix if field[1] else f"{prefix}{field[2]}: "
        result += fields[position:start] + alias + fields[start:end]
        position = end
    return result + fields[position:]


def _closing(text: str, start: int) -> int:
    """Return where the brace is that closes what is open at a position."""
    depth = 1
    for place in re.finditer(r"[{}]", text[start:]):
        depth += 1 if place[0] == "{" else -1
        if not depth:
            return start + place.start()
    raise ValueError(text)


@cache
def _texts() -> dict[str, str]:
    """Read all documents at once: later, connections may have all descriptors."""
    content = files("tap_labelbox.queries").iterdir()
    documents = (file for file in content if file.name.endswith(".graphql"))
    return {file.name: file.read_text("utf-8") for file in documents}
