"""GraphQL documents, one named operation a file, and how they lose a field.

A document is sent as it is written: what varies is a variable, and aliases give
the columns their names. Labelbox's schema changes without notice, so what it no
longer knows can be taken out of a document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# GraphQL has no codes for these; the wording is graphql-js's, and old.
UNKNOWN_FIELD = re.compile(r"Cannot query field .(\w+). on type .(\w+).")
UNKNOWN_ARGUMENT = re.compile(r"Unknown argument .(\w+). on field .([\w.]+).")
UNKNOWN_ORDER = re.compile(r"Value .(\w+). does not exist in .(\w+OrderBy). enum")
UNKNOWN_INPUT = re.compile(r"Field .(\w+). is not defined by type .(\w+).")

# A filter that a user set must hold; these only save work.
OPTIONAL_INPUTS = frozenset({"deleted", "createdAt_gt", "createdAt_lt"})

ROOT_TYPES = frozenset({"Query", "Mutation"})


@dataclass
class Document:
    """A GraphQL operation, as much of it as Labelbox knows."""

    text: str
    dropped: set[str] = field(default_factory=set)
    """Columns, arguments and inputs that are no longer sent."""

    @classmethod
    def load(cls, name: str) -> Document:
        """Read ``queries/<name>.graphql``."""
        return cls(files(__name__).joinpath(f"{name}.graphql").read_text("utf-8"))

    def variables(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Give the variables less the inputs of ``where`` that were dropped."""
        if "where" in self.dropped:
            return {k: v for k, v in variables.items() if k != "where"}
        if not isinstance(where := variables.get("where"), dict):
            return variables
        kept = {name: v for name, v in where.items() if name not in self.dropped}
        return variables | {"where": kept}

    def drop(self, errors: Iterable[dict[str, Any]]) -> list[str]:
        """Take out what these errors call unknown, and name it.

        Nothing is taken out, and nothing named, where the operation would lose
        its meaning: its root field, or a filter that a user set.
        """
        named = []
        # From the end of the text, so that the places still to come stay right.
        for error in sorted(errors, key=_place, reverse=True):
            message = str(error.get("message"))
            if match := UNKNOWN_FIELD.search(message):
                name, parent = match.groups()
                if parent in ROOT_TYPES:
                    return []
                if not self._drop_field(name, _place(error)):
                    return []
                named.append(f"{parent}.{name}")
            elif match := UNKNOWN_ARGUMENT.search(message):
                self._drop_argument(match[1], match[2].rpartition(".")[2])
                named.append(f"{match[2]}({match[1]})")
            elif match := UNKNOWN_ORDER.search(message):
                self._drop_argument("orderBy")
                named.append(f"{match[2]}.{match[1]}")
            elif (match := UNKNOWN_INPUT.search(message)) and (
                match[1] in OPTIONAL_INPUTS
            ):
                self.dropped.add(match[1])
                named.append(f"{match[2]}.{match[1]}")
            else:
                return []
        return named

    def _drop_field(self, name: str, place: tuple[int, int]) -> bool:
        # With its alias before it and its selection after it; not a field that
        # has arguments: those are the lists, without which nothing is left.
        pattern = re.compile(
            rf"(?:(\w+):\s*)?\b{name}\b(?!\s*[:(])(?:\s*\{{[^{{}}]*\}})?"
        )
        match = pattern.match(self.text, self._offset(place))
        match = match or pattern.search(self.text, self.text.index("{"))
        if not match:
            return False
        self.dropped.add(match[1] or name)
        self.text = self.text[: match.start()] + self.text[match.end() :]
        # A relation of which no field is left has to go as well.
        self.text = re.sub(r"(\w+:\s*)?\w+\s*\{\s*\}", "", self.text)
        return True

    def _drop_argument(self, name: str, of: str = r"\w+") -> None:
        def less(match: re.Match[str]) -> str:
            arguments = match[2].split(", ")
            kept = [text for text in arguments if not text.startswith(f"{name}:")]
            return f"{match[1]}({', '.join(kept)})"

        self.dropped.add(name)
        self.text = re.sub(rf"\b({of})\(([^()]*)\)", less, self.text)
        # A variable that nothing uses any more must not be declared either.
        for variable in re.findall(r"(\$\w+):", self.text):
            if len(re.findall(rf"{re.escape(variable)}\b", self.text)) == 1:
                self._drop_argument(variable)

    def _offset(self, place: tuple[int, int]) -> int:
        line, column = place
        before = self.text.splitlines(keepends=True)[: max(line - 1, 0)]
        return sum(map(len, before)) + max(column - 1, 0)


def _place(error: dict[str, Any]) -> tuple[int, int]:
    """Give line and column of the first location, from 1; (0, 0) if none."""
    location = (error.get("locations") or [{}])[0]
    return location.get("line", 0), location.get("column", 0)
