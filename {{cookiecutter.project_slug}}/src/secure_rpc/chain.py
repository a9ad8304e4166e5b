"""The chain: ordinary servicers in, one `grpc.GenericRpcHandler` out.

gRPC is told that every method streams its requests and takes raw bytes. So a stage runs before the caller's
message is read, let alone parsed, and a caller that sends headers alone waits under our clock, not under its own.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc import errors
from secure_rpc.call import UNLIMITED, Call, Contract, Method, Patience, current_call, enter, is_cancelled
from secure_rpc.deadlines import Deadlines
from secure_rpc.live import LiveStreams

__all__ = ["Middleware", "Proceed", "Stage"]

Proceed: TypeAlias = Callable[[Call], Awaitable[None]]
Middleware: TypeAlias = Callable[[Call, Proceed], Awaitable[None]]
ContractOf: TypeAlias = Callable[[str, MethodDescriptor | None], Contract]
Handler: TypeAlias = Callable[[Any, Any], Any]
RpcMethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

CORRELATION_ID_KEY = "correlation-id"  # trailing metadata of every refusal: what to look for in log and audit

logger = logging.getLogger(__name__)


class Stage(Protocol):
    """One concern of the chain."""

    def bind(self, method: Method) -> Middleware | None:
        """Return what surrounds each call of the method, None if the method does not need the stage."""


class Chain(grpc.GenericRpcHandler):
    """Pass it to `add_XServicer_to_server` as the server, then to `serving.pumped_server`.

    Args:
        stages: outermost first.
        contract_of: gives a method's contract from its path and descriptor; raises to refuse it, at start.
        domain: who gives the reasons of refusals their meaning (AIP-193), the service's name.
        request_timeout_seconds: how long the message of a unary request may be on its way.
        deadlines: how long unary calls may take, whatever their clients say.
        abort_timeout_seconds: how long a status may wait for a client that does not read.
        max_request_bytes: of one message, where the method's contract does not say.
        max_response_bytes: of one message.
        live: is told of the streams that are under way.
    """

    def __init__(  # noqa: PLR0913  # each is a choice of its own
        self,
        stages: Sequence[Stage],
        contract_of: ContractOf,
        *,
        domain: str = errors.DOMAIN,
        request_timeout_seconds: float = 10.0,
        deadlines: Deadlines | None = None,
        abort_timeout_seconds: float = 1.0,
        max_request_bytes: int = UNLIMITED,
        max_response_bytes: int = UNLIMITED,
        live: LiveStreams | None = None,
    ) -> None:
        self._live = live if live is not None else LiveStreams()
        self._stages = tuple(stages)
        self._contract_of = contract_of
        self._domain = domain
        self._patience = Patience(request_timeout_seconds)
        self._deadlines = deadlines or Deadlines()
        self._abort_timeout_seconds = abort_timeout_seconds
        self._max_request_bytes = max_request_bytes
        self._max_response_bytes = max_response_bytes
        self._methods: dict[str, tuple[Method, RpcMethodHandler]] = {}
        self.under_way = 0  # calls that have begun and not ended
        self.ended = 0  # calls, since the start
        self.taken_up = 0  # calls that gRPC has handed over, since the start
        unknown = Method("", self._patience)
        self._unknown = unknown, self._compile(unknown, _refuse_unimplemented)

    @property
    def methods(self) -> list[Method]:
        """Return the methods that were added."""
        return [method for method, _ in self._methods.values()]

    def add_generic_rpc_handlers(self, handlers: Iterable[object]) -> None:
        """Ignore what generated code also hands over by name, in `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, RpcMethodHandler]) -> None:
        """Bind the stages to each method of a service.

        Raises:
            TypeError: a handler is not async.
            ConfigurationError: a method has no contract, or asks for what a stage cannot give.
        """
        methods = [self._describe(service, name, handler) for name, handler in handlers.items()]
        for method, handler in zip(methods, handlers.values(), strict=True):
            self._methods[method.path] = method, self._compile(method, _function_of(handler))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> RpcMethodHandler:
        """Give gRPC the handler of one call; this runs in the task, and so in the context, of that call."""
        self.taken_up += 1
        path = handler_call_details.method
        method, handler = self._methods.get(path, self._unknown)
        enter(Call(method, path, handler_call_details.invocation_metadata))
        return handler

    def _describe(self, service: str, name: str, handler: RpcMethodHandler) -> Method:
        path, descriptor, response_type = f"/{service}/{name}", None, None
        with suppress(KeyError):  # a service without a proto: bytes in, bytes out
            descriptor = descriptor_pool.Default().FindMethodByName(f"{service}.{name}")
            response_type = message_factory.GetMessageClass(descriptor.output_type)
        contract = self._contract_of(path, descriptor)
        return Method(
            path=path,
            request_streaming=handler.request_streaming,
            response_streaming=handler.response_streaming,
            descriptor=descriptor,
            contract=contract,
            decode=handler.request_deserializer or bytes,
            encode=handler.response_serializer or bytes,
            response_type=response_type,
            patience=self._patience,
            max_request_bytes=contract.max_request_bytes or self._max_request_bytes,
            max_response_bytes=self._max_response_bytes,
        )

    def _compile(self, method: Method, handler: Handler) -> RpcMethodHandler:
        proceed = self._deadlines.hold(method, _terminal(method, handler))
        for stage in reversed(self._stages):
            middleware = stage.bind(method)
            if middleware is not None:
                proceed = _link(middleware, proceed)

        lasts = method.request_streaming or method.response_streaming
        begin, leave = (self._live.add, self._live.discard) if lasts else (_pass, _pass)

        async def serve(_requests: object, context: Any) -> bytes | None:
            call = current_call()
            call.context = context
            refusal: errors.StatusError
            self.under_way += 1
            begin(call)
            try:
                await proceed(call)
            except errors.StatusError as error:
                refusal = error.with_traceback(None)  # it holds the frames that hold it
            except asyncio.CancelledError:  # answer all the same: gRPC would not, and it may not be the caller's
                refusal = errors.Cancelled()
            except Exception:
                logger.exception("a stage failed in %s", method.path)
                refusal = errors.Internal()
            else:
                return call.reply
            finally:
                leave(call)
                call.end()
                self.under_way -= 1
                self.ended += 1
            await self._refuse(call, refusal)
            return None

        if method.response_streaming:
            return grpc.stream_stream_rpc_method_handler(serve)
        return grpc.stream_unary_rpc_method_handler(serve)

    async def _refuse(self, call: Call, error: errors.StatusError) -> None:
        trailers = (
            *call.context.trailing_metadata(),
            *error.trailing_metadata(self._domain),
            (CORRELATION_ID_KEY, call.id),
        )
        with suppress(TimeoutError, grpc.aio.InternalError):  # the client does not read; the client is gone
            async with asyncio.timeout(self._abort_timeout_seconds):
                await call.context.abort(error.code, error.message, trailers)


class HandlerContext:
    """The context a handler sees: gRPC's own, but reading, writing and aborting go through the chain."""

    __slots__ = ("_call", "_grpc")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._grpc = call.context

    def __getattr__(self, name: str) -> Any:
        """Leave all else to gRPC's context."""
        return getattr(self._grpc, name)

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
        """Send the metadata, with what the call's session has to tell."""
        session = self._call.session
        await (self._grpc if session is None else session).send_initial_metadata(metadata)

    async def abort(self, code: Any, details: str = "", trailing_metadata: errors.Metadata = ()) -> NoReturn:
        """End the call with a status; sticks even where the handler swallows it."""
        error = errors.of(code, details or self._grpc.details(), tuple(trailing_metadata or ()))
        self._call.refusal = self._call.refusal or error
        raise self._call.refusal

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a status that has all three in one."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def failure(self) -> errors.StatusError | None:
        """Return how the handler has ended the call other than by raising, if it has."""
        code = self._grpc.code()
        if code and code is not grpc.StatusCode.OK and self._call.refusal is None:  # 0 or None where nobody set one
            self._call.refusal = errors.of(code, self._grpc.details())
        return self._call.refusal


def _terminal(method: Method, handler: Handler) -> Proceed:
    """Return the end of the chain: the handler, and what it may do, turned into a reply or a StatusError."""
    run, lasts = _runner(method, handler), method.request_streaming or method.response_streaming

    async def finish(call: Call) -> None:
        if call.refusal is not None:  # cut before it came here
            raise call.refusal
        context = HandlerContext(call)
        error: BaseException | None = None
        if lasts:
            call.enter_handler()
        try:
            await run(call, context)
        except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001  # whatever it raises is turned below
            error = caught
        was_cut = lasts and call.settle()
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

    return finish


def _runner(method: Method, handler: Handler) -> Callable[[Call, HandlerContext], Awaitable[None]]:
    """Return what calls a handler of any kind and style, and sees that each of its messages is sent."""
    generates = inspect.isasyncgenfunction(handler)

    async def run(call: Call, context: HandlerContext) -> None:
        request = call.requests() if method.request_streaming else await call.receive()
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


def _pass(_call: Call) -> None:
    """Do nothing for a call that is over soon."""


def _link(middleware: Middleware, proceed: Proceed) -> Proceed:
    return lambda call: middleware(call, proceed)


def _function_of(handler: RpcMethodHandler) -> Handler:
    function = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return function
    if getattr(function, "__module__", "").endswith("_pb2_grpc"):  # left to the generated base class
        return _refuse_unimplemented
    raise TypeError(f"{function!r} is not async")


async def _refuse_unimplemented(_requests: object, _context: object) -> NoReturn:
    raise errors.Unimplemented
