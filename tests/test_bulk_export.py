"""The stream of bulk exports: waited for, downloaded, unfolded."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_labelbox.api.errors import IncompleteError
from tap_labelbox.sandbox import Reply, World
from tap_labelbox.sandbox.replies import error

if TYPE_CHECKING:
    from tap_labelbox.sandbox import Request, Sandbox
    from tests.runner import Output, Runner

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def all_ids(world: World) -> list[str]:
    """Return every label that the key may see."""
    return sorted(label.id for p in world.projects for label in world.labels(p.id))


def downloads(sandbox: Sandbox) -> list[Request]:
    """Return the requests for files."""
    return [r for r in sandbox.requests if r.path.startswith("/files/")]


def bookmarks(output: Output) -> dict[str, str]:
    """Return the bookmark of each project."""
    return {
        partition["context"]["project_id"]: partition.get("replication_key_value")
        for partition in output.state["bookmarks"]["bulk_export"]["partitions"]
    }


def test_every_label_comes_once(run: Runner, world: World) -> None:
    """Of every project, whatever the era of its file."""
    assert sorted(run("bulk_export").ids("bulk_export")) == all_ids(world)


def served(rows: Any) -> Any:
    """Return a hook that answers every download with these rows."""
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()

    def hook(request: Request) -> Reply | None:
        if request.path.startswith("/files/"):
            return Reply(200, {"Content-Type": "application/json"}, body)
        return None

    return hook


@pytest.fixture
def single(serving: Any) -> Runner:
    """Run the tap on a workspace of one project."""
    runner: Runner = serving(World(projects=1, labels=5))
    return runner


def exported(single: Runner, *rows: Any) -> list[dict[str, Any]]:
    """Return the records that come of a file with these rows."""
    single.sandbox.before = served(list(rows))
    output = single("bulk_export")
    assert output.error is None
    return output.records("bulk_export")


def test_columns_have_snake_case_names(single: Runner) -> None:
    """Every column that a file ever had, in any era."""
    (record,) = exported(
        single,
        {
            "ID": "c1",
            "DataRow ID": "c2",
            "Labeled Data": "https://example.com/1.jpg",
            "Label": {"objects": []},
            "Created By": "a@example.com",
            "Project Name": "Cars",
            "Created At": "2021-07-20T19:17:46.000Z",
            "Updated At": "2021-07-20T19:19:10.000Z",
            "Seconds to Label": 16.397,
            "Seconds to Review": 2,
            "Seconds to Create": 14.5,
            "External ID": "1.jpg",
            "Global Key": None,
            "Agreement": -1,
            "Benchmark Agreement": 0.5,
            "Benchmark ID": "c3",
            "Benchmark Reference ID": "c4",
            "Dataset Name": "All",
            "Reviews": [{"id": "c5", "score": 1, "createdAt": "2021-07-21"}],
            "View Label": "https://example.com",
            "Has Open Issues": 0.0,
            "Skipped": False,
            "DataRow Metadata": [],
            "Media Attributes": {"width": 3},
            "Data Split": "training",
            "media_type": "image",
        },
    )

    assert record.pop("exported_at").endswith("Z")
    assert record.pop("project_id") == single.world.projects[0].id
    assert record == {
        "id": "c1",
        "data_row_id": "c2",
        "row_data": "https://example.com/1.jpg",
        "label": '{"objects":[]}',
        "created_by_email": "a@example.com",
        "project_name": "Cars",
        "created_at": "2021-07-20T19:17:46.000Z",
        "updated_at": "2021-07-20T19:19:10.000Z",
        "seconds_to_label": 16.397,
        "seconds_to_review": 2,
        "seconds_to_create": 14.5,
        "external_id": "1.jpg",
        "global_key": None,
        "agreement": None,  # of -1
        "benchmark_agreement": 0.5,
        "benchmark_id": "c3",
        "benchmark_reference_id": "c4",
        "dataset_name": "All",
        "reviews": [{"id": "c5", "score": 1, "createdAt": "2021-07-21"}],
        "view_label": "https://example.com",
        "has_open_issues": False,
        "is_skipped": False,
        "metadata_fields": [],
        "media_attributes": {"width": 3},
        "data_split": "training",
        "media_type": "image",
        "additional_columns": {},
    }


@pytest.mark.parametrize(
    "label",
    [
        "Skip",
        {},
        {"Car": "MULTIPOLYGON (((1 2, 3 4)))"},
        [{"frameNumber": 1, "objects": []}],
        {"objects": [{"title": "Zürich\u2028 🚗", "bbox": {"top": 1.5}}]},
    ],
)
def test_a_label_is_json_whatever_its_era(single: Runner, label: Any) -> None:
    """As text, which any database takes; the word Skip too."""
    (record,) = exported(single, {"ID": "c1", "Label": label})

    assert json.loads(record["label"]) == label


@pytest.mark.parametrize(
    ("item", "skipped"),
    [
        ({"Label": "Skip"}, True),
        ({"Skipped": None, "Label": "Skip"}, True),
        ({"label": "Skip"}, True),
        ({"Label": "Skip", "Skipped": False}, False),
        ({"Label": {}}, None),
        ({"Label": ["Skip"]}, None),
        ({"Label": {"objects": []}, "Skipped": True}, True),
    ],
)
def test_the_word_skip_tells_what_no_column_does(
    single: Runner, item: Any, skipped: Any
) -> None:
    """A column of its own is believed first."""
    (record,) = exported(single, {"ID": "c1"} | item)

    assert record["is_skipped"] is skipped


def test_seconds_that_are_text_become_a_number(single: Runner) -> None:
    """As files of early 2018 have them."""
    (record,) = exported(single, {"ID": "c1", "Seconds to Label": "5.249"})

    assert record["seconds_to_label"] == 5.249


@pytest.mark.parametrize(
    ("inputs", "flag"),
    [(0, False), (1, True), (0.0, False), (1.0, True), ("01", True), (True, True)],
)
def test_whether_an_issue_is_open_is_true_or_false(
    single: Runner, inputs: Any, flag: Any
) -> None:
    """Files have a number for it."""
    (record,) = exported(single, {"ID": "c1", "Has Open Issues": inputs})

    assert record["has_open_issues"] is flag
    assert record["additional_columns"] == {}


@pytest.mark.parametrize(
    ("item", "column", "value", "rest"),
    [
        ({"Created By": "a", "created_by_email": "b"}, "created_by_email", "a", "b"),
        ({"is_skipped": True, "Skipped": False}, "is_skipped", True, False),
        ({"row_data": None, "Labeled Data": "x"}, "row_data", "x", None),
        (
            {"DataRow Metadata": [], "Metadata Fields": [{}]},
            "metadata_fields",
            [],
            [{}],
        ),
    ],
)
def test_two_values_of_one_column_are_both_kept(
    single: Runner, item: Any, column: str, value: Any, rest: Any
) -> None:
    """The first in it, the other as the file calls it."""
    (record,) = exported(single, {"ID": "c1"} | item)

    assert record[column] == value
    expected = {} if rest is None else {[*item][-1]: rest}
    assert record["additional_columns"] == expected


def test_what_has_no_column_or_does_not_fit_is_kept(single: Runner) -> None:
    """Under its name in the file; nothing is lost, and nothing changed."""
    variant = {
        "Weather": {"sky": "blue"},
        "Project ID": "not ours to overwrite",
        "Seconds to Label": "about five",
        "Created At": "yesterday",
        "Skipped": "yes",
        "Reviews": "none",
        "Has Open Issues": 2,
        "additional columns": 1,
    }

    (record,) = exported(single, {"ID": "c1", "Label": None} | variant)

    assert record["additional_columns"] == variant
    assert record["project_id"] == single.world.projects[0].id
    assert record["created_at"] is record["is_skipped"] is record["label"] is None


def test_a_file_is_not_downloaded_twice(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """Within 30 minutes Labelbox gives the same file again."""
    first = run("bulk_export", now=NOW)
    count = len(downloads(sandbox))

    again = run("bulk_export", now=NOW + timedelta(minutes=20), state=first.state)
    later = run("bulk_export", now=NOW + timedelta(minutes=40), state=first.state)

    assert again.ids("bulk_export") == []
    assert bookmarks(again) == bookmarks(first)
    assert sorted(later.ids("bulk_export")) == all_ids(world)
    assert len(downloads(sandbox)) == 2 * count


def test_the_key_goes_to_no_download(run: Runner, sandbox: Sandbox) -> None:
    """The link is signed; the key would only leak."""
    run("bulk_export")

    assert downloads(sandbox)
    for request in downloads(sandbox):
        assert "authorization" not in {name.lower() for name in request.headers}
        assert sandbox.api_key not in str(request.headers)


@pytest.mark.parametrize("exports_v1", ["retired", "forbidden"])
def test_a_retired_bulk_export_is_one_warning(
    world: World, serving: Any, exports_v1: str, caplog: Any
) -> None:
    """It names the replacement; the other streams go on, and it is no failure."""
    output = serving(world, exports_v1=exports_v1)()

    problem = [
        r for r in caplog.records if "does not offer the bulk export" in r.message
    ]
    assert [r.levelname for r in problem] == ["WARNING"]
    assert "data row export" in problem[0].message
    assert output.error is None
    assert output.ids("bulk_export") == []
    assert sorted(output.ids("labels")) == all_ids(world)


def test_a_download_that_breaks_goes_on_where_it_broke(
    run: Runner, sandbox: Sandbox, world: World, monkeypatch: Any
) -> None:
    """Even if it breaks again and again."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("tap_labelbox.api.downloads.CHUNK_BYTES", 1000)
    bodies: dict[str, bytes] = {}
    ranges = []

    def cut(request: Request) -> Reply | None:
        if not request.path.startswith("/files/"):
            return None
        asked = request.headers.get("Range")
        ranges.append(asked)
        body = bodies.setdefault(request.path, json.dumps(rows).encode())
        if asked:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            part = f"bytes {start}-{len(body) - 1}/{len(body)}"
            rest = body[start:]
            # The second time it breaks again, the third time it is whole.
            stop = 1500 if len(ranges) == 2 else None
            return Reply(206, {"Content-Range": part}, rest, cut=stop)
        return Reply(200, {}, body, cut=2500)

    rows = [{"ID": f"c{n}", "Label": {"objects": [n] * 20}} for n in range(50)]
    sandbox.before = cut
    output = run("bulk_export", project_ids=[world.projects[0].id])

    assert output.ids("bulk_export") == [row["ID"] for row in rows]
    assert ranges[0] is None
    assert all(text and text.startswith("bytes=") for text in ranges[1:])
    assert len(ranges) >= 3


def test_a_server_without_ranges_is_read_from_the_start(
    run: Runner, sandbox: Sandbox, world: World, monkeypatch: Any
) -> None:
    """Bytes that were read already are passed over."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("tap_labelbox.api.downloads.CHUNK_BYTES", 500)
    rows = [{"ID": f"c{n}", "Label": {}} for n in range(100)]
    cuts = iter([900, 1700])

    def cut(request: Request) -> Reply | None:
        if request.path.startswith("/files/"):
            return Reply(200, {}, json.dumps(rows).encode(), cut=next(cuts, None))
        return None

    sandbox.before = cut
    output = run("bulk_export", project_ids=[world.projects[0].id])

    assert output.ids("bulk_export") == [row["ID"] for row in rows]


def test_an_expired_link_is_asked_for_anew(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """Once or twice; a link that never opens leaves the project out."""
    project_id = world.projects[0].id
    replies = iter([Reply(403, {}, b"expired"), Reply(403, {}, b"expired")])

    def expire(request: Request) -> Reply | None:
        return next(replies, None) if request.path.startswith("/files/") else None

    sandbox.before = expire
    output = run("bulk_export", project_ids=[project_id])

    assert output.error is None
    assert len(output.ids("bulk_export")) == len(world.labels(project_id))

    sandbox.before = lambda r: (
        Reply(403, {}, b"") if r.path.startswith("/files/") else None
    )
    output = run("bulk_export", project_ids=[project_id])

    assert isinstance(output.error, IncompleteError)


@pytest.mark.parametrize("minutes", [0, 31])
def test_a_link_that_expires_in_the_middle(
    single: Runner, monkeypatch: Any, minutes: int
) -> None:
    """The same file is read on, with no row twice; a newer one is begun anew."""
    monkeypatch.setattr("tap_labelbox.api.retries.MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("tap_labelbox.api.downloads.CHUNK_BYTES", 500)
    ends = iter(["half", "expired"])

    def end(request: Request, reply: Reply) -> Reply | None:
        kind = next(ends, None) if request.path.startswith("/files/") else None
        if kind == "expired":
            single.world.now = lambda: NOW + timedelta(minutes=minutes)
            return Reply(403, {}, b"expired")
        return replace(reply, cut=len(reply.content()) // 2) if kind else None

    single.sandbox.after = end
    output = single("bulk_export", now=NOW)

    assert output.error is None
    every = [label.id for label in single.world.labels(single.world.projects[0].id)]
    if minutes:
        begun = len(output.ids("bulk_export")) - len(every)
        assert 0 < begun < len(every)
        assert output.ids("bulk_export") == every[:begun] + every
    else:
        assert output.ids("bulk_export") == every


def test_a_file_that_comes_broken_is_asked_for_again(
    single: Runner, caplog: Any
) -> None:
    """No item comes twice; each try is logged."""
    page = Reply(200, {"Content-Type": "text/html"}, b"<html>Log in</html>")
    broken = iter([page, None])

    def break_it(request: Request, reply: Reply) -> Reply | None:
        if not request.path.startswith("/files/"):
            return None
        content = reply.content()
        short = replace(reply, body=content[: len(content) // 2])
        return next(broken, reply) or short

    single.sandbox.after = break_it
    output = single("bulk_export")

    assert output.error is None
    every = [label.id for label in single.world.labels(single.world.projects[0].id)]
    assert output.ids("bulk_export") == every
    assert len([m for m in caplog.messages if m.endswith("export again")]) == 2


def test_an_export_that_is_refused_is_asked_for_once(run: Runner, world: World) -> None:
    """A file that comes broken is another matter."""
    asked = []

    def refuse(request: Request) -> Reply | None:
        if request.operation != "ExportLabels":
            return None
        asked.append(request.variables["project_id"])
        return Reply(200, {}, error("no", "RESOURCE_NOT_FOUND"))

    run.sandbox.before = refuse

    assert isinstance(run("bulk_export").error, IncompleteError)
    assert sorted(asked) == sorted(project.id for project in world.projects)


@pytest.mark.parametrize("body", [b"", b"<html>", b'[{"ID": "c1"}'])
def test_a_broken_file_moves_no_bookmark(single: Runner, body: bytes) -> None:
    """The next run reads it again; this one says which project it was."""
    single.sandbox.before = served(body)
    output = single("bulk_export")

    assert isinstance(output.error, IncompleteError)
    assert single.world.projects[0].id in str(output.error)
    assert bookmarks(output) in ({}, {single.world.projects[0].id: None})
    assert len(output.ids("bulk_export")) == body.count(b"ID")


def test_items_without_id_are_named(single: Runner, caplog: Any) -> None:
    """A few of them, without what is secret; the others are read."""
    link = {"Labeled Data": "https://example.com/1.jpg?Signature=1"}
    variant: list[Any] = [None, link, {"ID": ""}, *[[]] * 90]
    single.sandbox.before = served([{"ID": "c1"}, *variant, {"ID": "c2"}])

    output = single("bulk_export")

    project_id = single.world.projects[0].id
    assert output.ids("bulk_export") == ["c1", "c2"]
    assert isinstance(output.error, IncompleteError)
    assert f"left out: 93 malformed rows of bulk_export of project {project_id}" in str(
        output.error
    )
    problem = [m for m in caplog.messages if "is left out: it has no ID" in m]
    assert len(problem) == 10
    assert problem[1].startswith("item 3 of bulk_export")
    assert problem[1].endswith("(its keys: Labeled Data)")
    assert problem[-1].endswith("(no more of these are named)")
    assert bookmarks(output)[project_id]


def test_an_export_that_is_never_ready_leaves_its_project_out(
    serving: Any, world: World
) -> None:
    """The others may be, and the log says what to change."""
    output = serving(world, polls=10_000)("bulk_export", export_timeout=0.05)

    assert isinstance(output.error, IncompleteError)


def test_an_empty_file_is_read_once(single: Runner) -> None:
    """A project without labels has an export too."""
    single.sandbox.before = served([])
    first = single("bulk_export", now=NOW)
    single.sandbox.before = None

    second = single("bulk_export", now=NOW, state=first.state)

    assert first.error is None
    assert second.ids("bulk_export") == []
    assert len(downloads(single.sandbox)) == 1


def test_a_file_older_than_the_last_one_is_not_read(
    run: Runner, sandbox: Sandbox, world: World
) -> None:
    """As a server may give it that lags behind: its rows would stay."""
    first = run("bulk_export", now=NOW)
    later = NOW + timedelta(minutes=40)
    for project in world.projects:
        world.add_label(project.id, NOW + timedelta(minutes=1))
    second = run("bulk_export", now=later, state=first.state)
    assert second.ids("bulk_export")

    def lagging(request: Request, reply: Reply) -> Reply | None:
        if request.operation == "ExportLabels" and reply.body.get("data"):
            reply.body["data"]["exportLabels"]["created_at"] = NOW.isoformat()
        return None

    sandbox.after = lagging
    third = run("bulk_export", now=later, state=second.state)

    assert third.error is None
    assert third.ids("bulk_export") == []
    assert bookmarks(third) == bookmarks(second)
