"""The principal of a call: certificate, token and API key, verified, joined and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from secure_rpc import errors
from secure_rpc.call import Peer, Principal
from secure_rpc.identity import api_key as api_keys
from secure_rpc.identity.api_key import ApiKeys
from secure_rpc.identity.certificate import Certificate, CertificateReader
from secure_rpc.identity.revocation import NothingRevoked, RevocationSource
from secure_rpc.identity.token import Token, bearer_token, refused
from secure_rpc.identity.tokens import TokenVerifier


class Credential(Enum):
    """What a caller may show; each call has to have one of those that are accepted."""

    CERTIFICATE = "certificate"  # a workload's; a token that comes with it is verified too
    TOKEN = "token"  # noqa: S105  # whatever the certificate says, as long as it is sound
    BOTH = "both"  # a workload's certificate and a token
    API_KEY = "api_key"


@dataclass(slots=True)
class CacheUse:
    """How often an identity was known already."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class Shown(NamedTuple):
    """What a call shows of its caller; the key by which a verified principal is remembered."""

    certificate_pem: bytes
    chain_pem: bytes
    authorization: str
    api_key: str


class _Known(NamedTuple):
    principal: Principal
    until_seconds: float  # Unix time


class Identities:
    """Tell who calls; what was verified is remembered by what was shown, until it expires.

    Args:
        certificate_of: reads and judges a certificate and its chain.
        tokens: verifies tokens.
        keys: verifies API keys, None where there are none.
        accepted: which credentials a call may have.
        revocations: knows which of them are revoked.
        size: how many principals are remembered; the one unused for longest goes first.
        on_credential: is told of each token and API key that was looked into: whose it is, and why it was refused, if
            it was.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        certificate_of: CertificateReader,
        tokens: TokenVerifier,
        keys: ApiKeys | None,
        accepted: Collection[Credential],
        *,
        revocations: RevocationSource | None = None,
        size: int = 10_000,
        on_credential: Callable[[str, str], None] = lambda _issuer, _failure: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._certificate_of = certificate_of
        self._tokens = tokens
        self._keys = keys
        self._accepted = frozenset(accepted)
        self._takes_tokens = bool(self._accepted & {Credential.TOKEN, Credential.BOTH, Credential.CERTIFICATE})
        self._takes_tokens_alone = Credential.TOKEN in self._accepted  # else the certificate has to name somebody
        self._revocations = revocations or NothingRevoked()
        self._size = size
        self._on_credential = on_credential
        self._clock = clock
        self._known: dict[Shown, _Known] = {}  # least recently used first
        self._generation = 0
        self.use = CacheUse()

    def known(self, shown: Shown) -> Principal | None:
        """Return who calls, where that is known and still holds."""
        if shown.api_key and self._keys is not None:
            self._keys.look()
        known = self._known.pop(shown, None)
        if known is None or self._clock() >= known.until_seconds:
            self.use.misses += 1
            return None
        self._known[shown] = known  # now the most recently used
        self.use.hits += 1
        return known.principal

    async def verify(self, shown: Shown) -> Principal:
        """Return who calls, and remember it.

        Raises:
            Unauthenticated: the credentials are missing, do not verify, or have expired.
            Unavailable: whether they verify cannot be told just now.
        """
        generation = self._generation
        known = await self._verify(shown)
        if generation == self._generation:  # else something was revoked while we waited
            if len(self._known) >= self._size:
                del self._known[next(iter(self._known))]
                self.use.evictions += 1
            self._known[shown] = known
        return known.principal

    def forget(self) -> None:
        """Verify everybody anew: a key was retired, something was revoked."""
        self._generation += 1
        self._known.clear()
        self._tokens.forget()

    def trust(self, certificate_of: CertificateReader) -> None:
        """Verify everybody anew, certificates by another reader: other CAs are trusted."""
        self._certificate_of = certificate_of
        self.forget()

    def review(self, shown: Shown, principal: Principal, renewed_by: Peer | None = None) -> None:
        """Refuse a caller who was verified before, where what was shown would not be believed any more.

        Args:
            shown: by the call.
            principal: who makes it; of late, where the call goes on with another credential.
            renewed_by: who showed that credential. Its certificate counts then, and that of the connection may have
                ended, but not been revoked: whoever has its key has the connection.

        Raises:
            Unauthenticated: the certificate is out of its time or not trusted, or a credential is revoked.
            Unavailable: whether it is revoked cannot be told just now.
        """
        certificate = self._certificate_of(shown.certificate_pem, shown.chain_pem)
        if renewed_by is not None:
            self._revocations.check_certificate(certificate)
            certificate = self._certificate_of(renewed_by.certificate_pem, renewed_by.chain_pem)
        self._valid(certificate)
        self._check_user(principal)

    def certificate_ends(self, peer: Peer) -> float:
        """Return the Unix time at which the certificate of a peer ends.

        Raises:
            Unauthenticated: it is not accepted.
        """
        return self._certificate_of(peer.certificate_pem, peer.chain_pem).not_after_seconds

    def workload_of(self, peer: Peer) -> str:
        """Return the workload that the certificate names, "" where it is not accepted."""
        try:
            return self._certificate_of(peer.certificate_pem, peer.chain_pem).workload
        except errors.StatusError:
            return ""

    def check_certificate(self, peer: Peer) -> None:
        """Refuse a certificate that no call may use, not even one of a public method."""
        certificate = self._valid(self._certificate_of(peer.certificate_pem, peer.chain_pem))
        if not self._accepted & {Credential.TOKEN, Credential.API_KEY}:  # with those, it need name nobody
            certificate.check_name()

    def __len__(self) -> int:
        """Return how many principals are remembered."""
        return len(self._known)

    def _valid(self, certificate: Certificate) -> Certificate:
        # TLS looks at the dates only in full handshakes: a resumed session outlives its certificate
        if not certificate.not_before_seconds <= self._clock() < certificate.not_after_seconds:
            raise errors.Unauthenticated("the certificate is not valid now", reason="CERTIFICATE_EXPIRED")
        if not certificate.is_trusted:  # the connection began when its CA was
            raise errors.Unauthenticated("the certificate's CA is not trusted", reason="CERTIFICATE_UNTRUSTED")
        self._revocations.check_certificate(certificate)
        return certificate

    def _check_user(self, principal: Principal) -> None:
        if principal.subject:
            token_id = principal.claims.get("jti", "")
            self._revocations.check_user(
                principal.issuer, principal.subject, token_id if isinstance(token_id, str) else ""
            )

    async def _verify(self, shown: Shown) -> _Known:
        certificate = self._valid(self._certificate_of(shown.certificate_pem, shown.chain_pem))
        workload = Principal(
            workload=certificate.workload,
            proofs=("certificate",) if certificate.workload else (),
            expires_at_seconds=certificate.not_after_seconds,
        )
        if shown.api_key:
            try:
                principal = self._by_api_key(shown, workload)
                self._check_user(principal)
            except errors.StatusError as error:
                self._on_credential(api_keys.ISSUER, error.recorded_reason)
                raise
            self._on_credential(api_keys.ISSUER, "")
            return _as_long_as_it_lasts(principal)
        bearer = bearer_token(shown.authorization)
        if not bearer:
            return _as_long_as_it_lasts(self._by_certificate(certificate, workload))
        if not self._takes_tokens:
            raise errors.Unauthenticated("tokens are not accepted here", reason="CREDENTIAL_NOT_ACCEPTED")
        if not self._takes_tokens_alone:
            certificate.check_name()
        try:
            token = await self._tokens.verify(bearer)
            principal = _by_token(token, certificate, workload)
            self._check_user(principal)
        except errors.StatusError as error:
            self._on_credential(self._tokens.issuer_of(bearer), error.recorded_reason)
            raise
        self._on_credential(principal.issuer, "")
        self.review(shown, principal)  # again: something may have been revoked while we waited
        return _Known(principal, min(principal.expires_at_seconds, token.recheck_at_seconds))

    def _by_certificate(self, certificate: Certificate, workload: Principal) -> Principal:
        if Credential.CERTIFICATE in self._accepted:
            certificate.check_name()
            return workload
        if Credential.BOTH in self._accepted:
            certificate.check_name()
        if self._accepted == {Credential.API_KEY}:
            raise errors.Unauthenticated("an API key is required", reason="API_KEY_MISSING")
        raise errors.Unauthenticated("a token is required", reason="TOKEN_MISSING")

    def _by_api_key(self, shown: Shown, workload: Principal) -> Principal:
        if self._keys is None or Credential.API_KEY not in self._accepted:
            raise errors.Unauthenticated("API keys are not accepted here", reason="CREDENTIAL_NOT_ACCEPTED")
        if shown.authorization:
            raise errors.Unauthenticated("send a token or an API key, not both", reason="CREDENTIALS_AMBIGUOUS")
        key = self._keys.verify(shown.api_key)
        return replace(
            workload,
            issuer=api_keys.ISSUER,
            subject=key.subject,
            tenants=frozenset(key.tenants),
            groups=frozenset(key.groups),
            proofs=(*workload.proofs, "api-key"),
            expires_at_seconds=min(workload.expires_at_seconds, key.expires.timestamp()),
        )


def _as_long_as_it_lasts(principal: Principal) -> _Known:
    return _Known(principal, principal.expires_at_seconds)


def _by_token(token: Token, certificate: Certificate, workload: Principal) -> Principal:
    """Return the principal of a verified token, once it may be shown with this certificate."""
    issuer = token.issuer
    if token.certificate_thumbprint and token.certificate_thumbprint != certificate.thumbprint:
        raise _not_yours("TOKEN_BOUND_TO_ANOTHER_CERTIFICATE")
    if issuer.certificate_bound and not token.certificate_thumbprint:
        raise _not_yours("TOKEN_NOT_BOUND")
    if issuer.trust_domain and certificate.trust_domain != issuer.trust_domain:
        raise _not_yours("TOKEN_FROM_FOREIGN_TRUST_DOMAIN")
    return replace(
        workload,
        issuer=issuer.issuer,
        subject=token.subject,
        tenants=token.tenants,
        groups=token.groups,
        roles=token.roles,
        proofs=(*workload.proofs, "bound-token" if token.certificate_thumbprint else "token"),
        expires_at_seconds=min(workload.expires_at_seconds, token.expires_at_seconds),
        claims=token.claims,
    )


def _not_yours(recorded_reason: str) -> errors.Unauthenticated:
    """Return the refusal of a token in the wrong hands: its owner finds out by the audit, a thief learns nothing."""
    error = refused("TOKEN_INVALID")
    error.recorded_reason = recorded_reason
    return error
