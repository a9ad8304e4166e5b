"""How many authentications a second there is room for: of principals that are known, new tokens, new certificates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc

from secure_rpc.loading import calling
from secure_rpc.loading.callers import DevelopmentIdentities, Metadata, Where, channels, once
from secure_rpc.loading.calling import Streaming
from secure_rpc.loading.mix import ANSWERED, Act
from secure_rpc.loading.usage import Usage

KNOWN, NEW_TOKEN, NEW_CERTIFICATE = "known", "new token", "new certificate"
AT_ONCE = 16
PRINCIPALS = 64  # that are known
TOKENS_PER_SECOND = 4000  # that are signed before: more than a server takes
CERTIFICATES_PER_SECOND = 400


@dataclass(slots=True)
class Authentications:
    """What was done in one way."""

    done: int = 0
    refused: int = 0
    seconds: float = 0.0

    def figures(self, server: dict[str, float]) -> dict[str, Any]:
        """Return what is told of it."""
        cpu = {"cpu_us": server["cpu_seconds"] / self.done * 1e6} if server and self.done else {}
        return {"done": self.done, "refused": self.refused, "per_second": self.done / self.seconds, **cpu}


async def measure(
    where: Where, identities: DevelopmentIdentities, act: Act, seconds: float, usage: Usage
) -> dict[str, dict[str, Any]]:
    """Return how many a second were done in each way, as fast as they were answered, for a time each.

    Args:
        where: the service.
        identities: who can sign.
        act: a call that is authenticated.
        seconds: for each of the ways, at the most.
        usage: of the server.
    """
    act = replace(act, caller="allowed")
    known = identities.tokens(PRINCIPALS, "known")
    fresh = identities.tokens(int(TOKENS_PER_SECOND * seconds), "new")
    certificates = [identities.credentials() for _ in range(int(CERTIFICATES_PER_SECOND * seconds))]
    found = {}
    credentials = where.certificate().grpc_credentials()
    async with channels(lambda: where.open_channel(credentials), AT_ONCE) as opened:

        async def by_token(number: int, token: str) -> bool:
            return await _is_let_in(opened[number % AT_ONCE], act, token)

        for token in known:  # seen before
            await by_token(0, token)
        endless = (known[number % PRINCIPALS] for number in range(10**9))
        found[KNOWN] = await _timed(endless, by_token, seconds, usage)
        found[NEW_TOKEN] = await _timed(iter(fresh), by_token, seconds, usage)

    async def by_certificate(number: int, credentials: grpc.ChannelCredentials) -> bool:
        async with _closing(where.open_channel(credentials)) as channel:
            return await _is_let_in(channel, act, known[number % PRINCIPALS])

    found[NEW_CERTIFICATE] = await _timed(iter(certificates), by_certificate, seconds, usage)
    return found


async def _timed(
    showing: Iterator[Any], authenticate: Callable[[int, Any], Awaitable[bool]], seconds: float, usage: Usage
) -> dict[str, Any]:
    counted = Authentications()
    numbers = enumerate(showing)
    await usage.begin()
    started = time.perf_counter()
    end = started + seconds

    async def go_on() -> None:
        for number, shown in numbers:
            if time.perf_counter() >= end:
                return
            if await authenticate(number, shown):
                counted.done += 1
            else:
                counted.refused += 1

    await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))
    counted.seconds = time.perf_counter() - started
    return counted.figures(await usage.end())


async def _is_let_in(channel: grpc.aio.Channel, act: Act, token: str) -> bool:
    metadata: Metadata = (("authorization", f"Bearer {token}"), *(once() if act.replay_protected else ()))
    told = await calling.make(channel, act, metadata, Streaming())
    return told.ended.split()[0] in ANSWERED


@asynccontextmanager
async def _closing(channel: grpc.aio.Channel) -> AsyncIterator[grpc.aio.Channel]:
    try:
        yield channel
    finally:
        await channel.close()
