"""Which calls wait for the shared store: a caller far from its limit, at several replicas that reserve calls ahead.

Run by the service's own Python, as a module; prints how many calls were made, and how many of them had to wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from secure_rpc.quota import Quota, QuotaKey
from secure_rpc.state.connection import State
from secure_rpc.state.quotas import answered
from secure_rpc.state.redis import Store
from secure_rpc.state.redis_quotas import RedisQuotas

CALLER = QuotaKey("far from its limit", "", "default")
STORE_SECONDS = 5.0


async def measure(url: str, quota: Quota, replicas: int, rate: float, seconds: float) -> dict[str, int]:
    """Make calls.

    Args:
        url: Of the store.
        quota: Of the caller.
        replicas: That count in it.
        rate: Calls a second, at each.
        seconds: For how long.

    """
    found = {"calls": 0, "waited": 0, "waited_later": 0}

    async def at_one() -> None:
        store = Store(State(redis_url=url, timeout_seconds=STORE_SECONDS), "benchmark")
        quotas = RedisQuotas(store, STORE_SECONDS, None)
        for number in range(int(rate * seconds)):
            taken = quotas.take(CALLER, quota)
            waited = not isinstance(taken, float)
            found["calls"] += 1
            found["waited"] += waited
            found["waited_later"] += waited and number > 0
            await answered(taken)
            await asyncio.sleep(1 / rate)
        await quotas.close()
        await store.close()

    await asyncio.gather(*(at_one() for _ in range(replicas)))
    return found


def main() -> None:
    """Read the arguments, and do as they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--calls", type=int)
    parser.add_argument("--burst", type=int)
    parser.add_argument("--replicas", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seconds", type=float)
    given = parser.parse_args()
    quota = Quota(calls=given.calls, burst=given.burst)
    print(json.dumps(asyncio.run(measure(given.url, quota, given.replicas, given.rate, given.seconds))))


if __name__ == "__main__":
    main()
