"""Rows of a document, made records that match the schema of their stream."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.api.documents import Document
from tap_labelbox.base.bookmarks import BookmarkedStream
from tap_labelbox.records.malformed import Malformed, described, shortened
from tap_labelbox.records.pseudonyms import Pseudonymizer
from tap_labelbox.records.values import as_id, store
from tap_labelbox.redact import MASK, has_secret_name
from tap_labelbox.singer.state import PROJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from singer_sdk.helpers.types import Record

    from tap_labelbox.api.pagination import Row
    from tap_labelbox.records.columns import Column, Table

MAX_LOGGED_RECORDS = 10  # of a stream, with something that fits no column


class RecordStream(BookmarkedStream):
    """A stream whose records are made of the rows of a document."""

    primary_keys: tuple[str, ...] = ("id",)
    document = ""
    """The document that rows are read with; by default that of the stream's name."""
    nested_in = ""
    """The field with the rows in a row of the document: an alias with an underscore."""
    nested_key = ""
    """The column that has the ID of the row of the document."""
    alias_column = ""
    """The column that has the alias of a nested row; these are not a list then."""
    place = ""
    """The column that has the place in the list, from 0."""
    _unmapped_records = 0  # records with something that fits no column

    @property
    def document_name(self) -> str:
        """The document that the rows are read with."""
        return self.document or self.name

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns by their names, in the schema's order."""
        columns = cast("Table", type(self).schema).columns
        return {column.name: column for column in columns}

    @property
    def unselected_columns(self) -> list[str]:
        """The columns that are not selected by default."""
        return [name for name, column in self.columns.items() if not column.selected]

    @cached_property
    def _by_path(self) -> dict[str, str]:
        """The names of the columns by where in a row their values are."""
        columns = self.columns.values()
        return {path: column.name for column in columns for path in column.paths}

    def explode(self, row: Row) -> Iterable[Any]:
        """Return what becomes a record each of a row of the document: the row itself.

        Of a stream whose rows are nested, these. Where Labelbox says how many
        there are, and gives fewer, a warning says so.
        """
        if not self.nested_in:
            return [row]
        items: Any = row.get(self.nested_in)
        total = None
        if isinstance(items, dict) and self.alias_column:
            items = [
                {self.alias_column: alias} | (item or {})
                if isinstance(item, dict | None)
                else item
                for alias, item in items.items()
            ]
        elif isinstance(items, dict):
            items, total = items.get("nodes"), items.get("count")
        if not isinstance(items, list):
            items = [] if items is None else [items]
        if isinstance(total, int) and total > len(items):
            self.workspace.note_gap(
                f"{self.name} of {self.nested_key} {shortened(row['id'])}",
                f"Labelbox gives {len(items)} of {total}, and no more can be asked for",
            )
        elif self._nested_limit and len(items) >= self._nested_limit:
            self.workspace.note_gap(
                f"{self.name} of {self.nested_key} {shortened(row['id'])}",
                f"Labelbox gives {len(items)} at most, and there may be others",
            )
        above = {PROJECT_ID} & self.columns.keys() & row.keys()
        own = {column: row[column] for column in above}
        own[self.nested_key] = row["id"]
        return [
            item | own | self._placed(number) if isinstance(item, dict) else item
            for number, item in enumerate(items)
        ]

    @cached_property
    def _nested_limit(self) -> int:
        """The most nested rows that Labelbox is asked for in a row; 0 for all."""
        nested = re.compile(rf"\b{self.nested_in}:\s*\w+\s*\([^()]*\bfirst:\s*(\d+)")
        result = nested.search(Document.load(self.document_name).text)
        return int(result[1]) if result else 0

    def _placed(self, number: int) -> Row:
        return {self.place: number} if self.place else {}

    def records(self, row: Row) -> Iterator[Record]:
        """Yield the records of a row of the document; malformed ones are left out."""
        for item in self.explode(row):
            if not isinstance(item, dict):
                self.leave_out_item(row, f"{described(item)}, not an object")
                continue
            record = self.record(item)
            if lacking := [c for c in self._required if record[c] in (None, "")]:
                why = f"it has no {' and no '.join(lacking)} ({described(item)})"
                self.leave_out_item(row, why)
            else:
                yield record

    def leave_out_item(self, row: Any, why: str) -> None:
        """Log that a row, or one within it, is left out."""
        row_id = as_id(row.get("id")) if isinstance(row, dict) else None
        where = f"item {shortened(row_id)}" if row_id else "an item"
        where = f"an item within {row_id}" if self.nested_in else where
        self.workspace.leave_out(self.name, Malformed(where, why))

    @cached_property
    def _required(self) -> list[str]:
        """The columns that every record has."""
        return list(self.schema.get("required", ()))

    def record(self, row: Row) -> Record:
        """Return the record of a row, and log what of it does not fit."""
        record = self.to_record(row)
        self.log_unmapped(record)
        return record

    def to_record(self, row: Row) -> Record:
        """Return a row in the stream's columns, null where it has nothing.

        What hangs on a relation becomes flat: ``created_by: {id}`` is the column
        ``created_by_id``. What does not fit its column goes to ``additional_columns``.
        """
        unmapped: Row = {}
        record: Record = dict.fromkeys(self.columns)
        record["additional_columns"] = unmapped
        flat: list[tuple[str, str, Any]] = []
        for name, value in row.items():
            if name.startswith("_"):  # rows of another stream
                continue
            if isinstance(value, dict) and name not in self.columns:
                for key, inner in value.items():
                    path = f"{name}.{key}"
                    column = self._by_path.get(path, f"{name}_{key}")
                    flat.append((column, path, inner))
            else:
                flat.append((self._by_path.get(name, name), name, value))
        for column, path, value in flat:
            if value is None:
                continue
            known = self.columns.get(column)
            aside = path if column in unmapped else column
            if known and known.paths:
                store(record, unmapped, known, value, aside)
            else:
                unmapped[aside] = self._put_aside(column, value)
        for column, outer, member in self._inner_columns:
            record[column] = self.columns[column].kind.check(
                (record[outer] or {}).get(member)
            )
        return record

    def _put_aside(self, column: str, value: Any) -> Any:
        """Return a value that does not fit its column, without what may be secret."""
        if known := self.columns.get(column):
            return known.kind.put_aside(value)
        return MASK if has_secret_name(column) else value

    @cached_property
    def _inner_columns(self) -> list[tuple[str, str, str]]:
        """The columns that have a member of the object in another column, and which."""
        places = ((name, path.partition(".")) for path, name in self._by_path.items())
        return [
            (name, outer, member)
            for name, (outer, dot, member) in places
            if dot and outer in self.columns
        ]

    def log_unmapped(self, record: Record) -> None:
        """Log which values of a record fit no column, for the first such records."""
        if not record["additional_columns"]:
            return
        self._unmapped_records += 1
        if self._unmapped_records > MAX_LOGGED_RECORDS:
            return
        is_last = self._unmapped_records == MAX_LOGGED_RECORDS
        keys = (record[key] for key in type(self).primary_keys)
        self.logger.warning(
            "%s %s: %s does not fit its column: see additional_columns%s",
            self.name,
            " ".join(map(shortened, keys)),
            ", ".join(map(shortened, record["additional_columns"])),
            " (further ones are not logged)" if is_last else "",
        )

    @cached_property
    def replace(self) -> Callable[[Record], Record] | None:
        """Puts pseudonyms into records, if the settings ask for that."""
        pseudonyms = self.workspace.pseudonyms
        if pseudonyms is None:
            return None
        return Pseudonymizer(self.columns.values(), pseudonyms)
