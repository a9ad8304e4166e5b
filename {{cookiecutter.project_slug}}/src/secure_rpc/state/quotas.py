"""Quotas by the generic cell rate algorithm (GCRA, ITU-T I.371): one number per caller, no window to game."""

from __future__ import annotations

from typing import Protocol

from secure_rpc.quota import Quota, QuotaKey


class QuotaStore(Protocol):
    """Where it stands what callers have used up."""

    round_trips: int  # to a store that is shared, so far

    async def take(self, key: QuotaKey, quota: Quota) -> float:
        """Count a call.

        Returns:
            0 where it is within the quota, else the seconds after which it would be.

        Raises:
            StoreUnavailable: it cannot be told, and is not to be guessed (`state.availability`).
        """

    def remaining(self, key: QuotaKey, quota: Quota) -> int:
        """Return how many calls could be made now, as far as it is known here."""

    async def close(self) -> None:
        """Give back what was taken ahead of calls that did not come."""
