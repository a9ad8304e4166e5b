"""What callers notice while everything is replaced under load, and how soon who is revoked is gone."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.tables import Figures
from benchmarks.workspace import FOLDER, FailedError, run
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SECONDS = 1.0  # from a revocation to the last byte of a live stream


def measure(setting: Setting) -> Results:
    """Run the drill as `make life` does, then revoke callers who have a stream open."""
    workspace, file = setting.workspace, FOLDER / "rotation.json"
    pace = ("--rate", "50", "--step-seconds", "1") if setting.quick else ()
    rounds = "3" if setting.quick else "10"
    with setting.status("certificates, CA, policy and workers are replaced under load"):
        command = ("-m", "order_service", "drill", "run", "rotation", "--json", str(file), *pace)
        file.unlink(missing_ok=True)
        try:
            run(workspace.python, *command, folder=workspace.service)
        except FailedError:
            if not file.exists():  # a drill that is not passed has figures, too
                raise
    with setting.status("callers are revoked"):
        told = run(
            workspace.python, "-m", "benchmarks.revocations", "--rounds", rounds, folder=workspace.service, path=ROOT
        )
    drill = json.loads(file.read_text(encoding="utf-8"))["rotation"]
    return {"steps": drill["steps"], "problems": drill["problems"], "revocation_seconds": json.loads(told)}


def failed(results: Mapping[str, Any]) -> int:
    """Return how many unary calls failed, in all steps."""
    return sum(sum(step["failed"].values()) for step in results["steps"])


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what callers noticed of each step."""
    rows = [(step["step"], f"{step['calls']:,}", f"{sum(step['failed'].values()):,}") for step in results["steps"]]
    taken = results["revocation_seconds"]
    revoked = (f"{statistics.median(taken) * 1e3:.0f}", f"{max(taken) * 1e3:.0f}", str(len(taken)))
    return {
        "rotation": Figures(("what is replaced", "calls", "failed"), rows),
        "revocation": Figures(("", "median, ms", "longest, ms", "times"), [("revocation to last byte", *revoked)]),
    }


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold both against what is promised."""
    lost, longest, otherwise = failed(results), max(results["revocation_seconds"]), len(results["problems"])
    return [
        Target("8", "calls that failed while all is replaced", str(lost), "0", lost == 0),
        Target("8", "streams that ended otherwise than documented meanwhile", str(otherwise), "0", otherwise == 0),
        Target(
            "8", "longest from revocation to last byte, s", f"{longest:.2f}", f"<= {MOST_SECONDS:g}",
            longest <= MOST_SECONDS,
        ),
    ]  # fmt: skip


ROTATION = Measurement("rotation", "all is replaced under load, and callers are revoked", measure, tables, targets)
