"""The commands of the policy, run in this process on files of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from secure_rpc.cli.policies import commands

from support.policy_ground import probing

MODULE = "policy_probe"  # holds the application, as a service's module does


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Shell:
    """A folder with settings, and the commands run in it.

    Args:
        folder: where the files are.
        monkeypatch: of the test.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        module = ModuleType(MODULE)
        module.__dict__["APPLICATION"] = probing()
        monkeypatch.setitem(sys.modules, MODULE, module)
        monkeypatch.chdir(folder)

    def run(self, *arguments: str, stdin: str | bytes = "") -> Ended:
        """Run one command with the settings of the folder."""
        command, *others = arguments
        done = CliRunner().invoke(commands(MODULE), [command, "--config", "settings.yaml", *others], input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ended(done.exit_code, done.stdout, done.stderr)

    def write(self, name: str, text: str) -> str:
        """Write a file and return its name."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def read(self, name: str) -> str:
        """Return the text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")
