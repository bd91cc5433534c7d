"""Write the parts of the documents that follow from the code.

``python scripts/write_docs.py`` writes; ``--check`` only names what is stale.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from scripts import write_dbt
from tap_labelbox.api.documents import Document
from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.exit_codes import Ending
from tap_labelbox.records.columns import EMAIL, FREE_TEXT, NAME, PEOPLE
from tap_labelbox.settings import SETTINGS
from tap_labelbox.streams import STREAMS, SUBJECTS
from tap_labelbox.streams.joins import IN_ROWS, joins_of
from tap_labelbox.streams.reports import ReportStream

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://github.com/tap-labelbox/tap-labelbox"
GENERATED = "Written by scripts/write_docs.py: change the code, then run `make docs`."

EXPORTS = {
    "projects": "one export for all, shared; one more a project that is new",
    "model_runs": "an export a model run that has changed",
    "": "one export; one a dataset where that is too much",
}
"""What streams of exports take, by their parents."""

RELEASE = f"v{version('tap-labelbox')}"
RAW = f"https://raw.githubusercontent.com/tap-labelbox/tap-labelbox/{RELEASE}"
LOGO = "docs/labelbox.png"

PREREQ = f"""\
An API key of your Labelbox workspace: **Workspace settings > API keys**. The tap reads
the projects that this key may see.

No account yet? `pip install 'tap-labelbox[sandbox] @ git+{REPOSITORY}@{RELEASE}'`, then
`python -m tap_labelbox.sandbox`: it runs a stand-in for Labelbox on this machine, and
prints its settings.
"""
USAGE = """\
A list may be JSON or `a, b`. Streams with the bookmark `last_activity_at` have all
changes; `labels` includes those of the last minute. `bulk_export`, the old export (v1),
is not selected: Labelbox has retired it for most accounts.
"""
NEXT_STEPS = f"""\
- Try one record of each stream: `meltano invoke tap-labelbox --test`.
- Narrow it down: `project_ids`, `start_date`, or `meltano select`.
- All columns: [docs/streams.md]({REPOSITORY}/blob/{RELEASE}/docs/streams.md).
"""

# What is left to be text is read by the tap. Meltano ends with a traceback where a
# number of kind `integer` has a fraction, or an array is not JSON; `decimal` never
# gets through.
KINDS = {
    "array": "string",
    "boolean": "boolean",
    "integer": "integer",
    "number": "string",
    "object": "object",
}


def about() -> dict[str, Any]:
    """Return what ``tap-labelbox --about`` says, the SDK's own settings included."""
    command = [sys.executable, "-m", "tap_labelbox", "--about", "--format=json"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    description: dict[str, Any] = json.loads(output)
    return description


def kind(schema: dict[str, Any]) -> str:
    """Return a setting's kind in Meltano's words."""
    if schema.get("secret"):
        return "password"
    if schema.get("format") == "date-time":
        return "date_iso8601"
    types = schema.get("type", ["string"])
    return KINDS.get(types if isinstance(types, str) else types[0], "string")


def plugin_settings(
    settings: dict[str, Any], prefix: str = "", label: str = "", *, is_set: bool = True
) -> list[dict[str, Any]]:
    """Return settings as Meltano and its Hub list them: objects, and their parts.

    Args:
        settings: Their schemas, by name.
        prefix: Of the names, with its dot.
        label: Of what they are parts of.
        is_set: Whether they have their defaults; those of an object that has none
            would make one.
    """
    entries = []
    for name, schema in settings.items():
        title = schema.get("title", name.replace("_", " "))
        if label:
            title = f"{label}: " + re.sub(r"\bid(s?)\b", r"ID\1", title)
        parts = schema.get("properties")
        if parts and not isinstance(schema.get("additionalProperties"), dict):
            if not prefix:  # as JSON; Meltano merges it with the parts
                whole = {"name": name, "label": title, "kind": "object"}
                entries.append(whole | {"description": schema["description"]})
            has_default = is_set and "default" in schema
            entries += plugin_settings(
                parts, f"{prefix}{name}.", title, is_set=has_default
            )
            continue
        entry = {
            "name": prefix + name,
            "label": title,
            "kind": kind(schema),
            "description": schema["description"],
        }
        if options := schema.get("enum"):
            entry["kind"] = "options"
            entry["options"] = [
                {"label": value.replace("_", " ").capitalize(), "value": value}
                for value in options
            ]
        if schema.get("secret"):
            entry["sensitive"] = True
        if is_set and "default" in schema:
            entry["value"] = schema["default"]
        entries.append(entry)
    return sorted(entries, key=lambda entry: str(entry["name"]))


def settings_table() -> str:
    """Return the table of settings."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, schema in SETTINGS["properties"].items():
        default = json.dumps(schema["default"]) if "default" in schema else ""
        default = "required" if name in SETTINGS["required"] else f"`{default}`"
        default = default.replace("``", "")
        lines.append(f"| `{name}` | {default} | {schema['description']} |")
    return "\n".join(lines)


def key(stream: Any) -> str:
    """Return the columns of a stream's key."""
    return code(*stream.primary_keys)


def bookmark(stream: Any) -> str:
    """Return the column that a stream's bookmarks are kept by."""
    if stream.snapshot_column:
        return "none, each run adds its rows"
    replication_key = getattr(stream, "replication_key", None)
    incremental = isinstance(replication_key, str)  # else it is the SDK's property
    parents = stream.parents if issubclass(stream, ProjectStream) else ""
    by_parent = f", by {parent_noun(parents)}" if parents else ""
    return f"`{replication_key}`{by_parent}" if incremental else "none"


def parent_noun(parents: str) -> str:
    """Return what one of a stream's parents is called."""
    return parents.removesuffix("s").replace("_", " ")


def requests(stream: Any) -> str:
    """Return the requests that a stream takes, as it follows from its declaration."""
    if issubclass(stream, ReportStream):
        by_project = " and project" if "{project_id}" in stream.path else ""
        return f"1 a day{by_project}" if stream.replication_key else "1"
    if issubclass(stream, ExportedStream):
        return EXPORTS[stream.parents]
    name = stream.document or stream.name
    try:
        document = Document.load(name)
    except KeyError:
        return "an export a project"
    if stream.nested_in and name != stream.name:
        return f"none beside `{name}`"
    number = SETTINGS["properties"]["projects_per_request"]["default"]
    rows = f"{stream.max_page_rows} rows"
    is_paged = not document.declared.isdisjoint({"skip", "after"})
    result = f"1 for {rows}" if is_paged else "1"
    if document.parent:
        parents = stream.parents.replace("_", " ")
        if stream.parent_id_column != "id":
            parents = f"values of `{stream.parents}.{stream.parent_id_column}`"
        result = f"1 for {number} {parents}" + f", and for each {rows} more" * is_paged
    if stream.details:
        result += f"; 1 more for {number} rows that have `{stream.details_of}`"
    return result


def code(*names: str) -> str:
    """Return names as code."""
    return ", ".join(f"`{name}`" for name in names)


def links(*streams: str) -> str:
    """Return links to streams on their page."""
    return " and ".join(f"[`{name}`](#{name})" for name in streams)


def exit_codes_table() -> str:
    """Return the table of exit codes."""
    lines = ["| exit code | what ended the run | what to do |", "|---|---|---|"]
    lines += (
        f"| {ending.code} | {ending.meaning} | {ending.action} |" for ending in Ending
    )
    return "\n".join(lines)


def streams_table() -> str:
    """Return the README's tables of streams, one for each subject."""
    lines = []
    for subject, streams in SUBJECTS.items():
        lines += [f"**{subject}**", ""]
        lines += ["| stream | key | bookmark | requests | what it holds |"]
        lines += ["|---|---|---|---|---|"]
        for stream in streams:
            address = f"{REPOSITORY}/blob/main/docs/streams.md#{stream.name}"
            summary = (stream.__doc__ or "").splitlines()[0].rstrip(".")
            summary += "" if stream.selected_by_default else "; *off by default*"
            cells = [f"[`{stream.name}`]({address})", key(stream), bookmark(stream)]
            cells += [requests(stream), summary]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def personal_columns() -> dict[str, dict[str, str]]:
    """Return the columns that are declared to hold personal data, and of which kind."""
    personal = {
        stream.name: {
            column.name: str(column.personal)
            for column in stream.schema.columns
            if column.personal
        }
        for stream in STREAMS
    }
    return {stream: columns for stream, columns in personal.items() if columns}


def personal_data() -> tuple[str, str]:
    """Return a table of these columns, and stream maps that hide the people in them."""
    heads = "e-mails", "JSON that names people", "names and portraits", "free text"
    lines = [f"| stream | {' | '.join(heads)} |", "|---|---|---|---|---|"]
    maps = {}
    for stream, columns in personal_columns().items():
        groups: dict[str, list[str]] = {}
        for name, kind in columns.items():
            group = kind if kind in {EMAIL, PEOPLE, FREE_TEXT} else NAME
            groups.setdefault(group, []).append(name)
        order = (EMAIL, PEOPLE, NAME, FREE_TEXT)
        cells = [code(*groups.get(group, ())) for group in order]
        lines.append(f"| `{stream}` | {' | '.join(cells)} |")
        maps[stream] = {
            name: f"sha256(config['salt'] + {name}) if {name} else None"
            for name in groups.get(EMAIL, ())
        } | dict.fromkeys(groups.get(PEOPLE, []) + groups.get(NAME, []), "__NULL__")
    maps = {stream: columns for stream, columns in maps.items() if columns}
    settings = {"stream_map_config": {"salt": "a long secret"}, "stream_maps": maps}
    return "\n".join(lines), json.dumps(settings, indent=2, ensure_ascii=False)


def streams_page() -> str:
    """Return the page of all streams: what each is good for, and its columns."""
    parts = [f"<!-- {GENERATED} -->", "# Streams", "", "```mermaid", *diagram(), "```"]
    parts += [
        "",
        "Each line is a join: of many records with one, where it ends in `||`.",
        "",
    ]
    for stream in STREAMS:
        doc = re.sub(r"\n +", "\n", (stream.__doc__ or "").strip())
        parts += [f"## {stream.name}", "", doc, ""]
        parts += [f"- Key: {key(stream)}", f"- Bookmark: {bookmark(stream)}"]
        parts += [f"- Requests: {requests(stream)}"]
        parts += [f"- Join: {text}" for text in join_texts(stream)]
        parts += ["", "| column | type | meaning |", "|---|---|---|"]
        off = {column.name for column in stream.schema.columns if not column.selected}
        for name, schema in stream.schema["properties"].items():
            described = schema["description"].replace("|", "\\|")
            described += " *Off by default.*" if name in off else ""
            if rows := IN_ROWS.get((stream.name, name)):
                described += f" In rows: {links(*rows)}."
            parts.append(f"| `{name}` | {column_type(schema)} | {described} |")
        parts.append("")
    return "\n".join(parts)


def join_texts(stream: Any) -> Iterator[str]:
    """Yield which columns of a stream lead to which other stream."""
    for join in joins_of(stream):
        there = (
            "" if join.columns == join.to_columns else f" ({code(*join.to_columns)})"
        )
        yield f"{code(*join.columns)} to {links(join.to)}{there}"


def diagram() -> Iterator[str]:
    """Yield an entity relationship diagram, in the words of Mermaid.

    Not the joins that another stream on the way has as well.
    """
    yield "erDiagram"
    streams = {stream.name: stream for stream in STREAMS}
    for stream in STREAMS:
        joins = [*joins_of(stream)]
        through = {
            far
            for near in joins
            if near.columns == near.to_columns
            for far in joins_of(streams[near.to])
        }
        for join in joins:
            if join not in through:
                is_key = {*join.to_columns} == {*streams[join.to].primary_keys}
                many = "}o--||" if is_key else "}o--o{"
                yield f'    {stream.name} {many} {join.to} : "{join.columns[-1]}"'
        yield f"    {stream.name} {{"
        leading = dict.fromkeys(column for join in joins for column in join.columns)
        for name in dict.fromkeys([*stream.primary_keys, *leading]):
            marks = ["PK"] * (name in stream.primary_keys) + ["FK"] * (name in leading)
            kind = column_type(stream.schema["properties"][name])
            yield f"        {kind} {name} {', '.join(marks)}"
        yield "    }"


def column_type(schema: dict[str, Any]) -> str:
    """Return a column's type in a word or two."""
    base = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    return "date-time" if schema.get("format") == "date-time" else str(base)


def selection() -> list[str]:
    """Return the `select` that Meltano needs, which by itself selects everything."""
    off = [f"{s.name}.*" for s in STREAMS if not s.selected_by_default]
    off += [
        f"{stream.name}.{column.name}"
        for stream in STREAMS
        for column in stream.schema.columns
        if not column.selected
    ]
    # Labelbox has retired it for most accounts.
    return ["*.*", "!bulk_export.*", *(f"!{name}" for name in off)]


def plugin_block() -> str:
    """Return the README's entry for meltano.yml, with a line for each setting."""
    capabilities = ", ".join(sorted(about()["capabilities"]))
    lines = [
        "plugins:",
        "  extractors:",
        "  - name: tap-labelbox",
        "    namespace: tap_labelbox",
        f"    pip_url: git+{REPOSITORY}@{RELEASE}",
        "    executable: tap-labelbox",
        f"    capabilities: [{capabilities}]",
        f"    select: {json.dumps(selection())}",
        "    settings:",
    ]
    for entry in plugin_settings(SETTINGS["properties"]):
        setting = {key: entry[key] for key in ("name", "kind")}
        if setting["kind"] in ("string", "options"):
            del setting["kind"]
        if "sensitive" in entry:
            setting["sensitive"] = "true"
        parts = ", ".join(f"{key}: {value}" for key, value in setting.items())
        lines.append(f"    - {{{parts}}}")
    return "\n".join(["```yaml", *lines, "```"])


def hub_listing() -> str:
    """Return the listing for Meltano Hub."""
    description = about()
    pythons = [
        line.rpartition(" ")[2]
        for line in metadata("tap-labelbox").get_all("Classifier") or []
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", line)
    ]
    listing = {
        "name": "tap-labelbox",
        "namespace": "tap_labelbox",
        "variant": "tap-labelbox",
        "label": "Labelbox",
        "description": "Data labeling platform for machine learning",
        "domain_url": "https://docs.labelbox.com",
        "docs": f"{REPOSITORY}#readme",
        "repo": REPOSITORY,
        "pip_url": f"git+{REPOSITORY}@{RELEASE}",
        "executable": "tap-labelbox",
        "logo_url": f"{RAW}/{LOGO}",
        "keywords": ["api", "meltano_sdk"],
        "maintenance_status": "active",
        "quality": "silver",
        "supported_python_versions": pythons,
        "capabilities": sorted(description["capabilities"]),
        "settings_group_validation": [["api_key"]],
        "settings": plugin_settings(description["settings"]["properties"]),
        "select": selection(),
        "prereq": PREREQ,
        "usage": USAGE,
        "next_steps": NEXT_STEPS,
    }
    return f"# {GENERATED}\n" + dump(listing, sort_keys=True)


def dump(content: Any, *, sort_keys: bool = False) -> str:
    """Return YAML in the order given, or with sorted keys, as the Hub wants them."""
    text = yaml.dump(
        content, Dumper=Dumper, sort_keys=sort_keys, allow_unicode=True, width=88
    )
    return str(text)


class Dumper(yaml.SafeDumper):
    """Writes text of several lines as such."""


Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def indent(text: str, by: int) -> str:
    """Move lines to the right."""
    return "".join(" " * by + line for line in text.splitlines(keepends=True))


def filled(path: str, **blocks: str) -> str:
    """Return a file with what stands between its marks replaced."""
    text = (ROOT / path).read_text("utf-8")
    for name, block in blocks.items():
        place = re.compile(
            rf"(?<=begin {name}).*?(?=^[^\n]*end {name})", re.DOTALL | re.MULTILINE
        )
        if not (block_match := place.search(text)):
            sys.exit(f"{path} has no place for {name}")
        rest_of_line = block_match[0].partition("\n")[0]
        filling = f"{rest_of_line}\n{block.rstrip()}\n"
        text = text[: block_match.start()] + filling + text[block_match.end() :]
    return text


def documents() -> dict[str, str]:
    """Return every document as it has to be."""
    sys.path.append(str(ROOT))  # what is tested is not installed
    from warehouses import page  # noqa: PLC0415

    return {
        "README.md": filled(
            "README.md",
            plugin=plugin_block(),
            streams=streams_table(),
            warehouses=page.summary(),
        ),
        "docs/warehouses.md": page.page(),
        "docs/personal-data.md": filled(
            "docs/personal-data.md",
            personal=personal_data()[0],
            maps=f"```json\n{personal_data()[1]}\n```",
        ),
        "docs/running.md": filled(
            "docs/running.md", **{"exit codes": exit_codes_table()}
        ),
        "docs/settings.md": filled("docs/settings.md", settings=settings_table()),
        "docs/streams.md": streams_page(),
        "docs/hub.yml": hub_listing(),
        "meltano.yml": filled(
            "meltano.yml",
            settings=indent(dump(plugin_settings(SETTINGS["properties"])), 4),
            selection=indent(dump(selection()), 10),
            **{"selection of files": indent(dump(selection()), 10)},
        ),
        "dbt/README.md": filled("dbt/README.md", marts=write_dbt.marts_table()),
        **write_dbt.files(GENERATED),
    }


def main() -> None:
    """Write the documents, or name those that are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = [
        path
        for path, text in documents().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text("utf-8") != text
    ]
    for path in stale:
        if not check:
            (ROOT / path).write_text(documents()[path], "utf-8")
    if check and stale:
        sys.exit(f"stale: {', '.join(stale)}; run `make docs`")


if __name__ == "__main__":
    main()
