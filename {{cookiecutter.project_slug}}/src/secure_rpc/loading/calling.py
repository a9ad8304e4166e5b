"""One call of any kind: how it ended, and when the first thing was heard of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc

from secure_rpc.client_status import await_servers_word
from secure_rpc.drills.traffic import told_by
from secure_rpc.loading.callers import Metadata
from secure_rpc.loading.mix import Act

OPEN = "OPEN"  # a stream that we have ended: it might have gone on
DEADLINE_SECONDS = 10.0


class Told(NamedTuple):
    """What came of a call."""

    ended: str  # "OK", "OPEN", or a status and the reason that came with it
    heard: float | None  # when, by `time.perf_counter`: the response, the first message, or the refusal
    messages: int = 0  # answers of a stream


@dataclass(frozen=True, slots=True)
class Streaming:
    """How far streams go."""

    messages: int = 10  # that are sent, and read at the most
    seconds: float = 1.0  # that one stays open at the most


async def make(channel: grpc.aio.Channel, act: Act, metadata: Metadata, streaming: Streaming) -> Told:
    """Make a call and see it to its end."""
    told: Told = await _MAKERS[act.kind](channel, act, metadata, streaming)
    return told


async def _unary(channel: Any, act: Act, metadata: Metadata, _streaming: Streaming) -> Told:
    return await _answer(channel.unary_unary(act.path)(act.request, metadata=metadata, timeout=DEADLINE_SECONDS))


async def _client_stream(channel: Any, act: Act, metadata: Metadata, streaming: Streaming) -> Told:
    requests = _repeated(act.request, streaming.messages)
    call = channel.stream_unary(act.path)(requests, metadata=metadata, timeout=DEADLINE_SECONDS)
    await_servers_word(call)
    return await _answer(call)


async def _server_stream(channel: Any, act: Act, metadata: Metadata, streaming: Streaming) -> Told:
    call = channel.unary_stream(act.path)(act.request, metadata=metadata, timeout=DEADLINE_SECONDS + streaming.seconds)
    return await _answers(call, streaming)


async def _bidi_stream(channel: Any, act: Act, metadata: Metadata, streaming: Streaming) -> Told:
    requests = _repeated(act.request, streaming.messages)
    call = channel.stream_stream(act.path)(requests, metadata=metadata, timeout=DEADLINE_SECONDS + streaming.seconds)
    await_servers_word(call)
    return await _answers(call, streaming)


_MAKERS: dict[str, Callable[..., Any]] = {
    "unary": _unary,
    "client_stream": _client_stream,
    "server_stream": _server_stream,
    "bidi_stream": _bidi_stream,
}


async def _answer(call: Any) -> Told:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return Told(told_by(error), time.perf_counter())
    return Told("OK", time.perf_counter())


async def _answers(call: Any, streaming: Streaming) -> Told:
    first, count = None, 0
    try:
        async with asyncio.timeout(streaming.seconds):
            async for _ in call:
                first = first or time.perf_counter()
                count += 1
                if count > streaming.messages:  # one more than are answered to those that were sent
                    break
            else:
                return Told("OK", first or time.perf_counter(), count)
    except grpc.aio.AioRpcError as error:
        return Told(told_by(error), first or time.perf_counter(), count)
    except TimeoutError:
        pass
    call.cancel()
    with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await call.code()
    return Told(OPEN, first, count)


async def _repeated(request: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield request
