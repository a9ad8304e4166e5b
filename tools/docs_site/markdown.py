"""Pages as repositories show them, made into what Python-Markdown reads the same way.

Lists are indented by four, and begin after an empty line; a fence has one word for its language; links are to places of
the site.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,})(?P<info>[^`]*)$")
ITEM = re.compile(r"^(?P<indent> *)(?P<mark>(?:[-*]|\d+\.) +)(?=\S)")
LINK = re.compile(
    r"(?P<text>!?\[(?:[^\[\]]|\[[^\[\]]*\]|!\[[^\]]*\]\([^)]*\))*\])\((?P<target>[^()\s]+)(?P<title>\s+\"[^\"]*\")?\)"
)
CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        line: of its fence, from one.
        info: what stands behind the marks.
        text: its lines, without their indent.

    """

    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        """Return the first word of the info string."""
        return self.info.split(" ", 1)[0]


@dataclass(frozen=True, slots=True)
class Prose:
    """Lines between blocks.

    Attributes:
        line: of the first, from one.
        lines: as they stand.

    """

    line: int
    lines: tuple[str, ...]


def parts(text: str) -> Iterator[tuple[str, Block | Prose]]:
    """Yield the indent, and the block or the prose that stands there, in order.

    Raises:
        ValueError: a fence is not closed.

    """
    lines, number, begun = text.splitlines(), 0, 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        if begun < number:
            yield "", Prose(begun + 1, tuple(lines[begun:number]))
        indent = fence["indent"]
        try:
            end = lines.index(f"{indent}{fence['marks']}", number + 1)
        except ValueError:
            msg = f"line {number + 1}: the fence is not closed"
            raise ValueError(msg) from None
        inside = "\n".join(line.removeprefix(indent) for line in lines[number + 1 : end])
        yield indent, Block(number + 1, fence["info"].strip(), inside)
        number = begun = end + 1
    if begun < len(lines):
        yield "", Prose(begun + 1, tuple(lines[begun:]))


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [part for _, part in parts(text) if isinstance(part, Block)]


class Indents:
    """Follows the lists of a page: two or three spaces below an item become four a level."""

    def __init__(self) -> None:
        """Begin outside of any list."""
        self._levels: list[int] = []  # where the text of each open item begins
        self._empty = True  # the line before

    def line(self, line: str) -> Iterator[str]:
        """Yield what a line becomes."""
        if not line.strip():
            self._empty = True
            yield ""
            return
        indent = len(line) - len(line.lstrip(" "))
        item = ITEM.match(line)
        if item or self._empty:
            self._close(indent)
        if item:
            if not self._levels and not self._empty:
                yield ""
            yield " " * 4 * len(self._levels) + line.lstrip(" ")
            self._levels.append(item.end())
        elif self._levels:
            yield " " * (4 * len(self._levels) + max(0, indent - self._levels[-1])) + line.lstrip(" ")
        else:
            yield line
        self._empty = False

    def block(self, indent: str) -> str:
        """Return the indent of a block."""
        self._close(len(indent))
        self._empty = True
        return " " * 4 * len(self._levels) if self._levels else indent

    def _close(self, indent: int) -> None:
        while self._levels and self._levels[-1] > indent:
            self._levels.pop()


def converted(text: str, link: Callable[[str], str], block: Callable[[Block], str]) -> str:
    """Return a page for Python-Markdown.

    Args:
        text: the page.
        link: what becomes of the target of a link.
        block: what becomes of a fenced block.

    """
    made: list[str] = []
    indents = Indents()
    for indent, part in parts(text):
        if isinstance(part, Block):
            inner = indents.block(indent)
            made += ["", *(f"{inner}{line}".rstrip() for line in block(part).splitlines()), ""]
            continue
        linked = LINK.sub(
            lambda found: f"{found['text']}({link(found['target'])}{found['title'] or ''})", "\n".join(part.lines)
        )
        for line in linked.splitlines():
            made += indents.line(_row(line))
    return "\n".join(made) + "\n"


def fenced(block: Block) -> str:
    """Return a block with a language that is one word; what else its fence says becomes its title."""
    language, _, rest = block.info.partition(" ")
    marks = "`" * (3 + max((len(run) - 2 for run in re.findall(r"`{3,}", block.text)), default=0))
    title = f' title="{rest}"' if rest else ""
    return f"{marks}{language}{title}\n{block.text}\n{marks}"


def _row(line: str) -> str:
    """Return a row of a table without the backslashes that keep code in one cell: code needs none here."""
    return CODE.sub(lambda found: found[0].replace("\\|", "|"), line) if line.startswith("|") else line
