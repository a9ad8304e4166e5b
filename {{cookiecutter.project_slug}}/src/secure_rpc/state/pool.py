"""Connections to the store: made beside the commands that need them, so that no command waits for more than its answer.

A connection takes several answers: TLS, a greeting with a password, the choice of a database. Made within the time of a
command, a store that answers late, but in time, would never be reached at all.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool


class Pool(ConnectionPool):
    """Hand out connections that stand, and make others in the background, also when nobody waits for them any more.

    Args:
        making_seconds: for one to be made.
        options: redis-py's own.
    """

    def __init__(self, *, making_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._making_seconds = making_seconds
        self._making: set[asyncio.Task[None]] = set()
        self._waiting: list[asyncio.Future[None]] = []

    async def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> AbstractConnection:  # noqa: ARG002  # redis-py's
        """Return a connection that stands, once there is one.

        Raises:
            RedisError: none could be made.
        """
        while (connection := await self._standing()) is None:
            await self._one_more()
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back."""
        await super().release(connection)
        self._wake()

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's
        """Close all connections, and make no more."""
        for task in self._making:
            task.cancel()
        await asyncio.gather(*self._making, return_exceptions=True)
        await super().disconnect(inuse_connections)

    async def _standing(self) -> AbstractConnection | None:
        while self._available_connections:
            connection: AbstractConnection = self._available_connections.pop()
            self._in_use_connections.add(connection)
            stands = connection.is_connected
            try:
                stands = stands and not await connection.can_read()  # the end, or an answer that nobody took
            except OSError:  # of the socket
                stands = False
            except Exception:  # noqa: BLE001  # of redis-py, or of its parser: it cannot be used, whatever it is
                stands = False
            except BaseException:
                await super().release(connection)
                raise
            if stands:
                return connection
            self._in_use_connections.discard(connection)
            await connection.disconnect(nowait=True)
        return None

    async def _one_more(self) -> None:
        """Wait until a connection was made or given back; one that is being made goes on being made in any case."""
        given_back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waits: set[asyncio.Future[None]] = {given_back}
        if len(self._in_use_connections) + len(self._making) < self.max_connections:
            made = asyncio.create_task(self._make())
            self._making.add(made)
            made.add_done_callback(self._made)
            waits.add(made)
        self._waiting.append(given_back)
        try:
            ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if given_back in self._waiting:
                self._waiting.remove(given_back)
        for each in ended:
            each.result()

    async def _make(self) -> None:
        connection: AbstractConnection = self.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self._making_seconds):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._available_connections.append(connection)

    def _made(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        if not task.cancelled() and task.exception() is None:
            self._wake()

    def _wake(self) -> None:
        with suppress(IndexError):
            self._waiting.pop(0).set_result(None)
