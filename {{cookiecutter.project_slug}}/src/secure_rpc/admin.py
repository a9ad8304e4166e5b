"""Plain HTTP for those who run the service: `/healthz`, `/readyz` and `/metrics`, on a port of their own.

Nothing plaintext speaks gRPC: one hostile path could end the whole server. No call's data is to be had here.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from secure_rpc.configuration import ConfigurationError

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
UNAVAILABLE = 503

T = TypeVar("T")
Answer: TypeAlias = Callable[[], T | Awaitable[T]]


class Admin:
    """Serve health, readiness and metrics.

    Args:
        address: "host:port"; port 0 takes any that is free.
        scrape: gives all numbers in the OpenMetrics text format.
        unready_because: gives the reasons for which no calls should be sent here; none: it is ready.
        unhealthy_because: gives the reasons for which all this should be ended and started again; none: it lives.

    Raises:
        ConfigurationError: the address cannot be had.
    """

    def __init__(
        self,
        address: str,
        scrape: Answer[bytes],
        unready_because: Answer[list[str]],
        unhealthy_because: Answer[list[str]] = list,
    ) -> None:
        self._numbers = scrape
        self._unready_because = unready_because
        self._unhealthy_because = unhealthy_because
        self._socket = _listen(address)
        self.port: int = self._socket.getsockname()[1]
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._scrape),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", server_header=False
        )
        self._server = _Embedded(config)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._running = asyncio.create_task(self._server.serve([self._socket]))

    async def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        if self._running is not None:
            await self._running

    async def _healthz(self, _request: Request) -> Response:
        reasons = await _answer_of(self._unhealthy_because)
        if reasons:
            return JSONResponse({"healthy": False, "because": reasons}, UNAVAILABLE)
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        reasons = await _answer_of(self._unready_because)
        if reasons:
            return JSONResponse({"ready": False, "because": reasons}, UNAVAILABLE)
        return JSONResponse({"ready": True})

    async def _scrape(self, _request: Request) -> Response:
        return Response(await _answer_of(self._numbers), media_type=OPENMETRICS)


class _Embedded(uvicorn.Server):
    """uvicorn as a guest: the signals are the gRPC server's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _answer_of(ask: Answer[T]) -> T:
    answer = ask()
    return await answer if inspect.isawaitable(answer) else answer


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(
            f"listen.admin_address: {address} cannot be had ({error.strerror}); stop what uses it, or choose another"
        ) from None
