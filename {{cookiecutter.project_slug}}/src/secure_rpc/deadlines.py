"""How long a unary call may take: the server has a word in it too, not the client alone.

It holds from the request on, and for what the service does with it; stages have limits of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from secure_rpc import errors
from secure_rpc.call import Call
from secure_rpc.method import Method


class TimeLimit:
    """Cut the calls that take longer than they may: all equally long, so one timer does for them.

    Args:
        seconds: how long each may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._held: dict[Call, float] = {}  # until when, by time.monotonic(); oldest first
        self._loop: asyncio.AbstractEventLoop | None = None  # to ask Python for it each time takes a system call
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, call: Call) -> None:
        """Have a call cut when its time is over; the running task is what serves it."""
        call.ends_at_seconds = self._held[call] = time.monotonic() + self.seconds
        call.enter_handler(self._loop)
        if self._timer is None:
            self._loop = asyncio.get_running_loop()
            self._timer = self._loop.call_later(self.seconds, self._expire, self._loop)

    def end(self, call: Call) -> bool:
        """Let go of a call that is done; return whether it was cut, which its task has then got over."""
        ends_at_seconds = self._held.pop(call, None)
        if ends_at_seconds is not None and time.monotonic() >= ends_at_seconds:  # the loop was not free to cut it
            call.refusal = call.refusal or self._error()
        return call.settle()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = time.monotonic()
        for call, ends_at_seconds in list(self._held.items()):
            if ends_at_seconds > now:
                self._timer = loop.call_later(ends_at_seconds - now, self._expire, loop)
                break
            del self._held[call]
            call.cut(self._error())

    def _error(self) -> errors.DeadlineExceeded:
        return errors.DeadlineExceeded(f"the server gives this call {self.seconds:g} seconds", reason="DEADLINE_LIMIT")


class Deadlines:
    """What becomes of calls whose clients would wait for ever, or nearly.

    Streams are let alone: they end with their client's deadline, and with their connection.

    Args:
        default_seconds: where the client sets no deadline; 0 for none.
        max_seconds: where it sets none, or a later one; 0 for any.
    """

    def __init__(self, default_seconds: float = 0.0, max_seconds: float = 0.0) -> None:
        forever = float("inf")
        self._max_seconds = max_seconds or forever
        self._default_seconds = min(default_seconds or forever, self._max_seconds)
        self._default = TimeLimit(self._default_seconds)
        self._max = TimeLimit(self._max_seconds)

    def limits(self, method: Method) -> Callable[[Call], TimeLimit | None] | None:
        """Return what gives the limit that a call of the method is held to; None where no call of it is."""
        if method.kind != "unary" or self._default_seconds == float("inf"):  # the default is never the longer
            return None
        default, at_most, most = self._default, self._max, self._max_seconds

        def limit_of(call: Call) -> TimeLimit | None:
            remaining = call.time_remaining()
            if remaining is None:
                return default
            return at_most if remaining > most else None

        return limit_of
