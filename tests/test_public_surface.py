"""What is generated as the team's own keeps to the names that stay."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

from tools.bake import INNER, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

sys.path.insert(0, str(ROOT / INNER / "src"))
from secure_rpc.surface import NAME, SURFACE  # it stands in the template

# they hold the pages and the settings against the platform itself, and are not what a team would write
OF_THE_TEMPLATE = {"test_docs.py", "test_federation.py"}


def imported(text: str) -> Iterator[tuple[str, str]]:
    """Yield what a source imports of the platform: a module below the package, and a name of it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == NAME:
            module = (node.module or "").removeprefix(NAME).removeprefix(".")
            yield from ((module or alias.name, alias.name if module else "") for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == NAME)


def internal(text: str) -> list[str]:
    """Return what a source imports that may change with any release."""
    return [
        f"{module}.{name}"
        for module, name in imported(text)
        if module not in SURFACE or (name and name not in SURFACE[module])
    ]


def test_what_the_team_gets_imports_only_what_stays(service: Path) -> None:
    folders = ("src/order_service", "tests/unit/order_service", "tests/integration/order_service", "docs/examples")
    sources = [path for folder in folders for path in (service / folder).rglob("*.py")]
    assert len(sources) > 8
    found = {path.name: internal(path.read_text(encoding="utf-8")) for path in sources}
    assert not {name: names for name, names in found.items() if names and name not in OF_THE_TEMPLATE}


def test_what_the_pages_show_imports_only_what_stays(service: Path) -> None:
    blocks = [
        (page.name, block)
        for page in sorted((service / "docs").glob("*.md"))
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    ]
    lines = [(name, line) for name, block in blocks for line in re.findall(r"^from secure_rpc.*", block, re.MULTILINE)]
    assert not [(name, line) for name, line in lines if internal(line)]


def test_an_internal_name_is_found() -> None:
    assert internal("from secure_rpc.chain import Chain, Stage") == ["chain.Chain"]
    assert internal("import secure_rpc.chain\nfrom secure_rpc import errors, server") == [
        "secure_rpc.chain.",
        "server.",
    ]
