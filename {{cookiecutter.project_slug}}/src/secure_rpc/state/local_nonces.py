"""Nonces that the processes of one machine share, and that outlive them."""

from __future__ import annotations

import sqlite3

from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.local_file import LocalFile
from secure_rpc.state.nonces import digest

SWEPT_EVERY = 64  # nonces, then those are taken out that have come to their end
SWEPT_AT_ONCE = 256
COUNTED_EVERY = 1 << 14  # nonces: other processes add theirs


class LocalNonces:
    """A `NonceStore` in a file.

    Args:
        file: where they are.
        size: how many are remembered. When it is full of nonces that still count, new ones are refused.
    """

    def __init__(self, file: LocalFile, size: int) -> None:
        self._file = file
        self._size = size
        self._added = 0
        self._count = 0

    @property
    def began_seconds(self) -> float:
        """See `NonceStore`."""
        return self._file.began_seconds

    async def open(self) -> None:
        """Do nothing: it began with the file."""

    async def add(self, nonce: str, lifetime_seconds: float) -> bool:
        """Note a nonce; see `NonceStore`."""
        key, now = digest(nonce), self._file.clock()

        def add(connection: sqlite3.Connection) -> bool:
            if self._added % COUNTED_EVERY == 0:
                self._recount(connection)
            if self._added % SWEPT_EVERY == 0:
                self._sweep(connection, now)
            row = connection.execute("SELECT ends FROM nonces WHERE key = ?", (key,)).fetchone()
            if row is not None and row[0] > now:
                return False
            if row is None and self._count >= self._size:
                self._sweep(connection, now)
                self._recount(connection)
                if self._count >= self._size:
                    raise StoreUnavailable("the file of nonces is full")
            connection.execute("INSERT OR REPLACE INTO nonces VALUES (?, ?)", (key, now + lifetime_seconds))
            self._count += row is None
            self._added += 1
            return True

        return await self._file.run(add)

    async def close(self) -> None:
        """Do nothing: the file is closed by those who opened it."""

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        gone = connection.execute(
            "DELETE FROM nonces WHERE key IN (SELECT key FROM nonces WHERE ends <= ? ORDER BY ends LIMIT ?)",
            (now, SWEPT_AT_ONCE),
        )
        self._count -= gone.rowcount

    def _recount(self, connection: sqlite3.Connection) -> None:
        (self._count,) = connection.execute("SELECT COUNT(*) FROM nonces").fetchone()
