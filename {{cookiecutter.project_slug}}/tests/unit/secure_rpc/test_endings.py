"""What the caller is told and what the record says, for every kind of method and every way a handler can end."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from secure_rpc.chain import CORRELATION_ID_KEY
from secure_rpc.errors import MAX_MESSAGE_BYTES, STATUS_DETAILS_KEY

from probe.v1 import probe_pb2 as pb
from support.acts import ACTS, SECRET
from support.probe import SHAPES, STREAMS_IN, UNARY_IN, path_of
from support.world import Ending, Serve, World, ending

C = grpc.StatusCode
BROKEN = (C.INTERNAL, "internal error")
ENDINGS = {
    "raise_an_error": BROKEN,
    "raise_a_timeout": BROKEN,
    "raise_a_unicode_error": BROKEN,
    "raise_a_status": (C.NOT_FOUND, "no such order"),
    "raise_a_status_with_trailers": (C.NOT_FOUND, "no such order"),
    "raise_a_status_with_a_lone_surrogate": (C.NOT_FOUND, "no ? order"),
    "raise_a_status_too_long_to_send": (C.NOT_FOUND, "\N{GRINNING FACE}" * (MAX_MESSAGE_BYTES // 4)),
    "raise_a_status_with_details_of_a_wrong_type": BROKEN,
    "await_a_task_that_was_cancelled": BROKEN,
    "recover_from_a_failed_group": (C.OK, ""),
    "abort": (C.ALREADY_EXISTS, "already there"),
    "abort_with_none_for_trailers": (C.ALREADY_EXISTS, "already there"),
    "abort_with_trailers_of_a_wrong_type": BROKEN,
    "abort_and_swallow_it": (C.ALREADY_EXISTS, "already there"),
    "abort_in_a_group": (C.ALREADY_EXISTS, "already there"),
    "abort_with_ok": BROKEN,
    "set_a_code": (C.FAILED_PRECONDITION, "not yet"),
    "set_a_code_and_raise": (C.UNIMPLEMENTED, "Method not implemented!"),
    "set_details_and_raise": BROKEN,
    "set_trailers": (C.OK, ""),
    "set_trailers_that_cannot_be_sent": BROKEN,
    "send_metadata_that_cannot_be_sent": BROKEN,
    "answer_nothing": BROKEN,
    "answer_another_message": BROKEN,
    "answer_bytes": BROKEN,
    "invalid": (C.INVALID_ARGUMENT, "the request is invalid"),
    "leak": BROKEN,
    "anything": (C.OK, ""),
}
KEEP_TRAILERS = ("abort", "raise_a_status_with_trailers", "set_trailers")


def test_every_act_that_ends_is_tried() -> None:
    assert set(ACTS) - set(ENDINGS) == {"sleep", "sleep_and_swallow_the_cancellation"}


def expected_of(shape: str, act: str) -> tuple[grpc.StatusCode, str]:
    """Before Python 3.13 a group that failed looks like a cancellation: rather refuse an upload than cut it short."""
    if act == "recover_from_a_failed_group" and shape in STREAMS_IN and sys.version_info < (3, 13):
        return (C.CANCELLED, "the call was cancelled")
    return ENDINGS[act]


@pytest.mark.parametrize("act", ENDINGS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_the_caller_and_the_record_agree_and_nothing_leaks(serve: Serve, shape: str, act: str) -> None:
    async with serve() as world:
        told = await world.ask(shape, act, count=2 if act == "raise_a_status" else 0)
        assert (told.code, told.details) == expected_of(shape, act)
        assert SECRET not in str(told)
        record = await world.record()
        assert (record.path, record.outcome.code, record.subject) == (path_of(shape), told.code, "alice")
        assert told.trailers.get(CORRELATION_ID_KEY) == (None if told.code is C.OK else record.call_id)
        assert told.trailers.get("x-trailer") == ("kept" if act in KEEP_TRAILERS else None)
        assert not world.sessions.live


def reason_of(told: Ending) -> error_details_pb2.ErrorInfo:
    status = status_pb2.Status.FromString(told.trailers[STATUS_DETAILS_KEY])
    assert (status.code, status.message) == (told.code.value[0], told.details)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_reason_reaches_the_caller_and_the_record_under_the_domain_of_the_service(
    serve: Serve, shape: str
) -> None:
    async with serve(chain_options={"domain": "orders"}) as world:
        info = reason_of(await world.ask(shape, "raise_a_status"))
        assert (info.reason, info.domain) == ("ORDER_MISSING", "orders")
        assert (await world.record()).outcome.reason == "ORDER_MISSING"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("identity", "code", "reason"), [("", C.UNAUTHENTICATED, "NO_TOKEN"), ("the stage fails", C.INTERNAL, "")]
)
async def test_a_stage_that_refuses_or_fails_keeps_the_handler_from_running(
    serve: Serve, shape: str, identity: str, code: grpc.StatusCode, reason: str
) -> None:
    async with serve() as world:
        told = await world.ask(shape, "anything", identity=identity)
        assert (told.messages, told.code) == ([], code)
        assert SECRET not in str(told)
        record = await world.record()
        assert (record.outcome.code, record.outcome.reason, record.subject) == (code, reason, "")
        assert told.trailers[CORRELATION_ID_KEY] == record.call_id
        assert world.servicer.begun.locked()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("identity", "code", "reason"),
    [("alice", C.INVALID_ARGUMENT, "REQUEST_MALFORMED"), ("", C.UNAUTHENTICATED, "NO_TOKEN")],
)
async def test_malformed_bytes_are_parsed_only_for_callers_who_are_known(
    serve: Serve, shape: str, identity: str, code: grpc.StatusCode, reason: str
) -> None:
    async with serve() as world:
        told = await ending(world.call_raw(shape, b"\xff\xff\xff", identity=identity))
        assert (told.code, reason_of(told).reason) == (code, reason)
        outcome = (await world.record()).outcome
        assert (outcome.code, outcome.reason) == (code, reason)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", ["/probe.v1.ProbeService/Nope", "/x", "/nobody.v1.Service/Unary"])
async def test_unknown_methods_pass_the_chain(serve: Serve, shape: str, path: str) -> None:
    async with serve() as world:
        for identity, code in (("alice", C.UNIMPLEMENTED), ("", C.UNAUTHENTICATED)):
            told = await ending(world.call_raw(shape, b"x", path=path, identity=identity))
            assert told.code is code
            record = await world.record()
            assert (record.path, record.outcome.code) == (world.known_path(path), code)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_request_may_be_as_large_as_the_limit_and_no_larger(serve: Serve, shape: str) -> None:
    limit = 100
    async with serve(chain_options={"max_request_bytes": limit}) as world:
        overhead = pb.Ask(act="x").ByteSize() - 1
        assert (await world.ask(shape, "x" * (limit - overhead))).code is C.OK
        told = await world.ask(shape, "x" * (limit - overhead + 1))
        assert (told.code, told.details) == (C.RESOURCE_EXHAUSTED, "a request may have 100 bytes")
        assert reason_of(told).reason == "REQUEST_TOO_LARGE"
        records = await world.settled(2)
        assert [record.outcome.code for record in records] == [C.OK, C.RESOURCE_EXHAUSTED]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_response_may_be_as_large_as_the_limit_and_no_larger(serve: Serve, shape: str) -> None:
    limit = 100
    async with serve(chain_options={"max_response_bytes": limit}) as world:
        overhead = pb.Answer(text="x").ByteSize() - 1
        assert (await world.ask(shape, "x" * (limit - overhead))).code is C.OK
        told = await world.ask(shape, "x" * (limit - overhead + 1))
        assert (told.messages, told.code) == ([], C.RESOURCE_EXHAUSTED)
        assert reason_of(told).reason == "RESPONSE_TOO_LARGE"
        await world.settled(2)


@pytest.mark.parametrize("shape", STREAMS_IN)
async def test_a_stream_may_be_half_closed_without_a_message(serve: Serve, shape: str) -> None:
    async with serve() as world:
        assert (await ending(world.call(shape))).code is C.OK
        assert (await world.record()).outcome.code is C.OK


def headers_alone(world: World, shape: str, *, closes: bool, identity: str = "alice") -> Any:
    """Call a method of one request as a stream, to withhold its message."""
    metadata = (("authorization", identity),) if identity else ()
    stream: Any = world.channel.stream_unary(path_of(shape))
    return stream([], metadata=metadata) if closes else stream(metadata=metadata)


@pytest.mark.parametrize("shape", UNARY_IN)
@pytest.mark.parametrize("closes", [True, False], ids=["closed", "open"])
async def test_headers_without_a_message_are_answered_in_time(serve: Serve, shape: str, *, closes: bool) -> None:
    expected = (C.INVALID_ARGUMENT, "REQUEST_MISSING") if closes else (C.DEADLINE_EXCEEDED, "REQUEST_TIMEOUT")
    async with serve(chain_options={"request_timeout_seconds": 0.1}) as world:
        call = headers_alone(world, shape, closes=closes)
        outcome = (await world.record()).outcome
        assert (outcome.code, outcome.reason) == expected
        assert await call.code() is expected[0]
        assert world.servicer.begun.locked()


@pytest.mark.parametrize("shape", UNARY_IN)
async def test_headers_without_a_message_and_without_identity_are_refused_at_once(serve: Serve, shape: str) -> None:
    async with serve(chain_options={"request_timeout_seconds": 60}) as world:
        call = headers_alone(world, shape, closes=False, identity="")
        async with asyncio.timeout(5):
            assert await call.code() is C.UNAUTHENTICATED
        assert (await world.record()).outcome.reason == "NO_TOKEN"
