"""Quotas by the generic cell rate algorithm (GCRA, ITU-T I.371): one number per caller, no window to game."""

from __future__ import annotations

from typing import Protocol

from secure_rpc.quota import Quota, QuotaKey


class QuotaStore(Protocol):
    """Where it stands what callers have used up."""

    async def take(self, key: QuotaKey, quota: Quota) -> float:
        """Count a call.

        Returns:
            0 where it is within the quota, else the seconds after which it would be.
        """
