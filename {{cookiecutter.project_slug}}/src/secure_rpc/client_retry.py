"""Calls that are made again as the server says: those refused by a quota or for load, before anything was done."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from secure_rpc.errors import STATUS_DETAILS_KEY

__all__ = ["wait_seconds", "when_allowed"]

REASONS = frozenset({"QUOTA_EXHAUSTED", "QUOTA_STORE_UNAVAILABLE", "LOAD_LIMIT"})  # given before a handler runs
SPREAD = 0.1  # of the time to wait, at most as much more: those refused together do not come again together

T = TypeVar("T")


async def when_allowed(
    call: Callable[[], Awaitable[T]],
    *,
    domain: str,
    within_seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    chance: Callable[[], float] = random.random,
) -> T:
    """Make a call, and make it again for as long as the server only asks to wait (RetryInfo, AIP-194).

    It does no harm to calls that must not be made twice: those that are made again were refused before they began.

    Args:
        call: makes it, each time anew.
        domain: the service's name, in which the reasons of refusals have their meaning.
        within_seconds: no attempt begins later than this. The wait for an answer is the call's own deadline.
        sleep: waits.
        clock: gives seconds that only grow.
        chance: gives a number from 0 to 1.

    Raises:
        grpc.RpcError: the last refusal, where waiting as told would take too long, or any other ending.
    """
    ends = clock() + within_seconds
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            told_seconds = wait_seconds(error, domain)
            if told_seconds is None:
                raise
            seconds = told_seconds * (1 + SPREAD * chance())
            if clock() + seconds > ends:
                raise
        await sleep(seconds)


def wait_seconds(error: grpc.aio.AioRpcError, domain: str) -> float | None:
    """Return how long a refusal asks to wait; None where it is none that waiting would change.

    Args:
        error: how a call ended.
        domain: the service's name.
    """
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            with suppress(DecodeError):
                status.ParseFromString(value)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    with suppress(DecodeError):
        found = [detail.Unpack(kind) for detail in status.details for kind in (info, retry)]
        if any(found) and info.domain == domain and info.reason in REASONS and retry.HasField("retry_delay"):
            return max(0.0, float(retry.retry_delay.ToMicroseconds()) / 1e6)
    return None
