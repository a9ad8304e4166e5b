"""What is said where the state that calls have in common cannot be had."""

from __future__ import annotations


class StoreUnavailable(ConnectionError):
    """The state cannot be had; each use decides what that means."""
