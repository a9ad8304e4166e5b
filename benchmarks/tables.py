"""The same tables for the terminal and for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

MET, MISSED = "met", "**missed**"


class Figures(NamedTuple):
    """A table: what each row is about stands in its first cell."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return it for the page."""
        lines = [self.header, ["---", *["--:"] * (len(self.header) - 1)], *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

    def rich(self) -> Table:
        """Return it for the terminal."""
        table = Table(*self.header, box=SIMPLE_HEAD)
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.justify = "right"
        colours = {MET: "[green]met[/]", MISSED: "[red]missed[/]"}
        for cells in self.rows:
            table.add_row(*(colours.get(cell, cell) for cell in cells))
        return table


def verdict(met: bool) -> str:  # noqa: FBT001
    """Say whether a target is met."""
    return MET if met else MISSED
