"""Filter projects as the settings say: by ID, name, tag, media type and shard."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from tap_labelbox.api.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from tap_labelbox.api.pagination import Row

FIELDS = {
    "project_names": "name",
    "project_tags": "_resource_tags",
    "media_types": "allowed_media_type",
}
"""The settings that look at a project, and the field of it that each looks at."""
SETTINGS = ("project_ids", "exclude_project_ids", *FIELDS)


@dataclass(frozen=True)
class Shard:
    """One of several runs that share the projects of an account.

    Each project is in one of them, by a hash of its ID, so that they need not know of
    each other. What is of no project belongs to the first.
    """

    index: int
    count: int
    project_ids: Collection[str] | None = None
    """Those that a plan has put here; None where the hash says it."""

    def takes_id(self, project_id: str) -> bool:
        """Return whether a project is read by this shard."""
        if self.project_ids is not None:
            return project_id in self.project_ids
        digest = sha256(project_id.encode()).hexdigest()
        return int(digest, 16) % self.count == self.index

    @property
    def is_first(self) -> bool:
        """True if it also reads what is of no project."""
        return self.index == 0


class ProjectFilter:
    """Chooses the projects that every setting lets through."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the settings; a project has to match one item of each."""
        self.requested: list[str] | None = config.get("project_ids")
        """The projects that are named one by one."""
        self.excluded: list[str] = config.get("exclude_project_ids") or []
        self.settings = [name for name in SETTINGS if config.get(name)]
        """The settings that leave out projects."""
        self.shard = Shard(**config.get("shard") or {"index": 0, "count": 1})
        """The part of the chosen projects that is read."""
        is_sharded = self.shard.count > 1 or self.shard.project_ids is not None
        self.is_more_than_ids = is_sharded or not {*self.settings} <= {"project_ids"}
        """Whether it is not the user alone who says which ones are read."""
        self.fields = {FIELDS[name] for name in self.settings if name in FIELDS}
        """The fields of a project that have to be known."""
        chosen = {name: [*map(_folded, config.get(name) or ())] for name in FIELDS}
        self._tests: list[Callable[[Row], bool]] = []
        if patterns := chosen["project_names"]:
            self._tests.append(lambda row: _is_like(row.get("name"), patterns))
        if tags := chosen["project_tags"]:
            self._tests.append(lambda row: not tags_of(row).isdisjoint(tags))
        if types := chosen["media_types"]:
            self._tests.append(lambda row: media_type_of(row) in types)

    def takes_id(self, project_id: str) -> bool:
        """Return whether a project is read as far as its ID decides."""
        return self._has_id(project_id) and self.shard.takes_id(project_id)

    def takes(self, row: Row) -> bool:
        """Return whether a project is read."""
        return self._chooses(row) and self.shard.takes_id(row["id"])

    def _chooses(self, row: Row) -> bool:
        """Return whether a project is read, be it by another shard."""
        return self._has_id(row["id"]) and all(test(row) for test in self._tests)

    def _has_id(self, project_id: str) -> bool:
        is_requested = self.requested is None or project_id in self.requested
        return is_requested and project_id not in self.excluded

    def refuse_unknown(self, dropped: Collection[str]) -> None:
        """Raise SettingsError if a setting looks at a field that Labelbox lacks."""
        names = [n for n in self.settings if FIELDS.get(n) in dropped]
        if names:
            msg = (
                f"{' and '.join(names)} cannot be used: Labelbox does not report that "
                "for projects; use project_ids instead"
            )
            raise SettingsError(msg)

    def refuse_none(self, rows: list[Row]) -> None:
        """Raise SettingsError if none of the projects that there are is chosen.

        Requested projects that do not exist are reported elsewhere, and a shard may
        have no project.
        """
        requested = [
            row for row in rows if self.requested is None or row["id"] in self.requested
        ]
        if not requested or any(map(self._chooses, requested)):
            return
        filters = [name for name in self.settings if name != "project_ids"]
        among = "requested projects" if self.requested else "projects that the key sees"
        names = " and ".join(filters)
        msg = f"{names} match none of the {len(requested)} {among}: correct or remove"
        verb = "them" if len(filters) > 1 else "it"
        if "media_types" in filters:
            types = sorted({*filter(None, map(media_type_of, requested))})
            msg = f"{msg} {verb} (their media types: {', '.join(types).upper()})"
        else:
            msg = f"{msg} {verb}"
        raise SettingsError(msg)


def tags_of(row: Row) -> set[str]:
    """Return the texts of a project's tags."""
    tags = row.get(FIELDS["project_tags"])
    return {
        _folded(tag["text"])
        for tag in (tags if isinstance(tags, list) else ())
        if isinstance(tag, dict) and isinstance(tag.get("text"), str)
    }


def media_type_of(row: Row) -> str:
    """Return a project's kind of data rows; "" if it has none."""
    return _folded(row.get(FIELDS["media_types"]))


def _is_like(name: Any, patterns: Iterable[str]) -> bool:
    folded = _folded(name)
    return any(fnmatchcase(folded, pattern) for pattern in patterns)


def _folded(text: Any) -> str:
    """Return a text as it is compared: not by its case, nor by how it is encoded."""
    return normalize("NFC", text).casefold() if isinstance(text, str) else ""
