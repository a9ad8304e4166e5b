"""How many messages a caller may send on one stream, and how fast: GCRA with one number, kept by the stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from secure_rpc import errors
from secure_rpc.call import Check
from secure_rpc.settings import Limits


class StreamLimits:
    """Limit streams.

    Args:
        messages_per_second: on one stream; 0 for any.
        burst: messages that may come at once; 0: as many as in a second.
        messages: on one stream in all; 0 for any.
        clock: gives seconds that only grow.
    """

    def __init__(
        self,
        messages_per_second: float = 0.0,
        burst: int = 0,
        messages: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_seconds = 1 / messages_per_second if messages_per_second else 0.0
        self._tolerance_seconds = self._interval_seconds * max((burst or int(messages_per_second)) - 1, 0)
        self._messages = messages
        self._clock = clock
        self.any = bool(messages_per_second or messages)  # whether there is something to limit

    @classmethod
    def of(cls, limits: Limits) -> StreamLimits:
        """Return what the settings say."""
        return cls(limits.stream_messages_per_second, limits.stream_message_burst, limits.stream_messages)

    def check(self) -> Check:
        """Return what counts the messages of one stream, and refuses one too many."""
        interval, tolerance, clock = self._interval_seconds, self._tolerance_seconds, self._clock
        most, due, seen = self._messages, 0.0, 0

        def count(_message: Any) -> None:
            nonlocal due, seen
            seen += 1
            if 0 < most < seen:
                raise errors.ResourceExhausted(f"a stream may have {most} messages", reason="STREAM_MESSAGES")
            if interval:
                now = clock()
                due = max(due, now)
                early = due - now - tolerance
                if early > interval / 100:  # sums of floats
                    raise errors.ResourceExhausted(
                        f"a stream may have {1 / interval:g} messages a second",
                        reason="STREAM_RATE",
                        details=[errors.retry_after(timedelta(seconds=early))],
                    )
                due += interval

        return count
