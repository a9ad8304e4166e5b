"""What a page of the tutorial asks its reader to do, in order.

The page is plain Markdown, and the test obeys what a reader sees:

- a `sh` block is typed into the terminal, which stays in the folder where the block before left it;
- where the lines above it say "second terminal", it is typed into another one and goes on there; where they say
  "Ctrl-C", what runs there is ended first;
- a `text` block after it is what was printed: `...` on a line of its own stands for any lines, `…` for a part of one;
- a `diff` block is a patch of the service;
- any other block below a line such as "`src/a.py`, new:" is that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEW_FILE = re.compile(r"`([^`]+)`, new:$")


@dataclass(frozen=True)
class Step:
    """One thing to do."""

    place: str  # page and line
    kind: str  # "type", "start", "patch" or "write"
    text: str
    path: str = ""  # of the file to write
    output: str | None = None
    ends_other: bool = False  # whether Ctrl-C comes first in the second terminal


class UnknownBlockError(Exception):
    """A block of a page is nothing that a reader could do."""


def steps(page: Path) -> Iterator[Step]:
    """Yield what a page asks for.

    Raises:
        UnknownBlockError: A block is none of the kinds, or an output follows no command.

    """
    text = page.read_text(encoding="utf-8")
    found: list[Step] = []
    for block in BLOCK.finditer(text):
        place = f"{page.name}:{text.count(chr(10), 0, block.start()) + 1}"
        above = text[: block.start()].rstrip().rpartition("\n\n")[2].replace("\n", " ")
        language, content = block.groups()
        if language == "sh":
            kind = "start" if "second terminal" in above else "type"
            found.append(Step(place, kind, content, ends_other="Ctrl-C" in above))
        elif language == "diff":
            found.append(Step(place, "patch", content))
        elif language == "text" and found and found[-1].kind == "type" and found[-1].output is None:
            last = found.pop()
            found.append(Step(last.place, "type", last.text, output=content))
        elif named := NEW_FILE.search(above):
            found.append(Step(place, "write", content, path=named[1]))
        else:
            raise UnknownBlockError(f"{place}: nobody can tell what this block of {language} is for")
    yield from found


def is_printed(shown: str, printed: str) -> bool:
    """Tell whether a page shows what was printed."""
    pattern = ""
    for line in shown.splitlines():
        pattern += r"(?:.*\n)*?" if line == "..." else ".*?".join(map(re.escape, line.split("…"))) + r" *\n"
    return re.fullmatch(pattern, printed) is not None
