"""What was measured, for the terminal and for `docs/`."""

from __future__ import annotations

import platform
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import flood_report, handshake_report, plot, policy_report
from benchmarks.contenders import BARE, OURS, TEXTBOOK, Contender
from benchmarks.figures import Estimate, ratios
from benchmarks.load import CALLS_PER_CONNECTION, CONNECTIONS
from benchmarks.tables import Figures, verdict
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

MOST_OF_BARE = 1.00  # what the full chain may cost, in CPU time of bare gRPC
LEAST_OF_TEXTBOOK = 2.50  # what the textbook server must cost at least, in CPU time of the full chain
PAGE, PICTURE = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.svg"
TEXT = Path(__file__).with_name("page.md")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run against one server gave."""

    cpu_us: float  # of the server, per call
    calls_per_second: float
    client_share: float  # of one core, that the client was busy


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured, and with what."""

    samples: Mapping[Contender, Sequence[Sample]]
    versions: Mapping[str, str]
    seconds: float  # of each run
    identity: Mapping[str, Mapping[str, float]]  # microseconds to tell who calls, by algorithm and what was done
    policy: Mapping[str, Any]  # as `benchmarks.policy` prints it
    handshakes: Mapping[str, Any]  # as `benchmarks.handshakes` prints it
    load_before: float  # average number of other programs' threads that wanted a core

    def cpu(self, contender: Contender) -> list[float]:
        """Return the CPU time per call of each round."""
        return [sample.cpu_us for sample in self.samples[contender]]

    def rate(self, contender: Contender) -> list[float]:
        """Return the calls per second of each round."""
        return [sample.calls_per_second for sample in self.samples[contender]]

    def targets(self) -> list[tuple[str, Estimate, str, bool]]:
        """Return what was to be reached: the figure, what it is, what it should be, whether it is."""
        ours = ratios(self.cpu(OURS), self.cpu(BARE))
        textbook = ratios(self.cpu(TEXTBOOK), self.cpu(OURS))
        return [
            (
                f"CPU time of {OURS.name} / {BARE.name}",
                ours,
                f"at most {MOST_OF_BARE:.2f}",
                ours.median <= MOST_OF_BARE,
            ),
            (
                f"CPU time of {TEXTBOOK.name} / {OURS.name}",
                textbook,
                f"at least {LEAST_OF_TEXTBOOK:.2f}",
                textbook.median >= LEAST_OF_TEXTBOOK,
            ),
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table."""
        return [
            (
                contender.name,
                f"{statistics.median(self.cpu(contender)):.0f}",
                f"{statistics.median(self.rate(contender)):,.0f}",
                "1" if contender is BARE else str(ratios(self.cpu(contender), self.cpu(BARE))),
                "1" if contender is BARE else str(ratios(self.rate(contender), self.rate(BARE))),
                "1" if contender is TEXTBOOK else str(ratios(self.cpu(contender), self.cpu(TEXTBOOK))),
                f"{statistics.median(sample.client_share for sample in samples):.0%}",
            )
            for contender, samples in self.samples.items()
        ]

    def identities(self) -> Figures:
        """Return the table of what it costs to tell who calls."""
        kinds = list(next(iter(self.identity.values())))
        header = ("algorithm", *(f"{kind} (us)" for kind in kinds))
        return Figures(
            header, [(name, *(f"{found[kind]:.0f}" for kind in kinds)) for name, found in self.identity.items()]
        )


COLUMNS = ("server", "CPU us/call", "calls/s", "CPU / bare", "calls/s / bare", "CPU / textbook", "client's core")


def show(console: Console, results: Results) -> None:
    """Print the table and whether the targets are met."""
    console.print(Figures(COLUMNS, results.rows()).rich(), results.identities().rich())
    show_policy(console, results.policy)
    show_handshakes(console, results.handshakes)
    for what, figure, target, met in results.targets():
        console.print(f"{what}: {figure}, target {target}: [{'green]met' if met else 'red]missed'}[/]")


def show_policy(console: Console, policy: Mapping[str, Any]) -> None:
    """Print what decisions cost."""
    for table in policy_report.tables(policy).values():
        console.print(table.rich())
    console.print(policy_report.versions(policy))


def show_flood(console: Console, flood: Mapping[str, Any]) -> None:
    """Print what good callers feel of a flood."""
    for table in flood_report.tables(flood).values():
        console.print(table.rich())


def show_handshakes(console: Console, handshakes: Mapping[str, Any]) -> None:
    """Print what good callers feel of handshakes that fail."""
    for table in handshake_report.tables(handshakes).values():
        console.print(table.rich())


def write(results: Results) -> list[str]:
    """Write the page and its picture; return their names."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(results), encoding="utf-8")
    bars = [(contender.name, statistics.median(results.cpu(contender))) for contender in results.samples]
    PICTURE.write_text(plot.bars("CPU time of the server per call, in microseconds", bars), encoding="utf-8")
    return [str(file.relative_to(ROOT)) for file in (PAGE, PICTURE)]


def page(results: Results) -> str:
    """Return the page."""
    rounds = len(results.cpu(BARE))
    confidence = ratios(results.cpu(OURS), results.cpu(BARE)).confidence
    goals = ["| what | measured | target | |", "|---|--:|--:|---|"]
    goals += [f"| {what} | {figure} | {target} | {verdict(met)} |" for what, figure, target, met in results.targets()]
    shares = [sample.client_share for samples in results.samples.values() for sample in samples]
    values = {
        "table": Figures(COLUMNS[:-1], [row[:-1] for row in results.rows()]).markdown(),
        "targets": "\n".join(goals),
        "identity": results.identities().markdown(),
        **{name: table.markdown() for name, table in policy_report.tables(results.policy).items()},
        **{name: table.markdown() for name, table in handshake_report.tables(results.handshakes).items()},
        "failing_per_second": f"{results.handshakes['per_second']:g}",
        "good_per_second": f"{results.handshakes['calls_per_second']:g}",
        "policy_engines": policy_report.versions(results.policy),
        "contenders": "\n".join(f"- **{contender.name}**: {contender.what}." for contender in results.samples),
        "rounds": str(rounds),
        "seconds": f"{results.seconds:g}",
        "confidence": f"{confidence:.0%}",
        "connections": str(CONNECTIONS),
        "in_flight": str(CONNECTIONS * CALLS_PER_CONNECTION),
        "client": f"{max(shares):.0%}",
        "load": f"{results.load_before:.1f}",
        "machine": f"{_processor()}, {_cores()} cores, {platform.system()} {platform.machine()}",
        "versions": ", ".join(f"{name} {version}" for name, version in results.versions.items()),
    }
    return re.sub(r"<<(\w+)>>", lambda found: values[found[1]], TEXT.read_text(encoding="utf-8"))


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _cores() -> int:
    return len(re.findall(r"^processor\s*:", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE))
