"""What the service holds in memory: at rest, and while callers pass by whom it has never seen."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import OURS
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import SETTLE_SECONDS, running
from benchmarks.tables import Figures
from benchmarks.told import told
from benchmarks.workspace import FailedError, write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_AT_REST = 100e6  # bytes
MOST_GROWTH = 10e6  # bytes that may be held more at the end than when half of them had passed
STEPS = 10
COUNTS = {"principals": 200_000, "tokens": 200_000, "peers": 20_000}
QUICK_COUNTS = {"principals": 3000, "tokens": 3000, "peers": 500}
CONFIG = "build/benchmark-memory.yaml"
# callers that differ in nothing but what they show; how busy the machine is does not decide who is let in
OVER: dict[str, Any] = {"audit": {"file": "build/audit-memory.log"}, "load": {"adaptive": False}}


def measure(setting: Setting) -> Results:
    """Read what the server holds, again and again, while they pass."""
    workspace = setting.workspace
    write_settings(workspace, CONFIG, OVER)
    ours = replace(OURS, arguments=(*OURS.arguments[:-1], CONFIG))
    found: Results = {"passing": {}}
    with running(ours, workspace) as rig:
        time.sleep(2 * SETTLE_SECONDS)
        found["rest_bytes"] = rig.server.memory_bytes()
        with told(workspace, "passers", rig.server.target, CONFIG, ".dev") as client:
            for what, count in (QUICK_COUNTS if setting.quick else COUNTS).items():
                held, cpu = [rig.server.memory_bytes()], rig.server.cpu_seconds()
                for step in range(STEPS):
                    with setting.status(f"{what}: {step * count // STEPS:,} of {count:,} have passed"):
                        became = client.make(what, count // STEPS)
                    if became["served"] != count // STEPS:
                        raise FailedError(f"not all of {count // STEPS} {what} were served: {became}")
                    time.sleep(SETTLE_SECONDS)
                    held.append(rig.server.memory_bytes())
                cpu_us = (rig.server.cpu_seconds() - cpu) / count * 1e6
                found["passing"][what] = {"count": count, "bytes": held, "cpu_us": cpu_us}
    return found


def growth(passing: Mapping[str, Any]) -> float:
    """Return how many bytes more are held at the end than when half had passed."""
    held = passing["bytes"]
    return float(held[-1] - held[len(held) // 2])


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what is held at each tenth of them."""
    rows = [
        (
            f"{found['count']:,} {what}",
            *(f"{found['bytes'][step] / 1e6:.0f}" for step in range(0, STEPS + 1, 2)),
            f"{growth(found) / 1e6:+.1f}",
            f"{found['cpu_us']:,.0f}",
        )
        for what, found in results["passing"].items()
    ]
    shares = [f"{step * 100 // STEPS}%" for step in range(0, STEPS + 1, 2)]
    return {"memory": Figures(("MB, when so many have passed", *shares, "second half", "CPU us each"), rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold memory at rest, and its growth, against what is allowed."""
    rest = results["rest_bytes"]
    found = [Target("5", "MB held at rest", f"{rest / 1e6:.0f}", f"<= {MOST_AT_REST / 1e6:.0f}", rest <= MOST_AT_REST)]
    for what, passing in results["passing"].items():
        grown = growth(passing)
        told_as = f"MB more while the second half of {passing['count']:,} {what} passes"
        found.append(Target("5", told_as, f"{grown / 1e6:.1f}", f"<= {MOST_GROWTH / 1e6:.0f}", grown <= MOST_GROWTH))
    return found


MEMORY = Measurement("memory", "memory at rest, and while callers pass by", measure, tables, targets)
