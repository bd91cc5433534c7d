"""The page: one file of HTML that needs no network and no JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from tap_labelbox.report.cards import CARDS, TILES
from tap_labelbox.report.warehouse import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from tap_labelbox.report.cards import Card
    from tap_labelbox.report.warehouse import Warehouse

CSS = """
:root { color-scheme: light dark; --back: #f4f5f7; --card: #fff; --text: #1b1f24;
  --soft: #5b6570; --edge: #dfe3e8; }
@media (prefers-color-scheme: dark) { :root { --back: #101418; --card: #1a2026;
  --text: #e8ecf0; --soft: #a2adb8; --edge: #2c343c; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.25rem; background: var(--back); color: var(--text);
  font: 16px/1.45 Arial, Helvetica, sans-serif; overflow-wrap: anywhere; }
main { max-width: 90rem; margin: 0 auto; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1rem; margin: 0; }
p { margin: .25rem 0; }
header { margin-bottom: 1rem; }
.soft, .unit, footer { color: var(--soft); font-size: .85rem; }
.tiles, .cards { display: grid; gap: 1rem; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); }
.cards { grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr));
  margin-top: 1rem; }
section { background: var(--card); border: 1px solid var(--edge); border-radius: .6rem;
  padding: .9rem 1rem; min-width: 0; }
.figure { font-size: 1.9rem; font-weight: 600; font-variant-numeric: tabular-nums; }
section > svg { display: block; width: 100%; height: auto; max-height: 26rem;
  margin: .6rem 0; color: var(--text); }
.key { font-size: .85rem; }
.key span { margin-right: 1rem; white-space: nowrap; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: .2em;
  margin-right: .35em; }
code { font-size: .85em; }
"""


@dataclass(frozen=True)
class Choice:
    """The period and the projects of a page."""

    since: date
    until: date
    """Both included."""
    project_ids: Sequence[str] = ()
    """All if there are none."""

    @property
    def values(self) -> dict[str, Any]:
        """The values of the queries."""
        return {
            "since": self.since,
            "until": self.until,
            "project_ids": list(self.project_ids),
        }

    def of(self, query: str) -> str:
        """Return a query that is of this period and of these projects only."""
        condition = "project_id = any(:project_ids)" if self.project_ids else "1 = 1"
        query = query.replace("{period}", "date_day between :since and :until")
        return query.replace("{projects}", condition)


def render(warehouse: Warehouse, choice: Choice) -> str:
    """Return the page as HTML.

    What the warehouse has no model for is said in its place.
    """
    names = _names(warehouse, choice)
    tiles, cards = (
        "\n".join(_section(card, warehouse, choice) for card in some)
        for some in (TILES, CARDS)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Labeling, {choice.since} to {choice.until}</title>
<style>{CSS}</style>
</head>
<body>
<main>
<header>
<h1>Labeling</h1>
<p class="soft">{choice.since} to {choice.until}, days in UTC. {escape(names)}</p>
</header>
<div class="tiles">
{tiles}
</div>
<div class="cards">
{cards}
</div>
<footer><p>Made by tap-labelbox-report. Each figure names the dbt model that it comes
from.</p></footer>
</main>
</body>
</html>
"""


def _names(warehouse: Warehouse, choice: Choice) -> str:
    """Return a sentence with the projects of the page."""
    if not choice.project_ids:
        return "All projects."
    query = choice.of(
        "select distinct project_id, project_name from {marts}.labelbox__labels "
        "where {projects}"
    )
    try:
        rows = warehouse.query(query, choice.values)
    except QueryError:
        rows = []
    known = {row["project_id"]: row["project_name"] for row in rows}
    names = [known.get(project_id) or project_id for project_id in choice.project_ids]
    return f"Projects: {', '.join(names)}."


def _section(card: Card, warehouse: Warehouse, choice: Choice) -> str:
    try:
        rows = warehouse.query(choice.of(card.query), choice.values)
    except QueryError as error:
        body = (
            f'<p class="soft">The model {card.model} cannot be read here: run '
            "<code>dbt build</code>, or see which streams it needs. "
            f"({escape(str(error))})</p>"
        )
    else:
        drawn = card.draw(rows) if rows else ""
        body = drawn or f'<p class="soft">{card.empty}</p>'
    return (
        f'<section id="{card.title.lower().replace(" ", "-").replace(",", "")}">'
        f"<h2>{card.title}</h2>"
        f'<p class="unit">{card.unit}</p>{body}'
        f'<p class="soft">from <code>{card.model}</code></p></section>'
    )
