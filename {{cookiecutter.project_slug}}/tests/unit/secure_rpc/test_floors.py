"""The floors of the platform hold, its files stay small, and each says what it is for."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import secure_rpc

ROOM = Path(secure_rpc.__file__).parent
ROOT = ROOM.parents[1]
MAX_LINES = 330
FILES = sorted(path for path in ROOM.rglob("*.py") if "_pb2" not in path.name)
NAMES = [path.relative_to(ROOM).as_posix() for path in FILES]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of pyproject.toml against the sources of a folder."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", folder / "pyproject.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_floor_imports_from_above() -> None:
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("errors.py", "from secure_rpc import call"),
        ("identity/jwks.py", "from secure_rpc.policy import engine"),
        ("stages/audit.py", "import secure_rpc.server"),
        ("a_room_of_nobody.py", ""),
    ],
)
def test_a_floor_that_imports_from_above_is_found(tmp_path: Path, file: str, line: str) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.pyc", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "src" / "secure_rpc" / file
    path.write_text((path.read_text(encoding="utf-8") if path.exists() else "") + f"\n{line}\n", encoding="utf-8")
    found = lint_imports(tmp_path)
    assert found.returncode == 1
    assert "broken" in found.stdout.lower() or "layer" in found.stdout.lower()


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 40


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_one_room(name: str) -> None:
    assert len((ROOM / name).read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", NAMES)
def test_a_module_says_what_it_is_for(name: str) -> None:
    said = ast.get_docstring(ast.parse((ROOM / name).read_text(encoding="utf-8")))
    assert said
    assert said.splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("name", NAMES)
def test_the_platform_holds_no_marks_of_a_template(name: str) -> None:
    text = (ROOM / name).read_text(encoding="utf-8")
    assert not [mark for mark in ("{" * 2, "{" + "%", "{" + "#") if mark in text]
