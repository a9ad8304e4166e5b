"""Methods that ask for it take each call once: it carries a nonce and the time, made anew for every attempt."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.state.nonces import NonceStore, StoreUnavailable

NONCE_KEY = "request-nonce"
TIME_KEY = "request-time"  # Unix time in seconds
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)


class Replay:
    """Refuse a call that was made before.

    Args:
        store: remembers nonces.
        window_seconds: how far the caller's clock may be from ours; nonces are remembered for twice that long.
        clock: gives Unix time in seconds.
    """

    def __init__(self, store: NonceStore, window_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._window_seconds = window_seconds
        self._clock = clock

    def bind(self, method: Method) -> Middleware | None:
        """Guard the methods whose contract says `replay_protected`."""
        if not method.contract.replay_protected:
            return None

        async def take_once(call: Call, proceed: Proceed) -> None:
            nonce, sent = call.header(NONCE_KEY), call.header(TIME_KEY)
            if not _NONCE.fullmatch(nonce) or not _TIME.fullmatch(sent):
                raise errors.InvalidArgument(
                    f"send {NONCE_KEY} (16 to 64 of A-Z a-z 0-9 _ -) and {TIME_KEY} (Unix seconds)",
                    reason="REPLAY_PROOF_MISSING",
                )
            if abs(float(sent) - self._clock()) >= self._window_seconds:  # at the edge the nonce would be forgotten
                raise errors.FailedPrecondition(
                    f"{TIME_KEY} is {self._window_seconds:g} s off, or more", reason="REPLAY_PROOF_STALE"
                )
            who = call.principal.name if call.principal else ""
            try:
                fresh = await self._store.add(f"{who} {nonce}", 2 * self._window_seconds)
            except StoreUnavailable as error:
                raise errors.Unavailable(reason="REPLAY_STORE_UNAVAILABLE") from error
            if not fresh:
                raise errors.AlreadyExists("this call was made before", reason="REPLAYED")
            await proceed(call)

        return take_once
