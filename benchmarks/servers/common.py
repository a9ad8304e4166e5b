"""What the servers have in common: the handler, mutual TLS, uvloop, and the line that says where they listen."""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

    from secure_rpc.chain import Chain

CERTIFICATES = Path(".dev")


def add_service(server: grpc.aio.Server | Chain) -> None:
    """Add the generated service, as it is, to a server."""
    service = importlib.import_module("order_service.service").OrderService
    store = importlib.import_module("order_service.store").OrderStore
    stubs = importlib.import_module("order_service.v1.order_pb2_grpc")
    stubs.add_OrderServiceServicer_to_server(service(store()), server)


def run(make: Callable[[], grpc.aio.Server], *, on_uvloop: bool = True) -> None:
    """Serve until SIGTERM."""
    (uvloop.run if on_uvloop else asyncio.run)(_serve(make))


def credentials() -> grpc.ServerCredentials:
    """Return mutual TLS."""
    pair = (CERTIFICATES / "server.key").read_bytes(), (CERTIFICATES / "server.pem").read_bytes()
    ca = (CERTIFICATES / "ca.pem").read_bytes()
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=True)


def say_serving(port: int) -> None:
    """Say where it listens."""
    print(json.dumps({"event": "serving", "address": f"127.0.0.1:{port}"}), flush=True)


async def listen(make: Callable[[], grpc.aio.Server]) -> grpc.aio.Server:
    """Start a server, say where it listens, and return it."""
    server = make()
    port = server.add_secure_port("127.0.0.1:0", credentials())
    await server.start()
    say_serving(port)
    return server


async def _serve(make: Callable[[], grpc.aio.Server]) -> None:
    server = await listen(make)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    await server.stop(1)
