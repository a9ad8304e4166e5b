"""Workload identity from the client's certificate, parsed by ourselves from its bytes.

gRPC's own properties truncate at NUL and mix kinds of names, and its handshake lets weak certificates pass.
"""

from __future__ import annotations

import base64
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from secure_rpc import errors, spiffe

MIN_RSA_BITS = 2048  # NIST SP 800-131A
WEAK_HASHES = (hashes.MD5, hashes.SHA1)
PARSED_CERTIFICATES = 4096

# A certificate as lists of revoked ones know it: its issuer's name (RFC 4514), and its serial number
Number: TypeAlias = tuple[str, int]
CertificateReader: TypeAlias = Callable[[bytes, bytes], "Certificate"]


class NameKind(Enum):
    """Which name of a certificate says whose it is."""

    SPIFFE = "spiffe"  # the one URI SAN
    DNS = "dns"  # the one DNS SAN
    COMMON_NAME = "common_name"  # of the subject; for old clients


@dataclass(frozen=True, slots=True)
class Certificate:
    """What we rely on of a certificate whose chain TLS has verified."""

    workload: str  # "spiffe://...", "dns:..." or "cn:..."; "" where no name of it is accepted
    trust_domain: str  # of a SPIFFE ID
    refusal: errors.Unauthenticated | None  # why no name is accepted
    is_trusted: bool  # whether one of the CAs of now vouches for it, be it that of another domain
    numbers: tuple[Number, ...]  # its own, then those of the CAs that came with it
    thumbprint: str  # base64url of the SHA-256 of its DER (RFC 8705, section 3.1)
    not_before_seconds: float  # Unix time
    not_after_seconds: float

    def check_name(self) -> None:
        """Refuse a certificate without an accepted name, by a new error each time: one keeps what it passes through.

        Raises:
            Unauthenticated: none of its names is accepted.
        """
        why = self.refusal
        if why is not None:
            raise errors.Unauthenticated(why.message, reason=why.reason, recorded_reason=why.recorded_reason)


def certificate_reader(
    trust_domain: str,
    bundles: Mapping[str, Sequence[x509.Certificate]] | None = None,
    name_kinds: Sequence[NameKind] = (NameKind.SPIFFE,),
    size: int = PARSED_CERTIFICATES,
    clock: Callable[[], float] = time.time,
) -> CertificateReader:
    """Return a function that reads a client's certificate and chain; what it has read it remembers by the bytes.

    Args:
        trust_domain: our own.
        bundles: the CAs of each trust domain, our own included. TLS has verified the chain against all of them, as they
            were when the connection began; a CA vouches for its own domain's workloads alone (SPIFFE Trust Domain and
            Bundle, section 4). None where what TLS says is enough.
        name_kinds: which names are looked at, in this order.
        size: how many certificates are remembered.
        clock: gives Unix time in seconds.
    """
    stores = {domain: Store(list(authorities)) for domain, authorities in (bundles or {}).items()}

    def read(pem: bytes, chain_pem: bytes = b"") -> Certificate:
        parsed = parse(pem)
        sent = _sent_along(parsed, chain_pem)
        workload, domain, refusal = "", "", None
        try:
            workload, domain = _name_of(parsed, name_kinds)
            if domain and domain != trust_domain and domain not in stores:
                raise _foreign("")
        except errors.Unauthenticated as error:
            refusal = error
        vouching = [name for name, store in stores.items() if _vouches(store, parsed, sent, clock())]
        if stores and (domain or trust_domain) not in vouching:
            refusal = refusal or _foreign("TRUST_DOMAIN_FOREIGN_CA")
        if refusal is not None:
            workload, domain = "", ""
        return Certificate(
            workload=workload,
            trust_domain=domain,
            refusal=refusal,
            is_trusted=bool(vouching) or not stores,
            numbers=tuple(map(number_of, (parsed, *sent))),
            thumbprint=thumbprint_of(parsed),
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
        _ = certificate.subject, number_of(certificate)  # read only when looked at: better here than amid the rest
    except Exception as error:
        raise errors.Unauthenticated("the certificate is malformed", reason="CERTIFICATE_MALFORMED") from error
    if weak:
        raise errors.Unauthenticated(weak, reason="CERTIFICATE_WEAK")
    return certificate


def thumbprint_of(certificate: x509.Certificate) -> str:
    """Return what a token that is bound to the certificate says of it (RFC 8705, section 3.1)."""
    return base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()


def number_of(certificate: x509.Certificate) -> Number:
    """Return what lists of revoked certificates know a certificate by."""
    return certificate.issuer.rfc4514_string(), certificate.serial_number


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


def _name_of(certificate: x509.Certificate, kinds: Sequence[NameKind]) -> tuple[str, str]:
    """Return the first accepted name, and the trust domain where it has one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris and NameKind.SPIFFE in kinds:  # a certificate that claims an identity is held to its rules
        identity = _spiffe_id(uris)
        return str(identity), identity.trust_domain
    dns_names = names.get_values_for_type(x509.DNSName)
    for kind in kinds:
        if kind is NameKind.DNS and len(dns_names) == 1 and _is_plain(dns_names[0]):
            return f"dns:{dns_names[0].lower()}", ""
        if kind is NameKind.COMMON_NAME:
            common_names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            if len(common_names) == 1 and _is_plain(common_names[0]):
                return f"cn:{common_names[0]}", ""
    if NameKind.SPIFFE in kinds:
        _spiffe_id(uris)
    raise errors.Unauthenticated("the certificate has no name that is accepted", reason="CERTIFICATE_NAME_MISSING")


def _spiffe_id(uris: list[str]) -> spiffe.SpiffeId:
    """Return the one SPIFFE ID (X.509-SVID document, section 2: exactly one URI SAN)."""
    if len(uris) != 1:
        raise errors.Unauthenticated("the certificate must name one SPIFFE ID", reason="SPIFFE_ID_NOT_ONE")
    try:
        return spiffe.parse(uris[0])
    except ValueError as error:
        raise errors.Unauthenticated("the SPIFFE ID is malformed", reason="SPIFFE_ID_MALFORMED") from error


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable() and "*" not in name and bool(name.strip())


def _sent_along(certificate: x509.Certificate, chain_pem: bytes) -> list[x509.Certificate]:
    """Return the CAs that a client sent with its certificate."""
    try:
        sent = [each for each in x509.load_pem_x509_certificates(chain_pem) if each != certificate] if chain_pem else []
        _ = [number_of(each) for each in sent]
    except ValueError:  # nothing that TLS can have verified by
        return []
    return sent


def _vouches(store: Store, certificate: x509.Certificate, sent: list[x509.Certificate], now_seconds: float) -> bool:
    """Tell whether one of the CAs vouches for a certificate."""
    # whether it is valid now is looked at on each call, and told apart from whether it is trusted
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    when = min(max(datetime.fromtimestamp(now_seconds, UTC), begin), end)
    try:
        verifier = (
            PolicyBuilder()
            .store(store)
            .time(when)
            .extension_policies(
                # that each issuer is a CA, within its path length, the verifier sees to by itself
                ca_policy=ExtensionPolicy.permit_all()
                .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
                .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _must_sign_certificates),
                ee_policy=ExtensionPolicy.permit_all(),
            )
            .build_client_verifier()
        )
        verifier.verify(certificate, sent)
    except (VerificationError, ValueError):
        return False
    return True


def _foreign(recorded_reason: str) -> errors.Unauthenticated:
    return errors.Unauthenticated(
        "the trust domain is not accepted", reason="TRUST_DOMAIN_UNKNOWN", recorded_reason=recorded_reason
    )


def _must_sign_certificates(_policy: object, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    """Hold an issuer to its key usage, where it states one (RFC 5280, section 4.2.1.3)."""
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer's key is not for certificates")
