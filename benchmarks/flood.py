"""What good callers feel of one address that floods the server with sound calls.

Run by the service's own Python, as a module, from the folder above, against a server that runs; prints JSON. Rounds
with and without the flood take turns. It comes from another address of this machine, by a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import urllib.request
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.flooder import STREAMS
from benchmarks.handshakes import ID, PATH, RATE, TENANT, Callers

__all__ = ["ID", "PATH", "TENANT"]

ADDRESS = "127.0.0.2"  # the flood's; good callers come from 127.0.0.1
CONNECTIONS = 10  # of the flood
SETTLE_SECONDS = 2.0  # from its beginning, until the limit has followed; and after its end
_NUMBERS = re.compile(
    r'^(secure_rpc_load_(?:fair_limit_calls|refusals_total))(?:\{reason="(\w+)"\})? (\S+)$', re.MULTILINE
)


async def numbers(admin: str) -> dict[str, float]:
    """Return what the server says of its limit, and of what it has refused, by reason."""

    def read() -> str:
        with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    found = _NUMBERS.findall(await asyncio.to_thread(read))
    return {reason or "limit": float(value) for _, reason, value in found}


async def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the latencies of each round, what became of the flood, and where the limit went."""
    callers = Callers(arguments.target, arguments.certificates, arguments.token)
    await callers.call(1.0)  # warm
    rounds = []
    for _ in range(arguments.rounds):
        without = await callers.call(arguments.seconds)
        flood = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.flooder", arguments.target, ADDRESS, str(arguments.certificates),
            arguments.token, str(CONNECTIONS), str(arguments.seconds + SETTLE_SECONDS + 1),
            stdin=PIPE, stdout=PIPE,
        )  # fmt: skip
        await asyncio.sleep(1.0)  # it has loaded itself, and waits
        ended = asyncio.create_task(flood.communicate(b"\n"))
        await asyncio.sleep(SETTLE_SECONDS)
        beside = await callers.call(arguments.seconds)
        limit = (await numbers(arguments.admin))["limit"]
        if ended.done():
            sys.exit("the flood has ended too soon: the machine is too busy")
        output, _ = await ended
        if flood.returncode:
            sys.exit("the flood has failed")
        rounds.append({"without": without, "with": beside, "limit": limit, "flood": json.loads(output)})
        await asyncio.sleep(SETTLE_SECONDS)
    refused = await numbers(arguments.admin)
    await callers.close()
    return {
        "rounds": rounds,
        "refused": {reason: count for reason, count in refused.items() if reason != "limit"},
        "under_way": CONNECTIONS * STREAMS,
        "flood_seconds": arguments.seconds + SETTLE_SECONDS + 1,
        "calls_per_second": RATE,
    }


def main() -> None:
    """Read the arguments, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("admin")
    parser.add_argument("certificates", type=Path)
    parser.add_argument("token")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round, with and without")
    json.dump(uvloop.run(measured(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
