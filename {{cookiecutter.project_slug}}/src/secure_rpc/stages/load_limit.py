"""Before anyone is authenticated: how many calls at once, in all and from one address, with how much metadata."""

from __future__ import annotations

from datetime import timedelta

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed

RETRY_AFTER = timedelta(seconds=1)
ENTRY_OVERHEAD_BYTES = 32  # of each entry, as HTTP/2 counts (RFC 9113, section 6.5.2)


class LoadLimit:
    """Refuse calls that would be too many, before they cost anything.

    Args:
        max_calls: at once, in all.
        max_calls_per_peer: at once, from one IP address.
        max_metadata_bytes: of one call. gRPC's own limit binds only clients that have acknowledged its settings.
    """

    def __init__(self, max_calls: int, max_calls_per_peer: int, max_metadata_bytes: int) -> None:
        self._max_calls = max_calls
        self._max_calls_per_peer = max_calls_per_peer
        self._max_metadata_bytes = max_metadata_bytes
        self._calls = 0
        self._of_peer: dict[str, int] = {}

    def bind(self, _method: Method) -> Middleware:
        """Limit every method."""
        of_peer = self._of_peer

        async def limit(call: Call, proceed: Proceed) -> None:
            size = 0
            for key, value in call.metadata:
                size += len(key) + len(value) + ENTRY_OVERHEAD_BYTES
            if size > self._max_metadata_bytes:
                raise errors.ResourceExhausted(
                    f"metadata may have {self._max_metadata_bytes} bytes", reason="METADATA_TOO_LARGE"
                )
            if self._calls >= self._max_calls:
                raise _busy("the server is at its limit of calls")
            address = call.address.rpartition(":")[0]
            under_way = of_peer.get(address, 0)
            if under_way >= self._max_calls_per_peer:
                raise _busy("your address is at its limit of calls")
            self._calls += 1
            of_peer[address] = under_way + 1
            try:
                await proceed(call)
            finally:
                self._calls -= 1
                under_way = of_peer.pop(address) - 1
                if under_way:
                    of_peer[address] = under_way

        return limit


def _busy(message: str) -> errors.ResourceExhausted:
    return errors.ResourceExhausted(message, reason="LOAD_LIMIT", details=[errors.retry_after(RETRY_AFTER)])
