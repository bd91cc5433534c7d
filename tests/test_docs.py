"""README, the pages in docs, meltano.yml and the Hub listing state facts."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tap_labelbox.settings import SETTINGS
from tap_labelbox.singer.setting_values import types_of
from tap_labelbox.streams import STREAMS
from tap_labelbox.streams.joins import joins_of
from tests.runner import command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
RUNNING = PAGES["docs/running.md"]
SETTINGS_TABLE = (
    PAGES["docs/settings.md"].split("begin settings")[1].split("end settings")[0]
)
MELTANO = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
(EXTRACTOR,) = MELTANO["plugins"]["extractors"]


def about() -> dict[str, Any]:
    """Return what the tap says of itself."""
    logged: dict[str, Any] = json.loads(command("--about", "--format=json").stdout)
    return logged


def test_generated_documents_are_fresh() -> None:
    """Settings and streams stand in the documents as they stand in the code."""
    script = ROOT / "scripts" / "write_docs.py"

    done = subprocess.run(
        [sys.executable, script, "--check"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stderr


HUB = yaml.safe_load((ROOT / "docs" / "hub.yml").read_text("utf-8"))
BLOCK = re.search(r"begin plugin -->\n```yaml\n(.*?)```", README, re.DOTALL)
assert BLOCK
(PLUGIN,) = yaml.safe_load(BLOCK[1])["plugins"]["extractors"]


def parts(
    schemas: dict[str, Any], prefix: str = "", *, is_set: bool = True
) -> dict[str, Any]:
    """Return the schemas of settings, and those of the parts of objects, dotted.

    A default counts only where the whole has one too.
    """
    result: dict[str, Any] = {}
    for name, schema in schemas.items():
        if schema.get("properties") and name != "stream_maps":
            within = is_set and "default" in schema
            inner = parts(schema["properties"], f"{prefix}{name}.", is_set=within)
            result |= inner if prefix else inner | {name: {"type": ["object"]}}
        else:
            kept = is_set or schema.get("default") is None
            result[prefix + name] = schema if kept else schema | {"default": None}
    return result


def test_settings_are_listed_everywhere() -> None:
    """In meltano.yml, at the Hub, in the README and its page, as in --about."""
    schemas = about()["settings"]["properties"]
    table = re.findall(r"^\| `(\w+)` \|", SETTINGS_TABLE, re.MULTILINE)
    coded, own = parts(schemas), parts({name: schemas[name] for name in table})
    of_the_sdk = ("faker_config", "flattening_", "stream_map")
    listed_rows = {
        "hub.yml": {entry["name"]: entry for entry in HUB["settings"]},
        "meltano.yml": {entry["name"]: entry for entry in EXTRACTOR["settings"]},
    }

    assert set(listed_rows["hub.yml"]) == set(coded)
    assert set(listed_rows["meltano.yml"]) == set(own)
    assert {entry["name"] for entry in PLUGIN["settings"]} == set(own)
    assert all(name.startswith(of_the_sdk) for name in set(coded) - set(own))
    for name, entry in [item for all_ in listed_rows.values() for item in all_.items()]:
        assert entry.get("value") == coded[name].get("default"), name
        assert entry.get("sensitive", False) == coded[name].get("secret", False), name
        assert entry.get("description"), name
        options = [option["value"] for option in entry.get("options", [])]
        assert options == coded[name].get("enum", []), name
    in_block = {entry["name"]: entry.get("kind") for entry in PLUGIN["settings"]}
    for name, entry in listed_rows["meltano.yml"].items():
        text = entry["kind"] in ("string", "options")
        assert in_block[name] == (None if text else entry["kind"]), name


def test_kinds_take_whatever_the_tap_takes() -> None:
    """Meltano ends with a traceback at 0.5 of kind integer, any decimal, `a, b`."""
    coded = parts(about()["settings"]["properties"])
    for entry in HUB["settings"]:
        types = types_of(coded[entry["name"]]) - {"null"}
        if types & {"number", "array"} or not types:
            assert entry["kind"] == "string", entry
        elif "string" not in types:
            assert {entry["kind"]} == types, entry


def test_the_listing_has_its_keys_in_the_hubs_order() -> None:
    """That of the alphabet, at every depth; and a logo that is there."""

    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert list(value) == sorted(value)
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                check(item)

    check(HUB)
    release = "https://raw.githubusercontent.com/tap-labelbox/tap-labelbox/v"
    path = HUB["logo_url"].removeprefix(release).partition("/")[2]
    assert (ROOT / path).read_bytes().startswith(b"\x89PNG")
    assert {"prereq", "usage", "next_steps"} <= set(HUB)


def test_capabilities_are_those_of_the_tap() -> None:
    """In meltano.yml, in the Hub listing and in the README's example."""
    coded = sorted(about()["capabilities"])

    assert EXTRACTOR["capabilities"] == coded
    assert HUB["capabilities"] == coded
    assert PLUGIN["capabilities"] == coded


def test_meltano_yml_has_two_environments_and_two_loaders() -> None:
    """One to try, one to use."""
    assert {e["name"] for e in MELTANO["environments"]} >= {"demo", "live"}
    assert len(MELTANO["plugins"]["loaders"]) >= 2


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_every_column_is_described_once(stream: Any) -> None:
    """docs/streams.md has a line for it."""
    page = (ROOT / "docs" / "streams.md").read_text("utf-8")
    section = page.split(f"\n## {stream.name}\n")[1].split("\n## ")[0]
    columns = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    assert columns == list(stream.schema["properties"])


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_every_stream_says_what_it_is_good_for(stream: Any) -> None:
    """Beside its key, its bookmark, and what it joins with."""
    page = (ROOT / "docs" / "streams.md").read_text("utf-8")
    section = page.split(f"\n## {stream.name}\n")[1].split("\n## ")[0]

    assert re.search(r"^Good for \w", section, re.MULTILINE)
    assert "\n- Key: `" in section
    assert "\n- Bookmark: " in section
    assert section.count("\n- Join: ") == len([*joins_of(stream)])


def test_the_diagram_is_one() -> None:
    """Every stream stands in it, and each line is Mermaid's."""
    page = (ROOT / "docs" / "streams.md").read_text("utf-8")
    first, *lines = page.split("```mermaid\n")[1].split("\n```")[0].split("\n")
    joins = [re.fullmatch(r'    (\w+) }o--(?:\|\||o{) (\w+) : "\w+"', x) for x in lines]
    entities = [re.fullmatch(r"    (\w+) {", line) for line in lines]
    rest = [
        line
        for line, join, entity in zip(lines, joins, entities, strict=True)
        if not (join or entity)
    ]

    assert first == "erDiagram"
    assert {e[1] for e in entities if e} == {stream.name for stream in STREAMS}
    attribute = r" {8}(string|integer|date-time) \w+ (PK|FK|PK, FK)|    }"
    assert [line for line in rest if not re.fullmatch(attribute, line)] == []


def test_what_is_shown_of_the_demo_is_what_it_prints() -> None:
    """Every line of the demo's text, but for numbers that differ each time."""
    shown = (
        PAGES["docs/demo.md"]
        .split("<!-- begin demo -->")[1]
        .split("<!-- end demo -->")[0]
    )
    script = (ROOT / "scripts" / "demo.py").read_text("utf-8")

    for heading in ("First run: everything", "Labels by project", "Labels by labeler"):
        assert heading in shown
        assert heading in script


@pytest.mark.parametrize(
    ("text", "case", "other"),
    [
        (RUNNING, "labels-100ms", "client"),
        (RUNNING, "exports", "client"),
        (PAGES["docs/sdk-proposal.md"], "exports", "plain"),
    ],
)
def test_figures_are_those_that_were_measured(text: str, case: str, other: str) -> None:
    """Rounded, as benchmarks/results.md has them."""
    results = (ROOT / "benchmarks" / "results.md").read_text("utf-8")
    ratio = re.search(
        rf"^\| {case} \| tap \| {other} \| ([\d.]+)", results, re.MULTILINE
    )

    assert ratio
    assert f"{float(ratio[1]):.1f}" in text


def test_memory_is_what_is_promised() -> None:
    """In every case that was measured."""
    results = (ROOT / "benchmarks" / "results.md").read_text("utf-8")
    peaks = re.findall(r"^\| memory, .*? \| ([\d.]+) MB \|", results, re.MULTILINE)

    assert "memory stays below 150 MB" in RUNNING
    assert len(peaks) >= 7
    assert all(float(peak) < 150 for peak in peaks)


LINK_PATTERN = sorted(
    {
        (page, x)
        for page, text in PAGES.items()
        for x in re.findall(r"]\(([^)]+)\)", text)
    }
)
BLOB = "https://github.com/tap-labelbox/tap-labelbox/blob/main/"


def test_links_are_whole() -> None:
    """PyPI shows the README as well, where a path leads nowhere."""
    links = [link for page, link in LINK_PATTERN if page == "README.md"]

    assert [x for x in links if not x.startswith(("https://", "#"))] == []


@pytest.mark.parametrize(
    ("page", "link"),
    [x for x in LINK_PATTERN if not x[1].startswith("http") or BLOB in x[1]],
)
def test_links_lead_somewhere(page: str, link: str) -> None:
    """To a file of the repository, and a heading in it."""
    path, _, heading = link.removeprefix(BLOB).partition("#")
    folder = ROOT if link.startswith(BLOB) else (ROOT / page).parent
    text = (folder / path if path else ROOT / page).read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}

    assert not heading or heading in anchors


def test_the_modules_that_lead_through_the_code_are_there() -> None:
    """Where CONTRIBUTING.md says what is done in each."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = page.split("The way of a row")[1].split("`sandbox/`")[0]
    modules = re.findall(r"`(\w+/\w+\.py)`", section)

    assert len(modules) > 10
    assert all((ROOT / "tap_labelbox" / module).is_file() for module in modules)


def test_the_readme_leads_to_every_page() -> None:
    """But for the proposal, which is for the authors of the SDK."""
    linked = {
        link.removeprefix(BLOB) for page, link in LINK_PATTERN if page == "README.md"
    }

    assert {*PAGES} - linked == {"README.md", "docs/sdk-proposal.md"}


@pytest.mark.parametrize(
    "loader", MELTANO["plugins"]["loaders"], ids=lambda loader: str(loader["name"])
)
def test_loaders_are_pinned_as_they_are_tested(loader: dict[str, Any]) -> None:
    """By `make test-warehouses`, but for those that only GitHub has."""
    source = (ROOT / "warehouses" / "pyproject.toml").read_text("utf-8")
    groups = tomllib.loads(source)["dependency-groups"]
    name = loader["name"].removeprefix("target-")
    pins = shlex.split(loader["pip_url"])

    assert pins[0].startswith("git+") or {*pins} <= {*groups[name]}


@pytest.mark.parametrize("name", ["README.md", "meltano.yml", "docs/hub.yml"])
def test_what_is_installed_from_git_is_the_release(name: str) -> None:
    """By its tag, not whatever main has become."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / name).read_text("utf-8")

    tags = re.findall(
        r"(?:git\+https://github\.com|https://raw\.githubusercontent\.com)"
        r"/tap-labelbox/tap-labelbox([@/]v[\w.]+)?",
        text,
    )

    assert tags
    assert {tag[1:] for tag in tags} == {f"v{project['version']}"}


def test_the_image_is_that_of_the_release() -> None:
    """By its tag, wherever a page names it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    image = re.compile(r"ghcr\.io/tap-labelbox/tap-labelbox:([\w.]+)")
    tags = {page: {*image.findall(text)} for page, text in PAGES.items()}

    assert {page for page, own in tags.items() if own} >= {
        "README.md",
        "docs/container.md",
    }
    assert set().union(*tags.values()) == {project["version"]}


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("requirements-*.txt")), ids=lambda path: path.name
)
def test_all_that_is_pinned_has_hashes(path: Path) -> None:
    """And says nothing of the registry they came from."""
    text = path.read_text("utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE))

    assert len(entries) > 3
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.]+ ", entry), entry
        assert " --hash=sha256:" in entry
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)


def test_everything_is_installed_with_its_hash() -> None:
    """By make and in workflows; what is not is named in CONTRIBUTING.md."""
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    lines = [
        line
        for path in (ROOT / "Makefile", ROOT / "Containerfile", *workflows)
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"pip install|call install", line)
        and not line.lstrip().startswith(("#", "||"))
    ]
    without = [line.strip() for line in lines if "--require-hashes" not in line]

    assert len(lines) > len(without)
    assert all(
        "--no-deps" in line  # this package, from here
        or "$(1)" in line  # what `install` was called with
        or "--resolution lowest-direct" in line
        or "--prerelease allow" in line
        for line in without
    ), without


def test_what_is_published_was_built_before_anything_else_ran() -> None:
    """By a job of its own; the others test it, and none publishes without them."""
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    jobs = yaml.safe_load(workflow)["jobs"]
    made = {
        name: [step["run"] for step in job["steps"] if "make " in step.get("run", "")]
        for name, job in jobs.items()
    }
    uploads = [
        name
        for name, job in jobs.items()
        for step in job["steps"]
        if "upload-artifact" in step.get("uses", "")
    ]

    assert made["build"] == ["make build"]
    assert "needs" not in jobs["build"]
    assert "needs" not in jobs["image"]
    assert set(uploads) == {"build", "image"}
    assert not made["pypi"] + made["image"] + made["image-publish"]
    assert {"build", "check", "test", "image-test"} <= set(
        jobs["image-publish"]["needs"]
    )
    assert {"build", "check", "test"} <= set(jobs["pypi"]["needs"])
    (publish,) = (s for s in jobs["pypi"]["steps"] if "pypi-publish" in s["uses"])
    assert publish["with"]["attestations"] is True


def test_known_vulnerabilities_are_looked_for() -> None:
    """In every pull request, each week, and before a release."""
    folder = ROOT / ".github" / "workflows"
    result = {
        name: yaml.safe_load((folder / f"{name}.yml").read_text("utf-8"))
        for name in ("test", "release")
    }

    assert {"pull_request", "schedule"} <= set(result["test"][True])  # YAML's `on`
    assert "audit" in result["test"]["jobs"]["all-green"]["needs"]
    for workflow in result.values():
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        assert "make audit" in [step.get("run") for step in steps]


def test_settings_have_titles_and_descriptions() -> None:
    """A user sees them in --about, in Meltano and at the Hub."""
    for name, schema in SETTINGS["properties"].items():
        assert schema.get("title"), name
        assert schema.get("description"), name


@pytest.mark.parametrize(
    "text",
    [
        PAGES["README.md"],
        PAGES["docs/files.md"],
        SETTINGS["properties"]["batch_config"]["description"],
    ],
    ids=["README", "files", "setting"],
)
def test_who_loads_no_batch_files_and_hides_it_is_named(text: str) -> None:
    """They confirm the state of what they skip, and the tap cannot see it."""
    assert "target-sqlite" in text
    assert "target-bigquery" in text
    assert re.search(r"confirm the state.{0,20} load nothing", text)
    assert "cannot see" in text


def test_the_pin_of_duckdb_is_reported_with_what_it_loses() -> None:
    """And where the version is that loses nothing."""
    (loader,) = (
        item
        for item in MELTANO["plugins"]["loaders"]
        if item["name"] == "target-duckdb"
    )
    source = (ROOT / "meltano.yml").read_text("utf-8")
    for text in (PAGES["README.md"], source):
        assert loader["pip_url"] in text
        assert "git+https://github.com/MeltanoLabs/target-duckdb.git" in text
        assert re.search(r"first row of a table whose columns are all\s+text", text)
