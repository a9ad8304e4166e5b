"""What must agree in this repository itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from tools.bake import INNER, ROOT

if TYPE_CHECKING:
    from pathlib import Path

WALL = f"{INNER}/src/secure_rpc/wall.py"


def pins(lock: str) -> dict[str, str]:
    """Return the version of each distribution that a lock has."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", text, re.MULTILINE))


def test_the_digests_of_the_platform_are_those_of_its_files(template: Path) -> None:
    command = [sys.executable, "-B", str(template / WALL)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr}\nif this is as it should be: make wall"


@pytest.mark.parametrize(
    "lock",
    [
        "requirements/dev.txt",
        "requirements/docs.txt",
        "requirements/meshes.txt",
        "requirements/workflows.txt",
        f"{INNER}/requirements/checks.txt",
        f"{INNER}/requirements/dev.txt",
        f"{INNER}/requirements/runtime.txt",
        f"{INNER}/requirements/update.txt",
    ],
)
def test_a_lock_has_digests_for_everything_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    lines = text.replace("\\\n", "").splitlines()
    pinned = [line for line in lines if re.match(r"[\w.-]+==", line)]
    assert len(pinned) > 10
    assert not [line for line in pinned if "--hash=sha256:" not in line]
    assert not re.findall(r"^.*(?:://|^-).*$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "folder",
    ["tests/browser", "tests/foreign", "tests/oidc", "tests/workflows", "tools/docs_site", f"{INNER}/browser"],
)
def test_the_lock_of_node_has_digests_for_everything_and_names_no_registry(folder: str) -> None:
    package = json.loads((ROOT / folder / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((ROOT / folder / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name.removeprefix("node_modules/"): each for name, each in lock["packages"].items() if name}
    assert packages
    assert not [name for name, each in packages.items() if not each["integrity"].startswith("sha512-")]
    assert not [name for name, each in packages.items() if "resolved" in each]
    asked = package["dependencies"] | package.get("devDependencies", {})
    assert {name: packages[name]["version"] for name in asked} == asked


def test_the_platform_is_checked_here_with_the_versions_it_is_generated_with() -> None:
    here, runtime = pins("requirements/dev.txt"), pins(f"{INNER}/requirements/runtime.txt")
    service = pins(f"{INNER}/requirements/dev.txt")
    assert service.items() <= here.items(), "make lock"
    assert runtime.items() <= service.items()


def test_the_walls_folders_are_those_that_are_copied_as_they_are(template: Path) -> None:
    (owned,) = re.findall(r"OWNED = \((.*?)\)", (template / WALL).read_text(encoding="utf-8"), re.DOTALL)
    prompts = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    folders = [pattern for pattern in prompts["_copy_without_render"] if "*" not in pattern]
    assert re.findall(r'"([^"]+)"', owned) == folders


def test_every_target_of_make_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.+)$", text.replace("\\\n", " "), re.MULTILINE)
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} == set(targets.split())


def test_the_services_settings_are_valid_before_they_are_generated(template: Path) -> None:
    # tools read them where they stand; mypy goes on without them, and is content, when they are not
    for name in ("pyproject.toml", "ruff.toml"):
        assert tomllib.loads((template / INNER / name).read_text(encoding="utf-8"))
