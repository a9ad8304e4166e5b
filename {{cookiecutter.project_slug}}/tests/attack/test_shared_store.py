"""Whoever can write to the shared store cannot end the service by it, and cannot let in who was kept out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from secure_rpc.identity import shared_revocations
from secure_rpc.identity.deny_list import Revocation
from secure_rpc.identity.shared_revocations import SharedRevocations, share
from secure_rpc.platform import Application
from secure_rpc.state.connection import State
from secure_rpc.state.redis import Store
from secure_rpc.state.versioned_hash import VersionedHash

from support.clocks import until
from support.stores import RealStore, real_store
from support.target import ISSUER, Target, run_target

KEY = "{probe}:revocations"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_revocations, "POLL_SECONDS", 0.05)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RealStore]:
    async with real_store(tmp_path / "store") as running:
        yield running


async def code_of(target: Target, who: str) -> grpc.StatusCode:
    token = target.service.token_of("alice", sub=who)
    return (await target.ask("Unary", authorization=f"Bearer {token}")).code


async def test_hostile_values_in_the_store_are_refused_and_told_and_the_others_count(
    application: Application, tmp_path: Path, store: RealStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_target(application, tmp_path, {"state": {"redis_url": store.url}}) as target:
        connection = Store(State(redis_url=store.url, timeout_seconds=3), "probe")
        items = VersionedHash(connection, "revocations")

        async def plant(*commands: tuple[str | bytes, ...]) -> None:
            async def run(client: object) -> None:
                for command in commands:
                    await client.execute_command(*command)  # type: ignore[attr-defined]

            await connection.run(run)

        shared = target.service.server.platform._trust.shared
        assert isinstance(shared, SharedRevocations)
        await share(items, Revocation(subject="thief", issuer=ISSUER))
        await until(lambda: len(shared) == 1)
        await plant(
            ("HSET", KEY, "\x1b[2J\nforged log line", b"\x00" * 10_000),
            ("HSET", KEY, "[]", b'{"revoked": {"subject": "alice", "issuer": "' + ISSUER.encode() + b'"}}'),
            ("SET", KEY + ":version", "x" * 100_000),
        )
        await until(lambda: target.service.metric("secure_rpc_revocations_malformed", list="shared") == 2)
        assert "\x1b" not in caplog.text
        assert "malformed" in caplog.text
        assert await code_of(target, "alice") is grpc.StatusCode.OK
        assert await code_of(target, "thief") is grpc.StatusCode.UNAUTHENTICATED
        await plant(("DEL", KEY, KEY + ":version"), ("LPUSH", KEY, "no hash"))
        await until(lambda: target.service.metric("secure_rpc_revocation_reloads_total", result="refused") >= 2)
        assert await code_of(target, "thief") is grpc.StatusCode.UNAUTHENTICATED
        assert await code_of(target, "alice") is grpc.StatusCode.OK
        await connection.close()


async def test_a_store_that_talks_nonsense_is_no_store(application: Application, tmp_path: Path) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"*99999999\r\n$-7\r\n%2\r\n:x\r\n" * 10)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    overrides = {"state": {"redis_url": url}, "revocation": {"refuse_when_shared_stale": False}}
    async with run_target(application, tmp_path, overrides) as target:
        await until(lambda: target.service.metric("secure_rpc_store_failures_total", store="redis") >= 2)
        assert await target.is_served()
    server.close()
