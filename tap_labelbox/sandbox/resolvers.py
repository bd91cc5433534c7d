"""Resolvers of the schema's fields that are not just attributes of the object."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from tap_labelbox.sandbox import catalog, content, models, notation, people, work
from tap_labelbox.sandbox.knobs import Knobs
from tap_labelbox.sandbox.schema import connection, refusal, snake
from tap_labelbox.sandbox.world import version_age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tap_labelbox.sandbox.bulk import BulkExports
    from tap_labelbox.sandbox.schema import Info
    from tap_labelbox.sandbox.tasks import DataRowExports
    from tap_labelbox.sandbox.world import DataRow, Dataset, Label, Project, World

Row = dict[str, Any]

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "_gte": lambda value, bound: value >= bound,
    "_lte": lambda value, bound: value <= bound,
    "_gt": lambda value, bound: value > bound,
    "_lt": lambda value, bound: value < bound,
    "_in": lambda value, bound: value in bound,
}
STATES = {
    "TO_LABEL": "Unlabeled",
    "IN_REVIEW": "InReview",
    "IN_REWORK": "InRework",
    "DONE": "Done",
}


@dataclass
class Workspace:
    """The data that resolvers work on, as `info.context`."""

    world: World
    bulk_exports: BulkExports
    data_row_exports: DataRowExports
    knobs: Knobs = field(default_factory=Knobs)

    def project(self, project_id: str | None) -> Project:
        """Return a project, unless it is not to be had."""
        project = self.world.project(project_id or "")
        if project is None or project.deleted:
            raise missing("Project", project_id)
        if project.forbidden:
            message = "You are not authorized to access this project"
            raise refusal("AUTHORIZATION_ERROR", message)
        return project


def guarded(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Return a resolver of a field of a project that some keys may not see."""

    def refuse_or_resolve(source: Project, info: Info, **arguments: Any) -> Any:
        if source.restricted:
            message = "You are not authorized to see this part of the project"
            raise refusal("AUTHORIZATION_ERROR", message)
        return resolve(source, info, **arguments)

    return refuse_or_resolve


def missing(kind: str, given_id: Any) -> Exception:
    """Return the error for an id that nothing has."""
    return refusal("RESOURCE_NOT_FOUND", f"{kind} {given_id} not found")


def by_id(kind: str, rows: Iterable[Any], given_id: Any) -> Any:
    """Return the row with this id."""
    for row in rows:
        if (row["id"] if isinstance(row, dict) else row.id) == given_id:
            return row
    raise missing(kind, given_id)


def matches(row: Any, where: Row | None) -> bool:
    """Return whether a row meets every condition, such as `created_at_gt`."""
    for name, bound in (where or {}).items():
        if name == "and":
            met = all(matches(row, condition) for condition in bound)
        elif name == "or":
            met = any(matches(row, condition) for condition in bound)
        elif name == "not":
            met = not any(matches(row, condition) for condition in bound)
        elif name == "deleted":
            met = getattr(row, "deleted", False) == bool(bound)
        else:
            suffix = next((s for s in COMPARISONS if name.endswith(s)), "")
            value = getattr(row, name.removesuffix(suffix))
            met = COMPARISONS[suffix](value, bound) if suffix else value == bound
        if not met:
            return False
    return True


def ordered(rows: list[Any], order_by: str) -> list[Any]:
    """Sort by `createdAt_ASC` and the like; equal rows by id."""
    name, direction = order_by.rsplit("_", 1)
    value = attrgetter(snake(name), "id")
    return sorted(rows, key=value, reverse=direction == "DESC")


# --- roots -------------------------------------------------------------------


def find_by_id(kind: str, rows: Callable[[World], Iterable[Any]]) -> Callable[..., Any]:
    """Return a resolver that finds one of these rows by its id."""

    def find(_: Any, info: Info, where: Row) -> Any:
        return by_id(kind, rows(info.context.world), where.get("id"))

    return find


def every(rows: Callable[[World], list[Any]]) -> Callable[..., list[Any]]:
    """Return a resolver that lists all of these rows."""
    return lambda _, info, **_arguments: rows(info.context.world)


def _user(_: Any, info: Info, where: Row | None = None) -> Any:
    world: World = info.context.world
    if not where or where.get("id") is None:
        return world.key_owner
    return by_id("User", world.users, where["id"])


def _invites_limit(_: Any, info: Info, where: Row) -> Row:
    world: World = info.context.world
    by_id("Organization", [world.organization], where.get("id"))
    return world.people.invites_limit


def _project(_: Any, info: Info, where: Row) -> Project:
    project: Project = info.context.project(where.get("id"))
    return project


def _projects(
    _: Any,
    info: Info,
    where: Row | None = None,
    order_by: str | None = None,
) -> list[Project]:
    world: World = info.context.world
    where = dict(where or {})
    if where.get("deleted"):
        rows = [p for p in (world.deleted_project,) if p.deleted]
    else:
        rows = world.projects
    # The newest first by default, as in all recorded replies.
    order_by = order_by or info.context.knobs.projects_order
    return ordered([p for p in rows if matches(p, where)], order_by)


def _label(_: Any, info: Info, where: Row) -> Label:
    label: Label | None = info.context.world.label(where.get("id") or "")
    if label is None or label.project.deleted:
        raise missing("Label", where.get("id"))
    info.context.project(label.project.id)
    return label


def _data_row(_: Any, info: Info, where: Row) -> DataRow:
    data_row: DataRow | None = info.context.world.data_row(where.get("id") or "")
    if data_row is None:
        raise missing("DataRow", where.get("id"))
    return data_row


def _datasets(_: Any, info: Info, where: Row | None = None) -> list[Dataset]:
    return [x for x in info.context.world.datasets if matches(x, where)]


def _dataset_data_rows(
    _: Any, info: Info, given_id: str, where: Row | None = None
) -> list[DataRow]:
    dataset = by_id("Dataset", info.context.world.datasets, given_id)
    return [row for row in reversed(dataset.data_rows) if matches(row, where)]


def search_by_name(rows: Callable[[World], list[Row]]) -> Callable[..., list[Row]]:
    """Return a resolver that searches these rows by name."""

    def search(_: Any, info: Info, where: Row | None = None) -> list[Row]:
        text = ((where or {}).get("search") or "").lower()
        return [x for x in rows(info.context.world) if text in x["name"].lower()]

    return search


def feature_schemas(world: World) -> list[Row]:
    """Return the tools and questions of all ontologies, by their nodes."""
    nodes = [
        node
        for ontology in world.ontologies
        for kind in ("tools", "classifications")
        for node in (ontology["normalized"] or {}).get(kind, ())
    ]
    return [
        {"id": node["schemaNodeId"], "name": node["name"], "normalized": node}
        for node in {node["schemaNodeId"]: node for node in nodes}.values()
    ]


def _count_roots(kind: str) -> Callable[..., int | None]:
    def count_roots(source: Row, _: Info) -> int | None:
        tree = source["normalized"]
        return len(tree.get(kind) or ()) if isinstance(tree, dict) else None

    return count_roots


def _feature_schema(_: Any, info: Info, where: Row) -> Row:
    given_id = where.get("feature_schema_id")
    for schema in feature_schemas(info.context.world):
        if schema["normalized"]["featureSchemaId"] == given_id:
            return schema
    raise missing("FeatureSchema", given_id)


def _rows_of_slice(_: Any, info: Info, **arguments: Any) -> Row:
    page, world = arguments["input"], info.context.world
    by_id("Slice", world.slices, page["saved_query_id"])
    rows = catalog.rows_of_slice(world, page["saved_query_id"])
    return connection(rows, page["first"], page.get("after"))


def _issue(_: Any, info: Info, where: Row) -> Row:
    projects = (p for p in info.context.world.projects if not p.restricted)
    rows = (work.issue(project, row) for project in projects for row in project.issues)
    issue: Row = by_id("Issue", rows, where.get("id"))
    return issue


def _task(_: Any, info: Info, where: Row | None = None) -> Any:
    return by_id("Task", _all_tasks(info), (where or {}).get("id"))


def _all_tasks(info: Info) -> list[Any]:
    others = info.context.world.people.tasks
    return [*info.context.data_row_exports.tasks, *others]


def _label_versions(_: Any, info: Info, where: Row) -> list[Row]:
    """Return the versions of all labels, oldest first."""
    project = info.context.project(where["project_id"])
    if project.restricted:
        raise refusal("AUTHORIZATION_ERROR", "You may see no label of this project")
    after, before = where.get("created_after"), where.get("created_before")
    rows: list[Label] = project.labels
    low = bisect_left(rows, after, key=_made) if after else 0
    high = bisect_left(rows, before, key=_made) if before else len(rows)
    conditions = {
        "id": where.get("label_id"),
        "data_row.id": where.get("data_row_id"),
    }
    low_edit = bisect_left(project.edits, after, key=version_age) if after else 0
    versions = [_first_version(row) for row in rows[low:high]]
    if edits := project.edits[low_edit:]:
        edits = [edit for edit in edits if not before or version_age(edit) < before]
        versions = sorted(versions + edits, key=version_age)
    return [
        version
        for version in versions
        if where.get("created_by_id") in (None, version["createdById"])
        and all(
            v in (None, attrgetter(name)(version["label"]))
            for name, v in conditions.items()
        )
    ]


def _first_version(label: Label) -> Row:
    """Return a label as it was submitted."""
    submitted = replace(label, revision=0) if label.revision else label
    version: Row = {"id": f"v1-{label.id}", "labelId": label.id, "label": submitted}
    version |= {"project": label.project, "action": "SUBMITTED"}
    return version | {"createdAt": label.created_at, "createdById": label.created_by.id}


def _label_version(_: Any, info: Info, where: Row) -> Row:
    given_id = where.get("id") or ""
    label = _label(_, info, {"id": given_id.partition("-")[2]})
    versions = [_first_version(label), *label.project.edits]
    version: Row = by_id("LabelVersion", versions, given_id)
    return version


# --- of a project ------------------------------------------------------------

_made = attrgetter("created_at")


def _labels(
    source: Project,
    info: Info,
    where: Row | None = None,
    order_by: str | None = None,
) -> list[Label]:
    """Return the labels that are listed by now, by default the newest first."""
    now, where = info.context.world.now(), where or {}
    after, before = where.get("created_at_gt"), where.get("created_at_lt")
    low = bisect_right(source.labels, after, key=_made) if after else 0
    high = bisect_left(source.labels, before, key=_made) if before else None
    rows = source.labels[low:high]
    if source.last_listed_at > now:
        rows = [row for row in rows if row.listed_at <= now]
    for met in _conditions(where):
        rows = [row for row in rows if met(row)]
    match order_by:
        case None | "createdAt_DESC":
            return rows[::-1]
        case "createdAt_ASC":
            return rows
    return ordered(rows, order_by)


def _conditions(where: Row) -> list[Callable[[Label], bool]]:
    """Return the conditions on labels, other than on their age."""
    conditions: list[Callable[[Label], bool]] = []

    def has_id(where: Row | None, read: Callable[[Label], str]) -> None:
        if where and where.get("id") is not None:
            conditions.append(lambda row: read(row) == where["id"])
        if where and where.get("id_in") is not None:
            conditions.append(lambda row: read(row) in where["id_in"])

    has_id(where.get("created_by"), lambda row: row.created_by.id)
    has_id(where.get("type"), lambda row: str(row.type["id"]))
    in_dataset = (where.get("data_row") or {}).get("dataset")
    has_id(in_dataset, lambda row: row.data_row.dataset.id)
    low, high = where.get("agreement_gt"), where.get("agreement_lt")
    if low is not None:
        conditions.append(lambda row: row.agreement is not None and row.agreement > low)
    if high is not None:
        conditions.append(
            lambda row: row.agreement is not None and row.agreement < high
        )
    return conditions


def _project_datasets(source: Project, _: Info) -> list[Dataset]:
    return [source.dataset]


def _batches(source: Project, _: Info) -> list[Row]:
    sizes = Counter(row.batch["id"] for row in source.data_rows)
    rows = [batch | {"size": sizes[batch["id"]]} for batch in source.batches]
    return work.batches(rows)


def _task_queues(source: Project, _: Info) -> list[Row]:
    return [
        queue
        | {"rows": [row for row in source.data_rows if row.status == queue["status"]]}
        for queue in source.task_queues
    ]


def _queue_count(
    source: Row, _: Info, where: Row | None = None, **arguments: Any
) -> int:
    """Count the data rows of a task queue, of some batches or all."""
    where = arguments.get("input") or where or {}
    ids = set(where.get("batch_ids") or ())
    for element in (where.get("search_query") or {}).get("query", ()):
        ids |= set(element.get("ids", ()))
    return sum(not ids or row.batch["id"] in ids for row in source["rows"])


def _state_counts(
    source: Project, _: Info, batch_ids: list[str] | None = None
) -> list[Row]:
    rows = [r for r in source.data_rows if not batch_ids or r.batch["id"] in batch_ids]
    counts = Counter(STATES[row.status] for row in rows)
    counts["Labeled"] = sum(bool(row.labels) for row in rows)
    counts["Skipped"] = sum(any(x.is_skipped for x in row.labels) for row in rows)
    counts |= {"All": len(rows)}
    states = [*STATES.values(), "Labeled", "Skipped", "All", "NotInTaskQueue"]
    result = [{"state": state, "count": counts[state]} for state in states]
    return result if batch_ids else work.state_counts(source, result)


def _labeler_performance(source: Project, _: Info) -> list[Row]:
    work: dict[Any, list[Label]] = {}
    for row in source.labels:
        work.setdefault(row.created_by, []).append(row)
    return [
        {
            "count": len(rows),
            "user": person,
            "secondsPerLabel": sum(x.seconds_to_label for x in rows) / len(rows),
            "totalTimeLabeling": sum(x.seconds_to_label for x in rows),
            "consensus": None,
            "averageBenchmarkAgreement": None,
            "lastActivityTime": rows[-1].created_at,
        }
        for person, rows in work.items()
    ]


def _review_metrics(source: Project, _: Info, net_score: str) -> dict[str, int]:
    """Count the labels by what their reviews sum up to."""
    sums = [
        sum(r["score"] for r in x.reviews) if x.reviews else None for x in source.labels
    ]
    if net_score == "None":
        return {"count": sums.count(None)}
    sign = {"Negative": -1, "Zero": 0, "Positive": 1}[net_score]
    return {"count": sum(s is not None and (s > 0) - (s < 0) == sign for s in sums)}


def _issues(source: Project, _: Info, where: Row | None = None) -> list[Row]:
    where = where or {}
    in_row = where.get("data_row") or {}
    return [
        row
        for row in (work.issue(source, row) for row in source.issues)
        if where.get("status") in (None, row["status"])
        and where.get("category_id") in (None, row["categoryId"])
        and (where.get("content") or "") in row["content"]
        and in_row.get("id") in (None, row["dataRowId"])
        and (
            not where.get("created_by_ids")
            or row["createdBy"].id in where["created_by_ids"]
        )
    ]


def _issue_export_url(source: Project, info: Info, where: Row | None = None) -> str:
    rows = _issues(source, info, where)
    url: str = info.context.data_row_exports.issue_file(source, rows)
    return url


# --- exports -----------------------------------------------------------------


def _export_labels(_: Any, info: Info, data: Row) -> Row:
    project = info.context.project(data["project_id"])
    exported: Row = info.context.bulk_exports.ask(project)
    return exported


def start_export(kind: str) -> Callable[..., Row]:
    """Return a resolver that starts a data row export of this kind."""

    def start(_: Any, info: Info, **arguments: Any) -> Row:
        workspace, asked = info.context, arguments["input"]
        filters = asked["filters"]
        if kind == "Project":
            workspace.project(filters["project_id"])
        if kind == "Slice":
            by_id("Slice", workspace.world.slices, filters["slice_id"])
        if kind == "ModelRun":
            runs = models.model_runs(workspace.world)
            by_id("ModelRun", runs, filters["model_run_id"])
        started = workspace.data_row_exports.start(kind, asked)
        return {"taskId": started.id, "isStreamable": True}

    return start


def _created_tasks(source: Any, info: Info, where: Row | None = None) -> list[Any]:
    task_id = (where or {}).get("id")
    owner = info.context.world.key_owner
    tasks = _all_tasks(info) if source is owner else []
    return [task for task in tasks if task_id in (None, task.id)]


def _annotation_groups(_: Any, info: Info, where: Row) -> list[Row]:
    world, run_id = info.context.world, where["model_run_id"].get("id")
    return models.groups(world, by_id("ModelRun", models.model_runs(world), run_id))


def _run_info(_: Any, info: Info, where: Row) -> Row | None:
    world, run_id = info.context.world, where["model_run_id"]
    return models.run_info(world, by_id("ModelRun", models.model_runs(world), run_id))


def _foundry_app(_: Any, info: Info, where: Row) -> Row:
    app_id = where.get("id")
    for app in info.context.world.foundry_apps:
        if app["id"] == app_id:
            return dict(app)
    # Without the code that other objects have.
    raise refusal("INTERNAL_SERVER_ERROR", f"Model Foundry app not found: {app_id}")


RESOLVERS: dict[str, Callable[..., Any]] = {
    **people.RESOLVERS,
    "Query.user": _user,
    "Query.users": every(lambda world: world.users),
    "Query.organization": lambda _, info: info.context.world.organization,
    "Query.invitesLimit": _invites_limit,
    "Query.project": _project,
    "Query.projects": _projects,
    "Query.dataset": find_by_id("Dataset", lambda world: world.datasets),
    "Query.datasets": _datasets,
    "Query.datasetDataRows": _dataset_data_rows,
    "Query.dataRow": _data_row,
    "Query.label": _label,
    "Query.labelVersion": _label_version,
    "Query.labelVersions": _label_versions,
    "Query.ontology": find_by_id("Ontology", lambda world: world.ontologies),
    "Query.ontologies": search_by_name(lambda world: world.ontologies),
    "Query.rootSchemaNodes": search_by_name(feature_schemas),
    "Query.rootSchemaNode": _feature_schema,
    "Query.customMetadataOntology": every(lambda world: world.metadata_ontology),
    "Query.webhook": find_by_id("Webhook", lambda world: world.people.webhooks),
    "Query.models": every(lambda world: world.models),
    "Query.model": find_by_id("Model", lambda world: world.models),
    "Query.modelRun": find_by_id("ModelRun", models.model_runs),
    "Query.annotationGroups": _annotation_groups,
    "Query.modelFoundryModelRunInfo": _run_info,
    "Query.findModelFoundryApp": _foundry_app,
    "Query.catalogSavedQueries": every(lambda world: world.slices),
    "Query.getSavedQuery": lambda _, info, given_id: by_id(
        "Slice", info.context.world.slices, given_id
    ),
    "Query.getDataRowIdentifiersBySavedQuery": _rows_of_slice,
    "Query.labelingFrontends": every(lambda _: catalog.FRONTENDS),
    "Query.embeddings": every(lambda world: world.embeddings),
    "Query.roles": every(lambda world: world.roles),
    "Query.userGroupsV2": every(lambda world: world.user_groups),
    "Query.projectWorkflow": work.workflow,
    "Query.labelImports": work.imports("labels"),
    "Query.modelAssistedLabelingPredictionImports": work.imports("pre-labels"),
    "Query.searchProjects": work.search_projects,
    "Query.benchmark": find_by_id("Benchmark", work.all_benchmarks),
    "Query.batch": find_by_id("Batch", work.all_batches),
    "Query.issue": _issue,
    "Query.task": _task,
    "Mutation.exportLabels": _export_labels,
    "Mutation.exportDataRowsInProject": start_export("Project"),
    "Mutation.exportDataRowsInCatalog": start_export("Catalog"),
    "Mutation.exportDataRowsInSlice": start_export("Slice"),
    "Mutation.exportDataRowsInModelRun": start_export("ModelRun"),
    "Organization.users": every(lambda world: world.users),
    "Organization.projects": _projects,
    "User.projects": _projects,
    "User.createdTasks": _created_tasks,
    "UserGroup.projects": lambda source, _: {
        "nodes": source["projects"],
        "totalCount": len(source["projects"]),
    },
    "UserGroup.members": lambda source, info: {
        "nodes": source["members"],
        "totalCount": len(source["members"]),
        "userGroupRoles": [
            {"userId": person.id, "roleId": info.context.world.roles[1]["id"]}
            for person in source["members"]
            if person.org_role  # whoever has none has none here
        ],
    },
    "Project.labels": _labels,
    "Project.datasets": _project_datasets,
    "Project.batches": guarded(_batches),
    "Batch.user": lambda source, _: source["createdBy"],
    "Project.members": guarded(work.members),
    "Project.projectModelConfigs": guarded(work.model_configs),
    "Project.labelingParameterOverrides": guarded(work.overrides),
    "Project.taskQueues": guarded(_task_queues),
    "TaskQueue.dataRowCount": _queue_count,
    "Project.workstreamStateCounts": guarded(_state_counts),
    "Project.labelerPerformance": guarded(_labeler_performance),
    "Project.reviewMetrics": guarded(lambda source, _: source),
    "ReviewMetrics.labelAggregate": _review_metrics,
    "Project.benchmarks": guarded(work.benchmarks),
    "Project.issues": guarded(_issues),
    "Project.issueCategories": guarded(work.categories),
    "Project.issueExportUrl": _issue_export_url,
    "Task.status": lambda source, info: info.context.data_row_exports.status(source),
    "Task.exportMetadataHeader": lambda source, info, stream_type: (
        info.context.data_row_exports.header(source, stream_type)
    ),
    "Task.exportFileFromOffset": lambda source, info, stream_type, offset: (
        info.context.data_row_exports.part(source, stream_type, offset)
    ),
    "LabelVersion.dataRowId": lambda source, _: source["label"].data_row.id,
    "LabelVersion.projectId": lambda source, _: source["project"].id,
    "LabelVersion.stage": lambda source, _: {
        "taskQueueId": source["project"].task_queues[0]["id"],
        "name": source["project"].task_queues[0]["name"],
        "type": source["project"].task_queues[0]["queueType"],
    },
    "LabelVersion.annotationCount": lambda source, _: len(
        content.label_content(source["label"])[0]
    ),
    "LabelVersion.label": lambda source, _: source["label"].label,
    "LabelVersion.labelJson": lambda source, _: notation.old(source["label"]),
    "Ontology.objectSchemaCount": _count_roots("tools"),
    "Ontology.classificationSchemaCount": _count_roots("classifications"),
    "Ontology.projects": lambda source, info, **_: [
        project for project in info.context.world.projects if project.ontology is source
    ],
    "DataRow.labels": lambda source, _info, **_: source.labels,
}
