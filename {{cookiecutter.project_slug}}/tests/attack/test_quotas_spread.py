"""A caller that spreads its calls over replicas, connections and tokens gets no more than its quota."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from secure_rpc.platform import Application
from secure_rpc.state.quota_account import SHARE

from support.stores import real_store
from support.target import run_target

REPLICAS, CALLS = 4, 30


async def test_a_caller_gets_no_more_by_spreading_its_calls_over_replicas_connections_and_tokens(
    application: Application, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(real_store(tmp_path / "store"))
        settings = {
            "state": {"redis_url": store.url, "timeout_seconds": 5},
            "quotas": {"default": {"calls": CALLS, "period_seconds": 1_000_000}},
            "quota_store_failure": "closed",
        }
        targets = []
        for number in range(REPLICAS):
            folder = tmp_path / str(number)
            folder.mkdir()
            targets.append(await stack.enter_async_context(run_target(application, folder, settings)))
        found = []
        for _ in range(3):  # all at once, several times
            calls = [
                target.ask("Unary", channel=channel, authorization=f"Bearer {target.token()}")
                for target in targets
                for channel in (target.channel, target.service.connect())
                for _ in range(3)
            ]
            found += [told.code.name for told in await asyncio.gather(*calls)]
        assert set(found) == {"OK", "RESOURCE_EXHAUSTED"}
        assert CALLS - CALLS // SHARE <= found.count("OK") <= CALLS
        assert found.count("OK") == sum(target.begun for target in targets)
        others = [(await target.ask("Unary", authorization=f"Bearer {target.token('bob')}")) for target in targets]
        assert {told.code.name for told in others} == {"OK"}
