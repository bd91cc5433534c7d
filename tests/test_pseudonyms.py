"""Pseudonyms: the same for the same person, in columns and at any place of JSON."""

from __future__ import annotations

import hmac
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tap_labelbox.exports.fast_rows import decode_fast_rows
from tap_labelbox.exports.row_tables import DATA_ROW_EXPORTS
from tap_labelbox.exports.rows import decode_rows
from tap_labelbox.records.columns import EMAIL, NAME, key, text
from tap_labelbox.records.columns import json as json_column
from tap_labelbox.records.json_text import encode
from tap_labelbox.records.pseudonyms import Pseudonymizer, Pseudonyms

SALT = "a long random text"
PSEUDONYMS = Pseudonyms(SALT)
EVERY_CHARACTER = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def pseudonym(prefix: str, value: str) -> str:
    """Return what somebody with the salt computes."""
    digest = hmac.new(SALT.encode(), value.encode(), "sha256").hexdigest()
    return f"{prefix}_{digest}"


ADA = pseudonym("email", "ada@example.com")
ZOE = pseudonym("email", "zoë@example.com")
NAMED_COLUMNS = pseudonym("name", "Ada Okafor")


def in_json(text: str, key: str = "") -> str:
    """Return a JSON text with pseudonyms in it."""
    return bytes(PSEUDONYMS.json(Raw(text.encode()), key)).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ada@example.com", ADA),
        (" Ada@EXAMPLE.com\n", ADA),
        ("ZOE\u0308@example.com", ZOE),  # a letter and its dots, as one or as two
        ("", ""),
        ("  ", "  "),
        (ADA, ADA),
        ("a***@***", pseudonym("email", "a***@***")),
    ],
)
def test_an_address_is_one_however_it_is_written(value: str, expected: str) -> None:
    """In any case, with blanks around it; nothing stays nothing."""
    assert PSEUDONYMS.of("email", value) == expected


def test_another_salt_gives_other_pseudonyms() -> None:
    """And a name is no address."""
    assert Pseudonyms("pepper").of("email", "ada@example.com") != ADA
    assert PSEUDONYMS.name("Ada Okafor") == NAMED_COLUMNS
    assert PSEUDONYMS.name("Ada@example.com") == ADA  # as names by default are


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"created_by":"ada@example.com"}', f'{{"created_by":"{ADA}"}}'),
        ('{"createdBy": "ADA@example.com" }', f'{{"createdBy":"{ADA}"}}'),
        ('{"Created By":"Ada Okafor"}', f'{{"Created By":"{NAMED_COLUMNS}"}}'),
        ('{"created\\u005fby":"Ada Okafor"}', f'{{"created_by":"{NAMED_COLUMNS}"}}'),
        ('{"x":"\\u0061da\\u0040example.com"}', f'{{"x":"{ADA}"}}'),
        ('{"reviewed_by":"zo\\u00eb@example.com"}', f'{{"reviewed_by":"{ZOE}"}}'),
        ('{"members":["ada@example.com",null]}', f'{{"members":["{ADA}",null]}}'),
        (
            '{"actor":{"id":"u1","email":null,"name":"Ada Okafor"}}',
            f'{{"actor":{{"id":"u1","email":null,"name":"{NAMED_COLUMNS}"}}}}',
        ),
        ('{"ada@example.com":7}', f'{{"{ADA}":7}}'),
        (
            '{"created_by":"ada@example.com","created_by":null}',
            f'{{"created_by":"{ADA}","created_by":null}}',
        ),
        ('{"geometry":[" ada@example.com "]}', f'{{"geometry":["{ADA}"]}}'),
        (
            '{"name":"Ada Okafor","email":"ada@example.com"}',
            f'{{"name":"{NAMED_COLUMNS}","email":"{ADA}"}}',
        ),
        (
            '{"a":"{\\"created_by\\":\\"ada@example.com\\"}"}',
            f'{{"a":"{{\\"created_by\\":\\"{ADA}\\"}}"}}',
        ),
    ],
)
def test_people_in_json(text: str, expected: str) -> None:
    """By key or by form, whichever escapes a server uses."""
    assert in_json(text) == expected
    assert in_json(f"[{text}]") == f"[{expected}]"
    assert PSEUDONYMS.json([Raw(text.encode())]) == [Raw(expected.encode())]
    decoded = json.loads(text)
    result = PSEUDONYMS.json(decoded)
    assert json.loads(encode(result)) == json.loads(expected)


@pytest.mark.parametrize(
    "text",
    [
        '{"created_by": null, "n": 1.50e2, "big": 123456789012345678901234567890}',
        '{"created_by":""}',
        '{"created_by":"clyhxlhc0j7qdzjr456fqjimy"}',
        '{"created_by_id":"ada","created_at":"x"}',
        '{"name":"Car","value":"a@b"}',
        '{"comment":"ask ada@example.com"}',
        '{"a":"\\"created_by\\":\\"x\\""}',
        '{"annotations":{"objects":[{"name":"user","owner":"Car"}]}}',
        '"x"',
        "[]",
        "0",
        "{}",
    ],
)
def test_all_else_stays(text: str) -> None:
    """Byte for byte: IDs, free text, numbers, names of classes, blanks."""
    assert in_json(text) == text


def test_what_is_beside_a_pseudonym_stays_as_it_is() -> None:
    """Numbers and blanks within values as well."""
    result = in_json('{"created_by":"ada@example.com","n":1.50e2,"x":{ "y" : 1 }}')

    assert result == f'{{"created_by":"{ADA}","n":1.50e2,"x":{{ "y" : 1 }}}}'


@pytest.mark.parametrize("levels", [50, 2000, 100_000])
def test_nothing_is_nested_too_deeply(levels: int) -> None:
    """Addresses are found there as well."""
    text = f'{"[" * levels}"Ada@example.com"{"]" * levels}'
    value: Any = "Ada@example.com"
    for _ in range(levels):
        value = [value]

    assert in_json(text) == text.replace("Ada@example.com", ADA)
    assert b"xample" not in encode(PSEUDONYMS.json(value))


# --- any JSON ----------------------------------------------------------------------

PEOPLE = ["ada@example.com", "Zoë@Example.com", "Ada Okafor", "a\\b@c.de", "", "x"]
KEYS = ["created_by", "reviewedBy", "email", "name", "id", "annotations", "é", "\u2028"]
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.sampled_from(PEOPLE)
    | st.text(EVERY_CHARACTER, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text(EVERY_CHARACTER, max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def replaced(value: Any, role: str = "") -> Any:
    """Return what is wanted, by the rules as they are documented."""
    if isinstance(value, str):
        of = {"person": PSEUDONYMS.person, "name": PSEUDONYMS.name}
        return of.get(role, lambda text: ADA_OR_ZOE.get(text, text))(value)
    if isinstance(value, list):
        return [replaced(item, role) for item in value]
    if not isinstance(value, dict):
        return value
    roles = dict.fromkeys(("created_by", "reviewedBy", "email"), "person")
    roles |= {"annotations": "content"}
    if role == "person" or "email" in value:
        roles["name"] = "name"
    return {
        name: replaced(inner, role if role == "content" else roles.get(name, ""))
        for name, inner in value.items()
    }


ADA_OR_ZOE = {"ada@example.com": ADA, "Zoë@Example.com": ZOE}


@given(TREES, st.booleans(), st.sampled_from([(",", ":"), (" , ", " :\n")]))
def test_any_json(tree: Any, is_ascii: bool, separators: tuple[str, str]) -> None:  # noqa: FBT001
    """As a walk through the decoded value would do it."""
    text = json.dumps(tree, ensure_ascii=is_ascii, separators=separators)

    assert json.loads(in_json(text)) == replaced(tree)


# --- records -----------------------------------------------------------------------


def test_columns_are_replaced_as_they_are_declared() -> None:
    """Text that is an address is replaced wherever it stands; the record stays."""
    columns = (
        key("id", "ID."),
        text("created_by_email", "E-mail.", personal=EMAIL),
        text("owner", "Name.", personal=NAME),
        text("answer", "Free text."),
        text("comment", "Free text."),
        json_column("more", "JSON."),
    )
    record = {
        "id": "x",
        "created_by_email": " Ada@example.com",
        "owner": "Ada Okafor",
        "answer": "ada@example.com",
        "comment": "Ask ada@example.com",
        "more": {"created_by": "Ada Okafor", "n": [1]},
    }
    kept = dict(record)

    result = Pseudonymizer(columns, PSEUDONYMS)(record)

    assert record == kept
    assert msgspec.json.decode(result.pop("more")) == {
        "created_by": NAMED_COLUMNS,
        "n": [1],
    }
    assert result == {
        "id": "x",
        "created_by_email": ADA,
        "owner": NAMED_COLUMNS,
        "answer": ADA,
        "comment": "Ask ada@example.com",
    }
    empty = dict.fromkeys(record) | {"id": "x"}
    assert Pseudonymizer(columns, PSEUDONYMS)(empty) == empty


def exported(**label: Any) -> bytes:
    """Return a line of an export."""
    details: dict[str, Any] = {
        "created_at": "2026-01-01",
        "created_by": "Ada@example.com",
    }
    details |= {"reviews": [{"reviewed_by": "Zoë@example.com", "score": 1.0}]}
    step: dict[str, Any] = {
        "action": "Move",
        "created_by": "Ada Okafor",
        "next_task_id": "t",
    }
    project: dict[str, Any] = {
        "name": "ada@example.com",
        "labels": [{"id": "l", "label_details": details} | label],
        "project_details": {"workflow_history": [step, step | {"created_by": None}]},
    }
    row: dict[str, Any] = {"data_row": {"id": "d"}, "projects": {"p": project}}
    row["metadata_fields"] = [{"value": "ada@example.com"}]
    return json.dumps(row, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "label",
    [
        {},
        {"annotations": {"objects": [{"text_answer": "ada@example.com"}]}},
        {"annotations": {"text": "a \u2028 line, \\ and @ sign"}},
        {"version": None, "z_order": ["f"], "performance_details": {"skipped": False}},
        {"approver": "Ada Okafor"},
        {"label_details": None},
        {"label_details": {"reviews": None}},
        {"label_kind": {"created_by": "Ada Okafor"}},
    ],
)
def test_both_paths_lead_to_one_record(label: dict[str, Any]) -> None:
    """A row that is decoded to its record, and one that is decoded whole."""
    line = exported(**label)
    replace = Pseudonymizer(DATA_ROW_EXPORTS.columns, PSEUDONYMS)

    records = [
        msgspec.json.decode(encode(replace(row.in_project("p").record)))
        for row in (
            *decode_fast_rows(line),
            *decode_rows(line),
        )
    ]

    assert records[0] == records[1]
    assert not re.search("example|Okafor", json.dumps(records, ensure_ascii=False))
    plain = msgspec.json.decode(encode(decode_rows(line)[0].in_project("p").record))
    assert records[0]["labels"] == [replaced_label(x) for x in plain["labels"]]


def replaced_label(label: dict[str, Any]) -> Any:
    """Return a label with all of its people replaced, wherever they are."""
    text = json.dumps(label, ensure_ascii=False)
    for value, new in (
        ("Ada@example.com", ADA),
        ("ada@example.com", ADA),
        ("Zoë@example.com", ZOE),
        ("Ada Okafor", NAMED_COLUMNS),
    ):
        text = text.replace(value, new)
    return json.loads(text)
