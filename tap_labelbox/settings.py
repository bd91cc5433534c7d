"""The settings, and what is said of one that cannot be used."""

from __future__ import annotations

import json
import os
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_labelbox import redact
from tap_labelbox.api.client import API_URL
from tap_labelbox.api.links import Link
from tap_labelbox.files import Readers
from tap_labelbox.records import timestamps
from tap_labelbox.singer import setting_values
from tap_labelbox.singer.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PREFIX = "TAP_LABELBOX_"  # of variables in the environment
KEY_VARIABLES = (f"{PREFIX}API_KEY", "LABELBOX_API_KEY")  # the latter: their client's

LABEL_FILTERS = th.ObjectType(
    th.Property(
        "created_by_id", th.StringType(min_length=1), description="Labels by this user."
    ),
    th.Property(
        "type_id",
        th.StringType(min_length=1),
        description="Labels of this type, such as Submitted or Skipped.",
    ),
    th.Property(
        "dataset_id",
        th.StringType(min_length=1),
        description="Labels of data rows of this dataset.",
    ),
    th.Property(
        "agreement_gt", th.NumberType, description="Labels with more agreement."
    ),
    th.Property(
        "agreement_lt", th.NumberType, description="Labels with less agreement."
    ),
    th.Property(
        "created_before",
        th.DateTimeType,
        description="Labels made before this timestamp.",
    ),
    additional_properties=False,
)

IDS = th.ArrayType(th.StringType(min_length=1))

EXPORT_FILTERS = th.ObjectType(
    th.Property(
        "workflow_status",
        th.StringType(allowed_values=["TO_LABEL", "IN_REVIEW", "IN_REWORK", "DONE"]),
        description="Data rows at this step of the workflow.",
    ),
    th.Property("batch_ids", IDS, description="Data rows of these batches."),
    th.Property("data_row_ids", IDS, description="These data rows."),
    th.Property("global_keys", IDS, description="Data rows with these global keys."),
    th.Property(
        "label_created_after",
        th.DateTimeType,
        description="Data rows with a label made at or after this timestamp.",
    ),
    th.Property(
        "label_created_before",
        th.DateTimeType,
        description="Data rows with a label made at or before this timestamp.",
    ),
    additional_properties=False,
)

EXPORT_INCLUDE = th.ObjectType(
    th.Property(
        "attachments",
        th.BooleanType,
        default=True,
        description="What labelers were shown with a data row.",
    ),
    th.Property(
        "metadata_fields",
        th.BooleanType,
        default=True,
        description="Custom metadata of data rows.",
    ),
    th.Property(
        "performance_details",
        th.BooleanType,
        default=True,
        description="Seconds, agreement and the like of labels.",
    ),
    th.Property(
        "embeddings",
        th.BooleanType,
        default=False,
        description="Embeddings of data rows.",
    ),
    th.Property(
        "interpolated_frames",
        th.BooleanType,
        default=False,
        description="Frames of a video between its key frames.",
    ),
    additional_properties=False,
)

BATCH_CONFIG = th.ObjectType(
    th.Property(
        "encoding",
        th.ObjectType(
            th.Property(
                "format",
                th.StringType(allowed_values=["jsonl", "parquet"]),
                required=True,
                description="What the files are made of.",
            ),
            th.Property(
                "compression",
                th.StringType(allowed_values=["gzip", "none"]),
                default="gzip",
                description="How they are compressed.",
            ),
            additional_properties=False,
        ),
        required=True,
    ),
    th.Property(
        "storage",
        th.ObjectType(
            th.Property(
                "root",
                th.StringType(min_length=1),
                required=True,
                description="Folder or address to write to, such as s3://bucket.",
            ),
            th.Property(
                "prefix", th.StringType, description="What file names begin with."
            ),
            th.Property(
                "readable_by",
                th.StringType(allowed_values=[who.value for who in Readers]),
                description="Who may read files on this machine; by default their "
                "owner only.",
            ),
            additional_properties=False,
        ),
        required=True,
    ),
    th.Property(
        "batch_size",
        th.IntegerType(minimum=1),
        description="Most records in a file; 32 MB of JSON are always enough.",
    ),
    additional_properties=False,
)

SETTINGS = th.PropertiesList(
    th.Property(
        "api_key",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="API key",
        description="Labelbox API key. If it is not set, the environment variable "
        f"{' or '.join(KEY_VARIABLES)} is used.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        default=API_URL,
        title="API URL",
        description="Address of the GraphQL API, ending in /graphql; all other "
        "addresses derive from it.",
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description="Where there is no bookmark yet, labels made and data rows last "
        "active before this timestamp are not read.",
    ),
    th.Property(
        "project_ids",
        th.ArrayType(th.StringType(min_length=1)),
        title="Project IDs",
        description="Read only these projects. By default all that the API key may "
        "see are read.",
    ),
    th.Property(
        "on_missing",
        th.StringType(allowed_values=["fail", "warn"]),
        default="fail",
        title="On missing",
        description="Whether a project that is gone, or that the API key may not see, "
        "makes the exit code 1 (fail) or is a warning (warn).",
    ),
    th.Property(
        "label_filters",
        LABEL_FILTERS,
        default={},
        title="Label filters",
        description="Which labels the stream labels reads: created_by_id, type_id, "
        "dataset_id, agreement_gt, agreement_lt, created_before.",
    ),
    th.Property(
        "export_filters",
        EXPORT_FILTERS,
        default={},
        title="Export filters",
        description="Which data rows the data row export reads: workflow_status, "
        "batch_ids, data_row_ids, global_keys, label_created_after, "
        "label_created_before.",
    ),
    th.Property(
        "export_include",
        EXPORT_INCLUDE,
        default={
            name: name not in {"embeddings", "interpolated_frames"}
            for name in EXPORT_INCLUDE.type_dict["properties"]
        },
        title="Export include",
        description="What the data row export brings: attachments, metadata_fields "
        "and performance_details are true, embeddings and interpolated_frames false "
        "unless set.",
    ),
    th.Property(
        "export_files",
        th.ArrayType(th.StringType(min_length=1)),
        title="Export files",
        description="Read rows from these files, saved from Labelbox's app or by a "
        "program, and ask Labelbox nothing; no key is needed. Folders, patterns, .gz, "
        ".zip and addresses such as s3:// will do. They are read whole: not "
        "beside project_ids, start_date, label_filters, export_filters or "
        "export_include.",
    ),
    th.Property(
        "page_size",
        th.IntegerType(minimum=2, maximum=100),
        default=100,
        title="Page size",
        description="Rows asked for at a time, 2 to 100.",
    ),
    th.Property(
        "concurrency",
        th.IntegerType(minimum=1, maximum=30),
        default=8,
        title="Concurrency",
        description="Requests that are sent to Labelbox at once; with 1, one after "
        "the other.",
    ),
    th.Property(
        "lookback_seconds",
        th.IntegerType(minimum=0, maximum=366 * 86400),
        default=60,
        title="Lookback (seconds)",
        description="How far before its bookmark an incremental read begins. Labelbox "
        "lists a label, and exports a change, some seconds late: with fewer than 10 "
        "some may never be read.",
    ),
    th.Property(
        "export_poll_interval",
        th.NumberType(exclusive_minimum=0),
        default=2,
        title="Export poll interval (seconds)",
        description="Seconds between two questions whether an export is ready.",
    ),
    th.Property(
        "export_timeout",
        th.NumberType(exclusive_minimum=0),
        default=7200,
        title="Export timeout (seconds)",
        description="Seconds to wait for an export before its project is left out.",
    ),
    th.Property(
        "request_timeout",
        th.NumberType(exclusive_minimum=0),
        default=60,
        title="Request timeout (seconds)",
        description="Seconds without an answer after which a request is given up "
        "and sent again. A reply may take 50 times as long in all, a download any "
        "time, but in 10 times as long at least 1 KB a second have to arrive.",
    ),
    th.Property(
        "retry_seconds",
        th.NumberType(minimum=0),
        default=900,
        title="Retry (seconds)",
        description="For how many seconds a failing request is tried again before "
        "the run, or its project, gives up; 0 is never.",
    ),
    th.Property(
        "max_run_seconds",
        th.NumberType(exclusive_minimum=0),
        title="Longest run (seconds)",
        description="Seconds after which a run ends with its state and exit code 75; "
        "the next one goes on from there. By default it takes as long as it takes.",
    ),
    th.Property(
        "requests_per_minute",
        th.IntegerType(minimum=1),
        title="Requests per minute",
        description="Requests sent to the API in a minute, at most, evenly spaced. By "
        "default as many as it takes.",
    ),
    th.Property(
        "max_reply_bytes",
        th.IntegerType(minimum=1024),
        default=256 * 1024 * 1024,
        title="Largest reply (bytes)",
        description="Most bytes of a reply of the API, decompressed. A page that has "
        "more is asked for in smaller ones; else its project is left out.",
    ),
    th.Property(
        "max_row_bytes",
        th.IntegerType(minimum=1024),
        default=256 * 1024 * 1024,
        title="Largest row (bytes)",
        description="Most bytes of a data row of an export, or of an item of a bulk "
        "export. A data row that has more is left out; an item that has more, with "
        "its project.",
    ),
    th.Property(
        "allow_plain_http",
        th.BooleanType,
        default=False,
        title="Allow plain HTTP",
        description="Whether api_url may be http:// of another machine. Whoever is "
        "on the way can then read the API key.",
    ),
    th.Property(
        "allow_private_links",
        th.BooleanType,
        default=False,
        title="Allow private links",
        description="Whether files may be downloaded from addresses of a private "
        "network, such as an endpoint of your storage in it, while api_url is public.",
    ),
    th.Property(
        "batch_config",
        BATCH_CONFIG,
        title="Batch files",
        description="Write records to files for the target, not to its input: "
        "encoding.format (jsonl or parquet), encoding.compression (gzip or none), "
        "storage.root, storage.prefix, storage.readable_by (owner, group or everyone), "
        "batch_size.",
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="What the tap calls itself to Labelbox and to whatever is on the "
        "way; by default tap-labelbox and its version.",
    ),
    # The SDK obeys this one, but tells nobody of it before 0.55.
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=False,
        title="Emit ACTIVATE_VERSION messages",
        description="Whether a target is told to delete the rows of a whole table "
        "that are no longer there, after the last record of a stream that was read "
        "without a gap. Not with every target; not beside batch_config or "
        "export_files.",
    ),
    additional_properties=False,
).to_dict()


GRAPHQL = re.compile(r"/(?:[^?]*/)?graphql")
KEY = re.compile(r"[!-~]+")  # what may stand in an HTTP header
HEADER = re.compile(r"[!-~][ -~]*")
# What chooses among what Labelbox has; saved files hold what they hold.
CHOOSING = (
    "project_ids",
    "start_date",
    "label_filters",
    "export_filters",
    "export_include",
)


def mended(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of the SDK's own settings, as they are meant.

    Some have a name where a schema belongs, which ends validation with a traceback;
    and what faker_config does not know is ignored.
    """

    def mend(schema: Any) -> Any:
        match schema:
            case dict():
                return {key: mend(value) for key, value in schema.items()} | {
                    key: [mend(each) for each in schema[key] if isinstance(each, dict)]
                    for key in ("anyOf", "oneOf")
                    if isinstance(schema.get(key), list)
                }
            case list():
                return [mend(each) for each in schema]
        return schema

    built_in = {
        name: mend(properties[name]) for name in ("stream_maps", "faker_config")
    }
    built_in["faker_config"]["additionalProperties"] = False
    return properties | built_in


def read(given: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in the types they need, without what is unset.

    Args:
        given: The settings as they are in a file or the environment.
        schema: The JSON schema of them.
    """
    config: dict[str, Any] = setting_values.typed(given, schema) or {}
    # What is unset may be in the environment; the file of a secret has a line end.
    keys = (config.get("api_key"), *map(os.environ.get, KEY_VARIABLES))
    stripped = (key.strip() if isinstance(key, str) else key for key in keys)
    config["api_key"] = next(filter(None, stripped), None)
    if config["api_key"] is None:
        del config["api_key"]
    elif isinstance(config["api_key"], str):
        redact.hide(config["api_key"])
    return config


def problems(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Fill in the defaults, and return what is wrong with settings, by name.

    The SDK's own texts name no setting, let any date pass, and print the value,
    which may be the key.
    """
    _fill_in(config, schema)
    told = [
        text
        for error in DEFAULT_JSONSCHEMA_VALIDATOR(schema).iter_errors(config)
        for text in _told(error)
    ]
    if "export_files" in config:  # which need no key
        told = [text for text in told if not text.startswith("api_key is not set")]
    for name in ("project_ids", "export_files"):
        if config.get(name) == []:
            told.append(f"{name} is empty: fill it, or take it out")
    if not told:
        told += _address_problems(config["api_url"], config["allow_plain_http"])
        if not KEY.fullmatch(config.get("api_key", "key")):
            told.append("api_key has characters that no key has: set it anew")
        if not HEADER.fullmatch(config.get("user_agent", "tap")):
            told.append("user_agent has characters that no HTTP header has")
        told += _date_problems(config, schema)
        told += _pair_problems(config, schema)
    return told


def _fill_in(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """Set the defaults; the SDK's validator, which does so too, needs whole objects."""
    for name, part in schema.get("properties", {}).items():
        if "default" in part:
            config.setdefault(name, deepcopy(part["default"]))
        if isinstance(value := config.get(name), dict):
            _fill_in(value, part)


def _pair_problems(config: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield the settings that cannot be obeyed beside each other."""
    if {"data_row_ids", "global_keys"} <= set(config["export_filters"]):
        yield "export_filters has data_row_ids and global_keys: take one out"
    versions = config.get("emit_activate_version_messages")
    if versions and "batch_config" in config:
        yield (
            "emit_activate_version_messages and batch_config: take one out; rows in "
            "files have no version, so a target would delete them"
        )
    if "export_files" not in config:
        return
    for name in CHOOSING:
        default = schema["properties"][name].get("default")
        if config.get(name) not in (None, default):
            yield (
                f"{name} does nothing beside export_files, which are read whole: take "
                "one of them out"
            )
    if versions:
        yield (
            "emit_activate_version_messages and export_files: take one out; a target "
            "would delete the rows that are not in the files"
        )


def _told(error: Any) -> Iterator[str]:
    name = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{name}." if name else ""
    match error.validator, error.validator_value:
        case "required", names:
            missing = next(n for n in names if n not in error.instance)
            hint = f", or {' or '.join(KEY_VARIABLES)} in the environment"
            hint *= missing == "api_key"
            yield f"{prefix}{missing} is not set: set it{hint}"
        case "additionalProperties", _:
            known = error.schema["properties"]
            for unknown in sorted(set(error.instance) - set(known)):
                hint = suggestion(unknown, known)
                yield f"{prefix}{unknown} is no setting: take it out{hint}"
        case "type", types:
            yield _type_told(name, [types] if isinstance(types, str) else types, error)
        case "minLength", _:
            yield f"{name} is empty: set it or take it out"
        case (("minimum" | "maximum" | "exclusiveMinimum"), bound):
            relation = {
                "minimum": "at least",
                "maximum": "at most",
                "exclusiveMinimum": "more than",
            }[error.validator]
            yield f"{name} has to be {relation} {bound}, not {error.instance}"
        case "enum", values:
            known = list(filter(None, values))
            hint = suggestion(error.instance, known)
            yield f"{name} has to be one of {', '.join(known)}{hint}"
        case "anyOf", _:
            yield from _none_told(error, name)
        case _:
            yield f"{name}: {error.message}"


def _none_told(error: Any, name: str) -> Iterator[str]:
    """Yield what is wrong with a value that is none of what it may be."""
    depth = len(error.absolute_path)
    deepest = max(error.context, key=lambda each: len(each.absolute_path))
    if len(deepest.absolute_path) > depth:
        yield from _told(deepest)
        return
    types: dict[str, None] = {}
    for each in error.context:
        if each.validator == "type":
            value = each.validator_value
            types |= dict.fromkeys([value] if isinstance(value, str) else value)
    yield _type_told(name, types, error)


def _type_told(name: str, types: Iterable[str], error: Any) -> str:
    """Return which type a setting has to have, and why its JSON is none."""
    wanted = " or ".join(each for each in types if each != "null")
    why = ""
    if isinstance(text := error.instance, str) and text.lstrip()[:1] in ("[", "{"):
        try:
            json.loads(text)
        except ValueError as fault:
            why = f"; as JSON it is malformed: {fault}"
    return f"{name} has to be of type {wanted}{why}"


def _address_problems(api_url: str, allow_plain_http: bool) -> Iterator[str]:  # noqa: FBT001
    try:
        link = Link.parse(api_url)
    except ValueError:
        link = None
    if not link or not api_url.endswith(link.rest) or not GRAPHQL.fullmatch(link.rest):
        yield (
            "api_url has to be a web address that ends in /graphql, such as "
            f"https://api.labelbox.com/graphql, not {redact.mask(repr(api_url))}"
        )
    elif link.scheme == "http" and not (link.is_loopback or allow_plain_http):
        yield (
            f"api_url is http:// of another machine ({link.host}), so the API key "
            "would travel in the clear: use https://, or set allow_plain_http"
        )


def _date_problems(
    config: dict[str, Any], schema: dict[str, Any], prefix: str = ""
) -> Iterator[str]:
    for name, part in schema["properties"].items():
        value = config.get(name)
        if isinstance(value, dict) and part.get("properties"):
            yield from _date_problems(value, part, f"{prefix}{name}.")
        elif part.get("format") != "date-time" or value is None:
            continue
        elif not timestamps.UTC_FORM.fullmatch(value):
            yield (
                f"{prefix}{name} has to be a date or a timestamp, such as 2026-01-31 "
                f"or 2026-01-31T09:30:00Z, not {value!r}"
            )
