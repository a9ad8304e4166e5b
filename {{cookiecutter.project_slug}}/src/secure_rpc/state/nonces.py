"""Nonces: remembered for as long as a call that carries them would still be taken."""

from __future__ import annotations

import hashlib
from typing import Protocol

DIGEST_BYTES = 16  # of what is remembered: nobody finds two of the same by trying


class NonceStore(Protocol):
    """Where it stands which nonces were seen."""

    @property
    def began_seconds(self) -> float:
        """Return the Unix time at which it began to remember; it knows nothing of calls before that."""

    async def open(self) -> None:
        """Begin to remember, unless it has; `began_seconds` is that of now from here on.

        Raises:
            StoreUnavailable: it begins with the first call instead, and that call is not taken.
        """

    async def add(self, nonce: str, lifetime_seconds: float) -> bool:
        """Note a nonce; return False where it was there already.

        Raises:
            StoreUnavailable: it cannot be told (`state.availability`); nothing was noted, or it does not matter.
        """

    async def close(self) -> None:
        """Let go of what it holds."""


def digest(text: str) -> bytes:
    """Return what is kept of a nonce, or of a key: equally long, whatever callers choose."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
