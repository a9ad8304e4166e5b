"""Workload identity from the client's certificate, parsed by ourselves from its bytes.

gRPC's own properties truncate at NUL and mix kinds of names, and its handshake lets weak certificates pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from secure_rpc import errors
from secure_rpc.identity import spiffe

MIN_RSA_BITS = 2048  # NIST SP 800-131A
WEAK_HASHES = (hashes.MD5, hashes.SHA1)
PARSED_CERTIFICATES = 4096


@dataclass(frozen=True, slots=True)
class Certificate:
    """What we rely on of a certificate whose chain TLS has verified."""

    identity: spiffe.SpiffeId
    serial: int
    not_before_seconds: float  # Unix time
    not_after_seconds: float


def certificate_reader(
    trust_domains: frozenset[str], size: int = PARSED_CERTIFICATES
) -> Callable[[bytes], Certificate]:
    """Return a function that reads a client's certificate; what it has read it remembers by the bytes.

    Args:
        trust_domains: whose workloads are taken, our own and those federated with it.
        size: how many certificates are remembered.
    """

    def read(pem: bytes) -> Certificate:
        parsed = parse(pem)
        identity = _identity_of(parsed)
        if identity.trust_domain not in trust_domains:
            raise errors.Unauthenticated("the trust domain is not accepted", reason="TRUST_DOMAIN_UNKNOWN")
        return Certificate(
            identity=identity,
            serial=parsed.serial_number,
            not_before_seconds=parsed.not_valid_before_utc.timestamp(),
            not_after_seconds=parsed.not_valid_after_utc.timestamp(),
        )

    return functools.lru_cache(size)(read)


def parse(pem: bytes) -> x509.Certificate:
    """Return a leaf certificate that is strong enough to be believed.

    Raises:
        Unauthenticated: there is none, it is malformed, weak, or a CA's.
    """
    if not pem:
        raise errors.Unauthenticated("a client certificate is required", reason="CERTIFICATE_MISSING")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        weak = _weakness(certificate)
    except Exception as error:
        raise errors.Unauthenticated("the certificate is malformed", reason="CERTIFICATE_MALFORMED") from error
    if weak:
        raise errors.Unauthenticated(weak, reason="CERTIFICATE_WEAK")
    return certificate


def _weakness(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            return f"an RSA key has at least {MIN_RSA_BITS} bits"
    elif not isinstance(key, ec.EllipticCurvePublicKey):
        return "the key is neither RSA nor elliptic curve"
    if isinstance(certificate.signature_hash_algorithm, WEAK_HASHES):
        return "the signature's hash is broken"
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return ""
    return "a CA's certificate is no client's" if constraints.ca else ""


def _identity_of(certificate: x509.Certificate) -> spiffe.SpiffeId:
    """Return the one SPIFFE ID (X.509-SVID document, section 2: exactly one URI SAN)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise errors.Unauthenticated("the certificate must name one SPIFFE ID", reason="SPIFFE_ID_NOT_ONE")
    try:
        return spiffe.parse(uris[0])
    except ValueError as error:
        raise errors.Unauthenticated("the SPIFFE ID is malformed", reason="SPIFFE_ID_MALFORMED") from error
