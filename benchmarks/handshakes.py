"""What good callers feel of clients whose handshakes fail, and whether the server counts these exactly.

Run by the service's own Python, as a module, from the folder above, against a server that runs; prints JSON. Rounds
with and without failing handshakes take turns. Those are made by a process of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import grpc
import uvloop
from secure_rpc.dev.authority import Authority, client_request

PATH = "/order_service.v1.OrderService/GetOrder"  # `benchmarks.calls` has kept what is asked for
TENANT, ID = "acme", "1"

RATE = 200  # good calls a second
CONNECTIONS = 4
FAILING = 1000  # handshakes of a round, a quarter of each kind
KINDS = ("no_certificate", "untrusted", "old_protocol", "not_tls")
MOST_DELAY = 1.25  # of a round: the good calls must have gone on all the while
COUNTING_SECONDS = 5.0  # for the server to come to the last line of its log
_FAILURES = re.compile(r'^grpc_server_tls_handshake_failures_total\{reason="(\w+)"\} (\S+)$', re.MULTILINE)


class Callers:
    """Good callers, on connections that are open already.

    Args:
        target: "host:port".
        certificates: The folder with theirs.
        token: Theirs.
    """

    def __init__(self, target: str, certificates: Path, token: str) -> None:
        """Open the connections."""
        files = [(certificates / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files), options=options)
            for _ in range(CONNECTIONS)
        ]
        messages = importlib.import_module("order_service.v1.order_pb2")
        self._request = messages.GetOrderRequest(tenant=TENANT, id=ID)
        self._calls = [
            channel.unary_unary(
                PATH,
                request_serializer=messages.GetOrderRequest.SerializeToString,
                response_deserializer=messages.GetOrderResponse.FromString,
            )
            for channel in self._channels
        ]
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def call(self, seconds: float) -> dict[str, float]:
        """Make calls at a steady rate; return how long they took, from when each was due, in milliseconds."""
        taken: list[float] = []

        async def one(number: int, due: float) -> None:
            answer = await self._calls[number % CONNECTIONS](self._request, metadata=self._metadata, timeout=10)
            if answer.order.id != ID:
                raise ValueError("the answer is not what was kept")
            taken.append((time.perf_counter() - due) * 1000)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(RATE * seconds)):
                due = started + number / RATE
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(number, due))
        cuts = statistics.quantiles(taken, n=100, method="inclusive")
        return {"p50_ms": cuts[49], "p99_ms": cuts[98]}

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()


async def counted(admin: str) -> dict[str, int]:
    """Return how many handshakes the server says have failed, by reason."""

    def read() -> str:
        with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    return {reason: int(float(value)) for reason, value in _FAILURES.findall(await asyncio.to_thread(read))}


async def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the latencies of each round, and what was sent and counted in all of them."""
    target, admin, certificates, seconds = (
        arguments.target, arguments.admin, arguments.certificates, arguments.seconds
    )  # fmt: skip
    callers = Callers(target, certificates, arguments.token)
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        foreign = Path(name)
        stranger = Authority.create("foreign").issue(client_request("stranger", "example.org"))
        stranger.write(foreign / "client.pem", foreign / "client.key")
        before = await counted(admin)
        await callers.call(1.0)  # warm
        for _ in range(arguments.rounds):
            without = await callers.call(seconds)
            failing = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.failing_handshakes",
                target, str(certificates), str(foreign), str(FAILING), str(seconds),
                stdin=PIPE,
            )  # fmt: skip
            await asyncio.sleep(1.0)  # it has loaded itself, and waits
            beside, took = await asyncio.gather(callers.call(seconds), _made(failing))
            if took > MOST_DELAY * seconds:
                sys.exit(f"the failing handshakes took {took:.1f} s, not {seconds:g} s: the machine is too busy")
            rounds.append({"without": without, "with": beside})
    sent = dict.fromkeys(KINDS, arguments.rounds * FAILING // len(KINDS))
    found = await _counted_since(before, admin, sent)
    await callers.close()
    return {"rounds": rounds, "sent": sent, "counted": found, "per_second": FAILING / seconds, "calls_per_second": RATE}


async def _made(failing: asyncio.subprocess.Process) -> float:
    """Let a process make its handshakes; return how many seconds that took."""
    started = time.perf_counter()
    await failing.communicate(b"\n")
    if failing.returncode:
        sys.exit("a handshake that should have failed has not")
    return time.perf_counter() - started


async def _counted_since(before: dict[str, int], admin: str, sent: dict[str, int]) -> dict[str, int]:
    """Return what was counted meanwhile; other reasons than those expected are there if they were counted."""
    end = time.monotonic() + COUNTING_SECONDS
    while True:
        now = await counted(admin)
        found = {
            reason: now[reason] - before[reason] for reason in now if reason in sent or now[reason] != before[reason]
        }
        if found == sent or time.monotonic() > end:
            return found
        await asyncio.sleep(0.1)


def main() -> None:
    """Read the arguments, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("admin")
    parser.add_argument("certificates", type=Path)
    parser.add_argument("token")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round, with and without")
    json.dump(uvloop.run(measured(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
