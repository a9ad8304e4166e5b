"""Tell which of the platform's files were changed, lost or left over; `write` notes what they are.

Standard library only: it runs before anything is installed, and in the middle of an update.
"""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWNED = (
    "src/secure_rpc",
    "proto/secure_rpc",
    "tests/unit/secure_rpc",
    "tests/integration/secure_rpc",
    "tests/attack",
    "tests/scenarios",
    "tests/support",
    "tests/proto",
    "checklists",
    "runbooks",
)
NOTE = Path(__file__).with_name("wall.sha256").relative_to(ROOT)


def digests(root: Path = ROOT) -> dict[str, str]:
    """Return the digest of each file of the platform, by its path; generated code and caches are nobody's."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in OWNED
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and path != root / NOTE and "_pb2" not in path.name and "__pycache__" not in path.parts
    }


def differences(root: Path = ROOT) -> list[str]:
    """Return one line for each file that is not as the platform made it."""
    lines = (root / NOTE).read_text(encoding="utf-8").splitlines()
    noted = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    found = digests(root)
    return (
        [f"changed: {p}" for p in found if p in noted and noted[p] != found[p]]
        + [f"not the platform's: {p}" for p in found if p not in noted]
        + [f"lost: {p}" for p in noted if p not in found]
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        (ROOT / NOTE).write_text("".join(f"{digest}  {path}\n" for path, digest in digests().items()), encoding="utf-8")
    elif lines := differences():
        sys.exit("\n".join(lines))
