"""Tell what is known against the packages of a lock, from what pip-audit says; and fail where it looked at too few.

A program of the build, as `sbom`: nothing that serves imports it. An audit that finds nothing is worth what it looked
at. One whose list was empty, or that passed over what it did not find, looks the same from outside.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from secure_rpc.sbom import locked


def problems(lock: str, report: dict[str, Any]) -> list[str]:
    """Return a line for each weakness, and one for each package that was not looked at.

    Args:
        lock: the text of a lock, as uv writes it.
        report: what pip-audit made of it, as its format `json`.

    Raises:
        ValueError: the lock is none, or holds nothing for this machine.
    """
    wanted = {
        canonicalize_name(package.requirement.name): str(package.requirement.specifier).removeprefix("==")
        for package in locked(lock)
        if package.requirement.marker is None or package.requirement.marker.evaluate()
    }
    if not wanted:
        raise ValueError("nothing is locked here, so nothing was looked at")
    found = {canonicalize_name(each["name"]): each for each in report["dependencies"]}
    lines = []
    for name, version in wanted.items():
        each = found.get(name, {})
        if each.get("version") != version or "vulns" not in each:
            lines.append(f"{name} {version}: not looked at: {each.get('skip_reason', 'no word of it')}")
            continue
        lines += [
            f"{name} {version}: {weakness['id']}; mended in {', '.join(weakness['fix_versions']) or 'no version'}"
            for weakness in each["vulns"]
        ]
    return lines


def main() -> None:
    """Hold a report against a lock."""
    lock, report = map(Path, sys.argv[1:])
    if not report.is_file():
        sys.exit(f"{lock}: pip-audit could not look, and says why above")
    if lines := problems(lock.read_text(encoding="utf-8"), json.loads(report.read_text(encoding="utf-8"))):
        sys.exit("\n".join([f"{lock}:", *(f"  {line}" for line in lines)]))
    print(f"{lock}: nothing is known against it")  # noqa: T201  # a program of the build


if __name__ == "__main__":
    main()
