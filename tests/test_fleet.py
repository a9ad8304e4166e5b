"""The fleet: what is known of many services at once, whatever state their repositories are in."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.releases import NEW, OLD, PLATFORM, commit, generated, two_releases
from tools.bake import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Git

REPORT = {"service": "order-service", "grade": "intermediate", "when": "2026-01-31 12:00 UTC", "checks": []}


def fleet(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as `make fleet` does."""
    command = [sys.executable, "-B", str(ROOT / "tools/fleet.py"), *arguments]
    return subprocess.run(command, check=False, text=True, capture_output=True)


@pytest.fixture(scope="module")
def repositories(template: Path, tmp_path_factory: pytest.TempPathFactory, git: Git) -> dict[str, Path]:
    """Return a template, services of it in all states, and folders that are none."""
    folder = tmp_path_factory.mktemp("fleet")
    there = {"template": two_releases(template, folder / "template", git)}
    for name, tag in (("clean", NEW), ("old", OLD)):
        (folder / name).mkdir()
        there[name] = generated(there["template"], folder / name, git, tag)
    (there["clean"] / "doctor.json").write_text(json.dumps(REPORT), encoding="utf-8")
    commit(there["clean"], git)
    for name in ("drifted", "noted", "no-json", "linked"):
        there[name] = shutil.copytree(there["clean"], folder / name / "order-service")
        (there[name] / "doctor.json").unlink()
    (there["drifted"] / PLATFORM / "chain.py").write_text('"""Patched."""\n', encoding="utf-8")
    (there["drifted"] / PLATFORM / "extra.py").write_text('"""Ours."""\n', encoding="utf-8")
    (there["drifted"] / PLATFORM / "sbom.py").unlink()
    (there["noted"] / PLATFORM / "chain.py").write_text('"""Patched."""\n', encoding="utf-8")
    subprocess.run([sys.executable, "-B", str(there["noted"] / PLATFORM / "wall.py"), "write"], check=True)
    (there["noted"] / "doctor.json").write_text('{"grade": "sky-high"}', encoding="utf-8")
    (there["no-json"] / ".cruft.json").write_text("{", encoding="utf-8")
    (there["linked"] / PLATFORM / "chain.py").unlink()
    (there["linked"] / PLATFORM / "chain.py").symlink_to("/dev/zero")  # whoever reads it never ends
    there["empty"] = folder / "empty"
    there["empty"].mkdir()
    return there


def rows(repositories: dict[str, Path], *names: str, arguments: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Return what is said of repositories, by their names."""
    given = [str(repositories[name]) for name in names]
    done = fleet("--template", str(repositories["template"]), "--format", "json", *arguments, *given)
    assert "Traceback" not in done.stderr, done.stderr
    found = {row["repository"]: row for row in json.loads(done.stdout)["services"]}
    return {name: found[str(repositories[name])] for name in names}


def test_each_state_is_told(repositories: dict[str, Path]) -> None:
    found = rows(repositories, "clean", "old", "drifted", "noted", "no-json", "linked", "empty")
    clean = found["clean"]
    assert (clean["service"], clean["version"], clean["behind"], clean["gets_fixes"]) == (
        "order-service",
        "0.2.0",
        0,
        True,
    )
    assert (clean["grade"], clean["graded_by"]) == ("intermediate", "its report of 2026-01-31 12:00 UTC")
    assert (clean["drift"], clean["problem"]) == ([], "")
    old = found["old"]
    assert (old["version"], old["behind"], old["newest"], old["gets_fixes"]) == ("0.1.0", 1, NEW, True)
    assert (old["grade"], old["graded_by"], old["drift"]) == ("", "no report", [])
    drifted = [f"changed: {PLATFORM}/chain.py", f"not the platform's: {PLATFORM}/extra.py", f"lost: {PLATFORM}/sbom.py"]
    assert found["drifted"]["drift"] == drifted
    assert found["noted"]["drift"] == [f"changed: {PLATFORM}/wall.sha256", f"changed: {PLATFORM}/chain.py"]
    assert found["noted"]["graded_by"] == "doctor.json is no report of a doctor"
    assert found["no-json"]["problem"] == ".cruft.json names no commit"
    assert found["linked"]["drift"] == [f"changed: {PLATFORM}/chain.py"]
    assert found["empty"]["problem"] == "there is no .cruft.json"


def test_a_repository_is_read_from_its_address(repositories: dict[str, Path], tmp_path: Path) -> None:
    listed = tmp_path / "fleet.txt"
    clean = f"file://{repositories['clean']}"
    addresses = [f"{clean}  # ours", "", "# a remark", f"{clean}-gone", "nothing-of-that-name", "ext::touch x", clean]
    listed.write_text("\n".join(addresses), encoding="utf-8")
    done = fleet("--template", str(repositories["template"]), "--format", "json", "--list", str(listed), "--jobs", "2")
    found = [(row["version"], row["problem"]) for row in json.loads(done.stdout)["services"]]
    assert found[0] == ("0.2.0", "")
    assert [version for version, _ in found] == ["0.2.0", "", "", ""]
    assert "does not exist" in found[1][1] or "not appear to be" in found[1][1]
    assert found[2][1] == "no folder here, and no address of a repository"
    assert found[3][1]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("conditions", "names", "wrong"),
    [
        ("broken,drift,behind,unsupported,grade=beginner", ["clean"], False),
        ("broken", ["clean", "empty"], True),
        ("drift", ["clean", "old"], False),
        ("drift", ["clean", "noted"], True),
        ("behind=1", ["old"], True),
        ("behind=2,unsupported", ["old"], False),
        ("grade=advanced", ["clean"], True),
        ("grade=beginner", ["old"], True),  # nobody graded it
    ],
)
def test_it_fails_on_what_is_asked(
    repositories: dict[str, Path], conditions: str, names: list[str], *, wrong: bool
) -> None:
    given = [str(repositories[name]) for name in names]
    done = fleet("--template", str(repositories["template"]), "--fail-on", conditions, *given)
    assert done.returncode == int(wrong), done.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["--fail-on", "colour", "x"], ["--fail-on", "grade=sky", "x"], ["--list", "/no"]]
)
def test_what_cannot_be_meant_is_refused(arguments: list[str]) -> None:
    done = fleet(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_people_see_a_table_and_spreadsheets_no_formula(repositories: dict[str, Path], tmp_path: Path) -> None:
    hostile = tmp_path / "=HYPERLINK(1)"
    shutil.copytree(repositories["clean"], hostile)
    record = json.loads((hostile / ".cruft.json").read_text(encoding="utf-8"))
    record["context"]["cookiecutter"]["_template_version"] = "=1+1\x1b[31m"
    (hostile / ".cruft.json").write_text(json.dumps(record), encoding="utf-8")
    given = ["--template", str(repositories["template"]), str(repositories["drifted"]), str(hostile)]
    table = fleet(*given).stdout
    assert table.splitlines()[0].split()[:4] == ["service", "version", "behind", "grade"]
    assert f"order-service: changed: {PLATFORM}/chain.py; " in table
    assert f"1 of 2 could be read; the template's newest release: {NEW}" in table
    assert "\x1b" not in table
    out = tmp_path / "fleet.csv"
    assert fleet("--format", "csv", "--out", str(out), *given).stdout == ""
    read = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert read[0]["drift"].startswith("changed: ")
    assert read[1]["version"] == "'=1+1?[31m"


def test_reports_may_be_collected_elsewhere(repositories: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "order-service.json").write_text(json.dumps(REPORT | {"grade": None}), encoding="utf-8")
    found = rows(repositories, "clean", arguments=("--reports", str(tmp_path)))["clean"]
    assert found["grade"] == "none"


def test_a_doctor_is_run_where_that_is_asked_for_alone(repositories: dict[str, Path], tmp_path: Path) -> None:
    service = shutil.copytree(repositories["old"], tmp_path / "order-service")
    program = service / ".venv/bin/order-service"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ntouch ran\necho '{json.dumps(REPORT)}'\n", encoding="utf-8")
    program.chmod(0o755)
    both = {**repositories, "set-up": service}
    assert rows(both, "set-up")["set-up"]["graded_by"] == "no report"
    assert not (service / "ran").exists()
    found = rows(both, "set-up", arguments=("--run-doctor",))["set-up"]
    assert (found["grade"], found["graded_by"]) == ("intermediate", "its doctor, now")


def test_credentials_of_an_address_are_not_shown() -> None:
    done = fleet("https://somebody:secret@127.0.0.1:1/x.git", "--seconds", "20")
    assert "secret" not in done.stdout + done.stderr
    assert "https://127.0.0.1:1/x.git" in done.stdout
