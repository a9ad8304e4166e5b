"""What one replica holds, each of them extends; a store that is away, hangs or forgets ends no stream too late."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.platform import Application
from secure_rpc.testing.service import merged

from support.clocks import until
from support.delays import delayed
from support.sessions import NO_LEEWAY, PATIENCE_SECONDS, SOON_SECONDS, Stream, refresh, said, token
from support.stores import RealStore, real_store
from support.target import Target, run_target

TIMES = int(os.environ.get("SESSION_REFRESHES", "25"))
ENDED = ("UNAUTHENTICATED", "TOKEN_EXPIRED")
NOT_FOUND = ("NOT_FOUND", "SESSION_NOT_FOUND")
UNAVAILABLE = ("UNAVAILABLE", "SESSION_STORE_UNAVAILABLE")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RealStore]:
    async with real_store(tmp_path / "store") as running:
        yield running


@asynccontextmanager
async def replicas(
    application: Application, folder: Path, store: RealStore, **settings: Any
) -> AsyncIterator[list[Target]]:
    """Run two servers with the same CA and the same issuer of tokens."""
    overrides = merged({**NO_LEEWAY, "state": {"redis_url": store.url}}, settings)
    async with AsyncExitStack() as stack:
        targets: list[Target] = []
        for number in range(2):
            own = folder / str(number)
            own.mkdir()
            if targets:
                same = targets[0].service.files.folder
                shutil.copytree(same, own / "dev", ignore=shutil.ignore_patterns("client-*"))
            targets.append(await stack.enter_async_context(run_target(application, own, overrides)))
        yield targets


@asynccontextmanager
async def round_robin(targets: list[Target]) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel whose calls go to one replica after the other."""
    leaf = targets[0].leaf()
    ca_pem = targets[0].service.authority.certificate_pem
    credentials = grpc.ssl_channel_credentials(ca_pem, leaf.key_pem, leaf.certificate_pem)
    addresses = ",".join(target.service.target for target in targets)
    options = [("grpc.lb_policy_name", "round_robin"), ("grpc.ssl_target_name_override", "localhost")]
    async with grpc.aio.secure_channel(f"ipv4:{addresses}", credentials, options) as channel:
        yield channel


def extended(target: Target) -> float:
    return target.service.metric("secure_rpc_session_refreshes_total", result="extended")


async def test_a_stream_on_one_replica_is_extended_through_any_every_time(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    limits = {"limits": {"max_concurrent_streams": 2 * TIMES}}
    async with replicas(application, tmp_path, store, **limits) as targets, round_robin(targets) as channel:
        here, there = targets
        soon = SOON_SECONDS + TIMES / 25
        streams = await asyncio.gather(*(Stream(here, token(here, soon)).begin() for _ in range(TIMES)))
        later = token(here, 4 * soon)
        for stream in streams:
            assert said(await refresh(here, stream.id, later, channel)) == ("OK", "")
        assert extended(here) + extended(there) == TIMES
        assert extended(there) >= TIMES // 2 - 1
        await until(lambda: time.time() > max(stream.expires_at for stream in streams), 2 * PATIENCE_SECONDS)
        for stream in streams:
            assert await stream.answers()
        assert here.service.metric("secure_rpc_streams_ended_total", reason="expired") == 0
        for stream in streams:
            await stream.close()


async def test_an_extension_ends_too_and_can_be_followed_by_another(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    async with replicas(application, tmp_path, store) as [here, there]:
        stream = await Stream(here, token(here, SOON_SECONDS)).begin()
        first = token(there, 2 * SOON_SECONDS)
        answer = await refresh(there, stream.id, first)
        until_first = answer.messages[0].expires_at.seconds
        assert until_first > stream.expires_at
        again = await refresh(there, stream.id, first)
        assert (said(again), again.messages[0].expires_at.seconds) == (("OK", ""), until_first)
        await until(lambda: time.time() > stream.expires_at, PATIENCE_SECONDS)
        assert await stream.answers()
        second = await refresh(here, stream.id, token(here, 2 * SOON_SECONDS))
        third = await refresh(there, stream.id, token(here, 2 * SOON_SECONDS + 1))
        assert until_first < second.messages[0].expires_at.seconds <= third.messages[0].expires_at.seconds
        await until(lambda: time.time() > second.messages[0].expires_at.seconds, PATIENCE_SECONDS)
        assert await stream.end() == ENDED
        assert time.time() >= third.messages[0].expires_at.seconds


async def test_another_replica_tells_others_nothing_and_judges_by_the_policy(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    async with replicas(application, tmp_path, store) as [here, there]:
        stream = await Stream(here, token(here, 600)).begin()
        for caller in ("bob", "mallory"):
            assert said(await refresh(there, stream.id, token(there, 900, caller))) == NOT_FOUND
        assert said(await refresh(there, "A" * 22, token(there, 900))) == NOT_FOUND
        async with there.bare_channel(there.leaf("other")) as channel:
            assert said(await refresh(there, stream.id, token(there, 900), channel)) == NOT_FOUND
        denied = await refresh(there, stream.id, token(there, 900, groups=[]))
        assert said(denied) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
        assert said(await refresh(there, stream.id, token(there, 900))) == ("OK", "")
        await stream.close()
        sessions = here.service.server.platform.sessions
        await until(lambda: not sessions._live)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while said(await refresh(there, stream.id, token(there, 900))) != NOT_FOUND:
                pass


async def test_what_another_replica_was_shown_is_what_the_stream_is_judged_by(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    async with replicas(application, tmp_path, store) as [here, there]:
        stream = await Stream(here, token(here, SOON_SECONDS)).begin()
        new = token(there, 600, jti="new", groups=["callers", "auditors"], tenant=["globex"])
        assert said(await refresh(there, stream.id, new)) == ("OK", "")
        [live] = here.service.server.platform.live._calls
        await until(lambda: live.principal is not None and "auditors" in live.principal.groups, PATIENCE_SECONDS)
        principal = live.principal
        assert principal is not None
        assert (principal.subject, principal.tenants) == ("alice", frozenset({"globex"}))
        assert principal.claims["jti"] == "new"
        assert await here.service.server.platform.live.review() == 0
        assert await stream.answers()


@contextmanager
def killed(store: RealStore) -> Iterator[None]:
    store.kill()
    yield


@pytest.mark.parametrize("away", ["killed", "halted"])
@pytest.mark.parametrize("ends", [True, False], ids=["closed", "open"])
async def test_a_store_that_is_away_at_the_end_ends_the_stream_or_not_as_the_setting_says(
    application: Application, tmp_path: Path, store: RealStore, away: str, *, ends: bool
) -> None:
    settings = {"sessions": {"end_when_store_away": ends}}
    async with replicas(application, tmp_path, store, **settings) as [here, there]:
        stream = await Stream(here, token(here, SOON_SECONDS)).begin()
        assert said(await refresh(there, stream.id, token(there, 600))) == ("OK", "")
        with store.halted() if away == "halted" else killed(store):
            assert said(await refresh(there, stream.id, token(there, 900))) == UNAVAILABLE
            assert said(await refresh(there, "A" * 22, token(there, 900))) == UNAVAILABLE
            if ends:
                assert await stream.end() == ENDED
                assert time.time() >= stream.expires_at
                return
            await until(lambda: time.time() > stream.expires_at + 1, PATIENCE_SECONDS)
            assert await stream.answers()
            assert (await refresh(here, stream.id, token(here, 900))).code is grpc.StatusCode.OK  # the holder's own


async def test_a_slow_store_extends_all_the_same_and_ends_no_stream_too_late(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    async with delayed(store.port, 0.1) as port:
        settings = {"state": {"redis_url": f"redis://127.0.0.1:{port}", "timeout_seconds": 2}}
        async with replicas(application, tmp_path, store, **settings) as [here, there]:
            kept = await Stream(here, token(here, SOON_SECONDS)).begin()
            left = await Stream(here, token(here, SOON_SECONDS)).begin()
            assert said(await refresh(there, kept.id, token(there, 600))) == ("OK", "")
            assert await left.end() == ENDED
            await until(lambda: time.time() > kept.expires_at, PATIENCE_SECONDS)
            assert await kept.answers()
            await kept.close()


async def test_a_store_that_comes_back_empty_is_told_again_of_all_streams(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    async with replicas(application, tmp_path, store) as [here, there]:
        first = await Stream(here, token(here, 600)).begin()
        assert said(await refresh(there, first.id, token(there, 700))) == ("OK", "")
        store.kill()
        for file in (tmp_path / "store").iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        second = await Stream(here, token(here, 600)).begin()  # whose writing fails
        await until(lambda: here.service.metric("secure_rpc_store_failures_total", store="redis"))
        store.start()
        await store.answers()
        for stream in (first, second):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while said(await refresh(there, stream.id, token(there, 900))) != ("OK", ""):
                    pass
