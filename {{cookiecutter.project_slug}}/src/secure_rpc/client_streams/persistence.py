"""Whether a stream that has failed is opened again, and when: soon at first, later each time, not for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from secure_rpc.errors import STATUS_DETAILS_KEY

# what another attempt may change. gRPC's servers end with CANCELLED what reaches them while they shut down, its clients
# what is on a connection that they close; proxies make UNKNOWN and INTERNAL of a connection that broke
PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
EXPIRED = "TOKEN_EXPIRED"  # the one reason of UNAUTHENTICATED that a new token changes


class Told(NamedTuple):
    """What the rich status of an error says (AIP-193)."""

    reason: str
    retry_seconds: float  # before that, there is no sense in coming again


def told_by(error: grpc.aio.AioRpcError) -> Told:
    """Return reason and delay of an error, "" and 0 where it has none."""
    reason, retry_seconds, status = "", 0.0, status_pb2.Status()
    with suppress(DecodeError):  # a server's own
        status.ParseFromString(_packed(error))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        with suppress(DecodeError):
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(retry):
                retry_seconds = max(retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9, 0.0)
    return Told(reason, retry_seconds)


def _packed(error: grpc.aio.AioRpcError) -> bytes:
    found = dict(error.trailing_metadata() or ()).get(STATUS_DETAILS_KEY)
    return found if isinstance(found, bytes) else b""


def may_pass(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether another attempt may end otherwise."""
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return told_by(error).reason == EXPIRED
    return error.code() in PASSING


@dataclass(frozen=True, slots=True)
class Persistence:
    """How long a client goes on trying to open a stream, each time after a wait by chance up to twice as long.

    Args:
        first_seconds: the longest first wait.
        longest_seconds: the longest wait of all, unless a server asks for more by RetryInfo.
        attempts: after which it is given up; a message that comes, or a stream that lasts, begins the count anew.
        wait_seconds: the sum of the waits after which it is given up.
    """

    first_seconds: float = 0.2
    longest_seconds: float = 30.0
    attempts: int = 20
    wait_seconds: float = 600.0


class Attempts:
    """Count the attempts since there was progress.

    Args:
        persistence: how many there may be.
        chance: gives a random number below 1.
    """

    def __init__(self, persistence: Persistence, chance: Callable[[], float] = random.random) -> None:
        self._persistence = persistence
        self._chance = chance
        self._made = 0
        self._waited_seconds = 0.0

    def forget(self) -> None:
        """Begin anew: there was progress."""
        self._made, self._waited_seconds = 0, 0.0

    def wait_seconds(self, error: grpc.aio.AioRpcError) -> float:
        """Return how long to wait before the next attempt.

        Args:
            error: how the last one ended.

        Raises:
            grpc.aio.AioRpcError: that same error, where it will not pass, or has not passed for too long.
        """
        if not may_pass(error):
            raise error
        longest = min(self._persistence.longest_seconds, self._persistence.first_seconds * 2.0**self._made)
        seconds = told_by(error).retry_seconds + longest * self._chance()
        if self._made >= self._persistence.attempts or self._waited_seconds + seconds > self._persistence.wait_seconds:
            error.add_note(f"given up after {self._made} attempts and {self._waited_seconds:.1f} s of waiting")
            raise error
        self._made += 1
        self._waited_seconds += seconds
        return seconds
