"""Settings of the service side by side in one process and loop, each on a port of its own: what one costs more.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from secure_rpc import memory
from secure_rpc import settings as settings_module
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.serving import configure_logging
from secure_rpc.server import Server

from benchmarks.servers.common import credentials, say_serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def serve(places: list[str]) -> None:
    """Serve until SIGTERM; each server says where it listens, in this order.

    Args:
        places: "module:file" of each, the module that has the application and the file of settings; or the module of a
            server that is none of ours.

    """
    stops = [await (_ours(place) if ":" in place else _another(place)) for place in places]
    memory.settle()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    for stop in stops:
        await stop()


async def _ours(place: str) -> Callable[[], Awaitable[None]]:
    """Start a server, and return what stops it."""
    module, _, file = place.partition(":")
    settings = settings_module.load(Path(file))
    configure_logging(settings)
    server = Server(load_application(module), settings)
    await server.start()
    return lambda: server.stop(drain=False)


async def _another(module: str) -> Callable[[], Awaitable[None]]:
    server: Any = importlib.import_module(module).make()
    port = server.add_secure_port("127.0.0.1:0", credentials())
    await server.start()
    say_serving(port)
    return lambda: server.stop(1)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:]))
