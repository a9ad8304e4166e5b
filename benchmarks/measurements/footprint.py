"""What the service leaves behind: audit records, lines of log, series of metrics, by calls and by methods."""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import OURS
from benchmarks.measurement import Measurement, Results, Setting
from benchmarks.rig import running
from benchmarks.tables import Figures
from benchmarks.workspace import write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = "build/benchmark-footprint.yaml"
AUDIT = "build/audit-footprint.log"
CALLS = 5000
SECONDS = 10.0


def measure(setting: Setting) -> Results:
    """Make calls, and look at what has grown."""
    workspace = setting.workspace
    write_settings(workspace, CONFIG, {"audit": {"file": AUDIT}})
    audit = workspace.service / AUDIT
    for file in audit.parent.glob(f"{audit.name}*"):
        file.unlink()
    ours = replace(OURS, name="footprint", arguments=(*OURS.arguments[:-1], CONFIG))
    with running(ours, workspace) as rig:
        rig.calls = CALLS
        rig.measure(workspace)
        before = audit.stat().st_size, len(rig.server.output())
        rig.measure(workspace)
        series = _series(rig.server.admin)
        after = audit.stat().st_size, len(rig.server.output())
    return {
        "audit_bytes_per_call": (after[0] - before[0]) / CALLS,
        "log_bytes_per_call": (after[1] - before[1]) / CALLS,
        "series": len(series),
        "series_of_a_method": sum('GetOrder"' in each for each in series),
        "policy_bytes": (workspace.service / "policy" / "policy.yaml").stat().st_size,
        "jwks_bytes": (workspace.certificates / "jwks.json").stat().st_size,
    }


def _series(admin: str) -> list[str]:
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    return [line.rpartition(" ")[0] for line in lines if line and not line.startswith("#")]


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what a call and a replica leave behind."""
    rows = [
        ("bytes of audit log a call", f"{results['audit_bytes_per_call']:,.0f}"),
        ("bytes of log a call, one in a hundred of those that end well", f"{results['log_bytes_per_call']:,.1f}"),
        ("series of metrics a replica", f"{results['series']:,}"),
        ("of these, of one method that was called", f"{results['series_of_a_method']:,}"),
    ]
    return {"footprint": Figures(("", ""), rows)}


FOOTPRINT = Measurement("footprint", "what calls leave behind", measure, tables, under_load=True)
