"""What the processes of one machine have in common, in a file of SQLite: it outlives them, and no server is needed.

All is done on one thread, so that no disk keeps the event loop waiting. A process that dies loses nothing; a machine
that loses its power may lose what was noted in the last moments before.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from secure_rpc.configuration import ConfigurationError
from secure_rpc.state.availability import StoreUnavailable

T = TypeVar("T")

IN_MEMORY = Path(":memory:")  # of this process alone, and gone with it
LOCK_SECONDS = 0.2  # to wait for another process, which writes
VERSION = 1  # of the tables
_TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nonces (key BLOB PRIMARY KEY, ends REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonces_by_end ON nonces (ends);
CREATE TABLE IF NOT EXISTS outcomes (
  key BLOB PRIMARY KEY, ends REAL NOT NULL, digest BLOB NOT NULL, owner TEXT NOT NULL, lease_ends REAL NOT NULL,
  state TEXT NOT NULL, outcome BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outcomes_by_end ON outcomes (ends);
COMMIT;
"""


class LocalFile:
    """The file.

    Args:
        path: where it is, or `IN_MEMORY`.
        setting: that names it, for what is said of it.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: it cannot be opened, or is not ours.
    """

    def __init__(self, path: Path, setting: str = "replay.file", clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state file")
        try:
            if path != IN_MEMORY:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self.began_seconds = self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"{setting}: {path} cannot be used ({error}); choose another place, or move it away"
            ) from None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Have something done with the connection, in a transaction, on the file's thread.

        Raises:
            StoreUnavailable: it was not done.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_transaction, work)
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: it was closed
            raise StoreUnavailable(f"the file of state: {error}") from error

    async def close(self) -> None:
        """Close it; once is enough."""
        self._thread.shutdown(wait=True)
        self._connection.close()

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = work(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return done

    def _prepare(self) -> float:
        """Make the tables where they are missing, and return when the first of all processes did so."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, VERSION}:
            raise sqlite3.DatabaseError(f"its tables are of version {version}, not {VERSION}")
        self._connection.executescript(_TABLES)
        self._connection.execute(f"PRAGMA user_version = {VERSION}")
        self._connection.execute("INSERT OR IGNORE INTO about VALUES ('began', ?)", (self.clock(),))
        (began,) = self._connection.execute("SELECT value FROM about WHERE name = 'began'").fetchone()
        return float(began)
