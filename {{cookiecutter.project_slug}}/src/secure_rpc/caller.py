"""Who is at the other end: what TLS vouches for, and who it turned out to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)  # frozen ones take four times as long to make, and each call makes one
class Peer:
    """The other end of the connection: what TLS vouches for, before anyone is authenticated."""

    address: str  # "ipv4:127.0.0.1:40000"
    tls: Mapping[str, list[bytes]]

    @property
    def certificate_pem(self) -> bytes:
        """Return the client's certificate, empty where there is none; the only property to derive identity from."""
        values = self.tls.get("x509_pem_cert")
        return values[0] if values else b""

    @property
    def chain_pem(self) -> bytes:
        """Return the certificates that the client sent with its own, as one PEM text."""
        values = self.tls.get("x509_pem_cert_chain")
        return values[0] if values else b""

    @property
    def tls_version(self) -> bytes:
        """Return the protocol version negotiated, such as b"TLSv1.3"."""
        values = self.tls.get("ssl_tls_version")
        return values[0] if values else b""

    @property
    def key_exchange_group(self) -> bytes:
        """Return by which group the connection's keys were agreed, such as b"X25519MLKEM768"; empty if not known."""
        values = self.tls.get("ssl_negotiated_key_exchange_group")
        return values[0] if values else b""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes the call: the workload of the certificate and the user of the token, once both are verified."""

    workload: str = ""  # SPIFFE id of the certificate
    issuer: str = ""  # of the token
    subject: str = ""  # of the token, or of the API key
    tenants: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()  # as the issuer says; the policy's roles are another thing
    proofs: tuple[str, ...] = ()  # what vouched for it: "certificate", "token", "bound-token", "api-key"
    expires_at_seconds: float = float("inf")  # Unix time at which the first of the proofs ends
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)  # what is known of a principal is found by it, each call

    def __post_init__(self) -> None:
        """Take the hash, once."""
        proven = (self.tenants, self.groups, self.roles, self.proofs, self.expires_at_seconds)
        object.__setattr__(self, "_hash", hash((self.workload, self.issuer, self.subject, *proven)))

    def __hash__(self) -> int:
        """Return the hash of all but the claims."""
        return self._hash

    @property
    def name(self) -> str:
        """Return the name for logs: the user's where there is one, else the workload's."""
        return self.subject or self.workload

    @property
    def account(self) -> str:
        """Return on whose account the call goes, the user's of one issuer or else the workload's; no other has it.

        By it quotas are counted and calls remembered: a user has one of each, whatever workload it calls through.
        """
        return f"{self.issuer} {self.subject}" if self.subject else self.workload

    def __str__(self) -> str:
        """Return who it is and how that was proven; no claim, no secret."""
        user = f"{self.subject} of {self.issuer}" if self.subject else ""
        who = " by ".join(part for part in (user, self.workload) if part) or "nobody"
        tenants = f", tenants {', '.join(sorted(self.tenants))}" if self.tenants else ""
        return f"{who}{tenants}, proven by {' and '.join(self.proofs) or 'nothing'}"
