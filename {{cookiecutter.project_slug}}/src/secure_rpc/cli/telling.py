"""How the commands of the policy say what they found: as it stands in files, without doing anything to a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDE = 160  # characters of a line where nobody looks on: in the log of a pipeline, say


def console() -> Console:
    """Return where to print; rows are as wide as the terminal, lines as long as they are."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def say(*lines: str, style: str = "") -> None:
    """Print lines as they are; what could move the cursor or change colours is replaced."""
    out = Console(highlight=False, soft_wrap=True)
    for line in lines:
        out.print(plain(line), style=style or None, markup=False, emoji=False)


def rows(header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print a table of which nothing is cut off."""
    table = Table()
    for name in header:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(escape(plain(cell)) for cell in line))
    console().print(table, emoji=False)


def plain(text: str) -> str:
    """Return text with every character that is not printable replaced."""
    return "".join(character if character.isprintable() else "?" for character in text)


def count(number: int, noun: str) -> str:
    """Return "1 binding", "2 bindings"."""
    return f"{number} {noun if number == 1 else noun + 's'}"
