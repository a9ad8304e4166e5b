"""A throw-away authority with one server and one client, for the tests that need TLS and nothing more."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support import http2

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Certificates:
    """The PEM files of both ends."""

    authority: Path
    server: Path  # the key stands beside it
    client: Path

    def credentials(self) -> tuple[grpc.ServerCredentials, grpc.ChannelCredentials]:
        """Return what gRPC needs for mTLS."""
        authority = self.authority.read_bytes()
        server_key, client_key = (self.key_of(path).read_bytes() for path in (self.server, self.client))
        server, client = self.server.read_bytes(), self.client.read_bytes()
        return (
            grpc.ssl_server_credentials([(server_key, server)], authority, require_client_auth=True),
            grpc.ssl_channel_credentials(authority, client_key, client),
        )

    def tls_context(self) -> ssl.SSLContext:
        """Return what a raw client needs for mTLS."""
        return http2.tls_context(self.authority, self.client, self.key_of(self.client))

    @staticmethod
    def key_of(certificate: Path) -> Path:
        """Return where the key of a certificate stands."""
        return certificate.with_suffix(".key")


def issue(folder: Path) -> Certificates:
    """Write an authority and its two certificates into a folder."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    paths = [folder / f"{name}.pem" for name in ("authority", "server", "client")]
    for path in paths:
        is_authority = path.stem == "authority"
        key = authority_key if is_authority else ec.generate_private_key(ec.SECP256R1())
        extension: x509.ExtensionType = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        if is_authority:
            extension = x509.BasicConstraints(ca=True, path_length=0)
        certificate = _sign(path.stem, key, authority_key, extension)
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        Certificates.key_of(path).write_bytes(key.private_bytes(*pem))
    return Certificates(*paths)


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority_key: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(extension, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    return builder.sign(authority_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
