"""Credentials of a server, read from files and judged before they are used.

gRPC starts with a key that does not fit, an expired certificate or an empty CA bundle, and then refuses everybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from secure_rpc.configuration import ConfigurationError


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a server shows, and whom it trusts."""

    chain_pem: bytes
    key_pem: bytes
    client_ca_pem: bytes
    not_after_seconds: float  # Unix time at which the leaf expires
    ca_not_after_seconds: float  # Unix time at which the first of the CAs expires

    def grpc_credentials(self, on_handshake: Callable[[], None] = lambda: None) -> grpc.ServerCredentials:
        """Return credentials that ask every client for a certificate.

        Args:
            on_handshake: is called when one begins, on a thread of gRPC's.
        """
        pair = (self.key_pem, self.chain_pem)
        configuration = grpc.ssl_server_certificate_configuration([pair], self.client_ca_pem)

        def fetch() -> None:  # asked before each handshake whether there is another configuration; None keeps this one
            on_handshake()

        return grpc.dynamic_ssl_server_credentials(configuration, fetch, require_client_authentication=True)  # type: ignore[arg-type]


def load(
    certificate_file: Path,
    key_file: Path,
    client_ca_file: Path,
    federated_bundle_files: Sequence[Path] = (),
    clock: Callable[[], float] = time.time,
) -> ServerCertificate:
    """Read and judge a server's credentials.

    Args:
        certificate_file: the leaf, then its intermediates, PEM.
        key_file: the leaf's key, PEM, not encrypted.
        client_ca_file: the CAs whose clients are let in, PEM.
        federated_bundle_files: those of other trust domains, whose clients are let in too, PEM.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: a file is missing or malformed, the key does not fit, something has expired.
    """
    chain_pem, chain = certificates("tls.certificate_file", certificate_file)
    ca_pem, authorities = certificates("tls.client_ca_file", client_ca_file)
    judged = [
        ("tls.certificate_file", certificate_file, chain[:1]),
        ("tls.client_ca_file", client_ca_file, authorities),
    ]
    for file in federated_bundle_files:
        bundle_pem, bundle = certificates("authentication.federated_trust_domains", file)
        ca_pem, authorities = ca_pem + b"\n" + bundle_pem, authorities + bundle
        judged.append(("authentication.federated_trust_domains", file, bundle))
    key_pem = _read("tls.key_file", key_file)
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"tls.key_file: {key_file} is no key that can be read: {error}") from None
    if key.public_key() != chain[0].public_key():
        raise ConfigurationError(f"tls.key_file: {key_file} does not belong to the certificate in {certificate_file}")
    for name, file, loaded in judged:
        for certificate in loaded:
            if certificate.not_valid_after_utc.timestamp() <= clock():
                subject, end = certificate.subject.rfc4514_string(), certificate.not_valid_after_utc
                raise ConfigurationError(f"{name}: {file}: {subject!r} expired {end:%Y-%m-%d %H:%M} UTC; renew it")
    return ServerCertificate(
        chain_pem=chain_pem,
        key_pem=key_pem,
        client_ca_pem=ca_pem,
        not_after_seconds=chain[0].not_valid_after_utc.timestamp(),
        ca_not_after_seconds=min(ca.not_valid_after_utc.timestamp() for ca in authorities),
    )


def _read(name: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{name}: {file} cannot be read ({error.strerror}); run `make setup`, or mount it"
        ) from None


def certificates(name: str, file: Path) -> tuple[bytes, list[x509.Certificate]]:
    """Return a file of certificates, as it is and parsed.

    Raises:
        ConfigurationError: it cannot be read, or holds none.
    """
    pem = _read(name, file)
    try:
        return pem, x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigurationError(f"{name}: {file} holds no certificate that can be read: {error}") from None
