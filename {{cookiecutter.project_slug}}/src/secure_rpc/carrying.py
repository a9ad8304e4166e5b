"""One call on the wire: served in a task, and put to its end in as few steps of gRPC's core as that takes.

As `serving`, this reaches below grpc.aio's public surface.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator
from typing import Any

import grpc
from grpc._cython import cygrpc

# After one to two of these it is seen whether the client of a unary call has left. To be told of it costs gRPC and us a
# tenth of a short call; and what is done by then is done for who leaves as for who stays
SHORT_SECONDS = 0.02
NEEDED = (
    "ReceiveCloseOnServerOperation",
    "SendInitialMetadataOperation",
    "SendMessageOperation",
    "SendStatusFromServerOperation",
    "_ServicerContext",
    "_finish_handler_with_stream_responses",
    "_finish_handler_with_unary_response",
    "_handle_cancellation_from_core",
    "execute_batch",
)
_NO_FLAGS = 0
_AT_THE_END = object()  # when it is asked whether the client has left

logger = logging.getLogger(__name__)

_GRPCS_OWN: Any = getattr(cygrpc, "_ServicerContext", object)  # a grpcio without it is not supported, but imported


class _Context(_GRPCS_OWN):  # type: ignore[misc]  # grpc is untyped at run time
    """GRPC's context, which tells before anything is sent: what was sent already must not be sent with the end."""

    __slots__ = ("carrier",)

    carrier: Carrier

    async def send_initial_metadata(self, metadata: Any) -> None:
        self.carrier.watch()
        await super().send_initial_metadata(metadata)

    async def write(self, message: Any) -> None:
        self.carrier.watch()
        await super().write(message)

    async def abort(self, code: Any, details: str = "", trailing_metadata: tuple[Any, ...] = ()) -> None:
        self.carrier.watch()
        await super().abort(code, details, trailing_metadata)

    def disable_next_message_compression(self) -> None:
        self.carrier.watch()  # what comes of this is known to gRPC alone
        super().disable_next_message_compression()


class Carrier:
    """Serve a call in a task, see whether its client leaves, and put its end on the wire; see `Wire`.

    Args:
        state: gRPC's, of the call.
        loop: that serves it.
        under_way: holds it until it has ended; asyncio itself keeps only weak references.
        lasts: whether it is expected to: its client is watched from the start then, by `watch`.
    """

    __slots__ = ("_course", "_loop", "_state", "_task", "_under_way", "context")

    def __init__(self, state: Any, loop: asyncio.AbstractEventLoop, under_way: set[object], *, lasts: bool) -> None:
        self._state = state
        self.context: Any = (_GRPCS_OWN if lasts else _Context)(state, None, None, loop)
        if not lasts:
            self.context.carrier = self
        self._loop = loop
        self._under_way = under_way
        self._task: asyncio.Task[None] | None = None
        self._course: Any = None  # gRPC's coroutine that sees whether the client leaves, once somebody wants to know

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Serve the call."""
        self._under_way.add(self)
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._end)

    def watch(self) -> None:
        """See from now on whether the client leaves, or has left; and cancel the task if so.

        Whatever is sent before the end is sent after this: then it is gRPC that knows what is left to send.
        """
        if self._course is None and self._task is not None:
            self._course = cygrpc._handle_cancellation_from_core(self._task, self._state, self._loop)
            self._go_on()

    async def finish(self, reply: bytes | None) -> None:
        """Put the end of the call on the wire: its reply, if it has one, and the status that its context was given."""
        state, context, loop = self._state, self.context, self._loop
        try:
            if self._course is None:  # nothing was sent so far
                self._course = _AT_THE_END
                await cygrpc.execute_batch(state, _all_of(context, reply), loop)
            elif reply is None:
                await cygrpc._finish_handler_with_stream_responses(state, _nothing, None, context, loop)
            else:
                await cygrpc._finish_handler_with_unary_response(state, _Reply(reply), None, context, None, loop)
        except grpc.aio.BaseError as error:
            logger.debug("a call ended without its client: %s", error)

    def _go_on(self, _done: asyncio.Future[Any] | None = None) -> None:
        """Take the next step of what only waits, once, and so needs no task of its own."""
        try:
            waits_for = self._course.send(None)
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001  # the call is served all the same, and a pump may be who asks
            level = logging.DEBUG if isinstance(error, grpc.aio.BaseError) else logging.ERROR
            logger.log(level, "whether the client has left cannot be seen: %r", error)
        else:
            waits_for._asyncio_future_blocking = False  # as a task does that takes up what it is to wait for
            waits_for.add_done_callback(self._go_on)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(self)
        self._state = self.context = self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a call did not end as it should", exc_info=error)


class ShortCalls:
    """Calls that are expected to be over soon: their clients are watched only if they are not.

    Args:
        loop: that serves them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._new: list[Carrier] = []
        self._old: list[Carrier] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, carrier: Carrier, seconds: float | None) -> None:
        """Have a call's client watched later on, if it has not ended by then.

        Args:
            carrier: of the call.
            seconds: until its client waits no more, where it has said so.
        """
        if seconds is not None and seconds < 2 * SHORT_SECONDS:
            carrier.watch()
            return
        self._new.append(carrier)
        if self._timer is None:
            self._timer = self._loop.call_later(SHORT_SECONDS, self._turn)

    def _turn(self) -> None:
        lasting, self._old, self._new = self._old, self._new, []
        self._timer = self._loop.call_later(SHORT_SECONDS, self._turn) if self._old else None
        for carrier in lasting:
            carrier.watch()


def _all_of(context: Any, reply: bytes | None) -> tuple[Any, ...]:
    """Return all that there is to a call of which nothing was sent, and whose client nobody has asked for."""
    code = context.code() or 0  # none where nobody has set one
    status = cygrpc.SendStatusFromServerOperation(
        context.trailing_metadata(), code if isinstance(code, int) else code.value[0], context.details(), _NO_FLAGS
    )
    message = () if reply is None else (cygrpc.SendMessageOperation(reply, _NO_FLAGS),)
    closed = cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS)
    return cygrpc.SendInitialMetadataOperation((), _NO_FLAGS), *message, status, closed


class _Reply:
    """A reply in the form of the handler that gRPC expects: neither a function nor a coroutine, and told at once."""

    __slots__ = ("_reply",)

    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    def __call__(self, _request: object, _context: object) -> _Reply:
        return self

    def __await__(self) -> Generator[None, None, bytes]:
        return self._reply
        yield


async def _nothing(_request: object, _context: object) -> None:
    """Leave nothing to send but the status."""
