"""A real server with the probe behind the chain, a channel to it, and what its stages saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc.call import Call, Contract
from secure_rpc.chain import Chain, ContractOf, Proceed, Stage
from secure_rpc.serving import UNKNOWN_METHOD, pumped_server

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.probe import STREAMS_IN, STREAMS_OUT, Servicer, path_of
from support.stages import Around, Audit, Authentication, Boundary, Record, Sessions, Validation

Serve: TypeAlias = Callable[..., "World"]
ALICE = "alice"
TIMEOUT_SECONDS = 10  # of calls that need none


class Ending(NamedTuple):
    """How a call ended, as its caller knows it."""

    messages: list[Any]
    code: grpc.StatusCode
    details: str
    trailers: dict[str, Any]


def no_contract(_path: str, _descriptor: MethodDescriptor | None) -> Contract:
    """Ask nothing of any caller."""
    return Contract()


@dataclass
class World:
    """Enter it to start the server; leave it to stop the server and find every record read.

    A stream of requests that is refused before the client has sent its first message ends, for this client, with an
    error of its own making. So the chain waits for what a call says at once.
    """

    pumped: bool = True  # else grpc.aio's own loop serves
    servicer: Servicer = field(default_factory=Servicer)
    outermost: Sequence[Stage] = ()  # stages outside of the audit
    between: Sequence[Stage] = ()  # stages between authentication and the session
    contract_of: ContractOf = no_contract
    chain_options: dict[str, Any] = field(default_factory=dict)
    add: Iterable[Callable[[Chain], None]] = ()  # further servicers
    credentials: tuple[grpc.ServerCredentials, grpc.ChannelCredentials] | None = None
    interceptors: Sequence[Any] = ()
    options: Sequence[tuple[str, Any]] = ()  # of the server

    async def __aenter__(self) -> Self:
        self.audit, self.sessions, self._said = Audit(), Sessions(), asyncio.Event()
        self._said.set()
        inner: list[Stage] = [*self.between, self.sessions, Validation()]
        outer: list[Stage] = [*self.outermost, self.audit, Around(self._listen), Boundary(), Authentication()]
        self.chain = Chain([*outer, *inner], self.contract_of, **self.chain_options)
        add_probe: Any = probe_pb2_grpc.add_ProbeServiceServicer_to_server  # takes a chain as well as a server
        add_probe(self.servicer, self.chain)
        for add in self.add:
            add(self.chain)
        self.server = self._server()
        if self.credentials:
            self.port = self.server.add_secure_port("127.0.0.1:0", self.credentials[0])
            self.channel = grpc.aio.secure_channel(f"localhost:{self.port}", self.credentials[1])
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
            self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        await self.server.start()
        if not self.credentials:  # else the test may be about a connection that is refused
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self.channel.channel_ready()  # deadlines of calls are not to pass while it is made
        self.stub: Any = probe_pb2_grpc.ProbeServiceStub(self.channel)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        async with asyncio.timeout(10):
            await self.channel.close()
            await self.server.stop(None)
        if kind is None:
            assert self.audit.records.empty(), "a call was recorded more than once, or is no call of the test"

    def _server(self) -> grpc.aio.Server:
        if self.pumped:
            paths = [method.path for method in self.chain.methods]
            return pumped_server(self.chain, paths, interceptors=self.interceptors, options=self.options)
        server = grpc.aio.server(interceptors=self.interceptors, options=self.options)
        server.add_generic_rpc_handlers((self.chain,))
        return server

    async def _listen(self, call: Call, proceed: Proceed) -> None:
        await self._said.wait()
        await proceed(call)

    async def _say(self, requests: Sequence[Any]) -> AsyncIterator[Any]:
        for request in requests:
            yield request
        self._said.set()

    def _requests(self, shape: str, requests: Sequence[Any]) -> Any:
        if shape not in STREAMS_IN:
            return requests[0]
        self._said.clear()
        return self._say(requests)

    def known_path(self, path: str) -> str:
        """Return what is known of the path of a method that does not exist."""
        return UNKNOWN_METHOD if self.pumped else path

    def call(
        self,
        shape: str,
        *asks: pb.Ask,
        identity: str = ALICE,
        timeout_seconds: float = TIMEOUT_SECONDS,
        open_: bool = False,
    ) -> Any:
        """Begin a call; an open one says nothing until it is written to."""
        arguments = () if open_ else (self._requests(shape, asks),)
        return getattr(self.stub, shape)(*arguments, metadata=_metadata(identity), timeout=timeout_seconds)

    def call_raw(
        self,
        shape: str,
        *bodies: bytes,
        path: str = "",
        identity: str = ALICE,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Any:
        """Begin a call that sends bytes as they are, in the kind of a shape."""
        kind = ("stream_" if shape in STREAMS_IN else "unary_") + ("stream" if shape in STREAMS_OUT else "unary")
        call = getattr(self.channel, kind)(path or path_of(shape))
        return call(self._requests(shape, bodies), metadata=_metadata(identity), timeout=timeout_seconds)

    async def ask(
        self, shape: str, act: str, *, count: int = 0, identity: str = ALICE, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> Ending:
        """Make one call and return how it ended."""
        return await ending(
            self.call(shape, pb.Ask(act=act, count=count), identity=identity, timeout_seconds=timeout_seconds)
        )

    async def settled(self, count: int, within_seconds: float = 5) -> list[Record]:
        """Wait for that many records; leaving the world finds any one too many."""
        async with asyncio.timeout(within_seconds):
            return [await self.audit.records.get() for _ in range(count)]

    async def record(self) -> Record:
        """Wait for the one record."""
        [record] = await self.settled(1)
        return record


async def ending(call: Any) -> Ending:
    """Read a call to its end."""
    messages: list[Any] = []
    with suppress(grpc.aio.AioRpcError):
        if hasattr(call, "read"):
            while (message := await call.read()) is not grpc.aio.EOF:
                messages.append(message)
        else:
            messages.append(await call)
    texts = [getattr(message, "text", message) for message in messages]
    trailers = dict(await call.trailing_metadata() or ())
    return Ending(texts, await call.code(), await call.details(), trailers)


def _metadata(identity: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", identity),) if identity else ()
