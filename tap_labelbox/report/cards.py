"""The figures and pictures of the page: a query of the models, and how it is drawn.

Each card names the model that it comes from. Numbers come from the models alone: what
is added up here could be added up in SQL by whoever looks at the page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import altair as alt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tap_labelbox.report.warehouse import Row

WIDTH_PIXELS, HEIGHT_PIXELS = 380, 210
FONT = "Arial, Helvetica, sans-serif"  # whose widths the program that draws knows
MAX_LABELERS = 6  # with a color of their own
MAX_CLASSES = 12
MAX_DAYS = 100  # after which a bar is a week
# Distinguishable on white and on black, also by the color-blind.
COLORS = ["#4f86c6", "#e1812c", "#3a9e6e", "#c44e52", "#9372b2", "#b0894f", "#8c8c8c"]
OTHERS = "others"
UTC = alt.Scale(type="utc")  # a day is the same wherever the page is made


@dataclass(frozen=True)
class Card:
    """A figure, or a picture."""

    title: str
    unit: str
    model: str
    query: str
    draw: Callable[[list[Row]], str]
    """Returns it as HTML; "" if there is nothing to be seen."""
    empty: str = "Nothing in this period."
    """What is said in place of that."""


# --- figures -------------------------------------------------------------------


def _figure(rows: list[Row], form: str = "{:,.0f}") -> str:
    """Return the ``value`` of the only row, and its ``note`` if there is one."""
    (row,) = rows
    value, note = row["value"], row["note"]
    if value is None:
        return '<p class="figure">-</p>'
    text = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f'<p class="figure">{form.format(value)}</p>{text}'


TILES = (
    Card(
        "Labels",
        "made",
        "labelbox__throughput_daily",
        """
        select sum(label_count) as value,
            cast(count(distinct labeler) as varchar) || ' people' as note
        from {marts}.labelbox__throughput_daily
        where {period} and label_count > 0 and {projects}
        """,
        _figure,
    ),
    Card(
        "Labeling",
        "hours",
        "labelbox__throughput_daily",
        """
        select sum(hours_labeling) as value, null as note
        from {marts}.labelbox__throughput_daily
        where {period} and {projects}
        """,
        partial(_figure, form="{:,.1f}"),
    ),
    Card(
        "Agreement",
        "consensus of labels, 0 to 1",
        "labelbox__labels",
        """
        select avg(agreement) as value,
            cast(count(agreement) as varchar) || ' labels compared' as note
        from {marts}.labelbox__labels
        where {period} and {projects}
        """,
        partial(_figure, form="{:.2f}"),
    ),
    Card(
        "Backlog",
        "data rows that are not done",
        "labelbox__backlog_daily",
        """
        with days as (
            select counted_from, max(date_day) as date_day
            from {marts}.labelbox__backlog_daily
            where date_day <= :until and {projects}
            group by counted_from
        )
        select sum(data_row_count) as value,
            'on ' || cast(max(b.date_day) as varchar) as note
        from {marts}.labelbox__backlog_daily as b
        join days using (counted_from, date_day)
        where counted_from = (select max(counted_from) from days)
            and step_kind <> 'done' and {projects}
        """,
        _figure,
    ),
    Card(
        "Cost",
        "labeling, review and rework",
        "labelbox__cost",
        """
        select sum(cost) as value,
            max(currency) || case when count(distinct currency) > 1
                then ' and others, added up' else '' end
            || case when count(*) > count(cost)
                then ', without hours that no rate fits' else '' end as note
        from {marts}.labelbox__cost
        where {period} and {projects}
        """,
        _figure,
    ),
)


# --- pictures ------------------------------------------------------------------


def _svg(chart: alt.Chart | alt.LayerChart) -> str:
    """Return a chart as SVG that fits its card, in the colors of the page."""
    # Not at the top: only whoever draws needs it, and it takes a while.
    import vl_convert  # noqa: PLC0415

    text = "currentColor"
    configured = (
        chart.configure(background="transparent", font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=text,
            titleColor=text,
            domainColor=text,
            tickColor=text,
            gridColor=text,
            gridOpacity=0.12,
            labelFontSize=13,
            titleFontSize=13,
            titleFontWeight="normal",
        )
    )
    return str(vl_convert.vegalite_to_svg(configured.to_dict()))


def _chart(rows: Sequence[Row], height: int = HEIGHT_PIXELS) -> alt.Chart:
    values = [{name: _plain(value) for name, value in row.items()} for row in rows]
    return alt.Chart({"values": values}).properties(width=WIDTH_PIXELS, height=height)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no date, no decimal number."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else float(value)


def _colors(names: Iterable[Any]) -> dict[str, str]:
    """Return a color for each name; what is left over has the last one."""
    names = {*names}
    known = sorted({str(name) for name in names} - {OTHERS})
    colors = {name: COLORS[n % (len(COLORS) - 1)] for n, name in enumerate(known)}
    return colors | ({OTHERS: COLORS[-1]} if OTHERS in names else {})


def _colored(field: str, colors: dict[str, str]) -> alt.Color:
    scale = alt.Scale(domain=[*colors], range=[*colors.values()])
    return alt.Color(f"{field}:N", legend=None, scale=scale)


def _key(colors: dict[str, str]) -> str:
    """Return which color is which: as text of the page, which is read on a phone."""
    items = "".join(
        f'<span><i style="background:{color}"></i>{escape(name)}</span>'
        for name, color in colors.items()
    )
    return f'<p class="key">{items}</p>'


def _with_others(rows: list[Row], name: str, weight: str) -> list[Row]:
    """Return rows in which only those who weigh most have a name of their own."""
    sums: dict[str, float] = {}
    for row in rows:
        sums[row[name]] = sums.get(row[name], 0) + float(row[weight] or 0)
    largest = sorted(sums, key=lambda key: (-sums[key], key))[:MAX_LABELERS]
    return [row | {name: row[name] if row[name] in largest else OTHERS} for row in rows]


def _throughput(rows: list[Row]) -> str:
    days = {row["date_day"] for row in rows}
    is_by_day = (max(days) - min(days)).days <= MAX_DAYS
    unit: Any = "utcyearmonthdate" if is_by_day else "utcyearweek"
    rows = _with_others(rows, "labeler", "label_count")
    colors = _colors(row["labeler"] for row in rows)
    svg = _svg(
        _chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("date_day:T", timeUnit=unit, title="day" if is_by_day else "week"),
            y=alt.Y("sum(label_count):Q", title="labels"),
            color=_colored("labeler", colors),
        )
    )
    return svg + _key(colors)


def _speed(rows: list[Row]) -> str:
    rows = _with_others(rows, "labeler", "label_count")
    colors = _colors(row["labeler"] for row in rows)
    rows = [row for row in rows if row["agreement"] is not None]
    if not rows:
        return ""
    shown = {row["labeler"] for row in rows}
    svg = _svg(
        _chart(rows)
        .mark_circle(opacity=0.85)
        .encode(
            x=alt.X("seconds_per_label:Q", title="seconds per label"),
            y=alt.Y("agreement:Q", title="agreement", scale=alt.Scale(domain=[0, 1])),
            size=alt.Size("label_count:Q", legend=None),
            color=_colored("labeler", colors),
        )
    )
    return svg + _key({n: c for n, c in colors.items() if n in shown})


def _classes(rows: list[Row]) -> str:
    rows = rows[:MAX_CLASSES]
    chart = _chart(rows, height=22 * len(rows)).mark_bar(color=COLORS[0])
    return _svg(
        chart.encode(
            x=alt.X("annotation_count:Q", title="objects"),
            y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=140)),
        )
    )


def _backlog(rows: list[Row]) -> str:
    colors = _colors(row["step_kind"] for row in rows)
    svg = _svg(
        _chart(rows)
        .mark_area()
        .encode(
            x=alt.X("date_day:T", title="day", scale=UTC),
            y=alt.Y("data_row_count:Q", title="data rows"),
            color=_colored("step_kind", colors),
        )
    )
    return svg + _key(colors)


def _pairs(rows: list[Row]) -> str:
    chart = _chart(rows, height=max(22 * len({row["labeler_b"] for row in rows}), 60))
    axis = alt.Axis(labelLimit=130)
    base = chart.encode(
        x=alt.X(
            "labeler_a:N", title=None, axis=alt.Axis(labelLimit=90, labelAngle=-35)
        ),
        y=alt.Y("labeler_b:N", title=None, axis=axis),
    )
    # One color, more or less of it: it is read on white and on black.
    color = alt.Color(
        "agreement:Q",
        legend=None,  # the numbers stand in the fields
        scale=alt.Scale(domain=[0, 1], range=["#d9dee6", "#6fa3dd"]),
    )
    text = base.mark_text(color="#101418", fontSize=12).encode(
        text=alt.Text("agreement:Q", format=".2f")
    )
    return _svg(base.mark_rect().encode(color=color) + text)


def _rework(rows: list[Row]) -> str:
    chart = _chart(rows).mark_line(
        color=COLORS[3], point=alt.OverlayMarkDef(color=COLORS[3])
    )
    return _svg(
        chart.encode(
            x=alt.X("date_week:T", title="week of the labels", scale=UTC),
            y=alt.Y(
                "rework_share:Q",
                title="share sent to rework",
                axis=alt.Axis(format="%"),
                scale=alt.Scale(domainMin=0),
            ),
        )
    )


def _drawing(rows: list[Row]) -> str:
    """Return the shapes of one data row over a frame of its size."""
    width = float(rows[0]["media_width"] or 0)
    height = float(rows[0]["media_height"] or 0)
    corners = ((row["name"], _points(row["geometry"])) for row in rows)
    shapes = [(name, points) for name, points in corners if points]
    every = [point for _, (points, _) in shapes for point in points]
    width = max([width, *(x for x, _ in every)])
    height = max([height, *(y for _, y in every)])
    names = sorted({str(name) for name, _ in shapes})
    color = _colors(names)
    stroke = max(width, height) / 200
    parts = [
        (
            f'<svg viewBox="0 0 {width:g} {height:g}" role="img" '
            'aria-label="Shapes of one data row">'
        ),
        f'<rect width="{width:g}" height="{height:g}" fill="#8884" />',
    ]
    for name, (points, is_closed) in shapes:
        tag = "polygon" if is_closed else "polyline"
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        fill = color[str(name)] if is_closed else "none"
        parts.append(
            f'<{tag} points="{path}" fill="{fill}" fill-opacity="0.18" '
            f'stroke="{color[str(name)]}" stroke-width="{stroke:g}" />'
        )
    return f"{''.join(parts)}</svg>{_key(color)}"


def _points(geometry: Any) -> tuple[list[tuple[float, float]], bool] | None:
    """Return the corners of a shape, and whether it is closed; None for any other."""
    match json.loads(geometry) if isinstance(geometry, str) else geometry:
        case {"bounding_box": {"left": x, "top": y, "width": width, "height": height}}:
            right, bottom = x + width, y + height
            return [(x, y), (right, y), (right, bottom), (x, bottom)], True
        case {"polygon": [*corners]}:
            return [(corner["x"], corner["y"]) for corner in corners], True
        case {"line": [*corners]}:
            return [(corner["x"], corner["y"]) for corner in corners], False
    return None


CARDS = (
    Card(
        "Labels by day and labeler",
        "labels made",
        "labelbox__throughput_daily",
        """
        select date_day, labeler, sum(label_count) as label_count
        from {marts}.labelbox__throughput_daily
        where {period} and label_count > 0 and {projects}
        group by date_day, labeler
        order by date_day, labeler
        """,
        _throughput,
    ),
    Card(
        "Speed against quality",
        "mean seconds per label, mean agreement; the larger, the more labels",
        "labelbox__labels",
        """
        select labeler, count(*) as label_count,
            avg(seconds_to_label) as seconds_per_label, avg(agreement) as agreement
        from {marts}.labelbox__labels
        where {period} and not is_skipped and {projects}
        group by labeler
        order by label_count desc, labeler
        """,
        _speed,
        empty="No label of this period was compared with another one.",
    ),
    Card(
        "What was drawn",
        "objects by class, in all labels there are now",
        "labelbox__class_distribution",
        """
        select feature_name as name, sum(annotation_count) as annotation_count
        from {marts}.labelbox__class_distribution
        where annotation_type = 'object' and annotation_count > 0 and {projects}
        group by feature_name
        order by annotation_count desc, name
        """,
        _classes,
        empty="Nothing was drawn.",
    ),
    Card(
        "What waits, by step of the workflow",
        "data rows at the end of each day",
        "labelbox__backlog_daily",
        """
        select date_day, step_kind, sum(data_row_count) as data_row_count
        from {marts}.labelbox__backlog_daily
        where {period} and step_kind <> 'done' and {projects}
            and counted_from = 'workflow_history'
        group by date_day, step_kind
        order by date_day, step_kind
        """,
        _backlog,
        empty="No history of the workflow in this period.",
    ),
    Card(
        "Agreement between labelers",
        "share of items in which two agree, of all labels there are now",
        "labelbox__agreement_pairs",
        """
        select labeler_a, labeler_b, sum(item_count) as item_count,
            cast(sum(agreed_count) as double precision) / sum(item_count) as agreement
        from {marts}.labelbox__agreement_pairs
        where item_count > 0 and {projects}
        group by labeler_a, labeler_b
        order by item_count desc, labeler_a, labeler_b
        limit 40
        """,
        _pairs,
        empty="No two people have labeled the same data row.",
    ),
    Card(
        "Rework",
        "share of the labels of a week whose data row was sent to rework later",
        "labelbox__labeler_weekly",
        """
        select date_week,
            cast(sum(reworked_count) as double precision)
                / sum(label_count - skipped_count) as rework_share
        from {marts}.labelbox__labeler_weekly
        where date_week between :since and :until and {projects}
        group by date_week
        having sum(label_count - skipped_count) > 0
        order by date_week
        """,
        _rework,
    ),
    Card(
        "One data row",
        "boxes, polygons and lines of the label with the most of them",
        "stg_labelbox__annotations",
        """
        with shapes as (
            select project_id, data_row_id, label_id, name, annotation_kind, geometry
            from {staging}.stg_labelbox__annotations
            where annotation_kind in
                ('ImageBoundingBox', 'ImagePolygon', 'ImagePolyline') and {projects}
        ),
        largest as (
            select project_id, data_row_id, label_id
            from shapes
            group by project_id, data_row_id, label_id
            order by count(*) desc, count(distinct annotation_kind) desc, label_id
            limit 1
        )
        select s.name, s.geometry, d.media_width, d.media_height
        from shapes as s
        join largest as l
            on l.project_id = s.project_id and l.data_row_id = s.data_row_id
            and l.label_id = s.label_id
        join {staging}.stg_labelbox__data_row_exports as d
            on d.project_id = s.project_id and d.data_row_id = s.data_row_id
        order by s.name
        """,
        _drawing,
        empty="No box, polygon or line was drawn on an image.",
    ),
)
