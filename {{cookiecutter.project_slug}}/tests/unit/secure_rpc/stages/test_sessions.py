"""A session on a clock that a test moves, and a store that a test takes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from secure_rpc import errors
from secure_rpc.call import Call, Method, Peer, Principal
from secure_rpc.configuration import ConfigurationError
from secure_rpc.live import LiveStreams
from secure_rpc.stages import session_sharing
from secure_rpc.stages.session import Session
from secure_rpc.stages.sessions import ASK_AGAIN_SECONDS, Sessions
from secure_rpc.state.sessions import Extension, Owner, SessionRecord, SessionSettings

from support.clocks import Clock, until

MakeMethod = Callable[..., Method]
MakeCall = Callable[..., Call]

START = 1_780_000_000.0
ENDS = START + 60
ALICE = Principal("spiffe://example.org/web", "https://issuer.example.org", "alice", expires_at_seconds=ENDS)


class SharedStore:
    """A store in memory, which a test can take away or hold up."""

    def __init__(self) -> None:
        self.records: dict[str, SessionRecord] = {}
        self.given: dict[str, Extension] = {}
        self.is_away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def _come(self) -> None:
        self.asked += 1
        await self.answers.wait()
        if self.is_away:
            raise ConnectionError

    async def put(self, sessions: Sequence[tuple[str, SessionRecord]]) -> None:
        await self._come()
        self.records.update(sessions)

    async def remove(self, ids: Sequence[str]) -> None:
        await self._come()
        for each in ids:
            self.records.pop(each, None)

    async def read(self, session_id: str) -> SessionRecord | None:
        await self._come()
        return self.records.get(session_id)

    async def extend(self, session_id: str, extension: Extension) -> float | None:
        await self._come()
        self.given[session_id] = extension
        return extension.expires_at_seconds

    async def extensions(self, ids: Sequence[str]) -> list[Extension | None]:
        await self._come()
        return [self.given.get(each) for each in ids]


class Wire:
    """What gRPC does for a call: here, it notes what is sent."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, str]] = []
        self.sent: list[bytes] = []

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        assert not self.announced, "initial metadata can be sent once"
        self.announced = list(metadata)

    def peer(self) -> str:
        return "ipv4:10.0.0.1:40000"

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    async def write(self, message: bytes) -> None:
        self.sent.append(message)


class World:
    """The stage of one server."""

    def __init__(self, method: Method, call: MakeCall, store: SharedStore | None = None, **settings: Any) -> None:
        self.clock = Clock(START)
        self.live = LiveStreams(lambda error: self.cuts.append(error.recorded_reason))
        self.cuts: list[str] = []
        self.stage = Sessions(
            SessionSettings(**settings), self.live, lambda _peer: ENDS - 30, store=store, clock=self.clock
        )
        self.method = method
        self._make_call = call
        middleware = self.stage.bind(method)
        assert middleware is not None
        self._middleware = middleware

    @asynccontextmanager
    async def stream(self, principal: Principal | None = ALICE) -> AsyncIterator[Call]:
        """Have a stream whose handler waits."""
        call = self._make_call(principal)
        call.context = Wire()
        begun = asyncio.Event()

        async def proceed(call: Call) -> None:
            call.enter_handler()
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not call.settle():
                    raise
                assert call.refusal is not None
                raise call.refusal from None

        task = asyncio.ensure_future(self._middleware(call, proceed))
        async with asyncio.timeout(5):
            await begun.wait()
        try:
            yield call
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, errors.StatusError):
                await task

    async def let_pass(self, seconds: float) -> None:
        """Let time pass, and what is due be done."""
        self.clock.pass_(seconds)
        self.stage.announcements.run()
        self.stage.ends.run()
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def world(method: MakeMethod, call: MakeCall) -> World:
    return World(method(), call)


def ends_at(seconds: float, **differs: Any) -> Extension:
    principal = replace(ALICE, expires_at_seconds=seconds, **differs)
    return Extension(principal, Peer("", {"x509_pem_cert": [b"new"]}), seconds)


def session_of(call: Call) -> Session:
    assert isinstance(call.session, Session)
    return call.session


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


async def test_streams_are_looked_at_in_turn(world: World) -> None:
    looked: list[int] = []
    calls = []
    for number in range(5):
        call = world._make_call(ALICE)
        call.review_with(lambda number=number: looked.append(number))  # type: ignore[misc]
        world.live.add(call)
        calls.append(call)
    world.live.review_some(2)
    world.live.discard(calls[3])
    world.live.review_some(2)
    world.live.review_some(2)
    assert looked == [0, 1, 2, 4, 0, 1]
