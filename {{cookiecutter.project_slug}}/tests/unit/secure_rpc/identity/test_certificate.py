"""A client's certificate gives one SPIFFE ID, or is refused with the reason; a weak one is refused whatever it says."""

from __future__ import annotations

import base64
import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from secure_rpc import errors
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.identity import certificate as certificates

ID = "spiffe://example.org/client/orders"
read = certificates.certificate_reader("example.org")
SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")
BROKEN_HASHES = {"SHA-1": bytes.fromhex("06092a864886f70d010105"), "MD5": bytes.fromhex("06092a864886f70d010104")}


def pem_of(authority: Authority, *uris: str, **said: object) -> bytes:
    return authority.issue(Request("orders", uris=uris, **said)).certificate_pem  # type: ignore[arg-type]


def refusal(pem: bytes) -> errors.Unauthenticated:
    """Return why nobody may show a certificate, not even one that shows a token too."""
    with pytest.raises(errors.Unauthenticated) as caught:
        read(pem, b"")
    return caught.value


def with_another_key(key: ed25519.Ed25519PrivateKey) -> bytes:
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, None).public_bytes(Encoding.PEM)


def test_a_sound_certificate_is_read(authority: Authority) -> None:
    begin = datetime(2026, 1, 2, tzinfo=UTC)
    leaf = authority.issue(
        Request("orders", [ID], dns_names=["orders"], addresses=["::1"], not_before=begin, lifetime=timedelta(days=1))
    )
    found = read(leaf.certificate_pem, b"")
    assert (found.workload, found.trust_domain, found.refusal) == (ID, "example.org", None)
    assert found.numbers == (("CN=test CA", x509.load_pem_x509_certificate(leaf.certificate_pem).serial_number),)
    assert found.not_before_seconds == begin.timestamp()
    assert found.not_after_seconds - found.not_before_seconds == 86_400


def test_the_thumbprint_is_that_of_rfc_8705(authority: Authority) -> None:
    pem = pem_of(authority, ID)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).digest()
    assert read(pem, b"").thumbprint == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.mark.parametrize("pem", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    assert refusal(pem).reason == ("CERTIFICATE_MALFORMED" if pem else "CERTIFICATE_MISSING")


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ((), "SPIFFE_ID_NOT_ONE"),
        ((ID, ID), "SPIFFE_ID_NOT_ONE"),
        ((ID, "https://example.org"), "SPIFFE_ID_NOT_ONE"),
        (("https://example.org/client",), "SPIFFE_ID_MALFORMED"),
        (("spiffe://example.org/a\x00b",), "SPIFFE_ID_MALFORMED"),
        (("spiffe://example.org/../a",), "SPIFFE_ID_MALFORMED"),
        (("spiffe://other.example/a",), "TRUST_DOMAIN_UNKNOWN"),
        (("spiffe://sub.example.org/a",), "TRUST_DOMAIN_UNKNOWN"),
    ],
)
def test_anything_but_one_spiffe_id_of_ours_is_nobody(authority: Authority, uris: tuple[str, ...], reason: str) -> None:
    found = read(pem_of(authority, *uris, dns_names=["orders"]), b"")
    assert (found.workload, found.trust_domain) == ("", "")
    assert found.refusal is not None
    assert found.refusal.reason == reason


def test_a_weak_rsa_key_is_refused_and_one_of_2048_bits_is_not(authority: Authority) -> None:
    weak, sound = (rsa.generate_private_key(65537, bits) for bits in (1024, 2048))
    found = refusal(pem_of(authority, ID, key=weak))
    assert (found.reason, found.message) == ("CERTIFICATE_WEAK", "an RSA key has at least 2048 bits")
    assert read(pem_of(authority, ID, key=sound), b"").workload == ID


def test_a_key_of_another_kind_is_refused() -> None:
    found = refusal(with_another_key(ed25519.Ed25519PrivateKey.generate()))
    assert (found.reason, found.message) == ("CERTIFICATE_WEAK", "the key is neither RSA nor elliptic curve")


@pytest.mark.parametrize("name", BROKEN_HASHES)
def test_a_broken_hash_is_refused(name: str) -> None:
    """Nothing signs with these any more, so the name of the hash is exchanged afterwards."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([])
    authority = Authority(key, _self_signed(key, subject))
    der = x509.load_pem_x509_certificate(pem_of(authority, ID)).public_bytes(Encoding.DER)
    assert der.count(SHA256_WITH_RSA) == 2
    forged = x509.load_der_x509_certificate(der.replace(SHA256_WITH_RSA, BROKEN_HASHES[name]))
    found = refusal(forged.public_bytes(Encoding.PEM))
    assert (found.reason, found.message) == ("CERTIFICATE_WEAK", "the signature's hash is broken")


def _self_signed(key: rsa.RSAPrivateKey, subject: x509.Name) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def test_an_authority_is_no_client(authority: Authority) -> None:
    found = refusal(pem_of(authority, ID, is_ca=True))
    assert (found.reason, found.message) == ("CERTIFICATE_WEAK", "a CA's certificate is no client's")


def test_what_was_read_is_remembered_but_no_more_than_told(authority: Authority) -> None:
    reader = certificates.certificate_reader("example.org", size=2)
    first, *others = (pem_of(authority, f"{ID}-{number}") for number in range(3))
    found = reader(first, b"")
    assert reader(first, b"") is found
    for pem in others:
        reader(pem, b"")
    assert reader(first, b"") is not found
    assert reader(first, b"") == found
