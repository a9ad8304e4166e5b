"""What is said where the state that calls have in common cannot be had."""

from __future__ import annotations

PAUSE_SECONDS = 1.0  # in which a store that has failed is left alone; then one attempt decides


class StoreUnavailable(ConnectionError):
    """The state cannot be had; each use decides what that means."""
