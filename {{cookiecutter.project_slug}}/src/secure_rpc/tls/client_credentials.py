"""Credentials of a client, read from files and judged before they are used.

gRPC opens a channel with a key that does not fit, and takes an empty CA bundle for the public roots.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from secure_rpc.configuration import ConfigurationError
from secure_rpc.watching import read_together


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a client shows, and whom it trusts."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    ca_pem: bytes
    authorities: frozenset[bytes]  # the CAs, DER
    not_after_seconds: float  # Unix time at which the leaf expires
    ca_not_after_seconds: float  # Unix time at which the last of the CAs expires

    def grpc_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials for channels."""
        return grpc.ssl_channel_credentials(self.ca_pem, self.key_pem, self.chain_pem)

    def expired(self, clock: Callable[[], float] = time.time) -> str:
        """Return what has expired, "" where nothing has; of the CAs, one that has not is enough."""
        for name, end in (("the certificate", self.not_after_seconds), ("every CA", self.ca_not_after_seconds)):
            if end <= clock():
                return f"{name} expired {datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC; renew it"
        return ""


def load(certificate_file: Path, key_file: Path, ca_file: Path) -> ClientCertificate:
    """Read a client's credentials, all of one version.

    Args:
        certificate_file: the leaf, then its intermediates, PEM.
        key_file: the leaf's key, PEM, not encrypted.
        ca_file: the CAs whose servers are trusted, PEM.

    Raises:
        ConfigurationError: a file is missing, empty or malformed, or the key does not fit.
    """
    try:
        contents = read_together((certificate_file, key_file, ca_file))
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be read ({error.strerror}); check the path") from None
    for file, content in contents.items():
        if not content:
            raise ConfigurationError(f"{file} is empty")
    chain = _certificates(certificate_file, contents[certificate_file])
    authorities = _certificates(ca_file, contents[ca_file])
    try:
        key = load_pem_private_key(contents[key_file], password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{key_file} is no key that can be read: {error}") from None
    if key.public_key() != chain[0].public_key():
        raise ConfigurationError(f"{key_file} does not belong to the certificate in {certificate_file}")
    return ClientCertificate(
        chain_pem=contents[certificate_file],
        key_pem=contents[key_file],
        ca_pem=contents[ca_file],
        authorities=frozenset(authority.public_bytes(Encoding.DER) for authority in authorities),
        not_after_seconds=chain[0].not_valid_after_utc.timestamp(),
        ca_not_after_seconds=max(authority.not_valid_after_utc.timestamp() for authority in authorities),
    )


def _certificates(file: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigurationError(f"{file} holds no certificate that can be read: {error}") from None
