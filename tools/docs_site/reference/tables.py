"""Tables of pages, read and written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CELLS = re.compile(r"(?<!\\)\|")
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)]+)\)")
DOCS = "../service/docs/"


def row(cells: Iterable[object]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(str(cell).replace(chr(10), ' ') for cell in cells)} |"


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table."""
    return "\n".join([row(head), "|" + "---|" * len(head), *map(row, rows)]) + "\n"


def rows(page: Path) -> dict[str, list[str]]:
    """Return the rows of all tables of a page of the service's docs, by each name in code of their first cell.

    Links of their cells are made to lead from the reference.
    """
    found: dict[str, list[str]] = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            cells = [linked(cell.strip()) for cell in CELLS.split(line)[1:-1]]
            found |= dict.fromkeys(re.findall(r"`([a-z_.]+)`", cells[0]), cells[1:])
    return found


def linked(text: str) -> str:
    """Return text of a page of the service's docs with links that lead there from the reference."""
    return LINK.sub(lambda found: f"]({DOCS}{found[1]})", text)


def code(text: object) -> str:
    """Return text as code, in a table too; empty for nothing."""
    return f"`{str(text).replace('|', chr(92) + '|')}`".replace("\\|", "|") if str(text) else ""
