"""Authorities of several trust domains, roots and intermediates, and certificates that claim names of either."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secure_rpc.dev.authority import Authority, Leaf, Request

DAY = timedelta(days=1)
OURS, THEIRS = "example.org", "partner.example"


def authority_under(parent: Authority | None, name: str, *, may_sign: bool = True) -> Authority:
    """Return an authority that another has signed, a root where there is none; it may have others below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = parent.certificate.subject if parent else subject
    signer = parent._key if parent else key
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 365 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(may_sign=may_sign), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return Authority(key, builder.sign(signer, hashes.SHA256()))


def leaf_under(authority: Authority, *uris: str, chain: bytes = b"", **said: object) -> Leaf:
    """Return a client's certificate with the certificates that it sends along."""
    leaf = authority.issue(Request("client", uris=uris, **said))  # type: ignore[arg-type]
    return Leaf(leaf.certificate_pem + chain, leaf.key_pem)


def _usage(*, may_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=may_sign,
        crl_sign=may_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
