"""What more workers bring: processes of the service on one port, up to as many as there are cores."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.calls import Client
from benchmarks.contenders import OURS
from benchmarks.figures import Estimate, ratios
from benchmarks.measurement import Measurement, Results, Setting
from benchmarks.rig import column, in_turns, running
from benchmarks.tables import Figures
from benchmarks.workspace import FailedError, write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.rig import Rig

CONFIG = "build/benchmark-workers-{}.yaml"
PATIENCE_SECONDS = 60.0
CONNECTIONS = 64  # enough to reach each worker; if not, h2load finds answers missing


def counts() -> list[int]:
    """Return how many workers are tried: 1, 2, 4 and so on, to one for each core, and to 2 at least."""
    most = max(2, os.cpu_count() or 1)
    return sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most})


def measure(setting: Setting) -> Results:
    """Measure the service with one worker, and with more, in turns."""
    with ExitStack() as stack:
        rigs = []
        for count in counts():
            over = {
                "workers": count,
                "quota_scope": "worker",
                "standby_worker": False,
                "load": {"adaptive": False},  # as many as there are workers are busy, and the client with them
                "sessions": {"refresh": False},  # workers without a store cannot extend each other's streams
                "replay": {"file": f"build/replay-workers-{count}.db"},
                "audit": {"file": f"build/audit-workers-{count}.log"},
            }
            write_settings(setting.workspace, CONFIG.format(count), over)
            arguments = (*OURS.arguments[:-1], CONFIG.format(count))
            contender = replace(OURS, name=f"{count} workers", arguments=arguments, whole=True)
            rig = stack.enter_context(running(contender, setting.workspace))
            _all_serve(rig, count)
            _keep_in_each(rig, setting)
            rigs.append(rig)
        return {"samples": in_turns(rigs, setting), "cores": os.cpu_count()}


def _all_serve(rig: Rig, count: int) -> None:
    """Wait for all workers, and leave it to h2load to count: numbers of several processes come a little later."""
    end = time.monotonic() + PATIENCE_SECONDS
    while rig.server.output().count('"event":"serving"') < count:
        if time.monotonic() > end:
            raise FailedError(f"not all of {count} workers serve:\n{rig.server.output()}")
        time.sleep(0.1)
    rig.server.look_again()
    rig.server.admin = ""


def _keep_in_each(rig: Rig, setting: Setting) -> None:
    """Have each worker keep what is asked for: a connection leads to one of them, by chance."""
    writer = setting.workspace.token_of("alice")
    for _ in range(CONNECTIONS):
        client = Client(setting.workspace, rig.server.target, writer, rig.ask.token)
        try:
            client.check()
        except FailedError:
            client.create()
        finally:
            client.close()


def _ratio(results: Mapping[str, Any], name: str, key: str) -> Estimate:
    first = next(iter(results["samples"]))
    return ratios(column(results["samples"][name], key), column(results["samples"][first], key))


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what so many workers answer and need."""
    rows = [
        (
            name,
            f"{statistics.median(column(samples, 'calls_per_second')):,.0f}",
            str(_ratio(results, name, "calls_per_second")),
            f"{statistics.median(column(samples, 'cpu_us')):.0f}",
            f"{statistics.median(column(samples, 'memory_bytes')) / 1e6:.0f}",
        )
        for name, samples in results["samples"].items()
    ]
    return {"workers": Figures(("", "calls/s", "/ of one", "CPU us/call", "MB, all processes"), rows)}


def values(results: Mapping[str, Any]) -> dict[str, str]:
    """Return how many cores there were."""
    return {"workers_cores": str(results["cores"])}


WORKERS = Measurement("workers", "more workers on one machine", measure, tables, values=values, under_load=True)
