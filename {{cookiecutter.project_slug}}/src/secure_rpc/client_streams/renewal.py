"""Keeps the session of a stream going: shows a new token ahead of its end, by a call of its own on the same channel."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc

from secure_rpc.client_streams.persistence import PASSING
from secure_rpc.stages.session import EXPIRES_AT_KEY, SESSION_ID_KEY
from secure_rpc.v1 import session_pb2, session_pb2_grpc

AHEAD = 0.2  # the share of its life that a stream has left when it is seen to
LEAST_SECONDS = 0.05  # less is not worth an attempt
REFRESH_SECONDS = 10.0  # for one call

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """When streams are seen to.

    Args:
        ahead: the share of its life that a stream has left then, less up to half of that by chance, so that a thousand
            streams begun at once are not extended at once. Where that changes nothing, it is tried again when the same
            share of what is left is left, and so on.
        clock: gives Unix time in seconds; the server's is another. One that is slow by more than what is left has the
            stream end before it is seen to.
        sleep: waits for seconds.
        chance: gives a random number below 1.
    """

    ahead: float = AHEAD
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    chance: Callable[[], float] = random.random


class Session:
    """What a stream has announced.

    Args:
        metadata: the initial ones.
    """

    def __init__(self, metadata: Iterable[tuple[str, Any]] = ()) -> None:
        announced = dict(metadata)
        self.id = str(announced.get(SESSION_ID_KEY, ""))  # "": it cannot be extended
        self.expires_at_seconds = _seconds(announced.get(EXPIRES_AT_KEY))  # Unix time; inf: it is not said

    @property
    def is_announced(self) -> bool:
        """Tell whether the server said anything of it."""
        return bool(self.id) or self.expires_at_seconds != float("inf")


class Refreshed(Enum):
    """What came of an attempt to extend a session."""

    EXTENDED = "extended"
    UNCHANGED = "unchanged"  # the token was the same still, or the server cannot be asked just now
    REFUSED = "refused"  # nor will it be another time


class Renewal:
    """Extend sessions.

    Args:
        channel: that of the streams; its token source gives the new tokens.
        timing: when.
    """

    def __init__(self, channel: grpc.aio.Channel, timing: Timing) -> None:
        self._stub: Any = session_pb2_grpc.SessionServiceStub(channel)
        self._timing = timing
        self._is_implemented = True

    async def keep(self, session: Session, give_up: Callable[[], Awaitable[bool]]) -> None:
        """Extend a session over and over.

        Args:
            session: of a stream that is under way.
            give_up: told when it cannot be extended any more, while there is time left; False has it tried again.
        """
        unchanged = 0
        while (left := session.expires_at_seconds - self._timing.clock()) > LEAST_SECONDS:
            if left == float("inf"):
                return
            await self._timing.sleep(left * (1.0 - self._timing.ahead * (1.0 - 0.5 * self._timing.chance())))
            refreshed = await self._refresh(session)
            unchanged = 0 if refreshed is Refreshed.EXTENDED else unchanged + 1
            # the first time, the token source may not have known that a new one was wanted
            if (refreshed is Refreshed.REFUSED or unchanged > 1) and await give_up():
                return

    async def _refresh(self, session: Session) -> Refreshed:
        if not session.id or not self._is_implemented:
            return Refreshed.REFUSED
        request = session_pb2.RefreshRequest(session_id=session.id)
        try:
            answer = await self._stub.Refresh(request, timeout=REFRESH_SECONDS)
        except grpc.aio.AioRpcError as error:
            self._is_implemented = error.code() is not grpc.StatusCode.UNIMPLEMENTED
            logger.info("a stream could not be extended: %s %s", error.code().name, error.details())
            return Refreshed.UNCHANGED if error.code() in PASSING else Refreshed.REFUSED
        expires_at_seconds = answer.expires_at.ToMicroseconds() / 1e6
        if expires_at_seconds <= session.expires_at_seconds:
            return Refreshed.UNCHANGED
        session.expires_at_seconds = expires_at_seconds
        return Refreshed.EXTENDED


def _seconds(announced: object) -> float:
    try:
        return float(str(announced))
    except ValueError:
        return float("inf")
