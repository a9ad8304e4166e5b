"""A service made from an older release of the template takes the newer one, and keeps what is its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.releases import (
    CRUFT,
    NEW,
    NOTE,
    OLD,
    OWN_LINES,
    PACKAGE,
    PLATFORM,
    commit,
    generated,
    made_ours,
    swap,
    two_releases,
    update,
    wall,
)
from tools.bake import INNER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Git, Make


@pytest.fixture(scope="module")
def repository(template: Path, tmp_path_factory: pytest.TempPathFactory, git: Git) -> Path:
    """Return a template with two releases; to be looked at, not to be changed."""
    return two_releases(template, tmp_path_factory.mktemp("releases") / "template", git)


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory, git: Git) -> Path:
    """Return a service of the older release; to be looked at, not to be changed."""
    return generated(repository, tmp_path_factory.mktemp("made"), git)


@pytest.fixture
def service(made: Path, tmp_path: Path) -> Path:
    """Return a service of the older release."""
    return shutil.copytree(made, tmp_path / made.name, symlinks=True)


def is_new(service: Path, repository: Path) -> bool:
    """Say whether the platform is that of the newer release, each file of it."""

    def content(root: Path) -> dict[Path, bytes]:
        found = (path for path in (root / PLATFORM).rglob("*") if path.is_file() and "_pb2" not in path.name)
        return {path.relative_to(root): path.read_bytes() for path in found}

    return content(service) == content(repository / INNER)


def record(service: Path) -> dict[str, Any]:
    """Return what a service says of its template."""
    found: dict[str, Any] = json.loads((service / ".cruft.json").read_text(encoding="utf-8"))
    return found


def answers(found: dict[str, Any]) -> dict[str, Any]:
    """Return the answers in a record."""
    given: dict[str, Any] = found["context"]["cookiecutter"]
    return given


@pytest.mark.slow
def test_a_service_that_was_changed_takes_the_newer_release_and_passes_its_tests(
    service: Path, repository: Path, git: Git, make: Make
) -> None:
    made_ours(service)
    done = make(service, "lock", "UPGRADE=", "LOCKS=runtime dev")
    assert done.returncode == 0, done.stdout
    commit(service, git)
    done = make(service, "update", f"TAG={NEW}")
    assert done.returncode == 0, done.stdout
    assert f"{NEW} is in, without a conflict" in done.stdout
    assert "locked again, for requirements of your own: dev, runtime" in done.stdout
    assert NOTE.splitlines()[-1] in done.stdout
    assert is_new(service, repository)
    texts = {name: (service / name).read_text(encoding="utf-8") for name in OWN_LINES}
    assert not [name for name, line in OWN_LINES.items() if line not in texts[name]]
    assert not [name for name, text in texts.items() if re.search(r"\bolder\b|as it was", text, re.IGNORECASE)]
    lock = (service / "requirements/runtime.txt").read_text(encoding="utf-8")
    assert "iniconfig==" in lock
    assert "# older" not in lock
    git("add", "-A", cwd=service)
    done = make(service, "test", "OWN_TESTS=tests/unit/order_service tests/integration/order_service")
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout
    assert git("diff", "--name-only", cwd=service) == ""  # what is generated is generated as it was committed


def test_an_update_replaces_the_platform_and_keeps_what_is_the_services_own(
    service: Path, repository: Path, git: Git
) -> None:
    own = {
        "SECURITY.md": "Ours.\n",
        "notes.md": "<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs\n",
    }  # markers, but old ones
    for name, text in own.items():
        with (service / name).open("a", encoding="utf-8") as file:
            file.write(text)
    commit(service, git)
    before = record(service)
    done = update(service, NEW)
    assert done.returncode == 0, done.stdout
    commits = {tag: git("rev-parse", f"{tag}^{{}}", cwd=repository).strip() for tag in (OLD, NEW)}
    assert f"from 0.1.0 ({commits[OLD][:12]}) to {NEW} ({commits[NEW][:12]})" in done.stdout
    assert not [name for name, text in own.items() if not (service / name).read_text(encoding="utf-8").endswith(text)]
    assert is_new(service, repository)
    assert "Platform Team" in (service / "pyproject.toml").read_text(encoding="utf-8")
    after = record(service)
    assert before.keys() == after.keys()
    assert answers(before).keys() == answers(after).keys()
    for found, tag in ((before, OLD), (after, NEW)):
        assert (found["template"], found["commit"], found["checkout"]) == (str(repository), commits[tag], tag)
        assert answers(found)["_template_version"] == tag.removeprefix("v")
        assert answers(found)["project_name"] == "Order Service"
    commit(service, git)
    assert update(service, NEW).stdout == f"this is {NEW} already\n"
    assert f"{OLD} is older than 0.2.0" in update(service, OLD).stdout


def test_a_service_that_cruft_itself_made_is_updated_as_well(repository: Path, tmp_path: Path, git: Git) -> None:
    command = [str(CRUFT), "create", str(repository), "--checkout", OLD, "--no-input", "--output-dir", str(tmp_path)]
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    service = tmp_path / "order-service"
    git("init", "-q", "-b", "main", cwd=service)
    commit(service, git)
    done = update(service, NEW)
    assert done.returncode == 0, done.stdout
    assert record(service)["checkout"] == NEW


def test_a_conflict_and_what_was_done_to_the_platform_is_named_before_and_after(service: Path, git: Git) -> None:
    swap(service / PACKAGE / "service.py", '"""Return one, as it was."""', '"""Return one, ours."""')
    changed = ("chain.py", "headers.py")  # which the release does not touch, and changes, too
    for name in changed:
        (service / PLATFORM / name).write_text('"""Older, patched."""\n', encoding="utf-8")
    (service / PLATFORM / "extra.py").write_text('"""Ours."""\n', encoding="utf-8")
    (service / PLATFORM / "sbom.py").unlink()
    commit(service, git)
    lines = [*(f"changed: {PLATFORM}/{name}" for name in changed)]
    lines += [f"not the platform's: {PLATFORM}/extra.py", f"lost: {PLATFORM}/sbom.py"]
    assert sorted(wall(service)) == sorted(lines)
    done = update(service, NEW)
    assert done.returncode == 1
    assert not [line for line in lines if line not in done.stdout]
    assert git("status", "--porcelain", cwd=service) == ""  # nothing was done
    done = update(service, NEW, "--anyway")
    assert done.returncode == 1
    left = done.stdout.split("left to you")[1]
    assert "without a conflict" not in done.stdout
    assert f"both changed it: {PACKAGE}/service.py" in left
    for name in (*changed, "extra.py", "sbom.py"):
        assert f"{PLATFORM}/{name}" in left, name
    assert "git reset" in left


def test_answers_that_the_release_refuses_leave_everything_as_it_was(service: Path, git: Git) -> None:
    found = record(service)
    answers(found)["package_name"] = "grpc"
    (service / ".cruft.json").write_text(json.dumps(found), encoding="utf-8")
    commit(service, git)
    done = update(service, NEW)
    assert done.returncode == 1
    assert "'grpc' is the name of a module" in done.stdout
    assert "not updated: cruft did not come to its end" in done.stdout
    assert " is in" not in done.stdout
    assert git("status", "--porcelain", cwd=service) == ""


def test_what_is_left_out_and_a_patch_under_digests_that_were_noted_anew_are_named(service: Path, git: Git) -> None:
    # without the older text in its history git cannot merge: cruft then leaves what does not fit in .rej
    swap(service / PACKAGE / "service.py", '"""Return one, as it was."""', '"""Return one, ours."""')
    for name in ("chain.py", "gone.py"):  # which the release does not touch, and removes
        (service / PLATFORM / name).write_text('"""Patched."""\n', encoding="utf-8")
    assert not wall(service, "write")
    shutil.rmtree(service / ".git")
    git("init", "-q", "-b", "main", cwd=service)
    commit(service, git)
    assert f"changed: {PLATFORM}/wall.sha256" in update(service, NEW).stdout
    done = update(service, NEW, "--anyway")
    assert done.returncode == 1
    assert f"left out: {PACKAGE}/service.py.rej" in done.stdout, done.stdout
    assert f"changed: {PLATFORM}/chain.py" in done.stdout.split("left to you")[1]
    assert f"not the platform's: {PLATFORM}/gone.py" in done.stdout.split("left to you")[1]


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("v9.9.9", f"the template has no tag v9.9.9; its releases: {OLD}, {NEW}"),
        ("main", "the template has no tag main"),
        ("", f"this is 0.1.0; releases of TEMPLATE: {OLD}, {NEW}"),
    ],
)
def test_only_a_tag_will_do(service: Path, repository: Path, tag: str, said: str) -> None:
    done = update(service, *filter(None, [tag]))
    assert done.returncode != 0
    assert said.replace("TEMPLATE", str(repository)) in done.stdout


def test_what_is_not_committed_is_not_put_at_risk(service: Path) -> None:
    (service / "new.txt").write_text("new")
    done = update(service, NEW)
    assert done.returncode == 1
    assert "commit or put away what is changed here first:\n  ?? new.txt" in done.stdout
    assert record(service)["checkout"] == OLD


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("commit", "0" * 40, "the template does not have the commit 000000000000"),
        ("commit", None, "made from files without a history"),
        ("template", "/nowhere/at/all", "does not exist"),
        ("template", "ext::sh -c 'touch marked'", "'ext' not allowed"),
        ("template", "--upload-pack=touch marked", "does not"),
    ],
)
def test_a_record_that_leads_nowhere_is_told(service: Path, git: Git, key: str, value: str | None, said: str) -> None:
    (service / ".cruft.json").write_text(json.dumps(record(service) | {key: value}), encoding="utf-8")
    commit(service, git)
    done = update(service, NEW)
    assert done.returncode == 1
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert not (service / "marked").exists()
