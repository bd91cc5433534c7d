"""The tap reads what the official client reads, object by object."""

from __future__ import annotations

import logging
import warnings
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.sandbox import World
from tests.runner import Runner
from tests.test_ontologies import with_archived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from tap_labelbox.sandbox import Sandbox

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import labelbox  # type: ignore[import-untyped]  # it has no types

pytestmark = pytest.mark.filterwarnings("ignore")

OBJECT_FIELDS = ("name", "description", "created_at", "updated_at")


@pytest.fixture
def world() -> World:
    """Return a workspace with several pages of some lists."""
    return World(projects=6, labels=400)


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    """Serve it as it comes."""
    return start()


@pytest.fixture
def client(sandbox: Sandbox) -> Any:
    """Return Labelbox's own client."""
    logging.getLogger("labelbox").setLevel(logging.ERROR)
    return labelbox.Client(
        api_key=sandbox.api_key, endpoint=sandbox.url, rest_endpoint=sandbox.rest_url
    )


@pytest.fixture
def records(sandbox: Sandbox, world: World) -> Callable[[str], list[dict[str, Any]]]:
    """Return what reads a stream with the tap."""

    def read(name: str) -> list[dict[str, Any]]:
        output = Runner(sandbox, world)(name, page_size=50)
        assert output.error is None
        return output.records(name)

    return read


def fields(result: Iterable[Any], *names: str) -> list[dict[str, Any]]:
    """Return some fields of the client's objects, as the tap writes them."""
    return [
        {"id": single.uid} | {name: value(getattr(single, name)) for name in names}
        for single in result
    ]


def value(value: Any) -> Any:
    """Return a value of the client's as the tap writes it."""
    if hasattr(value, "astimezone"):
        return timestamp(value)
    return value.value if hasattr(value, "value") else value


def timestamp(value: datetime) -> str:
    """Return a timestamp in the tap's form."""
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def some(rows: Iterable[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Return some columns of records."""
    return [{name: row[name] for name in ("id", *names)} for row in rows]


def test_datasets(client: Any, records: Any) -> None:
    """With who made them, and what they are read with."""
    names = (*OBJECT_FIELDS, "row_count")
    mine, theirs = records("datasets"), list(client.get_datasets())

    assert some(mine, *names) == fields(theirs, *names)
    for record, dataset in zip(mine, theirs, strict=True):
        assert record["created_by_id"] == dataset.created_by().uid
        assert record["organization_id"] == dataset.organization().uid
        integration = dataset.iam_integration()
        assert record["iam_integration_id"] == (integration and integration.uid)


def test_data_rows(client: Any, records: Any) -> None:
    """Of all datasets, in the order that the client has them in."""
    names = (
        *("external_id", "global_key", "row_data", "media_attributes"),
        *("created_at", "updated_at", "metadata_fields"),
    )
    mine = records("data_rows")
    theirs = [
        (dataset.uid, row)
        for dataset in client.get_datasets()
        for row in dataset.data_rows()
    ]

    assert len(mine) > 400
    assert some(mine, *names) == fields((row for _, row in theirs), *names)
    assert [row["dataset_id"] for row in mine] == [uid for uid, _ in theirs]
    with_some = 0
    for record, (_, row) in list(zip(mine, theirs, strict=True))[:25]:
        assert record["created_by_id"] == row.created_by().uid
        attachments = [
            {
                "id": single.uid,
                "type": single.attachment_type,
                "name": single.attachment_name,
            }
            | {"value": single.attachment_value}
            for single in row.attachments()
        ]
        assert record["attachments"] == attachments
        with_some += bool(attachments)
    assert with_some


def test_slices_and_what_they_find(client: Any, records: Any) -> None:
    """With the search: conditions alone stand under query."""
    theirs = client.get_catalog_slices()
    mine = records("catalog_slices")

    assert some(mine, *OBJECT_FIELDS) == fields(theirs, *OBJECT_FIELDS)
    for record, single in zip(mine, theirs, strict=True):
        saved = single.filter
        saved = {"query": saved} if isinstance(saved, list) else saved
        assert record["filter"] == saved
    assert [
        (row["slice_id"], row["data_row_id"], row["global_key"])
        for row in records("catalog_slice_data_rows")
    ] == [
        (single.uid, row.to_hash()["id"], row.to_hash()["global_key"])
        for single in theirs
        for row in single.get_data_row_identifiers()
    ]


def test_metadata(client: Any, records: Any) -> None:
    """Fields and options."""
    theirs = client.get_data_row_metadata_ontology().fields
    mine = records("metadata_schema")

    assert [(r["id"], r["name"], r["kind"], r["reserved"]) for r in mine] == [
        (f.uid, f.name, f.kind.value, f.reserved) for f in theirs
    ]
    assert [
        (r["metadata_schema_id"], r["id"], r["name"], r["kind"], r["reserved"])
        for r in records("metadata_schema_options")
    ] == [
        (o.parent, o.uid, o.name, o.kind.value, o.reserved)
        for f in theirs
        for o in f.options or ()
    ]


def test_embeddings(client: Any, records: Any) -> None:
    """With the vectors of those that are custom."""
    mine = records("embedding_types")

    assert [(r["id"], r["name"], r["dims"], r["custom"]) for r in mine] == [
        (e.id, e.name, e.dims, e.custom) for e in client.get_embeddings()
    ]
    assert [r["vector_count"] for r in mine] == [
        e.get_imported_vector_count() if e.custom else None
        for e in client.get_embeddings()
    ]


def test_ontologies(client: Any, records: Any) -> None:
    """With their trees."""
    counts = ("object_schema_count", "classification_schema_count")
    names = (*OBJECT_FIELDS, "normalized", *counts)
    mine, theirs = records("ontologies"), list(client.get_ontologies(""))

    assert some(mine, *names) == fields(theirs, *names)
    for record, ontology in zip(mine, theirs, strict=True):
        assert record["created_by_id"] == ontology.created_by().uid
        # What the client knows no word for: null, for one.
        media = ontology.media_type.value
        assert record["media_type"] == (None if media == "UNKNOWN" else media)


def test_features(client: Any, records: Any) -> None:
    """Tools, questions and options as the client builds them, level by level."""

    def walk(single: Any, path: tuple[str, ...]) -> Iterable[tuple[Any, ...]]:
        path = (*path, single.feature_schema_id)
        label = getattr(single, "label", None)
        kind = getattr(single, "tool", None) or getattr(single, "class_type", None)
        kind = kind or getattr(single, "type", None)
        name = getattr(single, "name", None) if label is None else label
        yield "/".join(path), str(name), kind and kind.value, single.schema_id
        for inner in (
            *(getattr(single, "classifications", None) or ()),
            *(getattr(single, "options", None) or ()),
        ):
            yield from walk(inner, path)

    mine = [
        (r["ontology_id"], r["id"], r["name"], r["type"], r["schema_node_id"])
        for r in records("ontology_features")
        if r["kind"] in {"tool", "classification", "option"}
    ]

    assert mine == [
        (ontology.uid, *feature)
        for ontology in client.get_ontologies("")
        for root in (*ontology.tools(), *ontology.classifications())
        for feature in walk(root, ())
    ]


def test_archived_features(client: Any, sandbox: Sandbox, world: World) -> None:
    """One by one, as the client asks for each."""
    run = Runner(sandbox, world)
    output = run(catalog=with_archived(run))

    result = [
        r
        for r in output.records("ontology_features")
        if r["depth"] == 0 and r["is_archived"] is not None
    ]
    assert {r["is_archived"] for r in result} == {True, False}
    for record in result[::3]:
        ids = record["ontology_id"], record["feature_schema_id"]
        assert record["is_archived"] == client.is_feature_schema_archived(*ids)


def test_feature_schemas(client: Any, records: Any) -> None:
    """The client, too, puts the feature's ID in place of the node's."""
    theirs = [
        (schema.uid, schema.name, schema.normalized)
        for schema in client.get_feature_schemas("")
    ]

    assert [
        (r["id"], r["name"], r["normalized"]) for r in records("feature_schemas")
    ] == theirs
