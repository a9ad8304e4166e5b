"""A call of any streaming kind whose session is extended while it lasts; what it carries is the application's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc

from secure_rpc.client_streams.renewal import Renewal, Session, Timing

C = TypeVar("C", bound=Any)


async def _nothing(_expires_at_seconds: float) -> None: ...


@asynccontextmanager
async def kept_call(
    channel: grpc.aio.Channel,
    call: C,
    *,
    on_ending: Callable[[float], Awaitable[None]] = _nothing,
    timing: Timing | None = None,
) -> AsyncIterator[C]:
    """Keep a call going for as long as the block runs, and end it then.

    What it takes to begin a stream of requests anew, the application alone knows. So it is told when the call cannot
    be extended, and may begin another while this one still serves.

    Args:
        channel: that of the call; its token source gives the new tokens.
        call: the `grpc.aio` call.
        on_ending: awaited once, with the Unix time in seconds at which the call will end.
        timing: when the session is extended.
    """
    keeping = asyncio.create_task(_keep(channel, call, on_ending, timing or Timing()))
    try:
        yield call
    finally:
        call.cancel()
        keeping.cancel()
        [ended] = await asyncio.gather(keeping, return_exceptions=True)
    if isinstance(ended, Exception):  # of `on_ending`: nobody else would learn of it
        raise ended


async def _keep(
    channel: grpc.aio.Channel, call: Any, on_ending: Callable[[float], Awaitable[None]], timing: Timing
) -> None:
    session = Session(await call.initial_metadata())

    async def give_up() -> bool:
        await on_ending(session.expires_at_seconds)
        return True

    await Renewal(channel, timing).keep(session, give_up)
