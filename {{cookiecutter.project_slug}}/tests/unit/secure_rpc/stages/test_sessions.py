"""A session on a clock that a test moves: when it is announced, how long it lasts, and when it is cut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secure_rpc import errors
from secure_rpc.call import Principal

from support.session_stage import ALICE, ENDS, START, MakeCall, MakeMethod, World, ends_at, session_of


@pytest.fixture
def world(method: MakeMethod, call: MakeCall) -> World:
    return World(method(), call)


def test_a_unary_method_and_one_that_does_not_exist_need_no_session(world: World, method: MakeMethod) -> None:
    assert world.stage.bind(replace(method(), request_streaming=False, response_streaming=False)) is None
    assert world.stage.bind(replace(method(), path="")) is None
    assert world.stage.bind(replace(method(), response_streaming=False)) is not None
    assert world.stage.bind(replace(method(), request_streaming=False)) is not None


async def test_a_session_is_announced_when_its_time_has_come_or_with_the_first_message(world: World) -> None:
    async with world.stream() as silent, world.stream() as talking:
        await talking.send(b"one")
        session = session_of(talking)
        assert talking.context.announced == [("session-id", session.id), ("session-expires-at", str(int(ENDS)))]
        assert talking.context.sent == [b"one"]
        assert talking.gate is None  # nothing is in the way of further messages
        assert silent.context.announced == []
        await world.let_pass(0.1)
        assert dict(silent.context.announced)["session-id"] == session_of(silent).id
        assert session_of(silent).id != session.id
        await talking.send(b"two")
        assert talking.context.sent == [b"one", b"two"]


async def test_a_stream_is_cut_at_its_end_and_not_before(world: World) -> None:
    async with world.stream() as call:
        await world.let_pass(59.9)
        assert call.refusal is None
        await world.let_pass(0.1)
        assert isinstance(call.refusal, errors.Unauthenticated)
        assert call.refusal.reason == "TOKEN_EXPIRED"
        with pytest.raises(errors.Unauthenticated):
            await call.send(b"late")
        assert call.context.sent == []
    assert world.cuts == ["TOKEN_EXPIRED"]
    assert len(world.stage) == len(world.stage._live) == 0


async def test_a_stream_of_nobody_ends_with_the_certificate_and_has_no_id(world: World) -> None:
    async with world.stream(None) as call:
        await world.let_pass(1)
        assert call.context.announced == [("session-expires-at", str(int(ENDS - 30)))]
        await world.let_pass(29)
        assert call.refusal is not None


async def test_the_longest_that_the_settings_allow_is_told_apart_in_the_record(
    method: MakeMethod, call: MakeCall
) -> None:
    world = World(method(), call, max_seconds=20)
    async with world.stream() as stream:
        assert world.stage.take_up(session_of(stream), ends_at(ENDS + 100)) == START + 20
        await world.let_pass(20)
        assert stream.refusal is not None
        assert (stream.refusal.reason, stream.refusal.recorded_reason) == ("TOKEN_EXPIRED", "SESSION_TOO_LONG")


async def test_what_lasts_longer_is_taken_up_and_judged_and_what_does_not_is_not(world: World) -> None:
    judged: list[Principal | None] = []
    async with world.stream() as call:
        call.review_with(lambda: judged.append(call.principal))
        session = session_of(call)
        assert world.stage.take_up(session, ends_at(ENDS - 1)) == ENDS
        assert (call.principal, judged) == (ALICE, [])
        assert world.stage.take_up(session, ends_at(ENDS + 100)) == ENDS + 100
        assert judged == [call.principal]
        assert call.principal is not ALICE
        assert session.renewed_by is not None
        await world.let_pass(100)
        assert call.refusal is None
        await world.let_pass(60)
        assert call.refusal is not None


async def test_streams_are_looked_at_in_turn(world: World) -> None:
    looked: list[int] = []
    calls = []
    for number in range(5):
        call = world.make_call(ALICE)
        call.review_with(lambda number=number: looked.append(number))  # type: ignore[misc]
        world.live.add(call)
        calls.append(call)
    world.live.review_some(2)
    world.live.discard(calls[3])
    world.live.review_some(2)
    world.live.review_some(2)
    assert looked == [0, 1, 2, 4, 0, 1]
