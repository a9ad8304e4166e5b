"""The chain: ordinary servicers in, one `grpc.GenericRpcHandler` out.

gRPC is told that every method streams its requests and takes raw bytes. So a stage runs before the caller's
message is read, let alone parsed, and a caller that sends headers alone waits under our clock, not under its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol, TypeAlias

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc import errors
from secure_rpc.call import UNLIMITED, Call, Contract, Method, Patience, Wire, current_call, enter
from secure_rpc.deadlines import Deadlines
from secure_rpc.handling import OVER, Handler, RpcMethodHandler, function_of, refuse_unimplemented, terminal
from secure_rpc.live import LiveStreams
from secure_rpc.observing import Middleware, Noting, Observer, Proceed, observed, parted

__all__ = ["Middleware", "Proceed", "Stage"]

ContractOf: TypeAlias = Callable[[str, MethodDescriptor | None], Contract]
Answer: TypeAlias = Callable[[Any, Wire], Coroutine[Any, Any, None]]  # serves a call, of which it has gRPC's context

CORRELATION_ID_KEY = "correlation-id"  # trailing metadata of every refusal: what to look for in log and audit

_UNARY: Any = grpc.stream_unary_rpc_method_handler

logger = logging.getLogger(__name__)


class Stage(Protocol):
    """One concern of the chain."""

    def bind(self, method: Method) -> Middleware | Observer | None:
        """Return what surrounds or watches each call of the method, None if the method does not need the stage."""


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
        self._abort_patience = Patience(abort_timeout_seconds)
        self._max_request_bytes = max_request_bytes
        self._max_response_bytes = max_response_bytes
        self._methods: dict[str, _Served] = {}
        self.under_way = 0  # calls that have begun and not ended
        self.ended = 0  # calls, since the start
        self.taken_up = 0  # calls that gRPC has handed over, since the start
        self._unknown = self._compile(Method("", self._patience), refuse_unimplemented)

    @property
    def methods(self) -> list[Method]:
        """Return the methods that were added."""
        return [served.method for served in self._methods.values()]

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
            self._methods[method.path] = self._compile(method, function_of(handler))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> RpcMethodHandler:
        """Give gRPC the handler of one call; this runs in the task, and so in the context, of that call."""
        self.taken_up += 1
        path = handler_call_details.method
        served = self._methods.get(path, self._unknown)
        enter(Call(served.method, path, handler_call_details.invocation_metadata))
        return served.handler

    def answering(self, path: str) -> Answer:
        """Return what serves the calls of a method without gRPC's own steps in between; each in a task of its own."""
        served = self._methods.get(path, self._unknown)
        method, run = served.method, served.run

        async def answer(context: Any, wire: Wire) -> None:
            self.taken_up += 1
            call = Call(method, path, context.invocation_metadata())
            call.context, call.wire = context, wire
            enter(call)
            try:
                refusal = await run(call)
                if refusal is None:
                    await wire.finish(call.reply)
                else:
                    await self._end(call, refusal, wire)
            finally:
                call.context, call.wire = OVER, None  # whoever keeps the call keeps no stream open

        return answer

    def lasts(self, path: str) -> bool:
        """Tell whether calls of a method may last: its requests or its responses are streams."""
        method = self._methods.get(path, self._unknown).method
        return method.request_streaming or method.response_streaming

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

    def _compile(self, method: Method, handler: Handler) -> _Served:
        proceed = self._through(method, terminal(method, handler, self._deadlines))
        lasts = method.request_streaming or method.response_streaming
        begin, leave = (self._live.add, self._live.discard) if lasts else (_pass, _pass)

        async def run(call: Call) -> errors.StatusError | None:
            self.under_way += 1
            begin(call)
            try:
                await proceed(call)
            except errors.StatusError as error:
                return error.with_traceback(None)  # it holds the frames that hold it
            except asyncio.CancelledError as error:  # not always the caller's; gRPC would not answer
                error.with_traceback(None)  # the future that was waited for may keep it
                return errors.Cancelled()
            except Exception as error:
                logger.exception("a stage failed in %s", method.path)
                error.with_traceback(None)
                return errors.Internal()
            else:
                return None
            finally:
                leave(call)
                call.end()
                self.under_way -= 1
                self.ended += 1

        async def serve(_requests: object, context: Any) -> bytes | None:
            call = current_call()
            call.context = context
            refusal = await run(call)
            if refusal is None:
                return call.reply
            with suppress(TimeoutError, grpc.aio.InternalError):  # the client does not read; the client is gone
                async with asyncio.timeout(self._abort_timeout_seconds):
                    await context.abort(refusal.code, refusal.message, self._trailers(call, refusal))
            return None

        handle = grpc.stream_stream_rpc_method_handler if method.response_streaming else _UNARY
        return _Served(method, run, handle(serve))

    def _through(self, method: Method, proceed: Proceed) -> Proceed:
        """Return what leads a call through the stages that the method needs, to what proceeds with it."""
        plain = noting = proceed  # with a call of which no trace is kept, and with one of which it is
        observers: list[Observer] = []  # neighbours, who share one look at each call
        for stage in reversed(self._stages):
            bound = stage.bind(method)
            if isinstance(bound, Observer):
                observers.insert(0, bound)
                continue
            if bound is None:
                continue
            if observers:  # one of them may be who begins the trace
                plain = noting = _link(observed(method, observers), parted(plain, noting))
                observers = []
            plain, noting = _linked(bound, plain, noting)
        proceed = parted(plain, noting)
        return _link(observed(method, observers), proceed) if observers else proceed

    async def _end(self, call: Call, refusal: errors.StatusError, wire: Wire) -> None:
        """Refuse a call by its status alone: gRPC's `abort` raises, and keeps what it raised with all that ran."""
        context = call.context
        context.set_code(refusal.code)
        context.set_details(refusal.message)
        context.set_trailing_metadata(self._trailers(call, refusal))
        with suppress(TimeoutError):  # the client does not read
            await self._abort_patience.wait(wire.finish(None))

    def _trailers(self, call: Call, error: errors.StatusError) -> errors.Metadata:
        own = error.trailing_metadata(self._domain)
        return (*call.context.trailing_metadata(), *own, (CORRELATION_ID_KEY, call.id))


class _Served(NamedTuple):
    """A method, what runs its calls to their outcome, and the same as gRPC has it."""

    method: Method
    run: Callable[[Call], Awaitable[errors.StatusError | None]]
    handler: RpcMethodHandler


def _pass(_call: Call) -> None:
    """Do nothing for a call that is over soon."""


def _linked(middleware: Middleware, plain: Proceed, noting: Proceed) -> tuple[Proceed, Proceed]:
    if isinstance(middleware, Noting):
        return _link(middleware.plain, plain), _link(middleware.noting, noting)
    linked = _link(middleware, plain)
    return linked, linked if plain is noting else _link(middleware, noting)


def _link(middleware: Middleware, proceed: Proceed) -> Proceed:
    return lambda call: middleware(call, proceed)
