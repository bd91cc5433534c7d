"""Stream maps: what they name has to exist, and what is not selected has none.

The SDK ignores a map of a stream that does not exist, takes a column that does not
exist for a new one, and finds out at the first record that an expression names
something else. Whoever hashes e-mails with a misspelt name would send them in the
clear. So all names are looked up before anything is sent.
"""

from __future__ import annotations

import ast
from copy import deepcopy
from difflib import get_close_matches
from fnmatch import fnmatch
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from singer_sdk.exceptions import ConfigValidationError, MapExpressionError
from singer_sdk.helpers._catalog import get_selected_schema
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    CustomStreamMap,
    PluginMapper,
    RemoveRecordTransform,
)

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.records.malformed import kind
from tap_labelbox.singer.suggestions import suggestion

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Iterator, Mapping

    from singer_sdk import Stream

OPTIONS = (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
)
RECORD = ("_", "record")
NAMES = (*RECORD, "config", "__stream_name__", "__original_stream_name__")
"""Names that an expression may use beside the columns."""

BOUNDS = ("maxLength", "minimum", "maximum")
MIN_TYPO_RATIO = 0.9  # how alike a new column and one of the stream are


class Map(NamedTuple):
    """One of the settings' maps."""

    key: str
    """Its name in the settings."""
    source: str
    """The stream it is for, or a pattern."""
    columns: dict[str, Any] | None
    """Its columns and options; None if it removes the stream."""

    @property
    def is_more(self) -> bool:
        """Return whether it makes one more stream of its source, beside other maps."""
        return self.columns is not None and MAPPER_SOURCE_OPTION in self.columns


class NamingStreamMap(CustomStreamMap):
    """A map that says which of its expressions cannot be evaluated, and for what."""

    def _eval(
        self,
        expr: str,
        expr_parsed: Any,  # another type from 0.55 on
        record: dict[str, Any],
        property_name: str | None,
    ) -> Any:
        try:
            return super()._eval(expr, expr_parsed, record, property_name)
        except Exception as error:  # noqa: BLE001  # whatever an expression can raise
            column = property_name or MAPPER_FILTER_OPTION
            where = f"stream_maps.{self.stream_name or self.stream_alias}.{column}"
            # Not what it says, which may quote the record; but what names no value.
            why = error.__cause__ if isinstance(error, MapExpressionError) else error
            msg = f"{where} cannot be evaluated: {expr} ({type(why).__name__})"
            advice = self._advice(expr, expr_parsed, record, column)
            raise SettingsError(f"{msg}; {advice}") from None

    def _advice(
        self, expression: str, parsed: ast.Expr, record: dict[str, Any], column: str
    ) -> str:
        """Return what to do for a record that breaks an expression, without values."""
        nodes = list(ast.walk(parsed))
        names = {n.id: n.id for n in nodes if isinstance(n, ast.Name)}
        names |= {"self": column} if "self" in names else {}
        names |= {f"{of}[{k!r}]": k for of, k in _subscripts(nodes) if of in RECORD}
        used = {text: name for text, name in names.items() if name in record}
        if empty := [text for text, name in used.items() if record[name] is None]:
            columns = self.raw_schema["properties"]
            is_text = {t: "string" in columns[used[t]].get("type", ()) for t in empty}
            guard = " and ".join(
                text if is_text[text] else f"{text} is not None" for text in empty
            )
            if not isinstance(parsed.value, ast.Call | ast.Attribute | ast.Subscript):
                expression = f"({expression})"
            is_filter = column == MAPPER_FILTER_OPTION
            safe = (
                f"{guard} and {expression}"
                if is_filter
                else f"{expression} if {guard} else None"
            )
            return f"where {' and '.join(empty)} is null, so write: {safe}"
        kinds = ", ".join(f"{t} is {kind(record[n])}" for t, n in used.items())
        where = f"where {kinds}: " if kinds else ""
        return f"{where}convert it, guard it, or remove this map"


def mapper(
    config: Mapping[str, Any], streams: Mapping[str, Stream], logger: logging.Logger
) -> PluginMapper:
    """Return the mapper of a run.

    Raises:
        SettingsError: If the SDK cannot make one of the settings.
    """
    # The mapper itself takes options out of what it is given.
    settings = deepcopy(dict(config))
    where = "stream_maps"
    try:
        made = PluginMapper(settings, logger)
        supplied = made.stream_maps_dict
        for name, stream in streams.items():
            where = f"stream_maps or flattening of {name}"
            maps, schema = {}, stream.effective_schema
            if stream.selected:
                maps = _without_deselected(supplied, stream)
                schema = selected_schema(stream)
            made.stream_maps_dict = maps
            made.register_raw_stream_schema(name, schema, list(stream.primary_keys))
            for item in made.stream_maps[name]:
                if type(item) is CustomStreamMap:  # the SDK takes no other kind
                    item.__class__ = NamingStreamMap
                    _forget_bounds(item, maps)
    except ConfigValidationError:  # which names the setting itself
        raise
    except Exception as error:  # noqa: BLE001  # whatever invalid settings make it raise
        msg = f"{where} cannot be used: {error}"
        raise SettingsError(msg) from None
    return made


def problems(config: Mapping[str, Any], streams: Mapping[str, Stream]) -> Iterator[str]:
    """Yield which names in the stream maps do not exist."""
    maps = config.get("stream_maps") or {}
    for key in maps:
        if key.startswith("__") and key != MAPPER_ELSE_OPTION:
            hint = suggestion(key, [MAPPER_ELSE_OPTION])
            yield f"stream_maps.{key} is not an option: remove it{hint}"
    replaced = list(_replaced(maps, streams))
    for item, other, name in replaced:
        if item.key == name and streams[name].selected:
            yield (
                f"stream_maps.{item.key} is replaced by stream_maps.{other.key}, which "
                "comes after it: put the pattern first, and everything for "
                f"{name} into its own map"
            )
    for item in _maps(maps):
        names = [s for name, s in streams.items() if fnmatch(name, item.source)]
        if not names:
            path = f"stream_maps.{item.key}"
            if item.key != item.source:
                path += f".{MAPPER_SOURCE_OPTION}"
            yield (
                f"{path} matches no stream of this tap: {item.source}"
                f"{suggestion(item.source, streams)}"
            )
        elif item.columns is not None:
            idle = {name for idle, _, name in replaced if idle.key == item.key}
            yield from _column_problems(item, names, idle, config)


def warnings(config: Mapping[str, Any], streams: Mapping[str, Stream]) -> Iterator[str]:
    """Yield what the stream maps do that their author may not expect."""
    maps = config.get("stream_maps") or {}
    for item, other, name in _replaced(maps, streams):
        if streams[name].selected and item.key != name:
            yield (
                f"stream_maps.{other.key} replaces stream_maps.{item.key}, which "
                f"has no effect on {name}"
            )
    for item in _maps(maps):
        for name, stream in streams.items():
            if stream.selected and fnmatch(name, item.source):
                yield from (
                    f"stream_maps make a new column, {name}.{new}; {column} stays as it"
                    " is"
                    for new in item.columns or ()
                    for column in _near_columns(new, stream)
                )


def _near_columns(new: str, stream: Stream) -> list[str]:
    """Return the columns of a stream that a new one is spelt nearly like."""
    columns = stream.schema["properties"]
    if new in columns or new.startswith("__"):
        return []
    return get_close_matches(new, columns, len(columns), MIN_TYPO_RATIO)


def _replaced(
    maps: Mapping[str, Any], streams: Mapping[str, Stream]
) -> Iterator[tuple[Map, Map, str]]:
    """Yield each map that does nothing for a stream, the one that does, and its name.

    The SDK takes the last map that is for a stream, whatever the others say.
    """
    for name in streams:
        made = [m for m in _maps(maps) if not m.is_more and fnmatch(name, m.source)]
        yield from ((item, made[-1], name) for item in made[:-1])


def shared_tables(made: PluginMapper, streams: Mapping[str, Stream]) -> Iterator[str]:
    """Yield the tables that have several streams: each would delete the others."""
    tables: dict[str, list[str]] = {}
    for name, stream in streams.items():
        for stream_map in made.stream_maps[name] if stream.selected else ():
            if not isinstance(stream_map, RemoveRecordTransform):
                tables.setdefault(stream_map.stream_alias, []).append(name)
    for table, names in tables.items():
        if len(names) > 1:
            yield (
                f"stream_maps write {' and '.join(names)} to one table, {table}: "
                "remove emit_activate_version_messages, which would delete the rows "
                "of one of them"
            )


def selected_schema(stream: Stream) -> dict[str, Any]:
    """Return the schema of what a stream's records have, before they are mapped."""
    schema = get_selected_schema(stream.name, stream.effective_schema, stream.mask)
    return cast("dict[str, Any]", schema)


def _maps(maps: Mapping[str, Any]) -> Iterator[Map]:
    for key, value in maps.items():
        if key.startswith("__"):
            continue
        columns = value if isinstance(value, dict) else None
        source = (columns or {}).get(MAPPER_SOURCE_OPTION, key)
        yield Map(key, str(source), columns)


def _forget_bounds(item: CustomStreamMap, maps: Mapping[str, Any]) -> None:
    """Remove the bounds of columns that are computed, which may have any value."""
    properties = dict(item.transformed_schema["properties"])
    for column in chain.from_iterable(m.columns or () for m in _maps(maps)):
        if column in properties:
            schema = properties[column]
            properties[column] = {k: schema[k] for k in schema if k not in BOUNDS}
    item.transformed_schema = {**item.transformed_schema, "properties": properties}


def _deselected(stream: Stream) -> set[str]:
    """Return the columns that are not selected: the SDK would make new ones of them."""
    return set(stream.schema["properties"]) - {*selected_schema(stream)["properties"]}


def _without_deselected(maps: dict[str, Any], stream: Stream) -> dict[str, Any]:
    """Return maps without the columns of a stream that are not selected."""
    if not maps:
        return maps
    deselected = _deselected(stream)
    return {
        key: {c: value[c] for c in value if c not in deselected}
        if isinstance(value, dict)
        else value
        for key, value in maps.items()
    }


def _column_problems(
    mapping: Map, matched: list[Stream], idle: set[str], config: Mapping[str, Any]
) -> Iterator[str]:
    columns = mapping.columns or {}
    used = [s for s in matched if s.name not in idle]
    known = {column for s in matched for column in s.schema["properties"]}
    for column, value in columns.items():
        errors: Iterable[str] = ()
        if column == MAPPER_FILTER_OPTION and isinstance(value, str):
            errors = _expression_problems(value, column, used, config)
        elif column.startswith("__"):
            errors = _option_problems(column, value, known | columns.keys())
        elif value in (None, NULL_STRING):
            if column not in known:
                errors = [f"is not a column to leave out{suggestion(column, known)}"]
        elif isinstance(value, str):
            errors = _expression_problems(value, column, used, config)
        yield from (f"stream_maps.{mapping.key}.{column} {error}" for error in errors)


def _option_problems(option: str, value: Any, columns: Iterable[str]) -> Iterator[str]:
    if option not in OPTIONS:
        yield f"is not an option: remove it{suggestion(option, OPTIONS)}"
    elif option == MAPPER_KEY_PROPERTIES_OPTION and value is not None:
        if not isinstance(value, list):
            yield "must be a list of columns"
            return
        columns = [column for column in columns if not column.startswith("__")]
        for key in value:
            if key not in columns:
                yield f"names no column: {key}{suggestion(key, columns)}"


def _expression_problems(
    expression: str, column: str, matched: list[Stream], config: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what an expression names that is not there, for the first such stream."""
    try:
        nodes = list(ast.walk(ast.parse(expression)))
        why = ""
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        nodes = []
        why = f" ({error.msg}: correct it)" if isinstance(error, SyntaxError) else ""
    if len(nodes) <= len(("the module",)):
        yield f"is not an expression: {expression or 'it is empty'}{why}"
        return
    for stream in matched:
        if stream.selected and column not in _deselected(stream):
            errors = [*_name_problems(nodes, column, stream, config)]
            if errors:
                yield from (f"{error}, in {expression}" for error in errors)
                return


def _name_problems(
    nodes: list[ast.AST], column: str, stream: Stream, config: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what the names in an expression are that a stream does not have."""
    columns = selected_schema(stream)["properties"]
    functions = cast("Any", CustomStreamMap.functions).fget(None)
    known = {*columns, *functions, *NAMES, *(["self"] if column in columns else [])}
    supplied = config.get("stream_map_config") or {}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    known |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    if any(name.id == "fake" for name in names):
        known.add("fake")
        if find_spec("faker") is None:
            yield "needs Faker: install tap-labelbox[faker]"
    wrong = {name.id: known for name in names if name.id not in known}
    for of, key in _subscripts(nodes):
        if of in RECORD and key not in columns:
            wrong[key] = columns
        if of == "config" and key not in supplied:
            text = suggestion(key, supplied)
            yield f"names what stream_map_config lacks: {key}{text}"
    for name, possible in wrong.items():
        if name in stream.schema["properties"]:
            yield f"needs {stream.name}.{name}, which is not selected"
        else:
            hint = suggestion(name, possible) or " (--discover lists its columns)"
            yield f"names what {stream.name} does not have: {name}{hint}"


def _subscripts(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Yield what stands before each pair of brackets, and the text within."""
    for node in nodes:
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            yield node.value.id, node.slice.value
