"""A server's stream that goes on: extended ahead of its end, else opened again after the last message that came.

Nothing is given out twice, and nothing is left out, as long as the server numbers its messages in increasing order and
can go on after any of them. When a re-opening is planned, the new call is open before the old one is let go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from secure_rpc.client_streams.persistence import Attempts, Persistence
from secure_rpc.client_streams.renewal import Renewal, Session, Timing
from secure_rpc.client_streams.sequence import START, Position, Sequence, position_of

BUFFERED_MESSAGES = 16  # that have come, and were not taken yet; gRPC holds the server back from then on
STEADY_SECONDS = 10.0  # a call that lasts as long is progress, even where nothing comes

logger = logging.getLogger(__name__)

M = TypeVar("M")


class KeptStream(Generic[M]):
    """Iterate over the messages of a stream for as long as its server has any, whatever becomes of single calls.

    Use it with `async with`; leaving the block ends the call. So does a cancellation while a message is waited for, as
    with any call of gRPC's. One task at a time may iterate.

    Args:
        channel: that of the calls; its token source gives the new tokens.
        open_call: begins a `grpc.aio` call that streams what comes after a cursor; where it streams requests too, they
            begin anew.
        position: gives the number of a message, which is its cursor too, or both.
        after: where to begin: the position of the last message that was seen to, 0 before the first.
        consecutive: whether each number is one more than the last; False where the server leaves some out, then a gap
            cannot be told.
        persistence: how often a call is made again that has failed.
        timing: when a call is extended, or opened again.

    Raises:
        grpc.aio.AioRpcError: how the last call ended; what will not pass is raised at once.
        SequenceGap: messages are missing.
        SequenceReset: the server did not go on after the cursor.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        open_call: Callable[[Any], Any],
        position: Callable[[M], int | Position],
        *,
        after: int | Position = START,
        consecutive: bool = True,
        persistence: Persistence | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._open_call = open_call
        self._position_of = position
        self.position = position_of(after)  # of the last message that was given out
        self._consecutive = consecutive
        self._timing = timing or Timing()
        self._renewal = Renewal(channel, self._timing)
        self._attempts = Attempts(persistence or Persistence(), self._timing.chance)
        self._arrived: asyncio.Queue[tuple[_Call[M] | None, M | _Ended]] = asyncio.Queue(BUFFERED_MESSAGES)
        self._call: _Call[M] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Begin the first call, not only when the first message is wanted."""
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the call."""
        await self.close()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> M:
        """Return the next message."""
        try:
            while not self._is_closed:
                if self._call is None:
                    self._begin()
                call, item = await self._arrived.get()
                if call is None:
                    break
                if not isinstance(item, _Ended):
                    if self._is_new(call, item):
                        return item
                elif call is self._call:
                    await self._go_on(call, item)
        except BaseException:
            await self.close()
            raise
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the call; iteration ends too."""
        self._is_closed = True
        with suppress(asyncio.QueueFull):  # else nobody waits
            self._arrived.put_nowait((None, _Ended(None)))
        await self._let_go()

    def _is_new(self, call: _Call[M], message: M) -> bool:
        """Tell whether a message was not given out yet, and take note of it; two calls bring the same for a while."""
        position = position_of(self._position_of(message))
        call.sequence.check(position.sequence)
        if position.sequence <= self.position.sequence:
            return False
        self.position = position
        self._attempts.forget()
        return True

    async def _go_on(self, call: _Call[M], ended: _Ended) -> None:
        """Begin another call in place of one that has ended, if there is sense in it."""
        error = ended.error
        await self._let_go()
        if error is None:
            self._is_closed = True
        elif not isinstance(error, grpc.aio.AioRpcError):
            raise error
        else:
            if self._timing.clock() - call.began_at_seconds >= STEADY_SECONDS:
                self._attempts.forget()
            seconds = self._attempts.wait_seconds(error)
            code, details = error.code().name, error.details()
            logger.info("a stream has ended with %s (%s), and is opened again in %.1f s", code, details, seconds)
            await self._timing.sleep(seconds)
            self._begin()

    def _begin(self) -> None:
        if self._call is None and not self._is_closed:
            self._call = self._opened()
            self._keeping = asyncio.create_task(self._keep(self._call))

    def _opened(self) -> _Call[M]:
        """Begin a call after what was given out last; what has arrived since then will come twice."""
        sequence = Sequence(self.position, consecutive=self._consecutive)
        return _Call(self._open_call(self.position.cursor), sequence, self._arrived, self._timing.clock())

    async def _keep(self, call: _Call[M]) -> None:
        await call.is_open()
        await self._renewal.keep(call.session, lambda: self._replace(call))

    async def _replace(self, old: _Call[M]) -> bool:
        """Open another call while the old one still serves, and go on with it; tell whether that worked."""
        try:
            new = self._opened()
        except Exception:
            logger.exception("a stream could not be opened again ahead of its end")
            return False
        try:
            async with asyncio.timeout(max(old.session.expires_at_seconds - self._timing.clock(), 0.0)):
                is_open = await new.is_open()
        except TimeoutError:
            is_open = False
        except asyncio.CancelledError:
            await new.close()
            raise
        if not is_open:
            await new.close()
            return False
        self._call = new
        await old.close()  # what it has brought by then is given out; what it might have, the new one brings
        self._keeping = asyncio.create_task(self._keep(new))
        return True

    async def _let_go(self) -> None:
        keeping, call = self._keeping, self._call
        self._keeping = self._call = None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        if call is not None:
            await call.close()


class _Ended:
    """Comes after the last message of a call."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class _Call(Generic[M]):
    """A call, and the task that reads it."""

    def __init__(
        self,
        call: Any,
        sequence: Sequence,
        arrived: asyncio.Queue[tuple[_Call[M] | None, M | _Ended]],
        began_at_seconds: float,
    ) -> None:
        self.sequence = sequence
        self.session = Session()
        self.began_at_seconds = began_at_seconds
        self._call = call
        self._arrived = arrived
        self._settled = asyncio.Event()  # it is known whether it is open
        self._has_ended = False
        self._reading = asyncio.create_task(self._read())

    async def is_open(self) -> bool:
        """Wait until it is known, and tell whether the server takes the call and has not ended it."""
        await self._settled.wait()
        return not self._has_ended

    async def close(self) -> None:
        """End it; what has arrived stays."""
        self._reading.cancel()
        self._call.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        error: Exception | None = None
        try:
            # those of a call that is refused are empty; one of which nothing is announced is known by its first message
            self.session = Session(await self._call.initial_metadata())
            if self.session.is_announced:
                self._settled.set()
            async for message in self._call:
                self._settled.set()
                await self._arrived.put((self, message))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # the channel has closed the connection: the grace of a certificate that was replaced is over
            metadata = grpc.aio.Metadata()
            error = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, metadata, metadata, "the channel ended the call")
        except Exception as caught:  # noqa: BLE001  # whatever it is, it belongs to who iterates
            error = caught
        self._has_ended = True
        self._settled.set()
        await self._arrived.put((self, _Ended(error)))
