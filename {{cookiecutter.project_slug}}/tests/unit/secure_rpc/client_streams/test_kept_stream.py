"""What happens between two calls of a stream, at moments that a server cannot be made to meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from secure_rpc.client_streams import KeptStream, Timing

from support.clocks import Clock
from support.feed import Sleeps

NOW = 1_000_000.0


class Script:
    """A call that goes as it is written, in place of gRPC's."""

    def __init__(self, *messages: int, ends: asyncio.Event, on_cancel: Callable[[], None] = lambda: None) -> None:
        self._messages = messages
        self._ends = ends
        self.cancel = on_cancel

    async def initial_metadata(self) -> list[tuple[str, str]]:
        return [("session-expires-at", str(int(NOW + 1000)))]

    async def __aiter__(self) -> AsyncIterator[int]:
        for message in self._messages:
            yield message
        try:
            await self._ends.wait()
        except asyncio.CancelledError:
            for _ in range(10):  # it takes its time
                await asyncio.sleep(0)
            raise
        metadata = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, metadata, metadata)


async def test_a_new_call_that_ends_while_the_old_one_is_let_go_is_followed_by_another() -> None:
    never, let_go = asyncio.Event(), asyncio.Event()
    calls = [Script(1, ends=never, on_cancel=let_go.set), Script(ends=let_go), Script(2, ends=never)]
    cursors: list[int] = []

    def open_call(cursor: int) -> Any:
        cursors.append(cursor)
        return calls.pop(0)

    sleep = Sleeps(Clock(NOW), longest=900)
    timing = Timing(clock=lambda: NOW, sleep=sleep, chance=lambda: 0.5)
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel, asyncio.timeout(10):
        stream: KeptStream[int] = KeptStream(channel, open_call, lambda message: message, timing=timing)
        async with stream:
            assert [await anext(stream), await anext(stream)] == [1, 2]
    assert cursors[-1] == 1
