"""A time stamp and a nonce, taken once: what replay protection and signed calls have in common."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from secure_rpc import errors
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.nonces import NonceStore

NONCE_FORM = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


class Once:
    """Take each nonce once, for as long as its time stamp counts.

    Args:
        store: remembers nonces.
        window_seconds: how far the caller's clock may be from ours; nonces are remembered for twice that long.
        clock: gives Unix time in seconds.
    """

    def __init__(self, store: NonceStore, window_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._window_seconds = window_seconds
        self._clock = clock

    def check_time(self, sent_seconds: float) -> None:
        """Refuse a time stamp that is off.

        Args:
            sent_seconds: Unix time.

        Raises:
            FailedPrecondition: it is too old, or lies in the future.
        """
        if abs(sent_seconds - self._clock()) >= self._window_seconds:  # at the edge the nonce would be forgotten
            raise errors.FailedPrecondition(
                f"the call was stamped {self._window_seconds:g} s from now, or more", reason="REPLAY_PROOF_STALE"
            )

    async def take(self, who: str, nonce: str, sent_seconds: float) -> None:
        """Use a nonce up.

        Args:
            who: chose it; others may choose the same.
            nonce: of the form `NONCE_FORM`.
            sent_seconds: Unix time at which the call was made, as it says.

        Raises:
            AlreadyExists: the call was made before.
            FailedPrecondition: it was stamped before nonces began to be remembered: it may have been made before that.
            Unavailable: it cannot be told. There is no setting to let such a call pass: protection that goes away with
                the store would be had by whoever can disturb the store.
        """
        try:
            fresh = await self._store.add(f"{who} {nonce}", 2 * self._window_seconds)
        except StoreUnavailable as error:
            raise errors.Unavailable(reason="REPLAY_STORE_UNAVAILABLE") from error
        if not fresh:
            raise errors.AlreadyExists("this call was made before", reason="REPLAYED")
        _check_memory(sent_seconds, self._store.began_seconds)

    async def check_memory(self, sent_seconds: float) -> None:
        """Refuse a call that may have been made before anything was remembered.

        Args:
            sent_seconds: Unix time at which it was made, as it says.

        Raises:
            FailedPrecondition: it was stamped before that.
            Unavailable: it cannot be told.
        """
        try:
            await self._store.open()
        except StoreUnavailable as error:
            raise errors.Unavailable(reason="REPLAY_STORE_UNAVAILABLE") from error
        _check_memory(sent_seconds, self._store.began_seconds)


def _check_memory(sent_seconds: float, began_seconds: float) -> None:
    if sent_seconds < began_seconds:
        raise errors.FailedPrecondition(
            "the call was stamped before this service began to remember calls", reason="REPLAY_PROOF_STALE"
        )
