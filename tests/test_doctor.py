"""What the doctor finds in a fresh service: what is missing for production, and nothing that is not so."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tools.bake import bake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Make

# what nobody but the service's own team can give, or decide
MISSING = {
    "audit-durable",
    "audit-kept",
    "audit-retention",
    "audit-sealed",
    "audit-signed",
    "crls",
    "issuer-ca",
    "policy-all-tenants",
    "replay",  # of the streaming example
    "stream-rate",
    "tokens-bound",
}
TESTS = ("tests/unit/secure_rpc/doctor", "tests/integration/secure_rpc/test_doctor.py")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, template: Path, make: Make) -> Path:
    """Return a fresh service that is set up."""
    made = bake(tmp_path_factory.mktemp("doctor"), {}, template)
    done = make(made, "setup")
    assert done.returncode == 0, done.stdout[-8000:]
    return made


@pytest.mark.slow
def test_a_fresh_service_is_told_what_is_missing_and_nothing_that_is_not_so(service: Path) -> None:
    """Look at it as its team would on the first day."""
    command = [f".venv/bin/{service.name}", "doctor", "--json"]
    answered = subprocess.run(command, cwd=service, capture_output=True, text=True, check=True)
    report = json.loads(answered.stdout)
    assert {check["id"] for check in report["checks"] if check["result"] == "failed"} == MISSING
    assert report["counts"]["unknown"] == 0
    assert report["grade"] == "beginner"


@pytest.mark.slow
def test_every_weakness_is_planted_in_a_fresh_service(service: Path) -> None:
    """In a service that has its own manifests some cannot be; in a fresh one all of them can."""
    command = [".venv/bin/python", "-m", "pytest", "-q", "-rs", *TESTS]
    done = subprocess.run(command, cwd=service, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:]
    assert "skipped" not in done.stdout, done.stdout[-8000:]
