"""A call that was captured is refused wherever it is made again: after a restart, and at another replica."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.platform import Application

from support.delays import delayed
from support.stores import RealStore, real_store
from support.target import Target, reason_of, run_target

Metadata = list[tuple[str, str | bytes]]
OVERRIDES: dict[str, dict[str, Any]] = {"memory": {}, "file": {"replay": {"file": "calls.db"}}}


def proof(header: str = "request-nonce") -> Metadata:
    return [(header, secrets.token_urlsafe(16)), ("request-time", f"{time.time():.6f}")]


async def made(target: Target, captured: Metadata) -> str:
    async with target.bare_channel() as channel:
        told = await target.ask("Protected", channel=channel, metadata=captured)
    return "taken" if told.code.name == "OK" else f"{told.code.name} {reason_of(told.trailers).reason}"


def folders(tmp_path: Path, *names: str) -> list[Path]:
    made_folders = [tmp_path / name for name in names]
    for folder in made_folders:
        folder.mkdir()
    return made_folders


@pytest.mark.parametrize("kept", OVERRIDES)
async def test_after_a_restart(application: Application, tmp_path: Path, kept: str) -> None:
    before, after = folders(tmp_path, "before", "after")
    overrides = OVERRIDES[kept]
    if kept == "file":
        overrides = {"replay": {"file": tmp_path / "calls.db"}}
    async with run_target(application, before, overrides) as target:
        captured = proof()
        assert await made(target, captured) == "taken"
        unused = proof()
    async with run_target(application, after, overrides) as target:
        assert await made(target, captured) in {"ALREADY_EXISTS REPLAYED", "FAILED_PRECONDITION REPLAY_PROOF_STALE"}
        assert target.begun == 0
        # without a file nobody can tell whether a call that was stamped before the restart was made before it, too
        assert await made(target, unused) == ("taken" if kept == "file" else "FAILED_PRECONDITION REPLAY_PROOF_STALE")
        assert await made(target, proof()) == "taken"


async def test_at_another_replica_and_after_the_store_was_lost(application: Application, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store: RealStore = await stack.enter_async_context(real_store(tmp_path / "store"))
        overrides = {"state": {"redis_url": store.url, "timeout_seconds": 2}}
        one, other = [
            await stack.enter_async_context(run_target(application, folder, overrides))
            for folder in folders(tmp_path, "one", "other")
        ]
        captured = proof()
        assert await made(one, captured) == "taken"
        assert await made(other, captured) == "ALREADY_EXISTS REPLAYED"

        store.kill()
        assert await made(one, proof()) == "UNAVAILABLE REPLAY_STORE_UNAVAILABLE"
        store.start()  # with what it held
        await store.answers()
        assert await until_answered(one, captured) == "ALREADY_EXISTS REPLAYED"

        assert one.service.server.platform.store is not None
        await one.service.server.platform.store.run(lambda client: client.flushall())
        assert await made(other, captured) == "FAILED_PRECONDITION REPLAY_PROOF_STALE"
        assert await made(other, captured) == "ALREADY_EXISTS REPLAYED"
        assert await made(other, proof()) == "taken"


async def test_a_call_with_a_key_is_not_run_again_where_its_key_was_forgotten(
    application: Application, tmp_path: Path
) -> None:
    before, after, shared = folders(tmp_path, "before", "after", "shared")
    alone = {"replay": {"file": None}}
    async with run_target(application, before, alone) as target:
        captured = proof("idempotency-key")
        assert await made(target, captured) == "taken"
    async with run_target(application, after, alone) as target:
        assert await made(target, captured) == "FAILED_PRECONDITION REPLAY_PROOF_STALE"
        assert target.begun == 0
        assert await made(target, proof("idempotency-key")) == "taken"
    async with real_store(tmp_path / "store") as store:
        overrides = {"state": {"redis_url": store.url, "timeout_seconds": 2}}
        async with run_target(application, shared, overrides) as target:
            captured = proof("idempotency-key")
            assert await made(target, captured) == "taken"
            assert target.service.server.platform.store is not None
            await target.service.server.platform.store.run(lambda client: client.flushall())
            assert await made(target, captured) == "FAILED_PRECONDITION REPLAY_PROOF_STALE"
            assert target.begun == 1
            assert await made(target, proof("idempotency-key")) == "taken"


async def test_a_store_that_hangs_takes_no_call(application: Application, tmp_path: Path) -> None:
    async with real_store(tmp_path / "store") as store:
        overrides = {"state": {"redis_url": store.url}}
        [folder] = folders(tmp_path, "service")
        async with run_target(application, folder, overrides) as target:
            assert await made(target, proof()) == "taken"
            with store.halted():
                for _ in range(5):
                    assert await made(target, proof()) == "UNAVAILABLE REPLAY_STORE_UNAVAILABLE"
                assert await target.is_served()
            assert await until_answered(target, proof()) == "taken"


async def test_a_slow_store_takes_each_call_once_all_the_same(application: Application, tmp_path: Path) -> None:
    async with real_store(tmp_path / "store") as store, delayed(store.port, 0.1) as port:
        overrides = {"state": {"redis_url": f"redis://127.0.0.1:{port}", "timeout_seconds": 2}}
        [folder] = folders(tmp_path, "service")
        async with run_target(application, folder, overrides) as target:
            for header, again in {"request-nonce": "ALREADY_EXISTS REPLAYED", "idempotency-key": "taken"}.items():
                captured = proof(header)
                assert await made(target, captured) == "taken"
                assert await made(target, captured) == again
            assert target.begun == 2


async def test_a_store_slower_than_its_timeout_takes_no_call(application: Application, tmp_path: Path) -> None:
    async with real_store(tmp_path / "store") as store, delayed(store.port, 1) as port:
        overrides = {
            "state": {"redis_url": f"redis://127.0.0.1:{port}", "timeout_seconds": 0.1},
            "revocation": {"refuse_when_shared_stale": False},
        }
        [folder] = folders(tmp_path, "service")
        async with run_target(application, folder, overrides) as target:
            for _ in range(3):
                assert await made(target, proof()) == "UNAVAILABLE REPLAY_STORE_UNAVAILABLE"
            assert target.begun == 0


async def until_answered(target: Target, metadata: Metadata) -> str:
    """Return what becomes of a call once the store is asked again."""
    async with asyncio.timeout(30):
        while (told := await made(target, metadata)) == "UNAVAILABLE REPLAY_STORE_UNAVAILABLE":
            pass
    return told
