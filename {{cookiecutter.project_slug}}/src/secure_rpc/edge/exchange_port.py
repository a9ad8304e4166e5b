"""The port at which Envoy asks for tokens (its HTTP `ext_authz` filter), in plaintext on loopback alone."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.openmetrics.exposition import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from secure_rpc import errors
from secure_rpc.admin import OPENMETRICS, Listener
from secure_rpc.client import connect
from secure_rpc.configuration import ConfigurationError
from secure_rpc.edge.exchange import Exchanger
from secure_rpc.edge.names import CHECK_PATH, HEALTH_PATH, METRICS_PATH
from secure_rpc.edge.values import Edge, Exchange, host_and_port
from secure_rpc.identity.token import bearer_token
from secure_rpc.v1 import exchange_pb2 as pb

MAX_CONNECTIONS = 1000  # Envoy sends no second request on one before the first is answered
VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]  # that of the call
GIVEN, REMEMBERED = "given", "remembered"
STATUSES = {
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.PermissionDenied: HTTPStatus.FORBIDDEN,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
CHALLENGE = {"www-authenticate": 'Bearer error="invalid_token"'}  # RFC 6750, section 3

logger = logging.getLogger(__name__)


class ExchangePort:
    """Answer Envoy.

    Args:
        exchanger: gets the tokens.
        listen: "host:port", on loopback; port 0 takes any that is free.

    Raises:
        ConfigurationError: the address cannot be had.
    """

    def __init__(self, exchanger: Exchanger, listen: str) -> None:
        self._exchanger = exchanger
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "secure_rpc_edge_exchanges",
            "Answers to Envoy: tokens given or remembered, and refusals, by how they ended.",
            ("outcome",),
            registry=self._registry,
        )
        for outcome in (GIVEN, REMEMBERED, *(kind.code.name for kind in STATUSES)):
            self._answers.labels(outcome)
        remembered = Gauge(
            "secure_rpc_edge_exchange_remembered_tokens", "Tokens that are remembered.", registry=self._registry
        )
        remembered.set_function(lambda: len(exchanger))
        routes = [
            Route(HEALTH_PATH, self._healthz),
            Route(METRICS_PATH, self._metrics),
            Route(CHECK_PATH + "{path:path}", self._check, methods=VERBS),
        ]
        try:
            self._socket = socket.create_server(host_and_port(listen))
        except OSError as error:
            raise ConfigurationError(
                f"exchange.listen: {listen} cannot be had ({error.strerror}); stop what uses it, or choose another"
            ) from None
        self.port = int(self._socket.getsockname()[1])
        self._listener = Listener(self._socket, Starlette(routes=routes), max_connections=MAX_CONNECTIONS)

    async def start(self) -> None:
        """Begin to answer."""
        await self._listener.start()

    async def stop(self) -> None:
        """Answer no more."""
        await self._listener.stop()
        self._socket.close()

    async def _check(self, request: Request) -> Response:
        """Answer for one call, of which nothing counts but its token."""
        try:
            given, outcome = await self._given(request.headers.get("authorization", ""))
        except (errors.Unauthenticated, errors.PermissionDenied, errors.Unavailable) as error:
            self._answers.labels(error.code.name).inc()
            status = STATUSES[type(error)]
            return PlainTextResponse(error.message, status, CHALLENGE if status is HTTPStatus.UNAUTHORIZED else None)
        self._answers.labels(outcome).inc()
        return Response(headers={"authorization": f"Bearer {given}"})

    async def _given(self, authorization: str) -> tuple[str, str]:
        token = bearer_token(authorization)
        if not token:
            raise errors.Unauthenticated('send "authorization: Bearer <token>"', reason="TOKEN_MISSING")
        if known := self._exchanger.known(token):
            return known, REMEMBERED
        return await self._exchanger.exchange(token), GIVEN

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _metrics(self, _request: Request) -> Response:
        text: bytes = generate_latest(self._registry)  # type: ignore[no-untyped-call]
        return Response(text, media_type=OPENMETRICS)


async def serve(edge: Edge, exchange: Exchange, audience: str) -> None:
    """Exchange tokens until SIGTERM or Ctrl-C.

    Args:
        edge: whose certificate is shown to its service.
        exchange: of that edge.
        audience: for which the new tokens are.

    Raises:
        ConfigurationError: a certificate cannot be read, or the address cannot be had.
    """
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with connect(
        edge.service,
        certificate_file=edge.workload.certificate_file,
        key_file=edge.workload.key_file,
        ca_file=edge.authority.ca_file,
        services=[pb.DESCRIPTOR.services_by_name["TokenExchangeService"]],
    ) as channel:
        exchanger = Exchanger(
            channel,
            audience,
            timeout_seconds=exchange.timeout_seconds,
            remembered_tokens=exchange.remembered_tokens,
        )
        port = ExchangePort(exchanger, exchange.listen)
        await port.start()
        logger.info("tokens are exchanged at port %d, for %s", port.port, audience)
        await ended.wait()
        await port.stop()
