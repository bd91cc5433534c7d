"""A workspace made up from a seed: people, projects, data rows, labels.

The same arguments give the same workspace, on any machine. What a label or a
data row says is in `content`; it is only written when somebody asks for it.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from tap_labelbox.sandbox import catalog, content, notation
from tap_labelbox.sandbox.models import add_models
from tap_labelbox.sandbox.people import People

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]  # an object that only has fields, named as GraphQL names them

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)  # everything was made before
DAY = timedelta(days=1)
SAME_SECOND_SHARE = 0.35  # of labels, made in the second of the one before
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
PAIRS = [first + second for first in LETTERS for second in LETTERS]
ROLES = ("Admin", "Labeler", "Reviewer", "Team Manager", "None")
QUEUES = (
    ("Initial labeling task", "INITIAL_LABELING_QUEUE", "TO_LABEL"),
    ("Initial review task", "MANUAL_REVIEW_QUEUE", "IN_REVIEW"),
    ("Rework (all rejected)", "MANUAL_REWORK_QUEUE", "IN_REWORK"),
    ("Done", "DONE_QUEUE", "DONE"),
)
PEOPLE = (
    ("Ada", "Okafor"),
    ("Bjørn", "Lindqvist"),
    ("Chiara", "Ricci"),
    ("Dmitri", "Petrov"),
    ("Emi", "Tanaka"),
    ("Fatima", "Zahra"),
    ("Gustavo", "Muñoz"),
    ("Hye-jin", "Park"),
)


class Setting(NamedTuple):
    """The kind of data rows of a project, and the notation of its labels."""

    name: str
    media: str
    era: str


# Every column and every shape of `Label` that a bulk export ever had.
SETTINGS = (
    Setting("Street scenes 🚦", "IMAGE", "2023"),
    Setting("Product reviews", "TEXT", "2021"),
    Setting("Parked cars", "IMAGE", "2018-06"),
    Setting("Jellyfish tracking", "VIDEO", "2021"),
    Setting("Support chats – français", "CONVERSATIONAL", "2023"),
    Setting("Rooftops", "IMAGE", "2018-02"),
    Setting("Straßenschilder München", "IMAGE", "2018-08"),
    Setting("Invoices", "PDF", "2023"),
    Setting("Sharks from above", "IMAGE", "2020"),
    Setting("Call recordings", "AUDIO", "2021"),
    Setting("Answer ranking", "LLM", "2023"),
    Setting("胸部CT", "DICOM", "2023"),
    Setting("Field boundaries", "TMS_GEO", "2020"),
)


@dataclass(eq=False)
class User:
    """A member of the organization."""

    id: str
    name: str
    email: str
    org_role: Row | None
    created_at: datetime
    organization: Row = field(repr=False)
    timezone: str | None = "UTC"
    is_viewer: bool = False
    is_external_user: bool = False
    picture: str | None = None

    @property
    def nickname(self) -> str:
        """Return what comes before the @."""
        return self.email.partition("@")[0]

    @property
    def updated_at(self) -> datetime:
        """Return the timestamp of creation: people do not change."""
        return self.created_at

    @property
    def last_login_at(self) -> datetime | None:
        """Return a timestamp after all the work was done; None without a role."""
        return ANCHOR if self.org_role else None


@dataclass(eq=False, repr=False)
class Dataset:
    """Data rows that were brought in together."""

    id: str
    name: str
    description: str | None
    created_at: datetime
    created_by: User
    data_rows: list[DataRow] = field(default_factory=list)
    """Oldest first."""
    signer: Row | None = None
    """The integration that the files are read with, unless they are anybody's."""

    @property
    def organization(self) -> Row:
        """Return the only one there is."""
        return self.created_by.organization

    @property
    def row_count(self) -> int:
        """Count the data rows."""
        return len(self.data_rows)

    @property
    def updated_at(self) -> datetime:
        """Return the timestamp of the newest data row."""
        return max([self.created_at, *(row.created_at for row in self.data_rows[-1:])])


@dataclass(eq=False, repr=False, slots=True)
class DataRow:
    """One thing to label: an image, a text, a conversation."""

    id: str
    number: int
    external_id: str | None
    global_key: str | None
    created_at: datetime
    created_by: User
    dataset: Dataset
    project: Project
    batch: Row
    last_activity_at: datetime
    status: str = "TO_LABEL"
    labels: list[Label] = field(default_factory=list)
    elsewhere: list[Project] = field(default_factory=list)
    """Other projects that it is in."""

    @property
    def projects(self) -> list[Project]:
        """Return the projects that it is in, as far as the key may see them."""
        projects = (self.project, *self.elsewhere)
        return [p for p in projects if not (p.forbidden or p.deleted)]

    @property
    def updated_at(self) -> datetime:
        """Return the timestamp of creation: only labels change."""
        return self.created_at

    @property
    def organization(self) -> Row:
        """Return the only one there is."""
        return self.created_by.organization

    @property
    def row_data(self) -> str:
        """Return the text itself, or the address of a file."""
        return content.row_data(self)

    @property
    def media_attributes(self) -> Row:
        """Return what the GraphQL API calls so; the exports have other names."""
        return content.media_attributes(self)

    @property
    def metadata_fields(self) -> list[Row]:
        """Return the custom metadata of every third data row."""
        return content.metadata(self)

    @property
    def custom_metadata(self) -> list[Row]:
        """Return the custom metadata once more, without names."""
        return [
            {k: row[k] for k in ("schemaId", "value")} for row in content.metadata(self)
        ]

    @property
    def attachments(self) -> list[Row]:
        """Return what helps a labeler with every fifth data row."""
        return content.attachments(self)


@dataclass(eq=False, repr=False, slots=True)
class Label:
    """The work of one person on one data row."""

    id: str
    project: Project
    data_row: DataRow
    created_by: User
    type: Row
    created_at: datetime
    updated_at: datetime
    listed_at: datetime
    """From when on lists hold it, some seconds after it was made."""
    seconds_to_label: float
    agreement: float | None = None
    benchmark_agreement: float | None = None
    is_benchmark_reference: bool = False
    has_open_issues: bool = False
    text: str | None = None
    """What `label` gives, in place of annotations made up from the id."""
    revision: int = 0
    """How often what it holds has changed."""

    @property
    def label(self) -> str:
        """Return the annotations as text."""
        return notation.text(self) if self.text is None else self.text

    @property
    def is_skipped(self) -> bool:
        """Return whether the labeler passed the data row over."""
        return bool(self.type["name"] == "Skipped")

    @property
    def reviews(self) -> list[Row]:
        """Return the votes of reviewers; every fourth label has one or two."""
        return content.reviews(self)


@dataclass(eq=False, repr=False)
class Project:
    """Data rows, an ontology, and the labels that came of them."""

    id: str
    name: str
    description: str
    created_at: datetime
    created_by: User
    media: str
    era: str
    ontology: Row
    dataset: Dataset
    batches: list[Row]
    task_queues: list[Row]
    members: list[Row]
    webhooks: list[Row]
    resource_tags: list[Row]
    issue_categories: list[Row]
    issues: list[Row] = field(default_factory=list)
    data_rows: list[DataRow] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    """Oldest first, and by id if timestamps are equal; also those not listed yet."""
    edits: list[Row] = field(default_factory=list)
    """Versions of labels after their first ones, oldest first."""
    forbidden: bool = False
    deleted: bool = False
    restricted: bool = False
    """Whether the key may see the project, but not its people and their work."""
    last_listed_at: datetime = ANCHOR
    last_activity_time: datetime | None = None
    auto_audit_number_of_labels: int = 1
    auto_audit_percentage: float = 0.0
    is_benchmark_enabled: bool = False
    is_consensus_enabled: bool = False
    model_setup_complete: bool | None = None
    editor_task_type: str | None = None
    upload_type: str = "AUTO"

    @property
    def organization(self) -> Row:
        """Return the only one there is."""
        return self.created_by.organization

    @property
    def allowed_media_type(self) -> str:
        """Return the media type under its GraphQL name."""
        return self.media

    @property
    def setup_complete(self) -> datetime:
        """Return a time soon after creation."""
        return self.created_at + timedelta(minutes=12)

    @property
    def updated_at(self) -> datetime:
        """Return the latest timestamp at which something happened."""
        return self.last_activity_time or self.created_at

    @property
    def data_row_count(self) -> int:
        """Count the data rows."""
        return len(self.data_rows)

    @property
    def label_count(self) -> int:
        """Count the labels, listed or not."""
        return len(self.labels)

    @property
    def completed_data_row_count(self) -> int:
        """Count the data rows that are done."""
        return sum(row.status == "DONE" for row in self.data_rows)


def _made(row: DataRow) -> datetime:
    return row.created_at


def version_age(version: Row) -> datetime:
    """Return when a version was recorded, to order versions by."""
    recorded: datetime = version["createdAt"]
    return recorded


def age(label: Label) -> tuple[datetime, str]:
    """Order labels by creation, and by id where that is the same."""
    return label.created_at, label.id


class World:
    """The state of a workspace. All methods may be called from any thread.

    Args:
        seed: Another seed is another workspace.
        projects: How many the key may see. From three on, the second is empty.
            There are two more: one `forbidden_project` and one `deleted_project`.
        labels: How many in all. The first project has more than 200 of them if
            there are enough, the others ever fewer.
        labels_per_project: The same number for every project instead.
        whole_seconds: Whether labels are made in whole seconds, and often several in
            one, as in all that anybody recorded; else in milliseconds.
    """

    def __init__(
        self,
        seed: int = 1,
        projects: int = 4,
        labels: int = 250,
        *,
        labels_per_project: int | None = None,
        whole_seconds: bool = True,
    ) -> None:
        self.lock = threading.RLock()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._random = Random(seed)
        self._projects: dict[str, Project] = {}
        self._labels: dict[str, Label] = {}
        self._data_rows: dict[str, DataRow] = {}
        self._counter = 0
        self._whole_seconds = whole_seconds
        self._make_workspace()
        for count in _shares(projects, labels, labels_per_project):
            self.add_project(labels=count)
        self.user_groups[1]["projects"] = self.projects[:2]
        self.foundry_apps: list[Row] = []
        add_models(self, ANCHOR - 400 * DAY)
        self.forbidden_project = self.add_project("Somebody else's", labels=3)
        self.forbidden_project.forbidden = True
        self.deleted_project = self.add_project("Abandoned", labels=3)
        self.delete_project(self.deleted_project.id)
        self._add_catalog()

    # --- what is there ---

    @property
    def projects(self) -> list[Project]:
        """Return the projects that are listed, oldest first."""
        return [p for p in self._projects.values() if not (p.forbidden or p.deleted)]

    def project(self, project_id: str) -> Project | None:
        """Return any project, also one that is forbidden or deleted."""
        return self._projects.get(project_id)

    def labels(self, project_id: str) -> list[Label]:
        """Return all labels of a project, oldest first, also those not listed yet."""
        with self.lock:
            return list(self._projects[project_id].labels)

    def label(self, label_id: str) -> Label | None:
        """Return a label."""
        return self._labels.get(label_id)

    def data_row(self, data_row_id: str) -> DataRow | None:
        """Return a data row."""
        return self._data_rows.get(data_row_id)

    @property
    def data_rows(self) -> list[DataRow]:
        """Return the data rows of every listed project, each once."""
        rows = (row for project in self.projects for row in project.data_rows)
        return [*dict.fromkeys(rows)]

    @property
    def catalog(self) -> list[DataRow]:
        """Return all data rows, also those that are in no project any more."""
        gone = [p for p in self._projects.values() if p.deleted]
        rows = (row for project in gone for row in project.data_rows)
        return [*dict.fromkeys([*self.data_rows, *rows])]

    @cached_property
    def people(self) -> People:
        """Invitations, keys, webhooks and the like, made up when somebody asks."""
        return People(self)

    @property
    def key_owner(self) -> User:
        """Return the user whose API key it is."""
        return self.users[0]

    # --- what can happen ---

    def add_label(
        self,
        project_id: str,
        created_at: datetime | None = None,
        *,
        listed_after: float = 0.0,
        data_row: DataRow | None = None,
        **fields: Any,
    ) -> Label:
        """Label a data row.

        Args:
            project_id: Where.
            created_at: When; now by default. What the API does not keep is cut off.
            listed_after: Seconds after that timestamp before lists hold the label.
            data_row: A new one by default.
            **fields: Other attributes of `Label`, such as `text` or `agreement`.
        """
        with self.lock:
            timestamp = self._kept(created_at or self.now())
            project = self._projects[project_id]
            row = data_row or self._add_data_row(project, timestamp)
            label = self._make_label(project, row, timestamp, fields)
            label.listed_at = timestamp + timedelta(seconds=listed_after)
            insort(project.labels, label, key=age)
            project.last_listed_at = max(project.last_listed_at, label.listed_at)
            return label

    def add_to_project(self, row: DataRow, project_id: str) -> None:
        """Have a data row labeled in one more project."""
        with self.lock:
            project = self._projects[project_id]
            row.elsewhere.append(project)
            project.data_rows.append(row)
            row.last_activity_at = _milliseconds(self.now())

    def edit_label(
        self,
        label_id: str,
        by: User,
        edited_at: datetime | None = None,
        *,
        action: str = "REWORK_SUBMITTED",
        is_changed: bool = True,
    ) -> Row:
        """Hand a label on once more, and return its new version.

        Args:
            label_id: Which; lists of labels do not show that it was edited.
            by: Who.
            edited_at: When; now by default.
            action: What was done, as `LabelVersion.action` names it.
            is_changed: Whether the label holds something else from then on.
        """
        with self.lock:
            label = self._labels[label_id]
            timestamp = self._kept(edited_at or self.now())
            label.revision += is_changed
            project, row = label.project, label.data_row
            number = 2 + sum(edit["labelId"] == label_id for edit in project.edits)
            version: Row = {"id": f"v{number}-{label_id}", "labelId": label_id}
            version |= {"label": replace(label), "project": project}
            version |= {"action": action, "createdAt": timestamp, "createdById": by.id}
            insort(project.edits, version, key=version_age)
            label.updated_at = max(label.updated_at, timestamp)
            row.last_activity_at = max(row.last_activity_at, timestamp)
            project.last_activity_time = max(project.updated_at, timestamp)
            return version

    def delete_label(self, label_id: str) -> None:
        """Delete a label: no trace of it stays, but its data row is active."""
        with self.lock:
            label = self._labels.pop(label_id)
            labels = label.project.labels
            del labels[bisect_left(labels, age(label), key=age)]
            label.data_row.labels.remove(label)
            if not label.data_row.labels:
                label.data_row.status = "TO_LABEL"
            label.data_row.last_activity_at = _milliseconds(self.now())
            label.project.last_activity_time = label.data_row.last_activity_at

    def add_project(
        self,
        name: str | None = None,
        *,
        labels: int = 0,
        media: str | None = None,
        era: str | None = None,
    ) -> Project:
        """Make a project, with labels of the months before 2026.

        Args:
            name: One that suits the media type by default.
            labels: How many.
            media: Such as IMAGE; see `SETTINGS`.
            era: How labels are written down; see `SETTINGS`.
        """
        with self.lock:
            number = len(self._projects)
            setting = SETTINGS[number % len(SETTINGS)]
            if number >= len(SETTINGS):
                setting = setting._replace(name=f"{setting.name} {number}")
            project = self._make_project(
                name or setting.name, media or setting.media, era or setting.era
            )
            self._projects[project.id] = project
            self._fill(project, labels)
            return project

    def delete_project(self, project_id: str) -> None:
        """Delete a project: it is not listed, and not found by its id."""
        self._projects[project_id].deleted = True

    # --- how it is made ---

    def cuid(self, timestamp: datetime) -> str:
        """Make up an id of 25 characters that begins with the timestamp."""
        stamp, head = int(timestamp.timestamp() * 1000), ""
        while stamp:
            stamp, digit = divmod(stamp, 36)
            head = LETTERS[digit] + head
        return f"c{head}{''.join(self._random.choices(PAIRS, k=8))}"

    def uuid(self) -> str:
        """Make up a UUID, which batches, task queues and tasks have for an id."""
        digits = f"{self._random.getrandbits(128):032x}"
        version, variant = f"4{digits[13:16]}", f"a{digits[17:20]}"
        return "-".join((digits[:8], digits[8:12], version, variant, digits[20:]))

    def _make_workspace(self) -> None:
        began = ANCHOR - 600 * DAY
        stamps = {"createdAt": began, "updatedAt": began}
        self.organization: Row = {"id": self.cuid(began), "name": "Example & Söhne"}
        self.organization |= stamps
        self.roles: list[Row] = [{"id": self.cuid(began), "name": n} for n in ROLES]
        self.label_types: dict[str, Row] = {
            name: {"id": self.cuid(began), "name": name}
            for name in ("Submitted", "Skipped", "Any")
        }
        self.users = [
            User(
                id=self.cuid(began + number * DAY),
                name=f"{first} {last}",
                email=f"{first}.{last}@example.com".lower(),
                org_role=self.roles[number if number < 3 else 1 + number % 2],
                created_at=began + number * DAY,
                organization=self.organization,
                is_external_user=number == len(PEOPLE) - 1,
                timezone=None if number == 1 else "UTC",
            )
            for number, (first, last) in enumerate(PEOPLE)
        ]
        self.labelers = self._people("Labeler")
        self.reviewers = self._people("Reviewer")
        self.datasets: list[Dataset] = []
        self.ontologies: list[Row] = []
        self.resource_tags: list[Row] = [
            {"id": self.cuid(began), "text": text, "color": color}
            for text, color in (("pilot", "#f44336"), ("für später", "#2196f3"))
        ]
        self.invites: list[Row] = [
            {
                "id": self.cuid(began + 90 * DAY),
                "createdAt": began + 90 * DAY,
                "organizationRoleName": "Labeler",
                "inviteeEmail": "new.colleague@example.com",
                "projectInvites": [],
            }
        ]
        self.metadata_ontology = content.METADATA_ONTOLOGY
        self.embeddings: list[Row] = [
            {"id": self.uuid(), "name": "CLIP ViT-B/32", "dims": 4, "custom": False}
        ]
        self.models: list[Row] = [
            {"id": self.uuid(), "name": "Detector", "ontologyId": None, "modelRuns": []}
        ]
        run = {"id": self.uuid(), "name": "run 1", "modelId": self.models[0]["id"]}
        run |= {"createdBy": self.users[0].id, "trainingMetadata": {"epochs": 12}}
        self.models[0]["modelRuns"].append(run | stamps)
        self.slices: list[Row] = [
            {"id": self.uuid(), "name": "Labeled lately", "description": None}
            | {"filter": [{"type": "labeled_at"}]}
            | stamps
        ]
        self.iam_integrations: list[Row] = [
            {"id": self.cuid(began), "name": "Our bucket", "provider": "AWS"}
            | {"valid": True, "isOrgDefault": True, "lastValidAt": began}
            | stamps
            | {
                "settings": {
                    "__typename": "AwsIamIntegrationSettings",
                    "roleArn": "arn:aws:iam::000000000000:role/labels",
                }
            }
        ]
        self.user_groups: list[Row] = [
            {"id": self.uuid(), "name": "Night shift", "color": "CEB8FF"}
            | {"description": "", "members": self.labelers, "projects": []}
        ]
        self._add_people(began)

    def _people(self, role: str) -> list[User]:
        return [u for u in self.users if u.org_role and u.org_role["name"] == role]

    def _add_people(self, began: datetime) -> None:
        """Add who labels nothing, and groups and a role of our own."""
        # What else is left to chance stays as it would be without them.
        chance, self._random = self._random, Random(str(self.organization["id"]))
        custom: Row = {"name": "Prüfer:in 🔍", "description": "Looks, and says so"}
        custom |= {"organizationId": self.organization["id"]}
        custom |= {"permissions": ["project:read", "label:review"]}
        self.roles.append({"id": self.cuid(began)} | custom)
        self.users.append(
            User(
                id=self.cuid(began + 20 * DAY),
                name="Zoë Ångström-李",
                email="zoë@example.com",
                org_role=None,
                created_at=began + 20 * DAY,
                organization=self.organization,
                timezone=None,
                is_viewer=True,
                picture="https://example.com/zoë.png",
            )
        )
        groups: tuple[tuple[str, str | None, list[User]], ...] = (
            ("Überprüfung", None, self.reviewers + self.users[-1:]),
            ("Nobody yet", "Für später", []),
        )
        for (name, description, people), color in zip(
            groups, ("3FDC9A", "B8C4D3"), strict=True
        ):
            group: Row = {"id": self.uuid(), "name": name, "color": color}
            group |= {"description": description, "members": people, "projects": []}
            self.user_groups.append(group)
        self._random = chance

    def _add_catalog(self) -> None:
        """Add what is in no project."""
        chance = self._random
        self._random = Random(f"catalog of {self.organization['id']}")
        made = ANCHOR - 590 * DAY
        dataset = Dataset(self.cuid(made), "Für später 🗂", None, made, self.users[1])
        dataset.signer = self.iam_integrations[0]
        self.datasets.append(dataset)
        catalog.fill(self)
        self._random = chance

    def _make_project(self, name: str, media: str, era: str) -> Project:
        number = len(self._projects)
        has_consensus = number % 3 == 2 or media == "PDF"
        made = ANCHOR - 540 * DAY + min(number, 300) * DAY
        owner = self.users[number % 2]
        stamps = {"createdAt": made, "updatedAt": made}
        if number % 2 == 0:
            self._dataset = Dataset(self.cuid(made), f"{name} – files", "", made, owner)
            self.datasets.append(self._dataset)
        ontology: Row = {"id": self.cuid(made), "name": f"{name} ontology"}
        ontology |= {"description": None, "mediaType": media, "createdBy": owner}
        ontology |= stamps
        ontology["normalized"] = content.ontology(media, lambda: self.cuid(made))
        self.ontologies.append(ontology)
        return Project(
            id=self.cuid(made),
            name=name,
            description=f"{media.capitalize()} labeling",
            created_at=made,
            created_by=owner,
            media=media,
            era=era,
            ontology=ontology,
            dataset=self._dataset,
            batches=[
                {"id": self.uuid(), "name": f"batch {letter}", "createdBy": owner}
                | {"consensusSettingsJson": '{"numberOfLabels":1}'}
                | stamps
                for letter in "AB"
            ],
            task_queues=[
                {"id": self.uuid(), "name": name, "queueType": kind, "status": status}
                | {"description": None}
                for name, kind, status in QUEUES
            ],
            members=[
                {"id": self.cuid(made), "user": user, "role": user.org_role}
                | {"accessFrom": "ORGANIZATION"}
                for user in self.users
                if user.org_role
            ],
            webhooks=[
                {"id": self.cuid(made), "url": "https://example.com/hook"}
                | {"topics": "LABEL_CREATED", "status": "ACTIVE", "createdBy": owner}
                | stamps
            ],
            resource_tags=self.resource_tags[: number % 3],
            issue_categories=[
                {"id": self.cuid(made), "name": "Blurred", "description": ""}
            ],
            # Labelbox sets it soon, where nothing has been labeled as well.
            last_activity_time=made + timedelta(seconds=4),
            auto_audit_number_of_labels=2 if has_consensus else 1,
            auto_audit_percentage=0.1 if has_consensus else 0.0,
            is_benchmark_enabled=number % 3 == 1 and not has_consensus,
            is_consensus_enabled=has_consensus,
            editor_task_type="MODEL_CHAT_EVALUATION" if media == "LLM" else None,
        )

    def _kept(self, timestamp: datetime) -> datetime:
        """Return a timestamp as the API keeps that of a label."""
        if self._whole_seconds:
            return timestamp.replace(microsecond=0)
        return _milliseconds(timestamp)

    def _fill(self, project: Project, count: int) -> None:
        """Label data rows between the making of the project and the anchor."""
        pick = self._random.random
        gap = (ANCHOR - project.created_at) / (count + 1)
        timestamp = project.created_at
        row: DataRow | None = None
        for number in range(count):
            # Around every hundredth label several share a timestamp, so that
            # pages of any common size end among equal ones.
            tied = number >= 8 and (number + 4) % 100 < 8
            if self._whole_seconds and number > 1:
                tied = pick() < SAME_SECOND_SHARE or tied
            if not tied:
                timestamp += (
                    gap * (0.1 + 1.6 * pick()) if timestamp < ANCHOR - gap else gap / 9
                )
                timestamp = self._kept(timestamp)
            if row is None or not project.is_consensus_enabled or number % 10:
                row = self._add_data_row(project, timestamp)
            label = self._make_label(project, row, timestamp, {})
            label.listed_at = timestamp + timedelta(seconds=1 + int(9 * pick()))
            project.labels.append(label)
        project.labels.sort(key=age)
        for _ in range(count // 20 + 2 if count else 0):
            self._add_data_row(project, ANCHOR - DAY)  # nobody labeled it yet
        self._add_issues(project)

    def _add_data_row(self, project: Project, before: datetime) -> DataRow:
        self._counter += 1
        number = self._counter
        # Some names hold what breaks careless readers of lines and of CSV.
        suffix = {0: "📷", 1: "\u2028", 2: '"ö,', 3: "\t漢字"}.get(number % 40, "")
        made = max(project.dataset.created_at, before - DAY)
        row = DataRow(
            id=self.cuid(made),
            number=number,
            external_id=f"{project.media.lower()}{suffix}_{number:05}"
            if number % 7
            else None,
            global_key=f"row-{number}" if number % 3 else None,
            created_at=made,
            created_by=project.created_by,
            dataset=project.dataset,
            project=project,
            batch=project.batches[number % len(project.batches)],
            last_activity_at=made,
        )
        self._data_rows[row.id] = row
        project.data_rows.append(row)
        insort(project.dataset.data_rows, row, key=_made)
        return row

    def _make_label(
        self, project: Project, row: DataRow, timestamp: datetime, fields: Row
    ) -> Label:
        pick = self._random.random
        people = self.labelers if pick() < 0.9 else self.reviewers
        skipped = pick() < 0.08
        compared = project.is_consensus_enabled and pick() < 0.5
        no_agreement = None if project.era.startswith("2018") else -1.0
        label = Label(
            id=self.cuid(timestamp),
            project=project,
            data_row=row,
            created_by=people[int(len(people) * pick())],
            type=self.label_types["Skipped" if skipped else "Submitted"],
            created_at=timestamp,
            updated_at=timestamp + timedelta(seconds=int(pick() * 90)),
            listed_at=timestamp,
            seconds_to_label=round(2 + 90 * pick(), 3),
            agreement=round(pick(), 4) if compared else no_agreement,
            benchmark_agreement=no_agreement,
        )
        if project.is_benchmark_enabled and pick() < 0.05:
            label.type = self.label_types["Any"]  # as labels have that were imported
            label.is_benchmark_reference = True
        for name, value in fields.items():
            setattr(label, name, value)
        row.labels.append(label)
        row.status = QUEUES[1 + row.number % 3][2]
        row.last_activity_at = max(row.last_activity_at, label.updated_at)
        project.last_activity_time = max(
            project.last_activity_time or timestamp, label.updated_at
        )
        self._labels[label.id] = label
        return label

    def _add_issues(self, project: Project) -> None:
        for number, label in enumerate(project.labels[::60]):
            raised = label.created_at + timedelta(hours=3)
            resolved = number % 2 == 1
            label.has_open_issues = not resolved
            reviewer = self.reviewers[0]
            project.issues.append(
                {
                    "id": self.uuid(),
                    "friendlyId": f"ISS-{number + 1}",
                    "labelId": label.id,
                    "dataRowId": label.data_row.id,
                    "categoryId": project.issue_categories[0]["id"],
                    "content": "The border is off – see 👉 top left",
                    "position": None,
                    "status": "Resolved" if resolved else "Open",
                    "createdBy": reviewer,
                    "resolvedBy": label.created_by if resolved else None,
                    "createdAt": raised,
                    "updatedAt": raised,
                    "resolvedAt": raised + DAY if resolved else None,
                    "contentUpdatedAt": raised,
                    "latestReplyAt": None,
                    "comments": [],
                }
            )


def _shares(projects: int, labels: int, per_project: int | None) -> list[int]:
    """Share the labels out: much to the first project, none to the second."""
    if per_project is not None or not projects:
        return [per_project or 0] * projects
    weights = [1 / (number + 1) for number in range(projects)]
    if projects > 2:
        weights[1] = 0
    several_pages = min(labels - projects, 205)
    first = max(int(labels * weights[0] / sum(weights)), several_pages, 0)
    rest = sum(weights[1:]) or 1
    shares = [int((labels - first) * weight / rest) for weight in weights[1:]]
    return [labels - sum(shares), *shares]


def _milliseconds(timestamp: datetime) -> datetime:
    """Cut off what Labelbox does not keep."""
    return timestamp.replace(microsecond=timestamp.microsecond // 1000 * 1000)
