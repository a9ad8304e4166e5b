"""Services with many methods: grpc.aio asks each of its registered methods for calls, ours has one way for all."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import BARE, OURS, Contender
from benchmarks.figures import Estimate, ratios
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import all_running, column, in_turns
from benchmarks.tables import Figures
from benchmarks.workspace import write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN = 5  # of the generated service
COUNTS = (5, 105, 500)
VARIABLE = "BENCHMARK_FURTHER_METHODS"
CONFIG = "build/benchmark-methods-{}.yaml"


def _bare(count: int) -> Contender:
    return replace(BARE, name=f"bare, {count}", environment=((VARIABLE, str(count - OWN)),))


def _ours(count: int) -> Contender:
    arguments = ("benchmarks.servers.many_command", "serve", "--config", CONFIG.format(count))
    return Contender(f"secured, {count}", OURS.what, arguments, ((VARIABLE, str(count - OWN)),))


def measure(setting: Setting) -> Results:
    """Measure bare and secured servers of each size in turns."""
    for count in COUNTS:
        write_settings(setting.workspace, CONFIG.format(count), {"audit": {"file": f"build/audit-methods-{count}.log"}})
    contenders = [make(count) for count in COUNTS for make in (_bare, _ours)]
    with all_running(contenders, setting.workspace) as rigs:
        return {"samples": in_turns(rigs, setting)}


def _ratio(results: Mapping[str, Any], over: str, under: str) -> Estimate:
    return ratios(column(results["samples"][over], "cpu_us"), column(results["samples"][under], "cpu_us"))


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return the CPU time of a call by how many methods there are."""
    cpu = {name: statistics.median(column(found, "cpu_us")) for name, found in results["samples"].items()}
    rows = [
        (
            f"{count:,}",
            f"{cpu[f'bare, {count}']:.0f}",
            f"{cpu[f'secured, {count}']:.0f}",
            str(_ratio(results, f"secured, {count}", f"bare, {count}")),
            str(_ratio(results, f"bare, {count}", f"bare, {COUNTS[0]}")),
            str(_ratio(results, f"secured, {count}", f"secured, {COUNTS[0]}")),
        )
        for count in COUNTS
    ]
    few = COUNTS[0]
    header = (
        "methods",
        "bare, us/call",
        "secured, us/call",
        "secured / bare",
        f"bare / with {few}",
        f"secured / with {few}",
    )
    return {"methods": Figures(header, rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold a secured service with many methods against an unsecured one."""
    many = COUNTS[-1]
    found = _ratio(results, f"secured, {many}", f"bare, {many}")
    return [Target("2", f"CPU time with {many} methods, secured / bare", str(found), "< 1.00", found.median < 1)]


def kept(results: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return the ratio that must not move unseen."""
    many, few = COUNTS[-1], COUNTS[0]
    return {f"CPU, secured with {many} methods / {few}": _ratio(results, f"secured, {many}", f"secured, {few}")}


METHODS = Measurement("methods", "services with many methods", measure, tables, targets, kept, under_load=True)
