"""Quotas by the generic cell rate algorithm (GCRA, ITU-T I.371): one number per caller, no window to game."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeAlias

from secure_rpc.quota import Quota, QuotaKey

# 0 where a call is within its quota, else the seconds after which it would be; or what waits to hear that
Taken: TypeAlias = float | Awaitable[float]


class QuotaStore(Protocol):
    """Where it stands what callers have used up."""

    round_trips: int  # to a store that is shared, so far

    def take(self, key: QuotaKey, quota: Quota) -> Taken:
        """Count a call; most are answered at once, for most callers are far from their limit.

        Raises:
            StoreUnavailable: it cannot be told, and is not to be guessed (`state.availability`); from here, or from
                what is awaited.
        """

    def remaining(self, key: QuotaKey, quota: Quota) -> int:
        """Return how many calls could be made now, as far as it is known here."""

    async def close(self) -> None:
        """Give back what was taken ahead of calls that did not come."""


async def answered(taken: Taken) -> float:
    """Return what a store says, now or when it has heard."""
    return taken if isinstance(taken, float) else await taken
