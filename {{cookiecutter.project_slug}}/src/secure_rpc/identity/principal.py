"""The principal of a call: certificate and token, verified, joined and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from secure_rpc import errors
from secure_rpc.call import Peer, Principal
from secure_rpc.identity.certificate import Certificate
from secure_rpc.identity.token import TokenVerifier, bearer_token


class Credentials(Enum):
    """What a caller has to show."""

    CERTIFICATE = "certificate"  # the workload's certificate; a token is verified where there is one
    BOTH = "both"  # the certificate and a token


@dataclass(slots=True)
class CacheUse:
    """How often an identity was known already."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class Identities:
    """Tell who calls; what was verified is remembered by the certificate's bytes and the token, until it expires.

    Args:
        certificate_of: reads and judges a certificate.
        tokens: verifies tokens.
        demand: which credentials a call must have.
        size: how many principals are remembered; the one unused for longest goes first.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        certificate_of: Callable[[bytes], Certificate],
        tokens: TokenVerifier,
        demand: Credentials,
        *,
        size: int = 10_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._certificate_of = certificate_of
        self._tokens = tokens
        self._demand = demand
        self._size = size
        self._clock = clock
        self._known: dict[tuple[bytes, str], Principal] = {}  # least recently used first
        self.use = CacheUse()

    def identify(self, peer: Peer, authorization: str) -> Principal:
        """Return who calls.

        Args:
            peer: the other end of the connection.
            authorization: the header, "" where there is none.

        Raises:
            Unauthenticated: the credentials are missing, do not verify, or have expired.
        """
        key = peer.certificate_pem, authorization
        principal = self._known.pop(key, None)
        if principal is not None and self._clock() < principal.expires_at_seconds:
            self._known[key] = principal  # now the most recently used
            self.use.hits += 1
            return principal
        self.use.misses += 1
        principal = self._verify(*key)
        if len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
            self.use.evictions += 1
        self._known[key] = principal
        return principal

    def forget(self) -> None:
        """Verify everybody anew: a key was retired, something was revoked."""
        self._known.clear()

    def workload_of(self, peer: Peer) -> str:
        """Return the SPIFFE ID of the certificate, "" where it is not accepted."""
        try:
            return str(self._certificate_of(peer.certificate_pem).identity)
        except errors.StatusError:
            return ""

    def check_certificate(self, peer: Peer) -> None:
        """Refuse a certificate that no call may use, not even one of a public method."""
        self._valid(self._certificate_of(peer.certificate_pem))

    def _valid(self, certificate: Certificate) -> Certificate:
        # TLS looks at the dates only in full handshakes: a resumed session outlives its certificate
        if not certificate.not_before_seconds <= self._clock() < certificate.not_after_seconds:
            raise errors.Unauthenticated("the certificate is not valid now", reason="CERTIFICATE_EXPIRED")
        return certificate

    def _verify(self, pem: bytes, authorization: str) -> Principal:
        certificate = self._valid(self._certificate_of(pem))
        workload, until = str(certificate.identity), certificate.not_after_seconds
        bearer = bearer_token(authorization)
        if not bearer:
            if self._demand is Credentials.BOTH:
                raise errors.Unauthenticated("a token is required", reason="TOKEN_MISSING")
            return Principal(workload=workload, proofs=("certificate",), expires_at_seconds=until)
        token = self._tokens.verify(bearer)
        return Principal(
            workload=workload,
            issuer=token.issuer,
            subject=token.subject,
            tenants=token.tenants,
            groups=token.groups,
            proofs=("certificate", "token"),
            expires_at_seconds=min(until, token.expires_at_seconds),
            claims=token.claims,
        )
