"""Callers of several replicas at once: one who takes all that is allowed, and one who stays far below it.

Run by the service's own Python, as a module, from the service's folder; makes calls when a line is read that names the
caller and for how many seconds, and prints how many were served and refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import uvloop

PATH = "/order_service.v1.OrderService/GetOrder"
REQUEST = b"\x0a\x04acme\x12\x011"  # what `benchmarks.calls` has kept
AT_ONCE = 4  # calls of the greedy caller, at each replica
MODEST_RATE = 10.0  # calls a second of the modest caller, at each replica


class Spender:
    """Calls all replicas as one principal.

    Args:
        targets: "host:port" of each.
        certificates: the folder with theirs.
        token: theirs.
    """

    def __init__(self, targets: list[str], certificates: Path, token: str) -> None:
        """Open a connection to each."""
        files = [(certificates / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
        credentials = grpc.ssl_channel_credentials(*files)
        self._calls: list[Any] = [
            grpc.aio.secure_channel(target, credentials, [("grpc.enable_retries", 0)]).unary_unary(PATH)
            for target in targets
        ]
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def greedy(self, seconds: float) -> Counter[str]:
        """Call as fast as is answered."""
        return await self._until(seconds, [call for call in self._calls for _ in range(AT_ONCE)], 0.0)

    async def modest(self, seconds: float) -> Counter[str]:
        """Call now and then."""
        return await self._until(seconds, self._calls, 1 / MODEST_RATE)

    async def _until(self, seconds: float, calls: list[Any], pause_seconds: float) -> Counter[str]:
        found: Counter[str] = Counter()
        end = time.monotonic() + seconds

        async def go_on(call: Any) -> None:  # noqa: ANN401  # gRPC has a type for each kind
            while time.monotonic() < end:
                try:
                    await call(REQUEST, metadata=self._metadata, timeout=10)
                    found["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    found[error.code().name] += 1
                await asyncio.sleep(pause_seconds)

        await asyncio.gather(*map(go_on, calls))
        return found


async def main() -> None:
    """Read the arguments, then lines, and do as they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("certificates", type=Path)
    parser.add_argument("token")
    parser.add_argument("targets", nargs="+")
    arguments = parser.parse_args()
    spender = Spender(arguments.targets, arguments.certificates, arguments.token)
    while line := await asyncio.to_thread(sys.stdin.readline):
        who, seconds = line.split()
        started = time.monotonic()
        became = await getattr(spender, who)(float(seconds))
        print(json.dumps({"ended": became, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
