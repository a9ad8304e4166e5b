"""What is revoked, asked about each credential when it is verified, and about those of streams when that changes.

Callers learn `CREDENTIAL_REVOKED` alone; log and audit which of their credentials it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from secure_rpc import errors
from secure_rpc.identity.certificate import Certificate
from secure_rpc.identity.crl import Crl
from secure_rpc.identity.deny_list import EVERYBODY, DenyList

OnChange: TypeAlias = Callable[[], Awaitable[None]]


class RevocationSource(Protocol):
    """Knows what is revoked, and answers from memory: it is asked on the way of calls.

    One that several replicas share keeps a copy, and says when it has changed.
    """

    def check_certificate(self, certificate: Certificate) -> None:
        """Refuse a certificate that is revoked, whose CA is, or whose workload is.

        Raises:
            Unauthenticated: it is.
            Unavailable: that cannot be told just now.
        """

    def check_user(self, issuer: str, subject: str, token_id: str) -> None:
        """Refuse a token or an API key that is revoked, or whose subject is.

        Args:
            issuer: of the token; that of API keys has a name of its own.
            subject: of the issuer.
            token_id: the token's `jti`, "" where it has none.

        Raises:
            Unauthenticated: it is.
        """

    async def keep_fresh(self, on_change: OnChange) -> None:
        """Follow what is revoked until cancelled.

        Args:
            on_change: awaited when another answer than before may be given.
        """


class NothingRevoked:
    """A source that knows of nothing."""

    def check_certificate(self, certificate: Certificate) -> None:
        """Let every certificate be."""

    def check_user(self, issuer: str, subject: str, token_id: str) -> None:
        """Let every token be."""

    async def keep_fresh(self, on_change: OnChange) -> None:
        """Have nothing to follow."""


class AnyOf:
    """A source that knows what any of several knows.

    Args:
        sources: the others.
    """

    def __init__(self, *sources: RevocationSource) -> None:
        self._sources = sources

    def check_certificate(self, certificate: Certificate) -> None:
        """See `RevocationSource`."""
        for source in self._sources:
            source.check_certificate(certificate)

    def check_user(self, issuer: str, subject: str, token_id: str) -> None:
        """See `RevocationSource`."""
        for source in self._sources:
            source.check_user(issuer, subject, token_id)

    async def keep_fresh(self, on_change: OnChange) -> None:
        """See `RevocationSource`."""
        async with asyncio.TaskGroup() as tasks:
            for source in self._sources:
                tasks.create_task(source.keep_fresh(on_change))


class Revoked:
    """What a deny-list and CRLs say, as they were read.

    Args:
        deny_list: by hand.
        crls: of CAs.
        refuse_when_stale: whether certificates are refused whose CA's list should have been followed by another.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        deny_list: DenyList,
        crls: Sequence[Crl] = (),
        *,
        refuse_when_stale: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._deny_list = deny_list
        self._refuse_when_stale = refuse_when_stale
        self._clock = clock
        self._crls: dict[str, list[Crl]] = {}
        for crl in crls:
            self._crls.setdefault(crl.issuer, []).append(crl)

    def check_certificate(self, certificate: Certificate) -> None:
        """See `RevocationSource`."""
        now, has, crls = self._clock(), self._deny_list.has, self._crls
        if has("spiffe_id", "", certificate.workload, now):
            raise _refused("SPIFFE_ID_REVOKED")
        for number, (issuer, serial) in enumerate(certificate.numbers):
            lists = crls.get(issuer)
            is_listed = lists is not None and any(serial in crl.serials for crl in lists)
            if is_listed or has("serial", issuer, f"{serial:x}", now):
                raise _refused("CERTIFICATE_ISSUER_REVOKED" if number else "CERTIFICATE_REVOKED")
            if lists is not None and self._refuse_when_stale and any(crl.next_update_seconds <= now for crl in lists):
                raise errors.Unavailable(
                    "whether the certificate is revoked cannot be told", reason="REVOCATION_UNKNOWN"
                )

    def check_user(self, issuer: str, subject: str, token_id: str) -> None:
        """See `RevocationSource`."""
        now, has = self._clock(), self._deny_list.has
        if token_id and has("token_id", issuer, token_id, now):
            raise _refused("TOKEN_REVOKED")
        if has("subject", issuer, subject, now):
            raise _refused("SUBJECT_REVOKED")
        if has("subject", issuer, EVERYBODY, now):
            raise _refused("ISSUER_REVOKED")


def _refused(recorded_reason: str) -> errors.Unauthenticated:
    return errors.Unauthenticated(
        "the credential is revoked", reason="CREDENTIAL_REVOKED", recorded_reason=recorded_reason
    )
