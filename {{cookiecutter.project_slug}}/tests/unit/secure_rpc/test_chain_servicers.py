"""Servicers of every origin work behind the chain, and so do interceptors of third parties in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_status import rpc_status

from secure_rpc import errors
from secure_rpc.call import Call, Contract
from secure_rpc.chain import CORRELATION_ID_KEY, ContractOf, Proceed

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support import acts, certificates
from support.probe import SHAPES, STREAMS_OUT, Servicer, path_of
from support.stages import Around
from support.world import ALICE, TIMEOUT_SECONDS, Serve

C = grpc.StatusCode


async def test_methods_left_to_the_generated_base_class_answer_unimplemented(serve: Serve) -> None:
    class Partial(Servicer):
        Unary: Any = probe_pb2_grpc.ProbeServiceServicer.Unary
        Bidi: Any = probe_pb2_grpc.ProbeServiceServicer.Bidi

    async with serve(servicer=Partial()) as world:
        for shape in ("Unary", "Bidi"):
            told = await world.ask(shape, "anything")
            assert (told.code, told.details) == (C.UNIMPLEMENTED, "the method is not implemented")
            assert told.trailers[CORRELATION_ID_KEY] == (await world.record()).call_id


async def test_the_contract_of_a_method_has_the_last_word_on_the_size_of_its_requests(serve: Serve) -> None:
    contract_of: ContractOf = lambda path, _: Contract(max_request_bytes=9 if path == path_of("Unary") else 0)  # noqa: E731
    async with serve(contract_of=contract_of, chain_options={"max_request_bytes": 99}) as world:
        told = [await world.ask(shape, "x" * 50) for shape in ("Unary", "ServerStream")]
        assert [ending.code for ending in told] == [C.RESOURCE_EXHAUSTED, C.OK]
        await world.settled(2)


async def test_the_context_of_a_handler_offers_what_grpc_offers(serve: Serve) -> None:
    done: list[str] = []

    class Curious(Servicer):
        async def perform(self, _ask: pb.Ask, context: Any) -> pb.Answer:
            assert 0 < context.time_remaining() < TIMEOUT_SECONDS + 1  # gRPC rounds up
            assert not context.cancelled()
            assert context.peer().startswith("ipv")
            assert dict(context.invocation_metadata())["authorization"] == ALICE
            context.add_done_callback(lambda _: done.append("done"))
            return pb.Answer(text="fine")

    async with serve(servicer=Curious()) as world:
        for shape in SHAPES:
            assert (await world.ask(shape, "")).messages == ["fine"]
        await world.settled(len(SHAPES))
    assert done == ["done"] * len(SHAPES)


async def test_a_rich_status_of_google_rpc_reaches_the_caller(serve: Serve) -> None:
    class Rich(Servicer):
        async def perform(self, _ask: pb.Ask, context: Any) -> None:
            status = status_pb2.Status(code=9, message="not now")
            status.details.add().Pack(error_details_pb2.ErrorInfo(reason="LATER"))
            await context.abort_with_status(rpc_status.to_status(status))

    async with serve(servicer=Rich()) as world:
        for shape in SHAPES:
            told = await world.ask(shape, "")
            assert (told.code, told.details) == (C.FAILED_PRECONDITION, "not now")
            assert b"LATER" in told.trailers[errors.STATUS_DETAILS_KEY]
        await world.settled(len(SHAPES))


async def test_the_ready_made_health_servicer_works_behind_the_chain(serve: Serve) -> None:
    health, ask = HealthServicer(), health_pb2.HealthCheckRequest
    add_health: Any = health_pb2_grpc.add_HealthServicer_to_server
    async with serve(add=[lambda chain: add_health(health, chain)]) as world:
        stub: Any = health_pb2_grpc.HealthStub(world.channel)
        metadata = (("authorization", ALICE),)
        assert (await stub.Check(ask(), metadata=metadata)).status == health_pb2.HealthCheckResponse.SERVING
        unknown = stub.Check(ask(service="nope"), metadata=metadata)
        assert await unknown.code() is C.NOT_FOUND
        watch = stub.Watch(ask(), metadata=metadata)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await health.enter_graceful_shutdown()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        assert [record.outcome.code for record in await world.settled(3)] == [C.OK, C.NOT_FOUND, C.CANCELLED]


async def test_with_tls_the_peer_is_known_however_the_call_ends(serve: Serve, tmp_path: Path) -> None:
    issued, seen = certificates.issue(tmp_path), []

    async def look(call: Call, proceed: Proceed) -> None:
        seen.append((call.peer.address[:14], call.peer.certificate_pem, call.peer.tls_version))
        await proceed(call)

    async with serve(between=[Around(look)], credentials=issued.credentials()) as world:
        for shape in SHAPES:
            assert (await world.ask(shape, "anything")).code is C.OK
            assert (await world.ask(shape, "raise_an_error")).code is C.INTERNAL
        await world.settled(2 * len(SHAPES))
    assert seen == [("ipv4:127.0.0.1", issued.client.read_bytes(), b"TLSv1.3")] * (2 * len(SHAPES))


async def test_without_tls_the_peer_has_no_certificate(serve: Serve) -> None:
    async def look(call: Call, _proceed: Proceed) -> None:
        assert (call.peer.certificate_pem, call.peer.tls_version) == (b"", b"")
        raise errors.Unauthenticated(reason="SEEN")

    async with serve(between=[Around(look)]) as world:
        await world.ask("Unary", "anything")
        assert (await world.record()).outcome.reason == "SEEN"


class Textbook(grpc.aio.ServerInterceptor):
    """As most do, it takes every handler for an async function or generator."""

    def __init__(self, *, generator: bool) -> None:
        self._generator = generator

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        inner = handler.stream_stream if handler.response_streaming else handler.stream_unary

        async def call(request: Any, context: Any) -> Any:
            return await inner(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async for message in inner(request, context):
                yield message

        if not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(call)
        return grpc.stream_stream_rpc_method_handler(stream if self._generator else call)


@pytest.mark.parametrize("shape", SHAPES)
async def test_an_interceptor_that_knows_the_reader_writer_style_fits_outside(serve: Serve, shape: str) -> None:
    async with serve(interceptors=[Textbook(generator=False)]) as world:
        assert (await world.ask(shape, "anything")).messages == ["anything"]
        told = await world.ask(shape, "raise_an_error")
        assert told.code is C.INTERNAL
        assert acts.SECRET not in str(told)
        await world.settled(2)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("shape", STREAMS_OUT)
async def test_an_interceptor_that_only_knows_generators_breaks_streams_and_opens_nothing(
    serve: Serve, shape: str
) -> None:
    async with serve(interceptors=[Textbook(generator=True)]) as world:
        told = await world.ask(shape, "anything")
        assert (told.messages, told.code) == ([], C.UNKNOWN)
        assert world.servicer.begun.locked()
