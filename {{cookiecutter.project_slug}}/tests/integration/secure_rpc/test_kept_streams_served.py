"""Clients' streams at the server itself: past their tokens, past their certificates, and no further than allowed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.client import connect
from secure_rpc.client_streams import KeptStream, Timing, kept_call
from secure_rpc.identity.deny_list import Revocation, revoke
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.clocks import until
from support.probe import Servicer
from support.sessions import NO_LEEWAY, PATIENCE_SECONDS, token
from support.target import ISSUER, Target, run_target

LIFETIME_SECONDS = 3  # of a token
AHEAD = 0.9  # early enough for a busy machine
NO_REFRESH = {**NO_LEEWAY, "sessions": {"refresh": False}}


class Counting(Servicer):
    """Streams the numbers up to the newest, after the one that is asked for as `count`, and waits for more."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = 0
        self.grown = asyncio.Event()

    def add(self) -> int:
        self.newest += 1
        grown, self.grown = self.grown, asyncio.Event()
        grown.set()
        return self.newest

    async def ServerStream(self, request: pb.Ask, context: Any) -> AsyncIterator[pb.Answer]:
        del context
        number = request.count
        while True:
            grown = self.grown
            while number < self.newest:
                number += 1
                yield pb.Answer(text=str(number))
            await grown.wait()


class Watching:
    """A target that counts, and a client that watches it with tokens that soon end."""

    def __init__(self, target: Target, counting: Counting, folder: Path) -> None:
        self.target = target
        self.counting = counting
        self.files = [folder / name for name in ("tls.crt", "tls.key", "ca.crt")]
        self.token_seconds = LIFETIME_SECONDS
        self.issued = 0
        self.renew_certificate("first")
        certificate, key, ca = self.files
        self.channel = connect(
            target.service.target,
            certificate_file=certificate,
            key_file=key,
            ca_file=ca,
            token=self.token,
            renewal_grace_seconds=0.1,
            poll_seconds=0.01,
        )
        self.stub: Any = probe_pb2_grpc.ProbeServiceStub(self.channel)
        self.stream = self.watch(Timing(ahead=AHEAD))

    def watch(self, timing: Timing) -> KeptStream[pb.Answer]:
        return KeptStream(
            self.channel,
            lambda cursor: self.stub.ServerStream(pb.Ask(count=cursor)),
            lambda answer: int(answer.text),
            timing=timing,
        )

    def token(self) -> str:
        self.issued += 1
        return token(self.target, self.token_seconds)

    def renew_certificate(self, name: str) -> None:
        leaf = self.target.leaf(name)
        leaf.write(*self.files[:2])
        self.files[2].write_bytes(self.target.service.authority.certificate_pem)

    async def sees(self, number: int) -> bool:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return int((await anext(self.stream)).text) == number

    async def sees_the_next(self) -> bool:
        return await self.sees(self.counting.add())

    async def called_more_than(self, calls: int) -> None:
        await until(lambda: self.target.calls > calls, PATIENCE_SECONDS)

    def metric(self, name: str, **labels: str) -> float:
        return self.target.service.metric(name, **labels)


@asynccontextmanager
async def run_watching(
    application: Application, folder: Path, overrides: Mapping[str, Any] = NO_LEEWAY
) -> AsyncIterator[Watching]:
    counting = Counting()
    async with run_target(application, folder, overrides, servicer=counting) as target:
        watching = Watching(target, counting, folder)
        async with watching.channel:
            yield watching


@pytest.fixture
async def watching(application: Application, tmp_path: Path) -> AsyncIterator[Watching]:
    async with run_watching(application, tmp_path) as running:
        yield running


async def test_one_call_outlives_several_tokens(watching: Watching) -> None:
    begun = time.time()
    async with watching.stream:
        while time.time() < begun + 2 * LIFETIME_SECONDS:
            assert await watching.sees_the_next()
        assert watching.metric("secure_rpc_sessions_live") == 1
    assert watching.metric("secure_rpc_session_refreshes_total", result="extended") >= 2
    assert watching.metric("secure_rpc_streams_ended_total", reason="expired") == 0
    assert watching.counting.newest == watching.stream.position.sequence > 2


async def test_where_sessions_cannot_be_extended_calls_follow_each_other(
    application: Application, tmp_path: Path
) -> None:
    async with run_watching(application, tmp_path, NO_REFRESH) as watching:
        begun = time.time()
        async with watching.stream:
            while time.time() < begun + 2 * LIFETIME_SECONDS:
                assert await watching.sees_the_next()
        assert watching.metric("secure_rpc_streams_ended_total", reason="expired") == 0
        assert watching.issued > 2


async def test_a_stream_whose_end_was_not_foreseen_goes_on_after_it(application: Application, tmp_path: Path) -> None:
    """As where the client's clock is slow: nothing is done ahead."""
    async with run_watching(application, tmp_path, NO_REFRESH) as watching:
        watching.stream = watching.watch(Timing(clock=lambda: time.time() - 1000))
        async with watching.stream:
            assert await watching.sees_the_next()
            waiting = asyncio.create_task(watching.sees(2))
            await until(lambda: watching.metric("secure_rpc_streams_ended_total", reason="expired"), PATIENCE_SECONDS)
            assert watching.counting.add() == 2
            assert await waiting


async def test_who_is_revoked_is_told_so_and_does_not_come_again(watching: Watching) -> None:
    watching.token_seconds = 600
    listed = watching.target.service.server.settings.revocation.deny_list_file
    assert listed is not None
    async with watching.stream:
        assert await watching.sees_the_next()
        calls = watching.target.calls
        assert revoke(listed, Revocation(subject="alice", issuer=ISSUER))
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(watching.stream)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert watching.target.calls == calls


async def test_nothing_is_lost_where_the_certificate_is_renewed_under_way(watching: Watching) -> None:
    """The grace is short, so that the calls of the old certificate are ended."""
    watching.token_seconds = 600
    async with watching.stream:
        assert await watching.sees_the_next()
        for number, name in ((2, "second"), (3, "third")):
            calls = watching.target.calls
            watching.renew_certificate(name)
            waiting = asyncio.create_task(watching.sees(number))
            await watching.called_more_than(calls)
            assert watching.counting.add() == number
            assert await waiting
    records = [r for r in await watching.target.service.audit_records() if r["method"].endswith("/ServerStream")]
    assert {record["code"] for record in records} == {"CANCELLED"}


# --- both ways -----------------------------------------------------------------------------------------------------


async def test_a_call_both_ways_outlives_its_token(watching: Watching) -> None:
    begun = time.time()
    call = watching.stub.Bidi()
    async with asyncio.timeout(PATIENCE_SECONDS), kept_call(watching.channel, call, timing=Timing(ahead=AHEAD)):
        while time.time() < begun + 1.5 * LIFETIME_SECONDS:
            await call.write(pb.Ask(act="anything"))
            assert (await call.read()).text == "anything"
    assert await call.code() is grpc.StatusCode.CANCELLED
    assert watching.metric("secure_rpc_session_refreshes_total", result="extended") >= 1


async def test_the_application_is_told_ahead_where_a_call_both_ways_will_end(
    application: Application, tmp_path: Path
) -> None:
    async with run_watching(application, tmp_path, NO_REFRESH) as watching:
        told: asyncio.Queue[float] = asyncio.Queue()
        call = watching.stub.Bidi()
        timing = Timing(ahead=AHEAD)
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            kept_call(watching.channel, call, on_ending=told.put, timing=timing) as same,
        ):
            assert same is call
            assert await told.get() > time.time()
            assert not call.done()


async def test_what_the_application_gets_wrong_when_it_is_told_is_raised(
    application: Application, tmp_path: Path
) -> None:
    async with run_watching(application, tmp_path, NO_REFRESH) as watching:
        told = asyncio.Event()

        async def fail(_expires_at_seconds: float) -> None:
            told.set()
            raise LookupError("no other call")

        with pytest.raises(LookupError, match="no other call"):
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                kept_call(watching.channel, watching.stub.Bidi(), on_ending=fail, timing=Timing(ahead=AHEAD)),
            ):
                await told.wait()
