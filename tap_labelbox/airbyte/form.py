"""The settings as Airbyte's form has them, and as the tap takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOCUMENTATION = "https://github.com/tap-labelbox/tap-labelbox/blob/main/docs/airbyte.md"
EXCLUDED = ("batch_config", "emit_activate_version_messages", "export_files")
"""Settings about Singer's messages, or about files on the machine of the tap."""
FIELDS: Mapping[str, Any] = {
    name: schema
    for name, schema in SETTINGS["properties"].items()
    if name not in EXCLUDED
}
"""The schemas of the settings that the form has."""
KEPT = (
    *("default", "description", "enum", "exclusiveMinimum", "format", "maximum"),
    *("minimum", "minLength", "title"),
)
"""Keywords of the JSON schema of a setting that its field has, too."""


def spec() -> dict[str, Any]:
    """Return the message that describes the settings."""
    connection = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Labelbox",
        "type": "object",
        "required": SETTINGS["required"],
        "properties": _fields(FIELDS),
        # Stored settings may be of another version.
        "additionalProperties": True,
    }
    return {
        "type": "SPEC",
        "spec": {
            "documentationUrl": DOCUMENTATION,
            "connectionSpecification": connection,
            "supportsIncremental": True,
            "supported_destination_sync_modes": ["overwrite", "append", "append_dedup"],
        },
    }


def _fields(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of fields, in their order."""
    return {
        name: _field(schema) | {"order": order}
        for order, (name, schema) in enumerate(schemas.items())
    }


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a field, which has one type."""
    types = schema["type"]
    names = [types] if isinstance(types, str) else [t for t in types if t != "null"]
    result: dict[str, Any] = {"type": names[0]}
    result |= {key: schema[key] for key in KEPT if key in schema}
    if "enum" in result:
        result["enum"] = [value for value in result["enum"] if value is not None]
    if schema.get("secret"):
        result["airbyte_secret"] = True
    if "items" in schema:
        result["items"] = _field(schema["items"])
    if "properties" in schema:
        result["properties"] = _fields(schema["properties"])
        result["additionalProperties"] = True
    return result


def settings(
    form: Mapping[str, Any],
    warn: Callable[[str], None],
    known: Mapping[str, Any] = FIELDS,
    prefix: str = "",
) -> dict[str, Any]:
    """Return the settings that are filled in.

    A form may send ``""``, ``[]`` and ``{}`` for what is left empty, and stored
    settings may have some that this version does not know.

    Args:
        form: What Airbyte sends, or a block of it.
        warn: Logs the settings that are not known.
        known: The schemas of those that are.
        prefix: The path of the block, with a dot at its end.
    """
    result: dict[str, Any] = {}
    for name, entry in form.items():
        value = entry
        parts = known.get(name, {}).get("properties")
        if isinstance(value, dict) and parts:
            value = settings(value, warn, parts, f"{prefix}{name}.")
        if value is None or value in ("", [], {}):
            continue
        if name not in known:
            warn(f"Unknown setting {prefix}{name} is ignored")
            continue
        result[name] = value
    return result
