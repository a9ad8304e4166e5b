"""uvicorn as a guest in a process that has other work, and a hand of its own on the signals."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

MAX_CONNECTIONS = 100


class Listener:
    """One uvicorn on one socket, as a guest: the signals are its host's.

    Args:
        listening: the socket.
        app: answers requests.
        context: of TLS; None for plain HTTP.
        protocol: of uvicorn's, None for its own.
        max_connections: at once; beyond, 503 is answered.
    """

    def __init__(
        self,
        listening: socket.socket,
        app: Starlette,
        context: ssl.SSLContext | None = None,
        protocol: type[asyncio.Protocol] | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=protocol or "auto",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=max_connections,
        )
        config.load()
        config.ssl = context
        self._server = _Embedded(config)
        self._listening = listening
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer; return when that is so."""
        self._running = asyncio.create_task(self._server.serve([self._listening.dup()]))  # closed by uvicorn
        while not self._server.started and not self._running.done():  # noqa: ASYNC110  # uvicorn tells nobody
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        if self._running is not None:
            await self._running


class _Embedded(uvicorn.Server):
    """uvicorn without its hand on the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
