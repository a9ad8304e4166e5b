"""The bill of an image names all of the lock that Linux takes, as the schema of CycloneDX has it, always the same."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from secure_rpc.sbom import bill, locked

PROJECT, LOCK = Path("pyproject.toml"), Path("requirements/runtime.txt")
BASE = f"registry.example/team/python@sha256:{'a1' * 32}"
REVISION = "0123456789abcdef0123456789abcdef01234567"
TIME = datetime(2026, 1, 1, tzinfo=UTC)


def text(lock: Path = LOCK, base: str = BASE, revision: str = REVISION) -> str:
    return JsonV1Dot6(bill(PROJECT, lock, base, revision, TIME)).output_as_string(indent=2)


def read(lock: Path = LOCK) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text(lock))
    return found


def test_it_is_as_the_strict_schema_has_it() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text()) is None
    assert validator.validate_str(text().replace('"purl"', '"unheard-of"', 1)) is not None


def test_the_same_gives_the_same_bytes_and_anything_else_another_number(tmp_path: Path) -> None:
    number = json.loads(text())["serialNumber"]
    assert text() == text()
    changed = tmp_path / "runtime.txt"
    changed.write_text(LOCK.read_text().replace("sha256:0", "sha256:1", 1))
    for other in (text(lock=changed), text(base=BASE.replace("a1", "b2")), text(revision=REVISION[::-1])):
        assert json.loads(other)["serialNumber"] != number


def test_the_order_of_a_lock_makes_no_other_components(tmp_path: Path) -> None:
    head, *entries = re.split(r"\n(?=[^\s#])", LOCK.read_text())
    random.Random(1).shuffle(entries)  # noqa: S311  # the same order each time
    other = tmp_path / "runtime.txt"
    other.write_text("\n".join([head, *(entry.strip("\n") for entry in entries)]) + "\n")
    shuffled, straight = read(other), read()
    assert (shuffled["components"], shuffled["dependencies"]) == (straight["components"], straight["dependencies"])


def test_each_package_comes_with_all_hashes_of_the_lock() -> None:
    parts = {part["name"]: part for part in read()["components"]}
    for entry in re.split(r"\n(?=[^\s#])", LOCK.read_text()):
        named = re.match(r"([\w.-]+)==(\S+)", entry)
        if named is None or "; sys_platform == 'win32' \\" in entry.splitlines()[0]:
            continue
        part = parts.pop(named[1])
        assert part["version"] == named[2]
        [files] = part["externalReferences"]
        assert sorted(each["content"] for each in files["hashes"]) == sorted(re.findall(r"sha256:(\w+)", entry))
    assert list(parts) == ["registry.example/team/python"]
    assert parts.popitem()[1]["hashes"] == [{"alg": "SHA-256", "content": "a1" * 32}]


def test_what_no_image_has_is_left_out_and_what_some_have_is_optional(tmp_path: Path) -> None:
    lock = tmp_path / "runtime.txt"
    hashed = f" \\\n    --hash=sha256:{'0' * 64}\n    # via -r runtime.in\n"
    markers = {
        "everywhere": "",
        "never": " ; sys_platform == 'win32'",
        "old": " ; python_full_version < '3.11.3'",
        "arm": " ; platform_machine == 'aarch64'",
        "linux": " ; sys_platform != 'win32'",
    }
    lock.write_text("# head\n" + "".join(f"{name}==1.0{marker}{hashed}" for name, marker in markers.items()))
    scopes = {part["name"]: part.get("scope") for part in read(lock)["components"] if part["type"] == "library"}
    assert scopes == {"everywhere": "required", "linux": "required", "old": "optional", "arm": "optional"}


def test_who_needs_whom_is_told() -> None:
    needs = {each["ref"].split("@")[0]: each.get("dependsOn", []) for each in read()["dependencies"]}
    names = {name: {each.split("@")[0].removeprefix("pkg:pypi/") for each in found} for name, found in needs.items()}
    assert {"pydantic-core", "typing-extensions"} <= names["pkg:pypi/pydantic"]
    [service] = [found for name, found in names.items() if name.startswith("pkg:generic/")]
    assert {"grpcio", "cryptography"} <= service
    assert "pydantic-core" not in service


@pytest.mark.parametrize("entry", ["unhashed==1.0\n", f"loose>=1.0 \\\n    --hash=sha256:{'0' * 64}\n"])
def test_a_lock_that_locks_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is not locked"):
        list(locked(entry))


@pytest.mark.parametrize("base", ["", "python:3.11", "python@sha256:12"])
def test_a_base_without_its_digest_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="by its digest"):
        text(base=base)
