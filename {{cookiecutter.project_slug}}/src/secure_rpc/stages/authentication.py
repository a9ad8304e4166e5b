"""Certificate and token become a principal, or the call ends here."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from time import perf_counter

from secure_rpc import errors
from secure_rpc.call import Call, Method, Peer, Principal
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.headers import headers_of
from secure_rpc.identity.principal import Identities, Shown
from secure_rpc.telemetry.auth_metrics import NEW, REMEMBERED

TLS_1_3 = b"TLSv1.3"
API_KEY = "x-api-key"
CREDENTIALS = ("authorization", API_KEY)
TIMED_CALLS = 64  # of callers who are remembered, one in so many is timed


class Authentication:
    """Find out who calls.

    Args:
        identities: tells it from the peer and the header.
        tls_1_3_only: whether older versions are refused on each call, whatever the transport let in.
        on_verified: is told of the peer whenever an identity was not known already, before it is verified.
        on_refused: is told, where that fails, whose identity it was and when it began, by `time.perf_counter`.
    """

    def __init__(
        self,
        identities: Identities,
        *,
        tls_1_3_only: bool = True,
        on_verified: Callable[[Peer], None] = lambda _peer: None,
        on_refused: Callable[[str, float], None] = lambda _identity, _began: None,
    ) -> None:
        self._identities = identities
        self._tls_1_3_only = tls_1_3_only
        self._on_verified = on_verified
        self._on_refused = on_refused
        self._turns = itertools.cycle(range(TIMED_CALLS))

    def bind(self, method: Method) -> Middleware:
        """Ask for an identity everywhere but in public methods; those ask for a sound certificate all the same."""
        lasts = method.request_streaming or method.response_streaming
        return self._let_in(lasts=lasts) if method.contract.public else self._authenticate(lasts=lasts)

    def _authenticate(self, *, lasts: bool) -> Middleware:
        identities, check_transport, on_verified = self._identities, self._check_transport, self._on_verified
        on_refused, turns = self._on_refused, self._turns
        known, verify, workload_of = identities.known, identities.verify, identities.workload_of

        def accept(call: Call, shown: Shown, principal: Principal) -> None:
            call.principal, call.workload = principal, principal.workload
            if lasts:
                call.review_with(lambda: identities.review(shown, call.principal or principal, _renewed_by(call)))

        def authenticate(call: Call, proceed: Proceed) -> Awaitable[None]:
            began = perf_counter()
            peer = call.peer
            check_transport(peer)
            shown = Shown(peer.certificate_pem, peer.chain_pem, *headers_of(call.metadata, CREDENTIALS))
            principal = known(shown)
            if principal is None:
                return verify_first(call, shown, proceed, began)
            accept(call, shown, principal)
            if next(turns) == 0:
                call.auth_began = REMEMBERED, began
            return proceed(call)

        async def verify_first(call: Call, shown: Shown, proceed: Proceed, began: float) -> None:
            on_verified(call.peer)
            call.auth_began = NEW, began
            try:
                principal = await verify(shown)
            except errors.StatusError:
                on_refused(NEW, began)
                call.workload = workload_of(call.peer)  # for the audit: whose token was refused
                raise
            accept(call, shown, principal)
            await proceed(call)

        return authenticate

    def _let_in(self, *, lasts: bool) -> Middleware:
        check_certificate, check_transport = self._identities.check_certificate, self._check_transport

        def let_in(call: Call, proceed: Proceed) -> Awaitable[None]:
            peer = call.peer
            check_transport(peer)
            check_certificate(peer)
            if lasts:
                call.review_with(lambda: check_certificate(peer))
            return proceed(call)

        return let_in

    def _check_transport(self, peer: Peer) -> None:
        if self._tls_1_3_only and peer.tls_version != TLS_1_3:
            raise errors.Unauthenticated("TLS 1.3 is required", reason="TLS_VERSION_REFUSED")


def _renewed_by(call: Call) -> Peer | None:
    """Return who has shown the credential by which a call goes on, None where it is the one it began with."""
    return call.session.renewed_by if call.session is not None else None
