"""A column is called the same in every stream that has it."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tap_labelbox.streams import STREAMS
from tests.few_days import add_reviewed_labels
from tests.runner import PRIMARY_KEYS

if TYPE_CHECKING:
    from tests.runner import Runner

OF_THE_RECORD = {
    "id",
    "name",
    "description",
    "kind",
    "label",
    "order",
    "type",
    "value",
    "status",
    "expires_at",
    "total_data_rows",
    "position",
    "sequence",
    "data_row_count",
    "created_at",
    "created_by_id",
    "created_by_email",
    "updated_at",
    "additional_columns",
    "text",
}
"""Names that say something of the record itself, whatever it is."""

AMBIGUOUS = {"group_name", "position", "value"}
"""Names that Labelbox itself uses for two things."""

OF_NO_PERSON = {"iam_integrations.service_account_email_id"}
"""Columns with e-mail addresses that Labelbox calls otherwise."""


class Column(NamedTuple):
    """A column of a stream."""

    stream: str
    name: str
    type: str
    meaning: str
    """The first clause of its description; what follows holds for the stream."""

    def __str__(self) -> str:
        """Name it in a message."""
        return f"{self.stream}.{self.name}"


def columns() -> list[Column]:
    """Return every column of every stream."""
    return [
        Column(
            stream.name,
            name,
            schema.get("format") or schema["type"][0],
            re.split("[.,:;]", schema["description"])[0],
        )
        for stream in STREAMS
        for name, schema in stream.schema["properties"].items()
    ]


def grouped(attribute: str) -> dict[str, list[Column]]:
    """Return all columns that have something in common."""
    groups = defaultdict(list)
    for column in columns():
        groups[getattr(column, attribute)].append(column)
    return groups


def test_a_name_has_one_type() -> None:
    """So a join needs no cast."""
    malformed = [
        [*map(str, same)]
        for name, same in grouped("name").items()
        if name not in AMBIGUOUS and len({column.type for column in same}) > 1
    ]

    assert not malformed


def test_a_name_has_one_meaning() -> None:
    """By how its description begins, in every stream that has it."""
    malformed = [
        {str(column): column.meaning for column in same}
        for name, same in grouped("name").items()
        if name not in OF_THE_RECORD | AMBIGUOUS
        and len({column.meaning for column in same}) > 1
    ]

    assert not malformed


def test_a_meaning_has_one_name() -> None:
    """So nobody has to look for it under another."""
    malformed = [
        [*map(str, same)]
        for same in grouped("meaning").values()
        if len({c.name for c in same if c.name not in OF_THE_RECORD}) > 1
    ]

    assert not malformed


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda c: c.name.endswith("_by"), "says neither ID nor e-mail"),
        (
            lambda c: ("E-mail" in c.meaning) != ends(c, "email"),
            "e-mails, and nothing else, are called so",
        ),
        (lambda c: re.match("IDs? of", c.meaning) and not ends(c, "ids?"), "is an ID"),
        (
            lambda c: (
                ends(c, "id|email|name")
                and c.type != "string"
                and c.name != "class_to_schema_id"  # a map, as Labelbox calls it
            ),
            "would be text",
        ),
        (lambda c: ends(c, "ids") and c.type != "array", "would be several"),
        (
            lambda c: re.match("(is|has)_", c.name) and c.type != "boolean",
            "would be true or false",
        ),
        (lambda c: ends(c, "at") and c.type != "date-time", "would be a timestamp"),
    ],
)
def test_a_name_tells_what_a_column_holds(wrong: Any, what: str) -> None:
    """By how it begins and ends."""
    assert [str(column) for column in columns() if wrong(column)] == [], what


def ends(column: Column, word: str) -> bool:
    """Return whether a column's name is this word or ends with it."""
    return bool(re.search(f"(^|_)({word})$", column.name))


def test_an_e_mail_stands_under_its_name(run: Runner) -> None:
    """Whatever the descriptions say: of all columns of text that hold one."""
    add_reviewed_labels(run.world, run.world.projects[0].id)
    output = run(*PRIMARY_KEYS)
    result = {
        f"{message['stream']}.{name}"
        for message in output.messages
        if message["type"] == "RECORD"
        for name, value in message["record"].items()
        if isinstance(value, str) and re.fullmatch(r"[^\s@]+@[^\s@]+", value)
    }
    assert result >= OF_NO_PERSON
    result -= OF_NO_PERSON

    assert output.error is None
    assert {name for name in result if not name.endswith(("_email", ".email"))} == set()
    assert {str(c) for c in columns() if ends(c, "email")} == result
