"""The authority of development signs what is asked, as clients and servers need it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_rpc.dev.authority import Authority, Leaf, Request, client_request, expired, server_request, write_private

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test CA", NOW)


def read(leaf: Leaf) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.certificate_pem)


def names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_an_authority_signs_certificates_and_nothing_below_it_does(authority: Authority) -> None:
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = authority.certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign) == (True, True)
    leaf = read(authority.issue(client_request("a", "example.org")))
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_a_leaf_is_signed_by_its_authority(authority: Authority) -> None:
    leaf = read(authority.issue(client_request("a", "example.org")))
    leaf.verify_directly_issued_by(authority.certificate)
    other = Authority.create("test CA", NOW)
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever cryptography finds wrong first
        leaf.verify_directly_issued_by(other.certificate)


def test_a_leaf_names_the_key_that_signed_it_and_its_own(authority: Authority) -> None:
    leaf = read(authority.issue(client_request("a", "example.org")))
    of_authority = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    named = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert named.key_identifier == of_authority.digest
    assert own == x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
    assert own.digest != of_authority.digest


def test_two_authorities_of_one_name_are_told_apart_by_their_keys(authority: Authority) -> None:
    other = Authority.create("test CA", NOW)
    one, two = (read(each.issue(client_request("a", "example.org"))) for each in (authority, other))
    assert one.issuer == two.issuer
    assert (
        one.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        != two.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    )


def test_a_server_is_named_by_where_it_is_reached(authority: Authority) -> None:
    leaf = read(authority.issue(server_request("orders", "example.org")))
    names = names_of(leaf)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://example.org/service/orders"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "orders"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usages = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_client_cannot_pass_for_a_server(authority: Authority) -> None:
    leaf = read(authority.issue(client_request("a", "example.org")))
    assert names_of(leaf).get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://example.org/client/a"]
    usages = list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_certificate_holds_as_long_as_asked(authority: Authority) -> None:
    leaf = read(authority.issue(Request("a", not_before=NOW, lifetime=timedelta(hours=2))))
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (NOW, NOW + timedelta(hours=2))
    usual = read(authority.issue(Request("a")))
    assert usual.not_valid_before_utc < datetime.now(UTC) < usual.not_valid_after_utc


def test_further_extensions_are_added_as_they_are(authority: Authority) -> None:
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    leaf = read(authority.issue(Request("a", extensions=[(extension, True)])))
    assert leaf.extensions.get_extension_for_oid(extension.oid).critical


def test_no_two_certificates_share_a_key_or_a_number(authority: Authority) -> None:
    one, two = (authority.issue(Request("a")) for _ in range(2))
    assert one.key_pem != two.key_pem
    assert read(one).serial_number != read(two).serial_number


def test_keys_are_for_their_owner_alone(authority: Authority, tmp_path: Path) -> None:
    authority.save(tmp_path / "ca.pem", tmp_path / "ca.key")
    authority.issue(Request("a")).write(tmp_path / "a.pem", tmp_path / "a.key")
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("ca.key", "a.key")} == {0o600}


def test_a_key_is_for_its_owner_alone_also_where_a_readable_file_or_a_link_stood(tmp_path: Path) -> None:
    key, elsewhere = tmp_path / "a.key", tmp_path / "elsewhere"
    key.write_bytes(b"old")
    key.chmod(0o644)
    write_private(key, b"new")
    assert (key.read_bytes(), key.stat().st_mode & 0o777) == (b"new", 0o600)
    elsewhere.write_bytes(b"theirs")
    key.unlink()
    key.symlink_to(elsewhere)
    write_private(key, b"newer")
    assert (elsewhere.read_bytes(), key.is_symlink()) == (b"theirs", False)


def test_an_authority_that_was_saved_goes_on_signing(authority: Authority, tmp_path: Path) -> None:
    authority.save(tmp_path / "ca.pem", tmp_path / "ca.key")
    loaded = Authority.load(tmp_path / "ca.pem", tmp_path / "ca.key")
    leaf = loaded.issue(Request("a"))
    read(leaf).verify_directly_issued_by(authority.certificate)
    key = load_pem_private_key(leaf.key_pem, None)
    assert key.public_key() == read(leaf).public_key()


def test_a_key_of_another_kind_is_no_authoritys(authority: Authority, tmp_path: Path) -> None:
    authority.save(tmp_path / "ca.pem", tmp_path / "ca.key")
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca.key").write_bytes(pem)
    with pytest.raises(TypeError, match="is no key of ours"):
        Authority.load(tmp_path / "ca.pem", tmp_path / "ca.key")


def test_an_intermediate_signs_leaves_and_is_sent_along_with_them(tmp_path: Path) -> None:
    root = Authority.create("root", path_length=1)
    issuing = root.intermediate("issuing")
    issuing.save(tmp_path / "issuing.pem", tmp_path / "issuing.key")
    for authority in (issuing, Authority.load(tmp_path / "issuing.pem", tmp_path / "issuing.key")):
        leaf, sent = x509.load_pem_x509_certificates(authority.issue(Request("a")).certificate_pem)
        leaf.verify_directly_issued_by(sent)
        sent.verify_directly_issued_by(root.certificate)
        named = sent.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert named == root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        constraints = sent.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert (constraints.ca, constraints.path_length) == (True, 0)


def test_an_authority_says_what_it_has_revoked(authority: Authority) -> None:
    crl = x509.load_pem_x509_crl(authority.revocation_list([3, 4], NOW, timedelta(days=1), number=9))
    assert crl.is_signature_valid(authority.certificate.public_key())  # type: ignore[arg-type]
    assert (crl.issuer, [entry.serial_number for entry in crl]) == (authority.certificate.subject, [3, 4])
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + timedelta(days=1))
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 9


def test_a_certificate_that_has_expired_can_be_made(authority: Authority) -> None:
    assert read(authority.issue(expired(Request("a")))).not_valid_after_utc < datetime.now(UTC)
