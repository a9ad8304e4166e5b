"""Every service says which template it is of, whoever generated it, and nothing of the machine that did."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tools.bake import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Baked, Git

HOOK = "hooks/post_gen_project.py"


def record(service: Path) -> dict[str, Any]:
    """Return what a service says of its template."""
    found: dict[str, Any] = json.loads((service / ".cruft.json").read_text(encoding="utf-8"))
    return found


def cookiecutter(template: Path, out: Path) -> Path:
    """Generate a service with the generator alone, from a folder."""
    settings = out / "settings.yaml"
    settings.write_text(f"replay_dir: {out / 'replay'}\ncookiecutters_dir: {out / 'clones'}\n", encoding="utf-8")
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", str(settings), "-o", str(out)]
    environment = {name: value for name, value in os.environ.items() if name != "TEMPLATE_REPOSITORY"}
    subprocess.run([*command, str(template)], check=True, capture_output=True, env=environment)
    return out / "order-service"


def test_make_bake_records_this_repository_and_the_answers(baked: Baked) -> None:
    made = baked(owner="Team A", ci_provider="none")
    found = record(made)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert found["commit"] == head.strip()
    answers = found["context"]["cookiecutter"]
    assert (answers["owner"], answers["ci_provider"], answers["project_slug"]) == ("Team A", "none", "order-service")
    prompts = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    assert answers["_template_version"] == prompts["_template_version"]
    assert {name for name in answers if name[0] != "_"} == {name for name in prompts if name[0] != "_"}
    assert str(made.parent) not in json.dumps(found)


def test_a_template_without_history_is_recorded_as_such(template: Path, tmp_path: Path) -> None:
    found = record(cookiecutter(template, tmp_path))
    assert (found["template"], found["commit"], found["checkout"]) == (str(template), None, None)


def test_a_template_with_changes_that_no_commit_has_says_so(template: Path, tmp_path: Path, git: Git) -> None:
    copy = shutil.copytree(template, tmp_path / "template")
    git("init", "-q", "-b", "main", cwd=copy)
    git("add", "-A", cwd=copy)
    git("commit", "-qm", "all", cwd=copy)
    git("remote", "add", "origin", "https://somebody:secret@git.example.org/template.git", cwd=copy)
    (copy / "hooks/new.txt").write_text("new", encoding="utf-8")
    found = record(cookiecutter(copy, tmp_path))
    assert found["uncommitted"] is True
    assert found["commit"] == git("rev-parse", "HEAD", cwd=copy).strip()
    assert found["template"] == "https://git.example.org/template.git"


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://somebody:secret@git.example.org/x.git", "https://git.example.org/x.git"),
        ("https://token@git.example.org/x.git", "https://git.example.org/x.git"),
        ("ssh://git@git.example.org/x.git", "ssh://git@git.example.org/x.git"),
        ("ssh://git:secret@git.example.org/x.git", "ssh://git@git.example.org/x.git"),
        ("git@git.example.org:team/x.git", "git@git.example.org:team/x.git"),
        ("/srv/templates/x", "/srv/templates/x"),
    ],
)
def test_no_credentials_are_recorded(address: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = json.dumps({"ci_provider": "none", "licence": "MIT", "_template_version": "0.1.0"})
    hook = tmp_path / "hook.py"
    text = (ROOT / HOOK).read_text(encoding="utf-8")
    hook.write_text(text.replace("{{ cookiecutter | tojson }}", answers), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert runpy.run_path(str(hook))["without_secrets"](address) == kept
