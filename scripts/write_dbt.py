"""The generated part of the dbt package: sources and staging, from the streams.

``scripts/write_docs.py`` writes it, with the rest of what follows from the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tap_labelbox.streams import STREAMS

ROOT = Path(__file__).parent.parent
STAGING = "dbt/models/staging"
MARTS = "dbt/models/marts/schema.yml"
WIDTH_CHARACTERS = 88


def kind(schema: dict[str, Any]) -> str:
    """Return what the package's macros call the type of a column."""
    name = str(next(part for part in schema["type"] if part != "null"))
    form = str(schema.get("format", "text")).replace("date-time", "timestamp")
    by_type = {"string": form, "object": "json", "array": "json"}
    return by_type.get(name, name)


def model(stream: Any) -> str:
    """Return the name of a stream's staging model."""
    return f"stg_labelbox__{stream.name}"


def query(stream: Any) -> str:
    """Return the staging model of a stream."""
    columns = "\n".join(
        f"    ('{name}', '{kind(schema)}'),"
        for name, schema in stream.schema["properties"].items()
    )
    off = "" if stream.selected_by_default else ", selected_by_default=false"
    return f"{{{{ labelbox_stage('{stream.name}', [\n{columns}\n]{off}) }}}}\n"


def sources() -> dict[str, Any]:
    """Return the tables that the tap's loader makes."""
    source = {
        "name": "labelbox",
        "description": "What tap-labelbox has loaded: a table for each stream.",
        "database": "{{ var('labelbox_database', target.database) }}",
        "schema": var("labelbox_schema", "labelbox"),
        "tables": [
            {
                "name": stream.name,
                "identifier": var(f"labelbox_{stream.name}_identifier", stream.name),
                "description": first_line(stream),
            }
            for stream in STREAMS
        ],
    }
    return {"version": 2, "sources": [source]}


def var(name: str, default: str) -> str:
    """Return the expression that reads a variable of dbt."""
    """Return what reads a variable of dbt."""
    return f"{{{{ var('{name}', '{default}') }}}}"


def models() -> dict[str, Any]:
    """Return descriptions of all staging models and their columns, and their keys."""
    return {
        "version": 2,
        "models": [
            {
                "name": model(stream),
                "description": first_line(stream),
                "data_tests": [
                    {"labelbox_key": {"arguments": {"columns": [*stream.primary_keys]}}}
                ],
                "columns": [
                    {"name": name, "description": schema["description"]}
                    for name, schema in stream.schema["properties"].items()
                ],
            }
            for stream in STREAMS
        ],
    }


def first_line(stream: Any) -> str:
    """Return what a stream has a row for."""
    return str(stream.__doc__).partition("\n")[0]


def files(generated: str) -> dict[str, str]:
    """Return the generated files by their paths.

    Args:
        generated: What stands at the top of each.
    """
    texts = {
        f"{STAGING}/src_labelbox.yml": yaml_of(sources()),
        f"{STAGING}/stg_labelbox.yml": yaml_of(models()),
    }
    written = {path: f"# {generated}\n{text}" for path, text in texts.items()}
    for stream in STREAMS:
        written[f"{STAGING}/{model(stream)}.sql"] = f"-- {generated}\n{query(stream)}"
    return written


def yaml_of(content: Any) -> str:
    """Return YAML in the order given."""
    return str(
        yaml.safe_dump(
            content, sort_keys=False, allow_unicode=True, width=WIDTH_CHARACTERS
        )
    )


def marts_table() -> str:
    """Return the README's table of marts, with the streams that each reads."""
    described = yaml.safe_load((ROOT / MARTS).read_text("utf-8"))["models"]
    lines = ["| mart | what it holds | streams |", "|---|---|---|"]
    for mart in described:
        streams = ", ".join(f"`{s}`" for s in mart["config"]["meta"]["streams"])
        what = " ".join(mart["description"].split()).partition(". ")[0].rstrip(".")
        lines.append(f"| `{mart['name']}` | {what} | {streams} |")
    return "\n".join(lines)
