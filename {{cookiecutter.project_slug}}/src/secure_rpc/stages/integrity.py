"""Methods that ask for it take signed calls alone: what the caller's key has signed arrives as it is, and once."""

from __future__ import annotations

import time
from collections.abc import Callable

from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.configuration import ConfigurationError
from secure_rpc.identity.call_proof import CallProofs, Presented
from secure_rpc.identity.token import bearer_token
from secure_rpc.stages.authentication import API_KEY
from secure_rpc.stages.once import Once

PROOF_KEY = "call-proof"


class Integrity:
    """Refuse calls that their caller has not signed as they arrive, or that were made before.

    Args:
        proofs: verifies proofs.
        once: takes their nonces.
        clock: gives Unix time in seconds.
    """

    def __init__(self, proofs: CallProofs, once: Once, clock: Callable[[], float] = time.time) -> None:
        self._proofs = proofs
        self._once = once
        self._clock = clock

    def bind(self, method: Method) -> Middleware | None:
        """Guard the methods whose contract says `signed`.

        Raises:
            ConfigurationError: such a method takes a stream, of which no proof made before it can tell.
        """
        if not method.contract.signed:
            return None
        if method.request_streaming:
            raise ConfigurationError(
                f'{method.path}: is "signed" and takes a stream of requests, but a proof is of one message; take one '
                'message, or remove "signed"'
            )

        async def take_signed(call: Call, proceed: Proceed) -> None:
            credential = bearer_token(call.header("authorization")) or call.header(API_KEY)
            text, pem = call.header(PROOF_KEY), call.peer.certificate_pem
            proven = self._proofs.verify(Presented(text, call.path, call.principal, pem, credential), self._clock())
            call.check_raw_requests(proven.check_body)
            await call.request()
            who = call.principal.account if call.principal else ""
            await self._once.take(f"signed {who} {proven.key_id}", proven.nonce, proven.made_seconds)
            await proceed(call)

        return take_signed
