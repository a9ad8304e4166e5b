"""Nonces: remembered for as long as a call that carries them would still be taken."""

from __future__ import annotations

from typing import Protocol


class NonceStore(Protocol):
    """Where it stands which nonces were seen."""

    async def add(self, nonce: str, lifetime_seconds: float) -> bool:
        """Note a nonce; return False where it was there already.

        Raises:
            StoreUnavailable: it cannot be told; nothing was noted.
        """


class StoreUnavailable(Exception):
    """The state cannot be had; each use decides what that means."""
