"""What stages, servicers and third parties may rely on."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc import errors
from secure_rpc.call import Call, Contract, Method, current_call
from secure_rpc.chain import CORRELATION_ID_KEY, Chain, Proceed

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.acts import SECRET
from support.probe import OTHERS, SHAPES, STREAMS_IN, STREAMS_OUT, Servicer, path_of
from support.stages import Around
from support.world import Serve, ending, no_contract

C = grpc.StatusCode
add_probe: Any = probe_pb2_grpc.add_ProbeServiceServicer_to_server  # takes a chain as well as a server


# --- what a stage may do around a call -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_timeout_around_proceed_holds_for_every_kind(serve: Serve, shape: str) -> None:
    async def limit(call: Call, proceed: Proceed) -> None:
        try:
            async with asyncio.timeout(0.05):
                await proceed(call)
        except TimeoutError:
            raise errors.Unavailable(reason="TOO_SLOW") from None

    async with serve(between=[Around(limit)]) as world:
        assert (await world.ask(shape, "sleep")).code is C.UNAVAILABLE
        assert (await world.record()).outcome.reason == "TOO_SLOW"


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_semaphore_around_proceed_is_held_for_the_whole_call(serve: Serve, shape: str) -> None:
    slots, held, most = asyncio.Semaphore(2), 0, 0

    async def limit(call: Call, proceed: Proceed) -> None:
        nonlocal held, most
        async with slots:
            held += 1
            most = max(most, held)
            try:
                await asyncio.sleep(0.005)
                await proceed(call)
            finally:
                held -= 1

    async with serve(between=[Around(limit)]) as world:
        told = await asyncio.gather(*(world.ask(shape, "anything", count=3) for _ in range(20)))
        assert {ending.code for ending in told} == {C.OK}
        await world.settled(20)
        assert (held, most) == (0, 2)


@pytest.mark.parametrize("shape", SHAPES)
async def test_context_variables_of_a_stage_reach_the_handler_and_no_further(serve: Serve, shape: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="not set")

    class Reader(Servicer):
        async def perform(self, _ask: pb.Ask, _context: Any) -> pb.Answer:
            return pb.Answer(text=f"{variable.get()} for {current_call().path}")

    async def put(call: Call, proceed: Proceed) -> None:
        variable.set("set by a stage")
        await proceed(call)

    async with serve(between=[Around(put)], servicer=Reader()) as world:
        assert (await world.ask(shape, "anything")).messages == [f"set by a stage for {path_of(shape)}"]
        await world.record()
    assert variable.get() == "not set"
    with pytest.raises(LookupError):
        current_call()


@pytest.mark.parametrize("shape", SHAPES)
async def test_when_proceed_returns_nothing_final_is_on_the_wire(serve: Serve, shape: str) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def hold(call: Call, proceed: Proceed) -> None:
        await proceed(call)
        reached.set()
        await gate.wait()

    async with serve(between=[Around(hold)]) as world:
        call = world.call(shape, pb.Ask(act="anything"))
        if shape in STREAMS_OUT:
            assert (await call.read()).text == "anything"
        await reached.wait()
        await asyncio.sleep(0.02)  # for what should not come
        assert not call.done()
        assert world.audit.records.empty()
        gate.set()
        assert await call.code() is C.OK
        await world.record()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("error", [KeyError(SECRET), asyncio.CancelledError()], ids=["fails", "is cancelled"])
async def test_a_stage_that_ends_with_nothing_around_it_is_answered_all_the_same(
    serve: Serve, shape: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_call: Call, _proceed: Proceed) -> None:
        raise error

    async with serve(outermost=[Around(fail)]) as world:
        call = world.call(shape, open_=True) if shape in STREAMS_IN else world.call(shape, pb.Ask())
        told = await ending(call)
    cancelled = isinstance(error, asyncio.CancelledError)
    assert told.code is (C.CANCELLED if cancelled else C.INTERNAL)
    assert told.details == ("the call was cancelled" if cancelled else "internal error")
    assert told.trailers[CORRELATION_ID_KEY]
    assert SECRET not in str(told)
    assert (SECRET in caplog.text) is not cancelled


@pytest.mark.parametrize("shape", STREAMS_IN)
async def test_each_message_is_checked_and_a_refusal_cannot_be_swallowed(serve: Serve, shape: str) -> None:
    class Stubborn(Servicer):
        async def ClientStreamByRead(self, _requests: object, context: Any) -> pb.Answer:
            asks = [await context.read(), await context.read()]
            for _ in range(3):
                with pytest.raises(errors.InvalidArgument):
                    await context.read()
            for ask in asks:
                await self.perform(ask, context)
            return pb.Answer(text="all is well")

    async with serve(servicer=Stubborn()) as world:
        told = await ending(world.call(shape, *(pb.Ask(act=act) for act in ("one", "two", "invalid", "three"))))
        assert (told.messages, told.code) == (["one", "two"] * (shape in STREAMS_OUT), C.INVALID_ARGUMENT)
        assert (await world.record()).outcome.reason == "INVALID"
        assert world.servicer.begun._value == 2


# --- start ---------------------------------------------------------------------------------------------------------


def test_stages_that_do_not_bind_leave_no_trace() -> None:
    seen: list[str] = []

    class Picky:
        def bind(self, method: Method) -> None:
            seen.append(method.path)

    chain = Chain([Picky()] * 3, no_contract)
    add_probe(Servicer(), chain)
    assert sorted(seen) == sorted(["", *map(path_of, (*SHAPES, *OTHERS))] * 3)
    assert [method.path for method in chain.methods] == [path_of(shape) for shape in (*SHAPES, *OTHERS)]


def test_a_method_is_known_before_any_call() -> None:
    contract = Contract(permissions=("probe.call",), max_request_bytes=7)
    chain = Chain([], lambda path, _: contract if path.endswith("/Bidi") else Contract(), max_request_bytes=99)
    add_probe(Servicer(), chain)
    methods = {method.path.rpartition("/")[2]: method for method in chain.methods}
    assert methods["Bidi"].contract is contract
    assert (methods["Bidi"].max_request_bytes, methods["Unary"].max_request_bytes) == (7, 99)
    kinds = [methods[shape].kind for shape in ("Unary", "ServerStream", "ClientStream", "Bidi")]
    assert kinds == ["unary", "server_stream", "client_stream", "bidi_stream"]
    for method in chain.methods:
        assert method.service == "probe.v1.ProbeService"
        assert method.descriptor is not None
        assert method.descriptor.input_type.full_name == "probe.v1.Ask"
        assert method.response_type is pb.Answer


def test_a_method_without_a_contract_is_refused_at_start_and_none_of_its_service_is_served() -> None:
    def contract_of(path: str, _descriptor: MethodDescriptor | None) -> Contract:
        if path == path_of("Bidi"):
            raise LookupError(path)
        return Contract()

    chain = Chain([], contract_of)
    with pytest.raises(LookupError, match=path_of("Bidi")):
        add_probe(Servicer(), chain)
    assert chain.methods == []


def test_a_handler_that_is_not_async_is_refused_at_start() -> None:
    class Sync(Servicer):
        def Unary(self, _request: pb.Ask, _context: Any) -> pb.Answer:  # type: ignore[override]
            return pb.Answer()

    with pytest.raises(TypeError, match="Unary"):
        add_probe(Sync(), Chain([], no_contract))
