"""A proxy between caller and server with a trusted certificate of its own, which does with calls what it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

import grpc

from secure_rpc.dev.authority import Leaf, client_request, server_request

from support.target import TRUST_DOMAIN, Target
from support.world import Ending, ending

NOT_FORWARDED = ("user-agent", "grpc-", ":")  # gRPC's own


@dataclass(frozen=True)
class Passing:
    """A call on its way: bytes and metadata as they came."""

    path: str
    body: bytes
    metadata: tuple[tuple[str, str | bytes], ...]

    def header(self, name: str) -> str:
        """Return the value of an entry."""
        return str(dict(self.metadata)[name])

    def with_header(self, name: str, value: str | None) -> Self:
        """Return the call with an entry replaced, or without it."""
        others = tuple((key, each) for key, each in self.metadata if key != name)
        return replace(self, metadata=others if value is None else (*others, (name, value)))


Alter: TypeAlias = Callable[[Passing], Passing]


def unaltered(passing: Passing) -> Passing:
    """Leave a call as it is."""
    return passing


@dataclass
class Proxy:
    """Forwards calls of one message; `alter` has a look at each of them."""

    upstream: grpc.aio.Channel
    leaf: Leaf
    alter: Alter = unaltered
    lost_answers: int = 0  # how many answers to come are kept back, as if the connection had broken
    captured: list[Passing] = field(default_factory=list)  # as they came
    answers: list[bytes] = field(default_factory=list)
    target: str = ""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Take any method."""
        metadata = tuple(
            (str(key), value) for key, value in details.invocation_metadata if not key.startswith(NOT_FORWARDED)
        )

        async def forward(body: bytes, context: Any) -> bytes:
            passing = Passing(details.method, body, metadata)
            self.captured.append(passing)
            call = self.begin(self.alter(passing))
            try:
                answer: bytes = await call
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details(), tuple(error.trailing_metadata()))
            self.answers.append(answer)
            if self.lost_answers:
                self.lost_answers -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer is lost")
            return answer

        return grpc.unary_unary_rpc_method_handler(forward)

    def begin(self, passing: Passing) -> Any:
        """Begin a call of our own making to the server."""
        call: Any = self.upstream.unary_unary(passing.path)
        return call(passing.body, metadata=passing.metadata, timeout=20)

    async def send(self, passing: Passing) -> Ending:
        """Make a call of our own making to the server, and return how it ended."""
        return await ending(self.begin(passing))


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._proxy.service(handler_call_details)


@asynccontextmanager
async def run_proxy(target: Target) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a server, whose certificate callers trust, and that the server trusts as a client."""
    authority = target.service.authority.certificate_pem
    own = target.service.issue(server_request("proxy", TRUST_DOMAIN))
    leaf = target.service.issue(client_request("proxy", TRUST_DOMAIN))
    upstream = grpc.ssl_channel_credentials(authority, leaf.key_pem, leaf.certificate_pem)
    async with grpc.aio.secure_channel(target.service.target, upstream) as channel:
        proxy = Proxy(channel, leaf)
        server = grpc.aio.server(handlers=[_Handlers(proxy)])
        credentials = grpc.ssl_server_credentials(
            [(own.key_pem, own.certificate_pem)], authority, require_client_auth=True
        )
        proxy.target = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        await server.start()
        try:
            yield proxy
        finally:
            await server.stop(None)
