"""The image: built by buildah of Debian's packages, run by podman without any rights.

``IMAGE`` in the environment names one that is there already: that is tested then.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from tests.airbyte import configured, messages, records, statuses
from tests.platforms import programs
from tests.platforms.programs import ROOT, output_of
from tests.runner import PRIMARY_KEYS, Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runner import Runner

CACHE = programs.CACHE / "image"
NAME = "localhost/tap-labelbox:tested"
BASE = "localhost/tap-labelbox-base:latest"
IMAGE_REFERENCE = os.environ.get("IMAGE")
TOOLS = ["podman"] if IMAGE_REFERENCE else ["podman", "buildah", "mmdebstrap"]
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
INCLUDE = "ca-certificates,python3,python3-venv"
STREAMS = ("projects", "annotations", "labels")
# How this machine reaches a registry is none of the image's business.
OF_THE_MACHINE = ("/etc/pip.conf", "/etc/ssl/certs", "/usr/share/ca-certificates")
IS_HYBRID = Path("/sys/fs/cgroup/unified").is_dir()
"""Whether there are control groups of both kinds, which podman's crun refuses."""
RUN = (
    *("podman", "--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "host"),
    *("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
    *(("--runtime", "runc") if IS_HYBRID else ()),
)

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: apt install {' '.join(MISSING)}"
)


def containers(*command: str | Path) -> str:
    """Run a program of containers', and return what it wrote."""
    storage = {"CONTAINERS_STORAGE_CONF": str(CACHE / "storage.conf")}
    return output_of(*command, folder=None, **({} if IMAGE_REFERENCE else storage))[0]


@pytest.fixture(scope="session")
def image() -> str:
    """Return the name of the image; it is built once for all processes."""
    if IMAGE_REFERENCE:
        return IMAGE_REFERENCE
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):
        storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{CACHE}/images"\n'
        (CACHE / "storage.conf").write_text(f'{storage}runroot = "{CACHE}/run"\n')
        archive, made = CACHE / "base.tar", CACHE / "made.tar"
        if not archive.exists():
            suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
            containers(
                "mmdebstrap", "--variant=minbase", f"--include={INCLUDE}", suite, made
            )
            containers("podman", "import", made, BASE)
            made.rename(archive)
        mounts = [f"{path}:{path}:ro" for path in OF_THE_MACHINE if Path(path).exists()]
        containers(
            *("buildah", "build", "--isolation", "chroot", "--layers", "--tag", NAME),
            *(f"--volume={mount}" for mount in mounts),
            *("--build-arg", f"BASE={BASE}", "--build-arg", "VERSION=1.2.3", ROOT),
        )
    return NAME


@pytest.fixture
def contained(image: str, run: Runner) -> Callable[..., str]:
    """Return what runs a command in the image, with the files of a run to read."""
    assert run.folder
    run.folder.chmod(0o755)  # the user of the image is another one

    def started(command: str, *arguments: str) -> str:
        assert run.folder
        for path in run.folder.iterdir():
            path.chmod(0o644)
        return containers(
            *(*RUN, "--entrypoint", command, "--volume", f"{run.folder}:/data:ro"),
            *(image, *arguments),
        )

    return started


def test_spec_is_written_by_default(image: str) -> None:
    """Airbyte starts the image with a command, and names no program."""
    (spec,) = messages(containers(*RUN, image, "spec"))

    assert spec["type"] == "SPEC"


def test_check_reaches_labelbox(run: Runner, contained: Callable[..., str]) -> None:
    """With the settings in a file, as the platform has them."""
    run.config_file()
    arguments = ("check", "--config", "config.json")
    (status,) = messages(contained("source-labelbox", *arguments))

    assert status["connectionStatus"]["status"] == "SUCCEEDED"


def test_airbyte_reads(run: Runner, contained: Callable[..., str]) -> None:
    """Each stream to its end, all records."""
    assert run.folder
    run.config_file()
    (run.folder / "catalog.json").write_text(json.dumps(configured(*STREAMS)))

    output = messages(
        contained(
            *("source-labelbox", "read", "--config", "config.json"),
            *("--catalog", "catalog.json"),
        )
    )

    expected = run(*STREAMS)
    for name in STREAMS:
        assert statuses(output)[name][-1] == "COMPLETE"
        assert len(records(output)[name]) == len(expected.records(name)) > 0


def test_singer_reads(run: Runner, contained: Callable[..., str]) -> None:
    """Everything that a run reads by default."""
    run.config_file()
    output = Output(contained("tap-labelbox", "--config", "config.json"))

    expected = run()
    for name in PRIMARY_KEYS:
        assert len(output.records(name)) == len(expected.records(name)), name


SCRIPT = """
import json, os, sys
from importlib.metadata import distributions
from pathlib import Path
import tap_labelbox
tools = [Path(folder, tool) for folder in os.environ["PATH"].split(":")
         for tool in ("pip", "pip3", "uv", "gcc", "cc")]
print(json.dumps({
    "user": os.getuid(),
    "installed": sorted(f"{d.name}=={d.version}" for d in distributions()),
    "compiled": [str(p) for p in Path(tap_labelbox.__file__).parent.rglob("*.pyc")],
    "tools": [str(tool) for tool in tools if tool.exists()],
    "status": Path("/proc/self/status").read_text(),
    "sbom": json.loads(Path(sys.prefix, "sbom.json").read_text()),
}))
"""


@pytest.fixture
def contents(contained: Callable[..., str]) -> dict[str, Any]:
    """Return what there is in the image."""
    result: dict[str, Any] = json.loads(
        contained("/opt/tap-labelbox/bin/python", "-c", SCRIPT)
    )
    return result


def test_nobody_runs_it_with_what_it_was_built_with(contents: dict[str, Any]) -> None:
    """Not as root, with no rights, and nothing that installs or compiles."""
    assert contents["user"] == 10001
    assert "CapEff:\t0000000000000000\n" in contents["status"]
    assert contents["tools"] == []
    assert len(contents["compiled"]) > 50


def test_the_sbom_lists_what_is_installed(contents: dict[str, Any]) -> None:
    """By name and version, and nothing else."""
    sbom = contents["sbom"]
    parts = [*sbom["components"], sbom["metadata"]["component"]]
    own = [f"{part['name']}=={part['version']}" for part in parts]
    pinned = (ROOT / "requirements-image.txt").read_text("utf-8")

    assert sbom["bomFormat"] == "CycloneDX"
    assert sorted(own) == contents["installed"]
    for name, version in (item.split("==") for item in contents["installed"]):
        pin = f"{re.sub('[-_.]+', '-', name.lower())}=={version} "
        assert name == "tap-labelbox" or pin in pinned


@pytest.mark.skipif(bool(IMAGE_REFERENCE), reason="another version was built")
def test_labels_are_there(image: str) -> None:
    """Those of OCI, and those that Airbyte reads."""
    (inspected,) = json.loads(containers("podman", "image", "inspect", image))

    labels = inspected["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["io.airbyte.version"] == "1.2.3"
    assert labels["io.airbyte.name"] == "tap-labelbox/source-labelbox"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    variables = dict(item.split("=", 1) for item in inspected["Config"]["Env"])
    assert [variables["AIRBYTE_ENTRYPOINT"]] == inspected["Config"]["Entrypoint"]
