"""The documents are what Labelbox's schema takes, and survive what it forgets."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from graphql import build_schema, parse, print_ast, validate
from graphql.language import OperationDefinitionNode, Visitor, visit

from tap_labelbox.api.documents import Document
from tap_labelbox.streams import STREAMS

if TYPE_CHECKING:
    from graphql.language import FieldNode

SCHEMA_TEXT = (
    files("tap_labelbox.sandbox").joinpath("schema.graphql").read_text("utf-8")
)
SCHEMA = build_schema(SCHEMA_TEXT)
# Of one field, without which nothing is left to ask for.
ONE_FIELD = ("user", "organization_role")
NEEDED = re.compile(r"\b(rows|next): ")
NAMES = sorted(
    file.name.removesuffix(".graphql")
    for file in files("tap_labelbox.queries").iterdir()
    if file.name.endswith(".graphql")
)
PER_ITEM = pytest.mark.parametrize("name", NAMES)


def problems(text: str) -> list[Any]:
    """Return what is wrong with a document, as a server says it."""
    return validate(SCHEMA, parse(text))


class Fields(Visitor):
    """Collects the fields of a document that can be missed: all but the lists.

    Nor is what has the list of a document without arguments, or its next cursor.
    """

    def __init__(self) -> None:
        """Start with none."""
        super().__init__()
        self.plain: list[FieldNode] = []

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        """Keep a field."""
        if not node.arguments and not NEEDED.search(print_ast(node)):
            self.plain.append(node)


def fields(text: str) -> list[FieldNode]:
    """Return the fields of a document that have no arguments."""
    collected = Fields()
    visit(parse(text), collected)
    return collected.plain


@PER_ITEM
def test_a_document_is_valid(name: str) -> None:
    """As Labelbox's schema is known."""
    assert problems(Document.load(name).text) == []


@PER_ITEM
def test_a_document_has_one_operation_by_its_own_name(name: str) -> None:
    """``project_ids.graphql`` is ``ProjectIds``."""
    (operation,) = parse(Document.load(name).text).definitions

    assert isinstance(operation, OperationDefinitionNode)
    assert operation.name
    assert operation.name.value == name.title().replace("_", "")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ONE_FIELD])
def test_any_field_can_be_dropped(name: str) -> None:
    """The rest of the document is valid, and asks for all other fields."""
    for field in fields(text := Document.load(name).text):
        document = Document(text)
        place = field.loc.source.get_location(field.loc.start)  # type: ignore[union-attr]
        error = {
            "message": f'Cannot query field "{field.name.value}" on type "Label".',
            "locations": [{"line": place.line, "column": place.column}],
        }

        changed = document.less([error], {})

        assert changed
        document, by_name = changed
        assert by_name == [f"Label.{field.name.value}"]
        assert problems(document.text) == []
        # A relation goes with its fields, and with the last of them.
        assert len(fields(document.text)) >= len(fields(text)) - 8
        assert len(fields(document.text)) < len(fields(text))


def test_the_last_field_cannot_be_dropped() -> None:
    """An operation without a field is none."""
    unknown = [{"message": 'Cannot query field "id" on type "User".'}]

    assert not Document.load(ONE_FIELD[0]).less(unknown, {})


def test_several_fields_can_be_dropped_at_once() -> None:
    """A server names all that it does not know."""
    document = Document.load("labels")
    forgotten = re.sub(
        r"\b(type: LabelType|agreement: Float|globalKey: String)\b", "", SCHEMA_TEXT
    )
    errors = validate(build_schema(forgotten), parse(document.text))

    changed = document.less([dict(error.formatted) for error in errors], {})

    assert changed
    document, by_name = changed
    assert sorted(by_name) == ["DataRow.globalKey", "Label.agreement", "Label.type"]
    assert document.columns == {"agreement", "type"}
    assert validate(build_schema(forgotten), parse(document.text)) == []


def test_a_field_is_found_without_its_place() -> None:
    """Servers may leave locations out."""
    document = Document.load("labels")

    changed = document.less(
        [{"message": 'Cannot query field "type" on type "Label".'}], {}
    )

    assert changed
    document, _ = changed
    assert "type" not in document.text
    assert problems(document.text) == []


def test_a_relation_of_which_nothing_is_left_goes_as_well() -> None:
    """``type { }`` would be no GraphQL."""
    document = Document("{ project { type { name } id } }")

    unknown = 'Cannot query field "name" on type "LabelType".'
    changed = document.less([{"message": unknown}], {})

    assert changed
    document, _ = changed
    assert document.text.split() == ["{", "project", "{", "id", "}", "}"]


@pytest.mark.parametrize(
    ("message", "gone"),
    [
        ('Unknown argument "orderBy" on field "Project.labels".', "orderBy"),
        ('Value "createdAt_ASC" does not exist in "LabelOrderBy" enum.', "orderBy"),
        ('Unknown argument "where" on field "Project.labels".', "$where"),
    ],
)
def test_an_argument_can_be_dropped(message: str, gone: str) -> None:
    """With it goes the variable that nobody uses any more."""
    document = Document.load("labels")

    changed = document.less([{"message": message}], {})

    assert changed
    document, _ = changed
    assert gone not in document.text
    assert problems(document.text) == []


def test_a_window_can_be_dropped_but_no_filter_of_a_user() -> None:
    """A window only saves work; a filter says which rows are wanted."""
    where = {"createdAt_gt": "2026", "agreement_gt": 0.5}
    document = Document.load("labels")
    unknown = 'Field "{}" is not defined by type "LabelWhereInput".'

    changed = document.less([{"message": unknown.format("createdAt_gt")}], {})

    assert changed
    assert not document.less([{"message": unknown.format("agreement_gt")}], {})
    assert changed[0].variables({"where": where, "skip": 0}) == {
        "where": {"agreement_gt": 0.5},
        "skip": 0,
    }


@pytest.mark.parametrize(
    ("name", "field", "kind"),
    [
        ("roles", "roles", "Organization"),
        ("task_queues", "taskQueues", "Project"),
        ("user_groups", "nodes", "UserGroupPage"),
        ("user_groups", "nextCursor", "UserGroupPage"),
    ],
)
def test_the_rows_and_the_next_cursor_are_never_dropped(
    name: str, field: str, kind: str
) -> None:
    """Without them nothing is read, or the first page is taken for all of it."""
    document = Document.load(name)
    line = next(
        number
        for number, text in enumerate(document.text.splitlines(), 1)
        if re.search(rf"(rows|next): {field}\b", text)
    )
    column = document.text.splitlines()[line - 1].index(field) + 1
    unknown = f'Cannot query field "{field}" on type "{kind}".'
    places = [{}, {"locations": [{"line": line, "column": column}]}]

    assert [document.less([{"message": unknown, **p}], {}) for p in places] == [
        None
    ] * 2


def test_an_operation_keeps_its_root() -> None:
    """Without ``exportLabels`` nothing is left to ask."""
    document = Document.load("export_labels")
    text = document.text

    unknown = 'Cannot query field "exportLabels" on type "Mutation".'
    assert not document.less([{"message": unknown}], {})
    assert document.text == text


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_every_column_has_a_description_and_a_type(stream: Any) -> None:
    """Targets fail on untyped columns, and on objects without properties in arrays."""

    def check(schema: dict[str, Any], where: str) -> None:
        assert "type" in schema, where
        if "object" in schema["type"] and where.endswith("[]"):
            assert "properties" in schema, where
        for name, inner in schema.get("properties", {}).items():
            assert inner.get("description"), f"{where}.{name}"
            check(inner, f"{where}.{name}")
        if "array" in schema["type"]:
            check(schema["items"], f"{where}[]")

    check(stream.schema, stream.name)
    assert stream.primary_keys


def test_paging_is_never_dropped() -> None:
    """Without it the first page would come for ever."""
    document = Document.load("labels")

    for name in ("skip", "first"):
        unknown = f'Unknown argument "{name}" on field "Project.labels".'
        assert not document.less([{"message": unknown}], {})


def test_a_filter_goes_with_no_argument() -> None:
    """Drop ``where`` only if it holds nothing that a user chose."""
    document = Document.load("labels")
    unknown = [{"message": 'Unknown argument "where" on field "Project.labels".'}]

    assert document.less(unknown, {"where": {"createdAt_lt": "2026"}})
    assert not document.less(unknown, {"where": {"type": {"id": "t"}}})


def test_a_type_can_be_dropped() -> None:
    """With it goes all that is asked of it; not what other types have."""
    document = Document.load("iam_integrations")
    unknown = [{"message": 'Unknown type "GcpIamIntegrationSettings".'}]

    changed = document.less(unknown, {})

    assert changed
    assert "Gcp" not in changed[0].text
    assert "roleArn" in changed[0].text
    assert problems(changed[0].text) == []
    assert not Document.load("users").less(unknown, {})


def test_a_field_with_values_that_cannot_be_written_is_dropped() -> None:
    """One of them spoils the whole reply, whatever the others are."""
    document = Document.load("webhooks")
    line = next(n for n, t in enumerate(document.text.split("\n"), 1) if "topics" in t)
    message = "String cannot represent value: []"
    places = {"locations": [{"line": line, "column": 7}]}

    changed = document.less([{"message": message, **places}], {})

    assert changed
    assert changed[0].columns == {"topics"}
    assert problems(changed[0].text) == []
    assert not document.less([{"message": message}], {})


def test_the_last_of_several_lists_can_be_dropped() -> None:
    """But not the only one."""
    document = Document.load("api_keys")

    assert document.list_count == 2
    less = document.less_last_list()

    assert less
    changed, part = less
    assert part == "others"
    assert changed.list_count == 1
    assert problems(changed.text) == []
    assert not changed.less_last_list()
    assert not Document.load("users").less_last_list()


def test_a_column_and_a_filter_of_one_name_are_two_things() -> None:
    """The column ``type`` is dropped; the filter by ``type`` stays."""
    unknown = [{"message": 'Cannot query field "type" on type "Label".'}]
    where = {"type": {"id": "t"}}

    changed = Document.load("labels").less(unknown, {"where": where})

    assert changed
    assert changed[0].variables({"where": where}) == {"where": where}


def test_which_of_two_fields_is_meant_is_not_guessed() -> None:
    """Without its place, ``id`` may be anybody's."""
    unknown = [{"message": 'Cannot query field "id" on type "LabelType".'}]

    assert not Document.load("labels").less(unknown, {})
