"""A service made from an older release of the template takes the newer one, and keeps what is its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.releases import (
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
    expected, here = repository / INNER / PLATFORM, service / PLATFORM
    names = {path.relative_to(expected) for path in expected.rglob("*") if path.is_file()}
    return {
        path.relative_to(here) for path in here.rglob("*") if path.is_file() and "_pb2" not in path.name
    } == names and all((here / name).read_bytes() == (expected / name).read_bytes() for name in names)


def record(service: Path) -> dict[str, object]:
    """Return what a service says of its template."""
    found: dict[str, object] = json.loads((service / ".cruft.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_a_service_that_its_team_has_changed_takes_the_newer_release_and_passes_its_tests(
    service: Path, repository: Path, git: Git, make: Make
) -> None:
    made_ours(service)
    done = make(service, "lock", "UPGRADE=", "LOCKS=runtime dev")
    assert done.returncode == 0, done.stdout
    commit(service, git)
    done = make(service, "update", f"TAG={NEW}")
    assert done.returncode == 0, done.stdout
    assert f"{NEW} is in, without a conflict" in done.stdout
    assert NOTE.splitlines()[-1] in done.stdout
    assert is_new(service, repository)
    texts = {name: (service / name).read_text(encoding="utf-8") for name in OWN_LINES}
    assert not [name for name, line in OWN_LINES.items() if line not in texts[name]]
    assert not [name for name, text in texts.items() if "older" in text.lower() or "as it was" in text]
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
    own = service / "SECURITY.md"
    own.write_text(own.read_text(encoding="utf-8") + "\nOurs.\n", encoding="utf-8")
    commit(service, git)
    done = update(service, NEW)
    assert done.returncode == 0, done.stdout
    assert f"from 0.1.0 ({git('rev-parse', '--short=12', f'{OLD}^{{}}', cwd=repository).strip()})" in done.stdout
    assert own.read_text(encoding="utf-8").endswith("\nOurs.\n")
    assert is_new(service, repository)
    assert "Platform Team" in (service / "pyproject.toml").read_text(encoding="utf-8")
    commit(service, git)
    assert update(service, NEW).stdout == f"this is {NEW} already\n"


def test_the_release_and_the_answers_are_recorded_before_and_after(service: Path, repository: Path, git: Git) -> None:
    before = record(service)
    assert update(service, NEW).returncode == 0
    after = record(service)
    for found, tag in ((before, OLD), (after, NEW)):
        commit_of_it = git("rev-parse", f"{tag}^{{}}", cwd=repository).strip()
        assert (found["template"], found["commit"]) == (str(repository), commit_of_it)
        assert (found["checkout"], "uncommitted" in found) == (tag, False)
        answers = found["context"]["cookiecutter"]  # type: ignore[index]
        assert (answers["_template_version"], answers["project_name"]) == (tag.removeprefix("v"), "Order Service")
    assert before.keys() == after.keys()
    assert before["context"]["cookiecutter"].keys() == after["context"]["cookiecutter"].keys()  # type: ignore[index]


def test_a_conflict_is_named_and_fails(service: Path, git: Git) -> None:
    swap(service / PACKAGE / "service.py", '"""Return one, as it was."""', '"""Return one, ours."""')
    commit(service, git)
    done = update(service, NEW)
    assert done.returncode == 1
    assert f"both changed it: {PACKAGE}/service.py" in done.stdout
    assert "without a conflict" not in done.stdout
    assert "git reset" in done.stdout


def test_a_part_that_is_left_out_is_named_and_fails(service: Path, git: Git) -> None:
    # without the older text in its history, git cannot merge: cruft then leaves what does not fit in .rej
    swap(service / PACKAGE / "service.py", '"""Return one, as it was."""', '"""Return one, ours."""')
    shutil.rmtree(service / ".git")
    git("init", "-q", "-b", "main", cwd=service)
    commit(service, git)
    done = update(service, NEW)
    assert done.returncode == 1
    assert f"left out: {PACKAGE}/service.py.rej" in done.stdout, done.stdout


def test_markers_that_were_there_before_are_the_teams(service: Path, git: Git) -> None:
    (service / "notes.md").write_text("<<<<<<< ours\nx\n=======\ny\n>>>>>>> theirs\n", encoding="utf-8")
    commit(service, git)
    assert update(service, NEW).returncode == 0


@pytest.mark.parametrize("name", ["headers.py", "gone.py", "chain.py"])
def test_a_patched_platform_file_is_named_before_and_after(service: Path, git: Git, name: str) -> None:
    (service / PLATFORM / name).write_text('"""Older, patched."""\n', encoding="utf-8")
    commit(service, git)
    done = update(service, NEW)
    assert done.returncode == 1
    assert f"changed: {PLATFORM}/{name}" in done.stdout
    assert git("status", "--porcelain", cwd=service) == ""  # nothing was done
    done = update(service, NEW, "--anyway")
    assert done.returncode == 1
    assert f"{PLATFORM}/{name}" in done.stdout.split("left to you")[1]


def test_a_file_of_the_services_own_among_the_platforms_is_named(service: Path, git: Git) -> None:
    (service / PLATFORM / "extra.py").write_text('"""Ours."""\n', encoding="utf-8")
    commit(service, git)
    assert wall(service) == [f"not the platform's: {PLATFORM}/extra.py"]
    assert f"not the platform's: {PLATFORM}/extra.py" in update(service, NEW).stdout
    assert update(service, NEW, "--anyway").returncode == 1


def test_a_lost_platform_file_is_named(service: Path, git: Git) -> None:
    (service / PLATFORM / "headers.py").unlink()
    commit(service, git)
    assert f"lost: {PLATFORM}/headers.py" in update(service, NEW).stdout
    assert f"lost: {PLATFORM}/headers.py" in update(service, NEW, "--anyway").stdout.split("left to you")[1]


def test_digests_that_were_noted_anew_do_not_hide_a_patch(service: Path, git: Git) -> None:
    (service / PLATFORM / "chain.py").write_text('"""Patched."""\n', encoding="utf-8")
    assert not wall(service, "write")
    commit(service, git)
    assert f"changed: {PLATFORM}/wall.sha256" in update(service, NEW).stdout
    done = update(service, NEW, "--anyway")
    assert done.returncode == 1
    assert f"changed: {PLATFORM}/chain.py" in done.stdout.split("left to you")[1]


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


def test_an_older_release_is_refused(service: Path, git: Git) -> None:
    assert update(service, NEW).returncode == 0
    commit(service, git)
    assert f"{OLD} is older than 0.2.0" in update(service, OLD).stdout


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("commit", "0" * 40, "the template does not have the commit 000000000000"),
        ("commit", None, "made from files without a history"),
        ("template", "/nowhere/at/all", "does not appear to be a git repository"),
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
