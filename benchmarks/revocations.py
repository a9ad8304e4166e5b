"""How long it takes from a revocation to the end of a live stream of who was revoked.

Run by the service's own Python, as a module, from the service's folder; prints JSON. The server runs in this process;
the revocation is written to its deny-list as `pki revoke` writes it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from secure_rpc.tls import floor

floor.establish()

import grpc  # noqa: E402
import structlog  # noqa: E402
import uvloop  # noqa: E402
from secure_rpc.dev.issuer import Caller  # noqa: E402
from secure_rpc.identity.deny_list import Revocation, revoke  # noqa: E402
from secure_rpc.testing.service import run_service  # noqa: E402

METHOD = "/order_service.v1.OrderService/SyncOrders"
REQUEST = b"\x0a\x04acme\x12\x011"
PATIENCE_SECONDS = 30.0


async def measure(rounds: int) -> list[float]:
    """Return how many seconds it took, each time."""
    application = importlib.import_module("order_service.app").APPLICATION
    taken = []
    with tempfile.TemporaryDirectory() as name:
        async with run_service(application, Path(name)) as service:
            deny_list = service.files.folder / "deny.yaml"
            for number in range(rounds):
                subject = f"user-{number}"
                caller = Caller(subject=subject, tenants=("acme",), groups=("readers",))
                channel = service.connect(token=service.issuer.token(caller))
                stream: Any = channel.stream_stream(METHOD)()
                await stream.write(REQUEST)
                await stream.read()
                revocation = Revocation(issuer=service.issuer.issuer, subject=subject, reason="measured")
                started = time.perf_counter()
                await asyncio.to_thread(revoke, deny_list, revocation)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    code = await stream.code()
                taken.append(time.perf_counter() - started)
                if code is not grpc.StatusCode.UNAUTHENTICATED:
                    sys.exit(f"the stream ended {code.name}")
    return taken


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    json.dump(uvloop.run(measure(parser.parse_args().rounds)), sys.stdout)


if __name__ == "__main__":
    main()
