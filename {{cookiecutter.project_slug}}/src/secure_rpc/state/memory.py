"""State of one process, in dictionaries that are bounded and forget what has expired."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from secure_rpc.quota import Quota, QuotaKey
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.nonces import digest

ROUNDING = 0.01  # of the time one call costs: sums of floats must not take the last call of a burst away
SWEPT_PER_CALL = 2  # old entries looked at on each call: the work of forgetting never comes all at once


class MemoryQuotas:
    """Quotas of one process.

    Args:
        size: how many callers are remembered. When all of them are active, the one that called longest ago is
            forgotten: it may make its burst once more.
        clock: gives seconds; any start will do.
    """

    round_trips = 0  # nothing is asked

    def __init__(self, size: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._due: dict[QuotaKey, float] = {}  # when the next call would be on time; least recently used first

    def take(self, key: QuotaKey, quota: Quota) -> float:
        """Count a call; see `QuotaStore`."""
        now, interval_seconds, known = self._clock(), quota.interval_seconds, self._due
        due = known.pop(key, now)
        # more than this is left of another quota, that this one takes over from
        due = now if due <= now else min(due, now + quota.size * interval_seconds)
        early = due - now - quota.tolerance_seconds
        refused = early > ROUNDING * interval_seconds
        known[key] = due if refused else due + interval_seconds
        if len(known) > self._size:
            del known[next(iter(known))]
        self._sweep(now)
        return early if refused else 0.0

    def remaining(self, key: QuotaKey, quota: Quota) -> int:
        """Return how many calls could be made now; see `QuotaStore`."""
        now = self._clock()
        ahead = max(self._due.get(key, now) - now, 0.0)
        return max(0, quota.size - math.ceil(ahead / quota.interval_seconds - ROUNDING))

    async def close(self) -> None:
        """Do nothing: nothing is taken ahead."""

    def _sweep(self, now: float) -> None:
        for _ in range(SWEPT_PER_CALL):
            oldest = next(iter(self._due), None)
            if oldest is None or self._due[oldest] > now:
                break
            del self._due[oldest]

    def __len__(self) -> int:
        """Return how many callers are remembered."""
        return len(self._due)


class MemoryNonces:
    """Nonces of one process; they are gone with it, so it takes no call that was stamped before it began.

    Args:
        size: how many are remembered, at some 140 bytes each. When it is full of nonces that still count, new ones are
            refused: to forget one would let its call be made again.
        clock: gives seconds; any start will do.
        began_seconds: Unix time since when nonces are remembered; now, if not given.
    """

    def __init__(
        self,
        size: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
        *,
        began_seconds: float | None = None,
    ) -> None:
        self.began_seconds = time.time() if began_seconds is None else began_seconds
        self._size = size
        self._clock = clock
        self._expiry: dict[bytes, float] = {}  # oldest first: all live equally long

    async def open(self) -> None:
        """Do nothing: it began when it was made."""

    async def add(self, nonce: str, lifetime_seconds: float) -> bool:
        """Note a nonce; see `NonceStore`."""
        now, key = self._clock(), digest(nonce)
        for _ in range(SWEPT_PER_CALL):
            oldest = next(iter(self._expiry), None)
            if oldest is None or self._expiry[oldest] > now:
                break
            del self._expiry[oldest]
        if self._expiry.get(key, now) > now:
            return False
        self._expiry.pop(key, None)
        if len(self._expiry) >= self._size:
            raise StoreUnavailable("all nonces that can be remembered still count")
        self._expiry[key] = now + lifetime_seconds
        return True

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def __len__(self) -> int:
        """Return how many nonces are remembered."""
        return len(self._expiry)
