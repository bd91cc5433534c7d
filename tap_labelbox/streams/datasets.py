"""The catalog: datasets, data rows, slices, metadata and embeddings."""

from __future__ import annotations

from tap_labelbox.base.newest_first import NewestFirstCursorStream
from tap_labelbox.base.rest import RestColumn
from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    boolean,
    identifier,
    integer,
    key,
    objects,
    table,
    text,
    timestamp,
    word,
)
from tap_labelbox.records.json_columns import json_or_text, saved_search


class DatasetsStream(LabelboxStream):
    """Every dataset; the whole table each time.

    Good for where data rows come from, and how many there are.
    """

    name = "datasets"
    schema = table(
        key("id", "Dataset ID."),
        text("name", "Its name."),
        text("description", "Free text."),
        integer("row_count", "Data rows of the dataset, as last counted."),
        identifier("created_by_id", "ID of the user who made it."),
        identifier("organization_id", "ID of the organization."),
        identifier(
            "iam_integration_id", "ID of the integration its files are read with."
        ),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
    )


class DataRowsStream(NewestFirstCursorStream):
    """Every data row of every dataset, in a project or not.

    Good for what has not been sent to a project yet. Changes to rows that have been
    read are not seen, nor that they were deleted.
    """

    name = "data_rows"
    parents = DatasetsStream.name
    replication_key = "created_at"
    max_page_rows = 500
    selected_by_default = False
    schema = table(
        key("id", "Data row ID."),
        identifier("dataset_id", "ID of the dataset."),
        text("external_id", "The data row's own ID where it comes from."),
        text("global_key", "The data row's own ID, unique in the organization."),
        text(
            "row_data",
            "What is labeled: an address (which may expire), or the text or JSON "
            "itself.",
        ),
        json_or_text("media_attributes", "All that is known of the file."),
        objects("metadata_fields", "Its custom metadata."),
        objects("attachments", "What labelers were shown with it."),
        identifier("created_by_id", "ID of the user who uploaded it."),
        timestamp(
            "created_at",
            "When it was uploaded. The bookmark is kept by this column, for each "
            "dataset.",
        ),
        timestamp("updated_at", "Latest change to it."),
    )


class CatalogSlicesStream(LabelboxStream):
    """Every slice: a search that is saved in the catalog.

    Good for what people look for.
    """

    name = "catalog_slices"
    schema = table(
        key("id", "Slice ID."),
        text("name", "Its name, which others may have as well."),
        text("description", "Free text."),
        saved_search(
            "filter", "The saved search; a list of conditions stands under query."
        ),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
    )


class CatalogSliceDataRowsStream(LabelboxStream):
    """Every data row that a slice finds now; the whole table each time.

    Good for counting and labeling by slice.
    """

    name = "catalog_slice_data_rows"
    parents = CatalogSlicesStream.name
    primary_keys = ("slice_id", "data_row_id")
    selected_by_default = False
    schema = table(
        key("slice_id", "ID of the slice."),
        key("data_row_id", "ID of the data row."),
        text("global_key", "The data row's own ID, unique in the organization."),
    )


class MetadataSchemaStream(LabelboxStream):
    """Every field of custom metadata.

    Good for the names and kinds of what data rows are described with.
    """

    name = "metadata_schema"
    schema = table(
        key("id", "Field ID."),
        text("name", "Its name."),
        word(
            "kind",
            "CustomMetadataNumber, -DateTime, -Enum, -String or -Embedding.",
        ),
        boolean("reserved", "Whether it is Labelbox's own."),
    )


class MetadataSchemaOptionsStream(LabelboxStream):
    """Every option of every field that has some.

    Good for names in place of the IDs that data rows hold.
    """

    name = "metadata_schema_options"
    document = MetadataSchemaStream.name
    nested_in, nested_key = "_options", "metadata_schema_id"
    place = "order"
    primary_keys = ("metadata_schema_id", "id")
    schema = table(
        key("metadata_schema_id", "ID of the metadata field that has it."),
        key("id", "Option ID: what data rows hold."),
        text("name", "Its name."),
        word("kind", "CustomMetadataEnumOption."),
        boolean("reserved", "Whether it is Labelbox's own."),
        integer("order", "Place in its list, from 0."),
    )


class EmbeddingTypesStream(LabelboxStream):
    """Every kind of embedding, uploaded or computed by Labelbox.

    Good for how much of the data can be searched by likeness.
    """

    name = "embedding_types"
    needed = frozenset({"custom"})
    rest_column = RestColumn(
        "vector_count",
        # The first adv is where the service lies, the second is its own.
        "/adv/adv/v1/embeddings/{id}/vectors/_count",
        condition="custom",
    )
    schema = table(
        key("id", "Embedding ID."),
        text("name", "Its name."),
        integer("dims", "Numbers in a vector."),
        boolean("custom", "Whether it is uploaded; else Labelbox computes it."),
        integer(
            "vector_count",
            "Vectors uploaded; null where it is not custom. Takes a request each.",
            "rest.count",
        ),
    )
