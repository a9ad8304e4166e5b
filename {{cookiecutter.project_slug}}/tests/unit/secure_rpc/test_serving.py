"""The pumped loop survives the call that ends grpc.aio's own, and stops as it should."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from grpc._cython import cygrpc

from secure_rpc import serving
from secure_rpc.serving import MAX_PUMPS, UNKNOWN_METHOD, is_supported, pumped_server

from probe.v1 import probe_pb2 as pb
from support import certificates, http2
from support.probe import Servicer, path_of
from support.world import World

C = grpc.StatusCode
NOT_UTF8 = (
    b"/probe.v1.ProbeService/Unary\xff",
    b"\xff\xfe",
    b"/a/B\xc0\x80",  # NUL, overlong
    b"/a/\xed\xa0\x80",  # a lone surrogate
    b"/" + bytes(range(0x80, 0x100)),
)


# --- what it is made of ----------------------------------------------------------------------------------------


def test_this_grpcio_has_what_the_loop_needs() -> None:
    assert is_supported(), "this grpcio lost a part that serving.py needs: adapt it, or serve with the fallback"


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        (cygrpc._finish_handler_with_stream_responses, 5),
        (cygrpc._finish_handler_with_unary_response, 6),
        (cygrpc._handle_rpc, 6),
        (cygrpc._handle_cancellation_from_core, 3),
        (cygrpc._schedule_rpc_coro, 4),
        (cygrpc.AioServer._make_request_call_future, 2),
        (cygrpc.AioServer._request_call, 1),
        (cygrpc.AioServer._request_registered_call, 2),
        (cygrpc.AioServer.add_registered_method_handlers, 2),
        (grpc.aio._server._augment_channel_arguments, 2),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_parts_take_as_much_as_the_loop_gives_them(part: Any, arguments: int) -> None:
    assert len(inspect.signature(part).parameters) == arguments


@pytest.mark.parametrize("name", serving._NEEDED)
def test_a_grpcio_without_a_part_is_not_supported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cygrpc, name)
    assert not is_supported()


def test_a_grpcio_without_its_server_module_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(grpc.aio._server, "_augment_channel_arguments")
    assert not is_supported()


# --- hostile paths ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.issue(Path(tmp_path_factory.mktemp("certificates")))


@asynccontextmanager
async def good_caller(world: World) -> AsyncIterator[list[grpc.StatusCode]]:
    """Make one call after the other, all the while, and note how each ended."""
    codes: list[grpc.StatusCode] = []
    enough = asyncio.Event()

    async def ask() -> None:
        while not enough.is_set():
            codes.append((await world.ask("Unary", "still here?")).code)

    task = asyncio.create_task(ask())
    yield codes
    enough.set()
    await task


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("each", [False, True], ids=["one connection", "a connection each"])
async def test_a_hundred_paths_that_are_not_utf8_disturb_no_one(
    issued: certificates.Certificates, *, tls: bool, each: bool
) -> None:
    context = issued.tls_context() if tls else None
    paths = NOT_UTF8 * 20
    async with World(credentials=issued.credentials() if tls else None) as world:
        async with good_caller(world) as codes:
            for chunk in [[path] for path in paths] if each else [paths]:
                async with http2.connect(world.port, context) as connection:
                    streams = [await connection.call(path, metadata=[(b"authorization", b"mallory")]) for path in chunk]
                    for stream in streams:
                        assert (await connection.answer(stream))["grpc-status"] == b"12"
        assert codes == [C.OK] * len(codes) != []
        records = await world.settled(len(paths) + len(codes))
        hostile = [(record.path, record.outcome.code) for record in records if record.subject == "mallory"]
        assert hostile == [(UNKNOWN_METHOD, C.UNIMPLEMENTED)] * len(paths)


async def test_a_path_that_is_not_utf8_reaches_no_handler_without_identity() -> None:
    async with World() as world, http2.connect(world.port) as connection:
        for path in NOT_UTF8:
            answer = await connection.answer(await connection.call(path))
            assert answer["grpc-status"] == b"16"
            assert answer["correlation-id"].decode() == (await world.record()).call_id


async def test_the_name_of_the_unknown_method_is_no_way_in() -> None:
    async with World() as world, http2.connect(world.port) as connection:
        answer = await connection.answer(await connection.call(UNKNOWN_METHOD.encode()))
        assert answer["grpc-status"] == b"16"
        assert (await world.record()).path == UNKNOWN_METHOD


# --- serving and stopping -------------------------------------------------------------------------------------


class Serving(NamedTuple):
    server: grpc.aio.Server
    channel: grpc.aio.Channel
    begun: asyncio.Semaphore
    proceed: asyncio.Event


class Echo(grpc.GenericRpcHandler):
    """Answer each call with its own path, once it may proceed."""

    def __init__(self) -> None:
        self.begun, self.proceed = asyncio.Semaphore(0), asyncio.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        if path == UNKNOWN_METHOD:
            return None

        async def answer(_request: bytes, _context: object) -> bytes:
            self.begun.release()
            await self.proceed.wait()
            return path.encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def serving_echo(methods: int = 2) -> AsyncIterator[Serving]:
    handler = Echo()
    server = pumped_server(handler, [f"/a/{number}" for number in range(methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Serving(server, channel, handler.begun, handler.proceed)
    finally:
        async with asyncio.timeout(10):
            await server.stop(None)


def call(channel: grpc.aio.Channel, path: str) -> Any:
    method: Any = channel.unary_unary(path)
    return method(b"", timeout=10)


async def test_each_call_goes_to_its_own_method_however_many_come_at_once() -> None:
    async with serving_echo(methods=50) as world:
        world.proceed.set()
        paths = [f"/a/{number % 50}" for number in range(500)]
        answers = await asyncio.gather(*(call(world.channel, path) for path in paths))
        assert [answer.decode() for answer in answers] == paths


async def test_calls_that_wait_hold_up_no_others_of_their_method() -> None:
    async with serving_echo() as world:
        calls = [call(world.channel, "/a/0") for _ in range(50)]
        for _ in calls:
            await world.begun.acquire()
        world.proceed.set()
        assert await asyncio.gather(*calls) == [b"/a/0"] * 50


async def test_a_method_gets_as_many_pumps_as_it_has_calls_and_others_keep_theirs() -> None:
    async with serving_echo(methods=3) as world:
        pumps = {each.take.args: each for each in world.server._server.pumps if isinstance(each.take, partial)}  # type: ignore[attr-defined]
        for expected in (1, 10, MAX_PUMPS, MAX_PUMPS):
            calls = [call(world.channel, "/a/1") for _ in range(2 * expected)]
            for _ in calls:
                await world.begun.acquire()
            assert pumps[b"/a/1",].count == min(2 * expected, MAX_PUMPS)
            world.proceed.set()
            await asyncio.gather(*calls)
            world.proceed.clear()
        assert [pumps[path,].count for path in (b"/a/0", b"/a/2")] == [1, 1]


async def test_who_uses_many_methods_takes_no_pumps_from_others() -> None:
    async with serving_echo(methods=40) as world:
        pumps = {each.take.args: each for each in world.server._server.pumps if isinstance(each.take, partial)}  # type: ignore[attr-defined]
        for method in range(40):
            calls = [call(world.channel, f"/a/{method}") for _ in range(MAX_PUMPS)]
            for _ in calls:
                await world.begun.acquire()
            assert pumps[f"/a/{method}".encode(),].count == MAX_PUMPS
            world.proceed.set()
            await asyncio.gather(*calls)
            world.proceed.clear()


async def test_what_gRPC_does_beside_a_call_may_fail_and_no_server_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(cygrpc, "_handle_cancellation_from_core", fail)
    async with World() as world:
        for kind in ("Unary", "ServerStream", "ClientStream", "Bidi"):
            assert (await world.ask(kind, "")).code is C.OK
        await world.settled(4)
    assert caplog.text.count("unforeseen") == 3  # nobody asks for the client of a call that is over so soon


async def test_who_keeps_contexts_keeps_no_streams_open() -> None:
    kept: list[Any] = []

    class Keeping(Servicer):
        async def perform(self, _ask: pb.Ask, context: Any) -> pb.Answer:
            kept.append(context)
            return pb.Answer()

    options = [("grpc.max_concurrent_streams", 5)]
    async with World(servicer=Keeping(), options=options) as world:
        for _ in range(12):
            assert (await world.ask("Unary", "")).code is C.OK
        await world.settled(12)
    assert len(kept) == 12


async def test_a_method_that_does_not_exist_is_unimplemented() -> None:
    async with serving_echo() as world:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(world.channel, path_of("Nope"))
        assert caught.value.code() is C.UNIMPLEMENTED


async def test_calls_under_way_finish_in_the_grace_period() -> None:
    async with serving_echo() as world:
        under_way = call(world.channel, "/a/1")
        await world.begun.acquire()
        stopping = asyncio.create_task(world.server.stop(10))
        await asyncio.sleep(0)
        world.proceed.set()
        assert await under_way == b"/a/1"
        await stopping


async def test_calls_under_way_are_cut_when_the_grace_period_ends() -> None:
    async with serving_echo() as world:
        under_way = call(world.channel, "/a/1")
        await world.begun.acquire()
        await world.server.stop(0.05)
        assert await under_way.code() in {C.UNAVAILABLE, C.CANCELLED}


async def test_no_task_is_left_after_a_stop() -> None:
    before = asyncio.all_tasks()
    async with serving_echo(methods=20) as world:
        world.proceed.set()
        await asyncio.gather(*(call(world.channel, f"/a/{number}") for number in range(20)))
    async with asyncio.timeout(5):
        await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
    assert asyncio.all_tasks() == before


async def test_waiting_for_termination_ends_with_a_stop_and_not_before() -> None:
    async with serving_echo() as world:
        terminated = asyncio.create_task(world.server.wait_for_termination())
        world.proceed.set()
        await call(world.channel, "/a/0")
        assert not terminated.done()
        await world.server.stop(None)
        async with asyncio.timeout(5):
            await terminated
