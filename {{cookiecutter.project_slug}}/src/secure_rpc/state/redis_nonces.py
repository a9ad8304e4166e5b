"""Nonces that replicas share: each is noted in one step, and goes by itself when it does not count any more.

The store remembers when it began to, too: one that was emptied, or is another one now, knows nothing of the calls that
were taken before, and says so.
"""

from __future__ import annotations

from typing import Any, cast

from redis.asyncio import Redis

from secure_rpc.state.nonces import digest
from secure_rpc.state.redis import Store

BEGAN = "nonces:began"
# since when there are nonces, by the store's own clock
_OPEN = """
local began = redis.call('GET', KEYS[1])
if not began then
  local now = redis.call('TIME')
  began = now[1] .. '.' .. string.format('%06d', now[2])
  redis.call('SET', KEYS[1], began)
end
"""
_SINCE = _OPEN + "return began"
# 1 where the nonce is new
_ADD = (
    _OPEN
    + """
if redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[1]) then return {1, began} end
return {0, began}
"""
)


class RedisNonces:
    """A `NonceStore` in Redis or Valkey.

    It must not evict keys (`maxmemory-policy noeviction`): a nonce that is gone too early lets its call be made again.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._began_seconds = 0.0
        self._began_key = store.key(BEGAN)

    @property
    def began_seconds(self) -> float:
        """See `NonceStore`; known from the first look on."""
        return self._began_seconds

    async def open(self) -> None:
        """See `NonceStore`."""

        async def begin(client: Redis) -> Any:
            return await cast("Any", client.eval(_SINCE, 1, self._began_key))

        self._began_seconds = float(await self._store.run(begin))

    async def add(self, nonce: str, lifetime_seconds: float) -> bool:
        """Note a nonce; see `NonceStore`."""
        key = self._store.key(f"nonce:{digest(nonce).hex()}")
        lifetime_ms = max(int(lifetime_seconds * 1000), 1)

        async def add(client: Redis) -> Any:
            return await cast("Any", client.eval(_ADD, 2, self._began_key, key, str(lifetime_ms)))

        fresh, began = await self._store.run(add)
        self._began_seconds = float(began)
        return bool(fresh)

    async def close(self) -> None:
        """Do nothing: the store is closed by those who opened it."""
