"""What the stages that tell of calls cost by themselves, with all that they put off: batches, hashes, writes.

Run by the service's own Python, as a module, from the folder above; prints JSON. CPU time of the process, all its
threads, in microseconds a call; in each round everything is measured once. A loop as hot as this one flatters: inside
of a loaded server the same costs more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.call import Call, Method, Patience, Principal
from secure_rpc.observing import Observer, observed
from secure_rpc.stages.audit import Audit
from secure_rpc.stages.telemetry import Telemetry
from secure_rpc.telemetry import logging
from secure_rpc.telemetry.calls import CallReporter
from secure_rpc.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 20_000
LOGGED = 0.01  # share of calls, as in production
METHOD = Method("/things.v1.Things/Get", Patience(1), request_streaming=False, response_streaming=False)
CALLER = Principal(
    "spiffe://example.org/client/a", "https://issuer.example.org", "bob", proofs=("certificate", "token")
)
METADATA = (
    ("user-agent", "grpc-python"),
    ("authorization", "Bearer x"),
    ("grpc-accept-encoding", "gzip"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


class Context:
    """What gRPC knows of a call."""

    def peer(self) -> str:
        """Return where it comes from."""
        return "ipv4:127.0.0.1:40000"


async def _handle(call: Call) -> None:
    call.principal, call.workload, call.tenant, call.rule = CALLER, CALLER.workload, "acme", "bindings[0] reader"


def _watched(*observers: Observer) -> Callable[[Call], Awaitable[None]]:
    observe = observed(METHOD, observers)
    return lambda call: observe(call, _handle)


async def measured(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Return what each costs beyond a call without it, of each round."""
    metrics = Metrics()
    reporter = CallReporter(metrics, LOGGED)
    log = ChainLog(folder / "audit.log", on_written=metrics.audit.records.inc)
    bound = (Telemetry(metrics, reporter).bind(METHOD), Audit(log).bind(METHOD))
    tell, record = (observer for observer in bound if isinstance(observer, Observer))
    chains: dict[str, Callable[[Call], Awaitable[None]]] = {
        "none": _handle,
        "telemetry": _watched(tell),
        "audit": _watched(record),
        "both": _watched(tell, record),
    }
    found: dict[str, list[float]] = {name: [] for name in chains}
    for _ in range(rounds):
        costs = {}
        for name, chain in chains.items():
            started = time.process_time()
            for number in range(CALLS):
                call = Call(METHOD, METHOD.path, METADATA)
                call.context = Context()
                await chain(call)
                if number % 50 == 0:
                    await asyncio.sleep(0)  # the batches have their turn
            reporter.flush()
            await log.durable()
            costs[name] = (time.process_time() - started) / CALLS * 1e6
        for name, cost in costs.items():
            found[name].append(cost - costs["none"])
    await log.close()
    return found


def main() -> None:
    """Read the arguments, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    arguments: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        logging.configure(logging.LogFormat.JSON, "info", {"service": "things"}, nowhere)
        json.dump(uvloop.run(measured(arguments.rounds, Path(name))), sys.stdout)


if __name__ == "__main__":
    main()
