"""What a refused call costs: it must not be a way to keep a server busy."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks import calls
from benchmarks.contenders import BARE, OURS
from benchmarks.figures import Estimate, ratios
from benchmarks.load import Ask
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import column, in_turns, running
from benchmarks.tables import Figures
from benchmarks.workspace import write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 1.25  # of an allowed call of the bare server
CONFIG = "build/benchmark-refused.yaml"
# what is measured is how much it costs to refuse a call for what it shows, not for how busy the machine is
OVER: dict[str, Any] = {"audit": {"file": "build/audit-refused.log"}, "load": {"adaptive": False}}


def _asks(token: str) -> dict[str, Ask]:
    """Return the calls that are refused, by why."""
    body, dot, signature = token.rpartition(".")
    forged = f"{body}{dot}{'B' if signature[:1] == 'A' else 'A'}{signature[1:]}"
    other = calls.framed(calls.strings(b"globex", calls.ID.encode()))
    return {
        "no token": Ask("", response_bytes=0, status="UNAUTHENTICATED"),
        "a forged token": Ask(forged, response_bytes=0, status="UNAUTHENTICATED"),
        "another tenant": Ask(token, other, response_bytes=0, status="PERMISSION_DENIED"),
    }


def measure(setting: Setting) -> Results:
    """Measure allowed calls of both servers, and refused ones of ours, in turns."""
    write_settings(setting.workspace, CONFIG, OVER)
    ours = replace(OURS, arguments=(*OURS.arguments[:-1], CONFIG))
    with running(BARE, setting.workspace) as bare, running(ours, setting.workspace) as rig:
        rig.name = "allowed"
        refused = [replace(rig, ask=ask, name=name, samples=[]) for name, ask in _asks(rig.ask.token).items()]
        return {"samples": in_turns([bare, rig, *refused], setting)}


def _of_bare(results: Mapping[str, Any], name: str) -> Estimate:
    return ratios(column(results["samples"][name], "cpu_us"), column(results["samples"][BARE.name], "cpu_us"))


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what each call costs the server."""
    rows = [
        (
            f"{BARE.name}, allowed" if name == BARE.name else name,
            f"{statistics.median(column(found, 'cpu_us')):.0f}",
            f"{statistics.median(column(found, 'calls_per_second')):,.0f}",
            "1" if name == BARE.name else str(_of_bare(results, name)),
        )
        for name, found in results["samples"].items()
    ]
    return {"refused": Figures(("call", "CPU us/call", "calls/s", "CPU / bare, allowed"), rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold refused calls against an allowed one of the bare server."""
    found = {name: _of_bare(results, name) for name in results["samples"] if name not in {BARE.name, "allowed"}}
    return [
        Target("1", f"CPU time, refused ({name}) / bare, allowed", str(ratio), f"<= {MOST:g}", ratio.median <= MOST)
        for name, ratio in found.items()
    ]


def kept(results: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return the ratios that must not move unseen."""
    return {f"CPU, refused ({name}) / bare": _of_bare(results, name) for name in ("no token", "another tenant")}


REFUSED = Measurement(
    "refused", "calls that are refused", measure, tables, targets, kept, under_load=True, in_check=True
)
