"""Certificate and token become a principal, or the call ends here."""

from __future__ import annotations

from collections.abc import Awaitable

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.identity.principal import Identities, Shown

TLS_1_3 = b"TLSv1.3"
API_KEY = "x-api-key"


class Authentication:
    """Find out who calls.

    Args:
        identities: tells it from the peer and the header.
        tls_1_3_only: whether older versions are refused on each call, whatever the transport let in.
    """

    def __init__(self, identities: Identities, *, tls_1_3_only: bool = True) -> None:
        self._identities = identities
        self._tls_1_3_only = tls_1_3_only

    def bind(self, method: Method) -> Middleware:
        """Ask for an identity everywhere but in public methods; those ask for a sound certificate all the same."""
        identities = self._identities
        known, verify, workload_of = identities.known, identities.verify, identities.workload_of

        def check_transport(call: Call) -> None:
            if self._tls_1_3_only and call.peer.tls_version != TLS_1_3:
                raise errors.Unauthenticated("TLS 1.3 is required", reason="TLS_VERSION_REFUSED")

        def authenticate(call: Call, proceed: Proceed) -> Awaitable[None]:
            check_transport(call)
            peer = call.peer
            shown = Shown(peer.certificate_pem, peer.chain_pem, call.header("authorization"), call.header(API_KEY))
            principal = known(shown)
            if principal is None:
                return verify_first(call, shown, proceed)
            call.principal, call.workload = principal, principal.workload
            return proceed(call)

        async def verify_first(call: Call, shown: Shown, proceed: Proceed) -> None:
            try:
                principal = await verify(shown)
            except errors.StatusError:
                call.workload = workload_of(call.peer)  # for the audit: whose token was refused
                raise
            call.principal, call.workload = principal, principal.workload
            await proceed(call)

        def let_in(call: Call, proceed: Proceed) -> Awaitable[None]:
            check_transport(call)
            identities.check_certificate(call.peer)
            return proceed(call)

        return let_in if method.contract.public else authenticate
