"""A unary call ends in time, whatever its client and its handler think of that; streams are let alone."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import grpc
import pytest

from secure_rpc import errors
from secure_rpc.call import current_call
from secure_rpc.deadlines import Deadlines
from secure_rpc.method import Method, Patience

from probe.v1 import probe_pb2 as pb
from support.probe import Servicer
from support.world import ALICE, Serve, World, ending

C = grpc.StatusCode
NEVER: Any = None  # what a client says that sets no deadline
ENDED = (C.DEADLINE_EXCEEDED, "DEADLINE_LIMIT")


class Waiting(Servicer):
    """Waits as long as it is let, and notes how long it was told that it had."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[Any, Any]] = []

    async def Unary(self, request: pb.Ask, context: Any) -> pb.Answer:
        self.told.append((current_call().time_remaining(), context.time_remaining()))
        try:
            await asyncio.sleep(float(request.act or 60))
        finally:
            if request.name == "breaks":
                raise ValueError("while it was cleaned up")
        return pb.Answer(text="done")

    async def ServerStream(self, request: pb.Ask, context: Any) -> Any:
        yield await self.Unary(request, context)


class Deaf(Servicer):
    """Takes no end for an end."""

    async def Unary(self, _request: pb.Ask, _context: Any) -> pb.Answer:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return pb.Answer(text="too late")


def world_with(serve: Serve, *deadlines: float, servicer: Servicer | None = None) -> World:
    return serve(servicer=servicer or Waiting(), chain_options={"deadlines": Deadlines(*deadlines)})


@pytest.mark.parametrize(
    ("deadlines", "timeout_seconds", "limit"),
    [
        ((0.1, 0), NEVER, 0.1),
        ((0.1, 60), NEVER, 0.1),
        ((0, 0.1), NEVER, 0.1),
        ((60, 0.1), NEVER, 0.1),  # the settings refuse these two together
        ((0, 0.1), 60, 0.1),
        ((0.05, 0.1), 60, 0.1),
    ],
)
async def test_a_call_that_takes_too_long_is_ended_and_recorded_as_that(
    serve: Serve, deadlines: tuple[float, float], timeout_seconds: float, limit: float
) -> None:
    async with world_with(serve, *deadlines) as world:
        began = time.monotonic()
        told = await ending(world.call("Unary", pb.Ask(), timeout_seconds=timeout_seconds))
        assert (told.code, told.details) == (C.DEADLINE_EXCEEDED, f"the server gives this call {limit} seconds")
        assert limit <= time.monotonic() - began < limit + 5
        outcome = (await world.record()).outcome
        assert (outcome.code, outcome.reason) == ENDED


@pytest.mark.parametrize("deadlines", [(0, 0), (60, 60), (0.1, 60)])
async def test_a_client_that_sets_an_earlier_deadline_has_it(serve: Serve, deadlines: tuple[float, float]) -> None:
    async with world_with(serve, *deadlines) as world:
        call = world.call("Unary", pb.Ask(), timeout_seconds=0.6)
        assert await call.code() is C.DEADLINE_EXCEEDED
        outcome = (await world.record()).outcome
        assert (outcome.code, outcome.reason) == (C.DEADLINE_EXCEEDED, "")


async def test_a_call_that_is_done_in_time_is_answered(serve: Serve) -> None:
    async with world_with(serve, 60, 60) as world:
        for timeout_seconds in (NEVER, 30, 90):
            told = await ending(world.call("Unary", pb.Ask(act="0"), timeout_seconds=timeout_seconds))
            assert (told.code, told.messages) == (C.OK, ["done"])
        await world.settled(3)


async def test_the_handler_is_told_the_time_that_it_really_has(serve: Serve) -> None:
    servicer = Waiting()
    async with world_with(serve, 20, 40, servicer=servicer) as world:
        for timeout_seconds in (NEVER, 30, 90):
            await world.call("Unary", pb.Ask(act="0"), timeout_seconds=timeout_seconds)
        await world.settled(3)
    for told, expected in zip(servicer.told, (20, 30, 40), strict=True):
        assert told == (pytest.approx(expected, abs=2), pytest.approx(expected, abs=2))


@pytest.mark.parametrize("servicer", [Deaf, Waiting])
async def test_what_a_handler_does_about_its_end_changes_nothing(serve: Serve, servicer: type[Servicer]) -> None:
    async with world_with(serve, 0.1, servicer=servicer()) as world:
        told = await ending(world.call("Unary", pb.Ask(name="breaks"), timeout_seconds=NEVER))
        assert (told.code, told.messages) == (C.DEADLINE_EXCEEDED, [])
        outcome = (await world.record()).outcome
        assert (outcome.code, outcome.reason) == ENDED


async def test_a_handler_that_gave_the_loop_no_turn_is_late_all_the_same(serve: Serve) -> None:
    """Nobody could tell it to stop; what it answers is not for a caller who has stopped to wait."""

    class Busy(Servicer):
        async def Unary(self, request: pb.Ask, _context: Any) -> pb.Answer:
            time.sleep(0.2)  # noqa: ASYNC251  # the fault that is shown
            if request.name == "breaks":
                raise errors.NotFound("late")
            return pb.Answer(text="too late")

    async with world_with(serve, 0.1, servicer=Busy()) as world:
        for name in ("", "breaks"):
            told = await ending(world.call("Unary", pb.Ask(name=name), timeout_seconds=NEVER))
            assert (told.code, told.messages) == (C.DEADLINE_EXCEEDED, [])
            outcome = (await world.record()).outcome
            assert (outcome.code, outcome.reason) == ENDED


async def test_each_call_has_all_of_its_time_however_they_overlap(serve: Serve) -> None:
    async with world_with(serve, 0.3) as world:

        async def took(pause_seconds: float, act: str) -> tuple[grpc.StatusCode, float]:
            await asyncio.sleep(pause_seconds)
            began = time.monotonic()
            told = await ending(world.call("Unary", pb.Ask(act=act), timeout_seconds=NEVER))
            return told.code, time.monotonic() - began

        found = await asyncio.gather(took(0, "60"), took(0.05, "0"), took(0.15, "60"), took(0.2, "60"))
        assert [code for code, _ in found] == [C.DEADLINE_EXCEEDED, C.OK, C.DEADLINE_EXCEEDED, C.DEADLINE_EXCEEDED]
        assert all(seconds >= 0.3 for code, seconds in found if code is not C.OK)
        await world.settled(4)


async def test_a_client_that_gives_up_before_is_recorded_as_that(serve: Serve) -> None:
    async with world_with(serve, 60) as world:
        call = world.call("Unary", pb.Ask(), timeout_seconds=NEVER)
        await asyncio.sleep(0.1)
        call.cancel()
        assert (await world.record()).outcome.code is C.CANCELLED


async def test_a_stream_takes_as_long_as_it_takes(serve: Serve) -> None:
    async with world_with(serve, 0.05, 0.05) as world:
        told = await ending(world.call("ServerStream", pb.Ask(act="0.2"), timeout_seconds=NEVER))
        assert (told.code, told.messages) == (C.OK, ["done"])
        await world.settled(1)


async def test_headers_without_a_message_are_held_to_the_deadline_too(serve: Serve) -> None:
    async with world_with(serve, 0.1) as world:
        call: Any = world.channel.stream_unary("/probe.v1.ProbeService/Unary")
        assert await call(metadata=(("authorization", ALICE),)).code() is C.DEADLINE_EXCEEDED
        outcome = (await world.record()).outcome
        assert (outcome.code, outcome.reason) == ENDED


def test_methods_that_no_deadline_holds_for_pay_nothing() -> None:
    unary = Method("/a.B/C", Patience(1), request_streaming=False, response_streaming=False)
    assert Deadlines().limits(unary) is None
    assert Deadlines(1, 1).limits(unary) is not None
    for request, response in ((True, False), (False, True), (True, True)):
        stream = Method("/a.B/C", Patience(1), request_streaming=request, response_streaming=response)
        assert Deadlines(1, 1).limits(stream) is None
