"""Methods that ask for it take each call once: it carries the time and a nonce, or an idempotency key."""

from __future__ import annotations

import re

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.stages.idempotency import KEY, Idempotency
from secure_rpc.stages.once import NONCE_FORM, Once

NONCE_KEY = "request-nonce"
TIME_KEY = "request-time"  # Unix time in seconds
_TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)


class Replay:
    """Refuse a call that was made before.

    Args:
        once: takes nonces.
        idempotency: takes idempotency keys; None where none are taken.
    """

    def __init__(self, once: Once, idempotency: Idempotency | None = None) -> None:
        self._once = once
        self._idempotency = idempotency

    def bind(self, method: Method) -> Middleware | None:
        """Guard the methods whose contract says `replay_protected`; a proof that is signed has a nonce of its own."""
        contract, once, idempotency = method.contract, self._once, self._idempotency
        if not contract.replay_protected:
            return None
        with_keys = idempotency is not None and method.kind == "unary"

        async def take_once(call: Call, proceed: Proceed) -> None:
            if key := call.header(KEY):
                if idempotency is None or not with_keys:
                    raise errors.InvalidArgument(
                        f"{KEY} is for unary methods of services that keep outcomes; send {NONCE_KEY}",
                        reason="IDEMPOTENCY_NOT_HERE",
                    )
                sent_seconds = _sent(call)
                once.check_time(sent_seconds)
                await idempotency.run(call, key, proceed, lambda: once.check_memory(sent_seconds))
                return
            if not contract.signed:
                nonce, sent_seconds = call.header(NONCE_KEY), _sent(call)
                if not NONCE_FORM.fullmatch(nonce):
                    raise _missing()
                once.check_time(sent_seconds)
                await once.take(call.principal.account if call.principal else "", nonce, sent_seconds)
            await proceed(call)

        return take_once


def _sent(call: Call) -> float:
    sent = call.header(TIME_KEY)
    if not _TIME.fullmatch(sent):
        raise _missing()
    return float(sent)


def _missing() -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"send {NONCE_KEY} (16 to 64 of A-Z a-z 0-9 _ -) and {TIME_KEY} (Unix seconds)", reason="REPLAY_PROOF_MISSING"
    )
