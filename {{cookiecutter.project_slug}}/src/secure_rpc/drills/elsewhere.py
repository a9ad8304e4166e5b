"""Callers from another address: what is sent to a port of this machine goes on from there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from secure_rpc.configuration import ConfigurationError

CHUNK_BYTES = 65_536


@asynccontextmanager
async def from_address(source: str, target: str) -> AsyncIterator[str]:
    """Pass on bytes, TLS included, so that they come from another address.

    Args:
        source: an address of this machine, such as 127.0.0.2.
        target: "host:port" of the service.

    Yields:
        "host:port" to call in its place.

    Raises:
        ConfigurationError: this machine has no such address.
    """
    _check(source)
    host, _, port = target.rpartition(":")
    under_way: set[asyncio.Task[None]] = set()

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(passed_on(reader, writer))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _check(source: str) -> None:
    with socket.socket() as probe:
        try:
            probe.bind((source, 0))
        except OSError as error:
            raise ConfigurationError(
                f"{source} cannot be called from ({error.strerror}); where it is no loopback address, give it to the "
                f"machine: sudo ifconfig lo0 alias {source}"
            ) from None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while part := await reader.read(CHUNK_BYTES):
                writer.write(part)
                await writer.drain()
    finally:
        writer.close()
