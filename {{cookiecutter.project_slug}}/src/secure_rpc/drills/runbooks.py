"""The commands of runbooks, as they are printed there."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path("runbooks")
_BLOCK = re.compile(r"^(?P<indent> *)```sh (?P<head>[^\n]*)\n(?P<body>.*?)^ *```", re.MULTILINE | re.DOTALL)


def exists(page: str) -> bool:
    """Tell whether there is such a page.

    Args:
        page: its file name.
    """
    return bool(page) and (FOLDER / page).is_file()


def commands(page: str, drill: str) -> str:
    """Return the commands that a page has for a drill: its blocks with `drill=<name>` in their heads, in order.

    Args:
        page: its name, without ".md".
        drill: the name of the drill.

    Raises:
        OSError: there is no such page.
        LookupError: it has no such block.
    """
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    blocks = [
        re.sub(rf"^{found['indent']}", "", found["body"], flags=re.MULTILINE)
        for found in _BLOCK.finditer(text)
        if f"drill={drill}" in found["head"].split()
    ]
    if not blocks:
        raise LookupError(f"no block says drill={drill}")
    return "".join(blocks)
