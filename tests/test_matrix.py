"""Every option, and options with each other: what is generated is whole, equal each time, and passes its own checks."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.generated_files import files, is_text
from tests.test_bake import ALL_NAMES, HOSTILE, content, well_formed
from tools.bake import bake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Baked, Git, Make

CI, LICENCES, EXAMPLES = (
    ("github", "gitlab", "none"),
    ("Apache-2.0", "MIT", "BSD-3-Clause", "Proprietary"),
    ("full", "none"),
)
# each host with and without the example; licences touch neither, so each of them comes once or twice
COMBINED = [(*pair, licence) for pair, licence in zip(itertools.product(CI, EXAMPLES), itertools.cycle(LICENCES))]
NAMES = {"hostile": HOSTILE, "long": ALL_NAMES["long"], "capitals": ALL_NAMES["capitals"]}
# what Windows takes for a device, whatever comes after a dot; and what it takes for no name
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
NO_NAME = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')
LONGEST_PATH = 180  # of the 260 that Windows takes, the rest is for where it is cloned to


def answered(ci: str, example: str, licence: str) -> dict[str, str]:
    return {"ci_provider": ci, "licence": licence, "example": example}


@pytest.mark.parametrize(("ci", "example", "licence"), COMBINED)
def test_each_combination_is_whole_and_equal_each_time(baked: Baked, ci: str, example: str, licence: str) -> None:
    made = baked(**answered(ci, example, licence))
    assert well_formed(made) > 100
    assert content(made) == content(baked(**answered(ci, example, licence)))
    names = files(made)
    assert not [name for name in names if name.startswith(("licences/", "without_example/"))]
    assert ("src/order_service/store.py" in names) is (example == "full")
    links = {
        (name, target)
        for name in names
        if name.endswith(".md") and not name.startswith((".github", ".gitlab"))
        for target in re.findall(r"\]\(([^)#:\s]+)\)", (made / name).read_text(encoding="utf-8"))
        if not ((made / name).parent / target).exists()
    }
    assert links == set()


@pytest.mark.parametrize("names", NAMES)
def test_a_service_without_the_example_has_names_and_form_as_another(baked: Baked, names: str) -> None:
    full, bare = (baked(**NAMES[names], example=example) for example in EXAMPLES)
    assert not {*files(bare)} - {*files(full)} - {f"tests/unit/{package(bare)}/test_service.py"}
    text = "".join((bare / name).read_text(encoding="utf-8") for name in files(bare) if is_text(name))
    assert "without_example" not in text
    proto = next(bare.glob(f"proto/{package(bare)}/v1/*.proto")).read_text(encoding="utf-8")
    assert "rpc " not in proto.partition("service ")[2]
    (bare / "src" / package(bare) / "v1").mkdir()  # where the generated code will be
    own = [str(path.relative_to(bare)) for path in bare.rglob(package(bare)) if path.parts[-2] != "proto"]
    for command in (
        ["ruff", "format", "--check", "-q", "."],
        ["ruff", "check", "-q", *own],
        ["buf", "format", "-d", "--exit-code", "proto"],
    ):
        command[0] = str(PurePosixPath(sys.executable).with_name(command[0]))
        done = subprocess.run(command, cwd=bare, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def package(service: Path) -> str:
    return next(service.glob("src/*/app.py")).parent.name


@pytest.mark.parametrize("names", NAMES)
def test_names_of_files_are_names_on_windows_too(baked: Baked, names: str) -> None:
    made = files(baked(**NAMES[names]))
    for name in made:
        assert len(name) <= LONGEST_PATH, name
        for part in PurePosixPath(name).parts:
            assert not NO_NAME.search(part), name
            assert part.split(".")[0].lower() not in DEVICES, name
    assert len({name.lower() for name in made}) == len(made), "two names differ in nothing but case"


def test_a_name_that_is_a_device_on_windows_is_noticed() -> None:
    assert ["aux", "txt"][0] in DEVICES
    assert NO_NAME.search("a:b")
    assert NO_NAME.search("end.")


@pytest.mark.parametrize("ci", CI)
def test_what_was_declined_is_named_by_nothing_that_runs(baked: Baked, ci: str) -> None:
    made = baked(ci_provider=ci)
    hosts = {"github": ".github", "gitlab": ".gitlab"}
    for host, begins in hosts.items():
        assert any(name.startswith(begins) for name in files(made)) is (host == ci), (host, ci)
    container: dict[str, Any] = json.loads((made / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert container["postCreateCommand"] == "make setup hooks"
    hooks = yaml.safe_load((made / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]


@pytest.mark.slow
def test_a_service_without_the_example_passes_its_own_checks(
    template: Path, tmp_path_factory: pytest.TempPathFactory, git: Git, make: Make
) -> None:
    made = bake(tmp_path_factory.mktemp("bare"), {"example": "none", "ci_provider": "none"}, template)
    git("init", "-q", "-b", "main", cwd=made)
    git("add", "-A", cwd=made)
    git("commit", "-qm", "generated", cwd=made)
    for target in ("lint", "policy-test"):
        done = make(made, target)
        assert done.returncode == 0, done.stdout[-8000:]
    done = make(made, "coverage")  # its own tests; attacks on the chain are the same with and without an example
    assert done.returncode == 0, done.stdout[-8000:]
    assert re.search(r"^4 passed", done.stdout, re.MULTILINE), done.stdout
    assert git("status", "--porcelain", cwd=made) == ""
