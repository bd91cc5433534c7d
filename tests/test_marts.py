"""The marts of the dbt package hold what the sandbox's world says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests import marts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.dbt_runs import Built

MARTS = marts.described()
DATABASES = ("duckdb", "postgres")
INCREMENTAL = ("labelbox__annotations", "labelbox__workflow_events")
COPIED = {
    "labelbox__annotations": {
        *("annotation_kind", "path", "feature_id", "page_number", "group_name"),
        *("message_id", "point_x", "point_y", "text_start", "text_end"),
    },
    "labelbox__features": {"path"},
}
"""Columns that are those of a stream; what they hold is compared elsewhere."""


def key(mart: str) -> list[str]:
    """Return the columns of a mart's key, as its tests have them."""
    for test in MARTS[mart].get("data_tests", ()):
        if "labelbox_key" in test:
            columns: list[str] = test["labelbox_key"]["arguments"]["columns"]
            return columns
    described = MARTS[mart]["columns"]
    return [c["name"] for c in described if "unique" in c.get("data_tests", ())]


def by_key(mart: str, rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], Any]:
    """Return the rows of a mart by its key, which no two of them share."""
    rows_by_key = {tuple(row[column] for column in key(mart)): row for row in rows}
    assert len(rows_by_key) == len(rows)
    return rows_by_key


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_holds_what_the_world_says(
    built: Callable[[str], Built], mart: str, database: str
) -> None:
    """After two runs of the tap, row by row and column by column."""
    made = built(database)
    expected, actual = by_key(mart, made.truth[mart]), by_key(mart, made.rows(mart, 1))
    if mart == "labelbox__features":  # of ontologies that no project uses, too
        used = {row["ontology_id"] for row in made.truth[mart]}
        actual = {k: row for k, row in actual.items() if row["ontology_id"] in used}

    assert expected
    assert actual.keys() == expected.keys()
    columns = [column["name"] for column in MARTS[mart]["columns"]]
    assert {*columns} == {*next(iter(actual.values()))}
    compared = {*columns} - COPIED.get(mart, set())
    assert compared == {*next(iter(expected.values()))}
    for row_key, row in expected.items():
        values = {
            name: pytest.approx(value) if isinstance(value, float) else value
            for name, value in row.items()
        }
        assert {name: actual[row_key][name] for name in compared} == values


def test_the_world_has_what_marts_are_about(built: Callable[[str], Built]) -> None:
    """So that no column is compared with nothing but zeros and nulls."""
    truth = built("duckdb").truth
    # No export of the sandbox tells how far labels agree with a benchmark.
    never = {"benchmark_agreement", "benchmarked_count"}

    for mart, rows in truth.items():
        for column in rows[0]:
            values = {row[column] for row in rows}
            assert values - {None, 0} or column in never, (mart, column)


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("mart", INCREMENTAL)
def test_an_incremental_mart_equals_a_full_refresh(
    built: Callable[[str], Built], mart: str, database: str
) -> None:
    """And is not what it was before the second run."""
    made = built(database)
    before, later, anew = (by_key(mart, made.rows(mart, build)) for build in range(3))

    assert later == anew
    assert before.keys() - later.keys()
    assert later.keys() - before.keys()


@pytest.mark.parametrize("mart", MARTS)
def test_marts_have_the_same_types_everywhere(
    built: Callable[[str], Built], mart: str
) -> None:
    """Integers stay integers, and nothing becomes a decimal."""
    types = [
        {
            re.sub("without time zone|precision", "", kind)
            .strip()
            .replace("varchar", "text")
            .replace("character varying", "text")
            for kind in built(database).types[f"analytics.{mart}"].values()
        }
        for database in DATABASES
    ]

    assert types[0] == types[1]
    assert types[0] <= {"text", "bigint", "double", "boolean", "date", "timestamp"}


def test_the_hardest_have_unit_tests(built: Callable[[str], Built]) -> None:
    """Which dbt has run."""
    for database in DATABASES:
        nodes = built(database).nodes[0]
        units = {name.split(".")[2] for name in nodes if name.startswith("unit_test.")}
        assert units == {
            "labelbox__agreement_pairs",
            "labelbox__training_set",
            "labelbox__workflow_events",
        }


@pytest.mark.parametrize("database", DATABASES)
def test_the_readme_answers_five_questions(
    built: Callable[[str], Built], database: str
) -> None:
    """As each database does."""
    questions = [text for _, text in marts.questions()]
    answers = built(database).answers

    assert len(answers) == 5
    for text, answer in zip(questions, answers, strict=True):
        assert sorted(text.splitlines()) == sorted(marts.table(answer).splitlines())
