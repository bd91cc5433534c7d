"""The settings, and the errors of one that cannot be used."""

from __future__ import annotations

import json
import os
import re
from copy import deepcopy
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

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
    from collections.abc import Callable, Iterator

PREFIX = "TAP_LABELBOX_"  # of variables in the environment
KEY_VARIABLES = (f"{PREFIX}API_KEY", "LABELBOX_API_KEY")  # the latter: their client's

Kind = type[th.JSONTypeHelper[Any]] | th.JSONTypeHelper[Any]
Setting: TypeAlias = "Callable[[str], th.Property[Any]]"


def _setting(kind: Kind, description: str | None = None, **options: Any) -> Setting:
    """Return what makes a setting, or a part of one, of its name."""
    return partial(th.Property, wrapped=kind, description=description, **options)


def _object(**parts: Setting) -> th.ObjectType:
    """Return the type of an object that has no other parts."""
    return th.ObjectType(
        *(make(name) for name, make in parts.items()), additional_properties=False
    )


def _settings(**settings: Setting) -> dict[str, Any]:
    """Return the schema of all settings; titles that are not given are their names."""
    properties = _object(**settings).wrapped.values()
    for setting in properties:
        setting.title = setting.title or setting.name.replace("_", " ").capitalize()
    return th.PropertiesList(*properties, additional_properties=False).to_dict()


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
    created_by_id=_setting(TEXT, "Labels by this user."),
    type_id=_setting(TEXT, "Labels of this type, such as Submitted or Skipped."),
    dataset_id=_setting(TEXT, "Labels of data rows of this dataset."),
    agreement_gt=_setting(th.NumberType, "Labels with more agreement."),
    agreement_lt=_setting(th.NumberType, "Labels with less agreement."),
    created_before=_setting(th.DateTimeType, "Labels made before this timestamp."),
)

EXPORT_FILTERS = _object(
    workflow_status=_setting(
        _one_of("TO_LABEL", "IN_REVIEW", "IN_REWORK", "DONE"),
        "Data rows at this step of the workflow.",
    ),
    batch_ids=_setting(TEXTS, "Data rows of these batches."),
    data_row_ids=_setting(TEXTS, "These data rows."),
    global_keys=_setting(TEXTS, "Data rows with these global keys."),
    label_created_after=_setting(
        th.DateTimeType, "Data rows with a label made at or after this timestamp."
    ),
    label_created_before=_setting(
        th.DateTimeType, "Data rows with a label made at or before this timestamp."
    ),
)

SHARD = _object(
    index=_setting(
        th.IntegerType(minimum=0),
        "Which of the shards this is, from 0; the first one also reads what is of no "
        "project.",
        required=True,
    ),
    count=_setting(
        th.IntegerType(minimum=1),
        "How many shards there are. The SHA-256 of its ID puts each project into one.",
        required=True,
    ),
    project_ids=_setting(
        th.ArrayType(TEXT),
        "Its projects, instead of those that the hash assigns; tap-labelbox-plan fills "
        "this in.",
    ),
)

INCLUDED = {
    "attachments": (True, "What labelers were shown with a data row."),
    "metadata_fields": (True, "Custom metadata of data rows."),
    "performance_details": (True, "Seconds, agreement and the like of labels."),
    "embeddings": (False, "Embeddings of data rows."),
    "interpolated_frames": (False, "Frames of a video between its key frames."),
}
"""The optional parts of an export: whether each is on by default, and what it is."""

EXPORT_INCLUDE = _object(
    **{
        name: _setting(th.BooleanType, description, default=default)
        for name, (default, description) in INCLUDED.items()
    }
)

BATCH_CONFIG = _object(
    encoding=_setting(
        _object(
            format=_setting(
                _one_of("jsonl", "parquet"),
                "Format of the files.",
                required=True,
            ),
            compression=_setting(
                _one_of("gzip", "none"), "How they are compressed.", default="gzip"
            ),
        ),
        required=True,
    ),
    storage=_setting(
        _object(
            root=_setting(
                TEXT,
                "Folder or address to write to, such as s3://bucket.",
                required=True,
            ),
            prefix=_setting(th.StringType, "What file names begin with."),
            readable_by=_setting(
                _one_of(*(who.value for who in Readers)),
                "Who may read files on this machine; by default their owner only.",
            ),
        ),
        required=True,
    ),
    batch_size=_setting(
        th.IntegerType(minimum=1),
        "Maximum number of records in a file, which holds 32 MB of JSON at most.",
    ),
)

SETTINGS = _settings(
    api_key=_setting(
        TEXT,
        "Labelbox API key. If it is not set, the environment variable "
        f"{' or '.join(KEY_VARIABLES)} is used.",
        title="API key",
        required=True,
        secret=True,
    ),
    api_url=_setting(
        th.StringType,
        "Address of the GraphQL API, ending in /graphql; all other "
        "addresses derive from it.",
        title="API URL",
        default=API_URL,
    ),
    rest_url=_setting(
        th.StringType,
        "Address of the REST API, which has the reports; by default api_url with "
        "/api/v1 in place of /graphql.",
        title="REST URL",
    ),
    start_date=_setting(
        th.DateTimeType,
        "Where there is no bookmark yet, labels created and data rows last "
        "active before this timestamp are skipped.",
    ),
    project_ids=_setting(
        TEXTS,
        "Read only these projects. By default, all that the API key can see.",
        title="Project IDs",
    ),
    exclude_project_ids=_setting(
        TEXTS, "Do not read these projects.", title="Excluded project IDs"
    ),
    project_names=_setting(
        TEXTS,
        "Read only projects with one of these names, in any case; `*` stands for any "
        "characters, `?` for one, `[ab]` for a or b.",
    ),
    project_tags=_setting(
        TEXTS, "Read only projects with one of these tags, in any case."
    ),
    media_types=_setting(
        TEXTS,
        "Read only projects with one of these kinds of data rows, such as IMAGE, as in "
        "projects.allowed_media_type.",
    ),
    shard=_setting(
        SHARD,
        "Read one part of the projects, for several runs that share an account: "
        f"{_names(SHARD)}. Cannot be "
        "combined with emit_activate_version_messages or export_files.",
    ),
    on_missing=_setting(
        _one_of("fail", "warn"),
        "Whether a project that is gone, or that the API key cannot see, "
        "makes the exit code 1 (fail) or is only a warning (warn).",
        default="fail",
    ),
    label_filters=_setting(
        LABEL_FILTERS,
        f"Which labels the stream labels reads: {_names(LABEL_FILTERS)}.",
        default={},
    ),
    export_filters=_setting(
        EXPORT_FILTERS,
        f"Which data rows the data row export reads: {_names(EXPORT_FILTERS)}.",
        default={},
    ),
    export_include=_setting(
        EXPORT_INCLUDE,
        "What the data row export includes: attachments, metadata_fields and "
        "performance_details are true by default, embeddings and interpolated_frames "
        "false.",
        default={name: default for name, (default, _) in INCLUDED.items()},
    ),
    export_scope=_setting(
        _one_of("auto", "project", "workspace"),
        "What one export covers: project, workspace (what happened in any project), "
        "or auto, which exports a project by itself the first time it is read, unless "
        "it is one of many in a small workspace, and together with the others from "
        "then on.",
        default="auto",
    ),
    export_windows=_setting(
        _one_of("auto", "none"),
        "With auto, a large project that is read for the first time is exported in "
        "several windows of last_activity_at, and an export that Labelbox fails is "
        "split in halves, down to a day. With none, each project is one export.",
        default="auto",
    ),
    export_files=_setting(
        TEXTS,
        "Read rows from these files, saved from Labelbox's app or by a program, "
        "without contacting Labelbox; no key is needed. Folders, patterns, .gz, .zip "
        "and addresses such as s3:// work. Files are read whole: settings that choose "
        "projects or rows cannot be combined with this one.",
    ),
    page_size=_setting(
        th.IntegerType(minimum=2, maximum=100),
        "Rows per page, 2 to 100.",
        default=100,
    ),
    projects_per_request=_setting(
        th.IntegerType(minimum=1, maximum=100),
        "Maximum number of projects, or other parents, whose lists are requested "
        "together; halved where that is too much for Labelbox. With 1, each has "
        "requests of its own.",
        default=20,
    ),
    concurrency=_setting(
        th.IntegerType(minimum=1, maximum=30),
        "Maximum number of concurrent requests; with 1, one is sent after another.",
        default=8,
    ),
    lookback_seconds=_setting(
        th.IntegerType(minimum=0, maximum=366 * 86400),
        "How far before its bookmark an incremental read begins. Labelbox lists "
        "labels, and exports changes, some seconds late: with fewer than 10 seconds, "
        "some may never be read.",
        title="Lookback (seconds)",
        default=60,
    ),
    export_poll_interval=_setting(
        POSITIVE,
        "Maximum seconds between two polls of an export's status. The interval starts "
        "at a quarter of a second.",
        title="Export poll interval (seconds)",
        default=5,
    ),
    export_timeout=_setting(
        POSITIVE,
        "Seconds to wait for an export before its project is left out.",
        title="Export timeout (seconds)",
        default=7200,
    ),
    request_timeout=_setting(
        POSITIVE,
        "Seconds without an answer after which a request is abandoned and sent again. "
        "A whole reply may take 50 times as long, and a download any time, as long as "
        "1 KB a second arrives over 10 times as long.",
        title="Request timeout (seconds)",
        default=60,
    ),
    retry_seconds=_setting(
        th.NumberType(minimum=0),
        "For how many seconds a failing request is retried before the run, or its "
        "project, gives up; with 0, it never is.",
        title="Retry (seconds)",
        default=900,
    ),
    max_run_seconds=_setting(
        POSITIVE,
        "Seconds after which a run ends with its state and exit code 75; the next one "
        "resumes from there. By default, there is no limit.",
        title="Longest run (seconds)",
    ),
    requests_per_minute=_setting(
        th.IntegerType(minimum=1),
        "Maximum number of requests to the API per minute, evenly spaced. By default, "
        "there is no limit.",
    ),
    max_reply_bytes=_setting(
        SIZE_BYTES,
        "Maximum bytes of a reply of the API, decompressed. A larger page is requested "
        "again in smaller ones; if that fails, its project is left out.",
        title="Largest reply (bytes)",
        default=256 * 1024 * 1024,
    ),
    max_row_bytes=_setting(
        SIZE_BYTES,
        "Maximum bytes of a data row of an export, or of an item of a bulk export. A "
        "larger data row is left out; a larger item, with its project.",
        title="Largest row (bytes)",
        default=256 * 1024 * 1024,
    ),
    max_value_bytes=_setting(
        SIZE_BYTES,
        "Maximum bytes of a value, text or JSON, for warehouses that have a limit. A "
        "larger one becomes null, and additional_columns has its size and its SHA-256; "
        "the log counts them. Keys stay. By default, there is no limit.",
        title="Largest value (bytes)",
    ),
    allow_plain_http=_setting(
        th.BooleanType,
        "Whether api_url and rest_url may be http:// on another machine. Anyone on the "
        "network in between can then read the API key.",
        title="Allow plain HTTP",
        default=False,
    ),
    allow_private_links=_setting(
        th.BooleanType,
        "Whether files may be downloaded from a private network, such as a private "
        "endpoint of your storage, while api_url is public.",
        default=False,
    ),
    batch_config=_setting(
        BATCH_CONFIG,
        "Write records to files for the target instead of its input. Only for targets "
        "that load BATCH messages: target-postgres, target-csv and target-clickhouse "
        "of MeltanoLabs, target-snowflake (jsonl only), target-parquet (parquet only). "
        "Others stop, or, like target-sqlite and target-bigquery, skip the files, "
        "confirm the state and load nothing, which the tap cannot see. Parts: "
        "encoding.format (jsonl or parquet), encoding.compression (gzip or none), "
        "storage.root, storage.prefix, storage.readable_by (owner, group or everyone), "
        "batch_size.",
        title="Batch files",
    ),
    pseudonymize=_setting(
        th.BooleanType,
        "Whether e-mail addresses and names of people become pseudonyms, the same in "
        "all streams and in JSON; needs pseudonymize_salt. Free text is not changed.",
        default=False,
    ),
    pseudonymize_salt=_setting(
        TEXT,
        "The secret that pseudonyms are computed with: a long random text. A different "
        "one produces different pseudonyms.",
        title="Salt of pseudonyms",
        secret=True,
    ),
    user_agent=_setting(
        th.StringType,
        "The User-Agent header of requests; by default tap-labelbox and its version.",
    ),
    emit_activate_version_messages=_setting(
        th.BooleanType,
        "Whether to tell the target, after the last record of a table that was read "
        "whole and without a gap, to delete the rows that are no longer there. Not "
        "every target supports it; cannot be combined with batch_config or "
        "export_files.",
        title="Emit ACTIVATE_VERSION messages",
        default=False,
    ),
)


ADDRESSES = {
    "api_url": (re.compile(r"/(?:[^?]*/)?graphql"), " that ends in /graphql", API_URL),
    "rest_url": (re.compile(r"/[^?]*"), "", "https://api.labelbox.com/api/v1"),
}
"""What the paths of addresses are, that in words, and examples."""
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
VERSIONS = "emit_activate_version_messages"
EXCLUSIVE = {
    ("shard", VERSIONS): "a target would delete the rows of the other shards",
    (VERSIONS, "batch_config"): (
        "rows in files have no version, so a target would delete them"
    ),
    (VERSIONS, "export_files"): (
        "a target would delete the rows that are not in the files"
    ),
}
"""Settings that cannot be obeyed beside each other, and why."""


def read(provided: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in the types they need, without what is unset."""
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
    shard = config.get("shard")
    if shard and shard["index"] >= shard["count"]:
        yield (
            f"shard.index must be less than shard.count ({shard['count']}), not "
            f"{shard['index']}: the first shard is 0"
        )
    for (name, other), why in EXCLUSIVE.items():
        if config.get(name) and config.get(other):
            yield f"{name} and {other}: remove one; {why}"
    for name in CHOOSING if "export_files" in config else ():
        if config.get(name) not in (None, schema["properties"][name].get("default")):
            yield (
                f"{name} has no effect with export_files, which are read whole: "
                "remove one of them"
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
    supplied = (e.validator_value for e in alternatives if e.validator == "type")
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
    for name, (form, ending, example) in ADDRESSES.items():
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
