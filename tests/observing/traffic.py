"""Callers of all sorts, for a while: those who may, those who may not, forgers, and connections that fail.

Run by a service's own Python, in its folder: traffic.py PORT SECONDS [--episode]. In an episode, those who may not
call do so for a while in the midst; otherwise all the time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from secure_rpc.tls import floor

floor.establish()

import grpc  # noqa: E402
from order_service.v1 import order_pb2 as pb  # noqa: E402
from order_service.v1 import order_pb2_grpc as pb_grpc  # noqa: E402
from secure_rpc import settings as settings_module  # noqa: E402
from secure_rpc.client import connect  # noqa: E402
from secure_rpc.dev.issuer import TokenIssuer, find_caller, load_callers  # noqa: E402
from secure_rpc.dev.setup import DevelopmentFiles, token_issuer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable

PAUSE_SECONDS = 0.02
CALLS_OF_A_TOKEN = 20
FILES = DevelopmentFiles(Path(".dev").absolute())
CALLERS = load_callers(Path("config/dev_callers.yaml"))
ISSUER = token_issuer(settings_module.load(Path("config/dev.yaml")), FILES)
FORGER = TokenIssuer(ISSUER.issuer, ISSUER.audience)  # signs with a key of its own, under the name of ours
FORGER.key_id = ISSUER.key_id


def channel_as(caller: str, target: str, issuer: TokenIssuer = ISSUER) -> grpc.aio.Channel:
    """Return a channel of somebody, whose token is good for some calls, as tokens are."""
    claimed = find_caller(CALLERS, caller)
    called, token = itertools.count(1), issuer.token(claimed)

    def some_token() -> str:
        nonlocal token
        if next(called) % CALLS_OF_A_TOKEN == 0:
            token = issuer.token(claimed)
        return token

    return connect(
        target,
        certificate_file=FILES.client_certificate,
        key_file=FILES.client_key,
        ca_file=FILES.ca_certificate,
        services=[pb.DESCRIPTOR.services_by_name["OrderService"]],
        token=some_token,
    )


async def settled(call: Awaitable[object]) -> None:
    """Wait for the end of a call, however it ends."""
    with suppress(grpc.aio.AioRpcError):
        await call


async def without_certificate(target: str) -> None:
    """Begin a handshake that cannot succeed."""
    credentials = grpc.ssl_channel_credentials(FILES.ca_certificate.read_bytes())
    async with grpc.aio.secure_channel(target, credentials) as channel:
        await settled(pb_grpc.OrderServiceStub(channel).GetOrder(pb.GetOrderRequest(tenant="acme", id="1"), timeout=1))


async def main() -> None:
    """Call."""
    target, seconds = f"127.0.0.1:{sys.argv[1]}", float(sys.argv[2])
    alice, bob = (pb_grpc.OrderServiceStub(channel_as(name, target)) for name in ("alice", "bob"))
    forger = pb_grpc.OrderServiceStub(channel_as("alice", target, FORGER))
    watch = alice.WatchOrders(pb.WatchOrdersRequest(tenant="acme"))
    start, number = time.monotonic(), 0
    is_episode = "--episode" in sys.argv
    while (share := (time.monotonic() - start) / seconds) < 1:
        number += 1
        await settled(alice.CreateOrder(pb.CreateOrderRequest(tenant="acme", title=f"order {number}")))
        await settled(alice.GetOrder(pb.GetOrderRequest(tenant="acme", id="1")))
        if is_episode and (not 0.5 < share < 0.6 or number % 3):
            await asyncio.sleep(PAUSE_SECONDS * (2 - math.sin(6 * share)))
            continue
        await settled(bob.CreateOrder(pb.CreateOrderRequest(tenant="acme", title="not mine")))
        await settled(forger.GetOrder(pb.GetOrderRequest(tenant="acme", id="1")))
        if number % 5 == 1:
            await without_certificate(target)
        await asyncio.sleep(PAUSE_SECONDS)
    watch.cancel()


asyncio.run(main())
