"""DNS names and common names count where the settings name them, and nowhere else."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from secure_rpc import errors
from secure_rpc.dev.authority import Authority, Request
from secure_rpc.identity.certificate import Certificate, NameKind, certificate_reader

ID = "spiffe://example.org/client/orders"
S, D, N = NameKind.SPIFFE, NameKind.DNS, NameKind.COMMON_NAME


def read(authority: Authority, kinds: Sequence[NameKind], name: str = "orders", **said: Any) -> Certificate:
    pem = authority.issue(Request(name, **said)).certificate_pem
    return certificate_reader("example.org", name_kinds=kinds)(pem, b"")


def reason(found: Certificate) -> str:
    assert (found.workload, found.trust_domain) == ("", "")
    assert found.refusal is not None
    return found.refusal.reason


ALL: dict[str, Any] = {"uris": [ID], "dns_names": ["orders.example.org"]}


@pytest.mark.parametrize(
    ("kinds", "workload"),
    [
        ([S], ID),
        ([D], "dns:orders.example.org"),
        ([N], "cn:orders"),
        ([D, N], "dns:orders.example.org"),
        ([N, D], "cn:orders"),
        ([D, S], ID),  # a certificate that claims a SPIFFE id is held to it
        ([N, D, S], ID),
    ],
)
def test_the_first_kind_of_name_that_is_accepted_counts(
    authority: Authority, kinds: list[NameKind], workload: str
) -> None:
    found = read(authority, kinds, **ALL)
    assert (found.workload, found.refusal) == (workload, None)
    assert found.trust_domain == ("example.org" if workload == ID else "")


@pytest.mark.parametrize(
    ("kinds", "workload"), [([S, D], "dns:orders.example.org"), ([S, N], "cn:orders"), ([S, N, D], "cn:orders")]
)
def test_other_names_count_where_there_is_no_spiffe_id(
    authority: Authority, kinds: list[NameKind], workload: str
) -> None:
    assert read(authority, kinds, dns_names=["orders.example.org"]).workload == workload


@pytest.mark.parametrize("kinds", [[S, D], [S, N], [S, D, N]])
@pytest.mark.parametrize("uris", [[ID, ID], ["spiffe://example.org/../a"], ["https://example.org"]])
def test_a_bad_spiffe_id_is_not_made_up_for_by_another_name(
    authority: Authority, kinds: list[NameKind], uris: list[str]
) -> None:
    found = read(authority, kinds, uris=uris, dns_names=["orders.example.org"])
    assert reason(found).startswith("SPIFFE_ID_")


def test_names_that_are_not_named_do_not_count(authority: Authority) -> None:
    assert reason(read(authority, [S], dns_names=["orders.example.org"])) == "SPIFFE_ID_NOT_ONE"
    assert reason(read(authority, [D])) == "CERTIFICATE_NAME_MISSING"
    assert reason(read(authority, [D], uris=[ID])) == "CERTIFICATE_NAME_MISSING"
    assert reason(read(authority, [N], name="*", dns_names=["a"])) == "CERTIFICATE_NAME_MISSING"


@pytest.mark.parametrize(
    "names", [[], ["a.example.org", "b.example.org"], ["*.example.org"], [" "], ["a\0b"], ["a\nb"], ["a\x7f"]]
)
def test_a_dns_name_is_one_and_plain(authority: Authority, names: list[str]) -> None:
    assert reason(read(authority, [D], dns_names=names)) == "CERTIFICATE_NAME_MISSING"


def test_dns_names_have_no_case(authority: Authority) -> None:
    assert read(authority, [D], dns_names=["Orders.Example.ORG"]).workload == "dns:orders.example.org"


@pytest.mark.parametrize("name", ["*", "* ", "a\0b", "a\nb", "örders", "spiffe*", "a\u202eb"])
def test_a_common_name_is_plain(authority: Authority, name: str) -> None:
    assert reason(read(authority, [N], name=name)) == "CERTIFICATE_NAME_MISSING"


def test_a_name_of_one_kind_is_never_taken_for_one_of_another(authority: Authority) -> None:
    """What the policy names is whole: "cn:dns:a" and "cn:spiffe://..." are somebody else."""
    assert read(authority, [N], name="dns:admin").workload == "cn:dns:admin"
    assert read(authority, [N], name=ID).workload == f"cn:{ID}"
    assert read(authority, [D], dns_names=[ID]).workload == f"dns:{ID}"


def test_a_subject_that_is_no_text_is_malformed_whichever_names_count(authority: Authority) -> None:
    pem = authority.issue(Request("orders", uris=[ID])).certificate_pem.decode()
    der = ssl.PEM_cert_to_DER_cert(pem)
    assert der.count(b"\x0c\x06orders") == 1  # a UTF8String
    broken = ssl.DER_cert_to_PEM_cert(der.replace(b"\x0c\x06orders", b"\x0c\x06\xff\xffders")).encode()
    for kinds in ([S], [D], [N], [S, D, N]):
        with pytest.raises(errors.Unauthenticated) as caught:
            certificate_reader("example.org", name_kinds=kinds)(broken, b"")
        assert caught.value.reason == "CERTIFICATE_MALFORMED"


@pytest.mark.parametrize("count", [0, 2])
def test_a_common_name_is_one(count: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"name-{number}") for number in range(count)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    found = certificate_reader("example.org", name_kinds=[N])(pem, b"")
    assert reason(found) == "CERTIFICATE_NAME_MISSING"
