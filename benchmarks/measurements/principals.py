"""What a call costs while one, many or very many principals take turns."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import OURS
from benchmarks.figures import Estimate, ratios
from benchmarks.measurement import Measurement, Results, Setting
from benchmarks.rig import SETTLE_SECONDS, running
from benchmarks.tables import Figures
from benchmarks.told import told
from benchmarks.workspace import FailedError, write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTS = (1, 100, 5_000, 200_000)
CALLS, QUICK_CALLS = 5000, 1000
MOST_SHOWN_BEFORE = 20_000  # of them have called before it is measured; of more the server remembers none for sure
CONFIG = "build/benchmark-principals.yaml"
OVER: dict[str, Any] = {"audit": {"file": "build/audit-principals.log"}, "load": {"adaptive": False}}


def measure(setting: Setting) -> Results:
    """Make calls of principals at random, by how many there are."""
    workspace = setting.workspace
    write_settings(workspace, CONFIG, OVER)
    ours = replace(OURS, arguments=(*OURS.arguments[:-1], CONFIG))
    calls = QUICK_CALLS if setting.quick else CALLS
    found: Results = {"calls": calls, "us": {}}
    with running(ours, workspace) as rig, told(workspace, "passers", rig.server.target, CONFIG, ".dev") as client:
        for count in COUNTS:
            with setting.status(f"{count:,} principals"):
                client.make("know", count)
                client.make("every", min(count, calls if setting.quick else MOST_SHOWN_BEFORE))
                costs = []
                for _ in range(setting.rounds):
                    before = rig.server.cpu_seconds()
                    became = client.make("some", calls)
                    time.sleep(SETTLE_SECONDS)
                    if became["served"] != calls:
                        raise FailedError(f"not all of {calls} calls were served: {became}")
                    costs.append((rig.server.cpu_seconds() - before) / calls * 1e6)
            found["us"][str(count)] = costs
    return found


def _ratio(results: Mapping[str, Any], count: str) -> Estimate:
    return ratios(results["us"][count], results["us"][str(COUNTS[0])])


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what a call costs by how many principals there are."""
    rows = [
        (f"{int(count):,}", f"{statistics.median(costs):.0f}", str(_ratio(results, count)))
        for count, costs in results["us"].items()
    ]
    return {"principals": Figures(("principals", "CPU us/call", "/ with one"), rows)}


PRINCIPALS = Measurement("principals", "a call while many principals take turns", measure, tables)
