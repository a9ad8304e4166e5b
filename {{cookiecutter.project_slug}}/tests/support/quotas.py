"""Replicas that count quotas in one real store, by a time that stands still until a test moves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from secure_rpc.quota import Quota, QuotaKey
from secure_rpc.state.connection import State
from secure_rpc.state.quota_script import EPOCH_SECONDS, SCRIPT, QuotaScript
from secure_rpc.state.quotas import answered
from secure_rpc.state.redis import Store
from secure_rpc.state.redis_quotas import RedisQuotas

from support.stores import RealStore

CLOCK_KEY = "{orders}:clock"


def key(name: str = "alice") -> QuotaKey:
    return QuotaKey(name, "acme", "default")


class Replicas:
    """Several, and the time of the store.

    Args:
        store: that they share.
        count: of them.
        clock_in_store: whether the store's time is that of the test, too.
        options: of each.
    """

    def __init__(self, store: RealStore, count: int, *, clock_in_store: bool = True, **options: Any) -> None:
        self.microseconds = (EPOCH_SECONDS + 1000) * 1_000_000
        script = QuotaScript()
        if clock_in_store:
            assert SCRIPT.count("redis.call('TIME')") == 1
            script = QuotaScript(SCRIPT.replace("redis.call('TIME')", f"redis.call('LRANGE', '{CLOCK_KEY}', 0, 1)"))
            options["clock"] = lambda: self.microseconds / 1e6
        state = State(redis_url=store.url, timeout_seconds=5)
        self.stores = [Store(state, "orders") for _ in range(count)]
        self.all = [RedisQuotas(each, 5, None, script=script, **options) for each in self.stores]

    async def pass_(self, microseconds: int) -> None:
        """Let time pass."""
        self.microseconds += microseconds
        seconds, rest = divmod(self.microseconds, 1_000_000)

        async def set_clock(client: Any) -> None:
            async with client.pipeline(transaction=True) as pipe:
                pipe.delete(CLOCK_KEY)
                pipe.rpush(CLOCK_KEY, str(seconds), str(rest))
                await pipe.execute()

        await self.stores[0].run(set_clock)

    async def taken(self, quota: Quota, count: int, replica: int = 0, who: QuotaKey | None = None) -> int:
        """Return how many of that many calls are within the quota."""
        return sum([await answered(self.all[replica].take(who or key(), quota)) == 0 for _ in range(count)])

    async def settled(self) -> None:
        """Return when no replica asks the store anything."""
        for each in self.all:
            await each.settled()

    async def forget(self) -> None:
        """Empty the store, and begin anew."""
        await self.stores[0].run(lambda client: client.flushall())
        await self.pass_(0)

    async def close(self) -> None:
        for each in self.all:
            await each.close()
        for store in self.stores:
            await store.close()


@asynccontextmanager
async def replicas(store: RealStore, count: int, **options: Any) -> AsyncIterator[Replicas]:
    """Run replicas."""
    made = Replicas(store, count, **options)
    await made.pass_(0) if options.get("clock_in_store", True) else None
    try:
        yield made
    finally:
        await made.close()
