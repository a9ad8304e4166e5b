"""The end of the chain: the handler as its author wrote it, and the context that it sees."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias

import grpc

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.deadlines import Deadlines, TimeLimit
from secure_rpc.outcome import is_cancelled

Handler: TypeAlias = Callable[[Any, Any], Any]
RpcMethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

logger = logging.getLogger(__name__)


class _Over:
    """Stands for the context of a call that is over: gRPC's is gone, with all that it knew of the call."""

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse whatever is asked of it."""
        raise grpc.aio.UsageError(f"the call is over: too late for its {name}")


OVER = _Over()


class HandlerContext:
    """The context a handler sees: gRPC's own, but reading, writing and aborting go through the chain."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        """Leave all else to gRPC's context."""
        return getattr(self._call.context, name)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have something called with this context when the handler has ended, and all that surrounds it."""
        self._call.when_over(lambda _call: callback(self))

    def time_remaining(self) -> float | None:
        """Return the seconds until the call must end, None where it need not."""
        return self._call.time_remaining()

    async def read(self) -> Any:
        """Return the next request, or EOF."""
        return await self._call.receive()

    async def write(self, message: Any) -> None:
        """Write one response."""
        await self._call.send(message)

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Send the metadata, with what the call's session has to tell.

        Raises:
            ValueError: gRPC cannot send an entry: it would end the call by itself, otherwise than is recorded.
        """
        errors.check_entries(metadata)
        session = self._call.session
        await (self._call.context if session is None else session).send_initial_metadata(metadata)

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Have the metadata sent with the status.

        Raises:
            ValueError: gRPC cannot send an entry, as above.
        """
        errors.check_entries(metadata)
        self._call.context.set_trailing_metadata(metadata)

    async def abort(self, code: Any, details: str = "", trailing_metadata: errors.Metadata = ()) -> NoReturn:
        """End the call with a status; sticks even where the handler swallows it."""
        error = errors.of(code, details or self._call.context.details(), tuple(trailing_metadata or ()))
        self._call.refusal = self._call.refusal or error
        raise self._call.refusal

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a status that has all three in one."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def failure(self) -> errors.StatusError | None:
        """Return how the handler has ended the call other than by raising, if it has."""
        call = self._call
        code = call.context.code()
        if code and code is not grpc.StatusCode.OK and call.refusal is None:  # 0 or None where nobody set one
            call.refusal = errors.of(code, call.context.details())
        return call.refusal


class Requests:
    """The messages of a request stream, decoded and checked; no generator, which would be a step more for each of them.

    Args:
        call: whose they are.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __aiter__(self) -> Requests:
        """Return itself."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        """Return the next message, once it is there."""
        return self._call.receive(or_stop=True)


def terminal(method: Method, handler: Handler, deadlines: Deadlines) -> Callable[[Call], Awaitable[None]]:
    """Return the end of the chain: the handler, and what it may do, turned into a reply or a StatusError."""
    if not method.request_streaming and not method.response_streaming:
        return _unary(method, handler, deadlines.limits(method))
    run = _runner(method, handler)

    async def finish(call: Call) -> None:
        if call.refusal is not None:  # cut before it came here
            raise call.refusal
        context = HandlerContext(call)
        error: BaseException | None = None
        call.enter_handler()
        try:
            await run(call, context)
        except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001  # whatever it raises is turned below
            error = caught
        try:
            _turn(method, context, error, was_cut=call.settle())
        finally:
            error = None  # by its traceback it holds this frame, which would hold it and the call with it

    return finish


def _unary(
    method: Method, handler: Handler, limit_of: Callable[[Call], TimeLimit | None] | None
) -> Callable[[Call], Awaitable[None]]:
    """Return the same for most calls, in one step: each further one would be paid for by all of them."""

    async def finish(call: Call) -> None:
        if call.refusal is not None:
            raise call.refusal
        context = HandlerContext(call)
        error: BaseException | None = None
        limit = None if limit_of is None else limit_of(call)
        if limit is not None:
            limit.begin(call)
        try:
            request = await call.request()
            call.check(request)
            call.has_begun = True
            response = await handler(request, context)
            if context.failure() is None:
                call.reply = call.encode(response)
        except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001  # as above
            error = caught
        was_cut = limit is not None and limit.end(call)
        if error is None and call.refusal is None:
            return
        try:
            _turn(method, context, error, was_cut=was_cut)
        finally:
            error = None  # as above

    return finish


def _turn(method: Method, context: HandlerContext, error: BaseException | None, *, was_cut: bool) -> None:
    """Raise what the call ends with, unless it has ended well.

    Args:
        method: that was called.
        context: knows how the handler has ended the call other than by raising.
        error: that the handler has raised.
        was_cut: whether it was told to end, by a cancellation of its task.
    """
    ended: BaseException | None = None
    cause: BaseException | None = None
    try:
        if isinstance(error, asyncio.CancelledError) and is_cancelled() and not was_cut:
            raise error
        ended = context.failure() or error
        if isinstance(ended, errors.StatusError):
            cause = ended.__cause__ or (error if error is not ended else None)
            if cause is not None and ended.code is grpc.StatusCode.INTERNAL:
                logger.error("the call failed in %s", method.path, exc_info=cause)
            raise ended from cause
        if isinstance(error, grpc.aio.BaseError) and not isinstance(error, grpc.aio.UsageError):
            raise errors.Cancelled from error  # the stream broke while it was read or written
        if error is not None:
            logger.error("the handler failed in %s", method.path, exc_info=error)
            raise errors.Internal from error
    finally:
        ended = cause = error = None  # as below


def _runner(method: Method, handler: Handler) -> Callable[[Call, HandlerContext], Awaitable[None]]:
    """Return what calls a handler of any kind and style, and sees that each of its messages is sent."""
    generates = inspect.isasyncgenfunction(handler)

    async def run(call: Call, context: HandlerContext) -> None:
        request = Requests(call) if method.request_streaming else await call.receive()
        call.has_begun = True
        if generates:
            async with aclosing(handler(request, context)) as responses:
                async for response in responses:
                    await call.send(response)
        elif method.response_streaming:
            await handler(request, context)
        else:
            response = await handler(request, context)
            if failure := context.failure():
                raise failure
            call.reply = call.encode(response)

    return run


def function_of(handler: RpcMethodHandler) -> Handler:
    """Return what was written to serve a method.

    Raises:
        TypeError: it is not async.
    """
    function = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return function
    if getattr(function, "__module__", "").endswith("_pb2_grpc"):  # left to the generated base class
        return refuse_unimplemented
    raise TypeError(f"{function!r} is not async")


async def refuse_unimplemented(_requests: object, _context: object) -> NoReturn:
    """Serve a method that nobody has written."""
    raise errors.Unimplemented
