"""The page docs/warehouses.md, made of what is declared and what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouses import results
from warehouses.targets import (
    IGNORES,
    JSONL,
    ONLY_ON_GITHUB,
    PARQUET,
    RECORDS,
    REFUSES,
    TARGETS,
    plugins,
    shipped_settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.contract.comparison import Loss
    from warehouses.targets import Target

REPOSITORY = "https://github.com/tap-labelbox/tap-labelbox/blob/main"
PAGE = f"{REPOSITORY}/docs/warehouses.md"
SUMMARY_LINES = 5
CLEAN = "nothing"
HEADS = (
    "warehouse",
    "loader",
    "values",
    "comes again",
    "batch files",
    "lost",
    "run on",
    "date",
)
KINDS = ("text", "integer", "number", "boolean", "timestamp", "day", "object", "array")
FORMS = {RECORDS: "records", JSONL: "JSON lines", PARQUET: "Parquet"}

INTRODUCTION = """\
Which loaders keep every value, and with which settings. The contract is a row of every
stream for each value that warehouses get wrong: empty and long texts, quotes, line
breaks, all scripts, control characters, `NULL`, the largest and smallest numbers, years
from 99 to 9999, nested JSON, nulls. They are loaded; loaded again with changes; with
fewer columns; and with all again. Then each value is read back and compared, and the
type of each column. `make test-warehouses` does this, each loader in an environment of
its own. It fails if a value is lost that is not listed here, or one arrives that is.

*Run on* is what stood in for the warehouse: no cloud service was asked. *Comes again*
is what becomes of a row whose key is there, and of a column that is deselected. *Batch
files* says which kinds are loaded, and how many times as much CPU records took in the
loader, for 1,000 labels with all that belongs to them.
"""
GITHUB = """\
`make test-warehouses` does not run these, for it installs from package registries
alone. They were tried by hand.
"""
TYPES = """\
Integers are of 64 bits. Timestamps are in UTC, also where their type has no zone. From
batch files of Parquet, objects and arrays are text everywhere.
"""


def page() -> str:
    """Return the page."""
    measured = results.read()
    lines = [
        "# Warehouses",
        "",
        INTRODUCTION,
        *table(measured),
        "",
        "## Types",
        "",
        f"| warehouse | {' | '.join(KINDS)} |",
        f"|---|{'---|' * len(KINDS)}",
        *(types(target) for target in TARGETS if target.types),
        "",
        TYPES.rstrip(),
        *(line for target in TARGETS for line in details(target, measured)),
        "",
        "## Loaders that only GitHub has",
        "",
        GITHUB,
        "| warehouse | install | tried | what was found |",
        "|---|---|---|---|",
        *(
            f"| {target.warehouse} | `pip install {target.source}` | {target.tried} "
            f"| {target.known} |"
            for target in ONLY_ON_GITHUB.values()
        ),
    ]
    return "\n".join(lines) + "\n"


def summary() -> str:
    """Return the first lines of the table, as the README has them."""
    measured = results.read()
    lines = ["| warehouse | loader | batch files | lost |", "|---|---|---|---|"]
    for target in TARGETS[:SUMMARY_LINES]:
        link = f"[{target.warehouse}]({PAGE}#{anchor(target)})"
        files = batch(target, measured.get(target.name, {}))
        lines.append(f"| {link} | {loader(target)} | {files} | {lost(target)} |")
    return "\n".join(lines)


def loader(target: Target) -> str:
    """Return what loads, or where the recipe for it is."""
    address = f"{REPOSITORY}/docs/recipes.md#{target.recipe.lower()}"
    return f"[recipe]({address})" if target.recipe else f"`{target.name}`"


def lost(target: Target) -> str:
    """Return what a target is known to lose."""
    values = [loss.text + of_forms(loss, target) for loss in target.losses]
    return "; ".join(filter(None, [target.lost_rows, *values])) or CLEAN


def of_forms(loss: Loss, target: Target) -> str:
    """Return of records in which forms something is lost, if not in all."""
    forms = [FORMS[form] for form in loss.forms if form in target.loaded]
    return f" ({', '.join(forms)})" if {*target.loaded} > {*loss.forms} else ""


def table(measured: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table of targets."""
    yield f"| {' | '.join(HEADS)} |"
    yield f"|{'---|' * len(HEADS)}"
    for target in TARGETS:
        own = measured.get(target.name, {})
        compared = sum(
            result["values"]
            for result in own.get("forms", {}).values()
            if result != "refused"
        )
        cells = (
            f"[{target.warehouse}](#{anchor(target)})",
            loader(target),
            f"{compared:,} compared" if compared else "**not run**",
            comes_again(target),
            batch(target, own),
            lost(target),
            target.run_on,
            own.get("date", ""),
        )
        yield f"| {' | '.join(cells)} |"


def anchor(target: Target) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return target.warehouse.lower().replace(",", "").replace(" ", "-")


def comes_again(target: Target) -> str:
    """Return what becomes of rows and columns that are there already."""
    if not target.merged:
        return "each run is added"
    left_out = "is kept" if target.left_out == "kept" else "becomes null"
    return f"replaces its row; a column left out {left_out}"


def batch(target: Target, own: Mapping[str, Any]) -> str:
    """Return which batch files are loaded, and how many times as fast."""
    cells = []
    for form in target.loaded:
        time = own.get("times", {}).get(form)
        is_run = form in own.get("forms", {})
        more = "**not run**" if not is_run else f"{time} times" if time else ""
        if form != RECORDS:
            cells.append(f"{FORMS[form]} ({more})" if more else FORMS[form])
    return ", ".join(cells) or "no"


def types(target: Target) -> str:
    """Return the line of a target in the table of types."""
    cells = [f"`{target.types[kind]}`" for kind in KINDS]
    return f"| {target.warehouse} | {' | '.join(cells)} |"


def as_yaml(value: Any) -> str:
    """Return a setting as ``meltano.yml`` has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def details(target: Target, measured: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else there is to say of a target."""
    yield from ("", f"## {target.warehouse}", "")
    own = measured.get(target.name, {})
    if not own:
        yield "Not run here."
        yield ""
    if target.recipe:
        yield f"Its loader is a {loader(target)}."
    elif target.name in plugins():
        yield f"Install `{plugins()[target.name]['pip_url']}`, and set:"
        yield ""
        settings = shipped_settings(target.name).items()
        yield from (f"- `{name}: {as_yaml(value)}`" for name, value in settings)
    if pins := own.get("versions"):
        tested = ", ".join(f"{name} {version}" for name, version in pins.items())
        yield ""
        yield f"Tested: {tested}."
    for form, what in target.refused.items():
        if what in {REFUSES, IGNORES}:
            yield ""
            yield f"Batch files of {FORMS[form]}: loads nothing, and {what}."
    if (losses := lost(target)) != CLEAN:
        yield ""
        yield f"Lost: {losses}."
    if target.advice:
        yield ""
        yield target.advice
