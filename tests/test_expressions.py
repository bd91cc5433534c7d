"""Expressions of stream maps that some record breaks, and `fake`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tap_labelbox.api.errors import SettingsError
from tap_labelbox.exit_codes import Ending, ending
from tests.test_cli import errors

if TYPE_CHECKING:
    from tap_labelbox.sandbox.world import Label
    from tests.runner import Runner


def labels(run: Runner) -> list[Label]:
    """Return all labels that the key may see."""
    return [x for p in run.world.projects for x in run.world.labels(p.id)]


def test_fake_with_faker(run: Runner) -> None:
    """The extra of that name installs it."""
    inputs = {"labels": {"created_by_email": "fake.email()"}}

    output = run("labels", stream_maps=inputs, faker_config={"seed": 1})

    people = {label.created_by.email for label in labels(run)}
    written = {record["created_by_email"] for record in output.records("labels")}
    assert output.error is None
    assert written
    assert not written & people


# What is wrong with an expression for some records, and what the line says of it.
BROKEN = [
    (
        "created_by_email",
        "md5(external_id)",
        (
            "where external_id is null, so write: "
            "md5(external_id) if external_id else None"
        ),
    ),
    (
        "external_id",
        "md5(self)",
        "where self is null, so write: md5(self) if self else None",
    ),
    (
        "hash",
        "md5(record['external_id'])",
        "write: md5(record['external_id']) if record['external_id']",
    ),
    (
        "hash",
        "agreement + 1 if id else 3",
        "(agreement + 1 if id else 3) if agreement is not None else None",
    ),
    ("__filter__", "agreement > 0.5", "agreement is not None and (agreement > 0.5)"),
    ("__filter__", "id > 0.5", "where id is a string: convert it, guard it"),
    ("hash", "seconds_to_label + id", "seconds_to_label is a number, id is a string"),
    ("hash", "id.nothing()", "(AttributeDoesNotExist); where id is a string"),
    ("hash", "int(id)", "(ValueError); where id is a string"),
    ("hash", "'x' * 999999999", "(IterableTooLong); convert it"),
]


@pytest.mark.parametrize(("column", "expression", "advice"), BROKEN)
def test_an_expression_that_a_record_breaks(
    run: Runner, column: str, expression: str, advice: str
) -> None:
    """One line names all there is to know, but no value; the next run reads the rest.

    What came before is written, and the state says no more than that.
    """
    known = labels(run)
    broken = known[len(known) // 2]
    for label in known:
        label.agreement, label.data_row.external_id = 0.7, "known"
    broken.agreement = broken.data_row.external_id = None
    key = "labels" if column == "hash" else "labe[l]s"

    before = run("labels", stream_maps={key: {column: expression}}, page_size=5)

    assert isinstance(before.error, SettingsError)
    assert ending(before.error) is Ending.CONFIG
    line = str(before.error)
    logged = f"stream_maps.labels.{column} cannot be evaluated: {expression}"
    assert line.startswith(logged)
    assert advice in line
    assert broken.id not in line
    assert "known" not in line
    after = run("labels", state=before.state, lookback_seconds=0)
    assert {*before.ids("labels"), *after.ids("labels")} == {item.id for item in known}


def test_a_broken_expression_is_one_line_of_the_command(run: Runner) -> None:
    """Without a traceback."""
    maps = {"projects": {"hash": "name + 1"}}

    done = run.command(stream_maps=maps)

    (line,) = errors(done)
    assert done.returncode == 78
    assert line.startswith("stream_maps.projects.hash cannot be evaluated: name + 1")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "expression",
    [
        "md5(external_id) if external_id else None",
        "md5(self) if self else None",
        "agreement is not None and (agreement > 0.5)",
    ],
)
def test_what_is_advised_works(run: Runner, expression: str) -> None:
    """With null and with values."""
    for number, label in enumerate(labels(run)):
        label.agreement = label.data_row.external_id = None
        if number % 2:
            label.agreement, label.data_row.external_id = 0.0, "known"

    output = run("labels", stream_maps={"labels": {"external_id": expression}})

    assert output.error is None
    assert output.records("labels")
