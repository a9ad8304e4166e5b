"""A release is the tag of the version that one file says, and nothing is released that is not ready."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.releases import set_version, swap
from tools.bake import INNER, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Git

PLATFORM = f"{INNER}/src/secure_rpc"


@pytest.fixture
def ready(template: Path, tmp_path: Path, git: Git) -> Path:
    """Return a small template that is ready to be released."""
    repository = tmp_path / "template"
    (repository / PLATFORM).mkdir(parents=True)
    for name in ("__init__.py", "wall.py", "template.py"):
        shutil.copy(template / PLATFORM / name, repository / PLATFORM / name)
    for name in ("cookiecutter.json", "tools/release.py", ".gitignore"):
        (repository / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, repository / name)
    set_version(repository, "1.2.3")
    subprocess.run([sys.executable, "-B", str(repository / PLATFORM / "wall.py"), "write"], check=True)
    (repository / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.3, 2026-01-31\n\n- a change\n", encoding="utf-8")
    (repository / "docs/migrations").mkdir(parents=True)
    (repository / "docs/migrations/1.2.3.md").write_text("# 1.2.3\n\nNothing to do.\n", encoding="utf-8")
    git("init", "-q", "-b", "main", cwd=repository)
    for key, value in {"user.name": "t", "user.email": "t@example.org", "tag.gpgSign": "false"}.items():
        git("config", key, value, cwd=repository)
    commit(repository, git)
    return repository


def commit(repository: Path, git: Git) -> None:
    git("add", "-A", cwd=repository)
    git("commit", "-qm", "ready", "--allow-empty", cwd=repository)


def release(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "tools/release.py", *arguments]
    return subprocess.run(
        command, cwd=repository, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_what_is_ready_is_released_once(ready: Path, git: Git) -> None:
    assert release(ready, "--check").stdout == "v1.2.3 can be released\n"
    assert git("tag", cwd=ready) == ""
    done = release(ready)
    assert done.returncode == 0, done.stdout
    assert "git push origin v1.2.3" in done.stdout
    assert git("cat-file", "-t", "v1.2.3", cwd=ready) == "tag\n"
    assert git("rev-parse", "v1.2.3^{}", cwd=ready) == git("rev-parse", "HEAD", cwd=ready)
    again = release(ready)
    assert again.returncode == 1
    assert "the tag v1.2.3 is there already" in again.stdout


def test_all_that_is_not_ready_is_said_at_once(ready: Path, git: Git) -> None:
    swap(ready / "CHANGELOG.md", ", 2026-01-31", ", not released")
    (ready / "docs/migrations/1.2.3.md").unlink()
    swap(ready / PLATFORM / "template.py", "ASKING_SECONDS = 10.0", "ASKING_SECONDS = 11.0")
    git("tag", "v2.0.0", cwd=ready)
    done = release(ready)
    assert done.returncode == 1
    for said in (
        "not committed: CHANGELOG.md",
        "CHANGELOG.md has no heading '## 1.2.3, ",
        "docs/migrations/1.2.3.md is missing",
        "changed: src/secure_rpc/template.py (make wall)",
        "1.2.3 is older than v2.0.0",
    ):
        assert said in done.stdout
    assert git("tag", cwd=ready) == "v2.0.0\n"


@pytest.mark.parametrize("version", ["1.2", "1.2.3-rc1", "0.0.0", "next"])
def test_what_is_no_version_is_not_released(ready: Path, git: Git, version: str) -> None:
    set_version(ready, version)
    commit(ready, git)
    assert "_template_version is no version such as 1.2.3" in release(ready).stdout


def test_the_version_stands_in_one_file_and_what_it_asks_of_services_is_written_down() -> None:
    # what is released next has its note from the first day on
    sys.path.insert(0, str(ROOT / INNER / "src"))
    from tools.release import version_of  # noqa: PLC0415  # it reads the platform where it stands

    version = version_of(ROOT)
    assert version is not None
    assert (ROOT / f"docs/migrations/{version}.md").read_text(encoding="utf-8").startswith(f"# {version}\n")
    assert f"\n## {version}, " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    holders = subprocess.run(
        ["git", "grep", "-l", "_template_version.*[0-9]\\.[0-9]", "--", "*.json", "*.toml", "*.cfg", "Makefile"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert holders == ["cookiecutter.json"]
