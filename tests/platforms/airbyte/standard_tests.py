"""Airbyte's own tests of a source, run against the command in another environment.

They start a source as a Python object. Here it is the command, whose output is taken
line by line, as the platform does.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from airbyte_cdk.test import entrypoint_wrapper
from airbyte_cdk.test.entrypoint_wrapper import EntrypointOutput
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

COMMAND = os.environ["SOURCE_LABELBOX"]


def run_command(source: Any, args: list[str], **_: Any) -> EntrypointOutput:
    """Run the command, and return what it wrote."""
    del source
    done = subprocess.run([COMMAND, *args], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return EntrypointOutput(done.stdout.split("\n")[:-1])


entrypoint_wrapper._run_command = run_command


class TestSourceLabelbox(SourceTestSuiteBase):
    """Everything that the tests look at."""

    connector = type("Command", (), {"spec": lambda *_: None})

    @classmethod
    def get_test_class_dir(cls) -> Path:
        """Return the folder with the configuration of the tests."""
        return Path.cwd()
