"""Calls that are ended from outside: by their caller, a deadline, a lost connection, a cut session, a stop."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.errors import STATUS_DETAILS_KEY
from secure_rpc.live import LiveStreams

from probe.v1 import probe_pb2 as pb
from support.probe import FLOOD, SHAPES, STREAMS_IN, STREAMS_OUT
from support.stages import Around
from support.world import TIMEOUT_SECONDS, Serve, World, ending

C = grpc.StatusCode
DEADLINE_SECONDS = 0.6  # on a busy machine the handler has begun by then
GENERATORS = ("ServerStream", "Bidi")
SWALLOW = "sleep_and_swallow_the_cancellation"
OUTCOMES = {
    "cancel": C.CANCELLED,
    "deadline": C.DEADLINE_EXCEEDED,
    "disconnect": C.CANCELLED,
    "stop": C.CANCELLED,
    "stop with grace": C.CANCELLED,
    "cut": C.UNAUTHENTICATED,
}


async def end(world: World, call: grpc.aio.Call, how: str) -> None:
    """End a call from outside; its deadline comes by itself."""
    match how:
        case "cancel":
            call.cancel()
        case "disconnect":
            await world.channel.close()
        case "stop":
            await world.server.stop(None)
        case "stop with grace":
            await world.server.stop(0.05)
        case "cut":
            world.sessions.cut()


def timeout_for(how: str) -> float:
    return DEADLINE_SECONDS if how == "deadline" else TIMEOUT_SECONDS


class Reviewed:
    """Notes the calls that last, and has them reviewed by what a test says."""

    def __init__(self, live: LiveStreams) -> None:
        self.live = live
        self.verdict: BaseException | None = None

    def bind(self, _method: Method) -> Middleware:
        async def look(call: Call, proceed: Proceed) -> None:
            call.review_with(self._review)
            await proceed(call)

        return look

    def _review(self) -> None:
        if self.verdict is not None:
            raise self.verdict


STREAMS = tuple(shape for shape in SHAPES if shape in STREAMS_IN or shape in STREAMS_OUT)


@pytest.mark.parametrize("shape", STREAMS)
@pytest.mark.parametrize("act", ["sleep", SWALLOW])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_stream_that_is_reviewed_goes_on_or_ends_by_what_the_review_says(
    serve: Serve, shape: str, act: str, *, fails: bool
) -> None:
    live = LiveStreams()
    reviewed = Reviewed(live)
    async with serve(outermost=[reviewed], chain_options={"live": live}) as world:
        call = world.call(shape, pb.Ask(act=act))
        await world.servicer.begun.acquire()
        assert (await live.review(), len(live)) == (0, 1)
        reviewed.verdict = RuntimeError("a secret") if fails else errors.PermissionDenied("not any more", reason="GONE")
        assert await live.review() == 1
        told, record = await ending(call), await world.record()
    code, details = (C.INTERNAL, "internal error") if fails else (C.PERMISSION_DENIED, "not any more")
    assert (told.code, told.details, record.outcome.code, len(live)) == (code, details, code, 0)


async def test_a_stream_that_was_ended_before_its_handler_began_never_reaches_it(serve: Serve) -> None:
    live = LiveStreams()

    async def cut(call: Call, proceed: Proceed) -> None:
        call.cut(errors.PermissionDenied("not any more"))
        await proceed(call)

    async with serve(between=[Around(cut)], chain_options={"live": live}) as world:
        told = await world.ask("Bidi", "anything")
        assert (told.code, (await world.record()).outcome.code) == (C.PERMISSION_DENIED, C.PERMISSION_DENIED)
        assert world.servicer.begun.locked()


@pytest.mark.parametrize("shape", ["ServerStream", "ServerStreamByWrite"])
async def test_a_stream_whose_client_does_not_read_is_ended_too(serve: Serve, shape: str) -> None:
    live = LiveStreams()
    reviewed = Reviewed(live)
    async with serve(outermost=[reviewed], chain_options={"live": live, "abort_timeout_seconds": 0.1}) as world:
        call = world.call(shape, pb.Ask(act=FLOOD))
        await asyncio.sleep(0.2)  # until the windows are full
        reviewed.verdict = errors.PermissionDenied("not any more")
        assert await live.review() == 1
        assert (await world.record()).outcome.code is C.PERMISSION_DENIED
        call.cancel()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", OUTCOMES)
@pytest.mark.parametrize("act", ["sleep", SWALLOW])
async def test_a_handler_at_work_is_ended(serve: Serve, shape: str, how: str, act: str) -> None:
    async with serve() as world:
        call = world.call(shape, pb.Ask(act=act), timeout_seconds=timeout_for(how))
        await world.servicer.begun.acquire()
        await end(world, call, how)
        outcome = (await world.record()).outcome
        worked_on = act == SWALLOW and shape == "Unary"  # the work was done, the reply was not delivered
        assert outcome.code is (C.OK if worked_on and how != "cut" else OUTCOMES[how])
        assert not world.sessions.live
        assert world.servicer.closed == [shape] * (shape in STREAMS_OUT)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_session_is_cut_while_the_handler_sleeps(serve: Serve, shape: str) -> None:
    async with serve() as world:
        call = world.call(shape, pb.Ask(act="sleep"))
        await world.servicer.begun.acquire()
        world.sessions.cut()
        told = await ending(call)
        assert told.code is C.UNAUTHENTICATED
        assert b"SESSION_ENDED" in told.trailers[STATUS_DETAILS_KEY]
        assert (await world.record()).outcome.reason == "SESSION_ENDED"


@pytest.mark.parametrize("shape", STREAMS_OUT)
@pytest.mark.parametrize("how", OUTCOMES)
async def test_a_stream_whose_client_never_reads_is_ended(serve: Serve, shape: str, how: str) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def note(call: Call, proceed: Proceed) -> None:
        tasks.append(asyncio.current_task())
        await proceed(call)

    async with serve(between=[Around(note)], chain_options={"abort_timeout_seconds": 0.1}) as world:
        call = world.call(shape, pb.Ask(act=FLOOD), timeout_seconds=timeout_for(how))
        await call.initial_metadata()
        await asyncio.sleep(0.1)  # until the wire is full
        assert world.audit.records.empty()
        await end(world, call, how)
        assert (await world.record()).outcome.code is OUTCOMES[how]
        assert world.servicer.closed == [shape]
        [task] = tasks
        assert task is not None
        await asyncio.wait([task], timeout=5)
        assert task.done(), "the status waits for a client that does not read"
        if how == "cut":
            assert (await ending(call)).code is C.UNAUTHENTICATED


@pytest.mark.parametrize("shape", STREAMS_IN)
@pytest.mark.parametrize("how", OUTCOMES)
async def test_a_stream_of_requests_that_never_come_is_ended(serve: Serve, shape: str, how: str) -> None:
    async with serve() as world:
        call = world.call(shape, open_=True, timeout_seconds=timeout_for(how))
        await world.sessions.begun.acquire()
        await end(world, call, how)
        assert (await world.record()).outcome.code is OUTCOMES[how]
        if how == "cut":
            assert await call.code() is C.UNAUTHENTICATED
        assert world.servicer.committed == []


@pytest.mark.parametrize("shape", ["ClientStream", "ClientStreamByRead"])
async def test_a_cancelled_upload_is_never_taken_for_a_finished_one(serve: Serve, shape: str) -> None:
    async with serve() as world:
        for _ in range(100):
            call = world.call(shape, open_=True)
            await call.write(pb.Ask(act="part"))
            await world.servicer.begun.acquire()
            call.cancel()
        records = await world.settled(100)
        assert world.servicer.committed == []
        assert {record.outcome.code for record in records} == {C.CANCELLED}
