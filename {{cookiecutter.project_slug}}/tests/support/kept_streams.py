"""Kept streams for which time passes at once, and what is taken of them."""

from __future__ import annotations

import asyncio
from typing import Any

from secure_rpc.client_streams import KeptStream, Position, Timing

from support.clocks import Clock
from support.feed import Sleeps, Source

PATIENCE_SECONDS = 20
NOW = 1_000_000.0
LIFE = 1000


def number(message: bytes) -> int:
    """Return the number that a message is."""
    return int(message)


def kept(source: Source, *, sleep: Sleeps | None = None, after: int | Position = 0, **said: Any) -> KeptStream[bytes]:
    """Return a stream for which time passes at once."""
    sleep = sleep or Sleeps(Clock(NOW))
    timing = Timing(clock=sleep.clock, sleep=sleep, chance=lambda: 0.5)
    return KeptStream(
        source.channel, source.open_call, said.pop("position", number), after=after, timing=timing, **said
    )


async def all_of(stream: KeptStream[bytes]) -> list[int]:
    """Return the numbers that come until the stream ends."""
    async with asyncio.timeout(PATIENCE_SECONDS), stream:
        return [number(message) async for message in stream]


async def take(stream: KeptStream[bytes], count: int) -> list[int]:
    """Return the next numbers."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [number(await anext(stream)) for _ in range(count)]
