"""The features of an ontology, out of the tree that Labelbox keeps them in.

A tool has ``classifications``, a question ``options``, and an option more questions,
under ``options`` again. Lists of other names are unfolded just the same.
"""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING, Any

from tap_labelbox.records.columns import MAX_ID_PATH_BYTES, snake_case
from tap_labelbox.records.values import as_id, as_string_or_number, shortened_id

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]

KINDS = {
    "tools": "tool",
    "classifications": "classification",
    "options": "option",
    "relationships": "relationship",
}
"""What the items of a list are, by its name; those of other lists have that name."""

VALUES = frozenset({"attributes", "definition"})
"""Lists, and what may have some inside, that are a value of the feature itself."""

NAMES = ("name", "label", "value", "instructions")
"""What may have the name of a feature; the first that has one counts."""


def unfold(tree: Row, **made: Any) -> Iterator[Any]:
    """Yield the features of an ontology, each before those that hang under it.

    Each is what Labelbox says of it, by names in snake case, with ``id``,
    ``parent_id``, ``kind``, ``depth``, ``order`` and ``path``. What would be called
    the same as one of these is called ``normalized.<name>``. An item of a list that
    is not an object is yielded as it is.

    Args:
        tree: The ontology.
        **made: More that each of them has.
    """
    used = set[str]()
    # A stack: a tree may be deeper than Python likes to go.
    left = [_children(tree, parent_id=None, pieces=(), names=())]
    while left:
        if (child := next(left[-1], None)) is None:
            left.pop()
            continue
        place, pieces, names, node = child
        if not isinstance(node, dict):
            yield node
            continue
        kind = place["kind"]
        pieces, name = (*pieces, _piece(node, kind)), name_of(node)
        names = (*names, name) if name else names
        own_id = _unused("/".join(pieces), used)
        path = " / ".join(names) or None
        yield _feature(node, made | place | {"id": own_id, "name": name, "path": path})
        left.append(_children(node, own_id, pieces, names))


def root(tree: Row) -> Row:
    """Return what a feature that stands by itself is: its ID, its kind and its type."""
    kind = {"tool": "tool", "type": "classification"}
    return {
        "id": as_id(tree.get("featureSchemaId")),
        "kind": next((kind[key] for key in kind if tree.get(key) is not None), None),
        "type": next((tree[key] for key in kind if tree.get(key) is not None), None),
    }


def archived(reply: Any) -> dict[str, Any]:
    """Return which root features are archived, by a reply of the REST API."""
    nodes = reply.get("featureSchemaNodes") if isinstance(reply, dict) else None
    lists = nodes.values() if isinstance(nodes, dict) else ()
    return {
        node_id: node["archived"]
        for items in lists
        for node in (items if isinstance(items, list) else ())
        if isinstance(node, dict)
        and (node_id := as_id(node.get("featureSchemaId")))
        and node.get("archived") is not None
    }


def name_of(node: Row) -> str | None:
    """Return what people call a feature; None if nothing says it."""
    texts = (as_string_or_number(node.get(name)) for name in NAMES)
    return next(filter(None, texts), None)


def _children(
    node: Row, parent_id: str | None, pieces: tuple[str, ...], names: tuple[str, ...]
) -> Iterator[tuple[Row, tuple[str, ...], tuple[str, ...], Any]]:
    """Yield what stands in the lists of a feature, or of the ontology, and where.

    Lists come in an order of their own, so that IDs do not depend on theirs.
    """
    lists = sorted(filter(lambda name: _is_list(name, node[name]), node))
    lists.sort(key=lambda name: [*KINDS, name].index(name))
    for name in lists:
        items = node[name] if isinstance(node[name], list) else [node[name]]
        for order, item in enumerate(items):
            place: Row = {"parent_id": parent_id, "kind": KINDS.get(name, name)}
            place |= {"depth": len(pieces), "order": order}
            yield place, pieces, names, item


def _is_list(name: str, value: Any) -> bool:
    """Return whether a value has features: a list of them, or just one."""
    if name in KINDS:
        return value is not None
    if name in VALUES or not isinstance(value, list):
        return False
    return not value or any(isinstance(item, dict) for item in value)


def _piece(node: Row, kind: str) -> str:
    """Return what distinguishes a feature from its siblings."""
    known = as_id(node.get("featureSchemaId")) or as_id(node.get("schemaNodeId"))
    return known or f"{kind}:{name_of(node) or ''}"


def _unused(own_id: str, used: set[str]) -> str:
    """Return an ID that no other feature of the ontology has."""
    names = chain([own_id], (f"{own_id}#{number}" for number in count(2)))
    paths = (shortened_id(name, MAX_ID_PATH_BYTES) for name in names)
    result = next(path for path in paths if path not in used)
    used.add(result)
    return result


def _feature(node: Row, made: Row) -> Row:
    """Return a feature without those that hang under it."""
    result = dict(made)
    values = {key: value for key, value in node.items() if not _is_list(key, value)}
    if values.get("tool") is not None:
        result["type"] = values.pop("tool")
    values.pop("tool", None)
    if as_string_or_number(values.get("name")) is not None:  # or else it is not a name
        del values["name"]
    for key, value in values.items():
        column = snake_case(key)
        result[f"normalized.{key}" if column in result else column] = value
    return result
