"""A generated service passes its own checks, as its team would run them, and they leave it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_bake import ALL_NAMES, HOSTILE, content
from tools.bake import bake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Git, Make

SERVICES = {
    "defaults": {},
    "all-changed": {
        **HOSTILE,
        **ALL_NAMES["long"],
        "trust_domain": "prod-1.eu-central-1.purchase_orders.shop.example.com",
        "ci_provider": "gitlab",
        "licence": "MIT",
    },
}


@pytest.fixture(scope="module", params=SERVICES)
def repository(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, template: Path, git: Git
) -> Path:
    """Return a service under git, as its team would have it on the first day."""
    made = bake(tmp_path_factory.mktemp("generated"), SERVICES[request.param], template)
    git("init", "-q", "-b", "main", cwd=made)
    git("add", "-A", cwd=made)
    git("commit", "-qm", "generated", cwd=made)
    return made


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("target", ["lint", "test"])
def test_it_passes_its_own_checks_and_is_left_as_it_was(
    request: pytest.FixtureRequest, repository: Path, git: Git, make: Make, target: str
) -> None:
    if target == "test" and request.node.callspec.params["repository"] == "defaults":
        target = "test-all"  # the platform is the same whatever the answers: once is enough
    known = git("ls-files", "-z", cwd=repository).split("\0")
    before = {name: data for name, data in content(repository).items() if name in known}
    done = make(repository, target)
    assert done.returncode == 0, done.stdout[-8000:]
    assert {name: data for name, data in content(repository).items() if name in known} == before
    assert git("status", "--porcelain", cwd=repository) == ""
