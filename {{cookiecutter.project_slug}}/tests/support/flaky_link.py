"""A link that breaks: everything passes, until it is cut in the middle of it, and can be used again at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Link:
    """A way to a port of this machine.

    Args:
        to_port: where it leads.
        every_bytes: after how many bytes from there a connection breaks; 0 for never.
    """

    to_port: int
    every_bytes: int = 0
    port: int = 0
    connections: int = 0  # that were ever made
    breaks: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Return "host:port" to come by this way."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break all connections that there are, without a word to either side."""
        self.breaks += 1
        for writer in list(self._writers):
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until it ends, or breaks."""
        self.connections += 1
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
            ends = {writer, far_writer}
            self._writers |= ends
            carried = 0

            def count(size: int) -> bool:
                nonlocal carried
                carried += size
                return 0 < self.every_bytes < carried

            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, far_writer, lambda _: False))
                both.create_task(self._pass_on(far_reader, writer, count))
            self._writers -= ends
            for end in ends:
                with suppress(OSError):
                    await end.wait_closed()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_enough: Callable[[int], bool]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1024):
                if is_enough(len(data)):
                    writer.write(data[: len(data) // 2])  # a frame is broken, too
                    self.cut()
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def flaky_link(to_port: int, *, every_bytes: int = 0) -> AsyncIterator[Link]:
    """Lead to a port of this machine by a link that can be cut."""
    link = Link(to_port, every_bytes)
    under_way: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            under_way.add(task)
        await link.carry(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        link.cut()
        await asyncio.gather(*under_way)
