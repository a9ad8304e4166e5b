"""Settings of the service side by side in one process and loop, each on a port of its own: what one costs more.

Two processes of one program differ by some per cent, by where their memory lies, say; that hides what a part costs.
"""

from __future__ import annotations

import sys

from secure_rpc.tls import floor

if __name__ == "__main__":
    floor.establish()  # before what follows imports grpc

import asyncio
import signal
from pathlib import Path

import uvloop
from secure_rpc import memory
from secure_rpc import settings as settings_module
from secure_rpc.cli.loading import load_application
from secure_rpc.cli.serving import configure_logging
from secure_rpc.server import Server


async def serve(places: list[str]) -> None:
    """Serve until SIGTERM; each server says where it listens, in this order.

    Args:
        places: "module:file" of each, the module that has the application and the file of settings.

    """
    servers = []
    for place in places:
        module, _, file = place.partition(":")
        settings = settings_module.load(Path(file))
        configure_logging(settings)
        servers.append(Server(load_application(module), settings))
        await servers[-1].start()
    memory.settle()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    for server in servers:
        await server.stop(drain=False)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:]))
