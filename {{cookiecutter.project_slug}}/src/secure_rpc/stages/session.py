"""One stream that lasts: until when it may, and how its caller is told of that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc

from secure_rpc.call import Call, Peer
from secure_rpc.state.sessions import Owner, SessionRecord

SESSION_ID_KEY = "session-id"  # initial metadata: what to extend the session by
EXPIRES_AT_KEY = "session-expires-at"  # initial metadata: Unix seconds
CLOSE_SECONDS = 1.0  # for what was announced to leave, where the client does not read

logger = logging.getLogger(__name__)


class Session:
    """The session of a call; it holds messages back while there is something to wait for.

    Args:
        call: that lasts.
        session_id: tells it from others, and cannot be guessed; empty where nothing extends it.
        expires_at_seconds: Unix time.
        latest_seconds: Unix time past which nothing extends it.
        on_announced: told once its caller knows of it, or nearly.
    """

    __slots__ = (
        "_on_announced",
        "_opening",
        "_pause",
        "call",
        "expires_at_seconds",
        "id",
        "is_opened_by_handler",
        "is_shared",
        "latest_seconds",
        "renewed_by",
    )

    def __init__(
        self,
        call: Call,
        session_id: str,
        expires_at_seconds: float,
        latest_seconds: float,
        on_announced: Callable[[Session], None],
    ) -> None:
        self.call = call
        self.id = session_id
        self.expires_at_seconds = expires_at_seconds
        self.latest_seconds = latest_seconds
        self.renewed_by: Peer | None = None  # who showed the credential by which it goes on
        self.is_shared = False  # whether other replicas can know of it
        self.is_opened_by_handler = False
        self._on_announced = on_announced
        self._opening: asyncio.Task[None] | None = None  # initial metadata on their way
        self._pause: asyncio.Event | None = None
        call.session = call.gate = self

    @property
    def owner(self) -> Owner | None:
        """Return whose it is; None where it is nobody's, and nobody extends it."""
        return Owner.of(self.call.principal) if self.id and self.call.principal is not None else None

    @property
    def record(self) -> SessionRecord:
        """Return what others have to know."""
        owner = self.owner or Owner("", "", "")
        return SessionRecord(owner, self.call.method.path, self.expires_at_seconds, self.latest_seconds)

    def announce(self, further: Any = ()) -> asyncio.Task[None]:
        """Send the initial metadata, once.

        Args:
            further: metadata of the handler's own.
        """
        if self._opening is None:
            metadata = [*further]
            if self.id:
                metadata.append((SESSION_ID_KEY, self.id))
            if self.expires_at_seconds != float("inf"):
                metadata.append((EXPIRES_AT_KEY, str(int(self.expires_at_seconds))))
            # a task of its own: were it cancelled half-way, nobody knew whether metadata and status can still be sent
            self._opening = asyncio.create_task(self.call.context.send_initial_metadata(tuple(metadata)))
            self._opening.add_done_callback(self._opened)
            self._on_announced(self)
        return self._opening

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Send the handler's metadata, and what there is to announce with them."""
        if self._opening is None:
            self.is_opened_by_handler = True
            await asyncio.shield(self.announce(metadata or ()))
        elif self.is_opened_by_handler:
            await self.call.context.send_initial_metadata(metadata)  # gRPC refuses it, as without us
        else:
            logger.warning(
                "%s sends initial metadata after its session was announced: they are left out; send them at once, or "
                "set sessions.announce_after_seconds higher",
                self.call.method.path,
            )

    async def before_send(self) -> None:
        """Wait until a message may leave."""
        opening = self._opening or self.announce()
        if not opening.done():
            await asyncio.shield(opening)
        await self.before_receive()

    async def before_receive(self) -> None:
        """Wait while it is asked whether the call may go on.

        Raises:
            StatusError: it may not.
        """
        if self._pause is not None:
            await self.settled()
            if self.call.refusal is not None:
                raise self.call.refusal

    async def settled(self) -> None:
        """Wait while it is asked whether the call may go on, whatever the answer."""
        if self._pause is not None:
            await self._pause.wait()

    def pause(self) -> None:
        """Let no message through until `resume`."""
        self._pause = asyncio.Event()
        self.call.gate = self

    def resume(self) -> None:
        """Let messages through again."""
        if self._pause is not None:
            self._pause.set()
            self._pause = None
        self._open_gate()

    async def close(self) -> None:
        """Wait for what was announced to leave: a status on top of it would be lost."""
        if self._opening is not None and not self._opening.done():
            with suppress(TimeoutError, grpc.aio.BaseError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await asyncio.shield(self._opening)

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if not opening.cancelled():
            opening.exception()  # the stream broke: whoever writes to it finds out
        self._open_gate()

    def _open_gate(self) -> None:
        if self._pause is None and self._opening is not None and self._opening.done():
            self.call.gate = None
