"""A CRL is believed where a CA that is known has signed it, and where it says all that it seems to say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority
from secure_rpc.identity.crl import Crl, read

from support.federation import authority_under

ROOT = Authority.create("root", path_length=1)
ISSUING = ROOT.intermediate("issuing")
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ca.crl"


def loaded(file: Path, content: bytes, known: Sequence[Authority] = (ROOT,)) -> list[Crl]:
    file.write_bytes(content)
    return read(file, [each.certificate for each in known], time.time())


def problem(file: Path, content: bytes, known: Sequence[Authority] = (ROOT,)) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(file, content, known)
    [told] = caught.value.problems
    assert told.startswith(f"{file}: ")
    return told


def signed(authority: Authority, *extensions: tuple[x509.ExtensionType, bool], **said: Any) -> bytes:
    revoked = said.get("revoked", [])
    builder = x509.CertificateRevocationListBuilder(
        authority.certificate.subject, NOW, NOW + timedelta(days=1), revoked_certificates=revoked
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def distribution(**said: bool) -> x509.IssuingDistributionPoint:
    usual: dict[str, Any] = {
        "full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
        "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False,
    }  # fmt: skip
    return x509.IssuingDistributionPoint(**{**usual, **said})


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_list_says_what_its_issuer_has_revoked_and_until_when(file: Path, encoding: Encoding) -> None:
    pem = ROOT.revocation_list([5, 2**150], NOW, timedelta(hours=1))
    [crl] = loaded(file, x509.load_pem_x509_crl(pem).public_bytes(encoding))
    end = (NOW + timedelta(hours=1)).timestamp()
    assert crl == Crl("CN=root", NOW.timestamp(), end, {5, 2**150})


def test_a_file_may_hold_several_and_the_intermediates_that_sign_them(file: Path) -> None:
    content = b"# a comment\n" + ISSUING.revocation_list([1]) + ISSUING.chain_pem + ROOT.revocation_list([2])
    assert [(crl.issuer, crl.serials) for crl in loaded(file, content)] == [("CN=issuing", {1}), ("CN=root", {2})]


def test_an_intermediate_may_be_known_already(file: Path) -> None:
    assert loaded(file, ISSUING.revocation_list([1]), [ROOT, ISSUING])[0].serials == {1}


def test_a_list_of_nobody_who_is_known_is_refused(file: Path) -> None:
    told = "is signed by no CA that is known"
    assert told in problem(file, ISSUING.revocation_list([1]))
    impostor = Authority.create("root")
    assert told in problem(file, impostor.revocation_list([1]))
    assert told in problem(file, impostor.revocation_list([1]) + impostor.certificate_pem)
    assert told in problem(file, ROOT.revocation_list([1]), [Authority.create("other")])
    no_lists = authority_under(ROOT, "no lists", may_sign=False)
    assert told in problem(file, no_lists.revocation_list([1]) + no_lists.certificate_pem)


@pytest.mark.parametrize("content", [b"", b"no list", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_what_is_no_list_is_refused(file: Path, content: bytes) -> None:
    assert "holds no CRL that can be read" in problem(file, content)


def test_a_file_that_is_cut_short_or_missing_is_refused(file: Path) -> None:
    assert "holds no CRL that can be read" in problem(file, ROOT.revocation_list(range(1, 50))[:900])
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(file, [], 0.0)


def test_a_list_of_the_future_or_without_a_next_one_is_refused(file: Path) -> None:
    assert "is of the future" in problem(file, ROOT.revocation_list([1], NOW + timedelta(hours=1)))
    assert loaded(file, ROOT.revocation_list([1], NOW + timedelta(minutes=1)))


def test_a_list_whose_time_is_over_is_read_and_said_to_be_so(file: Path) -> None:
    [crl] = loaded(file, ROOT.revocation_list([1], NOW - timedelta(days=9)))
    assert crl.next_update_seconds == (NOW - timedelta(days=2)).timestamp()


def test_lists_that_say_less_or_something_else_are_refused(file: Path) -> None:
    assert "has the critical extension 2.5.29.27" in problem(file, signed(ROOT, (x509.DeltaCRLIndicator(1), True)))
    told = "has the critical extension 2.5.29.28"
    assert told in problem(file, signed(ROOT, (distribution(indirect_crl=True), True)))
    assert told in problem(file, signed(ROOT, (distribution(only_contains_attribute_certs=True), True)))
    assert loaded(file, signed(ROOT, (distribution(only_contains_user_certs=True), True)))
    of_others = x509.CertificateIssuer([x509.DirectoryName(x509.Name([]))])
    entry = x509.RevokedCertificateBuilder(7, NOW, [x509.Extension(of_others.oid, critical=True, value=of_others)])
    assert "speaks of the certificates of other issuers" in problem(file, signed(ROOT, revoked=[entry.build()]))
