"""The stage of sessions on a clock that a test moves, and a store that a test takes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeAlias

from secure_rpc import errors
from secure_rpc.call import Call, Method, Peer, Principal
from secure_rpc.live import LiveStreams
from secure_rpc.stages.session import Session
from secure_rpc.stages.sessions import Sessions
from secure_rpc.state.sessions import Extension, SessionRecord, SessionSettings

from support.clocks import Clock

MakeMethod: TypeAlias = Callable[..., Method]
MakeCall: TypeAlias = Callable[..., Call]


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
        self.make_call = call
        middleware = self.stage.bind(method)
        assert middleware is not None
        self._middleware = middleware

    @asynccontextmanager
    async def stream(self, principal: Principal | None = ALICE) -> AsyncIterator[Call]:
        """Have a stream whose handler waits."""
        call = self.make_call(principal)
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


def ends_at(seconds: float, **differs: Any) -> Extension:
    """Return what a refresh of alice's brings that ends then."""
    principal = replace(ALICE, expires_at_seconds=seconds, **differs)
    return Extension(principal, Peer("", {"x509_pem_cert": [b"new"]}), seconds)


def session_of(call: Call) -> Session:
    """Return the session of a call that has one."""
    assert isinstance(call.session, Session)
    return call.session
