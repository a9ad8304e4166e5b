"""What parts of the service cost, each measured by a program of its own: identity, policy, telemetry and others."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks import (
    flood_report,
    handshake_report,
    policy_report,
    store_report,
    stream_report,
    telemetry,
)
from benchmarks.contenders import OURS
from benchmarks.figures import Estimate, ratios
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import in_generations, in_one_process, running
from benchmarks.tables import Figures
from benchmarks.workspace import HERE, run
from tools.bake import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OFTEN = 4  # as many rounds, each so much shorter: in one process, what changes between them is the machine


def _told(
    setting: Setting, module: str, *arguments: str, in_service: bool = False, before: Sequence[str] = ()
) -> Results:
    folder = setting.workspace.service if in_service else ROOT
    path = ROOT if in_service else None
    with setting.status(module):
        command: tuple[str | Path, ...] = (*before, setting.workspace.python, "-m", f"benchmarks.{module}", *arguments)
        said = run(*command, folder=folder, path=path)
    found: Results = json.loads(said)
    return found


def _identity(setting: Setting) -> Results:
    with setting.status("identity"):
        said = run(setting.workspace.python, HERE / "identity.py", folder=setting.workspace.service)
    found: Results = json.loads(said)
    return found


def _identities(results: Mapping[str, Any]) -> dict[str, Figures]:
    kinds = list(next(iter(results.values())))
    header = ("algorithm", *(f"{kind} (us)" for kind in kinds))
    rows = [(name, *(f"{found[kind]:.0f}" for kind in kinds)) for name, found in results.items()]
    return {"identity": Figures(header, rows)}


def _policy(setting: Setting) -> Results:
    return _told(setting, "policy", *(("--rounds", "5", "--reloads", "1") if setting.quick else ()))


def _policy_targets(results: Mapping[str, Any]) -> list[Target]:
    growth, stall = policy_report.growth(results), policy_report.stall_ms(results)
    flat, most = policy_report.MOST_GROWTH, policy_report.MOST_STALL_MS
    return [
        Target("6", "a decision, 10,000 bindings / 10", str(growth), f"<= {flat:g}", growth.median <= flat),
        Target("6", "stall while 10,000 bindings are read, ms", f"{stall:.1f}", f"<= {most:g}", stall <= most),
    ]


def _policy_values(results: Mapping[str, Any]) -> dict[str, str]:
    return {"policy_engines": policy_report.versions(results)}


def _policy_ratios(results: Mapping[str, Any]) -> dict[str, Estimate]:
    return {"a decision, 10,000 bindings / 10": policy_report.growth(results)}


def _called(setting: Setting, module: str, *, apart: bool = False) -> Results:
    """Return what a client of its own has measured; `apart` keeps it and the server to a core each."""
    rounds = ("--rounds", "2", "--seconds", "3") if setting.quick else ()
    with running(OURS, setting.workspace) as rig:
        before: tuple[str, ...] = ()
        if apart:
            servers, others = sorted(os.sched_getaffinity(0))[:2]
            rig.server.keep_to(servers)
            before = ("taskset", "--cpu-list", str(others))  # who calls takes nothing from the server, as from afar
        where = (rig.server.target, rig.server.admin, str(setting.workspace.certificates), rig.ask.token)
        return _told(setting, module, *where, *rounds, before=before)


def _handshakes(setting: Setting) -> Results:
    return _called(setting, "handshakes")


def _handshake_values(results: Mapping[str, Any]) -> dict[str, str]:
    return {
        "failing_per_second": f"{results['per_second']:g}",
        "good_per_second": f"{results['calls_per_second']:g}",
    }


def _flood(setting: Setting) -> Results:
    return _called(setting, "flood", apart=True)


def _streams(setting: Setting) -> Results:
    count = ("--streams", "1000", "--rounds", "2") if setting.quick else ()
    return _told(setting, "streams", *count, in_service=True)


def _stream_tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    return {"streams": stream_report.streams(results)}


def _store(setting: Setting) -> Results:
    return _told(setting, "store_away", in_service=True)


def _store_tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    return {"store": store_report.waits(results)}


def _telemetry(setting: Setting) -> Results:
    with telemetry.collector() as endpoint:
        telemetry.write_settings(setting.workspace, endpoint)
        often = replace(setting, rounds=OFTEN * setting.rounds, seconds=setting.seconds / OFTEN)
        samples = in_generations(lambda workspace: in_one_process(telemetry.PLACES, workspace), often, setting.rounds)
    return {"samples": samples, "stages": _told(setting, "telemetry_stages")}


def _telemetry_tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    return {"telemetry": telemetry.figures(results["samples"], results["stages"])}


def _telemetry_ratios(results: Mapping[str, Any]) -> dict[str, Estimate]:
    cpu: dict[str, Sequence[float]] = telemetry.cpu_of(results["samples"])
    return {"CPU, full chain / unwatched": ratios(cpu[OURS.name], cpu[telemetry.UNWATCHED.name])}


IDENTITY = Measurement("identity", "to tell who calls", _identity, _identities)
POLICY = Measurement(
    "policy", "to decide who may do what", _policy, policy_report.tables, _policy_targets, _policy_ratios,
    _policy_values, in_check=True,
)  # fmt: skip
HANDSHAKES = Measurement(
    "handshakes", "good calls while handshakes fail", _handshakes, handshake_report.tables, values=_handshake_values
)
FLOOD = Measurement("flood", "good calls while one address floods", _flood, flood_report.tables)
STREAMS = Measurement("streams", "many live streams, judged again", _streams, _stream_tables)
TELEMETRY = Measurement(
    "telemetry", "to tell of calls", _telemetry, _telemetry_tables, ratios=_telemetry_ratios, under_load=True
)
STORE = Measurement("store", "a store that is away", _store, _store_tables)
