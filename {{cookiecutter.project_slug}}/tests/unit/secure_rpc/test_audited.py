"""An audit counts for what it looked at: each package of the lock, in its version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secure_rpc.audited import problems
from secure_rpc.sbom import locked

LOCK = Path("requirements/runtime.txt").read_text()


def report(**changed: dict[str, Any]) -> dict[str, Any]:
    """Return what an audit says that looked at everything and found nothing; but for what was changed."""
    dependencies = []
    for package in locked(LOCK):
        if package.requirement.marker is None or package.requirement.marker.evaluate():
            (version,) = package.requirement.specifier
            looked: dict[str, Any] = {"name": package.requirement.name, "version": version.version, "vulns": []}
            dependencies.append(changed.get(package.requirement.name, looked))
    assert len(dependencies) > 20
    return {"dependencies": dependencies, "fixes": []}


def test_nothing_is_said_where_everything_was_looked_at_and_nothing_is_known() -> None:
    assert problems(LOCK, report()) == []


def test_a_weakness_is_told_with_the_version_that_mends_it() -> None:
    (version,) = [package.purl.version for package in locked(LOCK) if package.purl.name == "grpcio"]
    weakness = {"id": "PYSEC-1", "fix_versions": ["99.1"], "aliases": [], "description": ""}
    found = problems(LOCK, report(grpcio={"name": "grpcio", "version": version, "vulns": [weakness]}))
    assert found == [f"grpcio {version}: PYSEC-1; mended in 99.1"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"name": "grpcio", "skip_reason": "Dependency not found"}, "Dependency not found"),
        ({"name": "grpcio", "version": "0.1", "vulns": []}, "no word of it"),
        ({"name": "other", "version": "0.1", "vulns": []}, "no word of it"),
    ],
)
def test_a_package_that_was_passed_over_is_told(said: dict[str, Any], why: str) -> None:
    (found,) = problems(LOCK, report(grpcio=said))
    assert found.startswith("grpcio ")
    assert found.endswith(f": not looked at: {why}")


def test_an_audit_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="so nothing was looked at"):
        problems("# head\nwinonly==1.0 ; sys_platform == 'never' \\\n    --hash=sha256:" + "0" * 64, report())
