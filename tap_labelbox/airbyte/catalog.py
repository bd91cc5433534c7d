"""Airbyte's catalogs and states, and what the tap has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.singer.state import malformed_bookmark
from tap_labelbox.singer.suggestions import suggestion

if TYPE_CHECKING:
    from tap_labelbox.tap import TapLabelbox

MODES = {
    "full_refresh": REPLICATION_FULL_TABLE,
    "incremental": REPLICATION_INCREMENTAL,
}
DISCOVER = "take the streams that `discover` writes"
RESET = "reset the stream, or run once without --state"


def discovered(tap: TapLabelbox) -> dict[str, Any]:
    """Return the message that lists all streams; this needs no network."""
    streams = []
    for stream in tap.streams.values():
        schema = {k: v for k, v in stream.schema.items() if k != "$schema"}
        cursor = stream.replication_key
        streams.append(
            {
                "name": stream.name,
                "json_schema": schema,
                "supported_sync_modes": [*MODES] if cursor else ["full_refresh"],
                "source_defined_cursor": bool(cursor),
                "default_cursor_field": [cursor] if cursor else [],
                "source_defined_primary_key": [[key] for key in stream.primary_keys],
                "is_resumable": bool(cursor),
                "is_file_based": False,
            }
        )
    return {"type": "CATALOG", "catalog": {"streams": streams}}


def modes(catalog: Any, tap: TapLabelbox) -> dict[str, bool]:
    """Return the streams of a configured catalog, and whether each is incremental.

    What has no cursor is read whole, whatever is asked for.

    Raises:
        SettingsError: If it asks for what there is not.
    """
    result: dict[str, bool] = {}
    for name, entry in _entries(catalog):
        if name not in tap.streams:
            near = suggestion(name, tap.streams)
            raise SettingsError(
                f"--catalog has an unknown stream {name}{near}: {DISCOVER}"
            )
        mode = entry.get("sync_mode")
        if mode not in MODES:
            raise SettingsError(
                f"--catalog has the sync mode {mode} for {name}: set "
                f"{' or '.join(MODES)}"
            )
        # PyAirbyte asks for it whether or not there is a cursor.
        result[name] = mode == "incremental" and bool(tap.streams[name].replication_key)
    return result


def singer_catalog(catalog: Any, tap: TapLabelbox) -> dict[str, Any]:
    """Return in Singer's words a catalog that :func:`modes` has looked at.

    What is not configured is not selected. Columns that were deselected are missing in
    the schema of a stream. Its key and its cursor are always there.
    """
    configured = dict(_entries(catalog))
    result = tap.catalog_dict
    for entry in result["streams"]:
        stream = tap.streams[entry["tap_stream_id"]]
        chosen = configured.get(stream.name)
        metadata = {
            tuple(part["breadcrumb"]): part["metadata"] for part in entry["metadata"]
        }
        metadata[()]["selected"] = chosen is not None
        if chosen is None:
            continue
        mode = chosen["sync_mode"] if stream.replication_key else "full_refresh"
        entry["replication_method"] = MODES[mode]
        metadata[()].pop("forced-replication-method", None)
        columns = (chosen["stream"].get("json_schema") or {}).get("properties")
        always = {*stream.primary_keys, stream.replication_key}
        for column in stream.schema["properties"]:
            is_wanted = columns is None or column in columns or column in always
            metadata["properties", column]["selected"] = is_wanted
    return result


def _entries(catalog: Any) -> list[tuple[str, dict[str, Any]]]:
    entries = catalog.get("streams") if isinstance(catalog, dict) else None
    if not isinstance(entries, list):
        raise SettingsError(f"--catalog has no streams: {DISCOVER}")
    result = []
    for entry in entries:
        match entry:
            case {"stream": {"name": str(name)}}:
                result.append((name, entry))
            case _:
                raise SettingsError(
                    f"--catalog has a stream without a name: {DISCOVER}"
                )
    return result


def states(content: Any) -> dict[str, dict[str, Any]]:
    """Return the state of each stream that was given.

    Args:
        content: A list of states of one stream each, or one of all; empty for none.

    Raises:
        SettingsError: If it is something else.
    """
    result: dict[str, dict[str, Any]] = {}
    for state in content if isinstance(content, list) else [content]:
        match state:
            case {"type": "GLOBAL", "global": {"stream_states": list(own)}}:
                parts = own
            case {"stream": dict(own)}:
                parts = [own]
            case {} if not state:
                parts = []
            case _:
                raise SettingsError(f"--state has no states of streams: {RESET}")
        for part in parts:
            match part:
                case {"stream_descriptor": {"name": str(name)}}:
                    own_state = part.get("stream_state") or {}
                    result[name] = own_state if isinstance(own_state, dict) else {}
                    if malformed_bookmark({"bookmarks": {name: own_state}}):
                        raise SettingsError(f"--state of {name} is malformed: {RESET}")
                case _:
                    raise SettingsError(
                        f"--state has one without a stream name: {RESET}"
                    )
    return result
