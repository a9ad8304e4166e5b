"""A call leaves nothing for the collector of garbage, which stops all calls while it looks: the more, the longer."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from secure_rpc import errors, memory
from secure_rpc.call import Call
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.method import Method

from probe.v1 import probe_pb2 as pb
from support.probe import SHAPES, Servicer
from support.world import World

KEPT = ("Call", "HandlerContext", "RPCState", "_ServicerContext")
CALLS = 5
TURNS = 1_000_000  # of the event loop; gRPC needs a few
Act = Callable[[Any], Any]


class Refuse:
    """A stage that refuses each call."""

    def bind(self, _method: Method) -> Middleware:
        async def refuse(_call: Call, _proceed: Proceed) -> None:
            raise errors.ResourceExhausted("too many", reason="LOAD_SHED")

        return refuse


def answer(_context: Any) -> pb.Answer:
    return pb.Answer(text="fine")


def raise_a_status(_context: Any) -> None:
    raise errors.NotFound("not there")


def raise_a_status_for_a_reason(_context: Any) -> None:
    try:
        int("a reason")
    except ValueError as error:
        raise errors.NotFound("not there") from error


def fail(_context: Any) -> None:
    raise ValueError("broken")


def set_a_code(context: Any) -> pb.Answer:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    return pb.Answer()


def abort(context: Any) -> Any:
    return context.abort(grpc.StatusCode.ABORTED, "not now")


ACTS: tuple[Act, ...] = (
    answer, raise_a_status, raise_a_status_for_a_reason, fail, set_a_code, abort,
)  # fmt: skip


class Acting(Servicer):
    """Ends each call in the same way."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self._act = act

    async def perform(self, _ask: pb.Ask, context: Any) -> Any:
        done = self._act(context)
        return await done if asyncio.iscoroutine(done) else done


@contextmanager
def garbage() -> Iterator[list[str]]:
    """Give the names of what only the collector would have found, of what calls are made of."""
    found: list[str] = []
    logging.disable()  # pytest keeps what is logged, and so what was raised
    gc.collect()
    gc.disable()
    before = len(gc.garbage)
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += [type(each).__name__ for each in gc.garbage[before:] if type(each).__name__ in KEPT]
    finally:
        gc.set_debug(0)
        logging.disable(logging.NOTSET)
        del gc.garbage[before:]
        gc.enable()


async def ended(world: World) -> None:
    """Let the event loop turn until gRPC has let go of all calls."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if not any(pumps.under_way for pumps in world.server._server.pumps):  # type: ignore[attr-defined]
            return
    raise AssertionError("gRPC holds a call that has ended")


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_call_leaves_no_garbage_however_it_ends(shape: str, act: Act) -> None:
    async with World(servicer=Acting(act)) as world:
        with garbage() as found:
            for _ in range(CALLS):
                await world.ask(shape, "")
            await world.settled(CALLS)
            await ended(world)
        assert found == []


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_refused_call_leaves_no_garbage(shape: str) -> None:
    async with World(between=[Refuse()]) as world:
        with garbage() as found:
            for _ in range(CALLS):
                assert (await world.ask(shape, "")).code is grpc.StatusCode.RESOURCE_EXHAUSTED
            await world.settled(CALLS)
            await ended(world)
        assert found == []


async def test_a_call_that_its_client_leaves_leaves_no_garbage() -> None:
    async with World() as world:
        with garbage() as found:
            for _ in range(CALLS):
                call = world.call("Unary", pb.Ask(act="sleep"))
                await world.servicer.begun.acquire()
                call.cancel()
                await world.record()
            await ended(world)
        assert found == []


async def test_what_a_careless_handler_leaves_in_cycles_is_not_much_at_once() -> None:
    class Left:
        """Knows itself, and may hold a request."""

        def __init__(self) -> None:
            self.itself = self
            left.add(self)

    left: weakref.WeakSet[Left] = weakref.WeakSet()

    def leave(_context: Any) -> pb.Answer:
        Left()
        return pb.Answer()

    most, usual = 0, gc.get_threshold()
    memory.settle()
    try:
        async with World(servicer=Acting(leave)) as world:
            for _ in range(60):
                await asyncio.gather(*(world.ask("Unary", "") for _ in range(50)))
                await world.settled(50)
                most = max(most, len(left))
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
    assert most < 1500
