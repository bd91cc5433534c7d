"""Catalog and state: what they ask for is done, or refused by name before the run.

The SDK takes any replication key and method, and keys that name no column. What it
makes of them is a SCHEMA that promises what the tap does not do.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert
from singer_sdk.helpers import _state
from singer_sdk.singerlib import Catalog
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE as FULL_TABLE
from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL as INCREMENTAL

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.singer.shared_state import EXPORT, WITHOUT_RECORDS
from tap_labelbox.singer.state import READ_AT, RUNS, singular
from tap_labelbox.singer.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from singer_sdk import Stream
    from singer_sdk.singerlib.catalog import CatalogEntry

# A bookmark for all projects together, as other taps have it.
VALUE = "replication_key_value"
# What stands beside the partitions of a bookmark; some of it is the SDK's.
OURS = frozenset(
    {
        "partitions",
        "replication_key",
        EXPORT,  # of many projects, none of which has been read to its end
        READ_AT,
        RUNS,
        WITHOUT_RECORDS,
        _state.PROGRESS_MARKERS,
        _state.SIGNPOST_MARKER,
        _state.STARTING_MARKER,
    }
)


class _Values(Struct, rename="kebab"):
    """The metadata of a stream or a column."""

    selected: bool | None = None
    table_key_properties: list[str] | None = None
    replication_key: str | None = None
    replication_method: str | None = None
    forced_replication_method: str | None = None


class _Metadata(Struct):
    """An item of a stream's metadata."""

    breadcrumb: list[str]
    metadata: _Values


class _Entry(Struct):
    """A stream of a catalog."""

    tap_stream_id: Annotated[str, Meta(min_length=1)]
    stream: str | None = None
    schema: dict[str, Any] | None = None
    key_properties: list[str] | None = None
    metadata: list[_Metadata] | None = None
    replication_key: str | None = None
    replication_method: str | None = None


def read(content: dict[str, Any]) -> Catalog:
    """Return the catalog in a file that has been decoded.

    A replication method that stands in the metadata only, which is where Singer has
    it chosen, is obeyed: discovery writes the default beside it, which the SDK takes.

    Raises:
        SettingsError: If it is not a catalog.
    """
    content = deepcopy(content)
    names: set[str] = set()
    for number, entry in enumerate(content.get("streams", []), 1):
        try:
            name = convert(entry, _Entry).tap_stream_id
        except ValidationError as error:
            supplied = entry.get("tap_stream_id") if isinstance(entry, dict) else None
            which = f"stream {number}" + (f" ({supplied})" if supplied else "")
            msg = f"--catalog cannot be read: {which} is malformed: {error}"
            raise SettingsError(msg) from None
        if name in names:
            msg = f"--catalog cannot be read: it has the stream {name} twice"
            raise SettingsError(msg)
        names.add(name)
        for nullable in ("metadata", "schema"):
            if entry.get(nullable, "") is None:
                del entry[nullable]
        for metadata in entry.get("metadata", ()):
            if metadata["breadcrumb"] == []:
                method = metadata["metadata"].get
                if chosen := (
                    method("replication-method") or method("forced-replication-method")
                ):
                    entry["replication_method"] = chosen
    try:
        return without_empty_properties(Catalog.from_dict(content))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"--catalog cannot be read: {type(error).__name__}: {error}"
        raise SettingsError(msg) from None


def without_empty_properties(catalog: Catalog) -> Catalog:
    """Return a catalog in which no column is an object with no parts at all.

    Those of earlier versions have such columns; flattening makes nothing of them.
    """
    for entry in catalog.streams:
        for column in (entry.schema.properties or {}).values():
            if not column.properties:
                column.properties = None
    return catalog


def problems(catalog: Catalog, streams: Mapping[str, Stream]) -> Iterator[str]:
    """Yield what the selected streams of a catalog ask for and the tap does not do."""
    for name, stream in streams.items():
        entry = catalog.get_stream(name)
        if entry and stream.selected:
            for other in {entry.stream, entry.stream_alias} - {None, name}:
                yield (
                    f"{name} is called {other} in the catalog: give it another name "
                    "with __alias__ in stream_maps"
                )
            yield from _method_problems(entry, stream)
            yield from _key_problems(entry, stream)


def _method_problems(entry: CatalogEntry, stream: Stream) -> Iterator[str]:
    name, key = stream.name, stream.replication_key
    root = entry.metadata.root
    wrong = {k for k in (entry.replication_key, root.replication_key) if k} - {key}
    for other in sorted(map(str, wrong)):
        if key:
            yield (
                f"{name} cannot be read by {other}: its only replication key is {key}; "
                "set that in the catalog, or FULL_TABLE as replication method"
            )
        else:
            yield (
                f"{name} cannot be read by {other}: it is read whole each time; remove "
                "its replication key from the catalog"
            )
    method = stream.forced_replication_method
    methods = [INCREMENTAL, FULL_TABLE] if key else [FULL_TABLE]
    if method is not None and method not in methods:
        yield (
            f"{name} cannot be read with the replication method {method}: set "
            f"{' or '.join(methods)} in the catalog{suggestion(method, methods)}"
        )


def _key_problems(entry: CatalogEntry, stream: Stream) -> Iterator[str]:
    name, columns = stream.name, stream.schema["properties"]
    root = entry.metadata.root
    names = [*(entry.key_properties or ()), *(root.table_key_properties or ())]
    for key in dict.fromkeys(names):
        if key not in columns:
            yield (
                f"key_properties of {name} in the catalog name no column: {key}"
                f"{suggestion(key, columns)}"
            )
    sent = entry.schema.properties or {}
    for key in stream.primary_keys:
        if key in columns and not (
            key in sent and stream.mask.get(("properties", key), True)
        ):
            yield (
                f"{name}.{key} is a key and not selected: select it in the catalog, or "
                "set other key_properties there"
            )


def unknown(catalog: Catalog, streams: Mapping[str, Stream]) -> Iterator[str]:
    """Yield the streams and columns of a catalog that the tap does not know."""
    for entry in sorted(catalog.streams, key=lambda e: e.tap_stream_id):
        name = entry.tap_stream_id
        stream = streams.get(name)
        if not stream:
            hint = suggestion(name, streams)
            yield f"stream that this tap does not know: {name}{hint}"
        elif stream.selected:
            columns = stream.schema["properties"]
            for column in sorted((entry.schema.properties or {}).keys() - columns):
                hint = suggestion(column, columns)
                yield f"column that this tap does not know: {name}.{column}{hint}"


def state_problems(state: Mapping[str, Any], streams: Iterable[Any]) -> Iterator[str]:
    """Yield which bookmarks of a state such streams cannot go on from, and why."""
    bookmarks = state.get("bookmarks") or {}
    for stream in streams:
        bookmark, what = bookmarks.get(stream.name), singular(stream.parent_key)
        if (
            not isinstance(bookmark, dict)
            or not stream.selected
            or stream.replication_method != INCREMENTAL
        ):
            continue
        foreign = {k for k, v in bookmark.items() if v is not None} - OURS
        partitions = bookmark.get("partitions") or []
        if foreign and (VALUE in foreign or not partitions):
            yield (
                f"--state has a bookmark of {stream.name} that is not by {what} "
                f"({', '.join(sorted(map(str, foreign)))}): run once without --state"
            )
        for partition in partitions:
            key = partition.get("replication_key", stream.replication_key)
            if key != stream.replication_key:
                context = (partition.get("context") or {}).items()
                where = " ".join(f"{k.removesuffix('_id')} {v}" for k, v in context)
                yield (
                    f"--state has a bookmark of {stream.name} for {where} by {key}, "
                    f"not by {stream.replication_key}: run once without --state"
                )
                break
