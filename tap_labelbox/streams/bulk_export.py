"""The bulk export (v1): one file of labels a project, made on request."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from tap_labelbox.api.errors import (
    ExpiredLinkError,
    NotOfferedError,
    UnavailableError,
    absent,
)
from tap_labelbox.api.polling import poll
from tap_labelbox.api.prefetch import prefetch
from tap_labelbox.base.by_project import ProjectStream
from tap_labelbox.base.exported import ExportedStream
from tap_labelbox.exports import bulk
from tap_labelbox.exports.saved import Item, item_decoder
from tap_labelbox.records import timestamps
from tap_labelbox.records.columns import (
    EMAIL,
    PEOPLE,
    Table,
    additional_columns,
    agreement,
    boolean,
    derived,
    email,
    identifier,
    json,
    key,
    number,
    objects,
    text,
    timestamp,
    word,
)
from tap_labelbox.records.json_text import encode
from tap_labelbox.records.malformed import Malformed, described
from tap_labelbox.records.values import (
    as_id,
    as_integer,
    as_key,
    shortened_id,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from singer_sdk.helpers.types import Context, Record

    from tap_labelbox.base.stream import LabelboxStream
    from tap_labelbox.exports.saved import SavedFile
    from tap_labelbox.records.columns import Column

MAX_KNOWN_NAMES = 1000  # of members of items
MAX_LINK_ATTEMPTS = 3  # opened for one project before it is left out

SKIP = '"Skip"'  # as the label, in files of 2018, which have no column for it
FLAGS: dict[int | None, bool] = {0: False, 1: True}
WORD_BREAK = re.compile(r"(?<=[a-z])(?=[A-Z])|\s+")


class BulkExportStream(ProjectStream):
    """The labels of each project's newest bulk export file, if it is a new one.

    Which columns a file has depends on its age; its own spelling of each
    (``DataRow ID``) becomes snake_case.

    Good for accounts that still have the old export, and for files of it that were
    saved.
    """

    name = "bulk_export"
    replication_key = "exported_at"
    schema = Table.of(
        *derived(
            key("id", "Label ID."),
            key("project_id", "ID of the project."),
            timestamp(
                "exported_at",
                "When the file was made; at most every 30 minutes. The bookmark is "
                "kept by this column.",
                required=True,
            ),
        ),
        text(
            "label",
            "The annotations, as JSON text in the shape of their era: an "
            'object, an array of frames, or the string "Skip".',
        ),
        text(
            "row_data",
            "What is labeled: an address (which may expire), or the "
            "text or JSON itself.",
            "labeled_data",
        ),
        identifier("data_row_id", "ID of the data row."),
        text("external_id", "The data row's own ID where it comes from."),
        text("global_key", "The data row's own ID, unique in the organization."),
        text("dataset_name", "Name of the data row's dataset."),
        text("project_name", "Name of the project."),
        email(
            "created_by_email", "E-mail of the labeler.", "created_by", personal=EMAIL
        ),
        timestamp("created_at", "When it was made."),
        timestamp("updated_at", "Latest change to it."),
        number(
            "seconds_to_label",
            "Seconds spent labeling; the one figure for all, so that "
            "reviewing may be part of it.",
        ),
        number("seconds_to_create", "Seconds to create it: spent labeling."),
        number("seconds_to_review", "Seconds spent reviewing."),
        agreement(
            "agreement",
            "Consensus with other labels of the data row, 0 to 1; "
            "null where there is none.",
        ),
        agreement(
            "benchmark_agreement",
            "Agreement with the benchmark label, 0 to 1; null where there is none.",
        ),
        identifier(
            "benchmark_id",
            "ID of the benchmark, or of its label: no document says which.",
        ),
        identifier(
            "benchmark_reference_id",
            "Another ID of a benchmark, in files of early 2020.",
        ),
        boolean("has_open_issues", "Whether an issue on it is open."),
        boolean(
            "is_skipped",
            "Whether the labeler skipped the data row; null where the "
            "file does not say.",
            "skipped",
        ),
        objects("reviews", "Its reviews, as exported.", personal=PEOPLE),
        objects(
            "metadata_fields", "Its custom metadata, as exported.", "data_row_metadata"
        ),
        json("media_attributes", "All that is known of the file, as exported."),
        word(
            "media_type",
            "Kind of data row, such as image; not always in the words of "
            "media_asset_type.",
        ),
        word("data_split", "Part of a data split it belongs to, such as training."),
        text("view_label", "Address of the label in the app."),
        additional_columns(
            "What has no column here, or does not fit into it, by its name in the file."
        ),
    )

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Yield the labels of a project's file, or of files saved from the app."""
        for file in self.workspace.saved_files:
            yield from self._saved_records(file)
        yield from super().get_records(context)

    def _saved_records(self, file: SavedFile) -> Iterator[Record]:
        """Yield the items of a saved file, which may hold data rows as well.

        Streams of the data row export, if any are selected, log what else it holds.
        """
        if file.is_read and not file.items:
            return
        others = any(
            stream.selected and (isinstance(stream, ExportedStream) or stream.has_rows)
            for stream in cast("Iterable[LabelboxStream]", self.tap.streams.values())
        )
        try:
            exported_at = timestamps.isoformat(file.source.modified_at())
            for item in file.read(item_decoder(only_items=others)):
                if type(item) is Item:
                    yield self._exported(item.value, "", exported_at)
                elif isinstance(item, Malformed) and not others:
                    self.workspace.leave_out(file.name, item)
        except UnavailableError as error:
            self.workspace.record_failure(file.name, error)
            return
        if not others:
            for what in file.unread(data_rows=file.data_rows, items=True):
                self.logger.warning("%s: %s", file.name, what)

    def project_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Yield the labels of a project's newest file, unless the last run did."""
        try:
            yield from self._file_records(project_id, context)
        except NotOfferedError as error:
            self.refusals.is_offered = False
            self.workspace.note_gap(
                self.name,
                f"Labelbox does not offer the bulk export to this account ({error}): "
                "deselect bulk_export; its replacement is the data row export, in "
                "data_row_exports, export_labels and annotations",
            )

    def _file_records(self, project_id: str, context: Context) -> Iterator[Record]:
        """Read a file to its end; request it again if it does not come whole."""
        ask: Callable[[], dict[str, Any]] = next(self._prepared).result
        exported_at, done = "", 0  # of which file how many items
        for links_left in reversed(range(MAX_LINK_ATTEMPTS)):
            name = self.workspace.project_name(project_id)
            with self.workspace.progress.waiting(f"the bulk export of {name}"):
                export = ask()
            if exported_at != (made_at := _made_at(export)):
                exported_at, done = made_at, 0
            # Nor is an older one, which a server that lags behind may give: its rows
            # would stay, for the newer one is not read again.
            if exported_at <= (self.bookmark(context) or ""):
                self.logger.debug("Project %s has no new bulk export", project_id)
                return
            try:
                chunks = self.client.downloads.read(str(export["download_url"]))
                items = bulk.array_items(chunks, self.config["max_row_bytes"])
                for number, item in islice(enumerate(items, 1), done, None):
                    done = number
                    if isinstance(item, dict) and as_id(item.get("ID")):
                        yield self._exported(item, project_id, exported_at)
                        continue
                    row = Malformed(
                        f"item {number}", f"it has no ID ({described(item)})"
                    )
                    self.workspace.leave_out(
                        f"{self.name} of project {project_id}", row
                    )
            except (ExpiredLinkError, UnavailableError) as error:
                if not links_left:
                    raise UnavailableError(error) from None
                self.workspace.progress.warn(
                    "Project %s: %s; asking for its bulk export again",
                    project_id,
                    error,
                )
                ask = partial(self._export, project_id)
            else:
                self.advance(context, exported_at)
                return

    @cached_property
    def _prepared(self) -> Iterator[Future[dict[str, Any]]]:
        """The exports of all projects, asked for before their turn."""
        jobs = (
            partial(self._export, context["project_id"]) for context in self.partitions
        )
        return prefetch(jobs, self.max_in_flight, initial=self.max_in_flight)

    def _export(self, project_id: str) -> dict[str, Any]:
        """Start the export of a project if need be, and wait for its file."""

        def ready() -> dict[str, Any] | None:
            data = self.execute("export_labels", project_id=project_id)
            if not isinstance(export := data.get("exportLabels"), dict):
                raise absent("exportLabels")
            return export if bulk.is_ready(export) else None

        timeout = self.config["export_timeout"]
        return poll(
            ready,
            pause=self.client.sleep,
            interval=self.config["export_poll_interval"],
            timeout=timeout,
            progress_message=lambda: "Waiting for a bulk export",
            timeout_message=(
                f"the export was not ready after {timeout:g} s: raise export_timeout"
            ),
        )

    def _exported(self, row: Any, project_id: str, exported_at: str) -> Record:
        """Return the record of one item of the file, whatever its era."""
        record: Record = dict.fromkeys(self.columns)
        unmapped: dict[str, Any] = {}
        own = {
            "id": as_key(row["ID"]),
            "project_id": shortened_id(project_id),
            "exported_at": exported_at,
            "additional_columns": unmapped,
        }
        for name, value in row.items():
            if name == "ID" or value is None:
                continue
            known = self._column_of(name)
            if known and known.name not in own and record[known.name] is None:
                store(record, unmapped, known, _readable(known.name, value), name)
            else:
                unmapped[name] = value
        if record["is_skipped"] is None and record["label"] == SKIP:
            record["is_skipped"] = True
        return record | own

    @cached_property
    def _column_of(self) -> Callable[[str], Column | None]:
        """Returns the column of a name in a file, if there is one."""

        @lru_cache(MAX_KNOWN_NAMES)
        def column_of(name: str) -> Column | None:
            column = WORD_BREAK.sub("_", name).lower()
            return self.columns.get(self._by_path.get(column, column))

        return column_of


def _readable(column: str, value: Any) -> Any:
    """Return a value of a file in the form that its column has."""
    if column == "label":
        return encode(value).decode()
    if column == "has_open_issues":  # a number in files
        return FLAGS.get(as_integer(value), value)
    return value


def _made_at(export: dict[str, Any]) -> str:
    """Return the timestamp at which an export's file was made."""
    made_at = export.get("created_at")
    if not isinstance(made_at, str) or not timestamps.is_timestamp(made_at):
        msg = "Labelbox does not say when its bulk export was made"
        raise UnavailableError(msg)
    return timestamps.normalize(made_at)
