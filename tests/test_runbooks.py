"""The shell of the runbooks, and each block that is shell, are clean to shellcheck."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lacking import lacking

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(r"^( *)```sh [a-z ]+\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# what shell.sh sets stands in another file, and that is looked at by itself
HEADER = "# shellcheck shell=bash disable=SC2154,SC1091\n"


@pytest.fixture(scope="module")
def runbooks(template: Path) -> Path:
    """Return the folder of the pages, which are copied as they stand."""
    return template / "{{cookiecutter.project_slug}}" / "runbooks"


def shellcheck(text: str) -> str:
    """Return what shellcheck finds; skips where it is not installed."""
    program = shutil.which("shellcheck")
    if program is None:
        lacking("shellcheck is not installed: apt-get install shellcheck")
    return subprocess.run([program, "-"], input=text, capture_output=True, text=True, check=False).stdout


def test_the_prepared_shell_is_clean(runbooks: Path) -> None:
    """All of shell.sh, and what would be found is found."""
    text = (runbooks / "shell.sh").read_text(encoding="utf-8")
    assert shellcheck(text) == ""
    assert "SC2086" in shellcheck(text + '\nls $SERVICE "$1"\n')


def test_the_blocks_of_the_pages_are_clean(runbooks: Path) -> None:
    """Each block alone: a page that is followed halfway is followed in one shell, but begins anywhere."""
    found = {}
    count = 0
    for page in sorted(runbooks.glob("*.md")):
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            count += 1
            lines = [line.removeprefix(block[1]) for line in block[2].splitlines()]
            if told := shellcheck(HEADER + "\n".join(lines) + "\n"):
                found[f"{page.name}: {lines[0]}"] = told
    assert found == {}
    assert count > 150
