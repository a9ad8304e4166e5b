"""`/healthz`, `/readyz` and `/metrics`: plain on loopback, by mutual TLS elsewhere; probes may have a plain port.

Nothing plaintext speaks gRPC: one hostile path could end the whole server. No call's data is to be had here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeAlias, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from secure_rpc.admin import tls
from secure_rpc.admin.access import Exposure
from secure_rpc.admin.listener import Listener
from secure_rpc.configuration import ConfigurationError
from secure_rpc.watching import FileWatch

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
UNAVAILABLE = 503

T = TypeVar("T")
Answer: TypeAlias = Callable[[], T | Awaitable[T]]

logger = logging.getLogger(__name__)


class Admin:
    """Serve health, readiness and metrics.

    Args:
        exposure: where, and to whom; port 0 takes any that is free.
        scrape: gives all numbers in the OpenMetrics text format.
        unready_because: gives the reasons for which no calls should be sent here; none: it is ready.
        unhealthy_because: gives the reasons for which all this should be ended and started again; none: it lives.

    Raises:
        ConfigurationError: an address cannot be had; a file for TLS is missing or no good.
    """

    def __init__(
        self,
        exposure: Exposure,
        scrape: Answer[bytes],
        unready_because: Answer[list[str]],
        unhealthy_because: Answer[list[str]] = list,
    ) -> None:
        self._numbers = scrape
        self._unready_because = unready_because
        self._unhealthy_because = unhealthy_because
        self._tls = exposure.tls
        self._watch: FileWatch | None = None
        context = None
        if self._tls is not None:
            files = (self._tls.certificate_file, self._tls.key_file, self._tls.client_ca_file)
            self._watch = FileWatch(map(Path, files))
            context = tls.context_of(self._tls)
        probes = [Route("/healthz", self._healthz), Route("/readyz", self._readyz)]
        self._app = Starlette(routes=[*probes, Route("/metrics", self._scrape)])
        self._sockets = _listen(exposure)
        self.port, self.probe_port = [*(int(each.getsockname()[1]) for each in self._sockets), 0][:2]
        self._listeners = [self._listener(context)]
        self._listeners += [Listener(each, Starlette(routes=probes)) for each in self._sockets[1:]]
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        for listener in self._listeners:
            await listener.start()
        if self._watch is not None:
            self._watching = asyncio.create_task(self._watch.run(self._take_up))

    async def stop(self) -> None:
        """Answer no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        for listener in self._listeners:
            await listener.stop()
        for each in self._sockets:
            each.close()

    async def _take_up(self, _changed: Collection[Path]) -> None:
        """Go on with other certificates; connections that are there end by themselves soon."""
        if self._tls is None:
            return
        try:
            context = await asyncio.to_thread(tls.context_of, self._tls)
        except ConfigurationError as error:
            logger.error("the admin port's certificates are left as they were: %s", error)  # noqa: TRY400
            return
        old, new = self._listeners[0], self._listener(context)
        await new.start()  # on the same socket: at no time does nobody listen
        self._listeners[0] = new
        await old.stop()
        logger.info("the admin port's certificates were taken up")

    def _listener(self, context: ssl.SSLContext | None) -> Listener:
        guard = None if self._tls is None else tls.protocol_for(self._tls.allowed_workloads)
        return Listener(self._sockets[0], self._app, context, guard)

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


async def _answer_of(ask: Answer[T]) -> T:
    answer = ask()
    return await answer if inspect.isawaitable(answer) else answer


def _listen(exposure: Exposure) -> list[socket.socket]:
    """Return a socket for the admin port, and where there is one, for that of the probes."""
    found: list[socket.socket] = []
    for setting, address in (("admin_address", exposure.address), ("probe_address", exposure.probe_address)):
        if not address:
            continue
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            found.append(socket.create_server((host, int(port)), family=family))
        except OSError as error:
            for each in found:
                each.close()
            raise ConfigurationError(
                f"listen.{setting}: {address} cannot be had ({error.strerror}); stop what uses it, or choose another"
            ) from None
    return found
