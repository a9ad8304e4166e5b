"""Servers side by side in one process and loop, each on a port of its own: what one costs more than another.

Two processes of one program differ by some per cent, by where their memory lies, say; that hides what a part costs.
"""

from __future__ import annotations

import sys

from secure_rpc.tls import floor

if __name__ == "__main__":
    floor.establish()  # before what follows imports grpc

import asyncio
import importlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import uvloop
from secure_rpc import memory
from secure_rpc import settings as settings_module
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.serving import configure_logging
from secure_rpc.server import Server

from benchmarks.servers.common import listen

Stop: TypeAlias = Callable[[], Awaitable[None]]


async def serve(places: list[str]) -> None:
    """Serve until SIGTERM; each server says where it listens, in this order.

    Args:
        places: "module:file" of each, the module that has the application and the file of settings; a module alone
            makes a server of gRPC's.

    """
    stops = []
    for place in places:
        module, _, file = place.partition(":")
        stops.append(await (_start(module, Path(file)) if file else _listen(module)))
    memory.settle()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    for stop in stops:
        await stop()


async def _start(module: str, file: Path) -> Stop:
    settings = settings_module.load(file)
    configure_logging(settings)
    server = Server(load_application(module), settings)
    await server.start()
    return lambda: server.stop(drain=False)


async def _listen(module: str) -> Stop:
    server = await listen(importlib.import_module(module).make)
    return lambda: server.stop(1)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:]))
