"""What is revoked once holds on every replica; a store that is away, hangs or comes back changes nothing of that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from secure_rpc.identity import shared_revocations
from secure_rpc.identity.deny_list import Revocation
from secure_rpc.identity.shared_revocations import SharedRevocations, share, take_back
from secure_rpc.platform import Application
from secure_rpc.state.connection import State
from secure_rpc.state.redis import Store
from secure_rpc.state.versioned_hash import VersionedHash

from probe.v1 import probe_pb2 as pb
from support.clocks import until
from support.stores import RealStore, real_store
from support.target import ISSUER, Target, reason_of, run_target

ASK = pb.Ask(act="anything")
PATIENCE_SECONDS = 20
REFUSED = ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")


def revocation_of(subject: str) -> Revocation:
    return Revocation(subject=subject, issuer=ISSUER)


def list_of(store: RealStore) -> tuple[Store, VersionedHash]:
    """Return the list as the operator's command opens it."""
    connection = Store(State(redis_url=store.url, timeout_seconds=3), "probe")
    return connection, VersionedHash(connection, "revocations")


async def revoke(store: RealStore, subject: str) -> None:
    connection, items = list_of(store)
    assert await share(items, revocation_of(subject))
    await connection.close()


def shared_of(target: Target) -> SharedRevocations:
    shared = target.service.server.platform._trust.shared
    assert shared is not None
    return shared


async def outcome(target: Target, who: str) -> tuple[str, str]:
    told = await target.ask("Unary", authorization=f"Bearer {target.service.token_of('alice', sub=who)}")
    return told.code.name, "" if told.code is grpc.StatusCode.OK else reason_of(told.trailers).reason


async def is_answered(stream: Any) -> bool:
    await stream.write(ASK)
    async with asyncio.timeout(PATIENCE_SECONDS):
        return bool((await stream.read()).text == ASK.act)


@asynccontextmanager
async def replicas(
    application: Application, folder: Path, store: RealStore, count: int, **state: Any
) -> AsyncIterator[list[Target]]:
    async with AsyncExitStack() as stack:
        targets = []
        for number in range(count):
            own = folder / str(number)
            own.mkdir()
            # quotas of each replica by itself: here it is about revocations alone, which no call waits for
            overrides = {"state": {"redis_url": store.url, **state}, "quota_scope": "worker"}
            targets.append(await stack.enter_async_context(run_target(application, own, overrides)))
        yield targets


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_revocations, "POLL_SECONDS", 0.05)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RealStore]:
    async with real_store(tmp_path / "store") as running:
        yield running


async def test_what_is_revoked_once_is_refused_by_two_replicas_and_its_streams_end_within_a_second(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    async with replicas(application, tmp_path, store, 2) as targets:
        streams = {}
        for number, target in enumerate(targets):
            for who in ("thief", "alice"):
                token = target.service.token_of("alice", sub=who)
                stream = target.call("Bidi", authorization=f"Bearer {token}", open_=True)
                assert await is_answered(stream)
                assert await outcome(target, who) == ("OK", "")
                streams[number, who] = stream
        began = time.monotonic()
        await revoke(store, "thief")
        for number, target in enumerate(targets):
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await streams[number, "thief"].code() is grpc.StatusCode.UNAUTHENTICATED
            assert await outcome(target, "thief") == REFUSED
        assert time.monotonic() - began < 5  # a second, on a machine that is not busy
        for number, target in enumerate(targets):
            assert await is_answered(streams[number, "alice"])
            assert await outcome(target, "alice") == ("OK", "")
            assert target.service.metric("secure_rpc_revocations", list="shared") == 1
            assert target.service.metric("secure_rpc_store_reachable", store="redis") == 1
        connection, items = list_of(store)
        assert await take_back(items, revocation_of("thief"))
        await connection.close()
        for target in targets:
            await until(lambda target=target: not len(shared_of(target)))  # type: ignore[misc]
            assert await outcome(target, "thief") == ("OK", "")


@pytest.mark.usefixtures("soon")
async def test_a_store_that_hangs_or_is_killed_makes_no_call_wait_and_lets_nobody_in_again(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    async with replicas(application, tmp_path, store, 1, required_for_readiness=True) as [target]:
        await revoke(store, "thief")
        await until(lambda: len(shared_of(target)) == 1)
        server, metric = target.service.server, target.service.metric
        assert server.unready_because() == []
        with store.halted():
            began, calls = time.monotonic(), 0
            while metric("secure_rpc_store_failures_total", store="redis") < 1:
                assert await outcome(target, "alice") == ("OK", "")
                calls += 1
            assert calls > (time.monotonic() - began) / 0.2  # no call waits for the store's timeout
            assert await outcome(target, "thief") == REFUSED
            assert server.unready_because() == ["the shared store cannot be reached"]
        await until(lambda: server.unready_because() == [])
        store.kill()
        await until(lambda: metric("secure_rpc_store_reachable", store="redis") == 0)
        assert await outcome(target, "thief") == REFUSED
        assert await outcome(target, "alice") == ("OK", "")
        store.start()
        await store.answers()
        await revoke(store, "mallory")
        await until(lambda: len(shared_of(target)) == 2)
        assert await outcome(target, "mallory") == REFUSED
        assert server.unready_because() == []


@pytest.mark.usefixtures("soon")
async def test_a_replica_that_cannot_know_what_is_revoked_refuses_all_until_it_does(
    application: Application, tmp_path: Path, store: RealStore
) -> None:
    store.kill()
    async with replicas(application, tmp_path, store, 1) as [target]:
        assert await outcome(target, "alice") == ("UNAVAILABLE", "REVOCATION_UNKNOWN")
        assert target.service.server.unready_because() == ["what the replicas have revoked is not known"]
        store.start()
        await store.answers()
        await until(lambda: target.service.server.unready_because() == [])
        assert await outcome(target, "alice") == ("OK", "")
        store.kill()
        shared = shared_of(target)
        token = target.service.token_of("alice")
        stream = target.call("Bidi", authorization=f"Bearer {token}", open_=True)
        assert await is_answered(stream)
        age = target.service.metric("secure_rpc_revocations_age_seconds", list="shared")
        await until(lambda: target.service.metric("secure_rpc_revocations_age_seconds", list="shared") > age)
        shared._max_staleness_seconds = 0.3
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert await outcome(target, "alice") == ("UNAVAILABLE", "REVOCATION_UNKNOWN")
        shared._refuse_when_stale = False  # as the setting's other value has it
        assert await outcome(target, "alice") == ("OK", "")


async def test_what_was_revoked_before_a_replica_starts_is_known_to_it_before_the_first_call(
    application: Application, tmp_path: Path, store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow_nothing(_shared: SharedRevocations, _on_change: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(SharedRevocations, "keep_fresh", follow_nothing)
    await revoke(store, "thief")
    async with replicas(application, tmp_path, store, 1) as [target]:
        assert await outcome(target, "thief") == REFUSED
        assert await outcome(target, "alice") == ("OK", "")
