"""The settings, and the errors of one that cannot be used."""

from __future__ import annotations

import json
import os
import re
from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from tap_labelbox import redact
from tap_labelbox.api.client import API_URL
from tap_labelbox.api.links import Link
from tap_labelbox.exports.tasks import PROJECT_FILTERS
from tap_labelbox.files import Readers
from tap_labelbox.records import timestamps
from tap_labelbox.singer import setting_values
from tap_labelbox.singer.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "TAP_LABELBOX_"  # of variables in the environment
KEY_VARIABLES = (f"{PREFIX}API_KEY", "LABELBOX_API_KEY")  # the latter: their client's

Kind = type[th.JSONTypeHelper[Any]] | th.JSONTypeHelper[Any]


def _part(kind: Kind, name: str, description: str, **options: Any) -> th.Property[Any]:
    """Return a part of a setting that is an object."""
    return th.Property(name, kind, description=description, **options)


def _setting(
    kind: Kind, name: str, title: str, description: str, **options: Any
) -> th.Property[Any]:
    """Return a setting."""
    return th.Property(name, kind, title=title, description=description, **options)


def _object(*parts: th.Property[Any]) -> th.ObjectType:
    """Return the type of an object that has no other parts."""
    return th.ObjectType(*parts, additional_properties=False)


def _one_of(*values: str) -> th.StringType:
    """Return the type of a text that is one of these."""
    return th.StringType(allowed_values=[*values])


def _names(kind: th.ObjectType) -> str:
    """Return the names of an object's parts, as a list in a sentence."""
    return ", ".join(kind.type_dict["properties"])


TEXT = th.StringType(min_length=1)
TEXTS = th.ArrayType(TEXT)
POSITIVE = th.NumberType(exclusive_minimum=0)
SIZE_BYTES = th.IntegerType(minimum=1024)

LABEL_FILTERS = _object(
    _part(TEXT, "created_by_id", "Labels by this user."),
    _part(TEXT, "type_id", "Labels of this type, such as Submitted or Skipped."),
    _part(TEXT, "dataset_id", "Labels of data rows of this dataset."),
    _part(th.NumberType, "agreement_gt", "Labels with more agreement."),
    _part(th.NumberType, "agreement_lt", "Labels with less agreement."),
    _part(th.DateTimeType, "created_before", "Labels made before this timestamp."),
)

EXPORT_FILTERS = _object(
    _part(
        _one_of("TO_LABEL", "IN_REVIEW", "IN_REWORK", "DONE"),
        "workflow_status",
        "Data rows at this step of the workflow.",
    ),
    _part(TEXTS, "batch_ids", "Data rows of these batches."),
    _part(TEXTS, "data_row_ids", "These data rows."),
    _part(TEXTS, "global_keys", "Data rows with these global keys."),
    _part(
        th.DateTimeType,
        "label_created_after",
        "Data rows with a label made at or after this timestamp.",
    ),
    _part(
        th.DateTimeType,
        "label_created_before",
        "Data rows with a label made at or before this timestamp.",
    ),
)

SHARD = _object(
    _part(
        th.IntegerType(minimum=0),
        "index",
        "Which of the shards this is, from 0; the first one also reads what is of no "
        "project.",
        required=True,
    ),
    _part(
        th.IntegerType(minimum=1),
        "count",
        "How many there are. A project is in one of them by the SHA-256 of its ID.",
        required=True,
    ),
    _part(
        th.ArrayType(TEXT),
        "project_ids",
        "Its projects, in place of those that the hash says; tap-labelbox-plan fills "
        "it in.",
    ),
)

INCLUDED = {
    "attachments": (True, "What labelers were shown with a data row."),
    "metadata_fields": (True, "Custom metadata of data rows."),
    "performance_details": (True, "Seconds, agreement and the like of labels."),
    "embeddings": (False, "Embeddings of data rows."),
    "interpolated_frames": (False, "Frames of a video between its key frames."),
}
"""What an export may bring: whether it does by default, and what that is."""

EXPORT_INCLUDE = _object(
    *(
        _part(th.BooleanType, name, description, default=default)
        for name, (default, description) in INCLUDED.items()
    )
)

BATCH_CONFIG = _object(
    th.Property(
        "encoding",
        _object(
            _part(
                _one_of("jsonl", "parquet"),
                "format",
                "What the files are made of.",
                required=True,
            ),
            _part(
                _one_of("gzip", "none"),
                "compression",
                "How they are compressed.",
                default="gzip",
            ),
        ),
        required=True,
    ),
    th.Property(
        "storage",
        _object(
            _part(
                TEXT,
                "root",
                "Folder or address to write to, such as s3://bucket.",
                required=True,
            ),
            _part(th.StringType, "prefix", "What file names begin with."),
            _part(
                _one_of(*(who.value for who in Readers)),
                "readable_by",
                "Who may read files on this machine; by default their owner only.",
            ),
        ),
        required=True,
    ),
    _part(
        th.IntegerType(minimum=1),
        "batch_size",
        "Most records in a file; 32 MB of JSON are always enough.",
    ),
)

SETTINGS = th.PropertiesList(
    _setting(
        TEXT,
        "api_key",
        "API key",
        "Labelbox API key. If it is not set, the environment variable "
        f"{' or '.join(KEY_VARIABLES)} is used.",
        required=True,
        secret=True,
    ),
    _setting(
        th.StringType,
        "api_url",
        "API URL",
        "Address of the GraphQL API, ending in /graphql; all other "
        "addresses derive from it.",
        default=API_URL,
    ),
    _setting(
        th.StringType,
        "rest_url",
        "REST URL",
        "Address of the REST API, which has the reports; by default api_url with "
        "/api/v1 in place of /graphql.",
    ),
    _setting(
        th.DateTimeType,
        "start_date",
        "Start date",
        "Where there is no bookmark yet, labels made and data rows last "
        "active before this timestamp are not read.",
    ),
    _setting(
        TEXTS,
        "project_ids",
        "Project IDs",
        "Read only these projects. By default all that the API key may see are read.",
    ),
    _setting(
        TEXTS,
        "exclude_project_ids",
        "Excluded project IDs",
        "Do not read these projects.",
    ),
    _setting(
        TEXTS,
        "project_names",
        "Project names",
        "Read only projects with one of these names, in any case; `*` stands for any "
        "characters, `?` for one, `[ab]` for a or b.",
    ),
    _setting(
        TEXTS,
        "project_tags",
        "Project tags",
        "Read only projects with one of these tags, in any case.",
    ),
    _setting(
        TEXTS,
        "media_types",
        "Media types",
        "Read only projects with one of these kinds of data rows, such as IMAGE, as in "
        "projects.allowed_media_type.",
    ),
    _setting(
        SHARD,
        "shard",
        "Shard",
        "Read one part of the projects, for several runs that share an account: "
        f"{_names(SHARD)}. Not beside emit_activate_version_messages or export_files.",
    ),
    _setting(
        _one_of("fail", "warn"),
        "on_missing",
        "On missing",
        "Whether a project that is gone, or that the API key may not see, "
        "makes the exit code 1 (fail) or is a warning (warn).",
        default="fail",
    ),
    _setting(
        LABEL_FILTERS,
        "label_filters",
        "Label filters",
        f"Which labels the stream labels reads: {_names(LABEL_FILTERS)}.",
        default={},
    ),
    _setting(
        EXPORT_FILTERS,
        "export_filters",
        "Export filters",
        f"Which data rows the data row export reads: {_names(EXPORT_FILTERS)}.",
        default={},
    ),
    _setting(
        EXPORT_INCLUDE,
        "export_include",
        "Export include",
        "What the data row export brings: attachments, metadata_fields "
        "and performance_details are true, embeddings and interpolated_frames false "
        "unless set.",
        default={name: default for name, (default, _) in INCLUDED.items()},
    ),
    _setting(
        _one_of("auto", "project", "workspace"),
        "export_scope",
        "Export scope",
        "How much one export holds: project, workspace (whatever happened in any "
        "project), or auto, which exports a project alone to read it for the first "
        "time, unless it is one of many in a small workspace, and together with the "
        "others from then on.",
        default="auto",
    ),
    _setting(
        _one_of("auto", "none"),
        "export_windows",
        "Export windows",
        "Whether a large project is exported in several windows of last_activity_at "
        "when it is read for the first time, and an export at which Labelbox fails in "
        "halves, down to a day (auto); or each project in one export (none).",
        default="auto",
    ),
    _setting(
        TEXTS,
        "export_files",
        "Export files",
        "Read rows from these files, saved from Labelbox's app or by a "
        "program, and ask Labelbox nothing; no key is needed. Folders, patterns, .gz, "
        ".zip and addresses such as s3:// will do. They are read whole: not beside "
        "settings that choose projects or rows.",
    ),
    _setting(
        th.IntegerType(minimum=2, maximum=100),
        "page_size",
        "Page size",
        "Rows asked for at a time, 2 to 100.",
        default=100,
    ),
    _setting(
        th.IntegerType(minimum=1, maximum=100),
        "projects_per_request",
        "Projects per request",
        "For how many projects, or other parents, a list is asked for in one "
        "request, at most; halved where that is too much for Labelbox. With 1, each "
        "is asked for alone.",
        default=20,
    ),
    _setting(
        th.IntegerType(minimum=1, maximum=30),
        "concurrency",
        "Concurrency",
        "Requests that are sent to Labelbox at once; with 1, one after the other.",
        default=8,
    ),
    _setting(
        th.IntegerType(minimum=0, maximum=366 * 86400),
        "lookback_seconds",
        "Lookback (seconds)",
        "How far before its bookmark an incremental read begins. Labelbox "
        "lists a label, and exports a change, some seconds late: with fewer than 10 "
        "some may never be read.",
        default=60,
    ),
    _setting(
        POSITIVE,
        "export_poll_interval",
        "Export poll interval (seconds)",
        "Seconds between two questions whether an export is ready, at most. It begins "
        "with a quarter of a second.",
        default=5,
    ),
    _setting(
        POSITIVE,
        "export_timeout",
        "Export timeout (seconds)",
        "Seconds to wait for an export before its project is left out.",
        default=7200,
    ),
    _setting(
        POSITIVE,
        "request_timeout",
        "Request timeout (seconds)",
        "Seconds without an answer after which a request is given up "
        "and sent again. A reply may take 50 times as long in all, a download any "
        "time, but in 10 times as long at least 1 KB a second have to arrive.",
        default=60,
    ),
    _setting(
        th.NumberType(minimum=0),
        "retry_seconds",
        "Retry (seconds)",
        "For how many seconds a failing request is tried again before "
        "the run, or its project, gives up; 0 is never.",
        default=900,
    ),
    _setting(
        POSITIVE,
        "max_run_seconds",
        "Longest run (seconds)",
        "Seconds after which a run ends with its state and exit code 75; "
        "the next one goes on from there. By default it takes as long as it takes.",
    ),
    _setting(
        th.IntegerType(minimum=1),
        "requests_per_minute",
        "Requests per minute",
        "Requests sent to the API in a minute, at most, evenly spaced. By "
        "default as many as it takes.",
    ),
    _setting(
        SIZE_BYTES,
        "max_reply_bytes",
        "Largest reply (bytes)",
        "Most bytes of a reply of the API, decompressed. A page that has "
        "more is asked for in smaller ones; else its project is left out.",
        default=256 * 1024 * 1024,
    ),
    _setting(
        SIZE_BYTES,
        "max_row_bytes",
        "Largest row (bytes)",
        "Most bytes of a data row of an export, or of an item of a bulk "
        "export. A data row that has more is left out; an item that has more, with "
        "its project.",
        default=256 * 1024 * 1024,
    ),
    _setting(
        SIZE_BYTES,
        "max_value_bytes",
        "Largest value (bytes)",
        "Most bytes of a value, be it text or JSON, for warehouses that take no larger "
        "ones. One that has more becomes null, and additional_columns has its size and "
        "its SHA-256; the log counts them. Keys stay. By default there is no limit.",
    ),
    _setting(
        th.BooleanType,
        "allow_plain_http",
        "Allow plain HTTP",
        "Whether api_url and rest_url may be http:// of another machine. Whoever is "
        "on the way can then read the API key.",
        default=False,
    ),
    _setting(
        th.BooleanType,
        "allow_private_links",
        "Allow private links",
        "Whether files may be downloaded from addresses of a private "
        "network, such as an endpoint of your storage in it, while api_url is public.",
        default=False,
    ),
    _setting(
        BATCH_CONFIG,
        "batch_config",
        "Batch files",
        "Write records to files for the target, not to its input. Only for targets "
        "that load BATCH messages: target-postgres, target-csv and target-clickhouse "
        "of MeltanoLabs, target-snowflake (jsonl only), target-parquet (parquet only). "
        "Others stop, or, like target-sqlite and target-bigquery, skip the files, "
        "confirm the state and load nothing, which the tap cannot see. Parts: "
        "encoding.format (jsonl or parquet), encoding.compression (gzip or none), "
        "storage.root, storage.prefix, storage.readable_by (owner, group or everyone), "
        "batch_size.",
    ),
    _setting(
        th.BooleanType,
        "pseudonymize",
        "Pseudonymize",
        "Whether e-mail addresses and names of people become pseudonyms, the same in "
        "all streams and in JSON; needs pseudonymize_salt. Free text stays.",
        default=False,
    ),
    _setting(
        TEXT,
        "pseudonymize_salt",
        "Salt of pseudonyms",
        "What pseudonyms are computed with: a long random text that nobody else knows. "
        "Another one gives other pseudonyms.",
        secret=True,
    ),
    _setting(
        th.StringType,
        "user_agent",
        "User agent",
        "What the tap calls itself to Labelbox and to whatever is on the "
        "way; by default tap-labelbox and its version.",
    ),
    # The SDK obeys this one, but describes it from 0.55 on only.
    _setting(
        th.BooleanType,
        "emit_activate_version_messages",
        "Emit ACTIVATE_VERSION messages",
        "Whether a target is told to delete the rows of a whole table "
        "that are no longer there, after the last record of a stream that was read "
        "without a gap. Not with every target; not beside batch_config or "
        "export_files.",
        default=False,
    ),
    additional_properties=False,
).to_dict()


GRAPHQL = re.compile(r"/(?:[^?]*/)?graphql")
REST = re.compile(r"/[^?]*")
KEY = re.compile(r"[!-~]+")  # what may stand in an HTTP header
HEADER = re.compile(r"[!-~][ -~]*")
BOUNDS = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
CHOOSING_PROJECTS = (
    *("project_ids", "exclude_project_ids"),
    *("project_names", "project_tags", "media_types"),
)
# What chooses among what Labelbox has; saved files hold what they hold.
CHOOSING = (
    *(*CHOOSING_PROJECTS, "shard", "start_date"),
    *("label_filters", "export_filters", "export_include"),
)


def read(provided: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in the types they need, without what is unset.

    Args:
        provided: The settings as they are in a file or the environment.
        schema: The JSON schema of them.
    """
    config: dict[str, Any] = setting_values.typed(provided, schema) or {}
    # What is unset may be in the environment; the file of a secret has a line end.
    keys = (config.pop("api_key", None), *map(os.environ.get, KEY_VARIABLES))
    stripped = (key.strip() if isinstance(key, str) else key for key in keys)
    if key := next(filter(None, stripped), None):
        config["api_key"] = key
        if isinstance(key, str):
            redact.hide(key)
    if isinstance(salt := config.get("pseudonymize_salt"), str):
        config["pseudonymize_salt"] = salt.strip()
        redact.hide(salt.strip())
        if not salt.strip():
            del config["pseudonymize_salt"]
    return config


def problems(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Fill in the defaults, and return what is wrong with settings, by name.

    The SDK's own texts name no setting, let any date pass, and print the value,
    which may be the key.

    Args:
        config: The settings, in their types.
        schema: The JSON schema of them.
    """
    _fill_in(config, schema)
    validator = DEFAULT_JSONSCHEMA_VALIDATOR(schema)
    errors = [e for error in validator.iter_errors(config) for e in _problems_of(error)]
    if "export_files" in config:  # which need no key
        errors = [e for e in errors if not e.startswith("api_key is not set")]
    for name in (*CHOOSING_PROJECTS, "export_files"):
        if config.get(name) == []:
            errors.append(f"{name} is empty: fill it or remove it")
    if not errors:
        errors += _address_problems(config)
        if not KEY.fullmatch(config.get("api_key", "key")):
            errors.append("api_key has characters that no key has: set it anew")
        if not HEADER.fullmatch(config.get("user_agent", "tap")):
            errors.append("user_agent has characters that no HTTP header has")
        errors += _date_problems(config, schema)
        errors += _filter_problems(config)
        errors += _pair_problems(config, schema)
    return list(dict.fromkeys(errors))


def _fill_in(config: dict[str, Any], schema: dict[str, Any]) -> None:
    """Set the defaults; the SDK's validator, which does so too, needs whole objects."""
    for name, part in schema.get("properties", {}).items():
        if "default" in part:
            config.setdefault(name, deepcopy(part["default"]))
        if isinstance(value := config.get(name), dict):
            _fill_in(value, part)


def _filter_problems(config: dict[str, Any]) -> Iterator[str]:
    """Yield the export_filters that cannot be obeyed beside something else."""
    filters = config["export_filters"]
    if {"data_row_ids", "global_keys"} <= set(filters):
        yield "export_filters has data_row_ids and global_keys: remove one"
    if config["export_scope"] == "workspace":
        for name in sorted(PROJECT_FILTERS & filters.keys()):
            yield (
                f"export_filters.{name} and export_scope: remove one; only exports of "
                "projects take that filter"
            )


def _pair_problems(config: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield the settings that cannot be obeyed beside each other."""
    if config["pseudonymize"] and "pseudonymize_salt" not in config:
        yield (
            "pseudonymize_salt is not set: set it to a long random text, and keep it; "
            "or remove pseudonymize"
        )
    versions = config.get("emit_activate_version_messages")
    shard = config.get("shard")
    if shard and shard["index"] >= shard["count"]:
        yield (
            f"shard.index must be less than shard.count ({shard['count']}), not "
            f"{shard['index']}: the first shard is 0"
        )
    if shard and versions:
        yield (
            "shard and emit_activate_version_messages: remove one; a target would "
            "delete the rows of the other shards"
        )
    if versions and "batch_config" in config:
        yield (
            "emit_activate_version_messages and batch_config: remove one; rows in "
            "files have no version, so a target would delete them"
        )
    if "export_files" not in config:
        return
    for name in CHOOSING:
        default = schema["properties"][name].get("default")
        if config.get(name) not in (None, default):
            yield (
                f"{name} does nothing beside export_files, which are read whole: "
                "remove one of them"
            )
    if versions:
        yield (
            "emit_activate_version_messages and export_files: remove one; a target "
            "would delete the rows that are not in the files"
        )


def _problems_of(error: Any) -> Iterator[str]:
    """Yield what an error of the validator says, by the name of the setting."""
    name = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{name}." if name else ""
    match error.validator, error.validator_value:
        case "required", names:
            for missing in (n for n in names if n not in error.instance):
                is_key = missing == "api_key"
                hint = f", or {' or '.join(KEY_VARIABLES)} in the environment"
                yield f"{prefix}{missing} is not set: set it{hint if is_key else ''}"
        case "additionalProperties", _:
            known = error.schema["properties"]
            for unknown in sorted(set(error.instance) - set(known)):
                hint = suggestion(unknown, known)
                yield f"unknown setting {prefix}{unknown}: remove it{hint}"
        case (("type" | "anyOf"), _):
            yield from _type_problems(name, error)
        case "minLength", _:
            yield f"{name} is empty: set it or remove it"
        case bound, value if bound in BOUNDS:
            yield f"{name} must be {BOUNDS[bound]} {value}, not {error.instance}"
        case "enum", values:
            known = list(filter(None, values))
            hint = suggestion(error.instance, known)
            yield f"{name} must be one of {', '.join(known)}{hint}"
        case _:
            yield f"{name}: {error.message}"


def _type_problems(name: str, error: Any) -> Iterator[str]:
    """Yield which types a setting may have, or what is wrong within the one it has."""
    alternatives = error.context or [error]
    deepest = max(alternatives, key=lambda failure: len(failure.absolute_path))
    if len(deepest.absolute_path) > len(error.absolute_path):
        yield from _problems_of(deepest)
        return
    supplied = [
        failure.validator_value
        for failure in alternatives
        if failure.validator == "type"
    ]
    types = chain.from_iterable([t] if isinstance(t, str) else t for t in supplied)
    requested = " or ".join(kind for kind in dict.fromkeys(types) if kind != "null")
    why = ""
    if isinstance(text := error.instance, str) and text.lstrip()[:1] in ("[", "{"):
        try:
            json.loads(text)
        except ValueError as fault:
            why = f"; as JSON it is malformed: {fault}"
    yield f"{name} must be of type {requested}{why}"


def _address_problems(config: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the addresses that the API key is sent to."""
    for name, form, ending, example in (
        (
            "api_url",
            GRAPHQL,
            " that ends in /graphql",
            "https://api.labelbox.com/graphql",
        ),
        ("rest_url", REST, "", "https://api.labelbox.com/api/v1"),
    ):
        if (address := config.get(name)) is None:
            continue
        try:
            link = Link.parse(address)
        except ValueError:
            link = None
        is_plain = link and (link.rest == "/" or address.endswith(link.rest))
        if not link or not is_plain or not form.fullmatch(link.rest):
            yield (
                f"{name} must be a web address{ending}, such as {example}, not "
                f"{redact.mask(repr(address))}"
            )
        elif link.scheme == "http" and not (
            link.is_loopback or config["allow_plain_http"]
        ):
            yield (
                f"{name} is http:// of another machine ({link.host}), so the API key "
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
                f"{prefix}{name} must be a date or a timestamp, such as 2026-01-31 "
                f"or 2026-01-31T09:30:00Z, not {value!r}"
            )
