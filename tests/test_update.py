"""A service made from an older template takes the current one, and keeps what is its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools.bake import INNER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Git

PLATFORM = "src/secure_rpc"


def wall(root: Path, *arguments: str) -> list[str]:
    """Ask a service which platform files are not as they were made."""
    command = [sys.executable, "-B", str(root / PLATFORM / "wall.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr.splitlines()


def cruft(*arguments: str, cwd: Path, home: Path) -> None:
    """Run cruft without anybody's configuration."""
    environment = {**os.environ, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
    command = [sys.executable, "-m", "cruft", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def two_versions(template: Path, tmp_path: Path, git: Git) -> Path:
    """Return a repository whose tag `old` is the template with its platform changed back, and `new` as it stands."""
    repository = shutil.copytree(template, tmp_path / "repository")
    platform = repository / INNER / PLATFORM
    now = {name: (platform / name).read_bytes() for name in ("call.py", "errors.py")}
    (platform / "call.py").write_text('"""Older."""\n')
    (platform / "errors.py").unlink()
    (platform / "gone.py").write_text('"""Not any more."""\n')
    git("init", "-q", "-b", "main", cwd=repository)
    for tag in ("old", "new"):
        if tag == "new":
            (platform / "gone.py").unlink()
            for name, data in now.items():
                (platform / name).write_bytes(data)
        assert not wall(repository / INNER, "write")
        git("add", "-A", cwd=repository)
        git("commit", "-qm", tag, cwd=repository)
        git("tag", tag, cwd=repository)
    return repository


@pytest.fixture
def made(two_versions: Path, tmp_path: Path, git: Git) -> Path:
    """Return a service made from the older version, under git."""
    arguments = ("--checkout", "old", "--no-input", "--output-dir", str(tmp_path))
    cruft("create", str(two_versions), *arguments, cwd=tmp_path, home=tmp_path)
    service = tmp_path / "order-service"
    assert not wall(service)
    git("init", "-q", "-b", "main", cwd=service)
    git("add", "-A", cwd=service)
    git("commit", "-qm", "made", cwd=service)
    return service


def update(service: Path, git: Git) -> list[str]:
    """Update to the newer version and return everything that is unresolved; cruft exits 0 all the same."""
    git("commit", "-qam", "ours", "--allow-empty", cwd=service)
    cruft("update", "-y", "--checkout", "new", cwd=service, home=service.parent)
    return [
        *git("ls-files", "-u", cwd=service).splitlines(),
        *(str(path) for path in service.rglob("*.rej")),
        *wall(service),
    ]


def test_an_update_replaces_the_platform_and_keeps_what_is_the_services_own(
    made: Path, two_versions: Path, git: Git
) -> None:
    own = made / "SECURITY.md"
    own.write_text(own.read_text(encoding="utf-8") + "\nOurs.\n", encoding="utf-8")
    assert not update(made, git)
    assert own.read_text(encoding="utf-8").endswith("\nOurs.\n")
    expected = two_versions / INNER / PLATFORM
    names = {path.relative_to(expected) for path in expected.rglob("*") if path.is_file()}
    assert {path.relative_to(made / PLATFORM) for path in (made / PLATFORM).rglob("*") if path.is_file()} == names
    assert all((made / PLATFORM / name).read_bytes() == (expected / name).read_bytes() for name in names)


def test_the_answers_and_the_version_are_recorded(made: Path) -> None:
    recorded = (made / ".cruft.json").read_text(encoding="utf-8")
    assert '"project_name": "Order Service"' in recorded
    assert '"_template_version": "0.1.0"' in recorded
    assert '"checkout": "old"' in recorded


@pytest.mark.parametrize("name", ["call.py", "gone.py"])
def test_a_patched_platform_file_that_the_update_changes_or_removes_is_seen(made: Path, git: Git, name: str) -> None:
    (made / PLATFORM / name).write_text('"""Older, patched."""\n')
    assert update(made, git)


def test_a_file_of_the_services_own_among_the_platforms_is_seen(made: Path, git: Git) -> None:
    (made / PLATFORM / "extra.py").write_text('"""Ours."""\n')
    git("add", "-A", cwd=made)
    assert update(made, git) == [f"not the platform's: {PLATFORM}/extra.py"]


def test_a_lost_platform_file_is_seen(made: Path, git: Git) -> None:
    (made / PLATFORM / "chain.py").unlink()
    assert wall(made) == [f"lost: {PLATFORM}/chain.py"]
    assert f"lost: {PLATFORM}/chain.py" in update(made, git)
