"""Outcomes that replicas share."""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from secure_rpc.state.outcomes import Attempt, Begun, Standing
from secure_rpc.state.redis import Store

_BEGIN = """
local kept = redis.call('HMGET', KEYS[1], 'digest', 'lease', 'standing', 'outcome')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not kept[1] then
  redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'owner', ARGV[2], 'lease', now + ARGV[3], 'standing', 'running')
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return {'new', ''}
end
if kept[1] ~= ARGV[1] then return {'another', ''} end
if kept[3] == 'running' and tonumber(kept[2]) <= now then return {'unknown', ''} end
return {kept[3], kept[4] or ''}
"""
_END = """
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'standing', ARGV[2], 'outcome', ARGV[3])
end
"""
_RELEASE = "if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class RedisOutcomes:
    """An `OutcomeStore` in Redis or Valkey.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, attempt: Attempt, lease_seconds: float, lifetime_seconds: float) -> Begun:
        """See `OutcomeStore`."""
        lease, lifetime = (str(max(int(seconds * 1000), 1)) for seconds in (lease_seconds, lifetime_seconds))
        standing, outcome = await self._run(_BEGIN, attempt, attempt.digest, attempt.owner, lease, lifetime)
        return Begun(Standing(standing.decode()), outcome)

    async def end(self, attempt: Attempt, standing: Standing, outcome: bytes = b"") -> None:
        """See `OutcomeStore`."""
        await self._run(_END, attempt, attempt.owner, standing.value, outcome)

    async def release(self, attempt: Attempt) -> None:
        """See `OutcomeStore`."""
        await self._run(_RELEASE, attempt, attempt.owner)

    async def close(self) -> None:
        """Do nothing: the store is closed by those who opened it."""

    async def _run(self, script: str, attempt: Attempt, *arguments: str | bytes) -> Any:
        key = self._store.key(f"outcome:{attempt.key.hex()}")

        async def run(client: Redis) -> Any:
            return await cast("Any", client.eval(script, 1, key, *cast("Any", arguments)))

        return await self._store.run(run)
