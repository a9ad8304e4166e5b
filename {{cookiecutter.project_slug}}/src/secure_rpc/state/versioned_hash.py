"""A hash in the shared store with a mark that changes at each write: who reads compares marks first."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import WatchError

from secure_rpc.state.redis import Store

SLICE = 200  # fields that are asked for at once; a store may give some more


class VersionedHash:
    """A hash and its mark.

    Args:
        store: where it is.
        name: its own among those of the service.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._key = store.key(name)
        self._version_key = store.key(f"{name}:version")

    async def version(self) -> bytes | None:
        """Return the mark; none where nothing has been written yet, or all was lost.

        Raises:
            StoreUnavailable: it cannot be had.
        """
        return await self._store.run(self._version)

    async def slices(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Yield fields and their values; some may come twice.

        Raises:
            StoreUnavailable: they cannot be had.
        """
        cursor = 0
        while True:
            cursor, found = await self._store.run(
                lambda client, after=cursor: client.hscan(self._key, after, count=SLICE)  # type: ignore[misc]
            )
            yield list(found.items())
            if not cursor:
                return

    async def put(self, field: bytes, value: bytes, *, drop: Collection[bytes], seen: bytes | None) -> bool:
        """Write one field, and take out others, in one step.

        Args:
            field: its name.
            value: what it is to hold.
            drop: names of those that go.
            seen: the mark of what the others were chosen by.

        Returns:
            whether it was done; not where somebody has written meanwhile.

        Raises:
            StoreUnavailable: it is not known whether it was done.
        """

        async def write(client: Redis) -> bool:
            async with client.pipeline(transaction=True) as pipe:
                await pipe.watch(self._version_key)
                if await pipe.get(self._version_key) != seen:
                    return False
                pipe.multi()  # type: ignore[no-untyped-call]
                if drop:
                    pipe.hdel(self._key, *drop)
                pipe.hset(self._key, field, value)
                pipe.set(self._version_key, secrets.token_hex(16))
                await pipe.execute()
                return True

        try:
            return await self._store.run(write, answers=4)  # WATCH, GET, MULTI to EXEC, and one that comes late
        except WatchError:
            return False

    async def _version(self, client: Redis) -> bytes | None:
        return cast("bytes | None", await client.get(self._version_key))
