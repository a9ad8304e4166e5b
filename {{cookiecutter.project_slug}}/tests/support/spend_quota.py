"""`python -m support.spend_quota URL CALLS`: a replica at full load, until it is refused; tells what got through."""

from __future__ import annotations

import asyncio
import sys

from secure_rpc.quota import Quota
from secure_rpc.state.connection import State
from secure_rpc.state.quotas import answered
from secure_rpc.state.redis import Store
from secure_rpc.state.redis_quotas import RedisQuotas

from support.quotas import key


async def spend(url: str, quota: Quota) -> int:
    """Call, several at once, until several in a row are refused."""
    store = Store(State(redis_url=url, timeout_seconds=5), "orders")
    quotas, taken, refused = RedisQuotas(store, 5, None), 0, 0
    while refused < 3:
        found = await asyncio.gather(*(answered(quotas.take(key(), quota)) for _ in range(4)))
        taken += sum(wait == 0 for wait in found)
        refused = refused + 1 if all(found) else 0
    await quotas.close()
    await store.close()
    return taken


if __name__ == "__main__":
    sys.stdin.readline()  # all begin together
    spent = asyncio.run(spend(sys.argv[1], Quota(calls=int(sys.argv[2]), period_seconds=1_000_000)))
    sys.stdout.write(str(spent))
