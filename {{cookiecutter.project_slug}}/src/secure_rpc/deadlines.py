"""How long a unary call may take: the server has a word in it too, not the client alone.

It holds from the request on, and for what the service does with it; stages have limits of their own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from secure_rpc import errors
from secure_rpc.call import Call
from secure_rpc.method import Method, Patience


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
        self._default = Patience(self._default_seconds)
        self._max = Patience(self._max_seconds)

    def hold(self, method: Method, proceed: Callable[[Call], Awaitable[None]]) -> Callable[[Call], Awaitable[None]]:
        """Return what proceeds with a call of the method, and ends it in time."""
        if method.kind != "unary" or self._default_seconds == float("inf"):  # the default is never the longer
            return proceed
        by_default, default = self._default, self._default_seconds
        at_most, most = self._max, self._max_seconds

        def hold(call: Call) -> Awaitable[None]:
            remaining = call.time_remaining()
            if remaining is None:
                return _proceed(call, proceed, by_default, default)
            if remaining > most:
                return _proceed(call, proceed, at_most, most)
            return proceed(call)

        return hold


async def _proceed(call: Call, proceed: Callable[[Call], Awaitable[None]], patience: Patience, seconds: float) -> None:
    call.ends_at_seconds = ends_at_seconds = time.monotonic() + seconds
    try:
        with patience:
            await proceed(call)
    except TimeoutError:
        pass
    except errors.StatusError:
        if time.monotonic() < ends_at_seconds:
            raise
    else:
        if time.monotonic() < ends_at_seconds:  # else the handler has swallowed its end
            return
    raise errors.DeadlineExceeded(f"the server gives this call {seconds:g} seconds", reason="DEADLINE_LIMIT")
