"""A client over several servers, over long silences, and in a handler that has little time left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import Default

from secure_rpc.client import connect
from secure_rpc.client_channel import MARGIN_SECONDS
from secure_rpc.deadlines import Deadlines
from secure_rpc.server import channel_arguments
from secure_rpc.settings import Limits

from probe.v1 import probe_pb2 as pb
from support.certificates import Certificates
from support.probe import Servicer
from support.world import World, ending

C = grpc.StatusCode
ROUNDED_SECONDS = 0.05  # gRPC sends a timeout in a few digits, rounded up
NEVER: Any = None  # what a client says that sets no deadline


class Backend(grpc.GenericRpcHandler):
    """Answers its name, and the time that each call has left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.remaining_seconds: list[float] = []
        self.begun = asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method.endswith("/Watch"):
            return grpc.unary_stream_rpc_method_handler(self._watch)
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, _request: bytes, context: Any) -> bytes:
        self.remaining_seconds.append(context.time_remaining())
        return self.name.encode()

    async def _watch(self, _request: bytes, context: Any) -> AsyncIterator[bytes]:
        self.remaining_seconds.append(context.time_remaining())
        self.begun.set()
        yield self.name.encode()
        await asyncio.sleep(60)


class Backends:
    """Servers, and channels to them."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.stack = AsyncExitStack()
        self.servers: dict[str, grpc.aio.Server] = {}
        self.addresses: list[str] = []

    async def start(self, backend: Backend, limits: Limits | None = None) -> str:
        server = grpc.aio.server(options=channel_arguments(limits or Limits(), 1000))
        server.add_generic_rpc_handlers((backend,))
        address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', self.certificates.credentials()[0])}"
        await server.start()
        self.stack.push_async_callback(server.stop, None)
        self.servers[backend.name] = server
        self.addresses.append(address)
        return address

    async def connect(self, target: str | list[str], **said: Any) -> Any:
        channel = connect(
            target,
            certificate_file=self.certificates.client,
            key_file=self.certificates.key_of(self.certificates.client),
            ca_file=self.certificates.authority,
            server_name="localhost",
            **said,
        )
        return await self.stack.enter_async_context(channel)


@pytest.fixture
async def backends(certificates: Certificates) -> AsyncIterator[Backends]:
    made = Backends(certificates)
    async with made.stack:
        yield made


def health() -> ServiceDescriptor:
    """Return any service; its methods do not say that they do no harm twice."""
    return Default().FindServiceByName("grpc.health.v1.Health")


# --- several servers ---------------------------------------------------------------------------------------------


async def test_calls_go_to_all_servers_in_turn_and_the_loss_of_one_is_not_noticed(backends: Backends) -> None:
    for name in "ab":
        await backends.start(Backend(name))
    channel = await backends.connect(backends.addresses, services=[health()])
    ask = channel.unary_unary("/grpc.health.v1.Health/Check")

    async with asyncio.timeout(10):
        while {await ask(b""), await ask(b"")} != {b"a", b"b"}:  # until both are connected
            pass
    answers = Counter([await ask(b"") for _ in range(40)])
    assert answers == {b"a": 20, b"b": 20}
    await backends.servers["a"].stop(1)  # as one that is replaced
    assert Counter([await ask(b"") for _ in range(20)]) == {b"b": 20}


async def test_a_server_is_waited_for_where_that_is_asked(backends: Backends) -> None:
    address = await backends.start(Backend("a"))
    await backends.servers["a"].stop(None)
    hasty, patient = await backends.connect(address), await backends.connect(address, wait_for_ready=True)
    hasty, patient = (channel.unary_unary("/a.B/C") for channel in (hasty, patient))
    assert await hasty(b"", timeout=5).code() is C.UNAVAILABLE
    assert await patient(b"", timeout=5, wait_for_ready=False).code() is C.UNAVAILABLE
    assert await patient(b"", timeout=0.2).code() is C.DEADLINE_EXCEEDED
    assert await hasty(b"", timeout=0.2, wait_for_ready=True).code() is C.DEADLINE_EXCEEDED


# --- long silences -----------------------------------------------------------------------------------------------


async def test_a_client_may_ping_as_often_as_the_server_says_and_no_more(backends: Backends) -> None:
    """A second is the least that gRPC takes for an interval; the third ping too many ends the connection."""
    calls = {}
    for name, limits in (("kept", Limits(keepalive_interval_seconds=0.9)), ("ended", Limits())):
        channel = await backends.connect(await backends.start(Backend(name), limits), keepalive_seconds=1)
        calls[name] = channel.unary_stream("/a.B/Watch")(b"")
        assert await calls[name].read() == name.encode()
    async with asyncio.timeout(10):
        assert await calls["ended"].code() is C.UNAVAILABLE
    assert await calls["ended"].details() == "Too many pings"
    await asyncio.sleep(0.2)
    assert not calls["kept"].done()


# --- the time that is left ---------------------------------------------------------------------------------------


class Relay(Servicer):
    """Calls another service to answer."""

    def __init__(self, channel: grpc.aio.Channel, **said: Any) -> None:
        super().__init__()
        self._unary: Any = channel.unary_unary("/a.B/C")
        self._stream: Any = channel.unary_stream("/a.B/Watch")
        self._said = said
        self.later: list[asyncio.Task[Any]] = []
        self.ended = asyncio.Event()

    async def Unary(self, request: pb.Ask, _context: Any) -> pb.Answer:
        if request.act == "stream":
            call = self._stream(b"", **self._said)
            await call.read()
            call.cancel()
        elif request.act == "later":
            self.later.append(asyncio.create_task(self._call_later()))
        else:
            try:
                await self._unary(b"", **self._said)
            except grpc.aio.AioRpcError as error:
                return pb.Answer(text=error.code().name)
        return pb.Answer(text="done")

    async def _call_later(self) -> None:
        await self.ended.wait()
        await self._unary(b"")


@asynccontextmanager
async def relay_to(backends: Backends, backend: Backend, deadlines: Deadlines, **said: Any) -> AsyncIterator[World]:
    channel = await backends.connect(await backends.start(backend))
    async with World(servicer=Relay(channel, **said), chain_options={"deadlines": deadlines}) as world:
        yield world


@pytest.mark.parametrize("act", ["", "stream"])
@pytest.mark.parametrize(
    ("incoming", "default", "outgoing", "expected"),
    [
        (5, 0, NEVER, 5 - MARGIN_SECONDS),
        (5, 0, 60, 5 - MARGIN_SECONDS),
        (NEVER, 5, NEVER, 5 - MARGIN_SECONDS),
        (60, 0, 3, 3),
    ],
)
async def test_a_call_made_by_a_handler_ends_before_the_one_that_it_serves(
    backends: Backends, act: str, incoming: float, default: float, outgoing: float, expected: float
) -> None:
    backend = Backend("a")
    async with relay_to(backends, backend, Deadlines(default), timeout=outgoing) as world:
        told = await ending(world.call("Unary", pb.Ask(act=act), timeout_seconds=incoming))
        assert told.messages == ["done"]
        await world.settled(1)
    [remaining] = backend.remaining_seconds
    assert expected - 2 < remaining <= expected + ROUNDED_SECONDS


async def test_where_no_time_is_left_nothing_is_sent(backends: Backends) -> None:
    backend = Backend("a")
    async with relay_to(backends, backend, Deadlines(MARGIN_SECONDS)) as world:
        told = await ending(world.call("Unary", pb.Ask(), timeout_seconds=NEVER))
        assert (told.messages == ["DEADLINE_EXCEEDED"]) or told.code is C.DEADLINE_EXCEEDED
        await world.settled(1)
    assert backend.remaining_seconds == []


async def test_what_outlives_the_call_that_began_it_has_time_of_its_own(backends: Backends) -> None:
    backend = Backend("a")
    async with relay_to(backends, backend, Deadlines()) as world:
        await world.call("Unary", pb.Ask(act="later"), timeout_seconds=5)
        await world.settled(1)
        await asyncio.sleep(0.01)
        relay: Any = world.servicer
        relay.ended.set()
        await asyncio.gather(*relay.later)
    [remaining] = backend.remaining_seconds
    assert remaining == pytest.approx(10, abs=2)
