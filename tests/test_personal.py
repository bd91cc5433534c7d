"""Where personal data is: in the columns that its page lists, and in no other."""

from __future__ import annotations

import gzip
import json
import re
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet  # type: ignore[import-untyped]  # it has no types
import pytest

from tap_labelbox.sandbox import World
from tests.runner import PRIMARY_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runner import Runner

PAGE = Path(__file__).parent.parent / "docs" / "personal-data.md"
ADDRESS = re.compile(r"[^\s\"'<>]+@[^\s\"'<>]+\.\w+")
BATCHES = {
    "jsonl": lambda path: gzip.decompress(path.read_bytes()).decode(),
    "parquet": lambda path: str(pyarrow.parquet.read_table(path).to_pylist()),
}


@pytest.fixture
def section() -> str:
    """Return the page about it."""
    return PAGE.read_text("utf-8")


@pytest.fixture
def to_copy(section: str) -> dict[str, Any]:
    """Return the settings that it shows."""
    found = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert found
    settings: dict[str, Any] = json.loads(found[1])
    return settings


@pytest.fixture
def people() -> World:
    """Return a workspace in which everybody does something, and odd things happen."""
    return World(seed=1, projects=5)


def told(world: World) -> Iterator[str]:
    """Yield what tells who somebody is."""
    for user in world.users:
        yield user.email
        yield user.name


def test_addresses_are_in_the_listed_columns_and_in_no_other(
    serving: Callable[..., Runner], people: World, section: str
) -> None:
    """Each of them has some."""
    for _ in range(9):  # for reports, which go back a month
        people.add_label(people.projects[0].id)
    run = serving(people, unexportable=2)
    output = run(*PRIMARY_KEYS, all_columns=True)

    listed: dict[str, set[tuple[str, str]]] = {"addresses": set(), "names": set()}
    for line in section.split("\n"):
        if line.startswith("| `"):
            _, stream, plain, nested, names, _ = line.split("|")
            for kind, cell in (("addresses", plain + nested), ("names", names)):
                found_in = re.findall(r"`(\w+)`", cell)
                listed[kind] |= {(stream.strip(" `"), column) for column in found_in}
    found = {
        (message["stream"], column)
        for message in output.messages
        if message["type"] == "RECORD"
        for column, value in message["record"].items()
        if ADDRESS.search(json.dumps(value, ensure_ascii=False))
    }
    assert found == listed["addresses"]
    read = {m["stream"] for m in output.messages if m["type"] == "RECORD"}
    # What there is cannot be told without what could not be exported.
    assert read == {*PRIMARY_KEYS} - {"data_row_presence", "label_presence"}
    named = {
        (message["stream"], column)
        for message in output.messages
        if message["type"] == "RECORD"
        for column, value in message["record"].items()
        if any(u.name in json.dumps(value, ensure_ascii=False) for u in people.users)
    }
    assert named
    assert named <= listed["names"]


def test_settings_to_copy_leave_no_address(
    serving: Callable[..., Runner], people: World, to_copy: dict[str, Any]
) -> None:
    """In all that is written; the hash of somebody is the same in all streams."""
    run = serving(people)
    plain = run()

    output = run(**to_copy)

    assert not ADDRESS.search(output.text)
    assert not [text for text in told(people) if text in output.text]
    hashes: dict[str, set[str]] = {}
    for stream, columns in to_copy["stream_maps"].items():
        key = itemgetter(*PRIMARY_KEYS[stream])
        mapped = {key(row): row for row in output.records(stream)}
        for row in plain.records(stream):
            for column, rule in columns.items():
                if rule == "__NULL__":
                    assert column not in mapped[key(row)]
                elif row[column] is None:
                    assert mapped[key(row)][column] is None
                else:
                    hashes.setdefault(row[column], set()).add(mapped[key(row)][column])
    assert len(hashes) > len(people.labelers)
    assert len(set.union(*hashes.values())) == len(hashes)


@pytest.mark.parametrize("form", BATCHES)
def test_batch_files_have_no_address_either(
    serving: Callable[..., Runner],
    people: World,
    to_copy: dict[str, Any],
    tmp_path: Path,
    form: str,
) -> None:
    """In both formats."""
    run = serving(people, unexportable=2)
    storage = {"root": str(tmp_path / "out")}
    batches = {"encoding": {"format": form}, "storage": storage}

    output = run(batch_config=batches, **to_copy)

    content = [BATCHES[form](path) for path in (tmp_path / "out").iterdir()]
    assert len(content) > 9
    for text in (output.text, *content):
        assert not ADDRESS.search(text)
        assert not [person for person in told(people) if person in text]
