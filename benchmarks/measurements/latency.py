"""How long calls take at half of what the service can answer, against bare gRPC at the same rate."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks import load
from benchmarks.contenders import BARE, OURS
from benchmarks.figures import Estimate, ratios
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import all_running, column, turned
from benchmarks.tables import Figures
from benchmarks.workspace import FOLDER, FailedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.rig import Rig

MOST_P99 = 1.30  # of that of bare gRPC
LEAST_RATE = 0.9  # of what was to be made: less says that the machine was too busy
ATTEMPTS = 3  # at a run, where other programs keep the machine from making the calls
WARM_UP_SHARE = 0.2  # of the calls of a run, which are not counted


def measure(setting: Setting) -> Results:
    """Find what each can answer, then call both at half of the lesser rate, in turns."""
    with all_running((BARE, OURS), setting.workspace) as rigs:
        for rig in rigs:
            with setting.status(f"what {rig.name} can answer"):
                for _ in range(2):
                    rig.calls = max(2000, int(rig.measure(setting.workspace).calls_per_second * setting.seconds))
                rig.samples = [rig.measure(setting.workspace) for _ in range(3)]
        full = {rig.name: statistics.median(sample.calls_per_second for sample in rig.samples) for rig in rigs}
        rate = int(min(full.values()) / 2 / load.CONNECTIONS) * load.CONNECTIONS
        found: Results = {"calls_per_second": rate, "full": full, "samples": {rig.name: [] for rig in rigs}}
        for number in range(setting.rounds):
            for rig in turned(rigs, number):
                with setting.status(f"round {number + 1} of {setting.rounds}: {rig.name} at {rate:,} calls/s"):
                    found["samples"][rig.name].append(at_rate(rate, rig, setting))
    return found


def at_rate(rate: int, rig: Rig, setting: Setting) -> dict[str, float]:
    """Return how long calls took that were made at a rate.

    Raises:
        FailedError: Fewer were made, again and again.

    """
    calls = max(500, int(rate * setting.seconds * 2))
    log = FOLDER / "latencies.tsv"
    paced = ("--rps", str(rate / rig.ask.connections), "--log-file", str(log))
    made = 0.0
    for _ in range(ATTEMPTS):
        log.unlink(missing_ok=True)  # h2load appends
        done = load.apply(setting.workspace, rig.server.target, rig.ask, calls, *paced)
        made = done.calls / done.seconds
        if made >= LEAST_RATE * rate:
            return percentiles(log)
    raise FailedError(f"{made:,.0f} calls a second were made, not {rate:,}")


def percentiles(log: Path) -> dict[str, float]:
    """Return how long calls took, in milliseconds, of what h2load wrote of each; the first of them are left out."""
    lines = sorted(tuple(map(int, line.split("\t"))) for line in log.read_text(encoding="ascii").splitlines())
    taken = [microseconds / 1000 for _, _, microseconds in lines[int(len(lines) * WARM_UP_SHARE) :]]
    cuts = statistics.quantiles(taken, n=1000, method="inclusive")
    return {"p50_ms": cuts[499], "p90_ms": cuts[899], "p99_ms": cuts[989], "max_ms": max(taken)}


def _ratio(results: Mapping[str, Any], key: str) -> Estimate:
    samples = results["samples"]
    return ratios(column(samples[OURS.name], key), column(samples[BARE.name], key))


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return how long calls took."""
    rows = [
        (
            name,
            *(f"{statistics.median(column(results['samples'][each], key)):.2f}" for each in (BARE.name, OURS.name)),
            str(_ratio(results, key)),
        )
        for name, key in (("p50", "p50_ms"), ("p90", "p90_ms"), ("p99", "p99_ms"), ("longest", "max_ms"))
    ]
    return {"latency": Figures(("ms", BARE.name, OURS.name, "ratio"), rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold the longest of a hundred calls against bare gRPC's."""
    found = _ratio(results, "p99_ms")
    return [
        Target("3", "p99 at half load, full chain / bare", str(found), f"<= {MOST_P99:.2f}", found.median <= MOST_P99)
    ]


def values(results: Mapping[str, Any]) -> dict[str, str]:
    """Return at which rate."""
    full = ", ".join(f"{name} {rate:,.0f}" for name, rate in results["full"].items())
    return {"latency_rate": f"{results['calls_per_second']:,}", "latency_full": full}


def kept(results: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return the ratio that must not move unseen."""
    return {"p50 at half load, full chain / bare": _ratio(results, "p50_ms")}


LATENCY = Measurement(
    "latency", "how long calls take at half load", measure, tables, targets, kept, values, under_load=True
)
