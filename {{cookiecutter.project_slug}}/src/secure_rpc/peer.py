"""The other end of a connection, as TLS knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
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
