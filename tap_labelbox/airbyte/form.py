"""The settings as Airbyte's form has them, and as the tap takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOCUMENTATION = "https://github.com/tap-labelbox/tap-labelbox/blob/main/docs/airbyte.md"
EXCLUDED = ("batch_config", "emit_activate_version_messages", "export_files")
"""Settings about Singer's messages, or about files on the machine of the tap."""
KEPT = (
    *("default", "description", "enum", "exclusiveMinimum", "format", "maximum"),
    *("minimum", "minLength", "title"),
)
"""Keywords of the JSON schema of a setting that its field has, too."""


def spec() -> dict[str, Any]:
    """Return the message that describes the settings."""
    properties = {
        name: _field(schema)
        for name, schema in SETTINGS["properties"].items()
        if name not in EXCLUDED
    }
    for order, schema in enumerate(properties.values()):
        schema["order"] = order
    connection = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Labelbox",
        "type": "object",
        "required": SETTINGS["required"],
        "properties": properties,
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
        parts = schema["properties"].items()
        result["properties"] = {name: _field(part) for name, part in parts}
        result["additionalProperties"] = True
        for order, part in enumerate(result["properties"].values()):
            part["order"] = order
    return result


def settings(form: Mapping[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the settings that are filled in.

    A form may send ``""``, ``[]`` and ``{}`` for what is left empty, and stored
    settings may have some that this version does not know.

    Args:
        form: What Airbyte sends.
        warn: Logs the settings that are not known.
    """
    own = {
        name: schema
        for name, schema in SETTINGS["properties"].items()
        if name not in EXCLUDED
    }
    return _filled(form, own, "", warn)


def _filled(
    form: Mapping[str, Any],
    known: Mapping[str, Any],
    prefix: str,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Return the settings of a block that are filled in.

    Args:
        form: The block as Airbyte sends it.
        known: The schemas of its settings.
        prefix: The path of the block, with a dot at its end.
        warn: Logs the settings that are not known.
    """
    result: dict[str, Any] = {}
    for name, entry in form.items():
        value = entry
        parts = known.get(name, {}).get("properties")
        if isinstance(value, dict) and parts:
            value = _filled(value, parts, f"{prefix}{name}.", warn)
        if value is None or value in ("", [], {}):
            continue
        if name not in known:
            warn(f"The setting {prefix}{name} is not known here, and is left out")
            continue
        result[name] = value
    return result
