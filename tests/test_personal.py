"""Personal data is in the columns that its page lists, and in no other."""

from __future__ import annotations

import gzip
import hmac
import json
import re
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet  # type: ignore[import-untyped]  # it has no types
import pytest

from tap_labelbox.sandbox import ANCHOR, World
from tap_labelbox.streams import STREAMS
from tests.few_days import add_reviewed_labels
from tests.runner import PRIMARY_KEYS, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.runner import Runner

HINT = re.compile(r"personal data|\be-mails?\b", re.IGNORECASE)
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
    """Return the stream maps that it shows."""
    result = re.search(r"begin maps -->\n```json\n(.*?)```", section, re.DOTALL)
    assert result
    settings: dict[str, Any] = json.loads(result[1])
    return settings


@pytest.fixture
def people() -> World:
    """Return a workspace in which everybody does something, and rare cases occur."""
    return World(seed=1, projects=5)


def logged(world: World) -> Iterator[str]:
    """Yield what tells who somebody is."""
    for user in world.users:
        yield user.email
        yield user.name


@pytest.mark.usefixtures("whole_month")
def test_addresses_are_in_the_listed_columns_and_in_no_other(
    serving: Callable[..., Runner], people: World, section: str
) -> None:
    """Each of them has some."""
    add_reviewed_labels(people, people.projects[0].id)
    run = serving(people, unexportable=2)
    output = run(*PRIMARY_KEYS, all_columns=True)

    entries: dict[str, set[tuple[str, str]]] = {"addresses": set(), "names": set()}
    for line in section.split("\n"):
        if line.startswith("| `"):
            _, stream, plain, nested, names, *_ = line.split("|")
            for kind, cell in (("addresses", plain + nested), ("names", names)):
                found_in = re.findall(r"`(\w+)`", cell)
                entries[kind] |= {(stream.strip(" `"), column) for column in found_in}
    result = {
        (message["stream"], column)
        for message in output.messages
        if message["type"] == "RECORD"
        for column, value in message["record"].items()
        if ADDRESS.search(json.dumps(value, ensure_ascii=False))
    }
    assert result == entries["addresses"]
    read = {m["stream"] for m in output.messages if m["type"] == "RECORD"}
    # What there is is not known without what could not be exported.
    assert read == {*PRIMARY_KEYS} - {"data_row_presence", "label_presence"}
    by_name = {
        (message["stream"], column)
        for message in output.messages
        if message["type"] == "RECORD"
        for column, value in message["record"].items()
        if any(u.name in json.dumps(value, ensure_ascii=False) for u in people.users)
    }
    assert by_name
    assert by_name <= entries["names"]


def test_a_column_with_personal_data_is_declared() -> None:
    """By ``personal=``, of which all else follows; a description is not enough."""
    undeclared = [
        f"{stream.name}.{column.name}"
        for stream in STREAMS
        for column in stream.schema.columns
        if not column.personal
        and (
            re.search(r"(^|_)e?mails?$", column.name)
            or re.search(
                "personal data|e-mails? ", f"{column.description} ", re.IGNORECASE
            )
        )
    ]
    repeated = [
        f"{stream.name}.{column.name}"
        for stream in STREAMS
        for column in stream.schema.columns
        if column.personal
        and re.search("personal data", column.description, re.IGNORECASE)
    ]

    assert not undeclared, (
        "declare what they hold, as text(..., personal=EMAIL); also NAME, PICTURE, "
        "PEOPLE (JSON) and FREE_TEXT of tap_labelbox.records.columns"
    )
    assert not repeated, "leave that out of the description: it follows from personal"


# --- pseudonyms -------------------------------------------------------------------

SALT = "a long random text"
ON: dict[str, Any] = {"pseudonymize": True, "pseudonymize_salt": SALT}
NOW = ANCHOR + timedelta(days=1)
PSEUDONYM = re.compile(r"\b(?:email|name|picture)_[0-9a-f]{64}\b")


def originals(world: World) -> dict[str, str]:
    """Return whom each pseudonym stands for, as somebody with the salt computes it."""
    result = {}
    for user in world.users:
        parts = {"email": user.email, "name": user.name, "picture": user.picture or ""}
        for prefix, value in (*parts.items(), ("name", user.nickname)):
            digest = hmac.new(SALT.encode(), value.encode(), "sha256").hexdigest()
            result[f"{prefix}_{digest}"] = value
    return result


def by_key(output: Output, stream: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the records of a stream by their keys: exports come in no order."""
    keys = PRIMARY_KEYS[stream]
    return {tuple(r[key] for key in keys): r for r in output.records(stream)}


def test_pseudonyms_are_all_that_tells_who_somebody_is(
    serving: Callable[..., Runner], people: World, caplog: pytest.LogCaptureFixture
) -> None:
    """No address, name or salt gets out, and nothing but these is replaced."""
    caplog.set_level("DEBUG")
    run = serving(people)
    plain = run(*PRIMARY_KEYS, now=NOW, all_columns=True)
    caplog.clear()

    output = run(*PRIMARY_KEYS, now=NOW, all_columns=True, **ON)

    assert output.error is None
    assert not [text for text in (*logged(people), SALT) if text in output.text]
    assert not [text for text in (*logged(people), SALT) if text in caplog.text]
    assert not ADDRESS.search(output.text)
    who = originals(people)
    restored = Output(
        PSEUDONYM.sub(
            lambda result: who.get(result[0], "somebody's, masked"), output.text
        )
    )
    for stream in PRIMARY_KEYS.keys() - {"tasks"}:  # each run adds its exports there
        records = by_key(restored, stream)
        known = by_key(plain, stream)
        assert records.keys() == known.keys()
        for of, record in records.items():
            before = known[of]
            for column, value in record.items():
                if value != before[column]:
                    assert value == "somebody's, masked"
                    # Nor is one of them who is invited, or a program.
                    others = {"invitee_email", "service_account_email_id"}
                    assert column in others or "***" in before[column]


def test_pseudonyms_join(serving: Callable[..., Runner], people: World) -> None:
    """Labels with users, and what is within JSON with both."""
    output = serving(people)(all_columns=True, **ON)

    users = {row["email"] for row in output.records("users")}
    assert len(users) == len(people.users)
    labels = {row["created_by_email"] for row in output.records("labels")}
    assert labels
    assert labels < users
    assert {r["email"] for r in output.records("user_group_members")} < users
    for stream in ("data_row_exports", "export_labels", "bulk_export"):
        within = json.dumps([*output.records(stream)])
        assert labels <= {*PSEUDONYM.findall(within)} <= users


@pytest.mark.parametrize("form", BATCHES)
def test_batch_files_have_pseudonyms_as_well(
    serving: Callable[..., Runner], people: World, tmp_path: Path, form: str
) -> None:
    """Of rows as expected, which are not decoded, and of others."""
    run = serving(people, unexportable=2)
    for streams in (("data_row_exports",), (*PRIMARY_KEYS,)):
        storage = {"root": str(tmp_path / f"{len(streams)}")}
        batches = {"encoding": {"format": form}, "storage": storage}

        output = run(*streams, batch_config=batches, all_columns=True, **ON)

        assert output.error is None
        files = [*(tmp_path / f"{len(streams)}").iterdir()]
        text = "".join(BATCHES[form](path) for path in files)
        assert PSEUDONYM.search(text)
        assert not ADDRESS.search(text)
        assert not [person for person in logged(people) if person in text]


def test_maps_and_flattening_see_pseudonyms(
    serving: Callable[..., Runner], people: World
) -> None:
    """Whatever they do with them."""
    maps = {"data_row_exports": {"who": "created_by_email"}}
    output = serving(people)(
        "data_row_exports",
        "users",
        all_columns=True,
        stream_maps=maps,
        flattening_enabled=True,
        flattening_max_depth=2,
        **ON,
    )

    assert output.error is None
    users = {row["email"] for row in output.records("users")}
    assert {row["who"] for row in output.records("data_row_exports")} < users
    assert not ADDRESS.search(output.text)


def test_pseudonyms_are_off_by_default(
    serving: Callable[..., Runner], people: World
) -> None:
    """A salt alone changes nothing."""
    run = serving(people)

    plain, salted = run(now=NOW), run(now=NOW, pseudonymize_salt=SALT)

    assert not PSEUDONYM.search(plain.text)
    for stream in PRIMARY_KEYS:
        assert by_key(salted, stream) == by_key(plain, stream)


def test_pseudonyms_need_a_salt(run: Runner) -> None:
    """One line says so; blanks are none."""
    done = run.command(pseudonymize="true", pseudonymize_salt="  ")

    assert done.returncode == 78
    (line,) = [line for line in done.stderr.splitlines() if "pseudonymize" in line]
    assert "pseudonymize_salt is not set: set it to a long random text" in line
    assert not done.stdout


# --- stream maps ------------------------------------------------------------------


def test_settings_to_copy_leave_no_address(
    serving: Callable[..., Runner], people: World, to_copy: dict[str, Any]
) -> None:
    """In all that is written; the hash of somebody is the same in all streams."""
    run = serving(people)
    plain = run(all_columns=True)

    output = run(all_columns=True, **to_copy)

    assert not ADDRESS.search(output.text)
    assert not [text for text in logged(people) if text in output.text]
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

    output = run(all_columns=True, batch_config=batches, **to_copy)

    content = [BATCHES[form](path) for path in (tmp_path / "out").iterdir()]
    assert len(content) > 9
    for text in (output.text, *content):
        assert not ADDRESS.search(text)
        assert not [person for person in logged(people) if person in text]
