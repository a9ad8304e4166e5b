"""What a message costs in each kind of call, beyond what bare gRPC needs for it."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import BARE, KERNEL, OURS
from benchmarks.figures import estimate
from benchmarks.measurement import Measurement, Results, Setting, Target
from benchmarks.rig import in_one_process, turned
from benchmarks.tables import Figures
from benchmarks.told import told
from benchmarks.workspace import FailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.figures import Estimate
    from benchmarks.rig import Rig
    from benchmarks.told import Told

MOST_US = 3.0  # that a message may cost beyond bare gRPC, in each direction
# how many messages go each way for one that is counted: an answer comes for each that is sent
WAYS = {"unary": 1, "client_stream": 1, "server_stream": 1, "bidi_stream": 2}
MESSAGES = 1000
UNARY_CALLS = 250
TIMES, QUICK_TIMES = 96, 12  # a run is in one of several modes, by chance, so it takes many short ones
TIMES_A_GENERATION = 32
SETTLE_SECONDS = 0.1  # after a call, until its record is written
# in one process: two of one program differ by as much as messages cost
PLACES = {
    "benchmarks.servers.bare": BARE,
    "benchmarks.servers.kernel": KERNEL,
    "order_service.app:build/benchmark.yaml": OURS,
}


def measure(setting: Setting) -> Results:
    """Measure each kind against each server in turns; all are started anew every few rounds."""
    us: dict[str, dict[str, list[float]]] = {kind: {each.name: [] for each in PLACES.values()} for kind in WAYS}
    left = QUICK_TIMES if setting.quick else TIMES
    while left > 0:
        times = min(TIMES_A_GENERATION, left)
        _measure(setting, times, us)
        left -= times
    return {"messages": MESSAGES, "us": us}


def _measure(setting: Setting, times: int, us: dict[str, dict[str, list[float]]]) -> None:
    writer = setting.workspace.token_of("alice")
    with in_one_process(PLACES, setting.workspace) as rigs, ExitStack() as stack:
        clients = [
            (rig, stack.enter_context(told(setting.workspace, "messages", rig.server.target, ".dev", writer)))
            for rig in rigs
        ]
        for _, client in clients:
            _make(client, "client_stream", MESSAGES)  # kept, to be watched
        for number in range(times + 1):  # the first of them warms
            for kind in WAYS:
                for rig, client in turned(clients, number):
                    with setting.status(f"round {number} of {times}: {kind}, {rig.name}"):
                        cost = _cost(rig, client, kind, UNARY_CALLS if kind == "unary" else MESSAGES)
                    if number:
                        us[kind][rig.name].append(cost)


def _make(client: Told, kind: str, count: int) -> None:
    """Have calls made.

    Raises:
        FailedError: They were not all answered.

    """
    if (became := client.make(kind, count))["answered"] != count:
        raise FailedError(f"{kind}: not all of {count} messages were answered: {became}")


def _cost(rig: Rig, client: Told, kind: str, count: int) -> float:
    """Return the CPU time of the server for each message, in microseconds."""
    before = rig.server.cpu_seconds()
    _make(client, kind, count)
    time.sleep(SETTLE_SECONDS)
    return (rig.server.cpu_seconds() - before) / count * 1e6


def beyond(results: Mapping[str, Any], kind: str, name: str) -> Estimate:
    """Return what a message costs beyond bare gRPC, in one direction, in microseconds."""
    ours, bare = results["us"][kind][name], results["us"][kind][BARE.name]
    return estimate([(one - other) / WAYS[kind] for one, other in zip(ours, bare, strict=True)])


def tables(results: Mapping[str, Any]) -> dict[str, Figures]:
    """Return what a message costs in each kind of call."""
    rows = [
        (
            kind,
            *(f"{statistics.median(by_server[each.name]):.1f}" for each in PLACES.values()),
            *(str(beyond(results, kind, each.name)) for each in (KERNEL, OURS)),
        )
        for kind, by_server in results["us"].items()
    ]
    header = (
        "us a message",
        *(each.name for each in PLACES.values()),
        "kernel beyond bare, each way",
        "full chain beyond bare, each way",
    )
    return {"kinds": Figures(header, rows)}


def targets(results: Mapping[str, Any]) -> list[Target]:
    """Hold each kind of stream against what a message may cost."""
    found = {kind: beyond(results, kind, OURS.name) for kind in WAYS if kind != "unary"}
    return [
        Target("4", f"us a message beyond bare, {kind}", str(each), f"<= {MOST_US:g}", each.median <= MOST_US)
        for kind, each in found.items()
    ]


def values(results: Mapping[str, Any]) -> dict[str, str]:
    """Return how many messages a stream had."""
    return {"kinds_messages": f"{results['messages']:,}", "kinds_calls": f"{UNARY_CALLS:,}"}


KINDS = Measurement("kinds", "a message in each kind of call", measure, tables, targets, values=values)
