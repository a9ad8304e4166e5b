"""What a unary call costs: the generated service against bare gRPC, its kernel, and the textbook's way."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import ALL, BARE, OURS, TEXTBOOK
from benchmarks.figures import Estimate, ratios
from benchmarks.load import CALLS_PER_CONNECTION, CONNECTIONS
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import all_running, column, in_generations
from benchmarks.tables import Figures
from benchmarks.workspace import FailedError, run

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_OF_BARE = 1.00  # what the full chain may cost, in CPU time of bare gRPC
LEAST_RATE_OF_BARE = 1.10  # calls a second that it must answer, of those of bare gRPC
LEAST_OF_TEXTBOOK = 2.80  # what the textbook server must cost at least, in CPU time of the full chain
COLUMNS = ("server", "CPU us/call", "calls/s", "CPU / bare", "calls/s / bare", "CPU / textbook", "client's core")


def measure(setting: Setting) -> Results:
    """Measure every server in turns; the audit log of ours must be whole in the end."""
    samples = in_generations(lambda workspace: all_running(ALL, workspace), setting)
    workspace = setting.workspace
    audited = run(
        workspace.python, "-m", "order_service", "audit", "verify", "build/audit.log", folder=workspace.service
    )
    if ": whole" not in audited:
        raise FailedError(f"the audit log of {OURS.name} is not whole: {audited}")
    return {"samples": samples, "seconds": setting.seconds}


def _ratio(results: Mapping[str, Any], over: str, under: str, key: str = "cpu_us") -> Estimate:
    return ratios(column(results["samples"][over], key), column(results["samples"][under], key))


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return the table of all servers."""
    rows = []
    for name, samples in results["samples"].items():
        rows.append(
            (
                name,
                f"{statistics.median(column(samples, 'cpu_us')):.0f}",
                f"{statistics.median(column(samples, 'calls_per_second')):,.0f}",
                "1" if name == BARE.name else str(_ratio(results, name, BARE.name)),
                "1" if name == BARE.name else str(_ratio(results, name, BARE.name, "calls_per_second")),
                "1" if name == TEXTBOOK.name else str(_ratio(results, name, TEXTBOOK.name)),
                f"{statistics.median(column(samples, 'client_share')):.0%}",
            )
        )
    return {"table": Figures(COLUMNS, rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold the full chain against bare gRPC and the textbook."""
    cpu, rate = (_ratio(results, OURS.name, BARE.name, key) for key in ("cpu_us", "calls_per_second"))
    textbook = _ratio(results, TEXTBOOK.name, OURS.name)
    return [
        Target("1", "CPU time, full chain / bare", str(cpu), f"<= {MOST_OF_BARE:.2f}", cpu.median <= MOST_OF_BARE),
        Target(
            "1", "calls/s, full chain / bare", str(rate), f">= {LEAST_RATE_OF_BARE:.2f}",
            rate.median >= LEAST_RATE_OF_BARE,
        ),
        Target(
            "1", "CPU time, textbook / full chain", str(textbook), f">= {LEAST_OF_TEXTBOOK:.2f}",
            textbook.median >= LEAST_OF_TEXTBOOK,
        ),
    ]  # fmt: skip


def kept(results: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return the ratios that must not move unseen."""
    return {
        "CPU, full chain / bare": _ratio(results, OURS.name, BARE.name),
        "CPU, kernel / bare": _ratio(results, "kernel", BARE.name),
        "CPU, full chain / textbook": _ratio(results, OURS.name, TEXTBOOK.name),
    }


def values(results: Mapping[str, Any]) -> dict[str, str]:
    """Return what else the page says of it."""
    samples = results["samples"]
    return {
        "contenders": "\n".join(f"- **{contender.name}**: {contender.what}." for contender in ALL),
        "rounds": str(len(samples[BARE.name])),
        "seconds": f"{results['seconds']:g}",
        "confidence": f"{_ratio(results, OURS.name, BARE.name).confidence:.0%}",
        "connections": str(CONNECTIONS),
        "in_flight": str(CONNECTIONS * CALLS_PER_CONNECTION),
        "client": f"{max(share for each in samples.values() for share in column(each, 'client_share')):.0%}",
    }


SERVERS = Measurement(
    "servers", "a unary call, against other servers", measure, tables, targets, kept, values,
    under_load=True, in_check=True,
)  # fmt: skip
