"""GraphQL as Labelbox's server speaks it: graphql-core, with graphql-js's words."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import graphql
from graphql import GraphQLError, execute_sync

from tap_labelbox.sandbox.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from graphql import GraphQLField, GraphQLResolveInfo, GraphQLSchema

    Resolver = Callable[..., Any]
    Info = GraphQLResolveInfo[Any]

PAGE_ROWS = 100  # rows at most, and rows if nobody says how many
DATA_ROW_PAGE_ROWS = 500  # the same for `datasetDataRows`
NESTED_LISTS = 3  # lists within lists that may be asked for at once
NESTED_FIELDS = 15
DOCUMENTS = 1000  # documents whose parsed form is kept
# graphql-core's words, and those of the graphql-js that Apollo's servers run on.
WORDS = (
    (r"(?<!\w)'([^']*)'(?!\w)", r'"\1"'),
    (
        r'Expected value of type "(\w+)" not to include unknown field "(\w+)".*',
        r'Field "\2" is not defined by type "\1".',
    ),
    (r'^(Variable "\$\w+") has invalid value: ', r"\1 got invalid value; "),
)
TOO_COMPLEX = "Query complexity limit exceeded"


@cache
def _published() -> graphql.DocumentNode:
    """Return the schema that all begin with."""
    text = files(__package__).joinpath("schema.graphql").read_text("utf-8")
    return graphql.parse(text, no_location=True)


class _Document(NamedTuple):
    """A document that can be executed, or the reply that says why not."""

    parsed: graphql.DocumentNode | None
    refused: Reply | None
    fields: int = 0
    """At the root of its largest operation, each alias counted."""


class Schema:
    """Answers documents by a schema and its resolvers.

    Args:
        resolvers: What answers `Type.field`, for each field that is not just read
            off its object. One that takes `skip` and `first` may return the whole
            list, and so may one that gives `nodes`.
        forget: Parts of the schema to leave out: `Type.field`,
            `Type.field.argument`, `Input.field` or `Enum.VALUE`.
        ignore: Each a `Type.field.argument` that may be given and changes nothing.
        refuse: Fields that may not be read.
        without: Fields that another endpoint has; those that are forgotten may be here.
    """

    def __init__(
        self,
        resolvers: Mapping[str, Resolver],
        forget: Iterable[str] = (),
        ignore: Iterable[str] = (),
        refuse: Iterable[str] = (),
        without: Iterable[str] = (),
    ) -> None:
        self._schema = graphql.build_ast_schema(_published())
        self._documents: dict[str, _Document] = {}
        _set_scalars(self._schema)
        for name in forget:
            _forget(self._schema, name)
        _wire(self._schema, dict(resolvers))
        for name in ignore:
            _ignore(self._schema, name)
        for name in refuse:
            _refuse(self._schema, name)
        for name in without:
            with suppress(ValueError):
                _forget(self._schema, name)

    def answer(
        self,
        text: str,
        variables: dict[str, Any],
        operation: str | None,
        context: Any,
        *,
        most_fields: float = inf,
    ) -> Reply:
        """Execute a document, or return the reason why it cannot be.

        Args:
            text: The document.
            variables: Of the operation.
            operation: Its name, where the document has several.
            context: Passed to resolvers.
            most_fields: Beyond so many fields at its root it is too complex.
        """
        document = self._documents.get(text)
        if document is None:
            if len(self._documents) >= DOCUMENTS:
                self._documents.clear()
            document = self._documents[text] = self._read(text)
        if document.refused or document.parsed is None:
            return document.refused or Reply(500)
        if document.fields > most_fields:
            return _refused([GraphQLError(TOO_COMPLEX)], "GRAPHQL_VALIDATION_FAILED")
        result = execute_sync(
            self._schema,
            document.parsed,
            context_value=context,
            variable_values=variables,
            operation_name=operation if len(document.parsed.definitions) > 1 else None,
        )
        if not result.errors:
            return Reply(200, {}, {"data": result.data})
        if result.data is None and not any(error.path for error in result.errors):
            return _refused(result.errors, "BAD_USER_INPUT")
        errors = [_formatted(error, _crash(error)) for error in result.errors]
        return Reply(200, {}, {"errors": errors, "data": result.data})

    def _read(self, text: str) -> _Document:
        try:
            parsed = graphql.parse(text)
        except GraphQLError as error:
            return _Document(None, _refused([error], "GRAPHQL_PARSE_FAILED"))
        rules = [*graphql.specified_rules, _Complexity]
        if errors := graphql.validate(self._schema, parsed, rules):
            return _Document(None, _refused(errors, "GRAPHQL_VALIDATION_FAILED"))
        operations = parsed.definitions
        roots = (getattr(node, "selection_set", None) for node in operations)
        fields = max((len(root.selections) for root in roots if root), default=0)
        return _Document(parsed, None, fields)


def refusal(code: str, message: str) -> GraphQLError:
    """Return an error with a code of Labelbox's, to raise in a resolver."""
    return GraphQLError(message, extensions={"code": code})


def connection(
    rows: list[Any], first: int | None, after: str | None, limit: int = PAGE_ROWS
) -> dict[str, Any]:
    """Return a page of a list that is read by cursor, with every form of cursor.

    The cursor is the id of the last row of the page before; none follows the last
    page.
    """
    first = limit if first is None else first
    if not 1 <= first <= limit:
        msg = f"first must be between 1 and {limit}"
        raise refusal("BAD_USER_INPUT", msg)
    start = 0
    if after:
        ids = [_id(row) for row in rows]
        if after not in ids:
            raise refusal("BAD_USER_INPUT", f"Invalid cursor: {after}")
        start = ids.index(after) + 1
    nodes = rows[start : start + first]
    more = len(rows) > start + first
    cursor = _id(nodes[-1]) if more else None
    return {
        "nodes": nodes,
        "totalCount": len(rows),
        "nextCursor": cursor,
        "pageInfo": {"hasNextPage": more, "startCursor": cursor, "endCursor": cursor},
    }


def snake(name: str) -> str:
    """Return a GraphQL name in Python's spelling."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _id(row: Any) -> str:
    return str(row["id"] if isinstance(row, dict) else row.id)


# --- errors ------------------------------------------------------------------


def _refused(errors: Iterable[GraphQLError], code: str) -> Reply:
    return Reply(400, {}, {"errors": [_formatted(e, {"code": code}) for e in errors]})


def _formatted(error: GraphQLError, extensions: dict[str, Any]) -> dict[str, Any]:
    formatted: dict[str, Any] = dict(error.formatted)
    message = error.message
    for theirs, ours in WORDS:
        message = re.sub(theirs, ours, message)
    return formatted | {"message": message, "extensions": extensions}


def _crash(error: GraphQLError) -> dict[str, Any]:
    """Return the code that a resolver chose, or that of a crash."""
    return error.extensions or {"code": "INTERNAL_SERVER_ERROR"}


# --- scalars -----------------------------------------------------------------


def _set_scalars(schema: GraphQLSchema) -> None:
    timestamp, size, number = map(
        schema.type_map.get, ("DateTime", "PageSize", "UInt64")
    )
    # graphql-core 3.3 has new names for these functions, and 3.2 only the old ones.
    for kind, write in ((timestamp, _write_timestamp), (number, str)):
        vars(kind).update(serialize=write, coerce_output_value=write)
    for kind, read in (
        (timestamp, _read_timestamp),
        (size, _read_page_size),
        (number, _read_whole_number),
    ):
        vars(kind).update(parse_value=read, coerce_input_value=read)


def _write_timestamp(timestamp: datetime | str) -> str:
    if isinstance(timestamp, str):  # in a form of its own
        return timestamp
    return timestamp.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _read_timestamp(value: Any) -> datetime:
    try:
        timestamp = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        msg = f"DateTime cannot represent {value!r}"
        raise ValueError(msg) from None
    timestamp = timestamp.replace(microsecond=timestamp.microsecond // 1000 * 1000)
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def _read_page_size(value: Any) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not 1 <= value <= PAGE_ROWS
    ):
        msg = f"PageSize must be a whole number from 1 to {PAGE_ROWS}"
        raise ValueError(msg)
    return value


def _read_whole_number(value: Any) -> int:
    if not str(value).isdecimal():
        msg = f"UInt64 cannot represent {value!r}"
        raise ValueError(msg)
    return int(value)


# --- the schema's wiring -----------------------------------------------------


def _forget(schema: GraphQLSchema, name: str) -> None:
    """Remove a field, an argument, an input or an enum value."""
    path = name.split(".")
    holder: Any = schema.type_map.get(path[0])
    for number, part in enumerate(path[1:], start=1):
        members = (
            getattr(holder, "fields", None)
            or getattr(holder, "args", None)
            or getattr(holder, "values", None)
            or {}
        )
        if part not in members:
            break
        if number == len(path) - 1:
            del members[part]
            return
        holder = members[part]
    msg = f"the schema has no {name}"
    raise ValueError(msg)


def _refuse(schema: GraphQLSchema, name: str) -> None:
    """Refuse to resolve a field."""
    kind, _, field_name = name.partition(".")
    fields: dict[str, GraphQLField] = getattr(schema.type_map.get(kind), "fields", {})
    if field_name not in fields:
        msg = f"the schema has no {name}"
        raise ValueError(msg)

    def refuse(*_: Any, **_arguments: Any) -> Any:
        raise refusal("AUTHORIZATION_ERROR", f"You are not authorized to read {name}")

    fields[field_name].resolve = refuse


def _ignore(schema: GraphQLSchema, name: str) -> None:
    """Remove an argument from the call of its resolver."""
    kind, _, rest = name.partition(".")
    field_name, _, argument = rest.partition(".")
    fields: dict[str, GraphQLField] = getattr(schema.type_map.get(kind), "fields", {})
    field = fields.get(field_name)
    if field is None or argument not in field.args or field.resolve is None:
        msg = f"the schema has no {name}"
        raise ValueError(msg)
    resolve, name = field.resolve, field.args[argument].out_name or argument

    def resolve_without(source: Any, info: Info, **arguments: Any) -> Any:
        arguments.pop(name, None)
        return resolve(source, info, **arguments)

    field.resolve = resolve_without


def _wire(schema: GraphQLSchema, resolvers: dict[str, Resolver]) -> None:
    for kind in schema.type_map.values():
        if isinstance(kind, graphql.GraphQLInputObjectType):
            for name, input_field in kind.fields.items():
                input_field.out_name = snake(name)
        elif isinstance(kind, graphql.GraphQLUnionType):
            kind.resolve_type = _type_name
        elif isinstance(kind, graphql.GraphQLObjectType) and kind.name[0] != "_":
            for name, field in kind.fields.items():
                resolver = resolvers.pop(f"{kind.name}.{name}", None) or _reader(name)
                field.resolve = _paged(resolver, field)
                for argument, declared in field.args.items():
                    # `from` and `id` are no names for Python's arguments.
                    own = {"from": "after", "id": "given_id"}
                    declared.out_name = own.get(argument) or snake(argument)


def _type_name(value: Any, _info: Info, _kind: Any) -> str:
    return str(value["__typename"])


def _reader(name: str) -> Resolver:
    """Return a resolver that reads a field off its object."""
    attribute = snake(name)

    def read(source: Any, _info: Info, **_arguments: Any) -> Any:
        if type(source) is dict:
            return source.get(name)
        return getattr(source, attribute)

    return read


def _paged(resolve: Resolver, field: GraphQLField) -> Resolver:
    """Return a resolver of one page, made of that of a whole list."""
    kind: Any = graphql.get_named_type(field.type)
    by_cursor = "nodes" in getattr(kind, "fields", {}) and "first" in field.args
    if not by_cursor and "skip" not in field.args:
        return resolve

    def page(source: Any, info: Info, **arguments: Any) -> Any:
        skip = arguments.pop("skip", None) or 0
        first, after = arguments.pop("first", None), arguments.pop("after", None)
        rows = resolve(source, info, **arguments)
        if by_cursor:
            limit = DATA_ROW_PAGE_ROWS if kind.name == "DataRowPage" else PAGE_ROWS
            return connection(rows, first, after, limit)
        if skip < 0:
            raise refusal("BAD_USER_INPUT", "skip must not be negative")
        return rows[skip : skip + (first or PAGE_ROWS)]

    return page


class _Complexity(graphql.ValidationRule):
    """Refuses what would take Labelbox too long: lists of lists of lists of lists."""

    def __init__(self, context: graphql.ValidationContext) -> None:
        super().__init__(context)
        self._lists = 0
        self._fields = 0

    def enter_field(self, node: graphql.FieldNode, *_: Any) -> None:
        """Go one field down."""
        self._fields += 1
        self._lists += self._is_list()
        if self._lists > NESTED_LISTS or self._fields > NESTED_FIELDS:
            self.report_error(GraphQLError(TOO_COMPLEX, node))

    def leave_field(self, *_: Any) -> None:
        """Come up again."""
        self._fields -= 1
        self._lists -= self._is_list()

    def _is_list(self) -> bool:
        parent = self.context.get_parent_type()
        if parent is None or parent.name.startswith("__"):
            return False  # what the schema holds is no data
        input_type = self.context.get_type()
        return (
            input_type is not None
            and graphql.is_list_type(graphql.get_nullable_type(input_type))
            and graphql.is_composite_type(graphql.get_named_type(input_type))
        )
