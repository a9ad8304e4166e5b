"""Outcomes that the processes of one machine share, and that outlive them; or those of one process, in memory."""

from __future__ import annotations

import sqlite3

from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.local_file import LocalFile
from secure_rpc.state.outcomes import Attempt, Begun, Standing

SWEPT_AT_ONCE = 16


class LocalOutcomes:
    """An `OutcomeStore` in a file.

    Args:
        file: where they are.
        size: how many are remembered. When it is full of those that still count, new ones are refused.
    """

    def __init__(self, file: LocalFile, size: int) -> None:
        self._file = file
        self._size = size

    async def begin(self, attempt: Attempt, lease_seconds: float, lifetime_seconds: float) -> Begun:
        """See `OutcomeStore`."""
        now = self._file.clock()

        def begin(connection: sqlite3.Connection) -> Begun:
            connection.execute(
                "DELETE FROM outcomes WHERE key IN (SELECT key FROM outcomes WHERE ends <= ? ORDER BY ends LIMIT ?)",
                (now, SWEPT_AT_ONCE),
            )
            row = connection.execute(
                "SELECT digest, lease_ends, state, outcome FROM outcomes WHERE key = ? AND ends > ?", (attempt.key, now)
            ).fetchone()
            if row is not None:
                return _known(attempt, row, now)
            (count,) = connection.execute("SELECT COUNT(*) FROM outcomes").fetchone()
            if count >= self._size:
                raise StoreUnavailable("all outcomes that can be remembered still count")
            connection.execute(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    attempt.key,
                    now + lifetime_seconds,
                    attempt.digest,
                    attempt.owner,
                    now + lease_seconds,
                    Standing.RUNNING.value,
                    b"",
                ),
            )
            return Begun(Standing.NEW)

        return await self._file.run(begin)

    async def end(self, attempt: Attempt, standing: Standing, outcome: bytes = b"") -> None:
        """See `OutcomeStore`."""

        def end(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE outcomes SET state = ?, outcome = ? WHERE key = ? AND owner = ?",
                (standing.value, outcome, attempt.key, attempt.owner),
            )

        await self._file.run(end)

    async def release(self, attempt: Attempt) -> None:
        """See `OutcomeStore`."""

        def release(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM outcomes WHERE key = ? AND owner = ?", (attempt.key, attempt.owner))

        await self._file.run(release)

    async def close(self) -> None:
        """Do nothing: the file is closed by those who opened it."""


def _known(attempt: Attempt, row: tuple[bytes, float, str, bytes], now: float) -> Begun:
    digest, lease_ends, state, outcome = row
    if digest != attempt.digest:
        return Begun(Standing.ANOTHER)
    standing = Standing(state)
    if standing is Standing.RUNNING and lease_ends <= now:
        return Begun(Standing.UNKNOWN)
    return Begun(standing, outcome)
