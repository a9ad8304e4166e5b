"""The list of generated files, as tests/expected_files.txt has it; `make files` writes it anew."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tools.bake import bake

LIST = Path(__file__).with_name("expected_files.txt")
HEAD = "# What is generated, with a CI of GitHub. After adding or removing a file: make files\n"
# names that no file has by itself
NAMES = {"package_name": "zz_package", "resource_name": "ZzThing"}
PLACEHOLDERS = {"zz_package": "<package_name>", "zz_thing": "<resource_file>"}


def files(service: Path) -> list[str]:
    """Return the paths of all files of a service, sorted."""
    return sorted(path.relative_to(service).as_posix() for path in service.rglob("*") if path.is_file())


def is_text(name: str) -> bool:
    """Tell whether a file is to be read: all but pictures are."""
    return not name.endswith(".png")


def listed(package_name: str, resource_file: str) -> list[str]:
    """Return the paths that the list has for these names, sorted."""
    names = {"<package_name>": package_name, "<resource_file>": resource_file}
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for placeholder, name in names.items():
        lines = [line.replace(placeholder, name) for line in lines]
    return sorted(lines)


def write() -> None:
    """Write the list of what is generated now."""
    with tempfile.TemporaryDirectory() as out:
        lines = files(bake(Path(out), NAMES))
    for name, placeholder in PLACEHOLDERS.items():
        lines = [line.replace(name, placeholder) for line in lines]
    LIST.write_text(HEAD + "".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["write"]:
        sys.exit("usage: python -m tests.generated_files write")
    write()
