"""Settings as people give them, in the types that their JSON schema wants.

Environment variables, ``.env`` files and Meltano hold text: ``"50"``, ``"true"``,
``"a, b"``, JSON. The parts of an object may be set one by one, as Meltano and its Hub
do: ``export_include.embeddings``, ``TAP_LABELBOX_EXPORT_INCLUDE_EMBEDDINGS``. What
cannot be read stays as it is, so that validation names it.
"""

from __future__ import annotations

import json
import math
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from singer_sdk.configuration._dict_config import parse_environment_config

from tap_labelbox.records import timestamps

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(
    ("false", "0", "no", "off"), False
)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
# What a column of a warehouse takes; `fromisoformat` takes weeks and much else.
TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
CONTAINERS = {"[": "array", "{": "object"}  # by the first character of their JSON


def typed(value: Any, schema: Schema) -> Any:
    """Return a value in the type that its schema wants; None if it is unset."""
    types = types_of(schema)
    if isinstance(value, str):
        value = _from_text(value, schema, types)
    if isinstance(value, dict) and "object" in types:
        return _object(value, schema)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, types)
    return value


def types_of(schema: Schema) -> set[str]:
    """Return all types that a value may have."""
    supplied = schema.get("type", ())
    types = {supplied} if isinstance(supplied, str) else set(supplied)
    return types.union(
        *(types_of(s) for key in ("anyOf", "oneOf") for s in schema.get(key, ()))
    )


def _from_text(text: str, schema: Schema, types: set[str]) -> Any:
    is_timestamp = schema.get("format") == "date-time"
    stripped = text.strip() if is_timestamp or "string" not in types else text
    container = CONTAINERS.get(stripped[:1])
    value: Any = text
    if not stripped:
        value = None
    elif container in types:
        with suppress(ValueError, RecursionError):
            value = json.loads(stripped)
    elif is_timestamp:
        if TIMESTAMP.fullmatch(stripped) and timestamps.is_timestamp(stripped):
            value = timestamps.normalize(stripped)
    elif "string" in types:
        pass
    elif "array" in types and not container:
        value = [part.strip() for part in stripped.split(",") if part.strip()]
    elif "boolean" in types:
        value = BOOLEANS.get(stripped.lower(), text)
    elif types & {"integer", "number"} and NUMBER.fullmatch(stripped):
        with suppress(ValueError):  # more digits than Python reads
            is_whole = stripped.lstrip("+-").isdigit()
            value = int(stripped) if is_whole else float(stripped)
    return value


def _number(value: float, types: set[str]) -> Any:
    """Return it as the whole number or the float that is wanted, or else as text."""
    if "number" in types:
        with suppress(OverflowError):
            if math.isfinite(number := float(value)):
                return number
        return str(value)
    if "integer" in types and isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    return value


def _object(raw: dict[str, Any], schema: Schema) -> dict[str, Any] | None:
    """Return an object whose parts are typed; None if all of them are unset."""
    parts = schema.get("properties", {})
    result: dict[str, Any] = {}
    dotted: dict[str, dict[str, Any]] = {}
    for name, value in raw.items():
        first, _, rest = name.partition(".")
        if rest and name not in parts and "object" in types_of(parts.get(first, {})):
            dotted.setdefault(first, {})[rest] = value
        # Where nothing else may stand, as in stream_maps, a null means something.
        elif not types_of(parts.get(name, {})) - {"null"}:
            result[name] = value
        else:
            result[name] = typed(value, parts[name])
    for name, values in dotted.items():
        whole = result.get(name)
        if whole is None or isinstance(whole, dict):
            merged = _merged(whole or {}, typed(values, parts[name]) or {})
            result[name] = merged or whole
    return _without_unset(result, raw, schema)


def _without_unset(
    result: dict[str, Any], raw: dict[str, Any], schema: Schema
) -> dict[str, Any] | None:
    parts, required = schema.get("properties", {}), schema.get("required", ())
    kept = {
        name: value
        for name, value in result.items()
        if value is not None or not types_of(parts.get(name, {})) - {"null"}
    }
    if raw and not kept:
        return None
    # What a part lacks is to be named.
    return kept | {
        name: {}
        for name in required
        if name not in kept and isinstance(raw.get(name), dict)
    }


def _merged(whole: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return an object with what was given of it part by part, at any depth."""
    return whole | {
        name: _merged(whole[name], value)
        if isinstance(value, dict) and isinstance(whole.get(name), dict)
        else value
        for name, value in parts.items()
    }


def names(schema: Schema, prefix: str = "") -> Iterator[str]:
    """Yield the names of all settings, and dotted ones of the parts of objects."""
    for name, part in schema.get("properties", {}).items():
        yield prefix + name
        yield from names(part, f"{prefix}{name}.")


def from_environment(schema: Schema, prefix: str) -> dict[str, str]:
    """Return the text of each setting that has a variable, by its dotted name.

    Raises:
        ValueError: If there is a .env file that cannot be read.
    """
    by_key = {name.replace(".", "_"): name for name in names(schema)}
    as_text = {"properties": {key: {"type": "string"} for key in by_key}}
    result = parse_environment_config(as_text, prefix)
    return {by_key[key]: text for key, text in result.items() if text.strip()}


def unread(config: dict[str, Any], schema: Schema, prefix: str) -> Iterator[str]:
    """Yield what to say of each variable that somebody set and the settings lack."""
    known = {prefix + name.replace(".", "_").upper(): name for name in names(schema)}
    for variable, name in known.items():
        text = os.environ.get(variable, "")
        if text.strip() and not _has(config, name.split("."), text, schema):
            yield (
                f"{variable} is in the environment, but is not read: add --config ENV; "
                f"with Meltano, set {name}, or its parts one by one, as docs/hub.yml "
                "lists them"
            )


def _has(config: Any, path: list[str], text: str, schema: Schema) -> bool:
    """Return whether the settings have a variable; of an object, all its parts."""
    for name in path:
        config = config.get(name) if isinstance(config, dict) else None
        schema = schema["properties"][name]
    requested = typed(text, schema)
    if not requested and "object" in types_of(schema):
        return True  # Meltano sets one of which no part is set, with its parts null
    if isinstance(requested, dict) and isinstance(config, dict):
        return _merged(config, requested) == config
    return config is not None
