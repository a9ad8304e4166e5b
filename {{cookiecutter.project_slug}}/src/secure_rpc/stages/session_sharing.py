"""What other replicas are told of sessions: off the way of calls, many at once, again after the store was away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from secure_rpc.stages.session import Session
from secure_rpc.state.sessions import SessionStore

AT_ONCE = 100  # in one round trip
PAUSE_SECONDS = 1.0  # after the store did not answer

logger = logging.getLogger(__name__)


class SessionSharing:
    """Keep the store as the sessions are.

    Args:
        store: what the replicas share.
        live: gives the sessions that there are, by id.
    """

    def __init__(self, store: SessionStore, live: Callable[[], dict[str, Session]]) -> None:
        self._store = store
        self._live = live
        self._told: dict[str, Session] = {}  # to be written
        self._gone: list[str] = []
        self._task: asyncio.Task[None] | None = None

    def tell(self, session: Session) -> None:
        """Make a session known, or that it goes on."""
        self._told[session.id] = session
        self._begin()

    def forget(self, session: Session) -> None:
        """Take back what was made known."""
        self._told.pop(session.id, None)
        if session.is_shared:
            self._gone.append(session.id)
            self._begin()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._told or self._gone:
            try:
                await self._write()
                await self._remove()
            except ConnectionError:
                self._gone.clear()  # they end by themselves
                await asyncio.sleep(PAUSE_SECONDS)
                live = self._live()  # all of them: the store may come back empty
                self._told.update((each, session) for each, session in live.items() if session.is_shared)
            except Exception:
                logger.exception("sessions cannot be made known to other replicas")
                await asyncio.sleep(PAUSE_SECONDS)

    async def _write(self) -> None:
        batch = _take(self._told)
        if not batch:
            return
        for session in batch.values():
            session.is_shared = True  # or may be
        try:
            await self._store.put([(each, session.record) for each, session in batch.items()])
        finally:
            live = self._live()
            self._gone += [each for each in batch if each not in live]

    async def _remove(self) -> None:
        batch, self._gone = self._gone[:AT_ONCE], self._gone[AT_ONCE:]
        if batch:
            await self._store.remove(batch)


def _take(items: dict[str, Session]) -> dict[str, Session]:
    names: Iterable[str] = list(items)[:AT_ONCE] if len(items) > AT_ONCE else list(items)
    return {name: items.pop(name) for name in names}
