"""How a call ended, as the server knows it, for those who count and record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from secure_rpc import errors

if TYPE_CHECKING:
    from secure_rpc.call import Call
    from secure_rpc.method import Wire

logger = logging.getLogger(__name__)

CANCELLATION_DELAY_SECONDS = 0.001  # gRPC reports a broken stream first as a finished one, and cancels after
CLOCK_TOLERANCE_SECONDS = 0.1  # the client's deadline fires before ours and arrives as a plain cancellation


class Outcome(NamedTuple):
    """How a call ended, as the server knows it."""

    code: grpc.StatusCode
    reason: str
    error: BaseException | None


ENDED_WELL = Outcome(grpc.StatusCode.OK, "", None)


def outcome_of(error: BaseException | None, time_remaining: Callable[[], float | None]) -> Outcome:
    """Name what a call ended with.

    Args:
        error: that it ended with, None where it ended well.
        time_remaining: gives the seconds until the call had to end, None where it had not to.
    """
    if error is None:
        return ENDED_WELL
    if isinstance(error, asyncio.CancelledError | errors.Cancelled):
        remaining = time_remaining()
        if remaining is not None and remaining < CLOCK_TOLERANCE_SECONDS:
            return Outcome(grpc.StatusCode.DEADLINE_EXCEEDED, "", error)
        return Outcome(grpc.StatusCode.CANCELLED, "", error)
    if isinstance(error, errors.StatusError):
        return Outcome(error.code, error.recorded_reason, error)
    return Outcome(grpc.StatusCode.INTERNAL, "", error)


def tell_all(over: Iterable[Callable[[Call], None]], call: Call) -> None:
    """Tell each that a call is over; one that fails keeps no other from it, for that one may count calls."""
    for tell in over:
        try:
            tell(call)
        except Exception:  # as said
            logger.exception("who was to be told of the end failed in %s", call.path)


def is_cancelled() -> bool:
    """Tell whether the running call is being cancelled, even where someone swallowed the CancelledError."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def seen_to_its_end(context: Any, wire: Wire | None) -> None:
    """Return when nothing of the requests is still to come, where their stream was not broken but finished.

    Args:
        context: gRPC's, that has told of the end of the requests.
        wire: carries the call, where that is not gRPC's matter alone.

    Raises:
        CancelledError: the call was cancelled, and someone swallowed that: it must not be taken for a whole upload.
    """
    if wire is not None:
        wire.watch()
    await asyncio.sleep(CANCELLATION_DELAY_SECONDS)
    await context.read()  # its end comes after that of the call, where there is one, by the same queue
    if is_cancelled():
        raise asyncio.CancelledError
