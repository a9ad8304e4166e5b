"""The serving loop: pumps for each method, in place of grpc.aio's single loop over all of them.

grpc.aio 1.85 decodes the path of every call in its one serving loop. A path that is not UTF-8 raises there and ends the
whole server, before any code of ours has run; and with registered methods each call costs O(number of methods).
Here gRPC's core matches the paths, as bytes; whatever it does not know comes out as `UNKNOWN_METHOD`, undecoded.

This reaches below grpc.aio's public surface. `is_supported()` says whether the installed version has what it needs;
where it has not, use a plain `grpc.aio.server` under a supervisor, and say so in log and metric.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server as grpc_aio_server

from secure_rpc import carrying
from secure_rpc.call import Wire

UNKNOWN_METHOD = "/unknown"
# With one pump, calls would wait in gRPC's core while our loop has little to do: unseen by the load limit, unrefused,
# first come first served, so that a caller who floods makes all others wait
MAX_PUMPS = 32  # of a method, some 2.5 KB each; no limit for all: who uses many methods would leave the others one each
_UNLIMITED = False  # whether too many calls are under way: the load-limit stage sees to that
_NEEDED = (*carrying.NEEDED, "_handle_rpc", "_schedule_rpc_coro")
_NEEDED_METHODS = (
    "_make_request_call_future",
    "_request_call",
    "_request_registered_call",
    "add_registered_method_handlers",
)

logger = logging.getLogger(__name__)


@runtime_checkable
class Answering(Protocol):
    """A handler that serves calls by itself, from gRPC's context to their end.

    What gRPC puts in between is three coroutines, and a cycle of references for each call, which only the collector of
    garbage ends.
    """

    def answering(self, path: str) -> Callable[[Any, Wire], Coroutine[Any, Any, None]]:
        """Return what serves each call of a method, given its context and what carries it."""

    def lasts(self, path: str) -> bool:
        """Tell whether calls of a method are expected to last: their clients are watched from the start."""


def is_supported() -> bool:
    """Tell whether this grpcio has the parts that the loop is made of."""
    return (
        all(hasattr(cygrpc, name) for name in _NEEDED)
        and all(hasattr(cygrpc.AioServer, name) for name in _NEEDED_METHODS)
        and hasattr(grpc_aio_server, "_augment_channel_arguments")
    )


class _Resolver:
    def __init__(self, handler: grpc.GenericRpcHandler) -> None:
        self._handler = handler

    def resolve_handler(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler.service(handler_call_details)


class _Pumps:
    """Those of one method: as many as it has calls under way, within bounds.

    Args:
        take: returns when gRPC's core hands over a call.
        begin: begins it.
        under_way: holds what serves a call until that has ended; asyncio itself keeps only weak references.
    """

    __slots__ = ("begin", "count", "take", "under_way")

    def __init__(
        self, take: Callable[[], Awaitable[Any]], begin: Callable[[Any], None], under_way: set[object]
    ) -> None:
        self.take = take
        self.begin = begin
        self.under_way = under_way
        self.count = 0

    def are_too_few(self) -> bool:
        """Tell whether calls may be waiting in gRPC's core."""
        return self.count < min(len(self.under_way), MAX_PUMPS)


class _PumpedServer(cygrpc.AioServer):  # type: ignore[misc]  # grpc is untyped at run time
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handler: grpc.GenericRpcHandler,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Sequence[tuple[str, Any]],
    ) -> None:
        super().__init__(loop, None, [handler], interceptors, options, None)
        self._handler = handler
        self._event_loop = loop
        self._outer = tuple(interceptors)
        self._pumping: set[object] = set()
        self.pumps: list[_Pumps] = []
        self._short = carrying.ShortCalls(loop)

    def _make_request_call_future(self, path: bytes | None) -> asyncio.Future[None]:
        """Start a method's pumps; what grpc's own loop gets to wait for completes only at shutdown."""
        ended: asyncio.Future[None] = self._event_loop.create_future()
        name = UNKNOWN_METHOD if path is None else path.decode()
        take = self._request_call if path is None else partial(self._request_registered_call, path)
        under_way: set[object] = set()
        pumps = _Pumps(take, self._beginning(name, under_way), under_way)
        self.pumps.append(pumps)
        self._add(pumps, ended)
        return ended

    def _add(self, pumps: _Pumps, ended: asyncio.Future[None]) -> None:
        pumps.count += 1
        self._start(self._pump(pumps, ended), self._pumping)

    async def _pump(self, pumps: _Pumps, ended: asyncio.Future[None]) -> None:
        try:
            while True:
                state = await pumps.take()
                pumps.begin(state)
                if pumps.are_too_few():
                    self._add(pumps, ended)
        except Exception as error:  # noqa: BLE001  # a _RequestCallError when shutdown begins; anything else ends the server, loudly
            if not ended.done():  # grpc's loop cancels the others' as soon as one has ended
                ended.set_exception(error)

    def _beginning(self, name: str, under_way: set[object]) -> Callable[[Any], None]:
        """Return what begins each call of a method, as gRPC's core has handed it over."""
        loop, outer = self._event_loop, self._outer
        if outer or not isinstance(self._handler, Answering):
            resolver = _Resolver(self._handler)

            def begin(state: Any) -> None:
                rpc = cygrpc._handle_rpc(name, resolver, outer, state, loop, _UNLIMITED)
                self._start(cygrpc._schedule_rpc_coro(rpc, state, loop, name), under_way)

            return begin
        answer, lasts, short = self._handler.answering(name), self._handler.lasts(name), self._short

        def begin_directly(state: Any) -> None:
            carrier = carrying.Carrier(state, loop, under_way, lasts=lasts)
            context = carrier.context
            carrier.begin(answer(context, carrier))
            if lasts:
                carrier.watch()
            else:
                short.add(carrier, context.time_remaining())

        return begin_directly

    def _start(self, work: Coroutine[Any, Any, None], keep: set[object]) -> None:
        task = self._event_loop.create_task(work)
        keep.add(task)
        task.add_done_callback(keep.discard)


def pumped_server(
    handler: grpc.GenericRpcHandler,
    paths: Iterable[str],
    *,
    options: Sequence[tuple[str, Any]] = (),
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> grpc.aio.Server:
    """Return a grpc.aio server whose calls go to `handler`, under their path or under `UNKNOWN_METHOD`.

    Args:
        handler: answers `service()` for each of the paths and for `UNKNOWN_METHOD`.
        paths: "/package.Service/Method" of every method, those of health and reflection included.
        options: channel arguments of the server.
        interceptors: third-party ones, outside of the handler.
    """
    server: Any = grpc.aio.server(options=options)
    arguments = grpc_aio_server._augment_channel_arguments(tuple(options), None)
    methods = dict.fromkeys(paths)
    server._server = _PumpedServer(server._loop, handler, interceptors, arguments)
    server._server.add_registered_method_handlers(methods)
    return server  # type: ignore[no-any-return]
