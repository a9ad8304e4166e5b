"""A certificate authority of our own, for development and tests: nobody else trusts it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CLOCK_SKEW = timedelta(minutes=5)
ROOT_LIFETIME = timedelta(days=365)
LEAF_LIFETIME = timedelta(days=90)
LIST_LIFETIME = timedelta(days=7)
OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class Request:
    """What a leaf certificate shall say."""

    common_name: str
    uris: Sequence[str] = ()
    dns_names: Sequence[str] = ()
    addresses: Sequence[str] = ()
    usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    lifetime: timedelta = LEAF_LIFETIME
    not_before: datetime | None = None  # None: now, less the skew of clocks
    key: Key | None = None  # None: a new one on P-256
    is_ca: bool = False
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = field(default=())  # and whether each is critical


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate and its key, PEM."""

    certificate_pem: bytes
    key_pem: bytes

    def write(self, certificate_file: Path, key_file: Path) -> None:
        """Write both; the key for the owner's eyes alone."""
        write_private(key_file, self.key_pem)
        certificate_file.write_bytes(self.certificate_pem)


class Authority:
    """Sign certificates.

    Args:
        key: of the authority.
        certificate: its own.
        chain_pem: what goes along with each certificate that it signs: its own, where it is an intermediate.
    """

    def __init__(self, key: Key, certificate: x509.Certificate, chain_pem: bytes = b"") -> None:
        self._key = key
        self.certificate = certificate
        self.chain_pem = chain_pem

    @classmethod
    def create(cls, name: str, now: datetime | None = None, *, path_length: int = 0) -> Authority:
        """Return a new authority with a key on P-256.

        Args:
            name: its common name.
            now: when it is made; None for this moment.
            path_length: how many authorities may stand between it and a leaf.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = now or datetime.now(UTC)
        subject = _name(name)
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + ROOT_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def load(cls, certificate_file: Path, key_file: Path) -> Authority:
        """Return an authority that was saved before."""
        key = load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise TypeError(f"{key_file} is no key of ours")
        pem = certificate_file.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        return cls(key, certificate, b"" if certificate.issuer == certificate.subject else pem)

    def intermediate(self, name: str) -> Authority:
        """Return an authority below this one, which signs leaves alone; they are handed out with its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder(
                self.certificate.subject, _name(name), key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(self.certificate.not_valid_before_utc)
            .not_valid_after(self.certificate.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Authority(key, certificate, certificate.public_bytes(Encoding.PEM) + self.chain_pem)

    def revocation_list(
        self, serials: Iterable[int], now: datetime | None = None, lifetime: timedelta = LIST_LIFETIME, number: int = 1
    ) -> bytes:
        """Return a CRL (RFC 5280, section 5), PEM.

        Args:
            serials: of the certificates that are revoked.
            now: when it is made; None for this moment.
            lifetime: until the next one comes.
            number: of the list.
        """
        begin = now or datetime.now(UTC)
        revoked = [x509.RevokedCertificateBuilder(serial, begin).build() for serial in serials]
        builder = x509.CertificateRevocationListBuilder(
            self.certificate.subject, begin, begin + lifetime, revoked_certificates=revoked
        )
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._public_key), critical=False
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @property
    def _public_key(self) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
        public = self.certificate.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise TypeError("the authority's key is of a kind that leaves cannot name")
        return public

    @property
    def certificate_pem(self) -> bytes:
        """Return the authority's own certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def save(self, certificate_file: Path, key_file: Path) -> None:
        """Write certificate and key."""
        Leaf(self.certificate_pem, pem_of(self._key)).write(certificate_file, key_file)

    def issue(self, request: Request) -> Leaf:
        """Return a certificate as asked; it names its issuer's key, so that one CA of a name can follow another."""
        key = request.key or ec.generate_private_key(ec.SECP256R1())
        begin = request.not_before or datetime.now(UTC) - CLOCK_SKEW
        names: list[x509.GeneralName] = [
            *map(x509.UniformResourceIdentifier, request.uris),
            *map(x509.DNSName, request.dns_names),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in request.addresses),
        ]
        builder = (
            x509.CertificateBuilder(
                self.certificate.subject, _name(request.common_name), key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(begin)
            .not_valid_after(begin + request.lifetime)
            .add_extension(x509.BasicConstraints(ca=request.is_ca, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=request.is_ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._public_key), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if request.usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(request.usages)), critical=False)
        for extension, critical in request.extensions:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Leaf(certificate.public_bytes(Encoding.PEM) + self.chain_pem, pem_of(key))


def server_request(name: str, trust_domain: str) -> Request:
    """Return what a service's own certificate says: where it is reached, and its SPIFFE ID."""
    return Request(
        common_name=name,
        uris=[f"spiffe://{trust_domain}/service/{name}"],
        dns_names=["localhost", name],
        addresses=["127.0.0.1", "::1"],
        usages=[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    )


def client_request(name: str, trust_domain: str) -> Request:
    """Return what a client's certificate says."""
    return Request(common_name=name, uris=[f"spiffe://{trust_domain}/client/{name}"])


def expired(request: Request) -> Request:
    """Return the same, for a certificate whose time is over."""
    return replace(request, not_before=datetime.now(UTC) - 2 * request.lifetime)


def pem_of(key: Key) -> bytes:
    """Return a key, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as opened:
        opened.write(content)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
