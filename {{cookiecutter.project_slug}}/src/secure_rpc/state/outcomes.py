"""What became of calls that carry an idempotency key: run once, answered again as often as they are asked."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol


class Standing(Enum):
    """What is known of a key."""

    NEW = "new"  # nothing; it is the caller's to run now
    RUNNING = "running"  # somebody runs it
    DONE = "done"  # it has run, and its outcome is here
    KEPT_NOT = "kept-not"  # it has run, but what came of it was too large to be kept
    UNKNOWN = "unknown"  # it was begun, and nobody knows what came of it
    ANOTHER = "another"  # the key stands for another request


class Begun(NamedTuple):
    """What is known of a key, and what came of it."""

    standing: Standing
    outcome: bytes = b""


class Attempt(NamedTuple):
    """One attempt at a call."""

    key: bytes  # of caller, method and the caller's own key
    digest: bytes  # of the request
    owner: str  # its own name: what another attempt has begun is not its to end


class OutcomeStore(Protocol):
    """Where it stands. All raise StoreUnavailable (`state.availability`)."""

    async def begin(self, attempt: Attempt, lease_seconds: float, lifetime_seconds: float) -> Begun:
        """Begin, where nobody has.

        Args:
            attempt: that is made.
            lease_seconds: after which one that did not end is given up as unknown.
            lifetime_seconds: for which all of it is remembered.
        """

    async def end(self, attempt: Attempt, standing: Standing, outcome: bytes = b"") -> None:
        """Say what came of it: `DONE`, `KEPT_NOT` or `UNKNOWN`."""

    async def release(self, attempt: Attempt) -> None:
        """Say that nothing was done: the key is as new."""

    async def close(self) -> None:
        """Let go of what it holds."""
