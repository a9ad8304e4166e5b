"""How a call ended, as the server knows it, for those who count and record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import grpc

from secure_rpc import errors

CLOCK_TOLERANCE_SECONDS = 0.1  # the client's deadline fires before ours and arrives as a plain cancellation


class Outcome(NamedTuple):
    """How a call ended, as the server knows it."""

    code: grpc.StatusCode
    reason: str
    error: BaseException | None


_OK = Outcome(grpc.StatusCode.OK, "", None)


def outcome_of(error: BaseException | None, time_remaining: Callable[[], float | None]) -> Outcome:
    """Name what a call ended with.

    Args:
        error: that it ended with, None where it ended well.
        time_remaining: gives the seconds until the call had to end, None where it had not to.
    """
    if error is None:
        return _OK
    if isinstance(error, asyncio.CancelledError | errors.Cancelled):
        remaining = time_remaining()
        if remaining is not None and remaining < CLOCK_TOLERANCE_SECONDS:
            return Outcome(grpc.StatusCode.DEADLINE_EXCEEDED, "", error)
        return Outcome(grpc.StatusCode.CANCELLED, "", error)
    if isinstance(error, errors.StatusError):
        return Outcome(error.code, error.recorded_reason, error)
    return Outcome(grpc.StatusCode.INTERNAL, "", error)
