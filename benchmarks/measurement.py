"""What a measurement is: what `make bench` runs, shows, keeps and puts on the page, each in a module of its own."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks.tables import Figures, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.figures import Estimate
    from benchmarks.workspace import Workspace

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
Results = dict[str, Any]  # as JSON has it


@dataclass(frozen=True, slots=True)
class Setting:
    """Where it is measured, and how long."""

    workspace: Workspace
    quick: bool  # a look, not a measurement
    rounds: int  # of servers in turn
    seconds: float  # of each server in a round, about

    @contextmanager
    def status(self, what: str) -> Iterator[None]:
        """Tell what is being done."""
        with console.status(what):
            yield


@dataclass(frozen=True, slots=True)
class Target:
    """What was to be reached, and whether it is."""

    number: str  # of the list of targets, such as "1"
    what: str
    measured: str
    target: str
    met: bool

    def row(self) -> tuple[str, ...]:
        """Return it for a table."""
        return (self.number, self.what, self.measured, self.target, verdict(self.met))


TARGETS_HEADER = ("", "what", "measured", "target", "met?")


def no_targets(_results: Mapping[str, Any]) -> Sequence[Target]:
    """Return no target."""
    return ()


def nothing(_results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return no ratio, and no value."""
    return {}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing that is measured."""

    name: str  # `make bench ARGS="--only NAME"`
    what: str
    measure: Callable[[Setting], Results]
    tables: Callable[[Mapping[str, Any]], Mapping[str, Figures]]  # by the place that they have on the page
    targets: Callable[[Mapping[str, Any]], Sequence[Target]] = no_targets
    ratios: Callable[[Mapping[str, Any]], Mapping[str, Estimate]] = nothing  # that must not move unseen
    values: Callable[[Mapping[str, Any]], Mapping[str, str]] = nothing  # further places of the page
    under_load: bool = False  # whether h2load calls
    in_check: bool = field(default=False)  # whether `make bench-check` measures it, quickly

    def show(self, results: Mapping[str, Any]) -> None:
        """Print what was measured."""
        for table in self.tables(results).values():
            console.print(table.rich())
        for target in self.targets(results):
            colour = "[green]met[/]" if target.met else "[red]missed[/]"
            console.print(f"{target.what}: {target.measured}, target {target.target}: {colour}")
