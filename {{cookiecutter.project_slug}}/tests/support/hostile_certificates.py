"""Client certificates that nobody should be let in with; each is made by a function of the authority it attacks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secure_rpc.dev.authority import Authority, Leaf, Request, client_request, pem_of

Forge: TypeAlias = Callable[[Authority], Leaf]

TRUST_DOMAIN = "example.org"
SOUND_ID = f"spiffe://{TRUST_DOMAIN}/client/developer"
DAY = timedelta(days=1)

# DER (X.690): what a certificate is made of, where a library will not sign it
_SEQUENCE, _BIT_STRING = 0x30, 0x03
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_ECDSA_WITH_SHA1 = bytes.fromhex("300906072a8648ce3d0401")


def named(*uris: str) -> Forge:
    """Return what makes a certificate with these URIs, sound in all else."""
    return lambda authority: authority.issue(Request("developer", uris=uris))


# --- refused by TLS itself -------------------------------------------------------------------------------------


def of_a_foreign_authority(_authority: Authority) -> Leaf:
    return Authority.create("foreign").issue(client_request("developer", TRUST_DOMAIN))


def of_a_foreign_authority_of_the_same_name(authority: Authority) -> Leaf:
    [name] = authority.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Authority.create(str(name.value)).issue(client_request("developer", TRUST_DOMAIN))


def self_signed(_authority: Authority) -> Leaf:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "developer")]), datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(SOUND_ID)]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Leaf(certificate.public_bytes(Encoding.PEM), pem_of(key))


def of_a_leaf_that_plays_authority(authority: Authority) -> Leaf:
    """Signed with the key of a sound leaf, which is sent along; no leaf may sign."""
    key = ec.generate_private_key(ec.SECP256R1())
    sound = authority.issue(Request("developer", uris=[SOUND_ID], key=key))
    signer = Authority(key, x509.load_pem_x509_certificate(sound.certificate_pem))
    forged = signer.issue(client_request("admin", TRUST_DOMAIN))
    return Leaf(forged.certificate_pem + sound.certificate_pem, forged.key_pem)


def expired(authority: Authority) -> Leaf:
    return authority.issue(Request("developer", uris=[SOUND_ID], not_before=datetime.now(UTC) - 2 * DAY, lifetime=DAY))


def not_yet_valid(authority: Authority) -> Leaf:
    return authority.issue(Request("developer", uris=[SOUND_ID], not_before=datetime.now(UTC) + DAY))


def for_servers_only(authority: Authority) -> Leaf:
    return authority.issue(Request("developer", uris=[SOUND_ID], usages=[ExtendedKeyUsageOID.SERVER_AUTH]))


REFUSED_BY_TLS: dict[str, Forge] = {
    forge.__name__: forge
    for forge in (
        of_a_foreign_authority,
        of_a_foreign_authority_of_the_same_name,
        self_signed,
        of_a_leaf_that_plays_authority,
        expired,
        not_yet_valid,
        for_servers_only,
    )
}

# --- let in by TLS, to be refused by ourselves -----------------------------------------------------------------


def with_rsa_of_1024_bits(authority: Authority) -> Leaf:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505  # that is the attack
    return authority.issue(Request("developer", uris=[SOUND_ID], key=key))


def of_an_authority(authority: Authority) -> Leaf:
    return authority.issue(Request("developer", uris=[SOUND_ID], is_ca=True))


def signed_by_sha1(authority: Authority) -> Leaf:
    """Signed again by what the library no longer signs with: the algorithm replaced in the DER, in both its places."""
    leaf = authority.issue(Request("developer", uris=[SOUND_ID]))
    to_be_signed = x509.load_pem_x509_certificate(leaf.certificate_pem).tbs_certificate_bytes
    content = to_be_signed[4:].replace(_ECDSA_WITH_SHA256, _ECDSA_WITH_SHA1, 1)  # tag, 0x82, two bytes of length
    to_be_signed = _der(_SEQUENCE, content)
    key = authority._key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(to_be_signed, ec.ECDSA(hashes.SHA1()))  # noqa: S303  # that is the attack
    whole = _der(_SEQUENCE, to_be_signed + _ECDSA_WITH_SHA1 + _der(_BIT_STRING, b"\0" + signature))
    return Leaf(x509.load_der_x509_certificate(whole).public_bytes(Encoding.PEM), leaf.key_pem)


def without_any_name(authority: Authority) -> Leaf:
    return authority.issue(Request("developer"))


def with_a_dns_name_only(authority: Authority) -> Leaf:
    return authority.issue(Request("developer", dns_names=["client.example.org"]))


def with_the_id_as_a_dns_name(authority: Authority) -> Leaf:
    return authority.issue(Request("developer", dns_names=[SOUND_ID]))


def with_the_id_as_its_common_name(authority: Authority) -> Leaf:
    return authority.issue(Request(SOUND_ID))


LET_IN_BY_TLS: dict[str, tuple[Forge, str]] = {
    "RSA of 1024 bits": (with_rsa_of_1024_bits, "CERTIFICATE_WEAK"),
    "signed by SHA-1": (signed_by_sha1, "CERTIFICATE_WEAK"),
    "an authority's": (of_an_authority, "CERTIFICATE_WEAK"),
    "no name": (without_any_name, "SPIFFE_ID_NOT_ONE"),
    "DNS name only": (with_a_dns_name_only, "SPIFFE_ID_NOT_ONE"),
    "the id as DNS name": (with_the_id_as_a_dns_name, "SPIFFE_ID_NOT_ONE"),
    "the id as common name": (with_the_id_as_its_common_name, "SPIFFE_ID_NOT_ONE"),
    "two ids": (named(SOUND_ID, f"spiffe://{TRUST_DOMAIN}/client/admin"), "SPIFFE_ID_NOT_ONE"),
    "the id twice": (named(SOUND_ID, SOUND_ID), "SPIFFE_ID_NOT_ONE"),
    "an id and another URI": (named(SOUND_ID, "https://example.org"), "SPIFFE_ID_NOT_ONE"),
    "another trust domain": (named("spiffe://elsewhere.org/client/developer"), "TRUST_DOMAIN_UNKNOWN"),
    "our trust domain as a prefix": (named("spiffe://example.org.evil.net/client/developer"), "TRUST_DOMAIN_UNKNOWN"),
    "our trust domain as a suffix": (named("spiffe://evil.example.org/client/developer"), "TRUST_DOMAIN_UNKNOWN"),
    **{
        name: (named(uri), "SPIFFE_ID_MALFORMED")
        for name, uri in {
            "NUL in the path": "spiffe://example.org/client/admin\0.evil",
            "NUL in the trust domain": "spiffe://example.org\0.evil.net/client/admin",
            "NUL at the end": "spiffe://example.org/client/admin\0",
            "upper-case trust domain": "spiffe://Example.org/client/developer",
            "upper-case scheme": "SPIFFE://example.org/client/developer",
            "another scheme": "https://example.org/client/developer",
            "no scheme": "example.org/client/developer",
            "no trust domain": "spiffe:///client/developer",
            "a dotted path": "spiffe://example.org/client/../admin",
            "a single dot": "spiffe://example.org/./client",
            "an empty segment": "spiffe://example.org/client//admin",
            "a slash at the end": "spiffe://example.org/client/",
            "a query": "spiffe://example.org/client/developer?admin",
            "a fragment": "spiffe://example.org/client/developer#admin",
            "a user": "spiffe://admin@example.org/client/developer",
            "a port": "spiffe://example.org:443/client/developer",
            "percent-encoding": "spiffe://example.org/client/%61dmin",
            "a newline": "spiffe://example.org/client/admin\n",
            "a space": "spiffe://example.org/client/admin ",
            "a star": "spiffe://example.org/client/*",
            "longer than an id may be": "spiffe://example.org/" + "a" * 2048,
        }.items()
    },
}


def _der(tag: int, content: bytes) -> bytes:
    """Return an element of DER; its content has less than 64 KiB."""
    size = len(content)
    length = (
        bytes([size]) if size < 0x80 else bytes([0x81, size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    )
    return bytes([tag]) + length + content
