"""What a server's certificates must be for clients to be served by them, and for callers to be told apart by them.

gRPC starts with most of what is refused here, and then fails every handshake, or lets in whom it should not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_rpc.configuration import ConfigurationError

MIN_RSA_BITS = 2048  # NIST SP 800-131A
LEAF_CURVES = (ec.SECP256R1, ec.SECP384R1)  # with others, P-521 and Ed25519 included, gRPC fails every handshake
CA_CURVES = (*LEAF_CURVES, ec.SECP521R1)
BROKEN_HASHES = (hashes.MD5, hashes.SHA1)
Extension = TypeVar("Extension", bound=x509.ExtensionType)


class Place(NamedTuple):
    """Where something comes from."""

    setting: str
    file: Path

    def refuse(self, problem: str) -> ConfigurationError:
        """Return the error that says what is wrong there."""
        return ConfigurationError(f"{self.setting}: {self.file}: {problem}")


def check_leaf(place: Place, leaf: x509.Certificate, now_seconds: float) -> None:
    """Refuse a certificate that no client could be served with.

    Args:
        place: where it comes from.
        leaf: the server's own.
        now_seconds: Unix time.

    Raises:
        ConfigurationError: it is out of its time, weak, a CA's, for clients only, or names no server.
    """
    subject = repr(leaf.subject.rfc4514_string())
    check_not_expired(place, leaf, now_seconds)
    if now_seconds < leaf.not_valid_before_utc.timestamp():
        raise place.refuse(f"{subject} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; wait")
    if not _is_strong(leaf.public_key(), LEAF_CURVES):
        raise place.refuse(
            f"the key of {subject} is {key_kind(leaf)}, with which gRPC cannot serve, or which is weak; "
            "take one on P-256 or P-384, or RSA of 2048 bits or more"
        )
    _check_signature_hash(place, leaf)
    if _is_ca(leaf):
        raise place.refuse(f"{subject} is a CA's; a server shows a certificate of its own")
    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None or not list(names):
        raise place.refuse(f"{subject} has no subject alternative name; clients look for the server's name there alone")
    usages = _extension(leaf, x509.ExtendedKeyUsage)
    if usages is not None and not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(
        usages
    ):
        raise place.refuse(f"{subject} is not for servers; ask for one whose extended key usage has serverAuth")


def check_chain(
    place: Place, chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], now_seconds: float
) -> bool:
    """Refuse a chain that leads nowhere.

    Args:
        place: where it comes from.
        chain: the leaf, then what was sent along, each the issuer of the one before.
        authorities: CAs that are known; the chain may lead to another.
        now_seconds: Unix time.

    Returns:
        whether it leads to a CA that is known.

    Raises:
        ConfigurationError: one is not signed by the next, is weak or has expired; or one is not signed by the known
            CA that it names.
    """
    for issued, issuer in pairwise(chain):
        check_not_expired(place, issuer, now_seconds)
        _check_signature_hash(place, issuer)
        if not _is_ca(issuer) or not is_issued_by(issued, issuer):
            raise place.refuse(
                f"{issued.subject.rfc4514_string()!r} is not signed by what follows it, "
                f"{issuer.subject.rfc4514_string()!r}; the leaf comes first, then its issuer, then the issuer of that"
            )
    last = chain[-1]
    named = [authority for authority in authorities if authority.subject == last.issuer]
    if last in authorities or any(is_issued_by(last, authority) for authority in named):
        return True
    if named:
        raise place.refuse(
            f"{last.subject.rfc4514_string()!r} is not signed by the CA that it names, "
            f"{last.issuer.rfc4514_string()!r}, as tls.client_ca_file has it"
        )
    return False


def check_authority(place: Place, authority: x509.Certificate, now_seconds: float) -> None:
    """Refuse a CA by which nobody could be verified.

    Raises:
        ConfigurationError: it is no CA, has expired, or its key is weak or of a kind that is not known.
    """
    subject = repr(authority.subject.rfc4514_string())
    check_not_expired(place, authority, now_seconds)
    if not _is_ca(authority):
        raise place.refuse(f"{subject} is no CA's; bundles hold CAs alone")
    if not _is_strong(authority.public_key(), CA_CURVES):
        raise place.refuse(
            f"the key of the CA {subject} is {key_kind(authority)}; "
            "take one on P-256, P-384 or P-521, or RSA of 2048 bits or more"
        )


def check_not_expired(place: Place, certificate: x509.Certificate, now_seconds: float) -> None:
    """Refuse a certificate whose time is over.

    Raises:
        ConfigurationError: it is.
    """
    end = certificate.not_valid_after_utc
    if end.timestamp() <= now_seconds:
        subject = certificate.subject.rfc4514_string()
        raise place.refuse(f"{subject!r} expired {end:%Y-%m-%d %H:%M} UTC; renew it")


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the issuer's key has signed the certificate, and their names agree."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def key_kind(certificate: x509.Certificate) -> str:
    """Return the kind of a certificate's key, such as "P-256" or "RSA 2048"."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name, key.curve.name)
    return type(key).__name__.removesuffix("PublicKey")


def _is_strong(key: object, curves: tuple[type[ec.EllipticCurve], ...]) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, curves)


def _check_signature_hash(place: Place, certificate: x509.Certificate) -> None:
    if certificate.issuer != certificate.subject and isinstance(certificate.signature_hash_algorithm, BROKEN_HASHES):
        subject = certificate.subject.rfc4514_string()
        raise place.refuse(f"{subject!r} is signed by way of a hash that is broken; ask for one by SHA-256")


def _is_ca(certificate: x509.Certificate) -> bool:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
