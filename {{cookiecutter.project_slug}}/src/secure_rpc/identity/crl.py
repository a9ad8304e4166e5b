"""Certificate revocation lists (RFC 5280, section 5): read, and believed where a CA that is known has signed them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from secure_rpc.configuration import ConfigurationError

CLOCK_SKEW_SECONDS = 300.0
_PEM_CRL, _PEM_END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----\n"
_CAN_VERIFY = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey


@dataclass(slots=True)
class Crl:
    """What one CA has revoked."""

    issuer: str  # its name (RFC 4514)
    this_update_seconds: float  # Unix time
    next_update_seconds: float  # Unix time from which the list may lack what it should have
    serials: set[int] = field(default_factory=set, repr=False)


def read(path: Path, authorities: Sequence[x509.Certificate], now_seconds: float) -> list[Crl]:
    """Read a file of lists: one as DER, or any number as PEM, with the certificates of intermediates that sign them.

    Args:
        path: the file.
        authorities: the CAs that are known.
        now_seconds: Unix time.

    Raises:
        ConfigurationError: a list is malformed, of the future, of nobody who is known, or of a kind that says less, or
            something else, than which certificates its issuer has revoked.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); mount it") from None
    try:
        lists, sent = _lists_of(content)
    except ValueError as error:
        raise ConfigurationError(f"{path}: holds no CRL that can be read: {error}") from None
    known = _known(authorities, sent)
    return [_checked(path, each, known, now_seconds) for each in lists]


def _lists_of(content: bytes) -> tuple[list[x509.CertificateRevocationList], list[x509.Certificate]]:
    if _PEM_CRL not in content:
        return [x509.load_der_x509_crl(content)], []
    parts = [_PEM_CRL + part.partition(_PEM_END)[0] + _PEM_END for part in content.split(_PEM_CRL)[1:]]
    sent = x509.load_pem_x509_certificates(content) if b"BEGIN CERTIFICATE-" in content else []
    return [x509.load_pem_x509_crl(part) for part in parts], sent


def _known(authorities: Iterable[x509.Certificate], sent: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Return the CAs, and those of the certificates that came with the lists which lead to one of them."""
    known, left = list(authorities), list(sent)
    while found := [each for each in left if any(_is_issued_by(each, issuer) for issuer in known)]:
        known += found
        left = [each for each in left if each not in found]
    return [each for each in known if _may_sign_lists(each)]


def _checked(
    path: Path, revoked: x509.CertificateRevocationList, known: Iterable[x509.Certificate], now_seconds: float
) -> Crl:
    issuer = revoked.issuer.rfc4514_string()
    if not any(each.subject == revoked.issuer and _has_signed(each, revoked) for each in known):
        raise ConfigurationError(
            f"{path}: the CRL of {issuer!r} is signed by no CA that is known; add the certificate of the CA to the "
            "bundle, or that of an intermediate to this file"
        )
    begin, end = revoked.last_update_utc.timestamp(), revoked.next_update_utc
    if begin > now_seconds + CLOCK_SKEW_SECONDS:
        raise ConfigurationError(f"{path}: the CRL of {issuer!r} is of the future ({revoked.last_update_utc})")
    if end is None:
        raise ConfigurationError(f"{path}: the CRL of {issuer!r} does not say when the next one comes; have it say so")
    for extension in revoked.extensions:
        if extension.critical and not _is_understood(extension):
            raise ConfigurationError(
                f"{path}: the CRL of {issuer!r} has the critical extension {extension.oid.dotted_string}; "
                "take a complete one, of its issuer's own certificates"
            )
    serials = set()
    for entry in revoked:
        serials.add(entry.serial_number)
        if any(each.oid == CRLEntryExtensionOID.CERTIFICATE_ISSUER for each in entry.extensions):
            raise ConfigurationError(f"{path}: the CRL of {issuer!r} speaks of the certificates of other issuers")
    return Crl(issuer, begin, end.timestamp(), serials)


def _is_understood(extension: x509.Extension[x509.ExtensionType]) -> bool:
    """Tell whether a critical extension leaves the list a complete one (RFC 5280, section 5.2.5)."""
    value = extension.value
    if extension.oid != ExtensionOID.ISSUING_DISTRIBUTION_POINT or not isinstance(value, x509.IssuingDistributionPoint):
        return False
    return not (value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs)


def _has_signed(authority: x509.Certificate, revoked: x509.CertificateRevocationList) -> bool:
    key = authority.public_key()
    try:
        return isinstance(key, _CAN_VERIFY) and revoked.is_signature_valid(key)
    except (ValueError, TypeError):
        return False


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _may_sign_lists(authority: x509.Certificate) -> bool:
    try:
        if not authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == ExtensionOID.KEY_USAGE
