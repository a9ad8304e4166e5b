"""Sessions that servers share by a store: extended elsewhere, made known, and what holds while the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from secure_rpc import errors
from secure_rpc.call import Call, enter
from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy.document import parse
from secure_rpc.sessions import SessionRefresh
from secure_rpc.stages import session_sharing
from secure_rpc.stages.sessions import ASK_AGAIN_SECONDS
from secure_rpc.state.sessions import Extension, Owner, SessionRecord
from secure_rpc.telemetry.session_metrics import SessionMetrics
from secure_rpc.v1 import session_pb2

from support.clocks import until
from support.policies import active
from support.session_stage import ALICE, ENDS, MakeCall, MakeMethod, SharedStore, World, ends_at, session_of


async def test_at_its_end_no_message_passes_until_the_store_has_answered(method: MakeMethod, call: MakeCall) -> None:
    store = SharedStore()
    world = World(method(), call, store)
    async with world.stream() as stream:
        await stream.send(b"before")
        await until(lambda: store.records)
        session = session_of(stream)
        assert store.records == {session.id: SessionRecord(Owner.of(ALICE), stream.method.path, ENDS, float("inf"))}
        store.given[session.id] = ends_at(ENDS + 100)
        store.answers.clear()
        await world.let_pass(60)
        sending = asyncio.ensure_future(stream.send(b"after"))
        await asyncio.sleep(0)
        assert stream.context.sent == [b"before"]
        store.answers.set()
        await sending
        assert stream.context.sent == [b"before", b"after"]
        assert stream.principal == store.given[session.id].principal
        await world.let_pass(100)
        assert stream.refusal is not None
    await until(lambda: not store.records)


def refresher(world: World) -> Callable[[str, Call], Awaitable[float]]:
    """Return what extends a session as a call of its own: until when it may go on."""
    policy = parse(Path("policy.yaml"), "{version: 1, roles: {}, bindings: []}")
    service = SessionRefresh(world.stage, active(policy), SessionMetrics(CollectorRegistry()), world.clock)

    async def refresh(session_id: str, caller: Call) -> float:
        enter(caller)
        answer = await service.Refresh(session_pb2.RefreshRequest(session_id=session_id), None)
        return answer.expires_at.seconds

    return lambda session_id, caller: asyncio.create_task(refresh(session_id, caller))


@pytest.mark.parametrize(
    "given",
    [None, ends_at(ENDS), ends_at(ENDS + 100, subject="mallory"), ends_at(ENDS + 100, workload="spiffe://x.org/y")],
    ids=["nothing", "no longer", "another subject", "another workload"],
)
async def test_what_the_store_holds_extends_nothing_that_is_not_its_owners(
    method: MakeMethod, call: MakeCall, given: Extension | None
) -> None:
    store = SharedStore()
    world = World(method(), call, store)
    async with world.stream() as stream:
        if given is not None:
            store.given[session_of(stream).id] = given
        await world.let_pass(60)
        assert stream.refusal is not None
        assert stream.principal is ALICE


@pytest.mark.parametrize("ends", [True, False])
async def test_a_store_that_is_away_ends_a_stream_or_is_asked_again(
    method: MakeMethod, call: MakeCall, *, ends: bool
) -> None:
    store = SharedStore()
    world = World(method(), call, store, end_when_store_away=ends)
    async with world.stream() as stream:
        store.is_away = True
        await world.let_pass(60)
        assert (stream.refusal is not None) is ends
        if not ends:
            await stream.send(b"goes on")
            store.is_away = False
            await world.let_pass(ASK_AGAIN_SECONDS)
            assert stream.refusal is not None


async def test_a_refresh_here_while_the_store_is_asked_counts(method: MakeMethod, call: MakeCall) -> None:
    store = SharedStore()
    world = World(method(), call, store)
    async with world.stream() as stream:
        store.answers.clear()
        await world.let_pass(60)
        world.stage.take_up(session_of(stream), ends_at(ENDS + 100))
        store.answers.set()
        await world.let_pass(0)
        assert stream.refusal is None
        await stream.send(b"goes on")


@pytest.mark.parametrize("ends", [True, False])
async def test_its_owner_who_extends_it_while_the_store_is_asked_learns_what_came_of_that(
    method: MakeMethod, call: MakeCall, *, ends: bool
) -> None:
    store = SharedStore()
    world = World(method(any_caller=True), call, store, end_when_store_away=ends)
    refresh = refresher(world)
    async with world.stream() as stream:
        store.is_away = True
        store.answers.clear()  # it hangs
        await world.let_pass(60)
        lasts = replace(ALICE, expires_at_seconds=ENDS + 100)
        asking = asyncio.ensure_future(refresh(session_of(stream).id, call(lasts)))
        with pytest.raises(errors.NotFound):  # who does not own it waits for nothing
            await refresh(session_of(stream).id, call(replace(lasts, subject="mallory")))
        assert not asking.done()
        store.answers.set()
        if ends:
            with pytest.raises(errors.Unavailable):  # another replica might hold it: the store is asked once more
                await asking
        else:
            assert await asking == ENDS + 100
        assert (stream.refusal is not None) is ends


async def test_who_extends_a_stream_that_ends_while_the_store_is_asked_does_not_wait_for_ever(
    method: MakeMethod, call: MakeCall
) -> None:
    store = SharedStore()
    world = World(method(any_caller=True), call, store)
    async with world.stream() as stream:
        store.answers.clear()
        await world.let_pass(60)
        lasts = replace(ALICE, expires_at_seconds=ENDS + 100)
        asking = asyncio.ensure_future(refresher(world)(session_of(stream).id, call(lasts)))
        await asyncio.sleep(0)
    store.answers.set()
    with pytest.raises(errors.NotFound):
        async with asyncio.timeout(5):
            await asking


async def test_sessions_are_made_known_many_at_once_and_again_after_the_store_was_away(
    method: MakeMethod, call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_sharing, "PAUSE_SECONDS", 0.01)
    store = SharedStore()
    world = World(method(), call, store)
    async with world.stream() as first, world.stream() as second, world.stream() as unseen:
        await world.let_pass(0.1)
        await until(lambda: len(store.records) == 3)
        assert store.asked == 1
        store.is_away = True
        world.stage.take_up(session_of(first), ends_at(ENDS + 100))
        await until(lambda: store.asked > 2)
        store.records.clear()
        store.is_away = False
        await until(lambda: len(store.records) == 3)
        assert store.records[session_of(first).id].expires_at_seconds == ENDS + 100
        assert {session_of(each).id for each in (first, second, unseen)} == set(store.records)
    await until(lambda: not store.records)


def test_workers_that_would_not_know_of_each_others_sessions_are_refused(method: MakeMethod, call: MakeCall) -> None:
    refused = r'"workers" is 2, and streams such as /things.v1.Things/Get .*"state".*"sessions: {refresh: false}"'
    with pytest.raises(ConfigurationError, match=refused):
        World(method(), call).stage.check(2)
    World(method(), call).stage.check(1)
    World(method(), call, SharedStore()).stage.check(2)
    World(method(), call, refresh=False).stage.check(2)
    World(method(public=True), call).stage.check(2)
