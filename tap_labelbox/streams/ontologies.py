"""Ontologies, what is in them, and the schemas that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_labelbox.base.rest import RestColumn
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records import features
from tap_labelbox.records.columns import (
    MAX_ID_PATH_BYTES,
    boolean,
    id_path,
    identifier,
    integer,
    key,
    objects,
    table,
    text,
    timestamp,
    word,
)
from tap_labelbox.records.json_columns import as_json_object, json_or_text
from tap_labelbox.records.values import as_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_labelbox.api.pagination import Row


class OntologiesStream(LabelboxStream):
    """Every ontology, archived ones included.

    Good for which questions projects ask; their trees are in rows in
    ontology_features.
    """

    name = "ontologies"
    schema = table(
        key("id", "Ontology ID."),
        text("name", "Its name."),
        text("description", "Free text."),
        word("media_type", "Kind of data row, such as IMAGE."),
        integer("object_schema_count", "Tools in it."),
        integer("classification_schema_count", "Questions in it."),
        json_or_text("normalized", "The tree, all that is nested in it included."),
        identifier("created_by_id", "ID of the user who made it."),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
    )


class OntologyFeaturesStream(LabelboxStream):
    """Every tool, question, option and relationship of every ontology.

    Good for names and colors in place of IDs, and for what nobody ever picks.
    """

    name = "ontology_features"
    document = OntologiesStream.name
    nested_in, nested_key = "normalized", "ontology_id"
    primary_keys = ("ontology_id", "id")
    rest_column = RestColumn("is_archived", "/api/v1/ontologies/{id}")
    schema = table(
        key("ontology_id", "ID of the ontology."),
        id_path(
            "id",
            "Where the feature hangs: the feature schema IDs on the way down, joined "
            "with a slash; without one it is the node's, or kind and name. What hangs "
            "in the same place twice ends with #2, and what has more than "
            f"{MAX_ID_PATH_BYTES} bytes with its SHA-256. Stays when names and order "
            "change.",
            required=True,
        ),
        id_path("parent_id", "Where the feature above it hangs; null at the top."),
        word(
            "kind",
            "The list it is in: tool, classification, option or relationship, or else "
            "its name. A question under an option is in options too; its type says so.",
        ),
        integer("depth", "How deep it is nested; 0 at the top."),
        integer("order", "Place in its list, from 0."),
        text("path", "Names on the way down to its own, joined with a slash."),
        text("name", "What people call it."),
        text("label", "Text of an option."),
        text("value", "Name as a program would write it."),
        word("type", "rectangle, polygon … of a tool; radio, text … of a question."),
        identifier("feature_schema_id", "ID of its class or question in the ontology."),
        identifier("schema_node_id", "ID of the schema node."),
        text("instructions", "The question as it is shown."),
        boolean("required", "Whether it must be answered."),
        word("color", "Its color: #rrggbb, or a word."),
        word("scope", "global or index; null for nested ones."),
        word("ui_mode", "hotkey or searchable."),
        boolean("is_likert_scale", "Whether it is a radio shown as a scale."),
        integer("position", "Place of an option, as Labelbox reports it."),
        integer("min_characters", "The fewest characters of a text."),
        integer("max_characters", "The most characters of a text."),
        objects("attributes", "Further properties."),
        json_or_text("definition", "Variants or constraints of special tools."),
        boolean(
            "is_archived",
            "Whether it is archived; null below the top. Takes a request for each "
            "ontology.",
            "archived",
            selected=False,
        ),
    )

    def explode(self, row: Row) -> Iterable[Any]:
        """Return the features of an ontology, with what the REST API says of them."""
        if (tree := row.get(self.nested_in)) is None:
            return []
        if (ontology := as_json_object(tree)) is None:
            return [tree]
        archived = features.archived(row.get("rest"))
        items = list(features.unfold(ontology, ontology_id=row["id"]))
        for item in items:
            if isinstance(item, dict) and item["parent_id"] is None:
                feature_id = as_id(item.get("feature_schema_id")) or ""
                item["archived"] = archived.get(feature_id, item.get("archived"))
        return items


class FeatureSchemasStream(LabelboxStream):
    """Every feature schema at the root, which any number of ontologies may share.

    Good for finding what is used twice, and what nowhere.
    """

    name = "feature_schemas"
    needed = frozenset({"normalized"})
    schema = table(
        key(
            "id",
            "Feature schema ID: what annotations refer to. The node's where none is "
            "reported.",
        ),
        identifier("schema_node_id", "ID of the schema node."),
        text("name", "Its name."),
        word("kind", "tool or classification."),
        word("type", "rectangle, radio and so on."),
        json_or_text("normalized", "The tree, all that is nested in it included."),
    )

    def explode(self, row: Row) -> Iterable[Any]:
        """Return the row by the ID of the feature, which is in the tree."""
        tree = as_json_object(row.get("normalized")) or {}
        root = features.root(tree)
        own_id = as_id(row["id"])
        return [row | root | {"id": root["id"] or own_id, "schema_node_id": own_id}]
