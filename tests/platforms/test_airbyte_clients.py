"""Airbyte's own tools read from the source, in an environment of their own."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tap_labelbox.sandbox import World
from tests import figures
from tests.airbyte import configured, read_files
from tests.platforms.programs import CACHE, output_of
from tests.runner import PRIMARY_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner import Runner

HERE = Path(__file__).parent / "airbyte"
PYTHON = CACHE / "airbyte" / "bin" / "python"
COMMAND = Path(sys.executable).with_name("source-labelbox")
STREAMS = ["projects", "data_row_exports", "export_labels", "annotations", "labels"]


def test_airbytes_standard_tests_pass(run: Runner, tmp_path: Path) -> None:
    """All that are about a source that is no image."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(run.config()))
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(run.config(api_key="wrong")))
    output = run(*PRIMARY_KEYS)
    without_records = [
        {"name": name, "bypass_reason": "The sandbox has none."}
        for name in PRIMARY_KEYS
        if not output.records(name)
    ]
    scenarios = [
        {"config_path": str(config), "status": "succeed"},
        {"config_path": str(wrong), "status": "failed"},
    ]
    tests = {
        "spec": {"tests": [{"spec_path": "spec.json"}]},
        "connection": {"tests": scenarios},
        "discovery": {"tests": [{"config_path": str(config)}]},
        "basic_read": {
            "tests": [{"config_path": str(config), "empty_streams": without_records}]
        },
    }
    acceptance = {"connector_image": "tap-labelbox:dev", "acceptance_tests": tests}
    (tmp_path / "acceptance-test-config.yml").write_text(yaml.safe_dump(acceptance))
    data = {
        "name": "Labelbox",
        "dockerRepository": "tap-labelbox",
        "dockerImageTag": "dev",
        "definitionId": "6f0f7ad4-43d1-4ee1-8f3d-4a8f2a0a7b53",
        "connectorType": "source",
        "tags": ["language:python"],
    }
    metadata = {"metadataSpecVersion": "1.0", "data": data}
    (tmp_path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    test = tmp_path / "test_standard.py"
    test.write_text((HERE / "standard_tests.py").read_text())
    plugins = 'pytest_plugins = ["airbyte_cdk.test.standard_tests.pytest_hooks"]\n'
    (tmp_path / "conftest.py").write_text(plugins)

    words = ["-m", "pytest", "-q", "-rs", "-k", "not docker", "test_standard.py"]
    text, _ = output_of(PYTHON, *words, folder=tmp_path, SOURCE_LABELBOX=str(COMMAND))

    passed = re.search(r"(\d+) passed", text)
    assert passed
    assert int(passed[1]) >= 6, text[-2000:]


def pyairbyte(run: Runner, cache: Path) -> dict[str, Any]:
    """Read with PyAirbyte, and return what it counts."""
    settings = {
        "AIRBYTE_OFFLINE_MODE": "1",
        "AIRBYTE_LOGGING_ROOT": str(cache.parent / "logs"),
        "DO_NOT_TRACK": "1",
    }
    program = (PYTHON, HERE / "pyairbyte.py", COMMAND, run.config_file(), cache)
    output, _ = output_of(*program, *STREAMS, folder=cache.parent, **settings)
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def test_pyairbyte_has_what_singer_has(run: Runner, tmp_path: Path) -> None:
    """After two reads with changes between: the same keys, each once."""
    cache = tmp_path / "cache.duckdb"
    first = pyairbyte(run, cache)
    for project in run.world.projects:
        run.world.add_label(project.id, datetime.now(UTC) - timedelta(minutes=3))

    second = pyairbyte(run, cache)

    expected = run(*STREAMS)
    rows = {name: len(expected.records(name)) for name in STREAMS}
    assert second["rows"] == rows
    assert second["processed"] < first["processed"] / 2
    # Two versions of DuckDB: what this one cannot open, the other has counted.
    script = "import duckdb,json,sys; c=duckdb.connect(sys.argv[1],read_only=True);"
    script += "print(json.dumps({s:[list(map(str,r)) for r in c.sql(f'select {k} from"
    script += (
        " labelbox.{s}').fetchall()] for s,k in json.loads(sys.argv[2]).items()}))"
    )
    keys = {name: ", ".join(PRIMARY_KEYS[name]) for name in STREAMS}
    output, _ = output_of(PYTHON, "-c", script, cache, json.dumps(keys))
    total = sum(second["rows"].values())
    text = f"rows of PyAirbyte, of {first['processed']:,} and {second['processed']:,}"
    figures.count(text, total)
    for name, own in json.loads(output).items():
        singer = [
            [str(r[k]) for k in PRIMARY_KEYS[name]] for r in expected.records(name)
        ]
        assert sorted(own) == sorted(singer), name


def cpu_seconds(*arguments: object) -> float:
    """Return the CPU time that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # not a path of a file
        subprocess.run(
            [*map(str, arguments)], stdout=nowhere, stderr=nowhere, check=True
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def test_it_is_as_fast_as_singer(serving: Callable[..., Runner]) -> None:
    """Within a tenth of its CPU time, by the best of some runs."""
    run = serving(World(seed=1, labels=6000))
    names = ("data_row_exports", "export_labels", "annotations", "label_reviews")
    airbyte = [COMMAND, *read_files(run, configured(*names))]
    singer = COMMAND.with_name("tap-labelbox")
    tap = run.tap()
    catalog = tap.catalog_dict
    for entry in catalog["streams"]:
        for part in entry["metadata"]:
            if not part["breadcrumb"]:
                part["metadata"]["selected"] = entry["tap_stream_id"] in names
    assert run.folder
    path = run.folder / "singer.json"
    path.write_text(json.dumps(catalog))
    plain = [singer, "--config", run.config_file(), "--catalog", path]

    own, other = [], []
    for _ in range(5):
        own.append(cpu_seconds(*airbyte))
        other.append(cpu_seconds(*plain))

    start = min(cpu_seconds(COMMAND, "spec") for _ in range(3))
    begin = min(cpu_seconds(singer, "--about") for _ in range(3))
    ratio = (min(own) - start) / (min(other) - begin)
    text = f"Airbyte {min(own):.2f} s, Singer {min(other):.2f} s of CPU"
    figures.count(f"{text}, without their starts {ratio:.2f} to 1")
    assert ratio < 1.1, (own, other, start, begin)


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_a_read_that_is_stopped_goes_on(
    serving: Callable[..., Runner], name: str
) -> None:
    """By either signal, in the middle: the next read completes the first."""
    run = serving(World(seed=1))
    arguments = read_files(run, configured(*STREAMS))
    got: Counter[str] = Counter()
    states: dict[str, Any] = {}
    keys: dict[str, set[tuple[str, ...]]] = {stream: set() for stream in STREAMS}
    pending: dict[str, set[tuple[str, ...]]] = {stream: set() for stream in STREAMS}

    def take(line: str) -> None:
        message = json.loads(line)
        if message["type"] == "RECORD":
            stream, row = message["record"]["stream"], message["record"]["data"]
            pending[stream].add(tuple(str(row[k]) for k in PRIMARY_KEYS[stream]))
            got[stream] += 1
        elif message["type"] == "STATE":
            stream = message["state"]["stream"]["stream_descriptor"]["name"]
            states[stream] = message["state"]
            keys[stream] |= pending[stream]
            pending[stream].clear()

    with subprocess.Popen(
        [COMMAND, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line.endswith("\n"):
                take(line)
            if sum(got.values()) == 500:
                os.kill(process.pid, signal.Signals[f"SIG{name}"])
                got["over"] += 10_000
    assert process.returncode < 0
    for own in pending.values():
        own.clear()
    arguments = read_files(run, configured(*STREAMS), [*states.values()])
    output, _ = output_of(COMMAND, *arguments)
    for line in output.split("\n")[:-1]:
        take(line)

    expected = run(*STREAMS)
    for stream in STREAMS:
        own = {
            tuple(str(r[k]) for k in PRIMARY_KEYS[stream])
            for r in expected.records(stream)
        }
        assert own == keys[stream]
